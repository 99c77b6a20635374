"""Tables that are there already: made by hand, by another tool, in another schema."""

import hashlib
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connections

from sqlmigrator.conf import get_config
from sqlmigrator.core.plan import ChecksumState, State
from sqlmigrator.exceptions import DatabaseRefused, PlanRefused
from sqlmigrator.results import MigrationFailed
from sqlmigrator.runner import MigrationRunner
from tests.support import Database, Folder, Result

SECOND = "CREATE TABLE second (id int);\n"
THIRD = "CREATE TABLE third (id int);\n"

SHAPES = {
    "without id": "version text PRIMARY KEY, name text NOT NULL, applied_at timestamptz DEFAULT now(),"
    " checksum text, execution_time_ms int, applied_by text",
    "with id": "id serial PRIMARY KEY, version varchar(20) UNIQUE NOT NULL, name varchar(255) NOT NULL,"
    " applied_at timestamp DEFAULT now(), checksum char(64), execution_time_ms int, applied_by text",
    "integer": "version int PRIMARY KEY, name text, applied_at timestamptz, checksum text,"
    " execution_time_ms int, applied_by text",
    "bigint": "id uuid DEFAULT gen_random_uuid() PRIMARY KEY, version bigint UNIQUE, name text",
    "numeric": "version numeric, name text, checksum text",
    "only what is needed": "version text, name text",
    "extra columns": "version text PRIMARY KEY, name text, checksum text, team text DEFAULT 'ops',"
    " notes jsonb NOT NULL DEFAULT '{}'",
    "no unique constraint": "version text, name text, checksum text, applied_at timestamptz",
    "partial unique index": "version text, name text, gone boolean DEFAULT false",
    "unique over two": "version text, name text, UNIQUE (version, name)",
    "odd names": 'version text PRIMARY KEY, name text, "select" int DEFAULT 1, "A b" int DEFAULT 2',
}


def make(database: Database, columns: str) -> None:
    database.execute(f"CREATE TABLE schema_migrations ({columns})")
    if "gone" in columns:
        database.execute("CREATE UNIQUE INDEX ON schema_migrations (version) WHERE NOT gone")
    database.execute("INSERT INTO schema_migrations (version, name) VALUES ('002', 'second')")


@pytest.mark.parametrize("columns", SHAPES.values(), ids=SHAPES)
def test_a_table_made_by_hand_is_read_and_written_as_it_is(
    database: Database, folder: Folder, columns: str
) -> None:
    make(database, columns)
    folder.write("002_second.sql", SECOND)
    folder.write("003_third.sql", THIRD)
    runner = MigrationRunner()
    plan = runner.check()
    assert [(e.version, e.state, e.checksum_state) for e in plan.entries] == [
        ("002", State.APPLIED, ChecksumState.UNVERIFIED),
        ("003", State.PENDING, None),
    ]
    result = runner.apply()
    assert [applied.filename for applied in result.applied] == ["003_third.sql"]
    assert database.query("SELECT version::int, name FROM schema_migrations ORDER BY 1") == [
        (2, "second"),
        (3, "third"),
    ]
    assert database.query("SELECT to_regclass('second') IS NULL") == [(True,)]
    assert runner.apply().applied == ()


@pytest.mark.parametrize("columns", SHAPES.values(), ids=SHAPES)
def test_the_first_file_goes_over_a_table_made_by_hand(
    database: Database, folder: Folder, columns: str
) -> None:
    make(database, columns)
    folder.with_tracking().write("002_second.sql", SECOND)
    folder.write("003_third.sql", THIRD)
    with pytest.raises(PlanRefused) as caught:
        MigrationRunner().apply()
    (version,) = database.query("SELECT version::text FROM schema_migrations")[0]
    assert [finding.message for finding in caught.value.findings] == [
        f"001_migration_tracking.sql is pending, but {version} is already applied"
    ]
    runner = MigrationRunner(config=get_config(allow_out_of_order=True))
    assert [applied.version for applied in runner.apply().applied] == ["001", "003"]
    assert database.query(
        "SELECT version::int, name, length(checksum), applied_by IS NULL, execution_time_ms IS NULL"
        " FROM migration_status"
    ) == [
        (3, "third", 64, False, False),
        (2, "second", None, True, True),
        (1, "migration_tracking", 64, False, False),
    ]
    assert runner.check().findings == ()


