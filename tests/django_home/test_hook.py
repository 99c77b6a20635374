"""APPLY_TO_TEST_DATABASES: before the first test, and in production never."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.django_home.conftest import left_databases
from tests.django_home.site import CATEGORY, Site
from tests.support import Database

UNITTEST = """
from django.db import connection
from django.test import TestCase
from shop.models import Category, Product

class ShopTest(TestCase):
    def test_category(self):
        Product.objects.create(name="p", category=Category.objects.create(name="c"))
        self.assertTrue(connection.settings_dict["NAME"].startswith("test_"))

class OtherShopTest(TestCase):
    def test_none_is_left(self):
        self.assertEqual(Category.objects.count(), 0)
"""

PYTEST = """
import pytest
from django.db import connection
from shop.models import Category, Product

@pytest.mark.django_db
@pytest.mark.parametrize("n", range(4))
def test_category(n):
    Product.objects.create(name="p", category=Category.objects.create(name="c"))
    with connection.cursor() as cursor:
        cursor.execute("SELECT version, applied_by FROM schema_migrations ORDER BY 1")
        print("versions", [row[0] for row in cursor.fetchall()])
"""


def tables(database: Database) -> list[str]:
    rows = database.query(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " AND relkind IN ('r', 'v') ORDER BY 1"
    )
    return [row[0] for row in rows]


# Production


@pytest.mark.parametrize("same_name", [False, True], ids=["", "TEST NAME is NAME"])
def test_migrate_in_production_applies_nothing(
    make_site: Callable[..., Site], same_name: bool
) -> None:
    site = make_site()
    site.create(default={"TEST": {"NAME": site.database.name}} if same_name else {})
    site.configure("INSTALLED_APPS.remove('shop')")
    result = site.manage("migrate", "-v", "1")
    assert result.code == 0
    assert "SQL" not in result.out
    assert "default: 1 SQL migration is pending, from 001_create_category.sql on" in result.err
    assert tables(site.database) == [
        "auth_group",
        "auth_group_permissions",
        "auth_permission",
        "auth_user",
        "auth_user_groups",
        "auth_user_user_permissions",
        "django_content_type",
        "django_migrations",
    ]


def test_migrate_to_zero_and_flush_in_production_apply_nothing(site: Site) -> None:
    site.configure("INSTALLED_APPS.remove('shop')")
    for command in (["migrate"], ["flush", "--no-input"], ["migrate", "auth", "zero"]):
        assert site.manage(*command).code == 0
    assert tables(site.database) == ["django_content_type", "django_migrations"]


def test_the_key_is_off_unless_set(site: Site) -> None:
    site.configure('del SQLMIGRATOR["APPLY_TO_TEST_DATABASES"]')
    site.write("shop/tests.py", UNITTEST)
    result = site.manage("test")
    assert result.code == 1
    assert 'relation "category" does not exist' in result.err


def test_where_it_is_off_a_wrong_setting_disturbs_no_tests(site: Site) -> None:
    site.configure('SQLMIGRATOR = {"DIRECTORI": 3, "DATABASES": 5}')
    site.configure("INSTALLED_APPS.remove('shop'); SILENCED_SYSTEM_CHECKS = ['sqlmigrator.E100']")
    site.write("test_it.py", "import pytest\n@pytest.mark.django_db\ndef test_it(): pass\n")
    assert site.pytest().code == 0


# Django's runner


def test_djangos_runner(site: Site) -> None:
    site.write("shop/tests.py", UNITTEST)
    result = site.manage("test", "-v", "2")
    assert (result.code, result.err.splitlines()[-1]) == (0, "OK") or result.err
    assert "Applied 1 SQL migration to 'default'.\n" in result.out
    assert "SQL" not in site.manage("test").out
    assert tables(site.database) == []
    assert left_databases(site.database) == []


def test_djangos_runner_in_parallel(site: Site) -> None:
    site.write("shop/tests.py", UNITTEST)
    result = site.manage("test", "--parallel", "2", "-v", "2")
    assert result.code == 0, result.err
    assert result.err.count("Cloning test database") == 2
    assert result.out.count("Applied 1 SQL migration") == 1


def test_djangos_runner_keeps_the_database(site: Site) -> None:
    site.write("shop/tests.py", UNITTEST)
    for count in (1, 1, 2):
        if count == 2:
            site.write("sql/002_more.sql", "CREATE TABLE more ();")
        assert site.manage("test", "--keepdb").code == 0
        (name,) = left_databases(site.database)
        assert len(Database(name).query("SELECT FROM schema_migrations")) == count


def test_without_djangos_migrations(make_site: Callable[..., Site]) -> None:
    site = make_site().create(default={"TEST": {"MIGRATE": False}})
    site.write("sql/002_a.sql", "-- sqlmigrator: depends=shop.0001_initial\n" + REFERS)
    site.write("shop/tests.py", UNITTEST)
    result = site.manage("test")
    assert result.code == 0, result.err


# pytest-django

REFERS = "CREATE TABLE label (product bigint REFERENCES shop_product);\n"


def run_pytest(site: Site, *args: str) -> list[str]:
    """Run it, and return the versions that each test saw."""
    site.write("test_it.py", PYTEST)
    result = site.pytest("-rP", *args)
    assert result.code == 0, result.out + result.err
    return [line for line in result.out.splitlines() if line.startswith("versions")]


@pytest.mark.parametrize("args", [[], ["--create-db"], ["--nomigrations"]], ids=str)
def test_pytest(site: Site, args: list[str]) -> None:
    assert run_pytest(site, *args) == ["versions ['001']"] * 4
    assert left_databases(site.database) == []


def test_pytest_with_workers(site: Site) -> None:
    run_pytest(site, "-n", "2", "--reuse-db")
    names = [f"test_{site.database.name}_gw{n}" for n in (0, 1)]
    assert left_databases(site.database) == names
    for name in names:
        assert Database(name).query("SELECT version FROM schema_migrations") == [("001",)]


@pytest.mark.parametrize("more", [[], ["--nomigrations"]], ids=str)
def test_pytest_reuses_the_database(site: Site, more: list[str]) -> None:
    assert run_pytest(site, "--reuse-db", *more) == ["versions ['001']"] * 4
    site.write("sql/002_a.sql", "-- sqlmigrator: depends=shop.0001_initial\n" + REFERS)
    assert run_pytest(site, "--reuse-db", *more) == ["versions ['001', '002']"] * 4
    assert run_pytest(site, "--reuse-db", *more) == ["versions ['001', '002']"] * 4


def test_a_file_edited_under_a_kept_database(site: Site) -> None:
    run_pytest(site, "--reuse-db")
    site.write("sql/001_create_category.sql", CATEGORY + "-- edited")
    result = site.pytest("--reuse-db")
    assert result.code == 1
    assert "Nothing was applied: 1 error must be settled first." in result.out
    assert "001_create_category.sql was changed after it was applied" in result.out
    assert (
        "If the test database was kept from an earlier run, make it anew: "
        "`pytest --create-db`, or `manage.py test` without --keepdb." in result.out
    )
    assert run_pytest(site, "--reuse-db", "--create-db") == ["versions ['001']"] * 4


# What is in the folder


def test_a_failing_migration_stops_the_run_with_its_line(site: Site) -> None:
    site.write("shop/tests.py", UNITTEST)
    file = site.write("sql/002_bad.sql", "CREATE TABLE a ();\nSELECT nothing;\n")
    result = site.manage("test")
    assert result.code == 1
    assert result.err.endswith(
        "CommandError: SQL migrations on the test database:\n"
        f'{file}:2:8: column "nothing" does not exist\n'
        "    | SELECT nothing;\n"
        "    |        ^\n"
    )


def test_a_no_transaction_file(site: Site) -> None:
    site.write(
        "sql/002_index.sql",
        "-- sqlmigrator: no-transaction\nCREATE INDEX CONCURRENTLY i ON category (name);",
    )
    assert run_pytest(site) == ["versions ['001', '002']"] * 4


@pytest.mark.parametrize("args", [[], ["--nomigrations"]], ids=str)
def test_files_from_the_first_dependent_one_on_run_after_django(
    site: Site, args: list[str]
) -> None:
    site.write("sql/002_refers.sql", "-- sqlmigrator: depends=shop.0001_initial\n" + REFERS)
    site.write("sql/003_free.sql", "CREATE TABLE free ();")
    assert run_pytest(site, *args) == ["versions ['001', '002', '003']"] * 4


def test_a_dependency_that_no_app_has(site: Site) -> None:
    site.write("shop/tests.py", UNITTEST)
    site.write("sql/002_a.sql", "-- sqlmigrator: depends=shop.0009_nothing\nSELECT 1;")
    result = site.manage("test")
    assert result.code == 1
    assert (
        "002_a.sql depends on the Django migration shop.0009_nothing, which is not applied here"
        in result.err
    )


def test_the_folder_is_missing(site: Site) -> None:
    site.write("shop/tests.py", UNITTEST)
    site.configure('SQLMIGRATOR["DIRECTORY"] = BASE_DIR / "nowhere"')
    result = site.manage("test")
    assert result.code == 1
    assert result.err.endswith(
        "CommandError: SQL migrations on the test database:\n"
        f"The migrations folder {site.path / 'nowhere'} does not exist.\n"
        '  Create it, set SQLMIGRATOR["DIRECTORY"], or pass --directory.\n'
    )


# Several aliases

TWO = """
from django.db import connections
from django.test import TestCase

