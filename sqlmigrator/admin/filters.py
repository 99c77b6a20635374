"""The filters of the changelists."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import Max, QuerySet, TextField, Value
from django.db.models.functions import Cast, Coalesce
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from sqlmigrator.admin.base import chosen_database
from sqlmigrator.admin.labels import (
    ACTIONS,
    AGE_LIMITS,
    AGES,
    ATTEMPT_STATES,
    ROW_STATES,
    Age,
    RowState,
)
from sqlmigrator.models import MigrationAttempt, SchemaMigration

_MOST_NAMES = 20


class AgeFilter(admin.SimpleListFilter):
    """The ages of the view migration_status."""

    title = _("age")
    parameter_name = "age"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return [(age.value, text) for age, text in AGES.items()]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[SchemaMigration]
    ) -> QuerySet[SchemaMigration] | None:
        if self.value() not in tuple(Age):
            return None
        now = timezone.now()
        ages = list(AGES)
        place = ages.index(Age(str(self.value())))
        if limit := AGE_LIMITS.get(ages[place]):
            queryset = queryset.filter(applied_at__gt=now - limit)
        if place:
            queryset = queryset.filter(applied_at__lte=now - AGE_LIMITS[ages[place - 1]])
        return queryset


class StateFilter(admin.SimpleListFilter):
    """The state of the rows; the whole folder has to be compared for it."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        known = [state for state in RowState if state is not RowState.UNKNOWN]
        return [(state.value, ROW_STATES[state].text) for state in known]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[SchemaMigration]
    ) -> QuerySet[SchemaMigration] | None:
        if self.value() not in tuple(RowState):
            return None
        # Here and in the other modules of the lists: what a page needs is imported for the page,
        # because Django imports the admin for every command.
        from sqlmigrator.admin.reading import read_once

        states = read_once(request, chosen_database(request)).states
        if not states:
            return queryset.none()  # the page says why
        wanted = RowState(str(self.value()))
        inside = [version for version, state in states.items() if state is wanted]
        outside = [version for version, state in states.items() if state is not wanted]
        # As the plan has it: an integer column, with or without NULL, is text there.
        queryset = queryset.alias(
            text=Coalesce(Cast("version", TextField()), Value("", TextField()))
        )
        if len(inside) <= len(outside):
            return queryset.filter(text__in=inside)
        return queryset.exclude(text__in=outside)


class AppliedByFilter(admin.SimpleListFilter):
    """Who applied it: the names seen last, because each deploy may have one of its own."""

    title = _("user")
    parameter_name = "by"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        if StateFilter.parameter_name in request.GET:
            return self._from_plan(request)
        rows = model_admin.get_queryset(request).exclude(applied_by=None).order_by()
        latest = rows.values("applied_by").annotate(last=Max("applied_at")).order_by("-last")
        return [(row["applied_by"], row["applied_by"]) for row in latest[:_MOST_NAMES]]

    def _from_plan(self, request: HttpRequest) -> list[tuple[str, str]]:
        """The same, without a query, where the rows have to be read anyway."""
        from sqlmigrator.admin.reading import read_once

        plan = read_once(request, chosen_database(request)).plan
        latest: dict[str, datetime] = {}
        for row in plan.history.records if plan else ():
            who, at = row.applied_by, row.applied_at
            if who and at and (who not in latest or at > latest[who]):
                latest[who] = at
        names = sorted(latest, key=lambda name: latest[name], reverse=True)
        return [(name, name) for name in names[:_MOST_NAMES]]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[SchemaMigration]
    ) -> QuerySet[SchemaMigration] | None:
        return queryset.filter(applied_by=self.value()) if self.value() else None


class AttemptStateFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return [(state.value, label.text) for state, label in ATTEMPT_STATES.items()]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[MigrationAttempt]
    ) -> QuerySet[MigrationAttempt] | None:
        return queryset.filter(state=self.value()) if self.value() else None


class ActionFilter(admin.SimpleListFilter):
    title = _("action")
    parameter_name = "action"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        return [(action.value, label.text) for action, label in ACTIONS.items()]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[MigrationAttempt]
    ) -> QuerySet[MigrationAttempt] | None:
        return queryset.filter(action=self.value()) if self.value() else None
