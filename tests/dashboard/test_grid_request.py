"""What a browser's grid may ask for, and what it may not."""

from __future__ import annotations

import json

import numpy as np
import pytest

from netloom.dashboard import create_app
from netloom.dashboard.grid_request import checked_request
from netloom.dashboard.pages import shell
from netloom.dashboard.paging import MAX_PAGE, page_of
from netloom.dashboard.table import TrialTable
from netloom.errors import SpecError

DEEP = {"conditions": [{"conditions": [{"type": "blank"}]}]}


@pytest.mark.parametrize(
    "request_",
    [
        "rows",
        {"startRow": -1},
        {"startRow": "0; DROP TABLE trials"},
        {"startRow": True},
        {"endRow": 10**400},
        {"sortModel": "m0"},
        {"sortModel": [1]},
        {"sortModel": [{"colId": ["m0"], "sort": "asc"}]},
        {"sortModel": [{"colId": "m0", "sort": "sideways"}]},
        {"sortModel": [{"colId": "m0", "sort": "asc"}] * 33},
        {"filterModel": ["m0"]},
        {"filterModel": {"m0": 1}},
        {"filterModel": {"m0": {"type": "equals", "filter": "abc"}}},
        {"filterModel": {"m0": {"type": "equals", "filter": 10**400}}},
        {"filterModel": {"m0": DEEP}},
        {"filterModel": {"m0": {"conditions": [{"type": "blank"}] * 9}}},
        {"filterModel": {"m0": {"conditions": []}}},
        {"filterModel": {"notation": {"filterType": "text", "type": "contains", "filter": {}}}},
        {"filterModel": {"notation": {"filterType": "text", "filter": "x" * 1001}}},
        {"filterModel": {f"m{i}": {"type": "blank"} for i in range(33)}},
    ],
)
def test_what_no_grid_asks_for_is_refused(request_):
    with pytest.raises(SpecError, match="reload the page"):
        checked_request(request_)


@pytest.fixture
def table(store, make, pairs):
    return TrialTable.read(store, make(pairs([(90, 5), (95, 9), (80, 7)])))


@pytest.mark.parametrize("column", ["__class__", "where", "rows", "m9", "m-1", "number'; --", ""])
def test_a_column_is_one_of_the_tables(table, column):
    front, names = np.zeros(3, dtype=bool), ["valid_accuracy"]
    with pytest.raises(SpecError, match="no column"):
        page_of(table, {"sortModel": [{"colId": column, "sort": "asc"}]}, front, names)
    with pytest.raises(SpecError, match="no column"):
        page_of(table, {"filterModel": {column: {"type": "blank"}}}, front, names)
    with pytest.raises(SpecError, match="no filter"):
        page_of(table, {"filterModel": {"m0": {"type": "__class__"}}}, front, names)


def test_a_page_has_a_limit_and_an_end(store, make, pairs):
    table = TrialTable.read(store, make(pairs([(i, i) for i in range(MAX_PAGE + 50)])))
    front = np.zeros(len(table), dtype=bool)
    page, count = page_of(table, {"startRow": 0, "endRow": 10**6}, front, [])
    assert (len(page), count) == (MAX_PAGE, MAX_PAGE + 50)
    assert page_of(table, {"startRow": 10**6, "endRow": 10**6 + 5}, front, [])[0] == []


def test_sorting_and_paging_read_no_metric_that_they_do_not_show(store, make, pairs, monkeypatch):
    read: list[str] = []
    plain = store.metric_column

    def watched(id, name, *, ids=None):
        read.append((name, ids is not None))
        return plain(id, name, ids=ids)

    monkeypatch.setattr(store, "metric_column", watched)
    table = TrialTable.read(store, make(pairs([(90, 5), (95, 9)])))
    request = {"sortModel": [{"colId": "m0", "sort": "desc"}]}
    page, _ = page_of(table, request, np.zeros(2, dtype=bool), ["valid_accuracy"])
    assert [row["number"] for row in page] == [1, 0]
    assert read == [("valid_accuracy", False)]  # to sort by it
    page, _ = page_of(table, {}, np.zeros(2, dtype=bool), ["valid_accuracy", "latency_ms@pixel3"])
    assert [row["m1"] for row in page] == [5, 9]
    assert read[1:] == [("latency_ms@pixel3", True)]  # of the rows that are shown


def test_an_error_of_the_program_shows_no_trace(store, make, pairs, monkeypatch):
    make(pairs([(90, 5)]))

    def broken(source, path, search):
        raise RuntimeError("broken")

    monkeypatch.setattr(shell, "_page", broken)
    client = create_app(store.url).server.test_client()
    body = {
        "output": "page.children",
        "outputs": {"id": "page", "property": "children"},
        "inputs": [{"id": "url", "property": "pathname", "value": "/"}],
        "state": [{"id": "url", "property": "search", "value": ""}],
        "changedPropIds": ["url.pathname"],
    }
    text = json.dumps(body)
    answer = client.post("/_dash-update-component", data=text, content_type="application/json")
    assert answer.status_code == 500
    assert "Traceback" not in answer.get_data(as_text=True)
    assert "File " not in answer.get_data(as_text=True)
