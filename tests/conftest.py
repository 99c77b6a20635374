"""Fixtures. The server is TEST_DATABASE_URL's, else DATABASE_URL's, else the embedded one; the
tests make and drop databases of their own on it, and nothing starts or connects before a test
asks for `database`.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from pytest_django import DjangoDbBlocker, Settings

from project.databases import from_url
from tests import support
from tests.support import Database, Folder, Result, Running

# pytest-django has read the settings, with DATABASE_URL, before it reads this file.
if url := os.environ.get("TEST_DATABASE_URL"):
    os.environ["DATABASE_URL"] = url
    connections.settings["default"].update({"OPTIONS": {}} | from_url(url))
    if hasattr(connections._connections, "default"):
        del connections["default"]


@pytest.fixture
def make_database(
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[Callable[[], Database]]:
    """Create empty databases; all are dropped after the test."""
    made: list[Database] = []

    def make() -> Database:
        made.append(support.create_database())
        return made[-1]

    yield make
    for database in made:
        support.drop_database(database)


@pytest.fixture
def add_alias() -> Iterator[Callable[..., None]]:
    """Add a Django alias for a database: add_alias("other", database)."""
    added: list[str] = []

    def add(alias: str, database: Database, **changes: Any) -> None:
        entry = dict(connections.settings["default"])
        connections.settings[alias] = entry | {"NAME": database.name} | changes
        added.append(alias)

    yield add
    for alias in added:
        if hasattr(connections._connections, alias):
            connections[alias].close()
            del connections[alias]
        del connections.settings[alias]


@pytest.fixture
def database(
    make_database: Callable[[], Database], django_db_blocker: DjangoDbBlocker
) -> Iterator[Database]:
    """A fresh, empty database, which is also Django's alias `default` during the test."""
    fresh = make_database()
    connection = connections["default"]
    name = connection.settings_dict["NAME"]
    connection.close()
    connection.settings_dict["NAME"] = fresh.name
    with django_db_blocker.unblock():
        yield fresh
        connections.close_all()
    connection.settings_dict["NAME"] = name


@pytest.fixture
def folder(tmp_path: Path, settings: Settings) -> Folder:
    """An empty folder of migrations, which settings.SQLMIGRATOR names."""
    path = tmp_path / "migrations"
    path.mkdir()
    settings.SQLMIGRATOR = {"DIRECTORY": path}
    return Folder(path)


@pytest.fixture
def call() -> Callable[..., Result]:
    """Run a management command in this process: call("migrate_apply", "--plan").code."""
    return support.run_in_process


@pytest.fixture
def manage_popen(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[..., Running]]:
    """Start `manage.py ARGS` in the background on `database`; killed after the test."""
    started: list[Running] = []
    has_database = "database" in request.fixturenames
    target: Database | None = request.getfixturevalue("database") if has_database else None

    def start(
        *args: object,
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
        database: Database | None = None,
    ) -> Running:
        environment = support.subprocess_environment(database or target, env)
        command = support.manage_command(args)
        started.append(Running(command, environment, cwd or support.ROOT, tmp_path / "output"))
        return started[-1]

    yield start
    for running in started:
        running.kill()


@pytest.fixture
def manage(manage_popen: Callable[..., Running]) -> Callable[..., Result]:
    """Run `manage.py ARGS` in a real process on `database` (if the test uses it) to its end."""

    def run(
        *args: object,
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
        timeout: float = support.TIMEOUT_S,
        database: Database | None = None,
    ) -> Result:
        return manage_popen(*args, env=env, cwd=cwd, database=database).finish(timeout)

    return run
