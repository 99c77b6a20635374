"""`migrate_mark` and `migrate_renumber --record`: the only doors to the history by hand."""

from collections.abc import Callable

import pytest

from sqlmigrator.core.marking import mark_applied
from sqlmigrator.exceptions import DatabaseRefused
from sqlmigrator.runner import MigrationRunner
from tests.support import Database, Folder, Result

Call = Callable[..., Result]


@pytest.fixture
def three(folder: Folder) -> Folder:
    """Three migrations after 001, none applied."""
    folder.with_tracking()
    for number, name in enumerate("abc", 2):
        folder.write(f"{number:03d}_{name}.sql", f"CREATE TABLE {name} (id int);")
    return folder


def rows(database: Database) -> list[tuple[str, str, bool]]:
    return database.query(
        "SELECT version, name, checksum IS NOT NULL FROM schema_migrations ORDER BY version"
    )


def marks(database: Database) -> list[tuple[str, str, str, str]]:
    return database.query(
        "SELECT action, state, version, reason FROM schema_migrations_log"
        " WHERE action IN ('mark', 'renumber') ORDER BY id"
    )


def test_applied_records_without_running(database: Database, three: Folder, call: Call) -> None:
    result = call("migrate_mark", "--applied", "001", "2", "003_b.sql", "--reason", "by hand")
    assert result.code == 0, result.err
    assert "Changed 3 in the history." in result.out
    assert f"Database default: {database.name}" in result.out
    assert rows(database) == [
        ("001", "migration_tracking", True),
        ("002", "a", True),
        ("003", "b", True),
    ]
    assert database.query("SELECT to_regclass('a')") == [(None,)]
    assert marks(database)[2] == ("mark", "done", "003", "marked as applied: by hand")
    assert call("migrate_apply").code == 0
    assert database.query("SELECT to_regclass('a'), to_regclass('c')::text") == [(None, "c")]


def test_the_row_that_another_runner_wrote_meanwhile_stays(
    database: Database, three: Folder, call: Call
) -> None:
    runner = MigrationRunner()
    changes = mark_applied(runner.status(), ["001", "002"])
    assert call("migrate_apply", "--to", "002", "--applied-by", "ann").code == 0
    with pytest.raises(DatabaseRefused) as caught:
        runner.change_history(changes, "by hand")
    assert str(caught.value) == ("The row of version 001 changed meanwhile; nothing was changed.")
    ran = "SELECT applied_by FROM schema_migrations WHERE version = '002'"
    assert database.query(ran) == [("ann",)]
    assert marks(database) == []


def test_a_baseline_up_to_a_version(database: Database, three: Folder, call: Call) -> None:
    assert call("migrate_mark", "--to", "003", "--reason", "baseline").code == 0
    assert [row[0] for row in rows(database)] == ["001", "002", "003"]
    assert call("migrate_mark", "--all", "--reason", "baseline").code == 0
    assert [row[0] for row in rows(database)] == ["001", "002", "003", "004"]
    again = call("migrate_mark", "--all", "--reason", "baseline")
    assert (again.code, "Nothing to change." in again.out) == (0, True)


def test_a_baseline_is_refused_while_files_conflict(
    database: Database, three: Folder, call: Call
) -> None:
    three.write("003_other.sql", "SELECT 1;")
    result = call("migrate_mark", "--all", "--reason", "baseline")
    assert result.code == 2
    assert result.err.startswith(
        "A baseline cannot be recorded while files conflict: 003_b.sql, 003_other.sql."
    )
    assert database.query("SELECT to_regclass('schema_migrations')") == [(None,)]


def test_a_dry_run_changes_nothing(database: Database, three: Folder, call: Call) -> None:
    result = call("migrate_mark", "--applied", "002", "--reason", "x", "--dry-run")
    assert result.code == 0
    assert "  + 002  a  checksum " in result.out
    assert "Dry run: nothing was changed." in result.out
    assert database.query("SELECT to_regclass('schema_migrations')") == [(None,)]


def test_unapplied_removes_the_row(database: Database, three: Folder, call: Call) -> None:
    assert call("migrate_apply").code == 0
    assert call("migrate_mark", "--unapplied", "004", "--reason", "dropped").code == 0
    assert [row[0] for row in rows(database)] == ["001", "002", "003"]
    assert marks(database) == [("mark", "done", "004", "marked as not applied: dropped")]
    assert "004_c.sql" in call("migrate_check").out


def test_a_version_that_is_given_twice_is_changed_once(
    database: Database, three: Folder, call: Call
) -> None:
    for option in ("--applied", "--accept-checksum", "--unapplied"):
        result = call("migrate_mark", option, "003", "3", "--reason", "x")
        assert (result.code, result.err) == (0, "")
        assert "Changed 1 in the history." in result.out
    assert len(marks(database)) == 3


def test_a_row_without_a_number_can_be_removed(
    database: Database, three: Folder, call: Call
) -> None:
    assert call("migrate_apply").code == 0
    database.execute("INSERT INTO schema_migrations (version, name) VALUES ('037b', 'x')")
    assert "[W005]" in call("migrate_check").out
    assert call("migrate_mark", "--unapplied", "037b", "--reason", "renamed").code == 0
    assert "037b" not in [row[0] for row in rows(database)]


