"""Attempts: the rows of the journal schema_migrations_log, newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from sqlmigrator.admin.base import ReadOnlyAdmin, Trouble, chosen_database
from sqlmigrator.admin.filters import ActionFilter, AttemptStateFilter
from sqlmigrator.admin.labels import (
    ACTIONS,
    ATTEMPT_STATES,
    INTERRUPTED,
    Label,
    breakable,
    moment,
    progress,
    two_lines,
)
from sqlmigrator.core.durations import format_duration
from sqlmigrator.core.history import Action, AttemptState, Tables
from sqlmigrator.models import MigrationAttempt

if TYPE_CHECKING:
    from django.contrib.admin.views.main import ChangeList

_Row = Any  # a MigrationAttempt with what its list adds


class MigrationAttemptAdmin(ReadOnlyAdmin):
    """The journal. Each row leads to the page of its migration, which shows it in full."""

    page_title = _("Attempts")
    list_display = ("migration", "did", "outcome", "what", "started", "took")
    list_display_links = None
    list_filter = (AttemptStateFilter, ActionFilter)
    search_fields = ("version", "name", "error", "reason", "sqlstate", "applied_by")
    search_help_text = _("Version, name, error, SQLSTATE, reason, or who did it.")
    date_hierarchy = "started_at"
    ordering = ("-id",)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        from sqlmigrator.admin.changelist import AttemptList

        return AttemptList

    def table_trouble(self, tables: Tables) -> Trouble | None:
        if tables.journal:
            return None
        return Trouble(
            gettext("Nothing has been attempted on this database yet."),
            gettext("There is no table schema_migrations_log in the schema “%s”.") % tables.schema,
            gettext("The first run of `manage.py migrate_apply` makes it."),
        )

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """An attempt is shown on its migration's page."""
        self.check_may_view(request)
        database = chosen_database(request)
        if trouble := self.trouble(database):
            context = self.page_context(request, self.page_title, database)
            return self.page(request, "trouble", context | {"trouble": trouble})
        row = None
        if object_id.isdecimal() and len(object_id) < 19:
            row = self.get_queryset(request).filter(pk=object_id).first()
        if row is None:
            raise Http404
        return HttpResponseRedirect(self._page_of(row, database))

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Django's log of changes made in the admin: there are none."""
        return self.change_view(request, object_id)

    def _page_of(self, row: MigrationAttempt, database: str) -> str:
        return f"{self.migration_url(row.version, database)}#attempt-{row.pk}"

    @admin.display(description=_("migration"), ordering="version")
    def migration(self, row: _Row) -> SafeString:
        name = format_html("{} {}", row.version, breakable(row.name))
        if not row.may_be_opened:
            return name
        return format_html('<a href="{}">{}</a>', self._page_of(row, row._state.db or ""), name)

    @admin.display(description=_("action"), ordering="action")
    def did(self, row: MigrationAttempt) -> str:
        return str(_label(ACTIONS, Action, row.action))

    @admin.display(description=_("state"), ordering="state")
    def outcome(self, row: _Row) -> SafeString:
        if row.state == AttemptState.RUNNING and not row.alive:
            return INTERRUPTED.badge()
        return _label(ATTEMPT_STATES, AttemptState, row.state).badge()

    @admin.display(description=_("started at"), ordering="started_at")
    def started(self, row: MigrationAttempt) -> SafeString:
        who = gettext("by %(who)s") % {"who": row.applied_by} if row.applied_by else ""
        return two_lines(moment(row.started_at), who)

    @admin.display(description=_("duration"), ordering="execution_time_ms")
    def took(self, row: MigrationAttempt) -> SafeString:
        duration = "-" if row.execution_time_ms is None else format_duration(row.execution_time_ms)
        return two_lines(duration, progress(row.statement_done, row.statement_total))

    @admin.display(description=_("error or reason"))
    def what(self, row: MigrationAttempt) -> str | None:
        parts = [row.sqlstate, row.error, row.reason]
        text = " ".join(part for part in parts if part)
        return Truncator(text).chars(120) if text else None


def _label(labels: Any, kind: Any, value: str) -> Label:
    """The word for a value of the journal; the value itself where a newer version wrote it."""
    found: Label = labels[kind(value)] if value in tuple(kind) else Label(value)
    return found
