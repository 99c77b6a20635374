"""The plan as one pure function: every state, and every row of DESIGN section 4's table."""

import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from sqlmigrator.core import findings as rules
from sqlmigrator.core.directives import Directives
from sqlmigrator.core.files import Folder, MigrationFile
from sqlmigrator.core.findings import Finding, Rule
from sqlmigrator.core.history import (
    Action,
    AppliedRecord,
    Attempt,
    AttemptState,
    History,
    version_number,
)
from sqlmigrator.core.plan import (
    ChecksumState,
    Plan,
    PlanOptions,
    State,
    interruption,
    matching_checksum,
)
from sqlmigrator.core.planner import build_plan
from sqlmigrator.core.renumber import Rename
from tests.factories import AppliedRecordFactory, MigrationFileFactory

ROOT = Path("migrations")
AT = "2025-10-10 14:02 UTC"  # when the factory's rows were applied
S = State


def file(filename: str, **changes: object) -> MigrationFile:
    """The file of this name, with a checksum of its own."""
    version, _, name = filename.removesuffix(".sql").partition("_")
    made: MigrationFile = MigrationFileFactory(
        version=version, name=name, directory=ROOT, filename=filename, **changes
    )
    return made


def row(version: str, name: str | None, **changes: object) -> AppliedRecord:
    """The row of this version and name, with the checksum of the file of that name."""
    number = version_number(version)
    made: AppliedRecord = AppliedRecordFactory(
        version=version, number=number, name=name or "", **changes
    )
    return made


def applied(*filenames: str) -> list[AppliedRecord]:
    return [AppliedRecordFactory.of(file(filename)) for filename in filenames]


def folder(files: Iterable[str | MigrationFile], **others: tuple[str, ...]) -> Folder:
    found = [file(item) if isinstance(item, str) else item for item in files]
    found.sort(key=lambda item: (item.number, item.name, item.version))
    return Folder(ROOT, tuple(found), **others)


def history(
    records: Iterable[AppliedRecord] = (), attempts: Iterable[Attempt] = (), exists: bool = True
) -> History:
    return History("public", exists, tuple(records), tuple(attempts))


def plan(
    files: Iterable[str | MigrationFile],
    records: Iterable[AppliedRecord] = (),
    attempts: Iterable[Attempt] = (),
    **options: object,
) -> Plan:
    wanted = PlanOptions(**options)  # type: ignore[arg-type]
    return build_plan(folder(files), history(records, attempts), wanted)


def states(found: Plan) -> dict[str, State]:
    return {entry.filename: entry.state for entry in found.entries}


def pending(found: Plan) -> list[str]:
    return [entry.filename for entry in found.pending]


def ids(found: Plan) -> list[str]:
    return [finding.rule.id.removeprefix("sqlmigrator.") for finding in found.findings]


def only(found: Plan, rule: Rule) -> Finding:
    matching = [finding for finding in found.findings if finding.rule is rule]
    assert len(matching) == 1, found.findings
    return matching[0]


# States without any finding


def test_nothing_at_all() -> None:
    found = build_plan(folder([]), history(exists=False))
    assert (found.entries, found.pending, found.findings, found.renames, found.moves) == (
        (),
        (),
        (),
        (),
        (),
    )


def test_all_files_are_pending_on_an_empty_database_in_the_order_of_their_numbers() -> None:
    found = plan(["002_b.sql", "010_c.sql", "001_a.sql", "0009_d.sql"])
    assert pending(found) == ["001_a.sql", "002_b.sql", "0009_d.sql", "010_c.sql"]
    assert set(states(found).values()) == {S.PENDING}
    assert ids(found) == ["W001"]


def test_applied_and_pending() -> None:
    found = plan(["001_a.sql", "002_b.sql"], applied("001_a.sql"))
    assert states(found) == {"001_a.sql": S.APPLIED, "002_b.sql": S.PENDING}
    assert pending(found) == ["002_b.sql"]
    assert found.findings == ()
    assert (found.count(S.APPLIED), found.count(S.APPLIED, S.PENDING)) == (1, 2)
    first = found.entries[0]
    assert first.file is not None
    assert first.record == AppliedRecordFactory.of(first.file)


def test_a_plan_keeps_what_it_was_made_of() -> None:
    files, rows = folder(["001_a.sql"]), history(applied("001_a.sql"))
    found = build_plan(files, rows)
    assert found.folder is files
    assert found.history is rows


