"""What a migration file says: its statements, its directives, and what is wrong with it."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import dropwhile, islice
from typing import Final

from sqlmigrator.core import findings as rules
from sqlmigrator.core.directives import Directives, occurrences, parse_directives
from sqlmigrator.core.findings import Finding, Rule
from sqlmigrator.core.script import BOM, Kind, LexError, Statement, Token, locate, split, tokens
from sqlmigrator.core.statements import (
    Control,
    changes_reading,
    drops_lock,
    first_tokens,
    is_reset_all,
    mentions,
    outside_transaction,
    transaction_control,
)

_CHUNK: Final = 1 << 24
_NO_TRANSACTION: Final = "-- sqlmigrator: no-transaction"
_HISTORY_TABLE: Final = re.compile(rb"schema_migrations\b", re.IGNORECASE)
_VERSION_LIKE: Final = re.compile(r"\d{3,}[a-z]*")
_WRITING_WORDS: Final = frozenset(
    ("INSERT", "UPDATE", "DELETE", "TRUNCATE", "COPY", "MERGE", "ALTER", "DROP")
)
_BEFORE_TARGET: Final = frozenset(("INTO", "FROM", "TABLE", "ONLY", "IF", "EXISTS"))
_READ_ONLY: Final = re.compile(r"\bREAD ONLY\b")


@dataclass(frozen=True)
class Content:
    """A file's text, ready to be sent.

    `data` is UTF-8 without BOM, of the same length and lines as the file; a BEGIN … COMMIT pair
    around all of it is blanked out and its options (ISOLATION LEVEL …) stand in
    `begin_options`, because the runner's own transaction takes its place. `original` is the text
    as it stands in the file.
    """

    original: bytes
    data: bytes
    statements: tuple[Statement, ...]
    directives: Directives
    begin_options: str
    findings: tuple[Finding, ...]

    @cached_property
    def needs_statement_path(self) -> bool:
        """Whether its statements cannot share a message: COPY data follows, or RESET ALL is used."""
        return any(
            statement.copy_data is not None or is_reset_all(self.data, statement)
            for statement in self.statements
        )

    @cached_property
    def names_history_table(self) -> bool:
        """Whether schema_migrations stands anywhere in it, comments and strings included."""
        return _names_history_table(self.data)

    def text(self, statement: Statement) -> bytes:
        return self.data[statement.start : statement.end]


def read_content(data: bytes, *, file: str, number: int | None) -> Content:
    """Read `data`, the bytes of `file`; `number` is its version, whose own history row it may
    write. Never raises for what the file holds: that becomes findings.
    """
    return _Reader(data, file, number).read()


class _Reader:
    """Collects the findings of one file while reading it."""

    def __init__(self, data: bytes, file: str, number: int | None) -> None:
        self.data = data.removeprefix(BOM)
        self.bom_length = len(data) - len(self.data)
        self.file = file
        self.number = number
        self.findings: list[Finding] = []

    def read(self) -> Content:
        statements: list[Statement] = []
        directives = Directives()
        begin_options = ""
        original = self.data
        if self._is_text():
            try:
                statements = split(self.data)
            except LexError as error:
                self._add_lex_error(error)
            else:
                directives = self._directives(statements)
                if statements:
                    statements, begin_options = self._unwrap(statements, directives)
                    self._check_statements(statements, directives)
                    self._check_history_writes(statements)
                else:
                    hint = "Write the migration, or delete the file."
                    self._add(rules.EMPTY, "the file holds no statement", hint, None)
        return Content(
            original, self.data, tuple(statements), directives, begin_options, tuple(self.findings)
        )

    def _add(self, rule: Rule, message: str, hint: str, offset: int | None) -> None:
        place = locate(self.data, offset) if offset is not None else None
        self.findings.append(
            Finding(
                rule=rule,
                message=message,
                hint=hint,
                file=self.file,
                line=place.line if place else None,
                column=place.column if place else None,
                excerpt=place.excerpt if place else None,
            )
        )

    def _is_text(self) -> bool:
        nul = self.data.find(b"\0")
        if nul >= 0:
            place = nul + self.bom_length
            message = f"a NUL byte at offset {place}: the server would stop reading there"
            self._add(rules.UNREADABLE, message, "Remove the byte; save the file as UTF-8.", nul)
            return False
        bad = _first_invalid_utf8(self.data)
        if bad is not None:
            place = bad + self.bom_length
            message = f"not UTF-8: byte 0x{self.data[bad]:02x} at offset {place}"
            hint = "Convert the file: iconv -f LATIN1 -t UTF-8 (or from its encoding)."
            self._add(rules.UNREADABLE, message, hint, bad)
        return bad is None

    def _add_lex_error(self, error: LexError) -> None:
        if error.meta_command:
            word = self.data[error.offset :].split(None, 1)[0].decode(errors="replace")[:40]
            hint = "Remove the line; the migration is sent to the server, not to psql."
            message = f"{word} is a command of psql"
            self._add(rules.META_COMMAND, message, hint, error.offset)
        else:
            self._add(rules.SYNTAX, error.message, "Correct the line shown.", error.offset)

    def _directives(self, statements: list[Statement]) -> Directives:
        header_end = statements[0].start if statements else len(self.data)
        directives, errors = parse_directives(self.data[:header_end])
        for error in errors:
            self._add(rules.BAD_DIRECTIVE, error.message, error.hint, error.offset)
        hint = "Move it up, above the first statement."
        for offset, text in self._late_directives(statements):
            message = f"directive {text!r} stands after the first statement and has no effect"
            self._add(rules.BAD_DIRECTIVE, message, hint, offset)
        return directives

    def _late_directives(self, statements: list[Statement]) -> Iterator[tuple[int, str]]:
        if not statements or b"sqlmigrator" not in self.data[statements[0].start :]:
            return
        for before, after in zip(statements, [*statements[1:], None], strict=True):
            start = before.copy_data[1] if before.copy_data else before.end
            yield from occurrences(self.data, start, after.start if after else len(self.data))

    def _unwrap(
        self, statements: list[Statement], directives: Directives
    ) -> tuple[list[Statement], str]:
        """Take out one BEGIN … COMMIT around everything: blanked, so that offsets stay."""
        controls = [
            (index, control)
            for index, statement in enumerate(statements)
            if (control := transaction_control(self.data, statement)) is not None
        ]
        last = len(statements) - 1
        wrapped = controls == [(0, Control.BEGIN), (last, Control.COMMIT)] and last > 0
        if not wrapped or directives.no_transaction:
            for index, _ in controls:
                self._refuse_control(statements[index], directives)
            return statements, ""
        options = self._begin_options(statements[0])
        if last == 1:
            hint = "Write the migration, or delete the file."
            self._add(rules.EMPTY, "nothing stands between BEGIN and COMMIT", hint, 0)
        if _READ_ONLY.search(options):
            message = "BEGIN READ ONLY: the history row could not be written"
            hint = "Remove READ ONLY."
            self._add(rules.TRANSACTION_CONTROL, message, hint, statements[0].start)
        for statement in (statements[0], statements[-1]):
            blank = re.sub(rb"[^\r\n]", b" ", self.data[statement.start : statement.end])
            self.data = self.data[: statement.start] + blank + self.data[statement.end :]
        return statements[1:-1], options

    def _begin_options(self, statement: Statement) -> str:
        words = [token.text for token in first_tokens(self.data, statement)][1:]
        if words and words[0] in ("WORK", "TRANSACTION"):
            words = words[1:]
        return " ".join(words)

    def _refuse_control(self, statement: Statement, directives: Directives) -> None:
        words = " ".join(token.text for token in first_tokens(self.data, statement, 4))
        if directives.no_transaction:
            hint = "Remove it: in a no-transaction file the runner commits each statement."
        else:
            hint = (
                "Remove it: the runner wraps the file in one transaction. A single BEGIN; … "
                "COMMIT; around the whole file, or SAVEPOINT, is fine."
            )
        message = f"{words} is the file's own transaction control"
        self._add(rules.TRANSACTION_CONTROL, message, hint, statement.start)

    def _check_statements(self, statements: list[Statement], directives: Directives) -> None:
        unlocks = mentions(self.data, b"pg_advisory_unlock_all")
        for statement in statements:
            looks_so = unlocks or statement.word == "DISCARD"
            if looks_so and drops_lock(self.data, statement):
                hint = "Remove it; the runner resets the session after every file."
                message = "this statement drops the migration lock"
                self._add(rules.DROPS_LOCK, message, hint, statement.start)
                continue
            if why := changes_reading(self.data, statement):
                hint = "Remove the statement; write strings with backslashes as E'…'."
                self._add(rules.SYNTAX, why, hint, statement.start)
            outside = outside_transaction(self.data, statement)
            if outside is not None and not directives.no_transaction:
                hint = f"Put it in a file of its own that starts with `{_NO_TRANSACTION}`."
                message = f"{outside.kind} cannot run in a transaction"
                self._add(rules.NEEDS_NO_TRANSACTION, message, hint, statement.start)

    def _check_history_writes(self, statements: list[Statement]) -> None:
        if not _names_history_table(self.data):
            return
        for statement in statements:
            if _HISTORY_TABLE.search(self.data, statement.start, statement.end):
                written = _history_write(self.data, statement, self.number)
                if written:
                    hint = "Remove it; `manage.py migrate_mark` edits the history, with a journal."
                    self._add(rules.WRITES_HISTORY, written, hint, statement.start)


def _names_history_table(data: bytes) -> bool:
    return mentions(data, b"schema_migrations") and _HISTORY_TABLE.search(data) is not None


def _first_invalid_utf8(data: bytes) -> int | None:
    """Offset of the first byte that is not UTF-8, or None; decodes in pieces to save memory."""
    if data.isascii():
        return None
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(data), _CHUNK):
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(data[start : start + _CHUNK], final=start + _CHUNK >= len(data))
        except UnicodeDecodeError as error:
            return start - pending + error.start
    return None


def _history_write(data: bytes, statement: Statement, own: int | None) -> str | None:
    """What the statement does to rows of schema_migrations that are not the file's own."""
    found = list(tokens(data, statement.start, statement.end))
    words = [token.text.upper() for token in found]
    verb = _verb_on_history(words)
    if verb == "ALTER":
        if "ROW" in words and "SECURITY" in words:
            return "changes row level security of schema_migrations: rows may be hidden"
        return None
    if verb == "COPY" and "FROM" not in words:
        return None
    if verb != "INSERT":
        return f"{verb} changes schema_migrations" if verb else None
    return _insert_into_history(found, own)


def _verb_on_history(words: list[str]) -> str | None:
    """What is done to schema_migrations: INSERT, UPDATE, …; in a WITH, at any depth."""
    for index, verb in enumerate(words if words[0] == "WITH" else words[:1]):
        if verb not in _WRITING_WORDS:
            continue
        target = list(islice(dropwhile(_BEFORE_TARGET.__contains__, words[index + 1 :]), 3))
        name = target[2:] if target[1:2] == ["."] else target[:1]
        if name == ["SCHEMA_MIGRATIONS"]:
            return verb
    return None


def _insert_into_history(found: list[Token], own: int | None) -> str | None:
    versions = [
        token.text
        for token in found
        if token.kind is Kind.STRING and _VERSION_LIKE.fullmatch(token.text)
    ]
    others = [v for v in versions if not v.isdigit() or int(v) != own]
    if others:
        listed = ", ".join(others[:5]) + (" …" if len(others) > 5 else "")
        return f"marks other versions as applied: {listed}"
    numbers = [token.text for token in found if token.kind is Kind.NUMBER]
    is_own = versions or any(number.isdigit() and int(number) == own for number in numbers)
    return None if is_own else "inserts rows into schema_migrations"
