"""migrate_check: options, exit codes and the exact text, JSON and annotations."""

import json
import os
import subprocess
from collections.abc import Callable

import pytest
from pytest_django import Settings

from tests.support import Database, Folder, Result

Call = Callable[..., Result]

COLLISION = """\
{folder}: 2 applied, 1 pending, 1 error, 0 warnings

✗ Duplicate migration version 002:
  - 002_add_reviews.sql   not applied: renumber to 004_add_reviews.sql
  - 002_people.sql        applied 2025-10-10 14:02 UTC

Would be applied, in this order (1):
  003_index.sql   (2 statements, no transaction)

Next: `manage.py migrate_renumber` shows the renames, `--write` does them.
Cannot proceed with duplicate migration versions!
"""
NO_TRANSACTION = (
    "-- sqlmigrator: no-transaction\nCREATE INDEX CONCURRENTLY i ON people (id);\nSELECT 1;"
)


@pytest.fixture
def applied(database: Database, folder: Folder, call: Call) -> Folder:
    """001 and 002 are applied, at a known time."""
    folder.with_tracking().write("002_people.sql", "CREATE TABLE people (id int);\n")
    assert call("migrate_apply").code == 0
    database.execute("UPDATE schema_migrations SET applied_at = '2025-10-10 16:02:59+02'")
    return folder


# Text


def test_nothing_to_do(applied: Folder, call: Call) -> None:
    assert call("migrate_check") == Result(
        0,
        f"{applied.path}: 2 applied, 0 pending, 0 errors, 0 warnings\n"
        "\nNo migration is pending.\n"
        "\nNothing to do: the database is up to date.\n",
        "",
    )


def test_an_empty_folder_and_an_empty_database(
    database: Database, folder: Folder, call: Call
) -> None:
    assert call("migrate_check") == Result(
        0,
        f"{folder.path}: 0 applied, 0 pending, 0 errors, 0 warnings\n"
        "\nNo migration is pending.\n"
        "\nNothing to do: the database is up to date.\n",
        "",
    )
    assert database.query("SELECT count(*) FROM pg_class WHERE relname ~ 'migration'") == [(0,)]


def test_duplicates(applied: Folder, call: Call) -> None:
    applied.write("002_add_reviews.sql", "CREATE TABLE reviews (id int);")
    applied.write("003_index.sql", NO_TRANSACTION)
    assert call("migrate_check") == Result(1, COLLISION.format(folder=applied.path), "")


def test_a_syntax_error_with_its_line_and_a_caret(applied: Folder, call: Call) -> None:
    path = applied.write("003_bad.sql", "SELECT 1;\nSELECT '漢字' FORM people;\n")
    assert call("migrate_check") == Result(
        1,
        f"{applied.path}: 2 applied, 1 pending, 1 error, 0 warnings\n"
        "\n"
        '✗ syntax error at or near "people" [E015]\n'
        f"    {path}:2:18\n"
        "    | SELECT '漢字' FORM people;\n"
        f"    | {' ' * 19}^\n"
        "    Correct the statement at the line shown.\n"
        "\n"
        "Would be applied, in this order (1):\n"
        "  003_bad.sql   (2 statements)\n"
        "\n"
        "Cannot proceed: 1 error to settle, as told above.\n",
        "",
    )


def test_the_syntax_check_runs_nothing(database: Database, applied: Folder, call: Call) -> None:
    """Not even what would end the transaction it is asked in."""
    applied.write(
        "003_tricky.sql",
        "-- sqlmigrator: no-transaction\nCREATE TABLE made (id int);\nVACUUM;\n"
        "SELECT pg_advisory_lock(1);\nSELECT setval('schema_migrations_id_seq', 4000);\n",
    )
    assert call("migrate_check").code == 0
    assert database.query("SELECT to_regclass('made')") == [(None,)]
    assert database.query(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database ="
        " (SELECT oid FROM pg_database WHERE datname = current_database())"
    ) == [(0,)]
    assert database.query("SELECT last_value < 4000 FROM schema_migrations_id_seq") == [(True,)]


