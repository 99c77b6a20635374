"""Makes the plan: files and history in, the state of every version and what to run out. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC
from itertools import pairwise
from math import inf
from operator import attrgetter
from typing import TYPE_CHECKING

from sqlmigrator.core import findings as rules
from sqlmigrator.core.files import Folder, MigrationFile, duplicates, is_serial
from sqlmigrator.core.findings import Finding
from sqlmigrator.core.history import (
    AppliedRecord,
    AttemptState,
    History,
)
from sqlmigrator.core.plan import (
    NO_OPTIONS,
    Entry,
    Plan,
    PlanOptions,
    State,
    interruption,
    is_unchanged,
    matching_checksum,
    plain_name,
)

if TYPE_CHECKING:
    from sqlmigrator.core.renumber import Rename


def build_plan(folder: Folder, history: History, options: PlanOptions = NO_OPTIONS) -> Plan:
    """Compare the files of `folder` with `history`; nothing is read or run."""
    return _Planner(folder, history, options).plan()


class _Planner:
    """Builds one plan; each method settles one row of DESIGN section 4's table."""

    def __init__(self, folder: Folder, history: History, options: PlanOptions) -> None:
        self.folder = folder
        self.history = history
        self.options = options
        self.findings: list[Finding] = []
        self.records: dict[int, list[AppliedRecord]] = defaultdict(list)
        for record in history.records:
            if record.number is not None:
                self.records[record.number].append(record)
        self.duplicates = duplicates(folder.files)
        self.attempts = {attempt.number: attempt for attempt in history.attempts}
        self.matched = self._match()  # by file name, like all that follows
        self.origins = self._origins()
        self.renames = self._renames()

    def plan(self) -> Plan:
        self._check_folder()
        entries = list(self._file_entries())  # first: what is found is told in this order
        entries += sorted(self._record_entries(), key=attrgetter("filename"))
        entries.sort(key=lambda entry: inf if entry.number is None else entry.number)
        self._check_rows()
        self._check_gaps()
        pending = tuple(entry for entry in entries if self._is_to_run(entry))
        for index, entry in enumerate(pending):
            self._check_pending(entry, pending[index - 1] if index else None)
        self.findings.sort(key=lambda finding: not finding.is_error)
        return Plan(
            tuple(entries),
            pending,
            tuple(self.findings),
            self.renames,
            self._moves(),
            self.folder,
            self.history,
        )

    def _add(self, rule: rules.Rule, message: str, hint: str, **where: object) -> None:
        self.findings.append(
            Finding(rule=rule, message=message, hint=hint, **where)  # type: ignore[arg-type]
        )

    def _match(self) -> dict[str, AppliedRecord]:
        """Files and their rows: the same number and name."""
        matched = {}
        for file in self.folder.files:
            for record in self.records.get(file.number, ()):
                if record.is_named(file.version, file.name):
                    matched[file.filename] = record
        return matched

    def _origins(self) -> dict[str, AppliedRecord]:
        """Files that were renumbered after they were applied, and the rows they left behind."""
        taken = {id(record) for record in self.matched.values()}
        orphans = [record for record in self.history.records if id(record) not in taken]
        by_checksum = {r.checksum.lower(): r for r in orphans if r.checksum}
        by_name = {plain_name(r): r for r in orphans if r.name}
        origins = {}
        for file in self.folder.files:
            if file.filename in self.matched:
                continue
            record = (
                by_checksum.get(file.checksum)
                or by_checksum.get(file.text_checksum)
                or by_name.get(file.name)
            )
            if record is not None and record.number != file.number:
                origins[file.filename] = record
        return origins

    def _renames(self) -> tuple[Rename, ...]:
        if not (self.duplicates or self.folder.misnamed):
            return ()  # as in most folders, which need not import what proposes them
        from sqlmigrator.core.renumber import propose

        applied = {**self.options.applied_elsewhere, **dict.fromkeys(self.matched, "applied")}
        return propose(self.folder, self.history.records, applied, self.options.first_commits)

    def _moves(self) -> tuple[tuple[AppliedRecord, MigrationFile], ...]:
        """The rows that belong to renumbered files; none where two files claim one row."""
        claims = Counter(id(record) for record in self.origins.values())
        return tuple(
            (record, file)
            for file in self.folder.files
            if (record := self.origins.get(file.filename)) and claims[id(record)] == 1
        )

    # Files

    def _file_entries(self) -> Iterator[Entry]:
        highest_applied = max(self.records, default=None)
        for file in self.folder.files:
            record = self.matched.get(file.filename)
            state = self._file_state(file, record, highest_applied)
            attempt = self.attempts.get(file.number)
            yield Entry(file.version, file.number, file.name, state, file, record, attempt)
        for group in self.duplicates.values():
            self._report_duplicate(group)

    def _file_state(
        self, file: MigrationFile, record: AppliedRecord | None, highest_applied: int | None
    ) -> State:
        if record is not None:
            if not file.checksum and file.findings:  # it could not be read
                self.findings.extend(file.findings)
                return State.CHANGED
            if is_unchanged(file, record):
                return State.APPLIED
            self._report_changed(file, record)
            return State.CHANGED
        if file.number in self.duplicates and file.filename not in self.origins:
            return State.CONFLICTING
        if origin := self.origins.get(file.filename):
            self._report_renumbered(file, origin)
            return State.CONFLICTING
        if file.number in self.records:
            self._report_other_name(file, self.records[file.number][0])
            return State.CONFLICTING
        if highest_applied is not None and file.number < highest_applied:
            self._report_out_of_order(file, highest_applied)
            return State.OUT_OF_ORDER
        return State.PENDING

    def _report_duplicate(self, group: list[MigrationFile]) -> None:
        targets = {rename.source: rename.target for rename in self.renames}
        details = []
        width = max(len(file.filename) for file in group)
        applied = {*self.matched, *self.options.applied_elsewhere}
        only_one_ran = sum(file.filename in applied for file in group) == 1
        for file in group:
            record = self.matched.get(file.filename)
            if record is not None:
                what = "applied" + _at(record)
            elif file.filename in self.options.applied_elsewhere:
                what = self.options.applied_elsewhere[file.filename]
                what += ", keeps the number" if only_one_ran else ""
            elif file.filename in targets:
                what = f"not applied: renumber to {targets[file.filename]}"
            else:
                what = "not applied: keeps the number"
            details.append(f"{file.filename:<{width}}   {what}")
        first = group[0]
        self._add(
            rules.DUPLICATE_VERSION,
            f"Duplicate migration version {first.version}",
            "Run `manage.py migrate_renumber` to see the renames, `--write` to perform them.",
            version=first.version,
            file=str(first.path),
            details=tuple(details),
            files=tuple(str(file.path) for file in group),
        )

    def _report_changed(self, file: MigrationFile, record: AppliedRecord) -> None:
        self._add(
            rules.CHANGED,
            f"{file.filename} was changed after it was applied{_at(record)}"
            f" (recorded {(record.checksum or '')[:12]}, file {file.checksum[:12]})",
            f"Restore the file and put the change into a new migration, or accept it: "
            f"`manage.py migrate_mark --accept-checksum {record.version} --reason …`.",
            version=file.version,
            file=str(file.path),
        )

    def _report_renumbered(self, file: MigrationFile, origin: AppliedRecord) -> None:
        self._add(
            rules.RENUMBERED,
            f"{file.filename} is already applied as version {origin.version}"
            f" ({origin.name}{_at(origin)}): it would run twice",
            "If it is the same migration: `manage.py migrate_renumber --record` moves the row "
            f"to {file.version}. If not, give it another name.",
            version=file.version,
            file=str(file.path),
        )

    def _report_other_name(self, file: MigrationFile, record: AppliedRecord) -> None:
        if any(origin is record for origin in self.origins.values()):
            return  # told as a renumbered file already
        if record.checksum and matching_checksum(file, record.checksum):
            message = f"{file.filename} was renamed: version {record.version} is applied as"
        else:
            message = f"{file.filename} is not what ran here: version {record.version} is"
        from sqlmigrator.core.renumber import snake_case

        name, way_out = plain_name(record), "I"
        if name == snake_case(name):  # "Add users", written by hand, cannot be a file's
            way_out = f"Rename the file to {file.version}_{name}.sql, or, i"
        self._add(
            rules.APPLIED_UNDER_OTHER_NAME,
            f"{message} {record.name!r}{_at(record)}",
            f"{way_out}f it is the same migration, `manage.py migrate_mark --applied "
            f"{file.version} --reason …`; if it is another one, give it the next free number: "
            f"`manage.py migrate_renumber {file.filename} --write`.",
            version=file.version,
            file=str(file.path),
        )

    def _report_out_of_order(self, file: MigrationFile, highest_applied: int) -> None:
        if self.options.allow_out_of_order or file.directives.out_of_order:
            return
        highest = self.records[highest_applied][0].version
        self._add(
            rules.OUT_OF_ORDER,
            f"{file.filename} is pending, but {highest} is already applied",
            f"Give it the next free number (`manage.py migrate_renumber {file.filename} --write`), "
            "or pass `--allow-out-of-order`.",
            version=file.version,
            file=str(file.path),
        )

    # Rows without a file

    def _record_entries(self) -> Iterator[Entry]:
        highest_local = max((file.number for file in self.folder.files), default=-1)
        local = {file.number for file in self.folder.files}
        moved = {id(record) for record in self.origins.values()}
        missing: list[AppliedRecord] = []
        ahead: list[AppliedRecord] = []
        for record in self.history.records:
            number = record.number
            if number in local:
                continue
            is_ahead = number is not None and number > highest_local
            state = State.AHEAD if is_ahead else State.MISSING
            if number is not None and id(record) not in moved:
                (ahead if is_ahead else missing).append(record)
            attempt = self.attempts.get(number) if number is not None else None
            yield Entry(
                record.version, number, plain_name(record), state, record=record, attempt=attempt
            )
        self._report_without_file(missing, ahead)

    def _report_without_file(
        self, missing: list[AppliedRecord], ahead: list[AppliedRecord]
    ) -> None:
        if not self.options.ignore_missing:
            for record in sorted(missing, key=lambda r: r.number or 0):
                self._add(
                    rules.MISSING,
                    f"{record.version}_{plain_name(record)}.sql is applied{_at(record)},"
                    " but its file is missing",
                    "Restore the file from version control, or remove the row with `manage.py "
                    f"migrate_mark --unapplied {record.version} --reason …`, or pass "
                    "`--ignore-missing`.",
                    version=record.version,
                )
        if ahead:
            versions = [r.version for r in sorted(ahead, key=lambda r: r.number or 0)]
            self._add(
                rules.AHEAD,
                f"The database is ahead of this folder: {_few(versions)}",
                "Deploy the newer code; nothing here needs to run.",
                version=versions[-1],
            )

    def _check_rows(self) -> None:
        moved = {id(record) for record in self.origins.values()}  # told as renumbered files
        for record in self.history.records:
            if record.number is None and id(record) not in moved:
                self._add(
                    rules.ROW_WITHOUT_NUMBER,
                    f"History row {record.version!r} ({record.name}): its version is no number",
                    "It matches no file. If its file is still here, `manage.py migrate_renumber "
                    "--write`, then `--record`, mend both; if it is gone: `manage.py migrate_mark "
                    f"--unapplied {record.version} --reason …`.",
                    version=record.version,
                )
        for rows in self.records.values():
            if len(rows) > 1 and len({plain_name(row) for row in rows}) > 1:
                names = sorted(f"{row.version}_{plain_name(row)}" for row in rows)
                self._add(
                    rules.RECORD_UNUSABLE,
                    f"Version {rows[0].version} is recorded twice: {', '.join(names)}",
                    "Remove the wrong row with `manage.py migrate_mark --unapplied VERSION_NAME "
                    "--reason …`.",
                    version=rows[0].version,
                )

    # The folder

    def _check_folder(self) -> None:
        targets = {rename.source: rename.target for rename in self.renames}
        path = self.folder.path
        for name in self.folder.misnamed:
            self._add(
                rules.MISNAMED_FILE,
                f"{name} is not named NNN_descriptive_name.sql: it would never run",
                f"Rename it to {targets[name]}, or move it out of the folder; "
                "`manage.py migrate_renumber` does it.",
                file=str(path / name),
            )
        for name in self.folder.strays:
            hint = "Move it out of the migrations folder."
            self._add(
                rules.STRAY_FILE, f"{name} is never run: no version", hint, file=str(path / name)
            )
        for name in self.folder.subfolders:
            hint = "Move its files up, or out of the migrations folder."
            message = f"{name}/ holds .sql files, which are never run"
            self._add(rules.SUBFOLDER, message, hint, file=str(path / name))
        for name in self.folder.lone_reverses:
            hint = "Give it the name of its migration, or delete it."
            message = f"{name} has no migration beside it"
            self._add(rules.REVERSE_WITHOUT_FILE, message, hint, file=str(path / name))

    def _check_gaps(self) -> None:
        known = {file.number for file in self.folder.files} | set(self.records)
        serial = sorted(number for number in known if is_serial(number))
        gaps = [
            f"{low + 1:03d}" if high - low == 2 else f"{low + 1:03d}-{high - 1:03d}"
            for low, high in pairwise(serial)
            if high - low > 1
        ]
        if gaps:
            self._add(rules.GAP, f"Gap in the numbers: {_few(gaps, 8)}", "None needed.")

    # What would run

    def _is_to_run(self, entry: Entry) -> bool:
        if entry.state not in (State.PENDING, State.OUT_OF_ORDER):
            return False
        return self.options.to is None or (entry.number or 0) <= self.options.to

    def _check_pending(self, entry: Entry, before: Entry | None) -> None:
        assert entry.file is not None
        self.findings.extend(entry.file.findings)
        self._check_dependencies(entry.file, before)
        attempt = entry.attempt
        if attempt is None:
            return
        if attempt.alive and attempt.state is AttemptState.RUNNING:
            self._add(
                rules.RUNNING,
                f"{entry.filename} is being applied now by process {attempt.backend_pid}"
                f" (statement {attempt.statement_done + 1} of {attempt.statement_total})",
                "Wait for it to finish.",
                version=entry.version,
                file=str(entry.file.path),
            )
        elif attempt.is_interrupted:
            self._add(
                rules.INTERRUPTED,
                f"{entry.filename} was {interruption(attempt)}",
                "`manage.py migrate_apply --resume` checks that statement and goes on; or settle "
                f"it by hand, then `manage.py migrate_mark --applied {entry.version} --reason …` "
                f"(it is all there) or `--unapplied {entry.version} --reason …` (run it from the "
                "start).",
                version=entry.version,
                file=str(entry.file.path),
            )

    def _check_dependencies(self, file: MigrationFile, before: Entry | None) -> None:
        applied = self.options.django_migrations
        if applied is None:
            return
        for app, name in file.directives.depends:
            if (app, name) not in applied:
                self._add(
                    rules.DEPENDENCY,
                    f"{file.filename} depends on the Django migration {app}.{name}, which is not "
                    "applied here",
                    f"Run `manage.py migrate {app}` first."
                    + (
                        " Apply what comes before it with `manage.py migrate_apply --to "
                        f"{before.version}`."
                        if before
                        else ""
                    ),
                    version=file.version,
                    file=str(file.path),
                )


def _at(record: AppliedRecord) -> str:
    if record.applied_at is None:
        return ""
    when = record.applied_at
    if when.tzinfo is None:
        return f" {when:%Y-%m-%d %H:%M}"
    return f" {when.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _few(items: Iterable[str], limit: int = 5) -> str:
    listed = list(items)
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more
