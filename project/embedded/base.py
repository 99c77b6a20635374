"""Django's PostgreSQL backend, on a server that starts when the first connection is asked for."""

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.backends.postgresql import base, client
from django.db.utils import OperationalError

from project.embedded.server import (
    WAY_OUT,
    EmbeddedError,
    NotInstalledError,
    Server,
    project_server,
)


def running_server() -> Server:
    """Return the project's server, started; raise what Django raises for a wrong setting or a
    database that is not reachable.
    """
    try:
        server = project_server()
        server.start()
    except NotInstalledError as error:
        raise ImproperlyConfigured(str(error)) from None
    except EmbeddedError as error:
        raise OperationalError(str(error)) from error
    except OSError as error:
        raise OperationalError(
            f"The embedded PostgreSQL could not be started: {error}. {WAY_OUT}"
        ) from error
    return server


class DatabaseClient(client.DatabaseClient):
    """`manage.py dbshell` with the psql that belongs to the server."""

    def runshell(self, parameters: list[str]) -> None:
        server = running_server()
        self.connection.settings_dict["HOST"] = str(server.socket_folder)
        self.executable_name = str(server.program("psql"))
        super().runshell(parameters)


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection to the embedded server."""

    client_class = DatabaseClient

    def get_connection_params(self) -> dict[str, Any]:
        self.settings_dict["HOST"] = str(running_server().socket_folder)
        return super().get_connection_params()
