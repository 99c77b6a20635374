"""Transactional files against a real server: DESIGN 5.5, 5.8 and 5.9, on both ways of sending."""

from collections.abc import Callable

import pytest
from django.db import connections
from pytest_django import Settings

from sqlmigrator.backends.postgresql.wire import READ_OTHERWISE
from sqlmigrator.events import NoticeReceived, Retrying
from sqlmigrator.exceptions import PlanRefused
from sqlmigrator.runner import MigrationRunner
from tests.backends.conftest import Engine

ROLLED_BACK = "Nothing of it remains: the transaction was rolled back."
PERSISTED = (
    "The file ended the runner's transaction, or reset its settings: what ran before that may be in "
    "the database, and is not recorded."
)
ENDED = "sqlmigrator: the file ended the transaction or reset its settings"


# Where an error is


@pytest.mark.parametrize(
    ("text", "place", "statement", "excerpt"),
    [
        pytest.param("SELECT nope;", (1, 8), 1, "SELECT nope;", id="first line"),
        pytest.param("SELECT 1;\n\n  SELECT nope", (3, 10), 2, "  SELECT nope", id="third line"),
        pytest.param("SELECT 'é', nope;", (1, 13), 1, "SELECT 'é', nope;", id="accent"),
        pytest.param("SELECT '😀', nope;", (1, 13), 1, "SELECT '😀', nope;", id="emoji"),
        pytest.param(
            "-- ünï 😀\nCREATE TABLE \"tä😀\" (id int);\n/* 😀 */ SELECT '漢字', nope;\n",
            (3, 22),
            2,
            "/* 😀 */ SELECT '漢字', nope;",
            id="unicode everywhere",
        ),
        pytest.param("SELECT 1;\r\nSELECT nope;\r\n", (2, 8), 2, "SELECT nope;", id="CRLF"),
        pytest.param("\ufeffSELECT nope;", (1, 8), 1, "SELECT nope;", id="BOM"),
        pytest.param("SELECT 1;\n\tSELECT nope;", (2, 9), 2, "\tSELECT nope;", id="tab"),
        pytest.param(
            "CREATE TABLE t (a int);\nALTER TABLE t ADD COLUMN a int;\n",
            (2, 1),
            2,
            "ALTER TABLE t ADD COLUMN a int;",
            id="an error without a position",
        ),
        pytest.param(
            "BEGIN;\nSELECT 1;\nSELECT nope;\nCOMMIT;\n", (3, 8), 2, "SELECT nope;", id="wrapped"
        ),
        pytest.param(
            "BEGIN; SELECT nope; COMMIT",
            (1, 15),
            1,
            "BEGIN; SELECT nope; COMMIT",
            id="wrapped on one line",
        ),
        pytest.param(";;SELECT 1;;\n;SELECT nope;;", (2, 9), 2, ";SELECT nope;;", id="empty ones"),
        pytest.param(
            "DO $$\nBEGIN\n  RAISE EXCEPTION 'no';\nEND $$;", (1, 1), 1, "DO $$", id="PL/pgSQL"
        ),
    ],
)
def test_an_error_has_its_place(
    engine: Engine, text: str, place: tuple[int, int], statement: int, excerpt: str
) -> None:
    failure = engine.fail(text)
    assert (failure.line, failure.column) == place
    assert failure.statement == statement
    assert failure.excerpt == excerpt
    assert failure.remains == ROLLED_BACK
    path = engine.folder.path / "002_file.sql"
    assert failure.location == f"{path}:{place[0]}:{place[1]}"
    assert engine.tables() == []
    assert engine.versions() == ["001"]


def test_a_syntax_error_is_placed_though_nothing_ran(engine: Engine) -> None:
    failure = engine.fail("SELECT 1;\nSELECT 2;\nCREATE TABEL t ();\nSELECT 4;")
    assert failure.message == 'syntax error at or near "TABEL"'
    assert (failure.line, failure.column, failure.statement) == (3, 8, 3)
    assert failure.sqlstate == "42601"


