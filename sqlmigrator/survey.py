"""What is applied in any of the configured databases, and the renames that follow from it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from django.db import connections

from sqlmigrator import git
from sqlmigrator.conf import configured_aliases, get_config
from sqlmigrator.core.files import Folder, MigrationFile, discover
from sqlmigrator.core.history import AppliedRecord
from sqlmigrator.core.renumber import Rename, propose, unmovable, where_applied
from sqlmigrator.exceptions import DatabaseRefused, DatabaseUnavailable, SqlMigratorError
from sqlmigrator.renaming import with_reverses
from sqlmigrator.runner import MigrationRunner


@dataclass(frozen=True, slots=True)
class Survey:
    """The history rows of each database that could be asked, and why the others could not."""

    records: Mapping[str, tuple[AppliedRecord, ...]]
    unreadable: Mapping[str, SqlMigratorError]

    @property
    def rows(self) -> tuple[AppliedRecord, ...]:
        return tuple(row for rows in self.records.values() for row in rows)


@dataclass(frozen=True, slots=True)
class Proposal:
    """How the files of `folder` get a number each.

    `applied` says of file names where they are applied; `unmovable` holds the files that share a
    number and are all applied; `tracked` are the names that git knows.
    """

    folder: Folder
    survey: Survey
    renames: tuple[Rename, ...]
    applied: Mapping[str, str]
    unmovable: tuple[tuple[MigrationFile, ...], ...]
    tracked: Collection[str]


def survey(runner: MigrationRunner, *, everywhere: bool = False) -> Survey:
    """Ask the databases that share the runner's folder, or `everywhere` all configured ones.

    A database that is not PostgreSQL holds none of these migrations and is left out.
    """
    folder = runner.config.directory.resolve()
    records, unreadable = {}, {}
    for alias in configured_aliases():
        if connections[alias].vendor != "postgresql":
            continue
        asked = alias == runner.database or everywhere
        if not asked and get_config(alias).directory.resolve() != folder:
            continue
        try:
            records[alias] = MigrationRunner(alias).backend.history().records
        except (DatabaseUnavailable, DatabaseRefused) as error:
            unreadable[alias] = error
    return Survey(records, unreadable)


def propose_renames(
    runner: MigrationRunner, moving: Collection[str] = (), *, everywhere: bool = False
) -> Proposal:
    """What `migrate_renumber` would do; `moving` names files that get a new number in any case.

    Raises ConfigurationError for a name that the folder has not, SqlMigratorError for an applied
    file.
    """
    found = survey(runner, everywhere=everywhere)
    folder = discover(runner.config.directory, needs_content=lambda file: False)
    applied = where_applied(folder.files, found.records)
    stuck = unmovable(folder, applied, moving)
    commits = git.first_commits(folder.path)
    renames = propose(folder, found.rows, applied, commits, moving)
    return Proposal(
        folder,
        found,
        with_reverses(folder.path, renames),
        applied,
        tuple(tuple(group) for group in stuck),
        git.index_entries(folder.path),
    )
