"""The rows as a table for the terminal, as JSON, and as docs/benchmarks.md."""

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.benchmarks.folders import ROOT
from tests.benchmarks.targets import Row

PAGE = ROOT / "docs" / "benchmarks.md"
_START = "<!-- benchmark: start -->"
_END = "<!-- benchmark: end -->"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the figures depend on, in words; the load is that of the last minute."""

    machine: str
    server: str
    python: str
    peers: str
    missing: tuple[str, ...]
    runs: int
    load_before: float
    load_after: float
    took_s: float
    at: str


def machine() -> str:
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores ({platform.machine()}), {gib:.0f} GiB of memory, {platform.system()}"


def now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"


def as_json(rows: Sequence[Row], circumstances: Circumstances) -> dict[str, Any]:
    listed = [asdict(row) | {"met": row.met} for row in rows]
    return {"circumstances": asdict(circumstances), "rows": listed}


def as_text(rows: Sequence[Row], circumstances: Circumstances) -> str:
    width = max(len(row.what) for row in rows)
    lines = [
        f"{row.target}  {row.what:<{width}}  {_figure(row.measured):>8} {row.unit:<10}"
        f" {_limit(row):<12} {_met(row):<8} {row.detail}".rstrip()
        for row in rows
    ]
    return "\n".join([*lines, "", _told(circumstances)])


def as_markdown(rows: Sequence[Row], circumstances: Circumstances) -> str:
    head = "| target | what | measured | wanted | met | detail |\n|---|---|---|---|---|---|\n"
    lines = [
        f"| {row.target} | {row.what} | {_figure(row.measured)} {row.unit} | {_limit(row)} |"
        f" {_met(row)} | {row.detail} |"
        for row in rows
    ]
    return f"{_told(circumstances)}\n\n{head}" + "\n".join(lines)


def write_page(rows: Sequence[Row], circumstances: Circumstances, page: Path = PAGE) -> None:
    """Put the table between the marks of the page; the words around it are kept."""
    before, _, rest = page.read_text().partition(_START)
    _, _, after = rest.partition(_END)
    table = as_markdown(rows, circumstances)
    page.write_text(f"{before}{_START}\n{table}\n{_END}{after}")


def _told(seen: Circumstances) -> str:
    missing = f" Not measured: {'; '.join(seen.missing)}." if seen.missing else ""
    return (
        f"{seen.at}, {seen.machine}; {seen.server}; {seen.python}; {seen.peers}. Medians of"
        f" {seen.runs} interleaved runs or more, in {seen.took_s:.0f} s. Load average"
        f" {seen.load_before:.1f} before, {seen.load_after:.1f} after.{missing}"
    )


def _figure(value: float) -> str:
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"


def _limit(row: Row) -> str:
    if row.limit is None:
        return ""
    return f"{'at least' if row.at_least else 'at most'} {row.limit:g}"


def _met(row: Row) -> str:
    return {None: "", True: "met", False: "not met"}[row.met]
