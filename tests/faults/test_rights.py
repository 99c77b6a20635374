"""A role that lacks a right is told so, once and clearly, before the first migration runs."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections
from pytest_django import Settings

from tests.faults.scenes import applied, exists, role
from tests.support import Database, Folder, Result


@pytest.fixture
def limited(
    database: Database,
    folder: Folder,
    add_alias: Callable[..., None],
    settings: Settings,
) -> Iterator[str]:
    """A role that may connect and see the schema, no more; the alias `limited` logs in as it."""
    with role("LOGIN PASSWORD 'limited'") as name:
        database.execute(
            "REVOKE ALL ON SCHEMA public FROM PUBLIC;"
            f"GRANT USAGE ON SCHEMA public TO {name};"
            f"CREATE SCHEMA own AUTHORIZATION {name};"
        )
        settings.SQLMIGRATOR = {
            "DIRECTORY": folder.path,
            "DATABASES": {"limited": {"DIRECTORY": folder.path}},
        }
        add_alias("limited", database, USER=name, PASSWORD="limited")
        yield name
        connections["limited"].close()


@pytest.fixture
def apply(call: Callable[..., Result]) -> Callable[..., Result]:
    return lambda *args: call("migrate_apply", "--database", "limited", *args)


@pytest.fixture
def tracked(
    limited: str, database: Database, folder: Folder, call: Callable[..., Result]
) -> Database:
    """The tables were made by another role, their owner."""
    folder.with_tracking()
    assert call("migrate_apply", "-v0").code == 0
    folder.write("002_t.sql", "CREATE TABLE own.t (n int);")
    return database


def refused(result: Result) -> list[str]:
    assert (result.code, result.out) == (3, "")
    return result.err.splitlines()


def test_may_not_create_in_the_schema(
    limited: str, database: Database, folder: Folder, apply: Callable[..., Result]
) -> None:
    folder.with_tracking()
    assert refused(apply()) == [
        "This role may not create tables in the schema 'public', where schema_migrations would be"
        " kept.",
        '  GRANT CREATE ON SCHEMA "public" TO …; or set search_path for the role.',
    ]
    assert not exists(database, "schema_migrations")


def test_may_not_even_see_the_schema(
    limited: str, database: Database, folder: Folder, apply: Callable[..., Result]
) -> None:
    database.execute(f"REVOKE USAGE ON SCHEMA public FROM {limited}")
    folder.with_tracking()
    assert refused(apply()) == [
        "The role's search_path names no schema that exists and that the role may use: there is"
        " nowhere to keep schema_migrations.",
        "  GRANT USAGE ON SCHEMA … TO …; or create the schema, or set search_path for the role or in"
        " the alias's OPTIONS.",
    ]
    assert not exists(database, "schema_migrations")


def test_may_not_read_the_history(
    limited: str, tracked: Database, apply: Callable[..., Result], call: Callable[..., Result]
) -> None:
    told = [
        'This role may not read "public".schema_migrations.',
        '  As its owner: GRANT SELECT, INSERT, UPDATE, DELETE ON "public".schema_migrations TO …;',
    ]
    assert refused(apply()) == told
    assert refused(call("migrate_check", "--database", "limited")) == told
    assert refused(call("migrate_status", "--database", "limited")) == told
    assert not exists(tracked, "own.t")


@pytest.mark.parametrize(
    ("granted", "missing"),
    [("SELECT", "INSERT, UPDATE"), ("SELECT, INSERT", "UPDATE"), ("SELECT, UPDATE", "INSERT")],
)
def test_may_not_write_the_history(
    granted: str, missing: str, limited: str, tracked: Database, apply: Callable[..., Result]
) -> None:
    tracked.execute(
        f"GRANT {granted} ON schema_migrations TO {limited};"
        f"GRANT ALL ON schema_migrations_log TO {limited}"
    )
    assert refused(apply()) == [
        f'This role may not {missing} "public".schema_migrations: no migration could be recorded.',
        '  As its owner: GRANT SELECT, INSERT, UPDATE, DELETE ON "public".schema_migrations TO …;',
    ]
    assert applied(tracked) == ["001"]
    assert not exists(tracked, "own.t")


def test_may_not_read_or_write_the_journal(
    limited: str, tracked: Database, apply: Callable[..., Result]
) -> None:
    tracked.execute(f"GRANT ALL ON schema_migrations TO {limited}")
    first, *_ = refused(apply())
    assert "schema_migrations_log" in first
    tracked.execute(f"GRANT SELECT ON schema_migrations_log TO {limited}")
    first, *_ = refused(apply())
    assert first == (
        'This role may not INSERT, UPDATE "public".schema_migrations_log:'
        " no migration could be recorded."
    )
    assert not exists(tracked, "own.t")


def test_with_just_these_rights_it_works(
    limited: str, tracked: Database, apply: Callable[..., Result]
) -> None:
    tracked.execute(
        f"GRANT SELECT, INSERT, UPDATE ON schema_migrations, schema_migrations_log TO {limited}"
    )
    result = apply()
    assert (result.code, result.err) == (0, "")
    assert applied(tracked) == ["001", "002"]
    assert exists(tracked, "own.t")


def test_the_journal_is_missing_and_may_not_be_made(
    limited: str, tracked: Database, apply: Callable[..., Result]
) -> None:
    tracked.execute(
        f"DROP TABLE schema_migrations_log; GRANT ALL ON schema_migrations TO {limited}"
    )
    first, *_ = refused(apply())
    assert "may not create tables in the schema 'public'" in first
    assert not exists(tracked, "own.t")


@pytest.mark.parametrize("policy", ["", "CREATE POLICY p ON schema_migrations USING (false);"])
def test_row_level_security_hides_the_history(
    policy: str,
    limited: str,
    tracked: Database,
    apply: Callable[..., Result],
    call: Callable[..., Result],
) -> None:
    tracked.execute(
        f"GRANT ALL ON schema_migrations, schema_migrations_log TO {limited};"
        f"ALTER TABLE schema_migrations ENABLE ROW LEVEL SECURITY;{policy}"
    )
    told = [
        'Row level security hides rows of "public".schema_migrations from this role.',
        "  An empty history would read as: everything is pending.",
        "  Connect as the table's owner, or give the role BYPASSRLS.",
    ]
    assert refused(apply()) == told
    assert refused(call("migrate_check", "--database", "limited")) == told
    assert refused(call("migrate_status", "--database", "limited")) == told
    assert not exists(tracked, "own.t")
    # The owner is not concerned.
    assert call("migrate_check").code == 0


def test_row_level_security_on_the_journal(
    limited: str, tracked: Database, apply: Callable[..., Result], call: Callable[..., Result]
) -> None:
    tracked.execute(
        f"GRANT ALL ON schema_migrations, schema_migrations_log TO {limited};"
        "ALTER TABLE schema_migrations_log ENABLE ROW LEVEL SECURITY"
    )
    for result in (
        apply(),
        call("migrate_check", "--database", "limited"),
        call("migrate_status", "--database", "limited"),
        call("migrate_status", "--history", "--database", "limited"),
    ):
        assert refused(result) == [
            'Row level security hides rows of "public".schema_migrations_log from this role.',
            "  An interrupted migration would be overlooked.",
            "  Connect as the table's owner, or give the role BYPASSRLS.",
        ]
    assert not exists(tracked, "own.t")


def test_a_serial_id_needs_its_sequence(
    limited: str, tracked: Database, apply: Callable[..., Result]
) -> None:
    """A table made by hand with `id serial`: INSERT alone is not enough."""
    tracked.execute(
        "DROP TABLE schema_migrations CASCADE;"
        "CREATE TABLE schema_migrations (id serial PRIMARY KEY, version text NOT NULL UNIQUE,"
        " name text NOT NULL, applied_at timestamptz DEFAULT now(), checksum text,"
        " execution_time_ms int, applied_by text);"
        "INSERT INTO schema_migrations (version, name) VALUES ('001', 'migration_tracking');"
        f"GRANT ALL ON schema_migrations, schema_migrations_log TO {limited};"
    )
    first, *rest = refused(apply())
    assert "schema_migrations_id_seq" in f"{first} {rest}"
    assert not exists(tracked, "own.t")
    tracked.execute(f"GRANT USAGE ON SEQUENCE schema_migrations_id_seq TO {limited}")
    assert apply().code == 0


def test_what_only_the_migration_knows_fails_there_and_is_rolled_back(
    limited: str, tracked: Database, folder: Folder, apply: Callable[..., Result]
) -> None:
    tracked.execute(f"GRANT ALL ON schema_migrations, schema_migrations_log TO {limited}")
    folder.write("002_t.sql", "CREATE TABLE own.t (n int);\nDROP TABLE schema_migrations CASCADE;")
    result = apply()
    assert result.code == 1
    assert "002_t.sql:2:1: must be owner of table schema_migrations [SQLSTATE 42501]" in result.err
    assert "Grant the right to the role, or run as the owner of the object." in result.err
    assert not exists(tracked, "own.t")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"USER": "sqlmigrator_nobody"}, "sqlmigrator_nobody"),
        ({"NAME": "sqlmigrator_nowhere"}, 'database "sqlmigrator_nowhere" does not exist'),
    ],
)
def test_the_login_is_refused(
    change: dict[str, Any],
    told: str,
    database: Database,
    folder: Folder,
    call: Callable[..., Result],
    add_alias: Callable[..., None],
    settings: Settings,
) -> None:
    folder.with_tracking()
    settings.SQLMIGRATOR = {"DATABASES": {"wrong": {"DIRECTORY": folder.path}}}
    add_alias("wrong", database, **change)
    for command in ("migrate_apply", "migrate_check", "migrate_status"):
        first, *rest = refused(call(command, "--database", "wrong"))
        assert first.startswith("The database 'wrong' cannot be reached: ")
        assert told in first
        assert len(rest) >= 1
