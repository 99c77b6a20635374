"""Migration files: names, versions, bytes and checksums. DESIGN section 2."""

from __future__ import annotations

import codecs
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from operator import attrgetter
from pathlib import Path
from stat import S_ISREG
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlmigrator.core import findings as rules
from sqlmigrator.core.directives import NO_DIRECTIVES, Directives
from sqlmigrator.core.findings import Finding
from sqlmigrator.exceptions import ConfigurationError, SqlMigratorError

# Reading SQL is imported when there is SQL to read: with nothing pending there is none.
if TYPE_CHECKING:
    from sqlmigrator.core.content import Content

REVERSE_SUFFIX: Final = ".down.sql"
_MIGRATION_NAME: Final = re.compile(r"(\d{3,})_([a-z0-9]+(?:_[a-z0-9]+)*)\.sql", re.ASCII)
_REVERSE_NAME: Final = re.compile(r"(\d{3,})_([a-z0-9]+(?:_[a-z0-9]+)*)\.down\.sql", re.ASCII)
_LONGEST_SERIAL: Final = 6  # digits; longer versions are timestamps
# Larger files are read again when they are applied instead of being kept in memory.
KEEP_BYTES: Final = 1 << 20
# Without waiting for the other end of a pipe, and without Windows' line ends.
_READ_FLAGS: Final = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


# Times of modification and of change in nanoseconds, size: what changes with a file; and which
# file it is, for those of two releases may have the same times.
Stamp = tuple[int, int, int, int, int]


class MigrationFile(NamedTuple):
    """One NNN_name.sql in `directory`. Not a dataclass, which takes four times as long to make.

    `number` is what versions are compared by; `version` is its digits.
    `checksum` is the SHA-256 (hex) of the file's bytes, `text_checksum` that of the text without
    BOM and with LF line ends; both are "", and `stamp` None, until the file is read. `directives`,
    `findings` and `statement_count` are filled where the content was asked for.
    """

    directory: Path
    filename: str
    version: str
    number: int
    name: str
    reverse: Path | None = None
    checksum: str = ""
    text_checksum: str = ""
    stamp: Stamp | None = None
    directives: Directives = NO_DIRECTIVES
    findings: tuple[Finding, ...] = ()
    statement_count: int | None = None
    kept_content: Content | None = None

    @property
    def path(self) -> Path:
        return self.directory / self.filename

    def content(self) -> Content:
        """The file's content, from memory or read again.

        Raises SqlMigratorError when the file no longer holds what its checksum was taken of.
        """
        if self.kept_content is not None:
            return self.kept_content
        from sqlmigrator.core.content import read_content

        data = read_bytes(self.path)
        if fingerprint(data)[0] != self.checksum:
            raise SqlMigratorError(
                f"{self.path} was changed while the run was going on; it was not applied.",
                hint="Run `manage.py migrate_check`, then apply again.",
            )
        return read_content(data, file=str(self.path), number=self.number)


class Folder(NamedTuple):
    """A migrations folder: its migrations by number and name, and what else holds SQL there.

    `names` are those of all .sql files.
    """

    path: Path
    files: tuple[MigrationFile, ...]
    names: tuple[str, ...] = ()
    misnamed: tuple[str, ...] = ()
    strays: tuple[str, ...] = ()
    subfolders: tuple[str, ...] = ()
    lone_reverses: tuple[str, ...] = ()


def scan(directory: Path) -> Folder:
    """Read the names in `directory`, nothing else. Raises ConfigurationError if it cannot."""
    names, subfolders = list_names(directory)
    matches, reverses = [], {}
    misnamed, strays = [], []
    for name in names:
        if match := _MIGRATION_NAME.fullmatch(name):
            matches.append(match)
        elif _REVERSE_NAME.fullmatch(name):
            reverses[name] = directory / name
        elif name[0].isascii() and name[0].isdigit():
            misnamed.append(name)
        else:
            strays.append(name)
    files = [
        MigrationFile(
            directory,
            match[0],
            match[1],
            int(match[1]),
            match[2],
            reverses.pop(match[0].removesuffix(".sql") + REVERSE_SUFFIX, None),
        )
        for match in matches
    ]
    files.sort(key=attrgetter("number", "name", "version"))
    return Folder(
        directory,
        tuple(files),
        names,
        tuple(misnamed),
        tuple(strays),
        subfolders,
        tuple(reverses),
    )


