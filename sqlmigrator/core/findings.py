"""The catalogue of findings: every rule once, with a stable id that checks, JSON and docs share."""

from __future__ import annotations

import re
import shlex
from enum import StrEnum
from typing import Final, NamedTuple

DEFAULT_DATABASE: Final = "default"
_COMMAND: Final = re.compile(r"(`manage\.py migrate(?:_\w+)?)(?=[ `])(?![^`]* --database)")


class Severity(StrEnum):
    """How much a finding weighs: an error stops `migrate_apply`, a warning does not."""

    ERROR = "error"
    WARNING = "warning"


class Rule(NamedTuple):
    """One thing that can be wrong. The docs' troubleshooting page is rendered from these."""

    id: str
    name: str
    condition: str
    effect: str
    way_out: str

    @property
    def severity(self) -> Severity:
        return Severity.ERROR if self.id.startswith("sqlmigrator.E") else Severity.WARNING


class Finding(NamedTuple):
    """A rule met in one place. `line` and `column` count from 1, in characters."""

    rule: Rule
    message: str
    hint: str
    version: str | None = None
    file: str | None = None
    line: int | None = None
    column: int | None = None
    excerpt: str | None = None
    details: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    @property
    def is_error(self) -> bool:
        return self.rule.severity is Severity.ERROR

    @property
    def location(self) -> str | None:
        """file[:line[:column]], or None where the finding is about no file."""
        if self.file is None or self.line is None:
            return self.file
        return f"{self.file}:{self.line}" + (f":{self.column}" if self.column else "")


def aimed_at(database: str, text: str) -> str:
    """`text` with --database in the commands it names: pasted, they must not reach another.

    For words of ours only: SQL and what the server says stay as they are.
    """
    if database == DEFAULT_DATABASE:
        return text
    return _COMMAND.sub(lambda found: f"{found[1]} --database {shlex.quote(database)}", text)


def _rule(number: str, name: str, condition: str, effect: str, way_out: str) -> Rule:
    return Rule(f"sqlmigrator.{number}", name, condition, effect, way_out)