# Matching: version AND name


@pytest.mark.parametrize(
    ("filename", "version", "name"),
    [
        ("003_add_unread_tracking.sql", "003", "add_unread_tracking"),
        ("003_add_unread_tracking.sql", "003", "003_add_unread_tracking"),
        ("003_add_unread_tracking.sql", "003", "003_add_unread_tracking.sql"),
        ("003_add_unread_tracking.sql", "003", "add_unread_tracking.sql"),
        ("003_add_unread_tracking.sql", "3", "add_unread_tracking"),  # an integer column
        ("003_add_unread_tracking.sql", "3", "003_add_unread_tracking"),
        ("003_add_unread_tracking.sql", "3", "3_add_unread_tracking"),
        ("0003_add_unread_tracking.sql", "003", "003_add_unread_tracking"),
        ("003_2024_report.sql", "003", "2024_report"),
        ("2024_2024_report.sql", "2024", "2024_report"),
        ("000_start.sql", "000", "start"),
        ("000_start.sql", "0", "start"),
        ("20250101120000_x.sql", "20250101120000", "x"),
        ("202501011200000001_x.sql", "202501011200000001", "x"),
    ],
)
def test_all_forms_of_version_and_name_match_the_file(
    filename: str, version: str, name: str
) -> None:
    found = plan([filename], [row(version, name, by_hand=True)])
    assert states(found) == {filename: S.APPLIED}
    assert found.findings == ()


@pytest.mark.parametrize(
    "name", ["add_unread", "add_unread_tracking_x", "ADD_UNREAD_TRACKING", "04_add", "", None]
)
def test_another_name_under_the_same_number_is_not_the_same_migration(name: str | None) -> None:
    found = plan(["003_add_unread_tracking.sql"], [row("003", name, checksum="f" * 64)])
    assert states(found) == {"003_add_unread_tracking.sql": S.CONFLICTING}
    assert ids(found) == ["E003"]


# Checksums


@pytest.mark.parametrize(
    ("checksum", "state", "checksum_state"),
    [
        ("a" * 64, S.APPLIED, ChecksumState.VERIFIED),
        ("A" * 64, S.APPLIED, ChecksumState.VERIFIED),
        ("b" * 64, S.APPLIED, ChecksumState.VERIFIED),  # that of the text: another checkout
        (None, S.APPLIED, ChecksumState.UNVERIFIED),
        ("", S.APPLIED, ChecksumState.UNVERIFIED),
        ("c" * 64, S.CHANGED, ChecksumState.CHANGED),
        ("manual", S.CHANGED, ChecksumState.CHANGED),
    ],
)
def test_the_recorded_checksum_is_that_of_the_bytes_or_of_the_text(
    checksum: str | None, state: State, checksum_state: ChecksumState
) -> None:
    it = file("001_a.sql", checksum="a" * 64, text_checksum="b" * 64)
    (entry,) = plan([it], [row("001", "a", checksum=checksum)]).entries
    assert (entry.state, entry.checksum_state) == (state, checksum_state)


def test_checksum_states_of_rows_without_a_file_and_files_without_a_row() -> None:
    found = plan(["001_a.sql"], applied("002_b.sql"))
    assert [entry.checksum_state for entry in found.entries] == [None, ChecksumState.NO_FILE]


def test_matching_checksum_is_false_for_none() -> None:
    assert not matching_checksum(file("001_a.sql"), None)


def test_changed_after_it_was_applied() -> None:
    found = plan([file("001_a.sql", checksum="a" * 64)], [row("001", "a", checksum="c" * 64)])
    finding = only(found, rules.CHANGED)
    assert finding.message == (
        f"001_a.sql was changed after it was applied {AT} (recorded cccccccccccc, file aaaaaaaaaaaa)"
    )
    assert finding.hint == (
        "Restore the file and put the change into a new migration, or accept it: "
        "`manage.py migrate_mark --accept-checksum 001 --reason …`."
    )
    assert (finding.version, finding.file) == ("001", "migrations/001_a.sql")
    assert found.errors == (finding,)
    assert found.pending == ()


def test_an_applied_file_that_cannot_be_read_keeps_its_own_finding() -> None:
    unreadable = Finding(rule=rules.UNREADABLE, message="no", hint="", version="001")
    it = file("001_a.sql", checksum="", text_checksum="", findings=(unreadable,))
    found = plan([it], applied("001_a.sql"))
    assert found.findings == (unreadable,)
    assert found.pending == ()


