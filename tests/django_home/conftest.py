"""Throw-away projects, and the removal of the test databases that they leave."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.django_home.site import Site
from tests.support import Database, drop_database, maintenance_connection


@pytest.fixture
def make_site(
    tmp_path: Path, make_database: Callable[[], Database]
) -> Iterator[Callable[..., Site]]:
    """Make a project on databases of its own: make_site("other") has a second alias."""
    sites: list[Site] = []

    def make(*aliases: str) -> Site:
        path = tmp_path / f"site{len(sites)}"
        path.mkdir()
        site = Site(path, make_database(), {alias: make_database() for alias in aliases})
        sites.append(site)
        return site

    yield make
    for site in sites:
        for database in (site.database, *site.others.values()):
            for name in left_databases(database):
                drop_database(Database(name))


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    """A project with the app `shop`, which has one managed and one unmanaged model."""
    return make_site().create()


def left_databases(database: Database) -> list[str]:
    """The test databases that exist for a database, clones and workers' included."""
    with maintenance_connection() as connection:
        rows = connection.execute(
            "SELECT datname FROM pg_database WHERE starts_with(datname, %s) ORDER BY 1",
            [f"test_{database.name}"],
        ).fetchall()
    return [row[0] for row in rows]
