"""`manage.py migrate` and `migrate_apply` in either order: `depends` and its answers."""

from tests.django_home.site import Site

DEPENDS = "-- sqlmigrator: depends=shop.0001_initial\n"


def states(site: Site) -> list[str]:
    rows = site.database.query("SELECT version FROM schema_migrations ORDER BY 1")
    return [row[0] for row in rows]


def test_sql_that_needs_django_is_refused_before_and_applied_after(site: Site) -> None:
    site.write(
        "sql/002_label.sql", f"{DEPENDS}CREATE TABLE label (p bigint REFERENCES shop_product);"
    )
    message = (
        "002_label.sql depends on the Django migration shop.0001_initial, which is not applied here"
    )
    check = site.manage("migrate_check")
    assert check.code == 1
    assert message in check.out
    assert (
        "Run `manage.py migrate shop` first. Apply what comes before it with "
        "`manage.py migrate_apply --to 001`." in " ".join(check.out.split())
    )
    refused = site.manage("migrate_apply")
    assert refused.code == 1
    assert message in refused.err
    assert "Nothing was applied: 1 error must be settled first." in refused.err
    assert site.database.query("SELECT to_regclass('schema_migrations')") == [(None,)]

    assert site.manage("migrate_apply", "--to", "001").code == 0
    assert site.manage("migrate").code == 0
    assert site.manage("migrate_check").code == 0
    assert site.manage("migrate_apply").code == 0
    assert states(site) == ["001", "002"]


def test_django_that_needs_sql_runs_after_it(site: Site) -> None:
    first = site.manage("migrate")
    assert first.code == 1
    warning, error = first.err.split("Traceback", 1)
    assert "default: 1 SQL migration is pending, from 001_create_category.sql on" in warning
    assert "HINT: `manage.py migrate_apply` applies them." in warning
    assert 'relation "category" does not exist' in error
    assert site.manage("migrate_apply").code == 0
    assert site.manage("migrate").code == 0
    assert states(site) == ["001"]


def test_django_alone_first_does_not_see_the_sql(site: Site) -> None:
    site.write("sql/002_label.sql", "-- sqlmigrator: depends=auth.0001_initial\nSELECT 1;")
    assert site.manage("migrate", "auth").code == 0
    assert site.manage("migrate_apply").code == 0
    assert site.manage("migrate").code == 0
    assert states(site) == ["001", "002"]


def test_every_dependency_of_a_file_is_looked_at(site: Site) -> None:
    assert site.manage("migrate", "auth").code == 0
    site.write(
        "sql/002_label.sql",
        "-- sqlmigrator: depends=auth.0001_initial\n-- sqlmigrator: depends=auth.0999_none\nSELECT 1;",
    )
    check = site.manage("migrate_check")
    assert check.code == 1
    assert "auth.0999_none, which is not applied here" in check.out
    assert "auth.0001_initial" not in check.out


def test_a_dependency_of_an_applied_file_is_not_asked_for_again(site: Site) -> None:
    site.write("sql/002_label.sql", "-- sqlmigrator: depends=auth.0001_initial\nSELECT 1;")
    assert site.manage("migrate", "auth").code == 0
    assert site.manage("migrate_apply").code == 0
    assert site.manage("migrate", "auth", "zero").code == 0
    assert site.manage("migrate_check").code == 0