@pytest.mark.parametrize(
    ("applied_at", "text"),
    [
        (datetime(2025, 10, 10, 14, 2, 59, tzinfo=UTC), " 2025-10-10 14:02 UTC"),
        (
            datetime(2025, 10, 11, 1, 2, tzinfo=timezone(timedelta(hours=9))),
            " 2025-10-10 16:02 UTC",
        ),
        (datetime(2025, 10, 10, 14, 2), " 2025-10-10 14:02"),  # noqa: DTZ001 - a timestamp column
        (None, ""),
    ],
)
def test_when_it_was_applied_is_told_in_utc_as_far_as_it_is_known(
    applied_at: datetime | None, text: str
) -> None:
    found = plan(["001_a.sql"], [row("001", "a", checksum="c" * 64, applied_at=applied_at)])
    assert f"was applied{text} (recorded" in only(found, rules.CHANGED).message


# Duplicates


def test_duplicate_versions_show_each_file_with_its_state_and_its_way_out() -> None:
    """The example of issue 2."""
    old, new = "003_add_missing_request_columns.sql", "003_add_unread_tracking.sql"
    found = plan([old, new, "010_z.sql"], applied(old))
    assert states(found) == {old: S.APPLIED, new: S.CONFLICTING, "010_z.sql": S.PENDING}
    finding = only(found, rules.DUPLICATE_VERSION)
    assert finding.message == "Duplicate migration version 003"
    assert finding.details == (
        f"{old}   applied {AT}",
        f"{new}           not applied: renumber to 011_add_unread_tracking.sql",
    )
    assert finding.hint == (
        "Run `manage.py migrate_renumber` to see the renames, `--write` to perform them."
    )
    assert finding.files == (f"migrations/{old}", f"migrations/{new}")
    assert (finding.version, finding.file) == ("003", f"migrations/{old}")
    assert found.renames == (
        Rename(new, "011_add_unread_tracking.sql", f"{old} keeps 003 (applied)"),
    )


def test_three_duplicates_of_which_none_is_applied() -> None:
    found = plan(["001_b.sql", "001_a.sql", "001_c.sql"])
    assert set(states(found).values()) == {S.CONFLICTING}
    assert only(found, rules.DUPLICATE_VERSION).details == (
        "001_a.sql   not applied: keeps the number",
        "001_b.sql   not applied: renumber to 002_b.sql",
        "001_c.sql   not applied: renumber to 003_c.sql",
    )
    assert found.pending == ()


def test_duplicates_of_which_one_is_applied_in_another_database() -> None:
    found = plan(["001_a.sql", "001_b.sql"], applied_elsewhere={"001_b.sql": "applied in reports"})
    assert only(found, rules.DUPLICATE_VERSION).details == (
        "001_a.sql   not applied: renumber to 002_a.sql",
        "001_b.sql   applied in reports, keeps the number",
    )


def test_duplicates_that_are_both_applied_are_still_an_error() -> None:
    found = plan(["001_a.sql", "001_b.sql"], applied("001_a.sql", "001_b.sql"))
    assert set(states(found).values()) == {S.APPLIED}
    assert only(found, rules.DUPLICATE_VERSION).details == (
        f"001_a.sql   applied {AT}",
        f"001_b.sql   applied {AT}",
    )
    finding = only(found, rules.RECORD_UNUSABLE)
    assert finding.message == "Version 001 is recorded twice: 001_a, 001_b"
    assert found.renames == ()


def test_the_guide_scenario_renumbers_in_file_order() -> None:
    old = [f"{n:03d}_old.sql" for n in range(1, 11)]
    found = plan([*old, "003_new.sql", "005_new.sql", "006_new.sql"], applied(*old))
    assert [rename.target for rename in found.renames] == [
        "011_new.sql",
        "012_new.sql",
        "013_new.sql",
    ]
    assert ids(found) == ["E001", "E001", "E001"]


# Applied under another name


