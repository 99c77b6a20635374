"""Histories to look at: a clean one, and one in which most things have gone wrong."""

import contextlib
import os
import subprocess
from pathlib import Path

from sqlmigrator.results import MigrationFailed
from sqlmigrator.runner import MigrationRunner
from tests.support import ROOT, Database, Folder

FAILING = """\
-- Migration: add priority
-- Version: 008
-- Date: 2025-10-20
-- Description: Which requests come first.

ALTER TABLE requests ADD COLUMN priority integer NOT NULL DEFAULT 0;

CREATE INDEX requests_priority_idx ON requests (prioritty);

COMMENT ON COLUMN requests.priority IS 'Higher numbers come first';
"""
ROUNDED = """\
-- Migration: add rounded to quantity
-- Version: 005
-- Date: 2025-10-09
-- Description: Written on another branch, with a number that was taken meanwhile.

ALTER TABLE requests ADD COLUMN rounded_to numeric;

COMMENT ON COLUMN requests.rounded_to IS 'The step to which quantities are rounded';
"""
ARCHIVE = """\
-- Migration: index archive
-- sqlmigrator: no-transaction
-- sqlmigrator: lock_timeout=2s

CREATE INDEX CONCURRENTLY requests_archive_idx ON requests (created_at) WHERE status = 'closed';
"""


def write_example(folder: Folder) -> None:
    """Copy the example's migrations."""
    for path in sorted((ROOT / "migrations_sql").glob("*.sql")):
        folder.write(path.name, path.read_bytes())


def apply_example(folder: Folder, database: str = "default") -> None:
    """Apply the example's migrations: nothing is wrong afterwards."""
    write_example(folder)
    MigrationRunner(database).apply()


def commit(path: Path, message: str) -> None:
    """Commit everything in `path`, which becomes a repository where it is none."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(path),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "A",
        "GIT_AUTHOR_EMAIL": "a@example.org",
        "GIT_COMMITTER_NAME": "A",
        "GIT_COMMITTER_EMAIL": "a@example.org",
    }
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", message]):
        subprocess.run(["git", *command], cwd=path, env=environment, check=True)


def edit(path: Path, before: str, after: str) -> None:
    """Replace `before`, which must be there, in a file."""
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def make_trouble(folder: Folder) -> None:
    """Apply the example, then: 008 fails, 003 is edited, 004 deleted, 005 there twice, 002 has no
    checksum, 009 is pending without a transaction, 010b is misnamed, notes.sql strays.
    """
    apply_example(folder)
    folder.write("008_add_priority.sql", FAILING)
    with contextlib.suppress(MigrationFailed):
        MigrationRunner().apply()
    commit(folder.path, "What ran")
    edit(
        folder.path / "003_create_messages.sql",
        "body text NOT NULL",
        "body text NOT NULL DEFAULT ''",
    )
    (folder.path / "004_touch_requests.sql").unlink()
    folder.write("005_add_rounded_to_quantity.sql", ROUNDED)
    folder.write("009_index_archive.sql", ARCHIVE)
    folder.write("010b_backfill.sql", "UPDATE requests SET rounded_to = 1;\n")
    folder.write("notes.sql", "SELECT 'to be done';\n")


def forget_checksum(database: Database, version: str) -> None:
    """Make a row as if it had been written by hand."""
    database.execute(
        f"UPDATE schema_migrations SET checksum = NULL, execution_time_ms = NULL,"
        f" applied_by = 'manual' WHERE version = '{version}'"
    )


def spread_over_months(database: Database) -> None:
    """The example's rows as a year of deploys would have left them: for the guide's pictures."""
    for version, age, milliseconds, who in (
        ("001", "338 days 5 hours 12 min", 41, "anna@laptop"),
        ("002", "338 days 5 hours 11 min", 212, "anna@laptop"),
        ("003", "251 days 9 hours 40 min", 187, "deploy@ci"),
        ("004", "96 days 3 hours 27 min", 9, "deploy@ci"),
        ("005", "23 days 6 hours 2 min", 1840, "deploy@ci"),
        ("006", "5 days 11 hours 48 min", 655, "deploy@ci"),
        ("007", "4 hours 33 min", 3270, "deploy@ci"),
    ):
        database.execute(
            f"UPDATE schema_migrations SET applied_at = now() - interval '{age}',"
            f" execution_time_ms = {milliseconds}, applied_by = '{who}'"
            f" WHERE version = '{version}'"
        )
