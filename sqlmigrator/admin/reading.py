"""What the pages know of a database: whole plans, and plans of a few versions.

A whole plan reads every file and every row. For a large history it is kept until something it was
made of changes, because making it takes longer than a page should.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Final

from django.http import HttpRequest

from sqlmigrator.admin.labels import RowState
from sqlmigrator.admin.states import row_states
from sqlmigrator.conf import Config
from sqlmigrator.core.files import (
    KEEP_BYTES,
    Folder,
    MigrationFile,
    fingerprint,
    list_names,
    read_bytes,
    scan,
    stamp_of,
)
from sqlmigrator.core.history import AppliedRecord, Attempt, History, version_number
from sqlmigrator.core.plan import Plan, State
from sqlmigrator.exceptions import SqlMigratorError
from sqlmigrator.models import SchemaMigration
from sqlmigrator.runner import MigrationRunner

_FEW: Final = 5  # files for which the slower checks are made unasked
_LARGE: Final = 1000  # files of a folder whose plan is worth keeping
_ATTRIBUTE: Final = "sqlmigrator_reading"  # of a request
# Git and Django's own migrations also bear on a plan, and are not looked at for each page.
_LONGEST_KEPT: Final = timedelta(seconds=60)
_SETTLED_NS: Final = 2_000_000_000  # the coarsest clock of a file system in use, FAT's


@dataclass(frozen=True)
class Reading:
    """The plan of one database as it was `at` that time, or the error why there is none."""

    database: str
    at: datetime
    plan: Plan | None = None
    error: SqlMigratorError | None = None

    @cached_property
    def states(self) -> Mapping[str, RowState]:
        """The states of the rows by version; none without a plan."""
        return row_states(self.plan) if self.plan else {}


_kept: dict[str, tuple[Config, Reading]] = {}  # by database


def read(database: str) -> Reading:
    """The whole plan of `database`. Never raises SqlMigratorError."""
    now = datetime.now(UTC)  # with USE_TZ = False timezone.now() has no zone
    try:
        runner = MigrationRunner(database)
        history = runner.backend.history()
        unchanged: dict[str, MigrationFile] = {}
        config, known = _kept.get(database, (None, None))
        if known and known.plan and config == runner.config:
            plan = known.plan
            unchanged = _unchanged(plan.folder, known.at)
            is_same = history == plan.history and _is_all(plan.folder, unchanged)
            # A negative age: the clock was set back.
            if is_same and timedelta(0) <= now - known.at < _LONGEST_KEPT:
                return known
        folder = runner.discover(history, unchanged)
        reading = Reading(database, now, plan=runner.plan(folder, history))
    except SqlMigratorError as error:
        return Reading(database, now, error=error)
    if len(folder.files) >= _LARGE:
        _kept[database] = (runner.config, _without_contents(reading))
    else:
        _kept.pop(database, None)
    return reading


def read_once(request: HttpRequest, database: str) -> Reading:
    """Like read(), but once for a request."""
    reading: Reading | None = getattr(request, _ATTRIBUTE, None)
    if reading is None:
        reading = read(database)
        setattr(request, _ATTRIBUTE, reading)
    return reading


def _without_contents(reading: Reading) -> Reading:
    """The reading without the text of its files, which may be large."""
    plan = reading.plan
    assert plan is not None
    pending = tuple(
        entry._replace(file=entry.file._replace(kept_content=None)) if entry.file else entry
        for entry in plan.pending
    )
    light = {entry.filename: entry for entry in pending}
    entries = tuple(light.get(entry.filename, entry) for entry in plan.entries)
    folder = plan.folder._replace(
        files=tuple(
            file._replace(kept_content=None) if file.statement_count is not None else file
            for file in plan.folder.files
        ),
    )
    return replace(reading, plan=replace(plan, pending=pending, entries=entries, folder=folder))


def _unchanged(folder: Folder, read_at: datetime) -> dict[str, MigrationFile]:
    """The files by name that are still as they were read, `read_at` that time."""
    settled_ns = int(read_at.timestamp() * 1e9) - _SETTLED_NS
    same = {}
    for file in folder.files:
        path = f"{folder.path}/{file.filename}"
        try:
            stamp = stamp_of(os.stat(path))  # noqa: PTH116 - there are many
        except OSError:
            continue
        # What was written while it was read, or right after that, may bear the same time.
        if stamp == file.stamp and stamp[0] < settled_ns and stamp[1] < settled_ns:
            same[file.filename] = file
    return same


def _is_all(folder: Folder, unchanged: Collection[str]) -> bool:
    """Whether nothing came and nothing went but the files that are `unchanged`."""
    is_same = len(unchanged) == len(folder.files)
    return is_same and list_names(folder.path) == (folder.names, folder.subfolders)


def completed(reading: Reading, *, asked: bool = False) -> tuple[Plan, bool]:
    """The plan with the checks that migrate_check adds, where they are few or `asked` for, and
    whether they were made. A large file would have to be read again for them.
    """
    plan = reading.plan
    assert plan is not None
    to_complete = len(plan.pending) + plan.count(State.CHANGED)
    stamps = [entry.file.stamp for entry in plan.pending if entry.file]
    is_small = all(stamp[2] <= KEEP_BYTES for stamp in stamps if stamp)
    is_complete = asked or (to_complete <= _FEW and is_small)
    if is_complete and to_complete:
        plan = MigrationRunner(reading.database).complete(plan)
    return plan, is_complete


# A few versions


@dataclass(frozen=True, slots=True)
class Text:
    """The bytes of a file, or the error why they cannot be read."""

    file: MigrationFile
    data: bytes = b""
    error: SqlMigratorError | None = None


def version_of(row: SchemaMigration) -> str:
    """The row's version as the plan has it; a table made by hand may hold a number, or NULL."""
    version: object = row.version
    return "" if version is None else str(version)