RULES = """\
CREATE TABLE t (id int);
CREATE TABLE copy_of_t (id int);
CREATE RULE also AS ON INSERT TO t DO ALSO (SELECT 1; SELECT 2; INSERT INTO copy_of_t VALUES (1));
CREATE RULE instead AS ON DELETE TO t DO INSTEAD NOTHING;
CREATE RULE other AS ON UPDATE TO t DO INSTEAD (SELECT 3; DELETE FROM copy_of_t);
INSERT INTO t VALUES (1);
DELETE FROM t;
UPDATE t SET id = 2;
INSERT INTO t VALUES (1), (2);
COPY (SELECT 1) TO STDOUT;
CREATE TABLE t (again int);
SELECT 'never';
"""


def test_statements_are_counted_rightly_past_rewrite_rules(engine: Engine) -> None:
    failure = engine.fail(RULES)
    assert failure.message == 'relation "t" already exists'
    assert (failure.statement, failure.line) == (11, 11)


def test_rewrite_rules_do_not_confuse_success(engine: Engine) -> None:
    engine.apply(RULES.replace("CREATE TABLE t (again", "CREATE TABLE u (again"))
    assert engine.versions() == ["001", "002"]
    assert engine.database.query("SELECT statement_total FROM schema_migrations_log") == [
        (16,),
        (12,),
    ]


def test_the_fields_of_an_error(engine: Engine) -> None:
    failure = engine.fail(
        "DO $$ BEGIN RAISE EXCEPTION 'first' USING DETAIL = 'second', HINT = 'third',"
        " ERRCODE = 'AB123'; END $$;"
    )
    assert (failure.message, failure.detail, failure.hint, failure.sqlstate) == (
        "first",
        "second",
        "third",
        "AB123",
    )
    assert failure.context == "PL/pgSQL function inline_code_block line 1 at RAISE"
    row = engine.database.query(
        "SELECT version, name, action, state, statement_total, sqlstate, error, line,"
        " finished_at >= started_at, execution_time_ms FROM schema_migrations_log"
        " ORDER BY id DESC LIMIT 1"
    )
    assert row == [("002", "file", "apply", "failed", 1, "AB123", "first", 1, True, None)]


@pytest.mark.parametrize(
    "text",
    [
        "CREATE TABLE t (secret text CHECK (secret <> 'hunter2')); INSERT INTO t VALUES ('hunter2');",
        "CREATE TABLE t (secret text UNIQUE); INSERT INTO t SELECT 'hunter2' FROM generate_series(1, 2);",
        "CREATE TABLE t (secret text); INSERT INTO t VALUES ('hunter2');"
        " ALTER TABLE t ALTER secret TYPE int USING secret::int;",
        "CREATE TABLE t (secret int);\nCOPY t FROM stdin;\nhunter2\n\\.\n",
    ],
)
def test_values_of_rows_are_not_told(engine: Engine, text: str) -> None:
    failure = engine.fail(text)
    told = f"{failure.message} {failure.detail} {failure.hint} {failure.context}"
    assert "hunter2" not in told
    journal = engine.database.query("SELECT l::text FROM schema_migrations_log l")
    assert "hunter2" not in str(journal)


# What a file may hold


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("CREATE TABLE t (id int) -- done", id="trailing comment"),
        pytest.param("CREATE TABLE t (id int)", id="no semicolon"),
        pytest.param("CREATE TABLE t (id int);; ;\n;", id="empty statements"),
        pytest.param("CREATE TABLE t (id int);\n-- a\n/* b */", id="comment at the end"),
        pytest.param("BEGIN; CREATE TABLE t (id int); COMMIT", id="wrapped, no semicolon"),
        pytest.param("begin work;CREATE TABLE t (id int);end transaction -- x", id="other words"),
        pytest.param(
            "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; CREATE TABLE t ()", id="isolation level"
        ),
        pytest.param(
            "SAVEPOINT a; CREATE TABLE u (); ROLLBACK TO a; RELEASE a; CREATE TABLE t ()",
            id="rolled back to",
        ),
        pytest.param("SAVEPOINT a; CREATE TABLE t ();", id="open savepoint"),
        pytest.param("CREATE TABLE t (); RESET ALL; SELECT 1", id="RESET ALL"),
        pytest.param("CREATE TABLE t (a text); INSERT INTO t VALUES ('100 %s %');", id="percent"),
        pytest.param(r"CREATE TABLE t (a text DEFAULT E'\'; --', b text DEFAULT '\');", id="quote"),
        pytest.param("CREATE TABLE t (); CREATE TABLE x (); DROP TABLE x;", id="dropped again"),
    ],
)
def test_a_file_that_is_fine(engine: Engine, text: str) -> None:
    engine.apply(text)
    assert engine.tables() == ["t"]
    assert engine.versions() == ["001", "002"]


