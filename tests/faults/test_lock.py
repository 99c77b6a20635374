"""The migration lock: who holds it, how long to wait for it, and that it is still ours."""

import re
from collections.abc import Callable

import pytest

from sqlmigrator.backends.postgresql.lock import LOCK_CLASS
from tests.faults.scenes import (
    applied,
    attempts,
    exists,
    lock_key,
    runner_pid,
    wait_for_statement,
)
from tests.support import Database, Folder, Result, Running

WAITS = r"Waiting for the migration lock: held by "
HELD = (
    r"process {pid}, user (?:postgres|root), host (local socket|127\.0\.0\.1), application {application},"
    r" since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d"
)


@pytest.fixture
def prepared(database: Database, folder: Folder, call: Callable[..., Result]) -> Database:
    folder.with_tracking()
    assert call("migrate_apply", "-v0").code == 0
    return database


@pytest.mark.parametrize("header", ["", "-- sqlmigrator: no-transaction\n"])
def test_the_holder_is_shown_with_what_it_runs(
    header: str,
    prepared: Database,
    folder: Folder,
    start: Callable[..., Running],
    call: Callable[..., Result],
) -> None:
    folder.write("002_slow.sql", f"{header}SELECT pg_sleep(120), 'marked';")
    holder = start()
    wait_for_statement(prepared, "pg_sleep(120)")
    pid = runner_pid(prepared)
    result = call("migrate_apply", "--lock-wait", "1s")
    assert result.code == 5
    held = HELD.format(pid=pid, application="sqlmigrator")
    first, second, *rest = result.err.splitlines()
    assert re.fullmatch(f"{WAITS}{held}, running: (.*)", first), first
    assert "002_slow.sql" in first or "SELECT pg_sleep(" in first
    assert "marked" not in result.err
    told = r"The migration lock did not come free within 1\.0 s\. It is held by "
    assert re.fullmatch(f"{told}{held}, running: .*", second), second
    assert rest == [
        "  Two runners at once would apply migrations twice.",
        "  Wait for the other run, or pass a longer --lock-wait."
        f" `SELECT pg_terminate_backend({pid})` ends it.",
    ]
    assert result.out == ""
    assert holder.process.poll() is None
    assert applied(prepared) == ["001"]


def test_any_other_holder_is_shown_too(
    prepared: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    folder.write("002_t.sql", "CREATE TABLE t (n int);")
    with prepared.connect(application_name="psql of somebody") as other:
        other.execute(f"SELECT pg_advisory_lock({LOCK_CLASS}, {lock_key('public')})".encode())
        result = call("migrate_apply", "--lock-wait", "0")
        held = HELD.format(pid=other.info.backend_pid, application="psql of somebody")
        assert result.code == 5
        assert re.match(f"{WAITS}{held}", result.err), result.err
    assert not exists(prepared, "t")
    assert call("migrate_apply").code == 0


def test_waiting_shows_the_holder_again_and_again(
    prepared: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    folder.write("002_t.sql", "CREATE TABLE t (n int);")
    with prepared.connect() as other:
        other.execute(f"SELECT pg_advisory_lock({LOCK_CLASS}, {lock_key('public')})".encode())
        result = call("migrate_apply", "--lock-wait", "6s")
    assert result.code == 5
    assert result.err.count("Waiting for the migration lock") == 2
    assert re.search(r"^Waiting for the migration lock for 5\.\d s: held by ", result.err, re.M)


def test_without_anything_pending_nobody_waits(
    prepared: Database, call: Callable[..., Result]
) -> None:
    with prepared.connect() as other:
        other.execute(f"SELECT pg_advisory_lock({LOCK_CLASS}, {lock_key('public')})".encode())
        result = call("migrate_apply", "--lock-wait", "0")
    assert result == Result(0, "Nothing to apply: the database is up to date.\n", "")


def test_two_bookkeeping_schemas_do_not_wait_for_each_other(
    prepared: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    folder.write("002_t.sql", "CREATE TABLE t (n int);")
    with prepared.connect() as other:
        other.execute(f"SELECT pg_advisory_lock({LOCK_CLASS}, {lock_key('aside')})".encode())
        assert call("migrate_apply", "--lock-wait", "0").code == 0


def test_the_fence_finds_the_lock_gone(
    prepared: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    """Dropped by a function that no static check can see through."""
    prepared.execute(
        "CREATE FUNCTION tidy() RETURNS void LANGUAGE sql AS 'SELECT pg_advisory_unlock_all()'"
    )
    folder.write("002_tidy.sql", "CREATE TABLE t (n int); SELECT tidy();")
    folder.write("003_after.sql", "CREATE TABLE after (n int);")
    result = call("migrate_apply")
    told = "sqlmigrator: the file dropped the migration lock"
    assert result.code == 1
    assert f"002_tidy.sql: {told}\n" in result.err
    assert "Nothing of it remains: the transaction was rolled back.\n" in result.err
    assert not exists(prepared, "t")
    assert not exists(prepared, "after")
    assert applied(prepared) == ["001"]
    assert attempts(prepared, "002") == [("failed", 0, 2, None, told)]


def test_the_lock_is_free_after_every_end(
    prepared: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    for text, code in (("SELECT 1/0;", 1), ("SELECT 1;", 0)):
        folder.write("002_end.sql", text)
        assert call("migrate_apply", "--lock-wait", "0").code == code
    assert prepared.query(
        "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
        " WHERE locktype = 'advisory' AND datname = current_database()"
    ) == [(0,)]
