"""Edits of the history by hand, as a list of changes: what `migrate_mark` and `--record` do. Pure.

Nothing else in the product edits history; each change gets a row in the journal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from sqlmigrator.core.files import MigrationFile
from sqlmigrator.core.history import Action, AppliedRecord, Change, version_number
from sqlmigrator.core.plan import ChecksumState, Entry, Plan, State, plain_name
from sqlmigrator.exceptions import ConfigurationError

_LIST = "`manage.py migrate_status` lists the versions."


def mark_applied(plan: Plan, versions: Sequence[str]) -> tuple[Change, ...]:
    """Record the files of `versions` as applied without running them.

    A row of the same number under another name becomes the file's. Raises ConfigurationError
    for a version that no file has, that several have, or that is recorded already.
    """
    return _each(
        _applied_change(plan, _one(plan, v, lambda e: e.file is not None)) for v in versions
    )


def mark_all_applied(plan: Plan, to: str | None) -> tuple[Change, ...]:
    """Record every file up to `to` (all without it) that is not recorded: a baseline."""
    last = None
    if to is not None:
        last = _one(plan, to, lambda e: e.file is not None).number
    _refuse_duplicates(plan)
    return tuple(
        _applied_change(plan, entry)
        for entry in plan.entries
        if entry.file is not None
        and entry.state in (State.PENDING, State.OUT_OF_ORDER)
        and (last is None or (entry.number or 0) <= last)
    )


def mark_unapplied(plan: Plan, versions: Sequence[str]) -> tuple[Change, ...]:
    """Remove the rows of `versions`, or close their interrupted attempts.

    Raises ConfigurationError for a version that is not recorded, or recorded several times.
    """
    return _each(_unapplied_change(plan, version) for version in versions)


def accept_checksums(plan: Plan, versions: Sequence[str]) -> tuple[Change, ...]:
    """Record the checksums that the files of `versions` have now."""
    return _each(_checksum_change(_one(plan, v, lambda e: e.record is not None)) for v in versions)


def fill_checksums(plan: Plan) -> tuple[Change, ...]:
    """Record the files' checksums in the rows that have none."""
    return tuple(
        _checksum_change(entry)
        for entry in plan.entries
        if entry.checksum_state is ChecksumState.UNVERIFIED
    )


def move_records(plan: Plan) -> tuple[Change, ...]:
    """Move the rows of files that were renumbered after they were applied to their new numbers.

    Raises ConfigurationError where a new number is recorded already.
    """
    recorded = {record.number: record for record in plan.history.records}
    changes = []
    waiting = list(plan.moves)
    while waiting:  # first those whose number is free: the others may wait for just that
        record, file = next((m for m in waiting if m[1].number not in recorded), waiting[0])
        if file.number in recorded:
            raise ConfigurationError(
                f"{file.filename} cannot get the row of {record.version}: version {file.version} "
                f"is recorded already, as {recorded[file.number].name!r}.",
                hint="Give the file the next free number (`manage.py migrate_renumber "
                f"{file.filename} --write`), then run the command again.",
            )
        waiting.remove((record, file))
        recorded.pop(record.number, None)
        after = record._replace(version=file.version, number=file.number, name=file.name)
        recorded[file.number] = after
        changes.append(Change(Action.RENUMBER, file.version, file.name, record, after))
    return tuple(changes)


def _each(changes: Iterable[Change]) -> tuple[Change, ...]:
    """`changes`, each once: a version may be given in two forms."""
    return tuple(dict.fromkeys(changes))


def _one(plan: Plan, text: str, wanted: Callable[[Entry], bool]) -> Entry:
    """The one entry that `text` (a version, a file name, or one without .sql) means."""
    name = text.removesuffix(".sql")
    number = version_number(text)
    found = [
        entry
        for entry in plan.entries
        if name == entry.filename.removesuffix(".sql")
        or text == entry.version
        or (number is not None and number == entry.number)
    ]
    found = [entry for entry in found if wanted(entry)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise ConfigurationError(f"There is no such version here: {text}.", hint=_LIST)
    raise ConfigurationError(
        f"{text} means several: {', '.join(entry.filename for entry in found)}.",
        hint="Give the whole file name.",
    )


def _applied_change(plan: Plan, entry: Entry) -> Change:
    file = entry.file
    assert file is not None
    if entry.record is not None:
        raise ConfigurationError(
            f"{file.filename} is recorded already.",
            hint="For a changed file: `manage.py migrate_mark --accept-checksum "
            f"{file.version} --reason …`.",
        )
    rows = [record for record in plan.history.records if record.number == file.number]
    if rows and any(other.number == file.number and other.record for other in plan.entries):
        raise ConfigurationError(
            f"{file.filename} shares its number with a file that is applied.",
            hint="`manage.py migrate_renumber` gives it a number of its own.",
        )
    before = rows[0] if rows else None
    return Change(Action.MARK, file.version, file.name, before, _record_of(file, before))


def _record_of(file: MigrationFile, before: AppliedRecord | None) -> AppliedRecord:
    if before is not None:
        return before._replace(name=file.name, checksum=file.checksum)
    return AppliedRecord(file.version, file.name, file.number, checksum=file.checksum)


def _unapplied_change(plan: Plan, version: str) -> Change:
    interrupted = [
        entry
        for entry in plan.entries
        if entry.record is None
        and entry.attempt is not None
        and entry.attempt.is_interrupted
        and version_number(version) == entry.number
    ]
    if interrupted:
        return Change(Action.MARK, interrupted[0].version, interrupted[0].name, None, None)
    row = _one_row(plan, version)
    return Change(Action.MARK, row.version, row.name or "", row, None)


def _one_row(plan: Plan, text: str) -> AppliedRecord:
    """The one row that `text` (a version, or version_name) means; the exact version wins."""
    rows = plan.history.records
    number = version_number(text)
    name = text.removesuffix(".sql")
    found = [row for row in rows if row.version == text]
    found = found or [row for row in rows if name == f"{row.version}_{plain_name(row)}"]
    found = found or [row for row in rows if number is not None and row.number == number]
    if not found:
        raise ConfigurationError(f"Version {text} is not recorded as applied.", hint=_LIST)
    if len(found) > 1:
        names = ", ".join(f"{row.version}_{plain_name(row)}" for row in found)
        raise ConfigurationError(f"{text} means several rows: {names}.", hint="Give one of them.")
    return found[0]


def _checksum_change(entry: Entry) -> Change:
    record, file = entry.record, entry.file
    assert record is not None
    if file is None:
        raise ConfigurationError(
            f"Version {record.version} has no file here whose checksum could be recorded.",
            hint="Restore the file, or remove the row with `manage.py migrate_mark --unapplied "
            f"{record.version} --reason …`.",
        )
    after = record._replace(checksum=file.checksum)
    return Change(Action.MARK, record.version, file.name, record, after)


def _refuse_duplicates(plan: Plan) -> None:
    shared = [entry.filename for entry in plan.entries if entry.state is State.CONFLICTING]
    if shared:
        raise ConfigurationError(
            f"A baseline cannot be recorded while files conflict: {', '.join(shared[:5])}.",
            hint="`manage.py migrate_check` shows the conflicts and the way out of each.",
        )
