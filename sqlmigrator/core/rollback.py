"""What a rollback needs: the row to remove, and the SQL that undoes what it stands for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from sqlmigrator.core.content import Content, read_content
from sqlmigrator.core.files import MigrationFile, fingerprint, read_bytes
from sqlmigrator.core.history import AppliedRecord, History, version_number
from sqlmigrator.core.plan import Entry, Plan
from sqlmigrator.exceptions import ConfigurationError, DatabaseRefused, SqlMigratorError


@dataclass(frozen=True, slots=True)
class RollbackJob:
    """A row to remove and the reverse file, whose path and checksum `file` has.

    `force` allows a row that is not the latest.
    """

    record: AppliedRecord
    file: MigrationFile
    content: Content
    force: bool = False


def plan_rollback(plan: Plan, version: str, sql: Path | None, *, force: bool) -> RollbackJob:
    """Find the row of `version` and its reverse file (`sql`, else NNN_name.down.sql).

    Raises ConfigurationError for a version that is not applied, SqlMigratorError where it is not
    the latest one (unless `force`), has no reverse file, or the reverse cannot run in one
    transaction.
    """
    entry = _entry(plan, version)
    record = entry.record
    assert record is not None
    latest = max(row.number for row in plan.history.records if row.number is not None)
    if entry.number != latest and not force:
        newest = next(e for e in plan.entries if e.number == latest and e.record)
        raise SqlMigratorError(
            f"{entry.filename} is not the latest applied migration: {newest.filename} is.",
            why="Later migrations may rely on it.",
            hint=f"Roll back {newest.version} first, or pass --force.",
        )
    path = sql or (entry.file.reverse if entry.file else None)
    if path is None:
        raise SqlMigratorError(
            f"{entry.filename} has no reverse file {entry.version}_{entry.name}.down.sql.",
            why="What it did cannot be derived from its SQL.",
            hint="Better go forward: write a new migration that corrects it (`manage.py "
            "migrate_new NAME`). To go back by hand: write the reverse SQL into a file and run "
            f"`manage.py migrate_rollback {entry.version} --sql FILE`.",
        )
    data = read_bytes(path)
    content = read_content(data, file=str(path), number=entry.number)
    if content.directives.no_transaction:
        raise SqlMigratorError(
            f"{path.name} asks for no transaction, but a rollback runs in one with its row.",
            hint="Run it by hand with psql, then `manage.py migrate_mark --unapplied "
            f"{entry.version} --reason …`; or use the transactional form (DROP INDEX).",
        )
    file = MigrationFile(path.parent, path.name, record.version, entry.number or 0, entry.name)
    return RollbackJob(record, replace(file, checksum=fingerprint(data)[0]), content, force)


def refuse_outdated(job: RollbackJob, history: History) -> None:
    """Raise DatabaseRefused unless `job` still holds for `history`, read again under the lock."""
    rows = history.records
    latest = max((row.number for row in rows if row.number is not None), default=None)
    is_there = any((r.version, r.name) == (job.record.version, job.record.name) for r in rows)
    if is_there and (job.force or job.record.number == latest):
        return
    told = "is no longer the latest applied one" if is_there else "is not applied any more"
    raise DatabaseRefused(
        f"Nothing was rolled back: {job.record.version} {told}.",
        why="Somebody else changed the history meanwhile.",
        hint="Look at `manage.py migrate_status`, then run the command again.",
    )


def _entry(plan: Plan, version: str) -> Entry:
    number = version_number(version)
    name = version.removesuffix(".sql")
    found = [
        entry
        for entry in plan.entries
        if entry.record is not None
        and (
            (number is not None and entry.number == number)
            or name in (entry.version, entry.filename.removesuffix(".sql"))
        )
    ]
    if not found or found[0].number is None:
        raise ConfigurationError(
            f"Version {version} is not applied here.",
            hint="`manage.py migrate_status` lists the versions.",
        )
    return found[0]
