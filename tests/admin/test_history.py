"""The history: states in words, order, search, filters, odd tables."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.test import Client

from sqlmigrator.models import MigrationStatus
from tests.admin import scenes
from tests.factories import SchemaMigrationFactory
from tests.support import Database, Folder

HISTORY = "/admin/sqlmigrator/schemamigration/"


def versions(client: Client, query: str = "") -> list[str]:
    """The versions on the page, from top to bottom."""
    html = client.get(HISTORY + query).content.decode()
    return re.findall(r'<th class="field-number"><a [^>]*>([^<]*)</a>', html)


def states(client: Client, query: str = "") -> dict[str, str]:
    """Version -> state in words."""
    html = client.get(HISTORY + query).content.decode()
    found = re.findall(r'<td class="field-state"><span [^>]*>([^<]*)</span>', html)
    return dict(zip(versions(client, query), found, strict=True))


def test_each_row_says_its_state_in_words(
    boss: Client, database: Database, trouble: Folder
) -> None:
    scenes.forget_checksum(database, "002")
    assert states(boss) == {
        "007": "applied",
        "006": "applied",
        "005": "applied",
        "004": "missing",
        "003": "changed",
        "002": "unverified",
        "001": "applied",
    }


def test_a_newer_database_and_another_name(
    boss: Client, database: Database, folder: Folder
) -> None:
    scenes.apply_example(folder)
    (folder.path / "007_index_open_requests.sql").unlink()
    (folder.path / "006_add_request_categories.sql").rename(folder.path / "006_categories.sql")
    assert states(boss)["007"] == "ahead"
    assert states(boss)["006"] == "conflicting"
    # The filter compares the whole folder and comes to the same.
    assert versions(boss, "?state=ahead") == ["007"]
    assert versions(boss, "?state=conflicting") == ["006"]


def test_the_order_is_by_number_and_words_come_last(
    boss: Client, database: Database, folder: Folder
) -> None:
    scenes.apply_example(folder)
    for version in ("010", "037b", "1000", "20250101120000", "0099", "9" * 1001):
        SchemaMigrationFactory(version=version)
    shown = versions(boss)
    assert shown[:5] == ["20250101120000", "1000", "0099", "010", "007"]
    assert shown[-3:] == ["001", "9" * 1001, "037b"]
    assert versions(boss, "?o=0") == [*shown[-3::-1], "9" * 1001, "037b"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?q=unread", ["005"]),
        ("?q=003", ["003"]),
        ("?q=manual", ["002"]),
        ("?q=nothing", []),
        ("?state=changed", ["003"]),
        ("?state=missing", ["004"]),
        ("?state=unverified", ["002"]),
        ("?state=applied", ["007", "006", "005", "001"]),
        ("?state=nonsense", ["007", "006", "005", "004", "003", "002", "001"]),
        ("?by=manual", ["002"]),
        ("?age=older", ["001"]),
        ("?age=this_week", ["006"]),
        ("?age=this_month", ["005"]),
        ("?age=recent", ["007", "004", "003", "002"]),
        ("?age=recent&state=missing", ["004"]),
    ],
)
def test_search_and_filters(
    boss: Client, database: Database, trouble: Folder, query: str, expected: list[str]
) -> None:
    scenes.forget_checksum(database, "002")
    for version, days in (("001", 400), ("005", 20), ("006", 3)):
        database.execute(
            f"UPDATE schema_migrations SET applied_at = now() - interval '{days} days'"
            f" WHERE version = '{version}'"
        )
    assert versions(boss, query) == expected


def test_the_search_finds_a_checksum(boss: Client, database: Database, trouble: Folder) -> None:
    ((checksum,),) = database.query("SELECT checksum FROM schema_migrations WHERE version = '006'")
    assert versions(boss, f"?q={checksum[:12]}") == ["006"]
    assert versions(boss, f"?q={checksum[20:32]}") == []  # as the help says, only its beginning


def test_the_ages_are_those_of_the_view(boss: Client, database: Database, folder: Folder) -> None:
    scenes.apply_example(folder)
    now = datetime.now(UTC)
    for number, hours in enumerate((0, 23, 25, 167, 169, 719, 721, 9000), 100):
        SchemaMigrationFactory(version=str(number), applied_at=now - timedelta(hours=hours))
    html = boss.get(HISTORY).content.decode()
    shown = re.findall(r'<td class="field-when">[^<]*<span [^>]*>([^<]*)</span></td>', html)
    view = {
        row.version: row.age_category.replace("_", " ") for row in MigrationStatus.objects.all()
    }
    assert dict(zip(versions(boss), shown, strict=True)) == view
    assert set(shown) == {"recent", "this week", "this month", "older"}


def test_the_bars_are_relative_to_the_slowest_on_the_page(
    boss: Client, database: Database, folder: Folder
) -> None:
    scenes.apply_example(folder)
    database.execute("UPDATE schema_migrations SET execution_time_ms = 0")
    database.execute("UPDATE schema_migrations SET execution_time_ms = 4000 WHERE version = '003'")
    database.execute("UPDATE schema_migrations SET execution_time_ms = 1000 WHERE version = '005'")
    html = boss.get(HISTORY).content.decode()
    cells = re.findall(r'field-duration"><span[^>]*>([^<]*)</span>.*?<rect width="([^"]*)"', html)
    assert cells[2] == ("1.0 s", "25.0%")
    assert cells[4] == ("4.0 s", "100.0%")
    assert cells[6] == ("0 ms", "0.0%")


def test_the_row_shows_who_and_a_short_checksum(
    boss: Client, database: Database, folder: Folder
) -> None:
    scenes.apply_example(folder)
    ((checksum, who),) = database.query(
        "SELECT checksum, applied_by FROM schema_migrations WHERE version = '006'"
    )
    html = boss.get(f"{HISTORY}?q=006").content.decode()
    assert f'<code title="{checksum}">{checksum[:8]}</code>' in html
    assert f'<td class="field-who">{who}</td>' in html.replace("<wbr>", "")


def test_a_missing_table_is_said_and_nothing_is_made(
    boss: Client, database: Database, folder: Folder
) -> None:
    response = boss.get(HISTORY)
    assert response.status_code == 200
    text = response.content.decode()
    assert "No migration has been applied to this database yet." in text
    assert "There is no table schema_migrations in the schema “public”." in text
    assert database.query("SELECT to_regclass('schema_migrations')") == [(None,)]


def test_a_table_made_by_hand_without_columns_is_said(
    boss: Client, database: Database, folder: Folder
) -> None:
    database.execute("CREATE TABLE schema_migrations (version text PRIMARY KEY, name text)")
    text = boss.get(HISTORY).content.decode()
    assert (
        "The table schema_migrations has no column applied_at, checksum, execution_time_ms, "
        "applied_by." in text
    )


def test_an_integer_version_and_a_time_without_zone(
    boss: Client, database: Database, folder: Folder
) -> None:
    database.execute(
        "CREATE TABLE schema_migrations (version integer PRIMARY KEY, name text,"
        " applied_at timestamp, checksum text, execution_time_ms integer, applied_by text);"
        "INSERT INTO schema_migrations VALUES (2, '002_b', now(), NULL, 5, 'x'),"
        " (10, 'c', NULL, NULL, NULL, NULL), (1, 'a', now() - interval '3 days', NULL, 7, NULL)"
    )
    folder.write("001_a.sql", "SELECT 1;")
    folder.write("002_b.sql", "SELECT 1;")
    assert states(boss) == {"10": "ahead", "2": "unverified", "1": "unverified"}
    assert versions(boss, "?state=unverified") == ["2", "1"]
    assert versions(boss, "?age=this_week") == ["1"]
    assert versions(boss, "?q=10") == ["10"]
    page = boss.get(f"{HISTORY}2/change/").content.decode()
    assert "002_b.sql" in page
    assert boss.get(f"{HISTORY}037b/change/").status_code == 404


def test_a_table_of_another_tool_is_refused_with_the_reason(
    boss: Client, database: Database, folder: Folder
) -> None:
    database.execute("CREATE TABLE schema_migrations (version bigint, dirty boolean)")
    for page in ("", "conflicts/", "001/change/"):
        text = boss.get(HISTORY + page).content.decode()
        assert "golang-migrate made it" in text


def test_a_missing_folder_leaves_the_rows_readable(
    boss: Client, database: Database, trouble: Folder
) -> None:
    trouble.path.rename(trouble.path.with_name("gone"))
    text = boss.get(HISTORY, follow=True).content.decode()
    assert f"The migrations folder {trouble.path} does not exist." in text
    assert set(states(boss).values()) == {"unknown"}
    page = boss.get(f"{HISTORY}003/change/")
    assert page.status_code == 200
    assert f"The migrations folder {trouble.path} does not exist." in page.content.decode()
    for name in ("overview/", "conflicts/"):
        text = boss.get(HISTORY + name).content.decode()
        assert f"The migrations folder {trouble.path} does not exist." in text


@pytest.mark.parametrize("type_", ["date", "timestamp", "timestamptz"])
def test_times_and_versions_of_a_table_made_by_hand(
    boss: Client, database: Database, folder: Folder, type_: str
) -> None:
    folder.write("002_a.sql", "SELECT 2;\n")
    database.execute(
        f"CREATE TABLE schema_migrations (version int, name text, applied_at {type_},"
        " checksum text, execution_time_ms int, applied_by text);"
        "INSERT INTO schema_migrations VALUES (2, 'a', '2026-07-01'), (3, 'b', 'infinity'),"
        " (4, 'c', '-infinity'), (NULL, NULL, NULL)"
    )
    for query in ("", "?age=older", "?by=x", "?q=a", "?o=4"):
        assert boss.get(HISTORY + query).status_code == 200
    assert states(boss)["2"] == "unverified"
    assert states(boss)["3"] == "ahead"
    assert versions(boss, "?state=unverified") == ["2"]
    assert boss.get(f"{HISTORY}?state=missing").status_code == 200
    assert "July 1, 2026" in boss.get(f"{HISTORY}2/change/").content.decode()
    assert boss.get(f"{HISTORY}3/change/").status_code == 200
