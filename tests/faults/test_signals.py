"""SIGTERM and SIGINT: an orchestrator stops a pod, somebody presses Ctrl-C."""

import signal
import time
from collections.abc import Callable

import pytest

from tests.faults.proxy import Fault, Proxy, holding
from tests.faults.scenes import (
    applied,
    attempts,
    exists,
    indexes,
    wait_for_no_runner,
)
from tests.faults.scenes import (
    holding as holding_locks,
)
from tests.support import Database, Folder, Result, Running, wait_until

Start = Callable[..., Running]

PATIENCE_S = 5.0
BOTH = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
SLEEP = "CREATE TABLE a (n int);\nSELECT pg_sleep(600);\n"
ACTIVE = """
SELECT pid FROM pg_stat_activity WHERE datname = current_database()
    AND application_name = 'sqlmigrator' AND wait_event = 'PgSleep'
"""
ROLLED_BACK = (
    "Stopped by a signal: 002_two.sql was rolled back, nothing of it remains; "
    "0 applied in this run, 2 still pending.\n"
)


@pytest.fixture
def base(database: Database, folder: Folder, call: Callable[..., Result]) -> Folder:
    """A folder whose first file is applied."""
    folder.with_tracking()
    assert call("migrate_apply").code == 0
    folder.write("003_three.sql", "CREATE TABLE c (n int);\n")
    return folder


def stop(running: Running, number: signal.Signals) -> Result:
    """Send the signal; it must end in time and say so in its exit code."""
    sent = time.monotonic()
    running.send(number)
    result = running.finish()
    assert time.monotonic() - sent < PATIENCE_S
    assert result.code == 128 + number, result
    return result


def started_until_it_sleeps(database: Database, start: Start, *args: object) -> Running:
    running = start(*args)
    wait_until(lambda: database.query(ACTIVE), f"the file sleeps\n{running.err}")
    return running


@BOTH
@pytest.mark.parametrize("copy", ["", "COPY a FROM stdin;\n1\n\\.\n"], ids=["message", "steps"])
def test_during_a_statement(
    database: Database, base: Folder, start: Start, number: signal.Signals, copy: str
) -> None:
    base.write("002_two.sql", f"CREATE TABLE a (n int);\n{copy}SELECT pg_sleep(600);\n")
    result = stop(started_until_it_sleeps(database, start), number)
    assert result.err == ROLLED_BACK
    wait_for_no_runner(database)
    assert database.query(ACTIVE) == []
    assert not exists(database, "a")
    assert applied(database) == ["001"]
    statements = 3 if copy else 2
    assert attempts(database, "002") == [
        ("failed", 0, statements, "57014", f"stopped by {number.name}")
    ]
    base.write("002_two.sql", "CREATE TABLE a (n int);\n")
    assert start().finish().code == 0
    assert applied(database) == ["001", "002", "003"]


def test_in_a_single_transaction(database: Database, base: Folder, start: Start) -> None:
    base.write("002_two.sql", "CREATE TABLE a (n int);\n")
    base.write("003_three.sql", SLEEP.replace("TABLE a", "TABLE c"))
    running = started_until_it_sleeps(database, start, "--single-transaction")
    result = stop(running, signal.SIGTERM)
    assert "0 applied in this run, 2 still pending.\n" in result.err
    assert applied(database) == ["001"]
    assert not exists(database, "a")
    assert [row[4] for row in attempts(database, "003")] == ["stopped by SIGTERM"]


@BOTH
def test_between_two_files(
    database: Database, base: Folder, start: Start, number: signal.Signals
) -> None:
    """It is stopped (SIGSTOP) while 002 commits, and finds reply and signal when it goes on."""
    database.execute("CREATE TABLE gate AS SELECT 1 AS n")
    base.write(
        "002_two.sql",
        "DO $$ BEGIN WHILE EXISTS (SELECT FROM gate) LOOP PERFORM pg_sleep(0.02); END LOOP;"
        " END $$;\n",
    )
    running = started_until_it_sleeps(database, start)
    running.send(signal.SIGSTOP)
    database.execute("DELETE FROM gate")
    wait_until(lambda: applied(database) == ["001", "002"], "002 is committed")
    running.send(number)
    running.send(signal.SIGCONT)
    result = running.finish(PATIENCE_S)
    assert (result.code, result.err) == (
        128 + number,
        "Stopped by a signal between two migrations; 1 applied in this run, 1 still pending.\n",
    )
    assert not exists(database, "c")
    assert attempts(database, "003") == []


@BOTH
def test_while_it_waits_for_another_runner(
    database: Database, base: Folder, start: Start, number: signal.Signals
) -> None:
    base.write("002_two.sql", SLEEP)
    first = started_until_it_sleeps(database, start)
    second = start()
    second.wait_for("Waiting for the migration lock: held by process ")
    result = stop(second, number)
    assert result.err.endswith("\nStopped while waiting for the lock.\n")
    assert first.process.poll() is None
    assert stop(first, number).err == ROLLED_BACK
    assert len(attempts(database, "002")) == 1


