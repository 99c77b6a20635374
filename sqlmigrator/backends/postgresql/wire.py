"""Messages and results on one psycopg connection, below the level of cursors.

The runner needs what a cursor hides: every result of a message with its command tag, the error's
fields, and a moment now and then while the server works. Everything here is the simple query
protocol (manual section 55.2.3): several statements in one message, `%` literal.
"""

from __future__ import annotations

import selectors
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, ParamSpec, TypeVar

import psycopg
from psycopg import pq

from sqlmigrator.backends.base import SessionLost
from sqlmigrator.core.masking import mask_context, mask_detail, mask_message
from sqlmigrator.exceptions import DatabaseRefused, Interrupted

FENCE: Final = "sqlmigrator: "  # what the fence's own errors start with

READ_OTHERWISE: Final = "the file changed how the text after this statement is read"

P = ParamSpec("P")
T = TypeVar("T")

# admin_shutdown (pg_terminate_backend), and a session that we closed before sending anything.
_ENDED_FROM_OUTSIDE: Final = ("57P01", "08003")
_TICK: Final = 0.1  # seconds between looks at the stop flag
_MOST_KEPT: Final = 24  # answers: more than the statements that the runner adds after a file
_MOST_ROWS: Final = 1000  # of the runner's own answers; a file's SELECT may be large
_COPY_CHUNK: Final = 1 << 18
_CANCEL_PATIENCE: Final = 1.5  # seconds for the server to answer a cancel request


@dataclass(frozen=True, slots=True)
class ServerError:
    """The fields of an ErrorResponse (manual section 55.8), row values blanked out."""

    message: str
    sqlstate: str = ""
    detail: str = ""
    hint: str = ""
    context: str = ""
    position: int | None = None


class ConnectionBroken(SessionLost):
    """The session ended under us; `error` is the server's last word, if there was one."""

    def __init__(self, error: ServerError) -> None:
        super().__init__(f"The connection was lost: {error.message}.")
        self.error = error
        self.sqlstate = error.sqlstate
        self.may_run_again = error.sqlstate in _ENDED_FROM_OUTSIDE


