"""`migrate_renumber`: who keeps the number, the plan as commands for a shell, `--write`."""

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conflicts.conftest import Repository
from tests.support import Database, Folder, Result

Call = Callable[..., Result]

ADVICE = (
    "# A file moved to the end may be needed earlier on a fresh database:\n"
    "# `manage.py migrate_check --rehearse` tells. `--write` performs the renames.\n"
)


def names(folder: Folder) -> list[str]:
    return sorted(path.name for path in folder.path.iterdir())


def record(database: Database, version: str, name: str, checksum: str | None = None) -> None:
    database.execute(
        "CREATE TABLE IF NOT EXISTS schema_migrations (version text UNIQUE, name text,"
        " applied_at timestamptz DEFAULT now(), checksum text);"
    )
    database.query(
        "INSERT INTO schema_migrations (version, name, checksum) VALUES (%s, %s, %s) RETURNING 1",
        version,
        name,
        checksum,
    )


def test_nothing_to_do(database: Database, in_folder: Folder, call: Call) -> None:
    in_folder.write("001_a.sql", "SELECT 1;")
    expected = Result(0, "# Nothing to rename in migrations.\n", "")
    assert call("migrate_renumber") == expected
    assert call("migrate_renumber", "--write") == expected


def test_the_older_name_order_decides_without_git_and_history(
    database: Database, in_folder: Folder, call: Call
) -> None:
    for name in ("001_a.sql", "003_c.sql", "003_b.sql", "0003_a.sql", "007_x.sql"):
        in_folder.write(name, "SELECT 1;")
    assert call("migrate_renumber") == Result(
        0,
        "# 0003_a.sql keeps 0003 (first by name)\n"
        "mv migrations/003_b.sql migrations/008_b.sql\n"
        "# 0003_a.sql keeps 0003 (first by name)\n"
        "mv migrations/003_c.sql migrations/009_c.sql\n" + ADVICE,
        "",
    )
    assert "003_b.sql" in names(in_folder)  # only shown


def test_the_file_first_committed_keeps_the_number(
    repository: Repository, database: Database, in_folder: Folder, call: Call
) -> None:
    in_folder.write("003_later_name.sql", "SELECT 1;")
    repository.commit(day=2)
    in_folder.write("003_a.sql", "SELECT 2;")
    repository.commit(day=3)
    in_folder.write("003_0_untracked.sql", "SELECT 2;")
    assert call("migrate_renumber") == Result(
        0,
        "# 003_later_name.sql keeps 003 (first in git, 2025-10-02)\n"
        "mv migrations/003_0_untracked.sql migrations/004_0_untracked.sql\n"
        "# 003_later_name.sql keeps 003 (first in git, 2025-10-02)\n"
        "git mv migrations/003_a.sql migrations/005_a.sql\n" + ADVICE,
        "",
    )


def test_commits_in_other_time_zones_are_compared_as_instants(
    repository: Repository, database: Database, in_folder: Folder, call: Call
) -> None:
    in_folder.write("003_b.sql", "SELECT 1;")
    repository.commit(when="2025-10-02T23:30:00+10:00")  # 13:30 UTC
    in_folder.write("003_a.sql", "SELECT 1;")
    repository.commit(when="2025-10-02T14:00:00+00:00")
    assert "# 003_b.sql keeps 003 (first in git, 2025-10-02)\n" in call("migrate_renumber").out


def test_the_applied_file_keeps_the_number_whatever_git_says(
    repository: Repository, production: Database, in_folder: Folder, call: Call
) -> None:
    """Applied in a database that is not the one the command looks at first."""
    in_folder.write("003_a.sql", "SELECT 1;")
    repository.commit(day=2)
    in_folder.write("003_b.sql", "SELECT 2;")
    repository.commit(day=3)
    record(production, "003", "b")
    assert call("migrate_renumber") == Result(
        0,
        "# 003_b.sql keeps 003 (applied in production)\n"
        "git mv migrations/003_a.sql migrations/004_a.sql\n" + ADVICE,
        "",
    )


def test_a_checksum_counts_as_applied_where_the_name_differs(
    database: Database, in_folder: Folder, call: Call
) -> None:
    in_folder.write("003_a.sql", "SELECT 1;")
    in_folder.write("003_renamed.sql", "SELECT 2;")
    record(database, "3", "once_called_so", "0" * 64)
    assert "003_a.sql keeps" in call("migrate_renumber").out
    digest = hashlib.sha256(b"SELECT 2;").hexdigest()
    database.execute(f"UPDATE schema_migrations SET checksum = '{digest}'")
    assert "# 003_renamed.sql keeps 003 (applied in default)\n" in call("migrate_renumber").out