def test_copy_data_is_no_syntax_error(applied: Folder, call: Call) -> None:
    path = applied.write("003_data.sql", "COPY people FROM stdin;\n1\n;;'\n\\.\nSELEC 1;\n")
    result = call("migrate_check")
    assert f'✗ syntax error at or near "SELEC" [E015]\n    {path}:5:1\n' in result.out


def test_files_are_parsed_together_and_told_apart(applied: Folder, call: Call) -> None:
    applied.write("003_good.sql", "SELECT 1 -- no semicolon at its end")
    bad = applied.write("004_bad.sql", "SELECT '漢字';\n\nSELEC 2;\n")
    applied.write("005_data.sql", "COPY people FROM stdin;\n1\n\\.\n")
    applied.write("006_large.sql", f"SELECT '{'x' * 2_000_000}';\n")
    worse = applied.write("007_worse.sql", "SELECT 1;\n  SELEC 3 /* the end */")
    result = call("migrate_check")
    assert result.out.count("[E015]") == 2
    assert f'✗ syntax error at or near "SELEC" [E015]\n    {bad}:3:1\n' in result.out
    assert f'✗ syntax error at or near "SELEC" [E015]\n    {worse}:2:3\n' in result.out
    bad.write_text("SELECT 1")
    worse.write_text("SELECT 1")
    assert call("migrate_check").code == 0


def test_findings_of_one_kind_are_shortened(applied: Folder, call: Call) -> None:
    for number in range(5):
        applied.write(f"notes{number}.sql", "SELECT 1;")
    short = call("migrate_check").out
    assert short == (
        f"{applied.path}: 2 applied, 0 pending, 0 errors, 5 warnings\n"
        "\n"
        "! 5 times: not a migration [W003]\n"
        "  - notes0.sql is never run: no version\n"
        "  - notes1.sql is never run: no version\n"
        "  - notes2.sql is never run: no version\n"
        "    Move it out of the migrations folder, or name it NNN_descriptive_name.sql.\n"
        "  … and 2 more (--verbosity 2 shows all)\n"
        "\nNo migration is pending.\n"
        "\nNothing to do: the database is up to date.\n"
    )
    long = call("migrate_check", "--verbosity", "2").out
    assert "! notes4.sql is never run: no version [W003]\n" in long
    assert "more" not in long


def test_many_pending_files_are_shortened(applied: Folder, call: Call) -> None:
    for number in range(3, 23):
        applied.write(f"{number:03d}_file.sql", "SELECT 1;")
    short = call("migrate_check").out
    assert "  017_file.sql   (1 statement)\n  … and 5 more (--verbosity 2 shows all)\n" in short
    long = call("migrate_check", "-v", "2").out
    assert "  022_file.sql   (1 statement)\n\nNext: `manage.py migrate_apply`" in long


EVERY_KIND = {
    "002_other.sql": "SELECT 1;",
    "003_empty.sql": "-- nothing\n",
    "004_latin.sql": b"SELECT '\xe9';",
    "005_nul.sql": b"SELECT 1;\0DROP TABLE x;",
    "006_begin.sql": "SELECT 1;\nCOMMIT;",
    "007_meta.sql": "\\echo hello\n",
    "008_index.sql": "CREATE INDEX CONCURRENTLY i ON people (id);",
    "009_directive.sql": "-- sqlmigrator: no-transactoin\nSELECT 1;",
    "010_lock.sql": "DISCARD ALL;",
    "011_history.sql": "DELETE FROM schema_migrations;",
    "013_gap.sql": "SELECT 1",
    "37b_x.sql": "SELECT 1;",
    "014-Add-Inbox.SQL": "SELECT 1;",
    "README.sql": "SELECT 1;",
    "sub/001_x.sql": "SELECT 1;",
    "015_gone.down.sql": "SELECT 1;",
}


