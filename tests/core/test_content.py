"""What is wrong with a file, and where; and what of it is sent."""

import pytest

from sqlmigrator.core import findings as rules
from sqlmigrator.core.content import Content, read_content
from sqlmigrator.core.directives import Directives
from sqlmigrator.core.findings import Finding

FILE = "migrations/003_x.sql"
NO_TRANSACTION = "-- sqlmigrator: no-transaction\n"


def read(data: str | bytes, number: int | None = 3) -> Content:
    raw = data.encode() if isinstance(data, str) else data
    return read_content(raw, file=FILE, number=number)


def only(content: Content) -> Finding:
    assert len(content.findings) == 1, content.findings
    return content.findings[0]


def sent(content: Content) -> list[str]:
    return [content.text(statement).decode() for statement in content.statements]


def test_a_sound_file_has_statements_and_no_findings() -> None:
    content = read("-- header\nCREATE TABLE t (a int);\nCREATE INDEX i ON t (a)\n")
    assert content.findings == ()
    assert sent(content) == ["CREATE TABLE t (a int);", "CREATE INDEX i ON t (a)"]
    assert content.directives == Directives()
    assert content.begin_options == ""
    assert not content.needs_statement_path


# Bytes


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_a_nul_byte_is_an_error_with_its_offset_in_the_file(bom: bytes) -> None:
    content = read(bom + b"SELECT 1;\nSEL\0ECT 2;\n")
    finding = only(content)
    assert finding.rule is rules.UNREADABLE
    assert finding.message == (
        f"a NUL byte at offset {13 + len(bom)}: the server would stop reading there"
    )
    assert finding.hint == "Remove the byte; save the file as UTF-8."
    assert (finding.file, finding.line, finding.column) == (FILE, 2, 4)
    assert finding.location == f"{FILE}:2:4"
    assert content.statements == ()


@pytest.mark.parametrize(
    ("data", "byte", "offset", "line", "column"),
    [
        (b"SELECT 'caf\xe9';", 0xE9, 11, 1, 12),
        (b"SELECT 1;\n-- \xc3\xa9\xff", 0xFF, 15, 2, 5),
        (b"-- cut off \xf0\x9f\x98", 0xF0, 11, 1, 12),
        (b"-- a surrogate \xed\xa0\x80", 0xED, 15, 1, 16),
        (b"-- too long \xc0\xaf", 0xC0, 12, 1, 13),
        (b"-- too high \xf4\x90\x80\x80", 0xF4, 12, 1, 13),
        (b"\xef\xbb\xbf-- \xe9", 0xE9, 6, 1, 4),
    ],
)
def test_invalid_utf8_is_an_error_with_the_byte_and_its_offset(
    data: bytes, byte: int, offset: int, line: int, column: int
) -> None:
    finding = only(read(data))
    assert finding.rule is rules.UNREADABLE
    assert finding.message == f"not UTF-8: byte 0x{byte:02x} at offset {offset}"
    assert finding.hint == "Convert the file: iconv -f LATIN1 -t UTF-8 (or from its encoding)."
    assert (finding.line, finding.column) == (line, column)


def test_invalid_utf8_is_found_beyond_the_first_chunk_and_on_its_border() -> None:
    chunk = 1 << 24
    whole = b"-" * (chunk - 1) + "é".encode() + b"\n" * 10
    assert read(whole).findings[0].rule is rules.EMPTY
    broken = b"-" * (chunk - 1) + b"\xc3" + b"\n"
    assert only(read(broken)).message == f"not UTF-8: byte 0xc3 at offset {chunk - 1}"


def test_utf16_is_told_as_what_the_server_would_choke_on() -> None:
    finding = only(read("SELECT 1;".encode("utf-16-le")))
    assert finding.message == "a NUL byte at offset 1: the server would stop reading there"


def test_a_bom_is_stripped_and_positions_do_not_count_it() -> None:
    content = read(b"\xef\xbb\xbfSELECT 1;\nVACUUM;")
    assert content.data == b"SELECT 1;\nVACUUM;"
    assert (only(content).line, only(content).column) == (2, 1)


