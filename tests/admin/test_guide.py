"""docs/admin.md does what it says."""

import re
from collections.abc import Callable

from django.contrib.auth.models import Group, User
from django.test import Client

from sqlmigrator.admin.labels import ROW_STATES
from tests.django_home.docs import blocks
from tests.support import ROOT, Database, Folder

DOCS = ROOT / "docs"
SITE = "/admin/sqlmigrator/"


def test_the_group_may_see_every_page(
    log_in: Callable[[str], Client], database: Database, folder: Folder
) -> None:
    client = log_in("clerk")
    pages = [f"{SITE}schemamigration/{name}" for name in ("", "overview/", "conflicts/")]
    pages.append(f"{SITE}migrationattempt/")
    assert [client.get(page).status_code for page in pages] == [403] * 4
    _, snippet = blocks("admin.md", "python")
    exec(compile(snippet, "docs/admin.md", "exec"), {})
    User.objects.get(username="clerk").groups.add(Group.objects.get(name="Team leads"))
    assert [client.get(page).status_code for page in pages] == [200] * 4


def test_the_table_of_states() -> None:
    table = (DOCS / "admin.md").read_text().partition("| state |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| (\w+) \|", table, re.MULTILINE) == [
        str(label.text) for label in ROW_STATES.values()
    ]


def test_the_pictures_are_small() -> None:
    for page, folder in ((DOCS / "admin.md", DOCS), (ROOT / "README.md", ROOT)):
        pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", page.read_text())
        assert len(pictures) == 2
        for picture in pictures:
            data = (folder / picture).read_bytes()
            assert len(data) < 200_000
            assert int.from_bytes(data[16:20]) == 1280  # the width in a PNG's header
