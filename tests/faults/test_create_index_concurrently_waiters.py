"""Family 11: CREATE INDEX CONCURRENTLY waits for every older snapshot, so waiting runners must hold
none; a waiter inside pg_advisory_lock() would be a deadlock (40P01).
"""

from collections.abc import Callable

from tests.faults.scenes import applied, attempts, holding, indexes, wait_for_statement
from tests.support import Database, Folder, Running

WAITERS = 5


def test_five_runners_wait_while_the_holder_builds_an_index(
    database: Database, folder: Folder, start: Callable[..., Running]
) -> None:
    database.execute("CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 1000)")
    folder.with_tracking()
    folder.write(
        "002_index.sql",
        "-- sqlmigrator: no-transaction\nCREATE INDEX CONCURRENTLY t_a_idx ON t (a);",
    )
    folder.write("003_after.sql", "CREATE TABLE after (n int);")
    with holding(database, "INSERT INTO t VALUES (0)"):
        holder = start()
        wait_for_statement(database, "CREATE INDEX CONCURRENTLY", waiting=True)
        waiters = [start() for _ in range(WAITERS)]
        for waiter in waiters:
            waiter.wait_for("Waiting for the migration lock: held by process ")
    # From here on nothing but the waiters could hold the build up.
    done = holder.finish(30)
    assert (done.code, "OK (" in done.out) == (0, True), done
    assert "deadlock" not in done.err
    results = [waiter.finish(60) for waiter in waiters]
    assert [result.code for result in results] == [0] * WAITERS
    for result in results:
        assert result.out == "Nothing to apply: the database is up to date.\n"
        assert "application sqlmigrator" in result.err
    assert indexes(database, "t") == {"t_a_idx": True}
    assert applied(database) == ["001", "002", "003"]
    assert attempts(database, "002") == [("done", 1, 1, None, None)]
