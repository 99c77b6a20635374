"""The targets, each measured as rows of one table."""

import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import folders
from tests.benchmarks.folders import ROOT, Migrations
from tests.benchmarks.measure import Job, Run, Started, cpu, cpu_ratio, interleaved, ratio, wall
from tests.benchmarks.peers import PEERS, Peer
from tests.benchmarks.proxy import Link, running_proxy
from tests.benchmarks.server import Cluster

TABLES = "SELECT count(*) FROM pg_tables WHERE tablename ~ '^bench_'"
ROWS = "SELECT count(*) FROM schema_migrations"
RUNNERS = 8
SLOW_S = 0.005
HISTORY = "/admin/sqlmigrator/schemamigration/"
PAGES = {
    "History": HISTORY,
    "History, changed only": f"{HISTORY}?state=changed",
    "History, applied only": f"{HISTORY}?state=applied",
    "a search": f"{HISTORY}?q=500",
    "one migration": f"{HISTORY}00500/change/",
    "Overview": f"{HISTORY}overview/",
    "Conflicts": f"{HISTORY}conflicts/",
}
MANY_TRIES = 101  # files that round trips are counted over, less one


@dataclass(frozen=True, slots=True)
class Row:
    """One line: what was measured, what of it, and whether `measured` is at most `limit` (at
    least, if `at_least`). A row without a limit is there to compare with.
    """

    target: int
    what: str
    measured: float
    unit: str
    detail: str = ""
    limit: float | None = None
    at_least: bool = False

    @property
    def met(self) -> bool | None:
        if self.limit is None:
            return None
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit


