"""Pages of the trial table, as the grid asks for them."""

from __future__ import annotations

import pytest

from netloom.dashboard import ParetoView
from netloom.dashboard.paging import MAX_PAGE, page_of
from netloom.errors import SpecError

METRICS = ("valid_accuracy", "latency_ms@pixel3")


@pytest.fixture
def view(store, make, pairs, trial):
    make(
        [
            *pairs([(90, 5), (80, 3), (85, 3), (85, 4)]),
            trial(4, {"latency_ms@pixel3": 1.0}, status="failed", duration_s=None),
        ]
    )
    return ParetoView.of(store, "toy")


def ask(view, **request):
    rows, count = page_of(view.table, request, view.front, METRICS)
    return [row["number"] for row in rows], count


def test_a_page_and_the_count(view):
    assert ask(view) == ([0, 1, 2, 3, 4], 5)
    assert ask(view, startRow=1, endRow=3) == ([1, 2], 5)
    assert ask(view, startRow=9, endRow=12) == ([], 5)


def test_cells(view):
    rows, _ = page_of(view.table, {"startRow": 4, "endRow": 5}, view.front, METRICS)
    assert rows[0]["m0"] is None
    assert (rows[0]["m1"], rows[0]["duration_s"], rows[0]["id"]) == (1.0, None, "4")
    assert (rows[0]["status"], rows[0]["front"]) == ("failed", "")


@pytest.mark.parametrize(
    ("sort", "numbers"),
    [
        ([{"colId": "m0", "sort": "asc"}], [1, 2, 3, 0, 4]),
        ([{"colId": "m0", "sort": "desc"}], [0, 2, 3, 1, 4]),
        ([{"colId": "m1", "sort": "asc"}, {"colId": "m0", "sort": "desc"}], [4, 2, 1, 3, 0]),
        ([{"colId": "status", "sort": "desc"}, {"colId": "number", "sort": "desc"}], None),
        ([{"colId": "front", "sort": "desc"}], [0, 2, 1, 3, 4]),
    ],
)
def test_sorting_keeps_missing_values_last(view, sort, numbers):
    assert ask(view, sortModel=sort)[0] == (numbers or [4, 3, 2, 1, 0])


@pytest.mark.parametrize(
    ("column", "rule", "numbers"),
    [
        ("status", {"filterType": "text", "type": "contains", "filter": "FAIL"}, [4]),
        ("notation", {"filterType": "text", "type": "endsWith", "filter": "~2|"}, [2]),
        ("m0", {"filterType": "number", "type": "greaterThanOrEqual", "filter": 85}, [0, 2, 3]),
        ("m1", {"filterType": "number", "type": "inRange", "filter": 3, "filterTo": 4}, [1, 2, 3]),
        ("m0", {"filterType": "number", "type": "blank"}, [4]),
        (
            "number",
            {
                "filterType": "number",
                "operator": "OR",
                "conditions": [
                    {"filterType": "number", "type": "equals", "filter": 0},
                    {"filterType": "number", "type": "greaterThan", "filter": 3},
                ],
            },
            [0, 4],
        ),
    ],
)
def test_filters(view, column, rule, numbers):
    assert ask(view, filterModel={column: rule}) == (numbers, len(numbers))


@pytest.mark.parametrize(
    "request_",
    [
        {"sortModel": [{"colId": "__class__", "sort": "asc"}]},
        {"sortModel": [{"colId": "m7", "sort": "asc"}]},
        {"filterModel": {"rows": {"filterType": "text", "type": "contains", "filter": "x"}}},
        {"filterModel": {"m0": {"filterType": "number", "type": "eval", "filter": 1}}},
        {"filterModel": {"status": {"filterType": "text", "type": "regexp", "filter": "."}}},
        {"filterModel": {"notation": {"filterType": "number", "type": "lessThan", "filter": 1}}},
    ],
)
def test_what_the_table_has_not_is_refused(view, request_):
    with pytest.raises(SpecError, match="reload the page"):
        ask(view, **request_)


def test_a_page_has_a_limit(store, make, trial):
    make([trial(n) for n in range(MAX_PAGE + 10)])
    view = ParetoView.of(store, "toy")
    numbers, count = ask(view, startRow=0, endRow=10**9)
    assert (len(numbers), count) == (MAX_PAGE, MAX_PAGE + 10)
