"""The guide's three conflicts, from the merge to both databases: real git, real commands."""

from collections.abc import Callable

import pytest

from tests.conflicts.conftest import Repository
from tests.support import Database, Folder, Result

Call = Callable[..., Result]


@pytest.fixture
def branches(
    repository: Repository, production: Database, in_folder: Folder, call: Call
) -> Repository:
    """001 and 002 are applied in both databases; two branches have a 003 each.

    The branch `inbox` is a day older than `labels`, although its file sorts after the other's.
    """
    in_folder.with_tracking()
    in_folder.write("002_create_people.sql", "CREATE TABLE people (id int PRIMARY KEY);\n")
    repository.commit(day=1)
    assert call("migrate_apply", "--all-databases").code == 0
    repository.git("switch", "-q", "-c", "inbox")
    in_folder.write("003_create_inbox.sql", "CREATE TABLE inbox (id int REFERENCES people);\n")
    in_folder.write("003_create_inbox.down.sql", "DROP TABLE inbox;\n")
    repository.commit(day=2)
    repository.git("switch", "-q", "main")
    repository.git("switch", "-q", "-c", "labels")
    in_folder.write("003_add_labels.sql", "ALTER TABLE people ADD COLUMN label text;\n")
    in_folder.write("003_add_labels.down.sql", "ALTER TABLE people DROP COLUMN label;\n")
    repository.commit(day=3)
    repository.git("switch", "-q", "main")
    return repository


def merge(repository: Repository, branch: str, day: int) -> None:
    repository.git(
        "merge", "-q", "--no-ff", "-m", branch, branch, when=f"2025-10-{day:02d}T12:00:00Z"
    )


def names(folder: Folder) -> list[str]:
    return sorted(path.name for path in folder.path.iterdir())


def history(database: Database) -> list[tuple[str, str]]:
    return database.query("SELECT version, name FROM schema_migrations ORDER BY version")


def has_table(database: Database, name: str) -> bool:
    return database.query("SELECT to_regclass(%s) IS NOT NULL", name) == [(True,)]


BASE = [("001", "migration_tracking"), ("002", "create_people")]


def test_neither_is_applied(
    branches: Repository, database: Database, production: Database, in_folder: Folder, call: Call
) -> None:
    """Default is behind: it lacks 002. Production has it. Git says who keeps 003."""
    assert call("migrate_rollback", "002", "--sql", drop_people(in_folder)).code == 0
    merge(branches, "labels", 4)
    merge(branches, "inbox", 5)

    refused = call("migrate_apply")
    assert refused.code == 1
    assert "✗ Duplicate migration version 003 [E001]\n" in refused.err
    assert history(database) == BASE[:1]

    shown = call("migrate_renumber")
    assert shown == Result(
        0,
        "# 003_create_inbox.sql keeps 003 (first in git, 2025-10-02)\n"
        "git mv migrations/003_add_labels.sql migrations/004_add_labels.sql\n"
        "# goes with its migration\n"
        "git mv migrations/003_add_labels.down.sql migrations/004_add_labels.down.sql\n"
        "# A file moved to the end may be needed earlier on a fresh database:\n"
        "# `manage.py migrate_check --rehearse` tells. `--write` performs the renames.\n",
        "",
    )
    assert branches.status() == []
    assert call("migrate_renumber", "--write").code == 0
    assert branches.status() == [
        "R  migrations/003_add_labels.down.sql -> migrations/004_add_labels.down.sql",
        "R  migrations/003_add_labels.sql -> migrations/004_add_labels.sql",
    ]
    assert call("migrate_check", "--rehearse").code == 0
    branches.commit(day=6)

    applied = [*BASE, ("003", "create_inbox"), ("004", "add_labels")]
    assert call("migrate_apply", "--all-databases").code == 0
    assert (history(database), history(production)) == (applied, applied)
    assert call("migrate_check", "--all-databases", "--fail-on-warning").code == 0


def drop_people(folder: Folder) -> str:
    return str(Folder(folder.path.parent).write("output/drop_people.sql", "DROP TABLE people;\n"))


