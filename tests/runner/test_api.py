"""MigrationRunner as deploy scripts use it: typed results, events, errors, signals, Stop."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.dispatch import Signal
from pytest_django import Settings

import sqlmigrator
from sqlmigrator import signals
from sqlmigrator.conf import get_config
from sqlmigrator.core.history import Action, AttemptState
from sqlmigrator.core.plan import State
from sqlmigrator.events import (
    Event,
    MigrationApplied,
    MigrationStarted,
    NoticeReceived,
    Progress,
    StatementStarted,
    Stop,
)
from sqlmigrator.exceptions import (
    ConfigurationError,
    DatabaseRefused,
    Interrupted,
    LockNotObtained,
    PlanRefused,
    SqlMigratorError,
)
from sqlmigrator.models import SchemaMigration
from sqlmigrator.results import Applied, ApplyResult, MigrationFailed
from sqlmigrator.runner import MigrationRunner
from tests.support import Database, Folder


@pytest.fixture
def pending(database: Database, folder: Folder) -> Folder:
    folder.with_tracking().write("002_a.sql", "CREATE TABLE a (id int);")
    folder.write("003_b.sql", "CREATE TABLE b (id int);")
    return folder


def versions(database: Database) -> list[str]:
    rows = database.query("SELECT version FROM schema_migrations ORDER BY version")
    return [row[0] for row in rows]


def exists(database: Database, name: str) -> bool:
    return database.query("SELECT to_regclass(%s) IS NOT NULL", name) == [(True,)]


def sessions(database: Database) -> int:
    """The runner's sessions in the database."""
    ((count,),) = database.query(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = 'sqlmigrator'"
    )
    return int(count)


# Reading


def test_status_and_check_are_plans(database: Database, pending: Folder) -> None:
    runner = MigrationRunner()
    plan = runner.status()
    assert [(e.version, e.number, e.name, e.state, e.filename) for e in plan.entries] == [
        ("001", 1, "migration_tracking", State.PENDING, "001_migration_tracking.sql"),
        ("002", 2, "a", State.PENDING, "002_a.sql"),
        ("003", 3, "b", State.PENDING, "003_b.sql"),
    ]
    assert plan.pending == plan.entries
    assert plan.findings == ()
    assert plan.count(State.PENDING) == 3
    assert [entry.version for entry in runner.check(to="2").pending] == ["001", "002"]
    assert runner.check(offline=True).pending == runner.check().pending
    with pytest.raises(FrozenInstanceError):
        plan.entries = ()  # type: ignore[misc]


def test_reading_works_inside_the_callers_transaction(database: Database, pending: Folder) -> None:
    pending.write("004_bad.sql", "SELEC 1;")
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE mine (id int)")
        plan = MigrationRunner().check()
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM mine")
    assert [finding.message for finding in plan.errors] == ['syntax error at or near "SELEC"']
    assert exists(database, "mine")


def test_attempts(database: Database, pending: Folder) -> None:
    runner = MigrationRunner(config=get_config(applied_by="deploy"))
    pending.write("003_b.sql", "SELECT nope;")
    with pytest.raises(MigrationFailed):
        runner.apply()
    latest, *others = runner.attempts()
    assert (latest.version, latest.name, latest.action, latest.state) == (
        "003",
        "b",
        Action.APPLY,
        AttemptState.FAILED,
    )
    assert (latest.sqlstate, latest.line, latest.applied_by) == ("42703", 1, "deploy")
    assert [attempt.version for attempt in others] == ["002", "001"]
    assert [attempt.version for attempt in runner.attempts("002")] == ["002"]
    assert runner.attempts(limit=1) == (latest,)
    assert runner.attempts("'; DROP TABLE schema_migrations; --") == ()


# Applying


def test_apply_returns_what_was_applied(database: Database, pending: Folder) -> None:
    result = MigrationRunner().apply()
    assert [replace(applied, execution_time_ms=0) for applied in result.applied] == [
        Applied("001", "migration_tracking", "001_migration_tracking.sql", 0),
        Applied("002", "a", "002_a.sql", 0),
        Applied("003", "b", "003_b.sql", 0),
    ]
    assert (result.database, result.failure, result.not_tried) == ("default", None, ())
    assert result.execution_time_ms == sum(a.execution_time_ms for a in result.applied)
    assert versions(database) == ["001", "002", "003"]
    assert MigrationRunner().apply() == ApplyResult("default")
    assert sessions(database) == 0


def test_it_needs_no_transaction_of_the_caller(database: Database, pending: Folder) -> None:
    """The runner has a session of its own: what it commits stays, whatever the caller does."""
    with transaction.atomic():
        MigrationRunner().apply(to="002")
        transaction.set_rollback(True)
    assert versions(database) == ["001", "002"]


