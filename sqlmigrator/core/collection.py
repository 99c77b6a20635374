"""Garbage collection, left out where it costs more than the work."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_turn = Lock()
_inside = 0  # threads, and calls within each other
_was_enabled = False  # before the first of them


@contextmanager
def without_collection() -> Iterator[None]:
    """Without looking for cycles: a large plan is many objects, none of which is garbage yet.

    That takes a third as long as reading the files. Also a decorator.
    """
    global _inside, _was_enabled
    with _turn:
        if _inside == 0:
            _was_enabled = gc.isenabled()
            gc.disable()
        _inside += 1
    try:
        yield
    finally:
        with _turn:
            _inside -= 1
            if _inside == 0 and _was_enabled:
                gc.enable()
