"""The states of a plan in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from django.utils.translation import gettext_lazy as _

from sqlmigrator.admin.labels import ROW_STATES, Label, Role, RowState
from sqlmigrator.core.plan import ChecksumState, Entry, State

FILE_STATES: Final[Mapping[State, Label]] = {
    State.PENDING: Label(
        _("pending"), Role.PLAIN, _("It has not run here. `manage.py migrate_apply` would run it.")
    ),
    State.OUT_OF_ORDER: Label(
        _("out of order"),
        Role.WARNING,
        _("It has not run here, but a later migration has."),
    ),
    State.CONFLICTING: Label(
        _("conflicting"),
        Role.BAD,
        _("It has not run here, and its number or its content is already taken."),
    ),
}


def row_state(entry: Entry | None) -> RowState:
    """The state of a row by its entry in the plan; None: its number belongs to another file."""
    if entry is None:
        return RowState.CONFLICTING
    if entry.state is State.APPLIED and entry.checksum_state is ChecksumState.UNVERIFIED:
        return RowState.UNVERIFIED
    return RowState(entry.state.value)


def entry_label(entry: Entry) -> Label:
    """The word for an entry: a row's state where there is a row, else the file's."""
    return ROW_STATES[row_state(entry)] if entry.record else FILE_STATES[entry.state]