@pytest.mark.parametrize(("before", "after"), [("int", "text"), ("text", "bigint")])
def test_a_file_that_changes_the_type_of_version(
    database: Database, folder: Folder, before: str, after: str
) -> None:
    make(database, f"version {before} PRIMARY KEY, name text, checksum text")
    folder.write("002_second.sql", SECOND)
    folder.write(
        "003_retype.sql",
        f"ALTER TABLE schema_migrations ALTER COLUMN version TYPE {after} USING version::{after};",
    )
    folder.write("004_third.sql", THIRD)
    MigrationRunner().apply()
    assert database.query(
        "SELECT version::int, name, length(checksum) FROM schema_migrations ORDER BY 1"
    ) == [(2, "second", None), (3, "retype", 64), (4, "third", 64)]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("applied_at date", "2025-10-10"),
        ("applied_at text", "yesterday"),
        ("applied_at bigint", "1700000000"),
        ("applied_at timestamptz", "infinity"),
        ("applied_at timestamp", "4713-01-01 BC"),
        ("execution_time_ms interval", "1 s"),
        ("execution_time_ms text", "12 ms"),
        ("execution_time_ms real", "1.5"),
        ("checksum bytea", "abc"),
        ("applied_by int", "5"),
        ("applied_by text[]", "{a}"),
    ],
)
def test_columns_of_other_types(
    database: Database, folder: Folder, call: Callable[..., Result], column: str, value: str
) -> None:
    """They are read where they make sense, and never stand in the way."""
    database.execute(
        f"CREATE TABLE schema_migrations (version text, name text, {column});"
        f"INSERT INTO schema_migrations VALUES ('002', 'second', '{value}')"
    )
    folder.write("002_second.sql", SECOND)
    folder.write("003_third.sql", THIRD)
    for command in (
        ["migrate_check"],
        ["migrate_status"],
        ["migrate_status", "--format", "json"],
        ["migrate_apply"],
        ["migrate_status"],
    ):
        result = call(*command)
        assert (result.code, result.err) == (0, "")
    assert database.query("SELECT version, name FROM schema_migrations ORDER BY 1") == [
        ("002", "second"),
        ("003", "third"),
    ]


