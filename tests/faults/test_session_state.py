"""Family 15: what a file does to its session reaches neither the bookkeeping nor the next file."""

from collections.abc import Callable

import pytest

from tests.faults.scenes import applied, attempts, role
from tests.support import Database, Folder, Result

# pg_dump writes the first line into every dump.
LEAKS = {
    "search_path": "SELECT pg_catalog.set_config('search_path', '', false);",
    "search_path elsewhere": "CREATE SCHEMA aside; SET search_path = aside;"
    "CREATE TABLE schema_migrations (version text, name text);",
    "settings": "SET timezone = 'Asia/Tokyo'; SET statement_timeout = '1ms'; SET lock_timeout = 1;"
    "SET statement_timeout = 0; SET work_mem = '64kB'; SET datestyle = 'SQL, DMY';",
    "custom setting": "SET app.tenant = 'seven';",
    "escape strings": "SET escape_string_warning = off; SET bytea_output = 'escape';",
    "replica": "SET session_replication_role = replica;",
    "read only": "SET default_transaction_read_only = on;",
    "serializable": "SET default_transaction_isolation = 'serializable';",
    "temporary table": "CREATE TEMP TABLE schema_migrations (version text, name text);"
    "CREATE TEMP TABLE schema_migrations_log (id int);",
    "temporary functions": "CREATE FUNCTION pg_temp.now() RETURNS timestamptz LANGUAGE sql"
    " AS $$SELECT '2000-01-01'::timestamptz$$;",
    "cursor": "DECLARE kept CURSOR WITH HOLD FOR SELECT generate_series(1, 10);",
    "listener": "LISTEN something;",
    "prepared": "PREPARE something AS SELECT 1;",
    "reset all": "SET statement_timeout = '1h'; RESET ALL;",
    "client encoding": "DO $$BEGIN PERFORM set_config('client_encoding', 'LATIN1', false); END$$;",
}
# Fails if the session is not as it was: run as the next migration.
CLEAN = """
DO $$
DECLARE
    found text := '';
BEGIN
    IF current_setting('search_path') <> '"$user", public' THEN
        found := found || ' search_path ' || current_setting('search_path');
    END IF;
    IF current_user <> session_user THEN found := found || ' role'; END IF;
    IF current_setting('timezone') <> 'UTC' THEN found := found || ' timezone'; END IF;
    IF current_setting('work_mem') = '64kB' THEN found := found || ' work_mem'; END IF;
    IF current_setting('datestyle') <> 'ISO, MDY' THEN found := found || ' datestyle'; END IF;
    IF current_setting('statement_timeout') <> '0' THEN found := found || ' timeout'; END IF;
    IF coalesce(current_setting('app.tenant', true), '') <> '' THEN
        found := found || ' app.tenant';
    END IF;
    IF current_setting('session_replication_role') <> 'origin' THEN
        found := found || ' session_replication_role';
    END IF;
    IF current_setting('default_transaction_read_only') <> 'off' THEN
        found := found || ' read only';
    END IF;
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        found := found || ' isolation';
    END IF;
    IF current_setting('client_encoding') <> 'UTF8' THEN found := found || ' encoding'; END IF;
    IF EXISTS (SELECT FROM pg_cursors WHERE name = 'kept') THEN found := found || ' cursor'; END IF;
    IF EXISTS (SELECT FROM pg_listening_channels()) THEN found := found || ' listener'; END IF;
    IF EXISTS (SELECT FROM pg_prepared_statements WHERE name = 'something') THEN
        found := found || ' prepared';
    END IF;
    IF EXISTS (SELECT FROM pg_class WHERE relpersistence = 't'
               AND relnamespace = pg_my_temp_schema()) THEN
        found := found || ' temporary table';
    END IF;
    IF found <> '' THEN RAISE EXCEPTION 'left behind:%', found; END IF;
END
$$;
"""


@pytest.fixture
def tracked(database: Database, folder: Folder, call: Callable[..., Result]) -> Database:
    folder.with_tracking()
    assert call("migrate_apply", "-v0").code == 0
    return database


def write_pairs(folder: Folder, before: str = "") -> int:
    """Write every leak as a file, each with the check after it; return the last number.

    After a statement that is sent by itself a change of the encoding is refused.
    """
    number = 1
    for leak, text in LEAKS.items():
        if before and leak == "client encoding":
            continue
        name = leak.replace(" ", "_")
        folder.write(f"{number + 1:03d}_leaks_{name}.sql", before.format(number=number) + text)
        folder.write(f"{number + 2:03d}_clean_after_{name}.sql", CLEAN)
        number += 2
    return number


def assert_all_ran(database: Database, result: Result, last: int) -> None:
    assert (result.code, result.err) == (0, "")
    versions = [f"{number:03d}" for number in range(1, last + 1)]
    rows = database.query(
        "SELECT version FROM public.schema_migrations WHERE checksum IS NOT NULL ORDER BY 1"
    )
    assert [row[0] for row in rows] == versions
    rows = database.query("SELECT version, state FROM public.schema_migrations_log ORDER BY id")
    assert rows == [(version, "done") for version in versions]


def test_the_next_file_starts_clean(
    tracked: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    last = write_pairs(folder)
    assert_all_ran(tracked, call("migrate_apply"), last)


def test_after_a_file_sent_statement_by_statement(
    tracked: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    last = write_pairs(
        folder,
        "CREATE TABLE public.c{number} (n int);\nCOPY public.c{number} FROM stdin;\n1\n\\.\n",
    )
    assert_all_ran(tracked, call("migrate_apply"), last)


def test_after_a_no_transaction_file(
    tracked: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    last = write_pairs(folder, "-- sqlmigrator: no-transaction\n")
    assert_all_ran(tracked, call("migrate_apply"), last)


def test_all_in_one_transaction(
    tracked: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    last = write_pairs(folder)
    assert_all_ran(tracked, call("migrate_apply", "--single-transaction"), last)


@pytest.mark.parametrize("leak", LEAKS)
def test_in_the_file_that_makes_the_tables(
    leak: str, database: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    """The first file on an empty database, which knows nothing of the tracking table."""
    folder.write("001_leaks.sql", LEAKS[leak])
    folder.write("002_clean.sql", CLEAN)
    assert_all_ran(database, call("migrate_apply"), 2)


def test_after_a_file_that_failed(
    tracked: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    """The failure itself is written with the session as it was."""
    for leak, text in LEAKS.items():
        folder.write("002_leaks.sql", f"{text}\nSELECT nothing;")
        result = call("migrate_apply")
        assert result.code == 1, leak
        assert 'column "nothing" does not exist [SQLSTATE 42703]' in result.err, leak
    assert {row[3] for row in attempts(tracked, "002")} == {"42703"}
    assert len(attempts(tracked, "002")) == len(LEAKS)
    assert applied(tracked) == ["001"]


@pytest.mark.parametrize(
    "change",
    ["SET ROLE {role};", "SET SESSION AUTHORIZATION {role};", "SET LOCAL ROLE {role};"],
)
@pytest.mark.parametrize("header", ["", "-- sqlmigrator: no-transaction\n"])
def test_a_role_without_rights(
    change: str, header: str, tracked: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    with role("NOLOGIN") as name:
        folder.write("002_role.sql", header + change.format(role=name))
        folder.write("003_clean.sql", CLEAN)
        assert_all_ran(tracked, call("migrate_apply"), 3)
