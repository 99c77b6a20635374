"""What `migrate_apply` shows of a run: a line for each migration, waits, the failure, totals."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sqlmigrator.core.durations import format_duration
from sqlmigrator.core.files import read_bytes
from sqlmigrator.core.findings import Finding, aimed_at
from sqlmigrator.core.plan import Plan
from sqlmigrator.core.report import Line, Role, excerpt_lines, finding_lines
from sqlmigrator.exceptions import SqlMigratorError

# The events are imported with the first of them: most runs find nothing to do.
if TYPE_CHECKING:
    from sqlmigrator.events import Event, LockWaiting, MigrationApplied, Progress, Session
    from sqlmigrator.management.base import SqlMigratorCommand
    from sqlmigrator.results import ApplyResult


class ApplyPrinter:
    """An OnEvent that prints: progress to stdout, everything else to stderr."""

    def __init__(self, command: SqlMigratorCommand, verbosity: int) -> None:
        self.command = command
        self.verbosity = verbosity
        self._line = ""  # what stands on the terminal's last line, not ended yet
        self._started = ""  # the file that it is about

    def __call__(self, event: Event) -> None:
        from sqlmigrator import events

        match event:
            case events.MigrationStarted():
                self.end_line()
                self._started = event.filename
                self._write(f"Applying {event.filename} ({event.index} of {event.total})... ")
            case events.MigrationApplied():
                self._applied(event)
            case events.Progress():
                self._progress(event)
            case events.StatementStarted() if self.verbosity >= 2:
                self._tell(f"  statement {event.index} of {event.total}")
            case events.NoticeReceived() if self.verbosity >= 2:
                self.end_line()
                self._tell_text(f"  {event.severity}: ", event.message)
            case events.LockWaiting() if self.verbosity:
                self._lock_waiting(event)
            case events.Blocked() if self.verbosity:
                self._tell(f"  waits for a lock of {_sessions(event.blockers)}")
            case events.Retrying() if self.verbosity:
                pause = format_duration(event.pause_ms)
                self._tell(f"  attempt {event.attempt}: {event.reason}; again in {pause}")
            case events.ConnectionLost():
                self._tell(f"  the connection was lost; looking whether {event.filename} is there")

    def end_line(self) -> None:
        if self._line:
            self._write("", end=True)

    def plan(self, plan: Plan) -> int:
        """`--plan`: the order and the SQL of every pending file. Returns the exit code."""
        for entry in plan.pending:
            assert entry.file is not None
            with suppress(SqlMigratorError):  # unreadable: the findings say so
                self.sql(entry.file.path)
        if not plan.pending:
            self.command.print_line(Line("-- No migration is pending."))
        self.findings(plan.findings)
        return 1 if plan.errors else 0

    def sql(self, path: Path) -> int:
        """The SQL of one file. Returns the exit code."""
        self.command.print_line(Line(f"-- {path.name}", Role.HEADING))
        text = read_bytes(path).decode("utf-8-sig", "replace").rstrip()
        self.command.print_lines(Line(line) for line in text.splitlines())
        return 0

    def findings(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            for line in finding_lines(finding):
                self.command.tell(line.text, line.role)

    def failure(self, result: ApplyResult, again: str = "migrate_apply") -> None:
        """What failed and why, what is in the database, what was not tried.

        `again` is the command that was run, for the advice; it may not be another one's.
        """
        failure = result.failure
        assert failure is not None
        if self._line:
            self._write("FAILED", end=True)
        tell = self.command.tell
        code = f" [SQLSTATE {failure.sqlstate}]" if failure.sqlstate else ""
        self._tell_text(f"✗ {failure.location}: ", f"{failure.message}{code}", Role.BAD)
        for line in excerpt_lines(failure.excerpt, failure.column):
            tell(line.text)
        for label, text in (
            ("Detail", failure.detail),
            ("Hint", failure.hint),
            ("Context", failure.context),
        ):
            if text:
                self._tell_text(f"    {label}: ", text)
        for blocker in failure.blockers:
            tell(f"    Blocked by {blocker}")
        tell(f"  {failure.remains}")
        tell(f"  {aimed_at(self.command.alias, _advice(failure.advice, again))}")
        count = "" if "rollback" in again else f"Applied in this run: {len(result.applied)}. "
        tell(f"{count}Failed: {failure.filename}.")
        if result.not_tried:
            shown = ", ".join(result.not_tried[:5])
            more = f" and {len(result.not_tried) - 5} more" if len(result.not_tried) > 5 else ""
            tell(f"Not applied: {shown}{more}.")

    @staticmethod
    def closing(result: ApplyResult) -> str:
        count = len(result.applied)
        if not count:
            return "Nothing to apply: the database is up to date."
        time = format_duration(result.execution_time_ms)
        return f"Applied {count} migration{'s' if count > 1 else ''} in {time}."

    def _applied(self, event: MigrationApplied) -> None:
        if event.filename != self._started:  # those of a single transaction are told at its end
            self.end_line()
        name = "" if self._line else f"{event.filename}: "
        self._write(f"{name}OK ({format_duration(event.execution_time_ms)})", end=True)

    def _progress(self, event: Progress) -> None:
        if self.command.stdout.isatty() and self.verbosity:
            phase = f", {event.phase}" if event.phase else ""
            text = f"{self._line}{event.elapsed_ms // 1000} s{phase} "
            self.command.stdout.write("\r", ending="")
            self.command.write(self.command.stdout, text, ending="")

    def _lock_waiting(self, event: LockWaiting) -> None:
        holder = f": held by {_sessions((event.holder,))}" if event.holder else ""
        waited = f" for {format_duration(event.waited_ms)}" if event.waited_ms > 1000 else ""
        self._tell(f"Waiting for the migration lock{waited}{holder}")

    def _tell_text(self, start: str, text: str, role: Role = Role.PLAIN) -> None:
        """Words of the server, which may be several lines: the others are indented."""
        first, *others = text.split("\n")
        self.command.tell(start + first, role)
        indent = " " * max(2, len(start) - len(start.lstrip()))
        for line in others:
            self.command.tell(indent + line)

    def _tell(self, text: str) -> None:
        self.end_line()
        self.command.tell(text)

    def _write(self, text: str, *, end: bool = False) -> None:
        if not self.verbosity:
            return
        self.command.write(self.command.stdout, text, ending="\n" if end else "")
        self._line = "" if end else self._line + text


def _advice(advice: str, again: str) -> str:
    """`advice`, which was written for `migrate_apply`, for the command `again`."""
    if "--rehearse" in again and ("--resume" in advice or "migrate_mark" in advice):
        advice = "Correct the file, then run `manage.py migrate_apply`."  # the database is gone
    return advice.replace("`manage.py migrate_apply`", f"`manage.py {again}`")


def _sessions(sessions: tuple[Session, ...]) -> str:
    from sqlmigrator.events import describe

    return "; ".join(describe(session) for session in sessions)
