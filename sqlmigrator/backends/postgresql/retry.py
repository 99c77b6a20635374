"""Giving way to other sessions: short lock timeouts, and trying again. DESIGN 5.7.

A statement that waits for a table lock makes everybody behind it wait too. So each attempt
waits briefly, gives up its place in the queue, pauses, and tries again within a budget; every
fourth attempt waits longer than deadlock_timeout, because only then an autovacuum is cancelled.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Final

from sqlmigrator.backends.postgresql.wire import ServerError
from sqlmigrator.events import Retrying, Session, describe
from sqlmigrator.exceptions import Interrupted

if TYPE_CHECKING:
    from sqlmigrator.backends.postgresql.context import Context

GIVE_WAY: Final = ("55P03", "40P01")  # lock_not_available, deadlock_detected
_MOST_ATTEMPTS: Final = 40
_LONG_EVERY: Final = 4
_LONG_MS: Final = 1500
_DEADLOCK_MARGIN_MS: Final = 500
_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 15.0


class Retries:
    """The attempts of one migration or statement, and what they waited for."""

    def __init__(self, context: Context, lock_timeout_ms: int | None) -> None:
        self._context = context
        self._base_ms = (
            context.config.lock_timeout_ms if lock_timeout_ms is None else lock_timeout_ms
        )
        self._started = time.monotonic()
        self.attempt = 1
        self.blockers: tuple[str, ...] = ()

    @property
    def lock_timeout_ms(self) -> int:
        """What lock_timeout the next attempt gets; 0, no limit, only where the user said so."""
        if self._base_ms == 0 or self.attempt % _LONG_EVERY:
            return self._base_ms
        deadlock_ms = self._context.connection.deadlock_timeout_ms + _DEADLOCK_MARGIN_MS
        return max(self._base_ms, _LONG_MS, deadlock_ms)

    def may_try_again(self, error: ServerError, blockers: tuple[Session, ...]) -> bool:
        """Pause and answer True while there is budget; False for any other error.

        Raises Interrupted when a stop is asked for during the pause.
        """
        if error.sqlstate not in GIVE_WAY:
            return False
        if blockers:
            self.blockers = tuple(describe(blocker) for blocker in blockers)
        left = self._context.config.lock_budget_ms / 1000 - (time.monotonic() - self._started)
        if left <= 0 or self.attempt >= _MOST_ATTEMPTS:
            return False
        pause = min(_FIRST_PAUSE * 2 ** min(self.attempt - 1, 10), _LONGEST_PAUSE)
        pause = min(pause * random.uniform(0.5, 1.0), left)
        event = Retrying(self.attempt, error.message, round(pause * 1000), blockers)
        self._context.on_event(event)
        self._sleep(pause)
        self.attempt += 1
        return True

    def _sleep(self, seconds: float) -> None:
        stop = self._context.stop
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if stop.signal_number is not None:
                raise Interrupted(stop.signal_number, "Stopped while waiting for locks.")
            time.sleep(min(left, 0.1))
