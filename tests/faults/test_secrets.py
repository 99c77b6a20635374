"""No password, no DSN and no value of a data row in any output, journal row or JSON.

Every way to fail is walked with a marked password and marked values in the tables; then all that
was written is searched. What a migration file says itself may be shown (the failing line is), so
the marked values come from the tables only, or from COPY data. Left out are values that a file
uses as names of things (EXECUTE 'SELECT ' || value) and the words of its own RAISE: the server
gives no sign that they are data.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.db import connections
from pytest_django import Settings

from tests.faults.scenes import holding, role, wait_for_statement
from tests.support import Database, Folder, Result, Running

PASSWORD = "M4rked/Pa:ss@w%rd"
VALUE = 'marked) =(value).  "quoted"\nsecond marked line'
COPIED = 'marked) =(value).  "quoted"\\nsecond marked line'  # as COPY data
MARKS = ("marked", "M4rked", "Pa:ss", "M4rked%2FPa", "w%rd", "99887766")

TABLES = """
CREATE TABLE p (id int PRIMARY KEY, v text UNIQUE);
CREATE TABLE people (id int PRIMARY KEY, name text NOT NULL, code text, span int4range);
CREATE TABLE wants (n int, s varchar(3), d date, j jsonb, u uuid, e inet, b bytea, x xml,
                    c int CHECK (c < 5), num numeric(3, 1), small smallint, ts timestamptz,
                    arr int[], bit bit(3), name text UNIQUE, p_name text REFERENCES p (v),
                    r int4range, EXCLUDE USING gist (r WITH &&));
CREATE TYPE mood AS ENUM ('good');
CREATE TABLE parts (k text) PARTITION BY LIST (k);
CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a');
CREATE FUNCTION raises(text) RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN $1::int; END';
CREATE FUNCTION inner_insert(text) RETURNS void LANGUAGE sql AS
    'INSERT INTO wants (name) VALUES ($1), ($1)';
