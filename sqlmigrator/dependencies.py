"""Files that depend on Django's migrations, applied around Django's own `migrate`."""

from __future__ import annotations

from django.db.migrations.loader import MigrationLoader

from sqlmigrator.core import findings as rules
from sqlmigrator.core.files import Folder
from sqlmigrator.results import ApplyResult
from sqlmigrator.runner import MigrationRunner


def apply_unblocked(runner: MigrationRunner, to: str | None = None) -> ApplyResult:
    """Apply the pending files, as far as `to`, that come before the first unmet `depends`.

    Raises what MigrationRunner.apply() raises.
    """
    plan = runner.status(to=to)
    unmet = {finding.file for finding in plan.findings if finding.rule is rules.DEPENDENCY}
    free: str | None = None
    for entry in plan.pending:
        if entry.file and str(entry.file.path) in unmet:
            return runner.apply(to=free) if free else ApplyResult(runner.database)
        free = entry.version
    return runner.apply(to=to)


class RunnerAfterDjango(MigrationRunner):
    """A runner for which dependencies on apps whose Django migrations are switched off are met.

    `pytest --nomigrations`, TEST["MIGRATE"] and MIGRATION_MODULES switch them off: the tables were
    made from the models then, and nothing is recorded.
    """

    def _django_migrations(
        self, folder: Folder, offline: bool = False
    ) -> set[tuple[str, str]] | None:
        applied = super()._django_migrations(folder, offline)
        if applied is None:
            return None
        wanted = {pair for file in folder.files for pair in file.directives.depends}
        return applied | {pair for pair in wanted if migrations_are_off(pair[0])}


def migrations_are_off(app_label: str) -> bool:
    """Whether MIGRATION_MODULES says that this app has no migrations."""
    try:
        module, _ = MigrationLoader.migrations_module(app_label)
    except LookupError:  # no such app
        return False
    return module is None
