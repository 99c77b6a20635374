"""Fixtures of the fault tests: runners in the background, a proxy before the server, a server of
the test's own.
"""

from collections.abc import Callable, Iterator

import pytest

from tests.faults.proxy import Proxy
from tests.faults.server import PrivateServer, installed_server
from tests.support import Database, Folder, Running, server_parameters

TESTS_IN_THIS_FOLDER = "tests/faults/"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if TESTS_IN_THIS_FOLDER in item.nodeid:
            item.add_marker(pytest.mark.fault)


@pytest.fixture
def start(
    database: Database, folder: Folder, manage_popen: Callable[..., Running]
) -> Callable[..., Running]:
    """Start `migrate_apply ARGS` on `folder` in the background: start("--resume", env={…})."""

    def run(*args: object, **kwargs: object) -> Running:
        return manage_popen("migrate_apply", "--directory", folder.path, *args, **kwargs)

    return run


@pytest.fixture
def proxy(database: Database) -> Iterator[Proxy]:
    """A proxy before the server of `database`."""
    with Proxy(server_parameters()) as started:
        yield started


@pytest.fixture
def through(proxy: Proxy, database: Database) -> dict[str, str]:
    """The environment of a command that reaches `database` through the proxy."""
    return {"DATABASE_URL": proxy.url(database)}


@pytest.fixture
def private_server(database: Database) -> Iterator[PrivateServer]:
    """A started server that the test may crash, of the same version as the one under test."""
    with PrivateServer(installed_server()) as server:
        server.start()
        yield server
