"""Every JSON document is one that docs/report.schema.json describes, and the schema is strict."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from sqlmigrator.core.findings import RULES, Severity
from sqlmigrator.core.history import Action, AttemptState
from sqlmigrator.core.plan import ChecksumState, State
from tests.support import ROOT, Database, Folder, Result

Call = Callable[..., Result]

SCHEMA = json.loads((ROOT / "docs" / "report.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(
    SCHEMA, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
)


def document(result: Result) -> dict[str, Any]:
    """The document in `result`, validated."""
    read: dict[str, Any] = json.loads(result.out)
    VALIDATOR.validate(read)
    return read


def make_trouble(folder: Folder, database: Database, call: Call) -> None:
    """A file or a row in every state, findings with and without lines, an open attempt."""
    folder.with_tracking()
    folder.write("002_a.sql", "CREATE TABLE a (id int);")
    folder.write("003_gone.sql", "CREATE TABLE gone (id int);")
    folder.write("005_b.sql", "-- sqlmigrator: no-transaction\nCREATE TABLE b (id int);\nSELECT x;")
    assert call("migrate_apply").code == 1
    folder.path.joinpath("003_gone.sql").unlink()
    folder.write("002_a.sql", "CREATE TABLE a (id int, more int);")
    folder.write("004_x.sql", "SELECT 1;")
    folder.write("004_y.sql", "SELECT 1;")
    folder.write("006_z.sql", "\nVACUUM;")
    folder.write("037b_x.sql", "SELECT 1;")
    folder.write("notes.sql", "SELECT 1;")
    database.execute(
        "INSERT INTO schema_migrations (version, name) VALUES ('900', 'newer'), ('12b', 'odd')"
    )


def test_migrate_check_and_migrate_status(database: Database, folder: Folder, call: Call) -> None:
    make_trouble(folder, database, call)
    checked = document(call("migrate_check", "--format", "json"))
    status = document(call("migrate_status", "--format", "json"))
    assert (checked["command"], status["command"]) == ("migrate_check", "migrate_status")
    (plan,) = checked["databases"]
    assert {entry["state"] for entry in plan["migrations"]} >= {
        "applied", "out of order", "changed", "conflicting", "missing", "ahead",
    }  # fmt: skip
    assert [e["interrupted"] for e in plan["migrations"] if e["version"] == "005"] == [
        "interrupted at statement 2 of 2"
    ]
    assert {finding["id"] for finding in plan["findings"]} >= {
        "sqlmigrator.E001", "sqlmigrator.E002", "sqlmigrator.E005", "sqlmigrator.E007",
        "sqlmigrator.E014", "sqlmigrator.W002", "sqlmigrator.W003", "sqlmigrator.W005",
    }  # fmt: skip
    assert not plan["ok"]


def test_the_journal(database: Database, folder: Folder, call: Call) -> None:
    make_trouble(folder, database, call)
    call("migrate_mark", "--unapplied", "003", "--reason", "gone for good")
    history = document(call("migrate_status", "--history", "--format", "json"))
    attempts = history["databases"][0]["attempts"]
    assert [(a["version"], a["action"], a["state"]) for a in attempts] == [
        ("003", "mark", "done"),
        ("005", "apply", "failed"),
        ("003", "apply", "done"),
        ("002", "apply", "done"),
        ("001", "apply", "done"),
    ]


def test_all_databases(
    production: Database, folder: Folder, call: Call, cut_off: Callable[[str], None]
) -> None:
    folder.with_tracking()
    read = document(call("migrate_check", "--all-databases", "--format", "json"))
    assert [entry["database"] for entry in read["databases"]] == ["default", "production"]
    cut_off("production")
    result = call("migrate_check", "--all-databases", "--format", "json")
    assert result.code == 3
    assert [entry["database"] for entry in document(result)["databases"]] == ["default"]


def test_the_console_script(folder: Folder) -> None:
    folder.write("001_a.sql", "")
    done = subprocess.run(
        [sys.executable, "-m", "sqlmigrator", "check", folder.path, "--format", "json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    read = document(Result(done.returncode, done.stdout, done.stderr))
    assert read["command"] == "sqlmigrator check"
    assert read["databases"][0]["database"] is None


def test_the_schema_lists_every_state() -> None:
    definitions = SCHEMA["$defs"]
    migration = definitions["migration"]["properties"]
    attempt = definitions["attempt"]["properties"]
    assert set(migration["state"]["enum"]) == set(State)
    assert set(migration["checksum_state"]["enum"]) == {*ChecksumState, None}
    assert set(attempt["action"]["enum"]) == set(Action)
    assert set(attempt["state"]["enum"]) == set(AttemptState)
    assert set(definitions["finding"]["properties"]["severity"]["enum"]) == set(Severity)
    for rule in RULES:
        VALIDATOR.evolve(schema=definitions["finding"]["properties"]["id"]).validate(rule.id)


@pytest.mark.parametrize(
    "change",
    [{"version": 2}, {"command": "migrate_apply"}, {"more": 1}, {"databases": [{"database": "x"}]}],
)
def test_the_schema_refuses_what_is_not_documented(
    database: Database, folder: Folder, call: Call, change: dict[str, Any]
) -> None:
    read = document(call("migrate_check", "--format", "json"))
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(read | change)
