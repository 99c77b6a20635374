"""migrate_apply: every option, what it prints, its exit codes, and what is in the database then."""

import os
import pty
import re
import signal
import subprocess
import zlib
from collections.abc import Callable

import pytest
from pytest_django import Settings

from sqlmigrator.backends.postgresql.lock import LOCK_CLASS
from tests.support import (
    Database,
    Folder,
    Result,
    Running,
    manage_command,
    subprocess_environment,
    wait_until,
)

Call = Callable[..., Result]

TIMES = re.compile(r"\d+(\.\d)? (ms|s)\b")


def versions(database: Database) -> list[str]:
    rows = database.query("SELECT version FROM schema_migrations ORDER BY version")
    return [row[0] for row in rows]


def tables(database: Database) -> list[str]:
    rows = database.query(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname !~ '^schema_migrations'"
        " AND relnamespace = 'public'::regnamespace ORDER BY 1"
    )
    return [row[0] for row in rows]


def lock_key() -> int:
    """The second number of the migration lock for the schema public."""
    return zlib.crc32(b"public.schema_migrations") & 0x7FFFFFFF


def timeless(text: str) -> str:
    """`text` without the times, which are never the same."""
    return TIMES.sub("T", text)


@pytest.fixture
def pending(database: Database, folder: Folder) -> Folder:
    """001 and two more files that wait."""
    folder.with_tracking().write("002_a.sql", "CREATE TABLE a (id int);\n")
    folder.write("003_b.sql", "CREATE TABLE b (id int);\n")
    return folder


# What is printed


def test_a_line_for_each_and_a_closing_line(
    database: Database, pending: Folder, call: Call
) -> None:
    result = call("migrate_apply")
    assert (result.code, result.err) == (0, "")
    assert timeless(result.out) == (
        "Applying 001_migration_tracking.sql (1 of 3)... OK (T)\n"
        "Applying 002_a.sql (2 of 3)... OK (T)\n"
        "Applying 003_b.sql (3 of 3)... OK (T)\n"
        "Applied 3 migrations in T.\n"
    )
    assert versions(database) == ["001", "002", "003"]
    again = call("migrate_apply")
    assert again == Result(0, "Nothing to apply: the database is up to date.\n", "")


def test_one_migration_is_one(database: Database, folder: Folder, call: Call) -> None:
    folder.with_tracking()
    assert timeless(call("migrate_apply").out).endswith("\nApplied 1 migration in T.\n")


def test_verbosity_0_says_nothing_of_success(
    database: Database, pending: Folder, call: Call
) -> None:
    assert call("migrate_apply", "--verbosity", "0") == Result(0, "", "")
    assert versions(database) == ["001", "002", "003"]
    assert call("migrate_apply", "--verbosity", "0") == Result(0, "", "")
    pending.write("004_bad.sql", "SELECT nope;")
    failed = call("migrate_apply", "--verbosity", "0")
    assert (failed.code, failed.out) == (1, "")
    assert 'column "nope" does not exist [SQLSTATE 42703]\n' in failed.err


def test_notices_are_shown_at_verbosity_2(database: Database, pending: Folder, call: Call) -> None:
    pending.write(
        "004_loud.sql",
        "DO $$ BEGIN RAISE NOTICE 'hello\n::error::x'; RAISE WARNING 'careful'; END $$;",
    )
    quiet = call("migrate_apply", "--to", "003")
    assert quiet.err == ""
    loud = call("migrate_apply", "--verbosity", "2")
    assert loud.err == "  NOTICE: hello\n  ::error::x\n  WARNING: careful\n"
    assert timeless(loud.out) == (
        "Applying 004_loud.sql (1 of 1)... \n004_loud.sql: OK (T)\nApplied 1 migration in T.\n"
    )


FUNCTION = """\
CREATE FUNCTION inner_one() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION E'first\\nsecond' USING HINT = 'a hint', DETAIL = 'a detail';
END $$;
CREATE FUNCTION outer_one() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM inner_one();
END $$;
SELECT 'é', outer_one();
"""


