"""A throw-away Django project in a folder of its own, driven through real processes."""

import os
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import ROOT, Database, Result, Running

SETTINGS = """
from pathlib import Path
BASE_DIR = Path(__file__).resolve().parent
SECRET_KEY = "x"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "sqlmigrator", "shop"]
DATABASES = {databases!r}
SQLMIGRATOR = {{"APPLY_TO_TEST_DATABASES": True, "DIRECTORY": BASE_DIR / "sql"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
{more}
"""

MANAGE = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
from django.core.management import execute_from_command_line
execute_from_command_line(sys.argv)
"""

PYTEST = """
[pytest]
DJANGO_SETTINGS_MODULE = settings
python_files = test_*.py
filterwarnings = error
addopts = -p no:cacheprovider --strict-markers
"""

# A managed model that refers to a table of a SQL migration, which must be there first.
MODELS = """
from django.db import models

class Category(models.Model):
    name = models.TextField()
    class Meta:
        managed = False
        db_table = "category"

class Product(models.Model):
    name = models.TextField()
    category = models.ForeignKey(Category, models.CASCADE, null=True)
"""

MIGRATION = """
from django.db import migrations, models

class Migration(migrations.Migration):
    initial = True
    operations = [
        migrations.CreateModel("Category", [
            ("id", models.BigAutoField(primary_key=True)), ("name", models.TextField()),
        ], options={"managed": False, "db_table": "category"}),
        migrations.CreateModel("Product", [
            ("id", models.BigAutoField(primary_key=True)), ("name", models.TextField()),
            ("category", models.ForeignKey("shop.Category", models.CASCADE, null=True)),
        ]),
    ]
"""

CATEGORY = "CREATE TABLE category (id bigserial PRIMARY KEY, name text NOT NULL);\n"


@dataclass
class Site:
    """The project. `write` adds files, `manage` and `pytest` run real processes in it."""

    path: Path
    database: Database
    others: dict[str, Database] = field(default_factory=dict)

    def create(self, **databases: dict[str, Any]) -> "Site":
        """Write the project; `databases` changes entries of DATABASES or adds them."""
        entries = {"default": entry(self.database)}
        entries |= {alias: entry(other) for alias, other in self.others.items()}
        for alias, changes in databases.items():
            entries[alias] = entries.get(alias, {}) | changes
        self.write("settings.py", SETTINGS.format(databases=entries, more=""))
        self.write("manage.py", MANAGE)
        self.write("pytest.ini", PYTEST)
        self.write("shop/__init__.py", "")
        self.write("shop/models.py", MODELS)
        self.write("shop/migrations/__init__.py", "")
        self.write("shop/migrations/0001_initial.py", MIGRATION)
        self.write("sql/001_create_category.sql", CATEGORY)
        return self

    def write(self, name: str, text: str) -> Path:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
        return file

    def configure(self, text: str) -> None:
        """Add to settings.py."""
        with (self.path / "settings.py").open("a") as file:
            file.write(textwrap.dedent(text) + "\n")

    def manage(self, *args: object, env: Mapping[str, str] | None = None) -> Result:
        return self.run("manage.py", *args, env=env)

    def pytest(self, *args: object, env: Mapping[str, str] | None = None) -> Result:
        return self.run("-m", "pytest", *args, env=env)

    def start(self, *args: object, env: Mapping[str, str] | None = None) -> Running:
        command = [sys.executable, *map(str, args)]
        return Running(command, environment() | (env or {}), self.path, self.path / "output")

    def run(self, *args: object, env: Mapping[str, str] | None = None) -> Result:
        return self.start(*args, env=env).finish(300)


def environment() -> dict[str, str]:
    """This process's environment without what pytest and Django would take from it."""
    leave_out = ("PYTEST_", "DJANGO_", "DATABASE_URL", "TEST_DATABASE_URL")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(leave_out)}
    return kept | {
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "error",
        "PYTHONDONTWRITEBYTECODE": "1",
        "COLUMNS": "200",
    }


def entry(database: Database) -> dict[str, Any]:
    """The entry of DATABASES for a database of the tests."""
    parameters = database.parameters
    names = {"NAME": "dbname", "HOST": "host", "PORT": "port", "USER": "user"}
    named = {key: str(parameters.get(name, "")) for key, name in names.items()}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "PASSWORD": parameters.get("password", ""),
        **named,
    }
