"""The journal schema_migrations_log: one row for each attempt. DESIGN section 3.

Rows are never deleted and change only until a final state. At most one row of a version is
`running`, which a partial unique index holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlmigrator.backends.postgresql.tracking import Fetch, Layout, in_utc, quote_literal
from sqlmigrator.core.history import Action, Attempt, AttemptState

_LONGEST_ERROR: Final = 2000

_CREATE: Final = """
CREATE TABLE IF NOT EXISTS {log} (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    version text NOT NULL,
    name text NOT NULL,
    checksum text,
    action text NOT NULL CHECK (action IN ('apply', 'rollback', 'mark', 'renumber')),
    state text NOT NULL CHECK (state IN ('running', 'done', 'failed', 'resolved')),
    statement_done integer NOT NULL DEFAULT 0,
    statement_total integer NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    execution_time_ms bigint,
    applied_by text,
    backend_pid integer,
    backend_start timestamptz,
    sqlstate text,
    error text,
    line integer,
    reason text
);
CREATE UNIQUE INDEX IF NOT EXISTS schema_migrations_log_running_idx
    ON {log} (version) WHERE state = 'running';
CREATE INDEX IF NOT EXISTS schema_migrations_log_open_idx
    ON {log} (version) WHERE state IN ('running', 'failed');
COMMENT ON TABLE {log} IS 'Every attempt of sqlmigrator to change schema_migrations, one row each';
DO $$
DECLARE
    public_role text;
BEGIN
    FOR public_role IN SELECT rolname FROM pg_catalog.pg_roles
        WHERE rolname IN ('anon', 'authenticated')
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON %s FROM %I', {name}, public_role);
        EXECUTE pg_catalog.format('REVOKE ALL ON SEQUENCE %s FROM %I',
            pg_catalog.pg_get_serial_sequence({name}, 'id'), public_role);
    END LOOP;
END
$$
"""

_COLUMNS: Final = (
    "l.id, l.version, l.name, l.checksum, l.action, l.state, l.statement_done, l.statement_total,"
    " l.started_at AT TIME ZONE 'UTC', l.finished_at AT TIME ZONE 'UTC', l.execution_time_ms, l.applied_by, l.backend_pid, l.sqlstate,"
    " l.error, l.line, l.reason, a.pid IS NOT NULL"
)
# Another role's backend_start is hidden; the process number alone has to do then.
_JOIN: Final = (
    " l LEFT JOIN pg_catalog.pg_stat_activity a ON l.state = 'running' AND a.pid = l.backend_pid"
    " AND coalesce(a.backend_start = l.backend_start, true)"
)
_OWN_START: Final = (
    "(SELECT a.backend_start FROM pg_catalog.pg_stat_activity a"
    " WHERE a.pid = pg_catalog.pg_backend_pid())"
)


def create_sql(layout: Layout) -> str:
    """The statements that make the journal where it is missing."""
    return _CREATE.format(log=layout.log, name=quote_literal(layout.log))


def read_open(fetch: Fetch, layout: Layout) -> tuple[Attempt, ...]:
    """The latest attempt of every version that has one which is running or failed."""
    if not layout.log_exists:
        return ()
    rows = fetch(
        f"SELECT DISTINCT ON (l.version) {_COLUMNS} FROM {layout.log}{_JOIN}"
        f" WHERE l.version IN (SELECT version FROM {layout.log}"
        " WHERE state IN ('running', 'failed')) ORDER BY l.version, l.id DESC"
    )
    return tuple(_attempt(row) for row in rows)


def read_all(
    fetch: Fetch, layout: Layout, version: str | None = None, limit: int | None = None
) -> tuple[Attempt, ...]:
    """The attempts, newest first: all, or those of one version."""
    if not layout.log_exists:
        return ()
    where = f" WHERE l.version = {quote_literal(version)}" if version is not None else ""
    most = f" LIMIT {limit}" if limit is not None else ""
    rows = fetch(f"SELECT {_COLUMNS} FROM {layout.log}{_JOIN}{where} ORDER BY l.id DESC{most}")
    return tuple(_attempt(row) for row in rows)


def _attempt(row: Sequence[Any]) -> Attempt:
    values = list(row)
    values[4], values[5] = Action(values[4]), AttemptState(values[5])
    values[8:10] = in_utc(values[8]), in_utc(values[9])
    return Attempt(*values)


def insert_sql(
    layout: Layout,
    *,
    version: str,
    name: str,
    checksum: str | None,
    action: Action,
    state: AttemptState,
    applied_by: str,
    done: int = 0,
    total: int = 0,
    started_at: str = "pg_catalog.clock_timestamp()",
    execution_time_ms: str = "NULL",
    sqlstate: str | None = None,
    error: str | None = None,
    line: int | None = None,
    reason: str | None = None,
) -> str:
    """The statement that adds a row; `started_at` and `execution_time_ms` are SQL expressions."""
    is_over = state is not AttemptState.RUNNING
    values = {
        "version": quote_literal(version),
        "name": quote_literal(name),
        "checksum": quote_literal(checksum),
        "action": quote_literal(action),
        "state": quote_literal(state),
        "statement_done": str(done),
        "statement_total": str(total),
        "started_at": started_at,
        "finished_at": "pg_catalog.clock_timestamp()" if is_over else "NULL",
        "execution_time_ms": execution_time_ms,
        "applied_by": quote_literal(applied_by),
        "backend_pid": "pg_catalog.pg_backend_pid()",
        # Only a running row is compared with the living sessions.
        "backend_start": "NULL" if is_over else _OWN_START,
        "sqlstate": quote_literal(sqlstate),
        "error": quote_literal(error[:_LONGEST_ERROR] if error else None),
        "line": "NULL" if line is None else str(line),
        "reason": quote_literal(reason),
    }
    return f"INSERT INTO {layout.log} ({', '.join(values)}) VALUES ({', '.join(values.values())})"


def progress_sql(layout: Layout, attempt_id: int, done: int) -> str:
    """The statement that counts a finished statement of a running attempt."""
    return f"UPDATE {layout.log} SET statement_done = {done} WHERE id = {attempt_id}"


def resolve_sql(layout: Layout, version: str, reason: str) -> str:
    """The statement that closes a version's interrupted attempt, if there is one."""
    return (
        f"UPDATE {layout.log} SET state = 'resolved',"
        f" finished_at = pg_catalog.clock_timestamp(), reason = {quote_literal(reason)}"
        f" WHERE version = {quote_literal(version)} AND state = 'running'"
    )


def finish_sql(
    layout: Layout,
    attempt_id: int,
    state: AttemptState,
    *,
    execution_time_ms: str = "NULL",
    sqlstate: str | None = None,
    error: str | None = None,
    line: int | None = None,
    reason: str | None = None,
) -> str:
    """The statement that brings a running attempt to a final state."""
    return (
        f"UPDATE {layout.log} SET state = {quote_literal(state)},"
        f" finished_at = pg_catalog.clock_timestamp(), execution_time_ms = {execution_time_ms},"
        f" sqlstate = {quote_literal(sqlstate)},"
        f" error = {quote_literal(error[:_LONGEST_ERROR] if error else None)},"
        f" line = {'NULL' if line is None else line}, reason = {quote_literal(reason)}"
        f" WHERE id = {attempt_id} AND state = 'running'"
    )