def test_a_failure_tells_all_that_the_server_said(
    database: Database, pending: Folder, call: Call
) -> None:
    path = pending.write("003_b.sql", FUNCTION)
    for number in range(4, 11):
        pending.write(f"{number:03d}_later.sql", "SELECT 1;")
    result = call("migrate_apply")
    assert result.code == 1
    assert timeless(result.out) == (
        "Applying 001_migration_tracking.sql (1 of 10)... OK (T)\n"
        "Applying 002_a.sql (2 of 10)... OK (T)\n"
        "Applying 003_b.sql (3 of 10)... FAILED\n"
    )
    assert result.err == (
        f"✗ {path}:9:1: first\n"
        "  second [SQLSTATE P0001]\n"
        "    | SELECT 'é', outer_one();\n"
        "    | ^\n"
        "    Detail: a detail\n"
        "    Hint: a hint\n"
        "    Context: PL/pgSQL function inner_one() line 3 at RAISE\n"
        "    SQL statement\n"
        "    PL/pgSQL function outer_one() line 3 at PERFORM\n"
        "  Nothing of it remains: the transaction was rolled back.\n"
        "  Correct the file, then run `manage.py migrate_apply`.\n"
        "Applied in this run: 2. Failed: 003_b.sql.\n"
        "Not applied: 004_later.sql, 005_later.sql, 006_later.sql, 007_later.sql, 008_later.sql"
        " and 2 more.\n"
    )
    assert versions(database) == ["001", "002"]
    assert database.query("SELECT count(*) FROM pg_proc WHERE proname ~ '_one$'") == [(0,)]


