"""The whole life of a folder in which numbers collide, in real processes.

Thirteen files of which 003, 005 and 006 each stand twice, the older of each applied; the renames;
an edited file; a file that fails; the corrected one.
"""

import subprocess
from collections.abc import Callable

from project.embedded.server import project_server
from tests.support import Database, Folder, Result

OLDER = {
    "002_create_requests.sql": "CREATE TABLE requests (id int PRIMARY KEY, subject text);\n",
    "003_add_missing_request_columns.sql": "ALTER TABLE requests ADD COLUMN status text;\n",
    "004_create_messages.sql": "CREATE TABLE messages (id int PRIMARY KEY, request_id int);\n",
    "005_add_request_index.sql": "CREATE INDEX requests_status_idx ON requests (status);\n",
    "006_create_labels.sql": "CREATE TABLE labels (name text PRIMARY KEY);\n",
    "007_add_labels.sql": "INSERT INTO labels VALUES ('urgent'), ('later');\n",
    "008_create_inbox.sql": "CREATE VIEW inbox AS SELECT id, subject FROM requests;\n",
    "009_add_author.sql": "ALTER TABLE messages ADD COLUMN author text;\n",
    "010_require_subject.sql": "ALTER TABLE requests ALTER COLUMN subject SET NOT NULL;\n",
}
NEWER = {
    "003_add_unread_tracking.sql": "ALTER TABLE messages ADD COLUMN read_at timestamptz;\n",
    "005_create_attachments.sql": "CREATE TABLE attachments (id int PRIMARY KEY);\n",
    "006_order_labels.sql": "ALTER TABLE labels ADD COLUMN position int;\n",
}
RENAMES = {
    "003_add_unread_tracking.sql": "011_add_unread_tracking.sql",
    "005_create_attachments.sql": "012_create_attachments.sql",
    "006_order_labels.sql": "013_order_labels.sql",
}
FAILING = """\
CREATE TABLE audit (id int PRIMARY KEY);
DROP VIEW inbox;
INSERT INTO labels (name) VALUES ('never');
ALTER TABLE requests ADD COLUMN owner_id int REFERENCES owners (id);
"""
CORRECTED = FAILING.replace(" REFERENCES owners (id)", "")

REFUSED = """\
{folder}: 10 applied, 0 pending, 3 errors, 0 warnings

✗ Duplicate migration version 003:
  - 003_add_missing_request_columns.sql   applied 2025-10-10 14:02 UTC
  - 003_add_unread_tracking.sql           not applied: renumber to 011_add_unread_tracking.sql
✗ Duplicate migration version 005:
  - 005_add_request_index.sql    applied 2025-10-10 14:02 UTC
  - 005_create_attachments.sql   not applied: renumber to 012_create_attachments.sql
✗ Duplicate migration version 006:
  - 006_create_labels.sql   applied 2025-10-10 14:02 UTC
  - 006_order_labels.sql    not applied: renumber to 013_order_labels.sql

No migration is pending.

Next: `manage.py migrate_renumber` shows the renames, `--write` does them.
Cannot proceed with duplicate migration versions!
"""
CLEAN = """\
{folder}: 10 applied, 3 pending, 0 errors, 0 warnings

Would be applied, in this order (3):
  011_add_unread_tracking.sql   (1 statement)
  012_create_attachments.sql   (1 statement)
  013_order_labels.sql   (1 statement)

Next: `manage.py migrate_apply` applies them.
"""


