"""A real git repository around the migrations, and a second database that disagrees."""

import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from pytest_django import Settings

from tests.support import Database, Folder


@dataclass(frozen=True, slots=True)
class Repository:
    """A git repository; the tests say when each commit was made."""

    path: Path

    def git(self, *args: str, when: str | None = None) -> str:
        """Run git and return what it writes; fail the test with its message if it fails."""
        environment = dict(os.environ) | {
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_SYSTEM": os.devnull,
            "GIT_AUTHOR_NAME": "A",
            "GIT_AUTHOR_EMAIL": "a@example.org",
            "GIT_COMMITTER_NAME": "A",
            "GIT_COMMITTER_EMAIL": "a@example.org",
        }
        if when is not None:
            environment["GIT_COMMITTER_DATE"] = when
        done = subprocess.run(
            ["git", *args], cwd=self.path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def commit(self, *, day: int = 1, when: str | None = None) -> None:
        """Commit all there is at noon (UTC) of that day of October 2025, or at `when`."""
        self.git("add", ".")
        self.git("commit", "-q", "-m", "Work", when=when or f"2025-10-{day:02d}T12:00:00Z")

    def status(self) -> list[str]:
        """`git status --porcelain`, sorted."""
        return sorted(self.git("status", "--porcelain").splitlines())


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """An empty repository in tmp_path, around the fixture `folder`."""
    repository = Repository(tmp_path)
    repository.git("init", "-q", "-b", "main")
    (tmp_path / ".gitignore").write_text("/output/\n")
    repository.commit(day=1)
    return repository


@pytest.fixture
def production(
    make_database: Callable[[], Database],
    add_alias: Callable[..., Any],
    folder: Folder,
    settings: Settings,
    database: Database,
) -> Database:
    """The alias `production`: another database with the same folder."""
    other = make_database()
    add_alias("production", other)
    settings.SQLMIGRATOR = {"DIRECTORY": folder.path, "DATABASES": {"production": {}}}
    return other


@pytest.fixture
def in_folder(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """`folder`, with its parent as the current folder: paths read migrations/003_x.sql."""
    monkeypatch.chdir(folder.path.parent)
    return folder


@pytest.fixture
def cut_off() -> Iterator[Callable[[str], None]]:
    """Make the database of an alias unreachable: nothing listens on that port."""
    before: dict[str, dict[str, Any]] = {}

    def cut(alias: str) -> None:
        connections[alias].close()
        place = connections[alias].settings_dict
        before[alias] = {key: place[key] for key in ("HOST", "PORT")}
        place.update(HOST="127.0.0.1", PORT="1")

    yield cut
    for alias, place in before.items():
        connections[alias].close()
        connections[alias].settings_dict.update(place)
