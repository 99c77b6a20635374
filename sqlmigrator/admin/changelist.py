"""The lists: the rows of one database, and in the history the states of their files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest

from sqlmigrator.admin.base import DATABASE, chosen_database
from sqlmigrator.admin.filters import StateFilter
from sqlmigrator.admin.labels import RowState
from sqlmigrator.admin.reading import (
    partial_plan,
    read_once,
    read_texts,
    record_of,
    scan_folder,
    version_of,
)
from sqlmigrator.admin.states import row_states
from sqlmigrator.core.history import AttemptState
from sqlmigrator.core.plan import Plan
from sqlmigrator.exceptions import SqlMigratorError
from sqlmigrator.runner import MigrationRunner

_Row = Any  # a SchemaMigration with what is added here


class DatabaseList(ChangeList):
    """Accepts ?database=… as a choice that is no filter: clearing the filters keeps it."""

    def get_filters_params(self, params: dict[str, Any] | None = None) -> dict[str, Any]:
        found: dict[str, Any] = super().get_filters_params(params)
        found.pop(DATABASE, None)
        return found

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        # Leaves out "Show all" beside the search, which would go back to the first database.
        self.full_result_count = self.result_count


class AttemptList(DatabaseList):
    """Adds to each attempt whether its session is still there, and whether its page may be seen."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows: list[_Row] = list(self.result_list)
        running = {row.version for row in rows if row.state == AttemptState.RUNNING}
        runner = MigrationRunner(chosen_database(request))
        attempts = [a for version in running for a in runner.attempts(version)]
        alive = {attempt.id for attempt in attempts if attempt.alive}
        may_open = request.user.has_perm("sqlmigrator.view_schemamigration")
        for row in rows:
            row.alive = row.pk in alive
            row.may_be_opened = may_open
        self.result_list = rows


class HistoryList(DatabaseList):
    """Adds the state of each row on the page, and the longest duration on it."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows: list[_Row] = list(self.result_list)
        states = self._states(request, rows)
        slowest = max((row.execution_time_ms or 0 for row in rows), default=0)
        for row in rows:
            row.state = states.get(version_of(row), RowState.UNKNOWN)
            row.slowest_ms = slowest
        self.result_list = rows

    def _states(self, request: HttpRequest, rows: list[_Row]) -> Mapping[str, RowState]:
        if StateFilter.parameter_name in request.GET:
            reading = read_once(request, chosen_database(request))
            states, error = reading.states, reading.error
        else:
            plan, error = _plan_of(rows, chosen_database(request))
            states = row_states(plan) if plan else {}
        if error is not None:
            messages.warning(request, f"{error.message} {error.hint}")
        return states

    def url_for_result(self, result: Any) -> str:
        model_admin: Any = self.model_admin
        database = result._state.db or ""
        url: str = model_admin.migration_url(str(result.version), database)
        return url


def _plan_of(rows: list[_Row], database: str) -> tuple[Plan | None, SqlMigratorError | None]:
    """The plan of these rows alone, or why their files cannot be looked at."""
    runner = MigrationRunner(database)
    folder, error = scan_folder(runner.config)
    if error is not None:
        return None, error
    records = [record_of(row) for row in rows]
    numbers = {record.number for record in records if record.number is not None}
    files = [text.file for text in read_texts(folder, numbers)]
    return partial_plan(runner, folder, files, records), None
