"""Families 13 and 14: a file that ends the runner's transaction, or drops its lock.

Refused before anything runs; and with the static check left out, caught by the fence.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from sqlmigrator.backends.postgresql.session import PostgreSQLSession
from sqlmigrator.conf import Config
from sqlmigrator.core.content import read_content
from sqlmigrator.core.files import MigrationFile, fingerprint
from sqlmigrator.events import Stop, ignore
from sqlmigrator.results import AttemptFailed, Failure
from tests.faults.scenes import applied, attempts, exists
from tests.support import Database, Folder, Result

CREATES = "CREATE TABLE a (n int);\n{control}\nCREATE TABLE b (n int);\n"
HINT = "Remove it: the runner wraps the file in one transaction."
ENDED = "sqlmigrator: the file ended the transaction or reset its settings"
UNLOCKED = "sqlmigrator: the file dropped the migration lock"
CONTROLS = (
    "commit;",
    "rollback;",
    "rollback; begin;",
    "commit; begin;",
    "COMMIT AND CHAIN;",
    "ROLLBACK AND CHAIN;",
    "END;",
    "ABORT; START TRANSACTION;",
)


@pytest.fixture
def tracked(database: Database, folder: Folder, call: Callable[..., Result]) -> Database:
    """001 is applied."""
    folder.with_tracking()
    assert call("migrate_apply", "-v0").code == 0
    return database


def test_refused_before_anything_runs(
    tracked: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    folder.write("002_good.sql", "CREATE TABLE good (n int);")
    for control in (*CONTROLS, "BEGIN;", "PREPARE TRANSACTION 'x';"):
        file = folder.write("003_control.sql", CREATES.format(control=control))
        result = call("migrate_apply")
        assert result.code == 1, control
        assert "is the file's own transaction control [E009]" in result.err, control
        assert f"{file}:2:1\n" in result.err, control
        assert HINT in " ".join(result.err.split())
        assert "Nothing was applied: " in result.err
        assert applied(tracked) == ["001"]
        assert not exists(tracked, "good")


@pytest.mark.parametrize("statement", ["DISCARD ALL;", "SELECT pg_advisory_unlock_all();"])
def test_dropping_the_lock_is_refused_before_anything_runs(
    statement: str, tracked: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    folder.write("002_good.sql", "CREATE TABLE good (n int);")
    folder.write("003_drops.sql", CREATES.format(control=statement))
    result = call("migrate_apply")
    assert result.code == 1
    assert "this statement drops the migration lock [E016]" in result.err
    assert not exists(tracked, "good")


def run_unchecked(folder: Folder, name: str, text: str) -> Failure:
    """Apply one file without looking at what the static check found; return how it failed."""
    path = folder.write(name, text)
    file = unchecked(path)
    config = Config(directory=folder.path, applied_by="test")
    session = PostgreSQLSession("default", config, ignore, Stop())
    try:
        session.acquire_lock()
        session.prepare()
        content = read_content(path.read_bytes(), file=str(path), number=file.number)
        with pytest.raises(AttemptFailed) as caught:
            session.apply(file, content)
    finally:
        session.close()
    return caught.value.failure


def unchecked(path: Path) -> MigrationFile:
    version, _, name = path.stem.partition("_")
    checksum, text_checksum = fingerprint(path.read_bytes())
    return MigrationFile(
        path.parent, path.name, version, int(version), name, None, checksum, text_checksum
    )


def test_the_fence_catches_it_without_the_static_check(tracked: Database, folder: Folder) -> None:
    for control in CONTROLS:
        failure = run_unchecked(folder, "002_control.sql", CREATES.format(control=control))
        assert failure.message == ENDED, control
        assert failure.remains.endswith("may be in the database, and is not recorded.")
        assert failure.advice.startswith("Remove the COMMIT, ROLLBACK or RESET ALL;")
        assert applied(tracked) == ["001"]
        keeps = control.upper().startswith(("COMMIT", "END"))
        assert exists(tracked, "a") == keeps  # what was committed cannot be taken back
        assert not exists(tracked, "b"), control
        total = 2 + control.count(";")
        assert attempts(tracked, "002")[-1] == ("failed", 0, total, None, ENDED)
        tracked.execute("DROP TABLE IF EXISTS a")


def test_the_fence_catches_it_statement_by_statement(tracked: Database, folder: Folder) -> None:
    """COPY data make the runner send one statement at a time."""
    copy = "CREATE TABLE c (n int);\nCOPY c FROM stdin;\n1\n\\.\n"
    for control in CONTROLS:
        failure = run_unchecked(folder, "002_control.sql", copy + CREATES.format(control=control))
        assert failure.message == ENDED, control
        assert applied(tracked) == ["001"]
        assert not exists(tracked, "b"), control
        tracked.execute("DROP TABLE IF EXISTS a, c")


def test_the_fence_catches_it_in_a_no_transaction_file(tracked: Database, folder: Folder) -> None:
    for control in CONTROLS:
        text = "-- sqlmigrator: no-transaction\n" + CREATES.format(control=control)
        failure = run_unchecked(folder, "002_control.sql", text)
        ended = ENDED if "CHAIN" in control else "the statement ended the runner's transaction"
        assert failure.message == ended, control
        assert applied(tracked) == ["001"]
        assert exists(tracked, "a")  # the first statement was done
        assert not exists(tracked, "b"), control
        tracked.execute("DROP TABLE a")


@pytest.mark.parametrize(
    "unlock",
    [
        "DO $$BEGIN PERFORM pg_advisory_unlock_all(); END$$;",
        "DO $$BEGIN EXECUTE 'SELECT pg_advisory_' || 'unlock_all()'; END$$;",
        "SELECT pg_advisory_unlock(classid::int, objid::int) FROM pg_locks, generate_series(1, 2)"
        " WHERE locktype = 'advisory';",
    ],
)
@pytest.mark.parametrize("header", ["", "-- sqlmigrator: no-transaction\n"])
def test_a_file_that_drops_the_lock_is_rolled_back(
    unlock: str, header: str, tracked: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    folder.write("002_drops.sql", f"{header}{unlock}")
    folder.write("003_after.sql", "CREATE TABLE after (n int);")
    result = call("migrate_apply")
    assert result.code == 1
    assert f": {UNLOCKED}\n" in result.err
    assert "Not applied: 003_after.sql." in result.err
    assert applied(tracked) == ["001"]
    assert not exists(tracked, "after")
    assert [row[0] for row in attempts(tracked, "002")] == ["failed"]


def test_what_ran_before_the_unlock_is_rolled_back(
    tracked: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    folder.write(
        "002_drops.sql",
        CREATES.format(control="DO $$BEGIN PERFORM pg_advisory_unlock_all(); END$$;"),
    )
    result = call("migrate_apply")
    assert result.code == 1
    assert f"002_drops.sql: {UNLOCKED}\n" in result.err
    assert "Nothing of it remains: the transaction was rolled back." in result.err
    assert "Remove what drops advisory locks (pg_advisory_unlock_all, DISCARD ALL)." in result.err
    assert not exists(tracked, "a")
    assert not exists(tracked, "b")


@pytest.mark.parametrize("block", ["DO $$BEGIN COMMIT; END$$;", "CALL ends();"])
def test_commit_inside_a_block_or_a_procedure(
    block: str, tracked: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    tracked.execute("CREATE PROCEDURE ends() LANGUAGE plpgsql AS $$BEGIN COMMIT; END$$")
    folder.write("002_commits.sql", CREATES.format(control=block))
    result = call("migrate_apply")
    assert result.code == 1
    assert "002_commits.sql:2:1: invalid transaction termination [SQLSTATE 2D000]" in result.err
    assert "Remove COMMIT and ROLLBACK from the procedure or DO block." in result.err
    assert not exists(tracked, "a")
    assert applied(tracked) == ["001"]


def test_one_pair_around_everything_is_the_runners_own(
    tracked: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    folder.write(
        "002_wrapped.sql",
        "-- a comment\nBEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE;\n"
        "CREATE TABLE level AS SELECT current_setting('transaction_isolation') AS name;\n"
        "SAVEPOINT s; CREATE TABLE gone (n int); ROLLBACK TO SAVEPOINT s; RELEASE s;\n"
        "COMMIT;\n-- the end",
    )
    folder.write("003_half.sql", "begin;\nCREATE TABLE half (n int);\nSELECT 1/0;\nend;")
    result = call("migrate_apply")
    assert result.code == 1
    assert "003_half.sql:3:1: division by zero [SQLSTATE 22012]" in result.err
    assert tracked.query("SELECT name FROM level") == [("serializable",)]
    assert not exists(tracked, "gone")
    assert not exists(tracked, "half")
    assert applied(tracked) == ["001", "002"]
