"""The guide, done as it says: every fenced block of a page is run, written, compared, or marked.

- `sh` runs in the project. It exits with 0, or with what `<!-- exit 1 -->` above it says.
- `text` after it is its output. Times, process ids and the like may differ; a line `…` stands
  for any lines.
- Any other block goes into the file that the line above it names (`migrations_sql/…`:); a `sql`
  block after "in the database:" is run there.
- `<!-- not run: REASON -->` leaves a block alone.
"""

import os
import re
import shlex
import signal
import sys
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from sqlmigrator.backends.postgresql.lock import LOCK_CLASS
from tests.django_home.docs import blocks
from tests.django_home.site import environment
from tests.support import ROOT, Database, Running

_FENCE = re.compile(
    r"(?:^(?P<above>[^\n]+)\n\s*?)?^```(?P<language>\w+)\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_VARIABLE = (
    (r"\d+ ms|\d+\.\d+ s", "TIME"),
    (r"\d{4}-\d\d-\d\d( \d\d:\d\d(:\d\d)?)?", "DATE"),
    (r"process \d+, user \w+, host [^,]+", "PROCESS"),
    (r"pg_terminate_backend\(\d+\)", "PROCESS"),
    (r"waits? for \d+ m?s", "WAIT"),
    (r"[\w.-]+@[\w.-]+", "WHO"),
    (r"Database default: \S+ at .*", "DATABASE"),
    (r"connection to server .* failed: ", "connection to server failed: "),
    (r"[ \t]+", " "),
    (r" \n", "\n"),
)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block, and the line above it."""

    page: str
    line: int
    above: str
    language: str
    body: str

    @property
    def place(self) -> str:
        return f"docs/{self.page}:{self.line}"

    @property
    def note(self) -> str:
        """What an HTML comment right above the block says."""
        found = re.fullmatch(r"<!-- (.*) -->", self.above)
        return found[1] if found else ""


def page_blocks(page: str) -> Iterator[Block]:
    text = (ROOT / "docs" / page).read_text()
    for found in _FENCE.finditer(text):
        line = text[: found.start("language")].count("\n") + 1
        yield Block(page, line, found["above"] or "", found["language"], found["body"])


def told(text: str) -> str:
    """`text` without what differs from run to run."""
    for pattern, word in _VARIABLE:
        text = re.sub(pattern, word, text)
    return text


def fits(expected: str, actual: str) -> bool:
    pattern = re.escape(told(expected)).replace(re.escape("…\n"), r"(?:.*\n)*")
    return re.fullmatch(pattern, told(actual)) is not None


class Project:
    """The project of docs/install.md in a git repository, where pages are followed."""

    def __init__(self, path: Path, database: Database) -> None:
        self.path, self.database = path, database
        bin_ = path.parent / "bin"
        names = {"dbname": "PGDATABASE", "host": "PGHOST", "port": "PGPORT", "user": "PGUSER"}
        names["password"] = "PGPASSWORD"
        self.environment = environment() | {
            names[key]: str(value) for key, value in database.parameters.items() if key in names
        }
        self.environment |= {
            "PATH": os.pathsep.join(
                [str(bin_), str(Path(sys.executable).parent), os.environ["PATH"]]
            ),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_SYSTEM": os.devnull,
            **{f"GIT_{who}_NAME": "Ann" for who in ("AUTHOR", "COMMITTER")},
            **{f"GIT_{who}_EMAIL": "ann@example.org" for who in ("AUTHOR", "COMMITTER")},
        }
        path.mkdir()
        bin_.mkdir()
        script = bin_ / "sqlmigrator"  # the console script, also where nothing is installed
        python = shlex.quote(sys.executable)
        script.write_text(f'#!/bin/sh\nexec {python} -m sqlmigrator "$@"\n')
        script.chmod(0o755)
        self.sh("git init -q -b main && django-admin startproject mysite .")
        (settings,) = blocks("install.md", "python")
        with (path / "mysite" / "settings.py").open("a") as file:
            file.write(settings)
        self.write(".gitignore", "__pycache__/\n/output/\n/out\n")
        (path / "migrations_sql").mkdir()

    def sh(self, script: str, *, interrupt_at: str = "") -> tuple[int, str]:
        """Run a script; return its exit code and what it wrote, stdout and stderr as they came."""
        words = ["sh", "-ec", f"exec 2>&1\n{'exec ' if interrupt_at else ''}{script}"]
        running = Running(words, self.environment, self.path, self.path / "output")
        if interrupt_at:
            running.wait_for(interrupt_at)
            running.send(signal.SIGINT)
        result = running.finish()
        return result.code, result.out.replace(str(self.path), "/srv/mysite")

    def write(self, name: str, text: str) -> None:
        (self.path / name).write_text(text)

    def follow(self, page: str) -> None:
        """Do all that a page says."""
        output: str | None = None
        for block in page_blocks(page):
            if block.note.startswith("not run: "):
                continue
            if block.language == "text":
                assert output is not None, f"{block.place}: nothing was run before it"
                assert fits(block.body, output), f"{block.place}\n{output}"
                output = None
            elif block.language == "sh":
                output = self._run(block)
            elif block.language == "sql" and block.above.endswith("in the database:"):
                self.database.execute(block.body)
            else:
                named = re.search(r"`([\w./-]+)`[^`]*:$", block.above)
                assert named, f"{block.place}: nothing says what to do with this block"
                self.write(named[1], block.body)

    def _run(self, block: Block) -> str:
        exits = re.match(r"exit (\d+)", block.note)
        wanted = int(exits[1]) if exits else 0
        during: AbstractContextManager[None] = nullcontext()
        if "while another run holds the lock" in block.note:
            during = self._lock_held()
        stop = "Applying " if "interrupted" in block.note else ""
        with during:
            code, output = self.sh(block.body, interrupt_at=stop)
        assert code == wanted, f"{block.place} exits with {code}\n{output}"
        assert "Traceback" not in output, f"{block.place}\n{output}"
        return output

    @contextmanager
    def _lock_held(self) -> Iterator[None]:
        with self.database.connect(application_name="sqlmigrator") as connection:
            key = zlib.crc32(b"public.schema_migrations") & 0x7FFFFFFF
            connection.execute(f"SELECT pg_catalog.pg_try_advisory_lock({LOCK_CLASS}, {key})")
            yield
