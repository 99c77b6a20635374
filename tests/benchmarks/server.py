"""The server under the benchmarks: an embedded PostgreSQL 18, in memory where that is possible."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg

from project.embedded.server import Server

MEMORY = Path("/dev/shm")


class Cluster:
    """A running server and the databases on it."""

    def __init__(self, server: Server, in_memory: bool) -> None:
        self._server = server
        self.in_memory = in_memory
        self.socket = str(server.socket_folder)
        self.psql = str(server.program("psql"))

    def connect(self, name: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(host=self.socket, user="postgres", dbname=name, autocommit=True)

    def fresh(self, name: str) -> None:
        """Make the database anew, empty."""
        with self.connect() as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0".encode())
            connection.execute("CHECKPOINT")

    def load(self, name: str, script: Path) -> None:
        subprocess.run(
            [*self.psql_command(name), "-f", str(script)], check=True, stdout=subprocess.DEVNULL
        )

    def count(self, name: str, query: str) -> int:
        with self.connect(name) as connection:
            row = connection.execute(query.encode()).fetchone()
        assert row is not None
        return int(row[0])

    def url(self, name: str, scheme: str = "postgresql") -> str:
        return f"{scheme}://postgres@/{name}?host={quote(self.socket, safe='')}"

    def psql_command(self, name: str, host: str = "", port: int = 5432) -> list[str]:
        place = ["-h", host or self.socket, "-p", str(port), "-U", "postgres", "-d", name]
        return [self.psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", *place]

    def version(self) -> str:
        with self.connect() as connection:
            version = connection.info.server_version
        return f"{version // 10000}.{version % 10000}"


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Start the server; remove it with its data afterwards."""
    in_memory = MEMORY.is_dir()
    parent = Path(tempfile.mkdtemp(prefix="sqlmigrator-bench-", dir=MEMORY if in_memory else None))
    parent.chmod(0o755)  # the server has a user of its own if we are root
    server = Server(parent / "pg", options=("-c", "autovacuum=off", "-c", "max_connections=50"))
    try:
        server.start()
        yield Cluster(server, in_memory)
    finally:
        server.release()
        shutil.rmtree(server.folder, ignore_errors=True)
        shutil.rmtree(parent, ignore_errors=True)
