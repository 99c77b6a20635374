"""The conflicts page: what `migrate_check` finds, by kind, with the ways out."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.test import Client

from sqlmigrator.runner import MigrationRunner
from tests.admin import scenes
from tests.admin.test_migration_page import text_of
from tests.support import Database, Folder

CONFLICTS = "/admin/sqlmigrator/schemamigration/conflicts/"


def test_nothing_wrong(boss: Client, database: Database, folder: Folder) -> None:
    scenes.apply_example(folder)
    text = text_of(boss.get(CONFLICTS).content.decode())
    assert "No conflicts Checked on" in text
    assert f"7 files in {folder.path} against 7 rows in default" in text


def test_everything_that_migrate_check_finds_is_there(
    boss: Client, database: Database, trouble: Folder
) -> None:
    trouble.write("012_typo.sql", "CREATE TABEL t ();\n")
    html = boss.get(CONFLICTS).content.decode()
    text = text_of(html)
    found = MigrationRunner().check().findings
    assert len(found) >= 6
    for finding in found:
        assert finding.message.replace("`", "") in text
    headings = re.findall(r'<h2 id="group-([^"]*)">', html)
    assert headings == ["E001", "E002", "E005", "E007", "E015", "W001", "W003"]
    assert "5 conflicts must be settled first. 2 warnings." in text
    assert "The server parsed the pending files; it ran nothing of them." in text
    assert "its statements changed" in text
    assert "012_typo.sql:1:8" in text


def test_a_duplicate_side_by_side_with_the_way_out(
    boss: Client, database: Database, trouble: Folder
) -> None:
    text = text_of(boss.get(CONFLICTS).content.decode())
    assert "005_add_rounded_to_quantity.sql not applied in default gets another number" in text
    assert "becomes 010_add_rounded_to_quantity.sql: 005_add_unread_tracking.sql keeps" in text
    assert re.search(r"005_add_unread_tracking.sql applied in default on .* keeps the number", text)
    assert "-- Description: Written on another branch" in text
    assert "-- Description: Up to where each person has read a request" in text
    assert "The next free number is 010." in text
    assert "python manage.py migrate_renumber python manage.py migrate_renumber --write" in text


def test_a_duplicate_is_looked_for_in_every_database_of_the_folder(
    boss: Client,
    database: Database,
    trouble: Folder,
    make_database: Callable[[], Database],
    add_alias: Callable[..., None],
    settings: object,
) -> None:
    other = make_database()
    add_alias("reports", other)
    settings.SQLMIGRATOR = {"DIRECTORY": trouble.path, "DATABASES": {"reports": {}}}  # type: ignore[attr-defined]
    other.execute((trouble.path / "001_migration_tracking.sql").read_text())
    other.execute(
        "INSERT INTO schema_migrations (version, name) VALUES ('005', 'add_rounded_to_quantity')"
    )
    text = text_of(boss.get(f"{CONFLICTS}?database=default").content.decode())
    assert re.search(
        r"005_add_rounded_to_quantity.sql not applied in default; applied in reports on", text
    )
    assert re.search(
        r"005_add_unread_tracking.sql applied in default on .*; not applied in reports", text
    )
    assert "python manage.py migrate_renumber --database default" in text


@pytest.mark.parametrize("count", [5, 6])
def test_many_pending_files_are_parsed_only_when_asked(
    boss: Client, database: Database, folder: Folder, count: int
) -> None:
    scenes.apply_example(folder)
    for number in range(8, 8 + count):
        folder.write(f"{number:03d}_typo.sql", "SELEC 1;\n")
    text = text_of(boss.get(CONFLICTS).content.decode())
    parsed = text_of(boss.get(f"{CONFLICTS}?complete=1").content.decode())
    assert 'syntax error at or near "SELEC"' in parsed
    if count == 5:
        assert 'syntax error at or near "SELEC"' in text
    else:
        assert "No conflicts" in text
        assert "the server was not asked to parse the 6 pending files" in text
        assert "Check that too" in text


def test_many_findings_of_one_kind_are_cut(
    boss: Client, database: Database, folder: Folder
) -> None:
    scenes.apply_example(folder)
    database.execute(
        "INSERT INTO schema_migrations (version, name)"
        " SELECT lpad(n::text, 3, '0'), 'gone' FROM generate_series(100, 160) n"
    )
    folder.write("200_last.sql", "SELECT 1;\n")
    text = text_of(boss.get(CONFLICTS).content.decode())
    assert "Error E007: applied, but its file is missing (61)" in text
    assert "119_gone.sql" in text
    assert "120_gone.sql" not in text
    assert "and 41 more; this lists all: python manage.py migrate_check --verbosity 2" in text
