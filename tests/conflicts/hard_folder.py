"""A folder as a team leaves it after a year by hand (see hard_cases.md), and its history."""

import hashlib
from dataclasses import dataclass, field

from tests.support import Database, Folder

HIGHEST = 317
GAPS = (12, 45, 77, 100, 123, 150, 188, 201, 230, 255, 290)
DUPLICATES = (33, 88, 142, 199, 260, 310)
SUFFIXED = range(4, 4 + 53 * 6, 6)
BY_HAND_UP_TO = 180
SUFFIXED_BY_HAND = 26
RECORDED_UP_TO = 300
STRAYS = (
    "MARK_ALL_APPLIED.sql",
    "mark-261-263-applied.sql",
    "check-line-items.sql",
    *(f"verify_{what}.sql" for what in ("orders", "people", "totals", "roles", "search", "views")),
    *(f"rollback-{number:03d}.sql" for number in range(30, 46)),
)
WORDS = ("add", "fix", "drop", "index", "backfill", "rename", "split", "secure")
THINGS = ("orders", "people", "line_items", "totals", "roles", "search", "invoices")

OLD_TABLE = """
CREATE TABLE schema_migrations (
    id serial PRIMARY KEY,
    version varchar(255) NOT NULL UNIQUE,
    name varchar(255) NOT NULL,
    applied_at timestamptz DEFAULT now(),
    checksum varchar(64),
    execution_time_ms integer DEFAULT 0,
    applied_by varchar(255)
);
"""


@dataclass(slots=True)
class HardFolder:
    """What was written: the files' texts by name, and the rows (version, name, checksum)."""

    files: dict[str, str] = field(default_factory=dict)
    rows: list[tuple[str, str, str | None]] = field(default_factory=list)

    def write(self, folder: Folder, database: Database) -> None:
        """Put the files into `folder`, and the table and its rows into `database`."""
        for name, text in self.files.items():
            folder.write(name, text)
        database.execute(OLD_TABLE)
        with database.connect() as connection, connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO schema_migrations (version, name, applied_at, checksum, applied_by)"
                " VALUES (%s, %s, '2025-06-01 12:00Z', %s, %s)",
                [(*row, "old-runner" if row[2] else "manual") for row in self.rows],
            )


def name_of(number: int, shift: int = 0) -> str:
    """A name such as add_orders; each number and shift has its own."""
    word, thing = WORDS[(number + shift) % len(WORDS)], THINGS[(number // 2) % len(THINGS)]
    return f"{word}_{thing}_{number + 1000 * shift}"


def text_of(name: str, number: int) -> str:
    """A migration in one of the styles that are found together in one folder."""
    table = f"CREATE TABLE made_by_{name} (id int)"
    styles = (
        f"{table};\n",
        f"{table}",
        f"begin;\n{table};\ncommit;\n",
        f"-- Migration: {name}\r\n{table};\r\n",
        f"DO $$ BEGIN EXECUTE '{table}'; END $$;\n",
    )
    return styles[number % len(styles)]


def marking(version: str, *others: str) -> str:
    """A statement that inserts history rows by hand, as such folders have them."""
    values = ", ".join(f"('{v}', 'by_hand', 'manual')" for v in (version, *others))
    return (
        f"\nINSERT INTO schema_migrations (version, name, applied_by) VALUES {values}"
        " ON CONFLICT (version) DO NOTHING;\n"
    )


def make() -> HardFolder:
    """About 390 files: 6 duplicate numbers, 53 suffixed names, 25 strays, 11 gaps, 200 rows that
    were marked by hand and 115 that an older runner wrote.
    """
    made = HardFolder()
    for number in range(1, HIGHEST + 1):
        if number in GAPS:
            continue
        name, version = name_of(number), f"{number:03d}"
        text = text_of(name, number)
        if number in (303, 304):  # its own row: right, and said by nobody
            text = f"CREATE TABLE made_by_{name} (id int);" + marking(version)
        if number in (305, 306, 307, 308):
            text = f"CREATE TABLE made_by_{name} (id int);" + marking(version, "261", "262", "263")
        made.files[f"{version}_{name}.sql"] = text
        if number <= RECORDED_UP_TO:
            checksum = hashlib.sha256(text.encode()).hexdigest()
            made.rows.append((version, name, None if number <= BY_HAND_UP_TO else checksum))
        if number in DUPLICATES:
            other = name_of(number, shift=1)
            made.files[f"{version}_{other}.sql"] = text_of(other, number)
    for index, number in enumerate(SUFFIXED):
        name, version = name_of(number, shift=2), f"{number:03d}{'bcd'[index % 3]}"
        made.files[f"{version}_{name}.sql"] = text_of(name, number)
        if index < SUFFIXED_BY_HAND:
            made.rows.append((version, name, None))
    for name in STRAYS:
        made.files[name] = "SELECT count(*) FROM schema_migrations;\n"
    return made