def test_rows_without_a_version_or_a_name(
    database: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    database.execute(
        "CREATE TABLE schema_migrations (version text, name text);"
        "INSERT INTO schema_migrations VALUES (NULL, 'x'), ('MARK', NULL), ('2', 'second')"
    )
    folder.write("002_second.sql", SECOND)
    folder.write("003_third.sql", THIRD)
    result = call("migrate_check")
    assert (result.code, result.err) == (0, "")
    assert result.out.count(": its version is no number [W005]\n") == 2
    assert call("migrate_status").code == 0
    assert call("migrate_apply").code == 0


@pytest.mark.parametrize(
    "name",
    ["add_unread_tracking", "003_add_unread_tracking", "003_add_unread_tracking.sql"],
)
@pytest.mark.parametrize("version", ["003", "3", "0003"])
def test_forms_of_the_name_and_the_version(
    database: Database, folder: Folder, version: str, name: str
) -> None:
    database.execute(
        "CREATE TABLE schema_migrations (version text PRIMARY KEY, name text, checksum text);"
        f"INSERT INTO schema_migrations VALUES ('{version}', '{name}', NULL)"
    )
    folder.write("003_add_unread_tracking.sql", SECOND)
    plan = MigrationRunner().check()
    assert [entry.state for entry in plan.entries] == [State.APPLIED]
    assert plan.findings == ()


def test_a_checksum_in_upper_case_or_of_the_text_verifies(
    database: Database, folder: Folder
) -> None:
    text = b"CREATE TABLE t (id int);\n"
    folder.write("002_second.sql", b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"))
    database.execute(
        "CREATE TABLE schema_migrations (version text, name text, checksum text);"
        "INSERT INTO schema_migrations VALUES"
        f" ('002', 'second', '{hashlib.sha256(text).hexdigest().upper()}')"
    )
    (entry,) = MigrationRunner().status().entries
    assert entry.checksum_state is ChecksumState.VERIFIED


@pytest.mark.parametrize("column", ["text", "bigint"])
def test_a_file_that_inserts_its_own_row(database: Database, folder: Folder, column: str) -> None:
    """The runner's row wins: it has the checksum, the time and who applied it."""
    make(database, f"version {column} PRIMARY KEY, name text, checksum text, applied_by text")
    folder.write("002_second.sql", SECOND)
    folder.write(
        "003_third.sql",
        f"{THIRD}INSERT INTO schema_migrations (version, name, applied_by)"
        " VALUES ('003', '003_third.sql', 'manual');\n",
    )
    runner = MigrationRunner()
    assert runner.check().findings == ()
    runner.apply()
    assert database.query(
        "SELECT version::int, name, length(checksum), applied_by <> 'manual'"
        " FROM schema_migrations WHERE version::int = 3"
    ) == [(3, "third", 64, True)]


def test_its_own_row_without_a_unique_constraint_is_replaced_too(
    database: Database, folder: Folder
) -> None:
    make(database, "version text, name text, checksum text")
    folder.write("002_second.sql", SECOND)
    folder.write(
        "003_third.sql", f"{THIRD}INSERT INTO schema_migrations VALUES ('003', 'third', NULL);"
    )
    MigrationRunner().apply()
    assert database.query(
        "SELECT version, name, length(checksum) FROM schema_migrations ORDER BY 1"
    ) == [("002", "second", None), ("003", "third", 64)]


def test_its_own_row_with_another_spelling_of_the_version(
    database: Database, folder: Folder
) -> None:
    folder.with_tracking().write(
        "002_second.sql",
        f"{SECOND}INSERT INTO schema_migrations (version, name) VALUES ('2', 'second');",
    )
    runner = MigrationRunner()
    runner.apply()
    assert runner.check().errors == ()
    assert runner.apply().applied == ()


def test_a_file_that_marks_others_is_warned_about_with_the_line(
    database: Database, folder: Folder
) -> None:
    folder.with_tracking().write(
        "002_second.sql",
        f"{SECOND}\nINSERT INTO schema_migrations (version, name) VALUES\n"
        "  ('003', 'third'), ('261', 'mark') ON CONFLICT DO NOTHING;\n",
    )
    folder.write("003_third.sql", THIRD)
    runner = MigrationRunner()
    plan = runner.check()
    finding = next(f for f in plan.findings if f.rule.id == "sqlmigrator.W006")
    assert finding.message == "marks other versions as applied: 003, 261"
    assert (finding.line, finding.column) == (3, 1)
    assert plan.errors == ()
    runner.apply(to="002")
    assert [entry.state for entry in runner.status().entries] == [
        State.APPLIED,
        State.APPLIED,
        State.APPLIED,
        State.AHEAD,
    ]


def test_a_run_does_what_it_planned_when_a_file_marks_a_later_one(
    database: Database, folder: Folder
) -> None:
    """The plan is made once, under the lock; the runner's row replaces the one by hand."""
    folder.with_tracking().write(
        "002_second.sql",
        "INSERT INTO schema_migrations (version, name) VALUES ('003', 'third');",
    )
    folder.write("003_third.sql", THIRD)
    MigrationRunner().apply()
    assert database.query("SELECT version, length(checksum) FROM schema_migrations ORDER BY 1") == [
        ("001", 64),
        ("002", 64),
        ("003", 64),
    ]
    assert database.query("SELECT to_regclass('third')::text") == [("third",)]


# Fresh databases


def test_without_a_tracking_file_the_runner_makes_table_and_view(
    database: Database, folder: Folder
) -> None:
    first = folder.write("001_second.sql", SECOND)
    MigrationRunner().apply()
    assert database.query(
        "SELECT id, version, name, checksum IS NOT NULL, age_category FROM migration_status"
    ) == [(1, "001", "second", True, "recent")]
    assert database.query(
        "SELECT count(*) FROM pg_index WHERE indrelid = 'schema_migrations'::regclass"
    ) == [(3,)]
    assert first.exists()


def test_a_failing_first_file_leaves_no_table(database: Database, folder: Folder) -> None:
    folder.with_tracking().write("000_bad.sql", "SELECT nope;")
    with pytest.raises(MigrationFailed):
        MigrationRunner().apply()
    assert database.query(
        "SELECT to_regclass('schema_migrations'), to_regclass('migration_status')"
    ) == [(None, None)]
    assert database.query("SELECT version, state FROM schema_migrations_log") == [("000", "failed")]


def test_reading_creates_nothing(database: Database, folder: Folder) -> None:
    folder.with_tracking()
    runner = MigrationRunner()
    assert [entry.state for entry in runner.status().entries] == [State.PENDING]
    assert runner.check().errors == ()
    assert runner.attempts() == ()
    assert database.query(
        "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    ) == [(0,)]


# The view


def test_the_view_has_ages_and_order(database: Database, folder: Folder) -> None:
    folder.with_tracking()
    MigrationRunner().apply()
    ages = {
        "002": timedelta(hours=23),
        "003": timedelta(days=1, hours=1),
        "010": timedelta(days=6, hours=23),
        "009": timedelta(days=8),
        "20250101120000": timedelta(days=29),
        "037b": timedelta(days=31),
        "MARK": timedelta(days=4000),
    }
    with database.connect() as connection:
        for version, age in ages.items():
            connection.execute(
                "INSERT INTO schema_migrations (version, name, applied_at)"
                " VALUES (%s, 'x', now() - %s)",
                [version, age],
            )
    assert database.query("SELECT version, age_category FROM migration_status") == [
        ("20250101120000", "this_month"),
        ("010", "this_week"),
        ("009", "this_month"),
        ("003", "this_week"),
        ("002", "recent"),
        ("001", "recent"),
        ("MARK", "older"),
        ("037b", "older"),
    ]
    columns = database.query(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'migration_status'::regclass"
        " AND attnum > 0 ORDER BY attnum"
    )
    assert [row[0] for row in columns] == [
        *("id", "version", "name", "applied_at", "checksum", "execution_time_ms", "applied_by"),
        "age_category",
    ]


# Where the table is


def test_a_schema_of_its_own_through_the_search_path(
    database: Database, folder: Folder, add_alias: Callable[..., None], settings: object
) -> None:
    database.execute("CREATE SCHEMA app; CREATE SCHEMA later")
    add_alias("app", database, OPTIONS={"options": "-c search_path=app,public"})
    folder.with_tracking().write("002_second.sql", f"SET search_path = later; {SECOND}")
    settings.SQLMIGRATOR = {"DIRECTORY": folder.path, "DATABASES": {"app": {}}}  # type: ignore[attr-defined]
    runner = MigrationRunner("app")
    runner.apply()
    assert database.query(
        "SELECT relnamespace::regnamespace::text, relname FROM pg_class"
        " WHERE relkind IN ('r', 'v') AND relnamespace::regnamespace::text"
        " IN ('app', 'public', 'later') ORDER BY 1, 2"
    ) == [
        ("app", "migration_status"),
        ("app", "schema_migrations"),
        ("app", "schema_migrations_log"),
        ("later", "second"),
    ]
    assert runner.check().errors == ()
    assert runner.apply().applied == ()
    # Seen with the default path, nothing is applied: it is another history.
    assert len(MigrationRunner().status().pending) == 2


@pytest.mark.parametrize("name", ["App Data", 'quo"te', "sélect"])
def test_a_schema_with_an_odd_name(database: Database, folder: Folder, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    database.execute(
        f"CREATE SCHEMA {quoted}; ALTER DATABASE {database.name} SET search_path = {quoted}"
    )
    folder.with_tracking().write("002_second.sql", SECOND)
    runner = MigrationRunner()
    runner.apply()
    assert database.query(f"SELECT version FROM {quoted}.schema_migrations ORDER BY 1") == [
        ("001",),
        ("002",),
    ]
    assert runner.apply().applied == ()


def test_the_schema_of_the_user_comes_first(database: Database, folder: Folder) -> None:
    """`"$user"` is looked up when connecting; a table in public is found all the same."""
    user = connections["default"].settings_dict["USER"] or "postgres"
    folder.with_tracking()
    MigrationRunner().apply()
    database.execute(f'CREATE SCHEMA "{user}"')
    folder.write("002_second.sql", SECOND)
    MigrationRunner().apply()
    assert database.query("SELECT version FROM public.schema_migrations ORDER BY 1") == [
        ("001",),
        ("002",),
    ]


def test_a_search_path_without_a_schema_is_refused(database: Database, folder: Folder) -> None:
    database.execute(f"ALTER DATABASE {database.name} SET search_path = nowhere")
    folder.with_tracking()
    for act in (MigrationRunner().check, MigrationRunner().apply):
        with pytest.raises(DatabaseRefused) as caught:
            act()
        assert caught.value.message == (
            "The role's search_path names no schema that exists and that the role may use: there "
            "is nowhere to keep schema_migrations."
        )


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ("version text, name text, extra text NOT NULL", 'null value in column "extra"'),
        ("version text, name varchar(3)", "value too long for type character varying(3)"),
        ("version text, name text, checksum char(32)", "value too long for type character(32)"),
        ("version text, name text CHECK (name <> 'second')", "violates check constraint"),
    ],
)
def test_a_table_that_refuses_the_row(
    database: Database, folder: Folder, columns: str, told: str
) -> None:
    database.execute(f"CREATE TABLE schema_migrations ({columns})")
    folder.write("002_second.sql", SECOND)
    with pytest.raises(MigrationFailed) as caught:
        MigrationRunner().apply()
    failure = caught.value.result.failure
    assert failure is not None
    assert failure.message.startswith(
        "the migration ran, but its history row could not be written: "
    )
    assert told in failure.message
    assert failure.advice.startswith("Correct the table schema_migrations")
    assert database.query("SELECT to_regclass('second') IS NULL") == [(True,)]


# Rights


def test_published_roles_lose_their_rights(database: Database, folder: Folder) -> None:
    """Supabase gives `anon` and `authenticated` everything in public by default."""
    made = []
    with database.connect() as connection:
        for name in ("anon", "authenticated"):
            there = connection.execute("SELECT to_regrole(%s)", [name]).fetchone()
            if there == (None,):
                connection.execute(f"CREATE ROLE {name}".encode())
                made.append(name)
        connection.execute(
            "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO anon, authenticated;"
            "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON SEQUENCES"
            " TO anon, authenticated"
        )
    try:
        folder.with_tracking().write("002_second.sql", SECOND)
        MigrationRunner().apply()
        rights = database.query("""
            SELECT c.relname, r.rolname FROM pg_class c, pg_roles r
            WHERE r.rolname IN ('anon', 'authenticated') AND c.relnamespace = 'public'::regnamespace
                AND CASE WHEN c.relkind = 'S'
                    THEN has_sequence_privilege(r.oid, c.oid, 'USAGE, SELECT, UPDATE')
                    WHEN c.relkind IN ('r', 'v')
                    THEN has_table_privilege(r.oid, c.oid,
                        'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER') END
            ORDER BY 1, 2
        """)
        assert rights == [("second", "anon"), ("second", "authenticated")]
    finally:
        with database.connect() as connection:
            for name in ("anon", "authenticated"):
                connection.execute(f"DROP OWNED BY {name}".encode())
            for name in made:
                connection.execute(f"DROP ROLE {name}".encode())
