"""`manage.py migrate_new NAME`: a new, empty migration with the next free number."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from django.core.management.base import CommandParser

from sqlmigrator.core import template
from sqlmigrator.core.files import REVERSE_SUFFIX, scan
from sqlmigrator.core.findings import aimed_at
from sqlmigrator.core.renumber import next_version
from sqlmigrator.core.report import Line
from sqlmigrator.exceptions import SqlMigratorError
from sqlmigrator.management.base import SqlMigratorCommand
from sqlmigrator.runner import MigrationRunner
from sqlmigrator.survey import survey


class Command(SqlMigratorCommand):
    help = "Writes NNN_NAME.sql with the next free number and a header, and prints its path."

    def add_own_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("name", metavar="NAME", help="Lower-case words joined by underscores: add_inbox.")
        add("--no-transaction", action="store_true", help="Add the directive no-transaction.")
        add("--with-down", action="store_true", help="Write NNN_NAME.down.sql, the reverse, too.")
        self.seen: set[Path] = set()

    def run_on(self, runner: MigrationRunner) -> int:
        name, directory = self.options["name"], runner.config.directory
        template.check_name(name)
        if directory in self.seen:  # --all-databases, and they share it
            return 0
        self.seen.add(directory)
        folder = scan(directory)
        found = survey(runner, everywhere=self.options["directory"] is not None)
        for alias, error in found.unreadable.items():
            self.tell(f"The numbers used in {alias!r} are not known: {error.message}")
        version = next_version(folder, found.rows)
        path = directory / f"{version}_{name}.sql"
        text = template.migration_text(
            version,
            name,
            datetime.now(UTC).date(),
            no_transaction=self.options["no_transaction"],
        )
        files = {path: text}
        if self.options["with_down"]:
            files[path.with_suffix(REVERSE_SUFFIX)] = template.reverse_text(version, name)
        _create(files)
        for created in files:
            self.print_line(Line(os.path.relpath(created)))
        self.tell(aimed_at(runner.database, "Write the SQL, then run `manage.py migrate_check`."))
        return 0


def _create(files: dict[Path, str]) -> None:
    """Create all files or none; never overwrite one. Raises SqlMigratorError."""
    created: list[Path] = []
    try:
        for path, text in files.items():
            with path.open("x", encoding="utf-8", newline="\n") as stream:
                created.append(path)
                stream.write(text)
    except OSError as error:
        for made in created:
            made.unlink()
        hint = "Check the folder and its permissions."
        if isinstance(error, FileExistsError):  # a number is taken in a race, a reverse was there
            is_reverse = path.name.endswith(REVERSE_SUFFIX)
            hint = "Delete it, or give it a migration." if is_reverse else "Run it again."
        raise SqlMigratorError(f"{path} cannot be created: {error.strerror}.", hint=hint) from None
