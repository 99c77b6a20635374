"""The states of a plan in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from django.utils.translation import gettext_lazy as _

from sqlmigrator.admin.labels import ROW_STATES, Label, Role, RowState
from sqlmigrator.core.plan import Entry, Plan, State

FILE_STATES: Final[Mapping[State, Label]] = {
    State.PENDING: Label(
        _("pending"),
        Role.PLAIN,
        _(
            "It is not applied here yet. `manage.py migrate_apply` runs it, unless a conflict"
            " stands against that."
        ),
    ),
    State.OUT_OF_ORDER: Label(
        _("out of order"),
        Role.WARNING,
        _("It is not applied here, but a later migration is."),
    ),
    State.CONFLICTING: Label(
        _("conflicting"),
        Role.BAD,
        _("It has not run here, and its number or its content is already taken."),
    ),
}
# Where the page says what stands against it: it may be running, or have run in part.
NOT_YET: Final = Label(_("pending"), Role.PLAIN, _("It is not applied here yet."))


_OF_STATE: Final = {state: RowState(state.value) for state in State if state not in FILE_STATES}


def row_states(plan: Plan) -> dict[str, RowState]:
    """The states of the plan's rows by version."""
    # A row without an entry has a number that belongs to another file.
    states = dict.fromkeys((r.version for r in plan.history.records), RowState.CONFLICTING)
    states.update((e.record.version, _row_state(e)) for e in plan.entries if e.record)
    return states


def _row_state(entry: Entry) -> RowState:
    # Not by checksum_state, which compares again what made the file count as applied.
    if entry.state is State.APPLIED and entry.record and not entry.record.checksum:
        return RowState.UNVERIFIED
    return _OF_STATE.get(entry.state, RowState.CONFLICTING)


def entry_label(entry: Entry) -> Label:
    """The word for an entry: a row's state where there is a row, else the file's."""
    return ROW_STATES[_row_state(entry)] if entry.record else FILE_STATES[entry.state]