def test_every_finding_has_its_hint(applied: Folder, call: Call) -> None:
    for name, text in EVERY_KIND.items():
        applied.write(name, text)
    out = call("migrate_check", "--verbosity", "2").out
    for told in (
        f"{applied.path}: 2 applied, 10 pending, 11 errors, 5 warnings\n",
        "✗ Duplicate migration version 002:\n",
        "✗ the file holds no statement [E012]\n"
        f"    {applied.path}/003_empty.sql\n    Write the migration, or delete the file.\n",
        "✗ not UTF-8: byte 0xe9 at offset 8 [E011]\n",
        "✗ a NUL byte at offset 9: the server would stop reading there [E011]\n",
        "✗ COMMIT is the file's own transaction control [E009]\n",
        "006_begin.sql:2:1\n    | COMMIT;\n    | ^\n",
        "✗ \\echo is a command of psql [E010]\n",
        "✗ CREATE INDEX CONCURRENTLY cannot run in a transaction [E008]\n",
        "✗ unknown directive 'no-transactoin' [E013]\n",
        "    Did you mean `no-transaction`?\n",
        "✗ this statement drops the migration lock [E016]\n",
        "! DELETE changes schema_migrations [W006]\n",
        "! Gap in the numbers: 012 [W001]\n",
        "✗ 37b_x.sql is not named NNN_descriptive_name.sql: it would never run [E002]\n"
        "    Rename it to 016_x.sql, or move it out of the folder; `manage.py\n"
        "    migrate_renumber` does it.\n",
        "✗ 014-Add-Inbox.SQL is not named NNN_descriptive_name.sql: it would never run [E002]\n"
        "    Rename it to 014_add_inbox.sql, or move",
        "! README.sql is never run: no version [W003]\n",
        "! sub/ holds .sql files, which are never run [W004]\n",
        "! 015_gone.down.sql has no migration beside it [W007]\n",
    ):
        assert told in out


def test_all_hints_and_excerpts_fit_80_columns(applied: Folder, call: Call) -> None:
    for name, text in EVERY_KIND.items():
        applied.write(name, text)
    applied.write("016_long.sql", f"SELECT {'x' * 200}, FROM '{'y' * 200}';")
    lines = call("migrate_check", "--verbosity", "2").out.splitlines()
    long = [line for line in lines if len(line) > 80 and str(applied.path) not in line]
    assert [line for line in long if line.startswith("  ")] == []


# Exit codes


def test_fail_on_pending(applied: Folder, call: Call) -> None:
    assert call("migrate_check", "--fail-on-pending").code == 0
    applied.write("003_more.sql", "SELECT 1;")
    assert call("migrate_check").code == 0
    pending = call("migrate_check", "--fail-on-pending")
    assert (pending.code, pending.err) == (4, "")
    assert pending.out.endswith("Next: `manage.py migrate_apply` applies them.\n")


def test_an_error_weighs_more_than_a_pending_file(applied: Folder, call: Call) -> None:
    applied.write("003_bad.sql", "SELEC 1;")
    assert call("migrate_check", "--fail-on-pending").code == 1


def test_fail_on_warning(applied: Folder, call: Call) -> None:
    assert call("migrate_check", "--fail-on-warning").code == 0
    applied.write("notes.sql", "SELECT 1;")
    assert call("migrate_check").code == 0
    assert call("migrate_check", "--fail-on-warning").code == 1
    applied.write("003_more.sql", "SELECT 1;")
    assert call("migrate_check", "--fail-on-warning", "--fail-on-pending").code == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "xml"], "argument --format: invalid choice: 'xml'"),
        (["--database", "nope"], "argument --database: invalid choice: 'nope'"),
        (["--database=default", "--all-databases"], "not allowed with argument"),
        (["--directory", ""], "argument --directory: the path is empty"),
        (["--no-such-option"], "unrecognized arguments: --no-such-option"),
    ],
)
def test_usage_errors(folder: Folder, call: Call, options: list[str], message: str) -> None:
    result = call("migrate_check", *options)
    assert (result.code, result.out) == (2, "")
    assert message in result.err


