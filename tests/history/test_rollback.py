"""`migrate_rollback`: the reverse file and the row, in one transaction."""

from collections.abc import Callable

import pytest

from sqlmigrator.core.rollback import plan_rollback
from sqlmigrator.exceptions import DatabaseRefused
from sqlmigrator.runner import MigrationRunner
from tests.support import Database, Folder, Result

Call = Callable[..., Result]


@pytest.fixture
def applied(database: Database, folder: Folder, call: Call) -> Folder:
    """Two applied migrations with reverse files."""
    folder.with_tracking()
    for number, name in enumerate("ab", 2):
        folder.write(f"{number:03d}_{name}.sql", f"CREATE TABLE {name} (id int);")
        folder.write(f"{number:03d}_{name}.down.sql", f"DROP TABLE {name};")
    assert call("migrate_apply").code == 0
    return folder


def versions(database: Database) -> list[str]:
    return [v for (v,) in database.query("SELECT version FROM schema_migrations ORDER BY 1")]


def test_the_latest_is_rolled_back_with_its_row(
    database: Database, applied: Folder, call: Call
) -> None:
    result = call("migrate_rollback", "003")
    assert result.code == 0, result.err
    assert "Rolled back 003_b in " in result.out
    assert "done      apply     003_b" in result.out  # what the journal knows, first
    assert versions(database) == ["001", "002"]
    assert database.query("SELECT to_regclass('b')") == [(None,)]
    last = "SELECT action, state, version FROM schema_migrations_log ORDER BY id DESC LIMIT 1"
    assert database.query(last) == [("rollback", "done", "003")]
    assert call("migrate_apply").code == 0
    assert versions(database) == ["001", "002", "003"]


def test_a_failing_reverse_changes_nothing(database: Database, applied: Folder, call: Call) -> None:
    applied.write("003_b.down.sql", "DROP TABLE b;\nSELECT 1/0;")
    result = call("migrate_rollback", "003")
    assert result.code == 1
    assert "003_b.down.sql:2:1: division by zero [SQLSTATE 22012]" in result.err
    assert result.err.endswith(
        "  Correct the file, then run `manage.py migrate_rollback 003`.\nFailed: 003_b.down.sql.\n"
    )
    assert versions(database) == ["001", "002", "003"]
    assert database.query("SELECT to_regclass('b')::text") == [("b",)]
    last = "SELECT action, state FROM schema_migrations_log ORDER BY id DESC LIMIT 1"
    assert database.query(last) == [("rollback", "failed")]


def test_only_the_latest_without_force(database: Database, applied: Folder, call: Call) -> None:
    result = call("migrate_rollback", "002")
    assert result.code == 1
    assert result.err.splitlines()[0] == (
        "002_a.sql is not the latest applied migration: 003_b.sql is."
    )
    assert versions(database) == ["001", "002", "003"]
    assert call("migrate_rollback", "002", "--force").code == 0
    assert versions(database) == ["001", "003"]


def test_the_plan_shows_the_sql_and_runs_nothing(
    database: Database, applied: Folder, call: Call
) -> None:
    result = call("migrate_rollback", "003", "--plan")
    assert (result.code, "DROP TABLE b;" in result.out) == (0, True)
    assert versions(database) == ["001", "002", "003"]


def test_without_a_reverse_file_the_way_forward_is_told(
    database: Database, applied: Folder, call: Call
) -> None:
    (applied.path / "003_b.down.sql").unlink()
    result = call("migrate_rollback", "003")
    assert result.code == 1
    assert result.err.splitlines()[0] == "003_b.sql has no reverse file 003_b.down.sql."
    assert "migrate_new NAME" in result.err
    elsewhere = applied.path.parent / "reverse.sql"
    elsewhere.write_text("DROP TABLE b;")
    assert call("migrate_rollback", "003", "--sql", elsewhere).code == 0
    assert versions(database) == ["001", "002"]


