"""The folder: names, versions, bytes, checksums, reverse files, and what does not belong there."""

import hashlib
import os
import time
from pathlib import Path

import pytest

from sqlmigrator.core import findings as rules
from sqlmigrator.core.directives import Directives
from sqlmigrator.core.files import Folder, MigrationFile, discover, fingerprint, read_bytes, scan
from sqlmigrator.exceptions import ConfigurationError, SqlMigratorError

BOM = b"\xef\xbb\xbf"


def write(folder: Path, *names: str, content: bytes = b"SELECT 1;\n") -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)


def read_all(folder: Path) -> Folder:
    return discover(folder, needs_content=lambda _: True)


def read_none(folder: Path) -> Folder:
    return discover(folder, needs_content=lambda _: False)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# Names


@pytest.mark.parametrize(
    ("name", "version", "number", "rest"),
    [
        ("000_start.sql", "000", 0, "start"),
        ("001_a.sql", "001", 1, "a"),
        ("003_add_unread_tracking.sql", "003", 3, "add_unread_tracking"),
        ("0003_a.sql", "0003", 3, "a"),
        ("999_a.sql", "999", 999, "a"),
        ("1000_a.sql", "1000", 1000, "a"),
        ("123456_a.sql", "123456", 123456, "a"),
        ("20250101_a.sql", "20250101", 20250101, "a"),
        ("20250101120000_a.sql", "20250101120000", 20250101120000, "a"),
        ("202501011200000001_a.sql", "202501011200000001", 202501011200000001, "a"),
        ("001_2fa.sql", "001", 1, "2fa"),
        ("001_2024_01_05.sql", "001", 1, "2024_01_05"),
        ("001_a_b2_c.sql", "001", 1, "a_b2_c"),
        ("001_down.sql", "001", 1, "down"),
        ("0" * 30 + "7_a.sql", "0" * 30 + "7", 7, "a"),
    ],
)
def test_a_migration_is_three_digits_or_more_and_lower_snake_case(
    tmp_path: Path, name: str, version: str, number: int, rest: str
) -> None:
    write(tmp_path, name)
    folder = scan(tmp_path)
    file = MigrationFile(tmp_path, name, version, number, rest)
    assert folder == Folder(tmp_path, (file,), (name,))
    assert folder.files[0].filename == name


@pytest.mark.parametrize(
    "name",
    [
        "037b_x.sql",
        "234a_x.sql",
        "37_x.sql",
        "1_x.sql",
        "037-x.sql",
        "037 x.sql",
        "037.sql",
        "037_.sql",
        "037__x.sql",
        "037_x_.sql",
        "037_x__y.sql",
        "037_X.SQL",
        "037_x.SQL",
        "037_X.sql",
        "037_addIndex.sql",
        "037_x-y.sql",
        "037_x y.sql",
        "037_é.sql",
        "037_x.up.sql",
        "037_x.Down.sql",
        "37_x.down.sql",
        "037_x.down.SQL",
        "037x.sql",
        "2024-01-05-x.sql",
        "037_x\n.sql",
    ],
)
def test_digits_first_but_another_form_is_misnamed(tmp_path: Path, name: str) -> None:
    write(tmp_path, name)
    assert scan(tmp_path) == Folder(tmp_path, (), (name,), misnamed=(name,))


@pytest.mark.parametrize(
    "name",
    [
        "MARK_ALL_APPLIED.sql",
        "mark-261-263-applied.sql",
        "check-line-items.sql",
        "V1__init.sql",
        "_001_x.sql",
        "x.sql",
        "X.SQL",
        " 001_x.sql",
        "٠٠١_x.sql",
        "²_x.sql",
    ],
)
def test_any_other_sql_file_is_a_stray(tmp_path: Path, name: str) -> None:
    write(tmp_path, name)
    assert scan(tmp_path) == Folder(tmp_path, (), (name,), strays=(name,))


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "001_x.sql~",
        "001_x.sql.bak",
        "001_x.sql.orig",
        ".001_x.sql.swp",
        ".#001_x.sql",
        ".hidden.sql",
        "001_x.sql.gz",
        "001_x.py",
        "sql",
        "Makefile",
    ],
)
def test_other_files_and_editor_droppings_are_not_looked_at(tmp_path: Path, name: str) -> None:
    write(tmp_path, name)
    assert scan(tmp_path) == Folder(tmp_path, ())


def test_a_folder_as_teams_have_them(tmp_path: Path) -> None:
    write(
        tmp_path,
        *(
            "001_a.sql",
            "002_b.sql",
            "002_c.sql",
            "0002_d.sql",
            "037b_x.sql",
            "check-line-items.sql",
        ),
        *("20250101120000_t.sql", "1000_m.sql", "README.md", "MARK_ALL_APPLIED.sql"),
        *("old/001_a.sql", "old2/X.SQL", "docs/readme.md", "037_X.SQL"),
    )
    folder = scan(tmp_path)
    assert [file.filename for file in folder.files] == [
        "001_a.sql",
        "002_b.sql",
        "002_c.sql",
        "0002_d.sql",
        "1000_m.sql",
        "20250101120000_t.sql",
    ]
    assert folder.misnamed == ("037_X.SQL", "037b_x.sql")
    assert folder.strays == ("MARK_ALL_APPLIED.sql", "check-line-items.sql")
    assert folder.subfolders == ("old", "old2")
    assert folder.lone_reverses == ()


