"""The lexer: a corpus with golden files, properties, positions, and inputs that grow.

Write the golden files anew with REGENERATE_GOLDEN=1 and read the difference.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sqlmigrator.core.script import (
    Kind,
    LexError,
    Position,
    line_comments,
    locate,
    reads_stdin,
    skip_blank,
    split,
    tokens,
)
from tests.core.sqlgen import ScriptGenerator

DATA = Path(__file__).parent.parent / "data" / "sql"
CORPUS = sorted(DATA.glob("*.sql"))
IDS = [path.stem for path in CORPUS]


def texts(script: str) -> list[str]:
    data = script.encode()
    return [data[piece.start : piece.end].decode() for piece in split(data)]


def words(script: str) -> list[str]:
    return [token.text for token in tokens(script.encode(), 0, len(script.encode()))]


# The corpus


def described(data: bytes) -> Any:
    """What the golden file of `data` holds."""
    try:
        statements = split(data)
    except LexError as error:
        place = locate(data, error.offset)
        return {
            "error": error.message,
            "meta_command": error.meta_command,
            "line": place.line,
            "column": place.column,
        }
    return [
        {
            "text": data[piece.start : piece.end].decode(),
            "word": piece.word,
            "line": locate(data, piece.start).line,
            "copy_data": data[slice(*piece.copy_data)].decode() if piece.copy_data else None,
        }
        for piece in statements
    ]


@pytest.mark.parametrize("path", CORPUS, ids=IDS)
def test_corpus_is_split_as_its_golden_file_says(path: Path) -> None:
    golden = path.with_suffix(".golden.json")
    found = described(path.read_bytes())
    if os.environ.get("REGENERATE_GOLDEN") == "1":
        golden.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", newline="\n")
    assert found == json.loads(golden.read_text())


def test_every_golden_file_has_its_script() -> None:
    stems = {path.name.removesuffix(".golden.json") for path in DATA.glob("*.golden.json")}
    assert stems == set(IDS)


UNIX = [path for path in CORPUS if b"\r" not in path.read_bytes()]


@pytest.mark.parametrize("path", UNIX, ids=[path.stem for path in UNIX])
def test_corpus_is_split_alike_with_crlf(path: Path) -> None:
    data = path.read_bytes()
    unix, windows = described(data), described(data.replace(b"\n", b"\r\n"))
    as_text = json.dumps(windows).replace("\\r\\n", "\\n")
    assert json.loads(as_text) == unix


# Properties

FRAGMENTS = (
    "SELECT 1",
    "select 'a;b'",
    "SELECT 'it''s'",
    "SELECT E'\\';'",
    "SELECT E'a'\n'\\';'",
    "SELECT U&'\\0061;'",
    "SELECT $$;$$",
    "SELECT $a$ $$ ; $a$",
    "DO $x$ BEGIN NULL; END; $x$",
    'SELECT 1 AS "a;""b"',
    "SELECT (1, (2, (3, (4, (5;)))))",
    "CREATE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; SELECT 2)",
    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN a THEN 1 END; END",
    "CREATE PROCEDURE p() AS $$ BEGIN; END $$",
    "SELECT a$b$c, x$$",
    "SELECT 1 /* ; /* ' */ */ + 2",
    "SELECT 1 -- ; '\n + 2",
    "COPY t FROM 'stdin'",
    "INSERT INTO é VALUES ('😀;')",
    "BEGIN",
    "END",
)
BLANKS = (" ", "\n", "\t", "\r\n", "\r", "\f", ";", "-- ; ' $$\n", "/* ; ' /* $$ */ */", "--\n", "")
COPIES = ("COPY t FROM stdin;\n1;\n\\.\n", "copy a (b) from STDIN with csv; -- c\n'\"$$\n\\.\n")
fragment = st.sampled_from(FRAGMENTS)
blank = st.lists(st.sampled_from(BLANKS), max_size=4).map("".join)
pieces = st.lists(st.one_of(st.tuples(fragment, blank), st.sampled_from(COPIES)), max_size=8)


@given(pieces, blank, st.booleans())
def test_pieces_and_gaps_join_to_the_script(
    parts: list[Any], header: str, has_final_semicolon: bool
) -> None:
    """The statements, the blanks between them and the COPY data are the whole script."""
    wanted = [part[0] if isinstance(part, tuple) else part.split(";")[0] for part in parts]
    script = header
    for part in parts:
        script += f"{part[0]};{part[1]}\n" if isinstance(part, tuple) else f"\n{part}"
    if not has_final_semicolon and parts and isinstance(parts[-1], tuple):
        script = script[: script.rindex(";" + parts[-1][1])]
    data = script.encode()
    statements = split(data)
    assert [data[s.start : s.end].decode().removesuffix(";") for s in statements] == wanted
    assert_covers(data)


def assert_covers(data: bytes) -> None:
    """What split() leaves out is blank: gaps hold white space, comments, `;` and COPY data."""
    statements = split(data)
    joined, position = b"", 0
    for statement in statements:
        gap = data[position : statement.start]
        assert skip_blank(gap, 0, semicolons=True) == len(gap)
        joined += gap + data[statement.start : statement.end]
        position = statement.end
        if statement.copy_data:
            start, end = statement.copy_data
            rest_of_line = data[position:start]
            assert skip_blank(rest_of_line, 0) == len(rest_of_line)
            close = data.find(b"\n", end) + 1 or len(data)
            assert data[end:close].rstrip() == b"\\."
            joined += rest_of_line + data[start:end] + data[end:close]
            position = close
    tail = data[position:]
    assert skip_blank(tail, 0, semicolons=True) == len(tail)
    assert joined + tail == data


def assert_tokens_agree(data: bytes) -> None:
    """tokens() sees each statement as one: blanks between its tokens, one `;`, at its end."""
    for statement in split(data):
        found = list(tokens(data, statement.start, statement.end))
        assert found, statement
        assert found[0].start == statement.start
        assert found[-1].end == statement.end
        depth, position = 0, statement.start
        for token in found:
            assert skip_blank(data, position) == token.start
            position = token.end
            depth += {"(": 1, ")": -1 if depth else 0}.get(token.keyword, 0)
            if token.keyword == ";" and depth == 0 and statement.word != "CREATE":
                assert token.end == statement.end
        ends_with_semicolon = found[-1].keyword == ";" and depth == 0
        assert ends_with_semicolon or skip_blank(data, statement.end) == len(data)


@given(st.integers(0, 2**32))
@settings(max_examples=400)
def test_tokens_agree_with_split_on_generated_scripts(seed: int) -> None:
    data = ScriptGenerator(seed).script()
    try:
        split(data)
    except LexError:
        return
    assert_covers(data)
    assert_tokens_agree(data)


NASTY = st.lists(
    st.sampled_from(
        [
            *(b"'", b'"', b"$", b"$$", b"$a$", b"--", b"/*", b"*/", b";", b"(", b")", b"\\", b"E'"),
            *(b"e", b"a", b"1", b".", b"\n", b"\r", b" ", b"\xff", b"\xc3", b"\0", b"$E'", b"\\."),
            *(b"create function ", b" begin atomic ", b" end", b" case ", b"copy t from stdin;"),
        ]
    ),
    max_size=30,
).map(b"".join)


@given(st.one_of(st.binary(max_size=200), NASTY))
@settings(max_examples=600)
def test_any_bytes_are_split_or_refused_with_a_lex_error(data: bytes) -> None:
    try:
        split(data)
    except LexError as error:
        refused: LexError | None = error
    else:
        refused = None
        assert_covers(data)
        assert_tokens_agree(data)
    if refused:
        assert 0 <= refused.offset < len(data)
        assert locate(data, refused.offset).line >= 1


# Single cases, each named after what would break


def test_words_that_begin_statements_are_upper_case_and_empty_for_symbols() -> None:
    assert [piece.word for piece in split(b"select 1; (VALUES (1)); E'x'")] == ["SELECT", "", "E"]


@pytest.mark.parametrize(
    ("script", "wanted"),
    [
        ("SELECT a$$b$; SELECT 1", ["SELECT a$$b$;", "SELECT 1"]),
        ("SELECT a$b$$c$$; SELECT 1", ["SELECT a$b$$c$$;", "SELECT 1"]),
        ("SELECT 1$$;$$", ["SELECT 1$$;$$"]),
        ("SELECT a.b$$;$$;$$", ["SELECT a.b$$;", "$$;$$"]),
        ("E'\\';'; SELECT 1", ["E'\\';';", "SELECT 1"]),
        ("DO $$x$$E'\\';'; SELECT 1", ["DO $$x$$E'\\';';", "SELECT 1"]),
        ("SELECT a$e'\\'; SELECT 1", ["SELECT a$e'\\';", "SELECT 1"]),
        ("SELECT 1 -- tail", ["SELECT 1"]),
        ("SELECT 1 /* /* tail */ */  ", ["SELECT 1"]),
        ("SELECT 1 - /* in */ 2 -- tail", ["SELECT 1 - /* in */ 2"]),
        ("SELECT (1 -- open\n", ["SELECT (1"]),
        ("CREATE TABLE t (a int) -- tail", ["CREATE TABLE t (a int)"]),
        ("CREATE FUNCTION f() RETURN 1 -- tail", ["CREATE FUNCTION f() RETURN 1"]),
        ("SELECT 1); SELECT 2", ["SELECT 1);", "SELECT 2"]),
    ],
)
def test_statements_end_where_the_server_ends_them(script: str, wanted: list[str]) -> None:
    assert texts(script) == wanted


def test_a_string_that_mentions_keywords_is_no_keyword_in_a_routine_body() -> None:
    script = (
        "CREATE FUNCTION f() RETURNS text BEGIN ATOMIC SELECT ';' end; SELECT '.' ; END; SELECT 1"
    )
    assert len(texts(script)) == 2


@pytest.mark.parametrize(
    ("script", "message", "offset"),
    [
        (b"SELECT 'a", "this string is never closed", 7),
        (b"SELECT 'it''s;", "this string is never closed", 7),
        (b"SELECT E'a\\'", "this string is never closed", 8),
        (b"E'a\\'", "this string is never closed", 1),
        (b"SELECT (1, 'a", "this string is never closed", 11),
        (b'SELECT "a""', "this quoted identifier is never closed", 7),
        (b"SELECT $a$ $b$", "this dollar quote $a$ is never closed", 7),
        (b"SELECT /* /* */", "this comment is never closed", 7),
        (b"SELECT 1; /* /* */", "this comment is never closed", 10),
        (b"CREATE FUNCTION f() AS 'a", "this string is never closed", 23),
        (b"CREATE FUNCTION f() AS E'a", "this string is never closed", 23),
        (b'CREATE FUNCTION "f', "this quoted identifier is never closed", 16),
        (b"CREATE FUNCTION f() AS $$", "this dollar quote $$ is never closed", 23),
        (
            b"COPY t FROM stdin;\n1",
            "the data of this COPY … FROM STDIN is not ended by a line \\.",
            0,
        ),
        (b"COPY t FROM stdin; x\n", "nothing may follow COPY … FROM STDIN; on its line", 18),
    ],
)
def test_what_cannot_be_split_is_refused_at_its_offset(
    script: bytes, message: str, offset: int
) -> None:
    with pytest.raises(LexError) as caught:
        split(script)
    assert (caught.value.message, caught.value.offset) == (message, offset)
    assert not caught.value.meta_command


@pytest.mark.parametrize("script", [b"\\restrict x", b"SELECT 1 \\g", b"CREATE FUNCTION f() \\g"])
def test_a_backslash_outside_strings_is_a_command_of_psql(script: bytes) -> None:
    with pytest.raises(LexError, match=r"^a backslash command of psql$") as caught:
        split(script)
    assert caught.value.meta_command
    assert caught.value.offset == script.index(b"\\")


def test_copy_data_is_bounded_by_the_lines_after_it_and_before_its_end() -> None:
    data = b"COPY t FROM stdin;\n1\n2\n\\.\nSELECT 1"
    copy, select = split(data)
    assert copy.copy_data == (19, 23)
    assert data[19:23] == b"1\n2\n"
    assert data[select.start :] == b"SELECT 1"


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("COPY t FROM STDIN", True),
        ("COPY t FROM stdout", True),  # gram.y: the server takes both for the client
        ("COPY t (a, b) FROM STDIN WITH (FORMAT csv)", True),
        ('COPY "from" FROM /* x */ STDIN', True),
        ("COPY t TO STDOUT", False),
        ("COPY t FROM 'stdin'", False),
        ("COPY t FROM PROGRAM 'stdin'", False),
        ("COPY (SELECT * FROM stdin) TO STDOUT", False),
        ('COPY t FROM "stdin"', False),
    ],
)
def test_reads_stdin(statement: str, expected: bool) -> None:
    assert reads_stdin(statement.encode(), 0, len(statement)) is expected


def test_tokens_carry_kind_and_content() -> None:
    data = b"""Sel "a""b" 'it''s' E'\\'x' U&'u' N'n' B'01' $t$d$t$ 1.5 .5 1. x.end $1 + /*c*/ ("""
    found = [(token.kind, token.text) for token in tokens(data, 0, len(data))]
    assert found == [
        (Kind.WORD, "SEL"),
        (Kind.QUOTED, 'a"b'),
        (Kind.STRING, "it's"),
        (Kind.STRING, "\\'x"),
        (Kind.WORD, "U"),
        (Kind.SYMBOL, "&"),
        (Kind.STRING, "u"),
        (Kind.STRING, "n"),
        (Kind.STRING, "01"),
        (Kind.STRING, "d"),
        (Kind.NUMBER, "1.5"),
        (Kind.NUMBER, ".5"),
        (Kind.NUMBER, "1."),
        (Kind.WORD, "X"),
        (Kind.SYMBOL, "."),
        (Kind.WORD, "END"),
        (Kind.SYMBOL, "$"),
        (Kind.NUMBER, "1"),
        (Kind.SYMBOL, "+"),
        (Kind.SYMBOL, "("),
    ]


