"""`manage.py migrate_apply`: apply what is pending."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from sqlmigrator.core.report import Line, Role
from sqlmigrator.exceptions import PlanRefused
from sqlmigrator.management.apply_printer import ApplyPrinter
from sqlmigrator.management.base import SqlMigratorCommand, duration, stop_on_signals
from sqlmigrator.results import MigrationFailed
from sqlmigrator.runner import MigrationRunner
from sqlmigrator.stopping import Stop


class Command(SqlMigratorCommand):
    help = "Applies the pending migrations in order and stops at the first failure."
    stops_at_first_failure = True

    def add_own_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("--plan", action="store_true", help="Print the order and the SQL; run nothing.")
        add("--to", metavar="VERSION", help="Apply up to and including this version.")
        add("--single-transaction", action="store_true", help="All pending files or none.")
        add("--resume", action="store_true", help="Go on with an interrupted migration.")
        add("--allow-out-of-order", action="store_true", default=None)
        add("--ignore-missing", action="store_true", default=None)
        add("--applied-by", metavar="NAME", help="Who applies; else the setting, else user@host.")
        add("--lock-wait", type=duration, metavar="TIME", help="Wait for another runner: 10min.")
        add("--lock-timeout", type=duration, metavar="TIME", help="Each wait for a table: 500ms.")
        add("--statement-timeout", type=duration, metavar="TIME", help="0 is no limit.")
        add("--noinput", "--no-input", action="store_true", help="Accepted; it never asks.")

    def config_overrides(self) -> dict[str, Any]:
        names = ("allow_out_of_order", "ignore_missing", "applied_by")
        times = ("lock_wait", "lock_timeout", "statement_timeout")
        return {name: self.options[name] for name in names} | {
            f"{name}_ms": self.options[name] for name in times
        }

    def run_on(self, runner: MigrationRunner) -> int:
        printer = ApplyPrinter(self, self.options["verbosity"])
        stop = Stop()
        try:
            if self.options["plan"]:
                return printer.plan(runner.check(to=self.options["to"]))
            with stop_on_signals(stop):
                result = runner.apply(
                    to=self.options["to"],
                    single_transaction=self.options["single_transaction"],
                    resume=self.options["resume"],
                    on_event=printer,
                    stop=stop,
                )
        except PlanRefused as refused:
            printer.findings(refused.findings)
            raise
        except MigrationFailed as failed:
            printer.failure(failed.result)
            return failed.exit_code
        finally:
            printer.end_line()
        if self.options["verbosity"]:
            self.print_line(Line(printer.closing(result), Role.GOOD))
        return 0