def test_another_migration_ran_under_this_number() -> None:
    found = plan(["003_b.sql"], [row("003", "003_a.sql", checksum="c" * 64)])
    finding = only(found, rules.APPLIED_UNDER_OTHER_NAME)
    assert finding.message == (f"003_b.sql is not what ran here: version 003 is '003_a.sql' {AT}")
    assert finding.hint == (
        "Rename the file to 003_a.sql, or, if it is the same migration, `manage.py migrate_mark "
        "--applied 003 --reason …`; if it is another one, give it the next free number: "
        "`manage.py migrate_renumber 003_b.sql --write`."
    )
    assert (finding.version, finding.file) == ("003", "migrations/003_b.sql")
    assert found.pending == ()


def test_a_file_renamed_after_it_was_applied_is_known_by_its_checksum() -> None:
    found = plan(
        [file("003_b.sql", checksum="a" * 64)], [row("3", "a", checksum="A" * 64, applied_at=None)]
    )
    finding = only(found, rules.APPLIED_UNDER_OTHER_NAME)
    assert finding.message == "003_b.sql was renamed: version 3 is applied as 'a'"
    assert "Rename the file to 003_a.sql, or" in finding.hint


def test_no_file_can_have_a_name_that_was_recorded_by_hand() -> None:
    found = plan(["003_b.sql"], [row("003", "Add users", checksum="c" * 64)])
    hint = only(found, rules.APPLIED_UNDER_OTHER_NAME).hint
    assert hint.startswith("If it is the same migration, `manage.py migrate_mark --applied 003 ")


# Renumbered after it was applied


@pytest.mark.parametrize(
    "left_behind",
    [
        {"version": "003", "name": "x", "checksum": None},
        {"version": "003", "name": "003_x", "checksum": None},
        {"version": "003", "name": "003_x.sql", "checksum": None},
        {"version": "3", "name": "003_x", "checksum": None},
        {"version": "003", "name": "x", "checksum": "c" * 64},
        {"version": "003", "name": "other", "checksum": "a" * 64},
        {"version": "003", "name": "other", "checksum": "B" * 64},
        {"version": "037b", "name": "x", "checksum": None},
        {"version": "037b", "name": "037b_x.sql", "checksum": None},
    ],
)
def test_a_file_renumbered_after_it_was_applied_would_run_twice(
    left_behind: dict[str, str | None],
) -> None:
    """Known by its name in any form, or by its checksum."""
    it = file("011_x.sql", checksum="a" * 64, text_checksum="b" * 64)
    old = row(**left_behind)  # type: ignore[arg-type]
    found = plan(["010_z.sql", it], [*applied("010_z.sql"), old])
    assert states(found)["011_x.sql"] is S.CONFLICTING
    finding = only(found, rules.RENUMBERED)
    assert finding.message == (
        f"011_x.sql is already applied as version {old.version} ({old.name} {AT}): "
        "it would run twice"
    )
    assert finding.hint == (
        "If it is the same migration: `manage.py migrate_renumber --record` moves the row to 011. "
        "If not, give it another name."
    )
    assert (finding.version, finding.file) == ("011", "migrations/011_x.sql")
    assert "E007" not in ids(found)  # the row is not reported a second time as missing
    assert found.moves == ((old, it),)
    assert found.pending == ()


def test_it_is_found_even_if_another_file_holds_the_old_number_now() -> None:
    found = plan(["003_new.sql", "011_x.sql"], [row("003", "x", by_hand=True)])
    assert states(found) == {"003_new.sql": S.CONFLICTING, "011_x.sql": S.CONFLICTING}
    assert ids(found) == ["E004", "W001"]


def test_it_is_found_among_duplicates() -> None:
    found = plan(["011_w.sql", "011_x.sql"], [row("003", "x", by_hand=True)])
    assert "E001" in ids(found)
    assert "E004" in ids(found)


def test_a_row_whose_own_file_is_there_is_no_origin() -> None:
    """Two files of one name, or of one content, are two migrations."""
    same = file("003_x.sql")
    twin = file("011_x.sql", checksum=same.checksum, text_checksum=same.checksum)
    found = plan([same, twin], applied("003_x.sql"))
    assert states(found) == {"003_x.sql": S.APPLIED, "011_x.sql": S.PENDING}
    assert found.moves == ()


def test_a_row_that_two_files_claim_moves_to_neither() -> None:
    found = plan(["011_x.sql", "012_x.sql"], [row("003", "x", by_hand=True)])
    assert ids(found).count("E004") == 2
    assert found.moves == ()


def test_a_row_without_a_name_is_the_origin_of_no_file() -> None:
    found = plan(["011_unnamed.sql"], [row("003", None, by_hand=True)])
    assert pending(found) == ["011_unnamed.sql"]


