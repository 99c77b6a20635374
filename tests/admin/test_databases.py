"""Several databases: the selector, one that cannot be reached, one that is not PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.db import connections
from django.test import Client
from pytest_django import Settings

from sqlmigrator.runner import MigrationRunner
from tests.admin import scenes
from tests.admin.test_migration_page import text_of
from tests.support import Database, Folder

SITE = "/admin/sqlmigrator/"
HISTORY = f"{SITE}schemamigration/"


@pytest.fixture
def two(
    database: Database,
    folder: Folder,
    make_database: Callable[[], Database],
    add_alias: Callable[..., None],
    settings: Settings,
) -> Folder:
    """`default` has the example applied, `reports` two migrations of a folder of its own."""
    scenes.apply_example(folder)
    other = Folder(folder.path.with_name("reports"))
    other.path.mkdir()
    other.with_tracking()
    other.write("002_facts.sql", "CREATE TABLE facts (id int);\n")
    add_alias("reports", make_database())
    settings.SQLMIGRATOR = {
        "DIRECTORY": folder.path,
        "DATABASES": {"reports": {"DIRECTORY": other.path}},
    }
    MigrationRunner("reports").apply()
    return other


def test_the_selector_leads_to_the_other_database(boss: Client, two: Folder) -> None:
    html = boss.get(HISTORY).content.decode()
    assert '<a href="?database=default" aria-current="true">default</a>' in html
    assert '<a href="?database=reports">reports</a>' in html
    assert re.search(r'005/change/\?[^"]*database=default"', html)
    html = boss.get(f"{HISTORY}?database=reports").content.decode()
    assert re.search(r'002/change/\?[^"]*database=reports"', html)
    assert "005/change/" not in html
    assert '<input type="hidden" name="database" value="reports">' in html
    page = text_of(boss.get(f"{HISTORY}002/change/?database=reports").content.decode())
    assert "CREATE TABLE facts" in page
    assert "CREATE TABLE facts" not in boss.get(f"{HISTORY}002/change/").content.decode()
    html = boss.get(f"{SITE}migrationattempt/?database=reports").content.decode()
    assert "002 facts" in html
    assert "006" not in html
    conflicts = text_of(boss.get(f"{HISTORY}conflicts/?database=reports").content.decode())
    assert f"2 files in {two.path} against 2 rows in reports" in conflicts
    assert "005" not in boss.get(f"{HISTORY}?database=reports&state=applied").content.decode()


def test_the_commands_name_the_database(
    boss: Client,
    database: Database,
    folder: Folder,
    make_database: Callable[[], Database],
    add_alias: Callable[..., None],
    settings: Settings,
) -> None:
    folder.write("001_more.sql", "CREATE TABLE more (id int);\n")
    add_alias("reports", make_database())
    settings.SQLMIGRATOR = {"DIRECTORY": folder.path, "DATABASES": {"reports": {}}}
    for page in (HISTORY, f"{HISTORY}001/change/", f"{SITE}migrationattempt/"):
        text = text_of(boss.get(f"{page}?database=reports").content.decode())
        assert "manage.py migrate_apply --database reports" in text
        assert "--database" not in text_of(boss.get(page).content.decode())


@pytest.mark.parametrize("page", ["schemamigration/?state=applied", "migrationattempt/?state=done"])
def test_clearing_the_filters_keeps_the_database(boss: Client, two: Folder, page: str) -> None:
    html = boss.get(f"{SITE}{page}&database=reports").content.decode()
    assert re.findall(r'<a href="([^"]*)"[^>]*>\s*&#10006; Clear all filters', html) == [
        "?database=reports"
    ]
    list_ = page.partition("?")[0]
    assert "Clear all filters" not in boss.get(f"{SITE}{list_}?database=reports").content.decode()


def test_one_database_has_no_selector(boss: Client, database: Database, folder: Folder) -> None:
    scenes.apply_example(folder)
    html = boss.get(HISTORY).content.decode()
    assert "?database=" not in html


@pytest.mark.parametrize("page", ["", "conflicts/", "overview/", "001/change/"])
@pytest.mark.parametrize("alias", ["nothing", "replica"])
def test_an_alias_without_migrations_is_404(
    boss: Client,
    database: Database,
    folder: Folder,
    add_alias: Callable[..., None],
    alias: str,
    page: str,
) -> None:
    add_alias("replica", database)
    assert boss.get(f"{HISTORY}{page}?database={alias}").status_code == 404


def test_an_unreachable_database_is_told_and_the_rest_works(
    boss: Client,
    database: Database,
    folder: Folder,
    add_alias: Callable[..., None],
    settings: Settings,
) -> None:
    scenes.apply_example(folder)
    add_alias("reports", Database("nowhere"), PASSWORD="a secret", HOST="127.0.0.1", PORT="1")
    settings.SQLMIGRATOR = {"DIRECTORY": folder.path, "DATABASES": {"reports": {}}}
    text = text_of(boss.get(f"{HISTORY}overview/").content.decode())
    assert "Database default (PostgreSQL) Up to date." in text
    assert "Database reports (PostgreSQL) The database 'reports' cannot be reached" in text
    for page in ("", "conflicts/", "001/change/"):
        response = boss.get(f"{HISTORY}{page}?database=reports")
        assert response.status_code == 200
        text = response.content.decode()
        assert "The database &#x27;reports&#x27; cannot be reached" in text
        assert "a secret" not in text
    response = boss.get(f"{SITE}migrationattempt/?database=reports")
    assert "cannot be reached" in response.content.decode()
    assert boss.get(f"{HISTORY}001/change/?database=default").status_code == 200


def test_a_database_that_is_not_postgresql_is_told(
    boss: Client,
    database: Database,
    folder: Folder,
    add_alias: Callable[..., None],
    settings: Settings,
) -> None:
    scenes.apply_example(folder)
    add_alias("small", Database(":memory:"), ENGINE="django.db.backends.sqlite3", OPTIONS={})
    settings.SQLMIGRATOR = {"DIRECTORY": folder.path, "DATABASES": {"small": {}}}
    for page in (
        f"{HISTORY}overview/",
        f"{HISTORY}?database=small",
        f"{SITE}migrationattempt/?database=small",
    ):
        text = boss.get(page).content.decode()
        assert "The database &#x27;small&#x27; is SQLite, not PostgreSQL." in text
    assert connections["small"].vendor == "sqlite"


def test_a_schema_of_its_own_is_found_by_the_search_path(
    boss: Client, database: Database, folder: Folder
) -> None:
    database.execute(
        f"CREATE SCHEMA app; ALTER DATABASE {database.name} SET search_path = app, public"
    )
    connections["default"].close()
    scenes.apply_example(folder)
    assert database.query("SELECT to_regclass('app.schema_migrations') IS NOT NULL") == [(True,)]
    assert "005/change/" in boss.get(HISTORY).content.decode()
    assert "Up to date." in boss.get(f"{HISTORY}overview/").content.decode()
