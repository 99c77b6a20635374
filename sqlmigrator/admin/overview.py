"""The overview: for each database its counts, what is pending, the last attempt, durations."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from sqlmigrator.admin.base import (
    COMPLETE,
    Link,
    Trouble,
    chosen_database,
    may_see_attempts,
    with_database,
)
from sqlmigrator.admin.labels import Label, Role, attempt_label
from sqlmigrator.admin.reading import Reading, completed, read
from sqlmigrator.admin.states import FILE_STATES
from sqlmigrator.conf import configured_aliases
from sqlmigrator.core.durations import format_duration
from sqlmigrator.core.history import AppliedRecord, Attempt
from sqlmigrator.core.plan import Entry, Plan
from sqlmigrator.exceptions import SqlMigratorError
from sqlmigrator.runner import MigrationRunner

if TYPE_CHECKING:
    from sqlmigrator.admin.base import ReadOnlyAdmin

_SHOWN_PENDING: Final = 20
_SHOWN_DURATIONS: Final = 12
_BAR_HEIGHT: Final = 34  # pixels, with its text


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of the chart: its text, its length in percent, its place from the top in pixels."""

    name: str
    time: str
    percent: str
    top: int

    @property
    def text_top(self) -> int:
        return self.top + 14

    @property
    def bar_top(self) -> int:
        return self.top + 20


@dataclass(frozen=True, slots=True)
class Chart:
    """The latest durations, newest first, as a drawing and as a sentence."""

    bars: tuple[Bar, ...]

    @property
    def height(self) -> int:
        return len(self.bars) * _BAR_HEIGHT

    @property
    def description(self) -> str:
        return "; ".join(f"{bar.name}: {bar.time}" for bar in self.bars)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A pending migration, as a line of the table."""

    entry: Entry
    label: Label
    url: str
    notes: str


@dataclass(frozen=True, slots=True)
class LastAttempt:
    """The newest row of the journal."""

    attempt: Attempt
    label: Label
    url: str


@dataclass(frozen=True, slots=True)
class Summary:
    """One database on the page."""

    database: str
    at: datetime
    server: str
    trouble: Trouble | None = None
    plan: Plan | None = None
    verdict: Label | None = None
    counts: tuple[tuple[Link, int, Role], ...] = ()
    waiting: tuple[Waiting, ...] = ()
    not_shown: int = 0
    last: LastAttempt | None = None
    chart: Chart | None = field(default=None)
    complete_url: str = ""


def overview_page(admin: ReadOnlyAdmin, request: HttpRequest) -> HttpResponse:
    """All configured databases; one that cannot be read says so, and the others are shown."""
    context = admin.page_context(request, _("Overview"), chosen_database(request))
    summaries = [_summary(admin, request, alias) for alias in configured_aliases()]
    context |= {"summaries": summaries, "databases": ()}
    return admin.page(request, "overview", context)


def _summary(admin: ReadOnlyAdmin, request: HttpRequest, alias: str) -> Summary:
    reading = read(alias)
    server = connections[alias].display_name
    if reading.plan is None or reading.error is not None:
        assert reading.error is not None
        return Summary(alias, reading.at, server, Trouble.of(reading.error))
    last = None
    try:
        plan, is_complete = completed(reading)
        if may_see_attempts(request):
            last = _last_attempt(admin, alias)
    except SqlMigratorError as error:
        return Summary(alias, reading.at, server, Trouble.of(error))
    complete_url = with_database(admin.url("conflicts"), alias, **{COMPLETE: "1"})
    return Summary(
        alias,
        reading.at,
        server,
        plan=plan,
        verdict=verdict(plan),
        counts=tuple(_counts(admin, reading, plan)),
        waiting=tuple(_waiting(admin, entry, alias) for entry in plan.pending[:_SHOWN_PENDING]),
        not_shown=max(0, len(plan.pending) - _SHOWN_PENDING),
        last=last,
        chart=chart(plan.history.records),
        complete_url="" if is_complete else complete_url,
    )


def verdict(plan: Plan) -> Label:
    """Where the database stands, in one sentence."""
    if plan.errors:
        return Label(
            ngettext(
                "%d conflict must be settled first.",
                "%d conflicts must be settled first.",
                len(plan.errors),
            )
            % len(plan.errors),
            Role.BAD,
        )
    if plan.pending:
        return Label(
            ngettext(
                "%d migration is pending; nothing stands against applying it.",
                "%d migrations are pending; nothing stands against applying them.",
                len(plan.pending),
            )
            % len(plan.pending),
            Role.WARNING,
        )
    return Label(gettext("Up to date."), Role.GOOD)


def _counts(admin: ReadOnlyAdmin, reading: Reading, plan: Plan) -> Any:
    history = with_database(admin.url("schemamigration_changelist"), reading.database)
    conflicts = with_database(admin.url("conflicts"), reading.database)
    errors, warnings = len(plan.errors), len(plan.warnings)
    yield Link(_("Applied"), history), len(plan.history.records), Role.PLAIN
    yield (
        Link(_("Pending"), f"#pending-{reading.database}"),
        len(plan.pending),
        Role.WARNING if plan.pending else Role.PLAIN,
    )
    yield Link(_("Conflicts"), conflicts), errors, Role.BAD if errors else Role.PLAIN
    yield Link(_("Warnings"), conflicts), warnings, Role.WARNING if warnings else Role.PLAIN


def _waiting(admin: ReadOnlyAdmin, entry: Entry, alias: str) -> Waiting:
    notes = []
    if entry.file is not None:
        if count := entry.file.statement_count:
            notes.append(ngettext("%d statement", "%d statements", count) % count)
        if entry.file.directives.no_transaction:
            notes.append(gettext("no transaction"))
    if entry.attempt is not None:
        notes.append(gettext("last attempt: %s") % attempt_label(entry.attempt))
    url = admin.migration_url(entry.version, alias)
    return Waiting(entry, FILE_STATES[entry.state], url, ", ".join(notes))


def _last_attempt(admin: ReadOnlyAdmin, alias: str) -> LastAttempt | None:
    for attempt in MigrationRunner(alias).attempts(limit=1):
        url = f"{admin.migration_url(attempt.version, alias)}#attempt-{attempt.id}"
        return LastAttempt(attempt, attempt_label(attempt), url)
    return None


def chart(records: tuple[AppliedRecord, ...]) -> Chart | None:
    """The durations of the migrations applied last; None where no duration is recorded."""
    timed = [r for r in records if r.execution_time_ms is not None and r.applied_at is not None]
    timed.sort(key=lambda r: (r.applied_at, r.number or 0), reverse=True)
    shown = timed[:_SHOWN_DURATIONS]
    if not shown:
        return None
    slowest = max(r.execution_time_ms or 0 for r in shown) or 1
    return Chart(
        tuple(
            Bar(
                f"{record.version} {record.name or ''}",
                format_duration(record.execution_time_ms or 0),
                f"{max(0.3, 100 * (record.execution_time_ms or 0) / slowest):.1f}%",
                place * _BAR_HEIGHT,
            )
            for place, record in enumerate(shown)
        )
    )
