"""The SQL lexer: where each statement of a file starts and ends, by psql's own scanning rules.

The rules are those of PostgreSQL's `psqlscan.l` and of the manual's section 4.1 (lexical
structure), with `standard_conforming_strings` on. The scan runs on bytes: every token that
matters is ASCII and UTF-8 never hides an ASCII byte inside another character, so a large file
need not be decoded. Boring text is skipped by one regular expression; Python sees only what
can end a statement.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from enum import Enum
from typing import Final, NamedTuple

_LONGEST_EXCERPT: Final = 100_000
BOM: Final = b"\xef\xbb\xbf"


class LexError(ValueError):
    """The text cannot be split into statements; `offset` (bytes from 0) is where it went wrong."""

    def __init__(self, message: str, offset: int, *, meta_command: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.meta_command = meta_command


class Statement(NamedTuple):
    r"""One statement: `data[start:end]`, from its first token to its semicolon inclusive.

    The last one may lack the semicolon; it then ends with its last token. `word` is its first
    word in upper case. `copy_data` bounds the lines that follow a COPY … FROM STDIN, without the
    closing `\.` line.
    """

    start: int
    end: int
    word: str
    copy_data: tuple[int, int] | None = None


class Position(NamedTuple):
    """A place in a file: line and column count from 1, the column in characters."""

    line: int
    column: int
    text: str

    @property
    def excerpt(self) -> str | None:
        """The line as far as people need it; None for one that is too long to be read anyway."""
        return self.text[: self.column + 100] if len(self.text) <= _LONGEST_EXCERPT else None


# Up to Python 3.11.4 a possessive repeat of a group can lose its place (python/cpython#106052), so
# there an atomic group takes its part; it keeps every round in memory until it ends.
_OPEN, _CLOSE = (rb"(?:", rb")*+") if sys.version_info >= (3, 11, 5) else (rb"(?>(?:", rb")*)")


def _repeat(body: bytes) -> bytes:
    """Return the pattern for any number of `body`, without backtracking."""
    return _OPEN + body + _CLOSE


# Fragments, all possessive: no input can make them backtrack.
_WORD = rb"[A-Za-z_\x80-\xff][\w$\x80-\xff]*+"
_LINE_COMMENT = rb"--[^\n\r]*+"
# One level; deeper ones below.
_BLOCK_COMMENT = rb"/\*" + _repeat(rb"[^*/]++|\*(?!/)|/(?!\*)") + rb"\*/"
_ESCAPED = _repeat(rb"[^'\\]++|\\[\s\S]|''") + rb"'"
# E'…' goes on in E mode when only white space with a newline stands before the next quote.
_CONTINUED = _repeat(
    _repeat(rb"[ \t\f\v]|" + _LINE_COMMENT)
    + rb"[\n\r]"
    + _repeat(rb"\s|--[^\n\r]*+[\n\r]")
    + rb"'"
    + _ESCAPED
)
_E_STRING = _ESCAPED + _CONTINUED
_PLAIN_STRING = rb"'[^']*+" + _repeat(rb"''[^']*+") + rb"'"
# A quote opens a plain string unless a lone E stands right before it; $E is left to Python.
_STRING = (
    rb"(?:(?<![eE])|(?<=[\w\x80-\xff][eE]))"
    + _PLAIN_STRING
    + rb"|(?<=[^\w$\x80-\xff][eE])'"
    + _E_STRING
)
_SOLID = _STRING + rb"|\"[^\"]*+" + _repeat(rb"\"\"[^\"]*+") + rb"\"|-(?!-)|/(?!\*)|\$(?=\d)"
_DULL = _SOLID + rb"|" + _LINE_COMMENT + rb"|" + _BLOCK_COMMENT
_IN_PARENTHESES = rb"[^'\"$()/\-\\]++|" + _DULL
_GROUP = rb"\(" + _repeat(_IN_PARENTHESES) + rb"\)"
for _ in range(2):  # three levels of parentheses without Python; deeper ones are counted
    _GROUP = rb"\(" + _repeat(_IN_PARENTHESES + rb"|" + _GROUP) + rb"\)"
_RUN = re.compile(_repeat(rb"[^'\"$;()/\-\\]++|" + _DULL + rb"|" + _GROUP))
_RUN_IN_PARENTHESES = re.compile(_repeat(_IN_PARENTHESES + rb"|" + _GROUP))
# Stops before white space that a comment or the end may follow.
_SOLID_RUN = re.compile(
    _repeat(rb"[^\s'\"$;()/\-\\]++|\s++(?![/\-]|\Z)|" + _SOLID + rb"|" + _GROUP)
)
_BLANK = re.compile(_repeat(rb"\s++|" + _LINE_COMMENT + rb"|" + _BLOCK_COMMENT))
_BLANK_OR_EMPTY = re.compile(_repeat(rb"[\s;]++|" + _LINE_COMMENT + rb"|" + _BLOCK_COMMENT))
_SPACE = re.compile(rb"[\s;]*+")
_TO_LINE_END = re.compile(rb"[^\n\r]*+")
_FIRST_WORD = re.compile(_WORD)
_NESTED_COMMENT_PART = re.compile(rb"/\*|\*/")
_DOLLAR_TAG = re.compile(rb"\$(?:[A-Za-z_\x80-\xff][\w\x80-\xff]*+)?\$")
_NUMBER = re.compile(rb"\.?\d[\w\x80-\xff]*+(?:\.(?![A-Za-z_\x80-\xff])\w*+)?")
# CREATE [OR REPLACE] FUNCTION or PROCEDURE; a nested comment in between hides the second word.
_MAYBE_ROUTINE = re.compile(
    rb"CREATE"
    + _repeat(rb"\s++|" + _LINE_COMMENT + rb"|" + _BLOCK_COMMENT)
    + rb"(?:OR|FUNCTION|PROCEDURE|/)",
    re.IGNORECASE,
)
# What follows a column's label; no expression starts with any of these.
_AFTER_LABEL = re.compile(
    "[,;)]|FROM|INTO|WHERE|GROUP|HAVING|WINDOW|UNION|INTERSECT|EXCEPT|ORDER|LIMIT|OFFSET|FETCH"
    "|FOR|ON"
)
_IDENTIFIER_CHARACTERS = re.compile(rb"[\w$\x80-\xff]")
_REST_OF_IDENTIFIER = re.compile(rb"[\w$\x80-\xff]++")
_PLAIN_QUOTED = re.compile(_PLAIN_STRING)
_E_QUOTED = re.compile(rb"'" + _E_STRING)
_COPY_END = re.compile(rb"^\\\.[ \t]*\r?$", re.MULTILINE)
_REST_OF_LINE = re.compile(rb"[ \t\f\v\r]*+(?:--[^\n]*+)?(?:\n|\Z)")


class Kind(Enum):
    """The kinds of token that telling statements apart needs."""

    WORD = "word"
    QUOTED = "quoted identifier"
    STRING = "string"
    NUMBER = "number"
    SYMBOL = "symbol"


class Token(NamedTuple):
    """One token: `text` is upper case for a word, the content for quoted text and strings."""

    kind: Kind
    text: str
    start: int
    end: int

    @property
    def keyword(self) -> str:
        """The text of a word or a symbol, "" for a token that can be no keyword."""
        return self.text if self.kind in (Kind.WORD, Kind.SYMBOL) else ""


def skip_blank(data: bytes, position: int, *, semicolons: bool = False) -> int:
    """Return the offset of the next token: white space and comments, however nested, skipped."""
    blank = _BLANK_OR_EMPTY if semicolons else _BLANK
    while True:
        position = blank.match(data, position).end()  # type: ignore[union-attr]
        if not data.startswith(b"/*", position):
            return position
        position = _end_of_nested_comment(data, position)


def _end_of_nested_comment(data: bytes, start: int) -> int:
    depth = 0
    for part in _NESTED_COMMENT_PART.finditer(data, start):
        depth += 1 if part[0] == b"/*" else -1
        if depth == 0:
            return part.end()
    raise LexError("this comment is never closed", start)


def tokens(data: bytes, start: int, end: int) -> Iterator[Token]:
    """Yield the tokens of `data[start:end]` without comments. Raises LexError."""
    position = start
    while (position := skip_blank(data, position)) < end:
        first = data[position : position + 1]
        if first == b"'":
            token = Token(Kind.STRING, *_plain_string(data, position))
        elif first == b'"':
            close = _closing(data, position, b'"', "this quoted identifier is never closed")
            text = data[position + 1 : close - 1].replace(b'""', b'"')
            token = Token(Kind.QUOTED, text.decode(errors="replace"), position, close)
        elif first == b"$" and _DOLLAR_TAG.match(data, position):
            close = _end_of_dollar_quote(data, position)
            tag = data.index(b"$", position + 1) + 1
            text = data[tag : close - (tag - position)]
            token = Token(Kind.STRING, text.decode(errors="replace"), position, close)
        elif word := _FIRST_WORD.match(data, position):
            token = _word(data, position, word.end())
        elif number := _NUMBER.match(data, position):
            token = Token(Kind.NUMBER, number[0].decode(errors="replace"), position, number.end())
        else:
            token = Token(Kind.SYMBOL, first.decode(errors="replace"), position, position + 1)
        yield token
        position = token.end


def _word(data: bytes, start: int, end: int) -> Token:
    """A word; or, where it is only the prefix of a string (E'…', U&'…', B'…', X'…'), all of it."""
    text = data[start:end]
    if data.startswith(b"'", end) and text.upper() in (b"E", b"B", b"X", b"N"):
        if text.upper() == b"E":
            match = _E_QUOTED.match(data, end)
            if match is None:
                raise LexError("this string is never closed", start)
            content = data[end + 1 : match.end() - 1]
            return Token(Kind.STRING, content.decode(errors="replace"), start, match.end())
        content_text, _, close = _plain_string(data, end)
        return Token(Kind.STRING, content_text, start, close)
    return Token(Kind.WORD, text.decode(errors="replace").upper(), start, end)


def _plain_string(data: bytes, start: int) -> tuple[str, int, int]:
    close = _closing(data, start, b"'", "this string is never closed")
    text = data[start + 1 : close - 1].replace(b"''", b"'")
    return text.decode(errors="replace"), start, close


def _closing(data: bytes, start: int, quote: bytes, message: str) -> int:
    """Offset just after the quote that closes the one at `start`; a doubled quote is a part."""
    position = start + 1
    while True:
        position = data.find(quote, position) + 1
        if position == 0:
            raise LexError(message, start)
        if not data.startswith(quote, position):
            return position
        position += 1


def _end_of_dollar_quote(data: bytes, start: int) -> int:
    tag = _DOLLAR_TAG.match(data, start)
    assert tag is not None
    close = data.find(tag[0], tag.end())
    if close < 0:
        name = tag[0].decode(errors="replace")
        raise LexError(f"this dollar quote {name} is never closed", start)
    return close + len(tag[0])


def split(data: bytes) -> list[Statement]:
    """Split `data` (UTF-8 without BOM) into its statements.

    Only white space, comments, semicolons and COPY data stand between them. Raises LexError for
    text that no server would accept (an open quote or comment, a psql meta-command) or that
    could be cut off (COPY data without its end).
    """
    statements = []
    position = skip_blank(data, 0, semicolons=True)
    while position < len(data):
        word = _FIRST_WORD.match(data, position)
        first = word[0].decode(errors="replace").upper() if word else ""
        if first == "CREATE" and _MAYBE_ROUTINE.match(data, position):
            end = _end_of_create(data, position)
        else:
            end = _end_of_statement(data, position)
        copy_data = None
        if first == "COPY" and reads_stdin(data, position, end):
            copy_data = _copy_data(data, position, end)
        statements.append(Statement(position, end, first, copy_data))
        if copy_data is not None:
            end = data.find(b"\n", copy_data[1]) + 1 or len(data)
        position = skip_blank(data, end, semicolons=True)
    return statements


def _end_of_statement(data: bytes, start: int) -> int:
    position, depth, floor = start, 0, start
    last = start  # where the last run began, nested comments apart
    while True:
        run = _RUN_IN_PARENTHESES if depth else _RUN
        position = run.match(data, position).end()  # type: ignore[union-attr]
        byte = data[position : position + 1]
        if byte == b";":
            return position + 1
        if byte == b"":
            return _end_without_blank(data, last)
        if byte == b"(":
            depth += 1
            position += 1
        elif byte == b")":
            depth = max(0, depth - 1)
            position += 1
        else:
            position = floor = _end_of_interesting(data, position, floor)
        if byte != b"/":
            last = position


def _end_without_blank(data: bytes, start: int) -> int:
    """End of the last token at or after `start`, where the text ends without a semicolon."""
    position = start
    while True:
        position = _SOLID_RUN.match(data, position).end()  # type: ignore[union-attr]
        after = skip_blank(data, position)
        if after == len(data):
            return position
        position = after if after > position else position + 1


def _end_of_interesting(data: bytes, position: int, floor: int) -> int:
    """Skip what the fast run leaves to Python: dollars, open quotes, nested comments."""
    byte = data[position : position + 1]
    if byte == b"$":
        if _inside_identifier(data, position, floor):
            return _REST_OF_IDENTIFIER.match(data, position).end()  # type: ignore[union-attr]
        if not _DOLLAR_TAG.match(data, position):
            return position + 1
        return _end_of_dollar_quote(data, position)
    if byte == b"/":
        return _end_of_nested_comment(data, position)
    if byte == b"\\":
        raise LexError("a backslash command of psql", position, meta_command=True)
    if byte == b"'" and data[position - 1 : position] in (b"e", b"E") and position - 1 <= floor:
        # E'…' right at the start of the scan; or a plain string after an identifier like a$e.
        quoted = _E_QUOTED if position - 1 == floor else _PLAIN_QUOTED
        if match := quoted.match(data, position):
            return match.end()
    kind = "quoted identifier" if byte == b'"' else "string"
    raise LexError(f"this {kind} is never closed", position)


def _inside_identifier(data: bytes, dollar: int, floor: int) -> bool:
    """Whether the `$` continues an identifier (a$b); after a number or a symbol it does not."""
    start = dollar
    while start > floor and _IDENTIFIER_CHARACTERS.match(data, start - 1):
        start -= 1
    return start < dollar and _FIRST_WORD.match(data, start) is not None


def _end_of_create(data: bytes, start: int) -> int:
    """End of a CREATE statement, which may hold a routine body BEGIN ATOMIC … END with `;` in it.

    psql follows the same words (psqlscan.l, begin_depth), but takes every CASE and END for a
    keyword; the server's grammar also lets a column or a label be called so.
    """
    depth = 0
    previous: Token | None = None
    body = _Body()
    is_routine = False
    for index, token in enumerate(tokens(data, start, len(data))):
        if token.kind is Kind.WORD and index < 4 and token.text in ("FUNCTION", "PROCEDURE"):
            is_routine = True
        if is_routine and depth == 0:
            body.read(token, previous)
        if token.kind is Kind.SYMBOL:
            if token.text == "(":
                depth += 1
            elif token.text == ")":
                depth = max(0, depth - 1)
            elif token.text == ";" and depth == 0 and not body.is_open:
                return token.end
            elif token.text == "\\":
                raise LexError("a backslash command of psql", token.start, meta_command=True)
        previous = token
    return previous.end if previous else start


class _Body:
    """Whether a routine's body BEGIN ATOMIC … END is open, from its tokens outside parentheses."""

    def __init__(self) -> None:
        self.is_open = False
        self._cases = 0
        self._after_case = False

    def read(self, token: Token, previous: Token | None) -> None:
        if self._after_case:
            self._after_case = False
            self._cases += not _AFTER_LABEL.fullmatch(token.keyword)
        before = previous.keyword if previous else ""
        if token.kind is not Kind.WORD or before in (".", "AS"):
            return
        if not self.is_open:
            self.is_open = token.text == "ATOMIC" and before == "BEGIN"
        elif token.text == "CASE":
            self._after_case = True
        elif token.text == "END" and self._cases:
            self._cases -= 1
        elif token.text == "END":
            self.is_open = before not in (";", "ATOMIC")  # else it is a label: SELECT 1 end;


