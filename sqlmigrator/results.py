"""What a run did, as values: the applied migrations, the one that failed, what was not tried."""

from __future__ import annotations

from dataclasses import dataclass

from sqlmigrator.exceptions import SqlMigratorError


@dataclass(frozen=True, slots=True)
class Applied:
    """A migration that is committed; the time is the server's, in milliseconds."""

    version: str
    name: str
    filename: str
    execution_time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A migration that failed, where, and what the database holds of it now.

    `statement` counts from 1; `line` and `column` too, the column in characters. `remains` says
    what is left in the database; `advice` what to do next.
    """

    version: str
    filename: str
    file: str
    message: str
    remains: str
    advice: str
    sqlstate: str = ""
    detail: str = ""
    hint: str = ""
    context: str = ""
    statement: int | None = None
    line: int | None = None
    column: int | None = None
    excerpt: str | None = None
    blockers: tuple[str, ...] = ()

    @property
    def location(self) -> str:
        """file[:line[:column]]"""
        parts = [self.file, *(str(n) for n in (self.line, self.column) if n is not None)]
        return ":".join(parts)


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """The outcome of one `apply()`: `not_tried` holds the file names after the failed one."""

    database: str
    applied: tuple[Applied, ...] = ()
    failure: Failure | None = None
    not_tried: tuple[str, ...] = ()

    @property
    def execution_time_ms(self) -> int:
        return sum(applied.execution_time_ms for applied in self.applied)


class AttemptFailed(Exception):
    """A backend could not apply a migration; `failure` says all about it."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class MigrationFailed(SqlMigratorError):
    """A migration failed and the run stopped there; `result` says what was done before."""

    def __init__(self, result: ApplyResult) -> None:
        failure = result.failure
        assert failure is not None
        super().__init__(f"{failure.filename} failed: {failure.message}", hint=failure.advice)
        self.result = result
