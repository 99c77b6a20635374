"""Every command of a project imports its admin: what only pages need must not come with it."""

import subprocess
import sys

import pytest

from tests.support import ROOT, Database, Folder, subprocess_environment

_RUN = """
import atexit, os, sys
wanted = ("sqlmigrator.admin", "pygments")
def tell():
    print("\\n===", *sorted(m for m in sys.modules if m.startswith(wanted)))
atexit.register(tell)
os.environ["DJANGO_SETTINGS_MODULE"] = "project.settings"
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", *sys.argv[1:]])
"""
_ONLY_FOR_PAGES = {
    "sqlmigrator.admin.changelist",
    "sqlmigrator.admin.conflicts",
    "sqlmigrator.admin.migration",
    "sqlmigrator.admin.overview",
    "sqlmigrator.admin.reading",
    "sqlmigrator.admin.sqltext",
    "sqlmigrator.admin.states",
    "pygments",
}


def imported_by(database: Database, *arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", _RUN, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=subprocess_environment(database, None),
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("\n===")[2].split())


@pytest.mark.parametrize(
    "command",
    [
        ("showmigrations", "--help"),
        ("showmigrations",),
        ("check",),
        ("migrate_status",),
        ("migrate_check",),
    ],
)
def test_a_command_imports_nothing_that_only_pages_need(
    database: Database, command: tuple[str, ...]
) -> None:
    found = imported_by(database, *command)
    assert "sqlmigrator.admin" in found
    assert {name for name in found if name in _ONLY_FOR_PAGES} == set()


def test_the_modules_that_are_watched_exist(database: Database, folder: Folder) -> None:
    code = "import " + ", ".join(sorted(_ONLY_FOR_PAGES))
    found = imported_by(database, "shell", "--no-imports", "-c", code)
    assert found >= _ONLY_FOR_PAGES