@pytest.mark.parametrize("before", [0, 60, 3000, 60_000])
def test_a_long_line_is_cut_around_the_column(
    database: Database, pending: Folder, call: Call, before: int
) -> None:
    start = "SELECT 1" + ", 1" * (before // 3)
    pending.write("004_long.sql", f"{start}, nope{', 2' * 2000};")
    err = call("migrate_apply", "-v", "0").err
    column = len(start) + 3
    first, excerpt, caret, *_ = err.splitlines()
    assert f"004_long.sql:1:{column}: column" in first
    assert caret.strip(" |") == "^"
    assert excerpt[caret.index("^") :].startswith("nope")
    assert len(excerpt) <= 80


def test_colour_and_pipes(database: Database, pending: Folder, call: Call) -> None:
    pending.write("003_b.sql", "SELECT nope;")
    coloured = call("migrate_apply", "--force-color")
    assert "\x1b[" in coloured.err
    plain = call("migrate_apply", "--no-color")
    assert "\x1b" not in plain.out + plain.err
    assert "\r" not in plain.out


def test_ascii_only(database: Database, pending: Folder, manage: Call) -> None:
    pending.write("003_b.sql", "SELECT 'é→', \"ñ\";")
    result = manage(
        *("migrate_apply", "--directory", pending.path, "-v", "2"),
        env={"PYTHONIOENCODING": "ascii"},
    )
    assert result.code == 1
    assert (result.out + result.err).isascii()
    assert f'\nx {pending.path}/003_b.sql:1:14: column "\\xf1" does not exist' in f"\n{result.err}"
    assert versions(database) == ["001", "002"]


def test_a_reader_that_went_away_stops_no_migration(
    database: Database, pending: Folder, manage_popen: Callable[..., Running]
) -> None:
    """`migrate_apply | head -1`: the pipe breaks at the second line."""
    for number in range(4, 12):
        pending.write(f"{number:03d}_more.sql", "SELECT pg_sleep(0.02);")
    reader, writer = os.pipe()
    with subprocess.Popen(
        manage_command(["migrate_apply", "--directory", pending.path]),
        stdout=writer,
        stderr=subprocess.PIPE,
        env=subprocess_environment(database, None),
    ) as process:
        os.close(writer)
        os.read(reader, 10)
        os.close(reader)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert err == b""
    assert len(versions(database)) == 11


@pytest.mark.parametrize(
    ("closing", "code", "err"),
    [
        (">&-", 0, ""),
        (">/dev/full", 2, "The output is not complete: No space left on device.\n"),
        (">/dev/full 2>/dev/full", 2, ""),
    ],
)
def test_a_stdout_that_takes_nothing_stops_no_migration(
    database: Database, pending: Folder, closing: str, code: int, err: str
) -> None:
    """A closed one, and a log on a full disk; what is missing there is told."""
    command = manage_command(["migrate_apply", "--directory", pending.path])
    done = subprocess.run(
        ["sh", "-c", f'"$@" {closing}', "sh", *command],
        capture_output=True,
        text=True,
        env=subprocess_environment(database, None),
    )
    assert (done.returncode, done.stderr) == (code, err)
    assert versions(database) == ["001", "002", "003"]


def test_elapsed_time_on_a_terminal(database: Database, pending: Folder) -> None:
    pending.write("004_slow.sql", "SELECT pg_sleep(2.5);")
    terminal, end = pty.openpty()
    with subprocess.Popen(
        manage_command(["migrate_apply", "--directory", pending.path, "--no-color"]),
        stdout=end,
        stderr=end,
        env=subprocess_environment(database, None),
    ) as process:
        os.close(end)
        told = b""
        while True:
            try:
                told += os.read(terminal, 4096)
            except OSError:  # the other end is closed
                break
        os.close(terminal)
    assert process.returncode == 0
    line = "Applying 004_slow.sql (4 of 4)... "
    text = told.decode()
    assert f"{line}\r{line}1 s \r{line}2 s " in text
    assert timeless(text).endswith("OK (T)\r\nApplied 4 migrations in T.\r\n")


# Options


def test_to_stops_after_a_version(database: Database, pending: Folder, call: Call) -> None:
    result = call("migrate_apply", "--to", "2")
    assert result.code == 0
    assert timeless(result.out) == (
        "Applying 001_migration_tracking.sql (1 of 2)... OK (T)\n"
        "Applying 002_a.sql (2 of 2)... OK (T)\n"
        "Applied 2 migrations in T.\n"
    )
    assert versions(database) == ["001", "002"]
    assert call("migrate_apply", "--to", "0003").code == 0
    assert versions(database) == ["001", "002", "003"]
    assert call("migrate_apply", "--to", "001").out == (
        "Nothing to apply: the database is up to date.\n"
    )


@pytest.mark.parametrize("version", ["4", "abc", "", "-1", "٣", "9" * 40, "002_a"])
def test_to_a_version_that_is_not_there(
    database: Database, pending: Folder, call: Call, version: str
) -> None:
    assert call("migrate_apply", f"--to={version}") == Result(
        2,
        "",
        f"There is no migration {version!r} in {pending.path}.\n"
        "  `manage.py migrate_status` lists the versions.\n",
    )
    assert database.query("SELECT to_regclass('schema_migrations')") == [(None,)]


def test_plan_prints_the_sql_and_runs_nothing(
    database: Database, pending: Folder, call: Call
) -> None:
    (pending.path / "001_migration_tracking.sql").unlink()
    pending.write("003_b.sql", b"\xef\xbb\xbfSELECT 'caf\xc3\xa9';\r\n\r\n\tSELECT 2;\r\n\r\n")
    pending.write("004_c.sql", "SELECT 4;")
    assert call("migrate_apply", "--plan", "--to", "003") == Result(
        0,
        "-- 002_a.sql\nCREATE TABLE a (id int);\n-- 003_b.sql\nSELECT 'café';\n\n\tSELECT 2;\n",
        "",
    )
    assert database.query("SELECT to_regclass('schema_migrations')") == [(None,)]


def test_plan_of_nothing_and_of_something_wrong(
    database: Database, pending: Folder, call: Call
) -> None:
    pending.write("004_bad.sql", "SELEC 1;")
    refused = call("migrate_apply", "--plan")
    assert refused.code == 1
    assert '✗ syntax error at or near "SELEC" [E015]\n' in refused.err
    (pending.path / "004_bad.sql").unlink()
    assert call("migrate_apply").code == 0
    assert call("migrate_apply", "--plan") == Result(0, "-- No migration is pending.\n", "")


def test_single_transaction_is_all_or_nothing(
    database: Database, pending: Folder, call: Call
) -> None:
    pending.write("004_bad.sql", "SELECT 1;\nSELECT nope;")
    failed = call("migrate_apply", "--single-transaction")
    assert failed.code == 1
    assert "004_bad.sql:2:8: column" in failed.err
    assert "Applied in this run: 0. Failed: 004_bad.sql.\n" in failed.err
    assert "Not applied: 001_migration_tracking.sql, 002_a.sql, 003_b.sql.\n" in failed.err
    assert tables(database) == []
    assert database.query("SELECT to_regclass('schema_migrations')") == [(None,)]
    pending.write("004_bad.sql", "CREATE TABLE c (id int);")
    done = call("migrate_apply", "--single-transaction")
    assert (done.code, done.err) == (0, "")
    assert timeless(done.out).endswith("\nApplied 4 migrations in T.\n")
    assert versions(database) == ["001", "002", "003", "004"]
    assert database.query(
        "SELECT count(DISTINCT xmin::text) FROM schema_migrations WHERE version > '001'"
    ) == [(1,)]


def test_single_transaction_tells_the_time_of_each_file_beside_its_name(
    database: Database, pending: Folder, call: Call
) -> None:
    result = call("migrate_apply", "--single-transaction")
    assert timeless(result.out) == (
        "Applying 001_migration_tracking.sql (1 of 3)... \n"
        "Applying 002_a.sql (2 of 3)... \n"
        "Applying 003_b.sql (3 of 3)... \n"
        "001_migration_tracking.sql: OK (T)\n"
        "002_a.sql: OK (T)\n"
        "003_b.sql: OK (T)\n"
        "Applied 3 migrations in T.\n"
    )


def test_single_transaction_cannot_hold_a_no_transaction_file(
    database: Database, pending: Folder, call: Call
) -> None:
    pending.write("004_index.sql", "-- sqlmigrator: no-transaction\nVACUUM;")
    assert call("migrate_apply", "--single-transaction") == Result(
        2,
        "",
        "--single-transaction cannot hold 004_index.sql: no-transaction.\n"
        "  Apply up to the version before it with --to, then 004_index.sql alone.\n",
    )
    assert tables(database) == []
    assert call("migrate_apply", "--single-transaction", "--to", "003").code == 0


def test_each_file_of_a_single_transaction_has_a_session_of_its_own(
    database: Database, folder: Folder, call: Call
) -> None:
    folder.with_tracking().write(
        "002_a.sql",
        "CREATE SCHEMA s; SET search_path = s; SET TIME ZONE 'Asia/Tokyo';"
        " CREATE TEMP TABLE leftover ();",
    )
    folder.write(
        "003_b.sql",
        "CREATE TABLE seen AS SELECT current_setting('search_path') AS path,"
        " current_setting('TimeZone') AS zone, to_regclass('leftover') IS NULL AS clean;",
    )
    assert call("migrate_apply", "--single-transaction").code == 0
    assert database.query("SELECT * FROM public.seen") == [('"$user", public', "UTC", True)]


INTERRUPTED = """\
-- sqlmigrator: no-transaction
CREATE TABLE one (id int);
CREATE INDEX CONCURRENTLY one_idx ON one (id);
INSERT INTO one SELECT id FROM later;
CREATE TABLE two (id int);
"""


def test_resume_goes_on_where_it_stopped(database: Database, pending: Folder, call: Call) -> None:
    path = pending.write("004_steps.sql", INTERRUPTED)
    failed = call("migrate_apply", "-v", "0")
    assert failed.code == 1
    assert failed.err == (
        f'✗ {path}:4:32: relation "later" does not exist [SQLSTATE 42P01]\n'
        "    | INSERT INTO one SELECT id FROM later;\n"
        f"    | {' ' * 31}^\n"
        "  Statements 1 to 2 are done and stay done.\n"
        "  Where the cause is in the database, remove it, then `manage.py migrate_apply --resume`"
        " goes on. Where it is in the file, undo what is done, correct the file, and run `manage.py"
        " migrate_mark --unapplied 004 --reason …` before `manage.py migrate_apply`.\n"
        "Applied in this run: 3. Failed: 004_steps.sql.\n"
    )
    assert tables(database) == ["a", "b", "one"]
    refused = call("migrate_apply")
    assert refused.code == 1
    assert "✗ 004_steps.sql was interrupted at statement 3 of 4 [E014]\n" in refused.err
    database.execute("CREATE TABLE later (id int); INSERT INTO later VALUES (1)")
    resumed = call("migrate_apply", "--resume")
    assert (resumed.code, resumed.err) == (0, "")
    assert timeless(resumed.out) == (
        "Applying 004_steps.sql (1 of 1)... OK (T)\nApplied 1 migration in T.\n"
    )
    assert versions(database)[-1] == "004"
    assert database.query("SELECT count(*) FROM one") == [(1,)]
    assert database.query(
        "SELECT state, statement_done, statement_total FROM schema_migrations_log"
        " WHERE version = '004' ORDER BY id"
    ) == [("failed", 2, 4), ("done", 4, 4)]


def test_resume_refuses_a_file_that_was_edited(
    database: Database, pending: Folder, call: Call
) -> None:
    pending.write("004_steps.sql", INTERRUPTED)
    assert call("migrate_apply", "-v", "0").code == 1
    pending.write("004_steps.sql", INTERRUPTED.replace("two", "three"))
    refused = call("migrate_apply", "--resume", "-v", "0")
    assert refused.code == 1
    assert refused.err.startswith(
        "004_steps.sql was edited since it was interrupted; it cannot be resumed.\n"
    )
    assert tables(database) == ["a", "b", "one"]


def test_resume_with_nothing_interrupted_applies_as_usual(
    database: Database, pending: Folder, call: Call
) -> None:
    assert call("migrate_apply", "--resume").code == 0
    assert versions(database) == ["001", "002", "003"]


def test_out_of_order(database: Database, pending: Folder, call: Call, settings: Settings) -> None:
    (pending.path / "002_a.sql").rename(pending.path.parent / "002_a.sql")
    assert call("migrate_apply").code == 0
    (pending.path.parent / "002_a.sql").rename(pending.path / "002_a.sql")
    refused = call("migrate_apply")
    assert refused == Result(
        1,
        "",
        "✗ 002_a.sql is pending, but 003 is already applied [E006]\n"
        "    Give it the next free number (`manage.py migrate_renumber 002_a.sql\n"
        "    --write`), or pass `--allow-out-of-order`.\n"
        "Nothing was applied: 1 error must be settled first.\n"
        "  `manage.py migrate_check` shows everything, with the way out.\n",
    )
    assert call("migrate_apply", "--allow-out-of-order").code == 0
    assert versions(database) == ["001", "002", "003"]


@pytest.mark.parametrize("way", ["setting", "directive"])
def test_other_ways_to_allow_out_of_order(
    database: Database, pending: Folder, call: Call, settings: Settings, way: str
) -> None:
    assert call("migrate_apply").code == 0
    text = "-- sqlmigrator: out-of-order\nCREATE TABLE c ();"
    if way == "setting":
        settings.SQLMIGRATOR = settings.SQLMIGRATOR | {"ALLOW_OUT_OF_ORDER": True}
        text = "CREATE TABLE c ();"
    pending.write("000_c.sql", text)
    assert call("migrate_apply").code == 0
    assert versions(database) == ["000", "001", "002", "003"]


def test_missing(database: Database, pending: Folder, call: Call, settings: Settings) -> None:
    assert call("migrate_apply").code == 0
    (pending.path / "002_a.sql").unlink()
    pending.write("004_d.sql", "CREATE TABLE d ();")
    refused = call("migrate_apply")
    assert refused.code == 1
    assert ", but its file is missing [E007]\n" in refused.err
    assert versions(database) == ["001", "002", "003"]
    assert call("migrate_apply", "--ignore-missing").code == 0
    pending.write("005_e.sql", "CREATE TABLE e ();")
    settings.SQLMIGRATOR = settings.SQLMIGRATOR | {"IGNORE_MISSING": True}
    assert call("migrate_apply").code == 0
    assert versions(database)[-1] == "005"


def test_ahead_is_no_obstacle(database: Database, pending: Folder, call: Call) -> None:
    assert call("migrate_apply").code == 0
    (pending.path / "003_b.sql").unlink()
    assert call("migrate_apply") == Result(0, "Nothing to apply: the database is up to date.\n", "")


def test_applied_by(database: Database, pending: Folder, call: Call, settings: Settings) -> None:
    assert call("migrate_apply", "--to", "001").code == 0
    settings.SQLMIGRATOR = settings.SQLMIGRATOR | {"APPLIED_BY": "ci"}
    assert call("migrate_apply", "--to", "002").code == 0
    assert call("migrate_apply", "--applied-by", "Ann O'Neill").code == 0
    rows = database.query("SELECT applied_by FROM schema_migrations ORDER BY version")
    assert [row[0] for row in rows][1:] == ["ci", "Ann O'Neill"]
    assert re.fullmatch(r"\S+@\S+", rows[0][0])


def test_statement_timeout(database: Database, pending: Folder, call: Call) -> None:
    pending.write("004_slow.sql", "CREATE TABLE slow (); SELECT pg_sleep(60);")
    failed = call("migrate_apply", "--statement-timeout", "100ms")
    assert failed.code == 1
    assert "canceling statement due to statement timeout [SQLSTATE 57014]\n" in failed.err
    assert "  Raise the limit: `--statement-timeout`, or the directive statement_timeout.\n" in (
        failed.err
    )
    assert tables(database) == ["a", "b"]


def test_lock_timeout_0_waits(
    database: Database, pending: Folder, manage_popen: Callable[..., Running], call: Call
) -> None:
    assert call("migrate_apply").code == 0
    pending.write("004_alter.sql", "ALTER TABLE a ADD COLUMN x int;")
    with database.connect(autocommit=False) as blocker:
        blocker.execute("SELECT * FROM a")
        running = manage_popen("migrate_apply", "--directory", pending.path, "--lock-timeout", "0")
        running.wait_for("waits for a lock of process")
        blocker.rollback()
    result = running.finish()
    assert result.code == 0
    assert "again in" not in result.err
    assert versions(database)[-1] == "004"


def test_a_blocker_is_named_when_the_budget_is_used_up(
    database: Database, pending: Folder, call: Call, settings: Settings
) -> None:
    assert call("migrate_apply").code == 0
    settings.SQLMIGRATOR = settings.SQLMIGRATOR | {"LOCK_BUDGET": "1s", "LOCK_TIMEOUT": "400ms"}
    pending.write("004_alter.sql", "ALTER TABLE a ADD COLUMN x int;")
    with database.connect(autocommit=False, application_name="report") as blocker:
        blocker.execute("SELECT 'hunter2' FROM a")
        pid = blocker.info.backend_pid
        failed = call("migrate_apply")
    assert failed.code == 1
    assert "canceling statement due to lock timeout [SQLSTATE 55P03]\n" in failed.err
    assert f"    Blocked by process {pid}, user " in failed.err
    assert "application report" in failed.err
    assert "hunter2" not in failed.err
    assert tables(database) == ["a", "b"]


def test_lock_wait(database: Database, pending: Folder, call: Call) -> None:
    """Another runner holds the lock for longer than this one waits."""
    with database.connect(application_name="other runner") as holder:
        holder.execute("SELECT pg_advisory_lock(%s, %s)", [LOCK_CLASS, lock_key()])
        pid = holder.info.backend_pid
        result = call("migrate_apply", "--lock-wait", "100ms")
    assert (result.code, result.out) == (5, "")
    lines = result.err.splitlines()
    assert lines[0].startswith(f"Waiting for the migration lock: held by process {pid}, user ")
    assert lines[1].startswith(
        f"The migration lock did not come free within 100 ms. It is held by process {pid}, user "
    )
    assert lines[2:] == [
        "  Two runners at once would apply migrations twice.",
        "  Wait for the other run, or pass a longer --lock-wait."
        f" `SELECT pg_terminate_backend({pid})` ends it.",
    ]
    assert database.query("SELECT to_regclass('schema_migrations')") == [(None,)]
    assert call("migrate_apply").code == 0


def test_nothing_pending_takes_no_lock(database: Database, pending: Folder, call: Call) -> None:
    assert call("migrate_apply").code == 0
    with database.connect() as holder:
        holder.execute("SELECT pg_advisory_lock(%s, %s)", [LOCK_CLASS, lock_key()])
        assert call("migrate_apply", "--lock-wait", "1ms").code == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lock-wait", "5"], "argument --lock-wait: '5' is not a duration"),
        (["--lock-timeout", "soon"], "argument --lock-timeout: 'soon' is not a duration"),
        (["--statement-timeout=-1s"], "argument --statement-timeout: '-1s' is not a duration"),
        (["--lock-wait", "999999h"], "is longer than PostgreSQL can wait"),
        (["--database", "x"], "argument --database: invalid choice: 'x'"),
        (["--to"], "argument --to: expected one argument"),
    ],
)
def test_usage_errors(folder: Folder, call: Call, options: list[str], message: str) -> None:
    result = call("migrate_apply", *options)
    assert (result.code, result.out) == (2, "")
    assert message in result.err


