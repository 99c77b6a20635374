"""Directives: `-- sqlmigrator: KEY[=VALUE]` in the comments before the first statement."""

from __future__ import annotations

import difflib
import re
from typing import Any, Final, NamedTuple

from sqlmigrator.core.durations import parse_duration

KEYS: Final = ("no-transaction", "lock_timeout", "statement_timeout", "out-of-order", "depends")

_DIRECTIVE: Final = re.compile(rb"--[ \t]*sqlmigrator[ \t]*:[ \t]*([^\n\r]*)")
_DEPENDENCY: Final = re.compile(r"([A-Za-z_]\w*)\.(\w+)")


class Directives(NamedTuple):
    """What a file asks of the runner; timeouts in milliseconds, None where it says nothing."""

    no_transaction: bool = False
    lock_timeout_ms: int | None = None
    statement_timeout_ms: int | None = None
    out_of_order: bool = False
    depends: tuple[tuple[str, str], ...] = ()


NO_DIRECTIVES: Final = Directives()


class DirectiveError(NamedTuple):
    """A directive that cannot be followed; `offset` counts bytes from 0."""

    message: str
    hint: str
    offset: int


def occurrences(data: bytes, start: int, end: int) -> list[tuple[int, str]]:
    """Offsets and texts of the directives in `data[start:end]`, which is between statements.

    A line inside a block comment is none: somebody switched it off.
    """
    from sqlmigrator.core.script import line_comments

    return [
        (offset, match[1].decode(errors="replace").strip())
        for offset in line_comments(data, start, end)
        if (match := _DIRECTIVE.match(data, offset))
    ]


def parse_directives(header: bytes) -> tuple[Directives, list[DirectiveError]]:
    """Read the directives of `header`, the text before the first statement."""
    directives = Directives()
    errors: list[DirectiveError] = []
    seen: set[str] = set()
    for offset, text in occurrences(header, 0, len(header)):
        key, _, value = (part.strip() for part in text.partition("="))
        if key in seen and key != "depends":
            errors.append(DirectiveError(f"{key} is given twice", "Keep one of them.", offset))
            continue
        seen.add(key)
        try:
            directives = directives._replace(**_setting(directives, key, value, "=" in text))
        except _Refused as refused:
            errors.append(DirectiveError(refused.message, refused.hint, offset))
    return directives, errors


class _Refused(Exception):
    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def _setting(directives: Directives, key: str, value: str, has_value: bool) -> dict[str, Any]:
    if key in ("no-transaction", "out-of-order"):
        if has_value:
            raise _Refused(f"{key} takes no value", f"Write `-- sqlmigrator: {key}`.")
        return {key.replace("-", "_"): True}
    if key in ("lock_timeout", "statement_timeout"):
        try:
            return {f"{key}_ms": parse_duration(value)}
        except ValueError as error:
            raise _Refused(f"{key}: {error}", f"Write `-- sqlmigrator: {key}=2s`.") from None
    if key == "depends":
        match = _DEPENDENCY.fullmatch(value)
        if match is None:
            hint = "Write `-- sqlmigrator: depends=app_label.0042_name`."
            raise _Refused(f"depends: {value!r} names no Django migration", hint)
        return {"depends": (*directives.depends, (match[1], match[2]))}
    near = difflib.get_close_matches(key.lower().replace("-", "_"), KEYS, 1, 0.5)
    near = near or difflib.get_close_matches(key.lower().replace("_", "-"), KEYS, 1, 0.5)
    hint = f"Did you mean `{near[0]}`?" if near else f"The directives are: {', '.join(KEYS)}."
    raise _Refused(f"unknown directive {key!r}", hint)
