"""`sqlmigrator check DIR`: without Django, in real processes."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from sqlmigrator import __version__
from tests.conflicts.conftest import Repository
from tests.support import ROOT, Folder, Result

FINE = "SELECT 1;\n"


def script(
    *args: object,
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
    python: tuple[str, ...] = (),
) -> Result:
    environment = dict(os.environ) | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    done = subprocess.run(
        [sys.executable, *python, "-m", "sqlmigrator", *map(str, args)],
        cwd=cwd,
        env=environment | dict(env or {}),
        capture_output=True,
        encoding="utf-8",
    )
    return Result(done.returncode, done.stdout, done.stderr)


def test_it_imports_neither_django_nor_psycopg(folder: Folder) -> None:
    folder.write("001_a.sql", FINE)
    code = (
        "import sys\n"
        "import sqlmigrator.core.cli\n"
        "import sqlmigrator.__main__\n"
        f"assert sqlmigrator.core.cli.main(['check', {str(folder.path)!r}]) == 0\n"
        "print(sorted(name for name in sys.modules"
        " if name.partition('.')[0] in ('django', 'psycopg', 'asgiref', 'sqlparse')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_version() -> None:
    assert script("--version") == Result(0, f"sqlmigrator {__version__}\n", "")


def test_a_reader_that_goes_away(folder: Folder) -> None:
    folder.write("001_a.sql", "BEGIN")
    environment = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "sqlmigrator", "check", str(folder.path)],
            cwd=ROOT,
            env=environment,
            stdout=writing,
            stderr=subprocess.PIPE,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize(
    ("closing", "code", "err"),
    [
        (">&-", 0, ""),
        (">/dev/full", 2, "The output is not complete: No space left on device.\n"),
    ],
)
def test_a_stdout_that_takes_nothing(folder: Folder, closing: str, code: int, err: str) -> None:
    folder.write("001_a.sql", FINE)
    command = [sys.executable, "-m", "sqlmigrator", "check", str(folder.path)]
    done = subprocess.run(
        ["sh", "-c", f'"$@" {closing}', "sh", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (code, err)


def test_files_that_are_in_order(folder: Folder) -> None:
    folder.write("001_a.sql", FINE)
    assert script("check", folder.path) == Result(
        0,
        f"{folder.path}: 1 file, 0 errors, 0 warnings\n"
        "\n"
        "Would be applied, in this order (1):\n"
        "  001_a.sql   (1 statement)\n"
        "\n"
        "The files are in order.\n",
        "",
    )


def make_trouble(folder: Folder) -> None:
    folder.write("001_a.sql", FINE)
    folder.write("003_c.sql", "\nVACUUM;\n")
    folder.write("004_x.sql", "")
    folder.write("004_y.sql", FINE)
    folder.write("005_z.sql", "-- sqlmigrator: no-transactoin\nSELECT 1;\n")
    folder.write("37b_z.sql", FINE)
    folder.write("mark.sql", FINE)
    folder.write("old/001_a.sql", FINE)


@pytest.mark.parametrize("options", [(), ("--format", "github"), ("--verbosity", "2")])
def test_it_says_what_migrate_check_offline_says(
    repository: Repository,
    folder: Folder,
    call: Callable[..., Result],
    options: tuple[str, ...],
) -> None:
    """Git decides who keeps a number in both."""
    folder.write("004_y.sql", FINE)
    repository.commit(day=2)
    make_trouble(folder)
    repository.commit(day=3)
    mine = script("check", folder.path, *options)
    assert mine.code == 1
    assert mine == call("migrate_check", "--offline", *options)
    if not options:
        assert "  - 004_x.sql   not applied: renumber to 006_x.sql\n" in mine.out


def test_json_is_the_same_but_for_the_database(folder: Folder, call: Callable[..., Result]) -> None:
    make_trouble(folder)
    mine = script("check", folder.path, "--format", "json")
    theirs = call("migrate_check", "--offline", "--format", "json")
    assert (mine.code, theirs.code, mine.err) == (1, 1, "")
    ours = json.loads(theirs.out) | {"command": "sqlmigrator check"}
    ours["databases"][0]["database"] = None
    assert json.loads(mine.out) == ours


def test_fail_on_warning(folder: Folder) -> None:
    folder.write("001_a.sql", FINE)
    folder.write("003_c.sql", FINE)
    assert script("check", folder.path).code == 0
    assert script("check", folder.path, "--fail-on-warning").code == 1


def test_github_annotations_are_escaped_and_relative_to_the_repository(
    repository: Repository, folder: Folder
) -> None:
    folder.write("001_a.sql", "\n  VACUUM;\n")
    folder.write("002_a,b:c%.sql", FINE)
    result = script("check", "migrations", "--format", "github", cwd=repository.path)
    assert result == Result(
        1,
        "::error file=migrations/002_a%2Cb%3Ac%25.sql,title=misnamed migration "
        "(sqlmigrator.E002)::002_a,b:c%25.sql is not named NNN_descriptive_name.sql: it would "
        "never run%0ARename it to 002_a_b_c.sql, or move it out of the folder; `manage.py "
        "migrate_renumber` does it.\n"
        "::error file=migrations/001_a.sql,line=2,col=3,title=cannot run in a transaction "
        "(sqlmigrator.E008)::VACUUM cannot run in a transaction%0APut it in a file of its own "
        "that starts with `-- sqlmigrator: no-transaction`.\n",
        "",
    )


def test_a_file_name_cannot_write_a_line_of_its_own(folder: Folder) -> None:
    folder.write("1\n::error::x.sql", FINE)
    text = script("check", folder.path)
    assert "✗ 1\N{REPLACEMENT CHARACTER}::error::x.sql is not named" in text.out
    github = script("check", folder.path, "--format", "github")
    assert len(github.out.splitlines()) == 1


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("check", "nowhere"), "The migrations folder {cwd}/nowhere does not exist.\n"),
        (
            ("check", "a_file"),
            "The migrations folder {cwd}/a_file cannot be read (Not a directory).\n",
        ),
        (("check",), "the following arguments are required: DIR"),
        ((), "the following arguments are required: COMMAND"),
        (("check", ".", "--format", "xml"), "argument --format: invalid choice: 'xml'"),
    ],
)
def test_usage_errors_exit_with_2(tmp_path: Path, args: tuple[str, ...], message: str) -> None:
    (tmp_path / "a_file").touch()
    result = script(*args, cwd=tmp_path)
    assert (result.code, result.out) == (2, "")
    assert message.format(cwd=tmp_path) in result.err
    assert "Traceback" not in result.err


def test_a_terminal_that_only_knows_ascii(folder: Folder) -> None:
    folder.write("001_a.sql", "")
    result = script("check", folder.path, env={"PYTHONIOENCODING": "ascii"})
    assert result.code == 1
    assert "the file holds no statement [E012]" in result.out


def test_a_hook_of_git_does_not_lead_it_astray(repository: Repository, folder: Folder) -> None:
    """Git sets GIT_DIR and GIT_INDEX_FILE for its hooks, relative to another folder."""
    folder.write("003_b.sql", FINE)
    repository.commit(day=2)
    folder.write("003_a.sql", FINE)
    repository.commit(day=3)
    env = {"GIT_DIR": ".git", "GIT_INDEX_FILE": ".git/index.lock"}
    result = script("check", "migrations", cwd=repository.path, env=env)
    assert "  - 003_b.sql   not applied: keeps the number\n" in result.out


def test_the_hook_stops_a_commit_of_a_duplicate_number(
    repository: Repository, folder: Folder
) -> None:
    """What pre-commit runs, as git's own hook: the entry and arguments of the manifest."""
    manifest = (ROOT / ".pre-commit-hooks.yaml").read_text()
    values = dict(
        line.strip(" -").split(": ", 1) for line in manifest.splitlines() if line[:1] in "- "
    )
    assert values["entry"] == "sqlmigrator check"
    assert values["args"] == "[migrations_sql]"
    assert (values["language"], values["pass_filenames"]) == ("python", "false")
    assert values["files"] == r"\.sql$"
    hook = repository.path / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(
        f"#!/bin/sh\nexec env PYTHONPATH={shlex.quote(str(ROOT))} {shlex.quote(sys.executable)}"
        " -m sqlmigrator check migrations\n"
    )
    hook.chmod(0o755)
    folder.write("003_a.sql", FINE)
    repository.commit(day=2)
    folder.write("003_b.sql", FINE)
    with pytest.raises(AssertionError):
        repository.commit(day=3)
    folder.path.joinpath("003_b.sql").rename(folder.path / "004_b.sql")
    repository.commit(day=3)


def test_the_manifest_is_one_that_pre_commit_accepts() -> None:
    pre_commit = shutil.which("pre-commit", path=str(Path(sys.executable).parent))
    if pre_commit is None:
        pytest.skip("pre-commit is not installed here")
    done = subprocess.run(
        [pre_commit, "validate-manifest", ".pre-commit-hooks.yaml"], cwd=ROOT, capture_output=True
    )
    assert done.returncode == 0, done.stdout
