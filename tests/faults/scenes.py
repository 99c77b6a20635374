"""What the fault tests look at and bring about: rows of both tables, sessions, blockers, roles."""

import contextlib
import uuid
import zlib
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import sql

from sqlmigrator.backends.postgresql.lock import LOCK_CLASS
from tests.support import Database, maintenance_connection, wait_until

_RUNNERS = f"""
SELECT DISTINCT l.pid FROM pg_locks l
JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
WHERE l.locktype = 'advisory' AND l.classid = {LOCK_CLASS} AND l.granted
"""


def applied(database: Database) -> list[str]:
    """The versions of schema_migrations, in order."""
    rows = database.query("SELECT version FROM schema_migrations ORDER BY version")
    return [row[0] for row in rows]


def attempts(database: Database, version: str) -> list[tuple[Any, ...]]:
    """(state, statements done, statements in all, SQLSTATE, error) of a version, oldest first."""
    return database.query(
        "SELECT state, statement_done, statement_total, sqlstate, error"
        " FROM schema_migrations_log WHERE version = %s ORDER BY id",
        version,
    )


def exists(database: Database, name: str) -> bool:
    """Whether the name is a table, an index or the like."""
    return database.query("SELECT to_regclass(%s) IS NOT NULL", name) == [(True,)]


def indexes(database: Database, table: str) -> dict[str, bool]:
    """The indexes of a table and whether they are valid."""
    rows = database.query(
        "SELECT indexrelid::regclass::text, indisvalid FROM pg_index"
        " WHERE indrelid = %s::regclass ORDER BY 1",
        table,
    )
    return dict(rows)


def oid(database: Database, name: str) -> int:
    ((number,),) = database.query("SELECT %s::regclass::oid::int8", name)
    return int(number)


@contextlib.contextmanager
def holding(
    database: Database, script: str, application: str = "reporting"
) -> Iterator[psycopg.Connection[Any]]:
    """Run `script` in a transaction of another session, which stays open: a blocker."""
    with database.connect(autocommit=False, application_name=application) as blocker:
        blocker.execute(script.encode())
        yield blocker
        if not blocker.closed:
            blocker.rollback()


def lock_key(schema: str) -> int:
    """The second key of the migration lock for a bookkeeping schema."""
    return zlib.crc32(f"{schema}.schema_migrations".encode()) & 0x7FFFFFFF


def runner_pid(database: Database) -> int:
    """Wait for a session that holds the migration lock and return its process number."""
    wait_until(lambda: database.query(_RUNNERS), "a runner holds the lock")
    ((pid,),) = database.query(_RUNNERS)
    return int(pid)


def wait_for_statement(database: Database, text: str, *, waiting: bool = False) -> None:
    """Wait until the runner that holds the lock works on a statement that begins with `text`."""
    pid = runner_pid(database)
    condition = " AND wait_event_type = 'Lock'" if waiting else ""
    wait_until(
        lambda: database.query(
            f"SELECT 1 FROM pg_stat_activity WHERE pid = %s AND state = 'active'"
            f" AND query ILIKE %s{condition}",
            pid,
            f"%{text}%",
        ),
        f"the runner works on {text!r}",
    )


def wait_for_no_runner(database: Database) -> None:
    """Wait until the server has noticed that the runner's client is gone."""
    wait_until(lambda: not database.query(_RUNNERS), "no runner holds the lock")


def terminate_runner(database: Database) -> None:
    """End the session of the runner that holds the lock, as an administrator would."""
    pid = runner_pid(database)
    database.query("SELECT pg_terminate_backend(%s)", pid)
    wait_until(
        lambda: not database.query("SELECT 1 FROM pg_stat_activity WHERE pid = %s", pid),
        "the session has ended",
    )


@contextlib.contextmanager
def role(options: str = "LOGIN") -> Iterator[str]:
    """Create a role with a name of its own; it is dropped with all that it was granted."""
    name = f"sqlmigrator_role_{uuid.uuid4().hex[:12]}"
    with maintenance_connection() as maintenance:
        maintenance.execute(f"CREATE ROLE {name} {options}".encode())
    try:
        yield name
    finally:
        _drop_role(name)


def _drop_role(name: str) -> None:
    """Drop what the role owns or was granted in the test's databases, then the role."""
    identifier = sql.Identifier(name)
    with maintenance_connection() as maintenance:
        databases = maintenance.execute(
            "SELECT datname FROM pg_database d WHERE EXISTS (SELECT FROM pg_shdepend s"
            " WHERE s.refobjid = %s::regrole AND s.dbid = d.oid)",
            [name],
        ).fetchall()
    for (database,) in databases:
        with Database(database).connect() as connection:
            connection.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(identifier))
    with maintenance_connection() as maintenance:
        maintenance.execute(sql.SQL("DROP ROLE {}").format(identifier))