def test_its_own_transaction_keeps_its_isolation_level(engine: Engine) -> None:
    engine.apply(
        "BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ WRITE, DEFERRABLE;\n"
        "CREATE TABLE t AS SELECT current_setting('transaction_isolation') AS level;\n"
        "COMMIT;\n",
        "CREATE TABLE u AS SELECT current_setting('transaction_isolation') AS level;",
    )
    assert engine.database.query("SELECT t.level, u.level FROM t, u") == [
        ("serializable", "read committed")
    ]


def test_copy_data_is_loaded_as_psql_does(engine: Engine) -> None:
    engine.apply(
        "CREATE TABLE t (id int, name text);\n"
        "COPY t (id, name) FROM stdin;\n"
        "1\tone; SELECT nope;\n2\t\\N\n3\tthree\\tand\\\\more\n"
        "\\.\n"
        "COPY t FROM STDIN WITH (FORMAT csv);\n"
        '4,"a,\nb"\n\\.\n'
        "COPY t FROM STDIN;\n\\.\n"
        "INSERT INTO t VALUES (5, 'after');\n"
    )
    assert engine.database.query("SELECT id, name FROM t ORDER BY id") == [
        (1, "one; SELECT nope;"),
        (2, None),
        (3, "three\tand\\more"),
        (4, "a,\nb"),
        (5, "after"),
    ]
    assert engine.versions() == ["001", "002"]


def test_bad_copy_data_rolls_everything_back(engine: Engine) -> None:
    failure = engine.fail("CREATE TABLE t (id int);\nCOPY t FROM stdin;\n1\nx\n\\.\nSELECT 1;\n")
    assert failure.message == "invalid input syntax for type integer: (value not shown)"
    assert (failure.line, failure.statement, failure.context) == (2, 2, "COPY t, line 2, column id")
    assert engine.tables() == []


def test_copy_to_stdout_is_read_and_dropped(engine: Engine) -> None:
    engine.apply(
        "COPY (SELECT repeat('x', 1000) FROM generate_series(1, 20000)) TO STDOUT;\n"
        "CREATE TABLE t ();\n"
    )
    assert engine.tables() == ["t"]


def test_a_large_file(engine: Engine) -> None:
    row = "('{}', '" + "täxt; -- 😀 " * 8 + "')"
    rows = ",\n".join(row.format(n) for n in range(30_000))
    engine.apply(
        f"CREATE TABLE t (id int, body text);\nINSERT INTO t VALUES\n{rows};\n",
    )
    assert engine.database.query("SELECT count(*), min(length(body)) FROM t") == [(30_000, 88)]
    failure = engine.fail(f"INSERT INTO t VALUES\n{rows};\nSELECT '😀', nope;")
    assert (failure.line, failure.column) == (30_002, 13)
    assert engine.database.query("SELECT count(*) FROM t") == [(30_000,)]


def test_many_statements(engine: Engine) -> None:
    inserts = "".join(f"INSERT INTO t VALUES ({n});\n" for n in range(3000))
    failure = engine.fail(f"CREATE TABLE t (id int);\n{inserts}SELECT 1 / 0;\n")
    assert (failure.message, failure.statement, failure.line) == ("division by zero", 3002, 3002)


# What fails at the end, or for a reason that needs explaining


DEFERRED = """\
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (parent int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
INSERT INTO child VALUES (7);
"""


def test_a_deferred_constraint_fails_before_anything_is_recorded(engine: Engine) -> None:
    failure = engine.fail(DEFERRED)
    assert failure.message == (
        "a deferred constraint failed at the end of the file: insert or update on table "
        '"child" violates foreign key constraint "child_parent_fkey"'
    )
    assert (failure.sqlstate, failure.statement, failure.line) == ("23503", None, None)
    assert failure.detail == 'Key (parent)=(not shown) is not present in table "parent".'
    assert failure.remains == ROLLED_BACK
    assert engine.tables() == []
    assert engine.versions() == ["001"]


