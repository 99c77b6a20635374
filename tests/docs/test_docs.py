"""The guide in docs/ and the README, followed in a throw-away repository and database."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from sqlmigrator import exceptions, results
from sqlmigrator.conf import KEYS, Config
from sqlmigrator.core.durations import parse_duration
from tests.django_home.docs import blocks
from tests.docs.guide import Project, page_blocks
from tests.support import ROOT, Database

DOCS = ROOT / "docs"


@pytest.fixture
def project(tmp_path: Path, database: Database) -> Project:
    return Project(tmp_path / "mysite", database)


def test_the_guide_from_the_first_migration_to_the_rollback(project: Project) -> None:
    (migration,) = blocks("install.md", "sql")
    project.write("migrations_sql/001_create_notes.sql", migration)
    assert project.sh("python manage.py migrate_apply")[0] == 0
    for page in ("first_migration.md", "conflicts.md", "production.md", "rollback.md"):
        project.follow(page)


@pytest.mark.parametrize("page", ["taking_over.md", "troubleshooting.md", "api.md"])
def test_a_page_that_starts_afresh(page: str, project: Project) -> None:
    project.follow(page)


@pytest.mark.parametrize("page", ["index.md", "settings.md", "supabase.md"])
def test_a_page_with_nothing_to_run(page: str) -> None:
    for block in page_blocks(page):
        assert block.note.startswith("not run: "), block.place
        if block.language == "python":
            compile(block.body, block.place, "exec")


def test_the_readme(project: Project) -> None:
    text = (ROOT / "README.md").read_text()
    commands = [b for b in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) if "migrate_new" in b]
    make, new, check, apply = commands[0].splitlines()
    (project.path / "migrations_sql").rmdir()
    for command in (make, new):
        assert project.sh(command)[0] == 0
    project.write("migrations_sql/001_create_notes.sql", "CREATE TABLE notes (body text);\n")
    for command in (check, apply):
        assert project.sh(command)[0] == 0
    assert project.database.query("SELECT version, name FROM schema_migrations") == [
        ("001", "create_notes")
    ]


def test_the_two_commands_come_first_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    example, tests, *_ = re.findall(r"```sh\n(.*?)\n```", text, re.DOTALL)
    start = "python3 -m venv .venv && .venv/bin/python -m pip install -q -e "
    assert example == f"{start}'.[example]' && .venv/bin/python manage.py migrate_apply"
    assert tests == f"{start}'.[test]' && .venv/bin/python -m pytest -n 4"


def test_the_readme_refers_to_files_that_exist() -> None:
    text = (ROOT / "README.md").read_text()
    targets = re.findall(r"\]\(([^)#]+)", text)
    assert targets
    assert [t for t in targets if "://" not in t and not (ROOT / t).is_file()] == []


def test_the_findings_of_the_troubleshooting_page_are_up_to_date() -> None:
    script = [sys.executable, str(DOCS / "render_findings.py"), "--check"]
    done = subprocess.run(script, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), "run `python docs/render_findings.py`"


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the table whose first column is called `heading`."""
    text = (DOCS / page).read_text()
    table = text.partition(f"| {heading} |")[2].partition("\n\n")[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]
    ]


def test_the_settings_page_has_every_key_with_its_default() -> None:
    table = {key.strip("`"): default for key, default, _ in rows("settings.md", "key")}
    assert list(table) == [*KEYS, "DATABASES"]
    config = Config(directory=ROOT, applied_by="ann")
    for key in KEYS:
        if found := re.match(r'`(?:"(\d+\w+)"|(0)|(False))`', table[key]):
            time, zero, _ = found.groups()
            field = f"{key.lower()}_ms" if time or zero else key.lower()
            assert getattr(config, field) == (parse_duration(time) if time else 0), key


def test_the_exceptions_of_the_api_page() -> None:
    for name, codes, _ in rows("api.md", "exception"):
        kind = getattr(exceptions, name.strip("`"), None) or results.MigrationFailed
        if kind is not exceptions.Interrupted:
            assert str(kind.exit_code) == codes, name


def test_the_pages_render_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="mkdocs is not installed here")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "-q",
        "-d",
        str(tmp_path / "site"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert 'id="e001"' in (tmp_path / "site" / "troubleshooting.html").read_text()