def test_files_are_in_the_order_of_their_numbers_and_not_of_their_text(tmp_path: Path) -> None:
    names = ["0009_j.sql", "010_i.sql", "99_h.sql", "100_g.sql", "1000_f.sql", "999_e.sql"]
    write(tmp_path, *names)
    assert [file.number for file in scan(tmp_path).files] == [9, 10, 100, 999, 1000]


def test_folders_below_the_sub_folders_are_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    write(tmp_path, "a/b/001_x.sql")
    assert scan(tmp_path).subfolders == ()


# Reverse files


def test_a_reverse_belongs_to_the_migration_of_exactly_its_name(tmp_path: Path) -> None:
    write(tmp_path, "001_a.sql", "001_a.down.sql", "002_b.sql", "003_c.sql", "0003_c.down.sql")
    write(tmp_path, "002_other.down.sql")
    folder = scan(tmp_path)
    assert [file.reverse for file in folder.files] == [tmp_path / "001_a.down.sql", None, None]
    assert folder.lone_reverses == ("0003_c.down.sql", "002_other.down.sql")
    assert folder.misnamed == ()


def test_a_reverse_is_kept_when_the_file_is_read(tmp_path: Path) -> None:
    write(tmp_path, "001_a.sql", "001_a.down.sql")
    for folder in (read_all(tmp_path), read_none(tmp_path)):
        assert folder.files[0].reverse == tmp_path / "001_a.down.sql"


# Folders and files that cannot be read


def test_a_missing_folder_is_a_configuration_error_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as caught:
        scan(tmp_path / "nowhere")
    assert caught.value.message == f"The migrations folder {tmp_path / 'nowhere'} does not exist."
    assert caught.value.hint == 'Create it, set SQLMIGRATOR["DIRECTORY"], or pass --directory.'
    assert caught.value.exit_code == 2


def test_a_file_in_the_place_of_the_folder_is_a_configuration_error(tmp_path: Path) -> None:
    write(tmp_path, "migrations")
    with pytest.raises(ConfigurationError) as caught:
        scan(tmp_path / "migrations")
    assert caught.value.message == (
        f"The migrations folder {tmp_path / 'migrations'} cannot be read (Not a directory)."
    )


def test_an_empty_folder_is_fine(tmp_path: Path) -> None:
    assert read_all(tmp_path) == Folder(tmp_path, ())


def assert_unreadable(folder: Path, name: str, reason: str, hint: str) -> None:
    for found in (read_all(folder), read_none(folder)):
        file = found.files[0]
        assert file.checksum == ""
        (finding,) = file.findings
        assert finding.rule is rules.UNREADABLE
        assert finding.message == f"{folder / name} cannot be read: {reason}."
        assert finding.hint == hint
        assert finding.version == name.partition("_")[0]
        assert finding.file == str(folder / name)


def test_a_dangling_link_is_a_finding_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "001_a.sql").symlink_to(tmp_path / "nowhere.sql")
    hint = "Check the file and its permissions."
    assert_unreadable(tmp_path, "001_a.sql", "No such file or directory", hint)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_the_right_to_read_it_is_a_finding(tmp_path: Path) -> None:
    write(tmp_path, "001_a.sql")
    (tmp_path / "001_a.sql").chmod(0)
    hint = "Check the file and its permissions."
    assert_unreadable(tmp_path, "001_a.sql", "Permission denied", hint)


def test_a_folder_a_pipe_and_a_device_in_the_place_of_a_file_are_findings(tmp_path: Path) -> None:
    """Reading a pipe would wait for ever."""
    (tmp_path / "001_a.sql").mkdir()
    os.mkfifo(tmp_path / "002_b.sql")
    (tmp_path / "003_c.sql").symlink_to("/dev/zero")
    messages = [finding.message for file in read_all(tmp_path).files for finding in file.findings]
    assert messages == [
        f"{tmp_path / name} cannot be read: it is not a regular file."
        for name in ("001_a.sql", "002_b.sql", "003_c.sql")
    ]


def test_a_file_larger_than_the_memory_is_a_finding(tmp_path: Path) -> None:
    setting = Path("/proc/sys/vm/overcommit_memory")
    if not setting.exists() or setting.read_text().strip() == "1":
        pytest.skip("this machine gives out more memory than it has")
    path = tmp_path / "001_a.sql"
    path.touch()
    os.truncate(path, 1 << 42)  # without blocks on the disk
    reason = "it is too large for this machine's memory"
    assert_unreadable(tmp_path, "001_a.sql", reason, "Split it into several migrations.")