def reads_stdin(data: bytes, start: int, end: int) -> bool:
    """Whether the COPY statement reads FROM STDIN (outside its parentheses).

    FROM STDOUT means the same to the server (gram.y, copy_file_name).
    """
    depth = 0
    previous = ""
    for token in tokens(data, start, end):
        if token.kind is Kind.SYMBOL and token.text in "()":
            depth += 1 if token.text == "(" else -1
        elif token.kind is Kind.WORD and depth == 0:
            if token.text in ("STDIN", "STDOUT") and previous == "FROM":
                return True
            previous = token.text
        else:
            previous = ""
    return False


def _copy_data(data: bytes, start: int, end: int) -> tuple[int, int]:
    rest = _REST_OF_LINE.match(data, end)
    if rest is None:
        raise LexError("nothing may follow COPY … FROM STDIN; on its line", end)
    close = _COPY_END.search(data, rest.end())
    if close is None:
        raise LexError("the data of this COPY … FROM STDIN is not ended by a line \\.", start)
    return rest.end(), close.start()


def line_comments(data: bytes, start: int, end: int) -> Iterator[int]:
    """Yield the offsets of the `--` comments in the text between statements."""
    position = start
    while (position := _SPACE.match(data, position).end()) < end:  # type: ignore[union-attr]
        if data.startswith(b"--", position):
            yield position
            position = _TO_LINE_END.match(data, position).end()  # type: ignore[union-attr]
        elif data.startswith(b"/*", position):
            position = _end_of_nested_comment(data, position)
        else:
            position += 1  # the line that ends COPY data


def locate(data: bytes, offset: int) -> Position:
    """Return the line, the column and the line's text of the byte `offset` in `data`.

    Lines end with LF, CRLF or a lone CR, as psql counts them (libpq, reportErrorPosition).
    """
    if data[offset - 1 : offset + 1] == b"\r\n":
        offset -= 1
    start = max(data.rfind(b"\n", 0, offset), data.rfind(b"\r", 0, offset)) + 1
    line = _TO_LINE_END.match(data, start)[0]  # type: ignore[index]
    column = len(data[start:offset].decode(errors="replace")) + 1
    number = data.count(b"\n", 0, offset) + data.count(b"\r", 0, offset) + 1
    number -= data.count(b"\r\n", 0, offset)
    return Position(number, column, line.decode(errors="replace"))


def same_tokens(one: bytes, other: bytes) -> bool:
    """Whether two texts differ in comments and white space only. False where one cannot be read."""
    try:
        return _token_texts(one) == _token_texts(other)
    except LexError:
        return False


def _token_texts(data: bytes) -> list[tuple[Kind, bytes]]:
    data = data.removeprefix(BOM)
    return [(token.kind, data[token.start : token.end]) for token in tokens(data, 0, len(data))]
