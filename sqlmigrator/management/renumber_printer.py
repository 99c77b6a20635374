"""What `migrate_renumber` says: renames as shell commands, and why some cannot be done."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator

from sqlmigrator.core.findings import aimed_at
from sqlmigrator.core.marking import move_records
from sqlmigrator.core.report import Line, change_lines
from sqlmigrator.exceptions import SqlMigratorError
from sqlmigrator.management.base import SqlMigratorCommand
from sqlmigrator.runner import MigrationRunner
from sqlmigrator.survey import Proposal


def rename_lines(proposal: Proposal, database: str) -> Iterator[Line]:
    """The renames for a shell in the current folder, the reasons as its comments."""
    folder = os.path.relpath(proposal.folder.path)
    if not proposal.renames:
        yield Line(f"# Nothing to rename in {folder}.")
        return
    for rename in proposal.renames:
        command = "git mv" if rename.source in proposal.tracked else "mv"
        old, new = (shlex.quote(f"{folder}/{name}") for name in (rename.source, rename.target))
        yield Line(f"# {rename.reason}")
        yield Line(f"{command} {old} {new}")
    yield Line("# A file moved to the end may be needed earlier on a fresh database:")
    text = "# `manage.py migrate_check --rehearse` tells. `--write` performs the renames."
    yield Line(aimed_at(database, text))


def record_moves(command: SqlMigratorCommand, runner: MigrationRunner) -> int:
    """`--record`: show the rows left behind by renumbered files, and move them."""
    changes = move_records(runner.status())
    command.print_line(command.database_line(runner.database))
    command.print_lines(change_lines(changes))
    if changes:
        runner.change_history(changes, "its file was renumbered after it was applied")
    moved = f"{len(changes)} row{'' if len(changes) == 1 else 's'}"
    command.print_line(Line(f"Moved {moved}." if changes else "No row to move."))
    return 0


def unmovable_error(proposal: Proposal) -> SqlMigratorError:
    """Of the files that share a number and are all applied: why none moves, and the way out."""
    groups = (
        "; ".join(f"{f.filename} is {proposal.applied[f.filename]}" for f in group)
        for group in proposal.unmovable
    )
    return SqlMigratorError(
        f"Nothing was renamed: {'. '.join(groups)}.",
        why="An applied file keeps its number, and only one can have it.",
        hint="Roll one of them back where it is applied: `manage.py migrate_rollback "
        f"{proposal.unmovable[0][0].version} --database …`. Or rename one by hand; then "
        "`manage.py migrate_renumber --record --database …` moves its row.",
    )
