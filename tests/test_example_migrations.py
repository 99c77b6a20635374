"""The files in migrations_sql/, run as psql would: without the engine."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support import ROOT, TRACKING, Database

FOLDER = ROOT / "migrations_sql"
FILES = sorted(FOLDER.glob("*.sql"))


def run(database: Database, path: Path) -> None:
    sql = path.read_text()
    # A message with several statements is one transaction, which this file must not be in.
    parts = sql.split(";\n\n") if "-- sqlmigrator: no-transaction" in sql else [sql]
    for part in parts:
        database.execute(part)


def test_the_app_ships_the_examples_first_file() -> None:
    shipped = ROOT / "sqlmigrator" / "sql" / TRACKING
    assert shipped.read_bytes() == (FOLDER / TRACKING).read_bytes()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_header_agrees_with_the_name(path: Path) -> None:
    version, name = path.stem.split("_", 1)
    title = name.replace("_", " ")
    header = rf"-- Migration: {title}\n-- Version: {version}\n-- Date: \d{{4}}-\d\d-\d\d\n-- Descr"
    assert re.match(header, path.read_text())


def test_all_of_them_run(database: Database) -> None:
    for path in FILES:
        run(database, path)
    assert database.query(
        "SELECT count(*), bool_and(obj_description(oid) IS NOT NULL) FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v')"
    ) == [(9, True)]
    assert database.query(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = 'requests_queue_idx'::regclass"
    ) == [(True,)]


def test_the_inbox_counts_what_others_wrote(database: Database) -> None:
    for path in FILES:
        run(database, path)
    database.execute("""
        INSERT INTO people (email, full_name, is_agent)
            VALUES ('ann@example.org', 'Ann', false), ('bob@example.org', 'Bob', true);
        INSERT INTO requests (requester_id, assignee_id, subject)
            SELECT ann.id, bob.id, 'It is down' FROM people ann, people bob
            WHERE ann.full_name = 'Ann' AND bob.full_name = 'Bob';
        INSERT INTO messages (request_id, author_id, body)
            SELECT id, assignee_id, 'Have you tried turning it off?' FROM requests
    """)
    assert database.query("""
        SELECT full_name, reference, status, unread FROM inbox
        JOIN people ON people.id = person_id ORDER BY 1
    """) == [("Ann", 1000, "waiting", 1), ("Bob", 1000, "waiting", 0)]


def test_tracking_twice_records_itself_once(database: Database) -> None:
    for _ in range(2):
        run(database, FOLDER / TRACKING)
    assert database.query("SELECT id, version, name, checksum FROM schema_migrations") == [
        (1, "001", "migration_tracking", None)
    ]


def test_the_newest_version_is_first_and_what_is_no_number_last(database: Database) -> None:
    run(database, FOLDER / TRACKING)
    long = "9" * 40
    versions = ["9", "037b", "0003", "20250101120000", "10", long, "", "8" * 2000]
    for version in versions:
        database.query(
            "INSERT INTO schema_migrations (version, name) VALUES (%s, 'x') RETURNING 1", version
        )
    shown = [row[0] for row in database.query("SELECT version FROM migration_status")]
    assert shown[:6] == [long, "20250101120000", "10", "9", "0003", "001"]
    assert set(shown[6:]) == {"037b", "", "8" * 2000}


@pytest.mark.parametrize(
    ("age", "category"),
    [
        (timedelta(), "recent"),
        (timedelta(hours=23), "recent"),
        (timedelta(days=1), "this_week"),
        (timedelta(days=6, hours=23), "this_week"),
        (timedelta(days=7), "this_month"),
        (timedelta(days=29), "this_month"),
        (timedelta(days=30), "older"),
    ],
)
def test_the_age_category(database: Database, age: timedelta, category: str) -> None:
    run(database, FOLDER / TRACKING)
    assert database.query(
        "UPDATE schema_migrations SET applied_at = now() - %s RETURNING 1",
        age,
    ) == [(1,)]
    assert database.query("SELECT age_category FROM migration_status") == [(category,)]


def test_a_table_made_by_hand_gets_what_it_lacks(database: Database) -> None:
    database.execute(
        "CREATE TABLE schema_migrations (version int PRIMARY KEY, name text, extra text);"
        "INSERT INTO schema_migrations VALUES (2, 'by_hand', 'mine')"
    )
    run(database, FOLDER / TRACKING)
    assert database.query("SELECT id, version, name, age_category FROM migration_status") == [
        (1, 2, "by_hand", "recent"),
        (2, 1, "migration_tracking", "recent"),
    ]


def test_another_schema(database: Database) -> None:
    script = (FOLDER / TRACKING).read_text()
    database.execute(f"CREATE SCHEMA other; SET search_path = other; {script}")
    assert database.query("SELECT version FROM other.migration_status") == [("001",)]
    assert database.query("SELECT to_regclass('public.schema_migrations')") == [(None,)]


def test_published_roles_have_no_rights(database: Database) -> None:
    script = (FOLDER / TRACKING).read_text()
    with database.connect(autocommit=False) as connection:
        connection.execute(f"""
            DO $$ BEGIN
                IF to_regrole('anon') IS NULL THEN CREATE ROLE anon; END IF;
            END $$;
            ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO anon;
            ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO anon;
            {script};
            CREATE TABLE other ()
        """)
        privileges = connection.execute("""
            SELECT has_table_privilege('anon', 'other', 'SELECT'),
                   has_table_privilege('anon', 'schema_migrations', 'SELECT'),
                   has_table_privilege('anon', 'migration_status', 'SELECT'),
                   has_sequence_privilege('anon', 'schema_migrations_id_seq', 'USAGE')
        """).fetchall()
        connection.rollback()  # a role is the server's, not the database's
    assert privileges == [(True, False, False, False)]
