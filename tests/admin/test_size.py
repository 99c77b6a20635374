"""10,000 migrations: how many queries a page makes, and that it opens no file twice."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from sqlmigrator.admin import reading
from sqlmigrator.runner import MigrationRunner
from tests.admin import scenes
from tests.admin.test_history import states, versions
from tests.support import Database, Folder

SITE = "/admin/sqlmigrator/"
PAGES = (
    "schemamigration/",
    "schemamigration/?p=100",
    "schemamigration/?q=500",
    "schemamigration/?state=changed",
    "schemamigration/?state=applied",
    "schemamigration/?age=older&by=deploy",
    "schemamigration/overview/",
    "schemamigration/conflicts/",
    "schemamigration/5000/change/",
    "schemamigration/10001/change/",
    "migrationattempt/",
    "migrationattempt/?state=failed",
)
MOST_QUERIES = 12
COUNT = 10_000

# Python tells of one open(…, opener=…) twice: with its mode and, from os.open(), without one.
_Opened = Counter[tuple[str, object]]
_opened: _Opened | None = None
_listed: list[str] = []


def _listen(event: str, arguments: tuple[object, ...]) -> None:
    if _opened is None:
        return
    if event == "open" and str(arguments[0]).endswith(".sql"):
        name = os.path.basename(str(arguments[0]))  # noqa: PTH119
        _opened[name, arguments[1]] += 1
    elif event == "os.scandir":
        _listed.append(str(arguments[0]))


@pytest.fixture(scope="session")
def audit() -> None:
    """Count what Python opens; such a hook cannot be taken away again."""
    sys.addaudithook(_listen)


@pytest.fixture
def opened(audit: None) -> Iterator[_Opened]:
    """The .sql files opened during the test, by name and mode."""
    global _opened
    _opened = Counter()
    yield _opened
    _opened = None


@pytest.fixture
def many(database: Database, folder: Folder) -> Folder:
    """10,000 files and as many rows; 00007 is changed, 00008 missing, 10001 pending."""
    rows = []
    for number in range(2, COUNT + 2):
        version, text = f"{number:05d}", f"-- {number}\nCREATE TABLE t_{number} (id bigint);\n"
        if number == 7:
            text += "-- changed\n"
        if number != 8:
            folder.write(f"{version}_table_{number}.sql", text)
        if number <= COUNT:
            checksum = "0" * 64 if number == 7 else hashlib.sha256(text.encode()).hexdigest()
            rows.append(f"{version}\ttable_{number}\t{checksum}\t{number % 90}\tdeploy\n")
    folder.with_tracking()
    MigrationRunner().apply(to="001")
    columns = "version, name, checksum, execution_time_ms, applied_by"
    with database.connect() as raw, raw.cursor() as cursor:
        with cursor.copy(f"COPY schema_migrations ({columns}) FROM stdin") as copy:
            copy.write("".join(rows))
        cursor.execute(
            "UPDATE schema_migrations SET applied_at = now() - interval '1 h' * (10000 - id)"
        )
        cursor.execute(
            "INSERT INTO schema_migrations_log (version, name, action, state, statement_done,"
            " statement_total, started_at, applied_by) SELECT version, name, 'apply', 'done', 1, 1,"
            " applied_at, applied_by FROM schema_migrations WHERE version <> '001'"
        )
        cursor.execute("ANALYZE")
    return folder


@pytest.mark.parametrize("name", ["boss", "viewer"])
def test_pages_of_10000_migrations(
    log_in: Callable[[str], Client], many: Folder, opened: _Opened, name: str
) -> None:
    client = log_in(name)
    told = {}
    for page in PAGES:
        for _ in range(3):  # cold, known to be large, kept
            opened.clear()
            with CaptureQueriesContext(connection) as queries:
                assert client.get(SITE + page).status_code == 200
            told[page] = max(told.get(page, 0), len(queries))
            assert not [file for file, times in opened.items() if times > 1], page
    assert {page: count for page, count in told.items() if count > MOST_QUERIES} == {}


def test_a_kept_plan_is_made_anew_when_something_changes(
    boss: Client, database: Database, many: Folder, opened: _Opened
) -> None:
    def found(state: str) -> list[str]:
        return versions(boss, f"?state={state}")

    time.sleep(2.1)  # what is younger than the clock of a file system ticks is not trusted
    assert found("changed") == ["00007"]
    assert found("changed") == ["00007"]
    opened.clear()
    assert found("changed") == ["00007"]
    assert not opened
    # A row changes.
    database.execute("UPDATE schema_migrations SET checksum = 'x' WHERE version = '00009'")
    assert found("changed") == ["00009", "00007"]
    # A file changes, one goes, one comes.
    (many.path / "00011_table_11.sql").write_text("SELECT 'something else entirely';\n")
    assert found("changed") == ["00011", "00009", "00007"]
    (many.path / "00012_table_12.sql").unlink()
    assert found("missing") == ["00012", "00008"]
    overview = f"{SITE}schemamigration/overview/"
    assert (
        '<span class="sqlmigrator-number">1</span> Pending' in boss.get(overview).content.decode()
    )
    many.write("10002_more.sql", "SELECT 1;\n")
    assert (
        '<span class="sqlmigrator-number">2</span> Pending' in boss.get(overview).content.decode()
    )
    # An attempt begins and fails.
    database.execute(
        "INSERT INTO schema_migrations_log (version, name, action, state, statement_done,"
        " statement_total) VALUES ('10002', 'more', 'apply', 'failed', 1, 2)"
    )
    assert "E014" in boss.get(f"{SITE}schemamigration/conflicts/").content.decode()


def test_only_what_changed_is_read_again(
    boss: Client, database: Database, many: Folder, opened: _Opened
) -> None:
    def read() -> set[str]:
        opened.clear()
        versions(boss, "?state=changed")
        return {name for name, _ in opened}

    time.sleep(2.1)  # what is younger than the clock of a file system ticks is not trusted
    assert len(read()) == COUNT
    told = {"00007_table_7.sql", "10001_table_10001.sql"}  # changed and pending: what they hold
    database.execute("UPDATE schema_migrations SET applied_by = 'x' WHERE version = '00009'")
    assert read() == told
    (many.path / "00011_table_11.sql").write_text("SELECT 'something else';\n")
    assert read() == told | {"00011_table_11.sql"}
    database.execute("UPDATE schema_migrations SET applied_by = 'y' WHERE version = '00009'")
    assert read() == told | {"00011_table_11.sql"}
    many.write("00012_table_12.down.sql", "DROP TABLE t_12;\n")
    assert read() == told | {"00011_table_11.sql", "00012_table_12.sql"}  # has a reverse now


def test_a_link_to_nowhere_does_not_hide_what_changes(
    boss: Client, trouble: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_LARGE", 1)
    (trouble.path / ".#007_index_open_requests.sql").symlink_to("anna@laptop.4711")  # Emacs's
    assert versions(boss, "?state=changed") == ["003"]
    (trouble.path / "007_index_open_requests.sql").write_text("SELECT 'edited';\n")
    assert versions(boss, "?state=changed") == ["007", "003"]
    (trouble.path / "006_add_request_categories.sql").unlink()
    assert versions(boss, "?state=missing") == ["006", "004"]


def test_the_names_of_a_large_folder_are_kept_until_one_changes(
    boss: Client, many: Folder, opened: _Opened
) -> None:
    place = str(many.path)
    assert states(boss, "?q=10000")["10000"] == "applied"
    os.utime(many.path, (0, 0))  # as if nothing had changed for long
    assert states(boss, "?q=10000")["10000"] == "applied"
    _listed.clear()
    assert states(boss, "?q=10000")["10000"] == "applied"
    assert place not in _listed
    (many.path / "10000_table_10000.sql").rename(many.path / "10000_other.sql")
    assert states(boss, "?q=10000")["10000"] == "conflicting"
    assert place in _listed


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small folders are kept too, and their files trusted at once."""
    monkeypatch.setattr(reading, "_LARGE", 1)
    monkeypatch.setattr(reading, "_SETTLED_NS", -1)


