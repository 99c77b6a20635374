"""Garbage collection is as it was, whatever runs beside."""

import gc
from threading import Event, Thread

import pytest

from sqlmigrator.core.collection import without_collection


def test_it_is_back_after_an_error() -> None:
    def fail() -> None:
        with without_collection(), without_collection():
            assert not gc.isenabled()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert gc.isenabled()


def test_it_stays_off_where_it_was_off() -> None:
    gc.disable()
    try:
        with without_collection():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_it_is_back_when_the_last_thread_has_left() -> None:
    """Otherwise one that found it off, because of another, would leave it off for good."""
    is_inside, may_leave = Event(), Event()

    def work() -> None:
        with without_collection():
            is_inside.set()
            may_leave.wait(10)

    other = Thread(target=work)
    with without_collection():
        other.start()
        assert is_inside.wait(10)
    assert not gc.isenabled()
    may_leave.set()
    other.join(10)
    assert gc.isenabled()
