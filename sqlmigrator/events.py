"""What a run reports while it goes on, as typed values; and the flag that stops it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlmigrator.core.durations import format_duration
from sqlmigrator.core.masking import mask_query
from sqlmigrator.stopping import Stop, ignore

_RUNNER_PREFIX: Final = "BEGIN"


@dataclass(frozen=True, slots=True)
class Session:
    """Another session of the database, named for people; None where the role may not see it."""

    pid: int
    user: str | None = None
    host: str | None = None
    application: str | None = None
    since: datetime | None = None
    query: str | None = None
    seconds: float | None = None


def describe(session: Session) -> str:
    """Return "process 4711, user app, host 10.0.0.7, application sqlmigrator, since 14:02:11"."""
    parts = [f"process {session.pid}"]
    if session.user:
        parts.append(f"user {session.user}")
    if session.host:
        parts.append(f"host {session.host}")
    if session.application:
        parts.append(f"application {session.application}")
    if session.since:
        parts.append(f"since {session.since:%Y-%m-%d %H:%M:%S}")
    if session.seconds is not None:
        parts.append(f"for {format_duration(session.seconds * 1000)}")
    if session.query:
        parts.append(f"running: {session.query}")
    return ", ".join(parts)


def query_head(query: str | None) -> str | None:
    """Return the head of another session's query on one line, its values blanked out.

    Of a runner's own message the migration is shown, not what the runner puts before it.
    """
    if query is None:
        return None
    if query.startswith(_RUNNER_PREFIX):
        query = query.partition("\n;\n")[2] or query
    return mask_query(query)[:80]


@dataclass(frozen=True, slots=True)
class LockWaiting:
    """Another runner holds the migration lock; sent when the wait starts and every 5 s."""

    holder: Session | None
    waited_ms: int


@dataclass(frozen=True, slots=True)
class MigrationStarted:
    """A migration is about to run: the `index`-th (from 1) of `total`."""

    version: str
    filename: str
    index: int
    total: int


@dataclass(frozen=True, slots=True)
class StatementStarted:
    """A statement of a no-transaction migration starts: the `index`-th (from 1) of `total`."""

    filename: str
    index: int
    total: int


@dataclass(frozen=True, slots=True)
class Blocked:
    """The running statement waits for locks of `blockers`."""

    blockers: tuple[Session, ...]


@dataclass(frozen=True, slots=True)
class Retrying:
    """An attempt gave way (lock timeout, deadlock) and is tried again after `pause_ms`."""

    attempt: int
    reason: str
    pause_ms: int
    blockers: tuple[Session, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """A migration is still running; `phase` is the server's word for a running CREATE INDEX."""

    elapsed_ms: int
    phase: str | None


@dataclass(frozen=True, slots=True)
class NoticeReceived:
    """The server said something (NOTICE, WARNING) about the running migration."""

    severity: str
    message: str


@dataclass(frozen=True, slots=True)
class MigrationApplied:
    """A migration is committed, with its history row."""

    version: str
    filename: str
    execution_time_ms: int


@dataclass(frozen=True, slots=True)
class ConnectionLost:
    """The connection broke; the runner looks whether the migration was committed."""

    filename: str


Event = (
    LockWaiting
    | MigrationStarted
    | StatementStarted
    | Blocked
    | Retrying
    | Progress
    | NoticeReceived
    | MigrationApplied
    | ConnectionLost
)
OnEvent = Callable[[Event], None]

__all__ = [
    "Blocked",
    "ConnectionLost",
    "Event",
    "LockWaiting",
    "MigrationApplied",
    "MigrationStarted",
    "NoticeReceived",
    "OnEvent",
    "Progress",
    "Retrying",
    "Session",
    "StatementStarted",
    "Stop",
    "describe",
    "ignore",
    "query_head",
]