def test_crlf_is_kept_and_lines_are_counted() -> None:
    content = read(b"SELECT '\r\n';\r\n  VACUUM;\r\n")
    assert content.data == b"SELECT '\r\n';\r\n  VACUUM;\r\n"
    finding = only(content)
    assert (finding.line, finding.column, finding.excerpt) == (3, 3, "  VACUUM;")


@pytest.mark.parametrize(
    "data", [b"", b"\xef\xbb\xbf", b" \r\n", b";;\n;", b"-- only\n/* comments; */ ;"]
)
def test_a_file_without_a_statement_is_an_error(data: bytes) -> None:
    finding = only(read(data))
    assert finding.rule is rules.EMPTY
    assert finding.message == "the file holds no statement"
    assert finding.hint == "Write the migration, or delete the file."
    assert finding.location == FILE


# Syntax and psql


def test_an_open_string_is_a_syntax_error_at_its_quote() -> None:
    finding = only(read("SELECT 1;\n  SELECT 'é it''s open;\n"))
    assert finding.rule is rules.SYNTAX
    assert finding.message == "this string is never closed"
    assert finding.hint == "Correct the line shown."
    assert (finding.line, finding.column) == (2, 10)
    assert finding.excerpt == "  SELECT 'é it''s open;"


def test_the_excerpt_of_an_endless_line_is_cut() -> None:
    assert only(read("SELECT '" + "x" * 10_000)).excerpt == "SELECT '" + "x" * 100


@pytest.mark.parametrize(
    ("script", "command", "line", "column"),
    [
        ("--\n\\restrict abc\nSELECT 1;\n", "\\restrict", 2, 1),
        ("SELECT 1 \\gset\n", "\\gset", 1, 10),
        ("SELECT 1 \\;\n", "\\;", 1, 10),
        ("\\" + "x" * 100, "\\" + "x" * 39, 1, 1),
    ],
)
def test_a_meta_command_of_psql_is_named(script: str, command: str, line: int, column: int) -> None:
    finding = only(read(script))
    assert finding.rule is rules.META_COMMAND
    assert finding.message == f"{command} is a command of psql"
    assert finding.hint == "Remove the line; the migration is sent to the server, not to psql."
    assert (finding.line, finding.column) == (line, column)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("SET standard_conforming_strings = off", "standard_conforming_strings must stay on"),
        ("SET client_encoding = 'LATIN1'", "client_encoding must stay UTF8, as the file is"),
    ],
)
def test_settings_that_change_how_the_text_is_read_are_refused(
    statement: str, message: str
) -> None:
    finding = only(read(f"SELECT 1;\n{statement};"))
    assert finding.rule is rules.SYNTAX
    assert finding.message == message
    assert finding.hint == "Remove the statement; write strings with backslashes as E'…'."
    assert finding.line == 2


# Directives


def test_directives_stand_above_the_first_statement() -> None:
    content = read("-- a\n-- sqlmigrator: no-transaction\n\nVACUUM;")
    assert content.directives == Directives(no_transaction=True)
    assert content.findings == ()


def test_a_bad_directive_is_an_error_at_its_line() -> None:
    finding = only(read("-- a\n  -- sqlmigrator: notransaction\nSELECT 1;"))
    assert finding.rule is rules.BAD_DIRECTIVE
    assert finding.message == "unknown directive 'notransaction'"
    assert finding.hint == "Did you mean `no-transaction`?"
    assert (finding.line, finding.column) == (2, 3)


