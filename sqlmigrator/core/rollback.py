"""What a rollback needs: the row to remove, and the SQL that undoes what it stands for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from sqlmigrator.core import findings as rules
from sqlmigrator.core.content import Content, read_content
from sqlmigrator.core.files import REVERSE_SUFFIX, MigrationFile, fingerprint, read_bytes
from sqlmigrator.core.history import AppliedRecord, History, version_number
from sqlmigrator.core.plan import Plan, plain_name
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
    record = _record(plan, version)
    newest = max((r for r in plan.history.records if r.number is not None), key=_number)
    if record.number != newest.number and not force:
        raise SqlMigratorError(
            f"{_filename(plan, record)} is not the latest applied migration: "
            f"{_filename(plan, newest)} is.",
            why="Later migrations may rely on it.",
            hint=f"Roll back {newest.version} first, or pass --force.",
        )
    path = sql or _reverse(plan, record)
    data = read_bytes(path)
    content = read_content(data, file=str(path), number=record.number)
    by_hand = (
        f"Run it by hand with psql, then `manage.py migrate_mark --unapplied {record.version} "
        "--reason …`; or use the transactional form (DROP INDEX)."
    )
    if content.directives.no_transaction:
        raise SqlMigratorError(
            f"{path.name} asks for no transaction, but a rollback runs in one with its row.",
            hint=by_hand,
        )
    findings = (
        finding._replace(hint=by_hand) if finding.rule is rules.NEEDS_NO_TRANSACTION else finding
        for finding in content.findings
    )
    content = replace(content, findings=tuple(findings))
    name = plain_name(record)
    file = MigrationFile(path.parent, path.name, record.version, _number(record), name)
    return RollbackJob(record, file._replace(checksum=fingerprint(data)[0]), content, force)


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


def _record(plan: Plan, version: str) -> AppliedRecord:
    """The row that `version` (or a file name) means, which must be the only one of its number."""
    number, name = version_number(version), version.removesuffix(".sql")
    rows = plan.history.records
    found = [
        row
        for row in rows
        if (number is not None and row.number == number)
        or f"{name}.sql" in (_filename(plan, row), _recorded(row))
    ]
    if not found or found[0].number is None:
        raise ConfigurationError(
            f"Version {version} is not applied here.",
            hint="`manage.py migrate_status` lists the versions.",
        )
    same = [_recorded(row).removesuffix(".sql") for row in rows if row.number == found[0].number]
    if len(same) > 1:
        raise ConfigurationError(
            f"Version {found[0].version} is recorded twice: {', '.join(sorted(same))}.",
            hint="Remove the wrong row with `manage.py migrate_mark --unapplied VERSION_NAME "
            "--reason …`.",
        )
    return found[0]


def _reverse(plan: Plan, record: AppliedRecord) -> Path:
    """The reverse file, also where its migration is gone. Raises SqlMigratorError for none."""
    name = _filename(plan, record).removesuffix(".sql") + REVERSE_SUFFIX
    path = plan.folder.path / name
    if path in (file.reverse for file in plan.folder.files) or name in plan.folder.lone_reverses:
        return path
    raise SqlMigratorError(
        f"{_filename(plan, record)} has no reverse file {name}.",
        why="What it did cannot be derived from its SQL.",
        hint="Better go forward: write a new migration that corrects it (`manage.py "
        "migrate_new NAME`). To go back by hand: write the reverse SQL into a file and run "
        f"`manage.py migrate_rollback {record.version} --sql FILE`.",
    )


def _filename(plan: Plan, record: AppliedRecord) -> str:
    """The name of the row's file; that which the row has where the file is gone or renamed."""
    found = (entry.filename for entry in plan.entries if entry.record is record)
    return next(found, _recorded(record))


def _recorded(record: AppliedRecord) -> str:
    return f"{record.version}_{plain_name(record)}.sql"


def _number(record: AppliedRecord) -> int:
    return record.number or 0
