"""Mistakes that anybody makes: one clear error, its exit code, no traceback, no secret.

Commands run in this process, where an exception that would be a traceback fails the test.
"""

import contextlib
import json
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from pytest_django import Settings

from project.embedded.server import Server
from tests.support import Database, Folder, Result, maintenance_connection

Call = Callable[..., Result]
AddAlias = Callable[..., None]

COMMANDS = ["migrate_check", "migrate_status", "migrate_apply"]
all_commands = pytest.mark.parametrize("command", COMMANDS)
SECRET = "hunter2-p@ss/w:rd"


@pytest.fixture(autouse=True)
def files(folder: Folder) -> Folder:
    """A folder in which nothing is wrong."""
    folder.with_tracking().write("002_a.sql", "CREATE TABLE a (id int);")
    return folder


@pytest.fixture
def alias(
    database: Database, add_alias: AddAlias, settings: Settings, folder: Folder
) -> Callable[..., None]:
    """Make the alias `wrong`: the database with some of its settings changed."""

    def make(**changes: object) -> None:
        add_alias("wrong", database, **changes)
        settings.SQLMIGRATOR = {"DIRECTORY": folder.path, "DATABASES": {"wrong": {}}}

    return make


@pytest.fixture
def role(database: Database, alias: Callable[..., None]) -> Iterator[str]:
    """A role without rights, which the alias `wrong` logs in as."""
    name = f"sqlmigrator_test_{uuid.uuid4().hex[:12]}"
    with maintenance_connection() as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{SECRET}'".encode())
    alias(USER=name, PASSWORD=SECRET)
    yield name
    database.execute(f"DROP OWNED BY {name}")
    with maintenance_connection() as connection:
        connection.execute(f"DROP ROLE {name}".encode())


def refused(result: Result, code: int, start: str) -> None:
    """Assert that it ended with one clear error."""
    assert (result.code, result.out) == (code, "")
    assert result.err.startswith(start), result.err
    assert "Traceback" not in result.err
    assert SECRET not in result.err


# The folder and its files


@all_commands
def test_a_folder_that_is_not_there(database: Database, call: Call, command: str) -> None:
    missing = Path("/nowhere/at all")
    assert call(command, "--directory", missing) == Result(
        2,
        "",
        f"The migrations folder {missing} does not exist.\n"
        '  Create it, set SQLMIGRATOR["DIRECTORY"], or pass --directory.\n',
    )


@all_commands
def test_a_folder_that_is_a_file(
    database: Database, folder: Folder, call: Call, command: str
) -> None:
    path = folder.path / "002_a.sql"
    assert call(command, "--directory", path) == Result(
        2,
        "",
        f"The migrations folder {path} cannot be read (Not a directory).\n"
        '  Create it, set SQLMIGRATOR["DIRECTORY"], or pass --directory.\n',
    )


def dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, dangling, loop])
def test_a_file_that_cannot_be_read(
    database: Database, folder: Folder, call: Call, make: Callable[[Path], None]
) -> None:
    path = folder.path / "003_x.sql"
    make(path)
    checked = call("migrate_check")
    assert checked.code == 1
    assert f"✗ {path} cannot be read: " in checked.out
    assert "[E011]\n" in checked.out
    assert call("migrate_status").code == 0
    applied = call("migrate_apply")
    assert (applied.code, applied.out) == (1, "")
    assert applied.err.endswith(
        "Nothing was applied: 1 error must be settled first.\n"
        "  `manage.py migrate_check` shows everything, with the way out.\n"
    )
    assert database.query("SELECT to_regclass('schema_migrations')") == [(None,)]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_the_right_to_read_it(
    database: Database, folder: Folder, call: Call
) -> None:
    (folder.path / "002_a.sql").chmod(0)
    assert "cannot be read: Permission denied" in call("migrate_check").out


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"SELECT '\xe9t\xe9';", "not UTF-8: byte 0xe9 at offset 8"),
        ("SELECT 'é';".encode("utf-16"), "a NUL byte at offset 3: the server would stop reading"),
        (b"SELECT 1;\0", "a NUL byte at offset 9: the server would stop reading"),
        (b"", "the file holds no statement"),
        (b"\xef\xbb\xbf-- only a comment", "the file holds no statement"),
    ],
)
def test_a_file_that_is_no_text(
    database: Database, folder: Folder, call: Call, content: bytes, told: str
) -> None:
    folder.write("003_x.sql", content)
    assert f"✗ {told}" in call("migrate_check").out
    applied = call("migrate_apply")
    assert applied.code == 1
    assert f"✗ {told}" in applied.err
    assert database.query("SELECT to_regclass('schema_migrations')") == [(None,)]


