"""`manage.py migrate_mark`: the only door to the history by hand."""

from __future__ import annotations

from collections.abc import Sequence

from django.core.management.base import CommandParser

from sqlmigrator.core import marking
from sqlmigrator.core.history import Change
from sqlmigrator.core.plan import Plan
from sqlmigrator.core.report import Line, Role, change_lines
from sqlmigrator.exceptions import ConfigurationError
from sqlmigrator.management.base import SqlMigratorCommand
from sqlmigrator.runner import MigrationRunner


class Command(SqlMigratorCommand):
    help = "Changes what the history says without running a migration; needs a reason."

    def add_own_arguments(self, parser: CommandParser) -> None:
        group = parser.add_mutually_exclusive_group(required=True)
        add = group.add_argument
        add("--applied", nargs="+", metavar="VERSION", help="Record as applied, without running.")
        add("--all", action="store_true", help="Record every file that is pending: a baseline.")
        add("--to", metavar="VERSION", help="The same, up to and including VERSION.")
        add("--unapplied", nargs="+", metavar="VERSION", help="Remove from the history.")
        add("--accept-checksum", nargs="+", metavar="VERSION", help="Take the file as it is now.")
        add("--fill-checksums", action="store_true", help="Into the rows that have none.")
        parser.add_argument("--reason", required=True, help="Why; it stands in the journal.")
        parser.add_argument("--applied-by", metavar="NAME", help="Who says so.")
        parser.add_argument("--dry-run", action="store_true", help="Show the change, do nothing.")

    def config_overrides(self) -> dict[str, str | None]:
        return {"applied_by": self.options["applied_by"]}

    def run_on(self, runner: MigrationRunner) -> int:
        if not self.options["reason"].strip():
            raise ConfigurationError("--reason is empty.", hint="Say why; the journal keeps it.")
        changes = self._changes(runner.status())
        self.print_line(self.database_line(runner.database))
        self.print_lines(change_lines(changes))
        if not changes:
            self.print_line(Line("Nothing to change."))
        elif self.options["dry_run"]:
            self.print_line(Line("Dry run: nothing was changed."))
        else:
            runner.change_history(changes, self.options["reason"])
            self.print_line(Line(f"Changed {len(changes)} in the history.", Role.GOOD))
        return 0

    def _changes(self, plan: Plan) -> Sequence[Change]:
        options = self.options
        if options["applied"]:
            return marking.mark_applied(plan, options["applied"])
        if options["unapplied"]:
            return marking.mark_unapplied(plan, options["unapplied"])
        if options["accept_checksum"]:
            return marking.accept_checksums(plan, options["accept_checksum"])
        if options["fill_checksums"]:
            return marking.fill_checksums(plan)
        return marking.mark_all_applied(plan, options["to"])