def list_names(directory: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Sorted names of the .sql files, and of the sub-folders that hold some.

    Raises ConfigurationError.
    """
    names, subfolders = [], []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.name.lower().endswith(".sql"):
                    names.append(entry.name)  # whatever it is: reading says what is wrong with it
                elif _holds_sql(Path(entry.path)):
                    subfolders.append(entry.name)
    except OSError as error:
        what = "does not exist" if isinstance(error, FileNotFoundError) else "cannot be read"
        reason = "" if isinstance(error, FileNotFoundError) else f" ({error.strerror})"
        raise ConfigurationError(
            f"The migrations folder {directory} {what}{reason}.",
            hint='Create it, set SQLMIGRATOR["DIRECTORY"], or pass --directory.',
        ) from None
    return tuple(sorted(names)), tuple(sorted(subfolders))


def _holds_sql(path: Path) -> bool:
    """Whether `path` is a folder with .sql files in it."""
    try:
        return path.is_dir() and any(
            entry.name.lower().endswith(".sql") for entry in path.iterdir()
        )
    except OSError:
        return False


def duplicates(files: Iterable[MigrationFile]) -> dict[int, list[MigrationFile]]:
    """The files that share a number, by number."""
    files = tuple(files)
    holders = Counter(file.number for file in files)
    groups: dict[int, list[MigrationFile]] = {n: [] for n, count in holders.items() if count > 1}
    for file in files:
        if file.number in groups:
            groups[file.number].append(file)
    return groups


def is_serial(number: int) -> bool:
    """Whether `number` counts migrations (up to six digits) rather than being a timestamp."""
    return number < 10**_LONGEST_SERIAL


def discover(
    directory: Path,
    *,
    needs_content: Callable[[MigrationFile], bool],
    known: Mapping[str, MigrationFile] = MappingProxyType({}),
) -> Folder:
    """Read every migration in `directory` and take its checksums.

    The content (statements, directives, findings) is read of the files for which
    `needs_content`, given the file with its checksums, answers True, and of duplicates.
    `known` are files by name that were read before and have not changed since.
    """
    folder = scan(directory)
    shared = duplicates(folder.files)

    def is_wanted(file: MigrationFile) -> bool:
        return needs_content(file) or file.number in shared

    files = []
    for file in folder.files:
        before = known.get(file.filename)
        if before is None or before.reverse != file.reverse or is_wanted(before):
            before = _read(file, f"{directory}/{file.filename}", is_wanted)
        files.append(before)
    return folder._replace(files=tuple(files))


def _read(
    file: MigrationFile, path: str, needs_content: Callable[[MigrationFile], bool]
) -> MigrationFile:
    try:
        data, stamp = read_stamped(path)
    except SqlMigratorError as error:
        finding = Finding(
            rule=rules.UNREADABLE,
            message=error.message,
            hint=error.hint,
            version=file.version,
            file=str(file.path),
        )
        return file._replace(findings=(finding,))
    checksum, text_checksum = fingerprint(data)
    # What its name gave, and these three: in half the time of _replace().
    file = MigrationFile(*file[:6], checksum, text_checksum, stamp)
    if not needs_content(file):
        return file
    from sqlmigrator.core.content import read_content

    content = read_content(data, file=str(file.path), number=file.number)
    return file._replace(
        directives=content.directives,
        findings=tuple(finding._replace(version=file.version) for finding in content.findings),
        statement_count=len(content.statements),
        kept_content=content if len(data) <= KEEP_BYTES else None,
    )


def read_bytes(path: str | Path) -> bytes:
    """The bytes of `path`. Raises SqlMigratorError, with the reason, where it cannot be read."""
    return read_stamped(path)[0]


def read_stamped(path: str | Path) -> tuple[bytes, Stamp]:
    """Like read_bytes(), with the file's stamp from before it was read."""
    try:
        descriptor = os.open(path, _READ_FLAGS)  # not open(): there may be 10,000
        try:
            status = os.fstat(descriptor)
            if S_ISREG(status.st_mode):
                return _read_all(descriptor, status.st_size), stamp_of(status)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SqlMigratorError(
            f"{path} cannot be read: {error.strerror}.",
            hint="Check the file and its permissions.",
        ) from None
    except (MemoryError, OverflowError):
        raise SqlMigratorError(
            f"{path} cannot be read: it is too large for this machine's memory.",
            hint="Split it into several migrations.",
        ) from None
    raise SqlMigratorError(
        f"{path} cannot be read: it is not a regular file.",
        hint="Replace it by a file, or move it out of the folder.",
    )


def stamp_of(status: os.stat_result) -> Stamp:
    """What changes with a file, and which one it is, of its status."""
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_dev, status.st_ino


def _read_all(descriptor: int, size: int) -> bytes:
    data = os.read(descriptor, size + 1)
    if len(data) == size:
        return data
    with open(descriptor, "rb", closefd=False) as file:  # it is larger than a read, or grows
        return data + file.read()


def fingerprint(data: bytes) -> tuple[str, str]:
    """SHA-256 (hex) of the bytes, and of the text without BOM and with LF line ends."""
    checksum = sha256(data).hexdigest()
    if b"\r\n" not in data and not data.startswith(codecs.BOM_UTF8):
        return checksum, checksum
    text = data.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n")
    return checksum, sha256(text).hexdigest()
