"""Several databases: each its folder and options, `--all-databases`, replicas, routers."""

from collections.abc import Callable

import pytest

from tests.django_home.site import Site
from tests.support import Database


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    """`default`, `second` and `third` with migrations; `plain` has none; `replica` is a mirror."""
    site = make_site("plain", "second", "third").create()
    site.configure("""
        DATABASES["replica"] = DATABASES["default"] | {"TEST": {"MIRROR": "default"}}
        SQLMIGRATOR["DATABASES"] = {
            "third": {"DIRECTORY": BASE_DIR / "sql3", "APPLIED_BY": "three"},
            "second": {"DIRECTORY": BASE_DIR / "sql2"},
            "replica": {},
        }
        SQLMIGRATOR["APPLIED_BY"] = "one"
    """)
    site.write("sql2/001_second.sql", "CREATE TABLE second ();")
    site.write("sql3/001_third.sql", "CREATE TABLE third ();")
    return site


def history(database: Database) -> list[tuple[str, str]]:
    return database.query("SELECT name, applied_by FROM schema_migrations ORDER BY version")


def test_all_databases_in_the_order_of_the_settings(site: Site) -> None:
    result = site.manage("migrate_apply", "--all-databases", "--no-color")
    assert (result.code, result.err) == (0, "")
    assert [line for line in result.out.splitlines() if line.startswith("Database")] == [
        "Database default",
        "Database second",
        "Database third",
    ]
    assert history(site.database) == [("create_category", "one")]
    assert history(site.others["second"]) == [("second", "one")]
    assert history(site.others["third"]) == [("third", "three")]
    assert site.others["plain"].query("SELECT to_regclass('schema_migrations')") == [(None,)]


def test_the_first_failure_stops_it(site: Site) -> None:
    site.write("sql2/002_bad.sql", "SELECT nothing;")
    result = site.manage("migrate_apply", "--all-databases")
    assert result.code == 1
    assert result.err.endswith("Databases not tried: third.\n")
    assert history(site.database) == [("create_category", "one")]
    assert history(site.others["second"]) == [("second", "one")]
    assert site.others["third"].query("SELECT to_regclass('schema_migrations')") == [(None,)]


def test_reading_commands_tell_of_every_one(site: Site) -> None:
    site.write("sql2/001_again.sql", "SELECT 1;")
    result = site.manage("migrate_check", "--all-databases", "--fail-on-pending")
    assert result.code == 4  # the first code that is not 0
    assert result.out.count("Database ") == 3
    ready = site.manage("migrate_check", "--all-databases", "--readiness")
    assert ready.code == 4
    assert ready.out.splitlines() == [
        "Database default",
        "Pending: 1 migration: 001_create_category.sql.",
        "Database second",
        "Diverged: Duplicate migration version 001.",
        "Database third",
        "Pending: 1 migration: 001_third.sql.",
    ]


def test_one_database_by_name(site: Site) -> None:
    assert site.manage("migrate_apply", "--database", "third").code == 0
    assert history(site.others["third"]) == [("third", "three")]
    assert site.database.query("SELECT to_regclass('schema_migrations')") == [(None,)]


def test_an_alias_without_migrations(site: Site) -> None:
    result = site.manage("migrate_status", "--database", "plain")
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        "The database 'plain' has no migrations.\n"
        '  List it: SQLMIGRATOR = {"DATABASES": {"plain": {"DIRECTORY": …}}}.\n'
    )


def test_a_router_that_forbids_everything_does_not_hinder(site: Site) -> None:
    """Routers are about models; the files say themselves what they do."""
    site.write("routers.py", "class No:\n    def allow_migrate(self, *a, **k): return False\n")
    site.configure('DATABASE_ROUTERS = ["routers.No"]')
    assert site.manage("migrate_apply", "--database", "second").code == 0
    assert history(site.others["second"]) == [("second", "one")]
