"""The catalogue: stable ids, whole texts, and for each rule a folder that breaks it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sqlmigrator.core.files import discover
from sqlmigrator.core.findings import RULES, Finding, Rule, Severity, aimed_at
from sqlmigrator.core.history import (
    Action,
    AppliedRecord,
    Attempt,
    AttemptState,
    History,
    version_number,
)
from sqlmigrator.core.plan import Plan, PlanOptions
from sqlmigrator.core.planner import build_plan

IDS = [rule.id for rule in RULES]
ID = re.compile(r"sqlmigrator\.[EW]\d{3}")


def row(version: str, name: str, checksum: str | None = None) -> AppliedRecord:
    return AppliedRecord(version, name, version_number(version), checksum=checksum)


def attempt(*, alive: bool) -> Attempt:
    return Attempt(
        id=1,
        version="001",
        name="a",
        checksum=None,
        action=Action.APPLY,
        state=AttemptState.RUNNING,
        statement_done=1,
        statement_total=2,
        started_at=datetime(2025, 10, 10, tzinfo=UTC),
        alive=alive,
    )


@dataclass(frozen=True)
class Example:
    """A folder (name -> content), what is recorded, and the one finding's place in it."""

    files: Mapping[str, str]
    records: tuple[AppliedRecord, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    options: PlanOptions = field(default_factory=PlanOptions)
    place: str | None = None

    def plan(self, directory: Path) -> Plan:
        for name, content in self.files.items():
            (directory / name).parent.mkdir(exist_ok=True)
            (directory / name).write_text(content)
        folder = discover(directory, needs_content=lambda _: True)
        history = History("public", True, self.records, self.attempts)
        return build_plan(folder, history, self.options)


OK = "SELECT 1;\n"
# What breaks each rule, and nothing but it.
BAD = {
    "E001": Example({"001_a.sql": OK, "001_b.sql": OK}, place="001_a.sql"),
    "E002": Example({"37_x.sql": OK}, place="37_x.sql"),
    "E003": Example({"001_a.sql": OK}, (row("001", "other"),), place="001_a.sql"),
    "E004": Example({"002_b.sql": OK}, (row("001", "b"),), place="002_b.sql"),
    "E005": Example({"001_a.sql": OK}, (row("001", "a", "c" * 64),), place="001_a.sql"),
    "E006": Example({"001_a.sql": OK, "002_b.sql": OK}, (row("002", "b"),), place="001_a.sql"),
    "E007": Example({"002_b.sql": OK}, (row("001", "a"), row("002", "b"))),
    "E008": Example({"001_a.sql": OK + "VACUUM;\n"}, place="001_a.sql:2:1"),
    "E009": Example({"001_a.sql": OK + "  COMMIT;\n"}, place="001_a.sql:2:3"),
    "E010": Example({"001_a.sql": "\\restrict x\n" + OK}, place="001_a.sql:1:1"),
    "E011": Example({"001_a.sql": OK + "-- \0\n"}, place="001_a.sql:2:4"),
    "E012": Example({"001_a.sql": "-- nothing\n"}, place="001_a.sql"),
    "E013": Example({"001_a.sql": "-- sqlmigrator: fast\n" + OK}, place="001_a.sql:1:1"),
    "E014": Example({"001_a.sql": OK}, attempts=(attempt(alive=False),), place="001_a.sql"),
    "E015": Example({"001_a.sql": OK + "SELECT 'open;\n"}, place="001_a.sql:2:8"),
    "E016": Example({"001_a.sql": "DISCARD ALL;\n"}, place="001_a.sql:1:1"),
    "E017": Example(
        {"001_a.sql": "-- sqlmigrator: depends=app.0001_initial\n" + OK},
        options=PlanOptions(django_migrations=frozenset()),
        place="001_a.sql",
    ),
    "E018": Example({"001_a.sql": OK}, (row("001", "a"), row("1", "b"))),
    "W001": Example({"001_a.sql": OK, "003_c.sql": OK}),
    "W002": Example({"001_a.sql": OK}, (row("001", "a"), row("002", "b"))),
    "W003": Example({"MARK_ALL_APPLIED.sql": OK}, place="MARK_ALL_APPLIED.sql"),
    "W004": Example({"old/001_a.sql": OK}, place="old"),
    "W005": Example({}, (row("037b", "x"),)),
    "W006": Example({"001_a.sql": OK + "DELETE FROM schema_migrations;\n"}, place="001_a.sql:2:1"),
    "W007": Example({"001_a.down.sql": OK}, place="001_a.down.sql"),
    "W008": Example({"001_a.sql": OK}, attempts=(attempt(alive=True),), place="001_a.sql"),
}
# The nearest thing that breaks no rule.
GOOD = {
    "E001": Example({"001_a.sql": OK, "002_b.sql": OK}),
    "E002": Example({"037_x.sql": OK}),
    "E003": Example({"001_a.sql": OK}, (row("001", "001_a.sql"),)),
    "E004": Example({"001_b.sql": OK, "002_b.sql": OK}, (row("001", "b"),)),
    "E005": Example({"001_a.sql": OK}, (row("001", "a", None),)),
    "E006": Example(
        {"001_a.sql": "-- sqlmigrator: out-of-order\n" + OK, "002_b.sql": OK}, (row("002", "b"),)
    ),
    "E007": Example(
        {"002_b.sql": OK},
        (row("001", "a"), row("002", "b")),
        options=PlanOptions(ignore_missing=True),
    ),
    "E008": Example({"001_a.sql": "-- sqlmigrator: no-transaction\nVACUUM;\n"}),
    "E009": Example({"001_a.sql": "BEGIN;\n" + OK + "COMMIT;\n"}),
    "E010": Example({"001_a.sql": "SELECT '\\restrict x';\n"}),
    "E011": Example({"001_a.sql": "\ufeffSELECT 'é😀';\n"}),
    "E012": Example({"001_a.sql": "-- something\nSELECT 1"}),
    "E013": Example({"001_a.sql": "-- sqlmigrator: lock_timeout=2s\n" + OK}),
    "E014": Example({"001_a.sql": OK}, (row("001", "a"),), attempts=(attempt(alive=False),)),
    "E015": Example({"001_a.sql": "SELECT 'it''s closed';\n"}),
    "E016": Example({"001_a.sql": "DISCARD TEMP;\n"}),
    "E017": Example(
        {"001_a.sql": "-- sqlmigrator: depends=app.0001_initial\n" + OK},
        options=PlanOptions(django_migrations=frozenset({("app", "0001_initial")})),
    ),
    "E018": Example({"001_a.sql": OK}, (row("001", "a"), row("1", "001_a"))),
    "W001": Example({"001_a.sql": OK, "20250101120000_c.sql": OK}),
    "W002": Example({"001_a.sql": OK, "002_b.sql": OK}, (row("001", "a"), row("002", "b"))),
    "W003": Example({"README.md": "text"}),
    "W004": Example({"old/README.md": "text"}),
    "W005": Example({"037_x.sql": OK}, (row("037", "x"),)),
    "W006": Example({"001_a.sql": "INSERT INTO schema_migrations VALUES ('001', 'a');\n"}),
    "W007": Example({"001_a.sql": OK, "001_a.down.sql": OK}),
    "W008": Example({"001_a.sql": OK}),
}


def found_in(example: Example, directory: Path) -> tuple[Finding, ...]:
    return example.plan(directory).findings


def test_ids_are_unique_and_well_formed() -> None:
    assert len(set(IDS)) == len(IDS)
    assert all(ID.fullmatch(id_) for id_ in IDS)


def test_names_are_unique() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)