def catalog(database: Database) -> str:
    """Everything the database holds, as pg_dump tells it, but the rows of the journal."""
    command = [
        *(str(project_server().program("pg_dump")), f"--dbname={database.url}"),
        *("--exclude-table-data=schema_migrations_log*", "--inserts"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    return "\n".join(line for line in lines if not line.startswith(("\\restrict", "\\unrestrict")))


def applied(database: Database) -> list[str]:
    rows = database.query("SELECT version || '_' || name FROM schema_migrations ORDER BY version")
    return [row[0] for row in rows]


def test_thirteen_files_with_three_collisions(
    folder: Folder, database: Database, manage: Callable[..., Result]
) -> None:
    here = ("--directory", folder.path)
    folder.with_tracking()
    for name, text in OLDER.items():
        folder.write(name, text)
    assert manage("migrate_apply", *here).code == 0
    database.execute("UPDATE schema_migrations SET applied_at = '2025-10-10 14:02:03+00'")

    # Another branch is merged: check and apply refuse, and touch nothing.
    for name, text in NEWER.items():
        folder.write(name, text)
    before = catalog(database)
    assert manage("migrate_check", *here) == Result(1, REFUSED.format(folder=folder.path), "")
    refused = manage("migrate_apply", *here)
    assert (refused.code, refused.out) == (1, "")
    assert "✗ Duplicate migration version 003 [E001]\n" in refused.err
    assert "\nNothing was applied: 3 errors must be settled first.\n" in refused.err
    assert catalog(database) == before

    # Plain renames, as proposed.
    for old, new in RENAMES.items():
        (folder.path / old).rename(folder.path / new)
    assert manage("migrate_check", *here) == Result(0, CLEAN.format(folder=folder.path), "")
    done = manage("migrate_apply", *here, "--applied-by", "deploy")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    for index, name in enumerate(RENAMES.values()):
        assert lines[index].startswith(f"Applying {name} ({index + 1} of 3)... OK (")
    assert lines[3].startswith("Applied 3 migrations in ")
    assert len(lines) == 4

    everything = [
        "001_migration_tracking",
        *(name.removesuffix(".sql") for name in [*OLDER, *RENAMES.values()]),
    ]
    assert applied(database) == everything
    status = manage("migrate_status", *here)
    assert (status.code, status.err) == (0, "")
    for name in everything:
        version, rest = name.split("_", 1)
        assert f"  {version}  applied       {rest}\n" in status.out
    assert status.out.count("  verified    ") == 13
    assert status.out.endswith("\nTotal: 13 | Applied: 13 | Pending: 0\n")
    assert manage("migrate_apply", *here) == Result(
        0, "Nothing to apply: the database is up to date.\n", ""
    )

    # An applied file is edited.
    changed = folder.path / "004_create_messages.sql"
    original = changed.read_text()
    changed.write_text(original.replace("request_id int", "request_id bigint"))
    edited = manage("migrate_check", *here)
    assert edited.code == 1
    assert (
        "✗ 004_create_messages.sql was changed after it was applied 2025-10-10 14:02 UTC"
        in edited.out
    )
    assert manage("migrate_apply", *here).code == 1
    assert "  004  changed       create_messages\n" in manage("migrate_status", *here).out
    changed.write_text(original)
    assert manage("migrate_check", *here).code == 0

    # A file fails at its last statement: the run stops, the database is as it was.
    bad = folder.write("014_add_owner.sql", FAILING)
    folder.write("015_after.sql", "CREATE TABLE after_it (id int);\n")
    before = catalog(database)
    failed = manage("migrate_apply", *here)
    assert failed == Result(
        1,
        "Applying 014_add_owner.sql (1 of 2)... FAILED\n",
        f'✗ {bad}:4:1: relation "owners" does not exist [SQLSTATE 42P01]\n'
        "    | ALTER TABLE requests ADD COLUMN owner_id int REFERENCES owners (id);\n"
        "    | ^\n"
        "  Nothing of it remains: the transaction was rolled back.\n"
        "  Correct the file, then run `manage.py migrate_apply`.\n"
        "Applied in this run: 0. Failed: 014_add_owner.sql.\n"
        "Not applied: 015_after.sql.\n",
    )
    assert catalog(database) == before
    assert database.query(
        "SELECT version, state, sqlstate, error, line FROM schema_migrations_log"
        " ORDER BY id DESC LIMIT 1"
    ) == [("014", "failed", "42P01", 'relation "owners" does not exist', 4)]

    # The corrected file applies, and the one after it.
    bad.write_text(CORRECTED)
    assert manage("migrate_apply", *here).code == 0
    assert applied(database)[-2:] == ["014_add_owner", "015_after"]
    assert database.query("SELECT to_regclass('audit')::text, to_regclass('inbox')::text") == [
        ("audit", None)
    ]
    history = manage("migrate_status", *here, "--history")
    assert history.code == 0
    assert "failed    apply     014_add_owner" in history.out
