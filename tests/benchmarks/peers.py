"""The other tools: how each is installed, given the same SQL, started, and asked what it did."""

import json
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.folders import Migrations

WORK = Path(__file__).resolve().parent / ".work"
NODE = WORK / "node"
PYTHON = WORK / "venv"
_PYPI = ("yoyo-migrations", "setuptools<81", "alembic", "psycopg[binary]", "psycopg2-binary")


@dataclass(frozen=True, slots=True)
class Peer:
    """`write` puts the SQL into a folder as the tool wants it; `command` and `environment` take
    that folder and the URL of a database; `recorded` counts what the tool believes to be applied.
    """

    name: str
    program: Path
    write: Callable[[Path, Migrations], None]
    command: Callable[[Path, str], list[str]]
    recorded: str
    environment: Callable[[Path, str], Mapping[str, str]] = field(default=lambda folder, url: {})

    @property
    def is_installed(self) -> bool:
        return self.program.exists()


def install() -> list[str]:
    """Install the peers under .work/ where they are missing; return what could not be had."""
    missing = []
    if not (NODE / "node_modules").exists():
        NODE.mkdir(parents=True, exist_ok=True)
        (NODE / "package.json").write_text("{}\n")
        command = ["npm", "install", "--no-fund", "--no-audit", "dbmate", "node-pg-migrate", "pg"]
        missing += _try("dbmate and node-pg-migrate", command, NODE)
    if not PYTHON.exists():
        venv.create(PYTHON, with_pip=True)
        command = [str(PYTHON / "bin" / "python"), "-m", "pip", "install", "-q", *_PYPI]
        missing += _try("yoyo-migrations and alembic", command, PYTHON)
    return missing


def _try(what: str, command: list[str], cwd: Path) -> list[str]:
    if shutil.which(command[0]) is None:
        return [f"{what}: {Path(command[0]).name} is not installed"]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode == 0:
        return []
    shutil.rmtree(cwd)
    return [f"{what}: {done.stderr.strip().splitlines()[-1]}"]


def _write_dbmate(folder: Path, migrations: Migrations) -> None:
    for n, text in enumerate(migrations.sql, 2):
        (folder / f"{n:05d}_change_{n}.sql").write_text(f"-- migrate:up\n{text}\n-- migrate:down\n")


def _write_node(folder: Path, migrations: Migrations) -> None:
    for n, text in enumerate(migrations.sql, 2):
        name = f"{1_700_000_000_000 + n}_change-{n}.sql"
        (folder / name).write_text(f"-- Up Migration\n{text}\n-- Down Migration\n")


def _write_yoyo(folder: Path, migrations: Migrations) -> None:
    for n, text in enumerate(migrations.sql, 2):
        (folder / f"{n:05d}_change_{n}.sql").write_text(text)


_ALEMBIC_ENV = """\
from alembic import context
from sqlalchemy import create_engine, pool

engine = create_engine(context.config.get_main_option("sqlalchemy.url"), poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
"""
_ALEMBIC_REVISION = """\
from alembic import op

revision = {revision!r}
down_revision = {previous!r}


def upgrade():
    op.get_bind().exec_driver_sql({sql!r})
"""


def _write_alembic(folder: Path, migrations: Migrations) -> None:
    (folder / "versions").mkdir()
    (folder / "env.py").write_text(_ALEMBIC_ENV)
    previous = None
    for n, text in enumerate(migrations.sql, 2):
        revision = f"{n:05d}"
        (folder / "versions" / f"{revision}_change.py").write_text(
            _ALEMBIC_REVISION.format(
                revision=revision, previous=previous, sql=text.replace("%", "%%")
            )
        )
        previous = revision


def _alembic_environment(folder: Path, url: str) -> dict[str, str]:
    script = url.replace("postgresql:", "postgresql+psycopg:", 1).replace("%", "%%")
    (folder / "alembic.ini").write_text(
        f"[alembic]\nscript_location = {folder}\nsqlalchemy.url = {script}\npath_separator = os\n"
    )
    return {}


_DJANGO_MIGRATION = """\
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = {dependencies!r}
    operations = [migrations.RunSQL({sql!r})]
"""


