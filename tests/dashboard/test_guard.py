"""Who is answered: this machine's own names, or whoever knows the password."""

from __future__ import annotations

import base64
import logging

import pytest

from netloom.dashboard import create_app, serve
from netloom.dashboard.guard import check_host, checked_password
from netloom.errors import SpecError

PASSWORD = "correct horse ä"
PATHS = ("/", "/_dash-layout", "/_dash-dependencies", "/assets/base.css", "/exp/toy", "/nothing")


def header(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture
def locked(store):
    return create_app(store.url, PASSWORD).server.test_client()


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_answered_without_the_password(locked, path):
    answer = locked.get(path)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith('Basic realm="netloom"')
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert PASSWORD not in answer.get_data(as_text=True)
    body = {"output": "page.children", "inputs": [], "changedPropIds": []}
    assert locked.post("/_dash-update-component", json=body).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        header("netloom", "wrong"),
        header("netloom", ""),
        header("netloom", PASSWORD[:-1]),
        header("root", PASSWORD),
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic"},
        {"Authorization": "Bearer token"},
        {"Authorization": 'Digest username="netloom", response="x"'},
    ],
)
def test_wrong_passwords(locked, headers):
    assert locked.get("/", headers=headers).status_code == 401


@pytest.mark.parametrize("user", ["netloom", ""])
def test_the_right_password_opens_under_any_name(locked, user):
    answer = locked.get("/", headers={**header(user, PASSWORD), "Host": "board.example:8050"})
    assert answer.status_code == 200


def test_a_name_elsewhere_is_refused_without_a_password(store):
    client = create_app(store.url).server.test_client()
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 403
    assert client.get("/", headers={"Host": "evil.example", **header("", "x")}).status_code == 403


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.4", "example.org"])
def test_other_addresses_need_a_password(host):
    with pytest.raises(SpecError, match="--auth"):
        check_host(host, None)
    check_host(host, PASSWORD)


def test_a_password_is_long_enough_and_never_shown():
    assert checked_password("12345678", "FILE") == "12345678"
    with pytest.raises(SpecError, match="got 7 in FILE") as error:
        checked_password("secret7", "FILE")
    assert "secret7" not in str(error.value)
    with pytest.raises(SpecError, match="must be UTF-8 text, got other bytes in FILE"):
        checked_password("12345678\udcff", "FILE")


def test_an_open_address_says_that_it_is_plain_http(store, monkeypatch, caplog):
    from werkzeug.serving import BaseWSGIServer

    monkeypatch.setattr(BaseWSGIServer, "serve_forever", lambda _: None)
    with caplog.at_level(logging.WARNING):
        serve(store.url, "0.0.0.0", 0, password=PASSWORD, on_ready=lambda _: None)
    assert "plain HTTP" in caplog.text
    assert PASSWORD not in caplog.text


@pytest.mark.parametrize("name", ["zz/a.js", "dash/a.js", "netloom/pyproject.toml"])
def test_a_file_that_is_not_there_is_no_error_of_the_program(store, name, caplog):
    client = create_app(store.url).server.test_client()
    answer = client.get(f"/_dash-component-suites/{name}")
    assert (answer.status_code, answer.get_data(as_text=True)) == (404, "There is no such file.\n")
    assert caplog.records == []
