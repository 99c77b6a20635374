"""The lexer against the server's own parser: the same scripts, the same statements."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from sqlmigrator.core.script import LexError, split
from tests.core.server_parser import ServerParser
from tests.core.sqlgen import RULE_TABLE, ScriptGenerator
from tests.support import Database

DATA = Path(__file__).parent.parent / "data" / "sql"
# To the server, the data after COPY … FROM STDIN is no matter of syntax.
CORPUS = sorted(path for path in DATA.glob("*.sql") if not path.stem.startswith("error_copy"))
SOAK_SCRIPTS = 100_000
BATCH = 500


@pytest.fixture
def parser(database: Database) -> Iterator[ServerParser]:
    with database.connect() as connection:
        yield ServerParser(connection.pgconn)


def disagreements(parser: ServerParser, scripts: Iterable[bytes]) -> tuple[int, list[str]]:
    """How many scripts the server accepts, and where the lexer sees another thing in one.

    The server accepts a whole script if and only if split() does and each of its pieces is
    exactly one statement to the server; so the numbers of statements are equal as well.
    """
    accepted = 0
    found: list[str] = []
    cut: list[tuple[bytes, bool, list[bytes]]] = []
    for script in scripts:
        is_accepted = parser.accepts(script)
        accepted += is_accepted
        try:
            pieces = [script[piece.start : piece.end] for piece in split(script)]
        except LexError as error:
            if is_accepted:
                found.append(f"only the lexer refuses {script!r}: {error}")
        else:
            cut.append((script, is_accepted, pieces))
    complaints = iter(parser.complaints([piece for *_, pieces in cut for piece in pieces]))
    for script, is_accepted, pieces in cut:
        refused = [(piece, words) for piece in pieces if (words := next(complaints))]
        if is_accepted and refused:
            found.append(f"the server reads {script!r} as one, but not {refused[0]!r}")
        elif not is_accepted and not refused:
            found.append(f"the server refuses {script!r}, but none of {pieces!r}")
    return accepted, found


def scripts_of(seed: int, count: int) -> Iterator[bytes]:
    generator = ScriptGenerator(seed)
    return (generator.script() for _ in range(count))


def test_what_the_server_accepts_whole_it_accepts_statement_by_statement(
    parser: ServerParser,
) -> None:
    accepted, found = disagreements(parser, scripts_of(seed=1, count=2_000))
    assert found == []
    assert accepted > 400  # the generator must not drift into mere nonsense


def test_the_generator_writes_well_formed_scripts(parser: ServerParser) -> None:
    generator = ScriptGenerator(seed=2)
    scripts = [generator.well_formed().encode() for _ in range(300)]
    refused = [script for script in scripts if not parser.accepts(script)]
    assert len(refused) < 90, refused[:3]


def test_as_many_statements_as_the_server_runs(parser: ServerParser) -> None:
    parser.run(f"CREATE TEMP TABLE {RULE_TABLE} (a int)".encode())
    generator = ScriptGenerator(seed=3)
    for _ in range(300):
        statements = generator.harmless()
        script = generator.join(statements).encode()
        assert len(split(script)) == len(statements), script
        assert parser.count(script) == len(statements), script


def test_the_corpus_is_read_as_the_server_reads_it(parser: ServerParser) -> None:
    """In one test: a database for each file would take longer than all of them."""
    for path in CORPUS:
        script = path.read_bytes()
        if path.stem.startswith("error_"):
            assert disagreements(parser, [script]) == (0, []), path.stem
        elif b"\n\\." in script:
            pieces = [script[piece.start : piece.end] for piece in split(script)]
            assert parser.complaints(pieces) == [None] * len(pieces), path.stem
        else:
            assert disagreements(parser, [script]) == (1, []), path.stem


def test_the_checks_would_notice_a_wrong_cut(parser: ServerParser) -> None:
    assert parser.accepts(b"SELECT 1; SELECT 2")
    assert not parser.accepts(b"SELECT (1; SELECT 2)")
    assert not parser.accepts(b"SELECT 'a; SELECT 2")
    assert (
        parser.complaints([b"SELECT 1;", b"COMMIT", b"SELECT nowhere FROM nothing"]) == [None] * 3
    )
    multiple, wrong = parser.complaints([b"SELECT 1; SELECT 2", b"SELECT (1;"])
    assert multiple is not None
    assert "cannot insert multiple commands into a prepared statement" in multiple
    assert wrong is not None
    assert 'syntax error at or near ";"' in wrong


@pytest.mark.soak
def test_100_000_generated_scripts_without_a_disagreement(parser: ServerParser) -> None:
    total = 0
    for seed in range(SOAK_SCRIPTS // BATCH):
        accepted, found = disagreements(parser, scripts_of(seed + 1_000, BATCH))
        assert found == [], f"seed {seed + 1_000}"
        total += accepted
    print(f"{SOAK_SCRIPTS} scripts, {total} accepted by the server, 0 disagreements")  # noqa: T201
    assert total > SOAK_SCRIPTS // 5
