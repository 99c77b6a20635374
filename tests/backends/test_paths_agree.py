"""One message and statement by statement: the same outcome, error, place and database after.

Where they must differ, by the nature of a message, the last tests say exactly how.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import connections
from psycopg import sql
from pytest_django import DjangoDbBlocker

from sqlmigrator.conf import get_config
from sqlmigrator.core.content import Content, read_content
from sqlmigrator.core.script import Statement
from sqlmigrator.events import Event, NoticeReceived
from sqlmigrator.results import Failure, MigrationFailed
from sqlmigrator.runner import MigrationRunner
from tests import support
from tests.backends.conftest import Engine, StatementPathRunner
from tests.backends.hard_files import GIVEN, NEXT_FILE, hard_files
from tests.support import Database, Folder

CORPUS = Path(__file__).parent.parent / "data" / "sql"
HARD_FILES = hard_files()

# Every object with its definition, in words that hold no oid.
OBJECTS = """
WITH space AS (
    SELECT * FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
), relation AS (SELECT c.* FROM pg_class c JOIN space ON space.oid = relnamespace)
SELECT to_jsonb(x)::text FROM (SELECT nspname, nspowner::regrole, nspacl FROM space) x
UNION ALL SELECT to_jsonb(x)::text FROM (
    SELECT oid::regclass, relkind, relpersistence, relowner::regrole, relrowsecurity,
        -- The roles anon and authenticated are the server's: another test may make them meanwhile.
        coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))
            AS acl,
        CASE relkind WHEN 'v' THEN pg_get_viewdef(oid) WHEN 'i' THEN pg_get_indexdef(oid) END
    FROM relation) x
UNION ALL SELECT to_jsonb(x)::text FROM (
    SELECT attrelid::regclass, attnum, attname, format_type(atttypid, atttypmod), attnotnull,
        attidentity, attgenerated, pg_get_expr(adbin, adrelid)
    FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE attnum > 0 AND attrelid IN (SELECT oid FROM relation)) x
UNION ALL SELECT conname || conrelid::regclass || contypid::regtype || pg_get_constraintdef(c.oid)
    FROM pg_constraint c JOIN space ON space.oid = connamespace
UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger
    WHERE NOT tgisinternal AND tgrelid IN (SELECT oid FROM relation)
UNION ALL SELECT pg_get_ruledef(oid) FROM pg_rewrite WHERE ev_class IN (SELECT oid FROM relation)
UNION ALL SELECT CASE prokind WHEN 'a' THEN p.oid::regprocedure::text
    ELSE pg_get_functiondef(p.oid) END FROM pg_proc p JOIN space ON space.oid = pronamespace
UNION ALL SELECT oprname || oprcode FROM pg_operator JOIN space ON space.oid = oprnamespace
UNION ALL SELECT t.oid::regtype || typtype::text || coalesce(enumlabel, '')
    FROM pg_type t JOIN space ON space.oid = typnamespace LEFT JOIN pg_enum ON enumtypid = t.oid
