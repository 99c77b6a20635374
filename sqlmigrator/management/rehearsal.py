"""`migrate_check --rehearse`: does the folder still work on a fresh database?"""

from __future__ import annotations

from sqlmigrator.core.report import Line, Role
from sqlmigrator.exceptions import Interrupted, PlanRefused
from sqlmigrator.management.base import SqlMigratorCommand, stop_on_signals
from sqlmigrator.runner import MigrationRunner
from sqlmigrator.stopping import Stop


def rehearse(command: SqlMigratorCommand, runner: MigrationRunner, *, copy_schema: bool) -> int:
    """Rehearse on a scratch database, tell how it went, and return the exit code."""
    from sqlmigrator.management.apply_printer import ApplyPrinter
    from sqlmigrator.results import MigrationFailed

    verbosity = command.options["verbosity"]
    printer = ApplyPrinter(command, verbosity if verbosity != 1 else 0)
    stop = Stop()
    try:
        with stop_on_signals(stop):
            result = runner.rehearse(copy_schema=copy_schema, on_event=printer, stop=stop)
    except Interrupted as stopped:
        stopped.hint = ""  # nothing is there to be resumed
        raise
    except PlanRefused as refused:
        printer.findings(refused.findings)
        raise
    except MigrationFailed as failed:
        command.tell("The rehearsal failed; the scratch database was dropped.", Role.BAD)
        printer.failure(failed.result, f"migrate_check --rehearse{' --pending' * copy_schema}")
        return failed.exit_code
    start = "a copy of the schema" if copy_schema else "an empty database"
    count = len(result.applied)
    text = f"Rehearsed {count} migration{'' if count == 1 else 's'} from {start}: all applied."
    command.print_line(Line(text, Role.GOOD))
    if result.not_tried:
        names = ", ".join(result.not_tried)
        command.print_line(
            Line(f"Left out, for want of Django's own migrations: {names}.", Role.WARNING)
        )
    return 0