# Options


def test_out_of_order(applied: Folder, database: Database, call: Call) -> None:
    applied.write("004_late.sql", "SELECT 1;")
    assert call("migrate_apply").code == 0
    applied.write("003_early.sql", "SELECT 1;")
    refused = call("migrate_check")
    assert refused.code == 1
    assert (
        "✗ 003_early.sql is pending, but 004 is already applied [E006]\n"
        "    Give it the next free number (`manage.py migrate_renumber 003_early.sql\n"
        "    --write`), or pass `--allow-out-of-order`.\n" in refused.out
    )
    allowed = call("migrate_check", "--allow-out-of-order")
    assert allowed.code == 0
    assert "  003_early.sql   (1 statement, out of order)\n" in allowed.out


def test_missing(applied: Folder, call: Call) -> None:
    applied.write("003_more.sql", "SELECT 1;")
    (applied.path / "002_people.sql").unlink()
    refused = call("migrate_check")
    assert refused.code == 1
    assert (
        "✗ 002_people.sql is applied 2025-10-10 14:02 UTC, but its file is missing [E007]\n"
        in refused.out
    )
    assert call("migrate_check", "--ignore-missing").code == 0


def test_ahead(applied: Folder, call: Call) -> None:
    (applied.path / "002_people.sql").unlink()
    result = call("migrate_check")
    assert result.code == 0
    assert "! The database is ahead of this folder: 002 [W002]\n" in result.out


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("CREATE TABLE people (id int);  -- the people\n", "only comments and white space changed"),
        ("CREATE TABLE people (id bigint);\n", "its statements changed"),
    ],
)
def test_changed_with_git_at_hand(
    applied: Folder, database: Database, call: Call, change: str, told: str
) -> None:
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", "-C", str(applied.path)]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *command], check=True)
    applied.write("002_people.sql", change)
    result = call("migrate_check")
    assert result.code == 1
    assert "✗ 002_people.sql was changed after it was applied 2025-10-10 14:02 UTC (" in result.out
    assert f": {told} [E005]\n" in result.out


def test_windows_line_ends_are_no_change(applied: Folder, call: Call) -> None:
    applied.write("002_people.sql", b"\xef\xbb\xbfCREATE TABLE people (id int);\r\n")
    assert call("migrate_check").code == 0


def test_offline_needs_no_database(folder: Folder, call: Call) -> None:
    """pytest-django would refuse a connection here."""
    folder.with_tracking().write("002_people.sql", "SELECT 1;")
    assert call("migrate_check", "--offline") == Result(
        0,
        f"{folder.path}: 2 files, 0 errors, 0 warnings\n"
        "\n"
        "Would be applied, in this order (2):\n"
        "  001_migration_tracking.sql   (16 statements)\n"
        "  002_people.sql   (1 statement)\n"
        "\n"
        "The files are in order.\n",
        "",
    )
    folder.write("002_other.sql", "SELECT 1;")
    refused = call("migrate_check", "--offline")
    assert refused.code == 1
    assert (
        "✗ Duplicate migration version 002:\n"
        "  - 002_other.sql    not applied: keeps the number\n"
        "  - 002_people.sql   not applied: renumber to 003_people.sql\n" in refused.out
    )


def test_offline_finds_what_the_lexer_sees(folder: Folder, call: Call) -> None:
    path = folder.write("001_bad.sql", "SELECT 'never closed;\n")
    result = call("migrate_check", "--offline")
    assert result.code == 1
    assert f"    {path}:1:8\n    | SELECT 'never closed;\n    |        ^\n" in result.out


