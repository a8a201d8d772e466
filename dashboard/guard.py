"""Who is answered, and what browsers are told: nobody without a right, nothing from elsewhere."""

from __future__ import annotations

import hmac
from ipaddress import ip_address
from typing import TYPE_CHECKING

from ..errors import SpecError
from .posted import PATH, check_posted

if TYPE_CHECKING:
    import dash

MAX_REQUEST_BYTES = 2**20
USER = "netloom"
MIN_PASSWORD = 8
PLAIN = (
    "this is plain HTTP: whoever sees the traffic reads password and pages; put a proxy with TLS "
    "(Caddy, nginx) or an SSH tunnel in front"
)


def check_host(host: str, password: str | None) -> None:
    """Refuse to listen where others can reach it without a password.

    Raises:
        SpecError: If the host is not this machine's own and there is no password.
    """
    if password is None and not is_loopback(host):
        raise SpecError(
            "without a password the dashboard listens on this machine only: the host must be "
            f"127.0.0.1, ::1 or localhost, got {host!r}; to look from elsewhere, forward the port "
            "(ssh -L 8050:127.0.0.1:8050 MACHINE), or give --auth"
        )


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def checked_password(password: str, source: str) -> str:
    """Return a password that is worth asking for.

    Args:
        password: The text.
        source: Where it is from, for messages: the text itself is never shown.

    Raises:
        SpecError: If it is too short, or no text.
    """
    try:
        password.encode()
    except UnicodeEncodeError as error:
        raise SpecError(f"a password must be UTF-8 text, got other bytes in {source}") from error
    if len(password) < MIN_PASSWORD:
        raise SpecError(
            f"a password must have at least {MIN_PASSWORD} characters, got {len(password)} in "
            f"{source}; choose a longer one"
        )
    return password


def guard(app: dash.Dash, password: str | None) -> None:
    """Answer only those who may ask, and tell browsers to load nothing from elsewhere."""
    from dash.exceptions import DependencyException
    from flask import Response, abort, request

    server = app.server
    server.config["MAX_CONTENT_LENGTH"] = MAX_REQUEST_BYTES
    policy = _policy(app)

    @server.before_request  # type: ignore[untyped-decorator]
    def only_local_names() -> None:
        # A page elsewhere can point its own name at 127.0.0.1 and read us through it. It has no
        # password: browsers keep those by name.
        name = request.host.rsplit(":", 1)[0] if not request.host.endswith("]") else request.host
        if password is None and not is_loopback(name.strip("[]")):
            abort(403, "open the dashboard as http://127.0.0.1 or http://localhost")

    @server.before_request  # type: ignore[untyped-decorator]
    def only_who_knows() -> Response | None:
        given = request.authorization
        user, secret = (given.username, given.password) if given else (None, None)
        if password is None or _knows(user, secret, password):
            return None
        told = {"WWW-Authenticate": f'Basic realm="{USER}", charset="UTF-8"'}
        return Response(f"The user is {USER}, the password that of the start.", 401, told)

    @server.before_request  # type: ignore[untyped-decorator]
    def only_what_pages_send() -> Response | None:
        if request.path != PATH or request.method != "POST":
            return None
        try:
            check_posted(request.get_data(), app.callback_map)
        except SpecError as error:
            return Response(f"{error}\n", 400, mimetype="text/plain")
        return None

    @server.errorhandler(DependencyException)  # type: ignore[untyped-decorator]
    def no_such_file(_: DependencyException) -> Response:
        return Response("There is no such file.\n", 404, mimetype="text/plain")

    @server.after_request  # type: ignore[untyped-decorator]
    def headers(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = policy
        response.headers["X-Frame-Options"] = "DENY"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response


def _knows(user: str | None, given: str | None, password: str) -> bool:
    """Compare in a time that tells nothing of how much was right."""
    right = hmac.compare_digest((given or "").encode(), password.encode())
    return right and user in ("", USER)


def _policy(app: dash.Dash) -> str:
    # plotly.js compiles its WebGL drawing when it runs: points by the thousand need unsafe-eval.
    scripts = " ".join(["'self'", "'unsafe-eval'", *app.csp_hashes()])
    return (
        f"default-src 'self'; script-src {scripts}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
        "connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
