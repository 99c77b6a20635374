"""Help for a project's own tests: context managers, and pytest fixtures over them.

pytest loads the fixtures only when asked: `from sqlmigrator.testing import clean_sql_tables` in
conftest.py, or `pytest_plugins = ["sqlmigrator.testing"]`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from django.core.management import call_command
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder

from sqlmigrator.backends.base import get_backend
from sqlmigrator.conf import configured_aliases, get_config
from sqlmigrator.core.files import MigrationFile, discover
from sqlmigrator.core.history import version_number
from sqlmigrator.core.report import finding_lines
from sqlmigrator.dependencies import RunnerAfterDjango, migrations_are_off
from sqlmigrator.exceptions import ConfigurationError, PlanRefused
from sqlmigrator.results import ApplyResult

_SETTINGS: Final = {"NAME": "dbname", "HOST": "host", "PORT": "port", "USER": "user"}
_LOCK_TIMEOUT: Final = "10s"  # for another session of the test that still holds a table

# Tables that Django does not flush, those that others refer to first; with their triggers.
# `doomed` are those that refer to Django's tables: emptying these empties them too.
_TABLES: Final = """
WITH RECURSIVE kept AS (
  SELECT c.oid FROM pg_catalog.pg_class c
  WHERE c.relname = ANY (%s) AND pg_catalog.pg_table_is_visible(c.oid)
), own AS (
  SELECT c.oid FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind = 'r' AND c.relpersistence <> 't'
    AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
    AND c.relname NOT IN ('schema_migrations', 'schema_migrations_log', 'django_migrations')
    AND c.oid NOT IN (SELECT oid FROM kept)
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = c.oid
                    AND d.classid = 'pg_catalog.pg_class'::regclass AND d.deptype = 'e')
), refers AS (
  SELECT conrelid AS child, confrelid AS parent FROM pg_catalog.pg_constraint
  WHERE contype = 'f' AND conrelid <> confrelid
), doomed AS (
  SELECT oid FROM kept UNION SELECT child FROM refers JOIN doomed ON doomed.oid = parent
), depth AS (
  SELECT oid, 0 AS level FROM own
  UNION SELECT child, level + 1 FROM refers JOIN depth ON depth.oid = parent WHERE level < 100
)
SELECT pg_catalog.format('%%I.%%I', n.nspname, c.relname), c.oid IN (SELECT oid FROM doomed),
  ARRAY(SELECT pg_catalog.quote_ident(tgname) FROM pg_catalog.pg_trigger
        WHERE tgrelid = c.oid AND NOT tgisinternal AND tgenabled = 'O')
FROM own JOIN pg_catalog.pg_class c USING (oid)
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
ORDER BY (SELECT max(level) FROM depth WHERE depth.oid = c.oid), 1
"""


# Testing one migration


@dataclass(frozen=True, slots=True)
class MigrationUnderTest:
    """A scratch database at the version before `version`; the alias `database` leads to it."""

    version: str
    database: str

    def apply(self) -> ApplyResult:
        """Apply the migration. Raises MigrationFailed, PlanRefused."""
        return _apply(self.database, self.version)

    def execute(self, sql: str, params: Sequence[Any] | None = None) -> None:
        """Run a statement, or without `params` several."""
        with connections[self.database].cursor() as cursor:
            cursor.execute(sql, params)

    def query(self, sql: str, params: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        """Return the rows of a statement."""
        with connections[self.database].cursor() as cursor:
            cursor.execute(sql, params)
            return list(cursor.fetchall())


@contextmanager
def before_migration(
    version: str, database: str = DEFAULT_DB_ALIAS
) -> Iterator[MigrationUnderTest]:
    """Build a scratch database up to the version before `version`; drop it at the end.

    Inside, the alias `database` leads to it, so models and commands work on it too; what the test
    has open on its own database stays as it is. Of Django's migrations only those are applied that
    the files depend on. Raises ConfigurationError where no file has this version.
    """
    config = get_config(database)
    folder = discover(config.directory, needs_content=lambda file: True)
    number = version_number(version)
    files = [file for file in folder.files if number is not None and file.number <= number]
    if not files or files[-1].number != number:
        raise ConfigurationError(
            f"There is no migration {version!r} in {folder.path}.",
            hint="`manage.py migrate_status` lists the versions.",
        )
    with (
        get_backend(database).scratch_database(config, copy_schema=False) as scratch,
        _leading_to(database, scratch.connection),
    ):
        _build(database, files)
        yield MigrationUnderTest(version, database)


@contextmanager
def _leading_to(alias: str, parameters: Any) -> Iterator[None]:
    """Put another connection in the alias's place; the old one keeps its transaction."""
    old = connections[alias]
    new: BaseDatabaseWrapper = old.copy()
    names = _SETTINGS | {"PASSWORD": "password"}
    new.settings_dict |= {
        key: parameters[name] for key, name in names.items() if name in parameters
    }
    connections[alias] = new
    try:
        yield
    finally:
        connections[alias] = old
        new.close()


