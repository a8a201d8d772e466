"""The page of a comparison without a browser: its URL, its controls, its tables, its caches."""

from __future__ import annotations

import json

import numpy as np
import pytest

from netloom.dashboard.contest import read_contest
from netloom.dashboard.contest_choice import ContestChoice, compare_link
from netloom.dashboard.contest_figures import (
    attainment_figure,
    bests_figure,
    fronts_figure,
    staircase,
    volumes_figure,
)
from netloom.dashboard.contest_words import captions, plane_of
from netloom.dashboard.findings import findings
from netloom.dashboard.growth import Growth
from netloom.dashboard.pages import compare
from netloom.dashboard.source import Source
from netloom.dashboard.standings import (
    pair_cells,
    reference_text,
    spread,
    standing_cells,
    standing_head,
    standings,
)
from netloom.errors import SpecError, UnknownName

from .test_app import page, text_of
from .test_report import HOSTILE


def test_a_url_and_back():
    choice = ContestChoice.parse("?e=A&e=B%20b&g=five&x=params&by=time&seeds=apart&e=A&e=&z=1")
    assert choice == ContestChoice(("A", "B b"), ("five",), "params", None, "time", True)
    assert ContestChoice.parse(choice.search) == choice
    assert ContestChoice.load(json.loads(json.dumps(choice.data))) == choice
    assert ContestChoice.parse("") == ContestChoice.load(None) == ContestChoice()
    assert ContestChoice().search == ""
    assert ContestChoice.parse("?by=weather&seeds=8").by == "trials"
    assert compare_link(["a/b"], ["g&h"]) == "/compare?e=a%2Fb&g=g%26h"
    with pytest.raises(SpecError, match="at most 120 fields"):
        ContestChoice.parse("?" + "&".join(["e=A"] * 121))


def test_the_plane(store, make):
    make((), "A")
    accuracy, latency = read_contest(store, ["A"]).axes
    assert plane_of((accuracy, latency)) == (latency, accuracy)
    assert plane_of((accuracy, latency), x="valid_accuracy") == (accuracy, latency)
    assert plane_of((accuracy, latency), y="latency_ms@pixel3") == (accuracy, latency)
    assert plane_of((accuracy, latency), "valid_accuracy", "valid_accuracy") == (latency, accuracy)
    with pytest.raises(UnknownName, match="did you mean latency_ms@pixel3"):
        plane_of((accuracy, latency), x="latency_ms@pixel4")


def test_the_tables_by_hand(store, make, pairs):
    make(pairs([(80, 2), (90, 6)]), "A")
    make(pairs([(70, 4), (85, 12)]), "B")
    contest = read_contest(store, ["A", "B"])
    assert standing_head(contest)[-2:] == ["best valid_accuracy ↑", "best latency_ms@pixel3 ↓"]
    first, second = (standing_cells(contest, each) for each in standings(contest))
    assert first == ["0", "2", "2", "202", "90 %", "2 ms"]
    assert second == ["0", "2", "2", "33", "85 %", "4 ms"]
    (found,) = findings(contest)
    assert pair_cells(found) == ["A", "B", "2", "202", "33", "100 %", "0 %"]
    assert "valid_accuracy 68 %, latency_ms@pixel3 13 ms" in reference_text(contest)


def test_values_of_one_two_and_more_runs():
    assert [spread([]), spread([3.0]), spread([3, 4], "ms")] == ["–", "3", "3 ms, 4 ms"]  # noqa: RUF001
    assert spread([1, 2, 9], "%") == "2 % (1.5 % to 5.5 %)"
    assert spread([5, 5, 5]) == "5"


def test_stairs_turn_with_the_directions(store, make):
    make((), "A")
    accuracy, latency = read_contest(store, ["A"]).axes
    xs, ys = np.array([4.0, 2.0]), np.array([90.0, 80.0])
    assert staircase(xs, ys, latency, accuracy) == ([2, 4, 4], [80, 80, 90])
    # turned around, from the best accuracy on
    assert staircase(ys, xs, accuracy, latency) == ([90, 80, 80], [4, 4, 2])
    assert staircase(xs, ys, latency, accuracy, (9.0, 50.0)) == (
        [2, 2, 4, 4, 9],
        [50, 80, 80, 90, 90],
    )


