"""Durations: what PostgreSQL writes, in milliseconds, and back for people."""

import pytest

from sqlmigrator.core.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("0", 0),
        (" 0 ", 0),
        ("0s", 0),
        ("1ms", 1),
        ("500ms", 500),
        ("2s", 2_000),
        (" 2 s ", 2_000),
        ("10min", 600_000),
        ("1h", 3_600_000),
        ("2147483647ms", 2_147_483_647),
    ],
)
def test_durations_with_a_unit_are_read(text: str, milliseconds: int) -> None:
    assert parse_duration(text) == milliseconds


@pytest.mark.parametrize("text", ["", "5", "2 sec", "s", "-1s", "1.5s", "2S", "1h 2min", "1d"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        parse_duration(text)
    assert str(caught.value) == f"{text!r} is not a duration; write 500ms, 2s, 10min or 1h"


@pytest.mark.parametrize("text", ["2147483648ms", "600h", "9" * 40 + "h"])
def test_more_than_the_server_can_hold_is_refused(text: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        parse_duration(text)
    assert str(caught.value) == f"{text!r} is longer than PostgreSQL can wait (about 24 days)"


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0 ms"),
        (12.4, "12 ms"),
        (999, "999 ms"),
        (1_000, "1.0 s"),
        (3_449, "3.4 s"),
        (59_940, "59.9 s"),
        (59_960, "1 min 00 s"),
        (125_000, "2 min 05 s"),
        (3_599_600, "1 h 00 min"),
        (3_720_000, "1 h 02 min"),
        (360_000_000, "100 h 00 min"),
    ],
)
def test_durations_are_written_for_people(milliseconds: float, text: str) -> None:
    assert format_duration(milliseconds) == text
