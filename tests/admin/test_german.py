"""The German catalogue: complete, compiled, and what the pages then say."""

from __future__ import annotations

import ast
import gettext
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import Client
from django.utils.translation import deactivate, override
from pytest_django import Settings

from sqlmigrator.admin.labels import ACTIONS, AGES, ATTEMPT_STATES, INTERRUPTED, ROW_STATES, Label
from sqlmigrator.admin.states import FILE_STATES
from tests.admin.test_migration_page import text_of
from tests.support import ROOT, Database, Folder

PACKAGE = ROOT / "sqlmigrator"
CATALOGUE = PACKAGE / "locale" / "de" / "LC_MESSAGES" / "django.po"
_TEXT = r'((?:"(?:[^"\\]|\\.)*"\s*)+)'
_ENTRY = re.compile(
    rf"(?:msgctxt {_TEXT})?msgid {_TEXT}(?:msgid_plural {_TEXT})?((?:msgstr(?:\[\d\])? {_TEXT})+)"
)
SAME = {"", "SQLSTATE", "Version", "version", "name", "Name", "migration"}


def catalogue(path: Path = CATALOGUE) -> dict[str | tuple[str, int], str]:
    """The entries of a .po file, as the gettext module has those of the .mo file."""
    found: dict[str | tuple[str, int], str] = {}
    for context, single, plural, translations, _ in _ENTRY.findall(path.read_text()):
        key = f"{_joined(context)}\x04{_joined(single)}" if context else _joined(single)
        for number, text in enumerate(re.findall(rf"msgstr(?:\[\d\])? {_TEXT}", translations)):
            found[(key, number) if plural else key] = _joined(text)
    return found


def _joined(literals: str) -> str:
    return "".join(ast.literal_eval(line) for line in literals.split("\n") if line.strip())


def bare(key: str | tuple[str, int]) -> str:
    """The English text, without its context."""
    return (key if isinstance(key, str) else key[0]).rpartition("\x04")[2]


def test_every_text_is_translated() -> None:
    entries = catalogue()
    assert len(entries) > 150
    assert [key for key, text in entries.items() if not text] == []
    same = {bare(key) for key, text in entries.items() if text == bare(key)}
    assert same <= SAME
    assert "fuzzy" not in CATALOGUE.read_text()


def test_a_translation_has_the_placeholders_of_the_text() -> None:
    def places(text: str) -> list[str]:
        return sorted(re.findall(r"%(?:\(\w+\))?[sd]|`[^`]+`", text))

    entries = {key: text for key, text in catalogue().items() if key}
    assert [k for k, text in entries.items() if places(bare(k)) != places(text)] == []


def test_every_label_is_german() -> None:
    labels: list[Label] = [INTERRUPTED]
    for some in (ROW_STATES, FILE_STATES, ACTIONS, ATTEMPT_STATES):
        labels += some.values()
    texts = [*(label.text for label in labels), *(label.meaning for label in labels)]
    texts = [text for text in (*texts, *AGES.values()) if text]
    for text in texts:
        with override("en"):
            english = str(text)
        with override("de"):
            assert str(text) != english


def test_the_compiled_catalogue_is_up_to_date() -> None:
    with CATALOGUE.with_suffix(".mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
    compiled.pop("")
    entries = catalogue()
    entries.pop("")
    assert compiled == entries, "run `django-admin compilemessages` in sqlmigrator/"


@pytest.mark.skipif(shutil.which("xgettext") is None, reason="GNU gettext is not installed here")
def test_the_catalogue_has_every_marked_text(tmp_path: Path) -> None:
    copy = tmp_path / "sqlmigrator"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    made = copy / CATALOGUE.relative_to(PACKAGE)
    command = [sys.executable, "-m", "django", "makemessages", "-l", "de", "--no-obsolete"]
    subprocess.run(command, cwd=copy, check=True, capture_output=True)
    advice = "run `django-admin makemessages -l de --add-location file` in sqlmigrator/"
    assert set(catalogue(made)) == set(catalogue()), advice


@pytest.fixture
def german(settings: Settings) -> Iterator[None]:
    """The site heeds Accept-Language."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]
    yield
    deactivate()  # a request leaves its language to the thread


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("", ["SQL-Migrationen", "Was dem nächsten Lauf entgegensteht, und der Ausweg"]),
        ("schemamigration/", ["Verlauf", "7 angewendete Migrationen", "fehlt", "Nach Zustand"]),
        (
            "schemamigration/overview/",
            ["Zuerst müssen 4 Konflikte gelöst werden", "1 Anweisung, ohne Transaktion"],
        ),
        ("schemamigration/conflicts/", ["Die nächste freie Nummer ist 010.", "behält die Nummer"]),
        ("schemamigration/003/change/", ["Was geändert wurde, nachdem sie gelaufen war"]),
        ("schemamigration/008/change/", ["Der letzte Versuch scheiterte am", "Zeile 8"]),
        ("migrationattempt/", ["gescheitert", "0 von 3 Anweisungen"]),
    ],
)
def test_a_page_is_german(
    boss: Client, german: None, trouble: Folder, page: str, said: list[str]
) -> None:
    answer = boss.get(f"/admin/sqlmigrator/{page}", headers={"accept-language": "de"})
    text = text_of(answer.content.decode())
    assert [words for words in said if words not in text] == []
    # The findings' own texts stay English, so single words prove nothing.
    english = {bare(key) for key in catalogue()}
    sentences = [key for key in english if " " in key and "%" not in key and "`" not in key]
    assert len(sentences) > 40
    assert [sentence for sentence in sentences if sentence in text] == []


def test_a_missing_table_is_said_in_german(
    boss: Client, german: None, database: Database, folder: Folder
) -> None:
    answer = boss.get("/admin/sqlmigrator/schemamigration/", headers={"accept-language": "de"})
    assert "Auf diese Datenbank wurde noch keine Migration angewendet." in answer.content.decode()
