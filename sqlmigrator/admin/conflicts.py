"""The conflicts of one database: what `migrate_check` finds, by kind, with the ways out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from sqlmigrator import git
from sqlmigrator.admin.base import COMPLETE, Trouble, chosen_database, with_database
from sqlmigrator.admin.labels import Label, Role, moment
from sqlmigrator.admin.reading import Reading, completed, read
from sqlmigrator.admin.sqltext import Listing, listing
from sqlmigrator.conf import configured_aliases
from sqlmigrator.core import findings as rules
from sqlmigrator.core.files import MigrationFile, duplicates
from sqlmigrator.core.findings import Finding, Rule
from sqlmigrator.core.history import version_number
from sqlmigrator.core.plan import Plan
from sqlmigrator.core.renumber import Rename, next_version, propose, where_applied
from sqlmigrator.core.report import excerpt_lines, short_id
from sqlmigrator.exceptions import SqlMigratorError
from sqlmigrator.runner import MigrationRunner
from sqlmigrator.survey import Survey, survey

if TYPE_CHECKING:
    from sqlmigrator.admin.base import ReadOnlyAdmin

_SHOWN: Final = 20  # findings of one kind
_SHOWN_DUPLICATES: Final = 10
_HEAD: Final = 12  # lines
_LARGEST_HEAD: Final = 1 << 20  # bytes; the runner does not keep larger files


@dataclass(frozen=True, slots=True)
class Contender:
    """One of the files that share a number: where it is applied, what becomes of it, its head."""

    filename: str
    applied: str
    fate: Label
    head: Listing | None


@dataclass(frozen=True, slots=True)
class Item:
    """One finding as it is shown."""

    finding: Finding
    place: str
    excerpt: str
    url: str = ""
    contenders: tuple[Contender, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """The findings of one rule."""

    rule: Rule
    code: str
    label: Label
    count: int
    items: tuple[Item, ...]

    @property
    def not_shown(self) -> int:
        return self.count - len(self.items)


@dataclass(frozen=True, slots=True)
class _WayOut:
    """What is known about the files that share a number, in all databases of the folder."""

    found: Survey
    applied: Mapping[str, str]
    renames: Mapping[str, Rename]
    next_number: str


def conflicts_page(admin: ReadOnlyAdmin, request: HttpRequest) -> HttpResponse:
    """Read-only; the server parses files (never runs them) where there are few, or when asked."""
    database = chosen_database(request)
    context = admin.page_context(request, _("Conflicts"), database)
    reading = read(database)
    if reading.plan is not None:
        try:
            context |= _plan_context(admin, request, reading)
        except SqlMigratorError as error:
            reading = Reading(database, reading.at, error=error)
    if reading.error is not None:
        return admin.page(request, "trouble", context | {"trouble": Trouble.of(reading.error)})
    return admin.page(request, "conflicts", context)


def _plan_context(admin: ReadOnlyAdmin, request: HttpRequest, reading: Reading) -> dict[str, Any]:
    runner = MigrationRunner(reading.database)
    plan, is_complete = completed(reading, asked=COMPLETE in request.GET)
    way_out = _way_out(runner, plan) if duplicates(plan.folder.files) else None
    groups = tuple(_groups(admin, plan, reading.database, way_out))
    return {
        "groups": groups,
        "errors": len(plan.errors),
        "warnings": len(plan.warnings),
        "folder": plan.folder.path,
        "files": len(plan.folder.files),
        "rows": len(plan.history.records),
        "pending": len(plan.pending),
        "at": reading.at,
        "is_complete": is_complete,
        "complete_url": with_database(request.path, reading.database, **{COMPLETE: "1"}),
        "way_out": way_out,
        "renumber": _command("migrate_renumber", reading.database),
        "check": _command("migrate_check", reading.database),
    }


def _command(name: str, database: str) -> str:
    chosen = f" --database {database}" if len(configured_aliases()) > 1 else ""
    return f"python manage.py {name}{chosen}"


def _groups(
    admin: ReadOnlyAdmin, plan: Plan, database: str, way_out: _WayOut | None
) -> Iterable[Group]:
    findings = sorted(plan.findings, key=lambda f: (not f.is_error, f.rule.id))
    for rule, members in groupby(findings, key=lambda finding: finding.rule):
        found = list(members)
        most = _SHOWN_DUPLICATES if rule is rules.DUPLICATE_VERSION else _SHOWN
        is_error = found[0].is_error
        label = Label(
            _("error") if is_error else _("warning"), Role.BAD if is_error else Role.WARNING
        )
        items = tuple(_item(admin, plan, f, database, way_out) for f in found[:most])
        yield Group(rule, short_id(rule), label, len(found), items)


def _item(
    admin: ReadOnlyAdmin,
    plan: Plan,
    finding: Finding,
    database: str,
    way_out: _WayOut | None,
) -> Item:
    place = ""
    if finding.line is not None and finding.file is not None:
        place = f"{Path(finding.file).name}:{finding.line}"
        place += f":{finding.column}" if finding.column else ""
    excerpt = "\n".join(line.text[4:] for line in excerpt_lines(finding.excerpt, finding.column))
    url = admin.migration_url(finding.version, database) if finding.version else ""
    contenders: tuple[Contender, ...] = ()
    if finding.rule is rules.DUPLICATE_VERSION and way_out is not None:
        number = version_number(finding.version or "")
        sharing = (file for file in plan.folder.files if file.number == number)
        contenders = tuple(_contender(file, way_out) for file in sharing)
    return Item(finding, place, excerpt, url, contenders)


# Duplicates


def _way_out(runner: MigrationRunner, plan: Plan) -> _WayOut:
    """Like `migrate_renumber`, from the files that were read already."""
    if len(configured_aliases()) > 1:
        found = survey(runner)
    else:
        found = Survey({runner.database: plan.history.records}, {})
    applied = where_applied(plan.folder.files, found.records)
    commits = git.first_commits(plan.folder.path)
    renames = propose(plan.folder, found.rows, applied, commits)
    return _WayOut(
        found,
        applied,
        {rename.source: rename for rename in renames},
        next_version(plan.folder, found.rows),
    )


def _contender(file: MigrationFile, way_out: _WayOut) -> Contender:
    rename = way_out.renames.get(file.filename)
    if rename is not None:
        becomes = gettext("becomes %(name)s: %(reason)s") % {
            "name": rename.target,
            "reason": rename.reason,
        }
        fate = Label(gettext("gets another number"), Role.WARNING, becomes)
    else:
        fate = Label(gettext("keeps the number"), Role.GOOD)
    applied = _where(file, way_out.found)
    return Contender(file.filename, applied, fate, _head(file))


def _where(file: MigrationFile, found: Survey) -> str:
    """Where the file is applied, for each database: it may be applied in one and not another."""
    told = []
    for alias, records in found.records.items():
        row = next((r for r in records if where_applied([file], {alias: [r]})), None)
        if row is None:
            told.append(gettext("not applied in %s") % alias)
        elif row.applied_at is None:
            told.append(gettext("applied in %s") % alias)
        else:
            told.append(
                gettext("applied in %(database)s on %(when)s")
                % {"database": alias, "when": moment(row.applied_at)}
            )
    told += [gettext("%s cannot be reached") % alias for alias in found.unreadable]
    return "; ".join(told)


def _head(file: MigrationFile) -> Listing | None:
    """The first lines, from the content that the plan was made of; None where there is none."""
    if file.statement_count is None:
        return None
    try:
        if file.path.stat().st_size > _LARGEST_HEAD:
            return None
        return listing(file.content().original, most=_HEAD)
    except (OSError, SqlMigratorError):
        return None  # changed or gone since the plan was made