@pytest.mark.parametrize(
    ("script", "line"),
    [
        ("SELECT 1;\n-- sqlmigrator: lock_timeout=1s\nSELECT 2;", 2),
        ("SELECT 1;\n-- sqlmigrator: lock_timeout=1s\n", 2),
        ("SELECT 1\n-- sqlmigrator: lock_timeout=1s\n", 2),
        ("SELECT 1; /*\n */ -- sqlmigrator: lock_timeout=1s\n", 2),
        ("COPY t FROM stdin;\n\\.\n-- sqlmigrator: lock_timeout=1s", 3),
    ],
)
def test_a_directive_after_the_first_statement_has_no_effect_and_is_an_error(
    script: str, line: int
) -> None:
    content = read(script)
    finding = only(content)
    assert finding.rule is rules.BAD_DIRECTIVE
    assert finding.message == (
        "directive 'lock_timeout=1s' stands after the first statement and has no effect"
    )
    assert finding.hint == "Move it up, above the first statement."
    assert finding.line == line
    assert content.directives.lock_timeout_ms is None


@pytest.mark.parametrize(
    "script",
    [
        "SELECT '\n-- sqlmigrator: nonsense\n';",
        "SELECT $$\n-- sqlmigrator: nonsense\n$$;",
        "SELECT 1;\n/*\n-- sqlmigrator: nonsense\n*/",
        "COPY t FROM stdin;\n-- sqlmigrator: nonsense\n\\.\n",
    ],
)
def test_strings_block_comments_and_copy_data_hold_no_directives(script: str) -> None:
    assert read(script).findings == ()


# Transaction control


@pytest.mark.parametrize(
    ("begin", "end", "options"),
    [
        ("BEGIN;", "COMMIT;", ""),
        ("begin;", "end;", ""),
        ("BEGIN WORK;", "COMMIT WORK;", ""),
        ("START TRANSACTION;", "COMMIT", ""),
        ("BEGIN;", "COMMIT AND NO CHAIN;", ""),
        (
            "BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE;",
            "END TRANSACTION;",
            "ISOLATION LEVEL SERIALIZABLE",
        ),
        (
            "start transaction isolation level repeatable read, read write, not deferrable;",
            "COMMIT;",
            "ISOLATION LEVEL REPEATABLE READ , READ WRITE , NOT DEFERRABLE",
        ),
        ("BEGIN /* a ; */ READ -- b ;\n WRITE;", "COMMIT -- c\n;", "READ WRITE"),
    ],
)
def test_one_pair_around_the_whole_file_is_taken_out(begin: str, end: str, options: str) -> None:
    """Blanked, so that all offsets and lines stay; its options are the runner's."""
    before, inside, after = "-- é\n", "\nCREATE TABLE t (a int);\nSELECT '\n';\n", "\n-- the end\n"
    script = before + begin + inside + end + after
    content = read(script)
    assert content.findings == ()
    assert content.begin_options == options
    assert sent(content) == ["CREATE TABLE t (a int);", "SELECT '\n';"]
    assert len(content.data) == len(script.encode())
    assert content.data.count(b"\n") == script.count("\n")
    assert b"COMMIT" not in content.data.upper().replace(b"-- C", b"")
    first = content.statements[0]
    assert content.data.index(b"CREATE TABLE") == first.start == script.encode().index(b"CREATE")


def test_savepoints_inside_the_pair_and_without_it_are_allowed() -> None:
    inside = "SAVEPOINT a; SELECT 1; ROLLBACK TO a; RELEASE a;"
    assert read(inside).findings == ()
    assert read(f"BEGIN; {inside} COMMIT;").findings == ()


def test_a_directive_above_the_pair_counts_and_one_inside_does_not() -> None:
    content = read("-- sqlmigrator: lock_timeout=1s\nBEGIN;\nSELECT 1;\nCOMMIT;")
    assert content.directives.lock_timeout_ms == 1_000
    assert content.findings == ()
    finding = only(read("BEGIN;\n-- sqlmigrator: lock_timeout=1s\nSELECT 1;\nCOMMIT;"))
    assert finding.rule is rules.BAD_DIRECTIVE
    assert finding.line == 2


def test_nothing_between_begin_and_commit_is_an_empty_file() -> None:
    finding = only(read("-- a\nBEGIN; ;\nCOMMIT;"))
    assert finding.rule is rules.EMPTY
    assert finding.message == "nothing stands between BEGIN and COMMIT"


