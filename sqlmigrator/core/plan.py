"""The plan as values: the state of every version, what would run, what stands against it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlmigrator.core.files import Folder, MigrationFile
from sqlmigrator.core.findings import DEFAULT_DATABASE, Finding
from sqlmigrator.core.history import (
    AppliedRecord,
    Attempt,
    History,
    version_number,
)

if TYPE_CHECKING:
    from sqlmigrator.core.renumber import Rename


class State(StrEnum):
    """The state of a version, or of a file that shares one."""

    APPLIED = "applied"
    PENDING = "pending"
    OUT_OF_ORDER = "out of order"
    CHANGED = "changed"
    CONFLICTING = "conflicting"
    MISSING = "missing"
    AHEAD = "ahead"


class ChecksumState(StrEnum):
    """How the recorded checksum compares to the file's."""

    VERIFIED = "verified"
    CHANGED = "changed"
    UNVERIFIED = "unverified"
    NO_FILE = "no file"


class PlanOptions(NamedTuple):
    """What the user allows. `to` is the last number to run. `django_migrations` are the applied
    (app, name) pairs, None to count every dependency as met. `first_commits` maps file names to
    the ISO time git first saw them; `applied_elsewhere` to where else they are applied.
    """

    allow_out_of_order: bool = False
    ignore_missing: bool = False
    to: int | None = None
    django_migrations: Collection[tuple[str, str]] | None = None
    first_commits: Mapping[str, str] = MappingProxyType({})
    applied_elsewhere: Mapping[str, str] = MappingProxyType({})


NO_OPTIONS: Final = PlanOptions()


class Entry(NamedTuple):
    """One line of the plan: a file, a row, or both."""

    version: str
    number: int | None
    name: str
    state: State
    file: MigrationFile | None = None
    record: AppliedRecord | None = None
    attempt: Attempt | None = None

    @property
    def filename(self) -> str:
        return self.file.filename if self.file else f"{self.version}_{self.name}.sql"

    @property
    def checksum_state(self) -> ChecksumState | None:
        """None where nothing is recorded."""
        if self.record is None:
            return None
        if self.file is None:
            return ChecksumState.NO_FILE
        if not self.record.checksum:
            return ChecksumState.UNVERIFIED
        return (
            ChecksumState.VERIFIED
            if is_unchanged(self.file, self.record)
            else ChecksumState.CHANGED
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """Every version with its state, what would run in order, and the findings, errors first.

    `renames` are the ways out of version conflicts; `moves` the rows left behind by files that
    were renumbered after they were applied. `database` is the alias that the hints are for.
    """

    entries: tuple[Entry, ...]
    pending: tuple[Entry, ...]
    findings: tuple[Finding, ...]
    renames: tuple[Rename, ...]
    moves: tuple[tuple[AppliedRecord, MigrationFile], ...]
    folder: Folder
    history: History
    database: str = DEFAULT_DATABASE

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.is_error)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if not finding.is_error)

    def count(self, *states: State) -> int:
        return sum(entry.state in states for entry in self.entries)


def matching_checksum(file: MigrationFile, checksum: str | None) -> bool:
    """Whether `checksum` stands for the file's bytes, or for its text (DESIGN section 2)."""
    return checksum is not None and checksum.lower() in (file.checksum, file.text_checksum)


def is_unchanged(file: MigrationFile, record: AppliedRecord) -> bool:
    """Whether the file is what the row says, as far as that is recorded."""
    return not record.checksum or matching_checksum(file, record.checksum)


def interruption(attempt: Attempt) -> str:
    """Return "interrupted at statement 3 of 7", or what is left to do after the last one."""
    total = attempt.statement_total
    if attempt.statement_done >= total:
        return f"interrupted after statement {total} of {total}, before it was recorded"
    return f"interrupted at statement {attempt.statement_done + 1} of {total}"


def plain_name(record: AppliedRecord) -> str:
    """The row's name as a file has it: without the version and .sql."""
    name = (record.name or "unnamed").removesuffix(".sql")
    version, _, rest = name.partition("_")
    is_same = version == record.version or (
        record.number is not None and version_number(version) == record.number
    )
    return rest if rest and is_same else name
