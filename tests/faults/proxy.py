"""A TCP proxy before PostgreSQL that loses one chosen message, its reply, or the connection.

It reads the messages of the protocol (manual, section 55.7): a frontend's Query message is a type
byte, a length and the statements. Encryption is declined, so that they can be read.
"""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Self
from urllib.parse import quote

from tests.support import Database

_ENCRYPTION_REQUESTS = (80877103, 80877104)  # SSLRequest, GSSENCRequest
_READY = b"Z"


class Fault(Enum):
    """What happens to the message, and to the reply."""

    DROP_REQUEST = "it never arrives; both connections are cut"
    DROP_REPLY = "it is answered, but the answer is lost; both connections are cut"
    HALF_OPEN = "it arrives; the client is cut off, the server's end stays open until release()"
    SILENCE = "it arrives; no answer passes any more, and nothing is closed"
    DELAY = "it arrives after release(), even if the client is gone by then"


@dataclass(frozen=True)
class Rule:
    fault: Fault
    matches: Callable[[bytes], bool]
    refuse_afterwards: bool


def holding(*parts: str) -> Callable[[bytes], bool]:
    """Match a Query message that holds every one of `parts`."""
    wanted = [part.encode() for part in parts]
    return lambda message: all(part in message for part in wanted)


def is_exactly(statement: str) -> Callable[[bytes], bool]:
    """Match a Query message that is `statement`."""
    return lambda message: message.rstrip(b"\0") == statement.encode()


def after(
    earlier: Callable[[bytes], bool], matches: Callable[[bytes], bool]
) -> Callable[[bytes], bool]:
    """Match like `matches`, but only what comes after a message that matches `earlier`."""
    seen = threading.Event()

    def both(message: bytes) -> bool:
        if seen.is_set():
            return matches(message)
        if earlier(message):
            seen.set()
        return False

    return both


class Proxy:
    """Passes everything on until a message matches the armed rule, which then acts once."""

    def __init__(self, server: dict[str, Any]) -> None:
        """`server` are psycopg's connection parameters; host may be a socket's folder."""
        self._server = server
        self._rule: Rule | None = None
        self._guard = threading.Lock()
        self._released = threading.Event()
        self.struck = threading.Event()  # set when the rule has acted
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.release()
        self.refuse()
        with self._guard:
            for each in self._sockets:
                _cut(each)

    def url(self, database: Database) -> str:
        """The DATABASE_URL that reaches `database` through this proxy."""
        user = quote(str(self._server.get("user", "postgres")), safe="")
        password = self._server.get("password")
        login = f"{user}:{quote(str(password), safe='')}" if password else user
        return f"postgresql://{login}@127.0.0.1:{self.port}/{quote(database.name, safe='')}"

    def arm(
        self, fault: Fault, matches: Callable[[bytes], bool], *, refuse_afterwards: bool = False
    ) -> None:
        """Let `fault` befall the next Query message that matches; then refuse new connections."""
        self.struck.clear()
        self._rule = Rule(fault, matches, refuse_afterwards)

    def release(self) -> None:
        """Send what is delayed, and close what is half open."""
        self._released.set()

    def refuse(self) -> None:
        """Accept no more connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    # Connections

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # the listener is closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _connect(self) -> socket.socket:
        host, port = str(self._server.get("host") or "localhost"), self._server.get("port") or 5432
        if host.startswith("/"):
            server = socket.socket(socket.AF_UNIX)
            server.connect(f"{host}/.s.PGSQL.{port}")
            return server
        return socket.create_connection((host, int(port)))

    def _serve(self, client: socket.socket) -> None:
        try:
            server = self._connect()
        except OSError:
            client.close()
            return
        with self._guard:
            self._sockets += [client, server]
        link = _Link(self, client, server)
        threading.Thread(target=link.pass_replies, daemon=True).start()
        link.pass_requests()

    def take_rule(self, message: bytes) -> Rule | None:
        """The armed rule, if it is about this message; it is spent then."""
        with self._guard:
            rule = self._rule
            if rule is None or not rule.matches(message):
                return None
            self._rule = None
        if rule.refuse_afterwards:
            self.refuse()
        return rule

    def wait_for_release(self) -> None:
        self._released.wait()


class _Link:
    """One client's connection and the server's end of it; a thread for each direction."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self.proxy = proxy
        self.client = client
        self.server = server
        self.fault: Fault | None = None

    def pass_requests(self) -> None:
        with contextlib.suppress(OSError):
            self._pass_startup()
            while message := _read_message(self.client):
                rule = self.proxy.take_rule(message[5:]) if message[:1] == b"Q" else None
                if rule is None:
                    self.server.sendall(message)
                elif not self._befall(rule.fault, message):
                    return
        if self.fault is not Fault.HALF_OPEN:
            _cut(self.server)

    def _pass_startup(self) -> None:
        while True:
            length = _read(self.client, 4)
            body = _read(self.client, struct.unpack("!I", length)[0] - 4)
            if struct.unpack("!I", body[:4])[0] not in _ENCRYPTION_REQUESTS:
                break
            self.client.sendall(b"N")
        self.server.sendall(length + body)

    def _befall(self, fault: Fault, message: bytes) -> bool:
        """Do what `fault` says; True if later messages are to be passed on."""
        self.fault = fault
        if fault is Fault.DELAY:
            self.proxy.struck.set()
            self.proxy.wait_for_release()
            self.server.sendall(message)
            return True
        if fault is Fault.DROP_REQUEST:
            _cut(self.server)
            _cut(self.client)
        else:
            self.server.sendall(message)
        if fault is Fault.HALF_OPEN:
            _cut(self.client)
        if fault is not Fault.DROP_REPLY:
            self.proxy.struck.set()
        if fault is Fault.HALF_OPEN:
            self.proxy.wait_for_release()
            _cut(self.server)
        return fault is Fault.SILENCE

    def pass_replies(self) -> None:
        with contextlib.suppress(OSError):
            while message := _read_message(self.server):
                if self.fault in (None, Fault.DELAY):
                    self.client.sendall(message)
                elif self.fault is Fault.DROP_REPLY and message[:1] == _READY:
                    self.proxy.struck.set()
                    _cut(self.server)
                    break
        if self.fault is not Fault.SILENCE:
            _cut(self.client)


def _read(source: socket.socket, length: int) -> bytes:
    """Read exactly `length` bytes. Raises ConnectionError at the end of the stream."""
    parts = []
    while length:
        part = source.recv(min(length, 1 << 20))
        if not part:
            raise ConnectionError
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _read_message(source: socket.socket) -> bytes:
    """Read one message: a type byte, a length that counts itself, the body."""
    head = _read(source, 5)
    return head + _read(source, struct.unpack("!I", head[1:])[0] - 4)


def _cut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
