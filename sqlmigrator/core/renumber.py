"""The way out of version conflicts: which file keeps a number, and the new names of the others."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlmigrator.core.files import Folder, MigrationFile, duplicates, is_serial
from sqlmigrator.core.history import AppliedRecord
from sqlmigrator.exceptions import ConfigurationError, SqlMigratorError

_MISNAMED: Final = re.compile(r"(\d+)([a-z]?)[_\-. ]*(.*)", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Rename:
    """Give `source` the name `target`; `reason` says why this file moves."""

    source: str
    target: str
    reason: str


@dataclass(frozen=True, slots=True)
class Keeper:
    """The file that keeps a number of which there are several, and why."""

    file: MigrationFile
    reason: str


class Numbering:
    """Hands out the next free versions after those of `files` and `records`, in order."""

    def __init__(self, files: Iterable[MigrationFile], records: Iterable[AppliedRecord]) -> None:
        versions = {file.number: file.version for file in files}
        for record in records:
            if record.number is not None:
                versions.setdefault(record.number, record.version)
        self.taken = set(versions)
        serial = {number: text for number, text in versions.items() if is_serial(number)}
        self._timestamps = bool(versions) and not serial
        highest = max(serial, default=0)
        self._next = highest + 1 if serial or not versions else 0
        self._width = max(3, len(serial.get(highest, "")))

    def next(self, now: datetime | None = None) -> str:
        """The next free version: the highest plus one, or the time (UTC) among timestamps."""
        if self._timestamps:
            stamp = (now or datetime.now(UTC)).strftime("%Y%m%d%H%M%S")
            while int(stamp) in self.taken:
                stamp = str(int(stamp) + 1)
            self.taken.add(int(stamp))
            return stamp
        number = self._next
        while number in self.taken:
            number += 1
        self._next = number + 1
        self.taken.add(number)
        return self.text(number)

    def keep(self, number: int) -> str | None:
        """The version text of `number` if it is free, else None."""
        if number in self.taken:
            return None
        self.taken.add(number)
        return self.text(number)

    def text(self, number: int) -> str:
        """`number` with as many digits as the others have."""
        return f"{number:0{self._width}d}"


def choose_keeper(
    group: list[MigrationFile],
    applied: Mapping[str, str],
    first_commits: Mapping[str, str],
) -> Keeper:
    """Decide which of `group` keeps the number.

    `applied` maps the names of applied files to where they are ("applied in default");
    `first_commits` maps file names to the ISO time of the commit that added them.
    """
    for file in group:
        if file.filename in applied:
            return Keeper(file, applied[file.filename])
    committed = [file for file in group if file.filename in first_commits]
    times = {first_commits[file.filename] for file in committed}
    if committed and (len(times) > 1 or len(committed) < len(group)):
        first = min(committed, key=lambda file: (first_commits[file.filename], file.filename))
        return Keeper(first, f"first in git, {first_commits[first.filename][:10]}")
    return Keeper(min(group, key=lambda file: file.filename), "first by name")


def where_applied(
    files: Iterable[MigrationFile], records: Mapping[str, Iterable[AppliedRecord]]
) -> dict[str, str]:
    """File name -> "applied in default, reports", for the files that `records`, the history of
    each database, has under their number with their name or checksum.
    """
    rows: dict[int, list[tuple[str, AppliedRecord]]] = defaultdict(list)
    for database, recorded in records.items():
        for row in recorded:
            if row.number is not None:
                rows[row.number].append((database, row))
    applied = {}
    for file in files:
        databases = [database for database, row in rows[file.number] if _ran(file, row)]
        if databases:
            applied[file.filename] = f"applied in {', '.join(dict.fromkeys(databases))}"
    return applied


def _ran(file: MigrationFile, row: AppliedRecord) -> bool:
    checksums = {file.checksum, file.text_checksum} - {""}
    return row.is_named(file.version, file.name) or (row.checksum or "").lower() in checksums


def propose(
    folder: Folder,
    records: Collection[AppliedRecord],
    applied: Mapping[str, str],
    first_commits: Mapping[str, str],
    moving: Collection[str] = (),
) -> tuple[Rename, ...]:
    """The renames that give every file of `folder` a number of its own.

    Duplicates come first, by number, then the files named in `moving`, which get a new number
    whatever theirs is, then the misnamed files. An applied file is never moved.
    """
    numbering = Numbering(folder.files, records)
    misnamed = _read_misnamed(folder.misnamed)
    _keep_numbers(misnamed, folder, records, numbering)
    renames = []
    staying = [file for file in folder.files if file.filename not in moving]
    for group in duplicates(staying).values():
        keeper = choose_keeper(group, applied, first_commits)
        reason = f"{keeper.file.filename} keeps {keeper.file.version} ({keeper.reason})"
        renames += [
            _to_next(file, numbering, reason)
            for file in group
            if file is not keeper.file and file.filename not in applied
        ]
    renames += [
        _to_next(file, numbering, "asked for")
        for file in folder.files
        if file.filename in moving and file.filename not in applied
    ]
    for unit in misnamed:
        renames += unit.renames(numbering)
    return tuple(renames)


def unmovable(
    folder: Folder, applied: Mapping[str, str], moving: Collection[str] = ()
) -> list[list[MigrationFile]]:
    """The files that share a number and are all applied somewhere, in groups.

    Raises ConfigurationError for a name in `moving` that `folder` has not, and SqlMigratorError
    for one that is applied.
    """
    known = {file.filename for file in folder.files}.union(folder.misnamed)
    for name in moving:
        if name not in known:
            raise ConfigurationError(
                f"There is no migration {name!r} in {folder.path}.",
                hint="Name a file of the folder, such as 005_add_unread_tracking.sql.",
            )
        if name in applied:
            raise SqlMigratorError(
                f"{name} is {applied[name]}: it keeps its number.",
                why="It would run a second time there under another number.",
                hint="Move the other file, or roll this one back first: "
                f"`manage.py migrate_rollback {name.partition('_')[0]} --database …`.",
            )
    groups = duplicates(file for file in folder.files if file.filename in applied)
    return list(groups.values())


def next_version(folder: Folder, records: Collection[AppliedRecord]) -> str:
    """The version for a new file of `folder`, of whose databases `records` are the rows."""
    numbering = Numbering(folder.files, records)
    _keep_numbers(_read_misnamed(folder.misnamed), folder, records, numbering)
    return numbering.next()


def _to_next(file: MigrationFile, numbering: Numbering, reason: str) -> Rename:
    return Rename(file.filename, f"{numbering.next()}_{file.name}.sql", reason)


@dataclass(slots=True)
class _Misnamed:
    """A misnamed migration, its misnamed reverse, or both: they get one version.

    `names` maps ".sql" and ".down.sql" to file names; `version` is set where it keeps its number.
    """

    digits: str
    suffix: str
    description: str
    names: dict[str, str]
    version: str | None = None

    def renames(self, numbering: Numbering) -> list[Rename]:
        if self.version is not None:
            version, reason = self.version, "the name is not NNN_descriptive_name.sql"
        else:
            version, reason = numbering.next(), f"{self.digits}{self.suffix} is not a free number"
        return [
            Rename(name, f"{version}_{self.description}{ending}", reason)
            for ending, name in self.names.items()
        ]


def _read_misnamed(names: Iterable[str]) -> list[_Misnamed]:
    """The misnamed files, by number."""
    units: dict[tuple[str, str, str], list[_Misnamed]] = defaultdict(list)
    for name in names:
        match = _MISNAMED.fullmatch(name[: -len(".sql")])
        assert match is not None  # a misnamed file starts with a digit and ends in .sql
        digits, suffix, rest = match.groups()
        ending = ".sql"
        if rest.lower().endswith(".down"):
            rest, ending = rest[: -len(".down")], ".down.sql"
        if suffix and not re.match(r"[_\-. ]", name[len(digits) + 1 :]):
            suffix, rest = "", suffix + rest  # 037x… is a word, not a suffix
        description = snake_case(rest) or "migration"
        same = units[digits, suffix, description]
        if same and ending not in same[-1].names:
            same[-1].names[ending] = name
        else:
            same.append(_Misnamed(digits, suffix, description, {ending: name}))
    found = [unit for same in units.values() for unit in same]
    return sorted(found, key=lambda unit: (int(unit.digits), min(unit.names.values())))


def _keep_numbers(
    misnamed: list[_Misnamed],
    folder: Folder,
    records: Collection[AppliedRecord],
    numbering: Numbering,
) -> None:
    """Let misnamed files keep their number if it is free, or recorded for them already."""
    versions = {(file.number, file.name): file.version for file in folder.files}
    taken = {file.number for file in folder.files}
    for unit in misnamed:
        number = int(unit.digits)
        if unit.suffix:
            continue
        if ".sql" not in unit.names and (number, unit.description) in versions:
            unit.version = versions[number, unit.description]  # the reverse of a good name
        elif number not in taken and _is_recorded(unit, records):
            unit.version = numbering.text(number)
        else:
            unit.version = numbering.keep(number)
        taken.add(number)


def _is_recorded(unit: _Misnamed, records: Iterable[AppliedRecord]) -> bool:
    number = int(unit.digits)
    return any(
        record.number == number and record.is_named(unit.digits, unit.description)
        for record in records
    )


def snake_case(text: str) -> str:
    """`text` as lower-case words joined by underscores: "Add-Inbox Index" -> "add_inbox_index"."""
    text = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", text)
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
