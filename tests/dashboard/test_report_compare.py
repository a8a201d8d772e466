"""The report of several experiments: the comparison first, everything once, ids that are unique."""

from __future__ import annotations

import json
import re

import pytest

from netloom.dashboard import write_report
from netloom.dashboard.report import report_html
from netloom.dashboard.report_formats import report_text
from netloom.errors import SpecError, StoreError

from .conftest import MAX_ACCURACY, cells
from .test_report import HOSTILE, Page

ID = re.compile(r'\sid="([^"]+)"')


def test_the_comparison_comes_first_and_every_experiment_after_it(store, make, tmp_path):
    for seed in range(3):
        make(cells(20, seed, skill=1.0), f"good-s{seed}", group="good", seed=seed)
    make(cells(20, 9, skill=0.0), "plain", strategy="random")
    names = ["good-s0", "good-s1", "good-s2", "plain", "good-s0"]
    path = write_report(store, names, tmp_path / "comparison.html")
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    assert page.tags.count("h1") == 5
    said = [
        "Comparison of good and plain",
        "max valid_accuracy, min latency_ms@pixel3",
        "What each reached",
        "One reference point for all hypervolumes here",
        "3 runs and 1 run cannot tell this from noise",
        "Hypervolume over trials",
        "Attainment",
        "good-s0 done",
        "good-s2 done",
        "plain done",
        "Made by netloom from experiments",
    ]
    places = [page.text.index(each) for each in said]
    assert places == sorted(places)
    ids = ID.findall(html)
    assert len(ids) == len(set(ids))
    record = store.experiment("plain")
    for name in ("top", "trial-"):
        assert any(each.startswith(f"e{record.id}-{name}") for each in ids)
    for name in ("compare-fronts", "compare-attainment", f"e{record.id}-front"):
        assert f"figure-{name}" in ids
    anchors = {address[1:] for address in page.addresses if address.startswith("#")}
    assert anchors
    assert anchors <= set(ids)
    assert all(address.startswith("#") for address in page.addresses)


def test_one_experiment_given_twice_is_one(store, make, pairs):
    make(pairs([(80, 2)]))
    assert report_html(store, ["toy", "toy"]) == report_html(store, "toy")
    assert "Comparison of" not in report_html(store, "toy")


def test_other_objectives_are_compared_too(store, make, trial):
    values = {"valid_accuracy": 80.0, "latency_ms@pixel3": 4.0, "params": 10.0}
    make([trial(0, values)], "A")
    make([trial(0, {**values, "params": 5.0})], "B", strategy="random")
    goals = (MAX_ACCURACY, {"metric": "params", "direction": "minimize"})
    text = Page(report_html(store, ["A", "B"], objectives=goals)).text
    assert "max valid_accuracy, min params" in text
    assert "best params ↓" in text


def test_what_cannot_be_compared_is_refused(store, make, pairs):
    make(pairs([(80, 2)]), "A")
    make(pairs([(80, 2)]), "B", objectives=({"metric": "params", "direction": "minimize"},))
    with pytest.raises(SpecError, match="got none: A has max valid_accuracy"):
        report_html(store, ["A", "B"])
    with pytest.raises(StoreError, match="known: A, B"):
        report_html(store, ["A", "AA-s0"])


def test_seeds_of_one_objective_are_compared_by_their_best(store, make, trial):
    for name, start in (("A", 80.0), ("B", 70.0)):
        for seed in range(3):
            values = [start + seed, start + 2 * seed, start + 1]
            trials = [trial(n, {"valid_accuracy": v}) for n, v in enumerate(values)]
            spec = {"version": 1, "strategy": name}
            make(
                trials,
                f"{name}-s{seed}",
                seed=seed,
                group=name,
                spec=spec,
                objectives=(MAX_ACCURACY,),
            )
    names = [f"{name}-s{seed}" for name in "AB" for seed in range(3)]
    text = Page(report_html(store, names)).text
    assert "Best so far" in text
    assert "Fronts" not in text
    assert "the hypervolume is the distance of the best value from it" in text
    (pair,) = json.loads(report_text(store, names, "json"))["comparison"]["pairs"]
    # best: 81, 82, 84 and 71, 72, 74; the reference is 70 - 0.1 x 14
    assert pair["scores"] == pytest.approx([247 / 3 - 68.6, 217 / 3 - 68.6])
    assert pair["verdict"] == "ahead"


def test_experiments_without_a_front_say_so(store, make, trial):
    make([trial(0, {}, status="failed")], "A")
    make((), "B", strategy="random")
    text = Page(report_html(store, ["A", "B"])).text
    assert "No feasible trial yet, so there is nothing to compare." in text


def test_names_from_the_store_are_text(store, make, pairs):
    for seed in range(3):
        make(pairs([(80, 2)]), f"A-s{seed}", group=HOSTILE, seed=seed)
    make(pairs([(80, 2)]), "B", strategy="random")
    html = report_html(store, ["A-s0", "A-s1", "A-s2", "B"])
    assert HOSTILE not in html
    assert f"Comparison of {HOSTILE} and B" in Page(html).text


def test_the_comparison_for_papers_and_scripts(store, make, pairs):
    make(pairs([(80, 2), (90, 6)]), "A")
    make(pairs([(70, 4), (85, 12)]), "B", strategy="random")
    text = report_text(store, ["A", "B"], "md")
    assert text.startswith("# Comparison of A and B\n\nmax valid_accuracy (%), min latency_ms")
    assert "| A | 0 | 2 | 2 | 202 | 90 % | 2 ms |" in text
    assert "| A | B | 2 | 202 | 33 | 100 % | 0 % |" in text
    assert text.index("- Hypervolume after 2 evaluations") < text.index("# A (done)")
    found = json.loads(report_text(store, ["A", "B", "A"], "json"))
    assert [each["name"] for each in found["experiments"]] == ["A", "B"]
    compared = found["comparison"]
    assert compared["reference"] == pytest.approx(
        {"valid_accuracy": 68.0, "latency_ms@pixel3": 13.0}
    )
    assert compared["competitors"][1] == {
        "label": "B",
        "experiments": [store.experiment("B").id],
        "seeds": [0],
        "evaluations": [2],
        "front": [2],
        "hypervolume": pytest.approx([33.0]),
        "best": {"valid_accuracy": [85.0], "latency_ms@pixel3": [4.0]},
    }
    (pair,) = compared["pairs"]
    assert (pair["verdict"], pair["coverage"]) == ("too few", [1.0, 0.0])
    assert json.loads(report_text(store, ["A"], "json"))["comparison"] is None
