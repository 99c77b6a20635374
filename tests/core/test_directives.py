"""Directives: `-- sqlmigrator: KEY[=VALUE]` above the first statement."""

import pytest

from sqlmigrator.core.directives import DirectiveError, Directives, occurrences, parse_directives

KEYS = "no-transaction, lock_timeout, statement_timeout, out-of-order, depends"


def read(*lines: str) -> tuple[Directives, list[DirectiveError]]:
    return parse_directives("\n".join(lines).encode())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("-- sqlmigrator: no-transaction", Directives(no_transaction=True)),
        ("--sqlmigrator:no-transaction", Directives(no_transaction=True)),
        ("  --\tsqlmigrator \t:  no-transaction  ", Directives(no_transaction=True)),
        ("/* x */ -- sqlmigrator: no-transaction", Directives(no_transaction=True)),
        ("-- sqlmigrator: no-transaction\r", Directives(no_transaction=True)),
        ("-- first\r-- sqlmigrator: no-transaction\r", Directives(no_transaction=True)),
        ("-- sqlmigrator: out-of-order", Directives(out_of_order=True)),
        ("-- sqlmigrator: lock_timeout=2s", Directives(lock_timeout_ms=2_000)),
        ("-- sqlmigrator: lock_timeout = 500ms", Directives(lock_timeout_ms=500)),
        ("-- sqlmigrator: lock_timeout=0", Directives(lock_timeout_ms=0)),
        ("-- sqlmigrator: statement_timeout=10min", Directives(statement_timeout_ms=600_000)),
        ("-- sqlmigrator: depends=app.0042_name", Directives(depends=(("app", "0042_name"),))),
    ],
)
def test_a_directive_is_read(line: str, expected: Directives) -> None:
    assert read(line) == (expected, [])


def test_directives_add_up_and_depends_may_stand_several_times() -> None:
    directives, errors = read(
        "-- what this is about",
        "-- sqlmigrator: no-transaction",
        "",
        "-- sqlmigrator: lock_timeout=1s",
        "-- sqlmigrator: depends=a.0001_initial",
        "-- sqlmigrator: depends=b.0002_more",
        "-- sqlmigrator: depends=b.0002_more",
    )
    assert errors == []
    assert directives == Directives(
        no_transaction=True,
        lock_timeout_ms=1_000,
        depends=(("a", "0001_initial"), ("b", "0002_more"), ("b", "0002_more")),
    )


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("no_transaction", "unknown directive 'no_transaction'", "Did you mean `no-transaction`?"),
        ("No-Transaction", "unknown directive 'No-Transaction'", "Did you mean `no-transaction`?"),
        ("notransaction", "unknown directive 'notransaction'", "Did you mean `no-transaction`?"),
        ("lock-timeout=2s", "unknown directive 'lock-timeout'", "Did you mean `lock_timeout`?"),
        ("depend=a.b", "unknown directive 'depend'", "Did you mean `depends`?"),
        ("out_of_order", "unknown directive 'out_of_order'", "Did you mean `out-of-order`?"),
        ("xyz", "unknown directive 'xyz'", f"The directives are: {KEYS}."),
        ("", "unknown directive ''", f"The directives are: {KEYS}."),
        (
            "no-transaction, out-of-order",
            "unknown directive 'no-transaction, out-of-order'",
            "Did you mean `no-transaction`?",
        ),
        (
            "no-transaction=yes",
            "no-transaction takes no value",
            "Write `-- sqlmigrator: no-transaction`.",
        ),
        ("out-of-order=", "out-of-order takes no value", "Write `-- sqlmigrator: out-of-order`."),
        (
            "lock_timeout",
            "lock_timeout: '' is not a duration; write 500ms, 2s, 10min or 1h",
            "Write `-- sqlmigrator: lock_timeout=2s`.",
        ),
        (
            "statement_timeout=10",
            "statement_timeout: '10' is not a duration; write 500ms, 2s, 10min or 1h",
            "Write `-- sqlmigrator: statement_timeout=2s`.",
        ),
        (
            "depends=0042_name",
            "depends: '0042_name' names no Django migration",
            "Write `-- sqlmigrator: depends=app_label.0042_name`.",
        ),
        (
            "depends",
            "depends: '' names no Django migration",
            "Write `-- sqlmigrator: depends=app_label.0042_name`.",
        ),
    ],
)
def test_what_cannot_be_followed_is_an_error_with_the_way_out(
    line: str, message: str, hint: str
) -> None:
    directives, errors = read("-- é", f"-- sqlmigrator: {line}")
    assert directives == Directives()
    assert errors == [DirectiveError(message, hint, offset=6)]


def test_a_directive_given_twice_is_an_error_and_the_first_counts() -> None:
    directives, errors = read("-- sqlmigrator: lock_timeout=1s", "-- sqlmigrator: lock_timeout=2s")
    assert directives.lock_timeout_ms == 1_000
    assert errors == [DirectiveError("lock_timeout is given twice", "Keep one of them.", 32)]


@pytest.mark.parametrize(
    "line",
    [
        "-- no-transaction",
        "-- see sqlmigrator: no-transaction",
        "-- sqlmigrators: no-transaction",
        "/* sqlmigrator: no-transaction */",
        "/*\n-- sqlmigrator: no-transaction\n*/",
        "/* /* */\n-- sqlmigrator: no-transaction\n*/",
    ],
)
def test_other_comments_are_no_directives(line: str) -> None:
    assert read(line) == (Directives(), [])


def test_occurrences_have_the_offset_of_their_comment() -> None:
    data = b"-- a\n  -- sqlmigrator: one \n;; -- sqlmigrator: two"
    assert occurrences(data, 0, len(data)) == [(7, "one"), (31, "two")]
