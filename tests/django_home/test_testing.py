"""sqlmigrator.testing: the fixtures in a project's own pytest, and the context managers."""

from collections.abc import Callable

import pytest
from django.db import connection, connections, transaction
from pytest_django import Settings

from sqlmigrator.exceptions import ConfigurationError, DatabaseRefused, PlanRefused
from sqlmigrator.results import MigrationFailed
from sqlmigrator.testing import before_migration, clean_tables
from tests.django_home.site import Site
from tests.support import Database, Folder, maintenance_connection

# Seeds, a table that refers to a Django table, a trigger, a partitioned table, another schema.
TABLES = """
-- sqlmigrator: depends=shop.0001_initial
CREATE TABLE kind (id int PRIMARY KEY, parent int REFERENCES kind, label text UNIQUE,
                   twice text GENERATED ALWAYS AS (label || label) STORED);
CREATE TABLE aspect (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                     kind int NOT NULL REFERENCES kind);
CREATE TABLE stamp (product bigint REFERENCES shop_product);
CREATE TABLE audit (what text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN INSERT INTO audit VALUES (NEW.label); RETURN NEW; END $$;
INSERT INTO kind VALUES (2, NULL, 'b'), (1, 2, E'tab\\there');
INSERT INTO aspect (kind) VALUES (1), (2);
CREATE TRIGGER noted AFTER INSERT ON kind FOR EACH ROW EXECUTE FUNCTION note();
CREATE TABLE event (at date NOT NULL) PARTITION BY RANGE (at);
CREATE TABLE event_2025 PARTITION OF event FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE SCHEMA side;
CREATE TABLE side.kind (n int);
INSERT INTO side.kind VALUES (7);
"""

COMMITTING = """
import pytest
from pytest_django import Settings
from django.db import connection
from shop.models import Category, Product

@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("clean_sql_tables")
@pytest.mark.parametrize("n", range(2))
def test_it(n):
    with connection.cursor() as cursor:
        def rows(table):
            cursor.execute(f"SELECT * FROM {table} ORDER BY 1")
            return cursor.fetchall()

        assert not Product.objects.exists() and not Category.objects.exists()
        assert rows("stamp") == rows("audit") == rows("event") == []
        assert rows("kind") == [(1, 2, "tab\\there", "tab\\theretab\\there"), (2, None, "b", "bb")]
        assert rows("aspect") == [(1, 1), (2, 2)]
        assert rows("side.kind") == [(7,)]
        product = Product.objects.create(name="p", category=Category.objects.create(name="c"))
        cursor.execute("INSERT INTO stamp VALUES (%s)", [product.pk])
        cursor.execute("INSERT INTO kind VALUES (3, 1, 'c'); INSERT INTO aspect (kind) VALUES (3);"
                       "DELETE FROM aspect WHERE kind = 1; UPDATE side.kind SET n = 8;"
                       "INSERT INTO event VALUES ('2025-05-05')")
        assert rows("audit") == [("c",)]
"""


@pytest.mark.parametrize(
    "load",
    [
        "from sqlmigrator.testing import clean_sql_tables",
        'pytest_plugins = ["sqlmigrator.testing"]',
    ],
    ids=["import", "plugin"],
)
def test_tests_that_commit(site: Site, load: str) -> None:
    site.write("sql/002_tables.sql", TABLES)
    site.write("conftest.py", load)
    site.write("test_it.py", COMMITTING)
    result = site.pytest()
    assert result.code == 0, result.out


def test_without_the_fixture_djangos_flush_fails_and_the_fixture_is_not_there(site: Site) -> None:
    site.write("sql/002_tables.sql", TABLES)
    site.write("test_it.py", COMMITTING)
    assert "fixture 'clean_sql_tables' not found" in site.pytest().out
    site.write("test_it.py", COMMITTING.replace('@pytest.mark.usefixtures("clean_sql_tables")', ""))
    assert "couldn't be flushed" in site.pytest().out


def test_djangos_own_test_case(site: Site) -> None:
    """The fixture's context manager, where there is no pytest."""
    site.write("sql/002_tables.sql", TABLES)
    site.write(
        "tests.py",
        """
        import sys
        from django.test import TransactionTestCase
        from shop.models import Category
        from sqlmigrator.testing import clean_tables

        class Test(TransactionTestCase):
            def setUp(self):
                self.enterContext(clean_tables())

            def test_one(self):
                self.assertEqual(Category.objects.count(), 0)
                Category.objects.create(name="c")

            test_two = test_one

            def test_without_pytest(self):
                self.assertNotIn("_pytest", sys.modules)
        """,
    )
    # Where pytest is not installed; here it is, so importing it fails on purpose.
    site.write("pytest.py", "raise ImportError")
    result = site.manage("test")
    assert result.code == 0, result.err


def test_several_aliases_are_cleaned(make_site: Callable[..., Site]) -> None:
    site = make_site("other").create()
    site.configure("""
        SQLMIGRATOR["DATABASES"] = {"other": {"DIRECTORY": BASE_DIR / "sql2"}}
        DATABASES["lite"] = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
        DATABASE_ROUTERS = ["routers.Router"]
    """)
    site.write(
        "routers.py",
        "class Router:\n"
        "    def allow_migrate(self, db, app_label, **hints): return db == 'default'\n",
    )
    site.write("sql2/001_t.sql", "CREATE TABLE t (n int);")
    site.write("conftest.py", "from sqlmigrator.testing import clean_sql_tables")
    site.write(
        "test_it.py",
        """
        import pytest
        from django.db import connections

        @pytest.mark.parametrize("n", range(2))
        @pytest.mark.django_db(databases="__all__")
        def test_it(n, clean_sql_tables):
            for alias, table in (("default", "category (name)"), ("other", "t")):
                with connections[alias].cursor() as cursor:
                    cursor.execute(f"SELECT count(*) FROM {table.split()[0]}")
                    assert cursor.fetchone() == (0,)
                    cursor.execute(f"INSERT INTO {table} VALUES (1)")
        """,
    )
    result = site.pytest()
    assert result.code == 0, result.out


