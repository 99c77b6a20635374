"""`manage.py migrate_renumber`: the way out of version conflicts, as renames."""

from __future__ import annotations

from pathlib import Path

from django.core.management.base import CommandParser

from sqlmigrator.core import report
from sqlmigrator.core.report import Line, Role
from sqlmigrator.exceptions import DatabaseUnavailable
from sqlmigrator.management.base import FINDINGS, SqlMigratorCommand
from sqlmigrator.management.renumber_printer import record_moves, rename_lines, unmovable_error
from sqlmigrator.renaming import rename_all
from sqlmigrator.runner import MigrationRunner
from sqlmigrator.survey import propose_renames


class Command(SqlMigratorCommand):
    help = (
        "Shows, as shell commands with their reasons, the renames that give every migration a "
        "number of its own; --write performs them. An applied file keeps its number."
    )

    def add_own_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("files", nargs="*", metavar="FILE", help="Give these the next free numbers too.")
        add("--write", action="store_true", help="Rename: all of it or nothing.")
        add("--record", action="store_true", help="Move the rows of files renumbered when applied.")
        add(
            "--ignore-unreachable",
            action="store_true",
            help="Rename although what is applied in some database is not known.",
        )
        self.seen: set[Path] = set()

    def run_on(self, runner: MigrationRunner) -> int:
        if self.options["record"]:
            return record_moves(self, runner)
        if runner.config.directory in self.seen:  # --all-databases, and they share it
            return 0
        self.seen.add(runner.config.directory)
        names = [Path(name).name for name in self.options["files"]]
        everywhere = self.options["directory"] is not None
        proposal = propose_renames(runner, names, everywhere=everywhere)
        for alias, error in proposal.survey.unreadable.items():
            self.tell(f"What is applied in {alias!r} is not known: {error.message}", Role.WARNING)
        self.print_lines(rename_lines(proposal, runner.database))
        if proposal.unmovable:
            raise unmovable_error(proposal)
        if not self.options["write"] or not proposal.renames:
            return 0
        unknown = ", ".join(proposal.survey.unreadable)
        if unknown and not self.options["ignore_unreachable"]:
            raise DatabaseUnavailable(
                f"Nothing was renamed: what is applied in {unknown} is not known.",
                why="A file that is applied there would run a second time.",
                hint="Make it reachable, or pass --ignore-unreachable.",
            )
        rename_all(proposal.folder.path, proposal.renames)
        self.print_line(Line(f"# Renamed {len(proposal.renames)}.", Role.GOOD))
        return self._check(runner, offline=runner.database not in proposal.survey.records)

    def _check(self, runner: MigrationRunner, *, offline: bool) -> int:
        plan = runner.check(offline=offline)
        everything = self.options["verbosity"] >= 2
        self.print_lines(report.check_lines(plan, everything=everything, offline=offline))
        return FINDINGS if plan.errors else 0
