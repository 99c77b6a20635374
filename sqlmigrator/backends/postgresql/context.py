"""What an execution works on and with, and how one attempt ends."""

from __future__ import annotations

from dataclasses import dataclass

from sqlmigrator.backends.postgresql.connection import Connection
from sqlmigrator.backends.postgresql.lock import MigrationLock
from sqlmigrator.backends.postgresql.observer import Watch
from sqlmigrator.backends.postgresql.tracking import Layout
from sqlmigrator.backends.postgresql.wire import ServerError
from sqlmigrator.conf import Config
from sqlmigrator.core.content import Content
from sqlmigrator.core.files import MigrationFile
from sqlmigrator.core.history import Action, AppliedRecord
from sqlmigrator.events import OnEvent, Stop


@dataclass(frozen=True, slots=True)
class Job:
    """A file to run, its content, and who does it."""

    file: MigrationFile
    content: Content
    applied_by: str
    removes: AppliedRecord | None = None  # the row of a rollback; None for a migration to apply

    @property
    def action(self) -> Action:
        return Action.APPLY if self.removes is None else Action.ROLLBACK


@dataclass(slots=True)
class Context:
    """What every execution needs; `layout` changes when the first file makes the table."""

    connection: Connection
    lock: MigrationLock
    layout: Layout
    config: Config
    on_event: OnEvent
    stop: Stop
    statement_path: bool = False

    def watch(self) -> Watch:
        return Watch(self.connection, self.on_event, self.stop)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one attempt of a transaction ended: times by file, or the error and where."""

    times_ms: tuple[int, ...] = ()
    error: ServerError | None = None
    job: Job | None = None
    statement: int | None = None
    offset: int | None = None
    persisted: bool = False

    @property
    def sqlstate(self) -> str:
        return self.error.sqlstate if self.error else ""