def test_a_changed_file_is_accepted(database: Database, three: Folder, call: Call) -> None:
    assert call("migrate_apply").code == 0
    before = "SELECT checksum FROM schema_migrations WHERE version = '002'"
    ((checksum,),) = database.query(before)
    three.write("002_a.sql", "CREATE TABLE a (id bigint);")
    assert call("migrate_apply").code == 1
    result = call("migrate_mark", "--accept-checksum", "002", "--reason", "agreed")
    assert result.code == 0
    assert call("migrate_check").code == 0
    assert marks(database) == [("mark", "done", "002", f"checksum was {checksum}: agreed")]


def test_missing_checksums_are_filled(database: Database, three: Folder, call: Call) -> None:
    assert call("migrate_apply").code == 0
    database.execute("UPDATE schema_migrations SET checksum = NULL WHERE version <> '002'")
    result = call("migrate_mark", "--fill-checksums", "--reason", "taken over")
    assert (result.code, "Changed 3 in the history." in result.out) == (0, True)
    assert all(has_checksum for _, _, has_checksum in rows(database))


def test_a_renamed_file_is_accepted_under_its_new_name(
    database: Database, three: Folder, call: Call
) -> None:
    assert call("migrate_apply").code == 0
    (three.path / "003_b.sql").rename(three.path / "003_better.sql")
    assert "[E003]" in call("migrate_check").out
    assert call("migrate_mark", "--applied", "003", "--reason", "renamed").code == 0
    assert ("003", "better", True) in rows(database)
    assert call("migrate_check").code == 0


def test_the_row_of_a_renumbered_file_moves(database: Database, three: Folder, call: Call) -> None:
    assert call("migrate_apply").code == 0
    (three.path / "004_c.sql").rename(three.path / "007_c.sql")
    assert "[E004]" in call("migrate_check").out
    result = call("migrate_renumber", "--record")
    assert (result.code, "Moved 1 row." in result.out) == (0, True)
    assert ("007", "c", True) in rows(database)
    reason = "moved from 004: its file was renumbered after it was applied"
    assert marks(database) == [("renumber", "done", "007", reason)]
    assert call("migrate_check").code == 0


def test_rows_move_up_behind_a_file_that_was_inserted(
    database: Database, three: Folder, call: Call
) -> None:
    assert call("migrate_apply").code == 0
    for old, new in (("004_c", "005_c"), ("003_b", "004_b"), ("002_a", "003_a")):
        (three.path / f"{old}.sql").rename(three.path / f"{new}.sql")
    three.write("002_new.sql", "SELECT 1;")
    result = call("migrate_renumber", "--record")
    assert (result.code, result.err) == (0, "")
    assert [row[:2] for row in rows(database)] == [
        ("001", "migration_tracking"),
        ("003", "a"),
        ("004", "b"),
        ("005", "c"),
    ]


def test_rows_that_would_change_places_stay(database: Database, three: Folder, call: Call) -> None:
    assert call("migrate_apply").code == 0
    (three.path / "004_c.sql").rename(three.path / "005_c.sql")
    (three.path / "002_a.sql").rename(three.path / "004_a.sql")
    (three.path / "005_c.sql").rename(three.path / "002_c.sql")
    before = rows(database)
    result = call("migrate_renumber", "--record")
    assert (result.code, result.err.splitlines()[0]) == (
        2,
        "002_c.sql cannot get the row of 004: version 002 is recorded already, as 'a'.",
    )
    assert rows(database) == before


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--applied", "099"), 2, "There is no such version here: 099."),
        (("--unapplied", "099"), 2, "Version 099 is not recorded as applied."),
        (("--applied", "002"), 2, "002_a.sql is recorded already."),
        (("--accept-checksum", "099"), 2, "There is no such version here: 099."),
    ],
)
def test_what_cannot_be_done_is_refused_as_a_whole(
    database: Database, three: Folder, call: Call, options: tuple[str, ...], code: int, message: str
) -> None:
    assert call("migrate_apply", "--to", "002").code == 0
    before = rows(database)
    result = call("migrate_mark", options[0], *options[1:], "--reason", "x")
    assert (result.code, result.err.splitlines()[0]) == (code, message)
    assert rows(database) == before
    assert marks(database) == []


def test_a_reason_is_needed(database: Database, three: Folder, call: Call) -> None:
    assert call("migrate_mark", "--all").code == 2
    empty = call("migrate_mark", "--all", "--reason", " ")
    assert (empty.code, empty.err.splitlines()[0]) == (2, "--reason is empty.")


def test_the_wrong_one_of_two_rows_is_removed_as_the_check_says(
    database: Database, three: Folder, call: Call
) -> None:
    assert call("migrate_apply").code == 0
    database.execute("INSERT INTO schema_migrations (version, name) VALUES ('3', '3_x.sql')")
    out = " ".join(call("migrate_check").out.split())
    assert "Version 003 is recorded twice: 003_b, 3_x [E018]" in out
    assert "`manage.py migrate_mark --unapplied VERSION_NAME --reason …`" in out
    assert call("migrate_mark", "--unapplied", "3_x", "--reason", "by hand").code == 0
    assert call("migrate_check").code == 0


def test_two_files_of_one_number_need_the_whole_name(
    database: Database, three: Folder, call: Call
) -> None:
    three.write("003_other.sql", "SELECT 1;")
    result = call("migrate_mark", "--applied", "003", "--reason", "x")
    assert result.err.splitlines()[0] == "003 means several: 003_b.sql, 003_other.sql."
    assert call("migrate_mark", "--applied", "003_b", "--reason", "x").code == 0
    assert rows(database) == [("003", "b", True)]
