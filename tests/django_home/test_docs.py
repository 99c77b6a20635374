"""docs/testing.md and docs/deploys.md, done as they say."""

from tests.django_home.docs import blocks
from tests.django_home.site import Site


def test_the_testing_page(site: Site) -> None:
    for block in blocks("testing.md", "python"):
        head = block.splitlines()[0]
        if head in ("# conftest.py", "# shop/tests.py") or head.startswith("# shop/test_"):
            site.write(head.removeprefix("# "), block)
    site.write("sql/002_label.sql", blocks("deploys.md", "sql")[0])
    site.write(
        "sql/003_slug.sql",
        "ALTER TABLE category ADD slug text;"
        " UPDATE category SET slug = replace(lower(name), ' ', '-');",
    )
    result = site.pytest()
    assert "2 passed" in result.out, result.out
    result = site.manage("test", "shop.tests")
    assert (result.code, "\nOK\n" in result.err) == (0, True), result.err
    assert "Found 1 test(s)." in result.out


def test_the_settings_of_the_testing_page(site: Site) -> None:
    (settings,) = [b for b in blocks("testing.md", "python") if b.startswith("# settings.py")]
    site.configure(settings)
    (site.path / "sql").rename(site.path / "migrations_sql")
    site.write("test_it.py", "import pytest\n@pytest.mark.django_db\ndef test_it(): pass\n")
    result = site.pytest("-v")
    assert result.code == 0, result.out


def commands(page: str) -> list[list[list[str]]]:
    """The arguments of manage.py in each block of shell commands."""
    return [
        [line.split()[2:] for line in block.splitlines()]
        for block in blocks(page, "sh")
        if block.startswith("python manage.py")
    ]


def test_the_commands_of_the_deploys_page(site: Site) -> None:
    sql_first, both, readiness = commands("deploys.md")
    (answer,) = blocks("deploys.md", "text")
    label = site.write("sql/002_label.sql", blocks("deploys.md", "sql")[0])
    refused = site.manage("migrate_apply").err
    assert " ".join(answer.split()) in " ".join(refused.split())
    text = label.read_text()
    label.unlink()
    for command in sql_first:
        result = site.manage(*command)
        assert result.code == 0, result.err
    assert site.manage("migrate", "shop", "zero").code == 0
    label.write_text(text)
    assert site.manage(*readiness[0]).code == 4
    for command in both:
        result = site.manage(*command)
        assert result.code == 0, result.err
    assert site.manage(*readiness[0]).code == 0
