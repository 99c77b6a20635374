"""A lost reply, a lost request, a half-open connection: what happened is found out, not guessed.

DESIGN 5.10. `message` is a file sent as one message that ends in COMMIT; `steps` is a file with
COPY data, whose COMMIT is a message of its own.
"""

import signal
from collections.abc import Callable

import pytest

from tests.faults.proxy import Fault, Proxy, after, holding, is_exactly
from tests.faults.scenes import applied, attempts, wait_for_no_runner
from tests.support import Database, Folder, Result, Running, wait_until

Start = Callable[..., Running]

MESSAGE = "INSERT INTO ran VALUES (2);\n"
STEPS = "COPY ran FROM stdin;\n2\n\\.\n"
WAYS = pytest.mark.parametrize(
    ("sql", "commit"),
    [(MESSAGE, holding("INSERT INTO ran", "COMMIT")), (STEPS, is_exactly("COMMIT"))],
    ids=["message", "steps"],
)
LOST = "  the connection was lost; looking whether 002_two.sql is there\n"
RAN_TWO = "SELECT count(*) FROM ran WHERE n = 2"
CLOSED = "server closed the connection unexpectedly"
UNKNOWN = (
    "The connection was lost while 002_two.sql was being applied, and the database did not answer "
    "afterwards: "
)


@pytest.fixture
def two(database: Database, folder: Folder) -> Folder:
    """A folder with the second migration still to come; `ran` has no constraint at all."""
    database.execute("CREATE TABLE ran (n int)")
    return folder.with_tracking()


@pytest.fixture
def first_is_applied(two: Folder, call: Callable[..., Result]) -> None:
    assert call("migrate_apply").code == 0


def prepare(folder: Folder, sql: str) -> None:
    folder.write("002_two.sql", sql)
    folder.write("003_three.sql", "INSERT INTO ran VALUES (3);\n")


@WAYS
def test_a_lost_reply_is_reported_as_applied(
    database: Database,
    two: Folder,
    first_is_applied: None,
    start: Start,
    proxy: Proxy,
    through: dict[str, str],
    sql: str,
    commit: Callable[[bytes], bool],
) -> None:
    prepare(two, sql)
    proxy.arm(Fault.DROP_REPLY, commit)
    result = start(env=through).finish()
    assert proxy.struck.is_set()
    assert (result.code, result.err) == (0, LOST)
    assert "Applied 2 migrations in " in result.out
    assert database.query("SELECT n FROM ran ORDER BY n") == [(2,), (3,)]
    assert applied(database) == ["001", "002", "003"]
    assert [row[0] for row in attempts(database, "002")] == ["done"]


@WAYS
def test_a_lost_request_is_reported_as_not_applied(
    database: Database,
    two: Folder,
    first_is_applied: None,
    start: Start,
    proxy: Proxy,
    through: dict[str, str],
    sql: str,
    commit: Callable[[bytes], bool],
) -> None:
    prepare(two, sql)
    proxy.arm(Fault.DROP_REQUEST, commit)
    result = start(env=through).finish()
    assert proxy.struck.is_set()
    assert result.code == 1
    assert result.err.startswith(LOST)
    assert f"The connection was lost: {CLOSED}" in result.err
    assert "  Nothing of it remains: the transaction was rolled back.\n" in result.err
    assert (
        "Applied in this run: 0. Failed: 002_two.sql.\nNot applied: 003_three.sql.\n" in result.err
    )
    assert database.query(RAN_TWO) == [(0,)]
    assert applied(database) == ["001"]
    assert [row[0] for row in attempts(database, "002")] == ["failed"]
    assert start(env=through).finish().code == 0
    assert database.query("SELECT n FROM ran ORDER BY n") == [(2,), (3,)]


