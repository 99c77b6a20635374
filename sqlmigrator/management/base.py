"""What all commands share: options, one database after the other, errors, exit codes, printing."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DEFAULT_DB_ALIAS, connections

from sqlmigrator.backends.base import not_configured
from sqlmigrator.conf import configured_aliases, get_config
from sqlmigrator.core.durations import parse_duration
from sqlmigrator.core.findings import aimed_at
from sqlmigrator.core.report import Line, Role
from sqlmigrator.exceptions import SqlMigratorError
from sqlmigrator.runner import MigrationRunner

if TYPE_CHECKING:
    from sqlmigrator.stopping import Stop

FINDINGS: Final = 1
UNWRITTEN: Final = 2
PENDING: Final = 4
_STYLES: Final = {
    Role.HEADING: "MIGRATE_HEADING",
    Role.GOOD: "SUCCESS",
    Role.BAD: "ERROR",
    Role.WARNING: "WARNING",
}
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
_PLAIN_TEXT: Final = str.maketrans({"✗": "x", "✓": "+", "…": "...", "→": "->", "–": "-"})


class SqlMigratorCommand(BaseCommand):
    """A command over one or several databases.

    Subclasses implement `run_on(runner, options)` and return the exit code of that database, and
    `add_own_arguments(parser)`. The command exits with the first code that is not 0.
    """

    requires_system_checks: list[str] = []
    stops_at_first_failure = False
    options: dict[str, Any]
    alias = DEFAULT_DB_ALIAS  # of the database that is worked on
    unwritten = False  # stdout took no more

    def __init__(self, stdout: Any = None, stderr: Any = None, **options: Any) -> None:
        nowhere = io.StringIO()  # in a process whose stdout or stderr is closed they are None
        super().__init__(
            stdout or sys.stdout or nowhere, stderr or sys.stderr or nowhere, **options
        )

    def add_arguments(self, parser: CommandParser) -> None:
        group = parser.add_mutually_exclusive_group()
        group.add_argument(
            "--database",
            default=DEFAULT_DB_ALIAS,
            choices=tuple(connections),
            help='The database to work on; "default" if not given.',
        )
        group.add_argument(
            "--all-databases",
            action="store_true",
            help="Take every database that has migrations, in the order of settings.DATABASES.",
        )
        parser.add_argument(
            "--directory",
            type=directory,
            help="The migrations folder, instead of the setting DIRECTORY.",
        )
        self.add_own_arguments(parser)

    def add_own_arguments(self, parser: CommandParser) -> None:
        """Options of the one command."""

    def run_on(self, runner: MigrationRunner) -> int:
        """Do the work on one database and return its exit code."""
        raise NotImplementedError

    def finish(self) -> None:
        """Called after the last database: JSON documents are written here."""

    def config_overrides(self) -> dict[str, Any]:
        """Fields of Config that options of this command set."""
        return {}

    def handle(self, *args: Any, **options: Any) -> None:
        self.options = options
        self.check_options()
        codes = []
        aliases = self._aliases()
        for alias in aliases:
            codes.append(self._run(alias))
            if codes[-1] and self.stops_at_first_failure:
                if rest := aliases[len(codes) :]:
                    self.tell(f"Databases not tried: {', '.join(rest)}.")
                break
        self.finish()
        code = next((code for code in codes if code), UNWRITTEN if self.unwritten else 0)
        if code:
            sys.exit(code)

    def check_options(self) -> None:
        """Raise CommandError with code 2 for options that do not go together."""

    def _aliases(self) -> tuple[str, ...]:
        if not self.options["all_databases"]:
            return (self.options["database"],)
        return tuple(
            alias
            for alias in configured_aliases(only_postgresql=True)
            if not connections[alias].settings_dict.get("TEST", {}).get("MIRROR")
        )

    def _run(self, alias: str) -> int:
        self.alias = alias
        if self.options["all_databases"] and self.options.get("format", "text") == "text":
            self.print_line(Line(f"Database {alias}", Role.HEADING))
        try:
            config = get_config(
                alias, directory=self.options["directory"], **self.config_overrides()
            )
            return self.run_on(MigrationRunner(alias, config))
        except SqlMigratorError as error:
            self.print_error(error)
            return error.exit_code
        except ImproperlyConfigured as error:  # Django's word for missing connection settings
            problem = not_configured(alias, " ".join(str(error).split()).rstrip(".?"))
            self.print_error(problem)
            return problem.exit_code
        except KeyboardInterrupt:
            self.tell("Interrupted.")
            return 128 + signal.SIGINT

    def database_line(self, alias: str) -> Line:
        """Which database a command is about to change, without secrets."""
        connection = connections[alias]
        connection.ensure_connection()
        # What was reached, not the settings: PGHOST or a service may stand behind an empty HOST.
        info = connection.connection.info
        return Line(
            f"Database {alias}: {info.dbname} at {info.host or 'local socket'}", Role.HEADING
        )

    # Printing

    def print_lines(self, lines: Iterable[Line]) -> None:
        """Write all of them at once: a status may have thousands."""
        texts = [self._style(line.role)(_writable(line.text, self.stdout)) for line in lines]
        self._put(self.stdout, "".join(f"{text}\n" for text in texts), "")

    def print_line(self, line: Line) -> None:
        self.write(self.stdout, line.text, line.role)

    def tell(self, text: str, role: Role = Role.PLAIN) -> None:
        """A diagnostic, on stderr."""
        self.write(self.stderr, text, role)

    def write(self, stream: Any, text: str, role: Role = Role.PLAIN, ending: str = "\n") -> None:
        self._put(stream, self._style(role)(_writable(text, stream)), ending)

    def _put(self, stream: Any, text: str, ending: str) -> None:
        """Write and flush; neither a reader that went away (`| head`) nor a full disk may stop
        a migration, but what is missing on the disk is told.
        """
        try:
            stream.write(text, str, ending=ending)
            stream.flush()
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if stream is self.stdout and not isinstance(error, BrokenPipeError):
                self.unwritten = True
                self.tell(f"The output is not complete: {error.strerror}.", Role.BAD)

    def print_error(self, error: SqlMigratorError) -> None:
        """What is wrong, why it matters, what mends it."""
        self.tell(error.message, Role.BAD)
        for text in (error.why, error.hint):
            if text:
                self.tell(f"  {aimed_at(self.alias, text)}")

    def print_json(self, document: dict[str, Any]) -> None:
        self.print_lines(Line(line) for line in json.dumps(document, indent=2).splitlines())

    def _style(self, role: Role) -> Callable[[str], str]:
        style: Callable[[str], str] = getattr(self.style, _STYLES[role]) if role in _STYLES else str
        return style


def _writable(text: str, stream: Any) -> str:
    """`text` in characters that the stream's encoding has, without control characters.

    A file name or a server message must not move the cursor or start a line of its own.
    """
    text = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        plain = text.translate(_PLAIN_TEXT)
        return plain.encode(encoding, "backslashreplace").decode(encoding)
    return text


def directory(text: str) -> Path:
    """An argparse type: a folder, relative to the current one."""
    if not text:
        raise ArgumentTypeError("the path is empty")
    return Path(text).absolute()


def duration(text: str) -> int:
    """An argparse type: a duration with its unit, in milliseconds."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def add_format(parser: CommandParser, *formats: str) -> None:
    """The option --format."""
    parser.add_argument(
        "--format", choices=formats, default="text", help="How to print; text if not given."
    )


@contextmanager
def stop_on_signals(stop: Stop) -> Iterator[None]:
    """SIGINT and SIGTERM ask the run to stop cleanly; a second SIGINT ends the process at once."""

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.requested and number == signal.SIGINT:
            os._exit(128 + number)
        stop.request(number)

    try:
        previous = {
            number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)
        }
    except ValueError:  # not the main thread: signals are somebody else's business
        yield
        return
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


__all__ = ["CommandError", "SqlMigratorCommand", "add_format", "duration", "stop_on_signals"]
