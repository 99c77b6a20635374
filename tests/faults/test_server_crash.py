"""The server itself fails in the middle of a file: a crash, an immediate stop, a full disk."""

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.faults.scenes import applied, attempts, exists
from tests.faults.server import PrivateServer, installed_server
from tests.support import Database, Folder, Result, Running, wait_until

Run = Callable[..., Running]

WAIT = (
    "DO $$ BEGIN WHILE EXISTS (SELECT FROM gate) LOOP PERFORM pg_sleep(0.02); END LOOP; END $$;\n"
)
TWO = f"CREATE TABLE a (n int);\nINSERT INTO ran VALUES (2);\n{WAIT}CREATE TABLE b (n int);\n"
NO_TRANSACTION = "-- sqlmigrator: no-transaction\n"
SLEEPING = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
LOST = "  the connection was lost; looking whether 002_two.sql is there\n"
CRASHES: dict[str, Callable[[PrivateServer], None]] = {
    "power cut": PrivateServer.crash,
    "immediate stop": lambda server: server.shut_down(signal.SIGQUIT),
}
BOTH = pytest.mark.parametrize("crash", CRASHES.values(), ids=CRASHES.keys())


@pytest.fixture
def start(private_server: PrivateServer, folder: Folder, manage_popen: Run) -> Run:
    """Start `migrate_apply ARGS` on the private server."""
    return lambda *args: manage_popen(
        "migrate_apply", "--directory", folder.path, *args, database=private_server.database
    )


@pytest.fixture
def own(private_server: PrivateServer, folder: Folder, start: Run) -> Database:
    """The private server's database with the first file applied."""
    folder.with_tracking()
    own = private_server.database
    own.execute("CREATE TABLE ran (n int); CREATE TABLE gate AS SELECT 1 AS n")
    assert start().finish().code == 0
    folder.write("003_three.sql", "INSERT INTO ran VALUES (3);\n")
    return own


def wait_until_it_waits(own: Database, running: Running) -> int:
    """Wait until the file does; return the backend's process number."""
    wait_until(lambda: own.query(SLEEPING), f"the file waits\n{running.err}")
    ((pid,),) = own.query(SLEEPING)
    return int(pid)


@BOTH
def test_in_a_transactional_file_the_runner_waits_for_the_server_and_says_what_is_there(
    private_server: PrivateServer,
    own: Database,
    folder: Folder,
    start: Run,
    crash: Callable[[PrivateServer], None],
) -> None:
    folder.write("002_two.sql", TWO)
    running = start()
    wait_until_it_waits(own, running)
    crash(private_server)
    running.wait_for(LOST.strip())
    private_server.start()
    result = running.finish()
    assert result.code == 1, result
    assert result.err.startswith(LOST)
    assert "  Nothing of it remains: the transaction was rolled back.\n" in result.err
    assert applied(own) == ["001"]
    assert own.query("SELECT n FROM ran") == []
    assert not exists(own, "a")
    assert [row[0] for row in attempts(own, "002")] == ["failed"]
    own.execute("DELETE FROM gate")
    assert start().finish().code == 0
    assert own.query("SELECT n FROM ran ORDER BY n") == [(2,), (3,)]


def test_in_a_transactional_file_when_the_server_stays_away(
    private_server: PrivateServer, own: Database, folder: Folder, start: Run
) -> None:
    folder.write("002_two.sql", TWO)
    running = start("--lock-wait", "2s")
    wait_until_it_waits(own, running)
    private_server.crash()
    result = running.finish()
    assert result.code == 5
    assert result.err.startswith(
        f"{LOST}The connection was lost while 002_two.sql was being applied, and the database did"
        " not answer afterwards: The database 'default' cannot be reached: "
    )
    private_server.start()
    assert applied(own) == ["001"]


@BOTH
def test_in_a_no_transaction_file(
    private_server: PrivateServer,
    own: Database,
    folder: Folder,
    start: Run,
    crash: Callable[[PrivateServer], None],
) -> None:
    """What the journal counts survives the crash; --resume runs the rest."""
    folder.write("002_two.sql", NO_TRANSACTION + TWO)
    running = start()
    wait_until_it_waits(own, running)
    crash(private_server)
    running.wait_for(LOST.strip())
    private_server.start()
    result = running.finish()
    assert result.code == 1, result
    assert "  The journal knows which of its statements are done.\n" in result.err
    assert applied(own) == ["001"]
    assert attempts(own, "002") == [("running", 2, 4, None, None)]
    refused = start().finish()
    assert refused.code == 1
    assert "interrupted" in refused.err
    own.execute("DELETE FROM gate")
    resumed = start("--resume").finish()
    assert resumed.code == 0, resumed
    assert own.query("SELECT n FROM ran ORDER BY n") == [(2,), (3,)]
    assert applied(own) == ["001", "002", "003"]
    assert exists(own, "b")


def test_another_backend_is_killed_and_the_server_restarts_itself(
    own: Database, folder: Folder, start: Run
) -> None:
    """SIGKILL of any backend ends all sessions: the runner settles what it was doing."""
    folder.write("002_two.sql", TWO)
    running = start()
    wait_until_it_waits(own, running)
    with own.connect() as other, contextlib.suppress(psycopg.OperationalError):
        os.kill(other.info.backend_pid, signal.SIGKILL)
        other.execute("SELECT 1")
    result = running.finish()
    assert result.code == 1, result
    assert result.err.startswith(LOST)
    assert applied(own) == ["001"]
    assert not exists(own, "a")
    assert [row[0] for row in attempts(own, "002")] == ["failed"]


# A full disk


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 100 MB."""
    with tempfile.TemporaryDirectory(prefix="pg", dir="/tmp") as name:
        command = ["mount", "-t", "tmpfs", "-o", "size=100m,mode=755", "tmpfs", name]
        if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("a small disk cannot be mounted here")
        yield Path(name)
        subprocess.run(["umount", "-l", name], check=True)


def fill(disk: Path) -> Path:
    """Take the disk's last byte."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(1 << 16)):
            pass
    return filler


@pytest.mark.parametrize("header", ["", NO_TRANSACTION], ids=["transactional", "no-transaction"])
def test_the_disk_is_full(
    database: Database, folder: Folder, manage: Callable[..., Result], small_disk: Path, header: str
) -> None:
    """The file fails with 53100, says so, and runs once there is room again."""
    with PrivateServer(installed_server(), small_disk) as server:
        server.start()
        own = server.database

        def apply(*args: object) -> Result:
            return manage("migrate_apply", "--directory", folder.path, *args, database=own)

        folder.with_tracking()
        own.execute("CREATE TABLE ran (n int); CREATE TABLE wide (filling text)")
        assert apply().code == 0
        folder.write(
            "002_two.sql",
            f"{header}INSERT INTO ran VALUES (2);\n"
            "INSERT INTO wide SELECT repeat('x', 1000) FROM generate_series(1, 20000);\n",
        )
        filler = fill(small_disk)
        failed = apply()
        assert failed.code == 1, failed
        assert "No space left on device [SQLSTATE 53100]\n" in failed.err
        assert "  Free disk space on the server, then run again.\n" in failed.err
        filler.unlink()
        assert applied(own) == ["001"]
        assert own.query("SELECT count(*) FROM wide") == [(0,)]
        again = apply("--resume") if header else apply()
        assert again.code == 0, again
        assert applied(own) == ["001", "002"]
        assert own.query("SELECT n FROM ran") == [(2,)]
        assert own.query("SELECT count(*) FROM wide") == [(20000,)]
