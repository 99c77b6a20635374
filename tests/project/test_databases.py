"""DATABASE_URL: what is used, and that a wrong one is told without telling the password."""

from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from project.databases import from_url
from tests.support import Result

MUST = (
    "It must look like postgresql://USER:PASSWORD@HOST:5432/NAME, "
    "or be unset for the embedded PostgreSQL."
)
ESCAPE = "a special character in the password must be percent-encoded"
UNUSABLE = {
    "hunter2": "it is not a URL",
    "host=db password=hunter2": "it is not a URL",
    "postgresql:hunter2": "it is not a URL",
    "://u:hunter2@h/n": "its scheme is none that dj-database-url knows",
    "nosuch://u:hunter2@h/n": "its scheme is none that dj-database-url knows",
    "https://u:hunter2@h/n": "its scheme is none that dj-database-url knows",
    "postgresql://u:hunter2@h": "it names no database",
    "postgresql://u:hunter2@h:5432/": "it names no database",
    "postgresql://u:hunter2@h:port/n": f"its host or its port is malformed; {ESCAPE}",
    "postgresql://u:hunter2@h:99999/n": f"its host or its port is malformed; {ESCAPE}",
    "postgresql://u:hunter2@[::1/n": f"its host or its port is malformed; {ESCAPE}",
    "postgresql://u:hun/ter2@h/n": f"its host or its port is malformed; {ESCAPE}",
    "postgresql://u:hun#ter2@h/n": f"its host or its port is malformed; {ESCAPE}",
    "postgresql://u:12/hunter2@h/n": f"its parts cannot be told apart; {ESCAPE}",
    "sqlite:///": "it is not the URL of a PostgreSQL database",
    "sqlite://:memory:": "it is not the URL of a PostgreSQL database",
    "mysql://u:hunter2@h/n": "it is not the URL of a PostgreSQL database",
    "postgresql://u:p@h/n#hunter2": f"its parts cannot be told apart; {ESCAPE}",
}


@pytest.mark.parametrize(("url", "why"), UNUSABLE.items(), ids=range(len(UNUSABLE)))
def test_an_unusable_url(url: str, why: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        from_url(url)
    message = f"the environment variable DATABASE_URL cannot be used: {why}. {MUST}"
    assert str(caught.value) == message
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_the_command_prints_one_line(manage: Callable[..., Result]) -> None:
    result = manage("check", env={"DATABASE_URL": "postgresql://u:hunter2@h:x/n"})
    assert result == Result(
        2,
        "",
        "Configuration error: the environment variable DATABASE_URL cannot be used: "
        f"its host or its port is malformed; {ESCAPE}. {MUST}\n",
    )


def test_a_socket_folder(tmp_path: Path) -> None:
    database = from_url(f"postgresql://u@/n?host={tmp_path}")
    assert database["OPTIONS"] == {"host": str(tmp_path), "connect_timeout": 10}
    assert (database["NAME"], database["USER"], database["HOST"]) == ("n", "u", "")


def test_escapes_are_undone() -> None:
    database = from_url("postgres://u%40x:p%2F%23@h:6543/my%20db?sslmode=require&connect_timeout=3")
    assert database["USER"] == "u@x"
    assert database["PASSWORD"] == "p/#"
    assert (database["HOST"], database["PORT"], database["NAME"]) == ("h", 6543, "my db")
    assert database["OPTIONS"] == {"sslmode": "require", "connect_timeout": 3}
