"""Who may see what: every page of ours, for every kind of user; and nobody may change anything."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from tests.support import Database, Folder

SITE = "/admin/sqlmigrator/"
PAGES = (
    "schemamigration/",
    "schemamigration/overview/",
    "schemamigration/conflicts/",
    "schemamigration/conflicts/?complete=1",
    "schemamigration/003/change/",
    "schemamigration/003/",
    "schemamigration/003/history/",
    "schemamigration/999/change/",
    "migrationattempt/",
    "migrationattempt/1/change/",
    "migrationattempt/1/history/",
)
CHANGES = (
    "schemamigration/add/",
    "schemamigration/003/delete/",
    "migrationattempt/add/",
    "migrationattempt/1/delete/",
)


@pytest.mark.parametrize("page", PAGES + CHANGES)
def test_staff_without_the_permission_get_403_and_no_text(
    log_in: Callable[[str], Client], trouble: Folder, page: str
) -> None:
    response = log_in("clerk").get(SITE + page)
    if page == "schemamigration/003/":  # Django's own redirect to the page, which refuses
        assert response.status_code == 302
        response = log_in("clerk").get(response["Location"])
    assert response.status_code == 403
    text = response.content.decode()
    assert "CREATE TABLE" not in text
    assert str(trouble.path) not in text
    assert "create_messages" not in text


@pytest.mark.parametrize("page", PAGES)
def test_an_anonymous_visitor_is_sent_to_the_login(
    database: Database, trouble: Folder, page: str
) -> None:
    response = Client().get(SITE + page)
    assert response.status_code == 302
    assert response["Location"].startswith("/admin/login/?next=")


@pytest.mark.parametrize("name", ["boss", "viewer"])
@pytest.mark.parametrize("page", [page for page in PAGES if "999" not in page])
def test_those_who_may_see_them_see_them(
    log_in: Callable[[str], Client], trouble: Folder, name: str, page: str
) -> None:
    response = log_in(name).get(SITE + page, follow=True)
    assert response.status_code == 200


@pytest.mark.parametrize("page", CHANGES)
def test_a_superuser_can_change_nothing(boss: Client, trouble: Folder, page: str) -> None:
    assert boss.get(SITE + page).status_code == 403
    assert boss.post(SITE + page, {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("page", [page for page in PAGES if page != "schemamigration/003/"])
def test_a_superuser_can_post_nothing(
    boss: Client, database: Database, trouble: Folder, page: str
) -> None:
    before = database.query("SELECT * FROM schema_migrations ORDER BY id")
    journal = database.query("SELECT * FROM schema_migrations_log ORDER BY id")
    response = boss.post(SITE + page, {"name": "other", "action": "delete_selected"})
    assert response.status_code == 403
    assert database.query("SELECT * FROM schema_migrations ORDER BY id") == before
    assert database.query("SELECT * FROM schema_migrations_log ORDER BY id") == journal


def test_reading_every_page_changes_neither_table_nor_folder(
    boss: Client, database: Database, trouble: Folder
) -> None:
    before = database.query("SELECT * FROM schema_migrations ORDER BY id")
    journal = database.query("SELECT * FROM schema_migrations_log ORDER BY id")
    files = {path.name: path.read_bytes() for path in trouble.path.glob("*.sql")}
    for page in PAGES:
        boss.get(SITE + page)
    assert database.query("SELECT * FROM schema_migrations ORDER BY id") == before
    assert database.query("SELECT * FROM schema_migrations_log ORDER BY id") == journal
    assert {path.name: path.read_bytes() for path in trouble.path.glob("*.sql")} == files
    assert database.query("SELECT to_regclass('requests_priority_idx')") == [(None,)]


def test_the_history_without_the_journal(log_in: Callable[[str], Client], trouble: Folder) -> None:
    clerk = User.objects.get(username="clerk")
    clerk.user_permissions.add(Permission.objects.get(codename="view_schemamigration"))
    client = log_in("clerk")
    page = client.get(f"{SITE}schemamigration/008/change/")
    assert page.status_code == 200
    text = page.content.decode()
    assert "requests_priority_idx" in text
    assert "Attempts" not in text
    assert "does not exist" not in text
    overview = client.get(f"{SITE}schemamigration/overview/").content.decode()
    assert "Last attempt" not in overview
    assert client.get(f"{SITE}migrationattempt/").status_code == 403
    assert client.get(f"{SITE}migrationattempt/1/change/").status_code == 403


def test_the_journal_without_the_history(log_in: Callable[[str], Client], trouble: Folder) -> None:
    clerk = User.objects.get(username="clerk")
    clerk.user_permissions.add(Permission.objects.get(codename="view_migrationattempt"))
    client = log_in("clerk")
    page = client.get(f"{SITE}migrationattempt/")
    assert page.status_code == 200
    assert "Conflicts" not in page.content.decode()
    assert "requests_priority_idx" not in page.content.decode()
    assert "008 add_" in page.content.decode().replace("<wbr>", "")
    assert "008/change/" not in page.content.decode()
    assert client.get(f"{SITE}schemamigration/008/change/").status_code == 403


def test_the_start_page_links_only_what_one_may_see(
    log_in: Callable[[str], Client], database: Database
) -> None:
    overview = reverse("admin:sqlmigrator_overview")
    assert overview in log_in("viewer").get(SITE).content.decode()
    assert log_in("clerk").get(SITE).status_code == 404
    assert "sqlmigrator" not in log_in("clerk").get("/admin/").content.decode()


@pytest.mark.parametrize(
    ("page", "status"),
    [
        ("schemamigration/?by=%00", 400),
        ("schemamigration/?q=%00", 400),
        ("migrationattempt/?action=%00", 400),
        ("migrationattempt/?state=%00", 400),
        ("schemamigration/%00/change/", 404),
    ],
)
def test_a_nul_in_the_address_is_no_error_of_the_server(
    log_in: Callable[[str], Client], trouble: Folder, page: str, status: int
) -> None:
    assert log_in("viewer").get(SITE + page).status_code == status


@pytest.mark.parametrize("page", PAGES)
def test_the_permission_to_change_does_not_show(
    log_in: Callable[[str], Client], trouble: Folder, page: str
) -> None:
    User.objects.get(username="clerk").user_permissions.set(
        Permission.objects.filter(content_type__app_label="sqlmigrator").exclude(
            codename__startswith="view"
        )
    )
    response = log_in("clerk").get(SITE + page, follow=True)
    assert response.status_code == 403
    assert "CREATE TABLE" not in response.content.decode()
