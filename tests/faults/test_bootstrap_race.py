"""Many runners on a database without any bookkeeping: one makes it, once."""

import signal
from collections.abc import Callable

import pytest

from tests.faults.scenes import applied, attempts, exists
from tests.support import Database, Folder, Running, wait_until

Start = Callable[..., Running]
RUNNERS = 8
FIRST_FILES = {
    "the shipped file": None,
    "a file about something else": "CREATE TABLE people (n int);\n",
    "a no-transaction file": "-- sqlmigrator: no-transaction\nCREATE TABLE people (n int);\n",
    "a file with data": "CREATE TABLE people (n int);\nCOPY people FROM stdin;\n1\n\\.\n",
    "a file that fills its own row": (
        "CREATE TABLE people (n int);\n"
        "CREATE TABLE schema_migrations (version text PRIMARY KEY, name text, checksum text);\n"
        "INSERT INTO schema_migrations VALUES ('001', 'by_hand', NULL);\n"
    ),
}
RELATIONS = """
SELECT array_agg(relname::text ORDER BY relname) FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v')
"""


def write(folder: Folder, first: str | None) -> None:
    if first is None:
        folder.with_tracking()
    else:
        folder.write("001_first.sql", first)
    folder.write("002_ran.sql", "CREATE TABLE ran (n int);\n")
    folder.write("003_mark.sql", "INSERT INTO ran VALUES (3);\n")


@pytest.mark.parametrize("first", FIRST_FILES.values(), ids=FIRST_FILES.keys())
def test_they_start_together(
    database: Database, folder: Folder, start: Start, first: str | None
) -> None:
    write(folder, first)
    results = [running.finish() for running in [start() for _ in range(RUNNERS)]]
    assert [result.code for result in results] == [0] * RUNNERS, results
    assert applied(database) == ["001", "002", "003"]
    assert database.query("SELECT n FROM ran") == [(3,)]
    assert database.query("SELECT version, state FROM schema_migrations_log ORDER BY version") == [
        ("001", "done"),
        ("002", "done"),
        ("003", "done"),
    ]
    ((relations,),) = database.query(RELATIONS)
    # A table that the first file made by hand gets no view.
    by_hand = first is not None and "by_hand" in first
    views = [] if by_hand else ["migration_status"]
    people = [] if first is None else ["people"]
    assert relations == sorted(
        [*views, *people, "ran", "schema_migrations", "schema_migrations_log"]
    )


def test_they_wait_in_line_and_all_find_it_done(
    database: Database, folder: Folder, start: Start
) -> None:
    """All of them have planned on the empty database when the first one gets the lock."""
    write(folder, None)
    wait_at_gate(database, folder, "001_migration_tracking.sql")
    runners = [start() for _ in range(RUNNERS)]
    for runner in runners:
        wait_until(lambda runner=runner: waits(runner) or works(runner), "it waits or works")
    assert [waits(runner) for runner in runners].count(True) == RUNNERS - 1
    database.execute("DELETE FROM gate")
    results = [runner.finish() for runner in runners]
    assert [result.code for result in results] == [0] * RUNNERS, results
    assert sorted(result.out.splitlines()[-1][:7] for result in results) == (
        ["Applied"] + ["Nothing"] * (RUNNERS - 1)
    )
    assert database.query("SELECT n FROM ran") == [(3,)]


@pytest.mark.parametrize("first", [None, "CREATE TABLE people (n int);\n"], ids=["001", "other"])
def test_the_first_runner_is_killed_before_it_has_made_the_table(
    database: Database, folder: Folder, start: Start, first: str | None
) -> None:
    write(folder, first)
    name = "001_migration_tracking.sql" if first is None else "001_first.sql"
    wait_at_gate(database, folder, name)
    runners = [start() for _ in range(3)]
    for runner in runners:
        wait_until(lambda runner=runner: waits(runner) or works(runner), "it waits or works")
    (worker,) = [runner for runner in runners if works(runner)]
    assert worker.kill().code == -signal.SIGKILL
    (second,) = wait_for_works([runner for runner in runners if runner is not worker])
    assert not exists(database, "schema_migrations")
    assert not exists(database, "people")
    database.execute("DELETE FROM gate")
    assert [runner.finish().code for runner in runners] == [
        -signal.SIGKILL if runner is worker else 0 for runner in runners
    ]
    assert second.out.count("... OK (") == 3
    assert applied(database) == ["001", "002", "003"]
    assert database.query("SELECT n FROM ran") == [(3,)]
    assert [attempts(database, version)[0][0] for version in applied(database)] == ["done"] * 3


def wait_at_gate(database: Database, folder: Folder, name: str) -> None:
    """Let the file wait at its end until the table `gate` is empty."""
    database.execute("CREATE TABLE gate AS SELECT 1 AS n")
    loop = "WHILE EXISTS (SELECT FROM public.gate) LOOP PERFORM pg_sleep(0.02); END LOOP"
    text = (folder.path / name).read_text()
    folder.write(name, f"{text}\nDO $$ BEGIN {loop}; END $$;\n")


def waits(runner: Running) -> bool:
    return "Waiting for the migration lock" in runner.err


def works(runner: Running) -> bool:
    return "Applying 001" in runner.out


def wait_for_works(runners: list[Running]) -> list[Running]:
    wait_until(lambda: any(works(runner) for runner in runners), "another one works")
    return [runner for runner in runners if works(runner)]
