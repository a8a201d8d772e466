"""What is sent to the callbacks by somebody who is no page: refused with a sentence, never run."""

from __future__ import annotations

import json

import pytest

from netloom.dashboard import create_app
from netloom.dashboard.choice import Choice, query
from netloom.dashboard.posted import kind_of

OUTPUT = {"id": "page", "property": "children"}
PAGE = {
    "output": "page.children",
    "outputs": OUTPUT,
    "inputs": [{"id": "url", "property": "pathname", "value": "/"}],
    "state": [{"id": "url", "property": "search", "value": ""}],
    "changedPropIds": ["url.pathname"],
}
CLICK = {"points": [{"customdata": 7}]}
WRONG = (1.5, True, [[]], [1], {"a": 1}, {"points": 1}, {"points": [{"customdata": "x"}]}, "\ud800")


@pytest.fixture
def app(store, make, pairs):
    make(pairs([(90, 5), (95, 9)]))
    return create_app(store.url)


def post(app, body):
    text = body if isinstance(body, bytes) else json.dumps(body)
    path = "/_dash-update-component"
    return app.server.test_client().post(path, data=text, content_type="application/json")


def callbacks(app):
    found = app.server.test_client().get("/_dash-dependencies").get_json()
    return [each for each in found if not each["clientside_function"]]


def body_of(callback, name=None, value=None):
    """Return a request whose parts have no value, but one of them."""

    def part(known):
        own = f"{known['id']}.{known['property']}"
        given = value if own == name else DEFAULTS.get(own)
        return {"id": known["id"], "property": known["property"], "value": given}

    output = callback["output"]
    names = output[2:-2].split("...") if output.startswith("..") else [output]
    outputs = [dict(zip(("id", "property"), each.rsplit(".", 1), strict=True)) for each in names]
    inputs = [part(each) for each in callback["inputs"]]
    return {
        "output": output,
        "outputs": outputs if output.startswith("..") else outputs[0],
        "inputs": inputs,
        "state": [part(each) for each in callback["state"]],
        "changedPropIds": [f"{each['id']}.{each['property']}" for each in inputs[:1]],
    }


DEFAULTS = {
    "arch-of.data": {"id": "toy", "number": 0},
    "decisions-choice.data": {},
    "decisions-experiment.data": "toy",
    "experiment.data": "toy",
    "list-choice.data": {},
}


def test_a_page_is_answered(app):
    assert post(app, PAGE).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[]", b"null", b"\xff", b"[" * 100_000),
        *({}, {"output": 1}, {"output": ["page.children"]}, {"output": "gone.children"}),
        PAGE | {"outputs": [OUTPUT, OUTPUT]},
        PAGE | {"inputs": None},
        PAGE | {"inputs": []},
        PAGE | {"inputs": [1]},
        PAGE | {"inputs": [{"id": "url", "property": "href", "value": "/"}]},
        PAGE | {"state": [{"id": "url", "property": "search", "value": {}}]},
        PAGE | {"changedPropIds": None},
        PAGE | {"changedPropIds": [[]]},
        PAGE | {"changedPropIds": ["tick.n_intervals"]},
    ],
)
def test_what_no_page_sends_is_refused(app, body):
    answer = post(app, body)
    assert answer.status_code == 400
    assert answer.get_data(as_text=True).endswith("; reload the page\n")


def test_every_part_of_every_page_has_a_type(app):
    for callback in callbacks(app):
        for known in callback["inputs"] + callback["state"]:
            name = f"{known['id']}.{known['property']}"
            for value in WRONG[:2]:
                assert not kind_of(name)(value), name


def test_wrong_types_never_reach_the_program(app):
    for callback in callbacks(app):
        for known in callback["inputs"] + callback["state"]:
            name = f"{known['id']}.{known['property']}"
            for value in WRONG:
                answer = post(app, body_of(callback, name, value))
                assert answer.status_code in (200, 204, 400), (name, value)


@pytest.mark.parametrize("id", ["gone", "<script>alert(1)</script>", "", "x" * 5000])
def test_an_experiment_that_is_not_there_is_no_error_of_the_program(app, id):
    for callback in callbacks(app):
        for name, value in (
            ("experiment.data", id),
            ("decisions-experiment.data", id),
            ("arch-of.data", {"id": id, "number": 0}),
            ("contest-choice.data", {"refs": [id], "groups": [id]}),
            ("contest-fronts.clickData", {"points": [{"customdata": [id, 0]}]}),
        ):
            answer = post(app, body_of(callback, name, value))
            assert answer.status_code in (200, 204), (callback["output"], name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("front-graph.clickData", CLICK),
        ("front-graph.clickData", {"points": [{"x": 1}]}),
        ("contest-fronts.clickData", {"points": [{"customdata": ["a1", 3]}]}),
        ("importance-graph.clickData", {"points": [{"customdata": ["stage1.width", "text"]}]}),
        ("choice.data", Choice(x="params", trial=3).data),
        ("trials.cellClicked", {"rowId": "3", "colId": "m0", "value": 1.5}),
        ("trials.columnState", [{"colId": "m0", "sort": None, "width": 95}]),
        ("revision.data", None),
    ],
)
def test_what_pages_send_is_taken(name, value):
    assert kind_of(name)(value)


@pytest.mark.parametrize("path", ["/", "/exp/toy", "/exp/toy/decisions", "/exp/toy/trial/0"])
def test_a_url_of_many_fields_is_read_from_its_beginning(app, path):
    many = "?" + "&".join(f"a{number}=1" for number in range(100))
    body = body_of(callbacks(app)[0])
    assert body["output"] == "page.children"
    body["inputs"][0]["value"], body["state"][0]["value"] = path, many
    assert post(app, body).status_code == 200
    assert query(many + "&x=params") == {f"a{number}": "1" for number in range(20)}


def test_a_filter_of_brackets_by_the_thousand_is_left_out():
    assert Choice.parse(f"?x=params&filter={'[' * 1900}") == Choice(x="params")


def test_an_address_of_a_file_that_is_no_text_is_answered(app):
    client = app.server.test_client()
    for path in ("/download/experiments.csv", "/download/toy/trials.csv"):
        assert client.get(path, query_string=b"q=\xff".decode("latin1")).status_code == 200
        environ = {"PATH_INFO": path, "QUERY_STRING": "q=\xff"}
        assert client.open(environ_overrides=environ).status_code == 200