@pytest.mark.parametrize("fault", [Fault.DROP_REPLY, Fault.DROP_REQUEST])
def test_the_first_file_which_makes_the_history(
    database: Database,
    two: Folder,
    start: Start,
    proxy: Proxy,
    through: dict[str, str],
    fault: Fault,
) -> None:
    prepare(two, MESSAGE)
    proxy.arm(fault, is_exactly("COMMIT"))
    result = start(env=through).finish()
    assert proxy.struck.is_set()
    if fault is Fault.DROP_REQUEST:
        assert result.code == 1, result
        assert "Nothing of it remains: the transaction was rolled back." in result.err
        assert database.query("SELECT to_regclass('schema_migrations')") == [(None,)]
        result = start(env=through).finish()
    assert result.code == 0, result
    assert applied(database) == ["001", "002", "003"]
    assert database.query(RAN_TWO) == [(1,)]


@pytest.mark.parametrize(
    ("fault", "code", "rows"),
    [
        (Fault.DROP_REPLY, 0, [(2,), (3,)]),
        (Fault.DROP_REQUEST, 1, []),
    ],
)
def test_a_single_transaction_over_all_files(
    database: Database,
    two: Folder,
    first_is_applied: None,
    start: Start,
    proxy: Proxy,
    through: dict[str, str],
    fault: Fault,
    code: int,
    rows: list[tuple[int]],
) -> None:
    prepare(two, MESSAGE)
    proxy.arm(fault, is_exactly("COMMIT"))
    result = start("--single-transaction", env=through).finish()
    assert proxy.struck.is_set()
    assert result.code == code, result
    assert ("Applied 2 migrations in " in result.out) == (code == 0)
    assert database.query("SELECT n FROM ran ORDER BY n") == rows
    assert applied(database) == ["001", "002", "003"][: 1 + len(rows)]


@pytest.mark.parametrize("fault", [Fault.DROP_REPLY, Fault.DROP_REQUEST])
def test_when_nobody_can_be_asked_the_outcome_is_unknown(
    database: Database,
    two: Folder,
    first_is_applied: None,
    start: Start,
    proxy: Proxy,
    through: dict[str, str],
    fault: Fault,
) -> None:
    prepare(two, MESSAGE)
    proxy.arm(fault, holding("INSERT INTO ran", "COMMIT"), refuse_afterwards=True)
    result = start("--lock-wait", "2s", env=through).finish()
    assert result.code == 5
    assert f"{UNKNOWN}The database 'default' cannot be reached: " in result.err
    assert result.err.endswith(
        "  What was going on may or may not be committed.\n"
        "  `manage.py migrate_status` tells, as soon as the database can be reached.\n"
    )
    assert start().finish().code == 0
    assert database.query("SELECT n FROM ran ORDER BY n") == [(2,), (3,)]


@WAYS
def test_a_half_open_connection_is_waited_for(
    database: Database,
    two: Folder,
    first_is_applied: None,
    start: Start,
    proxy: Proxy,
    through: dict[str, str],
    sql: str,
    commit: Callable[[bytes], bool],
) -> None:
    """The old session lives on with its lock: until it ends, nobody can say what it will do."""
    prepare(two, sql)
    proxy.arm(Fault.HALF_OPEN, commit)
    running = start(env=through)
    assert proxy.struck.wait(30)
    running.wait_for("Waiting for the migration lock: held by process ")
    assert running.process.poll() is None
    wait_until(lambda: applied(database) == ["001", "002"], "the old session has committed")
    proxy.release()
    result = running.finish()
    assert result.code == 0, result
    assert database.query("SELECT n FROM ran ORDER BY n") == [(2,), (3,)]


def test_a_half_open_connection_that_does_not_end_leaves_the_outcome_unknown(
    database: Database,
    two: Folder,
    first_is_applied: None,
    start: Start,
    proxy: Proxy,
    through: dict[str, str],
) -> None:
    prepare(two, MESSAGE)
    proxy.arm(Fault.HALF_OPEN, holding("INSERT INTO ran", "COMMIT"))
    result = start("--lock-wait", "2s", env=through).finish()
    assert result.code == 5
    assert (
        f"{UNKNOWN}The migration lock did not come free within 2.0 s. It is held by process "
        in result.err
    )
    assert database.query("SELECT n FROM ran") == [(2,)]
    proxy.release()
    wait_for_no_runner(database)
    assert start().finish().code == 0
    assert database.query("SELECT n FROM ran ORDER BY n") == [(2,), (3,)]


