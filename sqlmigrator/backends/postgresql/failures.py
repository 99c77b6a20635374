"""Failures of transactional files: told to people, and written to the journal."""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import Final

from sqlmigrator.backends.postgresql import journal
from sqlmigrator.backends.postgresql.context import Context, Job, Outcome
from sqlmigrator.backends.postgresql.fence import LOCK_LOST
from sqlmigrator.backends.postgresql.wire import ServerError, ServerFailure
from sqlmigrator.core.history import AttemptState
from sqlmigrator.core.script import locate
from sqlmigrator.exceptions import Interrupted
from sqlmigrator.results import Failure

ROLLED_BACK: Final = "Nothing of it remains: the transaction was rolled back."


def describe_failure(outcome: Outcome, blockers: tuple[str, ...]) -> Failure:
    """The failure of a transactional attempt, for people."""
    error, job = outcome.error, outcome.job
    assert error is not None
    assert job is not None
    place = locate(job.content.original, outcome.offset) if outcome.offset is not None else None
    message, advice = _explain(error, outcome)
    remains = ROLLED_BACK
    if outcome.persisted:
        remains = (
            "The file ended the runner's transaction, or reset its settings: what ran before that "
            "may be in the database, and is not recorded."
        )
    return Failure(
        version=job.file.version,
        filename=job.file.filename,
        file=str(job.file.path),
        message=message,
        remains=remains,
        advice=advice,
        sqlstate=error.sqlstate,
        detail=error.detail,
        hint=error.hint,
        context=error.context,
        statement=outcome.statement,
        line=place.line if place else None,
        column=place.column if place else None,
        excerpt=place.excerpt if place else None,
        blockers=blockers,
    )


ADVICE: Final = {
    "25001": "Put the statement in a file of its own with `-- sqlmigrator: no-transaction`.",
    "55P04": "Use the new enum value in a later migration: it must be committed first.",
    "2D000": "Remove COMMIT and ROLLBACK from the procedure or DO block.",
    "42501": "Grant the right to the role, or run as the owner of the object.",
    "55P03": "Run again when the sessions named above are done, or end them.",
    "40P01": "Run again when the sessions named above are done, or end them.",
    "57014": "Raise the limit: `--statement-timeout`, or the directive statement_timeout.",
    "53100": "Free disk space on the server, then run again.",
}


def _explain(error: ServerError, outcome: Outcome) -> tuple[str, str]:
    advice = ADVICE.get(error.sqlstate, "Correct the file, then run `manage.py migrate_apply`.")
    if error.sqlstate == "57014" and "timeout" not in error.message:
        advice = "Somebody cancelled the statement: run `manage.py migrate_apply` again."
    if outcome.persisted:
        advice = (
            "Remove the COMMIT, ROLLBACK or RESET ALL; look what is in the database, undo or "
            "complete it by hand, then `manage.py migrate_mark --applied … --reason …`."
        )
    elif error.message == LOCK_LOST:
        advice = "Remove what drops advisory locks (pg_advisory_unlock_all, DISCARD ALL)."
    message = error.message
    if outcome.statement is None and _is_about_row(error):
        message = f"the migration ran, but its history row could not be written: {message}"
        if error.sqlstate != "42501":
            advice = (
                "Correct the table schema_migrations: a column is too narrow for the row, or one "
                "of your own has no default."
            )
    elif outcome.statement is None and error.sqlstate.startswith("23"):
        message = f"a deferred constraint failed at the end of the file: {message}"
    elif outcome.statement is None and error.sqlstate == "25006":
        message = f"the file made its transaction read-only: {message}"
    return message, advice


def _is_about_row(error: ServerError) -> bool:
    """Whether the history row was refused; none of these can come from a deferred constraint."""
    if error.sqlstate[:2] == "22":  # too long for its column; a constraint trigger has a context
        return not error.context
    return error.sqlstate in ("42501", "23502", "23514")


def describe_stop(job: Job, stopped: Interrupted) -> Failure:
    """The failure of a file that a signal stopped, for the journal."""
    return Failure(
        version=job.file.version,
        filename=job.file.filename,
        file=str(job.file.path),
        message=f"stopped by {signal.Signals(stopped.exit_code - 128).name}",
        remains=ROLLED_BACK,
        advice="Run `manage.py migrate_apply` again.",
        sqlstate="57014",
    )


def write_failure(context: Context, job: Job, failure: Failure) -> Failure:
    """Put the failure into the journal, after the rollback; return what is to be told of it."""
    reason = f"blocked by {'; '.join(failure.blockers)}" if failure.blockers else None
    sql = journal.insert_sql(
        context.layout,
        version=job.file.version,
        name=job.file.name,
        checksum=job.file.checksum,
        action=job.action,
        state=AttemptState.FAILED,
        applied_by=job.applied_by,
        total=len(job.content.statements),
        sqlstate=failure.sqlstate or None,
        error=failure.message,
        line=failure.line,
        reason=reason,
    )
    return journaled(context, sql, failure)


def journaled(context: Context, sql: str, failure: Failure) -> Failure:
    """Run the journal's `sql`; where that fails too (a full disk), say so in the failure."""
    if context.connection.wire.is_broken:
        return failure
    try:
        context.connection.query(sql)
    except ServerFailure as error:
        told = f"The attempt could not be put into the journal: {error.message}."
        return replace(failure, remains=f"{failure.remains} {told}")
    return failure
