"""What the wire makes of a session that ends."""

import random
from threading import Timer

import pytest

from sqlmigrator.backends.postgresql.wire import ConnectionBroken, Wire
from tests.support import Database

MESSAGE = b"BEGIN; SELECT 1; SELECT 2; COMMIT;"


def send_for_ever(wire: Wire, message: bytes) -> None:
    while True:
        wire.send(message)


@pytest.mark.parametrize("message", [MESSAGE, MESSAGE + b" " * 300_000])
def test_the_servers_last_words_are_read(database: Database, message: bytes) -> None:
    """Sending to a session that was ended fails, at times, before its end was read."""
    for _ in range(50):
        with database.connect() as connection:
            wire = Wire(connection)
            pid = connection.info.backend_pid
            end = f"SELECT pg_terminate_backend({pid})"
            timer = Timer(random.uniform(0, 0.01), database.execute, [end])
            timer.start()
            with pytest.raises(ConnectionBroken) as caught:
                send_for_ever(wire, message)
            timer.join()
            assert caught.value.sqlstate == "57P01"
            assert caught.value.may_run_again
