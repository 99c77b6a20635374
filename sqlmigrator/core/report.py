"""Plans, findings and attempts as text for people. Values in, lines out."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

from sqlmigrator.core import findings as rules
from sqlmigrator.core.durations import format_duration
from sqlmigrator.core.findings import Finding
from sqlmigrator.core.history import AppliedRecord, Attempt, AttemptState, Change
from sqlmigrator.core.plan import Entry, Plan, State, interruption

WIDTH: Final = 80
_SHOWN_OF_A_KIND: Final = 3  # findings of one rule, unless everything is asked for
_SHOWN_DUPLICATES: Final = 8
_SHOWN_PENDING: Final = 15
_SHOWN_BLOCKED: Final = 2  # pending migrations, while an error keeps them from being applied


class Role(StrEnum):
    """What a line is; the commands choose the colour."""

    PLAIN = "plain"
    HEADING = "heading"
    GOOD = "good"
    BAD = "bad"
    WARNING = "warning"


class Line(NamedTuple):
    """One line of text for people."""

    text: str
    role: Role = Role.PLAIN


_STATE_ROLES: Final = {
    State.APPLIED: Role.GOOD,
    State.PENDING: Role.PLAIN,
    State.OUT_OF_ORDER: Role.WARNING,
    State.AHEAD: Role.WARNING,
}


def check_lines(plan: Plan, *, everything: bool, offline: bool = False) -> Iterator[Line]:
    """What `migrate_check` prints: the summary, the findings grouped by kind, what would run."""
    yield Line(_summary(plan, offline), Role.HEADING)
    for rule, group in groupby(_by_rule(plan.findings), key=lambda finding: finding.rule):
        yield Line("")
        yield from _group_lines(rule, list(group), everything, plan.database)
    yield Line("")
    yield from pending_lines(plan, everything=everything)
    yield Line("")
    yield from _next_lines(plan, offline)


def _summary(plan: Plan, offline: bool) -> str:
    unverified = sum(not record.checksum for record in plan.history.records)
    noted = f" ({unverified} without a checksum)" if unverified else ""
    parts = [] if offline else [f"{len(plan.history.records)} applied{noted}"]
    files = len(plan.folder.files) + len(plan.folder.misnamed)
    parts.append(_count(files, "file") if offline else f"{len(plan.pending)} pending")
    parts += [_count(len(plan.errors), "error"), _count(len(plan.warnings), "warning")]
    return f"{plan.folder.path}: {', '.join(parts)}"


def _by_rule(findings: Iterable[Finding]) -> list[Finding]:
    """Errors first, findings of one rule together."""
    return sorted(findings, key=lambda f: (not f.is_error, f.rule.id))


def _group_lines(
    rule: rules.Rule, group: list[Finding], everything: bool, database: str
) -> Iterator[Line]:
    mark, role = ("✗", Role.BAD) if group[0].is_error else ("!", Role.WARNING)
    if rule is rules.DUPLICATE_VERSION:
        shown = group if everything else group[:_SHOWN_DUPLICATES]
        for finding in shown:
            yield Line(f"{mark} {finding.message}:", role)
            yield from (Line(f"  - {detail}") for detail in finding.details)
    elif len(group) <= _SHOWN_OF_A_KIND or everything:
        shown = group
        for finding in group:
            yield from finding_lines(finding)
    else:
        shown = group[:_SHOWN_OF_A_KIND]
        yield Line(f"{mark} {len(group)} times: {rule.name} [{short_id(rule)}]", role)
        for finding in shown:
            yield Line(f"  - {_located(finding)}")
        yield from _wrapped(rules.aimed_at(database, rule.way_out), "    ")
    if len(group) > len(shown):
        yield Line(f"  … and {len(group) - len(shown)} more (--verbosity 2 shows all)")


def short_id(rule: rules.Rule) -> str:
    """Return "E005" for "sqlmigrator.E005"."""
    return rule.id.removeprefix("sqlmigrator.")


def finding_lines(finding: Finding) -> Iterator[Line]:
    """One finding: what, where with the line and a caret, and the way out."""
    mark, role = ("✗", Role.BAD) if finding.is_error else ("!", Role.WARNING)
    yield Line(f"{mark} {finding.message} [{short_id(finding.rule)}]", role)
    if finding.location and _is_nameless(finding):
        yield Line(f"    {finding.location}")
        yield from excerpt_lines(finding.excerpt, finding.column)
    yield from (Line(f"  - {detail}") for detail in finding.details)
    yield from _wrapped(finding.hint, "    ")


def _is_nameless(finding: Finding) -> bool:
    """Whether the message alone does not say where it is."""
    if finding.file is None:
        return False
    return finding.line is not None or Path(finding.file).name not in finding.message


def _located(finding: Finding) -> str:
    """The message, with the file's name and line in front where it does not say them."""
    if finding.location is None or not _is_nameless(finding):
        return finding.message
    return f"{Path(finding.location).name}: {finding.message}"


