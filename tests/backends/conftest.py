"""The engine under test, on both ways of sending a file."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from sqlmigrator.backends.base import Backend
from sqlmigrator.backends.postgresql import PostgreSQLBackend
from sqlmigrator.backends.postgresql.session import PostgreSQLSession
from sqlmigrator.conf import Config, get_config
from sqlmigrator.core.files import discover
from sqlmigrator.events import Event, OnEvent, Stop
from sqlmigrator.results import ApplyResult, AttemptFailed, Failure, MigrationFailed
from sqlmigrator.runner import MigrationRunner
from tests.support import Database, Folder, maintenance_connection


class StatementPathBackend(PostgreSQLBackend):
    """Sends every file statement by statement, as it does one with COPY data."""

    def open_session(self, config: Config, on_event: OnEvent, stop: Stop) -> PostgreSQLSession:
        session = super().open_session(config, on_event, stop)
        session._context.statement_path = True
        return session


class StatementPathRunner(MigrationRunner):
    @property
    def backend(self) -> Backend:
        return StatementPathBackend(self.database)


@dataclass
class Engine:
    """A database with the tracking table, a folder, and the runner class to use on them."""

    database: Database
    folder: Folder
    runner: type[MigrationRunner]
    events: list[Event] = field(default_factory=list)

    def apply(self, *texts: str | bytes, **config: object) -> ApplyResult:
        """Add files with the next numbers and apply all that is pending."""
        for text in texts:
            number = len(list(self.folder.path.glob("*.sql"))) + 1
            self.folder.write(f"{number:03d}_file.sql", text)
        return self.runner(config=get_config(**config)).apply(on_event=self.events.append)

    def fail(self, text: str | bytes, **config: object) -> Failure:
        """Apply a file that fails, take it away again, and return how it failed."""
        with pytest.raises(MigrationFailed) as caught:
            self.apply(text, **config)
        failure = caught.value.result.failure
        assert failure is not None
        (self.folder.path / failure.filename).unlink()
        return failure

    def force(self, text: str) -> Failure:
        """Run a file that the plan would refuse, with the static checks off, until it fails."""
        path = self.folder.write("900_forced.sql", text)
        file = discover(self.folder.path, needs_content=lambda file: True).files[-1]
        session = self.runner().backend.open_session(get_config(), self.events.append, Stop())
        try:
            session.acquire_lock()
            session.prepare()
            with pytest.raises(AttemptFailed) as caught:
                session.apply(file, file.content())
        finally:
            session.close()
            path.unlink()
        return caught.value.failure

    def tables(self) -> list[str]:
        """The names of the tables that the files made."""
        rows = self.database.query(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname !~ '^schema_migrations'"
            " AND relnamespace = 'public'::regnamespace ORDER BY 1"
        )
        return [row[0] for row in rows]

    def versions(self) -> list[str]:
        rows = self.database.query("SELECT version FROM public.schema_migrations ORDER BY 1")
        return [row[0] for row in rows]


@pytest.fixture(params=[MigrationRunner, StatementPathRunner], ids=["message", "statements"])
def engine(request: pytest.FixtureRequest, database: Database, folder: Folder) -> Engine:
    """An engine with its first file applied, so that the next one can go as one message."""
    engine = Engine(database, folder.with_tracking(), request.param)
    engine.apply()
    engine.events.clear()
    return engine


@pytest.fixture
def role(database: Database) -> Iterator[str]:
    """A role without any right; roles are the server's, so it has a name of its own."""
    name = f"sqlmigrator_test_{uuid.uuid4().hex[:12]}"
    with maintenance_connection() as connection:
        connection.execute(f"CREATE ROLE {name}".encode())
    yield name
    database.execute(
        f"SET ROLE NONE; REASSIGN OWNED BY {name} TO CURRENT_USER; DROP OWNED BY {name}"
    )
    with maintenance_connection() as connection:
        connection.execute(f"DROP ROLE {name}".encode())