# Out of order


def test_out_of_order_is_an_error() -> None:
    found = plan(["001_a.sql", "002_b.sql", "003_c.sql"], applied("001_a.sql", "003_c.sql"))
    assert states(found)["002_b.sql"] is S.OUT_OF_ORDER
    finding = only(found, rules.OUT_OF_ORDER)
    assert finding.message == "002_b.sql is pending, but 003 is already applied"
    assert finding.hint == (
        "Give it the next free number (`manage.py migrate_renumber 002_b.sql --write`), or pass "
        "`--allow-out-of-order`."
    )
    assert (finding.version, finding.file) == ("002", "migrations/002_b.sql")
    assert pending(found) == ["002_b.sql"]


def test_out_of_order_may_be_allowed_by_option_or_directive() -> None:
    records = applied("001_a.sql", "003_c.sql")
    names = ["001_a.sql", "003_c.sql"]
    by_option = plan([*names, "002_b.sql"], records, allow_out_of_order=True)
    allowed = file("002_b.sql", directives=Directives(out_of_order=True))
    by_directive = plan([*names, allowed], records)
    for found in (by_option, by_directive):
        assert states(found)["002_b.sql"] is S.OUT_OF_ORDER
        assert pending(found) == ["002_b.sql"]
        assert found.findings == ()


def test_version_000_is_a_version() -> None:
    found = plan(["000_start.sql", "001_a.sql"], applied("001_a.sql"))
    assert states(found)["000_start.sql"] is S.OUT_OF_ORDER
    only_zero = plan(["000_start.sql", "001_a.sql"], applied("000_start.sql"))
    assert states(only_zero) == {"000_start.sql": S.APPLIED, "001_a.sql": S.PENDING}
    empty = plan([], applied("000_start.sql"))
    assert states(empty) == {"000_start.sql": S.AHEAD}


# Missing and ahead


def test_missing_is_an_error_below_the_highest_file() -> None:
    found = plan(["003_c.sql"], [row("001", "001_a.sql"), *applied("003_c.sql")])
    assert states(found) == {"001_a.sql": S.MISSING, "003_c.sql": S.APPLIED}
    finding = only(found, rules.MISSING)
    assert finding.message == f"001_a.sql is applied {AT}, but its file is missing"
    assert finding.hint == (
        "Restore the file from version control, or remove the row with `manage.py migrate_mark "
        "--unapplied 001 --reason …`, or pass `--ignore-missing`."
    )
    assert finding.version == "001"


def test_missing_may_be_ignored() -> None:
    found = plan(["002_c.sql"], applied("001_a.sql", "002_c.sql"), ignore_missing=True)
    assert states(found)["001_a.sql"] is S.MISSING
    assert found.findings == ()


def test_ahead_is_one_warning_and_nothing_is_missing() -> None:
    names = [f"{n:03d}_x{n}.sql" for n in range(1, 10)]
    found = plan(names[:2], applied(*names))
    assert found.count(S.AHEAD) == 7
    finding = only(found, rules.AHEAD)
    assert finding.message == (
        "The database is ahead of this folder: 003, 004, 005, 006, 007 and 2 more"
    )
    assert finding.hint == "Deploy the newer code; nothing here needs to run."
    assert finding.version == "009"
    assert found.errors == ()
    assert found.pending == ()


def test_an_empty_folder_is_behind_any_database() -> None:
    found = plan([], applied("001_a.sql"))
    assert states(found) == {"001_a.sql": S.AHEAD}
    assert ids(found) == ["W002"]


def test_a_row_without_a_name_is_shown_as_unnamed() -> None:
    assert states(plan([], [row("001", None)])) == {"001_unnamed.sql": S.AHEAD}


# Rows


def test_a_row_whose_version_is_no_number_is_a_warning() -> None:
    found = plan(["001_a.sql"], [*applied("001_a.sql"), row("037b", "037b_x.sql")])
    assert [(entry.version, entry.number, entry.name) for entry in found.entries] == [
        ("001", 1, "a"),
        ("037b", None, "x"),
    ]
    finding = only(found, rules.ROW_WITHOUT_NUMBER)
    assert finding.message == "History row '037b' (037b_x.sql): its version is no number"
    assert finding.hint == (
        "It matches no file. If its file is still here, `manage.py migrate_renumber --write`, then "
        "`--record`, mend both; if it is gone: `manage.py migrate_mark --unapplied 037b --reason …`."
    )
    assert finding.version == "037b"
    assert found.errors == ()


