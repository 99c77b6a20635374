"""The page of one migration."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest
from django.test import Client
from django.utils.html import strip_tags
from pytest_django import Settings

from sqlmigrator.admin.sqltext import decode, difference, listing
from sqlmigrator.conf import get_config
from sqlmigrator.results import MigrationFailed
from sqlmigrator.runner import MigrationRunner
from tests.admin import scenes
from tests.factories import SchemaMigrationFactory
from tests.support import ROOT, Database, Folder

SITE = "/admin/sqlmigrator/schemamigration/"


def page(client: Client, version: str) -> str:
    """The page's HTML."""
    response = client.get(f"{SITE}{version}/change/")
    assert response.status_code == 200
    return response.content.decode()


def text_of(html: str) -> str:
    """What people read of it, on one line."""
    html = re.sub(r"<[^>]*>", " ", html.replace("<wbr>", ""))
    return " ".join(unescape(html).split())


def test_an_applied_migration(boss: Client, database: Database, folder: Folder) -> None:
    scenes.apply_example(folder)
    html = page(boss, "007")
    text = text_of(html)
    checksum = hashlib.sha256(
        (folder.path / "007_index_open_requests.sql").read_bytes()
    ).hexdigest()
    assert "applied It ran here, and the file is still what ran." in text
    assert f"Checksum of the row {checksum} Checksum of the file {checksum}" in text
    assert "Statements 2 Directives no-transaction" in text
    assert '<span class="k">CREATE</span>' in html
    assert "-- sqlmigrator: no-transaction" in text
    assert re.search(r"done apply .* by \S+, \d+ ms, 2 of 2 statements", text)
    # The breadcrumbs are Django's: a list since 6.1.
    crumbs = text.replace(" ›", "")
    assert "Home SQL migrations Applied migrations 007 index_open_requests" in crumbs


def test_a_changed_migration_shows_the_difference(
    boss: Client, database: Database, trouble: Folder
) -> None:
    html = page(boss, "003")
    text = text_of(html)
    assert "changed It ran here, but the file was changed afterwards." in text
    assert "migrate_mark --accept-checksum 003 --reason" in text
    assert "- body text NOT NULL, + body text NOT NULL DEFAULT ''," in text
    assert "Lines with - ran here; lines with + are in the file now." in text


def test_a_changed_migration_outside_git_says_so(
    boss: Client, database: Database, folder: Folder
) -> None:
    scenes.apply_example(folder)
    scenes.edit(folder.path / "003_create_messages.sql", "body text", "content text")
    text = text_of(page(boss, "003"))
    assert "The text that ran here was not found in the file's git history" in text


def test_a_failed_migration_marks_the_line(
    boss: Client, database: Database, trouble: Folder
) -> None:
    html = page(boss, "008")
    text = text_of(html)
    assert (
        "pending It is not applied here yet. manage.py migrate_apply runs it, unless a conflict"
        in text
    )
    assert re.search(r"The last attempt failed on .*, line 8 42703 column \"prioritty\"", text)
    assert 'sqlmigrator-marked" id="008_add_priority.sql-8">' in html
    assert 'Line 8 failed: 42703: column "prioritty" does not exist' in text
    # Once the file is edited the line is no longer marked: another line may stand there.
    scenes.edit(trouble.path / "008_add_priority.sql", "prioritty", "priority")
    html = page(boss, "008")
    assert "sqlmigrator-marked" not in html
    assert "The last attempt failed on" in html


def test_an_attempt_that_waited_for_a_lock_names_the_blocker(
    boss: Client, database: Database, folder: Folder
) -> None:
    scenes.apply_example(folder)
    folder.write("008_add_priority.sql", "ALTER TABLE requests ADD COLUMN priority integer;")
    with database.connect(application_name="nightly report", autocommit=False) as reader:
        reader.execute("LOCK TABLE requests IN ACCESS SHARE MODE")
        config = get_config(lock_timeout_ms=3000, lock_budget_ms=100)
        with pytest.raises(MigrationFailed):
            MigrationRunner(config=config).apply()
        reader.rollback()
    text = text_of(page(boss, "008"))
    assert "failed apply" in text
    assert "55P03" in text
    assert "canceling statement due to lock timeout" in text
    assert re.search(r"blocked by .*nightly report", text)


