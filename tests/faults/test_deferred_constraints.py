"""Family 19: a deferred constraint fails at the end of the file, and takes the row along."""

from collections.abc import Callable

import pytest

from tests.faults.scenes import applied, attempts, exists
from tests.support import Database, Folder, Result

TABLES = """
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (
    id int PRIMARY KEY,
    parent int REFERENCES parent DEFERRABLE INITIALLY DEFERRED,
    rank int UNIQUE DEFERRABLE INITIALLY DEFERRED
);
"""
COPY = "COPY parent FROM stdin;\n1\n\\.\n"
TOLD = "a deferred constraint failed at the end of the file: "


@pytest.fixture
def tables(database: Database, folder: Folder, call: Callable[..., Result]) -> Database:
    folder.with_tracking()
    folder.write("002_tables.sql", TABLES)
    assert call("migrate_apply", "-v0").code == 0
    return database


@pytest.mark.parametrize("first", ["", COPY], ids=["one message", "statement by statement"])
def test_a_deferred_foreign_key(
    first: str, tables: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    folder.write(
        "003_orphan.sql", f"CREATE TABLE a (n int);\n{first}INSERT INTO child VALUES (1, 9);"
    )
    folder.write("004_next.sql", "CREATE TABLE next (n int);")
    result = call("migrate_apply")
    assert result.code == 1
    message = (
        'insert or update on table "child" violates foreign key constraint "child_parent_fkey"'
    )
    assert f"003_orphan.sql: {TOLD}{message} [SQLSTATE 23503]" in result.err
    assert 'Detail: Key (parent)=(not shown) is not present in table "parent".' in result.err
    assert "Nothing of it remains: the transaction was rolled back." in result.err
    assert "Not applied: 004_next.sql." in result.err
    assert applied(tables) == ["001", "002"]
    assert not exists(tables, "a")
    assert tables.query("SELECT * FROM child") == []
    assert attempts(tables, "003")[0][3:] == ("23503", f"{TOLD}{message}")


def test_a_deferred_unique_constraint(
    tables: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    folder.write("003_twice.sql", "INSERT INTO child VALUES (1, NULL, 5), (2, NULL, 5);")
    result = call("migrate_apply")
    assert result.code == 1
    assert f"{TOLD}duplicate key value violates unique constraint" in result.err
    assert applied(tables) == ["001", "002"]


def test_a_deferred_trigger_that_raises(
    tables: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    tables.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN RAISE EXCEPTION 'no children today'; END$$;"
        "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON child DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION refuse();"
    )
    folder.write("003_child.sql", "INSERT INTO child VALUES (1);")
    result = call("migrate_apply")
    assert result.code == 1
    assert "003_child.sql: no children today [SQLSTATE P0001]" in result.err
    assert tables.query("SELECT * FROM child") == []
    assert applied(tables) == ["001", "002"]


def test_what_is_put_right_before_the_end_is_fine(
    tables: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    folder.write("003_late.sql", "INSERT INTO child VALUES (1, 9); INSERT INTO parent VALUES (9);")
    assert call("migrate_apply").code == 0
    assert tables.query("SELECT id, parent FROM child") == [(1, 9)]


def test_in_a_no_transaction_file_each_statement_answers_for_itself(
    tables: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    folder.write(
        "003_late.sql",
        "-- sqlmigrator: no-transaction\nINSERT INTO parent VALUES (1);\n"
        "INSERT INTO child VALUES (1, 9);\nINSERT INTO parent VALUES (9);",
    )
    result = call("migrate_apply")
    assert result.code == 1
    assert "003_late.sql:3:1: " in result.err
    assert "Statement 1 is done and stays done." in result.err
    assert tables.query("SELECT id FROM parent") == [(1,)]
    assert attempts(tables, "003")[0][:4] == ("failed", 1, 3, "23503")