# One migration

ONE = """
import pytest
from pytest_django import Settings
from django.db import connection
from shop.models import Category

def test_the_new_column_is_filled(sql_migration):
    migration = sql_migration("003")
    migration.execute("INSERT INTO category (name) VALUES (%s)", ["Garden chairs"])
    migration.apply()
    assert migration.query("SELECT name, slug FROM category") == [("Garden chairs", "garden-chairs")]
    assert Category.objects.get().name == "Garden chairs"

@pytest.mark.django_db
def test_beside_the_tests_own_database(sql_migration):
    Category.objects.create(name="mine")
    before = connection.settings_dict["NAME"]
    assert sql_migration("1").query("SELECT to_regclass('category')") == [(None,)]
    assert connection.settings_dict["NAME"] != before

@pytest.mark.django_db
def test_all_is_as_it_was():
    assert not Category.objects.exists()
"""


@pytest.mark.parametrize("args", [[], ["--nomigrations"], ["-n", "2"]], ids=str)
def test_one_migration(site: Site, args: list[str]) -> None:
    site.write(
        "sql/002_label.sql",
        "-- sqlmigrator: depends=shop.0001_initial\n"
        "CREATE TABLE label (product bigint REFERENCES shop_product);",
    )
    site.write(
        "sql/003_slug.sql",
        "ALTER TABLE category ADD slug text; UPDATE category SET slug ="
        " replace(lower(name), ' ', '-'); ALTER TABLE category ALTER slug SET NOT NULL;",
    )
    site.write("sql/004_later.sql", "ALTER TABLE category DROP COLUMN slug;")
    site.write("conftest.py", "from sqlmigrator.testing import sql_migration")
    site.write("test_it.py", ONE)
    result = site.pytest(*args)
    assert result.code == 0, result.out


def scratch_databases() -> list[str]:
    with maintenance_connection() as connection:
        rows = connection.execute(
            "SELECT datname FROM pg_database WHERE datname LIKE 'sqlmigrator_rehearsal_%'"
        ).fetchall()
    return [row[0] for row in rows]


def test_the_tests_transaction_goes_on(database: Database, folder: Folder) -> None:
    folder.write("001_a.sql", "CREATE TABLE a (n int); INSERT INTO a VALUES (1);")
    folder.write("002_b.sql", "CREATE TABLE b AS SELECT n + 1 AS n FROM a;")
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("CREATE TABLE mine ()")
        with before_migration("002") as migration:
            name = connections["default"].settings_dict["NAME"]
            assert migration.query("SELECT n FROM a") == [(1,)]
            (applied,) = migration.apply().applied
            assert (applied.version, applied.filename) == ("002", "002_b.sql")
            assert migration.query("SELECT n FROM b") == [(2,)]
        cursor.execute("SELECT current_database(), to_regclass('mine')::text")
        assert cursor.fetchone() == (database.name, "mine")
    assert database.query("SELECT relname FROM pg_class WHERE relname IN ('a', 'mine')") == [
        ("mine",)
    ]
    assert name not in scratch_databases()


def test_a_failing_migration_says_so_and_leaves_nothing(database: Database, folder: Folder) -> None:
    folder.write("001_a.sql", "CREATE TABLE a (n int);")
    folder.write("002_b.sql", "ALTER TABLE a ALTER n SET NOT NULL;")
    with before_migration("2") as migration:
        migration.execute("INSERT INTO a VALUES (NULL)")
        name = connections["default"].settings_dict["NAME"]
        with pytest.raises(MigrationFailed) as caught:
            migration.apply()
    assert str(caught.value) == '002_b.sql failed: column "n" of relation "a" contains null values'
    assert name not in scratch_databases()
    assert connection.settings_dict["NAME"] == database.name


def test_what_stands_against_it_is_in_the_notes(database: Database, folder: Folder) -> None:
    folder.write("001_a.sql", "CREATE TABLE a (n int);")
    folder.write("002_b.sql", "COMMIT;")
    with pytest.raises(PlanRefused) as caught, before_migration("002") as migration:
        migration.apply()
    (note,) = caught.value.__notes__
    assert note.splitlines()[:2] == [
        "✗ COMMIT is the file's own transaction control [E009]",
        f"    {folder.path}/002_b.sql:1:1",
    ]


def test_a_version_that_no_file_has(database: Database, folder: Folder) -> None:
    folder.write("001_a.sql", "CREATE TABLE a (n int);")
    for version in ("003", "037b", "000"):
        with pytest.raises(ConfigurationError) as caught, before_migration(version):
            pass
        assert str(caught.value) == f"There is no migration {version!r} in {folder.path}."


def test_sqlite_is_refused(
    folder: Folder, settings: Settings, database: Database, add_alias: Callable[..., None]
) -> None:
    folder.write("001_a.sql", "CREATE TABLE a (n int);")
    add_alias("lite", database, ENGINE="django.db.backends.sqlite3")
    settings.SQLMIGRATOR = {"DIRECTORY": folder.path, "DATABASES": {"lite": {}}}
    for manager in (clean_tables("lite"), before_migration("001", "lite")):
        with pytest.raises(DatabaseRefused) as caught, manager:
            pass
        assert str(caught.value) == "The database 'lite' is SQLite, not PostgreSQL."