def test_a_duplicate_shows_both_files(boss: Client, database: Database, trouble: Folder) -> None:
    text = text_of(page(boss, "005"))
    assert "005_add_rounded_to_quantity.sql conflicting It has not run here" in text
    assert "005_add_unread_tracking.sql applied It ran here" in text
    assert "Duplicate migration version 005" in text


def test_what_the_servers_parser_says(boss: Client, database: Database, folder: Folder) -> None:
    scenes.apply_example(folder)
    folder.write("008_typo.sql", "SELECT 1;\nSELEC 2;\n")
    told = 'pending It is not applied here yet. syntax error at or near "SELEC" (line 2)'
    assert told in text_of(page(boss, "008"))


def test_a_missing_one_an_out_of_order_one_and_a_renumbered_one(
    boss: Client, database: Database, folder: Folder
) -> None:
    scenes.apply_example(folder)
    path = folder.path
    (path / "004_touch_requests.sql").rename(path / "011_touch_requests.sql")
    (path / "002_create_requests.sql").unlink()
    folder.write("0003_late.sql", "SELECT 1;\n")
    (path / "003_create_messages.sql").unlink()
    folder.write("000_first.sql", "SELECT 1;\n")
    missing = text_of(page(boss, "002"))
    assert "missing It ran here, but its file is no longer in the folder." in missing
    assert "migrate_mark --unapplied 002" in missing
    early = text_of(page(boss, "000"))
    assert "out of order It is not applied here, but a later migration is." in early
    assert "000_first.sql is pending, but 007 is already applied" in early
    moved = text_of(page(boss, "011"))
    assert "conflicting It has not run here, and its number or its content is already" in moved
    assert "011_touch_requests.sql is already applied as version 004" in moved
    # A file whose number ran under another name: the row has no file of its own.
    other = text_of(page(boss, "003"))
    assert "0003_late.sql is not what ran here" in other
    assert "003_create_messages.sql conflicting It ran here, but the file with this" in other


def test_a_row_whose_version_is_no_number(boss: Client, database: Database, folder: Folder) -> None:
    scenes.apply_example(folder)
    SchemaMigrationFactory(version="037b", name="late")
    assert "missing It ran here" in text_of(page(boss, "037b"))


@pytest.mark.parametrize("version", ["777", "nothing", "_3Cscript_3E", "9" * 400])
def test_an_unknown_version_is_404(
    boss: Client, database: Database, folder: Folder, version: str
) -> None:
    scenes.apply_example(folder)
    assert boss.get(f"{SITE}{version}/change/").status_code == 404


def test_odd_files_are_shown_as_they_are(boss: Client, database: Database, folder: Folder) -> None:
    folder.write("001_nul.sql", b"SELECT 1;\0\n</code><script>alert(1)</script>\n")
    folder.write("002_latin.sql", b"SELECT '\xe9';\n")
    folder.write("003_wrapped.sql", "\ufeffBEGIN;\r\nSELECT 1;\r\nCOMMIT;\r\n")
    folder.write("004_long.sql", "SELECT 1;\n" * 40_000)
    html = page(boss, "001")
    assert "a NUL byte at offset 9" in html
    assert "<script>alert" not in html
    assert "not UTF-8: byte 0xe9 at offset 8" in page(boss, "002")
    assert "The file BEGIN ; SELECT 1 ; COMMIT ;" in text_of(page(boss, "003"))
    long = text_of(page(boss, "004"))
    assert "of 40000 lines." in long
    assert len(long) < 400_000


# The text of files


def test_the_lines_of_a_listing() -> None:
    lines = listing(b"SELECT '<';\r\n\n-- end\n", {3: "here"}).lines
    assert [unescape(strip_tags(line.html)) for line in lines] == ["SELECT '<';", "", "-- end"]
    assert [line.note for line in lines] == ["", "", "here"]
    assert [line.number for line in lines] == [1, 2, 3]


