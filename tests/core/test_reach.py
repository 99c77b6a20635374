"""Statements that change what all databases of a server share."""

import pytest

from sqlmigrator.core.reach import reaches_server
from sqlmigrator.core.script import split


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE ROLE r",
        '/* c */ create user "R" login',
        "ALTER ROLE r IN DATABASE d SET work_mem = '1MB'",
        "DROP GROUP r",
        "ALTER DATABASE d SET search_path = app",
        "CREATE TABLESPACE t LOCATION '/t'",
        "ALTER SYSTEM SET work_mem = '1MB'",
        "COMMENT ON ROLE r IS ''",
        'GRANT a, "ON" TO b',
        "REVOKE a FROM b",
        "GRANT CONNECT ON DATABASE d TO r",
        "GRANT SET ON PARAMETER log_statement TO r",
        "REASSIGN OWNED BY a TO b",
        "DROP OWNED BY a",
        "DO $$ BEGIN IF true THEN CREATE ROLE r; END IF; END $$",
        "DO $$ BEGIN GRANT a TO b; END $$",
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET x.y = 1', current_database()); END $$",
    ],
)
def test_what_reaches_beyond(sql: str) -> None:
    assert reaches(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE role ()",
        "CREATE USER MAPPING FOR r SERVER s",
        "COMMENT ON TABLE t IS 'CREATE ROLE'",
        "GRANT SELECT ON t TO r",
        'GRANT SELECT ON "user" TO r',
        "GRANT SELECT (a, b) ON TABLE t TO r",
        "REVOKE ALL ON SCHEMA public FROM PUBLIC",
        "DROP TABLE owned",
        "DO $$ BEGIN CREATE TABLE t (); GRANT SELECT ON t TO r; END $$",
        "SELECT 'CREATE ROLE r'",
    ],
)
def test_what_stays_in_the_database(sql: str) -> None:
    assert not reaches(sql)


def reaches(sql: str) -> bool:
    data = sql.encode()
    (statement,) = split(data)
    return reaches_server(data, statement)
