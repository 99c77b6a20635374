"""The fixtures themselves: they must not leak databases, processes or settings."""

import os
import signal
from collections.abc import Callable

import psycopg
import pytest
from django.conf import settings
from django.db import connection, connections

from tests.support import (
    Database,
    Folder,
    Result,
    Running,
    create_database,
    drop_database,
    maintenance_connection,
)


def test_the_database_is_empty_and_is_djangos_default(database: Database) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_database()")
        assert cursor.fetchone() == (database.name,)
    assert database.query(
        "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    ) == [(0,)]


def test_the_url_names_the_database(database: Database) -> None:
    with psycopg.connect(database.url) as direct:
        assert direct.info.dbname == database.name


def test_parameters_and_scripts(database: Database) -> None:
    database.execute("CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2)")
    assert database.query("SELECT n FROM t WHERE n > %s", 1) == [(2,)]
    assert database.query("SELECT n % 2 FROM t ORDER BY n") == [(1,), (0,)]


def test_a_second_alias(
    database: Database, make_database: Callable[[], Database], add_alias: Callable[..., None]
) -> None:
    add_alias("other", make_database())
    with connections["other"].cursor() as cursor:
        cursor.execute("SELECT current_database()")
        assert cursor.fetchone() != (database.name,)
    assert list(connections) == ["default", "other"]


def test_without_a_database_nothing_connects() -> None:
    assert connections["default"].connection is None
    assert list(connections) == ["default"]


def test_the_folder_is_the_setting(folder: Folder) -> None:
    folder.with_tracking()
    folder.write("002_b.sql", b"\xff")
    assert settings.SQLMIGRATOR["DIRECTORY"] == folder.path
    assert sorted(file.name for file in folder.path.iterdir()) == [
        "001_migration_tracking.sql",
        "002_b.sql",
    ]


def test_call_has_real_exit_codes(call: Callable[..., Result]) -> None:
    assert call("check") == Result(0, "System check identified no issues (0 silenced).\n", "")
    assert call("check", "--nonsense").code == 2
    unknown = call("no_such_command")
    assert (unknown.code, unknown.out) == (1, "")
    assert "Unknown command: 'no_such_command'" in unknown.err


def test_manage_runs_on_the_database(database: Database, manage: Callable[..., Result]) -> None:
    script = (
        "from django.db import connection as c; c.ensure_connection(); "
        "print(c.settings_dict['NAME'])"
    )
    result = manage("shell", "--no-imports", "-c", script)
    assert result == Result(0, f"{database.name}\n", "")


def test_a_background_command_can_be_killed(
    database: Database, manage_popen: Callable[..., Running]
) -> None:
    script = "import time; print('up'); time.sleep(60)"
    running = manage_popen("shell", "--no-imports", "-c", script)
    running.wait_for("up")
    running.send(signal.SIGTERM)
    assert running.finish(10).code == -signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(running.pid, 0)


def test_databases_are_dropped_with_sessions_in_them() -> None:
    fresh = create_database()
    session = fresh.connect()
    drop_database(fresh)
    with maintenance_connection() as maintenance:
        found = maintenance.execute(
            "SELECT 1 FROM pg_database WHERE datname = %s", [fresh.name]
        ).fetchall()
    assert found == []
    session.close()