# Settings


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"DIRECTROY": "x"}, "SQLMIGRATOR: unknown key 'DIRECTROY'.\n  Did you mean 'DIRECTORY'?"),
        ({"LOCK_WAIT": 5}, 'SQLMIGRATOR["LOCK_WAIT"]: 5 is not a duration;'),
        ({"LOCK_WAIT": None}, 'SQLMIGRATOR["LOCK_WAIT"]: None is not a duration;'),
        ({"DATABASES": {"x": {}}}, "SQLMIGRATOR[\"DATABASES\"]['x']: there is no such database."),
        ({"DIRECT": {"PASSWORD": SECRET}}, "SQLMIGRATOR[\"DIRECT\"]: unknown key 'PASSWORD';"),
        ([], "settings.SQLMIGRATOR must be a dict."),
    ],
)
@all_commands
def test_settings_that_are_wrong(
    database: Database, call: Call, settings: Settings, command: str, setting: object, message: str
) -> None:
    settings.SQLMIGRATOR = setting
    refused(call(command), 2, message)


def test_an_unknown_alias(call: Call) -> None:
    for command in COMMANDS:
        result = call(command, "--database", "nope")
        assert (result.code, result.out) == (2, "")
        assert "argument --database: invalid choice: 'nope' (choose from" in result.err


def test_an_alias_without_migrations(database: Database, add_alias: AddAlias, call: Call) -> None:
    add_alias("legacy", database)
    for command in COMMANDS:
        refused(
            call(command, "--database", "legacy"), 2, "The database 'legacy' has no migrations.\n"
        )


@all_commands
def test_a_database_that_is_not_postgresql(
    alias: Callable[..., None], call: Call, command: str
) -> None:
    alias(ENGINE="django.db.backends.sqlite3", NAME=":memory:", OPTIONS={})
    assert call(command, "--database", "wrong") == Result(
        3,
        "",
        "The database 'wrong' is SQLite, not PostgreSQL.\n"
        "  sqlmigrator runs SQL files on PostgreSQL only.\n"
        "  Leave this alias out of SQLMIGRATOR, and use `manage.py migrate --database wrong` for it.\n",
    )


# The connection


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"HOST": "127.0.0.1", "PORT": 1}, id="connection refused"),
        pytest.param({"HOST": "/nowhere", "PORT": 5432}, id="no such socket"),
        pytest.param({"NAME": "no_such_database"}, id="no such database"),
        pytest.param({"USER": "no_such_role"}, id="no such role"),
        pytest.param({"OPTIONS": {"options": "-c nope=1"}}, id="bad options"),
        pytest.param({"OPTIONS": {"sslmode": "nope"}}, id="bad sslmode"),
        pytest.param({"OPTIONS": {"no_such_option": "1"}}, id="unknown option"),
    ],
)
@all_commands
def test_a_server_that_cannot_be_reached(
    alias: Callable[..., None], call: Call, command: str, changes: dict[str, object]
) -> None:
    # The example's own engine would put the embedded server's socket in.
    alias(ENGINE="django.db.backends.postgresql", PASSWORD=SECRET, **changes)
    result = call(command, "--database", "wrong")
    refused(result, 3, "The database 'wrong' cannot be reached: ")
    assert result.err.count("\n") == 2
    assert result.err.endswith(
        "\n  Check that the server runs, and HOST, PORT, USER, PASSWORD and NAME in "
        "settings.DATABASES['wrong'] (or the variable DATABASE_URL).\n"
    )