def test_numbers_of_rows_without_a_file_are_not_given_out(
    production: Database, in_folder: Folder, call: Call
) -> None:
    in_folder.write("003_a.sql", "SELECT 1;")
    in_folder.write("003_b.sql", "SELECT 1;")
    record(production, "020", "of_a_newer_checkout")
    assert "mv migrations/003_b.sql migrations/021_b.sql\n" in call("migrate_renumber").out


MISNAMED = [
    ("037b_x.sql", "039_x.sql", "037b is not a free number"),
    ("037c_X y.SQL", "040_x_y.sql", "037c is not a free number"),
    ("37_z.sql", "041_z.sql", "37 is not a free number"),
    ("38_only-one.sql", "038_only_one.sql", "the name is not NNN_descriptive_name.sql"),
    ("5.sql", "005_migration.sql", "the name is not NNN_descriptive_name.sql"),
    ("006addIndex.sql", "006_add_index.sql", "the name is not NNN_descriptive_name.sql"),
]


def test_misnamed_files_get_proposals(database: Database, in_folder: Folder, call: Call) -> None:
    in_folder.write("037_x.sql", "SELECT 1;")
    for name, _, _ in MISNAMED:
        in_folder.write(name, f"SELECT '{name}';")
    before = {path.read_text() for path in in_folder.path.iterdir()}
    out = call("migrate_renumber").out
    for source, target, reason in MISNAMED:
        quoted = f"'migrations/{source}'" if " " in source else f"migrations/{source}"
        assert f"# {reason}\nmv {quoted} migrations/{target}\n" in out
    assert call("migrate_renumber", "--write").code == 0
    assert names(in_folder) == sorted(["037_x.sql", *(target for _, target, _ in MISNAMED)])
    assert {path.read_text() for path in in_folder.path.iterdir()} == before


def test_a_misnamed_pair_gets_one_number(database: Database, in_folder: Folder, call: Call) -> None:
    for name in ("037_x.sql", "037b_x.sql", "037b_x.down.sql", "037-x.down.sql"):
        in_folder.write(name, "SELECT 1;")
    assert call("migrate_renumber", "--write").code == 0
    assert names(in_folder) == [
        "037_x.down.sql",
        "037_x.sql",
        "038_x.down.sql",
        "038_x.sql",
    ]


def test_a_misnamed_file_keeps_the_number_under_which_it_is_recorded(
    database: Database, in_folder: Folder, call: Call
) -> None:
    in_folder.write("1_first.sql", "SELECT 1;")
    record(database, "1", "first")
    record(database, "002", "second")
    assert "mv migrations/1_first.sql migrations/001_first.sql\n" in call("migrate_renumber").out


def test_the_proposal_is_what_a_shell_can_run(
    repository: Repository, database: Database, in_folder: Folder, call: Call
) -> None:
    for name in ("003_a.sql", "003_b.sql", "003_b.down.sql", "4 d'Or.sql"):
        in_folder.write(name, "SELECT 1;")
    repository.commit(day=2)
    in_folder.write("003_c.sql", "SELECT 1;")
    out = call("migrate_renumber").out
    subprocess.run(["sh", "-eu"], input=out, text=True, cwd=repository.path, check=True)
    assert names(in_folder) == [
        "003_a.sql",
        "004_d_or.sql",
        "005_b.down.sql",
        "005_b.sql",
        "006_c.sql",
    ]
    assert call("migrate_renumber").out == "# Nothing to rename in migrations.\n"


