"""The table schema_migrations: where it is, what it looks like, reading and writing its rows.

Existing tables are taken as they are (DESIGN section 3): with or without `id`, `version` as text
or integer, extra columns. All names are qualified with the bookkeeping schema.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from typing import Any, Final

from sqlmigrator.core.history import AppliedRecord, Change, version_number
from sqlmigrator.exceptions import DatabaseRefused

TABLE: Final = "schema_migrations"
LOG_TABLE: Final = "schema_migrations_log"
TEMPLATE: Final = "001_migration_tracking.sql"
_REQUIRED: Final = ("version", "name")
_KNOWN: Final = (*_REQUIRED, "checksum", "applied_at", "execution_time_ms", "applied_by")
_INTEGERS: Final = ("int2", "int4", "int8", "numeric")
_TEXTS: Final = ("text", "varchar", "bpchar", "name")
# A column of another type than these is an extra column: neither read nor written.
_TYPES: Final = {
    "version": (*_TEXTS, *_INTEGERS),
    "name": _TEXTS,
    "checksum": _TEXTS,
    "applied_at": ("timestamptz", "timestamp", "date"),
    "execution_time_ms": (*_INTEGERS, "float4", "float8"),
    "applied_by": _TEXTS,
}

_READ: Final = {
    "version": "coalesce(version::text, '')",
    # Python has no times outside of these years, and no infinity.
    "applied_at": "CASE WHEN applied_at BETWEEN '0001-01-02' AND '9999-12-30'"
    " THEN applied_at::timestamptz AT TIME ZONE 'UTC' END",
    "execution_time_ms": "execution_time_ms::bigint",
}

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH: Final = _EPOCH.replace(tzinfo=None)

Fetch = Callable[[str], Sequence[Sequence[Any]]]

# One row: what the name schema_migrations means on this connection right now.
_LAYOUT: Final = """
SELECT coalesce(n.nspname, pg_catalog.current_schema()::text), c.relkind::text,
  (SELECT pg_catalog.string_agg(a.attname || ' ' || t.typname, ',' ORDER BY a.attnum)
     FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
  pg_catalog.row_security_active(c.oid),
  pg_catalog.has_table_privilege(c.oid, 'SELECT'),
  EXISTS (SELECT FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a
            ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
           WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
             AND i.indnkeyatts = 1 AND a.attname = 'version'),
  log.oid IS NOT NULL, pg_catalog.row_security_active(log.oid)
FROM (SELECT pg_catalog.to_regclass(@NAME@) AS oid) AS found
LEFT JOIN pg_catalog.pg_class c ON c.oid = found.oid
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_class log ON log.oid = pg_catalog.to_regclass(pg_catalog.format(
  '%I.schema_migrations_log', coalesce(n.nspname, pg_catalog.current_schema(), '')))
"""

# At least one row, whose first column tells whether the others can be trusted.
_NAMES: Final = """
SELECT pg_catalog.row_security_active('schema_migrations'), version::text, name::text
FROM (SELECT) AS one LEFT JOIN schema_migrations ON true
"""


@dataclass(frozen=True, slots=True)
class Layout:
    """The bookkeeping tables as they are. `schema` is where they are, or would be made."""

    schema: str
    exists: bool = False
    columns: tuple[str, ...] = ()
    integer_version: bool = False
    unique_version: bool = False
    log_exists: bool = False

    @property
    def table(self) -> str:
        return f"{quote_name(self.schema)}.{TABLE}"

    @property
    def log(self) -> str:
        return f"{quote_name(self.schema)}.{LOG_TABLE}"


def read_layout(fetch: Fetch, schema: str | None = None) -> Layout:
    """Look the table up where its name resolves, or in `schema` only.

    Raises DatabaseRefused for a table of another tool, and where row level security or missing
    rights would make an empty history of a full one.
    """
    name = TABLE if schema is None else f"{quote_name(schema)}.{TABLE}"
    (row,) = fetch(_LAYOUT.replace("@NAME@", quote_literal(name)))
    found_schema, relkind, columns_text, row_security, may_select, unique, *log = row
    log_exists, log_row_security = log
    schema = schema or found_schema
    if schema is None:
        raise DatabaseRefused(
            "The role's search_path names no schema that exists and that the role may use: there "
            "is nowhere to keep schema_migrations.",
            hint="GRANT USAGE ON SCHEMA … TO …; or create the schema, or set search_path for the "
            "role or in the alias's OPTIONS.",
        )
    is_true = (True, "t")
    if log_row_security in is_true:
        raise DatabaseRefused(
            f"Row level security hides rows of {quote_name(schema)}.{LOG_TABLE} from this role.",
            why="An interrupted migration would be overlooked.",
            hint="Connect as the table's owner, or give the role BYPASSRLS.",
        )
    if relkind is None:
        return Layout(schema, log_exists=log_exists in is_true)
    types = dict(item.split(" ", 1) for item in (columns_text or "").split(",") if item)
    columns = {n: t for n, t in types.items() if n not in _TYPES or t in _TYPES[n]}
    layout = Layout(
        schema,
        exists=True,
        columns=tuple(name for name in _KNOWN if name in columns),
        integer_version=columns.get("version") in _INTEGERS,
        unique_version=unique in is_true,
        log_exists=log_exists in is_true,
    )
    _refuse_foreign(layout, columns, relkind)
    if row_security in is_true:
        raise DatabaseRefused(
            f"Row level security hides rows of {layout.table} from this role.",
            why="An empty history would read as: everything is pending.",
            hint="Connect as the table's owner, or give the role BYPASSRLS.",
        )
    if may_select not in is_true:
        raise DatabaseRefused(
            f"This role may not read {layout.table}.",
            hint=f"As its owner: GRANT SELECT, INSERT, UPDATE, DELETE ON {layout.table} TO …;",
        )
    return layout


def _refuse_foreign(layout: Layout, columns: dict[str, str], relkind: str) -> None:
    """A table of that name that another tool made, or no table at all."""
    if relkind not in ("r", "p"):
        raise DatabaseRefused(
            f"{layout.table} is not a table (relkind {relkind!r}).",
            hint="Rename it, or put the schema of the real table first in search_path.",
        )
    missing = [name for name in _REQUIRED if name not in columns]
    if not missing:
        return
    if "dirty" in columns:
        maker = "golang-migrate made it"
    elif set(columns) == {"version"}:
        maker = "Rails or dbmate made it"
    else:
        maker = "another tool made it"
    raise DatabaseRefused(
        f"{layout.table} has no column {', '.join(missing)}: {maker}.",
        why="sqlmigrator does not touch the history of another tool.",
        hint=f"Rename it (ALTER TABLE {layout.table} RENAME TO schema_migrations_old;), then "
        "record what is applied: `manage.py migrate_mark --applied … --reason …`.",
    )


def read_records(fetch: Fetch, layout: Layout) -> tuple[AppliedRecord, ...]:
    """All rows of the table, in no particular order."""
    if not layout.exists:
        return ()
    columns = [_READ.get(name, name) if name in layout.columns else "NULL" for name in _KNOWN]
    rows = fetch(f"SELECT {', '.join(columns)} FROM {layout.table}")
    return tuple(
        AppliedRecord(
            version, name, version_number(version), in_utc(at), checksum, time_ms, applied_by
        )
        for version, name, checksum, at, time_ms, applied_by in rows
    )


def in_utc(when: datetime | None) -> datetime | None:
    """A time that was read AT TIME ZONE 'UTC': with USE_TZ = False Django drops any other zone."""
    return when and _EPOCH + (when - _NAIVE_EPOCH)  # a tenth of the time of when.replace()


def read_names(fetch: Fetch) -> tuple[AppliedRecord, ...] | None:
    """Versions and names with one query; None where row level security hides rows."""
    rows = fetch(_NAMES)
    if rows[0][0] in (True, "t"):
        return None
    return tuple(
        AppliedRecord(version, name, version_number(version))
        for _, version, name in rows
        if version is not None
    )


def version_literal(layout: Layout, version: str) -> str:
    """`version` as the column wants it: a number where it is an integer column."""
    if layout.integer_version:
        return str(int(version))
    return quote_literal(version)


def record_sql(
    layout: Layout,
    *,
    version: str,
    name: str,
    checksum: str | None,
    execution_time_ms: str,
    applied_by: str,
) -> str:
    """The statement that writes a version's row; it wins over a row that is there already.

    `execution_time_ms` is an SQL expression, the rest are values.
    """
    number = version_literal(layout, version)
    values = {
        "version": number,
        "name": quote_literal(name),
        "checksum": quote_literal(checksum),
        "applied_at": "pg_catalog.clock_timestamp()",
        "execution_time_ms": execution_time_ms,
        "applied_by": quote_literal(applied_by),
    }
    columns = [column for column in _KNOWN if column in layout.columns]
    listed = ", ".join(columns)
    row = ", ".join(values[column] for column in columns)
    others = [column for column in columns if column != "version"]
    if layout.unique_version:
        updates = ", ".join(f"{column} = EXCLUDED.{column}" for column in others)
        return (
            f"INSERT INTO {layout.table} ({listed}) VALUES ({row})"
            f" ON CONFLICT (version) DO UPDATE SET {updates}"
        )
    updates = ", ".join(f"{column} = {values[column]}" for column in others)
    return (
        f"WITH own AS (UPDATE {layout.table} SET {updates} WHERE version = {number} RETURNING 1)"
        f" INSERT INTO {layout.table} ({listed}) SELECT {row} WHERE NOT EXISTS (SELECT FROM own)"
    )


def delete_sql(layout: Layout, record: AppliedRecord) -> str:
    """The statement that removes exactly this row."""
    return f"DELETE FROM {layout.table} WHERE {_is_row(record)}"


def change_sql(layout: Layout, change: Change, applied_by: str) -> str | None:
    """The statement of one edit by hand; None where no row is concerned."""
    before, after = change.before, change.after
    if after is None:
        return delete_sql(layout, before) if before else None
    if before is None:
        return record_sql(
            layout,
            version=after.version,
            name=after.name or "",
            checksum=after.checksum,
            execution_time_ms="NULL",
            applied_by=applied_by,
        )
    values = {
        "version": version_literal(layout, after.version),
        "name": quote_literal(after.name),
        "checksum": quote_literal(after.checksum),
    }
    settings = ", ".join(f"{c} = {value}" for c, value in values.items() if c in layout.columns)
    return f"UPDATE {layout.table} SET {settings} WHERE {_is_row(before)}"


def _is_row(record: AppliedRecord) -> str:
    return (
        f"version::text = {quote_literal(record.version)}"
        f" AND name IS NOT DISTINCT FROM {quote_literal(record.name)}"
    )


def template_statements() -> list[bytes]:
    """The shipped 001 without the row it inserts for itself: table, view, comments, rights."""
    from sqlmigrator.core.script import split

    data = resources.files("sqlmigrator").joinpath("sql", TEMPLATE).read_bytes()
    return [data[s.start : s.end] for s in split(data) if s.word != "INSERT"]


def quote_name(name: str) -> str:
    """`name` as a quoted identifier."""
    return '"' + name.replace('"', '""') + '"'


def quote_literal(text: str | None) -> str:
    """`text` as a string literal that reads the same with either setting of
    standard_conforming_strings; NULL for None.
    """
    if text is None:
        return "NULL"
    quoted = "'" + text.replace("'", "''").replace("\\", "\\\\") + "'"
    return f"E{quoted}" if "\\" in text else quoted
