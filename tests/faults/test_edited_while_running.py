"""A file is edited or removed while it is being applied, or while its journal row is `running`."""

import hashlib
import signal
from collections.abc import Callable

import pytest

from tests.faults.scenes import applied, attempts, exists, wait_for_no_runner
from tests.support import Database, Folder, Result, Running, wait_until

Start = Callable[..., Running]

NO_TRANSACTION = "-- sqlmigrator: no-transaction\n"
WAIT = (
    "DO $$ BEGIN WHILE EXISTS (SELECT FROM gate) LOOP PERFORM pg_sleep(0.02); END LOOP; END $$;\n"
)
TWO = f"CREATE TABLE a (n int);\n{WAIT}CREATE TABLE b (n int);\n"
EDITED = f"CREATE TABLE a (n int);\n{WAIT}CREATE TABLE other (n int);\n"
AT_THE_GATE = """
SELECT pid FROM pg_stat_activity WHERE datname = current_database()
    AND application_name = 'sqlmigrator' AND wait_event = 'PgSleep'
"""
HEADERS = pytest.mark.parametrize(
    "header", ["", NO_TRANSACTION], ids=["transactional", "no-transaction"]
)


@pytest.fixture
def base(database: Database, folder: Folder, call: Callable[..., Result]) -> Folder:
    """A folder whose first file is applied."""
    folder.with_tracking()
    assert call("migrate_apply").code == 0
    database.execute("CREATE TABLE gate AS SELECT 1 AS n")
    return folder


def started_until_it_waits(database: Database, start: Start) -> Running:
    running = start()
    wait_until(lambda: database.query(AT_THE_GATE), f"the file waits\n{running.err}")
    return running


def checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def recorded(database: Database, version: str) -> list[str]:
    rows = database.query(
        "SELECT checksum FROM schema_migrations WHERE version = %s", version
    ) + database.query("SELECT checksum FROM schema_migrations_log WHERE version = %s", version)
    return [row[0] for row in rows]


@HEADERS
def test_what_ran_is_what_is_recorded(
    database: Database, base: Folder, start: Start, call: Callable[..., Result], header: str
) -> None:
    base.write("002_two.sql", header + TWO)
    running = started_until_it_waits(database, start)
    base.write("002_two.sql", header + EDITED)
    database.execute("DELETE FROM gate")
    assert running.finish().code == 0
    assert exists(database, "b")
    assert not exists(database, "other")
    assert recorded(database, "002") == [checksum(header + TWO)] * 2
    checked = call("migrate_check")
    assert checked.code == 1
    assert "002_two.sql" in checked.out + checked.err
    assert "changed" in checked.out + checked.err
    base.write("002_two.sql", header + TWO)
    assert call("migrate_check").code == 0


@HEADERS
def test_the_file_is_removed(database: Database, base: Folder, start: Start, header: str) -> None:
    path = base.write("002_two.sql", header + TWO)
    running = started_until_it_waits(database, start)
    path.unlink()
    database.execute("DELETE FROM gate")
    assert running.finish().code == 0
    assert recorded(database, "002") == [checksum(header + TWO)] * 2


@pytest.mark.parametrize("size", [0, 3 << 20], ids=["small", "large"])
def test_a_later_file_is_edited_before_its_turn(
    database: Database, base: Folder, start: Start, size: int
) -> None:
    """A small file was read with the plan and runs as it was then; a large one is read again
    and refused. Neither way is anything recorded that did not run.
    """
    padding = "-- " + "x" * size + "\n"
    planned = f"CREATE TABLE planned (n int);\n{padding}"
    base.write("002_two.sql", TWO)
    path = base.write("003_three.sql", planned)
    running = started_until_it_waits(database, start)
    base.write("003_three.sql", f"CREATE TABLE other (n int);\n{padding}")
    database.execute("DELETE FROM gate")
    result = running.finish()
    assert not exists(database, "other")
    if size:
        assert result.code == 1
        assert result.err == (
            f"{path} was changed while the run was going on; it was not applied.\n"
            "  Run `manage.py migrate_check`, then apply again.\n"
        )
        assert applied(database) == ["001", "002"]
        assert attempts(database, "003") == []
    else:
        assert result.code == 0, result
        assert exists(database, "planned")
        assert recorded(database, "003") == [checksum(planned)] * 2


@pytest.fixture
def interrupted(database: Database, base: Folder, start: Start) -> Folder:
    """002 was killed in its second statement: its journal row says `running`."""
    base.write("002_two.sql", NO_TRANSACTION + TWO)
    running = started_until_it_waits(database, start)
    assert running.kill().code == -signal.SIGKILL
    wait_for_no_runner(database)
    assert attempts(database, "002") == [("running", 1, 3, None, None)]
    database.execute("DELETE FROM gate")
    return base


def test_resume_refuses_an_edited_file(
    database: Database, interrupted: Folder, start: Start
) -> None:
    interrupted.write("002_two.sql", NO_TRANSACTION + EDITED)
    result = start("--resume").finish()
    assert result.code == 1
    assert result.err.endswith(
        "002_two.sql was edited since it was interrupted; it cannot be resumed.\n"
        "  The statements that are done may not be those that the file holds now.\n"
        "  Restore the file and resume; or complete it by hand, then `manage.py migrate_mark"
        " --applied 002 --reason …`; or undo what is done, then `--unapplied 002 --reason …` to run"
        " the file from the start.\n"
    )
    assert applied(database) == ["001"]
    assert not exists(database, "other")
    assert attempts(database, "002") == [("running", 1, 3, None, None)]
    interrupted.write("002_two.sql", NO_TRANSACTION + TWO)
    assert start("--resume").finish().code == 0
    assert applied(database) == ["001", "002"]
    assert exists(database, "b")


def test_resume_accepts_other_line_ends(
    database: Database, interrupted: Folder, start: Start
) -> None:
    """Another checkout of the same file, with CRLF, is not an edit."""
    interrupted.write("002_two.sql", (NO_TRANSACTION + TWO).replace("\n", "\r\n"))
    result = start("--resume").finish()
    assert result.code == 0, result
    assert exists(database, "b")
    assert applied(database) == ["001", "002"]


def test_the_directive_is_taken_out_of_an_interrupted_file(
    database: Database, interrupted: Folder, start: Start
) -> None:
    """As a transactional file it would run from the start: statement 1 a second time."""
    interrupted.write("002_two.sql", TWO)
    for args in ([], ["--resume"]):
        result = start(*args).finish()
        assert result.code == 1, result
        assert applied(database) == ["001"]
        assert attempts(database, "002") == [("running", 1, 3, None, None)]
