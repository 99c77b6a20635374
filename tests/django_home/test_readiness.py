"""`migrate_check --readiness`: one query, file names, and an exit code for a probe."""

from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from sqlmigrator.exceptions import DatabaseRefused
from sqlmigrator.runner import MigrationRunner
from tests.support import Database, Folder, Result

Call = Callable[..., Result]


@pytest.fixture
def applied(database: Database, folder: Folder, call: Call) -> Folder:
    """A folder of two applied migrations."""
    folder.write("001_a.sql", "CREATE TABLE a (n int);")
    folder.write("002_b.sql", "CREATE TABLE b (n int);")
    assert call("migrate_apply").code == 0
    return folder


def test_up_to_date_is_one_query(applied: Folder, call: Call) -> None:
    connection.ensure_connection()
    with CaptureQueriesContext(
        connection,
    ) as queries:
        result = call("migrate_check", "--readiness")
    assert result == Result(0, "Ready: the database is up to date.\n", "")
    assert len(queries) == 1


def test_ahead_is_ready(applied: Folder, call: Call) -> None:
    (applied.path / "002_b.sql").unlink()
    assert call("migrate_check", "--readiness") == Result(
        0, "Ready: the database is up to date, and ahead of this folder.\n", ""
    )


def test_pending(applied: Folder, call: Call) -> None:
    applied.write("003_c.sql", "-- sqlmigrator: depends=nobody.0001_x\nthis is no SQL")
    assert call("migrate_check", "--readiness") == Result(
        4, "Pending: 1 migration: 003_c.sql.\n", ""
    )
    applied.write("004_d.sql", "")
    assert call("migrate_check", "--readiness") == Result(
        4, "Pending: 2 migrations, from 003_c.sql on.\n", ""
    )


def test_a_fresh_database_is_pending_and_stays_as_it_is(
    database: Database, folder: Folder, call: Call
) -> None:
    folder.write("001_a.sql", "SELECT 1;")
    assert call("migrate_check", "--readiness") == Result(
        4, "Pending: 1 migration: 001_a.sql.\n", ""
    )
    assert database.query("SELECT to_regclass('schema_migrations')") == [(None,)]


def test_a_changed_file_is_not_opened(applied: Folder, call: Call) -> None:
    (applied.path / "001_a.sql").unlink()
    (applied.path / "001_a.sql").symlink_to(applied.path / "nowhere")
    assert call("migrate_check", "--readiness").code == 0


def test_a_pending_file_below_the_highest_is_pending(applied: Folder, call: Call) -> None:
    (applied.path / "001_a.sql").rename(applied.path / "003_late.sql")
    applied.write("001_a.sql", "")
    applied.write("000_early.sql", "")
    assert call("migrate_check", "--readiness").code == 4


def test_diverged_by_name(applied: Folder, call: Call) -> None:
    (applied.path / "002_b.sql").rename(applied.path / "002_other.sql")
    result = call("migrate_check", "--readiness")
    assert result == Result(
        1, "Diverged: 002_other.sql is not what ran here: version 002 is 'b'.\n", ""
    )


def test_diverged_by_a_missing_file_unless_that_is_allowed(applied: Folder, call: Call) -> None:
    (applied.path / "001_a.sql").unlink()
    result = call("migrate_check", "--readiness")
    assert result == Result(1, "Diverged: 001_a.sql is applied, but its file is missing.\n", "")
    assert call("migrate_check", "--readiness", "--ignore-missing").code == 0


def test_diverged_by_duplicates(applied: Folder, call: Call) -> None:
    applied.write("0002_twice.sql", "")
    result = call("migrate_check", "--readiness")
    assert result == Result(1, "Diverged: Duplicate migration version 002.\n", "")


def test_the_history_is_hidden(applied: Folder, database: Database) -> None:
    """An empty answer is not taken for an empty history."""
    role = f"{database.name}_probe"
    database.execute(f"""
        CREATE ROLE {role};
        ALTER TABLE schema_migrations ENABLE ROW LEVEL SECURITY;
        GRANT SELECT ON schema_migrations TO {role};
    """)
    with connection.cursor() as cursor:
        cursor.execute(f"SET ROLE {role}")
        with pytest.raises(DatabaseRefused) as caught:
            MigrationRunner().readiness()
        cursor.execute("RESET ROLE")
    database.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert str(caught.value) == (
        'Row level security hides rows of "public".schema_migrations from this role.'
    )


def test_another_tools_table_is_refused(database: Database, folder: Folder, call: Call) -> None:
    database.execute("CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean)")
    result = call("migrate_check", "--readiness")
    assert result.code == 3
    assert "golang-migrate made it" in result.err


def test_a_table_made_by_hand(database: Database, folder: Folder, call: Call) -> None:
    database.execute(
        "CREATE TABLE schema_migrations (version int PRIMARY KEY, name text);"
        "INSERT INTO schema_migrations VALUES (1, '001_a.sql')"
    )
    folder.write("001_a.sql", "")
    assert call("migrate_check", "--readiness").code == 0


def test_the_database_cannot_be_reached(folder: Folder, manage: Callable[..., Result]) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    result = manage("migrate_check", "--readiness", env={"DATABASE_URL": nowhere})
    assert (result.code, result.out) == (3, "")
    assert result.err.startswith("The database 'default' cannot be reached: ")


def test_the_runner_returns_the_plan(applied: Folder, database: Database) -> None:
    applied.write("003_c.sql", "")
    plan = MigrationRunner().readiness()
    assert [entry.filename for entry in plan.pending] == ["003_c.sql"]
    assert plan.errors == ()


def test_no_lock_is_waited_for(applied: Folder, database: Database, call: Call) -> None:
    with database.connect() as other:
        other.execute("BEGIN; LOCK TABLE schema_migrations IN EXCLUSIVE MODE")
        assert call("migrate_check", "--readiness").code == 0
