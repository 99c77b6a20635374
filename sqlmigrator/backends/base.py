"""What the runner asks of a database: the seam for other databases than PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from importlib import util
from typing import TYPE_CHECKING, Protocol

from django.db import connections

from sqlmigrator.conf import Config
from sqlmigrator.core.files import MigrationFile
from sqlmigrator.core.findings import Finding
from sqlmigrator.core.history import Attempt, Change, History, Tables
from sqlmigrator.exceptions import ConfigurationError, DatabaseRefused, DatabaseUnavailable

if TYPE_CHECKING:
    from sqlmigrator.core.content import Content
    from sqlmigrator.core.rollback import RollbackJob
    from sqlmigrator.events import OnEvent, Stop
    from sqlmigrator.results import Failure


class SessionLost(DatabaseUnavailable):
    """The run's session ended under it, and with it the lock; the run may go on in a new one.

    `may_run_again` tells that the session was ended from outside: what was rolled back with it
    is no danger to the server.
    """

    may_run_again = False
    sqlstate = ""


class Session(Protocol):
    """A dedicated session that may change the database. Close it when done.

    Every method may raise SessionLost; `recover()` goes on in a new session then, and what was
    planned must be planned again: another runner may have held the lock in between.
    """

    def acquire_lock(self) -> None:
        """Take the migration lock. Raises LockNotObtained."""

    def history(self) -> History:
        """Read the history anew, on this session."""

    def prepare(self) -> None:
        """Make the journal where it is missing; raise DatabaseRefused where rights are missing."""

    def apply(self, file: MigrationFile, content: Content) -> int:
        """Apply one file with its rows; return the server's time in milliseconds.

        Raises AttemptFailed, Interrupted.
        """

    def apply_together(self, files: list[tuple[MigrationFile, Content]]) -> tuple[int, ...]:
        """Apply all files in one transaction, or none; return their times in milliseconds."""

    def resume(self, file: MigrationFile, content: Content, attempt: Attempt) -> int:
        """Go on with an interrupted no-transaction file; return the time in milliseconds."""

    def recover(self, doing: str) -> None:
        """After SessionLost: open a new session and take the lock, which proves that the old one
        has ended. `doing` says for people what was going on. Raises OutcomeUnknown.
        """

    def committed(self, files: Sequence[MigrationFile]) -> tuple[int, ...] | None:
        """The times (ms) of `files` if the lost session had committed them, else None."""

    def note_lost(self, file: MigrationFile, lost: SessionLost) -> Failure:
        """Put the lost attempt into the journal and describe it."""

    def roll_back(self, job: RollbackJob) -> int:
        """Run a reverse file and remove the row, in one transaction; the time in milliseconds."""

    def change_history(self, changes: Sequence[Change], reason: str) -> None:
        """Make all changes with their journal rows in one transaction, or none.

        Raises DatabaseRefused where a row is no longer what a change says it was.
        """

    def close(self) -> None:
        """End the session and with it the lock."""


class Backend(Protocol):
    """Reading, on Django's own connection; and a session for everything that changes things."""

    def history(self) -> History:
        """What is applied. Never creates anything; a missing table means nothing is applied."""

    def tables(self) -> Tables:
        """Which tables are there; raises as history() does."""

    def names(self) -> History:
        """Like history(), but only versions and names, with one query."""

    def attempts(self, version: str | None = None, limit: int | None = None) -> tuple[Attempt, ...]:
        """The journal, newest first."""

    def django_migrations(self) -> set[tuple[str, str]]:
        """The (app label, name) pairs of Django's own applied migrations."""

    def check_syntax(self, files: Iterable[tuple[MigrationFile, Content]]) -> list[Finding]:
        """Let the server parse the files without running anything of them."""

    def scratch_database(
        self, config: Config, *, copy_schema: bool, apart: str | None = None
    ) -> AbstractContextManager[Config]:
        """A new database for a rehearsal, dropped afterwards; yields the Config that leads there.

        `copy_schema` fills it with the schema and the history of the configured database. `apart`
        names a statement that must not reach that database's server.
        """

    def open_session(self, config: Config, on_event: OnEvent, stop: Stop) -> Session:
        """Open the session for a run. Raises DatabaseUnavailable, DatabaseRefused."""


def get_backend(alias: str) -> Backend:
    """The backend for `alias`, by the vendor of its connection (PostGIS is PostgreSQL too).

    Raises DatabaseRefused for any other database.
    """
    connection = connections[alias]
    if connection.settings_dict["ENGINE"] == "django.db.backends.dummy":
        raise not_configured(alias, "settings.DATABASES names no ENGINE")
    if connection.vendor != "postgresql":
        raise DatabaseRefused(
            f"The database {alias!r} is {connection.display_name}, not PostgreSQL.",
            why="sqlmigrator runs SQL files on PostgreSQL only.",
            hint="Leave this alias out of SQLMIGRATOR, and use `manage.py migrate` for it.",
        )
    if util.find_spec("psycopg") is None:  # Django itself is content with psycopg2
        raise DatabaseRefused(
            "sqlmigrator needs psycopg 3; here is only psycopg2.",
            hint='`python -m pip install "sqlmigrator[postgres]"`. Django uses psycopg 3, too, as '
            "soon as it is installed.",
        )
    from sqlmigrator.backends.postgresql import PostgreSQLBackend

    return PostgreSQLBackend(alias)


def not_configured(alias: str, reason: object) -> ConfigurationError:
    """The error for an alias whose connection settings are missing."""
    return ConfigurationError(
        f"The database {alias!r} is not configured: {reason}.",
        hint="Set ENGINE, NAME, HOST, USER and PASSWORD in settings.DATABASES (or DATABASE_URL).",
    )
