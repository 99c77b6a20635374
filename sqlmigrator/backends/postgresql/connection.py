"""The runner's own connection: opened for one run, never reconnected silently. DESIGN 5.1, 5.2."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import psycopg
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from sqlmigrator.backends.postgresql.tracking import quote_literal, quote_name
from sqlmigrator.backends.postgresql.wire import ConnectionBroken, ServerError, ServerFailure, Wire
from sqlmigrator.conf import Config
from sqlmigrator.events import NoticeReceived, OnEvent
from sqlmigrator.exceptions import DatabaseRefused, DatabaseUnavailable

_MOST_PROBES: Final = 30
_PROBE_PATIENCE: Final = 5.0  # seconds
APPLICATION_NAME: Final = "sqlmigrator"

# A killed client's file is rolled back within a second and does not commit behind its back; a
# pause between files must not end the session, because the lock would go with it.
_OWN_SETTINGS: Final = {
    "client_connection_check_interval": "1s",
    "idle_session_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "transaction_timeout": "0",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "standard_conforming_strings": "on",
    "client_encoding": "UTF8",
}
# What a new session is like, and which settings this server lets us change.
_FACTS: Final = """
SELECT pg_catalog.current_setting('search_path'),
  pg_catalog.string_agg(name, ' ') FILTER (WHERE context = 'user'),
  pg_catalog.current_setting('server_encoding'),
  pg_catalog.max(setting) FILTER (WHERE name = 'deadlock_timeout'),
  pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('default_transaction_read_only')