def test_figures_have_units_colours_and_every_run(store, make, pairs):
    for seed in range(3):
        make(pairs([(80 + seed, 2), (90, 6)]), f"A-s{seed}", group="A", seed=seed)
    make(pairs([(70, 4), (85, 12)]), "B", strategy="random")
    contest = read_contest(store, ["B"], ["A"])
    x, y = plane_of(contest.axes)
    figure = fronts_figure(contest, x, y)
    assert figure.layout.xaxis.title.text == "latency_ms@pixel3"
    assert figure.layout.yaxis.title.text == "valid_accuracy (%)"
    assert figure.layout.legend.title.text == "better ↖"
    points = [trace for trace in figure.data if trace.mode == "markers"]
    assert [trace.showlegend for trace in points] == [True, True, False, False]
    assert len({trace.marker.color for trace in points}) == 2
    assert len({trace.marker.symbol for trace in points}) == 2
    assert list(points[0].customdata[1]) == [contest.runs[0].record.id, 1]
    grown = Growth.of(contest)
    assert [t.name for t in volumes_figure(contest, grown).data if t.showlegend] == ["B", "A"]
    assert volumes_figure(contest, grown).layout.xaxis.title.text == "trials evaluated"
    bests = bests_figure(contest, grown)
    assert bests.layout.yaxis.title.text == "valid_accuracy (%)"
    assert [t.name for t in attainment_figure(contest, x, y).data if t.showlegend] == ["A"]
    assert attainment_figure(read_contest(store, ["B"]), x, y) is None
    said = captions(contest, grown, x, y)
    assert "The line of several seeds is what half of them attain." in said.fronts
    assert "the median and the quartiles" in said.growth


def test_the_page_offers_groups_and_experiments(store, make, pairs):
    for seed in range(2):
        make(pairs([(80, 2)]), f"A-s{seed}", group="A", seed=seed)
    text = page(store, "/compare", "?g=A&e=A-s1")
    assert "group A (2)" in text
    assert '"g:A"' in text
    assert f'"e:{store.experiment("A-s1").id}"' in text
    assert "Choose experiments or a group of seeds above." in page(store, "/compare")


def test_hostile_names_are_text(store, make, pairs):
    for name in ("A", "B"):
        make(pairs([(80, 2), (90, 6)]), name, group=HOSTILE, strategy=HOSTILE + name)
    contest = read_contest(store, [], [HOSTILE], apart=True)
    x, y = plane_of(contest.axes)
    drawn = [fronts_figure(contest, x, y), volumes_figure(contest, Growth.of(contest))]
    for seed in (1, 2):
        make(pairs([(80, 2)]), f"C{seed}", group=HOSTILE, strategy=HOSTILE + "A", seed=seed)
    contest = read_contest(store, [], [HOSTILE])
    assert contest.competitors[0].label == HOSTILE
    drawn += [fronts_figure(contest, x, y), attainment_figure(contest, x, y)]
    drawn.append(bests_figure(contest, Growth.of(contest)))
    for figure in drawn:
        assert "<script" not in figure.to_json().replace("\\u003c", "<")
    assert HOSTILE in text_of(compare._table(contest)).replace("\\u003c", "<")


def test_a_comparison_is_computed_once_per_state(store, make, pairs):
    record = make(pairs([(80, 2)]), "A", status="running")
    make(pairs([(70, 4)]), "B", seed=1, strategy="random")
    source = Source(store.url)
    first, state = source.contest(["A", "B"], [], apart=False)
    again, same = source.contest(["B", "A"], [], apart=False)
    assert again is not first  # another order
    assert source.contest(["A", "B"], [], apart=False)[0] is first
    assert again.runs[1] is first.runs[0]
    with store.transaction() as transaction:
        transaction.add_trials(record.id, pairs([(80, 2), (90, 6)])[1:])
    fresh, later = source.contest(["A", "B"], [], apart=False)
    assert later not in (state, same)
    assert (fresh.runs[0].evaluations, fresh.runs[1]) == (2, first.runs[1])
    growth = source.contests.growth(fresh, later, "trials")
    assert source.contests.growth(fresh, later, "trials") is growth
    assert source.contests.findings(fresh, later) is source.contests.findings(fresh, later)
    source.close()
