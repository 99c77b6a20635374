"""A site for every test: a database with Django's tables and four users, cloned from a template."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.db import connections
from django.test import Client
from psycopg import sql
from pytest_django import DjangoDbBlocker

from tests import support
from tests.admin import scenes
from tests.support import Database, Folder

PASSWORD = "a long password"


@pytest.fixture(scope="session")
def template_database(django_db_blocker: DjangoDbBlocker) -> Iterator[Database]:
    """A database after `migrate`: boss is a superuser, viewer may view, clerk is only staff."""
    template = support.create_database()
    connection = connections["default"]
    name = connection.settings_dict["NAME"]
    connection.close()
    connection.settings_dict["NAME"] = template.name
    with django_db_blocker.unblock():
        call_command("migrate", verbosity=0)
        User.objects.create_superuser("boss", password=PASSWORD)
        viewer = User.objects.create_user("viewer", is_staff=True)
        viewer.user_permissions.set(
            Permission.objects.filter(
                content_type__app_label="sqlmigrator", codename__startswith="view"
            )
        )
        User.objects.create_user("clerk", is_staff=True)
        connection.close()
    connection.settings_dict["NAME"] = name
    yield template
    support.drop_database(template)


@pytest.fixture
def make_database(
    template_database: Database, django_db_blocker: DjangoDbBlocker
) -> Iterator[Callable[[], Database]]:
    """Clone the template; all clones are dropped after the test."""
    made: list[Database] = []

    def make() -> Database:
        clone = Database(f"{template_database.name}_{uuid.uuid4().hex[:8]}")
        with support.maintenance_connection() as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                    sql.Identifier(clone.name), sql.Identifier(template_database.name)
                )
            )
        made.append(clone)
        return clone

    yield make
    for clone in made:
        support.drop_database(clone)


@pytest.fixture
def log_in(database: Database) -> Callable[[str], Client]:
    """A client that is logged in: log_in("boss")."""

    def enter(name: str) -> Client:
        client = Client()
        client.force_login(User.objects.get(username=name))
        return client

    return enter


@pytest.fixture
def boss(log_in: Callable[[str], Client]) -> Client:
    return log_in("boss")


@pytest.fixture
def trouble(database: Database, folder: Folder) -> Folder:
    """A history in which most things are wrong: see scenes.make_trouble()."""
    scenes.make_trouble(folder)
    return folder