class Benchmarks:
    """Measures on `cluster`, with folders under `work`; every time is a median of `runs`."""

    def __init__(
        self, cluster: Cluster, work: Path, runs: int, scale: int, say: Callable[[str], None]
    ) -> None:
        self.cluster = cluster
        self.work = work
        self.runs = runs
        self.scale = scale  # 1, or the divisor of the sizes for a trial
        self.say = say

    def rows(self, wanted: Sequence[int]) -> Iterator[Row]:
        measures = (
            self.applying,
            self.round_trips,
            self.slow_link,
            self.nothing_to_do,
            self.many_files,
            self.large_files,
            self.racing,
            self.pages,
        )
        for number, measure in enumerate(measures, 1):
            if number in wanted:
                self.say(f"target {number}: {measure.__name__.replace('_', ' ')}")
                yield from measure()

    # Jobs

    def _job(
        self,
        command: Sequence[str],
        database: str,
        environment: Mapping[str, str] | None = None,
        *,
        before: Callable[[], None] | None = None,
        after: Callable[[], None] = lambda: None,
        cwd: Path = ROOT,
    ) -> Job:
        url = {"DATABASE_URL": self.cluster.url(database)}
        ready = before or (lambda: self.cluster.fresh(database))
        return Job(command, url | dict(environment or {}), cwd, ready, after)

    def _expect(self, database: str, query: str, number: int) -> Callable[[], None]:
        """A check after a run: `query` must count `number`."""

        def check() -> None:
            found = self.cluster.count(database, query)
            if found != number:
                raise AssertionError(f"{database}: {query} is {found}, not {number}")

        return check

    def _ours(self, migrations: Migrations, database: str = "ours", url: str | None = None) -> Job:
        environment = {"DATABASE_URL": url} if url else {}
        return self._job(
            manage("migrate_apply", migrations.path),
            database,
            environment,
            after=self._applied(database, migrations),
        )

    def _psql(self, migrations: Migrations, port: int | None = None) -> Job:
        script = migrations.script(self.work / f"{migrations.path.name}.sql")
        place = ("127.0.0.1", port) if port else ("", 5432)
        return self._job(
            [*self.cluster.psql_command("psql", *place), "-f", str(script)],
            "psql",
            after=self._applied("psql", migrations),
        )

    def _applied(self, database: str, migrations: Migrations) -> Callable[[], None]:
        tables = self._expect(database, TABLES, len(migrations.sql))
        rows = self._expect(database, ROWS, len(migrations.sql) + 1)

        def check() -> None:
            tables()
            rows()

        return check

    def _peer(self, peer: Peer, migrations: Migrations, url: str | None = None) -> Job:
        database = "peer"
        url = url or self.cluster.url(database)
        folder = self.work / f"{peer.program.name}-{migrations.path.name}"
        folder = folder.with_name(folder.name.replace(" ", "-"))
        if not folder.exists():
            folder.mkdir()
            peer.write(folder, migrations)
        tables = self._expect(database, TABLES, len(migrations.sql))
        recorded = self._expect(database, peer.recorded, len(migrations.sql))

        def check() -> None:
            tables()
            recorded()

        environment = peer.environment(folder, url)
        extra = {key: value for key, value in environment.items() if key != "DATABASE_URL"}
        command = peer.command(folder, url)
        return self._job(command, database, {"DATABASE_URL": url} | extra, after=check, cwd=ROOT)

    def _floor(self, name: str, *arguments: object, database: str, **kwargs: object) -> Job:
        command = [sys.executable, "-m", "tests.benchmarks.floors", name, *map(str, arguments)]
        return self._job(command, database, **kwargs)  # type: ignore[arg-type]

    # Targets

    def applying(self) -> Iterator[Row]:
        """1: from zero, whole processes, as ratios to psql."""
        count = 1000 // self.scale
        migrations = folders.small(self.work / "small", count)
        bare = self._floor(
            "bare",
            migrations.path,
            database="bare",
            after=self._expect("bare", TABLES, count),
        )
        jobs = {
            "psql": self._psql(migrations),
            "sqlmigrator": self._ours(migrations),
            "psycopg, one string a file, no lock, journal or checks": bare,
        }
        jobs |= {peer.name: self._peer(peer, migrations) for peer in PEERS if peer.is_installed}
        measured = interleaved(jobs, self.runs)
        psql = measured.pop("psql")
        yield Row(1, f"{count} small files: psql", wall(psql), "s", _cpu(psql))
        for name, runs in measured.items():
            limit = 1.0 if name == "sqlmigrator" else None
            yield Row(
                1,
                f"{count} small files: {name}",
                ratio(runs, psql),
                "x psql",
                f"{wall(runs):.2f} s, {_cpu(runs)}",
                limit,
            )
        few = 200 // self.scale
        migrations = folders.mixed(self.work / "mixed", few)
        measured = interleaved(
            {"psql": self._psql(migrations), "ours": self._ours(migrations)}, self.runs
        )
        yield Row(
            1,
            f"{few} mixed files: sqlmigrator",
            ratio(measured["ours"], measured["psql"]),
            "x psql",
            f"{wall(measured['ours']):.2f} s against {wall(measured['psql']):.2f} s",
            1.1,
        )

    def round_trips(self) -> Iterator[Row]:
        """2: turns on the wire for each further file."""
        one = folders.small(self.work / "one", 1)
        many = folders.small(self.work / "many", MANY_TRIES)
        with running_proxy(self.cluster.socket) as link:
            url = "postgresql://postgres@127.0.0.1:{port}/{name}?sslmode=disable"
            ours = url.format(port=link.port, name="ours")
            theirs = url.format(port=link.port, name="peer")
            yield Row(
                2,
                "round trips for each file: sqlmigrator",
                _per_file(link, self._ours(one, url=ours), self._ours(many, url=ours)),
                "trips",
                limit=1.5,
            )
            psql = [self._psql(m, link.port) for m in (one, many)]
            yield Row(2, "round trips for each file: psql", _per_file(link, *psql), "trips")
            for peer in PEERS:
                if peer.is_installed:
                    jobs = [self._peer(peer, m, theirs) for m in (one, many)]
                    what = f"round trips for each file: {peer.name}"
                    yield Row(2, what, _per_file(link, *jobs), "trips")
            yield self._exact_error(link, ours)

    def _exact_error(self, link: Link, url: str) -> Row:
        """The one message names the statement that failed."""
        folder = folders.small(self.work / "failing", 1)
        bad = folder.path / "00003_bad.sql"
        bad.write_text("CREATE TABLE x (id int);\nSELECT 1;\nSELECT 'é', nope;\nSELECT 2;\n")
        job = self._ours(folder, url=url)
        job.before()
        process = Started(job)
        process.finish(expected=1)
        named = f"{bad}:3:13: column" in process.output()
        return Row(
            2, "an error in a file names line and column", float(named), "(1 is yes)", "", 1.0, True
        )

    def slow_link(self) -> Iterator[Row]:
        """3: over a link with 5 ms, against one statement a round trip."""
        count = 200 // self.scale
        migrations = folders.small(self.work / "far", count)
        with running_proxy(self.cluster.socket, delay_s=SLOW_S) as link:
            url = f"postgresql://postgres@127.0.0.1:{link.port}/ours?sslmode=disable"
            jobs = {
                "psql": self._psql(migrations, link.port),
                "ours": self._ours(migrations, url=url),
            }
            measured = interleaved(jobs, self.runs)
        yield Row(
            3,
            f"{count} small files over 5 ms: psql's time to ours",
            ratio(measured["psql"], measured["ours"]),
            "times",
            f"{wall(measured['psql']):.2f} s against {wall(measured['ours']):.2f} s",
            3.0,
            at_least=True,
        )

    def nothing_to_do(self) -> Iterator[Row]:
        """4: everything is applied already."""
        count = 1000 // self.scale
        folder = self._recorded("done", count)
        keep = {"database": "done", "before": lambda: None}
        jobs = {
            "start": self._floor("start", **keep),  # type: ignore[arg-type]
            "read": self._floor("read", folder.path, **keep),  # type: ignore[arg-type]
        }
        for name in ("migrate_apply", "migrate_status", "migrate_check"):
            jobs[name] = self._job(manage(name, folder.path), "done", before=lambda: None)
        measured = interleaved(jobs, 2 * self.runs + 1)
        for name, floor, told in (
            ("migrate_apply", "start", "Django's start and one query"),
            ("migrate_status", "read", "the same and reading the files"),
            ("migrate_check", "read", "the same and reading the files"),
        ):
            runs, floors = measured[name], measured[floor]
            yield Row(
                4,
                f"{name}, {count} applied, to {told}",
                ratio(runs, floors),
                "x",
                f"{wall(runs):.3f} s against {wall(floors):.3f} s;"
                f" processor time {cpu_ratio(runs, floors):.2f}x",
                1.1,
            )
        unneeded = self._imported_early(folder)
        told = ", ".join(unneeded[:4]) + (" …" if len(unneeded) > 4 else "")
        yield Row(4, "modules imported before they are needed", len(unneeded), "modules", told, 0)

    def _recorded(self, name: str, count: int) -> Migrations:
        """A folder all of which the database `name` has recorded."""
        migrations = folders.small(self.work / name, count)
        self.cluster.fresh(name)
        self.cluster.load(name, folders.recorded(migrations, self.work / f"{name}-rows.sql"))
        return migrations

    def _imported_early(self, migrations: Migrations) -> list[str]:
        command = manage("migrate_apply", migrations.path)
        command.insert(1, "-Ximporttime")
        job = self._job(command, "done", before=lambda: None)
        process = Started(job)
        process.finish()
        lines = process.output().splitlines()
        names = {line.rpartition("|")[2].strip() for line in lines if "|" in line}
        return sorted(names & UNNEEDED)

    def many_files(self) -> Iterator[Row]:
        """5: 10,000 files against 10,000 rows."""
        sizes = {"rows_1k": 1000 // self.scale, "rows_10k": 10_000 // self.scale}
        jobs: dict[str, Job] = {}
        for name, count in sizes.items():
            folder = self._recorded(name, count)
            keep = {"database": name, "before": lambda: None}
            check = manage("migrate_check", folder.path)
            jobs[f"check {name}"] = self._job(check, name, before=lambda: None)
            jobs[f"read {name}"] = self._floor("read", folder.path, **keep)  # type: ignore[arg-type]
            jobs["start"] = self._floor("start", **keep)  # type: ignore[arg-type]
        measured = interleaved(jobs, self.runs)
        check, read = measured["check rows_10k"], measured["read rows_10k"]
        count = sizes["rows_10k"]
        yield Row(
            5,
            f"migrate_check, {count} files and rows, to Django's start, one query, hashing",
            ratio(check, read),
            "x",
            f"{wall(check):.2f} s against {wall(read):.2f} s;"
            f" processor time {cpu_ratio(check, read):.2f}x",
            1.3,
        )
        peak = max(run.peak_kib for run in check) / 1024
        yield Row(5, "the same, resident at most", peak, "MB", limit=120)
        start = cpu(measured["start"])
        grown = (cpu(check) - start) / (cpu(measured["check rows_1k"]) - start)
        detail = "processor time above Django's start"
        yield Row(5, "the same, to a tenth of the files", grown, "x", detail, 11)

    def large_files(self) -> Iterator[Row]:
        """6: a 5 MB data file, and a 200 MB COPY."""
        size = 5_000_000 // self.scale
        for rows in (1, 1000):
            yield from self._data_file(size, rows)
        folder = folders.small(self.work / "copy", 0)
        data = 200_000_000 // self.scale
        folders.copy_data(folder.path / "00002_data.sql", data)
        job = self._job(
            manage("migrate_apply", folder.path),
            "ours",
            after=self._expect("ours", TABLES, 1),
        )
        run = job.run()
        what = f"{data // 1_000_000} MB of COPY data, resident at most"
        yield Row(6, what, run.peak_kib / 1024, "MB", f"{run.wall:.1f} s, one run", 300)

    def _data_file(self, size: int, rows: int) -> Iterator[Row]:
        path = self.work / f"inserts-{rows}.sql"
        folders.inserts(path, size, rows)
        psql = self._job(
            [*self.cluster.psql_command("psql"), "-f", str(path)],
            "psql",
            after=self._expect("psql", TABLES, 1),
        )
        command = [sys.executable, "-m", "tests.benchmarks.floors", "split", str(path)]
        split = self._job(command, "psql", before=lambda: None)
        seconds, shares, peaks = [], [], []
        for _ in range(self.runs):
            run = psql.run()
            process = Started(split)
            process.finish()
            took, peak, _count = map(float, process.output().split())
            seconds.append(took)
            shares.append(100 * took / run.wall)
            peaks.append(peak / path.stat().st_size)
        half = self.runs // 2
        what = f"{size / 1_000_000:g} MB of INSERTs of {rows} row{'s' * (rows > 1)}"
        detail = f"{sorted(seconds)[half]:.2f} s"
        yield Row(6, f"{what}: reading, to psql's time", sorted(shares)[half], "%", detail, 25)
        yield Row(6, f"{what}: memory, to the file's size", sorted(peaks)[half], "x", "", 6)

    def racing(self) -> Iterator[Row]:
        """7: eight processes at once."""
        count = 200 // self.scale
        migrations = folders.small(self.work / "race", count)
        alone = self._ours(migrations)
        idle = self._job(alone.command, "ours", before=lambda: None)
        singles, races, starts = [], [], []
        for _ in range(self.runs):
            singles.append(alone.run().wall)
            starts.append(self._race(idle))
            alone.before()
            races.append(self._race(alone))
            alone.after()
        half = self.runs // 2
        ratios = sorted(race / single for race, single in zip(races, singles, strict=True))
        idle_ratio = sorted(s / single for s, single in zip(starts, singles, strict=True))[half]
        yield Row(
            7,
            f"{RUNNERS} processes race for {count} files, to one alone; all exit 0",
            ratios[half],
            "x",
            f"{sorted(races)[half]:.2f} s against {sorted(singles)[half]:.2f} s",
            1.3,
        )
        what = f"the same {RUNNERS} processes with nothing to do, to one that applies them"
        yield Row(7, what, idle_ratio, "x", "what starting them costs on this machine")

    def pages(self) -> Iterator[Row]:
        """8: the pages of the admin with 10,000 migrations."""
        count = 10_000 // self.scale
        folder = self._recorded("pages", count).path
        (folder / "00008_change_8.sql").unlink()
        (folder / f"{count + 2:05d}_pending.sql").write_text("SELECT 1;\n")
        self._job(manage("migrate", folder)[:-2], "pages", before=lambda: None).run()
        command = [sys.executable, "-m", "tests.benchmarks.pages", str(folder)]
        for name, address in PAGES.items():
            job = self._job([*command, address], "pages", before=lambda: None)
            runs = []
            for _ in range(self.runs):
                process = Started(job)
                process.finish()
                runs.append([float(word) for word in process.output().split()])
            first, again, row, file = map(statistics.median, zip(*runs, strict=True))
            yield Row(
                8,
                f"{name}, {count} migrations: first request of a process",
                first,
                "ms",
                f"again {again:.0f} ms; after a row changed {row:.0f} ms, a file {file:.0f} ms",
                300,
            )

    @staticmethod
    def _race(job: Job) -> float:
        processes = [Started(job) for _ in range(RUNNERS)]
        runs: list[Run] = [process.finish() for process in processes]
        # The last to be waited for may have ended long before; each was timed from its start.
        return max(run.wall for run in runs)


UNNEEDED = frozenset(
    {
        "project.urls",
        "django.test",
        *(f"sqlmigrator.{name}" for name in ("applying", "events", "git", "survey", "renaming")),
        *(
            f"sqlmigrator.core.{name}"
            for name in ("script", "content", "renumber", "statements", "rollback")
        ),
        *(f"sqlmigrator.admin.{name}" for name in ("conflicts", "migration", "overview")),
        *(f"sqlmigrator.admin.{name}" for name in ("reading", "sqltext")),
        *(
            f"sqlmigrator.backends.postgresql.{name}"
            for name in ("session", "execution", "wire", "connection", "syntax", "stepwise", "lock")
        ),
    }
)


def manage(command: str, folder: Path) -> list[str]:
    return [sys.executable, str(ROOT / "manage.py"), command, "--directory", str(folder)]


def _cpu(runs: Sequence[Run]) -> str:
    return f"{cpu(runs):.2f} s of processor time"


def _per_file(link: Link, one: Job, many: Job) -> float:
    """Round trips for each file after the first."""
    counts = []
    for job in (one, many):
        job.before()
        link.round_trips = 0
        Started(job).finish()
        counts.append(link.round_trips)
        job.after()
    return (counts[1] - counts[0]) / (MANY_TRIES - 1)
