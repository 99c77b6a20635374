"""What can go wrong, each with its message, the reason it matters, the way out and an exit code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlmigrator.core.findings import Finding


class SqlMigratorError(Exception):
    """Base of all errors of this package.

    `message` says what is wrong, `why` why it matters, `hint` the command or setting that mends
    it. `exit_code` is what the commands exit with (DESIGN section 4).
    """

    exit_code = 1

    def __init__(self, message: str, *, why: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.why = why
        self.hint = hint


class ConfigurationError(SqlMigratorError):
    """A setting, an alias or an argument is wrong."""

    exit_code = 2


class DatabaseUnavailable(SqlMigratorError):
    """The database cannot be reached, or refuses the login."""

    exit_code = 3


class DatabaseRefused(SqlMigratorError):
    """The database can be reached, but must not or cannot be migrated through this connection."""

    exit_code = 3


class LockNotObtained(SqlMigratorError):
    """Another session held the migration lock for longer than LOCK_WAIT."""

    exit_code = 5


class OutcomeUnknown(SqlMigratorError):
    """The connection broke at a commit and the database could not be asked afterwards."""

    exit_code = 5


class PlanRefused(SqlMigratorError):
    """The plan holds findings of severity error; nothing was run."""

    def __init__(self, findings: Sequence[Finding], what: str = "applied", **kwargs: str) -> None:
        errors = [finding for finding in findings if finding.is_error]
        count = f"{len(errors)} error" + ("" if len(errors) == 1 else "s")
        super().__init__(f"Nothing was {what}: {count} must be settled first.", **kwargs)
        self.findings = tuple(errors)


class Interrupted(SqlMigratorError):
    """A signal stopped the run; `exit_code` is 128 plus its number.

    `settled` is False where the server did not say how the statement ended that was going on.
    """

    settled = True

    def __init__(self, signal_number: int, message: str, **kwargs: str) -> None:
        super().__init__(message, **kwargs)
        self.exit_code = 128 + signal_number
