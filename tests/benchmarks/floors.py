"""Small programs to compare with, each a process of its own: `python -m tests.benchmarks.floors NAME`."""

import os
import sys
import time
from pathlib import Path


def start() -> None:
    """Django's start on the project without sqlmigrator, one connection, one query."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.benchmarks.bare_settings"
    import django
    from django.db import connection

    django.setup()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def read(folder: str) -> None:
    """The same, with a query that reads the history; and every file read and hashed."""
    import hashlib

    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.benchmarks.bare_settings"
    import django
    from django.db import connection

    django.setup()
    with connection.cursor() as cursor:
        cursor.execute("SELECT version, name, checksum, applied_at FROM schema_migrations")
        cursor.fetchall()
    for entry in os.scandir(folder):
        with open(entry.path, "rb") as file:  # noqa: PTH123
            hashlib.sha256(file.read()).hexdigest()


def bare(folder: str) -> None:
    """psycopg without anything else: BEGIN, the file, its row and COMMIT as one string a file."""
    import psycopg

    from tests.benchmarks.folders import in_order, insert, row

    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as connection:
        for file in in_order(Path(folder)):
            text = file.read_text()
            version, name = file.stem.split("_", 1)
            record = insert([row(version, name, text)])
            connection.execute(f"BEGIN;\n{text}\n;{record}COMMIT".encode())


def split(path: str) -> None:
    """Read and split one file as sqlmigrator does; print the seconds, and the bytes at the peak."""
    import tracemalloc

    from sqlmigrator.core.content import read_content

    started = time.perf_counter()
    content = read_content(Path(path).read_bytes(), file=path, number=2)
    seconds = time.perf_counter() - started
    assert not content.findings, content.findings
    del content
    tracemalloc.start()  # once more: it slows the work down
    content = read_content(Path(path).read_bytes(), file=path, number=2)
    _, peak = tracemalloc.get_traced_memory()
    sys.stdout.write(f"{seconds} {peak} {len(content.statements)}\n")


if __name__ == "__main__":
    {"start": start, "read": read, "bare": bare, "split": split}[sys.argv[1]](*sys.argv[2:])
