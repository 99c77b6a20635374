"""Ask the server's parser about files without running anything of them.

One simple query is parsed as a whole before any of it runs. With a first statement that fails
when it is analysed (22P02), a text that parses answers 22P02 and one that does not 42601.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Final

from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import pq

from sqlmigrator.backends.postgresql.wire import ServerError, server_error
from sqlmigrator.core import findings as rules
from sqlmigrator.core.content import Content
from sqlmigrator.core.files import MigrationFile
from sqlmigrator.core.findings import Finding
from sqlmigrator.core.script import locate

_PREFIX: Final = b"SELECT 'sqlmigrator: syntax check only, nothing was run'::int\n;\n"
_STOPPED_BY_PREFIX: Final = "22P02"
_BATCH_BYTES: Final = 1 << 20

_Batch = list[tuple[MigrationFile, Content]]


def check_syntax(
    wrapper: BaseDatabaseWrapper, files: Iterable[tuple[MigrationFile, Content]]
) -> list[Finding]:
    """Return the first syntax error of each of `files` that has one.

    They are sent together as far as they go into a message, and one by one where something is
    wrong in it. Uses Django's connection, in a transaction that is read-only where it is ours,
    and rolled back.
    """
    return list(chain.from_iterable(_check(wrapper, batch) for batch in _batches(files)))


def _batches(files: Iterable[tuple[MigrationFile, Content]]) -> Iterator[_Batch]:
    batch: _Batch = []
    size = 0
    for file, content in files:
        if batch and size + len(content.data) > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append((file, content))
        size += len(content.data)
    yield batch


def _check(wrapper: BaseDatabaseWrapper, batch: _Batch) -> Iterator[Finding]:
    texts = [_without_copy_data(content) for _, content in batch]
    if len(batch) > 1 and _ask(wrapper, b"\n;\n".join(text for text, _ in texts)) is None:
        return
    for (file, content), (text, starts) in zip(batch, texts, strict=True):
        if error := _ask(wrapper, text):
            yield _finding(file, content, text, starts, error)


def _ask(wrapper: BaseDatabaseWrapper, text: bytes) -> ServerError | None:
    """The error that the server's parser finds in `text`, or None."""
    wrapper.ensure_connection()
    pgconn = wrapper.connection.pgconn
    own = pgconn.transaction_status == pq.TransactionStatus.IDLE
    pgconn.exec_(b"BEGIN READ ONLY" if own else b"SAVEPOINT sqlmigrator_syntax")
    try:
        result = pgconn.exec_(_PREFIX + text)
    finally:
        back = b"ROLLBACK TO sqlmigrator_syntax; RELEASE sqlmigrator_syntax"
        pgconn.exec_(b"ROLLBACK" if own else back)
    error = server_error(result)
    return None if error.sqlstate == _STOPPED_BY_PREFIX or error.position is None else error


def _finding(
    file: MigrationFile,
    content: Content,
    text: bytes,
    starts: list[tuple[int, int]],
    error: ServerError,
) -> Finding:
    assert error.position is not None
    sent = text.decode()[: error.position - 1 - len(_PREFIX)].encode()
    place = locate(content.original, _offset_in_file(len(sent), starts))
    return Finding(
        rule=rules.SYNTAX,
        message=error.message,
        hint=error.hint or "Correct the statement at the line shown.",
        version=file.version,
        file=str(file.path),
        line=place.line,
        column=place.column,
        excerpt=place.excerpt,
    )


def _without_copy_data(content: Content) -> tuple[bytes, list[tuple[int, int]]]:
    """The text to parse, and where its pieces start in it and in the file."""
    pieces, starts = [], []
    sent = position = 0
    for statement in content.statements:
        if statement.copy_data is not None:
            pieces.append(content.data[position : statement.end])
            starts.append((sent, position))
            sent += statement.end - position
            position = content.data.find(b"\n", statement.copy_data[1]) + 1 or len(content.data)
    pieces.append(content.data[position:])
    starts.append((sent, position))
    return b"".join(pieces), starts


def _offset_in_file(sent: int, starts: list[tuple[int, int]]) -> int:
    piece = max((start for start in starts if start[0] <= sent), default=starts[0])
    return piece[1] + sent - piece[0]