"""
# Each reads the marked value from a table, or makes the server quote a row.
STATEMENTS = (
    "INSERT INTO wants (n) SELECT name::int FROM people",
    "INSERT INTO wants (s) SELECT name FROM people",
    "INSERT INTO wants (d) SELECT name::date FROM people",
    "INSERT INTO wants (j) SELECT name::jsonb FROM people",
    "INSERT INTO wants (j) SELECT ('{\"a\": ' || name)::jsonb FROM people",
    "INSERT INTO wants (u) SELECT name::uuid FROM people",
    "INSERT INTO wants (e) SELECT name::inet FROM people",
    "INSERT INTO wants (x) SELECT ('<a>' || name)::xml FROM people",
    "INSERT INTO wants (c, name) SELECT 9, name FROM people",
    "INSERT INTO wants (num) SELECT code::numeric FROM people",
    "INSERT INTO wants (small) SELECT code::smallint FROM people",
    "INSERT INTO wants (n) SELECT (code || '1234567')::int FROM people",
    "INSERT INTO wants (n) SELECT (code || '12345678901234567890')::bigint FROM people",
    "INSERT INTO wants (ts) SELECT to_timestamp(name, 'YYYY-MM-DD') FROM people",
    "INSERT INTO wants (ts) SELECT to_timestamp(code, 'MM') FROM people",
    "INSERT INTO wants (d) SELECT (code || '-13-45')::date FROM people",
    "INSERT INTO wants (ts) SELECT make_timestamptz(2020, 1, 1, 1, 1, 1, name) FROM people",
    "SELECT now() AT TIME ZONE name FROM people",
    "SELECT to_number(name, '999') FROM people",
    "SELECT name::interval FROM people",
    "SELECT name::point FROM people",
    "SELECT name::boolean FROM people",
    "SELECT name::mood FROM people",
    "SELECT name::macaddr FROM people",
    "SELECT name::tsquery FROM people",
    "SELECT (name || '(')::tsquery FROM people",
    "SELECT to_date(name, 'Month') FROM people",
    "SELECT 'a' ~ ('[' || name) FROM people",
    "SELECT decode(name, 'hex') FROM people",
    "SELECT decode(name, 'base64') FROM people",
    "SELECT encode('a', name) FROM people",
    "SELECT convert_from('a', name) FROM people",
    "SELECT jsonb_path_query('{}', name::jsonpath) FROM people",
    "SELECT set_config('work_mem', name, true) FROM people",
    "INSERT INTO wants (arr) SELECT ('{' || name)::int[] FROM people",
    "INSERT INTO wants (arr) SELECT (name)::int[] FROM people",
    "INSERT INTO wants (bit) SELECT name::bit(3) FROM people",
    "INSERT INTO wants (b) SELECT ('\\x' || name)::bytea FROM people",
    "INSERT INTO wants (r) SELECT name::int4range FROM people",
    "INSERT INTO wants (r) SELECT span FROM people; INSERT INTO wants (r) SELECT span FROM people",
    "INSERT INTO wants (name) SELECT name FROM people, generate_series(1, 2)",
    "INSERT INTO wants (p_name) SELECT name FROM people",
    "INSERT INTO people (id, name) SELECT id, name FROM people",
    "INSERT INTO people (id, name, code) SELECT 2, NULL, name FROM people",
    "INSERT INTO parts SELECT name FROM people",
    "INSERT INTO parts_a SELECT name FROM people",
    "UPDATE people SET name = NULL",
    "ALTER TABLE people ALTER COLUMN name TYPE int USING name::int",
    "ALTER TABLE people ADD CHECK (name = code)",
    "ALTER TABLE people ADD FOREIGN KEY (name) REFERENCES p (v)",
    "CREATE TABLE twice AS SELECT name FROM people, generate_series(1, 2);"
    "CREATE UNIQUE INDEX ON twice (name)",
    "CREATE TABLE twice AS SELECT name FROM people, generate_series(1, 2);"
    "ALTER TABLE twice ADD PRIMARY KEY (name)",
    "CREATE TABLE big AS SELECT string_agg(name || md5(i::text), '') AS v"
    " FROM people, generate_series(1, 900) i; CREATE INDEX ON big (v)",
    "SELECT raises(name) FROM people",
    "SELECT inner_insert(name) FROM people",
    "DO $$DECLARE r record; BEGIN FOR r IN SELECT * FROM people LOOP"
    " EXECUTE format('INSERT INTO p VALUES (1, %L), (1, %L)', r.name, r.name); END LOOP; END$$",
    "DO $$DECLARE r record; BEGIN FOR r IN SELECT * FROM people LOOP"
    " EXECUTE format('INSERT INTO nowhere VALUES (%L)', r.name); END LOOP; END$$",
    f"COPY people (id, name) FROM stdin;\nx\t{COPIED}\n\\.\nSELECT 1",
    f"COPY people (id, name) FROM stdin;\n1\t{COPIED}\n\\.\nSELECT 1",
    f"COPY people (id, name) FROM stdin;\n3\t{COPIED}\tmore\n\\.\nSELECT 1",
    f"COPY wants (n) FROM stdin;\n{COPIED}\n\\.\nSELECT 1",
    f"COPY wants (j) FROM stdin;\n{COPIED}\n\\.\nSELECT 1",
    f"COPY wants (s, name) FROM stdin;\nabcd\t{COPIED}\n\\.\nSELECT 1",
    'COPY wants (n) FROM stdin WITH (FORMAT csv);\n"marked\nsecond marked"\n\\.\nSELECT 1',
    'COPY wants (n) FROM stdin WITH (FORMAT csv);\n"marked\n\\.\nSELECT 1',
    "COPY parts FROM stdin;\nmarked\n\\.\nSELECT 1",
)


@dataclass
class Told:
    """Everything that was written anywhere, with where it came from."""

    database: Database
    texts: list[tuple[str, str]] = field(default_factory=list)

    def add(self, where: str, result: Result) -> Result:
        self.texts += [(f"{where}: stdout", result.out), (f"{where}: stderr", result.err)]
        return result

    def leaks(self) -> list[str]:
        return [
            f"{where}: {line.strip()}"
            for where, text in [*self.texts, *self._rows()]
            for line in text.splitlines()
            if any(mark in line for mark in MARKS)
        ]

    def _rows(self) -> list[tuple[str, str]]:
        rows = self.database.query(
            "SELECT 'journal: ' || l.version, l::text FROM schema_migrations_log l"
            " UNION ALL SELECT 'history: ' || m.version, m::text FROM schema_migrations m"
        )
        return [(where, text) for where, text in rows]


@pytest.fixture
def secretive(
    database: Database, folder: Folder, add_alias: Callable[..., None], settings: Settings
) -> Iterator[Database]:
    """The alias `secret` logs in with the marked password; the tables hold marked values."""
    with role(f"SUPERUSER LOGIN PASSWORD '{PASSWORD}'") as name:
        folder.with_tracking()
        folder.write("002_tables.sql", TABLES)
        settings.SQLMIGRATOR = {
            "LOCK_BUDGET": "1s",
            "DATABASES": {"secret": {"DIRECTORY": folder.path}},
        }
        add_alias("secret", database, USER=name, PASSWORD=PASSWORD)
        yield database
        connections["secret"].close()


@pytest.fixture
def told(secretive: Database, call: Callable[..., Result]) -> Told:
    told = Told(secretive)
    done = call("migrate_apply", "--database", "secret")
    assert done.code == 0, done.err
    told.add("apply", done)
    with secretive.connect() as connection:
        connection.execute(
            "INSERT INTO people VALUES (1, %s, '99887766', '[99887766,99887767)')", [VALUE]
        )
    return told


def run_all(told: Told, call: Callable[..., Result], where: str) -> Result:
    """migrate_apply, the journal, the status and the check, as text and as JSON."""
    alias = ("--database", "secret")
    result = told.add(where, call("migrate_apply", *alias, "-v", "2"))
    for command in (
        ("migrate_status",),
        ("migrate_status", "--history"),
        ("migrate_status", "--history", "--format", "json"),
    ):
        shown = told.add(f"{where}: {' '.join(command)}", call(*command, *alias))
        if "json" in command:
            json.loads(shown.out)
    return result


@pytest.mark.parametrize("header", ["", "-- sqlmigrator: no-transaction\n"])
def test_failing_statements(
    header: str, told: Told, folder: Folder, call: Callable[..., Result]
) -> None:
    for statement in STATEMENTS:
        folder.write("003_fails.sql", f"{header}DO $$BEGIN END$$;\n{statement};\n")
        result = told.add(statement, call("migrate_apply", "--database", "secret", "-v", "2"))
        assert result.code == 1, statement
        assert "[SQLSTATE " in result.err, (statement, result.err)
        if header:  # half of it is done: say that it is settled
            told.database.execute(
                "UPDATE schema_migrations_log SET state = 'resolved' WHERE version = '003'"
            )
            told.database.execute("DROP TABLE IF EXISTS twice, big; TRUNCATE wants")
    run_all(told, call, "afterwards")
    assert not told.leaks(), "\n".join(told.leaks())


def test_a_blocker_and_a_holder_are_shown_without_values(
    told: Told, folder: Folder, call: Callable[..., Result], start: Callable[..., Running]
) -> None:
    folder.write("003_alter.sql", "ALTER TABLE people ADD COLUMN a int;")
    with holding(told.database, "SELECT 'marked', $q$marked$q$, E'\\'marked' FROM people"):
        result = run_all(told, call, "blocked")
    assert "Blocked by process " in result.err
    folder.write("003_alter.sql", "-- sqlmigrator: no-transaction\nSELECT 'marked', pg_sleep(60);")
    start()
    wait_for_statement(told.database, "pg_sleep(60)")
    waited = call("migrate_apply", "--database", "secret", "--lock-wait", "0")
    assert told.add("waiting", waited).code == 5
    assert not told.leaks(), "\n".join(told.leaks())


@pytest.mark.parametrize(
    "change",
    [
        {"HOST": "127.0.0.1", "PORT": "1"},
        {"HOST": "no.such.host.invalid"},
        {"NAME": "no_such_database"},
        {"USER": "no_such_user"},
        {"OPTIONS": {"sslmode": "verify-full", "sslrootcert": "/no/such/file"}},
        {"OPTIONS": {"sslmode": "nonsense"}},
        {"OPTIONS": {"no_such_option": "1"}},
        {"OPTIONS": {"options": "-c no_such_setting=1"}},
        {"OPTIONS": {"service": "no_such_service"}},
        {"PASSWORD": "", "OPTIONS": {"password": PASSWORD, "port": "1", "host": "127.0.0.1"}},
        {"PASSWORD": "", "OPTIONS": {"conninfo": f"postgresql://u:{PASSWORD}@h:nonsense/d"}},
    ],
    ids=lambda change: " ".join(map(str, change)) + str(len(str(change))),
)
def test_a_database_that_cannot_be_reached(
    change: dict[str, Any],
    told: Told,
    folder: Folder,
    call: Callable[..., Result],
    add_alias: Callable[..., None],
    settings: Settings,
) -> None:
    settings.SQLMIGRATOR = {"DATABASES": {"wrong": {"DIRECTORY": folder.path}}}
    engine = {"ENGINE": "django.db.backends.postgresql"} if "HOST" in str(change) else {}
    add_alias(
        "wrong", told.database, **({"PASSWORD": PASSWORD, "USER": "nobody"} | engine | change)
    )
    for command in (
        ("migrate_apply",),
        ("migrate_check",),
        ("migrate_check", "--format", "json"),
        ("migrate_status",),
    ):
        result = told.add(" ".join(command), call(*command, "--database", "wrong"))
        assert result.code in (2, 3), result.err
        assert "Traceback" not in result.err
    assert not told.leaks(), "\n".join(told.leaks())


def test_the_password_is_in_no_output_of_a_real_process(
    told: Told, folder: Folder, manage: Callable[..., Result]
) -> None:
    """With the URL in the environment, tracebacks included."""
    url = "postgresql://postgres:M4rked%2FPa%3Ass%40w%25rd@127.0.0.1:1/nowhere"
    for command in ("migrate_apply", "migrate_check", "migrate_status"):
        result = manage(command, "--directory", folder.path, env={"DATABASE_URL": url})
        told.add(command, result)
        assert result.code == 3, result.err
        assert "Traceback" not in result.err
    broken = url.replace("%2F", "/")  # not encoded: the URL cannot be read
    told.add("broken", manage("migrate_apply", env={"DATABASE_URL": broken}))
    assert not told.leaks(), "\n".join(told.leaks())


def test_wrong_settings_do_not_show_the_password(
    told: Told, folder: Folder, call: Callable[..., Result], settings: Settings
) -> None:
    for keys in (
        {"DIRECT": {"PASSWORD": PASSWORD}},
        {"DIRECT": f"postgresql://u:{PASSWORD}@h/d"},
        {"PASSWORD": PASSWORD},
    ):
        settings.SQLMIGRATOR = {"DATABASES": {"secret": {"DIRECTORY": folder.path, **keys}}}
        result = told.add(str(list(keys)), call("migrate_apply", "--database", "secret"))
        assert result.code == 2
    assert not told.leaks(), "\n".join(told.leaks())
