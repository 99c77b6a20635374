"""What of a file reaches beyond its database: roles, databases, tablespaces, server settings."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from sqlmigrator.core.files import MigrationFile
from sqlmigrator.core.script import Statement, locate
from sqlmigrator.core.statements import first_tokens

_WORDS: Final = frozenset(
    ("CREATE", "ALTER", "DROP", "COMMENT", "GRANT", "REVOKE", "REASSIGN", "DO")
)
_SHARED: Final = ("ROLE", "USER", "GROUP", "DATABASE", "TABLESPACE", "SYSTEM")
_GRANTED_ON: Final = frozenset(("DATABASE", "TABLESPACE", "PARAMETER"))
# In the text of a DO block, which may put its SQL together as it likes.
_IN_BLOCK: Final = re.compile(
    rb"\b(CREATE|ALTER|DROP)\s+(ROLE|USER(?!\s+MAPPING)|GROUP|DATABASE)\b"
    rb'|\bGRANT\s+[\w"]+\s+TO\b|\bREVOKE\s+[\w"]+\s+FROM\b|\bON\s+DATABASE\b',
    re.IGNORECASE,
)


def beyond_database(files: Iterable[MigrationFile]) -> str | None:
    """The first statement of `files` that changes more than its database, as name.sql:line."""
    for file in files:
        if any(finding.is_error for finding in file.findings):
            continue  # it will be refused, and is perhaps not readable as SQL
        content = file.content()
        for statement in content.statements:
            if reaches_server(content.data, statement):
                return f"{file.filename}:{locate(content.data, statement.start).line}"
    return None


def reaches_server(data: bytes, statement: Statement) -> bool:
    """Whether it changes what all databases of the server share."""
    if statement.word not in _WORDS:
        return False
    if statement.word == "DO":
        return _IN_BLOCK.search(data, statement.start, statement.end) is not None
    found = first_tokens(data, statement)
    match [token.keyword for token in found]:
        case ["CREATE" | "ALTER" | "DROP", kind, *rest] if kind in _SHARED:
            return kind != "USER" or rest[:1] != ["MAPPING"]
        case ["COMMENT", "ON", kind, *_]:
            return kind in _SHARED
        case ["REASSIGN" | "DROP", "OWNED", *_]:
            return True
        case ["GRANT" | "REVOKE", *rest]:
            if "ON" in rest:
                return not _GRANTED_ON.isdisjoint(rest[rest.index("ON") :][:2])
            return "TO" in rest or "FROM" in rest  # membership in a role
    return False
