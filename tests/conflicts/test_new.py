"""`migrate_new`: the next free number, the header, the name."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from sqlmigrator.core.directives import KEYS, parse_directives
from sqlmigrator.core.template import migration_text
from tests.support import ROOT, Database, Folder, Result

Call = Callable[..., Result]
TODAY = datetime.now(UTC).date


def names(folder: Folder) -> list[str]:
    return sorted(path.name for path in folder.path.iterdir())


def test_writes_the_header_and_prints_the_path(
    database: Database, in_folder: Folder, call: Call
) -> None:
    in_folder.with_tracking()
    day = TODAY()
    result = call("migrate_new", "add_inbox")
    assert result == Result(
        0,
        "migrations/002_add_inbox.sql\n",
        "Write the SQL, then run `manage.py migrate_check`.\n",
    )
    assert (in_folder.path / "002_add_inbox.sql").read_text() == (
        "-- Migration: add inbox\n"
        "-- Version: 002\n"
        f"-- Date: {day}\n"
        "-- Description:\n"
        "--\n"
        '-- Directives: take the first "-- " away from the line that you need.\n'
        "-- -- sqlmigrator: no-transaction\n"
        "-- -- sqlmigrator: lock_timeout=2s\n"
        "-- -- sqlmigrator: statement_timeout=10min\n"
        "-- -- sqlmigrator: out-of-order\n"
        "-- -- sqlmigrator: depends=app_label.0042_name\n"
        "\n"
    )


def test_no_transaction_is_a_directive(database: Database, folder: Folder, call: Call) -> None:
    assert call("migrate_new", "add_index", "--no-transaction").code == 0
    text = (folder.path / "001_add_index.sql").read_bytes()
    directives, errors = parse_directives(text)
    assert (directives.no_transaction, errors) == (True, [])
    assert text.count(b"no-transaction") == 1


def test_every_line_of_the_reminder_is_a_directive() -> None:
    lines = migration_text("001", "x", TODAY()).splitlines()
    examples = [line.removeprefix("-- ") for line in lines if line.startswith("-- --")]
    for example in examples:
        _, errors = parse_directives(example.encode())
        assert errors == [], example
    keys = {example.partition(": ")[2].partition("=")[0] for example in examples}
    assert keys == set(KEYS)


def test_with_down_writes_the_reverse(database: Database, in_folder: Folder, call: Call) -> None:
    result = call("migrate_new", "add_inbox", "--with-down")
    assert result.out == "migrations/001_add_inbox.sql\nmigrations/001_add_inbox.down.sql\n"
    assert (in_folder.path / "001_add_inbox.down.sql").read_text() == (
        "-- Reverse of 001_add_inbox.sql\n-- Run only by `manage.py migrate_rollback 001`.\n\n"
    )


def test_the_check_calls_it_empty_until_a_statement_is_written(
    database: Database, folder: Folder, call: Call
) -> None:
    folder.with_tracking()
    call("migrate_new", "add_inbox")
    result = call("migrate_check")
    assert result.code == 1
    assert "✗ the file holds no statement [E012]" in result.out
    with (folder.path / "002_add_inbox.sql").open("a") as stream:
        stream.write("CREATE TABLE inbox (id int);\n")
    assert call("migrate_apply").code == 0
    assert database.query("SELECT version FROM schema_migrations ORDER BY 1") == [
        ("001",),
        ("002",),
    ]


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("Add Inbox", "add_inbox"),
        ("addInbox", "add_inbox"),
        ("add-inbox.sql", "add_inbox"),
        ("add__inbox", "add_inbox"),
        ("008_add_inbox", "add_inbox"),
        ("037b_add_inbox.down.sql", "add_inbox"),
        ("../add_inbox", "add_inbox"),
        ("Ääh", "h"),
        ("…", "add_unread_tracking"),
        ("", "add_unread_tracking"),
    ],
)
def test_a_wrong_name_is_refused_with_a_right_one(
    database: Database, folder: Folder, call: Call, name: str, suggestion: str
) -> None:
    result = call("migrate_new", name)
    assert result == Result(
        2,
        "",
        f"{name!r} cannot be the name of a migration: lower-case words joined by underscores can, "
        f"without a number and without .sql.\n  Run `manage.py migrate_new {suggestion}`.\n",
    )
    assert names(folder) == []


@pytest.mark.parametrize("name", ["add_inbox", "x", "2024_budget", "v2", "1st_index"])
def test_right_names(database: Database, folder: Folder, call: Call, name: str) -> None:
    assert call("migrate_new", name).code == 0
    assert names(folder) == [f"001_{name}.sql"]


def test_rows_of_every_database_count(
    production: Database, folder: Folder, call: Call, database: Database
) -> None:
    folder.with_tracking()
    assert call("migrate_apply", "--all-databases").code == 0
    production.execute("INSERT INTO schema_migrations (version, name) VALUES ('014', 'newer')")
    assert call("migrate_new", "add_inbox").code == 0
    assert names(folder) == ["001_migration_tracking.sql", "015_add_inbox.sql"]


def test_an_unreachable_database_is_said_and_the_files_decide(
    production: Database, folder: Folder, call: Call, cut_off: Callable[[str], None]
) -> None:
    folder.with_tracking()
    cut_off("production")
    result = call("migrate_new", "add_inbox")
    assert result.code == 0
    first, *rest = result.err.splitlines()
    assert first.startswith("The numbers used in 'production' are not known: ")
    assert rest[-1] == "Write the SQL, then run `manage.py migrate_check`."
    assert names(folder) == ["001_migration_tracking.sql", "002_add_inbox.sql"]


def test_the_number_of_a_misnamed_file_is_left_to_it(
    database: Database, folder: Folder, call: Call
) -> None:
    folder.write("003_x.sql", "SELECT 1;")
    folder.write("4-Y.sql", "SELECT 1;")
    assert call("migrate_new", "z").code == 0
    assert "005_z.sql" in names(folder)


@pytest.mark.parametrize(
    ("there", "made"),
    [
        ("999_x.sql", "1000_z.sql"),
        ("0007_x.sql", "0008_z.sql"),
        ("000_x.sql", "001_z.sql"),
    ],
)
def test_the_width_follows_the_highest(
    database: Database, folder: Folder, call: Call, there: str, made: str
) -> None:
    folder.write(there, "SELECT 1;")
    assert call("migrate_new", "z").code == 0
    assert names(folder) == sorted([there, made])


def test_all_databases_that_share_a_folder_get_one_file(
    production: Database, folder: Folder, call: Call
) -> None:
    assert call("migrate_new", "add_inbox", "--all-databases").code == 0
    assert names(folder) == ["001_add_inbox.sql"]


def test_nothing_is_left_when_the_reverse_cannot_be_written(
    database: Database, folder: Folder, call: Call
) -> None:
    folder.write("001_add_inbox.down.sql", "-- there before its migration")
    result = call("migrate_new", "add_inbox", "--with-down")
    path = folder.path / "001_add_inbox.down.sql"
    assert (result.code, result.out) == (1, "")
    assert (
        result.err
        == f"{path} cannot be created: File exists.\n  Delete it, or give it a migration.\n"
    )
    assert names(folder) == ["001_add_inbox.down.sql"]
    assert path.read_text() == "-- there before its migration"


def test_a_name_that_is_too_long(database: Database, folder: Folder, call: Call) -> None:
    result = call("migrate_new", "x" * 260)
    assert result.code == 1
    assert result.err.endswith(
        "cannot be created: File name too long.\n  Check the folder and its permissions.\n"
    )


def test_a_missing_folder(database: Database, folder: Folder, call: Call) -> None:
    folder.path.rmdir()
    result = call("migrate_new", "add_inbox")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"The migrations folder {folder.path} does not exist.\n")


def test_a_number_taken_twice_in_a_race_is_told_by_the_check(
    database: Database, folder: Folder, call: Call
) -> None:
    """Eight at once: the same number perhaps, but never one file over another."""
    call("migrate_check")  # the server is up before the race
    command = [sys.executable, str(ROOT / "manage.py"), "migrate_new", "--directory", folder.path]
    environment = {"DATABASE_URL": database.url, "PATH": "/usr/bin:/bin"}

    def run(name: str) -> int:
        return subprocess.run([*command, name], env=environment, capture_output=True).returncode

    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(run, [f"change_{n % 7}" for n in range(8)]))
    made = names(folder)
    assert codes.count(0) == len(made)
    assert {name[4:] for name in made} == {f"change_{n}.sql" for n in range(7)}
    for name in made:
        assert f"-- Version: {name[:3]}\n" in (folder.path / name).read_text()
    versions = [name[:3] for name in made]
    twice = sorted({version for version in versions if versions.count(version) > 1})
    checked = call("migrate_check", "--verbosity", 2)
    for version in twice:
        assert f"✗ Duplicate migration version {version}:" in checked.out
