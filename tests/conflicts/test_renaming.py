"""Renames are done all together or not at all, in git and on the disk."""

from pathlib import Path

import pytest

from sqlmigrator.core.renumber import Rename
from sqlmigrator.exceptions import SqlMigratorError
from sqlmigrator.renaming import rename_all, with_reverses
from tests.conflicts.conftest import Repository

HINT = "Settle it, then run `manage.py migrate_renumber` again."
HINT_HALF_WAY = "Settle it, then run `manage.py migrate_renumber --write` again."
# Of 255 bytes, as long as a name may be: with one digit more there is no such name.
LONGEST = f"999_{'x' * 247}.sql"
TOO_LONG = f"1{LONGEST}"


def write(folder: Path, *names: str) -> None:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text(f"SELECT '{name[:40]}';")


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


def renames(*pairs: tuple[str, str]) -> list[Rename]:
    return [Rename(source, target, "") for source, target in pairs]


def refusal(folder: Path, *pairs: tuple[str, str]) -> SqlMigratorError:
    before = contents(folder)
    with pytest.raises(SqlMigratorError) as caught:
        rename_all(folder, renames(*pairs))
    assert contents(folder) == before
    return caught.value


def test_a_target_that_exists_stops_everything(tmp_path: Path) -> None:
    write(tmp_path, "003_a.sql", "003_b.sql", "005_b.sql")
    error = refusal(tmp_path, ("003_a.sql", "004_a.sql"), ("003_b.sql", "005_b.sql"))
    assert (error.message, error.why, error.hint) == (
        "Nothing was renamed: 003_b.sql cannot become 005_b.sql: a file of that name exists.",
        "All the renames are done, or none.",
        HINT,
    )


def test_a_target_that_differs_only_in_case_stops_everything(tmp_path: Path) -> None:
    """On a disk that does not tell them apart it would be the same file."""
    write(tmp_path, "003_b.sql", "005_B.SQL")
    assert refusal(tmp_path, ("003_b.sql", "005_b.sql")).message == (
        "Nothing was renamed: 003_b.sql cannot become 005_b.sql: a file of that name exists."
    )


def test_only_the_case_of_a_name_may_change(tmp_path: Path) -> None:
    write(tmp_path, "005_B.SQL")
    rename_all(tmp_path, renames(("005_B.SQL", "005_b.sql")))
    assert contents(tmp_path) == {"005_b.sql": "SELECT '005_B.SQL';"}


def test_two_files_with_one_target_stop_everything(tmp_path: Path) -> None:
    write(tmp_path, "003_a.sql", "003_b.sql")
    assert refusal(tmp_path, ("003_a.sql", "004_x.sql"), ("003_b.sql", "004_x.sql")).message == (
        "Nothing was renamed: 003_a.sql cannot become 004_x.sql: another file would get that name "
        "too."
    )


def test_a_source_that_is_gone_stops_everything(tmp_path: Path) -> None:
    write(tmp_path, "003_a.sql")
    assert refusal(tmp_path, ("003_a.sql", "004_a.sql"), ("003_b.sql", "005_b.sql")).message == (
        "Nothing was renamed: 003_b.sql is not there any more."
    )


def test_a_folder_is_no_migration(tmp_path: Path) -> None:
    write(tmp_path, "003_a.sql")
    (tmp_path / "003_b.sql").mkdir()
    assert refusal(tmp_path, ("003_a.sql", "004_a.sql"), ("003_b.sql", "005_b.sql")).message == (
        "Nothing was renamed: 003_b.sql is not a file."
    )


def test_a_rename_that_fails_half_way_is_undone(tmp_path: Path) -> None:
    write(tmp_path, "003_a.sql", "003_b.sql", LONGEST, "007_z.sql")
    error = refusal(
        tmp_path,
        ("003_a.sql", "1001_a.sql"),
        ("003_b.sql", "1002_b.sql"),
        (LONGEST, TOO_LONG),
        ("007_z.sql", "1003_z.sql"),
    )
    assert (error.message, error.hint) == (
        f"{LONGEST} could not become {TOO_LONG}: File name too long. Every rename before it was "
        "undone: nothing is changed.",
        HINT_HALF_WAY,
    )


def test_the_index_of_git_is_as_before_when_a_rename_fails_half_way(
    repository: Repository,
) -> None:
    folder = repository.path / "migrations"
    write(folder, "003_a.sql", LONGEST)
    repository.commit()
    write(folder, "003_b.sql")
    (folder / "003_a.sql").write_text("SELECT 'staged';")
    repository.git("add", "migrations/003_a.sql")
    before = repository.status()
    refusal(folder, ("003_a.sql", "1001_a.sql"), ("003_b.sql", "1002_b.sql"), (LONGEST, TOO_LONG))
    assert repository.status() == before == ["?? migrations/003_b.sql", "M  migrations/003_a.sql"]