UNION ALL SELECT sequencename || coalesce(last_value, 0) FROM pg_sequences
ORDER BY 1
"""
TABLES = """
SELECT nspname, relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind = 'r' AND nspname !~ '^pg_' AND nspname <> 'information_schema' ORDER BY 1, 2
"""
# What no two runs have in common, of the rows of the history and of the journal.
TIMES = "{applied_at,started_at,finished_at,execution_time_ms,backend_pid,backend_start}"


@dataclass
class Seen:
    """All that can be seen of a run."""

    failure: Failure | None
    notices: list[Event]
    objects: list[str]
    rows: dict[str, list[str]]
    payloads: list[str]

    @property
    def outcome(self) -> str:
        """`applied`, or line:column SQLSTATE."""
        if self.failure is None:
            return "applied"
        has_place = self.failure.line is not None
        place = f"{self.failure.line}:{self.failure.column}" if has_place else "no line"
        return f"{place} {self.failure.sqlstate}".rstrip()


@dataclass
class Way:
    """One way of sending, with a database of its own and a session that looks at it."""

    runner: type[MigrationRunner]
    database: Database
    session: psycopg.Connection[Any]
    payloads: list[str]

    def run(self, folder: Folder, text: str | bytes) -> Seen:
        folder.write("002_file.sql", text)
        folder.write("003_next.sql", NEXT_FILE)
        self.session.execute(GIVEN.encode())
        self.payloads.clear()
        events: list[Event] = []
        failure = None
        with self.as_default():
            try:
                self.runner(config=get_config()).apply(on_event=events.append)
            except MigrationFailed as failed:
                failure = failed.result.failure
        notices = [event for event in events if isinstance(event, NoticeReceived)]
        return Seen(failure, notices, self.objects(), self.rows(), self.payloads.copy())

    def hear(self, notify: psycopg.Notify) -> None:
        self.payloads.append(notify.payload)

    def objects(self) -> list[str]:
        return [line for (line,) in self.session.execute(OBJECTS)]

    def rows(self) -> dict[str, list[str]]:
        query = sql.SQL("SELECT (to_jsonb(the_row) - {}::text[])::text FROM {} the_row ORDER BY 1")
        return {
            ".".join(name): [
                row for (row,) in self.session.execute(query.format(TIMES, sql.Identifier(*name)))
            ]
            for name in self.session.execute(TABLES).fetchall()
        }

    @contextmanager
    def as_default(self) -> Iterator[None]:
        connection = connections["default"]
        name = connection.settings_dict["NAME"]
        connection.close()
        connection.settings_dict["NAME"] = self.database.name
        try:
            yield
        finally:
            connection.close()
            connection.settings_dict["NAME"] = name


Both = Callable[[str | bytes], tuple[Seen, Seen]]


@pytest.fixture(scope="module")
def ways(django_db_blocker: DjangoDbBlocker) -> Iterator[tuple[Way, Way]]:
    """As one message, and statement by statement."""
    made = []
    with django_db_blocker.unblock():
        for runner in (MigrationRunner, StatementPathRunner):
            database = support.create_database()
            database.execute(f"ALTER DATABASE {database.name} SET synchronous_commit = off")
            way = Way(runner, database, database.connect(), [])
            way.session.add_notify_handler(way.hear)
            way.session.execute("LISTEN channel")
            made.append(way)
        yield made[0], made[1]
        for way in made:
            way.session.close()
            support.drop_database(way.database)


@pytest.fixture
def both(ways: tuple[Way, Way], folder: Folder) -> Both:
    """Run a text both ways."""
    folder.with_tracking()

    def run(text: str | bytes) -> tuple[Seen, Seen]:
        return ways[0].run(folder, text), ways[1].run(folder, text)

    return run


@pytest.mark.parametrize("title", HARD_FILES)
def test_the_paths_agree_on_hard_files(title: str, both: Both) -> None:
    one_message, by_statement = both(HARD_FILES[title])
    assert by_statement == one_message
    assert one_message.outcome == title.rpartition(": ")[2]


def is_refused(script: bytes) -> bool:
    return any(f.is_error for f in read_content(script, file="script", number=2).findings)


@pytest.mark.parametrize(
    "name",
    [path.stem for path in sorted(CORPUS.glob("*.sql")) if not is_refused(path.read_bytes())],
)
def test_the_paths_agree_on_the_corpus(name: str, both: Both) -> None:
    """On each script whole, and again without the statement that failed, until all is applied."""
    script = (CORPUS / f"{name}.sql").read_bytes()
    while True:
        one_message, by_statement = both(script)
        assert by_statement == one_message
        if one_message.failure is None:
            return
        number = one_message.failure.statement
        assert number is not None
        content = read_content(script, file=name, number=2)
        left = [s for s in content.statements if s is not content.statements[number - 1]]
        assert len(left) == len(content.statements) - 1
        script = b"SELECT 1;" + b"".join(whole_text(content, statement) for statement in left)


def whole_text(content: Content, statement: Statement) -> bytes:
    """The statement with the data that follows it."""
    if statement.copy_data is None:
        return b"\n" + content.text(statement) + b"\n;"
    return b"\n" + content.data[statement.start : statement.copy_data[1]] + b"\\.\n"


def test_the_comparison_would_notice(ways: tuple[Way, Way], folder: Folder) -> None:
    folder.with_tracking()
    way, _ = ways
    text = "INSERT INTO item VALUES (1);"
    plain = way.run(folder, text)
    assert plain == way.run(folder, text)
    assert plain.outcome == "applied"
    assert plain.failure != way.run(folder, f"{text} SELECT nope").failure
    notice = way.run(folder, f"{text} DO $$ BEGIN RAISE NOTICE 'told'; END $$")
    assert notice.notices == [NoticeReceived("NOTICE", "told")]
    assert way.run(folder, f"{text} NOTIFY channel, 'sent'").payloads == ["sent"]
    other = way.run(folder, f"{text} INSERT INTO item VALUES (2)")
    assert other.objects == plain.objects
    assert {name for name, rows in other.rows.items() if rows != plain.rows[name]} == {
        "public.item",
        "public.schema_migrations",  # the checksum
        "public.schema_migrations_log",
    }
    for change in (
        "ALTER TABLE item ALTER name SET DEFAULT 'x'",
        "CREATE INDEX ON item (name)",
        "GRANT SELECT ON item TO PUBLIC",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN 1",
        "SELECT nextval('numbers')",
    ):
        assert way.run(folder, f"{text} {change}").objects != plain.objects, change


# Where they differ, because of what a message is


def test_a_message_is_parsed_before_any_of_it_runs(both: Both) -> None:
    """So a syntax error comes first, and what no rollback undoes has not been done."""
    one_message, by_statement = both("SELECT nextval('numbers'); SELECT nope;\nSELEC 1;")
    assert (one_message.outcome, by_statement.outcome) == ("2:1 42601", "1:35 42703")
    assert set(by_statement.objects) - set(one_message.objects) == {"numbers1"}
    assert set(one_message.objects) - set(by_statement.objects) == {"numbers0"}
    del one_message.rows["public.schema_migrations_log"]
    del by_statement.rows["public.schema_migrations_log"]
    assert by_statement.rows == one_message.rows


def test_a_setting_of_the_parser_comes_too_late_in_a_message(both: Both) -> None:
    one_message, by_statement = both("SET backslash_quote = off;\nSELECT E'\\'';")
    assert (one_message.outcome, by_statement.outcome) == ("applied", "2:8 22P06")


def test_a_statement_can_see_its_message(both: Both) -> None:
    """The text, and when it arrived. It also shows that there are two paths to compare."""
    one_message, by_statement = both(
        "CREATE TABLE t AS SELECT left(current_query(), 12) AS text,"
        " statement_timestamp() = now() AS is_with_begin"
    )
    assert one_message.rows.pop("public.t") == ['{"text": "BEGIN; SET L", "is_with_begin": true}']
    assert by_statement.rows.pop("public.t") == ['{"text": "CREATE TABLE", "is_with_begin": false}']
    assert by_statement == one_message


def test_a_body_that_stands_twice_in_a_message(both: Both) -> None:
    """The server looks for the body in the whole message and gives no position if it finds two."""
    function = "CREATE FUNCTION {}() RETURNS int LANGUAGE sql AS $$\nSELECT nope $$;\n"
    one_message, by_statement = both(function.format("f") + function.format("g"))
    assert (one_message.outcome, by_statement.outcome) == ("1:1 42703", "2:8 42703")
    assert one_message.failure is not None
    assert by_statement.failure is not None
    place = {"line": 2, "column": 8, "excerpt": "SELECT nope $$;"}
    assert replace(one_message.failure, **place) == by_statement.failure
    assert one_message.objects == by_statement.objects


@pytest.mark.parametrize(
    ("control", "number"),
    [("COMMIT", 2), ("ROLLBACK", 2), ("COMMIT AND CHAIN", None), ("END; BEGIN", 2)],
)
def test_the_end_of_the_transaction_shows_at_the_end_of_a_message(
    control: str, number: int | None, ways: tuple[Way, Way], folder: Folder
) -> None:
    """With the static check off: a message that goes on cannot be stopped in its middle."""
    failures, states = [], []
    for way in ways:
        way.session.execute(GIVEN.encode())
        with way.as_default():
            engine = Engine(way.database, folder.with_tracking(), way.runner)
            failures.append(engine.force(f"CREATE TABLE t (); {control}; CREATE TABLE u ();"))
        states.append(way.objects())
    one_message, by_statement = failures
    assert (one_message.statement, by_statement.statement) == (None, number)
    assert by_statement.message == one_message.message
    assert by_statement.remains == one_message.remains
    assert states[0] == states[1]


@pytest.mark.parametrize(
    "change", ["client_encoding', 'LATIN1", "standard_conforming_strings', 'off"]
)
def test_a_text_is_not_read_otherwise_than_it_was_split(change: str, both: Both) -> None:
    """One message is read as a whole before any of it runs."""
    one_message, by_statement = both(
        f"SELECT set_config('{change}', false);\nCREATE TABLE t AS SELECT 'é\\n' AS a;"
    )
    assert one_message.rows["public.t"] == [r'{"a": "é\\n"}']
    assert by_statement.outcome == "1:1"