def _build(alias: str, files: Sequence[MigrationFile]) -> None:
    """Apply all files but the last, and Django's migrations that they and the last depend on."""
    before: MigrationFile | None = None
    for file in files:
        if before and (file.directives.depends or file is files[-1]):
            _apply(alias, before.version)
        for app_label, name in file.directives.depends:
            _migrate(alias, app_label, name)
        before = file


def _apply(alias: str, version: str) -> ApplyResult:
    try:
        return RunnerAfterDjango(alias).apply(to=version)
    except PlanRefused as refused:
        for finding in refused.findings:
            refused.add_note("\n".join(line.text for line in finding_lines(finding)))
        raise


def _migrate(alias: str, app_label: str, name: str) -> None:
    options: dict[str, Any] = {"database": alias, "verbosity": 0, "interactive": False}
    if migrations_are_off(app_label):
        call_command("migrate", run_syncdb=True, **options)
    elif (app_label, name) not in MigrationRecorder(connections[alias]).applied_migrations():
        call_command("migrate", app_label, name, **options)


# Cleaning up after tests that commit


@contextmanager
def clean_tables(*aliases: str) -> Iterator[None]:
    """Bring back, at the end, the rows of all tables that no managed model has.

    For tests that commit (TransactionTestCase): Django's flush empties only the tables of managed
    models, and fails where another table refers to one of them; the next flush empties such tables
    too. Without `aliases` that is `default`. Sequences go on.
    """
    with ExitStack() as stack:
        for alias in aliases or (DEFAULT_DB_ALIAS,):
            get_backend(alias)  # refuses what is not PostgreSQL
            stack.enter_context(_clean_tables(connections[alias]))
        yield


@contextmanager
def _clean_tables(connection: BaseDatabaseWrapper) -> Iterator[None]:
    with connection.cursor() as cursor:
        tables = _tables(connection, cursor)
        rows = {table: _copy_out(cursor, table) for table, is_doomed, _ in tables if not is_doomed}
    try:
        yield
    finally:
        _restore(connection, rows)
        _let_next_flush_cascade(connection)


def _tables(connection: BaseDatabaseWrapper, cursor: Any) -> list[tuple[str, bool, list[str]]]:
    managed = connection.introspection.django_table_names(only_existing=True, include_views=False)
    cursor.execute(_TABLES, [list(managed)])
    return list(cursor.fetchall())


def _copy_out(cursor: Any, table: str) -> bytes:
    with cursor.copy(f"COPY {table} TO STDOUT") as copy:
        return b"".join(copy)


def _restore(connection: BaseDatabaseWrapper, rows: dict[str, bytes]) -> None:
    """Empty the tables that are there now, and fill those that had rows, without triggers."""
    with transaction.atomic(connection.alias), connection.cursor() as cursor:
        tables = _tables(connection, cursor)
        if not tables:
            return
        cursor.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
        cursor.execute(f"TRUNCATE {', '.join(table for table, _, _ in tables)} CASCADE")
        for table, _, triggers in tables:
            if not rows.get(table):
                continue
            for trigger in triggers:
                cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER {trigger}")
            with cursor.copy(f"COPY {table} FROM STDIN") as copy:
                copy.write(rows[table])
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            for trigger in triggers:
                cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER {trigger}")


def _let_next_flush_cascade(connection: BaseDatabaseWrapper) -> None:
    operations: Any = connection.ops

    def sql_flush(*args: Any, **kwargs: Any) -> list[str]:
        del operations.sql_flush  # the class's own is back
        statements: list[str] = operations.sql_flush(*args, **kwargs | {"allow_cascade": True})
        return statements

    operations.sql_flush = sql_flush


# pytest

try:
    import pytest
except ImportError:  # the context managers above need none
    pass
else:

    @pytest.fixture
    def sql_migration(
        django_db_setup: None, django_db_blocker: Any
    ) -> Iterator[Callable[..., MigrationUnderTest]]:
        """Call before_migration with a version and an alias; the test's end ends it."""
        with ExitStack() as stack:
            stack.enter_context(django_db_blocker.unblock())

            def go_before(version: str, database: str = DEFAULT_DB_ALIAS) -> MigrationUnderTest:
                return stack.enter_context(before_migration(version, database))

            yield go_before

    @pytest.fixture
    def clean_sql_tables(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[None]:
        """A test that commits, in the databases of its mark django_db, with `clean_tables`."""
        mark = request.node.get_closest_marker("django_db")
        named = mark.kwargs.get("databases") if mark else None
        allowed = configured_aliases() if named == "__all__" else named or (DEFAULT_DB_ALIAS,)
        with ExitStack() as stack:
            for alias in filter(_has_sql_tables, allowed):
                stack.enter_context(clean_tables(alias))
            yield


def _has_sql_tables(alias: str) -> bool:
    connection = connections[alias]
    is_mirror = connection.settings_dict["TEST"]["MIRROR"]
    return alias in configured_aliases() and connection.vendor == "postgresql" and not is_mirror
