"""The client or the backend is killed at every step of a transactional file.

File and history row are both there afterwards, or both are not; the next run applies it once.
"""

import signal
from collections.abc import Callable

import pytest

from tests.faults.scenes import applied, attempts, exists, terminate_runner, wait_for_no_runner
from tests.support import Database, Folder, Result, Running, wait_until

Start = Callable[..., Running]

# Functions that wait while the table `gate` holds a row.
GATE = """
CREATE TABLE gate AS SELECT 1 AS n;
CREATE TABLE ran (n int);
CREATE FUNCTION wait() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    WHILE EXISTS (SELECT FROM public.gate) LOOP PERFORM pg_sleep(0.02); END LOOP;
END $$;
CREATE FUNCTION wait_for_002() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF to_jsonb(NEW) ->> 'version' IS DISTINCT FROM '001' THEN PERFORM public.wait(); END IF;
    RETURN NEW;
END $$;
"""
WAIT = "SELECT wait();\n"
PARTS = ["CREATE TABLE a (n int);\n", "INSERT INTO ran VALUES (2);\n", "CREATE TABLE b (n int);\n"]
COPY = "COPY ran FROM stdin;\n2\n\\.\n"
BEFORE = "CREATE TRIGGER w BEFORE INSERT ON {} FOR EACH ROW EXECUTE FUNCTION wait_for_002()"
DEFERRED = (
    "CREATE CONSTRAINT TRIGGER w AFTER INSERT ON {} DEFERRABLE INITIALLY DEFERRED"
    " FOR EACH ROW EXECUTE FUNCTION wait_for_002()"
)
# Where it waits: the place of WAIT in the file, or a trigger.
STEPS: dict[str, int | str] = {
    "first statement": 0,
    "second statement": 1,
    "last statement": 3,
    "deferred constraints": DEFERRED.format("ran"),
    "history row": BEFORE.format("schema_migrations"),
    "journal row": BEFORE.format("schema_migrations_log"),
    "commit": DEFERRED.format("schema_migrations_log"),
}
AT_THE_GATE = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'sqlmigrator' AND wait_event = 'PgSleep'
"""


@pytest.fixture(
    params=[
        *((step, False) for step in STEPS),
        *((step, True) for step in ("second statement", "history row", "commit")),
    ],
    ids=lambda param: f"{param[0]}{', by statement' if param[1] else ''}",
)
def waiting(
    request: pytest.FixtureRequest,
    database: Database,
    folder: Folder,
    start: Start,
    call: Callable[..., Result],
) -> Running:
    """A runner that waits at a step of 002; with COPY data the file is sent by statement."""
    step, has_copy = request.param
    folder.with_tracking()
    database.execute(GATE)
    assert call("migrate_apply").code == 0
    place = STEPS[step]
    parts = [PARTS[0], COPY, PARTS[2]] if has_copy else [*PARTS]
    if isinstance(place, str):
        database.execute(place)
    else:
        parts.insert(place, WAIT)
    folder.write("002_two.sql", "".join(parts))
    folder.write("003_three.sql", "INSERT INTO ran VALUES (3);\n")
    running = start()
    wait_until(lambda: database.query(AT_THE_GATE), "it is at the gate")
    return running


def assert_nothing_is_there(database: Database) -> None:
    assert applied(database) == ["001"]
    assert database.query("SELECT n FROM ran") == []
    assert not exists(database, "a")
    assert not exists(database, "b")


def assert_all_is_there_once(database: Database) -> None:
    assert applied(database) == ["001", "002", "003"]
    assert database.query("SELECT n FROM ran ORDER BY n") == [(2,), (3,)]
    assert exists(database, "a")
    assert exists(database, "b")


def test_the_client_is_killed(database: Database, start: Start, waiting: Running) -> None:
    """The server notices while the file still waits, and rolls back."""
    assert waiting.kill().code == -signal.SIGKILL
    wait_for_no_runner(database)
    assert_nothing_is_there(database)
    assert attempts(database, "002") == []
    database.execute("DELETE FROM gate")
    assert start().finish().code == 0
    assert_all_is_there_once(database)
    assert [row[0] for row in attempts(database, "002")] == ["done"]


def test_the_backend_is_killed(database: Database, waiting: Running) -> None:
    """The runner finds that nothing is there, and tries again."""
    terminate_runner(database)
    assert_nothing_is_there(database)
    database.execute("DELETE FROM gate")
    result = waiting.finish()
    assert result.code == 0, result
    assert result.err == "  the connection was lost; looking whether 002_two.sql is there\n"
    assert_all_is_there_once(database)
    assert [(row[0], row[3]) for row in attempts(database, "002")] == [
        ("failed", "57P01"),
        ("done", None),
    ]