def test_directory_overrides_the_setting(applied: Folder, folder: Folder, call: Call) -> None:
    other = Folder(applied.path.parent / "other place")
    other.write("001_x.sql", "SELECT 1;")
    result = call("migrate_check", "--offline", "--directory", other.path)
    assert result.out.startswith(f"{other.path}: 1 file, 0 errors")


def test_a_relative_directory(database: Database, manage: Call, folder: Folder) -> None:
    folder.write("001_x.sql", "SELECT 1;")
    result = manage("migrate_check", "--directory", "migrations", cwd=folder.path.parent)
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"{folder.path}: 0 applied, 1 pending")


# JSON


def test_json(applied: Folder, call: Call) -> None:
    applied.write("003_bad.sql", "SELECT 1;\nSELEC 'é';\n")
    result = call("migrate_check", "--format", "json")
    assert (result.code, result.err) == (1, "")
    document = json.loads(result.out)
    (database,) = document["databases"]
    assert (document["version"], document["command"]) == (1, "migrate_check")
    assert {key: database[key] for key in ("database", "directory", "ok", "pending")} == {
        "database": "default",
        "directory": str(applied.path),
        "ok": False,
        "pending": ["003_bad.sql"],
    }
    assert database["summary"] == {
        "total": 3,
        "applied": 2,
        "pending": 1,
        "errors": 1,
        "warnings": 0,
    }
    second = database["migrations"][1]
    assert {key: second[key] for key in ("version", "name", "state", "checksum_state")} == {
        "version": "002",
        "name": "people",
        "state": "applied",
        "checksum_state": "verified",
    }
    assert second["applied_at"] == "2025-10-10T14:02:59+00:00"
    assert second["file"] == str(applied.path / "002_people.sql")
    assert database["findings"] == [
        {
            "id": "sqlmigrator.E015",
            "name": "syntax error",
            "severity": "error",
            "message": 'syntax error at or near "SELEC"',
            "hint": "Correct the statement at the line shown.",
            "migration": "003",
            "file": str(applied.path / "003_bad.sql"),
            "line": 2,
            "column": 1,
            "details": [],
        }
    ]


# GitHub


def test_github_annotations_are_relative_and_escaped(applied: Folder, call: Call) -> None:
    (applied.path.parent / ".git").mkdir()
    applied.write("003_bad.sql", "SELECT 1;\n  SELECT '100%' FORM people;\n")
    applied.write("no,te: 100%.sql", "SELECT 1;")
    result = call("migrate_check", "--format", "github")
    assert result == Result(
        1,
        "::error file=migrations/003_bad.sql,line=2,col=22,title=syntax error"
        ' (sqlmigrator.E015)::syntax error at or near "people"%0ACorrect the statement at the '
        "line shown.\n"
        "::warning file=migrations/no%2Cte%3A 100%25.sql,title=not a migration"
        " (sqlmigrator.W003)::no,te: 100%25.sql is never run: no version%0AMove it out of the "
        "migrations folder.\n",
        "",
    )


def test_github_marks_a_link_and_not_its_target(applied: Folder, call: Call) -> None:
    (applied.path.parent / ".git").mkdir()
    (applied.path / "003_link.sql").symlink_to("nowhere")
    out = call("migrate_check", "--format", "github").out
    assert out.startswith("::error file=migrations/003_link.sql,")


def test_github_marks_every_duplicate(applied: Folder, call: Call) -> None:
    (applied.path.parent / ".git").mkdir()
    applied.write("002_add_reviews.sql", "SELECT 1;")
    lines = call("migrate_check", "--format", "github").out.splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "::error file=migrations/002_add_reviews.sql",
        "::error file=migrations/002_people.sql",
    ]
    assert all(line.count("::") == 2 for line in lines)


def test_github_says_nothing_when_all_is_well(applied: Folder, call: Call) -> None:
    assert call("migrate_check", "--format", "github") == Result(0, "", "")


# Terminals and pipes