def test_one_of_several_databases_cannot_be_reached(alias: Callable[..., None], call: Call) -> None:
    alias(ENGINE="django.db.backends.postgresql", HOST="127.0.0.1", PORT=1, PASSWORD=SECRET)
    for command in ("migrate_check", "migrate_status"):
        result = call(command, "--all-databases", "--format", "json")
        assert result.code == 3
        assert [d["database"] for d in json.loads(result.out)["databases"]] == ["default"]
        assert result.err.startswith("The database 'wrong' cannot be reached: ")
        assert SECRET not in result.err


def test_the_direct_connection_cannot_be_reached(
    database: Database, call: Call, settings: Settings, folder: Folder
) -> None:
    settings.SQLMIGRATOR = {
        "DIRECTORY": folder.path,
        "DIRECT": {"HOST": "127.0.0.1", "PORT": "1"},
    }
    assert call("migrate_check").code == 0
    refused(call("migrate_apply"), 3, "The database 'default' cannot be reached: ")


@pytest.fixture(scope="module")
def guarded() -> Iterator[Server]:
    """A server of our own that asks everybody but `postgres` for a password."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        server = Server(Path(name) / "server", options=("-c", "fsync=off"))
        server.start()
        with socket_connection(server) as connection:
            connection.execute(f"CREATE ROLE app LOGIN SUPERUSER PASSWORD '{SECRET}'".encode())
            rules = "local all postgres trust\nlocal all all scram-sha-256\n"
            (server.data / "pg_hba.conf").write_text(rules)
            connection.execute("SELECT pg_reload_conf()")
        yield server
        server.release()


@contextlib.contextmanager
def socket_connection(server: Server) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with psycopg.connect(
        host=str(server.socket_folder), user="postgres", dbname="postgres", autocommit=True
    ) as connection:
        yield connection


@pytest.fixture
def guarded_url(guarded: Server) -> Callable[[str], str]:
    """The URL of the guarded server with a password, as DATABASE_URL has it."""
    return lambda password: (
        f"postgresql://app:{quote(password, safe='')}@/postgres"
        f"?host={quote(str(guarded.socket_folder), safe='')}"
    )


@all_commands
def test_a_wrong_password(
    guarded_url: Callable[[str], str], manage: Call, folder: Folder, command: str
) -> None:
    wrong = f"{SECRET}-wrong"
    for verbosity in ("1", "3"):
        result = manage(
            *(command, "--directory", folder.path, "--verbosity", verbosity),
            env={"DATABASE_URL": guarded_url(wrong)},
        )
        refused(result, 3, "The database 'default' cannot be reached: ")
        assert 'password authentication failed for user "app"' in result.err
        assert "postgresql://" not in result.err
        assert result.err.count("\n") == 2


def test_the_right_password_is_told_nowhere(
    guarded_url: Callable[[str], str], manage: Call, folder: Folder, guarded: Server
) -> None:
    folder.write("003_bad.sql", "SELECT nope;")
    env = {"DATABASE_URL": guarded_url(SECRET)}
    told = ""
    for command in (
        ["migrate_check", "-v", "3"],
        ["migrate_check", "--format", "json"],
        ["migrate_apply", "-v", "3"],
        ["migrate_status", "-v", "3"],
        ["migrate_status", "--history", "--format", "json"],
    ):
        result = manage(*command, "--directory", folder.path, env=env)
        assert result.code == (1 if command[0] == "migrate_apply" else 0)
        told += result.out + result.err
    with socket_connection(guarded) as connection:
        told += str(connection.execute("SELECT l::text FROM schema_migrations_log l").fetchall())
    assert "003_bad" in told
    assert SECRET not in told
    assert "postgresql://" not in told


# Rights


def test_a_role_that_may_not_create_tables(database: Database, role: str, call: Call) -> None:
    database.execute(f"REVOKE CREATE ON SCHEMA public FROM PUBLIC, {role}")
    assert call("migrate_check", "--database", "wrong").code == 0
    assert call("migrate_apply", "--database", "wrong") == Result(
        3,
        "",
        "This role may not create tables in the schema 'public', where schema_migrations would be "
        "kept.\n"
        '  GRANT CREATE ON SCHEMA "public" TO …; or set search_path for the role.\n',
    )


def test_a_role_that_may_not_see_the_schema(database: Database, role: str, call: Call) -> None:
    assert call("migrate_apply").code == 0
    database.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
    for command in COMMANDS:
        refused(call(command, "--database", "wrong"), 3, "The role's search_path names no schema")


@all_commands
def test_a_role_that_may_not_read_the_history(
    database: Database, role: str, call: Call, command: str
) -> None:
    assert call("migrate_apply").code == 0
    assert call(command, "--database", "wrong") == Result(
        3,
        "",
        'This role may not read "public".schema_migrations.\n'
        '  As its owner: GRANT SELECT, INSERT, UPDATE, DELETE ON "public".schema_migrations TO …;\n',
    )


@pytest.mark.parametrize("table", ["schema_migrations", "schema_migrations_log"])
def test_a_role_that_may_only_read(
    database: Database, role: str, folder: Folder, call: Call, table: str
) -> None:
    assert call("migrate_apply").code == 0
    database.execute(
        f"GRANT ALL ON schema_migrations, schema_migrations_log TO {role};"
        f"REVOKE INSERT, UPDATE ON {table} FROM {role}; GRANT CREATE ON SCHEMA public TO {role}"
    )
    folder.write("003_b.sql", "CREATE TABLE b (id int);")
    assert call("migrate_check", "--database", "wrong").code == 0
    assert call("migrate_status", "--database", "wrong").code == 0
    assert call("migrate_apply", "--database", "wrong") == Result(
        3,
        "",
        f'This role may not INSERT, UPDATE "public".{table}: no migration could be recorded.\n'
        f'  As its owner: GRANT SELECT, INSERT, UPDATE, DELETE ON "public".{table} TO …;\n',
    )
    assert database.query("SELECT to_regclass('b')") == [(None,)]


def test_a_role_that_may_not_read_the_journal(database: Database, role: str, call: Call) -> None:
    assert call("migrate_apply").code == 0
    database.execute(f"GRANT ALL ON schema_migrations TO {role}")
    for command in COMMANDS:
        result = call(command, "--database", "wrong")
        assert (result.code, result.out) == (3, "")
        assert "schema_migrations_log" in result.err
        assert "GRANT" in result.err or "rights" in result.err


def test_a_role_that_may_not_change_the_users_table(
    database: Database, role: str, folder: Folder, call: Call
) -> None:
    assert call("migrate_apply").code == 0
    database.execute(
        f"GRANT ALL ON schema_migrations, schema_migrations_log TO {role};"
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}"
    )
    path = folder.write("003_b.sql", "ALTER TABLE a ADD COLUMN b int;")
    result = call("migrate_apply", "--database", "wrong")
    assert result.code == 1
    assert result.err.startswith(f"✗ {path}:1:1: must be owner of table a [SQLSTATE 42501]\n")
    assert "  Grant the right to the role, or run as the owner of the object.\n" in result.err


@all_commands
def test_rows_hidden_by_row_level_security(
    database: Database, role: str, call: Call, command: str
) -> None:
    assert call("migrate_apply").code == 0
    database.execute(
        f"GRANT ALL ON schema_migrations, schema_migrations_log TO {role};"
        "ALTER TABLE schema_migrations ENABLE ROW LEVEL SECURITY"
    )
    assert call(command, "--database", "wrong") == Result(
        3,
        "",
        'Row level security hides rows of "public".schema_migrations from this role.\n'
        "  An empty history would read as: everything is pending.\n"
        "  Connect as the table's owner, or give the role BYPASSRLS.\n",
    )
    assert call(command).code == 0  # the owner sees all rows


# Read-only servers


def test_read_only_by_default(alias: Callable[..., None], call: Call, database: Database) -> None:
    alias(OPTIONS={"options": "-c default_transaction_read_only=on"})
    assert call("migrate_check", "--database", "wrong").code == 0
    assert call("migrate_status", "--database", "wrong").code == 0
    assert call("migrate_apply", "--database", "wrong") == Result(
        3,
        "",
        "The database 'wrong' only accepts read-only transactions.\n"
        "  Remove default_transaction_read_only from the role, the database or OPTIONS.\n",
    )
    assert database.query("SELECT to_regclass('schema_migrations_log')") == [(None,)]


def test_a_standby(manage: Call, folder: Folder) -> None:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        server = Server(Path(name) / "server", options=("-c", "fsync=off"))
        server.start()
        server.release()
        (server.data / "standby.signal").touch()
        server.start()
        try:
            env = {"DATABASE_URL": f"postgresql://postgres@/postgres?host={server.socket_folder}"}
            checked = manage("migrate_check", "--directory", folder.path, env=env)
            assert (checked.code, checked.err) == (0, "")
            assert manage("migrate_apply", "--directory", folder.path, env=env) == Result(
                3,
                "",
                "The database 'default' is a read-only standby.\n"
                "  Point the alias, or DIRECT, at the primary server.\n",
            )
        finally:
            server.release()


# Tables of other tools


FOREIGN = {
    "golang-migrate": (
        "version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL",
        "golang-migrate made it",
    ),
    "Rails": ("version character varying NOT NULL PRIMARY KEY", "Rails or dbmate made it"),
    "dbmate": ("version varchar(128) PRIMARY KEY", "Rails or dbmate made it"),
    "Ecto": (
        "version bigint PRIMARY KEY, inserted_at timestamp(0)",
        "another tool made it",
    ),
}


@pytest.mark.parametrize(("columns", "maker"), FOREIGN.values(), ids=FOREIGN)
def test_a_table_of_another_tool(database: Database, call: Call, columns: str, maker: str) -> None:
    database.execute(f"CREATE TABLE schema_migrations ({columns})")
    for command in COMMANDS:
        assert call(command) == Result(
            3,
            "",
            f'"public".schema_migrations has no column name: {maker}.\n'
            "  sqlmigrator does not touch the history of another tool.\n"
            '  Rename it (ALTER TABLE "public".schema_migrations RENAME TO schema_migrations_old;),'
            " then record what is applied: `manage.py migrate_mark --applied … --reason …`.\n",
        )
    assert database.query("SELECT count(*) FROM schema_migrations") == [(0,)]
    assert database.query("SELECT to_regclass('schema_migrations_log')") == [(None,)]


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ("TABLE schema_migrations ()", "has no column version, name: another tool made it"),
        ("VIEW schema_migrations AS SELECT '1' AS version, '' AS name", "is not a table"),
        ("SEQUENCE schema_migrations", "is not a table"),
        ("TABLE schema_migrations (version text, name text[])", "name"),
        ("TABLE schema_migrations (version text, name int)", "name"),
    ],
)
def test_something_else_of_that_name(database: Database, call: Call, made: str, told: str) -> None:
    database.execute(f"CREATE {made}")
    for command in COMMANDS:
        result = call(command)
        assert (result.code, result.out) == (3, "")
        assert told in result.err