def test_rows_recorded_twice_under_different_names() -> None:
    found = plan(["003_a.sql"], [row("003", "a"), row("0003", "0003_b.sql")])
    finding = only(found, rules.RECORD_UNUSABLE)
    assert finding.message == "Version 003 is recorded twice: 0003_b, 003_a"
    assert finding.hint == (
        "Remove the wrong row with `manage.py migrate_mark --unapplied VERSION_NAME --reason …`."
    )


def test_rows_recorded_twice_under_one_name_are_no_contradiction() -> None:
    found = plan(["003_a.sql"], [row("003", "a"), row("3", "003_a.sql", by_hand=True)])
    assert found.findings == ()


def test_rows_made_by_hand_are_unverified_and_fine() -> None:
    found = plan(["001_a.sql"], [row("001", "a", by_hand=True)])
    assert states(found) == {"001_a.sql": S.APPLIED}
    assert found.entries[0].checksum_state is ChecksumState.UNVERIFIED
    assert found.findings == ()


@pytest.mark.parametrize(
    ("version", "number"),
    [
        ("003", 3),
        ("3", 3),
        (" 003 ", 3),
        ("000", 0),
        ("20250101120000", 20250101120000),
        ("9" * 40, int("9" * 40)),
        ("9" * 5000, None),  # Python reads no such number
        ("037b", None),
        ("", None),
        ("-3", None),
        ("3.0", None),
        ("٣", None),
        ("²", None),
    ],
)
def test_version_number(version: str, number: int | None) -> None:
    assert version_number(version) == number


# The folder


def test_what_does_not_belong_into_the_folder_is_told() -> None:
    found = build_plan(
        folder(
            ["001_a.sql"],
            misnamed=("037b_x.sql", "2_Add-Index.SQL"),
            strays=("MARK_ALL.sql",),
            subfolders=("old",),
            lone_reverses=("009_x.down.sql",),
        ),
        history(),
    )
    told = [(f.rule, f.message, f.hint, f.file) for f in found.findings]
    assert told == [
        (
            rules.MISNAMED_FILE,
            "037b_x.sql is not named NNN_descriptive_name.sql: it would never run",
            "Rename it to 003_x.sql, or move it out of the folder; `manage.py migrate_renumber` "
            "does it.",
            "migrations/037b_x.sql",
        ),
        (
            rules.MISNAMED_FILE,
            "2_Add-Index.SQL is not named NNN_descriptive_name.sql: it would never run",
            "Rename it to 002_add_index.sql, or move it out of the folder; "
            "`manage.py migrate_renumber` does it.",
            "migrations/2_Add-Index.SQL",
        ),
        (
            rules.STRAY_FILE,
            "MARK_ALL.sql is never run: no version",
            "Move it out of the migrations folder.",
            "migrations/MARK_ALL.sql",
        ),
        (
            rules.SUBFOLDER,
            "old/ holds .sql files, which are never run",
            "Move its files up, or out of the migrations folder.",
            "migrations/old",
        ),
        (
            rules.REVERSE_WITHOUT_FILE,
            "009_x.down.sql has no migration beside it",
            "Give it the name of its migration, or delete it.",
            "migrations/009_x.down.sql",
        ),
    ]


# Gaps


@pytest.mark.parametrize(
    ("names", "rows", "message"),
    [
        (["001_a.sql", "003_c.sql"], [], "Gap in the numbers: 002"),
        (["001_a.sql", "005_c.sql"], [], "Gap in the numbers: 002-004"),
        (
            ["001_a.sql", "003_b.sql", "1000_c.sql", "1005_d.sql"],
            [],
            "Gap in the numbers: 002, 004-999, 1001-1004",
        ),
        (["001_a.sql", "004_d.sql"], ["002_b.sql"], "Gap in the numbers: 003"),
        (["001_a.sql", "003_c.sql", "20250101120000_t.sql"], [], "Gap in the numbers: 002"),
        (
            [f"{n:03d}_x.sql" for n in range(1, 31, 2)],
            [],
            "Gap in the numbers: 002, 004, 006, 008, 010, 012, 014, 016 and 6 more",
        ),
    ],
)
def test_gaps_are_one_warning(names: list[str], rows: list[str], message: str) -> None:
    found = plan(names, applied(*rows), ignore_missing=True)
    finding = only(found, rules.GAP)
    assert (finding.message, finding.hint) == (message, "None needed.")
    assert not finding.is_error


