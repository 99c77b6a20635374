"""Durations with a unit, as PostgreSQL writes them (manual section 20.1.1)."""

from __future__ import annotations

import re

_UNITS_MS = {"ms": 1, "s": 1_000, "min": 60_000, "h": 3_600_000}
_DURATION = re.compile(r"\s*(\d+)\s*(ms|s|min|h)\s*")


def parse_duration(text: str) -> int:
    """Return the milliseconds that `text` ("500ms", "2s", "10min", "1h", "0") stands for.

    A number without a unit is refused (except 0), because PostgreSQL would read it as
    milliseconds and most people mean seconds. Raises ValueError with a message for the user.
    """
    if text.strip() == "0":
        return 0
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write 500ms, 2s, 10min or 1h")
    milliseconds = int(match[1]) * _UNITS_MS[match[2]]
    if milliseconds > 2_147_483_647:  # the server keeps timeouts in an int4 of milliseconds
        raise ValueError(f"{text!r} is longer than PostgreSQL can wait (about 24 days)")
    return milliseconds


def format_duration(milliseconds: float) -> str:
    """Return `milliseconds` for people: "12 ms", "3.4 s", "2 min 05 s", "1 h 02 min"."""
    if milliseconds < 1_000:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1_000
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
