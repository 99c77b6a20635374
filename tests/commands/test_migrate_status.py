"""migrate_status: every state, the history of attempts, the exact text and JSON."""

import json
from collections.abc import Callable

import pytest
from pytest_django import Settings

from tests.support import Database, Folder, Result

Call = Callable[..., Result]

FRESH = """\
Available Migrations
  001  pending       migration_tracking
  002  pending       people

Applied Migrations
  (none)

Total: 2 | Applied: 0 | Pending: 2
"""
ALL_STATES = """\
Available Migrations
  001   applied       migration_tracking
  002   changed       people
  003   missing       gone
  004   applied       by_hand
  005   out of order  early
  006   conflicting   one
  006   conflicting   two
  007   conflicting   renamed
  008   applied       last
  009   out of order  next
  010   ahead         from_the_future
  037b  missing       odd

Applied Migrations
        applied at (UTC)        took  checksum    by
  001   2025-10-10 14:02       12 ms  verified    deploy
  002   2025-10-10 14:02       1.5 s  changed     deploy
  003   2025-10-10 14:02       12 ms  no file     deploy
  004   2025-10-10 14:02              unverified  manual
  008   2025-10-10 14:02       12 ms  verified    deploy
  010   2025-10-10 14:02  2 min 05 s  no file     deploy
  037b  2025-10-10 14:02       12 ms  no file     deploy

Total: 12 | Applied: 8 | Pending: 2 | Missing: 2 | Ahead: 1 | Changed: 1 | Conflicting: 3
"""


@pytest.fixture
def all_states(database: Database, folder: Folder, call: Call) -> Folder:
    """One version of every state; nothing can be pending below one that is ahead."""
    folder.with_tracking()
    for name in ("002_people", "003_gone", "007_name", "008_last"):
        folder.write(f"{name}.sql", f"CREATE TABLE t_{name} (id int);")
    assert call("migrate_apply").code == 0
    folder.write("002_people.sql", "CREATE TABLE changed (id int);")
    (folder.path / "003_gone.sql").unlink()
    (folder.path / "007_name.sql").rename(folder.path / "007_renamed.sql")
    for name in ("004_by_hand", "005_early", "006_one", "006_two", "009_next"):
        folder.write(f"{name}.sql", "SELECT 1;")
    database.execute("""
        INSERT INTO schema_migrations (version, name, applied_by) VALUES ('004', 'by_hand', 'manual');
        INSERT INTO schema_migrations (version, name, applied_by, execution_time_ms)
            VALUES ('010', 'from_the_future', 'deploy', 125000), ('037b', 'odd', 'deploy', 12);
        UPDATE schema_migrations SET applied_at = '2025-10-10 14:02:59+00';
        UPDATE schema_migrations SET applied_by = 'deploy', execution_time_ms = 12
            WHERE version IN ('001', '003', '007', '008');
        UPDATE schema_migrations SET applied_by = 'deploy', execution_time_ms = 1500
            WHERE version = '002';
    """)
    return folder


def test_a_fresh_database(database: Database, folder: Folder, call: Call) -> None:
    folder.with_tracking().write("002_people.sql", "SELECT 1;")
    assert call("migrate_status") == Result(0, FRESH, "")
    assert database.query("SELECT to_regclass('schema_migrations')") == [(None,)]


def test_an_empty_folder(database: Database, folder: Folder, call: Call) -> None:
    assert call("migrate_status") == Result(
        0,
        "Available Migrations\n  (none)\n\nApplied Migrations\n  (none)\n\n"
        "Total: 0 | Applied: 0 | Pending: 0\n",
        "",
    )


def test_every_state(all_states: Folder, call: Call) -> None:
    result = call("migrate_status")
    assert (result.code, result.err) == (0, "")
    assert result.out == ALL_STATES


def test_pending_only(all_states: Folder, call: Call) -> None:
    assert call("migrate_status", "--pending") == Result(
        0,
        "Available Migrations\n"
        "  005  out of order  early\n"
        "  009  out of order  next\n"
        "\n"
        "Total: 12 | Applied: 8 | Pending: 2 | Missing: 2 | Ahead: 1 | Changed: 1"
        " | Conflicting: 3\n",
        "",
    )


def test_json(all_states: Folder, call: Call) -> None:
    document = json.loads(call("migrate_status", "--format", "json").out)
    assert (document["version"], document["command"]) == (1, "migrate_status")
    (database,) = document["databases"]
    assert database["summary"] == {
        "total": 12,
        "applied": 8,
        "pending": 2,
        "errors": 6,
        "warnings": 2,
    }
    states = {(m["version"], m["name"]): m["state"] for m in database["migrations"]}
    assert states[("006", "two")] == "conflicting"
    assert states[("010", "from_the_future")] == "ahead"
    assert states[("005", "early")] == "out of order"
    by_hand = next(m for m in database["migrations"] if m["version"] == "004")
    assert by_hand == {
        "version": "004",
        "name": "by_hand",
        "state": "applied",
        "file": str(all_states.path / "004_by_hand.sql"),
        "applied_at": "2025-10-10T14:02:59+00:00",
        "applied_by": "manual",
        "execution_time_ms": None,
        "checksum": None,
        "checksum_state": "unverified",
        "interrupted": None,
    }


# The journal


@pytest.fixture
def attempts(database: Database, folder: Folder, call: Call) -> Folder:
    """A success, a failure, and a migration that was interrupted."""
    folder.with_tracking().write("002_bad.sql", "SELECT 1;\nSELECT nope;")
    assert call("migrate_apply", "--applied-by", "deploy").code == 1
    folder.write(
        "002_bad.sql", "-- sqlmigrator: no-transaction\nSELECT 1;\nSELECT nope;\nSELECT 2;"
    )
    assert call("migrate_apply", "--applied-by", "Ann").code == 1
    database.execute("""
        UPDATE schema_migrations_log SET started_at = timestamptz '2025-10-10 14:02:59+00'
            + id * interval '1 min', execution_time_ms = execution_time_ms * 0 + 12
    """)
    return folder