def test_write_renames_in_git_and_checks_again(
    repository: Repository, database: Database, in_folder: Folder, call: Call
) -> None:
    in_folder.write("001_first.sql", "SELECT 1;\n")
    in_folder.write("003_a.sql", "SELECT 1;\n")
    in_folder.write("003_b.sql", "SELECT 2;\n")
    in_folder.write("003_b.down.sql", "SELECT 3;\n")
    repository.commit(day=2)
    in_folder.write("003_b.sql", "SELECT 2; -- not staged\n")
    in_folder.write("003_c.sql", "SELECT 4;\n")
    in_folder.write("003_d.sql", "SELECT 5;\n")
    repository.git("add", "-N", "migrations/003_d.sql")
    result = call("migrate_renumber", "--write")
    assert (result.code, result.err) == (0, "")
    assert result.out == (
        "# 003_a.sql keeps 003 (first in git, 2025-10-02)\n"
        "git mv migrations/003_b.sql migrations/004_b.sql\n"
        "# goes with its migration\n"
        "git mv migrations/003_b.down.sql migrations/004_b.down.sql\n"
        "# 003_a.sql keeps 003 (first in git, 2025-10-02)\n"
        "mv migrations/003_c.sql migrations/005_c.sql\n"
        "# 003_a.sql keeps 003 (first in git, 2025-10-02)\n"
        "git mv migrations/003_d.sql migrations/006_d.sql\n" + ADVICE + "# Renamed 4.\n"
        f"{in_folder.path}: 0 applied, 5 pending, 0 errors, 1 warning\n"
        "\n"
        "! Gap in the numbers: 002 [W001]\n"
        "    None needed.\n"
        "\n"
        "Would be applied, in this order (5):\n"
        "  001_first.sql   (1 statement)\n"
        "  003_a.sql   (1 statement)\n"
        "  004_b.sql   (1 statement)\n"
        "  005_c.sql   (1 statement)\n"
        "  006_d.sql   (1 statement)\n"
        "\n"
        "Next: `manage.py migrate_apply` applies them.\n"
    )
    assert repository.status() == [
        " A migrations/006_d.sql",
        "?? migrations/005_c.sql",
        "R  migrations/003_b.down.sql -> migrations/004_b.down.sql",
        "RM migrations/003_b.sql -> migrations/004_b.sql",
    ]
    assert (in_folder.path / "004_b.sql").read_text() == "SELECT 2; -- not staged\n"
    assert repository.git("show", ":migrations/004_b.sql") == "SELECT 2;\n"
    assert call("migrate_apply").code == 0
    assert [row[0] for row in database.query("SELECT name FROM schema_migrations ORDER BY 1")] == [
        "a",
        "b",
        "c",
        "d",
        "first",
    ]


def test_an_applied_file_is_refused_even_when_it_is_asked_for(
    production: Database, in_folder: Folder, call: Call
) -> None:
    in_folder.write("003_a.sql", "SELECT 1;")
    record(production, "003", "a")
    result = call("migrate_renumber", "003_a.sql", "--write")
    assert result == Result(
        1,
        "",
        "003_a.sql is applied in production: it keeps its number.\n"
        "  It would run a second time there under another number.\n"
        "  Move the other file, or roll this one back first: `manage.py migrate_rollback 003 "
        "--database …`.\n",
    )
    assert names(in_folder) == ["003_a.sql"]


def test_an_unknown_file_is_refused(database: Database, in_folder: Folder, call: Call) -> None:
    in_folder.write("003_a.sql", "SELECT 1;")
    result = call("migrate_renumber", "migrations/004_a.sql")
    assert result == Result(
        2,
        "",
        f"There is no migration '004_a.sql' in {in_folder.path}.\n"
        "  Name a file of the folder, such as 005_add_unread_tracking.sql.\n",
    )


def test_a_named_file_moves_and_the_other_keeps_the_number(
    database: Database, in_folder: Folder, call: Call
) -> None:
    in_folder.write("003_a.sql", "SELECT 1;")
    in_folder.write("003_b.sql", "SELECT 1;")
    assert call("migrate_renumber", "migrations/003_a.sql").out == (
        "# asked for\nmv migrations/003_a.sql migrations/004_a.sql\n" + ADVICE
    )


def test_a_file_that_is_out_of_order_moves_to_the_end_when_it_is_named(
    database: Database, in_folder: Folder, call: Call
) -> None:
    in_folder.with_tracking()
    in_folder.write("003_c.sql", "CREATE TABLE c (id int);")
    assert call("migrate_apply").code == 0
    in_folder.write("002_b.sql", "CREATE TABLE b (id int);")
    assert call("migrate_apply").code == 1
    assert call("migrate_renumber", "002_b.sql", "--write").code == 0
    assert call("migrate_apply").code == 0
    assert database.query("SELECT max(version) FROM schema_migrations WHERE name = 'b'") == [
        ("004",)
    ]


def test_two_databases_that_applied_both_files_are_refused(
    production: Database, database: Database, in_folder: Folder, call: Call
) -> None:
    in_folder.write("003_a.sql", "SELECT 1;")
    in_folder.write("003_b.sql", "SELECT 2;")
    in_folder.write("004_c.sql", "SELECT 3;")
    in_folder.write("004_d.sql", "SELECT 4;")
    record(database, "003", "a")
    record(production, "003", "b")
    result = call("migrate_renumber", "--write")
    assert result.code == 1
    assert result.err == (
        "Nothing was renamed: 003_a.sql is applied in default; 003_b.sql is applied in "
        "production.\n"
        "  An applied file keeps its number, and only one can have it.\n"
        "  Roll one of them back where it is applied: `manage.py migrate_rollback 003 --database "
        "…`. Or rename one by hand; then `manage.py migrate_renumber --record --database …` moves "
        "its row.\n"
    )
    assert names(in_folder) == ["003_a.sql", "003_b.sql", "004_c.sql", "004_d.sql"]


