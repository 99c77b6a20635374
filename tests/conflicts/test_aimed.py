"""Commands in hints name the database that they are about: pasted, they must not reach another."""

import json
from collections.abc import Callable

import pytest

from tests.conflicts.test_checks import found
from tests.support import Database, Folder, Result

Call = Callable[..., Result]


@pytest.fixture
def missing(production: Database, folder: Folder, call: Call) -> Folder:
    """002 is applied in both databases and gone, 003 is pending."""
    folder.with_tracking().write("002_a.sql", "CREATE TABLE a ();")
    assert call("migrate_apply", "--all-databases", "-v0").code == 0
    (folder.path / "002_a.sql").unlink()
    folder.write("003_b.sql", "-- Then `manage.py migrate_check`.\nSELECT 1;")
    return folder


def test_findings_in_text_and_json(missing: Folder, call: Call) -> None:
    hint = "`manage.py migrate_mark --database production --unapplied 002 --reason …`"
    out = call("migrate_check", "--database", "production").out
    assert hint in " ".join(out.split())
    document = json.loads(call("migrate_check", "--database", "production", "--format=json").out)
    assert hint in document["databases"][0]["findings"][0]["hint"]
    assert "--database" not in call("migrate_check").out


def test_what_comes_next_and_errors(missing: Folder, call: Call) -> None:
    options = ("--database", "production", "--ignore-missing")
    out = call("migrate_check", *options).out
    assert "Next: `manage.py migrate_apply --database production` applies them." in out
    missing.write("004_c.sql", "SELECT 1/0;")
    err = call("migrate_apply", *options).err
    assert "Correct the file, then run `manage.py migrate_apply --database production`." in err
    err = call("migrate_mark", *options[:2], "--unapplied", "099", "--reason", "x").err
    assert "`manage.py migrate_status --database production` lists the versions." in err


def test_system_checks(missing: Folder, production: Database) -> None:
    for number in ("004", "005"):
        production.execute(f"INSERT INTO schema_migrations (version, name) VALUES ({number}, 'x')")
    missing.write("006_c.sql", "SELECT 1;")
    hints = {check: hint for check, _, hint in found(["production"])}
    assert "`manage.py migrate_mark --database production --unapplied" in (hints["E007"] or "")


def test_the_sql_of_a_plan_stays_as_it_is(missing: Folder, call: Call) -> None:
    out = call("migrate_apply", "--plan", "--database", "production", "--ignore-missing").out
    assert "-- Then `manage.py migrate_check`.\n" in out
