"""Folders of migrations, and the same SQL as one script for psql."""

import hashlib
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TRACKING = ROOT / "migrations_sql" / "001_migration_tracking.sql"

_SMALL = """\
-- Table {n}
CREATE TABLE bench_{n} (
    id bigint PRIMARY KEY,
    name text NOT NULL DEFAULT 'new'
);
CREATE INDEX bench_{n}_name_idx ON bench_{n} (name);
"""
_MIXED = (
    """\
CREATE TABLE bench_{n} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, at timestamptz);
CREATE FUNCTION touch_{n}() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    NEW.at := now(); -- a semicolon; in a comment
    RETURN NEW;
END
$body$;
CREATE TRIGGER touch BEFORE UPDATE ON bench_{n} FOR EACH ROW EXECUTE FUNCTION touch_{n}();
""",
    """\
DO $$
BEGIN
    CREATE TABLE bench_{n} (id bigint PRIMARY KEY, note text);
    FOR i IN 1..20 LOOP
        INSERT INTO bench_{n} VALUES (i, 'row ' || i);
    END LOOP;
END
$$;
COMMENT ON TABLE bench_{n} IS 'Made by a DO block';
""",
    "CREATE TABLE bench_{n} (id bigint PRIMARY KEY, note text NOT NULL);\n{rows}",
    """\
CREATE TABLE bench_{n} AS SELECT g AS id, md5(g::text) AS word FROM generate_series(1, 50) g;
ALTER TABLE bench_{n} ADD PRIMARY KEY (id);
CREATE VIEW view_{n} AS SELECT id, upper(word) AS word FROM bench_{n} WHERE id % 2 = 0;
""",
)


@dataclass(frozen=True, slots=True)
class Migrations:
    """A folder as sqlmigrator wants it; `sql` is the text of every file but the first, in order."""

    path: Path
    sql: tuple[str, ...]

    def script(self, target: Path) -> Path:
        """Write what psql is given: BEGIN, each statement, the tracking insert, COMMIT, for each."""
        with target.open("w") as script:
            for file in in_order(self.path):
                text = file.read_text()
                version, name = file.stem.split("_", 1)
                script.write(f"BEGIN;\n{text}\n{insert([row(version, name, text)])}\nCOMMIT;\n")
        return target


def small(path: Path, count: int) -> Migrations:
    """`count` files of a table and an index each."""
    return _write(path, [_SMALL.format(n=n) for n in range(1, count + 1)])


def mixed(path: Path, count: int) -> Migrations:
    """`count` files of functions, triggers, DO blocks, inserts and views by turns."""
    texts = []
    for n in range(1, count + 1):
        rows = "".join(
            f"INSERT INTO bench_{n} VALUES ({i}, 'it''s row {i}; of {n}');\n" for i in range(20)
        )
        texts.append(_MIXED[n % len(_MIXED)].format(n=n, rows=rows))
    return _write(path, texts)


def _write(path: Path, texts: Sequence[str]) -> Migrations:
    path.mkdir(parents=True)
    shutil.copyfile(TRACKING, path / TRACKING.name)
    for n, text in enumerate(texts, 2):
        (path / f"{n:05d}_change_{n}.sql").write_text(text)
    return Migrations(path, tuple(texts))


def in_order(folder: Path) -> list[Path]:
    """The files by number: 001 comes before 00002."""
    return sorted(folder.iterdir(), key=lambda file: int(file.name.partition("_")[0]))


def row(version: str, name: str, text: str) -> str:
    checksum = hashlib.sha256(text.encode()).hexdigest()
    return f"('{version}', '{name}', '{checksum}', now(), 0, 'bench')"


def insert(rows: Iterable[str]) -> str:
    """The statement that records migrations; 001 has recorded itself."""
    return (
        "INSERT INTO schema_migrations (version, name, checksum, applied_at, execution_time_ms,"
        f" applied_by) VALUES {', '.join(rows)}"
        " ON CONFLICT (version) DO NOTHING;"
    )


def recorded(migrations: Migrations, target: Path) -> Path:
    """A script that makes the table and records the whole folder as applied, running nothing."""
    rows = []
    for file in in_order(migrations.path):
        version, name = file.stem.split("_", 1)
        rows.append(row(version, name, file.read_text()))
    target.write_text(
        f"{TRACKING.read_text()}\nDELETE FROM schema_migrations;\n{insert(rows)}\n"
        "ANALYZE schema_migrations;\n"
    )
    return target


def inserts(path: Path, size: int, rows_each: int) -> None:
    """A data file of about `size` bytes: INSERTs of `rows_each` rows."""
    line = "({n}, 'Name {n} of a customer', 'street {n}; house 5', '2025-11-22', {n}.50)"
    with path.open("w") as file:
        file.write(
            "CREATE TABLE bench_1 (id int, name text, place text, since date, sum numeric);\n"
        )
        n = 0
        while file.tell() < size:
            values = ",\n".join(line.format(n=n + i) for i in range(rows_each))
            file.write(f"INSERT INTO bench_1 VALUES {values};\n")
            n += rows_each


def copy_data(path: Path, size: int) -> None:
    """A file with one COPY of about `size` bytes of data."""
    block = "".join(f"{n}\tName {n} of a customer\tstreet; {n}\n" for n in range(10_000))
    with path.open("w") as file:
        file.write("CREATE TABLE bench_1 (id int, name text, place text);\n")
        file.write("COPY bench_1 FROM stdin;\n")
        for _ in range(size // len(block)):
            file.write(block)
        file.write("\\.\n")
