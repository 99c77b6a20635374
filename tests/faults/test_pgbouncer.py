"""Family 12: PgBouncer in transaction mode is recognised and refused; DIRECT and session mode work."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pytest_django import Settings

from sqlmigrator.backends.postgresql.lock import LOCK_CLASS
from tests.faults.scenes import applied, attempts, exists, indexes, lock_key, runner_pid
from tests.support import Database, Folder, Result, wait_until

PROGRAM = Path("/usr/sbin/pgbouncer")
DIRECT_HINT = 'Set SQLMIGRATOR = {"DIRECT": {"HOST": …, "PORT": …}} to the server itself'
CONFIGURATION = """
[databases]
* = {server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
server_round_robin = {round_robin}
server_reset_query = {reset_query}
default_pool_size = 10
max_client_conn = 50
pidfile = {folder}/pid
logfile = {folder}/log
"""


class Pooler:
    """A running PgBouncer before the server of `database`."""

    def __init__(
        self, database: Database, mode: str, *, round_robin: bool, reset_query: str
    ) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="pgbouncer", dir="/tmp"))
        self.port = free_port()
        self._database = database
        account = self._account()
        configuration = self._folder / "pgbouncer.ini"
        configuration.write_text(
            CONFIGURATION.format(
                server=self._server(),
                port=self.port,
                mode=mode,
                folder=self._folder,
                round_robin=int(round_robin),
                reset_query=reset_query,
            )
        )
        for path in (self._folder, configuration) if account else ():
            os.chown(path, account["user"], account["group"])
        self._process = subprocess.Popen(
            [str(program()), "--quiet", str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **account,
        )

    def _server(self) -> str:
        """The server as PgBouncer's configuration names it."""
        given = self._database.parameters
        names = {"host": given.get("host"), "port": given.get("port"), "user": "postgres"}
        names |= {key: given[key] for key in ("user", "password") if given.get(key)}
        return " ".join(f"{key}='{value}'" for key, value in names.items() if value)

    def _account(self) -> dict[str, Any]:
        """PgBouncer does not run as root: then as the owner of the server's socket, or nobody."""
        if os.geteuid() != 0:
            return {}
        host = str(self._database.parameters.get("host", ""))
        account = pwd.getpwnam("nobody")
        if host.startswith("/"):
            account = pwd.getpwuid(Path(host).stat().st_uid)
        return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}

    def connect(self) -> psycopg.Connection[Any]:
        """A connection of the application, through the pooler."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="postgres",
            dbname=self._database.name,
            autocommit=True,
            prepare_threshold=None,
        )

    def wait_until_ready(self) -> None:
        def answers() -> bool:
            assert self._process.poll() is None, (self._folder / "log").read_text()
            try:
                self.connect().close()
            except psycopg.OperationalError:
                return False
            return True

        wait_until(answers, "PgBouncer answers")

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(10)
        shutil.rmtree(self._folder)


def program() -> Path:
    found = shutil.which("pgbouncer")
    return Path(found) if found else PROGRAM


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def pool(
    database: Database, folder: Folder, add_alias: Callable[..., None], settings: Settings
) -> Iterator[Callable[..., Pooler]]:
    """Start PgBouncer in a mode; the alias `pooled` is behind it. pool("session", DIRECT=…)"""
    if not program().exists():
        pytest.skip("pgbouncer is not installed here")
    started: list[Pooler] = []
    folder.with_tracking()
    folder.write("002_t.sql", "CREATE TABLE t (a int); INSERT INTO t VALUES (1);")

    def start(
        mode: str, *, round_robin: bool = False, reset_query: str = "DISCARD ALL", **keys: Any
    ) -> Pooler:
        started.append(Pooler(database, mode, round_robin=round_robin, reset_query=reset_query))
        started[-1].wait_until_ready()
        settings.SQLMIGRATOR = {"DATABASES": {"pooled": {"DIRECTORY": folder.path, **keys}}}
        add_alias(
            "pooled",
            database,
            ENGINE="django.db.backends.postgresql",
            HOST="127.0.0.1",
            PORT=str(started[-1].port),
            USER="postgres",
            DISABLE_SERVER_SIDE_CURSORS=True,
        )
        return started[-1]

    yield start
    for pooler in started:
        pooler.stop()


@pytest.fixture
def apply(call: Callable[..., Result]) -> Callable[..., Result]:
    return lambda *args: call("migrate_apply", "--database", "pooled", *args)


def direct(database: Database) -> dict[str, str]:
    """The setting DIRECT for the server itself."""
    given = database.parameters
    return {key.upper(): str(given[key]) for key in ("host", "port") if given.get(key)} | (
        {} if given.get("port") else {"PORT": "5432"}
    )


def test_transaction_mode_is_refused(
    pool: Callable[..., Pooler], database: Database, apply: Callable[..., Result]
) -> None:
    pool("transaction")
    result = apply()
    assert (result.code, result.out) == (3, "")
    assert result.err == (
        "The database 'pooled' is behind a connection pooler.\n"
        "  Behind a transaction pooler the migration lock does not hold.\n"
        f"  {DIRECT_HINT}; if the pooler is in session mode, set SESSION_POOLER to True.\n"
    )
    assert not exists(database, "schema_migrations")
    assert not exists(database, "t")


def test_a_refused_run_leaves_nothing_in_the_applications_sessions(
    pool: Callable[..., Pooler], apply: Callable[..., Result]
) -> None:
    """In transaction mode a SET of the runner stays in a session that others get next."""
    pooler = pool("transaction")
    with pooler.connect() as application:
        application.execute("SELECT 1")
        pid = application.execute("SELECT pg_backend_pid()").fetchone()
        application.execute("SET statement_timeout = '7s'")  # of a pool that relies on it
        assert apply().code == 3
        assert application.execute("SELECT pg_backend_pid()").fetchone() == pid
        assert application.execute("SHOW statement_timeout").fetchone() == ("7s",)
        assert application.execute("SHOW client_connection_check_interval").fetchone() == ("0",)


def test_direct_goes_past_the_pooler(
    pool: Callable[..., Pooler],
    database: Database,
    folder: Folder,
    apply: Callable[..., Result],
    call: Callable[..., Result],
) -> None:
    """Reading stays on Django's alias behind the pooler; only the run itself goes past it."""
    pool("transaction", DIRECT=direct(database))
    folder.write(
        "003_index.sql",
        "-- sqlmigrator: no-transaction\nCREATE INDEX CONCURRENTLY t_a_idx ON t (a);",
    )
    result = apply()
    assert (result.code, result.err) == (0, "")
    assert applied(database) == ["001", "002", "003"]
    assert indexes(database, "t") == {"t_a_idx": True}
    assert call("migrate_check", "--database", "pooled").code == 0
    status = call("migrate_status", "--database", "pooled")
    assert "Total: 3 | Applied: 3 | Pending: 0" in status.out


