"""However many runners start, die or lose their session: each migration runs exactly once."""

import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.chaos import FILES, Chaos, Tally, write_files
from tests.faults.scenes import applied, attempts, terminate_runner
from tests.support import Database, Folder, Running, wait_until

Start = Callable[..., Running]
SOAK_S = 600
AT_003 = """
FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'sqlmigrator' AND state = 'active'
    AND query LIKE '%ran VALUES (3)%'
"""


@pytest.mark.parametrize("with_schema", [False, True], ids=["inserts only", "tables"])
def test_ten_runners_under_fire(
    database: Database, folder: Folder, start: Start, with_schema: bool
) -> None:
    write_files(folder, with_schema=with_schema)
    tally = Chaos(database, start, events=20).run()
    assert tally.is_exact, f"{tally}\n{tally.exits}"
    assert tally.applied == FILES
    assert tally.events >= 10, tally


@pytest.mark.soak
def test_ten_minutes_under_fire(
    make_database: Callable[[], Database],
    manage_popen: Callable[..., Running],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    total = Tally()
    rounds = 0
    deadline = time.monotonic() + SOAK_S
    while time.monotonic() < deadline:
        rounds += 1
        database = make_database()
        path = tmp_path / str(rounds)
        path.mkdir()
        write_files(Folder(path), with_schema=rounds % 2 == 0)

        def start(path: Path = path, database: Database = database) -> Running:
            return manage_popen("migrate_apply", "--directory", path, database=database)

        total += Chaos(database, start, events=200).run()
        with capsys.disabled():
            sys.stdout.write(f"\nround {rounds}: so far {total}")
    assert total.is_exact, f"{total}\n{total.exits}"
    assert total.applied == rounds * FILES


def test_eight_runners_on_an_empty_database_with_200_files(
    database: Database, folder: Folder, start: Start
) -> None:
    folder.with_tracking()
    folder.write("002_ran.sql", "CREATE TABLE ran (n int);\n")
    for number in range(3, 201):
        folder.write(f"{number:03}_mark.sql", f"INSERT INTO ran VALUES ({number});\n")
    results = [running.finish() for running in [start() for _ in range(8)]]
    assert [result.code for result in results] == [0] * 8, results
    counts = [result.out.count("... OK (") for result in results]
    assert sum(counts) == 200
    assert database.query("SELECT n FROM ran ORDER BY n") == [(n,) for n in range(3, 201)]
    assert applied(database) == [f"{n:03}" for n in range(1, 201)]
    assert database.query(
        "SELECT count(*), count(DISTINCT version), min(state), max(state)"
        " FROM schema_migrations_log"
    ) == [(200, 200, "done", "done")]


@pytest.fixture
def four(database: Database, folder: Folder) -> Folder:
    """Files 002 to 005, of which 003 waits while the table `gate` is not empty."""
    database.execute("CREATE TABLE ran (n int); CREATE TABLE gate AS SELECT 1 AS n")
    folder.with_tracking()
    for number in range(2, 6):
        folder.write(f"{number:03}_mark.sql", f"INSERT INTO ran VALUES ({number});\n")
    folder.write(
        "003_mark.sql",
        """INSERT INTO ran VALUES (3);
DO $$ BEGIN
    WHILE EXISTS (SELECT FROM gate) LOOP PERFORM pg_sleep(0.02); END LOOP;
END $$;
""",
    )
    return folder


@pytest.mark.parametrize("when", ["during 003", "after 003"])
def test_another_runner_takes_over_from_one_that_lost_its_session(
    database: Database, four: Folder, start: Start, when: str
) -> None:
    """The first runner is stopped (SIGSTOP) meanwhile; then it must make a new plan."""
    first = start()
    first.wait_for("Applying 003_mark.sql")
    wait_until(lambda: len(applied(database)) == 2, "002 is applied")
    first.send(signal.SIGSTOP)
    if when == "after 003":
        database.execute("DELETE FROM gate")
        wait_until(lambda: len(applied(database)) == 3, "003 is applied")
        terminate_runner(database)
    else:
        terminate_runner(database)
        database.execute("DELETE FROM gate")
    second = start().finish()
    first.send(signal.SIGCONT)
    assert (second.code, first.finish().code) == (0, 0), (second, first.err)
    assert database.query("SELECT n FROM ran ORDER BY n") == [(2,), (3,), (4,), (5,)]
    assert applied(database) == ["001", "002", "003", "004", "005"]
    assert [row[0] for row in attempts(database, "003")] == ["done"]
    assert first.out.count("... OK (") + second.out.count("... OK (") == 5


def test_a_file_is_tried_six_times_when_its_session_is_ended(
    database: Database, four: Folder, start: Start
) -> None:
    running = start()
    for times in range(6):
        wait_until(
            lambda: database.query(f"SELECT pg_terminate_backend(pid, 5000) {AT_003}"),
            f"it was ended {times} times in 003\n{running.err}",
        )
    result = running.finish()
    assert result.code == 1
    assert (
        result.err.count("  the connection was lost; looking whether 003_mark.sql is there\n") == 6
    )
    assert "terminating connection due to administrator command. [SQLSTATE 57P01]\n" in result.err
    assert "  Nothing of it remains: the transaction was rolled back.\n" in result.err
    assert [row[0] for row in attempts(database, "003")] == ["failed"] * 6
    assert database.query("SELECT n FROM ran") == [(2,)]
    database.execute("DELETE FROM gate")
    assert start().finish().code == 0
    assert database.query("SELECT n FROM ran ORDER BY n") == [(2,), (3,), (4,), (5,)]
