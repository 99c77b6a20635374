"""Family 16: the bytes of a file: NUL, BOM, invalid UTF-8, CRLF, nothing but comments."""

import hashlib
from collections.abc import Callable

import pytest

from tests.faults.scenes import applied, exists
from tests.support import Database, Folder, Result

BOM = b"\xef\xbb\xbf"


@pytest.fixture
def tracked(database: Database, folder: Folder, call: Callable[..., Result]) -> Database:
    folder.with_tracking()
    assert call("migrate_apply", "-v0").code == 0
    folder.write("002_good.sql", "CREATE TABLE good (n int);")
    return database


REFUSED = (
    (
        b"CREATE TABLE a (n int);\0CREATE TABLE b (n int);",
        "a NUL byte at offset 23: the server would stop reading there [E011]",
    ),
    (
        BOM + b"CREATE TABLE a (n int);\0",
        "a NUL byte at offset 26: the server would stop reading there [E011]",
    ),
    (b"SELECT 'caf\xe9';", "not UTF-8: byte 0xe9 at offset 11 [E011]"),
    (BOM + b"SELECT 'caf\xe9';", "not UTF-8: byte 0xe9 at offset 14 [E011]"),
    (b"SELECT '\xed\xa0\x80';", "not UTF-8: byte 0xed at offset 8 [E011]"),
    (b"SELECT 'cut \xe2\x82", "not UTF-8: byte 0xe2 at offset 12 [E011]"),
    (
        "SELECT 1;".encode("utf-16-le"),
        "a NUL byte at offset 1: the server would stop reading there",
    ),
    (b"", "the file holds no statement [E012]"),
    (BOM, "the file holds no statement [E012]"),
    (b"-- only\n/* comments /* nested */ */\n;;\n", "the file holds no statement [E012]"),
)


def test_refused_before_anything_runs(
    tracked: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    for data, told in REFUSED:
        folder.write("003_bytes.sql", data)
        result = call("migrate_apply")
        assert result.code == 1, data
        assert f"✗ {told}" in result.err, data
        assert applied(tracked) == ["001"]
        assert not exists(tracked, "good")
        assert not exists(tracked, "a")


@pytest.mark.parametrize("header", [b"", b"-- sqlmigrator: no-transaction\r\n"])
def test_bom_and_crlf(
    header: bytes, tracked: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    data = (
        BOM
        + header
        + b"CREATE TABLE a (\r\n  t text -- a comment\r\n);\r\n"
        + "INSERT INTO a VALUES ('one\r\ntwo €');\r\n-- the end\r\n".encode()
    )
    folder.write("003_windows.sql", data)
    assert call("migrate_apply").code == 0
    assert tracked.query("SELECT t FROM a") == [("one\r\ntwo €",)]
    assert tracked.query("SELECT checksum FROM schema_migrations WHERE version = '003'") == [
        (hashlib.sha256(data).hexdigest(),)
    ]
    assert call("migrate_check").code == 0
    # Recorded with LF, read from a checkout on Windows: the same migration.
    text = data.removeprefix(BOM).replace(b"\r\n", b"\n")
    tracked.execute(
        f"UPDATE schema_migrations SET checksum = '{hashlib.sha256(text).hexdigest()}'"
        " WHERE version = '003'"
    )
    assert call("migrate_check").code == 0
    assert call("migrate_apply").code == 0


def test_an_error_after_bom_crlf_and_wide_characters_is_located(
    tracked: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    data = BOM + "SELECT '€ 😀';\r\n\r\nSELECT '漢字', nothing;\r\n".encode()
    file = folder.write("003_wide.sql", data)
    result = call("migrate_apply")
    assert result.code == 1
    assert f'✗ {file}:3:14: column "nothing" does not exist [SQLSTATE 42703]\n' in result.err
    assert "    | SELECT '漢字', nothing;\n    |                ^\n" in result.err
    assert applied(tracked) == ["001", "002"]


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (b"CREATE TABLE a (n int)", 1),
        (b"CREATE TABLE a (n int) -- no semicolon, and a comment", 1),
        (b"CREATE TABLE a (n int); /* the end */", 1),
        (b";;CREATE TABLE a (n int);;;", 1),
        (b"CREATE TABLE a (n int);\r\rCREATE TABLE b (n int);\r", 2),
    ],
)
def test_odd_ends(
    data: bytes, count: int, tracked: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    folder.write("003_end.sql", data)
    result = call("migrate_apply")
    assert (result.code, result.err) == (0, "")
    assert exists(tracked, "a")
    assert tracked.query(
        "SELECT statement_done, statement_total FROM schema_migrations_log WHERE version = '003'"
    ) == [(count, count)]
