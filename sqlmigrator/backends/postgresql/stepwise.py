"""Running a `no-transaction` file: statement by statement, each counted in the journal. DESIGN 5.6.

A statement that may run in a transaction runs in one, together with its count: it is done and
counted, or neither. One that may not (CREATE INDEX CONCURRENTLY) is counted afterwards; killed in
between, it is the one statement in doubt, which `--resume` settles by looking.
"""

from __future__ import annotations

import secrets
from typing import Final

from psycopg import pq

from sqlmigrator.backends.postgresql import doubt, journal, tracking
from sqlmigrator.backends.postgresql.context import Context, Job
from sqlmigrator.backends.postgresql.doubt import Doubt
from sqlmigrator.backends.postgresql.execution import roll_back
from sqlmigrator.backends.postgresql.failures import ADVICE, journaled
from sqlmigrator.backends.postgresql.fence import fence_sql, without_fence, written_sql
from sqlmigrator.backends.postgresql.retry import Retries
from sqlmigrator.backends.postgresql.wire import READ_OTHERWISE, ServerError, ServerFailure
from sqlmigrator.core.history import Action, Attempt, AttemptState
from sqlmigrator.core.script import Statement, locate
from sqlmigrator.core.statements import (
    WAITS_FOR_OTHERS,
    OutsideStatement,
    is_reset_all,
    outside_transaction,
)
from sqlmigrator.events import StatementStarted
from sqlmigrator.exceptions import Interrupted
from sqlmigrator.results import AttemptFailed, Failure


def run_stepwise(context: Context, job: Job, interrupted: Attempt | None = None) -> int:
    """Run the statements of `job`; after `interrupted`, those that are not done yet.

    Returns the execution time in milliseconds. Raises AttemptFailed, with what is done and what
    is not in the failure and in the journal; Interrupted when stopped by a signal.
    """
    return _Stepwise(context, job, interrupted).run()


# The file's statements are done: a lock on the bookkeeping must not fail it after half a second.
_BEGIN: Final = "BEGIN READ WRITE"  # whatever default_transaction_read_only the file has set
_PATIENT: Final = "SET LOCAL lock_timeout = '60s'"


class _StillInDoubt(ServerFailure):
    """It cannot be told whether a statement was done; the attempt stays open."""