def test_a_pipe_has_no_colour_and_a_terminal_may_have_none(applied: Folder, call: Call) -> None:
    applied.write("003_bad.sql", "SELEC 1;")
    plain = call("migrate_check").out
    assert "\x1b" not in plain
    coloured = call("migrate_check", "--force-color").out
    assert "\x1b[" in coloured
    assert call("migrate_check", "--no-color").out == plain


@pytest.mark.parametrize("format_", ["text", "github", "json"])
def test_a_terminal_that_only_has_ascii(
    database: Database, manage: Call, folder: Folder, format_: str
) -> None:
    folder.write("001_bad.sql", "SELECT 'é漢' FORM people;\n")
    folder.write("002_ä.sql", "SELECT 1;")
    folder.path.joinpath("003_→.sql").write_text("SELECT 1;")
    result = manage(
        *("migrate_check", "--directory", folder.path, "--format", format_),
        env={"PYTHONIOENCODING": "ascii"},
    )
    assert (result.code, result.err) == (1, "")
    assert result.out.isascii()
    assert "001_bad.sql" in result.out
    if format_ == "text":
        assert '\nx syntax error at or near "people" [E015]\n' in result.out
        assert "x 002_\\xe4.sql is not named" in result.out


def test_names_cannot_play_tricks_on_the_terminal(
    database: Database, manage: Call, folder: Folder
) -> None:
    folder.write("\x1b[31mred.sql", "SELECT 1;")
    folder.write("a\n::error::b.sql", "SELECT 1;")
    for format_ in ("text", "github", "json"):
        result = manage("migrate_check", "--directory", folder.path, "--format", format_)
        assert (result.code, result.err) == (0, "")
        assert "\x1b" not in result.out
        assert "\n::error" not in result.out


def test_a_name_that_is_not_utf_8(database: Database, manage: Call, folder: Folder) -> None:
    (folder.path / os.fsdecode(b"004_\xff.sql")).write_text("SELECT 1;")
    for format_ in ("text", "github", "json"):
        result = manage(
            *("migrate_check", "--directory", folder.path, "--format", format_),
            env={"PYTHONIOENCODING": "utf-8:strict"},
        )
        assert (result.code, result.err) == (1, "")
        assert "004_" in result.out


# Several databases


def test_all_databases_in_turn(
    database: Database,
    make_database: Callable[[], Database],
    add_alias: Callable[..., None],
    folder: Folder,
    call: Call,
    settings: Settings,
) -> None:
    other = Folder(folder.path.parent / "other")
    folder.write("001_x.sql", "SELECT 1;")
    other.write("001_y.sql", "SELEC 1;")
    other.write("002_z.sql", "SELECT 1;")
    add_alias("other", make_database())
    add_alias("unused", make_database())
    settings.SQLMIGRATOR = {
        "DIRECTORY": folder.path,
        "DATABASES": {"other": {"DIRECTORY": other.path}},
    }
    result = call("migrate_check", "--all-databases")
    assert (result.code, result.err) == (1, "")
    lines = result.out.splitlines()
    assert lines[0] == "Database default"
    assert lines[1] == f"{folder.path}: 0 applied, 1 pending, 0 errors, 0 warnings"
    index = lines.index("Database other")
    assert lines[index + 1] == f"{other.path}: 0 applied, 2 pending, 1 error, 0 warnings"
    assert "Database unused" not in lines
    document = json.loads(call("migrate_check", "--all-databases", "--format", "json").out)
    assert [d["database"] for d in document["databases"]] == ["default", "other"]
    assert call("migrate_check", "--database", "default").code == 0
    assert call("migrate_check", "--database", "other").code == 1
    refused = call("migrate_check", "--database", "unused")
    assert refused == Result(
        2,
        "",
        "The database 'unused' has no migrations.\n"
        '  List it: SQLMIGRATOR = {"DATABASES": {"unused": {"DIRECTORY": …}}}.\n',
    )
