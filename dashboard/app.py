"""The dashboard as a web application: one store, this machine, read-only."""

from __future__ import annotations

import errno
import gc
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MissingDependency, SpecError
from .guard import PLAIN, check_host, guard, is_loopback
from .source import Source

if TYPE_CHECKING:
    import dash

logger = logging.getLogger(__name__)

PORTS_TRIED = 20


def create_app(store_url: str, password: str | None = None) -> dash.Dash:
    """Return the dashboard of a store as a Dash application (its WSGI application is `.server`).

    The store opens with the first page, read-only; pages say so when it cannot be opened.

    Args:
        store_url: The store to show.
        password: What a browser must know; None: only this machine's own names are answered.

    Raises:
        MissingDependency: If the extra `dashboard` is not installed.
    """
    dash = _require_dash()
    import pandas  # noqa: F401 - plotly asks for it while another thread may be importing it

    from . import downloads
    from .pages import architecture, compare, decisions, experiment, experiments, shell

    source = Source(store_url)
    app = dash.Dash(
        "netloom.dashboard",
        assets_folder=str(Path(__file__).with_name("assets")),
        assets_ignore=r"theme\.js",  # in the head already
        index_string=shell.INDEX,
        title="netloom",
        update_title="",
        serve_locally=True,
        suppress_callback_exceptions=True,  # pages come and go with the URL
        add_log_handler=False,
        enable_mcp=False,
        meta_tags=[{"name": "viewport", "content": "width=device-width, initial-scale=1"}],
    )
    app.layout = shell.layout(store_url)
    for part in (shell, experiments, experiment, decisions, architecture, compare):
        part.register(app, source)
    downloads.register(app, source)
    guard(app, password)
    return app


def serve(
    store_url: str,
    host: str = "127.0.0.1",
    port: int = 8050,
    *,
    password: str | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve the dashboard until interrupted.

    Args:
        store_url: The store to show.
        host: A loopback address; any address with a password.
        port: Port; 0 takes any free one.
        password: What a browser must know (user `netloom`).
        on_ready: Called with the URL once the server listens.

    Raises:
        SpecError: If the host is not this machine's own and there is no password, or the port is
            taken.
        MissingDependency: If the extra `dashboard` is not installed.
    """
    check_host(host, password)
    app = create_app(store_url, password)
    server = make_server(app, host, port)
    url = f"http://{f'[{host}]' if ':' in host else host}:{server.port}/"
    gc.collect()
    gc.freeze()  # what is imported stays: looking through it while rows are read costs most of that
    (on_ready or _announce)(url)
    if not is_loopback(host):
        logger.warning("%s", PLAIN)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        logger.info("dashboard stopped")
    finally:
        server.server_close()


def make_server(app: dash.Dash, host: str, port: int) -> Any:
    """Return a threaded WSGI server that listens already and logs no requests.

    Raises:
        SpecError: If the port is taken (names a free one), or this machine has no such address.
    """
    from werkzeug.serving import WSGIRequestHandler
    from werkzeug.serving import make_server as make

    class Quiet(WSGIRequestHandler):
        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Say nothing: a live page asks every two seconds."""

    if not 0 <= port <= 65535:
        raise SpecError(f"a port must be a number from 0 to 65535, got {port}")
    # Werkzeug ends the process when it cannot bind; the socket is opened here to have an error.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise _refused(error, host, family, port) from error
        listener.listen()
        return make(
            host,
            listener.getsockname()[1],
            app.server,
            threaded=True,
            request_handler=Quiet,
            fd=listener.fileno(),
        )


def _refused(error: OSError, host: str, family: int, port: int) -> SpecError:
    """Return why a server cannot listen: of the port, or of the address."""
    if error.errno in (errno.EADDRINUSE, errno.EACCES):
        free = _free_port(host, family, max(port, 1023))
        rule = "free" if error.errno == errno.EADDRINUSE else "one that you may use"
        return SpecError(
            f"the port must be {rule}, got {port} ({error.strerror}); give another one, for "
            f"example --port {free}"
        )
    return SpecError(
        f"the host must be an address of this machine, got {host!r} ({error.strerror}); give "
        "127.0.0.1, or 0.0.0.0 for all of them"
    )


def _announce(url: str) -> None:
    logger.info("dashboard at %s (Ctrl-C ends it)", url)


def _require_dash() -> Any:
    try:
        import dash
        import dash_ag_grid  # noqa: F401 - needed by the pages
    except ModuleNotFoundError as error:
        raise MissingDependency(
            f"the dashboard needs the package {error.name}, which is not installed; "
            "run: pip install 'netloom[dashboard]'"
        ) from error
    return dash


def _free_port(host: str, family: int, taken: int) -> int:
    for port in range(taken + 1, min(taken + PORTS_TRIED, 65535)):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            if probe.connect_ex((host, port)):
                return port
    return 0
