"""The console script `sqlmigrator`: checks of the files alone, without Django and a database."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from sqlmigrator import __version__
from sqlmigrator.core import formats, report
from sqlmigrator.core.files import discover, duplicates
from sqlmigrator.core.history import History
from sqlmigrator.core.plan import Plan, PlanOptions
from sqlmigrator.core.planner import build_plan
from sqlmigrator.exceptions import SqlMigratorError

# A file name must not move the cursor or start a line of its own.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")

FirstCommits = Callable[[Path], Mapping[str, str]]


def main(
    arguments: Sequence[str] | None = None, first_commits: FirstCommits = lambda folder: {}
) -> int:
    """Run the script and return the exit code: 0 fine, 1 findings, 2 usage.

    `first_commits` says when git first saw the files of a folder; it decides who keeps a number.
    """
    options = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        plan = _plan(options.directory, first_commits)
    except SqlMigratorError as error:
        sys.stderr.write(f"{error.message}\n  {error.hint}\n")
        return error.exit_code
    code = 1 if plan.errors or (options.fail_on_warning and plan.warnings) else 0
    if not sys.stdout:  # closed: the exit code still tells
        return code
    try:
        for line in _output(plan, options):
            sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # which is `| head` that went away
            sys.stderr.write(f"The output is not complete: {error.strerror}.\n")
            return code or 2
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sqlmigrator", description=__doc__)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    check = commands.add_parser(
        "check",
        help="Report what is wrong with the files of a migrations folder.",
        description="Reports what `manage.py migrate_check --offline` reports.",
    )
    add = check.add_argument
    add("directory", type=Path, metavar="DIR", help="The migrations folder.")
    add("--format", choices=("text", "json", "github"), default="text", help="How to print.")
    add("--fail-on-warning", action="store_true", help="Exit with 1 on warnings too.")
    add("-v", "--verbosity", type=int, choices=range(4), default=1, help="2 shows everything.")
    return parser


def _plan(directory: Path, first_commits: FirstCommits) -> Plan:
    folder = discover(directory.absolute(), needs_content=lambda file: True)
    commits = first_commits(folder.path) if duplicates(folder.files) else {}
    options = PlanOptions(first_commits=commits)
    return build_plan(folder, History(schema="", exists=False), options)


def _output(plan: Plan, options: argparse.Namespace) -> Iterator[str]:
    if options.format == "json":
        document = formats.document("sqlmigrator check", [formats.plan_json(None, plan)])
        yield json.dumps(document, indent=2)
    elif options.format == "github":
        yield from formats.github_lines(plan, formats.repository_root(plan.folder.path))
    else:
        everything = options.verbosity >= 2
        for line in report.check_lines(plan, everything=everything, offline=True):
            yield _CONTROL.sub("\N{REPLACEMENT CHARACTER}", line.text)
