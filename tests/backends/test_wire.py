"""What the wire makes of a session that ends."""

import pytest

from sqlmigrator.backends.postgresql.wire import ConnectionBroken, Wire
from tests.support import Database


@pytest.mark.parametrize("message", [b"SELECT 1", b"SELECT 1" + b" " * 300_000])
def test_the_servers_last_words_are_read(database: Database, message: bytes) -> None:
    """Sending to a session that was ended fails, at times, before its end was read."""
    for _ in range(20):
        with database.connect() as connection:
            wire = Wire(connection)
            assert wire.send(b"BEGIN").error is None
            database.execute(f"SELECT pg_terminate_backend({connection.info.backend_pid})")
            with pytest.raises(ConnectionBroken) as caught:
                wire.send(message)
            assert caught.value.sqlstate == "57P01"
            assert caught.value.may_run_again
