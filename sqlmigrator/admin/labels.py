"""The words for states, actions and ages: what people read instead of colours and codes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from django.conf import settings
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from sqlmigrator.core.history import Action, Attempt, AttemptState


class Role(StrEnum):
    """How a word looks; the word says it, the colour only helps."""

    GOOD = "good"
    BAD = "bad"
    WARNING = "warning"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Label:
    """A word with its look and, where it needs one, a sentence that explains it."""

    text: str | Promise
    role: Role = Role.PLAIN
    meaning: str | Promise = ""

    def __str__(self) -> str:
        return str(self.text)

    def badge(self) -> SafeString:
        return format_html(
            '<span class="sqlmigrator-badge sqlmigrator-{}">{}</span>', self.role, self.text
        )


class RowState(StrEnum):
    """The state of a row of schema_migrations, as the history shows it."""

    APPLIED = "applied"
    UNVERIFIED = "unverified"
    CHANGED = "changed"
    CONFLICTING = "conflicting"
    MISSING = "missing"
    AHEAD = "ahead"
    UNKNOWN = "unknown"


ROW_STATES: Final[Mapping[RowState, Label]] = {
    RowState.APPLIED: Label(
        _("applied"), Role.GOOD, _("It ran here, and the file is still what ran.")
    ),
    RowState.UNVERIFIED: Label(
        _("unverified"),
        Role.WARNING,
        _(
            "It is recorded without a checksum, by hand or by another tool: whether the file is "
            "what ran cannot be told."
        ),
    ),
    RowState.CHANGED: Label(
        _("changed"), Role.BAD, _("It ran here, but the file was changed afterwards.")
    ),
    RowState.CONFLICTING: Label(
        _("conflicting"),
        Role.BAD,
        _("It ran here, but the file with this number is called something else."),
    ),
    RowState.MISSING: Label(
        _("missing"), Role.BAD, _("It ran here, but its file is no longer in the folder.")
    ),
    RowState.AHEAD: Label(
        _("ahead"),
        Role.WARNING,
        _("It ran here, but this folder is older than the database: its file is not there yet."),
    ),
    RowState.UNKNOWN: Label(
        _("unknown"), Role.WARNING, _("It ran here. The file cannot be looked at.")
    ),
}

ACTIONS: Final[Mapping[Action, Label]] = {
    Action.APPLY: Label(_("apply")),
    Action.ROLLBACK: Label(_("roll back")),
    Action.MARK: Label(_("mark")),
    Action.RENUMBER: Label(_("renumber")),
}

ATTEMPT_STATES: Final[Mapping[AttemptState, Label]] = {
    AttemptState.RUNNING: Label(_("running"), Role.WARNING),
    AttemptState.DONE: Label(_("done"), Role.GOOD),
    AttemptState.FAILED: Label(_("failed"), Role.BAD),
    AttemptState.RESOLVED: Label(_("resolved")),
}
INTERRUPTED: Final = Label(_("interrupted"), Role.BAD)


class Age(StrEnum):
    """The ages of the view migration_status."""

    RECENT = "recent"
    THIS_WEEK = "this_week"
    THIS_MONTH = "this_month"
    OLDER = "older"


AGES: Final[Mapping[Age, str | Promise]] = {
    Age.RECENT: _("recent"),
    Age.THIS_WEEK: _("this week"),
    Age.THIS_MONTH: _("this month"),
    Age.OLDER: _("older"),
}
AGE_LIMITS: Final[Mapping[Age, timedelta]] = {
    Age.RECENT: timedelta(days=1),
    Age.THIS_WEEK: timedelta(days=7),
    Age.THIS_MONTH: timedelta(days=30),
}


def breakable(name: str) -> SafeString:
    """A name that may be broken after each underscore and the like, for narrow columns."""
    return SafeString(re.sub(r"([_@.-])", r"\1<wbr>", escape(name)))


def two_lines(first: object, second: object) -> SafeString:
    """A cell of a list with a quieter second line."""
    return format_html('{}<span class="sqlmigrator-second">{}</span>', first, second)


def moment(when: datetime) -> str:
    """A date and time as the pages show it; a table made by hand may have no time zone."""
    local = timezone.localtime(when) if timezone.is_aware(when) else when
    return date_format(local, "DATETIME_FORMAT")


def progress(done: int, total: int) -> str:
    """How far an attempt came; "" where it had no statements."""
    return (
        gettext("%(done)s of %(total)s statements") % {"done": done, "total": total}
        if total
        else ""
    )


def with_zone(when: datetime) -> datetime:
    """`when` with the time zone that it lacks where USE_TZ is off, or the column has none."""
    if timezone.is_aware(when):
        return when
    return when.replace(tzinfo=UTC) if settings.USE_TZ else timezone.make_aware(when)


def age(applied_at: datetime) -> Age:
    """The age of a row, by the rule of the view migration_status."""
    passed = datetime.now(UTC) - with_zone(applied_at)
    return next((a for a, limit in AGE_LIMITS.items() if passed < limit), Age.OLDER)


def attempt_label(attempt: Attempt) -> Label:
    """The word for how an attempt stands; a running one whose session is gone was interrupted."""
    if attempt.state is AttemptState.RUNNING and not attempt.alive:
        return INTERRUPTED
    return ATTEMPT_STATES[attempt.state]
