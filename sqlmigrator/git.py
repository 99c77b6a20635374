"""What git knows of the migrations folder. Every answer is empty where there is no git."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlmigrator.exceptions import SqlMigratorError

_TIMEOUT: Final = 20  # seconds; a slow answer is no answer
# A hook's environment points at another index or folder than the one asked about.
_NOT_OURS: Final = frozenset(("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "GIT_PREFIX"))
_UTC: Final = ("--date=format-local:%Y-%m-%dT%H:%M:%SZ", "--format=%x00%cd")


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """A file in git's index. `path` counts from the repository's root; `stage` is not 0 while a
    merge conflict is open; `is_intent` is `git add --intent-to-add`.
    """

    path: str
    mode: str
    blob: str
    stage: int
    is_intent: bool


def first_commits(directory: Path) -> dict[str, str]:
    """File name -> UTC time (ISO) of the commit that first added a file of that name here."""
    log = _git(
        directory, "log", "--reverse", "--diff-filter=A", "--no-renames", "--name-only",
        "--relative", *_UTC, "--", ".",
    )  # fmt: skip
    if log is None:
        return {}
    found: dict[str, str] = {}
    for commit in log.decode(errors="replace").split("\0")[1:]:
        time, *names = [line for line in commit.split("\n") if line]
        for name in names:
            found[name] = min(time, found.get(name, time))
    return found


def applied_text(path: Path, checksum: str) -> bytes | None:
    """The text of `path` that had this SHA-256, from its history; None where it is not found."""
    log = _git(path.parent, "log", "--follow", "--format=%H", "--name-only", "--", path.name)
    if log is None:
        return None
    lines = [line for line in log.decode(errors="replace").split("\n") if line]
    for commit, name in zip(lines[::2], lines[1::2], strict=False):
        data = _git(path.parent, "show", f"{commit}:{name}")
        if data is not None and checksum.lower() in _fingerprints(data):
            return data
    return None


def index_entries(directory: Path) -> dict[str, IndexEntry]:
    """The files of `directory` itself (not below it) that git has in its index, by name."""
    listed = _git(directory, "ls-files", "--stage", "--full-name", "-z", "--", ".")
    if not listed:
        return {}
    intents = _git(directory, "diff-files", "--diff-filter=A", "--name-only", "-z", "--", ".")
    new = set(os.fsdecode(intents or b"").split("\0"))
    prefix = os.fsdecode(_git(directory, "rev-parse", "--show-prefix") or b"").rstrip("\n")
    entries = {}
    for line in os.fsdecode(listed).split("\0")[:-1]:
        about, path = line.split("\t", 1)
        mode, blob, stage = about.split()
        name = path.removeprefix(prefix)
        if "/" not in name:
            entries[name] = IndexEntry(path, mode, blob, int(stage), path in new)
    return entries


def rename_in_index(
    directory: Path, entries: Mapping[str, IndexEntry], renames: Iterable[tuple[str, str]]
) -> None:
    """Tell git of files of `directory` that were renamed: (old, new) names, all or none.

    It is what `git mv` writes, for all files in one step: what was staged of a file stays staged,
    what was not does not become so. Raises SqlMigratorError where the index cannot be written.
    """
    lines, intents = [], []
    for old, new in renames:
        entry = entries.get(old)
        if entry is None:
            continue
        path = entry.path[: len(entry.path) - len(old)] + new
        lines.append(f"0 {'0' * len(entry.blob)}\t{entry.path}\0")
        if entry.is_intent:
            intents.append(new)
        else:
            lines.append(f"{entry.mode} {entry.blob}\t{path}\0")
    if not lines:
        return
    done = _run(directory, "update-index", "-z", "--index-info", data=os.fsencode("".join(lines)))
    if done is None or done.returncode:
        told = done.stderr.decode(errors="replace").strip() if done else "it does not answer"
        raise SqlMigratorError(f"git could not record the new names: {told}")
    if intents:
        _git(directory, "--literal-pathspecs", "add", "--intent-to-add", "--", *intents)


def _fingerprints(data: bytes) -> tuple[str, str]:
    crlf = data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")  # a checkout on Windows
    return hashlib.sha256(data).hexdigest(), hashlib.sha256(crlf).hexdigest()


def _git(directory: Path, *arguments: str) -> bytes | None:
    done = _run(directory, *arguments)
    return None if done is None or done.returncode else done.stdout


def _run(
    directory: Path, *arguments: str, data: bytes = b""
) -> subprocess.CompletedProcess[bytes] | None:
    environment = {key: value for key, value in os.environ.items() if key not in _NOT_OURS}
    try:
        return subprocess.run(
            ["git", *arguments],
            cwd=directory,
            env=environment | {"TZ": "UTC", "LC_ALL": "C"},
            input=data,
            capture_output=True,
            timeout=_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
