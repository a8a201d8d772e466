"""A page of the list of experiments: the order that its grid asks for, and no more rows."""

from __future__ import annotations

import pytest

from netloom.dashboard import create_app
from netloom.dashboard.downloads import experiment_rows
from netloom.dashboard.list_choice import ListChoice
from netloom.dashboard.list_page import experiments_page
from netloom.dashboard.source import Source
from netloom.errors import SpecError


@pytest.fixture
def source(store, make, pairs):
    """Three experiments: their volumes order them otherwise than their best values, or sizes."""
    make(pairs([(90, 5), (80, 2), (70, 1)]), "b", group="night")
    make(pairs([(95, 9)]), "a")
    make([], "c")
    opened = Source(store.url)
    yield opened
    opened.close()


def names(source, column=None, way="asc", **more):
    model = [{"colId": column, "sort": way}] if column else []
    rows = source.rows(baselines=False)
    request = {"startRow": 0, "endRow": 100, "sortModel": model, **more}
    return "".join(cells["name"] for cells in experiments_page(rows, request, source.results))


@pytest.mark.parametrize(
    ("column", "rising", "falling"),
    [
        (None, "cab", "cab"),  # the newest first
        ("name", "abc", "cba"),
        ("best", "bac", "abc"),
        ("hypervolume", "abc", "bac"),
        ("progress", "cab", "bac"),
        ("started", "bac", "cab"),
        ("notes", "bca", "bca"),  # without a group: last, as they were
    ],
)
def test_a_page_is_in_the_order_of_a_column(source, column, rising, falling):
    assert names(source, column) == rising
    assert names(source, column, "desc") == falling


def test_a_page_has_the_rows_that_were_asked_for(source):
    assert names(source, "name", startRow=1, endRow=2) == "b"
    assert names(source, startRow=3, endRow=9) == ""


def test_an_unknown_column_is_refused(source, store):
    with pytest.raises(SpecError, match="the list of experiments has no column 'evil'"):
        names(source, "evil")
    answer = (
        create_app(store.url).server.test_client().get("/download/experiments.csv?sort=evil:asc")
    )
    assert (answer.status_code, answer.mimetype) == (404, "text/plain")


def test_the_file_has_the_order_of_the_list(source):
    _, rows = experiment_rows(source, ListChoice.parse("?sort=best:desc"))
    assert [row[0] for row in rows] == ["a", "b", "c"]
