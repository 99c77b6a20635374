"""History: the rows of schema_migrations, each with the state of its file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from sqlmigrator.admin.base import (
    VERSION_NUMBER,
    ReadOnlyAdmin,
    Trouble,
    chosen_database,
    history_trouble,
)
from sqlmigrator.admin.filters import AgeFilter, AppliedByFilter, StateFilter
from sqlmigrator.admin.labels import AGES, ROW_STATES, age, breakable, moment, two_lines
from sqlmigrator.core.durations import format_duration
from sqlmigrator.core.history import Tables
from sqlmigrator.models import SchemaMigration

if TYPE_CHECKING:
    from django.contrib.admin.views.main import ChangeList

_Row = Any  # a SchemaMigration with what changelist.HistoryList adds


class SchemaMigrationAdmin(ReadOnlyAdmin):
    """The history; also where the overview and the conflicts are mounted."""

    # In a context: the admin translates the bare word for its own log.
    page_title = pgettext_lazy("migrations", "History")
    list_display = ("number", "title", "state", "when", "who", "duration", "short")
    list_display_links = ("number", "title")
    list_filter = (StateFilter, AgeFilter, AppliedByFilter)
    search_fields = ("version", "name", "applied_by", "checksum__istartswith")
    search_help_text = _("Version, name, who applied it, or the beginning of a checksum.")
    date_hierarchy = "applied_at"
    ordering = (VERSION_NUMBER.desc(nulls_last=True), "-version")

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("overview/", wrap(self.overview_view), name="sqlmigrator_overview"),
            path("conflicts/", wrap(self.conflicts_view), name="sqlmigrator_conflicts"),
            *super().get_urls(),
        ]

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        from sqlmigrator.admin.changelist import HistoryList

        return HistoryList

    def table_trouble(self, tables: Tables) -> Trouble | None:
        return history_trouble(tables)

    # Pages

    def overview_view(self, request: HttpRequest) -> HttpResponse:
        from sqlmigrator.admin.overview import overview_page

        self.check_may_view(request)
        return overview_page(self, request)

    def conflicts_view(self, request: HttpRequest) -> HttpResponse:
        from sqlmigrator.admin.conflicts import conflicts_page

        self.check_may_view(request)
        return conflicts_page(self, request)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        from sqlmigrator.admin.migration import migration_page

        self.check_may_view(request)
        return migration_page(self, request, object_id)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Django's log of changes made in the admin: there are none."""
        self.check_may_view(request)
        return HttpResponseRedirect(self.migration_url(object_id, chosen_database(request)))

    # Columns

    @admin.display(description=_("version"), ordering=VERSION_NUMBER)
    def number(self, row: SchemaMigration) -> str:
        return str(row.version)

    @admin.display(description=_("state"))
    def state(self, row: _Row) -> SafeString:
        return ROW_STATES[row.state].badge()

    @admin.display(description=_("name"), ordering="name")
    def title(self, row: SchemaMigration) -> SafeString | None:
        return breakable(row.name) if row.name else None  # NULL, in a table made by hand

    @admin.display(description=_("applied at"), ordering="applied_at")
    def when(self, row: SchemaMigration) -> SafeString | None:
        at: Any = row.applied_at  # a table made by hand may hold NULL
        return two_lines(moment(at), AGES[age(at)]) if at else None

    @admin.display(description=_("applied by"), ordering="applied_by")
    def who(self, row: SchemaMigration) -> SafeString | None:
        return breakable(row.applied_by) if row.applied_by else None

    @admin.display(description=_("duration"), ordering="execution_time_ms")
    def duration(self, row: _Row) -> SafeString | None:
        if row.execution_time_ms is None:
            return None
        percent = 100 * row.execution_time_ms / row.slowest_ms if row.slowest_ms else 0
        return format_html(
            '<span class="sqlmigrator-nowrap">{}</span><svg class="sqlmigrator-bar" '
            'aria-hidden="true" width="100%" height="4"><rect width="{}%" height="4"/></svg>',
            format_duration(row.execution_time_ms),
            f"{percent:.1f}",
        )

    @admin.display(description=_("checksum"), ordering="checksum")
    def short(self, row: SchemaMigration) -> SafeString | None:
        if not row.checksum:
            return None
        return format_html('<code title="{}">{}</code>', row.checksum, row.checksum[:8])
