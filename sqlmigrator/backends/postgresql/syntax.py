"""Ask the server's parser about a file without running anything of it.

One simple query is parsed as a whole before any of it runs. With a first statement that fails
when it is analysed (22P02), a text that parses answers 22P02 and one that does not 42601.
"""

from __future__ import annotations

from typing import Final

from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import pq

from sqlmigrator.backends.postgresql.wire import server_error
from sqlmigrator.core import findings as rules
from sqlmigrator.core.content import Content
from sqlmigrator.core.files import MigrationFile
from sqlmigrator.core.findings import Finding
from sqlmigrator.core.script import locate

_PREFIX: Final = b"SELECT 'sqlmigrator: syntax check only, nothing was run'::int\n;\n"
_STOPPED_BY_PREFIX: Final = "22P02"


def check_syntax(
    wrapper: BaseDatabaseWrapper, file: MigrationFile, content: Content
) -> Finding | None:
    """Return the syntax error of `file`, or None. Uses Django's connection, in a transaction
    that is read-only where it is ours, and rolled back.
    """
    wrapper.ensure_connection()
    pgconn = wrapper.connection.pgconn
    own = pgconn.transaction_status == pq.TransactionStatus.IDLE
    pgconn.exec_(b"BEGIN READ ONLY" if own else b"SAVEPOINT sqlmigrator_syntax")
    try:
        text, starts = _without_copy_data(content)
        result = pgconn.exec_(_PREFIX + text)
    finally:
        back = b"ROLLBACK TO sqlmigrator_syntax; RELEASE sqlmigrator_syntax"
        pgconn.exec_(b"ROLLBACK" if own else back)
    error = server_error(result)
    if error.sqlstate == _STOPPED_BY_PREFIX or error.position is None:
        return None
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
