"""Configuration: `settings.SQLMIGRATOR`, read when asked so that override_settings works."""

from __future__ import annotations

import difflib
import getpass
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections

from sqlmigrator.core.durations import parse_duration
from sqlmigrator.exceptions import ConfigurationError

SETTING: Final = "SQLMIGRATOR"
DIRECT_KEYS: Final = ("HOST", "PORT", "USER")
_DURATION_KEYS: Final = ("LOCK_WAIT", "LOCK_TIMEOUT", "LOCK_BUDGET", "STATEMENT_TIMEOUT")
_FLAG_KEYS: Final = (
    "ALLOW_OUT_OF_ORDER",
    "IGNORE_MISSING",
    "SESSION_POOLER",
    "APPLY_TO_TEST_DATABASES",
)
KEYS: Final = ("DIRECTORY", "APPLIED_BY", *_DURATION_KEYS, *_FLAG_KEYS, "DIRECT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What the runner needs to know about one database; times in milliseconds.

    `lock_wait_ms` is how long to wait for another runner, `lock_timeout_ms` how long one attempt
    of a migration waits for a table lock, `lock_budget_ms` how long all its attempts wait
    together. `direct` replaces HOST, PORT and USER for the runner's own connection; `connection`,
    no setting, replaces any of psycopg's parameters, for rehearsals.
    """

    directory: Path
    applied_by: str
    lock_wait_ms: int = 600_000
    lock_timeout_ms: int = 500
    lock_budget_ms: int = 600_000
    statement_timeout_ms: int = 0
    allow_out_of_order: bool = False
    ignore_missing: bool = False
    session_pooler: bool = False
    apply_to_test_databases: bool = False
    direct: Mapping[str, str] = field(default_factory=dict)
    connection: Mapping[str, str] = field(default_factory=dict)


class SettingProblem(NamedTuple):
    """Something wrong in settings.SQLMIGRATOR."""

    message: str
    hint: str


def configured_aliases(*, only_postgresql: bool = False) -> tuple[str, ...]:
    """The aliases that have migrations: `default`, and those listed under DATABASES.

    `only_postgresql` leaves out a `default` of another kind that is not listed, where others are.
    """
    listed = _raw().get("DATABASES", {})
    names = listed if isinstance(listed, Mapping) else {}
    found = [a for a in connections if a == DEFAULT_DB_ALIAS or a in names]
    if only_postgresql and len(found) > 1 and DEFAULT_DB_ALIAS not in names:
        found = [a for a in found if a in names or connections[a].vendor == "postgresql"]
    return tuple(found)


def get_config(alias: str = DEFAULT_DB_ALIAS, **overrides: Any) -> Config:
    """Return the configuration of `alias`; `overrides` are fields of Config, None meaning unset.

    Raises ConfigurationError for an unknown alias, an alias without migrations, or a setting
    that is wrong.
    """
    if alias not in connections:
        known = ", ".join(connections)
        raise ConfigurationError(
            f"There is no database {alias!r} in settings.DATABASES.", hint=f"Known: {known}."
        )
    for problem in setting_problems():
        raise ConfigurationError(problem.message, hint=problem.hint)
    if alias not in configured_aliases():
        raise ConfigurationError(
            f"The database {alias!r} has no migrations.",
            hint=f'List it: SQLMIGRATOR = {{"DATABASES": {{"{alias}": {{"DIRECTORY": …}}}}}}.',
        )
    values = {**_raw(), **_raw().get("DATABASES", {}).get(alias, {})}
    fields: dict[str, Any] = {
        f"{key.lower()}_ms": _milliseconds(values[key]) for key in _DURATION_KEYS if key in values
    }
    fields |= {key.lower(): values[key] for key in _FLAG_KEYS if key in values}
    fields["direct"] = values.get("DIRECT") or {}
    fields |= {key: value for key, value in overrides.items() if value is not None}
    if "applied_by" not in fields:
        fields["applied_by"] = values.get("APPLIED_BY") or _user_at_host()
    directory = fields.pop("directory", None) or values.get("DIRECTORY")
    return Config(directory=_directory(directory), **fields)


def setting_problems() -> list[SettingProblem]:
    """Everything wrong in settings.SQLMIGRATOR, for the system checks and get_config()."""
    raw = getattr(settings, SETTING, {})
    if not isinstance(raw, Mapping):
        return [SettingProblem(f"settings.{SETTING} must be a dict.", "Write {KEY: value, …}.")]
    problems = _key_problems(raw, SETTING, (*KEYS, "DATABASES"))
    databases = raw.get("DATABASES", {})
    if not isinstance(databases, Mapping):
        problems.append(SettingProblem(f'{SETTING}["DATABASES"] must be a dict.', "{alias: {…}}."))
        return problems
    for alias, values in databases.items():
        where = f'{SETTING}["DATABASES"][{alias!r}]'
        if alias not in connections:
            hint = _nearest(alias, tuple(connections)) or "Add it to settings.DATABASES."
            problems.append(SettingProblem(f"{where}: there is no such database.", hint))
        if isinstance(values, Mapping):
            problems += _key_problems(values, where, KEYS)
        else:
            problems.append(SettingProblem(f"{where} must be a dict.", "Write {KEY: value, …}."))
    return problems


def _key_problems(
    values: Mapping[str, Any], where: str, keys: tuple[str, ...]
) -> list[SettingProblem]:
    problems = []
    for key, value in values.items():
        if key not in keys:
            hint = _nearest(str(key), keys) or f"The keys are: {', '.join(keys)}."
            problems.append(SettingProblem(f"{where}: unknown key {key!r}.", hint))
        elif message := _value_problem(key, value):
            problems.append(
                SettingProblem(f'{where}["{key}"]: {message}', "See the settings page.")
            )
    return problems


def _value_problem(key: str, value: Any) -> str | None:
    if key in _DURATION_KEYS:
        try:
            _milliseconds(value)
        except ValueError as error:
            return str(error)
    if key in _FLAG_KEYS and not isinstance(value, bool):
        return f"{value!r} is not True or False"
    if key == "DIRECTORY" and not isinstance(value, str | Path):
        return f"{value!r} is not a path"
    if key == "APPLIED_BY" and not isinstance(value, str):
        return f"{value!r} is not a string"
    if key == "DIRECT" and value is not None:
        if not isinstance(value, Mapping):
            return "must be a dict"
        unknown = [name for name in value if name not in DIRECT_KEYS]
        if unknown:
            return f"unknown key {unknown[0]!r}; it takes {', '.join(DIRECT_KEYS)}"
    return None


def _nearest(name: str, names: tuple[str, ...]) -> str | None:
    near = difflib.get_close_matches(name.upper(), [n.upper() for n in names], 1, 0.6)
    found = [n for n in names if n.upper() == near[0]] if near else []
    return f"Did you mean {found[0]!r}?" if found else None


def _raw() -> Mapping[str, Any]:
    raw = getattr(settings, SETTING, {})
    return raw if isinstance(raw, Mapping) else {}


def _milliseconds(value: Any) -> int:
    if isinstance(value, str):
        return parse_duration(value)
    if value == 0:
        return 0
    raise ValueError(f'{value!r} is not a duration; write "500ms", "2s", "10min" or "1h"')


def _directory(value: str | Path | None) -> Path:
    base = getattr(settings, "BASE_DIR", None)
    if value is None:
        if base is None:
            raise ConfigurationError(
                "No migrations folder is configured.",
                hint=f'Set {SETTING} = {{"DIRECTORY": BASE_DIR / "migrations_sql"}}.',
            )
        value = "migrations_sql"
    path = Path(value)
    return path if path.is_absolute() or base is None else Path(base) / path


def _user_at_host() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container without an entry for the user id
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
