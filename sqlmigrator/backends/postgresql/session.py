"""A run's session: the lock, the bookkeeping, and what is done when the connection is lost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from psycopg import pq

from sqlmigrator.backends.base import SessionLost
from sqlmigrator.backends.postgresql import journal, read_history, tracking
from sqlmigrator.backends.postgresql.connection import Connection
from sqlmigrator.backends.postgresql.context import Context, Job
from sqlmigrator.backends.postgresql.execution import run_transaction
from sqlmigrator.backends.postgresql.failures import ROLLED_BACK, write_failure
from sqlmigrator.backends.postgresql.lock import MigrationLock
from sqlmigrator.backends.postgresql.stepwise import run_stepwise
from sqlmigrator.backends.postgresql.tracking import quote_literal, quote_name
from sqlmigrator.backends.postgresql.wire import ConnectionBroken, ServerFailure
from sqlmigrator.conf import Config
from sqlmigrator.core.content import Content
from sqlmigrator.core.files import MigrationFile
from sqlmigrator.core.history import Attempt, AttemptState, Change, History
from sqlmigrator.core.rollback import RollbackJob
from sqlmigrator.events import OnEvent, Stop
from sqlmigrator.exceptions import (
    DatabaseRefused,
    DatabaseUnavailable,
    Interrupted,
    LockNotObtained,
    OutcomeUnknown,
)
from sqlmigrator.results import Failure

# The sequence of a serial column that this role may not use; an identity column needs no right.
_UNUSABLE_SEQUENCE: Final = """(
    SELECT s.name FROM pg_catalog.pg_attribute a,
        LATERAL pg_catalog.pg_get_serial_sequence({table}, a.attname) AS s (name)
    WHERE a.attrelid = {table}::pg_catalog.regclass AND a.attnum > 0 AND NOT a.attisdropped
      AND a.attidentity = '' AND s.name IS NOT NULL
      AND NOT pg_catalog.has_sequence_privilege(s.name, 'USAGE') LIMIT 1)"""
_MOST_OPENINGS: Final = 3
_RECONNECT_EVERY: Final = 0.5


class PostgreSQLSession:
    """See sqlmigrator.backends.base.Session."""

    def __init__(self, alias: str, config: Config, on_event: OnEvent, stop: Stop) -> None:
        self.alias = alias
        self._config = config
        self._on_event = on_event
        self._sender_pid = 0  # of the session that sent the file which is going on
        self._stop = stop
        self._connection, layout = self._open()
        self._lock = MigrationLock(self._connection, layout.schema)
        self._context = Context(self._connection, self._lock, layout, config, on_event, stop)

    def _open(self) -> tuple[Connection, tracking.Layout]:
        """A connection and what it finds; opened again when it is ended at once from outside."""
        for left in reversed(range(_MOST_OPENINGS)):
            connection = None
            try:
                connection = Connection(self.alias, self._config, self._on_event)
                return connection, tracking.read_layout(connection.query)
            except BaseException as error:
                if connection is not None:
                    connection.close()
                if not (left and isinstance(error, ConnectionBroken) and error.may_run_again):
                    raise
        raise AssertionError("the last turn returns or raises")

    def close(self) -> None:
        wire = self._connection.wire
        if not wire.is_broken and wire.transaction_status == pq.TransactionStatus.IDLE:
            # Behind a session pooler the server's session lives on: it must not keep the lock.
            with suppress(SessionLost):
                wire.send(b"SELECT pg_catalog.pg_advisory_unlock_all(); RESET ALL")
        self._connection.close()

    def acquire_lock(self) -> None:
        since, wait_ms = time.monotonic(), self._config.lock_wait_ms
        while True:
            try:
                self._lock.acquire(since, wait_ms, self._on_event, self._stop)
                return
            except ConnectionBroken:  # nothing was done yet: wait on, in a new session
                self._reconnect(since + wait_ms / 1000)

    def history(self) -> History:
        return read_history(self._connection.fetch, self._context.layout.schema)

    def prepare(self) -> None:
        schema = self._context.layout.schema
        layout = tracking.read_layout(self._connection.query, schema)
        self._refuse_missing_rights(layout)
        if not layout.log_exists:
            try:
                self._connection.query(journal.create_sql(layout))
            except ServerFailure as failure:
                raise DatabaseRefused(
                    f"The journal {layout.log} cannot be created: {failure}."
                ) from None
            layout = tracking.read_layout(self._connection.query, schema)
        self._context.layout = layout

    def apply(self, file: MigrationFile, content: Content) -> int:
        self._sender_pid = self._connection.backend_pid
        job = Job(file, content, self._config.applied_by)
        if content.directives.no_transaction:
            return self._stepwise(job, None)
        return run_transaction(self._context, [job])[0]

    def apply_together(self, files: list[tuple[MigrationFile, Content]]) -> tuple[int, ...]:
        self._sender_pid = self._connection.backend_pid
        jobs = [Job(file, content, self._config.applied_by) for file, content in files]
        return run_transaction(self._context, jobs)

    def resume(self, file: MigrationFile, content: Content, attempt: Attempt) -> int:
        self._sender_pid = self._connection.backend_pid
        return self._stepwise(Job(file, content, self._config.applied_by), attempt)

    def _stepwise(self, job: Job, interrupted: Attempt | None) -> int:
        if not self._context.layout.exists:
            self._create_table()
        return run_stepwise(self._context, job, interrupted)

    def roll_back(self, job: RollbackJob) -> int:
        applied_by = self._config.applied_by
        rollback = Job(job.file, job.content, applied_by, removes=job.record)
        return run_transaction(self._context, [rollback])[0]

    def change_history(self, changes: Sequence[Change], reason: str) -> None:
        if not self._context.layout.exists:
            self._create_table()
        wire = self._connection.wire
        recorded = {record.number for record in self.history().records}
        try:
            self._connection.query("BEGIN")
            for change in changes:
                if change.before is None and change.after and change.after.number in recorded:
                    raise _changed_meanwhile(change)
                self._change(change, reason)
            self._connection.query("COMMIT")
        finally:
            if wire.transaction_status != pq.TransactionStatus.IDLE and not wire.is_broken:
                wire.send(b"ROLLBACK")

    def _change(self, change: Change, reason: str) -> None:
        layout, applied_by = self._context.layout, self._config.applied_by
        if sql := tracking.change_sql(layout, change, applied_by):
            reply = self._connection.wire.send(sql.encode())
            if reply.error is not None:
                raise ServerFailure(reply.error)
            tag = reply.tag()
            if not tag.endswith(" 1"):
                raise _changed_meanwhile(change)
        self._connection.query(journal.resolve_sql(layout, change.version, reason))
        row = change.after or change.before
        self._connection.query(
            journal.insert_sql(
                layout,
                version=change.version,
                name=change.name,
                checksum=row.checksum if row else None,
                action=change.action,
                state=AttemptState.DONE,
                applied_by=applied_by,
                reason=f"{change.summary}: {reason}",
            )
        )

    # Rights

    def _refuse_missing_rights(self, layout: tracking.Layout) -> None:
        """Tell before the first migration what the bookkeeping would fail on afterwards."""
        if not (layout.exists and layout.log_exists):
            ((may_create,),) = self._connection.query(
                f"SELECT pg_catalog.has_schema_privilege({quote_literal(layout.schema)}, 'CREATE')"
            )
            if may_create != "t":
                raise DatabaseRefused(
                    f"This role may not create tables in the schema {layout.schema!r}, where "
                    "schema_migrations would be kept.",
                    hint=f"GRANT CREATE ON SCHEMA {quote_name(layout.schema)} TO …; or set "
                    "search_path for the role.",
                )
        for exists, table in ((layout.exists, layout.table), (layout.log_exists, layout.log)):
            if exists:
                self._refuse_missing_right(table)

    def _refuse_missing_right(self, table: str) -> None:
        rights = ("SELECT", "INSERT", "UPDATE")
        name = quote_literal(table)
        checks = [f"pg_catalog.has_table_privilege({name}, '{right}')" for right in rights]
        checks.append(_UNUSABLE_SEQUENCE.format(table=name))
        (row,) = self._connection.query(f"SELECT {', '.join(checks)}")
        *has_rights, sequence = row
        if sequence is not None:
            raise DatabaseRefused(
                f"This role may not use the sequence {sequence}: no migration could be recorded.",
                hint=f"As its owner: GRANT USAGE ON SEQUENCE {sequence} TO …;",
            )
        missing = [right for right, has in zip(rights, has_rights, strict=True) if has != "t"]
        if missing:
            raise DatabaseRefused(
                f"This role may not {', '.join(missing)} {table}: no migration could be recorded.",
                hint=f"As its owner: GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO …;",
            )

    # Lost connections. DESIGN 5.10

    def recover(self, doing: str) -> None:
        deadline = time.monotonic() + self._config.lock_wait_ms / 1000
        try:
            self._reconnect(deadline)
            self.acquire_lock()
        except (DatabaseUnavailable, LockNotObtained) as error:
            raise OutcomeUnknown(
                f"The connection was lost while {doing}, and the database did not answer "
                f"afterwards: {error.message}",
                why="What was going on may or may not be committed.",
                hint="`manage.py migrate_status` tells, as soon as the database can be reached.",
            ) from None
        schema = self._context.layout.schema
        self._context.layout = tracking.read_layout(self._connection.query, schema)

    def committed(self, files: Sequence[MigrationFile]) -> tuple[int, ...] | None:
        layout = self._context.layout
        times = []
        for file in files:
            if not (layout.exists and layout.log_exists):
                return None
            rows = self._connection.query(
                f"SELECT execution_time_ms FROM {layout.log} WHERE state = 'done'"
                f" AND action = 'apply' AND version = {quote_literal(file.version)}"
                f" AND backend_pid = {self._sender_pid} AND checksum = {quote_literal(file.checksum)}"
                f" AND EXISTS (SELECT FROM {layout.table}"
                f" WHERE version = {tracking.version_literal(layout, file.version)})"
                " ORDER BY id DESC LIMIT 1"
            )
            if not rows:
                return None
            times.append(int(rows[0][0] or 0))
        return tuple(times)

    def note_lost(self, file: MigrationFile, lost: SessionLost) -> Failure:
        stepwise = file.directives.no_transaction
        remains = "The journal knows which of its statements are done." if stepwise else ROLLED_BACK
        advice = (
            "`manage.py migrate_apply --resume` goes on from there."
            if stepwise
            else ("Run `manage.py migrate_apply` again.")
        )
        failure = Failure(
            version=file.version,
            filename=file.filename,
            file=str(file.path),
            message=lost.message,
            remains=remains,
            advice=advice,
            sqlstate=lost.sqlstate,
        )
        if not stepwise and self._context.layout.log_exists:
            write_failure(
                self._context, Job(file, file.content(), self._config.applied_by), failure
            )
        return failure

    def _reconnect(self, deadline: float) -> None:
        while True:
            if self._stop.signal_number is not None:
                raise Interrupted(self._stop.signal_number, "Stopped while reconnecting.")
            try:
                self._connection.reopen()
                return
            except DatabaseUnavailable:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(_RECONNECT_EVERY)

    # Bookkeeping

    def _create_table(self) -> None:
        layout = self._context.layout
        statements = [s.decode().rstrip("; \n") for s in tracking.template_statements()]
        path = f"SET LOCAL search_path = {quote_name(layout.schema)}"
        self._connection.query("; ".join(["BEGIN", path, *statements, "COMMIT"]))
        self._context.layout = tracking.read_layout(self._connection.query, layout.schema)


def _changed_meanwhile(change: Change) -> DatabaseRefused:
    return DatabaseRefused(
        f"The row of version {change.version} changed meanwhile; nothing was changed.",
        hint="Look at `manage.py migrate_status`, then run the command again.",
    )
