"""`manage.py check`: names and settings at start-up, the databases with --database."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from django.core.checks import Tags, run_checks
from django.core.checks import Warning as CheckWarning
from pytest_django import Settings

from tests.support import ROOT, Database, Folder, Result

Call = Callable[..., Result]


def found(databases: list[str] | None = None) -> list[tuple[str, str, str | None]]:
    """(id, message, hint) of our checks; all of them warn."""
    messages = run_checks(tags=["sqlmigrator"], databases=databases)
    assert {type(message) for message in messages} <= {CheckWarning}
    return [(m.id.removeprefix("sqlmigrator."), m.msg, m.hint) for m in messages]


def test_a_tidy_folder_is_silent(folder: Folder) -> None:
    folder.write("001_a.sql", "not read")
    folder.write("003_c.sql", "not read; a gap is no warning here")
    assert found() == []


@pytest.mark.parametrize(
    ("value", "message", "hint"),
    [
        (
            {"DIRECTRY": "x"},
            "SQLMIGRATOR: unknown key 'DIRECTRY'.",
            "Did you mean 'DIRECTORY'?",
        ),
        (
            {"LOCK_WAIT": 10},
            'SQLMIGRATOR["LOCK_WAIT"]: 10 is not a duration; write "500ms", "2s", "10min" or "1h"',
            "See the settings page.",
        ),
        (["DIRECTORY"], "settings.SQLMIGRATOR must be a dict.", "Write {KEY: value, …}."),
        (
            {"DATABASES": {"defualt": {}}},
            "SQLMIGRATOR[\"DATABASES\"]['defualt']: there is no such database.",
            "Did you mean 'default'?",
        ),
    ],
)
def test_e100_settings(settings: Settings, value: Any, message: str, hint: str) -> None:
    """And nothing else: the folder is not known, the database not asked."""
    settings.SQLMIGRATOR = value
    assert found(["default"]) == [("E100", message, hint)]


def test_e101_a_folder_that_is_missing(folder: Folder) -> None:
    folder.path.rmdir()
    assert found() == [
        (
            "E101",
            f"The migrations folder {folder.path} does not exist.",
            'Create it, set SQLMIGRATOR["DIRECTORY"], or pass --directory.',
        )
    ]


def test_e001_e002_w003_w004_w007_names(folder: Folder) -> None:
    for name in ("003_a.sql", "003_b.sql", "003_c.sql", "37-x.sql", "notes.sql"):
        folder.write(name, b"\xff\0 is never read at start-up")
    folder.write("old/001_a.sql", "")
    folder.write("009_z.down.sql", "")
    assert found() == [
        (
            "E001",
            "Duplicate migration version 003: 003_a.sql, 003_b.sql, 003_c.sql",
            "Run `manage.py migrate_renumber` to see the renames, `--write` to perform them.",
        ),
        (
            "E002",
            "37-x.sql is not named NNN_descriptive_name.sql: it would never run",
            "Rename it to 037_x.sql, or move it out of the folder; `manage.py migrate_renumber` "
            "does it.",
        ),
        ("W003", "notes.sql is never run: no version", "Move it out of the migrations folder."),
        (
            "W004",
            "old/ holds .sql files, which are never run",
            "Move its files up, or out of the migrations folder.",
        ),
        (
            "W007",
            "009_z.down.sql has no migration beside it",
            "Give it the name of its migration, or delete it.",
        ),
    ]


def test_findings_of_one_rule_are_one_warning(folder: Folder) -> None:
    for number in range(10, 63):
        folder.write(f"{number}b_x.sql", "")
    ((check_id, message, hint),) = found()
    assert check_id == "E002"
    assert message == (
        "53 times: misnamed migration\n"
        "  - 10b_x.sql is not named NNN_descriptive_name.sql: it would never run\n"
        "  - 11b_x.sql is not named NNN_descriptive_name.sql: it would never run\n"
        "  - 12b_x.sql is not named NNN_descriptive_name.sql: it would never run\n"
        "  - … and 50 more: `manage.py migrate_check` shows all"
    )
    assert hint == "`manage.py migrate_renumber` proposes a name; or move it out of the folder."


def test_a_shared_folder_is_told_once(production: Database, folder: Folder) -> None:
    folder.write("notes.sql", "")
    assert [check_id for check_id, _, _ in found()] == ["W003"]


def test_start_up_asks_no_database(
    production: Database, folder: Folder, cut_off: Callable[[str], None]
) -> None:
    cut_off("default")
    cut_off("production")
    folder.write("001_a.sql", "")
    assert found() == []


def test_database_findings_only_for_the_aliases_that_are_passed(
    production: Database, database: Database, folder: Folder, call: Call
) -> None:
    folder.with_tracking()
    assert call("migrate_apply", "--all-databases").code == 0
    production.execute("UPDATE schema_migrations SET checksum = 'x' || substr(checksum, 2)")
    folder.write("003_a.sql", "VACUUM;")
    assert run_checks(tags=[Tags.database]) == []
    assert [check_id for check_id, _, _ in found(["default"])] == ["E008", "W001"]
    assert found(["default", "production"]) == [
        (
            "E008",
            f"default: {folder.path}/003_a.sql:1:1: VACUUM cannot run in a transaction",
            "Put it in a file of its own that starts with `-- sqlmigrator: no-transaction`.",
        ),
        ("W001", "default: Gap in the numbers: 002", "None needed."),
        *[
            (check_id, message.replace("default:", "production:"), hint)
            for check_id, message, hint in found(["production"])
        ],
    ]
    assert [check_id for check_id, _, _ in found(["production"])] == ["E005", "E008", "W001"]


def test_names_are_not_told_twice(database: Database, folder: Folder) -> None:
    folder.write("003_a.sql", "SELECT 1;")
    folder.write("003_b.sql", "SELECT 1;")
    assert [check_id for check_id, _, _ in found(["default"])] == ["E001"]


def test_e102_an_unreachable_database(
    production: Database, folder: Folder, cut_off: Callable[[str], None]
) -> None:
    cut_off("production")
    ((check_id, message, hint),) = found(["production"])
    assert check_id == "E102"
    assert message.startswith("The database 'production' ")
    assert hint


def test_e102_a_database_that_is_not_postgresql(
    database: Database, folder: Folder, add_alias: Callable[..., None], settings: Settings
) -> None:
    sqlite = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:", "OPTIONS": {}}
    add_alias("local", database, **sqlite)
    assert found(["default", "local"]) == []  # it has no migrations
    settings.SQLMIGRATOR = {"DIRECTORY": folder.path, "DATABASES": {"local": {}}}
    assert found(["default", "local"]) == [
        (
            "E102",
            "The database 'local' is SQLite, not PostgreSQL.",
            "Leave this alias out of SQLMIGRATOR, and use `manage.py migrate` for it.",
        )
    ]


def test_errors_do_not_stop_migrate(database: Database, folder: Folder, call: Call) -> None:
    folder.write("003_a.sql", "SELECT 1;")
    folder.write("003_b.sql", "SELECT 1;")
    result = call("migrate", "contenttypes")
    assert result.code == 0
    assert "(sqlmigrator.E001) Duplicate migration version 003: 003_a.sql, 003_b.sql" in result.err
    assert database.query("SELECT to_regclass('django_content_type') IS NOT NULL") == [(True,)]


def test_our_commands_run_no_checks(database: Database, folder: Folder, call: Call) -> None:
    folder.write("003_a.sql", "SELECT 1;")
    folder.write("003_b.sql", "SELECT 1;")
    result = call("migrate_renumber", "--write")
    assert (result.code, result.err) == (0, "")


def test_manage_py_check_with_the_database(
    manage: Callable[..., Result], database: Database
) -> None:
    """The example project, in a real process."""
    before = manage("check", "--database", "default")
    assert before.code == 0
    assert before.err.splitlines()[3:5] == [
        "?: (sqlmigrator.W100) default: 7 SQL migrations are pending, from "
        "001_migration_tracking.sql on",
        "\tHINT: `manage.py migrate_apply` applies them.",
    ]
    assert manage("migrate_apply").code == 0
    after = manage("check", "--database", "default", "--fail-level", "WARNING")
    assert after == Result(0, "System check identified no issues (0 silenced).\n", "")


def test_start_up_imports_neither_the_runner_nor_the_planner() -> None:
    code = (
        "import sys, django\n"
        "django.setup()\n"
        "names = ('sqlmigrator.runner', 'sqlmigrator.backends', 'sqlmigrator.core.planner')\n"
        "print([name for name in names if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"DJANGO_SETTINGS_MODULE": "minimal", "PYTHONPATH": f"{ROOT}:{ROOT}/tests/conflicts"},
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
