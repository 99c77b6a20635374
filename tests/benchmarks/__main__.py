"""`python -m tests.benchmarks`: measure everything, print the table, write JSON and the page."""

import argparse
import compileall
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path

import django
import psycopg

from tests.benchmarks import peers, report
from tests.benchmarks.folders import ROOT
from tests.benchmarks.server import running_cluster
from tests.benchmarks.targets import Benchmarks

RESULT = peers.WORK / "result.json"
ALL = tuple(range(1, 9))


def main() -> None:
    options = _options()
    started, load = time.monotonic(), os.getloadavg()[0]
    _say("installing the peers where they are missing")
    missing = peers.install()
    for package in ("sqlmigrator", "project"):  # nobody's figures hold the compiling
        compileall.compile_dir(ROOT / package, quiet=1)
    work = Path(tempfile.mkdtemp(prefix="sqlmigrator-bench-"))
    try:
        with running_cluster() as cluster:
            scale = 10 if options.trial else 1
            measure = Benchmarks(cluster, work, options.runs, scale, _say)
            rows = list(measure.rows(options.target or ALL))
            where = "its data in memory" if cluster.in_memory else "its data on disk"
            server = f"PostgreSQL {cluster.version()} over a socket, {where}, autovacuum off"
    finally:
        shutil.rmtree(work, ignore_errors=True)
    circumstances = report.Circumstances(
        machine=report.machine(),
        server=server,
        python=f"Python {platform.python_version()}, Django {django.__version__},"
        f" psycopg {psycopg.__version__}",
        peers=peers.versions(),
        missing=tuple(missing),
        runs=options.runs,
        load_before=load,
        load_after=os.getloadavg()[0],
        took_s=time.monotonic() - started,
        at=report.now(),
    )
    sys.stdout.write(report.as_text(rows, circumstances) + "\n")
    RESULT.write_text(json.dumps(report.as_json(rows, circumstances), indent=2) + "\n")
    _say(f"JSON: {RESULT.relative_to(ROOT)}")
    if options.page:
        report.write_page(rows, circumstances)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="Runs of each; 5 if not given.")
    parser.add_argument("--target", type=int, action="append", choices=ALL, help="Only this one.")
    parser.add_argument("--trial", action="store_true", help="A tenth of the sizes: does it work?")
    parser.add_argument("--page", action="store_true", help="Write docs/benchmarks.md too.")
    return parser.parse_args()


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    main()
