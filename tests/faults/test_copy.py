"""Family 17: COPY … FROM stdin with its data in the file, as pg_dump writes it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.scenes import applied, attempts, exists
from tests.support import Database, Folder, Result

TABLE = "CREATE TABLE c (id int PRIMARY KEY, t text);\n"
ODD_ROWS = (
    "COPY c (id, t) FROM stdin;\n"
    "1\tplain; -- no comment, 'no string'\n"
    "2\t\\N\n"
    "3\ta\\tb\\nc\\\\d\n"
    "4\t$$ BEGIN; COMMIT; \\\\connect other\n"
    "5\t%s € 😀\n"
    "\\.\n"
)
HEADERS = pytest.mark.parametrize(
    "header", ["", "-- sqlmigrator: no-transaction\n"], ids=["transaction", "no transaction"]
)


@pytest.fixture
def tracked(database: Database, folder: Folder, call: Callable[..., Result]) -> Database:
    folder.with_tracking()
    assert call("migrate_apply", "-v0").code == 0
    return database


@HEADERS
def test_odd_rows(
    header: str, tracked: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    folder.write("002_copy.sql", f"{header}{TABLE}{ODD_ROWS}\nCREATE INDEX c_t_idx ON c (t);\n")
    result = call("migrate_apply")
    assert (result.code, result.err) == (0, "")
    assert tracked.query("SELECT id, t FROM c ORDER BY id") == [
        (1, "plain; -- no comment, 'no string'"),
        (2, None),
        (3, "a\tb\nc\\d"),
        (4, "$$ BEGIN; COMMIT; \\connect other"),
        (5, "%s € 😀"),
    ]
    assert exists(tracked, "c_t_idx")
    assert attempts(tracked, "002") == [("done", 3, 3, None, None)]


@pytest.mark.parametrize(
    ("copy", "rows"),
    [
        ("COPY c FROM stdin;\n\\.\n", 0),
        ("COPY c FROM stdin;\n1\ta\n2\tb\n\\.", 2),
        ('copy c from STDIN with (format csv, header);\nid,t\n1,"a\nb"\n\\.\n', 1),
        ("COPY c FROM STDIN WITH CSV;\n1,a\n2,b\n\\.\nSELECT 1;", 2),
        ("COPY c FROM stdin;\n1\ta\n\\.\nCOPY c FROM stdin;\n2\tb\n\\.\n", 2),
        ("COPY c FROM stdin;\r\n1\ta\r\n2\tb\r\n\\.\r\n", 2),
        ("BEGIN;\nCOPY c FROM stdin;\n1\ta\n\\.\nCOMMIT;\n", 1),
        ("COPY c (t, id) FROM stdin; -- a comment\na\t1\n\\.\n", 1),
    ],
    ids=[
        "no rows",
        "no last line end",
        "csv with a line break",
        "csv",
        "two",
        "crlf",
        "wrapped",
        "columns and comment",
    ],
)
def test_forms(
    copy: str, rows: int, tracked: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    folder.write("002_table.sql", TABLE)
    folder.write("003_copy.sql", copy)
    result = call("migrate_apply")
    assert (result.code, result.err) == (0, "")
    assert tracked.query("SELECT count(*) FROM c") == [(rows,)]
    assert applied(tracked) == ["001", "002", "003"]


def test_a_row_that_does_not_fit_takes_the_file_along(
    tracked: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    file = folder.write("002_copy.sql", f"{TABLE}COPY c FROM stdin;\n1\ta\nsecret\tb\n\\.\n")
    result = call("migrate_apply")
    assert result.code == 1
    assert (
        f"✗ {file}:2:1: invalid input syntax for type integer: (value not shown)"
        " [SQLSTATE 22P02]\n" in result.err
    )
    assert "Context: COPY c, line 2, column id\n" in result.err
    assert "secret" not in result.err
    assert not exists(tracked, "c")
    assert applied(tracked) == ["001"]


@HEADERS
@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("1\ta\tb", "extra data after last expected column [SQLSTATE 22P04]"),
        ("1", 'missing data for column "t" [SQLSTATE 22P04]'),
        ("1\ta\n1\tb", "duplicate key value violates unique constraint"),
    ],
)
def test_bad_rows_leave_the_session_usable(
    row: str,
    told: str,
    header: str,
    tracked: Database,
    folder: Folder,
    call: Callable[..., Result],
) -> None:
    folder.write("002_table.sql", TABLE)
    file = folder.write("003_copy.sql", f"{header}COPY c FROM stdin;\n{row}\n\\.\nSELECT 1;\n")
    result = call("migrate_apply")
    assert result.code == 1
    assert told in result.err
    assert f"{file}:{2 if header else 1}:1: " in result.err
    assert tracked.query("SELECT * FROM c") == []
    assert [row[0] for row in attempts(tracked, "003")] == ["failed"]
    folder.write("003_copy.sql", f"{header}COPY c FROM stdin;\n1\ta\n\\.\nSELECT 1;\n")
    assert call("migrate_apply").code == 0
    assert tracked.query("SELECT * FROM c") == [(1, "a")]


def test_without_data_it_is_an_error_and_does_not_hang(
    tracked: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    """The statement is hidden in a DO block or a function: nothing could feed it."""
    folder.write(
        "002_copy.sql", f"{TABLE}DO $$BEGIN EXECUTE 'COPY c FROM stdin'; END$$;\nSELECT 1;"
    )
    result = call("migrate_apply")
    assert result.code == 1
    assert "[SQLSTATE 0A000]" in result.err
    assert not exists(tracked, "c")


def test_copy_to_stdout_is_read_and_dropped(
    tracked: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    folder.write(
        "002_out.sql",
        f"{TABLE}COPY (SELECT generate_series(1, 100000)) TO stdout;\nCREATE TABLE after (n int);",
    )
    result = call("migrate_apply")
    assert (result.code, result.err) == (0, "")
    assert exists(tracked, "after")


def write_large(path: Path, rows: int) -> int:
    filler = "x" * 180
    with path.open("w") as file:
        file.write(f"{TABLE}COPY c FROM stdin;\n")
        file.writelines(f"{row}\t{row:010d} {filler}\n" for row in range(rows))
        file.write("\\.\nCREATE INDEX c_t_idx ON c (left(t, 10));\n")
    return path.stat().st_size


def test_twenty_megabytes(tracked: Database, folder: Folder, call: Callable[..., Result]) -> None:
    assert write_large(folder.path / "002_large.sql", 105_000) > 20_000_000
    result = call("migrate_apply")
    assert (result.code, result.err) == (0, "")
    assert tracked.query("SELECT count(*), max(id) FROM c") == [(105_000, 104_999)]
    assert exists(tracked, "c_t_idx")


def test_twenty_megabytes_with_a_bad_last_row(
    tracked: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    """The server answers with an error while the client may still be sending."""
    path = folder.path / "002_large.sql"
    write_large(path, 105_000)
    data = path.read_text()
    path.write_text(data.replace("\n5\t", "\nfive\t", 1))
    result = call("migrate_apply")
    assert result.code == 1
    assert "invalid input syntax for type integer: (value not shown)" in result.err
    assert "Context: COPY c, line 6, column id\n" in result.err
    assert not exists(tracked, "c")
    assert [row[0] for row in attempts(tracked, "002")] == ["failed"]
