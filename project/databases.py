"""Which database the example project uses."""

import os
from typing import Any
from urllib.parse import urlsplit

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

EXAMPLE = "postgresql://USER:PASSWORD@HOST:5432/NAME"
ESCAPE = "a special character in the password must be percent-encoded"
CONNECT_TIMEOUT_S = 10


def default_database() -> dict[str, Any]:
    """Return the entry of DATABASES for the server in DATABASE_URL, else for the embedded one."""
    url = os.environ.get("DATABASE_URL")
    if url:
        return from_url(url.strip())  # a secret's file may end with a newline
    return {"ENGINE": "project.embedded", "NAME": "postgres", "USER": "postgres"}


def from_url(url: str) -> dict[str, Any]:
    """Return the entry of DATABASES that `url`, the value of DATABASE_URL, describes.

    Raise ImproperlyConfigured if it describes none. The message quotes no part of the value: in a
    password with an unescaped "/" even the "port" that a parser complains about is a piece of it.
    """
    # "from None": the parsers' own errors quote the URL.
    if "://" not in url:
        raise _unusable("it is not a URL")
    try:
        parts = urlsplit(url)
        database: dict[str, Any] = dict(dj_database_url.parse(url))
    except dj_database_url.UnknownSchemeError:
        raise _unusable("its scheme is none that dj-database-url knows") from None
    except ValueError:
        raise _unusable(f"its host or its port is malformed; {ESCAPE}") from None
    if database["ENGINE"].rpartition(".")[2] not in ("postgresql", "postgis"):
        raise _unusable("it is not the URL of a PostgreSQL database")
    if "@" in parts.path or parts.fragment:
        raise _unusable(f"its parts cannot be told apart; {ESCAPE}")
    if not database["NAME"]:
        raise _unusable("it names no database")
    if parts.scheme in ("postgres", "postgresql", "pgsql", "postgis"):
        database.setdefault("OPTIONS", {}).setdefault("connect_timeout", CONNECT_TIMEOUT_S)
    return database


def _unusable(why: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(
        f"the environment variable DATABASE_URL cannot be used: {why}. "
        f"It must look like {EXAMPLE}, or be unset for the embedded PostgreSQL."
    )
