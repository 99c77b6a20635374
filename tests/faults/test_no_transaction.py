"""Families 7 to 10: a no-transaction file is stopped half-way, and `--resume` goes on.

A statement is held up by a real blocker; then the client is killed (SIGKILL) or its session ended.
"""

from collections.abc import Callable

import pytest

from tests.faults.scenes import (
    applied,
    attempts,
    exists,
    holding,
    indexes,
    oid,
    terminate_runner,
    wait_for_no_runner,
    wait_for_statement,
)
from tests.support import Database, Folder, Result, Running

HEADER = "-- sqlmigrator: no-transaction\n"
WRITER = "INSERT INTO t VALUES (4711, 4711)"  # an open transaction that index builds wait for
SEVEN = f"""{HEADER}
CREATE TABLE first (n int);
INSERT INTO first VALUES (1);
CREATE INDEX CONCURRENTLY t_a_idx ON t (a);
INSERT INTO first VALUES (4);
CREATE INDEX CONCURRENTLY t_b_idx ON t (b);
INSERT INTO first VALUES (6);
VACUUM t;
"""
BLOCK_LOG = """
CREATE FUNCTION hold_up() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN PERFORM pg_sleep(60); RETURN NEW; END$$;
CREATE TRIGGER hold_up BEFORE {what} ON {table} FOR EACH ROW {when} EXECUTE FUNCTION hold_up();
"""


@pytest.fixture
def prepared(database: Database, folder: Folder, call: Callable[..., Result]) -> Database:
    """001 and 002 are applied: the tracking table, and the table t."""
    folder.with_tracking()
    folder.write(
        "002_create_t.sql",
        "CREATE TABLE t (a int, b int);"
        "INSERT INTO t SELECT i, i / 2 FROM generate_series(1, 1000) AS i;",
    )
    assert call("migrate_apply", "-v0").code == 0
    return database


def kill_in(statement: str, blocker: str, database: Database, running: Running) -> None:
    """SIGKILL the client while `statement` waits for `blocker`; return when the server noticed."""
    with holding(database, blocker):
        wait_for_statement(database, statement, waiting=True)
        running.kill()
        wait_for_no_runner(database)


def stop_before(database: Database, table: str, what: str, when: str = "") -> None:
    """Let the writing of a row hang, by a trigger, so that the client can be killed before it."""
    database.execute(BLOCK_LOG.format(table=table, what=what, when=when))


def unstop(database: Database) -> None:
    database.execute("DROP FUNCTION hold_up CASCADE")


def test_killed_in_the_third_of_seven_statements(
    prepared: Database, folder: Folder, start: Callable[..., Running], call: Callable[..., Result]
) -> None:
    folder.write("003_seven.sql", SEVEN)
    with holding(prepared, WRITER):
        first = start()
        wait_for_statement(prepared, "CREATE INDEX CONCURRENTLY t_a_idx", waiting=True)
        second = start()
        second.wait_for("Waiting for the migration lock")
        first.kill()
        waited = second.finish()
    assert waited.code == 1
    assert "Waiting for the migration lock: held by process " in waited.err
    assert "003_seven.sql was interrupted at statement 3 of 7 [E014]" in waited.err
    assert "migrate_apply --resume` checks that statement and goes on" in waited.err
    assert "Nothing was applied: 1 error must be settled first." in waited.err
    assert applied(prepared) == ["001", "002"]
    assert attempts(prepared, "003") == [("running", 2, 7, None, None)]
    assert indexes(prepared, "t") == {"t_a_idx": False}

    status = call("migrate_status")
    assert status.code == 0
    assert "  003  pending       seven (interrupted at statement 3 of 7)\n" in status.out

    resumed = call("migrate_apply", "--resume")
    assert (resumed.code, resumed.err) == (0, "")
    assert indexes(prepared, "t") == {"t_a_idx": True, "t_b_idx": True}
    assert prepared.query("SELECT n FROM first ORDER BY n") == [(1,), (4,), (6,)]
    assert applied(prepared) == ["001", "002", "003"]
    assert attempts(prepared, "003") == [
        ("resolved", 2, 7, None, None),
        ("done", 7, 7, None, None),
    ]
    assert call("migrate_apply").out == "Nothing to apply: the database is up to date.\n"