@pytest.mark.parametrize(
    "names",
    [
        ["001_a.sql", "002_b.sql"],
        ["005_a.sql", "006_b.sql"],
        ["001_a.sql", "0002_b.sql", "003_c.sql"],
        ["20250101120000_a.sql", "20250201120000_b.sql"],
        ["20250101_a.sql", "202501011200_b.sql", "20250101120000_c.sql"],
        ["999999_a.sql", "1000001_b.sql"],
        ["001_a.sql", "20250101120000_b.sql"],
    ],
)
def test_timestamps_and_rows_of_numbers_have_no_gaps(names: list[str]) -> None:
    assert "W001" not in ids(plan(names))


def test_a_gap_that_a_row_fills_is_none() -> None:
    found = plan(["001_a.sql", "003_c.sql"], applied("002_b.sql"), ignore_missing=True)
    assert "W001" not in ids(found)


def test_timestamps_beside_short_numbers_come_after_them() -> None:
    names = ["002_b.sql", "20250101_d.sql", "202501011200_e.sql", "20250101120000_f.sql"]
    found = plan([*names, "202501011200000001_g.sql", "001_a.sql"])
    assert pending(found) == ["001_a.sql", *names, "202501011200000001_g.sql"]


def test_numbers_beyond_any_integer_of_the_server_are_compared() -> None:
    big, bigger = "9" * 30, "1" + "0" * 30
    found = plan([f"{bigger}_b.sql", f"{big}_a.sql"], applied(f"{big}_a.sql"))
    assert states(found) == {f"{big}_a.sql": S.APPLIED, f"{bigger}_b.sql": S.PENDING}
    assert found.findings == ()


# What would run


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        (None, ["002_b.sql", "003_c.sql"]),
        (3, ["002_b.sql", "003_c.sql"]),
        (2, ["002_b.sql"]),
        (1, []),
        (0, []),
        (99, ["002_b.sql", "003_c.sql"]),
    ],
)
def test_to_is_the_last_number_to_run(to: int | None, expected: list[str]) -> None:
    found = plan(["001_a.sql", "002_b.sql", "003_c.sql"], applied("001_a.sql"), to=to)
    assert pending(found) == expected
    assert found.count(S.PENDING) == 2


def test_findings_of_contents_are_those_of_the_files_that_would_run() -> None:
    bad = Finding(rule=rules.SYNTAX, message="bad", hint="", version="x")
    warned = Finding(rule=rules.WRITES_HISTORY, message="writes", hint="", version="x")
    files = [file(f"00{n}_x{n}.sql", findings=(warned, bad)) for n in (1, 2, 3)]
    found = plan(files, applied("001_x1.sql"), to=2)
    assert found.findings == (bad, warned)  # errors first
    assert found.errors == (bad,)
    assert found.warnings == (warned,)


def test_dependencies_on_django_migrations() -> None:
    it = file("001_a.sql", directives=Directives(depends=(("app", "0042_x"), ("app", "0001_y"))))
    assert plan([it]).findings == ()  # unknown: not asked
    assert plan([it], django_migrations={("app", "0042_x"), ("app", "0001_y")}).findings == ()
    finding = only(plan([it], django_migrations={("app", "0001_y")}), rules.DEPENDENCY)
    assert finding.message == (
        "001_a.sql depends on the Django migration app.0042_x, which is not applied here"
    )
    assert finding.hint == "Run `manage.py migrate app` first."
    assert (finding.version, finding.file) == ("001", "migrations/001_a.sql")
    assert plan([it], applied("001_a.sql"), django_migrations=set()).findings == ()


# Attempts


def attempt(state: AttemptState, done: int, *, alive: bool = False, **changes: object) -> Attempt:
    values: dict[str, object] = {
        "id": 1,
        "version": "002",
        "name": "b",
        "checksum": None,
        "action": Action.APPLY,
        "state": state,
        "statement_done": done,
        "statement_total": 7,
        "started_at": datetime(2025, 10, 10, tzinfo=UTC),
        "backend_pid": 4711,
        "alive": alive,
    }
    return Attempt(**(values | changes))  # type: ignore[arg-type]