def test_a_deferred_constraint_that_is_met(engine: Engine) -> None:
    engine.apply(DEFERRED + "INSERT INTO parent VALUES (7);")
    assert engine.versions() == ["001", "002"]


@pytest.mark.parametrize(
    ("text", "sqlstate", "message", "advice"),
    [
        pytest.param(
            "CREATE TYPE c AS ENUM ('red'); COMMIT_HERE; ALTER TYPE c ADD VALUE 'blue';"
            " SELECT 'blue'::c;",
            "55P04",
            'unsafe use of new value "blue" of enum type c',
            "Use the new enum value in a later migration: it must be committed first.",
            id="enum",
        ),
        pytest.param(
            "DO $$ BEGIN CREATE TABLE t (); COMMIT; END $$;",
            "2D000",
            "invalid transaction termination",
            "Remove COMMIT and ROLLBACK from the procedure or DO block.",
            id="commit in DO",
        ),
        pytest.param(
            "CREATE TABLE t (); DO $$ BEGIN EXECUTE 'VACUUM t'; END $$;",
            "25001",
            "VACUUM cannot run inside a transaction block",
            "Put the statement in a file of its own with `-- sqlmigrator: no-transaction`.",
            id="vacuum in DO",
        ),
        pytest.param(
            "-- sqlmigrator: statement_timeout=50ms\nCREATE TABLE t (); SELECT pg_sleep(30);",
            "57014",
            "canceling statement due to statement timeout",
            "Raise the limit: `--statement-timeout`, or the directive statement_timeout.",
            id="statement timeout",
        ),
        pytest.param(
            "CREATE TABLE t (); SET TRANSACTION READ ONLY;",
            "25006",
            "the file made its transaction read-only: cannot execute INSERT in a read-only "
            "transaction",
            "Correct the file, then run `manage.py migrate_apply`.",
            id="read only",
        ),
        pytest.param(
            "CREATE TABLE t (); DROP TABLE schema_migrations CASCADE;",
            "",
            'the file took "public".schema_migrations away',
            "Correct the file, then run `manage.py migrate_apply`.",
            id="history dropped",
        ),
        pytest.param(
            "CREATE TABLE t (); SELECT gen_random_uid();",
            "42883",
            "function gen_random_uid() does not exist",
            "Correct the file, then run `manage.py migrate_apply`.",
            id="no such function",
        ),
    ],
)
def test_failures_that_are_explained(
    engine: Engine, text: str, sqlstate: str, message: str, advice: str
) -> None:
    if sqlstate == "55P04":
        first, text = text.split(" COMMIT_HERE; ")
        engine.apply(first)
    before = engine.versions()
    failure = engine.fail(text)
    assert (failure.sqlstate, failure.message) == (sqlstate, message)
    assert failure.advice == advice
    assert failure.remains == ROLLED_BACK
    assert engine.tables() == []
    assert engine.versions() == before


# What would break the transaction or the lock


@pytest.mark.parametrize(
    "statement",
    [
        "DO $$ BEGIN PERFORM pg_advisory_unlock_all(); END $$",
        "DO $$ BEGIN EXECUTE 'SELECT pg_advisory_' || 'unlock_all()'; END $$",
        "SELECT pg_advisory_unlock(classid::int, objid::int) FROM pg_locks, generate_series(1, 2)"
        " WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
    ],
)
def test_the_fence_catches_a_dropped_lock(engine: Engine, statement: str) -> None:
    failure = engine.fail(f"CREATE TABLE t (); {statement};")
    assert failure.message == "sqlmigrator: the file dropped the migration lock"
    assert failure.remains == ROLLED_BACK
    assert failure.advice == (
        "Remove what drops advisory locks (pg_advisory_unlock_all, DISCARD ALL)."
    )
    assert engine.tables() == []


def test_one_hold_given_back_leaves_the_lock_held(engine: Engine) -> None:
    """The lock is held twice: it takes two to drop it, in one file or in two."""
    unlock = (
        "SELECT pg_advisory_unlock(classid::int, objid::int) FROM pg_locks"
        " WHERE locktype = 'advisory' AND pid = pg_backend_pid();"
    )
    others = (
        "CREATE TABLE {} AS SELECT count(*) AS holders FROM pg_locks"
        " WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid();"
    )
    engine.apply(unlock + others.format("held"), others.format("held_after"))
    for table in ("held", "held_after"):
        assert engine.database.query(f"SELECT holders FROM {table}") == [(1,)]
    assert "migration lock" in engine.fail(unlock + unlock).message


