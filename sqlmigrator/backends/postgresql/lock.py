"""The migration lock: a session-level advisory lock, polled, never waited for. DESIGN 5.4.

A waiter that blocked inside pg_advisory_lock() would deadlock with CREATE INDEX CONCURRENTLY in
the holder, which waits for every older snapshot; so would one that polls inside a transaction.
"""

from __future__ import annotations

import random
import time
import zlib
from typing import Final

from sqlmigrator.backends.postgresql.connection import Connection
from sqlmigrator.backends.postgresql.tracking import TABLE
from sqlmigrator.core.durations import format_duration
from sqlmigrator.events import LockWaiting, OnEvent, Session, Stop, describe, query_head
from sqlmigrator.exceptions import Interrupted, LockNotObtained

LOCK_CLASS: Final = 0x53514C4D  # "SQLM": the first of the lock's two keys
_TRY: Final = "pg_try_advisory_lock"
_POLL_SECONDS: Final = (0.5, 1.0)
_SHORTEST_PAUSE: Final = 0.05  # at first: most runs are over soon, and others wait behind us
_TELL_EVERY: Final = 5.0

_HOLDER: Final = """
SELECT a.pid, a.usename, coalesce(a.client_hostname, host(a.client_addr), 'local socket'),
       a.application_name, a.backend_start, a.query
FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.classid = {key_class}
  AND l.objid = {key} AND l.database = (
      SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
"""


class MigrationLock:
    """The lock for one bookkeeping schema of one database."""

    def __init__(self, connection: Connection, schema: str) -> None:
        self._connection = connection
        name = f"{schema}.{TABLE}".encode()
        self.key = zlib.crc32(name) & 0x7FFFFFFF  # advisory locks are per database already

    def acquire(self, since: float, wait_ms: int, on_event: OnEvent, stop: Stop) -> None:
        """Take the lock, waiting up to `wait_ms` from the monotonic time `since` on.

        Raises LockNotObtained naming the holder, Interrupted when stopped while waiting.
        """
        told = since
        first = True
        while not self._try():
            waited = time.monotonic() - since
            if stop.signal_number is not None:
                raise Interrupted(stop.signal_number, "Stopped while waiting for the lock.")
            if first or time.monotonic() - told >= _TELL_EVERY:
                told, first = time.monotonic(), False
                on_event(LockWaiting(self.holder(), round(waited * 1000)))
            left = wait_ms / 1000 - waited
            if left <= 0:
                raise self._not_obtained(wait_ms)
            pause = min(random.uniform(*_POLL_SECONDS), max(_SHORTEST_PAUSE, waited / 4))
            _pause(min(pause, left), stop)

    def is_held_sql(self) -> str:
        """An SQL condition: this backend holds the lock.

        It is held twice, so that one hold may be given back, which only its holder can, and
        taken again. To look for it in pg_locks costs each migration 0.1 ms.
        """
        return f"CASE WHEN {self._sql('pg_advisory_unlock')} THEN {self._sql(_TRY)} ELSE false END"

    def holder(self) -> Session | None:
        rows = self._connection.fetch(_HOLDER.format(key_class=LOCK_CLASS, key=self.key))
        if not rows:
            return None
        pid, user, host, application, since, query = rows[0]
        return Session(pid or 0, user, host, application, since, query_head(query))

    def _try(self) -> bool:
        twice = f"CASE WHEN {self._sql(_TRY)} THEN {self._sql(_TRY)} END"
        ((taken,),) = self._connection.query(f"SELECT {twice}")
        return taken == "t"

    def _sql(self, function: str) -> str:
        return f"pg_catalog.{function}({LOCK_CLASS}, {self.key})"

    def _not_obtained(self, wait_ms: int) -> LockNotObtained:
        holder = self.holder()
        held = f" It is held by {describe(holder)}." if holder else ""
        end = f" `SELECT pg_terminate_backend({holder.pid})` ends it." if holder else ""
        return LockNotObtained(
            f"The migration lock did not come free within {format_duration(wait_ms)}.{held}",
            why="Two runners at once would apply migrations twice.",
            hint=f"Wait for the other run, or pass a longer --lock-wait.{end}",
        )


def _pause(seconds: float, stop: Stop) -> None:
    """Sleep in short steps, so that a signal is answered at once."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and not stop.requested:
        time.sleep(min(left, 0.1))
