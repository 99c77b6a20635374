"""Running a transactional file: one message, one transaction, with its rows. DESIGN 5.5 to 5.9.

    BEGIN; SET LOCAL …; SET LOCAL sqlmigrator.token = …     the prefix
    ;  the file  ;
    constraints immediate; role, search_path; fence          the suffix
    history row; journal row; COMMIT
    the session as before                                    the reset

The server parses all of it before it runs anything. A failing statement is named by counting
the command tags before the error. Between prefix and suffix, files that may change the history
table go as a message of their own, and files with COPY data or RESET ALL statement by statement.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from psycopg import pq

from sqlmigrator.backends.postgresql import journal, tracking
from sqlmigrator.backends.postgresql.context import Context, Job, Outcome
from sqlmigrator.backends.postgresql.failures import describe_failure, describe_stop, write_failure
from sqlmigrator.backends.postgresql.fence import TOKEN_LOST, fence_sql, without_fence, written_sql
from sqlmigrator.backends.postgresql.observer import Watch
from sqlmigrator.backends.postgresql.retry import Retries
from sqlmigrator.backends.postgresql.tracking import quote_literal, quote_name
from sqlmigrator.backends.postgresql.wire import READ_OTHERWISE, Reply, ServerError, ServerFailure
from sqlmigrator.core.content import Content
from sqlmigrator.core.history import AttemptState
from sqlmigrator.core.script import Statement
from sqlmigrator.core.statements import is_reset_all
from sqlmigrator.exceptions import Interrupted
from sqlmigrator.results import AttemptFailed

_JOIN: Final = b"\n;\n"  # a trailing -- comment must not swallow what follows
_OUR_READING: Final = (
    "SET LOCAL client_encoding = 'UTF8'; SET LOCAL standard_conforming_strings = on"
)


def run_transaction(context: Context, jobs: Sequence[Job]) -> tuple[int, ...]:
    """Run `jobs` in one transaction, retrying while locks are in the way.

    Returns the execution times in milliseconds. Raises AttemptFailed; the failure is in the
    journal then, and nothing else of it in the database.
    """
    lock_timeout = jobs[0].content.directives.lock_timeout_ms
    retries = Retries(context, lock_timeout)
    layout = context.layout
    while True:
        watch = context.watch()
        transaction = _Transaction(context, jobs, retries.lock_timeout_ms, watch)
        try:
            outcome = transaction.run()
            if outcome.error is None:
                return outcome.times_ms
            context.layout = layout
            roll_back(context)
            if outcome.persisted or not retries.may_try_again(outcome.error, watch.blockers):
                break
        except BaseException as stopped:
            context.layout = layout
            roll_back(context)
            if isinstance(stopped, Interrupted):
                write_failure(context, transaction.job, describe_stop(transaction.job, stopped))
            raise
    failure = describe_failure(outcome, retries.blockers)
    raise AttemptFailed(write_failure(context, outcome.job or jobs[0], failure))


class _Transaction:
    """One attempt."""

    def __init__(
        self, context: Context, jobs: Sequence[Job], lock_timeout_ms: int, watch: Watch
    ) -> None:
        self.context = context
        self.connection = context.connection
        self.wire = context.connection.wire
        self.jobs = jobs
        self.job = jobs[0]
        self.lock_timeout_ms = lock_timeout_ms
        self.watch = watch
        self.token = secrets.token_hex(8)

    def run(self) -> Outcome:
        try:
            return self._run()
        except ServerFailure as failure:
            return Outcome(error=failure.error, job=self.job)

    def _run(self) -> Outcome:
        job = self.job
        content = job.content
        one_message = not (self._goes_by_statement(content) or content.names_history_table)
        if len(self.jobs) == 1 and self.context.layout.exists and one_message:
            return self._run_as_one_message(job)
        return self._run_in_steps()

    def _goes_by_statement(self, content: Content) -> bool:
        return self.context.statement_path or content.needs_statement_path

    # One message

    def _run_as_one_message(self, job: Job) -> Outcome:
        begin, before = self._begin(job), len(self._locals(job)) + 1
        tail = [*self._after(job, "pg_catalog.now()"), "COMMIT"]
        baseline = self.connection.baseline
        prefix = begin.encode() + _JOIN
        suffix = _JOIN + "; ".join([*tail, baseline.reset]).encode()
        reply = self.wire.send(b"".join((prefix, job.content.data, suffix)), self.watch)
        total = len(job.content.statements)
        committed = before + total + len(tail)
        if reply.count < committed:
            return self._failed(job, reply, reply.count - before, len(prefix))
        resets = reply.count - committed
        tag = reply.tag(resets)
        if tag != "COMMIT":
            return Outcome(error=ServerError(f"COMMIT was answered by {tag}"), job=job)
        if reply.error is not None:  # committed, but the session could not be set right again
            self.connection.close()
        return Outcome((_time(reply, resets + 1),))

    def _failed(self, job: Job, reply: Reply, index: int, prefix_length: int) -> Outcome:
        """The outcome of a message that stopped at its `index`-th statement after the prefix."""
        error = reply.error or ServerError("the server did not answer every statement")
        statements = job.content.statements
        offset = None
        if error.position is not None:
            offset = self._byte_offset(job.content.data, error.position - 1 - prefix_length)
        # A syntax error comes before anything runs; its position alone says where it is.
        if offset is not None and reply.count == 0:
            index = sum(statement.start <= offset for statement in statements) - 1
            if offset >= len(job.content.data):  # at the semicolon that we added
                error = replace(error, message="syntax error at end of input")
                offset = statements[index].end
        if not 0 <= index < len(statements):
            return self._outcome_after(job, error)
        # A function's body is looked for in all of the message, and may be found elsewhere.
        if offset is None or not statements[index].start <= offset <= statements[index].end:
            offset = statements[index].start
        return Outcome(error=error, job=job, statement=index + 1, offset=offset)

    def _byte_offset(self, data: bytes, characters: int) -> int:
        """The byte at which the `characters`-th character (from 0) starts."""
        if self.connection.counts_bytes or data.isascii():
            return characters
        return len(data.decode()[: max(0, characters)].encode())

    # Steps

    def _run_in_steps(self) -> Outcome:
        times: list[int] = []
        reply = self.wire.send(self._begin(self.jobs[0]).encode(), self.watch)
        if reply.error is not None:
            return Outcome(error=reply.error, job=self.jobs[0])
        started = "pg_catalog.now()"  # no query yet: the file may start with SET TRANSACTION
        for index, job in enumerate(self.jobs):
            self.job = job
            if index:
                setup = "; ".join([self.connection.baseline.reset, *self._locals(job)])
                self.connection.query(setup)
                ((clock,),) = self.connection.query("SELECT pg_catalog.clock_timestamp()")
                started = f"{quote_literal(clock)}::timestamptz"
            failed = self._send_file(job) or self._look_at_table(job)
            if failed is not None:
                return failed
            after = "; ".join(self._after(job, started))
            reply = self.wire.send(after.encode(), self.watch)
            if reply.error is not None:
                return self._outcome_after(job, reply.error)
            times.append(_time(reply))
        reply = self.wire.send(b"COMMIT", self.watch)
        if reply.error is not None:
            return self._outcome_after(self.jobs[-1], reply.error)
        self.connection.query(self.connection.baseline.reset)
        return Outcome(tuple(times))

    def _send_file(self, job: Job) -> Outcome | None:
        """Send the file, or its statements one by one; None when all of them ran."""
        if not self._goes_by_statement(job.content):
            reply = self.wire.send(job.content.data, self.watch)
            if reply.error is not None:
                return self._failed(job, reply, reply.count, 0)
            if lost := self._outcome_of_lost_transaction(job, None):
                return lost
            if not self.wire.reads_as_split:  # it has been read; what follows is ours
                self.connection.query(_OUR_READING)
            return None
        data = memoryview(job.content.data)
        for index, statement in enumerate(job.content.statements):
            copy_data = data[slice(*statement.copy_data)] if statement.copy_data else None
            reply = self.wire.send(job.content.text(statement), self.watch, copy_data)
            if reply.error is not None:
                offset = self._offset_in(job.content.data, statement, reply.error)
                return Outcome(error=reply.error, job=job, statement=index + 1, offset=offset)
            if lost := self._outcome_of_lost_transaction(job, index):
                return lost
            if not self.wire.reads_as_split:
                error = ServerError(READ_OTHERWISE)
                return Outcome(error=error, job=job, statement=index + 1, offset=statement.start)
            if is_reset_all(job.content.data, statement):
                no_limits = ["SET LOCAL lock_timeout = 0", "SET LOCAL statement_timeout = 0"]
                self.connection.query("; ".join([*no_limits, *self._locals(job)]))
        return None

    def _outcome_of_lost_transaction(self, job: Job, index: int | None) -> Outcome | None:
        """The outcome where the transaction is over, which the statement of `index` ended."""
        if self.wire.transaction_status == pq.TransactionStatus.INTRANS:
            return None
        outcome = Outcome(error=ServerError(TOKEN_LOST), job=job, persisted=True)
        if index is None:
            return outcome
        offset = job.content.statements[index].start
        return replace(outcome, statement=index + 1, offset=offset)

    def _offset_in(self, data: bytes, statement: Statement, error: ServerError) -> int:
        if error.position is None:
            return statement.start
        text = data[statement.start : statement.end]
        return statement.start + self._byte_offset(text, error.position - 1)

    def _look_at_table(self, job: Job) -> Outcome | None:
        """Read the layout again where the file may have changed it; make table and view from the
        shipped template if the first file did not.
        """
        if self.context.layout.exists and not job.content.names_history_table:
            return None
        schema = self.context.layout.schema
        self.connection.query("; ".join(self.connection.baseline.for_bookkeeping()))
        layout = tracking.read_layout(self.connection.query, schema)
        if not layout.exists and self.context.layout.exists:
            error = ServerError(f"the file took {self.context.layout.table} away")
            return Outcome(error=error, job=job)
        if not layout.exists:
            self.connection.query(f"SET LOCAL search_path = {quote_name(schema)}")
            for statement in tracking.template_statements():
                reply = self.wire.send(statement)
                if reply.error is not None:
                    return Outcome(error=reply.error, job=job)
            layout = tracking.read_layout(self.connection.query, schema)
        self.context.layout = layout
        return None

    # The runner's own statements

    def _locals(self, job: Job) -> list[str]:
        timeout = job.content.directives.statement_timeout_ms
        if timeout is None:
            timeout = self.context.config.statement_timeout_ms
        limits = {"lock_timeout": self.lock_timeout_ms, "statement_timeout": timeout}
        return [
            f"SET LOCAL sqlmigrator.token = '{self.token}'",
            # The session has none: every statement of the runner's own costs all files something.
            *(f"SET LOCAL {name} = {limit}" for name, limit in limits.items() if limit),
        ]

    def _begin(self, job: Job) -> str:
        options = job.content.begin_options or self.connection.baseline.isolation
        return "; ".join([f"BEGIN {options}".rstrip(), *self._locals(job)])

    def _after(self, job: Job, started: str) -> list[str]:
        """Session as before, fence, history row, journal row (which returns the time)."""
        file, layout = job.file, self.context.layout
        elapsed = f"(1000 * extract(epoch FROM pg_catalog.clock_timestamp() - {started}))::bigint"
        total = len(job.content.statements)
        return [
            "SET CONSTRAINTS ALL IMMEDIATE",
            *self.connection.baseline.for_bookkeeping(fence_sql(self.token, self.context.lock)),
            self._history_sql(job, elapsed),
            journal.insert_sql(
                layout,
                version=file.version,
                name=file.name,
                checksum=file.checksum,
                action=job.action,
                state=AttemptState.DONE,
                applied_by=job.applied_by,
                done=total,
                total=total,
                started_at=started,
                execution_time_ms=elapsed,
            )
            + f" RETURNING {written_sql(layout, file, job.removes is None)}",
        ]

    def _history_sql(self, job: Job, elapsed: str) -> str:
        if job.removes is not None:
            return tracking.delete_sql(self.context.layout, job.removes)
        return tracking.record_sql(
            self.context.layout,
            version=job.file.version,
            name=job.file.name,
            checksum=job.file.checksum,
            execution_time_ms=elapsed,
            applied_by=job.applied_by,
        )

    def _outcome_after(self, job: Job, error: ServerError) -> Outcome:
        """The outcome where the file ran, but not what comes after it."""
        error = without_fence(error)
        return Outcome(error=error, job=job, persisted=error.message == TOKEN_LOST)


def _time(reply: Reply, before_last: int = 0) -> int:
    """The execution time that the journal's INSERT returned."""
    rows = reply.rows(before_last)
    return int(rows[0][0] or 0) if rows else 0


def roll_back(context: Context) -> None:
    """End the attempt and bring the session back; a broken one is settled by the runner."""
    connection = context.connection
    if not connection.wire.is_broken:
        if connection.wire.transaction_status != pq.TransactionStatus.IDLE:
            connection.wire.send(b"ROLLBACK")
        connection.query(connection.baseline.reset)