def test_read_bytes_says_what_failed(tmp_path: Path) -> None:
    with pytest.raises(SqlMigratorError) as caught:
        read_bytes(tmp_path / "x.sql")
    assert (
        caught.value.message == f"{tmp_path / 'x.sql'} cannot be read: No such file or directory."
    )
    assert caught.value.hint == "Check the file and its permissions."


# Checksums


def test_the_checksum_is_the_sha256_of_the_bytes(tmp_path: Path) -> None:
    data = BOM + b"SELECT 'a\r\n';\r\n"
    write(tmp_path, "001_a.sql", content=data)
    for folder in (read_all(tmp_path), read_none(tmp_path)):
        assert folder.files[0].checksum == sha256(data)
        assert folder.files[0].text_checksum == sha256(b"SELECT 'a\n';\n")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", b""),
        (b"a\nb\n", b"a\nb\n"),
        (b"a\r\nb\r\n", b"a\nb\n"),
        (b"a\r\nb\n", b"a\nb\n"),
        (BOM + b"a\n", b"a\n"),
        (BOM, b""),
        (b"a\rb\r", b"a\rb\r"),
        (b"a\r\r\nb", b"a\r\nb"),
        (b"a" + BOM, b"a" + BOM),
        (b"\xff\r\n", b"\xff\n"),
    ],
)
def test_the_text_checksum_ignores_bom_and_crlf_and_nothing_else(data: bytes, text: bytes) -> None:
    assert fingerprint(data) == (sha256(data), sha256(text))


def test_the_reverse_does_not_count_for_the_checksum(tmp_path: Path) -> None:
    write(tmp_path, "001_a.sql")
    write(tmp_path, "001_a.down.sql", content=b"DROP TABLE t;")
    assert read_none(tmp_path).files[0].checksum == sha256(b"SELECT 1;\n")


# Contents


def test_the_content_is_read_only_of_files_that_ask_for_it(tmp_path: Path) -> None:
    content = b"-- sqlmigrator: no-transaction\nVACUUM;\nVACUUM;\n-- sqlmigrator: late\n"
    write(tmp_path, "001_a.sql", "002_b.sql", content=content)
    folder = discover(tmp_path, needs_content=lambda file: file.number == 2)
    first, second = folder.files
    assert (first.directives, first.findings, first.statement_count) == (Directives(), (), None)
    assert second.directives == Directives(no_transaction=True)
    assert second.statement_count == 2
    (finding,) = second.findings
    assert finding.rule is rules.BAD_DIRECTIVE
    assert (finding.version, finding.location) == ("002", f"{tmp_path / '002_b.sql'}:4:1")


def test_needs_content_is_asked_with_the_checksum(tmp_path: Path) -> None:
    write(tmp_path, "001_a.sql")
    seen = []
    discover(tmp_path, needs_content=lambda file: bool(seen.append(file)))
    assert [file.checksum for file in seen] == [sha256(b"SELECT 1;\n")]


def test_the_content_of_duplicates_is_always_read(tmp_path: Path) -> None:
    write(tmp_path, "001_a.sql", "001_b.sql", "002_c.sql")
    assert [file.statement_count for file in read_none(tmp_path).files] == [1, 1, None]


def test_content_comes_from_memory_for_small_files(tmp_path: Path) -> None:
    write(tmp_path, "001_a.sql")
    file = read_all(tmp_path).files[0]
    (tmp_path / "001_a.sql").unlink()
    assert file.content().data == b"SELECT 1;\n"


def test_content_of_a_file_that_was_not_asked_for_is_read_when_it_is_needed(tmp_path: Path) -> None:
    write(tmp_path, "001_a.sql")
    assert read_none(tmp_path).files[0].content().data == b"SELECT 1;\n"


def test_a_large_file_is_read_again_and_must_be_what_it_was(tmp_path: Path) -> None:
    large = b"SELECT '" + b"x" * (1 << 20) + b"';\n"
    write(tmp_path, "001_a.sql", content=large)
    file = read_all(tmp_path).files[0]
    assert file.content().data == large
    write(tmp_path, "001_a.sql", content=large.replace(b"x", b"y", 1))
    with pytest.raises(SqlMigratorError) as caught:
        file.content()
    assert caught.value.message == (
        f"{tmp_path / '001_a.sql'} was changed while the run was going on; it was not applied."
    )
    assert caught.value.hint == "Run `manage.py migrate_check`, then apply again."


# Size


def test_ten_thousand_files_are_discovered_in_seconds(tmp_path: Path) -> None:
    for number in range(1, 10_001):
        (tmp_path / f"{number:04d}_migration_{number}.sql").write_bytes(b"SELECT 1;\n")
    start = time.process_time()
    folder = read_none(tmp_path)
    assert time.process_time() - start < 10  # about 0.5 s on an idle machine
    assert [file.number for file in folder.files] == list(range(1, 10_001))
    assert all(len(file.checksum) == 64 for file in folder.files)
