"""What the browser tests need: a live server, the system's Chromium, axe-core from npm."""

import contextlib
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler

HERE = Path(__file__).resolve().parent
SCREENSHOTS = HERE / "screenshots"
AXE_VERSION = "4.10.3"
AXE = HERE / ".axe" / f"axe-{AXE_VERSION}.js"
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find_chromium() -> str | None:
    """The system's browser; nothing is downloaded."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def install_axe() -> str:
    """Fetch axe-core with npm into a folder that git ignores; "" or why that did not work."""
    if AXE.exists():
        return ""
    npm = shutil.which("npm")
    if npm is None:
        return "npm is not installed here"
    AXE.parent.mkdir(exist_ok=True)
    # A folder of its own: pytest-xdist may run this twice at a time.
    with tempfile.TemporaryDirectory(dir=AXE.parent) as folder:
        command = [npm, "install", "--prefix", folder, "--no-save", "--no-audit", "--no-fund"]
        command += ["--ignore-scripts", "--no-package-lock", f"axe-core@{AXE_VERSION}"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=180)
        except subprocess.TimeoutExpired:
            return "npm did not fetch axe-core within 180 s"
        fetched = Path(folder, "node_modules", "axe-core", "axe.min.js")
        if not fetched.exists():
            return f"npm could not fetch axe-core: {done.stderr[-300:]}"
        fetched.replace(AXE)
    return ""


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@contextlib.contextmanager
def live_server() -> Iterator[str]:
    """Serve the site, with its static files, on a free port; give its address."""
    server = ThreadedWSGIServer(("127.0.0.1", 0), _Quiet)
    server.set_app(StaticFilesHandler(WSGIHandler()))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