@pytest.mark.parametrize(
    "hidden",
    [
        "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        " CREATE TRIGGER nothing BEFORE INSERT ON schema_migrations"
        " FOR EACH ROW EXECUTE FUNCTION nothing()",
        "CREATE RULE nothing AS ON INSERT TO schema_migrations DO INSTEAD NOTHING",
    ],
    ids=["trigger", "rule"],
)
@pytest.mark.parametrize("directive", ["", "-- sqlmigrator: no-transaction\n"])
def test_a_history_row_that_is_not_written_rolls_the_file_back(
    engine: Engine, hidden: str, directive: str
) -> None:
    engine.database.execute(hidden)
    failure = engine.fail(f"{directive}CREATE TABLE t ();")
    assert "the history row" in failure.message
    assert engine.tables() == (["t"] if directive else [])
    assert engine.versions() == ["001"]


def test_a_statement_cancelled_by_somebody(engine: Engine) -> None:
    failure = engine.fail("CREATE TABLE t (); SELECT pg_cancel_backend(pg_backend_pid());")
    assert failure.message == "canceling statement due to user request"
    assert "timeout" not in failure.advice
    assert engine.tables() == []


@pytest.mark.parametrize(
    "control",
    ["COMMIT", "COMMIT; BEGIN", "COMMIT AND CHAIN", "END; START TRANSACTION"],
)
def test_a_commit_that_slips_through_is_told_honestly(engine: Engine, control: str) -> None:
    failure = engine.force(f"CREATE TABLE t (); {control}; CREATE TABLE u ();")
    assert failure.message == ENDED
    assert failure.remains == PERSISTED
    assert engine.tables() == ["t"]
    assert engine.versions() == ["001"]


@pytest.mark.parametrize("control", ["ROLLBACK", "ROLLBACK; BEGIN", "ABORT AND CHAIN"])
def test_a_rollback_that_slips_through_records_nothing(engine: Engine, control: str) -> None:
    failure = engine.force(f"CREATE TABLE t (); {control}; CREATE TABLE u ();")
    assert failure.message == ENDED
    assert engine.tables() == []
    assert engine.versions() == ["001"]


def test_a_prepared_transaction_that_slips_through(engine: Engine) -> None:
    failure = engine.force("CREATE TABLE t (); PREPARE TRANSACTION 'x'; SELECT 1;")
    assert engine.versions() == ["001"]
    assert engine.tables() == []
    assert failure.message in (
        "prepared transactions are disabled",
        ENDED,
    )


def test_a_hidden_reset_of_the_settings_stops_the_file(engine: Engine) -> None:
    failure = engine.fail("CREATE TABLE t (); DO $$ BEGIN EXECUTE 'RESET ALL'; END $$;")
    assert failure.message == ENDED
    assert failure.remains == PERSISTED
    assert engine.tables() == []


@pytest.mark.parametrize(
    ("statement", "rule", "message"),
    [
        ("COMMIT", "E009", "COMMIT is the file's own transaction control"),
        ("rollback; begin", "E009", "ROLLBACK is the file's own transaction control"),
        ("COMMIT AND CHAIN", "E009", "COMMIT AND CHAIN is the file's own transaction control"),
        (
            "/* a */ PREPARE TRANSACTION 'x'",
            "E009",
            "PREPARE TRANSACTION x is the file's own transaction control",
        ),
        ("DISCARD ALL", "E016", "this statement drops the migration lock"),
        ("SELECT pg_advisory_unlock_all()", "E016", "this statement drops the migration lock"),
        ("\\connect other", "E010", "\\connect is a command of psql"),
        ("VACUUM", "E008", "VACUUM cannot run in a transaction"),
    ],
)
def test_what_is_refused_before_anything_runs(
    engine: Engine, statement: str, rule: str, message: str
) -> None:
    with pytest.raises(PlanRefused) as caught:
        engine.apply("CREATE TABLE earlier ();", f"CREATE TABLE t ();\n\n{statement};\nSELECT 1;")
    finding = caught.value.findings[0]
    assert finding.rule.id == f"sqlmigrator.{rule}"
    assert finding.message == message
    assert finding.line == 3
    assert engine.tables() == []
    assert engine.versions() == ["001"]
    assert engine.events == []


