"""Blanks out what may be a value of a data row in the server's words and in others' queries.

Names of things (class 42) and the words of a file's own RAISE stay: nothing tells them from data.
"""

from __future__ import annotations

import re
from typing import Final

_NOT_SHOWN: Final = "(value not shown)"
_QUOTED: Final = re.compile(r'".*"', re.DOTALL)
# Greedy on purpose: a value may hold any bracket or quote itself.
_KEY_VALUE: Final = re.compile(r"\) ?= ?\(.*\)", re.DOTALL)
_XML: Final = ("2200L", "2200M", "2200N", "2200S", "2200T")  # their DETAIL is the document
# What a line of CONTEXT says before it comes to values; all other lines are left out.
_CONTEXT: Final = re.compile(
    r"^(?:PL/\S+ function .*|SQL function .*|while .*|SQL statement(?= \")"
    r"|COPY [^\n]*?, line \d+(?:, column [^\n:]+)?|JSON data, line \d+)",
    re.MULTILINE,
)
_QUERY: Final = re.compile(
    r"""(?P<name>"(?:[^"]|"")*(?:"|\Z))
      | (?P<comment>--[^\n]*|/\*.*?(?:\*/|\Z))
      | [eE]'(?:[^'\\]|\\.|'')*(?:'|\Z) | '(?:[^']|'')*(?:'|\Z)
      | \$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|\Z) | \b\d[\w.]*""",
    re.DOTALL | re.VERBOSE,
)


def mask_message(message: str, sqlstate: str) -> str:
    """A data exception (class 22) quotes the value that did not fit."""
    quotes = sqlstate.startswith("22") and not message.startswith("missing data for column")
    if quotes or message.startswith("syntax error in tsquery"):
        return _QUOTED.sub(_NOT_SHOWN, message)
    return message


def mask_detail(detail: str, sqlstate: str) -> str:
    """Classes 22 and 23 quote rows: `Key (id)=(5) already exists`, `Failing row contains (…)`."""
    if detail.startswith("Failing row contains"):
        return "Failing row contains (values not shown)."
    if sqlstate.startswith("23"):
        return _KEY_VALUE.sub(")=(not shown)", detail)
    if sqlstate in _XML:
        return ""
    return _QUOTED.sub(_NOT_SHOWN, detail) if sqlstate.startswith("22") else detail


def mask_context(context: str) -> str:
    """The places, without the row, the document or the statement that was being worked on."""
    return "\n".join(found[0] for found in _CONTEXT.finditer(context))


def mask_query(query: str) -> str:
    """A query on one line, without comments, its literals as "?"; it may be cut off anywhere."""
    return " ".join(_QUERY.sub(_masked, query).split())


def _masked(found: re.Match[str]) -> str:
    return found["name"] or (" " if found["comment"] else "?")