def test_an_unreachable_database_stops_write_unless_it_is_ignored(
    production: Database, in_folder: Folder, call: Call, cut_off: Callable[[str], None]
) -> None:
    in_folder.write("003_a.sql", "SELECT 1;")
    in_folder.write("003_b.sql", "SELECT 1;")
    cut_off("production")
    shown = call("migrate_renumber")
    assert shown.code == 0
    assert shown.err.startswith("What is applied in 'production' is not known: ")
    refused = call("migrate_renumber", "--write")
    assert refused.code == 3
    assert refused.err.endswith(
        "Nothing was renamed: what is applied in production is not known.\n"
        "  A file that is applied there would run a second time.\n"
        "  Make it reachable, or pass --ignore-unreachable.\n"
    )
    assert names(in_folder) == ["003_a.sql", "003_b.sql"]
    assert call("migrate_renumber", "--write", "--ignore-unreachable").code == 0
    assert names(in_folder) == ["003_a.sql", "004_b.sql"]


def test_without_its_own_database_the_check_afterwards_is_offline(
    production: Database, in_folder: Folder, call: Call, cut_off: Callable[[str], None]
) -> None:
    in_folder.write("003_a.sql", "SELECT 1;")
    in_folder.write("003_b.sql", "SELECT 1;")
    cut_off("production")
    result = call("migrate_renumber", "--write", "--ignore-unreachable", "--database", "production")
    assert result.code == 0
    assert result.out.endswith("The files are in order.\n")


def test_databases_with_another_folder_have_no_say(
    make_database: Callable[[], Database],
    add_alias: Callable[..., None],
    database: Database,
    in_folder: Folder,
    settings: object,
    tmp_path: Path,
    call: Call,
) -> None:
    other = make_database()
    add_alias("reports", other)
    elsewhere = Folder(tmp_path / "reports")
    elsewhere.write("001_z.sql", "SELECT 1;")
    settings.SQLMIGRATOR = {  # type: ignore[attr-defined]
        "DIRECTORY": in_folder.path,
        "DATABASES": {"reports": {"DIRECTORY": elsewhere.path}},
    }
    record(other, "003", "b")
    for name in ("003_a.sql", "003_b.sql"):
        in_folder.write(name, "SELECT 1;")
        elsewhere.write(name, "SELECT 1;")
    assert "# 003_a.sql keeps 003 (first by name)\n" in call("migrate_renumber").out
    both = call("migrate_renumber", "--all-databases").out
    assert "# 003_a.sql keeps 003 (first by name)\n" in both
    assert "# 003_b.sql keeps 003 (applied in reports)\n" in both


def test_an_error_left_in_the_check_is_the_exit_code(
    database: Database, in_folder: Folder, call: Call
) -> None:
    in_folder.write("003_a.sql", "SELECT 1;")
    in_folder.write("003_b.sql", "")
    result = call("migrate_renumber", "--write")
    assert result.code == 1
    assert "✗ the file holds no statement [E012]" in result.out
    assert names(in_folder) == ["003_a.sql", "004_b.sql"]


@pytest.mark.parametrize("highest", ["999", "20251010120000"])
def test_the_next_numbers_beyond_three_digits(
    database: Database, in_folder: Folder, call: Call, highest: str
) -> None:
    in_folder.write(f"{highest}_a.sql", "SELECT 1;")
    in_folder.write(f"{highest}_b.sql", "SELECT 1;")
    assert call("migrate_renumber", "--write").code == 0
    first, second = sorted(names(in_folder), key=lambda name: int(name.partition("_")[0]))
    assert first == f"{highest}_a.sql"
    if highest == "999":
        assert second == "1000_b.sql"
    else:
        assert second.endswith("_b.sql")
        assert len(second) == len(first)


def test_the_check_says_of_a_duplicate_what_renumber_does(
    production: Database, database: Database, in_folder: Folder, call: Call
) -> None:
    in_folder.with_tracking()
    in_folder.write("002_p.sql", "SELECT 1;")
    in_folder.write("002_q.sql", "SELECT 2;")
    record(production, "002", "q")
    out = call("migrate_check").out
    assert "  - 002_p.sql   not applied: renumber to 003_p.sql\n" in out
    assert "  - 002_q.sql   applied in production, keeps the number\n" in out
    assert "002_q.sql keeps 002 (applied in production)" in call("migrate_renumber").out
    record(database, "002", "p")
    out = call("migrate_check").out
    assert "  - 002_p.sql   applied 20" in out
    assert "  - 002_q.sql   applied in production\n" in out