def versions(alias):
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT to_regclass('schema_migrations')")
        if cursor.fetchone()[0] is None:
            return None
        cursor.execute("SELECT version, name FROM schema_migrations ORDER BY 1")
        return cursor.fetchall()

class TwoTest(TestCase):
    databases = "__all__"

    def test_it(self):
        self.assertEqual(versions("default"), [("001", "create_category")])
        self.assertEqual(versions("other"), OTHER)
"""


def router(site: Site) -> None:
    site.write(
        "routers.py",
        "class Router:\n"
        "    def allow_migrate(self, db, app_label, **hints): return db == 'default'\n",
    )
    site.configure('DATABASE_ROUTERS = ["routers.Router"]')


def test_each_alias_has_its_own_folder(make_site: Callable[..., Site]) -> None:
    site = make_site("other").create()
    router(site)
    site.configure('SQLMIGRATOR["DATABASES"] = {"other": {"DIRECTORY": BASE_DIR / "sql2"}}')
    site.write("sql2/001_other.sql", "CREATE TABLE other ();")
    site.write("test_it.py", TWO.replace("OTHER", '[("001", "other")]'))
    result = site.pytest()
    assert result.code == 0, result.out


@pytest.mark.parametrize(
    "line",
    ["pass", 'SQLMIGRATOR["DATABASES"] = {"other": {"APPLY_TO_TEST_DATABASES": False}}'],
    ids=["not listed", "switched off"],
)
def test_an_alias_that_has_none(make_site: Callable[..., Site], line: str) -> None:
    site = make_site("other").create()
    router(site)
    site.configure(line)
    site.write("test_it.py", TWO.replace("OTHER", "None"))
    result = site.pytest()
    assert result.code == 0, result.out


def test_a_replica_is_the_default_itself(make_site: Callable[..., Site]) -> None:
    site = make_site().create()
    site.configure("""
        DATABASES["other"] = DATABASES["default"] | {"TEST": {"MIRROR": "default"}}
        SQLMIGRATOR["DATABASES"] = {"other": {"DIRECTORY": "/nonexistent"}}
    """)
    site.write("tests.py", TWO.replace("OTHER", '[("001", "create_category")]'))
    result = site.manage("test")  # pytest-django leaves the mirror's connection open
    assert result.code == 0, result.err


def test_sqlite_is_told_and_its_tests_go_on(make_site: Callable[..., Site]) -> None:
    site = make_site().create()
    site.configure("""
        DATABASES["default"] = {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db"}
        INSTALLED_APPS.remove("shop")
    """)
    site.write(
        "tests.py",
        "from django.test import TestCase\n"
        "from django.contrib.auth.models import User\n"
        "class T(TestCase):\n"
        "    def test_it(self): User.objects.create(username='x')\n",
    )
    result = site.manage("test")
    assert result.code == 0
    assert (
        "The database 'default' is SQLite, not PostgreSQL.\n"
        "  sqlmigrator runs SQL files on PostgreSQL only.\n"
        "  Leave this alias out of SQLMIGRATOR, and use `manage.py migrate` for it.\n"
    ) in result.err.split("System check")[0]


def test_the_file_is_collected_by_no_other_suite(site: Site) -> None:
    """The package has modules named test_*.py and testing.py; a project's pytest leaves them."""
    site.write("test_it.py", PYTEST)
    result = site.pytest("--collect-only", "-q")
    assert Path("test_it.py").name in result.out
    assert "sqlmigrator" not in result.out