def excerpt_lines(excerpt: str | None, column: int | None) -> Iterator[Line]:
    """The line of the file, cut to the terminal around the column, and a caret under it."""
    if excerpt is None or column is None:
        return
    text = excerpt.replace("\t", " ")
    start = max(0, column - 1 - 50) if len(text) > WIDTH - 8 else 0
    shown = text[start : start + WIDTH - 8]
    yield Line(f"    | {shown}")
    before = sum(_columns(character) for character in shown[: column - 1 - start])
    yield Line(f"    | {' ' * before}^")


def _columns(character: str) -> int:
    """Terminal columns that a character takes (Unicode Standard Annex 11)."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _wrapped(text: str, indent: str) -> Iterator[Line]:
    line = indent
    for word in text.split():
        if len(line) + len(word) >= WIDTH and line.strip():
            yield Line(line.rstrip())
            line = indent
        line += word + " "
    if line.strip():
        yield Line(line.rstrip())


def pending_lines(plan: Plan, *, everything: bool) -> Iterator[Line]:
    """The migrations that would run, in order."""
    if not plan.pending:
        yield Line("No migration is pending.")
        return
    yield Line(f"Would be applied, in this order ({len(plan.pending)}):", Role.HEADING)
    most = _SHOWN_BLOCKED if plan.errors else _SHOWN_PENDING
    shown = plan.pending if everything else plan.pending[:most]
    for entry in shown:
        yield Line(f"  {entry.filename}{_notes(entry)}")
    if len(shown) < len(plan.pending):
        more = len(plan.pending) - len(shown)
        yield Line(f"  … and {more} more (--verbosity 2 shows all)")


def _notes(entry: Entry) -> str:
    notes = []
    if entry.file is not None:
        if entry.file.statement_count is not None:
            notes.append(_count(entry.file.statement_count, "statement"))
        if entry.file.directives.no_transaction:
            notes.append("no transaction")
    if entry.state is State.OUT_OF_ORDER:
        notes.append("out of order")
    return f"   ({', '.join(notes)})" if notes else ""


def _next_lines(plan: Plan, offline: bool) -> Iterator[Line]:
    if any(finding.rule is rules.DUPLICATE_VERSION for finding in plan.findings):
        text = "Next: `manage.py migrate_renumber` shows the renames, `--write` does them."
        yield Line(rules.aimed_at(plan.database, text))
        yield Line("Cannot proceed with duplicate migration versions!", Role.BAD)
    elif plan.errors:
        yield Line(
            f"Cannot proceed: {_count(len(plan.errors), 'error')} to settle, as told above.",
            Role.BAD,
        )
    elif offline:
        yield Line("The files are in order.", Role.GOOD)
    elif plan.pending:
        text = "Next: `manage.py migrate_apply` applies them."
        yield Line(rules.aimed_at(plan.database, text), Role.GOOD)
    else:
        yield Line("Nothing to do: the database is up to date.", Role.GOOD)


def status_lines(plan: Plan, *, only_pending: bool) -> Iterator[Line]:
    """What `migrate_status` prints: every version, what is known of the applied ones, totals."""
    entries = plan.entries
    if only_pending:
        entries = plan.pending
    yield Line("Available Migrations", Role.HEADING)
    width = max([3, *(len(entry.version) for entry in entries)])
    for entry in entries:
        text = f"  {entry.version:<{width}}  {entry.state:<12}  {entry.name}"
        if entry.attempt is not None and entry.attempt.is_interrupted and not entry.record:
            text += f" ({interruption(entry.attempt)})"
        yield Line(_cut(text), _STATE_ROLES.get(entry.state, Role.BAD))
    if not entries:
        yield Line("  (none)")
    if not only_pending:
        yield Line("")
        yield Line("Applied Migrations", Role.HEADING)
        yield from _applied_lines([e for e in entries if e.record is not None], width)
    yield Line("")
    yield Line(_totals(plan))


def _applied_lines(entries: list[Entry], width: int) -> Iterator[Line]:
    if not entries:
        yield Line("  (none)")
        return
    yield Line(f"  {'':<{width}}  {'applied at (UTC)':<16}  {'took':>10}  {'checksum':<10}  by")
    for entry in entries:
        record = entry.record
        assert record is not None
        took = "" if record.execution_time_ms is None else format_duration(record.execution_time_ms)
        text = (
            f"  {entry.version:<{width}}  {_time(record.applied_at):<16}  {took:>10}"
            f"  {entry.checksum_state or '':<10}  {record.applied_by or ''}"
        )
        yield Line(_cut(text))


def _totals(plan: Plan) -> str:
    totals = [
        f"Total: {len(plan.entries)}",
        f"Applied: {len(plan.history.records)}",
        f"Pending: {plan.count(State.PENDING, State.OUT_OF_ORDER)}",
    ]
    others = (State.MISSING, State.AHEAD, State.CHANGED, State.CONFLICTING)
    totals += [f"{s.capitalize()}: {count}" for s in others if (count := plan.count(s))]
    return " | ".join(totals)


def history_lines(attempts: Iterable[Attempt]) -> Iterator[Line]:
    """What `migrate_status --history` prints: every attempt, newest first."""
    yield Line("History of attempts, newest first", Role.HEADING)
    empty = True
    for attempt in attempts:
        empty = False
        role = Role.BAD if attempt.state is AttemptState.FAILED else Role.PLAIN
        took = format_duration(attempt.execution_time_ms) if attempt.execution_time_ms else ""
        yield Line(
            _cut(
                f"  {_time(attempt.started_at)}  {attempt.state:<8}  {attempt.action:<8}"
                f"  {attempt.version}_{attempt.name}  {took}  {attempt.applied_by or ''}"
            ),
            role,
        )
        if attempt.error:
            where = f"line {attempt.line}: " if attempt.line else ""
            code = f"{attempt.sqlstate} " if attempt.sqlstate else ""
            yield from _wrapped(f"{code}{where}{attempt.error}", "      ")
        if attempt.reason:
            yield from _wrapped(f"reason: {attempt.reason}", "      ")
        if attempt.is_interrupted:
            yield Line(f"      {interruption(attempt)}")
    if empty:
        yield Line("  (none)")


def change_lines(changes: Iterable[Change]) -> Iterator[Line]:
    """What a change by hand does to the history: the row before and after."""
    for change in changes:
        before, after = change.before, change.after
        if before is not None:
            yield Line(_cut(f"  - {_row_text(before)}"), Role.BAD)
        if after is not None:
            yield Line(_cut(f"  + {_row_text(after)}"), Role.GOOD)
        if before is None and after is None:
            yield Line(f"  {change.version}_{change.name}: its interrupted attempt is closed")


def _row_text(record: AppliedRecord) -> str:
    checksum = f"checksum {record.checksum[:12]}" if record.checksum else "no checksum"
    return f"{record.version}  {record.name}  {checksum}"


def _time(when: datetime | None) -> str:
    if when is None:
        return ""
    when = when.astimezone(UTC) if when.tzinfo else when
    return f"{when:%Y-%m-%d %H:%M}"


def _cut(text: str) -> str:
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