def record_of(row: SchemaMigration) -> AppliedRecord:
    """The row as the plan wants it; an integer column's version is text there too."""
    version = version_of(row)
    return AppliedRecord(
        version=version,
        number=version_number(version),
        name=row.name,
        applied_at=row.applied_at,
        checksum=row.checksum,
        execution_time_ms=row.execution_time_ms,
        applied_by=row.applied_by,
    )


def read_texts(folder: Folder, numbers: Collection[int]) -> list[Text]:
    """The files of `folder` that have one of `numbers`, each read once."""
    return [_read_text(file) for file in folder.files if file.number in numbers]


def _read_text(file: MigrationFile) -> Text:
    try:
        data = read_bytes(file.path)
    except SqlMigratorError as error:
        return Text(file, error=error)
    checksum, text_checksum = fingerprint(data)
    return Text(file._replace(checksum=checksum, text_checksum=text_checksum), data)


def with_content(text: Text) -> MigrationFile:
    """The file with its directives and findings."""
    from sqlmigrator.core.content import read_content  # most pages show no SQL

    file = text.file
    content = read_content(text.data, file=str(file.path), number=file.number)
    return file._replace(
        directives=content.directives,
        findings=tuple(finding._replace(version=file.version) for finding in content.findings),
        statement_count=len(content.statements),
        kept_content=content if len(text.data) <= KEEP_BYTES else None,
    )


def partial_plan(
    runner: MigrationRunner,
    folder: Folder,
    files: Iterable[MigrationFile],
    records: Iterable[AppliedRecord],
    attempts: Iterable[Attempt] = (),
) -> Plan:
    """The plan of a few files and rows.

    It is right for the versions of `files` that were read and their `records`. The highest file
    of the folder, and the files of the other records, stand in it unread.
    """
    records = tuple(records)
    chosen = {file.filename: file for file in files}
    numbers = {record.number for record in records}
    highest = folder.files[-1].number if folder.files else None
    for file in folder.files:
        if file.number in numbers or file.number == highest:
            chosen.setdefault(file.filename, file)
    few = Folder(folder.path, tuple(sorted(chosen.values(), key=lambda f: (f.number, f.name))))
    history = History(schema="", exists=True, records=records, attempts=tuple(attempts))
    return runner.plan(few, history)


def scan_folder(config: Config) -> tuple[Folder, SqlMigratorError | None]:
    """The names in the migrations folder; an empty folder and the error if it cannot be read."""
    try:
        return _scan(config.directory), None
    except SqlMigratorError as error:
        return Folder(config.directory, ()), error


_folders: dict[Path, tuple[tuple[int, ...], Folder]] = {}


def _scan(directory: Path) -> Folder:
    """Like scan(), but a large folder is kept as long as no name in it changes."""
    try:
        stat = directory.stat()
    except OSError:
        return scan(directory)  # which says what is wrong with it
    # Which folder it is, too: a link like releases/current may lead to another one meanwhile,
    # and what packs releases may give all of them the same time.
    identity = (stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns)
    known = _folders.get(directory)
    if known and known[0] == identity:
        return known[1]
    folder = scan(directory)
    # The clock of a file system ticks slowly: what comes right now may bear the same time.
    is_settled = time.time_ns() - stat.st_mtime_ns > _SETTLED_NS
    if is_settled and len(folder.files) >= _LARGE:
        _folders[directory] = (identity, folder)
    return folder
