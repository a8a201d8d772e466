"""What a strategy trained: curves by quantity, genotypes, a tree of splits, and any other note."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from netloom.dashboard.pages import strategy
from netloom.dashboard.report import report_html
from netloom.dashboard.strategy_figures import distances_figure, tree_figure
from netloom.dashboard.strategy_view import (
    FOLDED_FROM,
    MAX_CHARACTERS,
    MAX_MAPS,
    MAX_ROWS,
    StrategyView,
)
from netloom.db.records import CurvePoint

from .test_app import text_of
from .test_report import Page

HOSTILE = "<script>alert('x')</script>"
GENOTYPES = {
    "genotypes": [
        {"epochs": [1, 1], "notation": "|none~0|", "architecture": {"edge0": "none"}},
        {"epochs": [2, 4], "notation": "|skip~0|", "architecture": {"edge0": "skip"}},
    ],
    "taken": None,
}
JUDGED = {
    "options": ["none", "skip", "conv"],
    "groups": [["none", "skip"], ["conv"]],
    "score": 0.25,
    "score_error": 0.05,
    "halves_agree": False,
    "distances": [[0.0, 0.1, 0.7], [0.1, 0.0, 0.8], [0.7, 0.8, 0.0]],
}
OTHER = {**JUDGED, "score": 0.5, "halves_agree": None, "score_error": None}


def node(name, parent, masks, **more):
    whole = {"name": name, "parent": parent, "split": None, "masks": masks}
    return {**whole, "architectures": "9", "epoch": 2, **more}


TREE = {
    "rule": "gradients",
    "seed": 3,
    "nodes": [
        node("root", None, {}, split="edge0", decisions={"edge0": JUDGED, "edge1": OTHER}),
        node("0", "root", {"edge0": ["none", "skip"]}, held_out=61.5, notation="|skip~0|"),
        node("1", "root", {"edge0": ["conv"]}, held_out=72.25, notation="|conv~0|"),
    ],
}


def points(name, values, number=None):
    return [CurvePoint(name, step, value, number) for step, value in enumerate(values, start=1)]


def test_a_strategy_that_trains_nothing_shows_nothing(store, make):
    assert StrategyView.of(store, make()).parts == []
    assert "What the strategy trained" not in report_html(store, "toy")


def test_curves_of_one_quantity_share_a_panel(store, make, trial, keep):
    record = make([trial(0)])
    view = keep(
        record,
        [
            *points("search0/lr", [0.1, 0.05]),
            *points("search0/train_loss", [2.0, 1.0]),
            *points("search1/train_loss", [3.0, 1.5]),
            *points("search0/latency_ms@pixel3", [5.0, math.nan]),
            *points("train_loss", [9.0], number=0),  # of a trial
        ],
        {"search0/genotypes": ("genotypes", GENOTYPES)},
    )
    curves, _ = view.parts
    titles = [text.text for text in curves.figure.layout.annotations]
    assert titles == ["loss, weights&#x27; half", "latency_ms@pixel3", "learning rate"]
    first, second, latency, rate = curves.figure.data
    assert (first.name, list(first.x), list(first.y)) == ("search0", [1, 2], [2.0, 1.0])
    assert (second.name, list(second.y)) == ("search1", [3.0, 1.5])
    assert (first.xaxis, second.xaxis, latency.xaxis, rate.xaxis) == ("x", "x", "x2", "x3")
    assert np.isnan(latency.y[1])
    assert [trace.showlegend for trace in curves.figure.data] == [True, True, False, False]
    assert curves.figure.layout.xaxis3.title.text == "epoch"


def test_no_two_searches_look_alike(make, keep):
    (part,) = keep(make(), [p for i in range(9) for p in points(f"s{i}/lr", [1.0])]).parts
    looks = [(line.line.color, line.line.dash) for line in part.figure.data]
    assert len(set(looks)) == 9


def test_steps_of_a_strategy_without_epochs(make, keep):
    (part,) = keep(make(), points("temperature", [1.0, 0.5])).parts
    assert part.figure.layout.xaxis.title.text == "step"
    assert part.figure.data[0].name == "strategy"


def test_genotypes_with_the_newest_first(make, keep):
    back = {**GENOTYPES, "taken": 3}
    notes = {
        "search0/genotypes": ("genotypes", GENOTYPES),
        "search1/genotypes": ("genotypes", back),
    }
    (part,) = keep(make(), notes=notes).parts
    assert part.rows.rows == [
        ("search0", "2 to 4", "|skip~0|"),
        ("search0", "1", "|none~0|"),
        ("search1", "2 to 4, taken: 3", "|skip~0|"),
        ("search1", "1", "|none~0|"),
    ]


def test_long_tables_are_folded_and_cut(make, keep):
    run = GENOTYPES["genotypes"][0]
    many = {"genotypes": [{**run, "epochs": [i, i]} for i in range(MAX_ROWS + 5)], "taken": None}
    (part,) = keep(make(), notes={"s/genotypes": ("genotypes", many)}).parts
    assert len(part.rows.rows) == MAX_ROWS > FOLDED_FROM
    assert part.folded
    assert f"The first {MAX_ROWS} of {MAX_ROWS + 5} are listed." in part.text
    assert "Details" in text_of(strategy.section(part, 0))


def test_a_tree_with_everything_that_was_found_out(store, make, keep):
    record = make()
    tree, maps = keep(record, notes={"search/tree": ("split_tree", TREE)}).parts
    assert tree.rows.rows == [
        ("root", "–", "all", "9", "2", "edge0", "0.25 ± 0.05", "–", "–"),  # noqa: RUF001
        ("0", "root", "edge0: none, skip", "9", "2", "–", "–", "61.5", "|skip~0|"),  # noqa: RUF001
        ("1", "root", "edge0: conv", "9", "2", "–", "–", "72.25", "|conv~0|"),  # noqa: RUF001
    ]
    assert "3 super-networks, split by gradients" in tree.text
    assert "edge0 was split into none, skip | conv." in maps.text
    assert "Half of the batches alone would have been split otherwise." in maps.text
    text = Page(report_html(store, "toy")).text
    for said in ("Tree of splits: search/tree", "0.25 ± 0.05", "|conv~0|", "options in root"):
        assert said in text


def test_the_drawing_of_a_tree():
    *lines, marks = tree_figure(TREE["nodes"]).data
    assert [(tuple(line.x), tuple(line.y)) for line in lines] == [
        ((0.5, 0.0), (0.0, -1.0)),
        ((0.5, 1.0), (0.0, -1.0)),
    ]
    assert list(marks.marker.symbol) == ["circle", "circle", "diamond"]  # the best leaf
    assert list(marks.hovertext)[1] == "<b>0</b><br>edge0: none, skip"


def test_distances_as_heat_maps():
    figure = distances_figure({"edge0": JUDGED, "edge1": OTHER}, "edge0")
    first, _ = figure.data
    assert [list(row) for row in first.z] == JUDGED["distances"]
    assert first.customdata[0][2] == "none and conv"
    titles = [text.text for text in figure.layout.annotations]
    assert titles == ["<b>edge0: 0.25, split here</b>", "edge1: 0.5"]
    assert list(figure.layout.xaxis2.ticktext) == ["none", "skip", "conv"]


def test_a_tree_that_is_split_many_times(make, keep):
    nodes = [
        node(str(i), None if i == 0 else str(i - 1), {}, split="edge0", decisions={"edge0": OTHER})
        for i in range(MAX_MAPS + 3)
    ]
    parts = keep(make(), notes={"t": ("split_tree", {"rule": "x", "nodes": nodes})}).parts
    assert len(parts) == 1 + MAX_MAPS
    assert parts[-1].text.endswith("3 more are not.")


@pytest.mark.parametrize("kind", ["weather", ""])
def test_any_other_note_is_shown_as_it_is(store, make, keep, kind):
    record = make()
    (part,) = keep(record, notes={"outlook": (kind, {"rain": [1, 2], "ü": HOSTILE})}).parts
    assert json.loads(part.code) == {"rain": [1, 2], "ü": HOSTILE}
    assert part.title == ("Note outlook (weather)" if kind else "Note outlook")
    html = report_html(store, "toy")
    assert part.title in Page(html).text
    assert HOSTILE not in html
    assert HOSTILE in Page(html).text


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("genotypes", {}),
        ("genotypes", {"genotypes": [{"epochs": ["a", 2], "notation": ""}]}),
        ("split_tree", {"nodes": [{"name": "root"}], "rule": ""}),
        ("split_tree", {"nodes": 3, "rule": ""}),
    ],
)
def test_a_note_that_is_not_what_it_says_is_shown_as_it_is(make, keep, kind, value):
    (part,) = keep(make(), notes={"broken": (kind, value)}).parts
    assert json.loads(part.code) == value
    assert f"It is no {kind}" in part.text


def test_long_notes_are_cut(make, keep):
    value = {"text": "x" * (MAX_CHARACTERS + 50)}
    (part,) = keep(make(), notes={"long": ("", value)}).parts
    assert len(part.code) < MAX_CHARACTERS + 50
    assert "more characters" in part.code


def test_names_from_the_store_are_text(store, make, keep):
    """In drawings too, where plotly reads a few tags."""
    nodes = [
        node(
            HOSTILE,
            None,
            {},
            split=HOSTILE,
            decisions={HOSTILE: {**JUDGED, "options": [HOSTILE] * 3}},
        ),
        node("0", HOSTILE, {HOSTILE: [HOSTILE]}, notation=HOSTILE, held_out=1.0),
    ]
    run = {"epochs": [1, 1], "notation": HOSTILE, "architecture": {}}
    view = keep(
        make(),
        points(f"{HOSTILE}a/b{HOSTILE}", [1.0]),
        {
            "tree": ("split_tree", {"rule": HOSTILE, "nodes": nodes}),
            "s/genotypes": ("genotypes", {"genotypes": [run], "taken": None}),
        },
    )
    assert len(view.parts) == 4
    for part in view.parts:
        if part.figure is not None:
            assert "<script" not in part.figure.to_json().replace("\\u003c", "<")
    html = report_html(store, "toy")
    assert HOSTILE not in html
    assert Page(html).text.count(HOSTILE) >= 6


def test_what_changes_is_seen(make, keep):
    record = make()
    states = [
        keep(record, points("s/lr", [1.0])).state,
        keep(record, points("s/lr", [1.0, 0.5])).state,
        keep(record, notes={"n": ("", {})}).state,
    ]
    assert keep(record).state == states[-1]
    assert len(set(states)) == 3
