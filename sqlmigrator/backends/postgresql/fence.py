"""SQL that fails at run time unless the transaction, the lock and the history are what they should be.

DESIGN 5.5: it stands in the same transaction as the file, before COMMIT.
"""

from __future__ import annotations

from typing import Final

from sqlmigrator.backends.postgresql import tracking
from sqlmigrator.backends.postgresql.lock import MigrationLock
from sqlmigrator.backends.postgresql.tracking import Layout
from sqlmigrator.backends.postgresql.wire import FENCE, ServerError
from sqlmigrator.core.files import MigrationFile

TOKEN_LOST: Final = f"{FENCE}the file ended the transaction or reset its settings"
_ROW_LOST: Final = f"{FENCE}a trigger or rule on schema_migrations swallowed the history row"
LOCK_LOST: Final = f"{FENCE}the file dropped the migration lock"


def fence_sql(token: str, lock: MigrationLock) -> str:
    """An expression that raises at run time unless this is still our transaction and our lock.

    Nothing in it depends on search_path, or on a cast or operator that a file makes. A text that
    is only known at run time is read as a number: a constant would raise at plan time.
    """
    ours = f"pg_catalog.texteq(pg_catalog.current_setting('sqlmigrator.token', true), '{token}')"
    return (
        f"CASE WHEN ({ours}) IS NOT TRUE THEN {_raise(TOKEN_LOST)}"
        f" WHEN NOT {lock.is_held_sql()} THEN {_raise(LOCK_LOST)} ELSE 0 END"
    )


def _raise(message: str) -> str:
    text = f"pg_catalog.concat('{message} ', pg_catalog.pg_backend_pid())"
    # Not ::integer: CREATE CAST (text AS integer) WITH a lenient function would be used there.
    return f"pg_catalog.int4in(pg_catalog.textout({text}))"


def written_sql(layout: Layout, file: MigrationFile, is_there: bool) -> str:
    """The journal's execution_time_ms; raises at run time unless the history says what it should.

    A trigger or a rule on schema_migrations could swallow the row.
    """
    version = tracking.version_literal(layout, file.version)
    wrong = "NOT EXISTS" if is_there else "EXISTS"
    return (
        f"CASE WHEN {wrong} (SELECT FROM {layout.table} WHERE version = {version})"
        f" THEN {_raise(_ROW_LOST)} ELSE execution_time_ms END"
    )


def without_fence(error: ServerError) -> ServerError:
    """The fence's own words, where the error is the fence's."""
    for told in (TOKEN_LOST, LOCK_LOST, _ROW_LOST):
        if told in error.message:
            return ServerError(told)
    return error
