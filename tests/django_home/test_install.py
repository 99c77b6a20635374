"""docs/install.md, literally, with the built wheel in an environment of its own."""

import os
import re
import shlex
import socket
import subprocess
import sys
import sysconfig
import urllib.parse
import urllib.request
import venv
import zipfile
from collections.abc import Mapping
from http.cookiejar import CookieJar
from pathlib import Path

import pytest

from tests.django_home.docs import blocks
from tests.django_home.site import environment
from tests.support import ROOT, Database, Result, Running, wait_until

USER = {"DJANGO_SUPERUSER_USERNAME": "ann", "DJANGO_SUPERUSER_EMAIL": "ann@example.org"}
PASSWORD = "a long enough one"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this tree without the network."""
    pytest.importorskip("hatchling", reason="hatchling is not installed here")
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with the wheel installed; Django and psycopg are this environment's."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=False)
    executable = folder / "bin" / "python"
    install = ["-m", "pip", "--python", str(executable), "install", "--no-deps", "--no-index"]
    subprocess.run([sys.executable, *install, str(wheel)], check=True, capture_output=True)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    (site_packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return executable


@pytest.fixture
def project(python: Path, tmp_path: Path, database: Database) -> "Project":
    return Project(python, tmp_path / "project", database)


class Project:
    """A folder in which commands run as a reader of the docs would run them."""

    def __init__(self, python: Path, path: Path, database: Database) -> None:
        self.python, self.path = python, path
        path.mkdir()
        names = {"dbname": "PGDATABASE", "host": "PGHOST", "port": "PGPORT", "user": "PGUSER"}
        names["password"] = "PGPASSWORD"
        parameters = database.parameters
        self.environment = environment() | {
            names[key]: str(value) for key, value in parameters.items() if key in names
        }
        del self.environment["PYTHONPATH"]  # the wheel, not this tree
        self.environment["PATH"] = f"{python.parent}{os.pathsep}{self.environment['PATH']}"

    def start(self, command: str, env: Mapping[str, str] | None = None) -> Running:
        return Running(
            ["sh", "-c", f"exec {command}"],
            self.environment | (env or {}),
            self.path,
            self.path / "output",
        )

    def run(self, command: str, env: Mapping[str, str] | None = None) -> Result:
        result = self.start(command, env).finish(120)
        assert (result.code, "Traceback" in result.err) == (0, False), f"{command}\n{result}"
        return result


def test_what_is_in_the_wheel(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {re.sub(r"-.*\.", ".", top) for top in tops} == {"sqlmigrator", "sqlmigrator.dist-info"}
    shipped = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "sqlmigrator").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }
    assert shipped <= set(names)
    assert "sqlmigrator/sql/001_migration_tracking.sql" in names


def test_the_steps_of_the_install_page(project: Project, database: Database) -> None:
    install, make, look, admin = blocks("install.md", "sh")
    (settings,) = blocks("install.md", "python")
    (sql,) = blocks("install.md", "sql")
    assert install == 'python -m pip install "sqlmigrator[postgres]"\n'  # done: the fixture
    where = project.run("python -c 'import sqlmigrator; print(sqlmigrator.__file__)'").out
    assert where.startswith(str(project.python.parent.parent))

    django_admin = f"{Path(sys.executable).parent}/django-admin"
    project.run(f"python {shlex.quote(django_admin)} startproject mysite .")
    with (project.path / "mysite" / "settings.py").open("a") as file:
        file.write(settings)
    for command in make.splitlines():
        project.run(command)
    migration = project.path / "migrations_sql" / "001_create_notes.sql"
    with migration.open("a") as file:
        file.write(sql)
    check, apply, status = [project.run(command) for command in look.splitlines()]
    assert "001_create_notes.sql" in check.out
    assert "Applied 1 migration" in apply.out
    assert "Total: 1 | Applied: 1 | Pending: 0" in status.out
    assert database.query("SELECT version, name FROM migration_status") == [("001", "create_notes")]

    migrate, createsuperuser, runserver = admin.splitlines()
    assert "SQL" not in project.run(migrate).out
    user = USER | {"DJANGO_SUPERUSER_PASSWORD": PASSWORD}
    project.run(f"{createsuperuser} --noinput", user)
    for command in ("check --fail-level WARNING --database default", "makemigrations --check"):
        project.run(f"python manage.py {command}")
    look_into_the_admin(project, runserver)


def look_into_the_admin(project: Project, runserver: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    server = project.start(f"{runserver} --noreload {address}")
    try:
        wait_until(lambda: answers(address), "the server answers", 60)
        opener = log_in(f"http://{address}/admin/")
        index = opener.open(f"http://{address}/admin/").read().decode()
        assert "SQL migrations" in index
        page = "/admin/sqlmigrator/schemamigration/"
        assert f'href="{page}"' in index
        response = opener.open(f"http://{address}{page}")
        assert response.status == 200
        assert "create_<wbr>notes" in response.read().decode()
    finally:
        log = server.kill()
    assert "Traceback" not in log.err
    assert "Warning" not in log.err.replace("WARNING: This is a development server", "")


def answers(address: str) -> bool:
    host, port = address.split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def log_in(url: str) -> urllib.request.OpenerDirector:
    jar = CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    opener.open(f"{url}login/").read()
    token = next(cookie.value for cookie in jar if cookie.name == "csrftoken")
    form = {"username": "ann", "password": PASSWORD, "csrfmiddlewaretoken": token or ""}
    opener.open(f"{url}login/?next=/admin/", urllib.parse.urlencode(form).encode()).read()
    assert any(cookie.name == "sessionid" for cookie in jar)
    return opener
