"""Many runners at once, of which some are killed and some lose their session; and the count."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import astuple, dataclass

from tests.faults.scenes import wait_for_no_runner
from tests.support import Database, Folder, Running

FILES = 40
RUNNERS = 10
_SESSIONS = """
SELECT pid FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'sqlmigrator'
ORDER BY pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted) DESC
"""


@dataclass(frozen=True)
class Tally:
    """What was done to the runners, and what came of the migrations."""

    killed: int = 0
    terminated: int = 0
    runners: int = 0
    applied: int = 0
    lost: int = 0
    doubled: int = 0
    half: int = 0
    exits: tuple[str, ...] = ()  # of runners that were not killed and failed all the same

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def events(self) -> int:
        return self.killed + self.terminated

    @property
    def is_exact(self) -> bool:
        return not (self.lost or self.doubled or self.half or self.exits)

    def __str__(self) -> str:
        return (
            f"{self.events} events ({self.killed} SIGKILL, {self.terminated} pg_terminate_backend)"
            f" on {self.runners} runners; {self.applied} migrations applied, {self.lost} lost,"
            f" {self.doubled} doubled, {self.half} half; {len(self.exits)} wrong exits"
        )


def write_files(folder: Folder, *, with_schema: bool) -> None:
    """Migrations that leave two marks each, with a pause between them. `ran` has no constraint,
    so nothing but the runner stops a second run; `with_schema` makes a table in each, too.
    """
    folder.with_tracking()
    folder.write("002_ran.sql", "CREATE TABLE ran (version int, part text);\n")
    for version in range(3, FILES + 1):
        table = f"CREATE TABLE t{version} (n int);\n" if with_schema else ""
        folder.write(
            f"{version:03}_mark.sql",
            f"INSERT INTO ran VALUES ({version}, 'begin');\n{table}"
            f"SELECT pg_sleep({random.uniform(0, 0.3):.3f});\n"
            f"INSERT INTO ran VALUES ({version}, 'end');\n",
        )


class Chaos:
    """One round on an empty database."""

    def __init__(self, database: Database, start: Callable[[], Running], events: int) -> None:
        self.database = database
        self.start = start
        self.events = events
        self.started: list[Running] = []
        self.killed = 0
        self.terminated = 0

    def run(self) -> Tally:
        """Start runners, do harm while there is something to apply, let one finish, and count."""
        for _ in range(RUNNERS):
            self._add_runner()
        while self.killed + self.terminated < self.events and self._living():
            time.sleep(random.uniform(0.05, 0.5))
            if random.random() < 0.4:
                self._kill_a_runner()
            else:
                self._terminate_a_session()
        failures = [told for runner in self.started if (told := self._end_of(runner))]
        wait_for_no_runner(self.database)
        self._add_runner()
        failures += [told for runner in self.started[-1:] if (told := self._end_of(runner))]
        return self._count(failures)

    def _add_runner(self) -> None:
        self.started.append(self.start())

    def _living(self) -> list[Running]:
        return [runner for runner in self.started if runner.process.poll() is None]

    def _kill_a_runner(self) -> None:
        if living := self._living():
            if random.choice(living).kill().code == -signal.SIGKILL:
                self.killed += 1
            self._add_runner()

    def _terminate_a_session(self) -> None:
        """End a session: as often as not the one that holds the lock."""
        with self.database.connect(application_name="chaos") as connection:
            pids = [pid for (pid,) in connection.execute(_SESSIONS).fetchall()]
            if pids:
                pid = pids[0] if random.random() < 0.5 else random.choice(pids)
                ((ended,),) = connection.execute("SELECT pg_terminate_backend(%s)", [pid])
                self.terminated += ended

    @staticmethod
    def _end_of(runner: Running) -> str:
        """What a runner says that was not killed and failed; "" for all others."""
        result = runner.finish()
        return "" if result.code in (0, -signal.SIGKILL) else f"{result.code}: {result.err}"

    def _count(self, failures: list[str]) -> Tally:
        marks = Counter(self.database.query("SELECT version, part FROM ran"))
        rows = Counter(v for (v,) in self.database.query("SELECT version FROM schema_migrations"))
        done = Counter(
            v
            for (v,) in self.database.query(
                "SELECT version FROM schema_migrations_log WHERE state = 'done'"
            )
        )
        lost = doubled = half = 0
        for version in range(3, FILES + 1):
            times = marks[version, "begin"], marks[version, "end"]
            lost += times == (0, 0)
            doubled += max(times) > 1
            half += times[0] != times[1]
        for version in (f"{number:03}" for number in range(1, FILES + 1)):
            lost += rows[version] == 0 or done[version] == 0
            doubled += rows[version] > 1 or done[version] > 1
        return Tally(
            self.killed,
            self.terminated,
            len(self.started),
            len(rows),
            lost,
            doubled,
            half,
            tuple(failures),
        )