def test_the_config_is_a_value(database: Database, pending: Folder, settings: Settings) -> None:
    config = get_config(directory=pending.path, applied_by="script")
    settings.SQLMIGRATOR = {"DIRECTORY": "/nowhere"}
    MigrationRunner(config=config).apply()
    assert database.query("SELECT DISTINCT applied_by FROM schema_migrations") == [("script",)]
    with pytest.raises(ConfigurationError) as caught:
        MigrationRunner().status()
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("alias", "message"),
    [("nope", "There is no database 'nope' in settings.DATABASES.")],
)
def test_an_unknown_alias(alias: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        MigrationRunner(alias)
    assert (caught.value.message, caught.value.hint) == (message, "Known: default.")


def test_errors_have_three_parts_and_an_exit_code(database: Database, pending: Folder) -> None:
    with pytest.raises(SqlMigratorError) as caught:
        MigrationRunner().apply(to="9")
    error = caught.value
    assert str(error) == error.message == f"There is no migration '9' in {pending.path}."
    assert (error.why, error.hint, error.exit_code) == (
        "",
        "`manage.py migrate_status` lists the versions.",
        2,
    )


def test_a_file_that_changes_while_the_run_goes_on_is_not_applied(
    database: Database, pending: Folder
) -> None:
    """Large files are read again when their turn comes."""
    big = "CREATE TABLE big (id int);\n" + "-- padding\n" * 120_000
    path = pending.write("003_b.sql", big)

    def edit(event: Event) -> None:
        if isinstance(event, MigrationApplied) and event.version == "002":
            path.write_text(big.replace("big", "other"))

    with pytest.raises(SqlMigratorError, match="was changed while the run was going on"):
        MigrationRunner().apply(on_event=edit)
    assert versions(database) == ["001", "002"]
    assert not exists(database, "other")


# Events


def test_events_come_in_order(database: Database, pending: Folder) -> None:
    pending.write(
        "003_b.sql",
        "-- sqlmigrator: no-transaction\nCREATE TABLE b (id int);\n"
        "CREATE INDEX CONCURRENTLY b_idx ON b (id);\n",
    )
    pending.write("004_c.sql", "DO $$ BEGIN RAISE NOTICE 'hello'; END $$;")
    events: list[Event] = []
    result = MigrationRunner().apply(on_event=events.append)
    times = {applied.version: applied.execution_time_ms for applied in result.applied}
    # 001 and the journal have notices of their own: "already exists, skipping".
    told = [e for e in events if not isinstance(e, NoticeReceived) or e.message == "hello"]
    assert told == [
        MigrationStarted("001", "001_migration_tracking.sql", 1, 4),
        MigrationApplied("001", "001_migration_tracking.sql", times["001"]),
        MigrationStarted("002", "002_a.sql", 2, 4),
        MigrationApplied("002", "002_a.sql", times["002"]),
        MigrationStarted("003", "003_b.sql", 3, 4),
        StatementStarted("003_b.sql", 1, 2),
        StatementStarted("003_b.sql", 2, 2),
        MigrationApplied("003", "003_b.sql", times["003"]),
        MigrationStarted("004", "004_c.sql", 4, 4),
        NoticeReceived("NOTICE", "hello"),
        MigrationApplied("004", "004_c.sql", times["004"]),
    ]


def test_only_the_files_notices_are_told(database: Database, pending: Folder) -> None:
    """Neither the runner's own statements nor what it resets between files speak."""
    events: list[Event] = []
    MigrationRunner().apply(to="001")
    MigrationRunner().apply(on_event=events.append)
    assert [event for event in events if isinstance(event, NoticeReceived)] == []


def test_applied_is_told_after_the_commit(database: Database, pending: Folder) -> None:
    seen: list[list[str]] = []

    def look(event: Event) -> None:
        if isinstance(event, MigrationApplied):
            seen.append(versions(database))

    MigrationRunner().apply(on_event=look)
    assert seen == [["001"], ["001", "002"], ["001", "002", "003"]]


@pytest.mark.parametrize("kind", [MigrationStarted, MigrationApplied, Progress])
def test_an_error_in_the_callback_ends_the_run_cleanly(
    database: Database, pending: Folder, kind: type[Event]
) -> None:
    pending.write("002_a.sql", "CREATE TABLE a (id int); SELECT pg_sleep(2);")

    def fail(event: Event) -> None:
        if isinstance(event, kind) and getattr(event, "version", "002") == "002":
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        MigrationRunner().apply(on_event=fail)
    done = kind is MigrationApplied
    assert versions(database) == (["001", "002"] if done else ["001"])
    assert exists(database, "a") is done
    assert MigrationRunner().apply().applied[-1].version == "003"


# Refusals and failures


def test_plan_refused_holds_the_errors_and_nothing_ran(database: Database, pending: Folder) -> None:
    pending.write("003_other.sql", "SELECT 1;")
    pending.write("004_bad.sql", "COMMIT;")
    pending.write("notes.sql", "SELECT 1;")
    events: list[Event] = []
    with pytest.raises(PlanRefused) as caught:
        MigrationRunner().apply(on_event=events.append)
    refused = caught.value
    assert refused.message == "Nothing was applied: 2 errors must be settled first."
    assert refused.hint == "`manage.py migrate_check` shows everything, with the way out."
    assert refused.exit_code == 1
    assert [finding.rule.id for finding in refused.findings] == [
        "sqlmigrator.E001",
        "sqlmigrator.E009",
    ]
    assert refused.findings[1].location == f"{pending.path / '004_bad.sql'}:1:1"
    assert events == []
    assert not exists(database, "schema_migrations")
    assert sessions(database) == 0


def test_migration_failed_holds_the_result(database: Database, pending: Folder) -> None:
    path = pending.write("002_a.sql", "CREATE TABLE a (id int);\nSELECT\n  nope;")
    pending.write("004_c.sql", "SELECT 1;")
    with pytest.raises(MigrationFailed) as caught:
        MigrationRunner().apply()
    error = caught.value
    assert error.message == '002_a.sql failed: column "nope" does not exist'
    assert error.hint == "Correct the file, then run `manage.py migrate_apply`."
    assert error.exit_code == 1
    assert [applied.version for applied in error.result.applied] == ["001"]
    assert error.result.not_tried == ("003_b.sql", "004_c.sql")
    failure = error.result.failure
    assert failure is not None
    assert (failure.version, failure.filename, failure.file) == ("002", "002_a.sql", str(path))
    assert (failure.statement, failure.line, failure.column) == (2, 3, 3)
    assert (failure.sqlstate, failure.excerpt, failure.blockers) == ("42703", "  nope;", ())
    assert not exists(database, "a")


def test_the_lock_is_not_obtained(database: Database, pending: Folder) -> None:
    """A second runner in another thread: it gives up, the first is not disturbed."""
    caught: list[BaseException] = []

    def second() -> None:
        try:
            MigrationRunner(config=get_config(lock_wait_ms=100)).apply()
        except LockNotObtained as error:
            caught.append(error)
        finally:
            connections.close_all()  # this thread's own

    def start_second(event: Event) -> None:
        if isinstance(event, MigrationStarted) and event.version == "002":
            thread = threading.Thread(target=second)
            thread.start()
            thread.join()

    result = MigrationRunner().apply(on_event=start_second)
    assert len(result.applied) == 3
    (error,) = caught
    assert isinstance(error, LockNotObtained)
    assert error.exit_code == 5
    assert error.why == "Two runners at once would apply migrations twice."


# Stop


def test_a_stop_between_two_migrations(database: Database, pending: Folder) -> None:
    stop = Stop()

    def ask(event: Event) -> None:
        if isinstance(event, MigrationApplied) and event.version == "002":
            stop.request(15)

    assert not stop.requested
    with pytest.raises(Interrupted) as caught:
        MigrationRunner().apply(on_event=ask, stop=stop)
    assert stop.requested
    assert caught.value.message == (
        "Stopped by a signal between two migrations; 2 applied in this run, 1 still pending."
    )
    assert caught.value.exit_code == 143
    assert versions(database) == ["001", "002"]
    assert sessions(database) == 0


def test_a_stop_from_another_thread_cancels_the_statement(
    database: Database, pending: Folder
) -> None:
    pending.write("003_b.sql", "CREATE TABLE b (id int); SELECT pg_sleep(60);")
    stop = Stop()

    def ask_soon(event: Event) -> None:
        if isinstance(event, MigrationStarted) and event.version == "003":
            threading.Timer(0.5, stop.request, [2]).start()

    with pytest.raises(Interrupted) as caught:
        MigrationRunner().apply(on_event=ask_soon, stop=stop)
    assert caught.value.message == (
        "Stopped by a signal: 003_b.sql was rolled back, nothing of it remains; "
        "2 applied in this run, 1 still pending."
    )
    assert caught.value.exit_code == 130
    assert not exists(database, "b")
    assert database.query(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        " AND datname = current_database()"
    ) == [(0,)]


def test_a_stop_of_a_single_transaction(database: Database, pending: Folder) -> None:
    pending.write("003_b.sql", "SELECT pg_sleep(60);")
    stop = Stop()

    def ask_soon(event: Event) -> None:
        if isinstance(event, MigrationStarted) and event.version == "003":
            threading.Timer(0.5, stop.request, [2]).start()

    with pytest.raises(Interrupted):
        MigrationRunner().apply(on_event=ask_soon, stop=stop, single_transaction=True)
    assert not exists(database, "a")
    assert not exists(database, "schema_migrations")


def test_a_stop_before_the_start(database: Database, pending: Folder) -> None:
    stop = Stop()
    stop.request(15)
    with pytest.raises(Interrupted):
        MigrationRunner().apply(stop=stop)
    assert not exists(database, "schema_migrations")


# Signals


@contextmanager
def received(
    *wanted: Signal, act: Callable[[dict[str, Any]], object] = lambda payload: None
) -> Iterator[list[dict[str, Any]]]:
    """Collect what is sent; `act` is called with each payload."""
    got: list[dict[str, Any]] = []

    def receive(signal: Signal, sender: object, **payload: Any) -> None:
        got.append(payload)
        act(payload)

    for signal in wanted:
        signal.connect(receive)
    try:
        yield got
    finally:
        for signal in wanted:
            signal.disconnect(receive)


def test_signals_of_a_run(database: Database, pending: Folder) -> None:
    seen: list[list[str]] = []
    with (
        received(signals.migration_applied, act=lambda _: seen.append(versions(database))) as done,
        received(signals.run_finished) as finished,
        received(signals.migration_failed) as failed,
    ):
        result = MigrationRunner().apply()
    assert done == [{"database": "default", "applied": applied} for applied in result.applied]
    assert seen == [["001"], ["001", "002"], ["001", "002", "003"]]
    assert finished == [{"database": "default", "result": result}]
    assert failed == []


def test_signals_of_a_failure_come_after_the_rollback(database: Database, pending: Folder) -> None:
    pending.write("003_b.sql", "CREATE TABLE b (id int); SELECT nope;")
    seen: list[object] = []

    def look(payload: dict[str, Any]) -> None:
        seen.append(exists(database, "b"))
        seen.append(
            database.query("SELECT version, state FROM schema_migrations_log ORDER BY id DESC")[0]
        )

    with (
        received(signals.migration_failed, act=look) as failed,
        received(signals.run_finished) as finished,
        pytest.raises(MigrationFailed) as caught,
    ):
        MigrationRunner().apply()
    result = caught.value.result
    assert failed == [{"database": "default", "failure": result.failure}]
    assert finished == [{"database": "default", "result": result}]
    assert seen == [False, ("003", "failed")]


def test_signals_of_a_single_transaction_wait_for_its_commit(
    database: Database, pending: Folder
) -> None:
    seen: list[list[str]] = []
    with received(signals.migration_applied, act=lambda _: seen.append(versions(database))):
        MigrationRunner().apply(single_transaction=True)
    assert seen == [["001", "002", "003"]] * 3


def test_a_receiver_that_raises_stops_nothing(
    database: Database, pending: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(payload: dict[str, Any]) -> None:
        raise ZeroDivisionError("in a receiver")

    with received(signals.migration_applied, signals.run_finished, act=fail) as got:
        result = MigrationRunner().apply()
    assert len(result.applied) == 3
    assert len(got) == 4
    assert versions(database) == ["001", "002", "003"]
    logged = [record for record in caplog.records if record.name == "django.dispatch"]
    assert len(logged) == 4
    assert "in a receiver" in caplog.text


def test_a_receiver_may_use_djangos_connection(database: Database, pending: Folder) -> None:
    seen: list[int] = []
    with received(
        signals.migration_applied, act=lambda _: seen.append(SchemaMigration.objects.count())
    ):
        MigrationRunner().apply()
    assert seen == [1, 2, 3]


def test_a_run_without_pending_files_sends_nothing(database: Database, pending: Folder) -> None:
    MigrationRunner().apply()
    with received(signals.migration_applied, signals.run_finished) as got:
        MigrationRunner().apply()
    assert got == []


# Other databases


def test_the_backend_is_chosen_by_the_vendor(
    database: Database, add_alias: Callable[..., None], settings: Settings, folder: Folder
) -> None:
    add_alias("lite", database, ENGINE="django.db.backends.sqlite3", NAME=":memory:", OPTIONS={})
    settings.SQLMIGRATOR = {"DIRECTORY": folder.path, "DATABASES": {"lite": {}}}
    runner = MigrationRunner("lite")
    for act in (runner.status, runner.check, runner.apply, runner.attempts):
        with pytest.raises(DatabaseRefused) as caught:
            act()
        assert caught.value.message == "The database 'lite' is SQLite, not PostgreSQL."
        assert caught.value.exit_code == 3


def test_the_package_is_typed() -> None:
    assert (Path(sqlmigrator.__file__).parent / "py.typed").exists()