@pytest.mark.parametrize("kind", ["E", "W"])
def test_ids_are_numbered_without_gaps_so_that_none_is_used_twice(kind: str) -> None:
    numbers = [int(id_[-3:]) for id_ in IDS if id_[-4] == kind]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("rule", RULES, ids=IDS)
def test_every_rule_has_all_its_texts(rule: Rule) -> None:
    """A name for headings; whole sentences for the rest, which the documentation is made of."""
    assert rule.name == rule.name.strip() != ""
    assert not rule.name.endswith(".")
    for text in (rule.condition, rule.effect, rule.way_out):
        assert text == text.strip()
        assert text.endswith(".")
        assert len(text) > 10


@pytest.mark.parametrize("rule", RULES, ids=IDS)
def test_the_id_says_how_severe_a_rule_is(rule: Rule) -> None:
    expected = Severity.ERROR if ".E" in rule.id else Severity.WARNING
    assert rule.severity is expected
    assert Finding(rule=rule, message="", hint="").is_error is (expected is Severity.ERROR)


@pytest.mark.parametrize("examples", [BAD, GOOD])
def test_every_rule_has_its_examples(examples: Mapping[str, Example]) -> None:
    assert [f"sqlmigrator.{id_}" for id_ in examples] == IDS


@pytest.mark.parametrize("id_", BAD)
def test_the_bad_example_breaks_its_rule_and_no_other(id_: str, tmp_path: Path) -> None:
    example = BAD[id_]
    findings = found_in(example, tmp_path)
    assert [finding.rule.id for finding in findings] == [f"sqlmigrator.{id_}"]
    place = f"{tmp_path / example.place}" if example.place else None
    assert findings[0].location == place


@pytest.mark.parametrize("id_", GOOD)
def test_the_good_example_breaks_no_rule(id_: str, tmp_path: Path) -> None:
    assert found_in(GOOD[id_], tmp_path) == ()


@pytest.mark.parametrize("id_", BAD)
def test_every_finding_says_what_and_what_to_do(id_: str, tmp_path: Path) -> None:
    (finding,) = found_in(BAD[id_], tmp_path)
    assert finding.message == finding.message.strip() != ""
    assert finding.hint.endswith(".")


@pytest.mark.parametrize(
    ("file", "line", "column", "location"),
    [
        (None, None, None, None),
        (None, 1, 1, None),
        ("a.sql", None, None, "a.sql"),
        ("a.sql", 3, None, "a.sql:3"),
        ("a.sql", 3, 7, "a.sql:3:7"),
    ],
)
def test_location(
    file: str | None, line: int | None, column: int | None, location: str | None
) -> None:
    finding = Finding(rule=RULES[0], message="", hint="", file=file, line=line, column=column)
    assert finding.location == location


@pytest.mark.parametrize(
    ("text", "aimed"),
    [
        ("`manage.py migrate_apply` applies", "`manage.py migrate_apply --database 'a b'` applies"),
        ("`manage.py migrate auth`", "`manage.py migrate --database 'a b' auth`"),
        ("`manage.py migrate_rollback 003 --database …`",) * 2,
        ("`manage.py check`, manage.py migrate_apply, migrate_apply",) * 2,
    ],
)
def test_commands_are_aimed_at_a_database(text: str, aimed: str) -> None:
    assert aimed_at("a b", text) == aimed
    assert aimed_at("default", text) == text
