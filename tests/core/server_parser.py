"""The server's own reading of SQL, asked at libpq's level so that 100,000 scripts take seconds."""

from collections.abc import Sequence

from psycopg import pq

CHECK = b"SELECT 'sqlmigrator: syntax check only, nothing was run'::int;\n"
PARSED = b"22P02"
ABORTED = b"25P02"
_BATCH_BYTES = 16_384


class ServerParser:
    """What the server makes of scripts and statements; it never runs them but in `count`."""

    def __init__(self, connection: pq.abc.PGconn) -> None:
        self._connection = connection

    def accepts(self, script: bytes) -> bool:
        """Whether the whole script parses: a statement before it fails, but only after parsing."""
        results = self._simple(CHECK + script)
        assert len(results) == 1, script
        return results[0].error_field(pq.DiagnosticField.SQLSTATE) == PARSED

    def complaints(self, statements: Sequence[bytes]) -> list[str | None]:
        """For each: None where it is exactly one statement that parses, else the server's words.

        Parse messages in an aborted transaction: the server parses, refuses several statements
        ("cannot insert multiple commands"), and stops before it looks at names.
        """
        self._simple(b"BEGIN; SELECT 1/0")
        found: list[str | None] = []
        self._connection.enter_pipeline_mode()
        waiting = size = 0
        for statement in statements:
            self._connection.send_prepare(b"", statement)
            self._connection.pipeline_sync()
            waiting, size = waiting + 1, size + len(statement)
            if size > _BATCH_BYTES or waiting > 200:
                found += [self._complaint() for _ in range(waiting)]
                waiting = size = 0
        found += [self._complaint() for _ in range(waiting)]
        self._connection.exit_pipeline_mode()
        self._simple(b"ROLLBACK")
        return found

    def _complaint(self) -> str | None:
        result = self._connection.get_result()
        assert result is not None
        assert self._connection.get_result() is None
        end = self._connection.get_result()
        assert end is not None
        assert end.status == pq.ExecStatus.PIPELINE_SYNC
        if result.status == pq.ExecStatus.COMMAND_OK:  # COMMIT or ROLLBACK, not run
            return None
        if result.error_field(pq.DiagnosticField.SQLSTATE) == ABORTED:
            return None
        return result.error_message.decode()

    def count(self, script: bytes) -> int:
        """Run the script, undo it, and return how many statements answered."""
        self._simple(b"BEGIN")
        results = self._simple(script)
        for result in results:
            assert result.status in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK), (
                result.error_message.decode(),
                script,
            )
        self._simple(b"ROLLBACK")
        return len(results)

    def run(self, script: bytes) -> None:
        for result in self._simple(script):
            assert result.status == pq.ExecStatus.COMMAND_OK, result.error_message.decode()

    def _simple(self, script: bytes) -> list[pq.abc.PGresult]:
        self._connection.send_query(script)
        results = []
        while result := self._connection.get_result():
            results.append(result)
        return results
