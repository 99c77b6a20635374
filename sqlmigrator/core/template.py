"""The text of a new migration, and what it may be called."""

from __future__ import annotations

import re
from datetime import date
from typing import Final

from sqlmigrator.core.renumber import snake_case
from sqlmigrator.exceptions import ConfigurationError

NAME: Final = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+)*", re.ASCII)
NO_TRANSACTION: Final = "-- sqlmigrator: no-transaction"
EXAMPLES: Final = (
    NO_TRANSACTION,
    "-- sqlmigrator: lock_timeout=2s",
    "-- sqlmigrator: statement_timeout=10min",
    "-- sqlmigrator: out-of-order",
    "-- sqlmigrator: depends=app_label.0042_name",
)
_NUMBERED: Final = re.compile(r"(?:\d{3}|0\d+)[a-z]?[_\-. ]+|(?:\.down)?\.sql$", re.I)


def check_name(name: str) -> None:
    """Raise ConfigurationError, with a name that would do, unless `name` is lower-case words."""
    suggestion = snake_case(_NUMBERED.sub("", name))
    if NAME.fullmatch(name) and not _NUMBERED.match(name):
        return
    raise ConfigurationError(
        f"{name!r} cannot be the name of a migration: lower-case words joined by underscores can, "
        "without a number and without .sql.",
        hint=f"Run `manage.py migrate_new {suggestion or 'add_unread_tracking'}`.",
    )


def migration_text(version: str, name: str, day: date, *, no_transaction: bool = False) -> str:
    """A migration without a statement yet; the check reports it until there is one."""
    lines = [
        f"-- Migration: {name.replace('_', ' ')}",
        f"-- Version: {version}",
        f"-- Date: {day.isoformat()}",
        "-- Description:",
    ]
    if no_transaction:
        lines.append(NO_TRANSACTION)
    lines += ["--", '-- Directives: take the first "-- " away from the line that you need.']
    lines += [f"-- {example}" for example in EXAMPLES[no_transaction:]]
    return "\n".join(lines) + "\n\n"


def reverse_text(version: str, name: str) -> str:
    """The reverse of a migration, without a statement yet."""
    return (
        f"-- Reverse of {version}_{name}.sql\n"
        f"-- Run only by `manage.py migrate_rollback {version}`.\n\n"
    )
