"""System checks: settings and file names at start-up, the databases when they are asked for.

All of them warn: an error would stop `manage.py migrate` too. Our own commands enforce the errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from django.core.checks import CheckMessage, Tags
from django.core.checks import Warning as CheckWarning
from django.core.checks import register as register_check

from sqlmigrator.conf import configured_aliases, get_config, setting_problems
from sqlmigrator.exceptions import SqlMigratorError

# Django's start-up imports this module: what only a running check needs is imported there.
if TYPE_CHECKING:
    from sqlmigrator.core.findings import Finding

TAG: Final = "sqlmigrator"
SETTINGS_ID: Final = "sqlmigrator.E100"
FOLDER_ID: Final = "sqlmigrator.E101"
DATABASE_ID: Final = "sqlmigrator.E102"
PENDING_ID: Final = "sqlmigrator.W100"
_SHOWN: Final = 3


def register() -> None:
    """Called by the AppConfig when Django is ready."""
    register_check(check_settings, TAG)
    register_check(check_names, TAG)
    register_check(check_databases, Tags.database, TAG)


def check_settings(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """settings.SQLMIGRATOR: unknown keys and values of the wrong kind."""
    return [
        CheckWarning(problem.message, hint=problem.hint, id=SETTINGS_ID)
        for problem in setting_problems()
    ]


def check_names(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """The file names in every configured folder; no file is read, no database asked."""
    from sqlmigrator.core.files import scan
    from sqlmigrator.core.history import History
    from sqlmigrator.core.planner import build_plan

    if setting_problems():
        return []  # told already
    messages: list[CheckMessage] = []
    seen = set()
    for alias in configured_aliases(only_postgresql=True):
        try:
            directory = get_config(alias).directory
            if directory in seen:
                continue
            seen.add(directory)
            plan = build_plan(scan(directory), History(schema="", exists=False))
        except SqlMigratorError as error:
            messages.append(_warning(error, FOLDER_ID))
        else:
            messages += _messages(f for f in plan.findings if _is_about_names(f))
    return messages


def check_databases(
    app_configs: Sequence[Any] | None, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """What the files and the history of `databases` say of each other; None asks no database."""
    if setting_problems():
        return []
    messages: list[CheckMessage] = []
    for alias in configured_aliases(only_postgresql=True):
        if alias not in (databases or ()):
            continue
        from sqlmigrator.core.findings import aimed_at
        from sqlmigrator.runner import MigrationRunner

        try:
            plan = MigrationRunner(alias).check()
        except SqlMigratorError as error:
            messages.append(_warning(error, DATABASE_ID))
        else:
            found = (f for f in plan.findings if not _is_about_names(f))
            messages += _messages(found, alias)
            if plan.pending and not plan.errors:
                count = len(plan.pending)
                what = "migration is" if count == 1 else "migrations are"
                messages.append(
                    CheckWarning(
                        f"{alias}: {count} SQL {what} pending, from {plan.pending[0].filename} on",
                        hint=aimed_at(alias, "`manage.py migrate_apply` applies them."),
                        id=PENDING_ID,
                    )
                )
    return messages


def _is_about_names(finding: Finding) -> bool:
    """Whether check_names() tells it; not of gaps, which a row of the history may fill."""
    from sqlmigrator.core import findings as rules

    return finding.rule in (
        rules.DUPLICATE_VERSION,
        rules.MISNAMED_FILE,
        rules.STRAY_FILE,
        rules.SUBFOLDER,
        rules.REVERSE_WITHOUT_FILE,
    )


def _warning(error: SqlMigratorError, check_id: str) -> CheckMessage:
    return CheckWarning(error.message, hint=error.hint or None, id=check_id)


def _messages(findings: Iterable[Finding], alias: str | None = None) -> Iterator[CheckMessage]:
    """One warning for each rule, however many findings it has."""
    from sqlmigrator.core.findings import DEFAULT_DATABASE, aimed_at

    prefix, database = f"{alias}: " if alias else "", alias or DEFAULT_DATABASE
    found = sorted(findings, key=lambda f: (not f.is_error, f.rule.id))
    for rule, group in groupby(found, key=lambda f: f.rule):
        same = list(group)
        texts = [_text(finding) for finding in same]
        if len(same) == 1:
            yield CheckWarning(prefix + texts[0], hint=same[0].hint, id=rule.id)
            continue
        listed = texts[:_SHOWN]
        if len(texts) > _SHOWN:
            more = f"… and {len(texts) - _SHOWN} more: `manage.py migrate_check` shows all"
            listed.append(aimed_at(database, more))
        text = "\n  - ".join([f"{prefix}{len(texts)} times: {rule.name}", *listed])
        yield CheckWarning(text, hint=aimed_at(database, rule.way_out), id=rule.id)


def _text(finding: Finding) -> str:
    if finding.files:
        names = ", ".join(file.rpartition("/")[2] for file in finding.files)
        return f"{finding.message}: {names}"
    if finding.line is not None and finding.location:
        return f"{finding.location}: {finding.message}"
    return finding.message
