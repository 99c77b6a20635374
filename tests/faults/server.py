"""A PostgreSQL server of the test's own, which may be crashed: same programs as the one under test."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil
import psycopg
import pytest

from tests.support import Database, maintenance_connection, wait_until


@dataclass(frozen=True)
class Installation:
    """Where the server's programs are, and the user and group that run it (not root)."""

    programs: Path
    user: int
    group: int

    @property
    def run_as(self) -> dict[str, Any]:
        """Arguments for subprocess."""
        if os.geteuid() != 0:
            return {}
        return {"user": self.user, "group": self.group, "extra_groups": []}


def installed_server() -> Installation:
    """The installation of the server under test; skips where that is on another machine."""
    with maintenance_connection() as connection:
        row = connection.execute(
            "SELECT (SELECT setting FROM pg_config WHERE name = 'BINDIR'),"
            " current_setting('data_directory')"
        ).fetchone()
    assert row is not None
    programs, data = map(Path, row)
    if not (programs / "initdb").exists() or not data.exists():
        pytest.skip("the programs of the server under test are not installed here")
    owner = data.stat()
    return Installation(programs, owner.st_uid, owner.st_gid)


class PrivateServer:
    """Its data are in a folder of its own, or on `disk` if that is given; listens on a socket."""

    def __init__(self, installation: Installation, disk: Path | None = None) -> None:
        self._installation = installation
        self._folder = disk or Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
        self._is_ours = disk is None
        if os.geteuid() == 0:
            os.chown(self._folder, installation.user, installation.group)
        self._process: subprocess.Popen[bytes] | None = None
        self._run(
            "initdb",
            *("-D", self._data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"),
            *("--wal-segsize=1", "--no-sync", "--no-instructions"),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.crash()
        if self._is_ours:
            shutil.rmtree(self._folder)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @property
    def database(self) -> Database:
        """Its database `postgres`."""
        return OwnDatabase("postgres", self._folder)

    def start(self) -> None:
        """Start it and wait until it answers; after a crash that is after the recovery."""
        command = [
            str(self._installation.programs / "postgres"),
            *("-D", str(self._data), "-k", str(self._folder), "-c", "listen_addresses="),
            *("-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_wal_size=8MB"),
            *("-c", "min_wal_size=2MB", "-c", "dynamic_shared_memory_type=mmap"),
        ]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,
                **self._installation.run_as,
            )
        wait_until(self._answers, "the private server answers")

    def shut_down(self, how: signal.Signals) -> None:
        """Stop the postmaster: SIGINT is "fast", SIGQUIT "immediate" (no checkpoint)."""
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(30)
        self._process = None

    def crash(self) -> None:
        """Kill the postmaster and all of its processes at once, as a power cut would."""
        if self._process is None:
            return
        children = psutil.Process(self._process.pid).children()
        self._process.kill()
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        self._process.wait(30)
        psutil.wait_procs(children, 30)
        self._process = None

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log").read_text()
        with contextlib.suppress(psycopg.OperationalError), self.database.connect():
            return True
        return False

    def _run(self, program: str, *arguments: object) -> None:
        command = [str(self._installation.programs / program), *map(str, arguments)]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=self._folder,
            **self._installation.run_as,
        )
        assert done.returncode == 0, done.stderr


@dataclass(frozen=True, slots=True)
class OwnDatabase(Database):
    """A database of the private server, whose socket is in `folder`."""

    folder: Path

    @property
    def parameters(self) -> dict[str, Any]:
        return {"host": str(self.folder), "user": "postgres", "dbname": self.name}
