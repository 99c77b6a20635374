"""The signals: when they are sent, what they carry, and the examples of docs/signals.md."""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from django.dispatch import Signal

from sqlmigrator import signals
from sqlmigrator.results import Applied, ApplyResult, Failure, MigrationFailed
from sqlmigrator.runner import MigrationRunner
from tests.django_home.docs import blocks
from tests.django_home.site import Site
from tests.support import Database, Folder, Result

Call = Callable[..., Result]
NAMES = ("migration_applied", "migration_failed", "run_finished")


@pytest.fixture
def connect() -> Iterator[Callable[[Signal, Callable[..., Any]], None]]:
    """Connect a receiver until the test ends."""
    connected: list[tuple[Signal, Callable[..., Any]]] = []

    def to(signal: Signal, receiver: Callable[..., Any]) -> None:
        signal.connect(receiver, weak=False)
        connected.append((signal, receiver))

    yield to
    for signal, receiver in connected:
        signal.disconnect(receiver)


@pytest.fixture
def sent(connect: Callable[..., None], database: Database) -> list[tuple[str, Any, list[str]]]:
    """What was sent: the signal, the payload, and the versions that another session then sees."""
    sent: list[tuple[str, Any, list[str]]] = []

    def listen(name: str, key: str) -> None:
        def receiver(database: str, **kwargs: Any) -> None:
            assert database == "default"
            assert set(kwargs) == {"signal", "sender", key}
            sent.append((name, kwargs[key], seen()))

        connect(getattr(signals, name), receiver)

    def seen() -> list[str]:
        rows = database.query("SELECT version FROM schema_migrations ORDER BY 1")
        return [row[0] for row in rows]

    for name, key in zip(NAMES, ("applied", "failure", "result"), strict=True):
        listen(name, key)
    return sent


def test_each_is_sent_after_the_commit(sent: list[Any], folder: Folder, database: Database) -> None:
    folder.with_tracking().write("002_b.sql", "SELECT 1;")
    result = MigrationRunner().apply()
    first, second = result.applied
    assert isinstance(first, Applied)
    assert isinstance(result, ApplyResult)
    assert sent == [
        ("migration_applied", first, ["001"]),
        ("migration_applied", second, ["001", "002"]),
        ("run_finished", result, ["001", "002"]),
    ]


@pytest.mark.parametrize("header", ["", "-- sqlmigrator: no-transaction\n"], ids=["", "stepwise"])
def test_a_failure_is_sent_after_the_rollback(
    sent: list[Any], folder: Folder, database: Database, header: str
) -> None:
    folder.with_tracking().write("002_b.sql", f"{header}SELECT nothing;")
    folder.write("003_c.sql", "SELECT 1;")
    with pytest.raises(MigrationFailed) as caught:
        MigrationRunner().apply()
    result = caught.value.result
    assert isinstance(result.failure, Failure)
    assert sent == [
        ("migration_applied", result.applied[0], ["001"]),
        ("migration_failed", result.failure, ["001"]),
        ("run_finished", result, ["001"]),
    ]
    assert result.not_tried == ("003_c.sql",)
    assert database.query("SELECT state FROM schema_migrations_log WHERE version = '002'") == [
        ("failed",)
    ]


def test_all_or_nothing_sends_after_the_one_commit(
    sent: list[Any], folder: Folder, database: Database
) -> None:
    folder.with_tracking().write("002_b.sql", "SELECT 1;")
    result = MigrationRunner().apply(single_transaction=True)
    both = ["001", "002"]
    assert sent == [
        ("migration_applied", result.applied[0], both),
        ("migration_applied", result.applied[1], both),
        ("run_finished", result, both),
    ]


def test_nothing_to_do_refused_or_rehearsed_sends_nothing(
    sent: list[Any], folder: Folder, call: Call, database: Database
) -> None:
    folder.with_tracking()
    assert call("migrate_check", "--rehearse").code == 0
    assert sent == []
    assert call("migrate_apply").code == 0
    sent.clear()
    assert call("migrate_apply").code == 0
    folder.write("002_b.sql", "COMMIT;")
    assert call("migrate_apply").code == 1
    assert sent == []


def test_receivers_that_fail_stop_nothing(
    connect: Callable[..., None],
    folder: Folder,
    call: Call,
    database: Database,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(**kwargs: Any) -> None:
        raise RuntimeError("the chat is down")

    for name in NAMES:
        connect(getattr(signals, name), broken)
    folder.with_tracking().write("002_b.sql", "SELECT 1;")
    with caplog.at_level(logging.ERROR, "django.dispatch"):
        result = call("migrate_apply")
    assert (result.code, result.err) == (0, "")
    assert len(caplog.records) == 3
    assert database.query("SELECT count(*) FROM schema_migrations") == [(2,)]
    folder.write("003_c.sql", "SELECT nothing;")
    result = call("migrate_apply")
    assert result.code == 1
    assert 'column "nothing" does not exist' in result.err


# The examples of the docs


class Chat(BaseHTTPRequestHandler):
    """A webhook that keeps what it is told."""

    texts: list[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["Content-Type"] == "application/json"
        self.texts.append(json.loads(body)["text"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def chat() -> Iterator[tuple[str, list[str]]]:
    """The webhook's URL and what was posted to it."""
    handler = type("Handler", (Chat,), {"texts": []})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/hook", handler.texts
        server.shutdown()
        thread.join()


def examples(site: Site, webhook: str) -> None:
    files: dict[str, str] = {}
    for block in blocks("signals.md", "python"):
        name = block.splitlines()[0].removeprefix("# ").split(",")[0]
        files[name] = files.get(name, "") + block
    assert list(files) == ["shop/apps.py", "shop/receivers.py"]
    for name, text in files.items():
        site.write(name, text)
    site.configure(f"""
        CHAT_WEBHOOK = {webhook!r}
        CACHES = {{"default": {{
            "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
            "LOCATION": BASE_DIR / "cache"}}}}
    """)


def cached(site: Site, statement: str) -> str:
    script = f"from django.core.cache import cache; {statement}"
    result = site.manage("shell", "-v", "0", "--no-imports", "-c", script)
    assert (result.code, result.err) == (0, "")
    return result.out.strip()


def test_the_examples_tell_the_chat_and_clear_the_cache(
    site: Site, chat: tuple[str, list[str]]
) -> None:
    webhook, texts = chat
    examples(site, webhook)
    cached(site, "cache.set('a', 1)")
    site.write("sql/002_bad.sql", "SELECT nothing;")
    site.write("sql/003_later.sql", "SELECT 1;")
    assert site.manage("migrate_apply").code == 1
    (text,) = texts
    first, applied, *rest = text.splitlines()
    assert first == "Migrations on default:"
    assert applied.startswith("001_create_category.sql applied in ")
    assert rest == [
        '002_bad.sql FAILED: column "nothing" does not exist',
        "003_later.sql not tried",
    ]
    assert cached(site, "print(cache.get('a'))") == "None"


def test_the_examples_where_there_is_no_chat_or_it_is_down(site: Site) -> None:
    examples(site, "")
    assert site.manage("migrate_apply").code == 0
    cached(site, "cache.set('a', 1)")
    assert site.manage("migrate_apply").code == 0
    assert cached(site, "print(cache.get('a'))") == "1"
    site.configure('CHAT_WEBHOOK = "http://127.0.0.1:1/"')
    site.write("sql/002_more.sql", "SELECT 1;")
    result = site.manage("migrate_apply")
    assert (result.code, result.out.splitlines()[-1][:20]) == (0, "Applied 1 migration ")
    assert cached(site, "print(cache.get('a'))") == "None"