def _write_django(folder: Path, migrations: Migrations) -> None:
    package = folder / "benchapp" / "migrations"
    package.mkdir(parents=True)
    (folder / "benchapp" / "__init__.py").touch()
    (package / "__init__.py").touch()
    (folder / "benchsettings.py").write_text(
        "import os\n"
        "from project.databases import from_url\n"
        "SECRET_KEY = 'of a benchmark'\n"
        "INSTALLED_APPS = ['benchapp']\n"
        "DATABASES = {'default': from_url(os.environ['DATABASE_URL'])}\n"
        "USE_TZ = True\n"
    )
    previous = None
    for n, text in enumerate(migrations.sql, 2):
        name = f"{n:05d}_change"
        dependencies = [("benchapp", previous)] if previous else []
        (package / f"{name}.py").write_text(
            _DJANGO_MIGRATION.format(dependencies=dependencies, sql=text)
        )
        previous = name


def _django_environment(folder: Path, url: str) -> dict[str, str]:
    return {"DJANGO_SETTINGS_MODULE": "benchsettings", "PYTHONPATH": str(folder)}


PEERS = (
    Peer(
        "dbmate",
        NODE / "node_modules" / ".bin" / "dbmate",
        _write_dbmate,
        # The program itself, not its start script: that costs a start of Node.
        lambda folder, url: [
            *_dbmate_program(),
            *("--url", url, "--migrations-dir", str(folder), "--no-dump-schema", "migrate"),
        ],
        "SELECT count(*) FROM schema_migrations",
    ),
    Peer(
        "node-pg-migrate",
        NODE / "node_modules" / ".bin" / "node-pg-migrate",
        _write_node,
        lambda folder, url: [
            str(NODE / "node_modules" / ".bin" / "node-pg-migrate"),
            *("up", "-m", str(folder), "--verbose", "false"),
        ],
        "SELECT count(*) FROM pgmigrations",
        lambda folder, url: {"DATABASE_URL": url},
    ),
    Peer(
        "Django migrate, RunSQL",
        Path(sys.executable),
        _write_django,
        lambda folder, url: [sys.executable, "-m", "django", "migrate", "-v", "0"],
        "SELECT count(*) FROM django_migrations WHERE app = 'benchapp'",
        _django_environment,
    ),
    Peer(
        "alembic",
        PYTHON / "bin" / "alembic",
        _write_alembic,
        lambda folder, url: [
            str(PYTHON / "bin" / "alembic"),
            *("-c", str(folder / "alembic.ini"), "upgrade", "head"),
        ],
        "SELECT (SELECT count(*) FROM pg_tables WHERE tablename ~ '^bench_')"
        " * (SELECT count(*) FROM alembic_version)",
        _alembic_environment,
    ),
    Peer(
        "yoyo",
        PYTHON / "bin" / "yoyo",
        _write_yoyo,
        lambda folder, url: [
            str(PYTHON / "bin" / "yoyo"),
            *("apply", "--batch", "--no-config-file", "--database"),
            url.replace("postgresql:", "postgresql+psycopg:", 1),
            str(folder),
        ],
        "SELECT count(*) FROM _yoyo_migration",
    ),
)


def _dbmate_program() -> list[str]:
    found = sorted((NODE / "node_modules" / "@dbmate").glob("*/bin/dbmate"))
    return [str(found[0])] if found else [str(NODE / "node_modules" / ".bin" / "dbmate")]


def versions() -> str:
    """The versions of what is installed, in words."""
    told = []
    for package in ("dbmate", "node-pg-migrate"):
        manifest = NODE / "node_modules" / package / "package.json"
        if manifest.exists():
            told.append(f"{package} {json.loads(manifest.read_text())['version']}")
    if PYTHON.exists():
        listed = subprocess.run(
            [str(PYTHON / "bin" / "python"), "-m", "pip", "list", "--format=freeze"],
            capture_output=True,
            text=True,
        ).stdout
        wanted = ("yoyo-migrations==", "alembic==")
        told += [line.replace("==", " ") for line in listed.splitlines() if line.startswith(wanted)]
    return ", ".join(told)
