"""One run of `MigrationRunner.apply()`: file after file, and what a lost session leaves to settle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from django.dispatch import Signal

from sqlmigrator import signals
from sqlmigrator.backends.base import Session, SessionLost
from sqlmigrator.core.files import MigrationFile
from sqlmigrator.core.history import Attempt
from sqlmigrator.core.plan import Entry
from sqlmigrator.events import ConnectionLost, MigrationApplied, MigrationStarted, OnEvent, Stop
from sqlmigrator.exceptions import Interrupted, SqlMigratorError
from sqlmigrator.results import Applied, ApplyResult, AttemptFailed, Failure, MigrationFailed

_MOST_LOSSES: Final = 6  # of the session, for one file or in a row, before a run gives up


class Run:
    """Applies the pending entries of a plan on a session that holds the lock.

    When the session is lost, `recover()` settles what was going on; then a new plan is needed.
    """

    def __init__(
        self,
        database: str,
        session: Session,
        on_event: OnEvent,
        stop: Stop,
        *,
        send_signals: bool = True,
    ) -> None:
        self.database = database
        self.session = session
        self.on_event = on_event
        self.stop = stop
        self._signals = send_signals
        self.applied: list[Applied] = []
        self.pending: list[Entry] = []  # of the current plan, not applied yet
        self._current: list[Entry] = []  # what is being sent right now
        self._losses: Counter[str] = Counter()

    def go(self, pending: Sequence[Entry], together: bool) -> None:
        """Apply all of `pending`. Raises MigrationFailed, Interrupted, SessionLost."""
        self.pending = list(pending)
        while self.pending:
            self._stop_if_asked()
            self._current = self.pending[:] if together else self.pending[:1]
            for index, entry in enumerate(self._current, len(self.applied) + 1):
                total = len(self.applied) + len(self.pending)
                event = MigrationStarted(entry.version, entry.filename, index, total)
                self.on_event(event)
            try:
                times = self._apply_together() if together else [self._apply(self._current[0])]
            except AttemptFailed as failed:
                raise self._failed(failed.failure) from None
            except Interrupted as stopped:
                raise self._interrupted(stopped) from None
            self._done(times)

    def _apply(self, entry: Entry) -> int:
        file, attempt = _file(entry), entry.attempt
        if attempt is not None and attempt.is_interrupted:
            _refuse_edited(file, attempt)
            return self.session.resume(file, file.content(), attempt)
        return self.session.apply(file, file.content())

    def _apply_together(self) -> Sequence[int]:
        files = [_file(entry) for entry in self._current]
        return self.session.apply_together([(file, file.content()) for file in files])

    def _done(self, times: Sequence[int]) -> None:
        for entry, time_ms in zip(self._current, times, strict=True):
            applied = Applied(entry.version, entry.name, entry.filename, time_ms)
            self.applied.append(applied)
            self.pending.remove(entry)
            self.on_event(MigrationApplied(entry.version, entry.filename, time_ms))
            self._send(signals.migration_applied, applied=applied)
        self._current = []

    def recover(self, lost: SessionLost) -> None:
        """Go on in a new session; find out whether what was going on had been committed.

        Raises MigrationFailed where it had not and must not simply be tried again, and
        OutcomeUnknown.
        """
        lost_files = [_file(entry) for entry in self._current]
        doing = f"{lost_files[0].filename} was being applied" if lost_files else "preparing"
        self._losses[doing] += 1
        if lost_files:
            self.on_event(ConnectionLost(lost_files[0].filename))
        elif self._losses[doing] > _MOST_LOSSES:
            raise lost
        try:
            times, failure = self._settle(lost_files, doing, lost)
        except Interrupted as stopped:
            if not lost_files:
                raise
            stopped.settled = False
            raise self._interrupted(stopped) from None
        if times is not None:
            self._done(times)
        elif failure is not None:
            is_stepwise = lost_files[0].directives.no_transaction
            if not lost.may_run_again or is_stepwise or self._losses[doing] >= _MOST_LOSSES:
                raise self._failed(failure)
        self._current = []

    def _settle(
        self, files: list[MigrationFile], doing: str, lost: SessionLost
    ) -> tuple[Sequence[int] | None, Failure | None]:
        """The times of `files` if they were committed, or the failure if they were not.

        Neither, where nothing was going on or another runner has applied them meanwhile.
        """
        for _ in range(_MOST_LOSSES):
            try:
                self.session.recover(doing)
                if not files:
                    return None, None
                times = self.session.committed(files)
                if times is not None or self._is_recorded(files[0]):
                    return times, None
                return None, self.session.note_lost(files[0], lost)
            except SessionLost:
                continue  # the new session was lost too: look again in another one
        raise lost

    def _is_recorded(self, file: MigrationFile) -> bool:
        """Whether another runner has applied the file meanwhile."""
        return any(
            record.number == file.number and record.is_named(file.version, file.name)
            for record in self.session.history().records
        )

    def _failed(self, failure: Failure) -> MigrationFailed:
        not_tried = [e.filename for e in self.pending if e.filename != failure.filename]
        self._send(signals.migration_failed, failure=failure)
        return MigrationFailed(self.finished(failure, tuple(not_tried)))

    def finished(
        self, failure: Failure | None = None, not_tried: tuple[str, ...] = ()
    ) -> ApplyResult:
        """The result of the run so far; tells the receivers of run_finished."""
        result = ApplyResult(self.database, tuple(self.applied), failure, not_tried)
        self._send(signals.run_finished, result=result)
        return result

    def _send(self, signal: Signal, **payload: object) -> None:
        """Send after the fact; a receiver's error is logged by Django and stops nothing."""
        if self._signals:
            signal.send_robust(sender=Run, database=self.database, **payload)

    def _stop_if_asked(self) -> None:
        if self.stop.signal_number is not None:
            message = f"Stopped by a signal between two migrations; {self._so_far()}"
            raise Interrupted(self.stop.signal_number, message)

    def _interrupted(self, stopped: Interrupted) -> Interrupted:
        entry = self._current[0]
        if not stopped.settled:
            stopped.message = (
                f"Stopped by a signal: {entry.filename} may or may not be committed, the server "
                f"did not answer; {self._so_far()}"
            )
            stopped.hint = "`manage.py migrate_status` tells."
        elif not _file(entry).directives.no_transaction:
            stopped.message = (
                f"Stopped by a signal: {entry.filename} was rolled back, nothing of it remains; "
                f"{self._so_far()}"
            )
        return stopped

    def _so_far(self) -> str:
        return f"{len(self.applied)} applied in this run, {len(self.pending)} still pending."


def _file(entry: Entry) -> MigrationFile:
    """The file of a pending entry, which always has one."""
    assert entry.file is not None
    return entry.file


def _refuse_edited(file: MigrationFile, attempt: Attempt) -> None:
    if attempt.checksum in (None, file.checksum, file.text_checksum):
        return
    raise SqlMigratorError(
        f"{file.filename} was edited since it was interrupted; it cannot be resumed.",
        why="The statements that are done may not be those that the file holds now.",
        hint="Restore the file and resume; or complete it by hand, then `manage.py migrate_mark "
        f"--applied {file.version} --reason …`; or undo what is done, then `--unapplied "
        f"{file.version} --reason …` to run the file from the start.",
    )