def test_files_get_their_names_back_when_git_cannot_write_its_index(
    repository: Repository,
) -> None:
    """Another git is at work, or was killed: index.lock is there."""
    folder = repository.path / "migrations"
    write(folder, "003_a.sql", "003_b.sql")
    repository.commit()
    write(folder, "003_c.sql")
    lock = repository.path / ".git" / "index.lock"
    lock.touch()
    error = refusal(folder, ("003_b.sql", "004_b.sql"), ("003_c.sql", "005_c.sql"))
    assert error.message.startswith("git could not record the new names: fatal: Unable to create ")
    assert "index.lock': File exists." in error.message
    assert error.message.endswith(". Every rename before it was undone: nothing is changed.")
    lock.unlink()
    assert repository.status() == ["?? migrations/003_c.sql"]
    rename_all(folder, renames(("003_b.sql", "004_b.sql"), ("003_c.sql", "005_c.sql")))
    assert repository.status() == [
        "?? migrations/005_c.sql",
        "R  migrations/003_b.sql -> migrations/004_b.sql",
    ]


def test_an_open_merge_conflict_stops_everything(repository: Repository) -> None:
    folder = repository.path / "migrations"
    write(folder, "003_a.sql", "003_b.sql")
    repository.commit(day=1)
    repository.git("switch", "-q", "-c", "branch")
    (folder / "003_b.sql").write_text("SELECT 'branch';")
    repository.commit(day=2)
    repository.git("switch", "-q", "main")
    (folder / "003_b.sql").write_text("SELECT 'main';")
    repository.commit(day=3)
    with pytest.raises(AssertionError):
        repository.git("merge", "-q", "branch", when="2025-10-04T12:00:00Z")
    assert refusal(folder, ("003_a.sql", "004_a.sql"), ("003_b.sql", "005_b.sql")).message == (
        "Nothing was renamed: 003_b.sql is in an open merge conflict: `git status` shows it."
    )
    assert repository.status() == ["UU migrations/003_b.sql"]


def test_odd_names_in_a_sub_folder_are_renamed_in_git(repository: Repository) -> None:
    folder = repository.path / "dätà" / "[m]"
    folder.parent.mkdir()
    odd = '37 "d\'Or" *é\n.sql'
    write(folder, odd)
    write(folder, "037_other.sql")
    repository.commit()
    rename_all(folder, renames((odd, "038_d_or.sql")))
    repository.git("-c", "core.quotePath=false", "commit", "-q", "-m", "Renumber")
    listed = repository.git("ls-tree", "-r", "--name-only", "-z", "HEAD").split("\0")
    assert listed == [".gitignore", "dätà/[m]/037_other.sql", "dätà/[m]/038_d_or.sql", ""]
    assert repository.status() == []


def test_a_repository_that_hashes_with_sha256(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.git("init", "-q", "--object-format=sha256")
    write(tmp_path, "003_a.sql")
    repository.commit()
    rename_all(tmp_path, renames(("003_a.sql", "004_a.sql")))
    assert repository.status() == ["R  003_a.sql -> 004_a.sql"]


def test_links_and_rights_stay(tmp_path: Path) -> None:
    write(tmp_path, "003_a.sql")
    (tmp_path / "003_a.sql").chmod(0o750)
    (tmp_path / "shared").write_text("SELECT 1;")
    (tmp_path / "003_b.sql").symlink_to("shared")
    rename_all(tmp_path, renames(("003_a.sql", "004_a.sql"), ("003_b.sql", "005_b.sql")))
    assert (tmp_path / "004_a.sql").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "005_b.sql").readlink() == Path("shared")


def test_a_reverse_goes_with_its_migration(tmp_path: Path) -> None:
    write(tmp_path, "003_a.sql", "003_a.down.sql", "003_b.sql", "37b_c.sql", "37b_c.down.sql")
    given = renames(
        ("003_a.sql", "004_a.sql"),
        ("003_b.sql", "005_b.sql"),
        ("37b_c.sql", "006_c.sql"),
        ("37b_c.down.sql", "006_c.down.sql"),
    )
    assert with_reverses(tmp_path, given) == (
        given[0],
        Rename("003_a.down.sql", "004_a.down.sql", "goes with its migration"),
        *given[1:],
    )
