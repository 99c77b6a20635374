"""Perform a list of renames in the migrations folder: all of them or none."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from sqlmigrator import git
from sqlmigrator.core.files import REVERSE_SUFFIX
from sqlmigrator.core.renumber import Rename
from sqlmigrator.exceptions import SqlMigratorError


def with_reverses(directory: Path, renames: Iterable[Rename]) -> tuple[Rename, ...]:
    """`renames`, each followed by that of its NNN_name.down.sql where there is one."""
    listed = tuple(renames)
    named = {rename.source for rename in listed}
    complete = []
    for rename in listed:
        complete.append(rename)
        reverse = _reverse_of(rename.source)
        if reverse not in named and (directory / reverse).exists():
            complete.append(Rename(reverse, _reverse_of(rename.target), "goes with its migration"))
    return tuple(complete)


def rename_all(directory: Path, renames: Sequence[Rename]) -> None:
    """Rename files of `directory`, in git's index too where they are tracked; bytes stay.

    Nothing is renamed if any part cannot be done; what was done is undone if a later part fails.
    Raises SqlMigratorError with the reason, and with the names as they are now if even undoing
    failed.
    """
    entries = git.index_entries(directory)
    _refuse_impossible(directory, renames, entries)
    done: list[Rename] = []
    try:
        for rename in renames:
            _rename(directory / rename.source, directory / rename.target)
            done.append(rename)
        git.rename_in_index(directory, entries, [(r.source, r.target) for r in renames])
    except BaseException as error:
        stuck = _undo(directory, done)
        if isinstance(error, OSError | SqlMigratorError) or stuck:
            raise _failed(error, renames[min(len(done), len(renames) - 1)], stuck) from None
        raise


def _reverse_of(name: str) -> str:
    return name[: -len(".sql")] + REVERSE_SUFFIX


def _refuse_impossible(
    directory: Path, renames: Sequence[Rename], entries: dict[str, git.IndexEntry]
) -> None:
    there = {name.casefold() for name in os.listdir(directory)}  # noqa: PTH208 - names only
    wanted = Counter(rename.target.casefold() for rename in renames)
    for rename in renames:
        source, target = rename.source, rename.target
        is_same = source.casefold() == target.casefold()
        if not os.path.lexists(directory / source):
            problem = f"{source} is not there any more."
        elif not (directory / source).is_file():
            problem = f"{source} is not a file."
        elif target.casefold() in there and not is_same:
            problem = f"{source} cannot become {target}: a file of that name exists."
        elif wanted[target.casefold()] > 1:
            problem = f"{source} cannot become {target}: another file would get that name too."
        elif source in entries and entries[source].stage:
            problem = f"{source} is in an open merge conflict: `git status` shows it."
        else:
            continue
        raise SqlMigratorError(
            f"Nothing was renamed: {problem}",
            why="All the renames are done, or none.",
            hint="Settle it, then run `manage.py migrate_renumber` again.",
        )


def _rename(source: Path, target: Path) -> None:
    """Like Path.rename(), which on POSIX would silently replace a file of that name."""
    is_same = source.name.casefold() == target.name.casefold()
    if os.path.lexists(target) and not is_same:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    source.rename(target)


def _undo(directory: Path, done: list[Rename]) -> list[str]:
    """Give the files their old names again; return what could not be undone."""
    stuck = []
    for rename in reversed(done):
        try:
            _rename(directory / rename.target, directory / rename.source)
        except OSError as error:
            stuck.append(f"{rename.source} is now {rename.target} ({error.strerror})")
    return stuck


def _failed(error: BaseException, rename: Rename, stuck: list[str]) -> SqlMigratorError:
    if isinstance(error, SqlMigratorError):
        reason = error.message.rstrip(".")
    else:
        told = getattr(error, "strerror", None) or type(error).__name__
        reason = f"{rename.source} could not become {rename.target}: {told}"
    if stuck:
        return SqlMigratorError(
            f"{reason}; and not everything could be undone: {'; '.join(stuck)}.",
            hint="Rename these by hand, then run `manage.py migrate_check`.",
        )
    return SqlMigratorError(
        f"{reason}. Every rename before it was undone: nothing is changed.",
        hint="Settle it, then run `manage.py migrate_renumber --write` again.",
    )
