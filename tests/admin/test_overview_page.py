"""The overview, and the list of attempts."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from sqlmigrator.runner import MigrationRunner
from tests.admin import scenes
from tests.admin.test_migration_page import text_of
from tests.support import Database, Folder

SITE = "/admin/sqlmigrator/"
OVERVIEW = f"{SITE}schemamigration/overview/"
ATTEMPTS = f"{SITE}migrationattempt/"


def test_a_database_in_order(boss: Client, database: Database, folder: Folder) -> None:
    scenes.apply_example(folder)
    text = text_of(boss.get(OVERVIEW).content.decode())
    assert "Database default (PostgreSQL) Up to date. 7 Applied 0 Pending 0 Conflicts" in text
    assert "Last attempt: done 007 index_open_requests" in text
    assert "Nothing is pending." in text


def test_a_database_in_trouble(boss: Client, database: Database, trouble: Folder) -> None:
    text = text_of(boss.get(OVERVIEW).content.decode())
    assert "4 conflicts must be settled first." in text
    assert "7 Applied 2 Pending 4 Conflicts 1 Warnings" in text
    assert "Last attempt: failed 008 add_priority , " in text
    assert '42703: column "prioritty" does not exist' in text
    assert "008 add_priority pending 3 statements, last attempt: failed" in text
    assert "009 index_archive pending 1 statement, no transaction" in text


def test_what_waits_is_in_order(boss: Client, database: Database, folder: Folder) -> None:
    scenes.write_example(folder)
    html = boss.get(OVERVIEW).content.decode()
    assert "7 migrations are pending; nothing stands against applying them." in html
    assert re.findall(r'<th scope="row"><a [^>]*>(\d+)</a>', html) == [
        "001", "002", "003", "004", "005", "006", "007",
    ]  # fmt: skip
    assert '<svg class="sqlmigrator-chart"' not in html


def test_the_chart_can_be_read_aloud(boss: Client, database: Database, folder: Folder) -> None:
    scenes.apply_example(folder)
    database.execute("UPDATE schema_migrations SET execution_time_ms = NULL WHERE version = '001'")
    database.execute(
        "UPDATE schema_migrations SET execution_time_ms = 500 * version::int,"
        " applied_at = now() + version::int * interval '1 s' WHERE version > '001'"
    )
    html = boss.get(OVERVIEW).content.decode()
    assert 'role="img" aria-labelledby="chart-default-title chart-default-text"' in html
    assert (
        '<desc id="chart-default-text">007 index_open_requests: 3.5 s; 006 add_request_categories:'
        " 3.0 s; 005 add_unread_tracking: 2.5 s; 004 touch_requests: 2.0 s; 003 create_messages:"
        " 1.5 s; 002 create_requests: 1.0 s</desc>" in html
    )
    widths = re.findall(r'sqlmigrator-length" x="0" y="\d+" width="([^"]*)"', html)
    assert widths == ["100.0%", "85.7%", "71.4%", "57.1%", "42.9%", "28.6%"]


def test_the_attempts(boss: Client, database: Database, trouble: Folder) -> None:
    text = text_of(boss.get(ATTEMPTS).content.decode())
    assert '008 add_priority apply failed 42703 column "prioritty" does not exist' in text
    assert text.index("008 add_priority") < text.index("007 index_open_requests")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?state=failed", ["008 add_priority"]),
        ("?state=running", []),
        ("?action=mark", []),
        ("?action=apply&state=failed", ["008 add_priority"]),
        ("?q=42703", ["008 add_priority"]),
        ("?q=unread", ["005 add_unread_tracking"]),
    ],
)
def test_the_attempts_filtered(
    boss: Client, database: Database, trouble: Folder, query: str, expected: list[str]
) -> None:
    html = boss.get(ATTEMPTS + query).content.decode()
    shown = re.findall(r'field-migration"><a [^>]*>(.*?)</a>', html)
    assert [name.replace("<wbr>", "") for name in shown] == expected


def test_an_attempt_leads_to_its_migration(
    boss: Client, database: Database, trouble: Folder
) -> None:
    ((number,),) = database.query(
        "SELECT id FROM schema_migrations_log WHERE state = 'failed' ORDER BY id DESC LIMIT 1"
    )
    response = boss.get(f"{ATTEMPTS}{number}/change/")
    assert response["Location"] == f"{SITE}schemamigration/008/change/#attempt-{number}"
    assert f'id="attempt-{number}"' in boss.get(response["Location"]).content.decode()
    for unknown in ("999999", "x", "9" * 30):
        assert boss.get(f"{ATTEMPTS}{unknown}/change/").status_code == 404


def test_no_journal_yet(boss: Client, database: Database, folder: Folder) -> None:
    for page in ("", "1/change/", "1/history/"):
        text = boss.get(ATTEMPTS + page).content.decode()
        assert "Nothing has been attempted on this database yet." in text


def test_an_interrupted_attempt_is_not_called_running(
    boss: Client, database: Database, folder: Folder
) -> None:
    scenes.apply_example(folder)
    folder.write("008_two.sql", "-- sqlmigrator: no-transaction\nVACUUM requests;\nVACUUM;\n")
    database.execute(
        "INSERT INTO schema_migrations_log (version, name, action, state, statement_done,"
        " statement_total, backend_pid) VALUES ('008', 'two', 'apply', 'running', 1, 2, 1)"
    )
    text = text_of(boss.get(f"{SITE}schemamigration/008/change/").content.decode())
    assert "interrupted apply" in text
    assert "008_two.sql was interrupted at statement 2 of 2" in text
    assert "migrate_apply --resume" in text
    assert "pending It is not applied here yet. 008_two.sql was interrupted" in text
    assert "interrupted" in text_of(boss.get(OVERVIEW).content.decode())
    attempts = boss.get(ATTEMPTS).content.decode()
    assert "008 two apply interrupted" in text_of(attempts)
    assert [f.rule.id for f in MigrationRunner().status().errors] == ["sqlmigrator.E014"]


def test_it_counts_what_the_check_finds(boss: Client, database: Database, folder: Folder) -> None:
    scenes.apply_example(folder)
    folder.write("008_typo.sql", "SELECT 1;\nSELEC 2;\n")
    assert [f.rule.id for f in MigrationRunner().check().errors] == ["sqlmigrator.E015"]
    text = text_of(boss.get(OVERVIEW).content.decode())
    assert "7 Applied 1 Pending 1 Conflicts" in text
    assert "nothing stands against" not in text


def test_it_says_what_it_did_not_check(boss: Client, database: Database, folder: Folder) -> None:
    scenes.write_example(folder)
    html = boss.get(OVERVIEW).content.decode()
    assert "the server was not asked to parse the 7 pending files" in html
    assert f'href="{SITE}schemamigration/conflicts/?complete=1"' in html