Rows = tuple[tuple[str | None, ...], ...]


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back for one message: `count` completed commands, then maybe an error.

    The answers of the last of them can be read; those of a large file's statements are not kept.
    """

    count: int
    last: tuple[pq.abc.PGresult | None, ...]
    error: ServerError | None = None

    def tag(self, before_last: int = 0) -> str:
        """The command tag of the command that is so many before the last."""
        result = self.last[-1 - before_last]
        return (result.command_status or b"").decode() if result else ""

    def rows(self, before_last: int = 0) -> Rows:
        """The rows of that command, as text."""
        if before_last >= len(self.last):
            return ()
        result = self.last[-1 - before_last]
        return _rows(result) if result else ()

    @property
    def sqlstate(self) -> str:
        return self.error.sqlstate if self.error else ""


class _Answer:
    """What has come back so far of a message; it outlives the exception that stops the reading."""

    def __init__(self) -> None:
        self.count = 0
        self.last: deque[pq.abc.PGresult | None] = deque(maxlen=_MOST_KEPT)
        self.error: ServerError | None = None


OnTick = Callable[[], None]


def _nothing() -> None:
    """The OnTick of messages that are over at once."""


class Wire:
    """Sends messages on `connection` (autocommit) and reads all of the answer."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self.connection = connection
        self.pgconn = connection.pgconn
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.pgconn.socket, selectors.EVENT_READ)
        self._farewell: ServerError | None = None
        connection.add_notice_handler(self._listen)

    @property
    def transaction_status(self) -> pq.TransactionStatus:
        return pq.TransactionStatus(self.pgconn.transaction_status)

    @property
    def reads_as_split(self) -> bool:
        """Whether the server reads SQL as our lexer does; it reports these settings unasked."""
        status = self.pgconn.parameter_status
        is_utf8 = status(b"client_encoding") == b"UTF8"
        return is_utf8 and status(b"standard_conforming_strings") == b"on"

    @property
    def is_broken(self) -> bool:
        return self.connection.closed or self.pgconn.status != pq.ConnStatus.OK

    def send(
        self, message: bytes, on_tick: OnTick = _nothing, copy_data: memoryview | None = None
    ) -> Reply:
        """Send one message and wait for its end; `copy_data` feeds a COPY … FROM STDIN.

        `on_tick` is called about ten times a second while the server works; what it raises
        stops the message: the statement is cancelled at the server, then the exception goes on.
        Where all of the message was done before the cancel arrived, Interrupted is left to the
        next call. Raises ConnectionBroken when the session ends.
        """
        if self.connection.closed:
            raise ConnectionBroken(ServerError("the session was closed", "08003"))
        answer = _Answer()
        try:
            self._call(self.pgconn.send_query, message)
            self._collect(answer, on_tick, copy_data)
        except ConnectionBroken:
            raise
        except Interrupted as stopped:
            self._cancel(answer)
            stopped.settled = not self.is_broken
            if self.is_broken or answer.error is not None:
                raise
        except BaseException:
            self._cancel(answer)
            raise
        return Reply(answer.count, tuple(answer.last), answer.error)

    def query(self, sql: str) -> list[tuple[str | None, ...]]:
        """Run bookkeeping SQL and return the last result's rows, as text. Raises ServerFailure."""
        reply = self.send(sql.encode())
        if reply.error is not None:
            raise ServerFailure(reply.error)
        return list(reply.rows())

    def _collect(
        self, answer: _Answer, on_tick: OnTick, copy_data: memoryview | None = None
    ) -> None:
        try:
            for result in self._results(on_tick):
                status = result.status
                if status == pq.ExecStatus.COPY_IN:
                    self._copy_in(copy_data, on_tick)
                    copy_data = None
                elif status == pq.ExecStatus.COPY_OUT:
                    self._discard_copy_out(on_tick)
                elif status == pq.ExecStatus.FATAL_ERROR:
                    answer.error = answer.error or server_error(result)
                elif result.command_status:
                    # Extra results of rewrite rules carry no tag and are not statements.
                    answer.count += 1
                    answer.last.append(result if result.ntuples <= _MOST_ROWS else None)
        except ConnectionBroken as broken:  # the server's last words come before the end
            raise ConnectionBroken(answer.error or broken.error) from None
        if self.is_broken:
            raise ConnectionBroken(answer.error or self._last_words())

    def _results(self, on_tick: OnTick) -> Iterator[pq.abc.PGresult]:
        self._flush(on_tick)
        is_busy, get_result = self.pgconn.is_busy, self.pgconn.get_result
        while True:
            while is_busy():
                self._wait(selectors.EVENT_READ, on_tick)
                self._call(self.pgconn.consume_input)
            result = get_result()
            if result is None:
                return
            yield result
            if result.status == pq.ExecStatus.FATAL_ERROR and self.is_broken:
                return

    def _flush(self, on_tick: OnTick) -> None:
        while self._call(self.pgconn.flush):
            ready = self._wait(selectors.EVENT_READ | selectors.EVENT_WRITE, on_tick)
            if ready & selectors.EVENT_READ:
                self._call(self.pgconn.consume_input)

    def _wait(self, events: int, on_tick: OnTick) -> int:
        self._selector.modify(self.pgconn.socket, events)
        while True:
            if ready := self._selector.select(_TICK):
                return ready[0][1]
            on_tick()

    def _call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call libpq; its failure means that the connection is gone."""
        try:
            return function(*args, **kwargs)
        except psycopg.OperationalError:
            raise ConnectionBroken(self._last_words()) from None

    def _last_words(self) -> ServerError:
        """What the server said before it closed the session.

        It may be unread still: sending to a session that was ended fails before that. Then libpq
        has it for the answer to a message, or for a notice, as is_busy() finds out.
        """
        with suppress(psycopg.OperationalError):
            while (result := self.pgconn.get_result()) is not None:
                if result.error_field(pq.DiagnosticField.SQLSTATE):
                    return server_error(result)
            self.pgconn.is_busy()
        if self._farewell is not None:
            return self._farewell
        text = self.pgconn.get_error_message().strip().splitlines()
        return ServerError(text[0] if text else "the connection to the server was lost", "08006")

    def _listen(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "FATAL":
            self._farewell = ServerError(
                diagnostic.message_primary or "", diagnostic.sqlstate or "08006"
            )

    def _copy_in(self, data: memoryview | None, on_tick: OnTick) -> None:
        if data is None:
            self.pgconn.put_copy_end(b"the file holds no data for this COPY")
        else:
            for start in range(0, len(data), _COPY_CHUNK):
                while self._call(self.pgconn.put_copy_data, data[start : start + _COPY_CHUNK]) == 0:
                    self._wait(selectors.EVENT_WRITE, on_tick)
                self._flush(on_tick)
                on_tick()
            self._call(self.pgconn.put_copy_end)
        self._flush(on_tick)

    def _discard_copy_out(self, on_tick: OnTick) -> None:
        while True:
            length, _ = self._call(self.pgconn.get_copy_data, 1)
            if length == 0:
                self._wait(selectors.EVENT_READ, on_tick)
                self._call(self.pgconn.consume_input)
            elif length < 0:
                return

    def _cancel(self, answer: _Answer) -> None:
        """Cancel the running statement and read what is left of the answer.

        A server that does not answer in time loses the connection instead: it notices
        (client_connection_check_interval) and rolls back.
        """
        try:
            self.connection.cancel_safe(timeout=_CANCEL_PATIENCE)
            give_up = time.monotonic() + _CANCEL_PATIENCE
            self._collect(answer, lambda: _give_up_after(give_up))
        except (psycopg.Error, ConnectionBroken, TimeoutError):
            self.connection.close()


def _give_up_after(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise TimeoutError


class ServerFailure(DatabaseRefused):
    """The server refused a statement; `error` has its fields."""

    def __init__(self, error: ServerError) -> None:
        super().__init__(error.message, hint=error.hint)
        self.error = error


def _rows(result: pq.abc.PGresult) -> Rows:
    return tuple(
        tuple(_text(result.get_value(row, column)) for column in range(result.nfields))
        for row in range(result.ntuples)
    )


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="replace")


def server_error(result: pq.abc.PGresult) -> ServerError:
    """The error's fields, with values of data rows blanked out."""

    def field(name: pq.DiagnosticField) -> str:
        return (result.error_field(name) or b"").decode(errors="replace")

    sqlstate = field(pq.DiagnosticField.SQLSTATE)
    position = field(pq.DiagnosticField.STATEMENT_POSITION)
    message = field(pq.DiagnosticField.MESSAGE_PRIMARY)
    if FENCE in message:  # the runner's own words, told by a cast that fails
        return ServerError(message, sqlstate)
    if not message:
        message = result.get_error_message().strip().splitlines()[0]
    return ServerError(
        message=mask_message(message, sqlstate),
        sqlstate=sqlstate,
        detail=mask_detail(field(pq.DiagnosticField.MESSAGE_DETAIL), sqlstate),
        hint=field(pq.DiagnosticField.MESSAGE_HINT),
        context=mask_context(field(pq.DiagnosticField.CONTEXT)),
        position=int(position) if position else None,
    )
