"""What all pages share: nobody may change anything, the choice of a database, the navigation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin import ShowFacets
from django.contrib.admin.utils import quote
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Case, DecimalField, Model, Q, QuerySet, TextField, When
from django.db.models.functions import Cast, Length
from django.db.models.lookups import LessThanOrEqual
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from sqlmigrator.conf import configured_aliases
from sqlmigrator.core.findings import aimed_at
from sqlmigrator.core.history import Tables
from sqlmigrator.exceptions import SqlMigratorError
from sqlmigrator.models import SchemaMigration

if TYPE_CHECKING:
    from django.contrib.admin.views.main import ChangeList

    _ModelAdmin = admin.ModelAdmin[Any]
else:
    _ModelAdmin = admin.ModelAdmin

COMPLETE: Final = "complete"  # the query parameter that asks the conflicts for the slower checks
DATABASE: Final = "database"  # the query parameter that chooses one


class _Numeric(DecimalField):  # type: ignore[type-arg]
    """A number of any length: a version may be longer than a bigint."""

    def cast_db_type(self, connection: BaseDatabaseWrapper) -> str:
        return "numeric"


# The version as a number where it is one, by the rule of the view migration_status.
VERSION_NUMBER: Final = Case(
    When(
        Q(LessThanOrEqual(Length(Cast("version", TextField())), 1000), version__regex="^[0-9]+$"),
        then=Cast("version", _Numeric()),
    )
)


class Link(NamedTuple):
    """A link of the navigation; `current` marks the page one is on."""

    text: str | Promise
    url: str
    current: bool = False


class Trouble(NamedTuple):
    """Why a page cannot show what it should, and what mends it."""

    message: str
    why: str = ""
    hint: str = ""

    @classmethod
    def of(cls, error: SqlMigratorError) -> Trouble:
        return cls(error.message, error.why, error.hint)

    def aimed_at(self, database: str) -> Trouble:
        """The same, with --database in the commands that it names."""
        return self._replace(hint=aimed_at(database, self.hint))


def chosen_database(request: HttpRequest) -> str:
    """The alias the request asks for; else the first on PostgreSQL. Raises Http404."""
    aliases = configured_aliases()
    if asked := request.GET.get(DATABASE):
        if asked not in aliases:
            raise Http404(gettext("There are no migrations for the database “%s”.") % asked)
        return asked
    return next((a for a in aliases if connections[a].vendor == "postgresql"), aliases[0])


def with_database(url: str, database: str, **parameters: str) -> str:
    """`url` for this database; the alias is left out where there is only one."""
    chosen = {DATABASE: database} if len(configured_aliases()) > 1 else {}
    query = urlencode(chosen | parameters)
    return f"{url}?{query}" if query else url


def history_trouble(tables: Tables) -> Trouble | None:
    """Why SchemaMigration cannot be queried with these tables, if it cannot."""
    if not tables.exists:
        return Trouble(
            gettext("No migration has been applied to this database yet."),
            gettext("There is no table schema_migrations in the schema “%s”.") % tables.schema,
            gettext("`manage.py migrate_apply` makes it with the first migration."),
        )
    columns = [str(field.column) for field in SchemaMigration._meta.fields]
    if missing := [column for column in columns if column not in tables.columns]:
        return Trouble(
            gettext("The table schema_migrations has no column %s.") % ", ".join(missing),
            gettext("It was made by hand or by another tool."),
            gettext("The migration 001_migration_tracking.sql adds what it lacks."),
        )
    return None


class ReadOnlyAdmin(_ModelAdmin):
    """Shows rows of the chosen database and refuses every change."""

    actions = None
    show_facets = ShowFacets.NEVER
    show_full_result_count = False
    list_per_page = 50
    list_max_show_all = 200
    view_on_site = False
    preserve_filters = False  # they are for going back after a change
    change_list_template = "admin/sqlmigrator/change_list.html"
    page_title: str | Promise = ""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        # Not as Django has it: here the permission to change says nothing, so it shows nothing.
        return bool(request.user.has_perm(f"sqlmigrator.view_{self.opts.model_name}"))

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def check_may_view(self, request: HttpRequest) -> None:
        """Raise PermissionDenied; admin_site.admin_view asks only whether the user is staff."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        if request.method not in ("GET", "HEAD"):
            raise PermissionDenied(gettext("These pages are read-only."))
        if any("\0" in value for name in request.GET for value in request.GET.getlist(name)):
            raise BadRequest  # PostgreSQL has no such text

    def delete_view(self, *args: Any, **kwargs: Any) -> HttpResponse:
        raise PermissionDenied

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        from sqlmigrator.admin.changelist import DatabaseList

        return DatabaseList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).using(chosen_database(request))

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        self.check_may_view(request)
        database = chosen_database(request)
        context = self.page_context(request, self.page_title, database) | (extra_context or {})
        if trouble := self.trouble(database):
            return self.page(request, "trouble", context | {"trouble": trouble})
        return super().changelist_view(request, context)

    def trouble(self, database: str) -> Trouble | None:
        """Why the model cannot be queried in this database, if it cannot."""
        from sqlmigrator.runner import MigrationRunner

        try:
            return self.table_trouble(MigrationRunner(database).backend.tables())
        except SqlMigratorError as error:
            return Trouble.of(error)

    def table_trouble(self, tables: Tables) -> Trouble | None:
        """Why the model cannot be queried with these tables, if it cannot."""
        raise NotImplementedError

    def page_context(
        self, request: HttpRequest, title: object, database: str, *, here: str = ""
    ) -> dict[str, Any]:
        """What every template needs: title, navigation, choice of database."""
        aliases = configured_aliases()
        choice = [
            Link(alias, f"?{urlencode({DATABASE: alias})}", current=alias == database)
            for alias in aliases
        ]
        return {
            **self.admin_site.each_context(request),
            "title": title,
            "subtitle": None,
            "opts": self.opts,
            "database": database,
            "databases": choice if len(aliases) > 1 else (),
            "navigation": self._navigation(request, database),
        }

    def page(self, request: HttpRequest, name: str, context: dict[str, Any]) -> TemplateResponse:
        """One of our own templates."""
        if trouble := context.get("trouble"):
            context = context | {"trouble": trouble.aimed_at(context["database"])}
        request.current_app = self.admin_site.name
        return TemplateResponse(request, f"admin/sqlmigrator/{name}.html", context)

    def url(self, name: str, *args: str) -> str:
        """The address of one of our pages."""
        return reverse(f"admin:sqlmigrator_{name}", args=args, current_app=self.admin_site.name)

    def migration_url(self, version: str, database: str) -> str:
        """The page of one migration, whether it is applied or not."""
        return with_database(self.url("schemamigration_change", quote(version)), database)

    def _navigation(self, request: HttpRequest, database: str) -> Sequence[Link]:
        pages = []
        if request.user.has_perm("sqlmigrator.view_schemamigration"):
            pages += [
                (_("Overview"), self.url("overview")),
                (pgettext_lazy("migrations", "History"), self.url("schemamigration_changelist")),
                (_("Conflicts"), self.url("conflicts")),
            ]
        if may_see_attempts(request):
            pages.append((_("Attempts"), self.url("migrationattempt_changelist")))
        return [
            Link(text, with_database(url, database), current=request.path == url)
            for text, url in pages
        ]


def may_see_attempts(request: HttpRequest) -> bool:
    """Whether the user may see the journal."""
    return bool(request.user.has_perm("sqlmigrator.view_migrationattempt"))
