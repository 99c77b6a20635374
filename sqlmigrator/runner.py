"""The runner service: everything the commands, the admin and deploy scripts do goes through it.

It returns values or raises SqlMigratorError; it never prints. Reading uses Django's connection
and changes nothing; applying opens one session of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from django.db import DEFAULT_DB_ALIAS

from sqlmigrator.backends.base import Backend, Session, SessionLost, get_backend
from sqlmigrator.conf import Config, get_config
from sqlmigrator.core import files
from sqlmigrator.core import findings as rules
from sqlmigrator.core.collection import without_collection
from sqlmigrator.core.files import Folder, MigrationFile, duplicates, scan
from sqlmigrator.core.findings import Finding
from sqlmigrator.core.history import Attempt, Change, History, version_number
from sqlmigrator.core.plan import Entry, Plan, PlanOptions, State
from sqlmigrator.core.planner import build_plan
from sqlmigrator.exceptions import (
    ConfigurationError,
    OutcomeUnknown,
    PlanRefused,
)
from sqlmigrator.stopping import Stop, ignore

# Imported where it is needed: most commands find nothing to do.
if TYPE_CHECKING:
    from sqlmigrator.core.rollback import RollbackJob
    from sqlmigrator.events import OnEvent
    from sqlmigrator.results import ApplyResult

_MOST_COMPARED = 20  # changed files whose applied text is looked up in git


class MigrationRunner:
    """The migrations of one database.

    `database` is an alias of settings.DATABASES; `config` defaults to settings.SQLMIGRATOR.
    Raises ConfigurationError for an alias without migrations, DatabaseRefused for a database
    that is not PostgreSQL.
    """

    def __init__(self, database: str = DEFAULT_DB_ALIAS, config: Config | None = None) -> None:
        self.database = database
        self.config = config or get_config(database)

    @property
    def backend(self) -> Backend:
        return get_backend(self.database)

    def status(self, *, to: str | None = None) -> Plan:
        """The state of every version, and what would run. Reads only."""
        history = self.backend.history()
        return self.plan(self.discover(history), history, to)

    def check(self, *, offline: bool = False, to: str | None = None) -> Plan:
        """Like status(), with the server's syntax check of every pending file.

        `offline` looks at the folder alone, as if nothing were applied. Reads only; nothing of a
        file is run.
        """
        if offline:
            history = History(schema="", exists=False)
            return self.plan(self.discover(history), history, to, offline=True)
        return self.complete(self.status(to=to))

    def complete(self, plan: Plan) -> Plan:
        """`plan` with what check() adds to status(): the server's syntax check of every pending
        file, and what kind of change a changed file saw.
        """
        found = [*plan.findings, *self.syntax_errors(plan.pending)]
        found = list(self._with_comparisons(plan, found))
        return replace(plan, findings=tuple(sorted(found, key=lambda f: not f.is_error)))

    def readiness(self) -> Plan:
        """Like status(), from the names alone: one query, and no file is opened. For probes.

        What the files hold (directives, checksums) and the journal are not looked at.
        """
        options = PlanOptions(allow_out_of_order=True, ignore_missing=self.config.ignore_missing)
        return build_plan(scan(self.config.directory), self.backend.names(), options)

    def attempts(self, version: str | None = None, limit: int | None = None) -> tuple[Attempt, ...]:
        """The journal, newest first."""
        return self.backend.attempts(version, limit)

    def apply(
        self,
        *,
        to: str | None = None,
        single_transaction: bool = False,
        resume: bool = False,
        on_event: OnEvent = ignore,
        stop: Stop | None = None,
    ) -> ApplyResult:
        """Apply what is pending, in order, and stop at the first failure.

        `to` is the last version to apply. `single_transaction` makes it all or nothing. `resume`
        goes on with an interrupted no-transaction migration. `on_event` is told what happens;
        `stop` may be set from a signal handler or another thread.

        Raises PlanRefused with the findings when an error stands against it (nothing was run),
        MigrationFailed with what was applied before, LockNotObtained, OutcomeUnknown,
        Interrupted, DatabaseUnavailable, DatabaseRefused, ConfigurationError.
        """
        from sqlmigrator.results import ApplyResult

        history = self.backend.history()
        folder = self.discover(history)
        plan = self._accepted(self.plan(folder, history, to), resume, single_transaction)
        if not plan.pending:
            return ApplyResult(self.database)
        from sqlmigrator.applying import Run

        stop = stop or Stop()
        session = self.backend.open_session(self.config, on_event, stop)
        run = Run(self.database, session, on_event, stop)
        try:
            session.acquire_lock()
            while True:
                try:
                    history = session.history()  # another runner may have been here meanwhile
                    if self._needs_reading(folder, history):
                        folder = self.discover(history)
                    plan = self.plan(folder, history, to)
                    plan = self._accepted(plan, resume, single_transaction)
                    if plan.pending:
                        session.prepare()
                        run.go(plan.pending, single_transaction)
                    return run.finished()
                except SessionLost as lost:
                    run.recover(lost)
        finally:
            session.close()

    def rehearse(
        self,
        *,
        copy_schema: bool = False,
        on_event: OnEvent = ignore,
        stop: Stop | None = None,
    ) -> ApplyResult:
        """Apply the whole folder from zero to a scratch database, and drop that again.

        With `copy_schema` start from a copy of the configured database's schema and history, and
        apply only what is pending. The configured database is only read; where a file changes what
        the databases of its server share, another server takes its place. Files from the first
        unmet `depends` on are left out, and named in `not_tried`: Django's own migrations are not
        part of a rehearsal, and an empty database has none of them. Raises like apply().
        """
        from sqlmigrator.applying import Run
        from sqlmigrator.core.reach import beyond_database

        stop = stop or Stop()
        plan = self.status() if copy_schema else self.check(offline=True)
        apart = beyond_database(entry.file for entry in plan.pending if entry.file)
        scratch = self.backend.scratch_database(self.config, copy_schema=copy_schema, apart=apart)
        with scratch as config:
            session = self.backend.open_session(config, on_event, stop)
            try:
                session.acquire_lock()
                history = session.history()
                whole = self.plan(self.discover(history), history, is_empty=not copy_schema)
                plan = self._accepted(_without_dependent(whole), False, False)
                session.prepare()
                run = Run(self.database, session, on_event, stop, send_signals=False)
                run.go(plan.pending, together=False)
                left_out = tuple(entry.filename for entry in whole.pending[len(plan.pending) :])
                return replace(run.finished(), not_tried=left_out)
            finally:
                session.close()

    def change_history(
        self,
        changes: Sequence[Change],
        reason: str,
        *,
        on_event: OnEvent = ignore,
        stop: Stop | None = None,
    ) -> None:
        """Edit the history: all `changes` (see core.marking) in one transaction, or none.

        Each gets a journal row with `reason`. Raises DatabaseRefused where a row is no longer
        what a change says, LockNotObtained, OutcomeUnknown, DatabaseUnavailable.
        """
        with self._locked_session(on_event, stop) as session:
            session.change_history(changes, reason)

    def roll_back(
        self, job: RollbackJob, *, on_event: OnEvent = ignore, stop: Stop | None = None
    ) -> int:
        """Run a reverse file and remove its migration's row, in one transaction.

        Returns the server's time in milliseconds. Raises PlanRefused for what is wrong with the
        reverse file, MigrationFailed when it fails, DatabaseRefused where the history is not what
        `job` was made for any more, and like apply().
        """
        from sqlmigrator.core.rollback import refuse_outdated
        from sqlmigrator.results import ApplyResult, AttemptFailed, MigrationFailed

        if any(finding.is_error for finding in job.content.findings):
            raise PlanRefused(job.content.findings, "rolled back")
        with self._locked_session(on_event, stop) as session:
            refuse_outdated(job, session.history())  # another runner may have been here meanwhile
            try:
                return session.roll_back(job)
            except AttemptFailed as failed:
                raise MigrationFailed(ApplyResult(self.database, (), failed.failure)) from None

    @contextmanager
    def _locked_session(self, on_event: OnEvent, stop: Stop | None) -> Iterator[Session]:
        session = self.backend.open_session(self.config, on_event, stop or Stop())
        try:
            session.acquire_lock()
            session.prepare()
            yield session
        except SessionLost as lost:
            raise OutcomeUnknown(
                lost.message,
                why="What was going on may or may not be committed.",
                hint="`manage.py migrate_status` tells.",
            ) from None
        finally:
            session.close()

    # Reading

    @without_collection()
    def discover(
        self, history: History, known: Mapping[str, MigrationFile] = MappingProxyType({})
    ) -> Folder:
        """Read the folder; the content of files that are not recorded as they are.

        `known` are files by name that were read before and have not changed since.
        """
        recorded = {(record.number, record.checksum) for record in history.records}

        def needs_content(file: MigrationFile) -> bool:
            number = file.number
            return (
                (number, file.checksum) not in recorded
                and (number, file.text_checksum) not in recorded
                and (number, None) not in recorded
            )

        return files.discover(self.config.directory, needs_content=needs_content, known=known)

    @staticmethod
    def _needs_reading(folder: Folder, history: History) -> bool:
        """Whether a file that was recorded when the folder was read is not any more."""
        recorded = {record.number for record in history.records}
        return any(
            file.number not in recorded and file.statement_count is None and not file.findings
            for file in folder.files
        )

    @without_collection()
    def plan(
        self,
        folder: Folder,
        history: History,
        to: str | None = None,
        *,
        offline: bool = False,
        is_empty: bool = False,
    ) -> Plan:
        """The plan of a folder and a history that were read already.

        `offline` counts every dependency on Django's migrations as met, `is_empty` (a scratch
        database) none.
        """
        options = PlanOptions(
            allow_out_of_order=self.config.allow_out_of_order,
            ignore_missing=self.config.ignore_missing,
            to=self._number(to, folder, history),
            django_migrations=set() if is_empty else self._django_migrations(folder, offline),
            first_commits=_first_commits(folder),
            applied_elsewhere={} if offline else self._applied_elsewhere(folder),
        )
        plan = build_plan(folder, history, options)
        aimed = (f._replace(hint=rules.aimed_at(self.database, f.hint)) for f in plan.findings)
        return replace(plan, findings=tuple(aimed), database=self.database)

    def _applied_elsewhere(self, folder: Folder) -> dict[str, str]:
        """Where else files are applied, asked only where it decides which one keeps a number."""
        if not duplicates(folder.files):
            return {}
        from sqlmigrator.core.renumber import where_applied
        from sqlmigrator.survey import survey

        records = dict(survey(self).records)
        records.pop(self.database, None)
        return where_applied(folder.files, records)

    def _number(self, to: str | None, folder: Folder, history: History) -> int | None:
        if to is None:
            return None
        number = version_number(to)
        known = {f.number for f in folder.files} | {r.number for r in history.records}
        if number is None or number not in known:
            raise ConfigurationError(
                f"There is no migration {to!r} in {folder.path}.",
                hint="`manage.py migrate_status` lists the versions.",
            )
        return number

    def _django_migrations(
        self, folder: Folder, offline: bool = False
    ) -> set[tuple[str, str]] | None:
        """Django's applied migrations, asked for only where a file depends on one."""
        if offline or not any(file.directives.depends for file in folder.files):
            return None
        return self.backend.django_migrations()

    def syntax_errors(self, pending: Iterable[Entry]) -> list[Finding]:
        """What the server's parser says of the files of `pending`; nothing of them is run."""
        files = [entry.file for entry in pending if entry.file is not None]
        return self.backend.check_syntax(
            (file, file.content())
            for file in files
            # Told already, and perhaps not readable as SQL at all.
            if not any(finding.is_error for finding in file.findings)
        )

    @staticmethod
    def _with_comparisons(plan: Plan, found: list[Finding]) -> Iterable[Finding]:
        """Say of changed files whether only comments and white space changed, if git knows."""
        changed = {e.version: e for e in plan.entries if e.state is State.CHANGED}
        few = len(changed) <= _MOST_COMPARED
        for finding in found:
            entry = changed.get(finding.version or "") if finding.rule is rules.CHANGED else None
            if few and entry and entry.file and entry.record and entry.record.checksum:
                from sqlmigrator import git

                before = git.applied_text(entry.file.path, entry.record.checksum)
                if before is not None:
                    told = _compare(before, entry.file)
                    finding = finding._replace(message=f"{finding.message}: {told}")
            yield finding

    @staticmethod
    def _accepted(plan: Plan, resume: bool, single_transaction: bool) -> Plan:
        """The plan, if nothing stands against running it."""
        errors = [f for f in plan.errors if not (resume and f.rule is rules.INTERRUPTED)]
        if errors:
            raise PlanRefused(
                errors, hint="`manage.py migrate_check` shows everything, with the way out."
            )
        if single_transaction:
            alone = [
                e.filename for e in plan.pending if e.file and e.file.directives.no_transaction
            ]
            if alone:
                raise ConfigurationError(
                    f"--single-transaction cannot hold {', '.join(alone)}: no-transaction.",
                    hint=f"Apply up to the version before it with --to, then {alone[0]} alone.",
                )
        return plan


def _first_commits(folder: Folder) -> dict[str, str]:
    """Asked of git only where it decides which of two files keeps a number."""
    if not duplicates(folder.files):
        return {}
    from sqlmigrator import git

    return git.first_commits(folder.path)


def _compare(before: bytes, file: MigrationFile) -> str:
    from sqlmigrator.core.script import same_tokens

    if same_tokens(before, file.content().data):
        return "only comments and white space changed"
    return "its statements changed"


def _without_dependent(plan: Plan) -> Plan:
    """The plan up to the first file whose `depends` is not met."""
    unmet = [f.version for f in plan.findings if f.rule is rules.DEPENDENCY]
    if not unmet:
        return plan
    first = next(i for i, entry in enumerate(plan.pending) if entry.version in unmet)
    findings = tuple(f for f in plan.findings if f.rule is not rules.DEPENDENCY)
    return replace(plan, pending=plan.pending[:first], findings=findings)
