"""Test databases: with APPLY_TO_TEST_DATABASES the SQL migrations run while Django makes one.

`pre_migrate` alone will not do: every `manage.py migrate` in production sends it too. So the
receivers are connected only while `create_test_db()` runs, which Django documents, and which its
test runner, pytest-django and `manage.py testserver` call.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.db.backends.base.creation import BaseDatabaseCreation
from django.db.models.signals import post_migrate, pre_migrate

from sqlmigrator.conf import SETTING, configured_aliases

# What applies the migrations is imported when it is needed: this module is at every start-up.
if TYPE_CHECKING:
    from sqlmigrator.exceptions import SqlMigratorError

KEY: Final = "APPLY_TO_TEST_DATABASES"
_KEPT: Final = (
    "  If the test database was kept from an earlier run, make it anew: "
    "`pytest --create-db`, or `manage.py test` without --keepdb."
)


def register() -> None:
    """Watch `create_test_db()`; called by the AppConfig when Django is ready."""
    create = BaseDatabaseCreation.create_test_db
    if getattr(create, "is_watched", False):
        return

    @functools.wraps(create)
    def create_test_db(self: BaseDatabaseCreation, *args: Any, **kwargs: Any) -> str:
        with _applying(self.connection.alias):
            return create(self, *args, **kwargs)

    create_test_db.is_watched = True  # type: ignore[attr-defined]
    BaseDatabaseCreation.create_test_db = create_test_db  # type: ignore[method-assign]


@contextmanager
def _applying(alias: str) -> Iterator[None]:
    """Apply the SQL migrations of `alias` around the `migrate` that runs inside."""
    if not _is_asked_for(alias) or not _is_supported(alias):
        yield
        return
    done = set()  # both signals are sent once for every app

    def before(using: str, **kwargs: Any) -> None:
        if using == alias and "before" not in done:
            done.add("before")
            _apply(alias, before_django=True, **kwargs)

    def after(using: str, **kwargs: Any) -> None:
        if using == alias and "after" not in done:
            done.add("after")
            _apply(alias, before_django=False, **kwargs)

    pre_migrate.connect(before)
    post_migrate.connect(after)
    try:
        yield
    finally:
        pre_migrate.disconnect(before)
        post_migrate.disconnect(after)


def _is_asked_for(alias: str) -> bool:
    """Read the one key only: where it is off, a wrong setting must not disturb the tests."""
    raw = getattr(settings, SETTING, {})
    if not isinstance(raw, Mapping) or alias not in configured_aliases(only_postgresql=True):
        return False
    databases = raw.get("DATABASES", {})
    own = databases.get(alias) if isinstance(databases, Mapping) else None
    return bool((own if isinstance(own, Mapping) and KEY in own else raw).get(KEY))


def _is_supported(alias: str) -> bool:
    """False, and a line on stderr, for a database that is not PostgreSQL: its tests go on."""
    from sqlmigrator.backends.base import get_backend
    from sqlmigrator.exceptions import DatabaseRefused

    try:
        get_backend(alias)
    except DatabaseRefused as refused:
        sys.stderr.write(f"{_text(refused)}\n")
        return False
    return True


def _apply(alias: str, *, before_django: bool, verbosity: int, **kwargs: Any) -> None:
    """Apply what can be applied before Django's migrations, or all that is left after them."""
    from django.core.management.base import CommandError

    from sqlmigrator.dependencies import RunnerAfterDjango, apply_unblocked
    from sqlmigrator.exceptions import SqlMigratorError
    from sqlmigrator.runner import MigrationRunner

    try:
        if before_django:
            result = apply_unblocked(MigrationRunner(alias))
        else:
            result = RunnerAfterDjango(alias).apply()
    except SqlMigratorError as error:
        raise CommandError(f"SQL migrations on the test database:\n{_text(error)}") from None
    if result.applied and verbosity >= 1:
        count = len(result.applied)
        out = kwargs.get("stdout") or sys.stdout
        out.write(f"Applied {count} SQL migration{'s' if count > 1 else ''} to {alias!r}.\n")


def _text(error: SqlMigratorError) -> str:
    """What is wrong, why it matters and what mends it, on several lines."""
    from sqlmigrator.core.report import excerpt_lines, finding_lines
    from sqlmigrator.exceptions import PlanRefused
    from sqlmigrator.results import MigrationFailed

    if isinstance(error, MigrationFailed) and (failure := error.result.failure):
        lines = [f"{failure.location}: {failure.message}"]
        lines += [line.text for line in excerpt_lines(failure.excerpt, failure.column)]
        lines += [f"  {text}" for text in (failure.detail, failure.hint, failure.context) if text]
        return "\n".join(lines)
    lines = [error.message]
    if isinstance(error, PlanRefused):
        lines += [line.text for finding in error.findings for line in finding_lines(finding)]
        return "\n".join([*lines, _KEPT])
    return "\n".join([*lines, *(f"  {text}" for text in (error.why, error.hint) if text)])
