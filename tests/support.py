"""What the tests share: the server, databases on it, commands in process and in subprocesses."""

import contextlib
import io
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import psycopg
from django.core.management import ManagementUtility
from django.db import connections
from psycopg import sql

ROOT = Path(__file__).resolve().parent.parent
TRACKING = "001_migration_tracking.sql"
TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Result:
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Database:
    """A database of one test; the server is the one of the alias `default`."""

    name: str

    @property
    def parameters(self) -> dict[str, Any]:
        """What psycopg.connect() needs; starts the embedded server if that is the one in use."""
        return server_parameters() | {"dbname": self.name}

    @property
    def url(self) -> str:
        """The value of DATABASE_URL that names this database."""
        given = {key: str(value) for key, value in self.parameters.items()}
        user = quote(given.pop("user", ""), safe="")
        password = given.pop("password", "")
        login = f"{user}:{quote(password, safe='')}" if password else user
        host = given.pop("host", "")
        port = given.pop("port", "")
        if host.startswith("/"):  # a socket folder: only the query part can hold a path
            given["host"], host = host, ""
            if port:
                given["port"], port = port, ""
        place = f"{host}:{port}" if port else host
        name = quote(given.pop("dbname"), safe="")
        return f"postgresql://{login}@{place}/{name}?{urlencode(given, quote_via=quote)}"

    def connect(self, **kwargs: Any) -> psycopg.Connection[Any]:
        """Return a new connection in autocommit mode, independent of Django's."""
        return psycopg.connect(**(self.parameters | {"autocommit": True} | kwargs))

    def query(self, statement: str, *params: object) -> list[tuple[Any, ...]]:
        """Return the rows of one statement."""
        with self.connect() as connection:
            return connection.execute(statement.encode(), params or None).fetchall()

    def execute(self, script: str) -> None:
        """Run one statement or several."""
        with self.connect() as connection:
            connection.execute(script.encode())


def server_parameters() -> dict[str, Any]:
    """Return the connection parameters of the alias `default`, without a database's name."""
    params = connections["default"].get_connection_params()
    keep = ("host", "port", "user", "password", "connect_timeout", "sslmode")
    return {key: params[key] for key in keep if params.get(key)}


@contextlib.contextmanager
def maintenance_connection() -> Iterator[psycopg.Connection[Any]]:
    """Give a connection to a database that is not under test."""
    with psycopg.connect(**server_parameters(), dbname="postgres", autocommit=True) as connection:
        yield connection


def create_database() -> Database:
    """Create an empty database with a name of its own."""
    name = f"sqlmigrator_test_{os.getpid()}_{uuid.uuid4().hex[:12]}"
    with maintenance_connection() as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name))
        )
    return Database(name)


def drop_database(database: Database) -> None:
    """Drop it, ending whatever session is still in it."""
    with maintenance_connection() as connection:
        connection.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database.name))
        )


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of migrations."""

    path: Path

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file, byte for byte (a str as UTF-8), and return its path."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    def with_tracking(self) -> "Folder":
        """Copy the example's first file here."""
        shutil.copyfile(ROOT / "migrations_sql" / TRACKING, self.path / TRACKING)
        return self


def run_in_process(*args: object) -> Result:
    """Run `manage.py ARGS` in this process; exceptions that would be a traceback come through."""
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            ManagementUtility(["manage.py", *map(str, args)]).execute()
        except SystemExit as end:
            code = end.code
    if isinstance(code, str):  # sys.exit("message"): Python writes it and exits with 1
        return Result(1, out.getvalue(), f"{err.getvalue()}{code}\n")
    return Result(int(code or 0), out.getvalue(), err.getvalue())


def subprocess_environment(
    database: Database | None, changes: Mapping[str, str | None] | None
) -> dict[str, str]:
    """Return this process's environment with DATABASE_URL, and `changes` (None removes)."""
    environment = dict(os.environ) | {"PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "error"}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    if database is not None:
        environment["DATABASE_URL"] = database.url
    for key, value in (changes or {}).items():
        if value is None:
            environment.pop(key, None)
        else:
            environment[key] = value
    return environment


class Running:
    """A command in the background, in a session of its own; its output goes to files."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], cwd: Path, logs: Path
    ) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self._out = logs / f"{uuid.uuid4().hex}.out"
        self._err = self._out.with_suffix(".err")
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                command,
                env=environment,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def out(self) -> str:
        return self._out.read_text(errors="replace")

    @property
    def err(self) -> str:
        return self._err.read_text(errors="replace")

    def wait_for(self, text: str, timeout: float = 30.0) -> None:
        """Wait until `text` stands in its output; fail if it ends or time runs out first."""
        deadline = time.monotonic() + timeout
        while True:
            ended = self.process.poll() is not None
            if text in self.out or text in self.err:
                return
            late = time.monotonic() > deadline
            problem = "it ended" if ended else "time is up" if late else ""
            assert not problem, (
                f"{text!r} did not appear: {problem}\n"
                f"--- stdout\n{self.out}\n--- stderr\n{self.err}"
            )
            time.sleep(0.02)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def finish(self, timeout: float = TIMEOUT_S) -> Result:
        """Wait for its end; the code is negative after a signal, as subprocess has it."""
        code = self.process.wait(timeout)
        return Result(code, self.out, self.err)

    def kill(self) -> Result:
        """Kill it (SIGKILL) with its children, wherever it is, and wait."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        return self.finish(10)


def manage_command(args: Sequence[object]) -> list[str]:
    """Return the command line of `manage.py ARGS` with this Python."""
    return [sys.executable, str(ROOT / "manage.py"), *map(str, args)]


def wait_until(condition: Any, what: str, timeout: float = 30.0) -> None:
    """Call `condition` until it is true; fail, naming `what`, when time runs out."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout:g} s in vain until {what}"
        time.sleep(0.02)