FROM pg_catalog.pg_settings
"""
_KEEPALIVES: Final = {
    "keepalives": 1,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}


@dataclass(frozen=True, slots=True)
class Baseline:
    """The session as every file finds it.

    `reset` brings it back after a file, `role` and `settings` what the bookkeeping needs of it
    before a file's transaction commits.
    """

    reset: str
    isolation: str
    role: str
    settings: str

    def for_bookkeeping(self, fence: str | None = None) -> list[str]:
        """The statements before the bookkeeping; the last evaluates the expression `fence`."""
        settings = f"{self.settings}, {fence}" if fence else self.settings
        return ["SET LOCAL SESSION AUTHORIZATION DEFAULT", f"SET LOCAL {self.role}", settings]


class Connection:
    """One dedicated session and what the rest of the backend asks of it."""

    def __init__(self, alias: str, config: Config, on_event: OnEvent) -> None:
        self.alias = alias
        self._config = config
        self._on_event = on_event
        self._observer: psycopg.Connection | None = None
        self._observer_failed = False
        self._open()

    def _open(self) -> None:
        connection = connect(self.alias, self._config)
        connection.add_notice_handler(self._notice)
        self.connection = connection
        self.wire = Wire(connection)
        self.backend_pid = connection.info.backend_pid
        self.server_version = connection.info.server_version
        try:
            _refuse_pooler(self, self._config)  # first: a pooled session is the application's
            (facts,) = self.query(_FACTS)
            path, names, encoding, deadlock_timeout, recovery, read_only = facts
            _refuse_read_only(self.alias, recovery == "t", read_only == "on")
            self.counts_bytes = encoding == "SQL_ASCII"  # as positions in error messages
            self.deadlock_timeout_ms = int(deadlock_timeout or 1000)
            self.baseline = self._make_baseline((names or "").split(), path)
            self.query(self.baseline.reset)
        except ServerFailure as failure:
            self.close()
            raise DatabaseRefused(f"The session could not be set up: {failure}.") from None
        except BaseException:
            self.close()
            raise

    def reopen(self) -> None:
        """Open a new session after the old one was lost. Raises DatabaseUnavailable."""
        self.close()
        self._open()

    def close(self) -> None:
        self.connection.close()
        if self._observer is not None:
            self._observer.close()
            self._observer = None

    def query(self, sql: str) -> list[tuple[str | None, ...]]:
        """Rows of a bookkeeping statement, as text. Raises ServerFailure, ConnectionBroken."""
        return self.wire.query(sql)

    def fetch(self, sql: str) -> Sequence[Sequence[Any]]:
        """Rows of a bookkeeping statement, as Python values."""
        try:
            return self.connection.execute(sql).fetchall()
        except psycopg.Error as error:
            told = ServerError(without_secrets(self.alias, str(error)), error.sqlstate or "")
            raise (ConnectionBroken if self.wire.is_broken else ServerFailure)(told) from None

    def observe(self, sql: str) -> Sequence[Sequence[Any]]:
        """Ask from a second session, while this one works. No rows where that is not possible."""
        if self._observer_failed:
            return ()
        try:
            if self._observer is None:
                self._observer = connect(self.alias, self._config)
                self._observer.execute("SET statement_timeout = '2s'")
            return self._observer.execute(sql).fetchall()
        except (psycopg.Error, DatabaseUnavailable):
            self._observer_failed = True  # too many connections, say: go on without
            return ()

    def _notice(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        severity = diagnostic.severity_nonlocalized or "NOTICE"
        if severity != "FATAL":  # that one is the wire's
            self._on_event(NoticeReceived(severity, diagnostic.message_primary or ""))

    def _make_baseline(self, names: Sequence[str], search_path: str | None) -> Baseline:
        """Repeat Django's own set-up, which the connection parameters do not carry."""
        wrapper = connections[self.alias]
        options = wrapper.settings_dict.get("OPTIONS", {})
        isolation = options.get("isolation_level")
        settings = {name: value for name, value in _OWN_SETTINGS.items() if name in names}
        if zone := wrapper.timezone_name:
            settings["TimeZone"] = zone
        # Without assume_role the role is what ALTER ROLE … SET role says, as in Django's session.
        role = options.get("assume_role")
        baseline_role = f"ROLE {quote_name(role)}" if role else "role TO DEFAULT"
        # The role first: the file's may have lost the right to anything.
        reset = [
            "SET SESSION AUTHORIZATION DEFAULT",
            "RESET ALL",
            f"SET {baseline_role}",
            _set_config(settings, is_local=False),
            "CLOSE ALL",
            "UNLISTEN *",
            "DEALLOCATE ALL",
            "DISCARD TEMP",
            "DISCARD SEQUENCES",
        ]
        # The file's own statement_timeout is not for the bookkeeping.
        needed = {"statement_timeout": "0", "search_path": search_path}
        return Baseline(
            "; ".join(reset),
            _isolation_words(isolation),
            baseline_role,
            _set_config(needed, is_local=True),
        )


def _set_config(values: Mapping[str, str | None], *, is_local: bool) -> str:
    """The SELECT that sets `values`; None is the default."""
    return "SELECT " + ", ".join(
        f"pg_catalog.set_config({quote_literal(name)}, {quote_literal(value)}, {str(is_local).lower()})"
        for name, value in values.items()
    )


def _isolation_words(level: Any) -> str:
    """Django's OPTIONS["isolation_level"] (psycopg's IsolationLevel or its number) for BEGIN."""
    if level is None:
        return ""
    name = psycopg.IsolationLevel(level).name.replace("_", " ")
    return f"ISOLATION LEVEL {name}"


def connect(alias: str, config: Config) -> psycopg.Connection:
    """Open a psycopg connection with the alias's parameters and DIRECT's replacements.

    Raises DatabaseUnavailable, never with a password in the message.
    """
    wrapper: BaseDatabaseWrapper = connections[alias]
    parameters = dict(wrapper.get_connection_params())
    for name in ("cursor_factory", "context", "prepare_threshold"):
        parameters.pop(name, None)
    for key, name in (("HOST", "host"), ("PORT", "port"), ("USER", "user")):
        if key in config.direct:
            parameters[name] = config.direct[key]
    parameters |= config.connection
    parameters = {"connect_timeout": 10, **_KEEPALIVES, **parameters}
    parameters["application_name"] = APPLICATION_NAME
    try:
        return psycopg.connect(**parameters, autocommit=True, prepare_threshold=None)
    except psycopg.Error as error:
        raise unavailable(alias, error) from None