def test_tokens_stop_at_the_end_they_are_given() -> None:
    assert words("a; b") == ["A", ";", "B"]
    assert [token.text for token in tokens(b"a; b", 0, 2)] == ["A", ";"]


def test_keyword_is_empty_for_what_can_be_none() -> None:
    found = [token.keyword for token in tokens(b"end \"end\" 'end' 1 ;", 0, 19)]
    assert found == ["END", "", "", "", ";"]


def test_line_comments_are_found_between_statements_but_not_in_block_comments() -> None:
    data = b"-- a\n  ; /* \n-- b\n/* */ */ -- c\r-- d"
    assert [data[at : at + 4] for at in line_comments(data, 0, len(data))] == [
        b"-- a",
        b"-- c",
        b"-- d",
    ]
    assert list(line_comments(data, 0, 5)) == [0]


@pytest.mark.parametrize(
    ("data", "at", "expected"),
    [
        (b"", 0, Position(1, 1, "")),
        (b"ab\ncd\n", 0, Position(1, 1, "ab")),
        (b"ab\ncd\n", 2, Position(1, 3, "ab")),
        (b"ab\ncd\n", 3, Position(2, 1, "cd")),
        (b"ab\ncd\n", 6, Position(3, 1, "")),
        (b"ab\r\ncd\r\n", 2, Position(1, 3, "ab")),
        (b"ab\r\ncd\r\n", 3, Position(1, 3, "ab")),
        (b"ab\r\ncd\r\n", 5, Position(2, 2, "cd")),
        (b"ab\rcd\ref", 7, Position(3, 2, "ef")),
        ("é😀x\n".encode(), 6, Position(1, 3, "é😀x")),
        ("a\n名前 x".encode(), 9, Position(2, 4, "名前 x")),
    ],
)
def test_locate_counts_lines_and_characters_from_one(
    data: bytes, at: int, expected: Position
) -> None:
    assert locate(data, at) == expected