# What a file leaves behind in its session


LEAKS = """\
CREATE SEQUENCE numbers;
SELECT nextval('numbers');
CREATE TABLE seen_table (id int);
CREATE TEMP TABLE schema_migrations (version text, name text);
CREATE TEMP TABLE schema_migrations_log (version text);
CREATE TEMP TABLE leftover (id int);
CREATE TEMP VIEW pg_locks AS SELECT 1 AS pid;
LISTEN channel;
DECLARE open_cursor CURSOR WITH HOLD FOR SELECT 1;
PREPARE prepared AS SELECT 1;
SET session_replication_role = replica;
SET TIME ZONE 'Asia/Tokyo';
SET DateStyle = 'German, DMY';
SET IntervalStyle = 'iso_8601';
SET bytea_output = 'escape';
SET statement_timeout = '29s';
SET lock_timeout = '28s';
SET default_transaction_isolation = 'serializable';
SET default_transaction_read_only = on;
SET client_min_messages = error;
SET row_security = off;
SET check_function_bodies = off;
SET my.own = 'mine';
SET search_path = '';
SET SESSION AUTHORIZATION {role};
"""

SESSION = """\
CREATE TABLE seen AS SELECT
    current_setting('search_path') AS path,
    current_user = session_user AND current_user <> '{role}' AS is_self,
    to_regclass('pg_temp.leftover') IS NULL AS no_temp,
    (SELECT count(*) FROM pg_listening_channels()) AS channels,
    (SELECT count(*) FROM pg_cursors WHERE name = 'open_cursor') AS cursors,
    (SELECT count(*) FROM pg_prepared_statements) AS prepared,
    current_setting('session_replication_role') AS replication,
    current_setting('TimeZone') AS zone,
    current_setting('DateStyle') AS dates,
    current_setting('IntervalStyle') AS intervals,
    current_setting('bytea_output') AS bytea,
    current_setting('statement_timeout') AS statement_timeout,
    current_setting('lock_timeout') AS lock_timeout,
    current_setting('transaction_isolation') AS isolation,
    current_setting('client_min_messages') AS messages,
    current_setting('row_security') AS row_security,
    current_setting('check_function_bodies') AS bodies,
    coalesce(current_setting('my.own', true), '') AS own,
    current_setting('client_encoding') AS encoding;
DO $$ BEGIN PERFORM lastval(); RAISE EXCEPTION 'a sequence leaked';
EXCEPTION WHEN object_not_in_prerequisite_state THEN NULL; END $$;
"""


def test_each_file_runs_as_if_in_a_session_of_its_own(engine: Engine, role: str) -> None:
    engine.apply(LEAKS.format(role=role), SESSION.format(role=role))
    assert engine.versions() == ["001", "002", "003"]
    assert engine.database.query("SELECT * FROM seen") == [
        (
            *('"$user", public', True, True, 0, 0, 0, "origin", "UTC", "ISO, MDY", "postgres"),
            *("hex", "0", "500ms", "read committed", "notice", "on", "on", "", "UTF8"),
        )
    ]
    assert engine.database.query(
        "SELECT version, name, checksum IS NOT NULL, applied_by <> %s FROM schema_migrations"
        " ORDER BY version",
        role,
    ) == [
        ("001", "migration_tracking", True, True),
        ("002", "file", True, True),
        ("003", "file", True, True),
    ]
    assert engine.database.query("SELECT version, state FROM schema_migrations_log ORDER BY 1") == [
        ("001", "done"),
        ("002", "done"),
        ("003", "done"),
    ]


