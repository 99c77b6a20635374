"""`migrate_check --readiness`: may this container serve? One query and the names of the files."""

from __future__ import annotations

from sqlmigrator.core.plan import State
from sqlmigrator.core.report import Line, Role
from sqlmigrator.management.base import FINDINGS, PENDING, SqlMigratorCommand
from sqlmigrator.runner import MigrationRunner


def readiness(command: SqlMigratorCommand, runner: MigrationRunner) -> int:
    """Tell in one line, or a line for each finding, and return the exit code."""
    plan = runner.readiness()
    if plan.errors:
        for finding in plan.errors:
            command.print_line(Line(f"Diverged: {finding.message}.", Role.BAD))
        return FINDINGS
    if plan.pending:
        count, first = len(plan.pending), plan.pending[0].filename
        more = f", from {first} on" if count > 1 else f": {first}"
        command.print_line(
            Line(f"Pending: {count} migration{'s' * (count > 1)}{more}.", Role.WARNING)
        )
        return PENDING
    ahead = ", and ahead of this folder" if plan.count(State.AHEAD) else ""
    command.print_line(Line(f"Ready: the database is up to date{ahead}.", Role.GOOD))
    return 0
