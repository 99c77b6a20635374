"""A project with USE_TZ = False, whose connection hands out local times without a zone."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.django_home.site import Site

SETTINGS = """
    USE_TZ = False
    TIME_ZONE = "America/Chicago"
    INSTALLED_APPS.remove("shop")
    INSTALLED_APPS += ["django.contrib." + app for app in ("admin", "messages", "sessions")]
    MIDDLEWARE = [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ]
    TEMPLATES = [{
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": [
            "django.template.context_processors.request",
            "django.contrib.auth.context_processors.auth",
            "django.contrib.messages.context_processors.messages",
        ]},
    }]
    ROOT_URLCONF = "urls"
    STATIC_URL = "static/"
    ALLOWED_HOSTS = ["testserver"]
"""
URLS = """
    from django.contrib import admin
    from django.urls import path
    urlpatterns = [path("admin/", admin.site.urls)]
"""
VISIT = """
from django.contrib.auth.models import User
from django.test import Client
client = Client()
client.force_login(User.objects.create_superuser("boss"))
site = "/admin/sqlmigrator/"
for page in ("", "overview/", "conflicts/", "001/change/"):
    print(client.get(site + "schemamigration/" + page, follow=True).status_code)
print(client.get(site + "migrationattempt/").status_code)
"""


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    site = make_site().create()
    site.configure(SETTINGS)
    site.write("urls.py", URLS)
    assert site.manage("migrate_apply", "--to", "001").code == 0
    return site


def is_now(text: str) -> bool:
    return abs(datetime.fromisoformat(text) - datetime.now(UTC)) < timedelta(minutes=5)


def test_the_history_is_told_in_utc(site: Site) -> None:
    status = json.loads(site.manage("migrate_status", "--format", "json").out)
    (applied,) = [m["applied_at"] for m in status["databases"][0]["migrations"]]
    assert is_now(applied)
    history = json.loads(site.manage("migrate_status", "--history", "--format", "json").out)
    assert is_now(history["databases"][0]["attempts"][0]["started_at"])


def test_the_admin_pages(site: Site) -> None:
    site.write("sql/001_create_category.sql", "CREATE TABLE changed ();\n")  # a time in a message
    assert site.manage("migrate", "-v", "0").code == 0
    result = site.manage("shell", "-v", "0", "-c", VISIT)
    assert result.code == 0, result.err
    assert result.out.split() == ["200"] * 5