def test_one_is_applied_in_production(
    branches: Repository, database: Database, production: Database, in_folder: Folder, call: Call
) -> None:
    """Production has the younger file, which sorts first; default has none of the two."""
    branches.git("switch", "-q", "labels")
    assert call("migrate_apply", "--database", "production").code == 0
    branches.git("switch", "-q", "main")
    merge(branches, "inbox", 4)
    merge(branches, "labels", 5)

    checked = call("migrate_check", "--database", "production")
    assert checked.code == 1
    assert "  - 003_add_labels.sql     applied " in checked.out
    assert (
        "  - 003_create_inbox.sql   not applied: renumber to 004_create_inbox.sql\n" in checked.out
    )

    # Asked about default, it still knows of production.
    written = call("migrate_renumber", "--write")
    assert written.code == 0
    assert written.out.startswith(
        "# 003_add_labels.sql keeps 003 (applied in production)\n"
        "git mv migrations/003_create_inbox.sql migrations/004_create_inbox.sql\n"
        "# goes with its migration\n"
        "git mv migrations/003_create_inbox.down.sql migrations/004_create_inbox.down.sql\n"
    )
    branches.commit(day=6)

    applied = [*BASE, ("003", "add_labels"), ("004", "create_inbox")]
    assert call("migrate_apply", "--all-databases").code == 0
    assert (history(database), history(production)) == (applied, applied)
    assert has_table(database, "inbox")
    assert has_table(production, "inbox")
    assert call("migrate_check", "--all-databases", "--fail-on-warning").code == 0


def test_both_are_applied_one_in_each_database(
    branches: Repository, database: Database, production: Database, in_folder: Folder, call: Call
) -> None:
    """No file can move by itself; a rollback on the developer's database settles it."""
    branches.git("switch", "-q", "inbox")
    assert call("migrate_apply").code == 0
    branches.git("switch", "-q", "labels")
    assert call("migrate_apply", "--database", "production").code == 0
    branches.git("switch", "-q", "main")
    merge(branches, "inbox", 4)
    merge(branches, "labels", 5)
    before = names(in_folder)

    refused = call("migrate_renumber", "--write")
    assert refused.code == 1
    assert (
        "Nothing was renamed: 003_add_labels.sql is applied in production; 003_create_inbox.sql is "
        "applied in default.\n"
    ) in refused.err
    assert (names(in_folder), branches.status()) == (before, [])

    down = in_folder.path / "003_create_inbox.down.sql"
    assert call("migrate_rollback", "003", "--sql", down).code == 0
    assert call("migrate_renumber", "--write").code == 0
    branches.commit(day=6)
    applied = [*BASE, ("003", "add_labels"), ("004", "create_inbox")]
    assert call("migrate_apply", "--all-databases").code == 0
    assert (history(database), history(production)) == (applied, applied)
    assert call("migrate_check", "--all-databases", "--fail-on-warning").code == 0


def test_already_renumbered(
    branches: Repository, database: Database, production: Database, in_folder: Folder, call: Call
) -> None:
    """003_create_inbox ran in production; somebody renumbered it by hand in git since.

    Default, where neither ran, needs nothing but an apply; production must not run it twice.
    """
    branches.git("switch", "-q", "inbox")
    assert call("migrate_apply", "--database", "production").code == 0
    production.execute("INSERT INTO people VALUES (1); INSERT INTO inbox VALUES (1);")
    branches.git("switch", "-q", "main")
    merge(branches, "inbox", 4)
    for ending in (".sql", ".down.sql"):
        branches.git(
            "mv",
            f"migrations/003_create_inbox{ending}",
            f"migrations/004_create_inbox{ending}",
        )
    branches.commit(day=5)
    merge(branches, "labels", 6)

    assert call("migrate_apply").code == 0
    refused = call("migrate_apply", "--database", "production")
    assert refused.code == 1
    assert "✗ 004_create_inbox.sql is already applied as version 003 (create_inbox " in refused.err
    assert "it would run twice [E004]" in refused.err
    assert production.query("SELECT * FROM inbox") == [(1,)]

    recorded = call("migrate_renumber", "--record", "--database", "production")
    assert (recorded.code, recorded.err) == (0, "")
    assert recorded.out.endswith("Moved 1 row.\n")
    assert history(production) == [*BASE, ("004", "create_inbox")]
    assert production.query(
        "SELECT version, action, state FROM schema_migrations_log ORDER BY id DESC LIMIT 1"
    ) == [("004", "renumber", "done")]

    # 003_add_labels is now below what ran: allowed once, knowingly.
    late = call("migrate_apply", "--database", "production")
    assert late.code == 1
    assert "✗ 003_add_labels.sql is pending, but 004 is already applied [E006]" in late.err
    assert call("migrate_apply", "--database", "production", "--allow-out-of-order").code == 0
    applied = [*BASE, ("003", "add_labels"), ("004", "create_inbox")]
    assert (history(database), history(production)) == (applied, applied)
    assert production.query("SELECT * FROM inbox") == [(1,)]
    assert call("migrate_check", "--all-databases", "--fail-on-warning").code == 0