DUPLICATE_VERSION: Final = _rule(
    "E001",
    "duplicate version",
    "Two or more files carry the same version number (003 and 0003 are the same).",
    "Nobody can say which of them ran, or in which order they would: nothing is applied.",
    "`manage.py migrate_renumber` proposes which file keeps the number and renames the others.",
)
MISNAMED_FILE: Final = _rule(
    "E002",
    "misnamed migration",
    "A file starts with digits and holds SQL, but is not named NNN_descriptive_name.sql.",
    "Such a file would silently never run, so nothing is applied while it is there.",
    "`manage.py migrate_renumber` proposes a name; or move it out of the folder.",
)
APPLIED_UNDER_OTHER_NAME: Final = _rule(
    "E003",
    "applied under another name",
    "The history has this version under a name that no file in the folder has.",
    "Either the file was renamed after it was applied, or another file with this number ran here.",
    "Rename the file back, or accept it with `manage.py migrate_mark --applied VERSION --reason …`.",
)
RENUMBERED: Final = _rule(
    "E004",
    "renumbered after it was applied",
    "A pending file's name or checksum is recorded under another version that has no such file.",
    "It would run a second time.",
    "`manage.py migrate_renumber --record` moves the history row to the new number.",
)
CHANGED: Final = _rule(
    "E005",
    "changed after it was applied",
    "The file's checksum is not the one recorded when it was applied.",
    "The folder no longer says what this database holds; a fresh database would get other SQL.",
    "Restore the file and put the change into a new migration, or accept it with "
    "`manage.py migrate_mark --accept-checksum VERSION --reason …`.",
)
OUT_OF_ORDER: Final = _rule(
    "E006",
    "out of order",
    "A pending version is lower than one that is already applied.",
    "It would run after migrations that were written later, unlike on a fresh database.",
    "Give it the next free number with `manage.py migrate_renumber FILE --write`, or allow it: "
    "`--allow-out-of-order`, the directive "
    "`-- sqlmigrator: out-of-order`, or the setting ALLOW_OUT_OF_ORDER.",
)
MISSING: Final = _rule(
    "E007",
    "applied, but its file is missing",
    "The history has a version below the highest local one, and no file has it.",
    "A fresh database would lack what this one holds.",
    "Restore the file from version control, remove the row with `manage.py migrate_mark "
    "--unapplied VERSION --reason …`, or pass `--ignore-missing`.",
)
NEEDS_NO_TRANSACTION: Final = _rule(
    "E008",
    "cannot run in a transaction",
    "A statement such as CREATE INDEX CONCURRENTLY or VACUUM is in a transactional migration.",
    "PostgreSQL refuses it inside a transaction (SQLSTATE 25001).",
    "Put the statement in a file of its own with the directive `-- sqlmigrator: no-transaction`.",
)
TRANSACTION_CONTROL: Final = _rule(
    "E009",
    "own transaction control",
    "A file holds BEGIN, COMMIT, ROLLBACK or the like, other than one pair around all of it.",
    "Half of the file could persist without a history row.",
    "Remove the statement: the runner wraps each file in one transaction.",
)
META_COMMAND: Final = _rule(
    "E010",
    "psql meta-command",
    "A line starts with a backslash command, which only psql understands.",
    "PostgreSQL would answer with a syntax error.",
    "Remove the line (a pg_dump file: also its \\restrict and \\unrestrict lines).",
)
UNREADABLE: Final = _rule(
    "E011",
    "unreadable file",
    "A file cannot be read, is not UTF-8, or holds a NUL byte.",
    "The server would run only a part of it, or other characters than were written.",
    "Save the file as UTF-8 text.",
)
EMPTY: Final = _rule(
    "E012",
    "no statement",
    "A file is empty or holds only comments.",
    "It would be recorded as applied although nothing was done.",
    "Write the migration, or delete the file.",
)
BAD_DIRECTIVE: Final = _rule(
    "E013",
    "directive not understood",
    "A `-- sqlmigrator:` comment is unknown, malformed, given twice, or after the first statement.",
    "The migration would run without what its author asked for.",
    "Correct the directive, and keep it in the comments before the first statement.",
)
INTERRUPTED: Final = _rule(
    "E014",
    "interrupted half-way",
    "A no-transaction migration stopped after some of its statements had been done.",
    "A run from the start would do those statements twice.",
    "`manage.py migrate_apply --resume` checks the statement in doubt and goes on; or settle it "
    "by hand and say so with `manage.py migrate_mark`.",
)
SYNTAX: Final = _rule(
    "E015",
    "syntax error",
    "The server's parser, or the SQL lexer, does not accept the file.",
    "The migration would fail.",
    "Correct the statement at the line shown.",
)
DROPS_LOCK: Final = _rule(
    "E016",
    "drops the migration lock",
    "A file holds DISCARD ALL or calls pg_advisory_unlock_all().",
    "Another runner could start in the middle of this one.",
    "Remove the statement; the runner resets the session after every file.",
)
DEPENDENCY: Final = _rule(
    "E017",
    "dependency not met",
    "The file's `depends` directive names a Django migration that is not applied here.",
    "The tables it needs are not there yet.",
    "Run `manage.py migrate` for that app first.",
)
RECORD_UNUSABLE: Final = _rule(
    "E018",
    "version recorded twice",
    "Two history rows stand for the same version number under different names.",
    "Nobody can say which of them is true.",
    "Remove the wrong one with `manage.py migrate_mark --unapplied VERSION_NAME --reason …`.",
)
GAP: Final = _rule(
    "W001",
    "gap in the numbers",
    "A number between the lowest and the highest version belongs to no file and no row.",
    "Often harmless: a branch that was never merged.",
    "None needed.",
)
AHEAD: Final = _rule(
    "W002",
    "database is ahead",
    "The history has versions above the highest file.",
    "An older checkout meets a newer database.",
    "Deploy the newer code.",
)
STRAY_FILE: Final = _rule(
    "W003",
    "not a migration",
    "A .sql file in the folder does not start with a version.",
    "It is never run.",
    "Move it out of the migrations folder, or name it NNN_descriptive_name.sql.",
)
SUBFOLDER: Final = _rule(
    "W004",
    "SQL in a sub-folder",
    "A folder below the migrations folder holds .sql files.",
    "They are never run.",
    "Move the files up, or out.",
)
ROW_WITHOUT_NUMBER: Final = _rule(
    "W005",
    "row without a number",
    "A history row's version is no number (037b).",
    "It matches no file.",
    "`migrate_renumber --write`, then `--record`, mend file and row; where no file is left, "
    "`migrate_mark --unapplied VERSION --reason …` removes it.",
)
WRITES_HISTORY: Final = _rule(
    "W006",
    "writes to schema_migrations",
    "A file inserts, changes or protects rows of the history that are not its own.",
    "History and files can then disagree.",
    "Remove the statement and use `manage.py migrate_mark`.",
)
REVERSE_WITHOUT_FILE: Final = _rule(
    "W007",
    "reverse file without its migration",
    "A NNN_name.down.sql has no NNN_name.sql beside it.",
    "It is never used.",
    "Rename it to match its migration, or delete it.",
)
RUNNING: Final = _rule(
    "W008",
    "being applied now",
    "Another session is applying this migration at this moment.",
    "What you see may change.",
    "Wait for it to finish.",
)

RULES: Final[tuple[Rule, ...]] = tuple(
    value for value in list(globals().values()) if isinstance(value, Rule)
)