def test_history(attempts: Folder, call: Call) -> None:
    assert call("migrate_status", "--history") == Result(
        0,
        "History of attempts, newest first\n"
        "  2025-10-10 14:05  failed    apply     002_bad    Ann\n"
        '      42703 line 3: column "nope" does not exist\n'
        "      interrupted at statement 2 of 3\n"
        "  2025-10-10 14:04  failed    apply     002_bad    deploy\n"
        '      42703 line 2: column "nope" does not exist\n'
        "  2025-10-10 14:03  done      apply     001_migration_tracking  12 ms  deploy\n",
        "",
    )


def test_history_of_nothing(database: Database, folder: Folder, call: Call) -> None:
    assert call("migrate_status", "--history") == Result(
        0, "History of attempts, newest first\n  (none)\n", ""
    )
    document = json.loads(call("migrate_status", "--history", "--format", "json").out)
    assert document["databases"] == [{"database": "default", "attempts": []}]


def test_history_as_json(attempts: Folder, call: Call) -> None:
    result = call("migrate_status", "--history", "--format", "json")
    (database,) = json.loads(result.out)["databases"]
    latest = database["attempts"][0]
    assert {key: latest[key] for key in latest if key not in ("id", "finished_at")} == {
        "version": "002",
        "name": "bad",
        "action": "apply",
        "state": "failed",
        "statement_done": 1,
        "statement_total": 3,
        "started_at": "2025-10-10T14:05:59+00:00",
        "execution_time_ms": None,
        "applied_by": "Ann",
        "sqlstate": "42703",
        "error": 'column "nope" does not exist',
        "line": 3,
        "reason": None,
    }


def test_an_interrupted_migration_is_shown(attempts: Folder, call: Call) -> None:
    out = call("migrate_status").out
    assert "  002  pending       bad (interrupted at statement 2 of 3)\n" in out


# Width, encodings, options


def test_it_fits_80_columns(all_states: Folder, database: Database, manage: Call) -> None:
    all_states.write(f"011_{'very_' * 20}long_name.sql", "SELECT 1;")
    all_states.write("20250101120000_timestamp.sql", "SELECT 1;")
    database.execute(f"UPDATE schema_migrations SET applied_by = '{'someone@' * 20}'")
    for option in ((), ("--pending",), ("--history",)):
        result = manage("migrate_status", "--directory", all_states.path, *option)
        assert (result.code, result.err) == (0, "")
        assert max(len(line) for line in result.out.splitlines()) <= 80


def test_versions_of_different_lengths_are_aligned(
    database: Database, folder: Folder, call: Call
) -> None:
    folder.write("001_a.sql", "SELECT 1;")
    folder.write("20250101120000_b.sql", "SELECT 1;")
    assert call("migrate_status", "--pending").out == (
        "Available Migrations\n"
        "  001             pending       a\n"
        "  20250101120000  pending       b\n"
        "\n"
        "Total: 2 | Applied: 0 | Pending: 2\n"
    )


def test_ascii_and_colours(all_states: Folder, manage: Call, call: Call) -> None:
    name = f"011_{'very_' * 20}long_name.sql"
    all_states.write(name, "SELECT 1;")
    result = manage(
        *("migrate_status", "--directory", all_states.path),
        env={"PYTHONIOENCODING": "ascii"},
    )
    assert (result.code, result.err) == (0, "")
    assert result.out.isascii()
    plain = call("migrate_status").out
    assert "\x1b" not in plain
    assert call("migrate_status", "--no-color").out == plain
    assert "\x1b[" in call("migrate_status", "--force-color").out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pending", "--history"], "not allowed with argument"),
        (["--format", "github"], "argument --format: invalid choice: 'github'"),
        (["--database", "x"], "argument --database: invalid choice: 'x'"),
    ],
)
def test_usage_errors(folder: Folder, call: Call, options: list[str], message: str) -> None:
    result = call("migrate_status", *options)
    assert (result.code, result.out) == (2, "")
    assert message in result.err


def test_the_time_zone_of_the_project_does_not_matter(
    all_states: Folder, call: Call, settings: Settings
) -> None:
    settings.TIME_ZONE = "Asia/Tokyo"
    assert call("migrate_status").out == ALL_STATES


def test_all_databases(
    database: Database,
    make_database: Callable[[], Database],
    add_alias: Callable[..., None],
    folder: Folder,
    call: Call,
    settings: Settings,
) -> None:
    folder.with_tracking()
    add_alias("other", make_database())
    add_alias("mirror", database, TEST={"MIRROR": "default"})
    settings.SQLMIGRATOR = {
        "DIRECTORY": folder.path,
        "DATABASES": {"other": {}, "mirror": {}},
    }
    assert call("migrate_apply", "--database", "other").code == 0
    out = call("migrate_status", "--all-databases", "--pending").out
    assert out == (
        "Database default\n"
        "Available Migrations\n"
        "  001  pending       migration_tracking\n"
        "\n"
        "Total: 1 | Applied: 0 | Pending: 1\n"
        "Database other\n"
        "Available Migrations\n"
        "  (none)\n"
        "\n"
        "Total: 1 | Applied: 1 | Pending: 0\n"
    )
    document = json.loads(call("migrate_status", "--all-databases", "--format", "json").out)
    assert [d["summary"]["pending"] for d in document["databases"]] == [1, 0]
