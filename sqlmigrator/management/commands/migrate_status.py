"""`manage.py migrate_status`: every migration with its state, and the history."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from sqlmigrator.core import formats, report
from sqlmigrator.management.base import SqlMigratorCommand, add_format
from sqlmigrator.runner import MigrationRunner


class Command(SqlMigratorCommand):
    help = "Shows every migration with its state, and what is known of the applied ones."

    def add_own_arguments(self, parser: CommandParser) -> None:
        self.documents: list[dict[str, Any]] = []
        add_format(parser, "text", "json")
        group = parser.add_mutually_exclusive_group()
        group.add_argument("--pending", action="store_true", help="Only what waits.")
        group.add_argument(
            "--history", action="store_true", help="The journal of attempts, newest first."
        )

    def run_on(self, runner: MigrationRunner) -> int:
        if self.options["history"]:
            self._show_history(runner)
            return 0
        plan = runner.status()
        if self.options["format"] == "json":
            self.documents.append(formats.plan_json(runner.database, plan))
        else:
            self.print_lines(report.status_lines(plan, only_pending=self.options["pending"]))
        return 0

    def _show_history(self, runner: MigrationRunner) -> None:
        attempts = runner.attempts()
        if self.options["format"] == "json":
            rows = [formats.attempt_json(attempt) for attempt in attempts]
            self.documents.append({"database": runner.database, "attempts": rows})
        else:
            self.print_lines(report.history_lines(attempts))

    def finish(self) -> None:
        if self.options["format"] == "json":
            self.print_json(formats.document("migrate_status", self.documents))
