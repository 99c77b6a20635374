"""SQL as lines of HTML: highlighted by Pygments where it is installed, plain otherwise."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

_MOST_BYTES: Final = 200_000
_MOST_HIGHLIGHTED: Final = 60_000  # bytes; Pygments needs about 100 ms for them
_MOST_COMPARED: Final = 3_000  # lines; difflib is quadratic


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file, as HTML; `note` says why it is marked."""

    number: int
    html: SafeString
    note: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """The lines that are shown, and how many the file has."""

    lines: tuple[Line, ...]
    total: int

    @property
    def is_cut(self) -> bool:
        return len(self.lines) < self.total


def listing(
    data: bytes, notes: Mapping[int, str] | None = None, most: int | None = None
) -> Listing:
    """The lines of a file's bytes; `notes` marks lines by number, `most` limits them."""
    text = decode(data)
    total = len(text.split("\n"))
    shown = decode(data[:_MOST_BYTES])
    if most is not None:
        shown = "\n".join(shown.split("\n")[:most])
    notes = notes or {}
    lines = (
        Line(number, html, notes.get(number, ""))
        for number, html in enumerate(_html_lines(shown), 1)
    )
    return Listing(tuple(lines), total)


def decode(data: bytes) -> str:
    """The text as people see it; what is no UTF-8 is shown as such, never an error."""
    text = (
        data.decode("utf-8-sig", "replace")
        .replace("\r\n", "\n")
        .replace("\0", "\N{SYMBOL FOR NULL}")
    )
    return text.removesuffix("\n")


def _html_lines(text: str) -> list[SafeString]:
    tools = _pygments()
    if tools is None or len(text) > _MOST_HIGHLIGHTED:
        return [escape(line) for line in text.split("\n")]
    highlight, lexer, formatter = tools
    # Pygments escapes the text, and closes its spans at the end of every line.
    html = highlight(f"{text}\n", lexer, formatter).removesuffix("\n")
    return [mark_safe(line) for line in html.split("\n")]  # noqa: S308


@cache
def _pygments() -> tuple[Any, Any, Any] | None:
    try:
        from pygments import highlight
        from pygments.formatters import HtmlFormatter
        from pygments.lexers import PostgresLexer
    except ImportError:
        return None
    return highlight, PostgresLexer(stripnl=False, ensurenl=False), HtmlFormatter(nowrap=True)


@dataclass(frozen=True, slots=True)
class Change:
    """One line of a difference; `kind` is added, removed, place or same."""

    kind: str
    text: str


def difference(before: bytes, after: bytes) -> tuple[Change, ...] | None:
    """The lines that differ, with three lines around them; None for files too long to compare."""
    old, new = decode(before).split("\n"), decode(after).split("\n")
    if max(len(old), len(new)) > _MOST_COMPARED:
        return None
    kinds = {"+": "added", "-": "removed", "@": "place"}
    lines = list(difflib.unified_diff(old, new, lineterm=""))[2:]
    return tuple(Change(kinds.get(line[:1], "same"), line) for line in lines)