def test_no_input_is_accepted(database: Database, pending: Folder, call: Call) -> None:
    assert call("migrate_apply", "--noinput").code == 0
    assert call("migrate_apply", "--no-input").code == 0


# Signals


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_nothing_half_done_and_says_so(
    database: Database,
    pending: Folder,
    manage_popen: Callable[..., Running],
    number: signal.Signals,
    code: int,
) -> None:
    pending.write("004_slow.sql", "CREATE TABLE slow (); SELECT pg_sleep(60);")
    pending.write("005_after.sql", "CREATE TABLE after_it ();")
    running = manage_popen("migrate_apply", "--directory", pending.path)
    running.wait_for("Applying 004_slow.sql (4 of 5)... ")
    wait_until(
        lambda: database.query(
            "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
            " AND datname = current_database()"
        ),
        "the migration sleeps",
    )
    running.send(number)
    result = running.finish()
    assert result.code == code
    assert result.err == (
        "Stopped by a signal: 004_slow.sql was rolled back, nothing of it remains; "
        "3 applied in this run, 2 still pending.\n"
    )
    assert tables(database) == ["a", "b"]
    assert versions(database) == ["001", "002", "003"]


# Several databases


def test_several_databases_with_settings_of_their_own(
    database: Database,
    make_database: Callable[[], Database],
    add_alias: Callable[..., None],
    pending: Folder,
    call: Call,
    settings: Settings,
) -> None:
    other_folder = Folder(pending.path.parent / "other")
    other_folder.path.mkdir()
    other_folder.with_tracking().write("002_other.sql", "CREATE TABLE other ();")
    other = make_database()
    add_alias("other", other)
    settings.SQLMIGRATOR = {
        "DIRECTORY": pending.path,
        "APPLIED_BY": "everybody",
        "DATABASES": {"other": {"DIRECTORY": other_folder.path, "APPLIED_BY": "other"}},
    }
    assert call("migrate_apply", "--database", "other").code == 0
    assert versions(other) == ["001", "002"]
    assert tables(other) == ["other"]
    assert database.query("SELECT to_regclass('schema_migrations')") == [(None,)]
    result = call("migrate_apply", "--all-databases")
    assert result.code == 0
    assert timeless(result.out) == (
        "Database default\n"
        "Applying 001_migration_tracking.sql (1 of 3)... OK (T)\n"
        "Applying 002_a.sql (2 of 3)... OK (T)\n"
        "Applying 003_b.sql (3 of 3)... OK (T)\n"
        "Applied 3 migrations in T.\n"
        "Database other\n"
        "Nothing to apply: the database is up to date.\n"
    )
    assert database.query("SELECT DISTINCT applied_by FROM schema_migrations") == [("everybody",)]
    assert other.query("SELECT DISTINCT applied_by FROM schema_migrations") == [("other",)]


def test_a_failure_stops_before_the_next_database(
    database: Database,
    make_database: Callable[[], Database],
    add_alias: Callable[..., None],
    pending: Folder,
    call: Call,
    settings: Settings,
) -> None:
    other = make_database()
    add_alias("other", other)
    settings.SQLMIGRATOR = {"DIRECTORY": pending.path, "DATABASES": {"other": {}}}
    pending.write("004_bad.sql", "SELECT nope;")
    result = call("migrate_apply", "--all-databases")
    assert result.code == 1
    assert "Database other" not in result.out
    assert other.query("SELECT to_regclass('schema_migrations')") == [(None,)]


def test_directory(database: Database, folder: Folder, call: Call) -> None:
    other = Folder(folder.path.parent / "öther földer")
    other.write("001_x.sql", "CREATE TABLE x ();")
    assert call("migrate_apply", "--directory", other.path).code == 0
    assert tables(database) == ["x"]
