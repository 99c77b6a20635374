"""Statements that run outside a transaction: what they left behind, and how to go on.

CREATE INDEX CONCURRENTLY leaves an INVALID index when it is stopped, which IF NOT EXISTS then
silently accepts (manual, CREATE INDEX, "Building Indexes Concurrently").
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from sqlmigrator.backends.postgresql.connection import Connection
from sqlmigrator.backends.postgresql.tracking import quote_literal
from sqlmigrator.core.statements import Outside, OutsideStatement

_INDEX: Final = """
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), i.indisvalid
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
"""


_LEFT_BY_REINDEX: Final = re.compile(r'_cc(new|old)\d*"?$')


class Doubt(Enum):
    """What is to be done about a statement of which the journal does not know the end."""

    DONE = "done"
    RUN = "run it"
    UNKNOWN = "cannot be told"


def invalid_indexes(connection: Connection, statement: OutsideStatement) -> list[str]:
    """The INVALID indexes of the statement's table, qualified and quoted."""
    if statement.kind is Outside.CREATE_INDEX:
        where = f"i.indrelid = {_regclass(statement.table)}"
    elif statement.kind is Outside.REINDEX and statement.object_kind == "INDEX":
        where = (
            "i.indrelid = (SELECT indrelid FROM pg_catalog.pg_index"
            f" WHERE indexrelid = {_regclass(statement.name)})"
        )
    elif statement.kind is Outside.REINDEX and statement.object_kind == "TABLE":
        where = f"i.indrelid = {_regclass(statement.name)}"
    else:
        return []
    return _invalid(connection, where)


def invalid_of_name(connection: Connection, statement: OutsideStatement) -> list[str]:
    """The INVALID index that a CREATE INDEX with a name would meet, qualified and quoted."""
    if statement.kind is not Outside.CREATE_INDEX or statement.name is None:
        return []
    where = (
        f"i.indrelid = {_regclass(statement.table)} AND c.relname = {_last_part(statement.name)}"
    )
    return _invalid(connection, where)


def _invalid(connection: Connection, where: str) -> list[str]:
    rows = connection.query(f"{_INDEX} WHERE NOT i.indisvalid AND {where}")
    return [str(row[0]) for row in rows]


def drop_indexes(connection: Connection, names: list[str]) -> None:
    """Drop what a stopped build left. Raises ServerFailure."""
    for name in names:
        connection.query(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")


def settle(connection: Connection, statement: OutsideStatement) -> Doubt:
    """Look whether the statement in doubt was done; remove what a stopped one left behind."""
    kind = statement.kind
    if kind is Outside.CREATE_INDEX:
        return _settle_create_index(connection, statement)
    if kind is Outside.REINDEX:
        left = [n for n in invalid_indexes(connection, statement) if _LEFT_BY_REINDEX.search(n)]
        drop_indexes(connection, left)
        return Doubt.RUN
    if kind is Outside.DROP_INDEX:
        return _done_if(connection, f"{_regclass(statement.name)} IS NULL")
    if kind is Outside.DETACH_PARTITION:
        return _settle_detach(connection, statement)
    if catalog := _CATALOGS.get(kind):
        table, column = catalog
        there = (
            f"EXISTS (SELECT FROM pg_catalog.{table} WHERE {column} = {_last_part(statement.name)})"
        )
        is_drop = kind in (
            Outside.DROP_DATABASE,
            Outside.DROP_TABLESPACE,
            Outside.DROP_SUBSCRIPTION,
        )
        return _done_if(connection, f"NOT {there}" if is_drop else there)
    return Doubt.RUN  # VACUUM, CLUSTER, ALTER SYSTEM and the like may run again


_CATALOGS: Final = {
    Outside.CREATE_DATABASE: ("pg_database", "datname"),
    Outside.DROP_DATABASE: ("pg_database", "datname"),
    Outside.CREATE_TABLESPACE: ("pg_tablespace", "spcname"),
    Outside.DROP_TABLESPACE: ("pg_tablespace", "spcname"),
    Outside.CREATE_SUBSCRIPTION: ("pg_subscription", "subname"),
    Outside.DROP_SUBSCRIPTION: ("pg_subscription", "subname"),
}


def _settle_create_index(connection: Connection, statement: OutsideStatement) -> Doubt:
    if statement.name is None:
        # Its name was the server's choice: a valid index may be this one or an older one.
        return Doubt.UNKNOWN
    if invalid := invalid_of_name(connection, statement):
        drop_indexes(connection, invalid)
        return Doubt.RUN
    return _done_if(
        connection,
        f"EXISTS ({_INDEX} WHERE i.indrelid = {_regclass(statement.table)}"
        f" AND c.relname = {_last_part(statement.name)})",
    )


def _settle_detach(connection: Connection, statement: OutsideStatement) -> Doubt:
    rows = connection.query(
        "SELECT inhdetachpending FROM pg_catalog.pg_inherits"
        f" WHERE inhrelid = {_regclass(statement.name)} AND inhparent = {_regclass(statement.table)}"
    )
    if not rows:
        return Doubt.DONE
    if rows[0][0] == "t":
        connection.query(
            f"ALTER TABLE {statement.table} DETACH PARTITION {statement.name} FINALIZE"
        )
        return Doubt.DONE
    return Doubt.RUN


def _done_if(connection: Connection, condition: str) -> Doubt:
    ((done,),) = connection.query(f"SELECT {condition}")
    return Doubt.DONE if done == "t" else Doubt.RUN


def _regclass(name: str | None) -> str:
    return f"pg_catalog.to_regclass({quote_literal(name)})"


def _last_part(name: str | None) -> str:
    """The unquoted last part of a quoted name, cut as the server cuts names."""
    return f"(pg_catalog.parse_ident({quote_literal(name)}))[1]::name"