def test_checking_behind_a_transaction_pooler_works(
    pool: Callable[..., Pooler], database: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    pool("transaction")
    folder.write("003_wrong.sql", "CREATE TABL x;")
    result = call("migrate_check", "--database", "pooled")
    assert result.code == 1
    assert 'syntax error at or near "TABL" [E015]' in result.out
    assert not exists(database, "schema_migrations")


def test_session_mode_needs_its_override(
    pool: Callable[..., Pooler], database: Database, apply: Callable[..., Result]
) -> None:
    pool("session")
    result = apply()
    assert result.code == 3
    assert "if the pooler is in session mode, set SESSION_POOLER to True." in result.err
    assert not exists(database, "t")


def test_session_mode_with_its_override(
    pool: Callable[..., Pooler],
    database: Database,
    folder: Folder,
    apply: Callable[..., Result],
) -> None:
    pooler = pool("session", SESSION_POOLER=True)
    folder.write(
        "003_index.sql",
        "-- sqlmigrator: no-transaction\nCREATE INDEX CONCURRENTLY t_a_idx ON t (a);",
    )
    with pooler.connect() as application:
        application.execute("SELECT 1")
        result = apply()
    assert (result.code, result.err) == (0, "")
    assert applied(database) == ["001", "002", "003"]
    assert indexes(database, "t") == {"t_a_idx": True}
    assert [row[0] for row in attempts(database, "003")] == ["done"]
    assert apply().out == "Nothing to apply: the database is up to date.\n"


@pytest.mark.parametrize("reset_query", ["DISCARD ALL", ""], ids=["default", "no reset query"])
def test_session_mode_frees_the_lock_at_the_end(
    reset_query: str,
    pool: Callable[..., Pooler],
    database: Database,
    folder: Folder,
    apply: Callable[..., Result],
) -> None:
    """The pooler keeps the server's session, so the lock does not go with the client."""
    locks = "SELECT 1 FROM pg_locks JOIN pg_database d ON d.oid = database"
    locks += " WHERE locktype = 'advisory' AND datname = current_database()"
    pool("session", reset_query=reset_query, SESSION_POOLER=True)
    assert apply().code == 0
    wait_until(lambda: database.query(locks) == [], "the lock is free", 5)
    folder.write("003_fails.sql", "SELECT 1/0;")
    assert apply().code == 1
    wait_until(lambda: database.query(locks) == [], "the lock is free", 5)


@pytest.mark.parametrize("round_robin", [False, True], ids=["last in first out", "round robin"])
def test_the_override_does_not_admit_transaction_mode(
    round_robin: bool,
    pool: Callable[..., Pooler],
    database: Database,
    apply: Callable[..., Result],
) -> None:
    pooler = pool("transaction", round_robin=round_robin, SESSION_POOLER=True)
    with pooler.connect() as one, pooler.connect() as two:  # two idle sessions in the pool
        one.execute("BEGIN")
        one.execute("SELECT 1")
        two.execute("SELECT 1")
        one.execute("COMMIT")
        result = apply()
    assert result.code == 3
    assert result.err == (
        "The pooler before 'pooled' is in transaction mode, not session mode.\n"
        "  Behind a transaction pooler the migration lock does not hold.\n"
        f"  {DIRECT_HINT}.\n"
    )
    assert not exists(database, "t")


def test_the_lock_holds_between_runners_in_session_mode(
    pool: Callable[..., Pooler], database: Database, folder: Folder, apply: Callable[..., Result]
) -> None:
    pooler = pool("session", SESSION_POOLER=True)
    assert apply().code == 0
    folder.write("003_more.sql", "CREATE TABLE more (n int);")
    with pooler.connect() as other:
        other.execute(f"SELECT pg_advisory_lock({LOCK_CLASS}, {lock_key('public')})".encode())
        pid = runner_pid(database)
        result = apply("--lock-wait", "1s")
    assert result.code == 5
    assert f"It is held by process {pid}, " in result.err
    assert not exists(database, "more")