@pytest.mark.parametrize(
    ("reverse", "message"),
    [
        ("DROP TABLE b; COMMIT;", "COMMIT is the file's own transaction control"),
        ("DROP INDEX CONCURRENTLY x;", "DROP INDEX CONCURRENTLY cannot run in a transaction"),
        ("-- sqlmigrator: no-transaction\nVACUUM;", "asks for no transaction"),
        ("-- nothing", "the file holds no statement"),
        (b"DROP\0TABLE b", "a NUL byte at offset 4"),
    ],
)
def test_a_reverse_that_cannot_run_is_refused(
    database: Database, applied: Folder, call: Call, reverse: str | bytes, message: str
) -> None:
    applied.write("003_b.down.sql", reverse)
    result = call("migrate_rollback", "003")
    assert result.code == 1
    assert message in result.err
    assert "Nothing was applied" not in result.err
    assert versions(database) == ["001", "002", "003"]


def test_what_needs_no_transaction_is_not_sent_to_a_directive_that_is_refused(
    database: Database, applied: Folder, call: Call
) -> None:
    applied.write("003_b.down.sql", "DROP INDEX CONCURRENTLY x;")
    result = call("migrate_rollback", "003")
    assert result.code == 1
    assert "no-transaction" not in result.err
    assert (
        "    Run it by hand with psql, then `manage.py migrate_mark --unapplied 003\n"
        "    --reason …`; or use the transactional form (DROP INDEX).\n"
    ) in result.err


def test_a_version_that_is_not_applied(database: Database, applied: Folder, call: Call) -> None:
    result = call("migrate_rollback", "099")
    assert (result.code, result.err.splitlines()[0]) == (2, "Version 099 is not applied here.")


def test_what_another_runner_rolled_back_meanwhile_is_not_rolled_back_again(
    database: Database, applied: Folder, call: Call
) -> None:
    applied.write(
        "003_b.down.sql", "CREATE TABLE IF NOT EXISTS ran (n int); INSERT INTO ran VALUES (1);"
    )
    runner = MigrationRunner()
    job = plan_rollback(runner.status(), "003", None, force=False)
    assert call("migrate_rollback", "003").code == 0
    with pytest.raises(DatabaseRefused) as caught:
        runner.roll_back(job)
    assert str(caught.value) == "Nothing was rolled back: 003 is not applied any more."
    assert database.query("SELECT count(*) FROM ran") == [(1,)]


def test_what_is_no_longer_the_latest_is_rolled_back_with_force_only(
    database: Database, applied: Folder, call: Call
) -> None:
    runner = MigrationRunner()
    jobs = [plan_rollback(runner.status(), "003", None, force=force) for force in (False, True)]
    applied.write("004_c.sql", "CREATE TABLE c (id int);")
    assert call("migrate_apply").code == 0
    with pytest.raises(DatabaseRefused) as caught:
        runner.roll_back(jobs[0])
    assert str(caught.value) == "Nothing was rolled back: 003 is no longer the latest applied one."
    assert versions(database) == ["001", "002", "003", "004"]
    runner.roll_back(jobs[1])
    assert versions(database) == ["001", "002", "004"]


def test_a_row_under_another_name_than_the_file(
    database: Database, applied: Folder, call: Call
) -> None:
    (applied.path / "003_b.sql").rename(applied.path / "003_bb.sql")
    result = call("migrate_rollback", "002")
    assert (result.code, result.err.splitlines()[0]) == (
        1,
        "002_a.sql is not the latest applied migration: 003_b.sql is.",
    )
    result = call("migrate_rollback", "003_b", "--plan")
    assert (result.code, "-- 003_b.down.sql\nDROP TABLE b;" in result.out) == (0, True)
    assert call("migrate_rollback", "003").code == 0
    assert versions(database) == ["001", "002"]


def test_the_reverse_of_a_file_that_is_gone(
    database: Database, applied: Folder, call: Call
) -> None:
    (applied.path / "003_b.sql").unlink()
    assert call("migrate_rollback", "003").code == 0
    assert database.query("SELECT to_regclass('b')") == [(None,)]


def test_a_version_that_is_recorded_twice(database: Database, applied: Folder, call: Call) -> None:
    database.execute("INSERT INTO schema_migrations (version, name) VALUES ('03', 'x')")
    result = call("migrate_rollback", "003")
    assert (result.code, result.err.splitlines()[0]) == (
        2,
        "Version 003 is recorded twice: 003_b, 03_x.",
    )
    assert database.query("SELECT to_regclass('b')::text") == [("b",)]
