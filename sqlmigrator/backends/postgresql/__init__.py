"""PostgreSQL: reading through Django's connection; changing through a session of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError, InterfaceError, OperationalError, connections

from sqlmigrator.backends.postgresql import journal, tracking
from sqlmigrator.conf import Config
from sqlmigrator.core.collection import without_collection
from sqlmigrator.core.files import MigrationFile
from sqlmigrator.core.findings import Finding
from sqlmigrator.core.history import Attempt, History, Tables
from sqlmigrator.exceptions import DatabaseRefused

if TYPE_CHECKING:
    from sqlmigrator.backends.postgresql.session import PostgreSQLSession
    from sqlmigrator.core.content import Content
    from sqlmigrator.events import OnEvent, Stop


class PostgreSQLBackend:
    """One alias. See sqlmigrator.backends.base.Backend."""

    def __init__(self, alias: str) -> None:
        self.alias = alias

    def history(self) -> History:
        with self._errors():
            return read_history(self._fetch)

    def tables(self) -> Tables:
        with self._errors():
            layout = tracking.read_layout(self._fetch)
        return Tables(layout.schema, layout.exists, layout.columns, layout.log_exists)

    def names(self) -> History:
        try:
            with self._errors():
                records = tracking.read_names(self._fetch)
        except DatabaseRefused:
            records = None
        # No table, or one that must be refused: history() knows which.
        return self.history() if records is None else History("", True, records)

    def attempts(self, version: str | None = None, limit: int | None = None) -> tuple[Attempt, ...]:
        with self._errors():
            layout = tracking.read_layout(self._fetch)
            return journal.read_all(self._fetch, layout, version, limit)

    def django_migrations(self) -> set[tuple[str, str]]:
        from django.db.migrations.recorder import MigrationRecorder

        with self._errors():
            return set(MigrationRecorder(connections[self.alias]).applied_migrations())

    def check_syntax(self, files: Iterable[tuple[MigrationFile, Content]]) -> list[Finding]:
        from sqlmigrator.backends.postgresql import syntax

        with self._errors():
            return syntax.check_syntax(connections[self.alias], files)

    def scratch_database(
        self, config: Config, *, copy_schema: bool, apart: str | None = None
    ) -> AbstractContextManager[Config]:
        from sqlmigrator.backends.postgresql.rehearsal import scratch_database

        return scratch_database(self.alias, config, copy_schema=copy_schema, apart=apart)

    def open_session(self, config: Config, on_event: OnEvent, stop: Stop) -> PostgreSQLSession:
        # Imported here: reading must not pay for what only a run needs.
        from sqlmigrator.backends.postgresql.session import PostgreSQLSession

        return PostgreSQLSession(self.alias, config, on_event, stop)

    def _fetch(self, sql: str) -> Sequence[Sequence[Any]]:
        with connections[self.alias].cursor() as cursor:
            cursor.execute(sql)
            rows: Sequence[Sequence[Any]] = cursor.fetchall()
            return rows

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (DatabaseError, InterfaceError) as error:
            from sqlmigrator.backends.postgresql.connection import unavailable, without_secrets

            # Without a connection it was a parameter that libpq refuses.
            never_connected = connections[self.alias].connection is None
            if never_connected or isinstance(error, OperationalError | InterfaceError):
                raise unavailable(self.alias, error) from None
            message = without_secrets(self.alias, str(error))
            raise DatabaseRefused(
                f"The history in {self.alias!r} cannot be read: {message}",
                hint="Check the role's rights on schema_migrations and schema_migrations_log.",
            ) from None


@without_collection()
def read_history(fetch: tracking.Fetch, schema: str | None = None) -> History:
    """The rows of schema_migrations and the attempts that are not settled."""
    layout = tracking.read_layout(fetch, schema)
    return History(
        schema=layout.schema,
        exists=layout.exists,
        records=tracking.read_records(fetch, layout),
        attempts=journal.read_open(fetch, layout),
    )