def test_killed_in_a_statement_that_runs_in_a_transaction(
    prepared: Database, folder: Folder, start: Callable[..., Running], call: Callable[..., Result]
) -> None:
    folder.write(
        "003_steps.sql",
        f"{HEADER}-- sqlmigrator: lock_timeout=1min\n"
        "CREATE TABLE a (n int); INSERT INTO a VALUES (1);"
        "INSERT INTO a VALUES (2); ALTER TABLE t ADD COLUMN c int;",
    )
    running = start()
    kill_in("ALTER TABLE t", WRITER, prepared, running)
    assert attempts(prepared, "003") == [("running", 3, 4, None, None)]
    assert call("migrate_apply").code == 1
    assert call("migrate_apply", "--resume").code == 0
    assert prepared.query("SELECT n FROM a ORDER BY n") == [(1,), (2,)]
    assert attempts(prepared, "003")[-1] == ("done", 4, 4, None, None)


def test_killed_before_the_first_statement_is_done(
    prepared: Database, folder: Folder, start: Callable[..., Running], call: Callable[..., Result]
) -> None:
    folder.write("003_index.sql", f"{HEADER}CREATE INDEX CONCURRENTLY t_a_idx ON t (a);")
    running = start()
    kill_in("CREATE INDEX", WRITER, prepared, running)
    assert indexes(prepared, "t") == {"t_a_idx": False}
    refused = call("migrate_apply")
    assert refused.code == 1
    assert "003_index.sql was interrupted at statement 1 of 1 [E014]" in refused.err
    assert call("migrate_apply", "--resume").code == 0
    assert indexes(prepared, "t") == {"t_a_idx": True}


def test_the_session_is_ended_in_create_index_concurrently(
    prepared: Database, folder: Folder, start: Callable[..., Running], call: Callable[..., Result]
) -> None:
    folder.write("003_seven.sql", SEVEN)
    with holding(prepared, WRITER):
        running = start()
        wait_for_statement(prepared, "CREATE INDEX CONCURRENTLY t_a_idx", waiting=True)
        terminate_runner(prepared)
        result = running.finish()
    assert result.code == 1
    assert "the connection was lost; looking whether 003_seven.sql is there" in result.err
    assert "terminating connection due to administrator command" in result.err
    assert "--resume" in result.err
    assert applied(prepared) == ["001", "002"]
    assert indexes(prepared, "t") == {"t_a_idx": False}
    assert "interrupted at statement 3 of 7" in call("migrate_status").out
    assert call("migrate_apply", "--resume").code == 0
    assert indexes(prepared, "t") == {"t_a_idx": True, "t_b_idx": True}
    assert prepared.query("SELECT n FROM first ORDER BY n") == [(1,), (4,), (6,)]


def test_killed_after_an_index_was_built_and_before_it_was_counted(
    prepared: Database, folder: Folder, start: Callable[..., Running], call: Callable[..., Result]
) -> None:
    folder.write("003_index.sql", f"{HEADER}CREATE INDEX CONCURRENTLY t_a_idx ON t (a);")
    stop_before(prepared, "schema_migrations_log", "UPDATE", "WHEN (NEW.statement_done = 1)")
    running = start()
    wait_for_statement(prepared, "SET statement_done = 1")
    running.kill()
    wait_for_no_runner(prepared)
    unstop(prepared)
    assert attempts(prepared, "003") == [("running", 0, 1, None, None)]
    built = oid(prepared, "t_a_idx")
    assert call("migrate_apply", "--resume").code == 0
    assert oid(prepared, "t_a_idx") == built
    assert attempts(prepared, "003")[-1] == ("done", 1, 1, None, None)


