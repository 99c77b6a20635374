"""What a statement means to the runner. The server's own view is held to these by tests/backends."""

import pytest

from sqlmigrator.core.script import split
from sqlmigrator.core.statements import (
    WAITS_FOR_OTHERS,
    Control,
    Outside,
    OutsideStatement,
    changes_reading,
    drops_lock,
    first_tokens,
    is_reset_all,
    outside_transaction,
    transaction_control,
)


def control(sql: str) -> Control | None:
    return transaction_control(sql.encode(), split(sql.encode())[0])


def outside(sql: str) -> OutsideStatement | None:
    return outside_transaction(sql.encode(), split(sql.encode())[0])


@pytest.mark.parametrize(
    "sql",
    [
        "BEGIN",
        "begin;",
        "BEGIN WORK",
        "Begin Transaction Isolation Level Serializable, Read Write",
        "/* x */ BEGIN /* y */ ; ",
        "START TRANSACTION",
        "START TRANSACTION READ ONLY",
    ],
)
def test_begin(sql: str) -> None:
    assert control(sql) is Control.BEGIN


@pytest.mark.parametrize(
    "sql",
    [
        "COMMIT",
        "commit;",
        "COMMIT WORK",
        "COMMIT TRANSACTION",
        "COMMIT AND NO CHAIN",
        "COMMIT WORK AND NO CHAIN",
        "END",
        "END TRANSACTION",
    ],
)
def test_commit(sql: str) -> None:
    assert control(sql) is Control.COMMIT


@pytest.mark.parametrize(
    "sql",
    [
        "COMMIT AND CHAIN",
        "END WORK AND CHAIN",
        "COMMIT PREPARED 'x'",
        "ROLLBACK",
        "ROLLBACK WORK",
        "ROLLBACK AND CHAIN",
        "ROLLBACK PREPARED 'x'",
        "ABORT",
        "ABORT TRANSACTION",
        "PREPARE TRANSACTION 'x'",
        "PREPARE TRANSACTION E'x'",
    ],
)
def test_refused_control(sql: str) -> None:
    assert control(sql) is Control.REFUSED


@pytest.mark.parametrize(
    "sql",
    [
        "SAVEPOINT a",
        "RELEASE a",
        "RELEASE SAVEPOINT a",
        "ROLLBACK TO a",
        "ROLLBACK TO SAVEPOINT a",
        "ROLLBACK WORK TO SAVEPOINT a",
        "ROLLBACK TRANSACTION TO a",
        'ROLLBACK TO "AND CHAIN"',
        "PREPARE p AS SELECT 1",
        "PREPARE transaction AS SELECT 'x'",
        "PREPARE transaction (int) AS SELECT $1",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SET CONSTRAINTS ALL IMMEDIATE",
        "LOCK TABLE t",
        "CREATE TABLE begin (a int)",
        "DO $$ BEGIN NULL; END $$",
        "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END; $$",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END",
        "(SELECT 1)",
        "'begin'",
    ],
)
def test_what_leaves_the_transaction_open_is_no_control(sql: str) -> None:
    assert control(sql) is None


