"""The page of one migration: its row, its file, its attempts, what differs and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from django.contrib.admin.utils import unquote
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.translation import gettext

from sqlmigrator import git
from sqlmigrator.admin.base import (
    VERSION_NUMBER,
    Trouble,
    chosen_database,
    history_trouble,
    may_see_attempts,
)
from sqlmigrator.admin.labels import (
    ACTIONS,
    ROW_STATES,
    Label,
    RowState,
    attempt_label,
    progress,
)
from sqlmigrator.admin.reading import (
    Text,
    partial_plan,
    read_texts,
    record_of,
    scan_folder,
    with_content,
)
from sqlmigrator.admin.sqltext import Change, Listing, difference, listing
from sqlmigrator.admin.states import NOT_YET, entry_label
from sqlmigrator.core.directives import Directives
from sqlmigrator.core.durations import format_duration
from sqlmigrator.core.files import Folder
from sqlmigrator.core.findings import Finding, aimed_at
from sqlmigrator.core.history import AppliedRecord, Attempt, AttemptState, version_number
from sqlmigrator.core.plan import Entry, Plan, State
from sqlmigrator.exceptions import SqlMigratorError
from sqlmigrator.models import SchemaMigration
from sqlmigrator.runner import MigrationRunner

if TYPE_CHECKING:
    from sqlmigrator.admin.base import ReadOnlyAdmin

_SHOWN_ATTEMPTS: Final = 50


@dataclass(frozen=True, slots=True)
class Attempted:
    """An attempt with its words; `place` says where in the file it failed."""

    attempt: Attempt
    label: Label
    action: Label
    duration: str
    progress: str
    place: str


@dataclass(frozen=True, slots=True)
class Part:
    """A row, a file, or both: more than one where a number is used twice."""

    entry: Entry
    label: Label
    failed: Attempted | None
    duration: str
    directives: tuple[str, ...]
    findings: tuple[Finding, ...]
    listing: Listing | None
    file_trouble: str
    changes: tuple[Change, ...] | None
    changes_note: str


@dataclass(frozen=True, slots=True)
class _Sources:
    """All that the page is made from."""

    folder: Folder
    texts: Sequence[Text]
    records: Sequence[AppliedRecord]
    attempts: Sequence[Attempt]
    may_see_attempts: bool
    trouble: Trouble | None


def migration_page(admin: ReadOnlyAdmin, request: HttpRequest, object_id: str) -> HttpResponse:
    """The page of a version, applied or not. Raises Http404 where nothing is known of it."""
    database = chosen_database(request)
    version = unquote(object_id)
    if "\0" in version:  # PostgreSQL has no such text
        raise Http404(gettext("There is no migration %s.") % version.replace("\0", ""))
    context = admin.page_context(request, version, database)
    context |= {"original": version, "has_view_permission": True, "change": True, "add": False}
    try:
        runner = MigrationRunner(database)
        sources = _sources(runner, version, may_see_attempts(request))
        parts = _parts(runner, version, sources)
    except SqlMigratorError as error:
        return admin.page(request, "trouble", context | {"trouble": Trouble.of(error)})
    if not parts and not sources.attempts:
        raise Http404(gettext("There is no migration %s.") % version)
    # Of files that share a number, the one that the page was opened for: what ran here.
    ran = [part.entry for part in parts if part.entry.record is not None]
    entries = [*ran, *(part.entry for part in parts)]
    name = entries[0].name if entries else sources.attempts[0].name
    title = f"{version} {name}"
    context |= {
        "title": title,
        "original": title,
        "parts": parts,
        "trouble": sources.trouble,
        "may_see_attempts": sources.may_see_attempts,
        "attempts": [_attempted(attempt) for attempt in sources.attempts],
        "most_attempts": _SHOWN_ATTEMPTS,
    }
    return admin.page(request, "migration", context)


def _sources(runner: MigrationRunner, version: str, with_attempts: bool) -> _Sources:
    number = version_number(version)
    folder, error = scan_folder(runner.config)
    trouble = Trouble.of(error) if error else None
    texts = read_texts(folder, {number}) if number is not None else []
    tables = runner.backend.tables()
    records: list[AppliedRecord] = []
    if tables.exists:
        if unusable := history_trouble(tables):
            trouble = unusable
        else:
            records = _records(runner.database, version, number, texts)
    versions = {record.version for record in records if _is(record, version, number)}
    versions |= {text.file.version for text in texts} | {version}
    attempts: list[Attempt] = []
    if tables.journal:
        for text in sorted(versions):
            attempts += runner.attempts(text, _SHOWN_ATTEMPTS)
        attempts.sort(key=lambda attempt: attempt.id, reverse=True)
    return _Sources(folder, texts, records, attempts, with_attempts, trouble)


def _is(record: AppliedRecord, version: str, number: int | None) -> bool:
    return record.version == version or (number is not None and record.number == number)


def _records(
    database: str, version: str, number: int | None, texts: Sequence[Text]
) -> list[AppliedRecord]:
    """The rows of this number, those that may be the same migration, and the highest one."""
    rows = SchemaMigration.objects.using(database)
    wanted = Q(version__iexact=version) if number is None else Q(version__regex=rf"^0*{number}$")
    for text in texts:
        wanted |= Q(checksum__in={text.file.checksum, text.file.text_checksum} - {""})
        wanted |= Q(name__regex=rf"^([0-9]+_)?{text.file.name}(\.sql)?$")
    highest = rows.order_by(VERSION_NUMBER.desc(nulls_last=True))[:1]
    found = {str(row.version): row for row in (*rows.filter(wanted), *highest)}
    return [record_of(row) for row in found.values()]


def _parts(runner: MigrationRunner, version: str, sources: _Sources) -> tuple[Part, ...]:
    number = version_number(version)
    recorded = {record.number for record in sources.records}
    files = [with_content(text) if text.error is None else text.file for text in sources.texts]
    attempts = sources.attempts[:1]
    plan = partial_plan(runner, sources.folder, files, sources.records, attempts)
    data = {text.file.filename: text for text in sources.texts}
    entries = [
        entry
        for entry in plan.entries
        if (entry.number == number if number is not None else entry.version == version)
    ]
    asked = [e for e in entries if e in plan.pending and e.file and e.file.kept_content]
    plan = replace(plan, findings=(*plan.findings, *runner.syntax_errors(asked)))
    told = [e.record.version for e in entries if e.record]
    parts = [_part(plan, entry, data.get(entry.filename), sources) for entry in entries]
    # A row whose number belongs to a file of another name has no entry of its own.
    parts += [
        _lone_row(record)
        for record in sources.records
        if _is(record, version, number) and record.version not in told and number in recorded
    ]
    return tuple(parts)


def _part(plan: Plan, entry: Entry, text: Text | None, sources: _Sources) -> Part:
    changes, note = None, ""
    if entry.state is State.CHANGED and text is not None and entry.record is not None:
        changes, note = _changes(text, entry.record)
    label = entry_label(entry)
    if entry.state is State.MISSING and sources.trouble is not None:
        label = ROW_STATES[RowState.UNKNOWN]
    findings = tuple(_findings(plan, entry, sources))
    if entry.state is State.PENDING and findings:
        label = NOT_YET
    shown = None
    if text is not None and text.error is None:
        shown = listing(text.data, _notes(text, sources) if sources.may_see_attempts else {})
    return Part(
        entry,
        replace(label, meaning=aimed_at(plan.database, str(label.meaning))),
        _failed(entry, sources),
        _duration(entry.record.execution_time_ms if entry.record else None),
        tuple(_directives(entry.file.directives)) if entry.file else (),
        findings,
        shown,
        text.error.message if text is not None and text.error is not None else "",
        changes,
        note,
    )


def _lone_row(record: AppliedRecord) -> Part:
    entry = Entry(
        record.version, record.number, record.name or "", State.CONFLICTING, record=record
    )
    return Part(
        entry,
        ROW_STATES[RowState.CONFLICTING],
        None,
        _duration(record.execution_time_ms),
        (),
        (),
        None,
        "",
        None,
        "",
    )


def _failed(entry: Entry, sources: _Sources) -> Attempted | None:
    """The attempt that failed last, where the migration is not applied since."""
    latest = sources.attempts[0] if sources.attempts and sources.may_see_attempts else None
    if latest is None or entry.record is not None or latest.state is not AttemptState.FAILED:
        return None
    return _attempted(latest) if latest.name == entry.name else None


def _findings(plan: Plan, entry: Entry, sources: _Sources) -> list[Finding]:
    """What the plan says of this version, and of a recorded file what it holds."""
    if sources.trouble is not None:
        return []
    return [f for f in plan.findings if _about(f, entry)]


def _about(finding: Finding, entry: Entry) -> bool:
    """By the files it names, where there are any: 003 and 0003 are one version."""
    if entry.file is not None and finding.file is not None:
        return str(entry.file.path) in (finding.file, *finding.files)
    return finding.version is not None and finding.version == entry.version


def _changes(text: Text, record: AppliedRecord) -> tuple[tuple[Change, ...] | None, str]:
    assert record.checksum is not None
    before = git.applied_text(text.file.path, record.checksum)
    if before is None:
        return None, gettext(
            "The text that ran here was not found in the file's git history, so the difference "
            "cannot be shown."
        )
    changes = difference(before, text.data)
    if changes is None:
        return None, gettext("The file is too long to show the difference here.")
    return changes, "" if changes else gettext("Only line ends or a byte order mark differ.")


def _notes(text: Text, sources: _Sources) -> dict[int, str]:
    """The lines where attempts on this very text failed, with the latest error of each."""
    notes: dict[int, str] = {}
    for attempt in sources.attempts:
        same = attempt.checksum in (text.file.checksum, text.file.text_checksum)
        if attempt.state is AttemptState.FAILED and attempt.line is not None and same:
            code = f"{attempt.sqlstate}: " if attempt.sqlstate else ""
            notes.setdefault(attempt.line, f"{code}{attempt.error or ''}")
    return notes


def _directives(directives: Directives) -> Sequence[str]:
    """The directives as they are written in a file."""
    found = []
    if directives.no_transaction:
        found.append("no-transaction")
    if directives.lock_timeout_ms is not None:
        found.append(f"lock_timeout={directives.lock_timeout_ms}ms")
    if directives.statement_timeout_ms is not None:
        found.append(f"statement_timeout={directives.statement_timeout_ms}ms")
    if directives.out_of_order:
        found.append("out-of-order")
    return [*found, *(f"depends={app}.{name}" for app, name in directives.depends)]


def _attempted(attempt: Attempt) -> Attempted:
    place = gettext("line %d") % attempt.line if attempt.line is not None else ""
    return Attempted(
        attempt,
        attempt_label(attempt),
        ACTIONS[attempt.action],
        _duration(attempt.execution_time_ms),
        progress(attempt.statement_done, attempt.statement_total),
        place,
    )


def _duration(milliseconds: int | None) -> str:
    return "" if milliseconds is None else format_duration(milliseconds)