def unavailable(alias: str, error: Exception) -> DatabaseUnavailable:
    """The error for a database that cannot be reached; the server's words without secrets."""
    return DatabaseUnavailable(
        f"The database {alias!r} cannot be reached: {without_secrets(alias, str(error))}",
        hint="Check that the server runs, and HOST, PORT, USER, PASSWORD and NAME in "
        f"settings.DATABASES[{alias!r}] (or the variable DATABASE_URL).",
    )


def without_secrets(alias: str, text: str) -> str:
    """`text` on one line, with the alias's password blanked out wherever it stands."""
    wrapper = connections[alias]
    options = wrapper.settings_dict.get("OPTIONS", {})
    for secret in (wrapper.settings_dict.get("PASSWORD"), options.get("password")):
        if secret:
            text = text.replace(str(secret), "***")
    if "conninfo" in options:  # libpq quotes any piece of one that it cannot read
        text = re.sub(r'".*"', "(not shown)", text, flags=re.DOTALL)
    text = re.sub(r"(://[^:/@\s]*:)[^@\s]*@", r"\1***@", text)
    return " ".join(text.split())


def _refuse_pooler(connection: Connection, config: Config) -> None:
    """A transaction pooler hands each transaction to another session: locks and SET leak."""
    ((pid,),) = connection.query("SELECT pg_catalog.pg_backend_pid()")
    if str(connection.backend_pid) == pid:
        return
    connection.backend_pid = int(pid or 0)
    why = "Behind a transaction pooler the migration lock does not hold."
    direct = 'Set SQLMIGRATOR = {"DIRECT": {"HOST": …, "PORT": …}} to the server itself'
    if not config.session_pooler:
        raise DatabaseRefused(
            f"The database {connection.alias!r} is behind a connection pooler.",
            why=why,
            hint=f"{direct}; if the pooler is in session mode, set SESSION_POOLER to True.",
        )
    if _hands_out_sessions(connection, config):
        raise DatabaseRefused(
            f"The pooler before {connection.alias!r} is in transaction mode, not session mode.",
            why=why,
            hint=f"{direct}.",
        )


def _hands_out_sessions(connection: Connection, config: Config) -> bool:
    """Whether other clients can get our server session: then it is not ours alone.

    A pool hands out all of its idle sessions before it opens a new one. So clients are opened,
    and kept in a transaction, until one gets our session, or one that is younger than this
    probe: ours was not among the idle ones then.
    """
    ((started,),) = connection.query("SELECT pg_catalog.clock_timestamp()")
    probe = (
        f"BEGIN; SELECT pid, backend_start > {quote_literal(started)}"
        " FROM pg_catalog.pg_stat_activity WHERE pid = pg_catalog.pg_backend_pid()"
    ).encode()
    with ExitStack() as stack:
        for _ in range(_MOST_PROBES):
            client = stack.enter_context(closing(connect(connection.alias, config)))
            give_up = time.monotonic() + _PROBE_PATIENCE
            reply = Wire(client).send(probe, partial(_refuse_after, give_up))
            rows = reply.rows() if reply.error is None else ()
            if not rows or rows[0][0] == str(connection.backend_pid):
                return True
            if rows[0][1] == "t":
                return False
    return True


def _refuse_after(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise DatabaseRefused(
            "The connection pooler has no free session to find out its mode with.",
            hint='Set SQLMIGRATOR = {"DIRECT": {"HOST": …, "PORT": …}} to the server itself.',
        )


def _refuse_read_only(alias: str, is_standby: bool, is_default: bool) -> None:
    if is_standby:
        raise DatabaseRefused(
            f"The database {alias!r} is a read-only standby.",
            hint="Point the alias, or DIRECT, at the primary server.",
        )
    if is_default:
        raise DatabaseRefused(
            f"The database {alias!r} only accepts read-only transactions.",
            hint="Remove default_transaction_read_only from the role, the database or OPTIONS.",
        )