def test_while_it_gives_way_to_a_blocker(database: Database, base: Folder, start: Start) -> None:
    database.execute("CREATE TABLE busy (n int)")
    base.write("002_two.sql", "CREATE TABLE a (n int);\nALTER TABLE busy ADD COLUMN m int;\n")
    with holding_locks(database, "SELECT FROM busy"):
        running = start()
        running.wait_for("attempt 2: ")
        assert stop(running, signal.SIGTERM).err.endswith(ROLLED_BACK)
    assert not exists(database, "a")
    assert [row[3:] for row in attempts(database, "002")] == [("57014", "stopped by SIGTERM")]


@BOTH
def test_in_a_no_transaction_file(
    database: Database, base: Folder, start: Start, number: signal.Signals
) -> None:
    """The journal says how far it came; --resume goes on from there."""
    database.execute("CREATE TABLE gate AS SELECT 1 AS n")
    base.write(
        "002_two.sql",
        "-- sqlmigrator: no-transaction\nCREATE TABLE a (n int);\n"
        "DO $$ BEGIN WHILE EXISTS (SELECT FROM gate) LOOP PERFORM pg_sleep(0.02); END LOOP;"
        " END $$;\nCREATE TABLE b (n int);\n",
    )
    result = stop(started_until_it_sleeps(database, start), number)
    assert result.err == (
        "Stopped by a signal: 002_two.sql is interrupted at statement 2 of 3; statement 1 is done"
        " and stays done.\n  `manage.py migrate_apply --resume` goes on from there.\n"
    )
    assert database.query(ACTIVE) == []
    assert attempts(database, "002") == [("running", 1, 3, None, None)]
    assert applied(database) == ["001"]
    assert start().finish().code == 1
    database.execute("DELETE FROM gate")
    assert start("--resume").finish().code == 0
    assert applied(database) == ["001", "002", "003"]
    assert exists(database, "b")


def test_in_create_index_concurrently(database: Database, base: Folder, start: Start) -> None:
    """The statement is cancelled at the server; the next run leaves no INVALID index."""
    database.execute("CREATE TABLE busy (n int)")
    base.write(
        "002_two.sql",
        "-- sqlmigrator: no-transaction\nCREATE INDEX CONCURRENTLY busy_n ON busy (n);\n",
    )
    building = (
        "SELECT 1 FROM pg_stat_progress_create_index WHERE datname = current_database()"
        " AND phase LIKE 'waiting for writers%%'"
    )
    with holding_locks(database, "INSERT INTO busy VALUES (1)"):
        running = start()
        wait_until(lambda: database.query(building), "it waits for the writer")
        stop(running, signal.SIGTERM)
        wait_for_no_runner(database)
    assert applied(database) == ["001"]
    resumed = start("--resume").finish()
    assert resumed.code == 0, resumed
    assert indexes(database, "busy") == {"busy_n": True}
    assert applied(database) == ["001", "002", "003"]


@BOTH
def test_while_the_server_does_not_answer(
    database: Database,
    base: Folder,
    start: Start,
    proxy: Proxy,
    through: dict[str, str],
    number: signal.Signals,
) -> None:
    base.write("002_two.sql", SLEEP)
    proxy.arm(Fault.SILENCE, holding("pg_sleep(600)", "COMMIT"))
    running = start(env=through)
    assert proxy.struck.wait(30)
    wait_until(lambda: database.query(ACTIVE), "the file sleeps")
    result = stop(running, number)
    assert "may or may not be" in result.err
    assert "rolled back" not in result.err
    wait_for_no_runner(database)
    assert applied(database) == ["001"]


def test_a_second_sigint_ends_it_at_once(
    database: Database, base: Folder, start: Start, proxy: Proxy, through: dict[str, str]
) -> None:
    """The first one is still waiting for the server's answer to its cancel request."""
    base.write("002_two.sql", SLEEP)
    proxy.arm(Fault.SILENCE, holding("pg_sleep(600)", "COMMIT"))
    running = start(env=through)
    assert proxy.struck.wait(30)
    wait_until(lambda: database.query(ACTIVE), "the file sleeps")
    running.send(signal.SIGINT)
    wait_until(lambda: not database.query(ACTIVE), "the statement is cancelled")
    sent = time.monotonic()
    running.send(signal.SIGINT)
    assert running.finish(PATIENCE_S).code == 130
    assert time.monotonic() - sent < 1.0
    wait_for_no_runner(database)
    assert applied(database) == ["001"]
    assert not exists(database, "a")


def test_while_it_looks_for_the_outcome_of_a_lost_commit(
    database: Database, base: Folder, start: Start, proxy: Proxy, through: dict[str, str]
) -> None:
    """It must not claim that the file was rolled back: here it was committed."""
    base.write("002_two.sql", "CREATE TABLE a (n int);\n")
    proxy.arm(Fault.DROP_REPLY, holding("CREATE TABLE a", "COMMIT"), refuse_afterwards=True)
    running = start(env=through)
    running.wait_for("the connection was lost; looking whether 002_two.sql is there")
    result = stop(running, signal.SIGTERM)
    assert "may or may not be" in result.err
    assert "rolled back" not in result.err
    assert applied(database) == ["001", "002"]