@pytest.mark.parametrize("options", ["READ ONLY", "ISOLATION LEVEL SERIALIZABLE, READ ONLY"])
def test_a_read_only_transaction_could_not_hold_the_history_row(options: str) -> None:
    finding = only(read(f"BEGIN {options};\nSELECT 1;\nCOMMIT;"))
    assert finding.rule is rules.TRANSACTION_CONTROL
    assert finding.message == "BEGIN READ ONLY: the history row could not be written"
    assert finding.hint == "Remove READ ONLY."
    assert finding.line == 1


HINT = (
    "Remove it: the runner wraps the file in one transaction. A single BEGIN; … COMMIT; around "
    "the whole file, or SAVEPOINT, is fine."
)


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("SELECT 1;\nCOMMIT;", [("COMMIT", 2)]),
        ("SELECT 1;\nROLLBACK;\nBEGIN;", [("ROLLBACK", 2), ("BEGIN", 3)]),
        ("COMMIT;\nBEGIN;", [("COMMIT", 1), ("BEGIN", 2)]),
        ("BEGIN;\nSELECT 1;", [("BEGIN", 1)]),
        ("SELECT 1;\nEND", [("END", 2)]),
        ("SELECT 1;\nABORT WORK;", [("ABORT WORK", 2)]),
        ("BEGIN;\nSELECT 1;\nROLLBACK;", [("BEGIN", 1), ("ROLLBACK", 3)]),
        ("BEGIN;\nSELECT 1;\nCOMMIT AND CHAIN;", [("BEGIN", 1), ("COMMIT AND CHAIN", 3)]),
        ("BEGIN;\nSELECT 1;\nCOMMIT;\nSELECT 2;", [("BEGIN", 1), ("COMMIT", 3)]),
        ("SELECT 1;\nBEGIN;\nCOMMIT;", [("BEGIN", 2), ("COMMIT", 3)]),
        (
            "BEGIN;\nSELECT 1;\nCOMMIT;\nBEGIN;\nCOMMIT;",
            [("BEGIN", 1), ("COMMIT", 3), ("BEGIN", 4), ("COMMIT", 5)],
        ),
        ("BEGIN;\nBEGIN;\nCOMMIT;", [("BEGIN", 1), ("BEGIN", 2), ("COMMIT", 3)]),
        (
            "BEGIN;\nSELECT 1;\nPREPARE TRANSACTION 'x';",
            [("BEGIN", 1), ("PREPARE TRANSACTION x", 3)],
        ),
        ("COMMIT PREPARED 'x';\nSELECT 1;", [("COMMIT PREPARED x", 1)]),
    ],
)
def test_any_other_transaction_control_is_refused_with_its_line(
    script: str, found: list[tuple[str, int]]
) -> None:
    content = read(script)
    assert [
        (finding.rule, finding.message, finding.hint, finding.line) for finding in content.findings
    ] == [
        (rules.TRANSACTION_CONTROL, f"{words} is the file's own transaction control", HINT, line)
        for words, line in found
    ]
    assert content.begin_options == ""
    assert content.data == script.encode()


def test_in_a_no_transaction_file_even_the_pair_is_refused() -> None:
    content = read(NO_TRANSACTION + "BEGIN;\nSELECT 1;\nCOMMIT;")
    assert [(finding.rule, finding.line) for finding in content.findings] == [
        (rules.TRANSACTION_CONTROL, 2),
        (rules.TRANSACTION_CONTROL, 4),
    ]
    assert content.findings[0].hint == (
        "Remove it: in a no-transaction file the runner commits each statement."
    )