class _Stepwise:
    def __init__(self, context: Context, job: Job, interrupted: Attempt | None) -> None:
        self.context = context
        self.connection = context.connection
        self.wire = context.connection.wire
        self.job = job
        self.interrupted = interrupted
        self.done = interrupted.statement_done if interrupted else 0
        self.total = len(job.content.statements)
        self.token = secrets.token_hex(8)
        self.blockers: tuple[str, ...] = ()
        self.attempt_id = 0
        lock_timeout_ms = job.content.directives.lock_timeout_ms
        if lock_timeout_ms is None:
            lock_timeout_ms = context.config.lock_timeout_ms
        self._lock_timeout_ms = lock_timeout_ms

    def run(self) -> int:
        statement = None
        try:
            self._start()
            self._set_timeouts()
            self._repeat_session_state()
            for statement in self.job.content.statements[self.done :]:
                self._run_statement(statement)
            statement = None
            return self._finish()
        except _StillInDoubt as failure:
            raise AttemptFailed(self._describe(failure.error, statement)) from None
        except ServerFailure as failure:
            roll_back(self.context)
            raise self._failed(without_fence(failure.error), statement) from None
        except Interrupted as stopped:
            self._note_interruption(stopped)
            raise
        finally:
            if not self.wire.is_broken:
                self.connection.query(self.connection.baseline.reset)

    def _start(self) -> None:
        """The running row, committed before anything else; an interrupted one is closed by it."""
        file = self.job.file
        insert = journal.insert_sql(
            self.context.layout,
            version=file.version,
            name=file.name,
            checksum=file.checksum,
            action=Action.APPLY,
            state=AttemptState.RUNNING,
            applied_by=self.job.applied_by,
            done=self.done,
            total=self.total,
        )
        statements = [_BEGIN]
        if self.interrupted is not None:
            closed = AttemptState.RESOLVED
            reason = "resumed"
            statements.append(
                journal.finish_sql(self.context.layout, self.interrupted.id, closed, reason=reason)
            )
        statements.append(f"{insert} RETURNING id")
        ((attempt_id,),) = self.connection.query("; ".join(statements))
        self.connection.query("COMMIT")
        self.attempt_id = int(attempt_id or 0)

    def _set_timeouts(self) -> None:
        directives, config = self.job.content.directives, self.context.config
        statement = directives.statement_timeout_ms
        lock = self._lock_timeout_ms
        statement = config.statement_timeout_ms if statement is None else statement
        self.connection.query(f"SET lock_timeout = {lock}; SET statement_timeout = {statement}")

    def _repeat_session_state(self) -> None:
        """After an interruption: the SETs of the statements that are done already."""
        for statement in self.job.content.statements[: self.done]:
            if statement.word == "SET":
                self.connection.query(self.job.content.text(statement).decode())

    def _run_statement(self, statement: Statement) -> None:
        event = StatementStarted(self.job.file.filename, self.done + 1, self.total)
        self.context.on_event(event)
        outside = outside_transaction(self.job.content.data, statement)
        if outside is None:
            self._run_inside(statement)
        elif not self._is_settled(outside):
            self._run_outside(statement, outside)
        self.done += 1

    # Statements that may run in a transaction

    def _run_inside(self, statement: Statement) -> None:
        retries = Retries(self.context, self._lock_timeout_ms)
        while True:
            watch = self.context.watch()
            token = f"SET LOCAL sqlmigrator.token = '{self.token}'"
            begin = f"{_BEGIN}; {token}"
            if retries.attempt > 1:
                begin += f"; SET LOCAL lock_timeout = {retries.lock_timeout_ms}"
            try:
                self._send(begin.encode())
                self._send(self.job.content.text(statement), watch, self._copy_data(statement))
                if self.wire.transaction_status != pq.TransactionStatus.INTRANS:
                    raise ServerFailure(ServerError("the statement ended the runner's transaction"))
                if not self.wire.reads_as_split:
                    raise ServerFailure(ServerError(READ_OTHERWISE))
                if is_reset_all(self.job.content.data, statement):
                    self._set_timeouts()
                    self._send(token.encode())
                progress = journal.progress_sql(self.context.layout, self.attempt_id, self.done + 1)
                after = f"SET CONSTRAINTS ALL IMMEDIATE; {self._baseline()}; {progress}; COMMIT"
                self._send(after.encode(), watch)
                return
            except ServerFailure as failure:
                if self.wire.transaction_status != pq.TransactionStatus.IDLE:
                    self._send(b"ROLLBACK")
                again = retries.may_try_again(failure.error, watch.blockers)
                self.blockers = retries.blockers
                if not again:
                    raise

    def _copy_data(self, statement: Statement) -> memoryview | None:
        if statement.copy_data is None:
            return None
        return memoryview(self.job.content.data)[slice(*statement.copy_data)]

    def _send(self, message: bytes, *args: object) -> None:
        reply = self.wire.send(message, *args)  # type: ignore[arg-type]
        if reply.error is not None:
            raise ServerFailure(reply.error)

    # Statements that may not

    def _is_settled(self, outside: OutsideStatement) -> bool:
        """Whether the statement in doubt turns out to be done. Raises _StillInDoubt."""
        previous = self.interrupted
        if previous is None or previous.statement_done != self.done:
            return False
        if previous.state is AttemptState.FAILED:
            return False  # the server said that it failed
        settled = doubt.settle(self.connection, outside)
        if settled is Doubt.UNKNOWN:
            raise _StillInDoubt(
                ServerError(
                    f"it cannot be told whether statement {self.done + 1} ({outside.kind} without "
                    "a name) was done"
                )
            )
        if settled is Doubt.DONE:
            self._count()
        return settled is Doubt.DONE

    def _run_outside(self, statement: Statement, outside: OutsideStatement) -> None:
        if left := doubt.invalid_of_name(self.connection, outside):
            raise ServerFailure(
                ServerError(
                    f"the index {left[0]} is there already, but INVALID: an earlier build was "
                    "stopped, or another session is building it now",
                    hint=f"If nobody is building it: DROP INDEX CONCURRENTLY {left[0]};",
                )
            )
        fence = fence_sql(self.token, self.context.lock)
        self._send(f"SET sqlmigrator.token = '{self.token}'; SELECT {fence}".encode())
        before = doubt.invalid_indexes(self.connection, outside)
        error = self._send_outside(statement, outside)
        left = [n for n in doubt.invalid_indexes(self.connection, outside) if n not in before]
        if error is not None:
            raise ServerFailure(self._with_cleanup(error, left))
        if left:
            raise ServerFailure(
                ServerError(f"the index {left[0]} was built, but PostgreSQL holds it INVALID")
            )
        self._count()

    def _send_outside(self, statement: Statement, outside: OutsideStatement) -> ServerError | None:
        """Send the statement with its lock_timeout; give way and try again where that is safe."""
        retries = Retries(self.context, self._lock_timeout_ms)
        ((before,),) = self.connection.query("SELECT pg_catalog.current_setting('lock_timeout')")
        while True:
            waits = outside.kind in WAITS_FOR_OTHERS
            if waits or retries.attempt > 1:
                timeout = 0 if waits else retries.lock_timeout_ms
                self.connection.query(f"SET lock_timeout = {timeout}")
            watch = self.context.watch()
            reply = self.wire.send(self.job.content.text(statement), watch)
            error = reply.error
            if waits or error is None or not retries.may_try_again(error, watch.blockers):
                break
        self.blockers = retries.blockers
        self.connection.query(f"SET lock_timeout = '{before}'")
        return error

    def _with_cleanup(self, error: ServerError, left: list[str]) -> ServerError:
        """Drop the INVALID index that the failed build left; say so where that fails too."""
        if not left:
            return error
        try:
            self.connection.query("SET lock_timeout = '5s'")
            doubt.drop_indexes(self.connection, left)
            told = f"The INVALID index {', '.join(left)} that it left was dropped."
        except ServerFailure:
            told = f"It left an INVALID index: DROP INDEX CONCURRENTLY {left[0]};"
        return ServerError(
            error.message,
            error.sqlstate,
            error.detail,
            f"{error.hint} {told}".strip(),
            error.context,
            error.position,
        )

    def _baseline(self) -> str:
        """What comes before the bookkeeping of a transaction that has set our token."""
        fence = fence_sql(self.token, self.context.lock)
        return "; ".join(self.connection.baseline.for_bookkeeping(fence))

    def _count(self) -> None:
        baseline = "; ".join(self.connection.baseline.for_bookkeeping())
        progress = journal.progress_sql(self.context.layout, self.attempt_id, self.done + 1)
        self._send(f"{_BEGIN}; {_PATIENT}; {baseline}; {progress}; COMMIT".encode())

    # The end

    def _finish(self) -> int:
        file, layout = self.job.file, self.context.layout
        elapsed = (
            "(SELECT (1000 * extract(epoch FROM pg_catalog.clock_timestamp() - started_at))::bigint"
            f" FROM {layout.log} WHERE id = {self.attempt_id})"
        )
        record = tracking.record_sql(
            layout,
            version=file.version,
            name=file.name,
            checksum=file.checksum,
            execution_time_ms=elapsed,
            applied_by=self.job.applied_by,
        )
        finish = journal.finish_sql(
            layout, self.attempt_id, AttemptState.DONE, execution_time_ms=elapsed
        )
        begin = f"{_BEGIN}; {_PATIENT}; SET LOCAL sqlmigrator.token = '{self.token}'"
        statements = [
            begin,
            self._baseline(),
            record,
            f"{finish} RETURNING {written_sql(layout, file, True)}",
        ]
        ((time_ms,),) = self.connection.query("; ".join(statements))
        self.connection.query("COMMIT")
        return int(time_ms or 0)

    def _failed(self, error: ServerError, statement: Statement | None) -> AttemptFailed:
        failure = self._describe(error, statement)
        sql = journal.finish_sql(
            self.context.layout,
            self.attempt_id,
            AttemptState.FAILED,
            sqlstate=error.sqlstate or None,
            error=error.message,
            line=failure.line,
            reason=f"blocked by {'; '.join(self.blockers)}" if self.blockers else None,
        )
        return AttemptFailed(journaled(self.context, sql, failure))

    def _note_interruption(self, stopped: Interrupted) -> None:
        """The row stays `running`: its session is about to end, and resume looks at the rest."""
        roll_back(self.context)
        stopped.hint = "`manage.py migrate_apply --resume` goes on from there."
        stopped.message = (
            f"Stopped by a signal: {self.job.file.filename} is interrupted at statement "
            f"{self.done + 1} of {self.total}; {self._remains()}"
        )

    def _remains(self) -> str:
        if self.done == 0:
            return "none of its statements is done."
        if self.done == 1:
            return "statement 1 is done and stays done."
        return f"statements 1 to {self.done} are done and stay done."

    def _describe(self, error: ServerError, statement: Statement | None) -> Failure:
        job = self.job
        place = None
        if statement is not None:
            text = job.content.text(statement).decode(errors="replace")
            before = text[: error.position - 1].encode() if error.position else b""
            place = locate(job.content.original, statement.start + len(before))
        remains = self._remains()
        known = ADVICE.get(error.sqlstate)
        advice = known or "Correct the file, then run `manage.py migrate_apply`."
        if self.done or self.interrupted:
            first = (
                f"{known} Then" if known else "Where the cause is in the database, remove it, then"
            )
            advice = (
                f"{first} `manage.py migrate_apply --resume` goes on. Where it is in the file, undo "
                "what is done, correct the file, and run `manage.py migrate_mark --unapplied "
                f"{job.file.version} --reason …` before `manage.py migrate_apply`."
            )
        return Failure(
            version=job.file.version,
            filename=job.file.filename,
            file=str(job.file.path),
            message=error.message,
            remains=remains[0].upper() + remains[1:],
            advice=advice,
            sqlstate=error.sqlstate,
            detail=error.detail,
            hint=error.hint,
            context=error.context,
            statement=self.done + 1 if statement is not None else None,
            line=place.line if place else None,
            column=place.column if place else None,
            excerpt=place.excerpt if place else None,
            blockers=self.blockers,
        )
