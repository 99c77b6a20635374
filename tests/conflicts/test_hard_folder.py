"""A folder as a year without a runner leaves it: the whole report, and the way out to its end."""

from collections.abc import Callable
from pathlib import Path

from tests.conflicts import hard_folder
from tests.conflicts.conftest import Repository
from tests.support import Database, Folder, Result

Call = Callable[..., Result]
REPORT = Path(__file__).with_name("hard_folder_report.txt")


def tables(database: Database) -> set[str]:
    return {
        name
        for (name,) in database.query(
            "SELECT relname FROM pg_class WHERE relname LIKE 'made\\_by\\_%' AND relkind = 'r'"
        )
    }


def test_the_report_fits_two_screens_and_the_commands_mend_it(
    repository: Repository, database: Database, in_folder: Folder, call: Call
) -> None:
    hard = hard_folder.make()
    hard.write(in_folder, database)
    assert (len(hard.files), len(hard.rows)) == (390, 315)
    assert sum(checksum is None for _, _, checksum in hard.rows) == 200
    repository.commit(day=2)
    bytes_before = sorted(path.read_bytes() for path in in_folder.path.iterdir())

    # The report: summary first, grouped, about two screens.
    report = call("migrate_check")
    assert (report.code, report.err) == (1, "")
    assert report.out.replace(str(in_folder.path), "DIR") == REPORT.read_text()
    assert len(report.out.splitlines()) <= 60

    everything = call("migrate_check", "--verbosity", 2)
    assert everything.code == 1
    for name in hard.files:
        version = name[:3]
        is_told = not name[:1].isdigit() or name[3] != "_" or int(version) > 300
        if is_told:
            assert name in everything.out
    for version, name, _ in hard.rows:
        if not version.isdigit():
            assert f"! History row '{version}' ({name}): its version is no number [W005]" in (
                everything.out
            )
    assert "more" not in everything.out.replace("and 3 more [W001]", "")

    # Refused as it is: nothing runs.
    assert call("migrate_apply").code == 1
    assert tables(database) == set()

    # Every file gets a number of its own.
    renumbered = call("migrate_renumber", "--write")
    assert (renumbered.code, renumbered.err) == (1, "")
    assert renumbered.out.count("\ngit mv migrations/") == 6 + 53
    assert "# Renamed 59.\n" in renumbered.out
    assert "✗ 26 times: renumbered after it was applied [E004]\n" in renumbered.out
    assert sorted(path.read_bytes() for path in in_folder.path.iterdir()) == bytes_before
    assert len(repository.status()) == 59
    assert all(line.startswith("R  ") for line in repository.status())

    # The rows follow their files; rows marked by hand get their checksums.
    moved = call("migrate_renumber", "--record")
    assert (moved.code, moved.out.splitlines()[-1]) == (0, "Moved 26 rows.")
    filled = call("migrate_mark", "--fill-checksums", "--reason", "marked by hand until 2025")
    assert (filled.code, filled.out.splitlines()[-1]) == (0, "Changed 200 in the history.")
    assert database.query("SELECT count(*) FROM schema_migrations WHERE checksum IS NULL") == [(0,)]
    assert database.query("SELECT count(*) FROM schema_migrations WHERE version !~ '^\\d+$'") == [
        (0,)
    ]
    assert database.query(
        "SELECT action, count(*) FROM schema_migrations_log GROUP BY action ORDER BY action"
    ) == [("mark", 200), ("renumber", 26)]

    # What was left behind is below the moved rows: allowed once, knowingly.
    late = call("migrate_apply")
    assert late.code == 1
    assert "✗ 301_rename_totals_301.sql is pending, but 349 is already applied [E006]" in late.err
    applied = call("migrate_apply", "--allow-out-of-order")
    assert (applied.code, applied.err) == (0, "")
    assert applied.out.splitlines()[-1].startswith("Applied 50 migrations in ")

    # Exactly what never ran was run; the rest is as it was.
    recorded = {name for _, name, _ in hard.rows}
    ours = {name[:-4].split("_", 1)[1] for name in hard.files if name[:1].isdigit()}
    assert tables(database) == {f"made_by_{name}" for name in ours - recorded}
    assert database.query("SELECT count(*) FROM schema_migrations") == [(312 + 53,)]
    after = call("migrate_check")
    assert after.code == 0
    assert after.out == (
        f"{in_folder.path}: 365 applied, 0 pending, 0 errors, 26 warnings\n"
        "\n"
        "! Gap in the numbers: 012, 045, 077, 100, 123, 150, 188, 201 and 3 more [W001]\n"
        "    None needed.\n"
        "\n"
        "! 25 times: not a migration [W003]\n"
        "  - MARK_ALL_APPLIED.sql is never run: no version\n"
        "  - check-line-items.sql is never run: no version\n"
        "  - mark-261-263-applied.sql is never run: no version\n"
        "    Move it out of the migrations folder, or name it NNN_descriptive_name.sql.\n"
        "  … and 22 more (--verbosity 2 shows all)\n"
        "\n"
        "No migration is pending.\n"
        "\n"
        "Nothing to do: the database is up to date.\n"
    )


def test_every_file_in_order_on_a_fresh_database(
    repository: Repository, database: Database, in_folder: Folder, call: Call
) -> None:
    """The mended folder is also one that a new installation can apply."""
    for name, text in hard_folder.make().files.items():
        in_folder.write(name, text)
    assert call("migrate_renumber", "--write").code == 0
    rehearsed = call("migrate_check", "--rehearse")
    assert (rehearsed.code, rehearsed.err) == (0, "")
    assert rehearsed.out == "Rehearsed 365 migrations from an empty database: all applied.\n"
