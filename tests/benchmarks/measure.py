"""One run of a command: wall time, processor time, peak memory; and medians of several."""

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


class BenchmarkError(Exception):
    """A command failed, or did not do what it was measured for."""


@dataclass(frozen=True, slots=True)
class Run:
    """Seconds of wall and of processor time (the process and its children), peak KiB resident."""

    wall: float
    cpu: float
    peak_kib: int


@dataclass(frozen=True, slots=True)
class Job:
    """A command, where and with which additions to the environment it runs; `before` readies the
    database and `after` checks that the work was done, both unmeasured.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    cwd: Path
    before: Callable[[], None]
    after: Callable[[], None]

    def run(self) -> Run:
        """Run once. Raises BenchmarkError with the output's end where it fails."""
        self.before()
        measured = Started(self).finish()
        self.after()
        return measured


class Started:
    """A job's process while it runs; its output goes to a file without a name."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed with this object
        self._started = time.perf_counter()
        self._process = subprocess.Popen(
            list(job.command),
            env=clean_environment(job.environment),
            cwd=job.cwd,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    def finish(self, expected: int = 0) -> Run:
        """Wait for its end. Raises BenchmarkError where it exits with another code."""
        # Not Popen.wait(): only wait4() tells the peak memory of this one process.
        _, status, usage = os.wait4(self._process.pid, 0)
        wall = time.perf_counter() - self._started
        self._process.returncode = os.waitstatus_to_exitcode(status)
        if self._process.returncode != expected:
            raise BenchmarkError(
                f"{' '.join(self._job.command[:4])} ended with {self._process.returncode}:\n"
                f"{self.output()[-2000:]}"
            )
        return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)

    def output(self) -> str:
        self._output.seek(0)
        return self._output.read().decode(errors="replace")


def clean_environment(additions: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without what would change how Python starts or connects."""
    unwanted = ("PYTHON", "DJANGO_", "DATABASE_URL", "PG", "COVERAGE")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(unwanted)}
    return kept | additions


def interleaved(jobs: Mapping[str, Job], runs: int) -> dict[str, list[Run]]:
    """Run every job once, then every job again, `runs` times; the first names runs first."""
    measured: dict[str, list[Run]] = {name: [] for name in jobs}
    for _ in range(runs):
        for name, job in jobs.items():
            measured[name].append(job.run())
    return measured


def wall(runs: Sequence[Run]) -> float:
    return statistics.median(run.wall for run in runs)


def cpu(runs: Sequence[Run]) -> float:
    return statistics.median(run.cpu for run in runs)


def ratio(these: Sequence[Run], those: Sequence[Run]) -> float:
    """The median of the ratios of neighbouring runs: what slows the machine slows both."""
    return statistics.median(a.wall / b.wall for a, b in zip(these, those, strict=True))


def cpu_ratio(these: Sequence[Run], those: Sequence[Run]) -> float:
    """The same of processor time, which other processes disturb less."""
    return statistics.median(a.cpu / b.cpu for a, b in zip(these, those, strict=True))