@pytest.mark.parametrize(
    "script",
    [
        "DO $$ BEGIN NULL; COMMIT; END; $$;",
        "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$\nBEGIN\nRETURN 1;\nEND;\n$$;",
        "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS '\nBEGIN\nRETURN 1;\nEND;\n';",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC\nSELECT CASE WHEN true THEN 1 END;\nEND;",
        "CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$;\nCALL p();",
        "SELECT 'a;\nCOMMIT;\n';",
        "-- BEGIN;\nSELECT 1;\n/*\nCOMMIT;\n*/",
        'CREATE TABLE "begin;\ncommit" (a int);',
        "COPY t FROM stdin;\nBEGIN;\nCOMMIT;\n\\.\n",
    ],
)
def test_begin_and_end_inside_bodies_strings_and_data_are_no_control(script: str) -> None:
    assert read(script).findings == ()
    assert read(f"BEGIN;\n{script}\nCOMMIT;").findings == ()


# Statements that cannot run in a transaction, and those that drop the lock


def test_what_cannot_run_in_a_transaction_is_named_with_its_line() -> None:
    finding = only(read("SELECT 1;\n  CREATE INDEX CONCURRENTLY i ON t (a);"))
    assert finding.rule is rules.NEEDS_NO_TRANSACTION
    assert finding.message == "CREATE INDEX CONCURRENTLY cannot run in a transaction"
    assert finding.hint == (
        "Put it in a file of its own that starts with `-- sqlmigrator: no-transaction`."
    )
    assert (finding.line, finding.column) == (2, 3)


def test_with_the_directive_it_is_fine() -> None:
    assert read(NO_TRANSACTION + "CREATE INDEX CONCURRENTLY i ON t (a); VACUUM t;").findings == ()


@pytest.mark.parametrize("header", ["", NO_TRANSACTION])
@pytest.mark.parametrize("statement", ["DISCARD ALL", "SELECT pg_advisory_unlock_all()"])
def test_what_drops_the_lock_is_refused_everywhere(header: str, statement: str) -> None:
    finding = only(read(f"{header}{statement};"))
    assert finding.rule is rules.DROPS_LOCK
    assert finding.message == "this statement drops the migration lock"
    assert finding.hint == "Remove it; the runner resets the session after every file."
    assert finding.line == (2 if header else 1)


# The statement path


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("COPY t FROM stdin;\n1\n\\.\n", True),
        ("SELECT 1; RESET ALL;", True),
        ("SELECT 1; RESET search_path; COPY t TO STDOUT;", False),
    ],
)
def test_copy_data_and_reset_all_are_sent_statement_by_statement(
    script: str, expected: bool
) -> None:
    assert read(script).needs_statement_path is expected


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("ALTER TABLE schema_migrations ADD COLUMN a int;", True),
        ("SELECT 1; -- schema_migrations", True),
        ("SELECT * FROM schema_migrations_log;", False),
    ],
)
def test_the_history_table_is_looked_at_again_after_a_file_that_names_it(
    script: str, expected: bool
) -> None:
    assert read(script).names_history_table is expected


# Writes to the history

