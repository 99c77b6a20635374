"""`manage.py migrate_rollback`: run a reverse file and remove its migration from the history."""

from __future__ import annotations

import shlex
from pathlib import Path

from django.core.management.base import CommandParser

from sqlmigrator.core.durations import format_duration
from sqlmigrator.core.report import Line, Role, history_lines
from sqlmigrator.core.rollback import plan_rollback
from sqlmigrator.events import Stop
from sqlmigrator.exceptions import PlanRefused
from sqlmigrator.management.apply_printer import ApplyPrinter
from sqlmigrator.management.base import SqlMigratorCommand, stop_on_signals
from sqlmigrator.results import MigrationFailed
from sqlmigrator.runner import MigrationRunner


class Command(SqlMigratorCommand):
    help = "Runs NNN_name.down.sql and removes the migration from the history, in one transaction."

    def add_own_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("version", help="The migration; only the latest one without --force.")
        parser.add_argument("--sql", type=Path, metavar="FILE", help="Run this file instead.")
        parser.add_argument("--force", action="store_true", help="Even if it is not the latest.")
        parser.add_argument("--plan", action="store_true", help="Print the SQL; run nothing.")
        parser.add_argument("--applied-by", metavar="NAME", help="Who does it.")

    def config_overrides(self) -> dict[str, str | None]:
        return {"applied_by": self.options["applied_by"]}

    def run_on(self, runner: MigrationRunner) -> int:
        options = self.options
        printer = ApplyPrinter(self, options["verbosity"])
        version = options["version"]
        job = plan_rollback(runner.status(), version, options["sql"], force=options["force"])
        self.print_line(self.database_line(runner.database))
        self.print_lines(history_lines(runner.attempts(job.record.version)))
        if options["plan"]:
            return printer.sql(job.file.path)
        stop = Stop()
        try:
            with stop_on_signals(stop):
                time_ms = runner.roll_back(job, on_event=printer, stop=stop)
        except PlanRefused as refused:
            printer.findings(refused.findings)
            raise
        except MigrationFailed as failed:
            printer.failure(failed.result, self._again())
            return failed.exit_code
        name = f"{job.record.version}_{job.file.name}"
        self.print_line(Line(f"Rolled back {name} in {format_duration(time_ms)}.", Role.GOOD))
        return 0

    def _again(self) -> str:
        sql, force = self.options["sql"], self.options["force"]
        return (
            f"migrate_rollback {self.options['version']}"
            + (f" --sql {shlex.quote(str(sql))}" if sql else "")
            + (" --force" if force else "")
        )
