"""Rows of the two tables as values: what is applied, and what was attempted."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple

_MOST_DIGITS: Final = 255  # of a file name; Python refuses to read more than 4300


class Action(StrEnum):
    """What an attempt in the journal was about."""

    APPLY = "apply"
    ROLLBACK = "rollback"
    MARK = "mark"
    RENUMBER = "renumber"


class AttemptState(StrEnum):
    """How an attempt stands; all but RUNNING are final."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    RESOLVED = "resolved"


class AppliedRecord(NamedTuple):
    """A row of schema_migrations. `number` is None where the version is no number (037b)."""

    version: str
    name: str | None
    number: int | None = None
    applied_at: datetime | None = None
    checksum: str | None = None
    execution_time_ms: int | None = None
    applied_by: str | None = None

    def is_named(self, version: str, name: str) -> bool:
        """Whether the row's name means the file `version`_`name`.sql (DESIGN section 3)."""
        if self.name == name:
            return True
        recorded = (self.name or "").removesuffix(".sql")
        return recorded in (name, f"{version}_{name}", f"{self.version}_{name}")


class Attempt(NamedTuple):
    """A row of the journal schema_migrations_log.

    `statement_done` of `statement_total` statements are committed. `alive` tells, for a running
    attempt, whether its session is still there.
    """

    id: int
    version: str
    name: str
    checksum: str | None
    action: Action
    state: AttemptState
    statement_done: int
    statement_total: int
    started_at: datetime
    finished_at: datetime | None = None
    execution_time_ms: int | None = None
    applied_by: str | None = None
    backend_pid: int | None = None
    sqlstate: str | None = None
    error: str | None = None
    line: int | None = None
    reason: str | None = None
    alive: bool = False

    @property
    def number(self) -> int | None:
        return version_number(self.version)

    @property
    def is_interrupted(self) -> bool:
        """Half of a no-transaction migration may be in the database."""
        if self.action is not Action.APPLY or self.alive:
            return False
        return self.state is AttemptState.RUNNING or (
            self.state is AttemptState.FAILED and self.statement_done > 0
        )


class Change(NamedTuple):
    """One edit of the history by hand, for the journal: a row before and after, None for no row.

    With neither, only an interrupted attempt of `version` is closed.
    """

    action: Action
    version: str
    name: str
    before: AppliedRecord | None
    after: AppliedRecord | None

    @property
    def summary(self) -> str:
        """What it does, for the journal, whose row has only the result."""
        before, after = self.before, self.after
        if before is None:
            return "its interrupted attempt was closed" if after is None else "marked as applied"
        if after is None:
            return "marked as not applied"
        told = []
        if before.version != after.version:
            told.append(f"moved from {before.version}")
        if before.name != after.name:
            told.append(f"renamed from {before.name}")
        if before.checksum != after.checksum:
            told.append(f"checksum was {before.checksum or 'empty'}")
        return ", ".join(told) or "as it was"


class Tables(NamedTuple):
    """Which of the bookkeeping tables exist, and which known columns schema_migrations has."""

    schema: str
    exists: bool
    columns: tuple[str, ...] = ()
    journal: bool = False


class History(NamedTuple):
    """Everything a plan needs to know of a database.

    `attempts` holds the latest attempt of each version. `schema` is where the bookkeeping is or
    would be made; `exists` tells whether schema_migrations is there.
    """

    schema: str
    exists: bool
    records: tuple[AppliedRecord, ...] = ()
    attempts: tuple[Attempt, ...] = ()


def version_number(version: str) -> int | None:
    """The number of a version, or None where it is none: "003" -> 3, "037b" -> None."""
    text = version.strip()
    is_number = text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
    return int(text) if is_number else None
