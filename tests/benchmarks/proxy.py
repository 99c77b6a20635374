"""A TCP proxy before the server: counts round trips, and makes the link slow if asked to.

A round trip is a turn: the client sends after the server has answered. The link's delay is half
of it for each direction; what is on its way does not hold up what follows (a long cable, no
narrow one).
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_CHUNK = 1 << 16


@dataclass(slots=True)
class Link:
    """Where clients connect, and how many round trips went by since it was reset."""

    port: int = 0
    round_trips: int = 0


@dataclass(slots=True)
class _Turn:
    answered: bool = True


class _Proxy:
    def __init__(self, target: str, link: Link, delay_s: float) -> None:
        self._target = target
        self._link = link
        self._one_way = delay_s / 2

    async def handle(
        self, client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter
    ) -> None:
        reader, writer = await asyncio.open_unix_connection(self._target)
        turn = _Turn()
        await asyncio.gather(
            self._pass(client_reader, writer, turn, from_client=True),
            self._pass(reader, client_writer, turn, from_client=False),
        )

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        turn: _Turn,
        *,
        from_client: bool,
    ) -> None:
        """Hand on what comes, `one_way` later."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        clock = asyncio.get_running_loop().time

        async def deliver() -> None:
            while True:
                due, data = await under_way.get()
                if (wait := due - clock()) > 0:
                    await asyncio.sleep(wait)
                if not data:
                    break
                writer.write(data)
            writer.close()

        delivery = asyncio.create_task(deliver())
        try:
            while data := await reader.read(_CHUNK):
                if from_client and turn.answered:
                    self._link.round_trips += 1
                turn.answered = not from_client
                under_way.put_nowait((clock() + self._one_way, data))
        except ConnectionError:
            pass
        under_way.put_nowait((0.0, b""))
        await delivery


@contextmanager
def running_proxy(socket_folder: str, *, delay_s: float = 0.0, port: int = 5432) -> Iterator[Link]:
    """Listen on a port of this machine for clients of the server behind `socket_folder`."""
    link = Link()
    proxy = _Proxy(f"{socket_folder}/.s.PGSQL.{port}", link, delay_s)
    loop = asyncio.new_event_loop()
    ready = threading.Event()

    async def listen() -> None:
        server = await asyncio.start_server(proxy.handle, "127.0.0.1", 0)
        link.port = server.sockets[0].getsockname()[1]
        ready.set()

    def serve() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(listen())
        loop.run_forever()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    ready.wait()
    try:
        yield link
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