@pytest.mark.parametrize("text", ["", "\n", "a\n\n\n", "/* a\nb */\n'x\ny'\n$$\n;\n$$", "\n\n  a"])
def test_a_listing_has_as_many_lines_as_the_text(text: str) -> None:
    shown = listing(text.encode())
    expected = text.removesuffix("\n").split("\n")
    assert [unescape(strip_tags(line.html)) for line in shown.lines] == expected
    assert shown.total == len(expected)


def test_a_listing_can_be_cut() -> None:
    shown = listing(b"a\n\nb\nc\n", most=2)
    assert [str(line.html) for line in shown.lines] == ['<span class="n">a</span>', ""]
    assert shown.total == 4
    assert shown.is_cut


def test_a_difference_has_its_place_and_context() -> None:
    changes = difference(b"a\nb\nc\n", b"a\nB\nc\n")
    assert changes is not None
    assert [(change.kind, change.text) for change in changes] == [
        ("place", "@@ -1,3 +1,3 @@"),
        ("same", " a"),
        ("removed", "-b"),
        ("added", "+B"),
        ("same", " c"),
    ]
    assert difference(b"a\r\n", b"a\n") == ()
    assert difference(b"a\n" * 5000, b"b\n") is None


def test_bytes_that_are_no_text_are_shown_all_the_same() -> None:
    assert decode(b"\xef\xbb\xbfa\0\xff\r\n") == "a␀�"


def test_without_pygments_the_text_is_plain() -> None:
    code = (
        "import sys; sys.modules['pygments'] = None\n"
        "import django; django.setup()\n"
        "from sqlmigrator.admin.sqltext import listing\n"
        "print([str(line.html) for line in listing(b\"SELECT '<';\\n--x\").lines])"
    )
    environment = dict(os.environ) | {"DJANGO_SETTINGS_MODULE": "project.settings"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
        cwd=ROOT,
    )
    assert done.stdout == "['SELECT &#x27;&lt;&#x27;;', '--x']\n"


def test_a_theme_with_its_buttons_outside_of_the_content(
    boss: Client, database: Database, folder: Folder, settings: Settings, tmp_path: Path
) -> None:
    """As in django-unfold; the tags in these blocks need what only a form has."""
    (tmp_path / "admin").mkdir()
    (tmp_path / "admin" / "change_form.html").write_text(
        "{% extends 'admin/base_site.html' %}{% load admin_modify %}"
        "{% block nav-global %}{% block object-tools-items %}<a>Buttons</a>{% endblock %}{% endblock %}"
        "{% block footer %}{% block submit_buttons_bottom %}{% submit_row %}{% endblock %}{% endblock %}"
    )
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    scenes.apply_example(folder)
    html = page(boss, "007")
    assert "index_open_requests" in html
    assert "Buttons" not in html


def test_times_are_the_sites_without_use_tz(
    boss: Client, database: Database, trouble: Folder, settings: Settings
) -> None:
    # Django's `date` leaves an aware time as it is where USE_TZ is off.
    settings.USE_TZ = False
    settings.TIME_ZONE = "Pacific/Auckland"
    database.execute("UPDATE schema_migrations_log SET started_at = '2026-07-01 01:38+00'")
    for path in ("schemamigration/008/change/", "schemamigration/overview/", "migrationattempt/"):
        text = text_of(boss.get(f"/admin/sqlmigrator/{path}").content.decode())
        assert "July 1, 2026, 1:38 p.m." in text
        assert "1:38 a.m." not in text


def test_a_duplicate_with_other_digits_says_what_to_do(
    boss: Client, database: Database, folder: Folder
) -> None:
    scenes.apply_example(folder)
    folder.write("0006_a_second.sql", "SELECT 6;\n")
    html = page(boss, "006")
    parts = [text_of(part) for part in html.split("<section")[1:]]
    assert ["0006_a_second.sql" in part for part in parts[:2]] == [True, False]
    for part in parts[:2]:
        assert "Duplicate migration version" in part
        assert "migrate_renumber" in part
    # The page of the row is called after what ran.
    assert "<title>006 add_request_categories" in html
