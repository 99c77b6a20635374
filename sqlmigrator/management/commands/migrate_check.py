"""`manage.py migrate_check`: what would be applied, and everything that stands against it."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from sqlmigrator.core import formats, report
from sqlmigrator.core.plan import Plan
from sqlmigrator.core.report import Line
from sqlmigrator.management.base import FINDINGS, PENDING, SqlMigratorCommand, add_format
from sqlmigrator.management.readiness import readiness
from sqlmigrator.management.rehearsal import rehearse
from sqlmigrator.runner import MigrationRunner


class Command(SqlMigratorCommand):
    help = "Shows what migrate_apply would do and every finding; reads only, changes nothing."

    def add_own_arguments(self, parser: CommandParser) -> None:
        self.documents: list[dict[str, Any]] = []
        add_format(parser, "text", "json", "github")
        add, way = parser.add_argument, parser.add_mutually_exclusive_group().add_argument
        text = "Look at the files only, without a database."
        way("--offline", action="store_true", help=text)
        text = "Apply the folder from zero to a scratch database, and drop that again."
        way("--rehearse", action="store_true", help=text)
        text = "For probes: compare names only, with one query."
        way("--readiness", action="store_true", help=text)
        text = "With --rehearse: start from a copy of the schema, apply what is pending."
        add("--pending", action="store_true", help=text)
        text = f"Exit with {PENDING} when migrations are pending."
        add("--fail-on-pending", action="store_true", help=text)
        text = f"Exit with {FINDINGS} on warnings too, not only on errors."
        add("--fail-on-warning", action="store_true", help=text)
        add("--allow-out-of-order", action="store_true", default=None)
        add("--ignore-missing", action="store_true", default=None)

    def config_overrides(self) -> dict[str, Any]:
        return {name: self.options[name] for name in ("allow_out_of_order", "ignore_missing")}

    def check_options(self) -> None:
        options = self.options
        if (options["rehearse"] or options["readiness"]) and options["format"] != "text":
            raise CommandError("--rehearse and --readiness print text only.", returncode=2)
        if options["pending"] and not options["rehearse"]:
            raise CommandError("--pending goes with --rehearse.", returncode=2)

    def run_on(self, runner: MigrationRunner) -> int:
        if self.options["rehearse"]:
            return rehearse(self, runner, copy_schema=self.options["pending"])
        if self.options["readiness"]:
            return readiness(self, runner)
        offline = self.options["offline"]
        plan = runner.check(offline=offline)
        if self.options["format"] == "json":
            self.documents.append(formats.plan_json(runner.database, plan))
        elif self.options["format"] == "github":
            for line in formats.github_lines(plan, formats.repository_root(plan.folder.path)):
                self.print_line(Line(line))
        else:
            everything = self.options["verbosity"] >= 2
            self.print_lines(report.check_lines(plan, everything=everything, offline=offline))
        return self._exit_code(plan)

    def finish(self) -> None:
        if self.options["format"] == "json":
            self.print_json(formats.document("migrate_check", self.documents))

    def _exit_code(self, plan: Plan) -> int:
        if plan.errors or (self.options["fail_on_warning"] and plan.warnings):
            return FINDINGS
        return PENDING if self.options["fail_on_pending"] and plan.pending else 0
