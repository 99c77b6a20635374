"""An alias that is not PostgreSQL: one refusal everywhere, and the project goes on."""

from collections.abc import Callable

import pytest

from tests.django_home.site import Site

REFUSAL = (
    "The database 'default' is SQLite, not PostgreSQL.\n"
    "  sqlmigrator runs SQL files on PostgreSQL only.\n"
    "  Leave this alias out of SQLMIGRATOR, and use `manage.py migrate` for it.\n"
)


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    """A project whose `default` is SQLite."""
    site = make_site().create()
    site.configure("""
        POSTGRESQL = DATABASES["default"]
        DATABASES["default"] = {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db"}
        INSTALLED_APPS.remove("shop")
    """)
    return site


@pytest.mark.parametrize(
    "command",
    [
        "migrate_check",
        "migrate_check --readiness",
        "migrate_check --rehearse",
        "migrate_status",
        "migrate_status --history",
        "migrate_apply",
        "migrate_apply --plan",
        "migrate_mark --applied 001 --reason r",
        "migrate_rollback 001",
    ],
)
def test_every_command_refuses(site: Site, command: str) -> None:
    site.write("sql/001_create_category.down.sql", "DROP TABLE category;")
    result = site.manage(*command.split())
    assert (result.code, result.out) == (3, "")
    assert result.err == REFUSAL


def test_the_rest_of_the_project_goes_on(site: Site) -> None:
    assert site.manage("migrate_check", "--offline").code == 0
    for command in (["check"], ["makemigrations", "--check"], ["migrate"], ["flush", "--no-input"]):
        result = site.manage(*command)
        assert result.code == 0, result.err
    check = site.manage("check", "--database", "default")
    assert check.code == 0
    assert "The database 'default' is SQLite, not PostgreSQL." in check.err


def test_a_default_that_is_not_listed_is_left_alone(site: Site) -> None:
    """SQLMIGRATOR is about another alias: nobody is told anything of this one."""
    site.configure("""
        DATABASES["main"] = POSTGRESQL
        SQLMIGRATOR["DATABASES"] = {"main": {"DIRECTORY": SQLMIGRATOR.pop("DIRECTORY")}}
    """)
    site.write(
        "tests.py",
        "from django.test import TestCase\n"
        "class T(TestCase):\n"
        "    databases = '__all__'\n"
        "    def test_it(self): pass\n",
    )
    assert site.manage("migrate_apply", "--all-databases").code == 0
    assert site.database.query("SELECT version FROM schema_migrations") == [("001",)]
    for command in (["migrate"], ["check", "--database", "default"], ["test"]):
        result = site.manage(*command)
        assert result.code == 0, result.err
        assert "sqlmigrator" not in result.err