@pytest.fixture
def releases(database: Database, folder: Folder, trusting: None) -> tuple[Path, Path]:
    """Two copies of a folder that is applied; the folder itself is not there."""
    scenes.apply_example(folder)
    older, newer = folder.path.with_name("older"), folder.path.with_name("newer")
    folder.path.rename(older)
    shutil.copytree(older, newer)
    return older, newer


def test_another_release_is_another_folder(
    boss: Client, folder: Folder, releases: tuple[Path, Path]
) -> None:
    older, newer = releases
    (newer / "007_index_open_requests.sql").rename(newer / "007_other.sql")
    for release in releases:
        os.utime(release, (0, 0))  # as reproducible archives are unpacked
    folder.path.symlink_to(older)
    assert states(boss)["007"] == "applied"
    folder.path.unlink()
    folder.path.symlink_to(newer)
    assert states(boss)["007"] == "conflicting"


def test_files_of_another_release_with_the_same_times_are_other_files(
    boss: Client, folder: Folder, releases: tuple[Path, Path]
) -> None:
    older, newer = releases
    files = [release / "007_index_open_requests.sql" for release in releases]
    files[1].write_text(files[1].read_text().swapcase())
    for _ in range(1000):  # until both get the time of one tick of the clock
        for file in files:
            os.utime(file, (0, 0))
        if len({file.stat().st_ctime_ns for file in files}) == 1:
            break
    else:
        pytest.skip("the clock of this file system is too fine")
    folder.path.symlink_to(older)
    assert versions(boss, "?state=changed") == []
    folder.path.unlink()
    folder.path.symlink_to(newer)
    assert versions(boss, "?state=changed") == ["007"]


