"""Family 18: a migration gives way to others, tries again, and in the end says who was in the way.

An ALTER TABLE that waits makes everybody behind it wait. So it waits for 500 ms, every fourth
time for 1.5 s (then an autovacuum is cancelled), and lets the others pass in between.
"""

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from pytest_django import Settings

from tests.faults.scenes import applied, attempts, exists, holding, wait_for_statement
from tests.faults.server import PrivateServer
from tests.support import Database, Folder, Result, Running, wait_until

BLOCKER_S = 8.0
LONGEST_READ_S = 3.0  # 1.5 s and what a loaded machine adds; without giving way it is 7.5 s
ALTER = "ALTER TABLE t ADD COLUMN c int;"
BLOCK = "SELECT * FROM t WHERE a = 4711"
# A session as people are told of it.
REPORTING = (
    r"process \d+, user (?:postgres|root), host (local socket|127\.0\.0\.1), application reporting, since"
    r" \d{4}-\d\d-\d\d \d\d:\d\d:\d\d, for [\d.]+ m?s, running: SELECT \* FROM t WHERE a = \?"
)


@dataclass
class Readers:
    """Sessions that read the table over and over, and how long the longest read took."""

    database: Database
    count: int = 3
    reads: int = 0
    longest: float = 0.0
    problems: list[str] = field(default_factory=list)

    def _read(self, stop: threading.Event) -> None:
        try:
            with self.database.connect(application_name="reader") as connection:
                while not stop.is_set():
                    started = time.monotonic()
                    connection.execute("SELECT count(*) FROM t").fetchone()
                    self.longest = max(self.longest, time.monotonic() - started)
                    self.reads += 1
                    time.sleep(0.02)
        except psycopg.Error as error:
            self.problems.append(str(error))

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        stop = threading.Event()
        threads = [threading.Thread(target=self._read, args=(stop,)) for _ in range(self.count)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join(60)


@pytest.fixture
def prepared(database: Database, folder: Folder, call: Callable[..., Result]) -> Database:
    folder.with_tracking()
    folder.write("002_t.sql", "CREATE TABLE t (a int); CREATE TABLE u (a int);")
    assert call("migrate_apply", "-v0").code == 0
    return database


@pytest.fixture
def small_budget(folder: Folder, settings: Settings) -> None:
    settings.SQLMIGRATOR = {**settings.SQLMIGRATOR, "LOCK_BUDGET": "2s"}


@pytest.mark.parametrize("header", ["", "-- sqlmigrator: no-transaction\n"])
def test_readers_pass_while_a_long_report_is_in_the_way(
    header: str, prepared: Database, folder: Folder, start: Callable[..., Running]
) -> None:
    folder.write("003_alter.sql", f"{header}{ALTER}")
    readers = Readers(prepared)
    with readers.running():
        with holding(prepared, BLOCK):
            began = time.monotonic()
            running = start()
            running.wait_for("attempt 1: canceling statement due to lock timeout; again in ")
            time.sleep(max(0.0, BLOCKER_S - (time.monotonic() - began)))
        result = running.finish(60)
    assert (result.code, readers.problems) == (0, [])
    assert re.search(f"^  waits for a lock of {REPORTING}$", result.err, re.MULTILINE), result.err
    assert readers.reads > 100
    assert readers.longest < LONGEST_READ_S, (readers.longest, result.err)
    assert applied(prepared) == ["001", "002", "003"]
    assert attempts(prepared, "003") == [("done", 1, 1, None, None)]


@pytest.mark.parametrize("header", ["", "-- sqlmigrator: no-transaction\n"])
@pytest.mark.usefixtures("small_budget")
def test_a_permanent_blocker_is_named(
    header: str, prepared: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    folder.write("003_alter.sql", f"{header}CREATE TABLE before (n int);\n{ALTER}")
    with holding(prepared, BLOCK):
        result = call("migrate_apply")
    assert result.code == 1
    line = 3 if header else 2
    assert (
        f"003_alter.sql:{line}:1: canceling statement due to lock timeout [SQLSTATE 55P03]\n"
        in result.err
    )
    assert f"    | {ALTER}\n    | ^\n" in result.err
    assert re.search(f"^  waits for a lock of {REPORTING}$", result.err, re.MULTILINE)
    assert re.search(f"^    Blocked by {REPORTING}$", result.err, re.MULTILINE), result.err
    assert "attempt 2: canceling statement due to lock timeout; again in " in result.err
    assert applied(prepared) == ["001", "002"]
    assert exists(prepared, "before") == bool(header)
    ((sqlstate, error, number, reason),) = prepared.query(
        "SELECT sqlstate, error, line, reason FROM schema_migrations_log WHERE version = '003'"
    )
    assert (sqlstate, error) == ("55P03", "canceling statement due to lock timeout")
    assert number == line
    assert re.fullmatch(f"blocked by {REPORTING}", reason), reason
    assert "blocked by process" in " ".join(call("migrate_status", "--history").out.split())
    # The blocker is gone: the same command succeeds.
    assert call("migrate_apply", *(["--resume"] if header else [])).code == 0


@pytest.mark.usefixtures("small_budget")
def test_a_lock_on_the_history_itself(
    prepared: Database, folder: Folder, call: Callable[..., Result]
) -> None:
    folder.write("003_table.sql", "CREATE TABLE a (n int);")
    with holding(prepared, "LOCK TABLE schema_migrations IN SHARE MODE"):
        result = call("migrate_apply")
    assert result.code == 1
    assert "canceling statement due to lock timeout [SQLSTATE 55P03]" in result.err
    assert "    Blocked by process " in result.err
    assert not exists(prepared, "a")
    assert call("migrate_apply").code == 0


def test_autovacuum_is_beaten(
    private_server: PrivateServer, folder: Folder, manage_popen: Callable[..., Running]
) -> None:
    """A waiter cancels it after deadlock_timeout, 1 s: the fourth attempt waits long enough."""
    database = private_server.database
    database.execute(
        "CREATE TABLE t (a int, filler text)"
        " WITH (autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0,"
        " autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1);"
        "INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(1, 3000) AS i;"
    )
    database.execute("DELETE FROM t WHERE a % 2 = 0")
    with database.connect() as connection:
        connection.execute("ALTER SYSTEM SET autovacuum_naptime = '1s'")
        connection.execute("SELECT pg_reload_conf()")
    vacuum = (
        "SELECT 1 FROM pg_stat_activity a JOIN pg_locks l USING (pid)"
        " WHERE backend_type = 'autovacuum worker' AND l.relation = 't'::regclass"
        " AND l.mode = 'ShareUpdateExclusiveLock' AND l.granted"
    )
    wait_until(lambda: database.query(vacuum), "autovacuum works on the table", 60)
    folder.with_tracking()
    folder.write("002_alter.sql", "ALTER TABLE t ADD COLUMN c int;")
    running = manage_popen("migrate_apply", "--directory", folder.path, database=database)
    result = running.finish(60)
    assert result.code == 0, result.err
    assert "attempt 1: canceling statement due to lock timeout" in result.err
    assert re.search(r"waits for a lock of process \d+, .*autovacuum: VACUUM ", result.err)
    log = (Path(str(database.parameters["host"])) / "log").read_text()
    assert "canceling autovacuum task" in log
    assert applied(database) == ["001", "002"]


def test_a_deadlock_is_tried_again(
    prepared: Database, folder: Folder, start: Callable[..., Running]
) -> None:
    folder.write(
        "003_both.sql",
        "-- sqlmigrator: lock_timeout=30s\nCREATE TABLE once (n int);\n"
        "LOCK TABLE t; SELECT pg_sleep(1); LOCK TABLE u;",
    )
    # The other session must not be the one that the server picks.
    with holding(prepared, "SET deadlock_timeout = '1min'; LOCK TABLE u") as other:
        running = start()
        wait_for_statement(prepared, "LOCK TABLE t; SELECT pg_sleep(1)")
        wait_until(
            lambda: prepared.query(
                "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
                " AND datname = current_database()"
            ),
            "the migration holds t",
        )
        other.execute("LOCK TABLE t")  # returns when the migration was rolled back
        other.commit()
    result = running.finish(60)
    assert result.code == 0, result.err
    assert "  attempt 1: deadlock detected; again in " in result.err
    assert applied(prepared) == ["001", "002", "003"]
    assert prepared.query("SELECT count(*) FROM once") == [(0,)]


@pytest.mark.parametrize("header", ["", "-- sqlmigrator: no-transaction\n"])
@pytest.mark.parametrize("where", ["option", "directive", "setting"])
def test_statement_timeout(
    where: str,
    header: str,
    prepared: Database,
    folder: Folder,
    call: Callable[..., Result],
    settings: Settings,
) -> None:
    directive = "-- sqlmigrator: statement_timeout=300ms\n" if where == "directive" else ""
    options = ["--statement-timeout", "300ms"] if where == "option" else []
    if where == "setting":
        settings.SQLMIGRATOR = {**settings.SQLMIGRATOR, "STATEMENT_TIMEOUT": "300ms"}
    folder.write("003_slow.sql", f"{header}{directive}SELECT pg_sleep(30);")
    result = call("migrate_apply", *options)
    assert result.code == 1
    assert "canceling statement due to statement timeout [SQLSTATE 57014]\n" in result.err
    assert "again in" not in result.err
    assert attempts(prepared, "003") == [
        ("failed", 0, 1, "57014", "canceling statement due to statement timeout")
    ]
    assert applied(prepared) == ["001", "002"]


def test_without_a_limit_only_where_it_was_asked_for(
    prepared: Database, folder: Folder, start: Callable[..., Running]
) -> None:
    folder.write("003_alter.sql", f"-- sqlmigrator: lock_timeout=0\n{ALTER}")
    with holding(prepared, BLOCK):
        running = start()
        running.wait_for("waits for a lock of process ")
        time.sleep(2)
        assert "attempt" not in running.err
    assert running.finish(30).code == 0


def test_blockers_are_named_without_their_values(
    prepared: Database, folder: Folder, call: Callable[..., Result], settings: Settings
) -> None:
    settings.SQLMIGRATOR = {**settings.SQLMIGRATOR, "LOCK_BUDGET": "1s"}
    folder.write("003_alter.sql", ALTER)
    for literal in (
        "'marked'",
        "E'it\\'s marked'",
        "$$marked$$",
        "$tag$ marked $tag$",
        "U&'marked'",
        "'a''marked'",
        "'" + "x" * 300 + " marked'",
        "/* it's */ 'marked'",
    ):
        with holding(prepared, f"SELECT {literal} FROM t"):
            result = call("migrate_apply")
        assert result.code == 1
        assert "running: SELECT" in result.err
        assert "marked" not in result.err, literal
    reasons = prepared.query("SELECT reason FROM schema_migrations_log WHERE version = '003'")
    assert len(reasons) == 8
    assert "marked" not in str(reasons)
