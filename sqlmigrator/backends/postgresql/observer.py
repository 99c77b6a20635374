"""What is seen of a running statement from outside: who blocks it, how far an index build is."""

from __future__ import annotations

import time
from typing import Final

from sqlmigrator.backends.postgresql.connection import Connection
from sqlmigrator.events import Blocked, OnEvent, Progress, Session, Stop, query_head
from sqlmigrator.exceptions import Interrupted

_FIRST_LOOK: Final = 0.2  # seconds: before a lock_timeout of 500 ms ends the attempt
_LOOK_EVERY: Final = 0.3
_TELL_EVERY: Final = 1.0

_BLOCKERS: Final = """
SELECT a.pid, a.usename, coalesce(a.client_hostname, host(a.client_addr), 'local socket'),
       a.application_name, a.backend_start, a.query,
       extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, a.backend_start))::float8
FROM unnest(pg_catalog.pg_blocking_pids({pid})) AS blocker (pid)
JOIN pg_catalog.pg_stat_activity a ON a.pid = blocker.pid
ORDER BY 7 DESC
"""
_PHASE: Final = """
SELECT phase || CASE WHEN blocks_total > 0
                     THEN ' ' || (100 * blocks_done / blocks_total) || ' %' ELSE '' END
FROM pg_catalog.pg_stat_progress_create_index WHERE pid = {pid}
"""


class Watch:
    """Called about ten times a second while a message runs; remembers the blockers it saw."""

    def __init__(self, connection: Connection, on_event: OnEvent, stop: Stop) -> None:
        self._connection = connection
        self._on_event = on_event
        self._stop = stop
        self._started = time.monotonic()
        self._next_look = self._started + _FIRST_LOOK
        self._next_telling = self._started + _TELL_EVERY
        self.blockers: tuple[Session, ...] = ()

    def __call__(self) -> None:
        """Look and tell. Raises Interrupted when a stop was asked for."""
        if self._stop.signal_number is not None:
            raise Interrupted(self._stop.signal_number, "Stopped by a signal.")
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + _LOOK_EVERY
            self._look_for_blockers()
        if now >= self._next_telling:
            self._next_telling = now + _TELL_EVERY
            elapsed = round((now - self._started) * 1000)
            self._on_event(Progress(elapsed, self._phase()))

    def _look_for_blockers(self) -> None:
        rows = self._connection.observe(_BLOCKERS.format(pid=self._connection.backend_pid))
        if not rows:
            return
        seen = tuple(
            Session(pid, user, host, application, since, query_head(query), seconds)
            for pid, user, host, application, since, query, seconds in rows
        )
        if {blocker.pid for blocker in seen} != {blocker.pid for blocker in self.blockers}:
            self._on_event(Blocked(seen))
        self.blockers = seen

    def _phase(self) -> str | None:
        rows = self._connection.observe(_PHASE.format(pid=self._connection.backend_pid))
        return rows[0][0] if rows else None