def with_attempt(it: Attempt, *records: str) -> Plan:
    return plan(["001_a.sql", "002_b.sql"], applied("001_a.sql", *records), [it])


@pytest.mark.parametrize(
    ("it", "where"),
    [
        (attempt(AttemptState.RUNNING, 2), "at statement 3 of 7"),
        (attempt(AttemptState.RUNNING, 0), "at statement 1 of 7"),
        (attempt(AttemptState.FAILED, 2), "at statement 3 of 7"),
        (
            attempt(AttemptState.RUNNING, 7),
            "after statement 7 of 7, before it was recorded",
        ),
        (attempt(AttemptState.RUNNING, 2, version="2"), "at statement 3 of 7"),
    ],
)
def test_a_dead_session_left_a_migration_half_done(it: Attempt, where: str) -> None:
    finding = only(with_attempt(it), rules.INTERRUPTED)
    assert finding.message == f"002_b.sql was interrupted {where}"
    assert finding.hint == (
        "`manage.py migrate_apply --resume` checks that statement and goes on; or settle it by "
        "hand, then `manage.py migrate_mark --applied 002 --reason …` (it is all there) or "
        "`--unapplied 002 --reason …` (run it from the start)."
    )
    assert (finding.version, finding.file) == ("002", "migrations/002_b.sql")
    assert interruption(it) == f"interrupted {where}"


def test_a_living_session_is_a_warning() -> None:
    found = with_attempt(attempt(AttemptState.RUNNING, 2, alive=True))
    finding = only(found, rules.RUNNING)
    assert finding.message == "002_b.sql is being applied now by process 4711 (statement 3 of 7)"
    assert finding.hint == "Wait for it to finish."
    assert found.errors == ()
    assert found.entries[1].attempt is not None


@pytest.mark.parametrize(
    "it",
    [
        attempt(AttemptState.FAILED, 0),
        attempt(AttemptState.DONE, 7),
        attempt(AttemptState.RESOLVED, 3),
        attempt(AttemptState.RUNNING, 2, action=Action.ROLLBACK),
        attempt(AttemptState.FAILED, 2, action=Action.MARK),
        attempt(AttemptState.RUNNING, 2, version="003"),
    ],
)
def test_attempts_that_left_nothing_behind_are_no_finding(it: Attempt) -> None:
    assert with_attempt(it).findings == ()


def test_an_attempt_of_what_is_applied_by_now_is_no_finding() -> None:
    assert with_attempt(attempt(AttemptState.RUNNING, 2), "002_b.sql").findings == ()


# All at once


def test_errors_come_before_warnings() -> None:
    found = plan(["001_a.sql", "001_b.sql", "005_c.sql"], [*applied("001_a.sql"), row("037b", "x")])
    assert [finding.is_error for finding in found.findings] == [True, False, False]


def test_what_is_wrong_with_files_is_told_before_rows_without_one() -> None:
    rows = [row("001", "a", checksum="0" * 64), row("002", "b"), row("009", "y")]
    found = plan(["001_a.sql", "005_c.sql", "005_d.sql"], rows)
    assert ids(found)[:3] == ["E005", "E001", "E007"]


def test_the_plan_does_not_depend_on_the_order_of_the_rows() -> None:
    names = ["001_a.sql", "002_b.sql", "002_c.sql", "004_d.sql", "006_e.sql"]
    rows = [*applied("001_a.sql", "003_x.sql", "006_e.sql"), row("037b", "x"), row("009", "y")]
    forward, backward = plan(names, rows), plan(names, rows[::-1])
    assert forward.entries == backward.entries
    assert forward.pending == backward.pending
    assert set(ids(forward)) == set(ids(backward))


def test_ten_thousand_versions_are_planned_in_a_moment() -> None:
    files = [
        MigrationFile(ROOT, f"{n:05d}_x{n}.sql", f"{n:05d}", n, f"x{n}", checksum=f"{n:064d}")
        for n in range(10_000)
    ]
    rows = [
        AppliedRecord(f"{n:05d}", f"x{n}", n, checksum=f"{n:064d}") for n in range(0, 10_000, 2)
    ]
    start = time.process_time()
    found = build_plan(folder(files), history(rows))
    assert time.process_time() - start < 5  # about 0.2 s on an idle machine
    assert found.count(S.APPLIED) == 5_000
    assert found.count(S.OUT_OF_ORDER) == 4_999