A_T = ('"a"', '"t"')


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (
            "CREATE INDEX CONCURRENTLY a ON t (b)",
            OutsideStatement(Outside.CREATE_INDEX, *A_T),
        ),
        (
            "create unique index concurrently if not exists A on only s.T using btree (b);",
            OutsideStatement(Outside.CREATE_INDEX, '"a"', '"s"."t"', if_not_exists=True),
        ),
        (
            'CREATE INDEX CONCURRENTLY "A;""b" ON "S"."T" (b)',
            OutsideStatement(Outside.CREATE_INDEX, '"A;""b"', '"S"."T"'),
        ),
        (
            "CREATE INDEX CONCURRENTLY ON t (b)",
            OutsideStatement(Outside.CREATE_INDEX, None, '"t"'),
        ),
        (
            "CREATE /* x */ INDEX -- y\n CONCURRENTLY a ON t (b)",
            OutsideStatement(Outside.CREATE_INDEX, *A_T),
        ),
        ("DROP INDEX CONCURRENTLY a", OutsideStatement(Outside.DROP_INDEX, '"a"')),
        (
            "DROP INDEX CONCURRENTLY IF EXISTS s.a CASCADE",
            OutsideStatement(Outside.DROP_INDEX, '"s"."a"'),
        ),
        (
            "REINDEX INDEX CONCURRENTLY a",
            OutsideStatement(Outside.REINDEX, '"a"', object_kind="INDEX"),
        ),
        (
            "REINDEX (VERBOSE) TABLE CONCURRENTLY s.t",
            OutsideStatement(Outside.REINDEX, '"s"."t"', object_kind="TABLE"),
        ),
        (
            "REINDEX (CONCURRENTLY, VERBOSE) TABLE t",
            OutsideStatement(Outside.REINDEX, '"t"', object_kind="TABLE"),
        ),
        (
            "REINDEX (CONCURRENTLY true) SCHEMA s",
            OutsideStatement(Outside.REINDEX, '"s"', object_kind="SCHEMA"),
        ),
        ("REINDEX SCHEMA s", OutsideStatement(Outside.REINDEX_MANY, '"s"', object_kind="SCHEMA")),
        ("REINDEX DATABASE", OutsideStatement(Outside.REINDEX_MANY, object_kind="DATABASE")),
        (
            "REINDEX (VERBOSE) SYSTEM d",
            OutsideStatement(Outside.REINDEX_MANY, '"d"', object_kind="SYSTEM"),
        ),
        ("VACUUM", OutsideStatement(Outside.VACUUM)),
        ("VACUUM (FULL, ANALYZE) t", OutsideStatement(Outside.VACUUM)),
        ("CLUSTER", OutsideStatement(Outside.CLUSTER)),
        ("CLUSTER VERBOSE;", OutsideStatement(Outside.CLUSTER)),
        ("CLUSTER (VERBOSE)", OutsideStatement(Outside.CLUSTER)),
        ("CLUSTER (VERBOSE false);", OutsideStatement(Outside.CLUSTER)),
        ("CREATE DATABASE d OWNER o", OutsideStatement(Outside.CREATE_DATABASE, '"d"')),
        ("DROP DATABASE d", OutsideStatement(Outside.DROP_DATABASE, '"d"')),
        ("DROP DATABASE IF EXISTS d", OutsideStatement(Outside.DROP_DATABASE, '"d"')),
        (
            "CREATE TABLESPACE x LOCATION '/x'",
            OutsideStatement(Outside.CREATE_TABLESPACE, '"x"'),
        ),
        ("DROP TABLESPACE IF EXISTS x", OutsideStatement(Outside.DROP_TABLESPACE, '"x"')),
        ("ALTER SYSTEM SET a = 1", OutsideStatement(Outside.ALTER_SYSTEM)),
        ("ALTER DATABASE d SET TABLESPACE x", OutsideStatement(Outside.ALTER_DATABASE)),
        ('ALTER DATABASE "d" SET TABLESPACE x', OutsideStatement(Outside.ALTER_DATABASE)),
        (
            "ALTER TABLE ONLY s.t DETACH PARTITION s.p CONCURRENTLY",
            OutsideStatement(Outside.DETACH_PARTITION, '"s"."p"', '"s"."t"'),
        ),
        (
            "ALTER TABLE IF EXISTS t DETACH PARTITION p CONCURRENTLY;",
            OutsideStatement(Outside.DETACH_PARTITION, '"p"', '"t"'),
        ),
        (
            "CREATE SUBSCRIPTION s CONNECTION '' PUBLICATION p",
            OutsideStatement(Outside.CREATE_SUBSCRIPTION, '"s"'),
        ),
        (
            "CREATE SUBSCRIPTION s CONNECTION '' PUBLICATION p WITH (create_slot = true)",
            OutsideStatement(Outside.CREATE_SUBSCRIPTION, '"s"'),
        ),
        (
            "ALTER SUBSCRIPTION s REFRESH PUBLICATION",
            OutsideStatement(Outside.ALTER_SUBSCRIPTION, '"s"'),
        ),
        (
            "ALTER SUBSCRIPTION s SET PUBLICATION p WITH (copy_data = false)",
            OutsideStatement(Outside.ALTER_SUBSCRIPTION, '"s"'),
        ),
        (
            "ALTER SUBSCRIPTION s ADD PUBLICATION p",
            OutsideStatement(Outside.ALTER_SUBSCRIPTION, '"s"'),
        ),
        ("DROP SUBSCRIPTION s", OutsideStatement(Outside.DROP_SUBSCRIPTION, '"s"')),
    ],
)
def test_statements_that_cannot_run_in_a_transaction(sql: str, expected: OutsideStatement) -> None:
    assert outside(sql) == expected