def test_killed_after_the_last_statement_and_before_the_history_row(
    prepared: Database, folder: Folder, start: Callable[..., Running], call: Callable[..., Result]
) -> None:
    folder.write("003_steps.sql", f"{HEADER}CREATE TABLE a (n int); INSERT INTO a VALUES (1);")
    stop_before(prepared, "schema_migrations", "INSERT OR UPDATE")
    running = start()
    wait_for_statement(prepared, 'INSERT INTO "public".schema_migrations')
    running.kill()
    wait_for_no_runner(prepared)
    unstop(prepared)
    assert attempts(prepared, "003") == [("running", 2, 2, None, None)]
    assert applied(prepared) == ["001", "002"]
    told = "interrupted after statement 2 of 2, before it was recorded"
    refused = call("migrate_apply")
    assert refused.code == 1
    assert f"003_steps.sql was {told} [E014]" in refused.err
    assert call("migrate_apply", "--resume").code == 0
    assert prepared.query("SELECT n FROM a") == [(1,)]
    assert applied(prepared) == ["001", "002", "003"]


def test_if_not_exists_over_an_invalid_index_is_refused(
    prepared: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    with prepared.connect() as connection, pytest.raises(Exception, match="could not create"):
        connection.execute("CREATE UNIQUE INDEX CONCURRENTLY t_b_idx ON t (b)")
    assert indexes(prepared, "t") == {"t_b_idx": False}
    folder.write(
        "003_index.sql", f"{HEADER}CREATE INDEX CONCURRENTLY IF NOT EXISTS t_b_idx ON t (b);"
    )
    result = call("migrate_apply")
    assert result.code == 1
    assert (
        "the index public.t_b_idx is there already, but INVALID: an earlier build was stopped, or"
        " another session is building it now" in result.err
    )
    assert "DROP INDEX CONCURRENTLY public.t_b_idx;" in result.err
    assert applied(prepared) == ["001", "002"]
    assert indexes(prepared, "t") == {"t_b_idx": False}
    prepared.execute("DROP INDEX t_b_idx")
    assert call("migrate_apply").code == 0
    assert indexes(prepared, "t") == {"t_b_idx": True}


def test_a_failing_unique_index_leaves_no_invalid_index(
    prepared: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    folder.write("003_index.sql", f"{HEADER}CREATE UNIQUE INDEX CONCURRENTLY t_b_idx ON t (b);")
    result = call("migrate_apply")
    assert result.code == 1
    assert 'could not create unique index "t_b_idx" [SQLSTATE 23505]' in result.err
    assert "Detail: Key (b)=(not shown) is duplicated." in result.err
    assert "The INVALID index public.t_b_idx that it left was dropped." in result.err
    assert "None of its statements is done." in result.err
    assert indexes(prepared, "t") == {}
    assert applied(prepared) == ["001", "002"]
    assert attempts(prepared, "003")[0][:4] == ("failed", 0, 1, "23505")
    prepared.execute("DELETE FROM t")
    assert call("migrate_apply").code == 0
    assert indexes(prepared, "t") == {"t_b_idx": True}


def test_a_failing_unique_index_without_a_name_leaves_no_invalid_index(
    prepared: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    folder.write("003_index.sql", f"{HEADER}CREATE UNIQUE INDEX CONCURRENTLY ON t (b);")
    result = call("migrate_apply")
    assert result.code == 1
    assert "The INVALID index public.t_b_idx that it left was dropped." in result.err
    assert indexes(prepared, "t") == {}


def test_an_index_without_a_name_in_doubt_is_not_built_twice(
    prepared: Database, folder: Folder, start: Callable[..., Running], call: Callable[..., Result]
) -> None:
    folder.write(
        "003_index.sql", f"{HEADER}CREATE TABLE a (n int); CREATE INDEX CONCURRENTLY ON t (a);"
    )
    running = start()
    kill_in("CREATE INDEX", WRITER, prepared, running)
    for _ in range(2):  # asked again it does not forget that it is in doubt
        refused = call("migrate_apply", "--resume")
        assert refused.code == 1
        assert (
            "it cannot be told whether statement 2 (CREATE INDEX CONCURRENTLY without a name) was"
            " done" in refused.err
        )
        assert indexes(prepared, "t") == {"t_a_idx": False}
        assert applied(prepared) == ["001", "002"]
    assert "interrupted at statement 2 of 2" in call("migrate_status").out


def test_an_index_without_a_name_in_doubt_as_the_only_statement(
    prepared: Database, folder: Folder, start: Callable[..., Running], call: Callable[..., Result]
) -> None:
    folder.write("003_index.sql", f"{HEADER}CREATE INDEX CONCURRENTLY ON t (a);")
    running = start()
    kill_in("CREATE INDEX", WRITER, prepared, running)
    assert call("migrate_apply", "--resume").code == 1
    assert call("migrate_apply").code == 1
    assert indexes(prepared, "t") == {"t_a_idx": False}


def test_drop_index_concurrently_in_doubt(
    prepared: Database, folder: Folder, start: Callable[..., Running], call: Callable[..., Result]
) -> None:
    prepared.execute("CREATE INDEX t_a_idx ON t (a)")
    folder.write("003_drop.sql", f"{HEADER}DROP INDEX CONCURRENTLY t_a_idx;")
    running = start()
    kill_in("DROP INDEX", WRITER, prepared, running)
    assert list(indexes(prepared, "t")) == ["t_a_idx"]
    assert call("migrate_apply", "--resume").code == 0
    assert indexes(prepared, "t") == {}


def test_drop_index_concurrently_that_was_done(
    prepared: Database, folder: Folder, start: Callable[..., Running], call: Callable[..., Result]
) -> None:
    prepared.execute("CREATE INDEX t_a_idx ON t (a)")
    folder.write("003_drop.sql", f"{HEADER}DROP INDEX CONCURRENTLY t_a_idx;")
    stop_before(prepared, "schema_migrations_log", "UPDATE", "WHEN (NEW.statement_done = 1)")
    running = start()
    wait_for_statement(prepared, "SET statement_done = 1")
    running.kill()
    wait_for_no_runner(prepared)
    unstop(prepared)
    assert indexes(prepared, "t") == {}
    assert call("migrate_apply", "--resume").code == 0
    assert applied(prepared) == ["001", "002", "003"]


def test_reindex_concurrently_in_doubt(
    prepared: Database, folder: Folder, start: Callable[..., Running], call: Callable[..., Result]
) -> None:
    prepared.execute("CREATE INDEX t_a_idx ON t (a)")
    folder.write("003_reindex.sql", f"{HEADER}REINDEX INDEX CONCURRENTLY t_a_idx;")
    running = start()
    kill_in("REINDEX", WRITER, prepared, running)
    assert indexes(prepared, "t") == {"t_a_idx": True, "t_a_idx_ccnew": False}
    before = oid(prepared, "t_a_idx")
    assert call("migrate_apply", "--resume").code == 0
    assert indexes(prepared, "t") == {"t_a_idx": True}
    assert oid(prepared, "t_a_idx") != before


def test_a_failing_reindex_drops_only_what_it_left(
    prepared: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    """An INVALID index that was there before is somebody's work, not the REINDEX's leftover."""
    with prepared.connect() as connection, pytest.raises(Exception, match="could not create"):
        connection.execute("CREATE UNIQUE INDEX CONCURRENTLY t_b_idx ON t (b)")
    folder.write("003_reindex.sql", f"{HEADER}REINDEX INDEX CONCURRENTLY t_b_idx;")
    result = call("migrate_apply")
    assert result.code == 1
    assert "could not create unique index" in result.err
    assert indexes(prepared, "t") == {"t_b_idx": False}
    assert applied(prepared) == ["001", "002"]


def test_vacuum_in_doubt_runs_again(
    prepared: Database, folder: Folder, start: Callable[..., Running], call: Callable[..., Result]
) -> None:
    prepared.execute("CREATE TABLE big (filler text)")
    prepared.execute("INSERT INTO big SELECT repeat('x', 2000) FROM generate_series(1, 2000)")
    folder.write(
        "003_vacuum.sql",
        f"{HEADER}SET vacuum_cost_delay = '50ms'; SET vacuum_cost_limit = 1; VACUUM big;",
    )
    running = start()
    wait_for_statement(prepared, "VACUUM big")
    running.kill()
    wait_for_no_runner(prepared)
    assert attempts(prepared, "003") == [("running", 2, 3, None, None)]
    prepared.execute("TRUNCATE big")
    assert call("migrate_apply", "--resume").code == 0
    assert prepared.query("SHOW vacuum_cost_limit") == [("200",)]


def test_a_blocked_vacuum_is_tried_again(
    prepared: Database, folder: Folder, start: Callable[..., Running]
) -> None:
    folder.write("003_vacuum.sql", f"{HEADER}VACUUM t;")
    with holding(prepared, "LOCK TABLE t IN SHARE UPDATE EXCLUSIVE MODE"):
        running = start()
        running.wait_for("attempt 1: canceling statement due to lock timeout")
    assert running.finish().code == 0
    assert applied(prepared) == ["001", "002", "003"]


def test_detach_partition_concurrently_in_doubt(
    prepared: Database, folder: Folder, start: Callable[..., Running], call: Callable[..., Result]
) -> None:
    prepared.execute(
        "CREATE TABLE events (n int) PARTITION BY RANGE (n);"
        "CREATE TABLE events_old PARTITION OF events FOR VALUES FROM (0) TO (10);"
        "INSERT INTO events VALUES (1);"
    )
    folder.write(
        "003_detach.sql", f"{HEADER}ALTER TABLE events DETACH PARTITION events_old CONCURRENTLY;"
    )
    running = start()
    kill_in("ALTER TABLE events DETACH", "SELECT * FROM events", prepared, running)
    pending = "SELECT inhdetachpending FROM pg_inherits WHERE inhrelid = 'events_old'::regclass"
    assert prepared.query(pending) == [(True,)]
    assert call("migrate_apply", "--resume").code == 0
    assert prepared.query(pending) == []
    assert applied(prepared) == ["001", "002", "003"]


def test_resume_refuses_a_file_edited_since(
    prepared: Database, folder: Folder, start: Callable[..., Running], call: Callable[..., Result]
) -> None:
    folder.write("003_seven.sql", SEVEN)
    running = start()
    kill_in("CREATE INDEX", WRITER, prepared, running)
    folder.write("003_seven.sql", SEVEN.replace("VALUES (4)", "VALUES (5)"))
    refused = call("migrate_apply", "--resume")
    assert refused.code == 1
    assert "003_seven.sql was edited since it was interrupted; it cannot be resumed." in refused.err
    assert "Restore the file and resume; or complete it by hand" in refused.err
    assert attempts(prepared, "003") == [("running", 2, 7, None, None)]
    assert prepared.query("SELECT n FROM first") == [(1,)]
    folder.write("003_seven.sql", SEVEN)
    assert call("migrate_apply", "--resume").code == 0


def test_resume_after_a_failed_statement_runs_it_again(
    prepared: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    folder.write(
        "003_steps.sql",
        f"{HEADER}SET search_path = 'aside', 'public'; CREATE TABLE a (n int);"
        "INSERT INTO later VALUES (1);",
    )
    prepared.execute("CREATE SCHEMA aside")
    failed = call("migrate_apply")
    assert failed.code == 1
    assert 'relation "later" does not exist [SQLSTATE 42P01]' in failed.err
    assert "Statements 1 to 2 are done and stay done." in failed.err
    assert exists(prepared, "aside.a")
    prepared.execute("CREATE TABLE aside.later (n int)")
    assert call("migrate_apply").code == 1
    assert call("migrate_apply", "--resume").code == 0
    assert prepared.query("SELECT n FROM aside.later") == [(1,)]
    assert [row[0] for row in attempts(prepared, "003")] == ["failed", "done"]