@pytest.mark.parametrize(
    "leak",
    [
        "SET search_path = ''",
        "SELECT pg_catalog.set_config('search_path', '', false)",
        "SET ROLE {role}",
        "SET LOCAL ROLE {role}",
        "SET SESSION AUTHORIZATION {role}",
        "SET LOCAL SESSION AUTHORIZATION {role}",
        "CREATE TEMP TABLE schema_migrations (LIKE public.schema_migrations INCLUDING ALL)",
        "CREATE SCHEMA s; CREATE TABLE s.schema_migrations (version text, name text);"
        " SET search_path = s",
        "SET CONSTRAINTS ALL DEFERRED",
        "SET standard_conforming_strings TO DEFAULT",
        "SET DateStyle = 'SQL, DMY'; SET TIME ZONE 'Asia/Tokyo'; SET extra_float_digits = 0",
        "CREATE FUNCTION now() RETURNS timestamptz LANGUAGE sql AS 'SELECT NULL::timestamptz';"
        " SET search_path = public, pg_catalog",
    ],
)
def test_what_a_file_leaves_does_not_reach_its_history_row(
    engine: Engine, role: str, leak: str
) -> None:
    text = f"CREATE TABLE t (); {leak.format(role=role)};"
    engine.apply(text, "CREATE TABLE after_it ();", applied_by="jürgen")
    assert engine.tables() == ["after_it", "t"]
    assert engine.database.query(
        "SELECT version, name, applied_by, execution_time_ms BETWEEN 0 AND 60000,"
        " now() - applied_at BETWEEN '0' AND '10 min' FROM public.schema_migrations"
        " WHERE version > '001' ORDER BY 1"
    ) == [("002", "file", "jürgen", True, True), ("003", "file", "jürgen", True, True)]


def test_a_statement_timeout_does_not_reach_the_history_row(engine: Engine) -> None:
    engine.database.execute(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM pg_sleep(0.5); RETURN NEW; END';"
        "CREATE TRIGGER slow BEFORE INSERT ON schema_migrations"
        " FOR EACH ROW EXECUTE FUNCTION slow()"
    )
    engine.apply("CREATE TABLE t (); SET statement_timeout = '100ms';")
    assert engine.versions() == ["001", "002"]


def test_the_roles_own_default_role(engine: Engine, role: str) -> None:
    """ALTER ROLE … SET role: what the role makes belongs to another one."""
    user = connections["default"].settings_dict["USER"]
    engine.database.execute(
        f"ALTER SCHEMA public OWNER TO {role};"
        f"ALTER TABLE schema_migrations OWNER TO {role};"
        f"ALTER TABLE schema_migrations_log OWNER TO {role};"
        f"ALTER ROLE {user} IN DATABASE {engine.database.name} SET role = '{role}'"
    )
    engine.apply(
        "CREATE TABLE t (); SET ROLE NONE; RESET ROLE; CREATE TABLE u (); SET ROLE NONE;",
        "CREATE TABLE v ();",
    )
    assert engine.database.query(
        "SELECT relname, relowner::regrole::text FROM pg_class WHERE relname IN ('t', 'u', 'v')"
        " ORDER BY 1"
    ) == [("t", role), ("u", role), ("v", role)]


def test_an_assumed_role(
    engine: Engine, role: str, add_alias: Callable[..., None], settings: Settings
) -> None:
    """Django's OPTIONS["assume_role"]."""
    engine.database.execute(
        f"GRANT ALL ON SCHEMA public TO {role}; GRANT ALL ON schema_migrations TO {role};"
        f"GRANT ALL ON schema_migrations_log TO {role}"
    )
    add_alias("assumed", engine.database, OPTIONS={"assume_role": role})
    settings.SQLMIGRATOR = settings.SQLMIGRATOR | {"DATABASES": {"assumed": {}}}
    engine.folder.write("002_t.sql", "CREATE TABLE t (); RESET ROLE;")
    engine.folder.write("003_u.sql", "CREATE TABLE u ();")
    engine.runner("assumed").apply()
    assert engine.database.query(
        "SELECT relname, relowner::regrole::text FROM pg_class WHERE relname IN ('t', 'u')"
        " ORDER BY 1"
    ) == [("t", role), ("u", role)]


def test_a_failure_after_leaks_is_recorded_too(engine: Engine, role: str) -> None:
    failure = engine.fail(LEAKS.format(role=role) + "SELECT nope;")
    assert failure.message == 'column "nope" does not exist'
    assert engine.database.query(
        "SELECT version, state, error FROM schema_migrations_log ORDER BY id DESC LIMIT 1"
    ) == [("002", "failed", 'column "nope" does not exist')]


def test_names_with_quotes_and_percents_are_recorded(engine: Engine) -> None:
    name = "o'brien \\ %s 😀; DROP TABLE schema_migrations; --"
    engine.apply("CREATE TABLE t ();", applied_by=name)
    assert engine.database.query(
        "SELECT s.applied_by, l.applied_by FROM schema_migrations s"
        " JOIN schema_migrations_log l USING (version) WHERE version = '002'"
    ) == [(name, name)]