def test_every_kind_that_cannot_run_in_a_transaction_is_shown_above() -> None:
    cases = test_statements_that_cannot_run_in_a_transaction.pytestmark[0].args[1]  # type: ignore[attr-defined]
    assert {expected.kind for _, expected in cases} == set(Outside)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE INDEX a ON t (b)",
        "CREATE INDEX concurrently_a ON t (b)",
        'CREATE INDEX "concurrently" ON t (b)',
        "CREATE INDEX a ON t (b) WHERE c = 'CONCURRENTLY'",
        "CREATE TABLE t (a text DEFAULT 'create index concurrently')",
        "DROP INDEX a",
        "DROP TABLE database",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY v",
        "REINDEX TABLE t",
        "REINDEX (VERBOSE) INDEX a",
        "REINDEX (CONCURRENTLY false) TABLE t",
        "REINDEX (CONCURRENTLY off, VERBOSE) INDEX a",
        'REINDEX TABLE "concurrently_made"',
        "ANALYZE",
        "ANALYZE VERBOSE t",
        "CLUSTER t",
        "CLUSTER VERBOSE t USING a",
        "CLUSTER (VERBOSE) t",
        'CLUSTER (VERBOSE) "t"',
        "ALTER DATABASE d SET search_path = s",
        "ALTER DATABASE d SET timezone TO 'tablespace'",
        "ALTER DATABASE d OWNER TO o",
        "ALTER TABLE t SET TABLESPACE x",
        "ALTER TABLE t DETACH PARTITION p",
        "ALTER TABLE t DETACH PARTITION p FINALIZE",
        "ALTER TABLE t ADD COLUMN system int",
        "ALTER TYPE e ADD VALUE 'x'",
        "CREATE TABLE subscription (database int, tablespace int)",
        "CREATE SUBSCRIPTION s CONNECTION '' PUBLICATION p WITH (connect = false)",
        "CREATE SUBSCRIPTION s CONNECTION '' PUBLICATION p WITH (create_slot = 'off')",
        "ALTER SUBSCRIPTION s ENABLE",
        "ALTER SUBSCRIPTION s SET (slot_name = NONE)",
        "ALTER SUBSCRIPTION s CONNECTION 'refresh publication'",
        "ALTER SUBSCRIPTION s SET PUBLICATION p WITH (refresh = false)",
        "COMMENT ON DATABASE d IS 'x'",
        "CREATE FUNCTION f() RETURNS int AS $$ CREATE INDEX CONCURRENTLY a ON t (b) $$ LANGUAGE sql",
        "DO $$ BEGIN EXECUTE 'VACUUM'; END $$",
        "EXPLAIN SELECT 'vacuum'",
    ],
)
def test_lookalikes_can_run_in_a_transaction(sql: str) -> None:
    assert outside(sql) is None


def test_what_waits_for_other_transactions_must_not_have_a_short_lock_timeout() -> None:
    assert sorted(WAITS_FOR_OTHERS) == [
        "CREATE INDEX CONCURRENTLY",
        "DETACH PARTITION CONCURRENTLY",
        "DROP INDEX CONCURRENTLY",
        "REINDEX CONCURRENTLY",
    ]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("DISCARD ALL", True),
        ("discard /* x */ all;", True),
        ("SELECT pg_advisory_unlock_all()", True),
        ("SELECT pg_catalog.PG_ADVISORY_UNLOCK_ALL()", True),
        ('SELECT "pg_advisory_unlock_all" ()', True),
        ("WITH a AS (SELECT pg_advisory_unlock_all()) SELECT 1", True),
        ("DISCARD TEMP", False),
        ("DISCARD PLANS", False),
        ("SELECT pg_advisory_unlock(1)", False),
        ("SELECT 'pg_advisory_unlock_all()'", False),
        ("SELECT 1 -- pg_advisory_unlock_all()", False),
        ("SELECT my_pg_advisory_unlock_all()", False),
    ],
)
def test_drops_lock(sql: str, expected: bool) -> None:
    assert drops_lock(sql.encode(), split(sql.encode())[0]) is expected


@pytest.mark.parametrize(
    ("sql", "expected"),
    [("RESET ALL", True), ("reset all;", True), ("RESET search_path", False), ("SET a = 1", False)],
)
def test_is_reset_all(sql: str, expected: bool) -> None:
    assert is_reset_all(sql.encode(), split(sql.encode())[0]) is expected


STRINGS = "standard_conforming_strings must stay on"
ENCODING = "client_encoding must stay UTF8, as the file is"


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SET standard_conforming_strings = off", STRINGS),
        ("set session Standard_Conforming_Strings to 'off';", STRINGS),
        ("SET LOCAL standard_conforming_strings = false", STRINGS),
        ("SET standard_conforming_strings = 0", STRINGS),
        ("SET standard_conforming_strings = on", None),
        ("SET standard_conforming_strings TO DEFAULT", None),
        ("SET escape_string_warning = off", None),
        ("RESET standard_conforming_strings", None),
        ("SET client_encoding = 'LATIN1'", ENCODING),
        ("SET client_encoding TO win1252;", ENCODING),
        ("SET NAMES 'LATIN1'", ENCODING),
        ("SET client_encoding = 'UTF8'", None),
        ("SET NAMES 'utf-8'", None),
        ("SET client_encoding TO DEFAULT", None),
        ("UPDATE t SET client_encoding = 'LATIN1'", None),
    ],
)
def test_changes_reading(sql: str, expected: str | None) -> None:
    assert changes_reading(sql.encode(), split(sql.encode())[0]) == expected


def test_first_tokens_are_few_and_without_the_semicolon() -> None:
    data = b"SELECT 1, 2; SELECT 3"
    first, _ = split(data)
    assert [token.text for token in first_tokens(data, first)] == ["SELECT", "1", ",", "2"]
    assert [token.text for token in first_tokens(data, first, 2)] == ["SELECT", "1"]
