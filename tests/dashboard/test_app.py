"""The application without a browser: who is answered, what is said, what is refused."""

from __future__ import annotations

import builtins
import json
import logging
import threading
import urllib.request

import pytest

from netloom.dashboard import create_app, serve
from netloom.dashboard.app import make_server
from netloom.dashboard.list_page import experiments_page
from netloom.dashboard.pages import experiments, parts, shell
from netloom.dashboard.source import Source
from netloom.db import Store
from netloom.errors import MissingDependency, SpecError, StoreError


@pytest.fixture
def client(store):
    return create_app(store.url).server.test_client()


def text_of(component) -> str:
    return json.dumps(component, default=lambda part: part.to_plotly_json(), ensure_ascii=False)


def page(store, path: str, search: str = "") -> str:
    return text_of(shell._page(Source(store.url), path, search))


def test_headers_keep_other_sites_out(client):
    answer = client.get("/")
    assert answer.status_code == 200
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_everything_comes_from_this_machine(client):
    html = client.get("/").get_data(as_text=True)
    assert "//" not in "".join(part.split('"')[0] for part in html.split('src="')[1:])
    assert "http" not in "".join(part.split('"')[0] for part in html.split('href="')[1:])
    with client.get("/assets/netloom.js") as script:
        assert script.status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *(("localhost:8050", 200), ("127.0.0.1", 200), ("127.0.0.2:8050", 200)),
        *(("[::1]:8050", 200), ("evil.example:8050", 403), ("0.0.0.0:8050", 403)),
        *(("localhost.evil.example", 403), ("127.0.0.1.evil.example", 403)),
    ],
)
def test_only_local_names_are_answered(client, host, status):
    assert client.get("/", headers={"Host": host}).status_code == status


def test_a_long_request_is_refused(client):
    body = b'"' + b"x" * 2**20 + b'"'
    answer = client.post("/_dash-update-component", data=body, content_type="application/json")
    assert answer.status_code == 413


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "::", "example.org", ""])
def test_other_addresses_are_refused(store, host):
    with pytest.raises(SpecError, match="ssh -L"):
        serve(store.url, host)


@pytest.mark.parametrize("host", ["192.0.2.1", "nobody.invalid", "::2"])
def test_an_address_elsewhere_is_no_matter_of_the_port(store, host):
    with pytest.raises(SpecError, match=f"an address of this machine, got '{host}'"):
        make_server(create_app(store.url), host, 0)


def test_a_taken_port_names_a_free_one(store):
    app = create_app(store.url)
    server = make_server(app, "127.0.0.1", 0)
    try:
        with pytest.raises(SpecError, match=r"--port \d+") as refusal:
            make_server(app, "127.0.0.1", server.port)
        assert f"got {server.port} " in str(refusal.value)
    finally:
        server.server_close()
    with pytest.raises(SpecError, match="0 to 65535"):
        make_server(app, "127.0.0.1", 70000)


def test_serve_answers_until_it_is_interrupted(store, make, pairs, monkeypatch):
    make(pairs([(90, 5)]))
    answers: list[int] = []

    def ask(url: str) -> None:
        def call() -> None:
            with urllib.request.urlopen(url) as answer:
                answers.append(answer.status)

        threading.Thread(target=call).start()

    from werkzeug.serving import BaseWSGIServer

    plain = BaseWSGIServer.handle_request

    def once(self, *_):
        plain(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(BaseWSGIServer, "serve_forever", once)
    serve(store.url, port=0, on_ready=ask)
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(10)
    assert answers == [200]


def test_without_the_extra(monkeypatch, store):
    plain = builtins.__import__

    def missing(name, *rest, **more):
        if name.startswith("dash_ag_grid"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return plain(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MissingDependency, match=r"pip install 'netloom\[dashboard\]'"):
        create_app(store.url)


def test_the_list(store, make, pairs):
    record = make(pairs([(90, 5)]))
    make([], "toy-random", kind="baseline", parent=record.id)
    source = Source(store.url)
    shown = page(store, "/")
    assert "1 experiment" in shown
    request = {"startRow": 0, "endRow": 100}
    rows = source.rows(baselines=False)
    assert [cells["id"] for cells in experiments_page(rows, request, source.results)] == [record.id]
    assert experiments._count(source.rows(baselines=True)) == "2 experiments"
    assert experiments.VOLUMES in shown


def test_an_empty_store_says_what_to_do(store):
    assert "netloom search" in page(store, "/")


def test_an_unknown_experiment_names_the_closest(store, make):
    make()
    with pytest.raises(StoreError, match="toy") as error:
        page(store, "/exp/tyo")
    assert "All experiments" in text_of(parts.trouble(error.value))


def test_an_unknown_page(store):
    assert "No such page" in page(store, "/etc/passwd")


def test_an_experiment_opens_by_name_and_keeps_what_the_url_says(store, make, pairs):
    record = make(pairs([(90, 5)]))
    shown = page(store, "/exp/toy", "?trial=0&x=params")
    assert record.id in shown
    assert '"trial": 0' in shown
    assert '"value": "params"' in shown


def test_a_store_that_is_not_there_is_opened_when_it_comes(tmp_path, make, store):
    source = Source(f"sqlite:///{tmp_path}/later.db")
    with pytest.raises(StoreError):
        source.revision()
    Store(source.url).close()
    assert source.rows(baselines=True) == []
    source.close()


def test_a_deleted_store_is_not_shown_on(tmp_path, make, store):
    make()
    source = Source(store.url)
    before = source.revision()
    store.close()
    for part in tmp_path.glob("netloom.db*"):
        part.rename(part.with_name(f"old-{part.name}"))
    with pytest.raises(StoreError, match="no store"):
        source.revision()
    Store(store.url).close()  # a new file of the same name
    make(name="another")
    assert source.revision() != before
    assert [row.name for row in source.rows(baselines=True)] == ["another"]
    source.close()


def test_what_was_computed_is_kept_until_something_changes(store, make, pairs, monkeypatch):
    record = make(pairs([(90, 5)]), status="running")
    source = Source(store.url)
    shot = source.snapshot(record.id)
    assert source.history(shot) is source.history(source.snapshot(record.id))
    assert source.baseline(shot) is None
    with store.transaction() as transaction:
        transaction.add_trials(record.id, pairs([(90, 5), (91, 4)])[1:])
    later = source.snapshot(record.id)
    assert later.state != shot.state
    assert len(source.history(later).number) == 2
    source.close()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:////home/me/netloom.db", "netloom.db"),
        (
            "postgresql+psycopg://me:secret@host:5432/team?sslmode=require",
            "postgresql://host:5432/team",
        ),
    ],
)
def test_the_bar_names_the_store_without_its_password(url, shown):
    assert shell._short(url) == shown


def test_nothing_is_logged_about_requests(client, caplog):
    with caplog.at_level(logging.INFO):
        client.get("/")
    assert caplog.records == []