def test_a_plan_is_not_kept_for_longer_when_the_clock_is_set_back(
    boss: Client, folder: Folder, trusting: None
) -> None:
    scenes.apply_example(folder)
    folder.write("008_needs.sql", "-- sqlmigrator: depends=shop.0042_x\nSELECT 1;\n")
    conflicts = f"{SITE}schemamigration/conflicts/"
    assert "shop.0042_x" in boss.get(conflicts).content.decode()
    config, kept = reading._kept["default"]
    reading._kept["default"] = (config, replace(kept, at=kept.at + timedelta(hours=1)))
    MigrationRecorder(connection).record_applied("shop", "0042_x")
    assert "shop.0042_x, which is not" not in boss.get(conflicts).content.decode()


def test_no_file_is_opened_twice_in_a_small_folder(
    boss: Client, trouble: Folder, opened: _Opened
) -> None:
    for page in ("", "?state=changed", "overview/", "conflicts/", "003/change/", "005/change/"):
        opened.clear()
        assert boss.get(f"{SITE}schemamigration/{page}").status_code == 200
        assert {file: times for file, times in opened.items() if times > 1} == {}, page


def test_two_databases_on_the_overview(
    log_in: Callable[[str], Client],
    database: Database,
    folder: Folder,
    make_database: Callable[[], Database],
    add_alias: Callable[..., None],
    settings: Settings,
) -> None:
    scenes.apply_example(folder)
    add_alias("reports", make_database())
    settings.SQLMIGRATOR = {"DIRECTORY": folder.path, "DATABASES": {"reports": {}}}
    client = log_in("boss")
    with CaptureQueriesContext(connection) as queries:
        client.get(f"{SITE}schemamigration/overview/")
    assert len(queries) <= MOST_QUERIES


def test_a_large_pending_file_is_opened_once(
    boss: Client, database: Database, folder: Folder, opened: _Opened
) -> None:
    folder.write("001_data.sql", "SELECT 1;\n" * 200_000)
    for page in ("overview/", "conflicts/", "001/change/"):
        opened.clear()
        text = boss.get(f"{SITE}schemamigration/{page}").content.decode()
        assert opened.total() == 1, page
        assert ("the server was not asked to parse" in text) == (page != "001/change/")
    text = boss.get(f"{SITE}schemamigration/conflicts/?complete=1").content.decode()
    assert "The server parsed the pending files" in text


def test_a_large_file_is_read_in_part(boss: Client, database: Database, folder: Folder) -> None:
    folder.write("001_data.sql", "SELECT 1;\n" * 500_000)
    page = boss.get(f"{SITE}schemamigration/001/change/")
    assert len(page.content) < 4_000_000
    assert "of 500000 lines." in page.content.decode()
