"""The way out of version conflicts: which file keeps a number, and the names of the others."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sqlmigrator.core.files import Folder, MigrationFile, duplicates, is_serial, scan
from sqlmigrator.core.history import AppliedRecord, version_number
from sqlmigrator.core.renumber import (
    Keeper,
    Numbering,
    Rename,
    choose_keeper,
    propose,
    snake_case,
)

NOW = datetime(2025, 10, 10, 14, 2, 3, tzinfo=UTC)


def file(filename: str) -> MigrationFile:
    version, _, name = filename.removesuffix(".sql").partition("_")
    return MigrationFile(Path(), filename, version, int(version), name)


def files(*names: str) -> list[MigrationFile]:
    return [file(name) for name in names]


def rows(*versions: str) -> list[AppliedRecord]:
    return [AppliedRecord(version, "x", version_number(version)) for version in versions]


def renames(
    names: Iterable[str] = (),
    *,
    misnamed: Iterable[str] = (),
    recorded: Iterable[str] = (),
    applied: Iterable[str] = (),
    first_commits: dict[str, str] | None = None,
) -> dict[str, str]:
    folder = Folder(Path("m"), tuple(files(*names)), misnamed=tuple(sorted(misnamed)))
    found = propose(folder, rows(*recorded), dict.fromkeys(applied, "applied"), first_commits or {})
    assert len({rename.source for rename in found}) == len(found)
    targets = [rename.target for rename in found]
    assert len(set(targets)) == len(targets)
    assert not set(targets) & {*names, *misnamed}
    return {rename.source: rename.target for rename in found}


# The next free number


@pytest.mark.parametrize(
    ("names", "recorded", "expected"),
    [
        ((), (), ["001", "002"]),
        (("001_a.sql",), (), ["002", "003"]),
        (("000_a.sql",), (), ["001", "002"]),
        (("001_a.sql", "007_b.sql"), (), ["008", "009"]),
        (("001_a.sql",), ("009",), ["010", "011"]),
        (("001_a.sql",), ("9",), ["010", "011"]),
        (("001_a.sql",), ("037b",), ["002", "003"]),
        (("998_a.sql",), (), ["999", "1000"]),
        (("0009_a.sql",), (), ["0010", "0011"]),
        (("001_a.sql", "0009_a.sql"), (), ["0010", "0011"]),
        (("99999_a.sql",), (), ["100000", "100001"]),
        (("001_a.sql", "20250101120000_b.sql"), (), ["002", "003"]),
        (("001_a.sql",), ("20250101120000",), ["002", "003"]),
    ],
)
def test_the_next_free_version_follows_the_highest_short_number(
    names: tuple[str, ...], recorded: tuple[str, ...], expected: list[str]
) -> None:
    numbering = Numbering(files(*names), rows(*recorded))
    assert [numbering.next(), numbering.next()] == expected


def test_among_timestamps_alone_the_next_version_is_the_time() -> None:
    numbering = Numbering(files("20250101120000_a.sql"), rows("20250201"))
    assert numbering.next(NOW) == "20251010140203"
    assert numbering.next(NOW) == "20251010140204"
    other = Numbering(files("20251010140203_a.sql"), [])
    assert other.next(NOW) == "20251010140204"
    assert len(other.next()) == 14


def test_a_number_that_was_kept_is_not_given_out_again() -> None:
    numbering = Numbering(files("036_a.sql"), [])
    assert numbering.keep(37) == "037"
    assert numbering.keep(38) == "038"
    assert numbering.keep(37) is None
    assert numbering.keep(36) is None
    assert numbering.next() == "039"


@pytest.mark.parametrize(
    ("number", "expected"), [(0, True), (999_999, True), (1_000_000, False), (10**13, False)]
)
def test_versions_of_up_to_six_digits_are_serial(number: int, expected: bool) -> None:
    assert is_serial(number) is expected


# Who keeps the number


def test_duplicates_are_grouped_by_number() -> None:
    a, b, c, d = files("003_a.sql", "0003_b.sql", "004_c.sql", "4_d.sql")
    assert duplicates([a, c, b, d]) == {3: [a, b], 4: [c, d]}
    assert duplicates([a, c]) == {}


def keeper(
    *names: str, applied: dict[str, str] | None = None, first_commits: dict[str, str] | None = None
) -> tuple[str, str]:
    found: Keeper = choose_keeper(files(*names), applied or {}, first_commits or {})
    return found.file.filename, found.reason


def test_the_applied_file_keeps_its_number_whatever_git_says() -> None:
    assert keeper(
        "003_a.sql",
        "003_b.sql",
        applied={"003_b.sql": "applied in default"},
        first_commits={"003_a.sql": "2025-01-01T00:00:00Z"},
    ) == ("003_b.sql", "applied in default")


def test_the_file_that_was_first_in_git_keeps_its_number() -> None:
    commits = {"003_a.sql": "2025-02-01T10:00:00+00:00", "003_b.sql": "2025-01-31T10:00:00+00:00"}
    assert keeper("003_a.sql", "003_b.sql", first_commits=commits) == (
        "003_b.sql",
        "first in git, 2025-01-31",
    )


def test_a_file_in_git_comes_before_one_that_is_not_committed() -> None:
    commits = {"003_b.sql": "2025-01-31T10:00:00+00:00"}
    assert keeper("003_a.sql", "003_b.sql", first_commits=commits) == (
        "003_b.sql",
        "first in git, 2025-01-31",
    )


@pytest.mark.parametrize(
    "commits", [{}, dict.fromkeys(("003_a.sql", "003_b.sql"), "2025-01-31T10:00:00+00:00")]
)
def test_without_a_difference_the_names_decide(commits: dict[str, str]) -> None:
    assert keeper("003_b.sql", "003_a.sql", first_commits=commits) == (
        "003_a.sql",
        "first by name",
    )


# Renames of duplicates


def test_a_group_moves_to_the_end_in_its_order_and_says_why() -> None:
    folder = Folder(Path("m"), tuple(files("001_a.sql", "001_b.sql", "001_c.sql", "002_d.sql")))
    assert propose(folder, [], {"001_b.sql": "applied in default"}, {}) == (
        Rename("001_a.sql", "003_a.sql", "001_b.sql keeps 001 (applied in default)"),
        Rename("001_c.sql", "004_c.sql", "001_b.sql keeps 001 (applied in default)"),
    )


def test_applied_files_are_never_moved() -> None:
    both = ["001_a.sql", "001_b.sql"]
    assert renames(both, applied=both) == {}


def test_numbers_of_rows_and_of_newer_files_are_not_given_out() -> None:
    assert renames(["001_a.sql", "001_b.sql", "002_c.sql"], recorded=["003", "004"]) == {
        "001_b.sql": "005_b.sql"
    }


def test_duplicate_timestamps_move_to_now() -> None:
    before = datetime.now(UTC).strftime("%Y%m%d%H%M%S")
    (target,) = renames(["20250101120000_a.sql", "20250101120000_b.sql"]).values()
    assert before <= target[:14] <= datetime.now(UTC).strftime("%Y%m%d%H%M%S")
    assert target[14:] == "_b.sql"


def test_a_thousand_duplicates_get_a_thousand_numbers() -> None:
    names = [f"{n:03d}_{letter}.sql" for n in range(1, 1001) for letter in "ab"]
    assert len(renames(names)) == 1_000


# Misnamed files


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("37_x.sql", "037_x.sql"),
        ("037-x.sql", "037_x.sql"),
        ("037 x.sql", "037_x.sql"),
        ("037_X.SQL", "037_x.sql"),
        ("037_addInboxIndex.sql", "037_add_inbox_index.sql"),
        ("037_Add-Inbox Index.sql", "037_add_inbox_index.sql"),
        ("037__x__y_.sql", "037_x_y.sql"),
        ("037_é.sql", "037_migration.sql"),
        ("037.sql", "037_migration.sql"),
        ("37_x.down.sql", "037_x.down.sql"),
        ("037_x.up.sql", "037_x_up.sql"),
        ("037b_x.sql", "002_x.sql"),
        ("234a_x.sql", "002_x.sql"),
        ("037beta_x.sql", "037_beta_x.sql"),
        ("1_x.sql", "002_x.sql"),
        ("00000000037_X.sql", "037_x.sql"),
    ],
)
def test_a_misnamed_file_keeps_its_number_if_it_is_free(name: str, target: str) -> None:
    assert renames(["001_a.sql"], misnamed=[name]) == {name: target}


def test_reasons_of_misnamed_files() -> None:
    folder = Folder(
        Path("m"), tuple(files("001_a.sql")), misnamed=("1_x.sql", "2_y.sql", "3b_z.sql")
    )
    assert [rename.reason for rename in propose(folder, [], {}, {})] == [
        "1 is not a free number",
        "the name is not NNN_descriptive_name.sql",
        "3b is not a free number",
    ]


@pytest.mark.parametrize(
    ("name", "target"), [("²_x.sql", None), ("٣_x.sql", None), ("0_x.sql", "000_x.sql")]
)
def test_only_ascii_digits_are_numbers(tmp_path: Path, name: str, target: str | None) -> None:
    """A file that starts with ² made the proposal fail."""
    (tmp_path / name).touch()
    found = propose(scan(tmp_path), [], {}, {})
    assert [rename.target for rename in found] == ([target] if target else [])


def test_two_misnamed_files_of_one_number_do_not_both_get_it() -> None:
    """The second took 037 as the next free number after 036."""
    found = renames(["036_a.sql"], misnamed=["37-x.sql", "37_y.sql"])
    assert sorted(found.values()) in (["037_x.sql", "038_y.sql"], ["037_y.sql", "038_x.sql"])


def test_duplicates_do_not_take_the_number_that_a_misnamed_file_has() -> None:
    found = renames(["036_a.sql", "036_b.sql"], misnamed=["37-x.sql"])
    assert found == {"036_b.sql": "038_b.sql", "37-x.sql": "037_x.sql"}


def test_a_misnamed_migration_and_its_reverse_get_one_number() -> None:
    found = renames(["036_a.sql"], misnamed=["37b_x.sql", "37b_x.down.sql", "38-y.sql"])
    assert found["37b_x.sql"].removesuffix(".sql") + ".down.sql" == found["37b_x.down.sql"]
    assert found["38-y.sql"] == "038_y.sql"


def test_misnamed_files_that_differ_in_spelling_only_get_numbers_of_their_own() -> None:
    found = renames(["036_a.sql"], misnamed=["037-x.sql", "037_X.sql", "037_x.SQL"])
    assert sorted(target[:3] for target in found.values()) == ["037", "038", "039"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Add-Inbox Index", "add_inbox_index"),
        ("addInboxIndex", "add_inbox_index"),
        ("add_inbox_index", "add_inbox_index"),
        ("ADD", "add"),
        ("  a..b--c  ", "a_b_c"),
        ("v2Tables", "v2_tables"),
        ("é", ""),
        ("", ""),
    ],
)
def test_snake_case(text: str, expected: str) -> None:
    assert snake_case(text) == expected