# Times and notices


def test_the_execution_time_is_the_servers(engine: Engine) -> None:
    result = engine.apply("SELECT pg_sleep(0.3);", "SELECT 1;")
    slow, quick = (applied.execution_time_ms for applied in result.applied)
    assert 300 <= slow < 30_000
    assert 0 <= quick < slow
    assert engine.database.query(
        "SELECT version, l.execution_time_ms, abs(s.execution_time_ms - l.execution_time_ms) < 1000,"
        " extract(epoch FROM finished_at - started_at) * 1000 - l.execution_time_ms < 1000"
        " FROM schema_migrations s JOIN schema_migrations_log l USING (version)"
        " WHERE version > '001' ORDER BY 1"
    ) == [("002", slow, True, True), ("003", quick, True, True)]


def test_the_execution_time_leaves_out_failed_attempts(engine: Engine) -> None:
    engine.apply("CREATE TABLE t (id int);")
    with engine.database.connect(autocommit=False) as blocker:
        blocker.execute("LOCK TABLE t")
        pid = blocker.info.backend_pid

        def release_after_two(event: object) -> None:
            engine.events.append(event)  # type: ignore[arg-type]
            if isinstance(event, Retrying) and event.attempt == 3:
                blocker.rollback()

        engine.folder.write("003_alter.sql", "ALTER TABLE t ADD COLUMN a int;")
        result = engine.runner().apply(on_event=release_after_two)
    retries = [event for event in engine.events if isinstance(event, Retrying)]
    assert [event.attempt for event in retries] == [1, 2, 3]
    assert retries[0].reason == "canceling statement due to lock timeout"
    assert pid in {session.pid for event in retries for session in event.blockers}
    assert result.applied[0].execution_time_ms < 1000


def test_notices_are_events(engine: Engine) -> None:
    engine.apply("DO $$ BEGIN RAISE NOTICE 'é 1'; RAISE WARNING 'two'; RAISE INFO 'three'; END $$;")
    told = [event for event in engine.events if isinstance(event, NoticeReceived)]
    assert told == [
        NoticeReceived("NOTICE", "é 1"),
        NoticeReceived("WARNING", "two"),
        NoticeReceived("INFO", "three"),
    ]


def test_the_fence_does_not_believe_the_files_operators(engine: Engine) -> None:
    engine.apply(
        "CREATE SCHEMA op;\n"
        "CREATE FUNCTION op.f(text, text) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT false';\n"
        "CREATE OPERATOR op.= (leftarg = text, rightarg = text, function = op.f);\n"
        "SET LOCAL search_path = op, pg_catalog;\n"
    )
    assert engine.database.query("SELECT version FROM schema_migrations ORDER BY 1")[-1] == ("002",)


@pytest.mark.parametrize("header", ["", "-- sqlmigrator: no-transaction\n"])
def test_the_fence_does_not_believe_the_files_casts(engine: Engine, header: str) -> None:
    engine.apply(
        "CREATE FUNCTION to_int(text) RETURNS int LANGUAGE plpgsql AS $$\n"
        "BEGIN RETURN $1::numeric; EXCEPTION WHEN others THEN RETURN 0; END $$;\n"
        "CREATE CAST (text AS integer) WITH FUNCTION to_int(text);\n"
    )
    failure = engine.fail(f"{header}DO $$ BEGIN PERFORM pg_advisory_unlock_all(); END $$;")
    assert failure.message == "sqlmigrator: the file dropped the migration lock"
    assert engine.versions() == ["001", "002"]


def test_the_bookkeeping_is_read_as_utf_8(engine: Engine) -> None:
    """The file goes as a message of its own, because it names schema_migrations."""
    text = "-- schema_migrations\nSELECT set_config('client_encoding', 'LATIN1', false);\n"
    if engine.runner is not MigrationRunner:  # by statement it is refused
        assert engine.fail(text).message == READ_OTHERWISE
        return
    engine.apply(text, applied_by="José")
    assert engine.database.query(
        "SELECT applied_by FROM schema_migrations ORDER BY version DESC LIMIT 1"
    ) == [("José",)]