# Growth: nothing may take more than linear time

GROWING = {
    "dollars in one identifier": b"$a",
    "lone dollars": b"$ ",
    "tags that never end": b"$a-",
    "parameters": b"$1,",
    "dollar quotes": b"$a$;$a$",
    "open parentheses": b"(",
    "closing parentheses": b")",
    "parentheses around dollars": b"(a,(b,$$x$$)),",
    "open parentheses with strings": b"('a',",
    "semicolons in parentheses": b"(a;",
    "quotes": b"'",
    "double quotes": b'"',
    "E strings": b" E'\\''",
    "E strings that may go on": b"E'a' \n --x\n",
    "E after a dollar": b"a$E'x' ",
    "block comments": b"/*/**/*/",
    "open comments": b"/*",
    "almost comments": b"/ * - ",
    "line comments": b"--\n",
    "white space": b" ",
    "semicolons": b";",
    "statements": b"a;",
    "routines": b"create function f();",
    "routine bodies": b"create function f() begin atomic ",
    "cases": b"create function f() begin atomic select case when ",
    "COPY": b"copy t from stdin;\n\\.\n",
    "almost the end of COPY data": b"copy t from stdin;\n\\.x\n",
    "carriage returns": b"a\r",
}


def seconds(data: bytes) -> float:
    start = time.process_time()
    try:
        for statement in split(data):
            for _ in tokens(data, statement.start, statement.end):
                pass
    except LexError:
        pass
    return time.process_time() - start


@pytest.mark.parametrize("unit", GROWING.values(), ids=GROWING.keys())
def test_time_grows_with_the_length_and_not_its_square(unit: bytes) -> None:
    """Sixteen times the input may take 64 times the time, far from the 256 of a square."""
    prefix = b"select a" if unit == b"$a" else b""
    small = min(seconds(prefix + unit * 250) for _ in range(3))
    large = min(seconds(prefix + unit * 4_000) for _ in range(2))
    assert large < max(0.2, 64 * small)


def test_a_data_file_of_5_mb_is_split_in_a_moment() -> None:
    row = b"INSERT INTO t (a, b) VALUES (1, 'some text; here', now(), E'it\\'s', \"x\".y - 3);\n"
    many = row * (5_000_000 // len(row))
    one = b"INSERT INTO t VALUES " + b",\n".join([b"(1, 'some; text', 12, '2020-01-01')"] * 140_000)
    copy = b"COPY t FROM stdin;\n" + b"1\tsome text; 'here\n" * 260_000 + b"\\.\n"
    for data, count in ((many, len(many) // len(row)), (one, 1), (copy, 1)):
        start = time.process_time()
        assert len(split(data)) == count
        assert time.process_time() - start < 2  # 0.05 to 0.3 s on an idle machine
