"""Thinning: what fits stays as it is, of more what a picture or a sum needs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from netloom.dashboard.captions import front_words
from netloom.dashboard.look import Look, thinned
from netloom.dashboard.plane import front_figure
from netloom.dashboard.thinning import evenly, topmost
from netloom.dashboard.views import ParetoView


def test_what_fits_is_left_alone():
    assert evenly(np.array([5.0, 2.0, 9.0]), 3).tolist() == [5.0, 2.0, 9.0]
    assert evenly(np.array([], dtype=np.int64), 1).tolist() == []


def test_of_more_both_ends_stay_and_none_comes_twice():
    assert evenly(np.arange(0, 90, 10), 5).tolist() == [0, 20, 40, 60, 80]
    for count in range(3, 40):
        for most in range(2, count):
            kept = evenly(np.arange(count), most).tolist()
            assert kept == sorted(set(kept)), (count, most)
            assert (len(kept), kept[0], kept[-1]) == (most, 0, count - 1)


def test_of_points_in_one_place_the_last_of_each_kind_stays():
    places = np.array([[0.0, 0.0], [0.001, 0.0], [5.0, 5.0], [5.0, 5.0], [5.0, 5.0], [10.0, 10.0]])
    layers = np.array([0, 0, 1, 0, 0, 0])
    assert topmost(places, layers, (100, 100), 6).tolist() == [0, 1, 2, 3, 4, 5]  # they fit
    assert topmost(places, layers, (100, 100), 4).tolist() == [0, 1, 2, 4, 5]  # 0: the outermost


def test_cells_grow_until_few_enough_points_are_left():
    rng = np.random.default_rng(0)
    places, layers = rng.random((5000, 2)), rng.integers(0, 3, 5000)
    for most in (4, 50, 1000):
        rows = topmost(places, layers, (1200, 450), most)
        assert len(rows) <= most + 4
        assert {*places.argmin(axis=0), *places.argmax(axis=0)} <= {*rows.tolist()}
        assert rows.tolist() == sorted(set(rows.tolist()))
    assert topmost(np.ones((9, 3)), np.zeros(9, dtype=np.int64), (5, 5, 5), 1).tolist() == [0, 8]


def test_a_thinned_front_keeps_what_matters_and_counts_all(make, store, pairs, monkeypatch):
    monkeypatch.setattr("netloom.dashboard.look.MOST", 3)
    best, beside = [(90, 5), (80, 2)], [(60 + n / 100, 9) for n in range(40)]
    trials = pairs([*best, *beside, (50, 30)])
    trials[20] = replace(trials[20], tags={"fixed": "nb201/ResNet"})
    make(trials, info={"fixed": [{"name": "nb201/ResNet"}]})
    view = ParetoView.of(store, "toy", x="latency_ms@pixel3")
    look, columns = Look(log=("x",)), {"x": view.xs, "y": view.ys}
    kept = thinned(look.drawn(view), view, look, columns, selected=7)
    assert {0, 1, 7, 20, 42} <= set(np.flatnonzero(kept))
    assert kept.sum() <= 2 + 1 + 1 + 3 + 4
    figure = front_figure(view, selected=7, look=look, kept=kept)
    drawn = {trace.name: len(trace.x) for trace in figure.data if trace.customdata is not None}
    assert set(drawn) == {"feasible (40)", "published (1)", "front (2)"}
    assert sum(drawn.values()) == kept.sum()
    assert f"Drawn are {kept.sum()} of 43 points" in front_words(view, look, None, kept)