def test_a_message_that_arrives_after_its_sender_was_killed(
    database: Database,
    two: Folder,
    first_is_applied: None,
    start: Start,
    proxy: Proxy,
    through: dict[str, str],
) -> None:
    """A second runner waits until that is settled, and does not run the file again."""
    prepare(two, MESSAGE)
    proxy.arm(Fault.DELAY, holding("INSERT INTO ran", "COMMIT"))
    first = start(env=through)
    assert proxy.struck.wait(30)
    assert first.kill().code == -signal.SIGKILL
    second = start()
    second.wait_for("Waiting for the migration lock: held by process ")
    proxy.release()
    assert second.finish().code == 0
    assert database.query("SELECT n FROM ran ORDER BY n") == [(2,), (3,)]
    assert applied(database) == ["001", "002", "003"]


def test_the_new_session_is_lost_too(
    database: Database,
    two: Folder,
    first_is_applied: None,
    start: Start,
    proxy: Proxy,
    through: dict[str, str],
) -> None:
    """What the first lost session committed is still found."""
    prepare(two, MESSAGE)
    proxy.arm(Fault.DROP_REPLY, holding("INSERT INTO ran VALUES (2)", "COMMIT"))
    running = start(env=through)
    assert proxy.struck.wait(30)
    proxy.arm(Fault.DROP_REPLY, holding("pg_try_advisory_lock"))
    assert proxy.struck.wait(30)
    proxy.arm(Fault.DROP_REPLY, holding("execution_time_ms FROM"))
    result = running.finish()
    assert proxy.struck.is_set()
    assert result.code == 0, result
    assert database.query("SELECT n FROM ran ORDER BY n") == [(2,), (3,)]
    assert [row[0] for row in attempts(database, "002")] == ["done"]


@pytest.mark.parametrize("statement", ["pg_try_advisory_lock", "'INSERT')"])
def test_a_session_lost_before_the_first_file_costs_nothing(
    database: Database,
    two: Folder,
    first_is_applied: None,
    start: Start,
    proxy: Proxy,
    through: dict[str, str],
    statement: str,
) -> None:
    prepare(two, MESSAGE)
    proxy.arm(Fault.DROP_REPLY, holding(statement))
    result = start(env=through).finish()
    assert proxy.struck.is_set()
    assert (result.code, result.err) == (0, "")
    assert database.query("SELECT n FROM ran ORDER BY n") == [(2,), (3,)]


@pytest.mark.parametrize("fault", [Fault.DROP_REPLY, Fault.DROP_REQUEST])
def test_the_end_of_a_no_transaction_file(
    database: Database,
    two: Folder,
    first_is_applied: None,
    start: Start,
    proxy: Proxy,
    through: dict[str, str],
    fault: Fault,
) -> None:
    """Its history row and the end of its journal row are one transaction, lost or not."""
    prepare(two, f"-- sqlmigrator: no-transaction\n{MESSAGE}")
    proxy.arm(fault, after(holding("ON CONFLICT (version)"), is_exactly("COMMIT")))
    result = start(env=through).finish()
    assert proxy.struck.is_set()
    if fault is Fault.DROP_REQUEST:
        assert result.code == 1, result
        assert "  The journal knows which of its statements are done.\n" in result.err
        assert applied(database) == ["001"]
        assert attempts(database, "002") == [("running", 1, 1, None, None)]
        result = start("--resume", env=through).finish()
    assert result.code == 0, result
    assert applied(database) == ["001", "002", "003"]
    assert database.query("SELECT n FROM ran ORDER BY n") == [(2,), (3,)]