RLS = "changes row level security of schema_migrations: rows may be hidden"


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (
            "INSERT INTO schema_migrations VALUES ('004', 'x')",
            "marks other versions as applied: 004",
        ),
        (
            "INSERT INTO public.schema_migrations (version) VALUES ('003'), ('004'), ('037b')",
            "marks other versions as applied: 004, 037b",
        ),
        (
            'INSERT INTO "schema_migrations" VALUES '
            + ", ".join(f"('{number:03d}')" for number in range(10, 17)),
            "marks other versions as applied: 010, 011, 012, 013, 014 …",
        ),
        (
            "INSERT INTO schema_migrations SELECT * FROM old_migrations",
            "inserts rows into schema_migrations",
        ),
        (
            "WITH x AS (SELECT 1) INSERT INTO schema_migrations VALUES ('004')",
            "marks other versions as applied: 004",
        ),
        (
            "WITH x AS (DELETE FROM schema_migrations RETURNING *) SELECT * FROM x",
            "DELETE changes schema_migrations",
        ),
        ("UPDATE schema_migrations SET name = 'x'", "UPDATE changes schema_migrations"),
        ("UPDATE ONLY public.Schema_Migrations SET a = 1", "UPDATE changes schema_migrations"),
        ("DELETE FROM schema_migrations WHERE version = '003'", "DELETE changes schema_migrations"),
        ("TRUNCATE schema_migrations", "TRUNCATE changes schema_migrations"),
        ("TRUNCATE TABLE ONLY s.schema_migrations", "TRUNCATE changes schema_migrations"),
        ("DROP TABLE IF EXISTS schema_migrations", "DROP changes schema_migrations"),
        (
            "MERGE INTO schema_migrations USING a ON true WHEN MATCHED THEN DELETE",
            "MERGE changes schema_migrations",
        ),
        ("ALTER TABLE schema_migrations ENABLE ROW LEVEL SECURITY", RLS),
        ("ALTER TABLE IF EXISTS ONLY public.schema_migrations FORCE ROW LEVEL SECURITY", RLS),
    ],
)
def test_writes_to_other_rows_of_the_history_are_warned_about(statement: str, message: str) -> None:
    finding = only(read(f"SELECT 1;\n{statement};"))
    assert finding.rule is rules.WRITES_HISTORY
    assert not finding.is_error
    assert finding.message == message
    assert finding.hint == "Remove it; `manage.py migrate_mark` edits the history, with a journal."
    assert (finding.line, finding.column) == (2, 1)


def test_copy_into_the_history_is_warned_about() -> None:
    finding = only(read("COPY public.schema_migrations (version) FROM stdin;\n004\n\\.\n"))
    assert finding.message == "COPY changes schema_migrations"


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE IF NOT EXISTS schema_migrations (version text)",
        "INSERT INTO schema_migrations (version, name) VALUES ('003', 'x') ON CONFLICT DO NOTHING",
        "INSERT INTO schema_migrations (version, name) VALUES ('0003', 'x')",
        "INSERT INTO schema_migrations (version, name) VALUES (3, 'x')",
        "INSERT INTO schema_migrations SELECT '003', 'x' WHERE NOT EXISTS (SELECT 1)",
        "INSERT INTO my_schema_migrations VALUES ('004')",
        "INSERT INTO other SELECT version FROM schema_migrations",
        "INSERT INTO schema_migrations_log VALUES ('004')",
        "INSERT INTO schema_migrations.other VALUES ('004')",
        "DELETE FROM other USING schema_migrations",
        "COPY schema_migrations TO STDOUT",
        "ALTER TABLE schema_migrations ADD COLUMN note text",
        "ALTER TABLE other ENABLE ROW LEVEL SECURITY",
        "COMMENT ON TABLE schema_migrations IS '004'",
        "CREATE INDEX i ON schema_migrations (name)",
        "GRANT SELECT ON schema_migrations TO r",
        "SELECT 'INSERT INTO schema_migrations VALUES (''004'')'",
        "SELECT * FROM schema_migrations",
        "WITH x AS (SELECT * FROM schema_migrations) INSERT INTO other SELECT * FROM x",
    ],
)
def test_the_own_row_and_everything_else_is_no_finding(statement: str) -> None:
    assert read(statement).findings == ()


def test_a_file_without_a_number_owns_no_row() -> None:
    finding = only(read("INSERT INTO schema_migrations VALUES ('003')", number=None))
    assert finding.message == "marks other versions as applied: 003"


def test_several_findings_of_one_file_come_in_its_order() -> None:
    script = (
        "-- sqlmigrator: bad\nVACUUM;\nCOMMIT;\nUPDATE schema_migrations SET a = 1;\nDISCARD ALL;"
    )
    found = [(finding.rule, finding.line) for finding in read(script).findings]
    assert sorted(found, key=lambda pair: pair[1] or 0) == [
        (rules.BAD_DIRECTIVE, 1),
        (rules.NEEDS_NO_TRANSACTION, 2),
        (rules.TRANSACTION_CONTROL, 3),
        (rules.WRITES_HISTORY, 4),
        (rules.DROPS_LOCK, 5),
    ]
