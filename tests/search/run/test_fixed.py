"""Fixed points: published networks beside the search, outside budget and strategy."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from toy_plans import TRAIN, trained
from toys import Grid

from netloom.dashboard.compare import BaselineView
from netloom.dashboard.plane import front_figure
from netloom.dashboard.report import report_html
from netloom.dashboard.views import HistoryView, ParetoView, front
from netloom.db import Store
from netloom.errors import SpecError
from netloom.options import SpecProblems
from netloom.search.run.events import Event
from netloom.search.run.fixed import fixed_points
from netloom.search.run.plan import Plan
from netloom.search.run.portable import read_trials
from netloom.search.run.runner import Runner
from netloom.spaces import SPACES
from netloom.spaces.zoo.darts import Darts
from netloom.spaces.zoo.mobilenet import MobileNet
from netloom.spaces.zoo.nb201 import NB201
from netloom.spaces.zoo.ofa.mbv3 import OfaMbv3

Plans = Callable[..., Plan]
Copies = Callable[[str, str], list[str]]
FIXED = {"fixed": ["grid/best", "least"]}
NAMES = ["grid/best", "grid/least"]
SEARCHES = [
    {"budget": {"trials": 16}},
    {"strategy": {"name": "nsga2", "population": 4}, "budget": {"trials": 16}},
    {**TRAIN, "strategy": {"name": "nsga2", "population": 4, "batch": 4}},
]


def records(store: Store, name: str) -> list[Any]:
    return store.trial_records(store.experiment(name).id)


def searched(store: Store, name: str, shift: int = 0) -> list[tuple[Any, ...]]:
    """Return the search's own trials with their numbers moved."""
    return [
        (r.number - shift, r.key, r.status, r.seed, r.metrics, r.violation, r.told - shift)
        for r in records(store, name)
        if r.fixed is None
    ]


def interrupting(number: int) -> Callable[[Event], None]:
    def listener(event: Event) -> None:
        if (event.kind, event.number) == ("evaluating", number):
            os.kill(os.getpid(), signal.SIGINT)

    return listener


# ---------------------------------------------------------------- names
def test_names_are_found_with_and_without_their_space() -> None:
    published = Darts().published()
    found = fixed_points(["darts/DARTS_V2", "PDARTS"], Darts())
    assert [p.name for p in found] == ["darts/DARTS_V2", "darts/PDARTS"]
    assert [p.architecture for p in found] == [published["DARTS_V2"], published["PDARTS"]]
    [short] = fixed_points(["ofa_mbv3/flops-595m"], OfaMbv3(width=1.2))
    assert short.name == "ofa_mbv3/flops@595M_top1@80.0_finetune@75"
    [own] = fixed_points(["my_pkg.nets:Grid/least"], Grid(), "my_pkg.nets:Grid")
    assert own.name == "grid/least"


@pytest.mark.parametrize(
    ("space", "name", "words"),
    [
        (Darts(), "darts/DARTS_V3", "'DARTS_V3'; did you mean DARTS_V2 or DARTS_V1"),
        (Darts(), "nb201/ResNets", "network of nb201, got 'ResNets'; did you mean ResNet?"),
        (Darts(), "dart/PDARTS", "there is no space 'dart', got the fixed point dart/PDARTS; did "),
        (Darts(), "none.nets:Net/PDARTS", "there is no module 'none'"),
        (Darts(), "ofa_resnet50/best", "and ofa_resnet50 has none; got 'best', leave it out"),
        (Darts(), "DrNAS", "'DrNAS' is short for several networks: DrNAS_cifar10, DrNAS_imagenet"),
        (OfaMbv3(), "flops-595m", "cannot be built with width 1.0; it is a network of {name: "),
        (MobileNet(), "proxyless_gpu", "it is a network of {name: mobilenet, preset: 'gpu'}"),
        (SPACES.get("ofa_resnet50")(), "best", "has none with these options; got 'best'"),
    ],
)
def test_a_wrong_name_says_what_there_is(space: Any, name: str, words: str) -> None:
    with pytest.raises(SpecProblems) as caught:
        fixed_points([name], space)
    [problem] = caught.value.problems
    assert problem.path == ("fixed", 0)
    assert words in problem.message


def test_a_network_is_named_once() -> None:
    with pytest.raises(SpecProblems, match="nb201/ResNet is a fixed point already"):
        fixed_points(["ResNet", "nb201/ResNet"], NB201())


def test_a_spec_with_a_wrong_name_is_refused_before_it_runs(plan: Plans) -> None:
    with pytest.raises(SpecError, match=r"fixed\[1\].*'bst'; did you mean best\?"):
        plan(fixed=["least", "bst"])


# ---------------------------------------------------------------- the search
@pytest.mark.parametrize("changes", SEARCHES, ids=["random", "nsga2", "training"])
def test_fixed_points_change_nothing_of_the_search(
    plan: Plans, store: Store, changes: dict[str, Any]
) -> None:
    plain = Runner(plan(**changes, name="plain"), store).run()
    beside = Runner(plan(**changes, **FIXED, name="beside"), store).run()
    first, second, *_ = records(store, "beside")
    assert [first.fixed, second.fixed] == NAMES
    assert (first.architecture["d0"], second.architecture["d0"]) == (5, 0)
    assert first.metrics["cost"] == 20
    assert searched(store, "beside", 2) == searched(store, "plain")
    assert beside.counts == plain.counts  # neither budget nor counts know them
    assert beside.experiment.fixed == {"done": 2}
    volume = "hypervolume"
    assert beside.experiment.summary[volume] == plain.experiment.summary[volume]
    assert {"grid/best", "grid/least"} & {r.fixed for r in beside.front}


@pytest.mark.parametrize("stop", [0, 1, 5], ids=["at-a-fixed-point", "between", "later"])
def test_an_interrupted_search_has_them_once(plan: Plans, store: Store, stop: int) -> None:
    changes = {**TRAIN, **FIXED, "strategy": {"name": "nsga2", "population": 4, "batch": 4}}
    Runner(plan(**changes, name="calm"), store).run()
    summary = Runner(plan(**changes), store, listeners=[interrupting(stop)]).run()
    assert summary.exit_code == 130
    Runner.resume(store, "toy")
    fields = [
        [(r.number, r.fixed, r.key, r.status, r.seed, r.metrics, r.told) for r in found]
        for found in (records(store, "toy"), records(store, "calm"))
    ]
    assert fields[0] == fields[1]


def test_a_strategy_may_find_one_and_is_told_its_values(plan: Plans, store: Store) -> None:
    every = {"space": {"name": "toys:Grid", "depth": 2, "width": 3}, "budget": {"trials": 9}}
    changes = {**TRAIN, **every, **FIXED}
    summary = Runner(plan(**changes), store).run()
    found = [r for r in records(store, "toy") if r.fixed is None]
    assert summary.counts["done"] == len({r.key for r in found}) == 9  # the whole space
    copies = {r.reused_from: r for r in found if r.reused_from is not None}
    fixed = [r for r in records(store, "toy") if r.fixed]
    assert {r.id: r.metrics for r in fixed} == {i: r.metrics for i, r in copies.items()}


def test_only_fixed_points_feasible_is_nothing_feasible(plan: Plans, store: Store) -> None:
    changes = {"budget": {"trials": 6, "max_infeasible": 12}, "constraints": ["cost <= 0"]}
    summary = Runner(plan(**changes, fixed=["least", "best"]), store).run()
    assert summary.exit_code == 3
    assert [r.fixed for r in summary.front] == ["grid/least"]
    assert summary.experiment.fixed == {"done": 1, "infeasible": 1}
    assert summary.counts["infeasible"] == 12  # the infeasible fixed point is not among them


def test_a_fixed_point_that_fails_is_recorded(plan: Plans, store: Store) -> None:
    changes = trained(raise_at=0) | {"fixed": ["best"], "budget": {"trials": 4}}
    summary = Runner(plan(**changes), store).run()
    assert summary.counts["done"] + summary.counts.get("failed", 0) == 4
    assert sum(summary.experiment.fixed.values()) == 1


def test_a_strategy_cannot_use_their_tag(plan: Plans, store: Store) -> None:
    made = plan(**FIXED)
    ask = made.strategy.ask

    def tagged(n: int) -> list[Any]:
        candidates = ask(n)
        object.__setattr__(candidates[0], "tags", {"fixed": "mine"})
        return candidates

    made.strategy.ask = tagged  # type: ignore[method-assign]
    with pytest.raises(SpecError, match="the tag 'fixed' marks fixed points"):
        Runner(made, store).run()


@pytest.mark.ray
@pytest.mark.usefixtures("shared_ray")
def test_no_scheduler_ends_one(plan: Plans, store: Store) -> None:
    changes = trained(epochs=9) | {"budget": {"trials": 8}, "fixed": ["least"]}
    ray = {"engine": "ray", "workers": 2, "scheduler": "asha", "order": "arrival"}
    summary = Runner(plan(**{**changes, "runner": ray}), store).run()
    assert summary.experiment.fixed == {"done": 1}
    curves = store.curves(summary.experiment.id, number=0)
    assert curves.step.max() == 9  # the worst network there is: asha would have ended it
    assert summary.counts["done"] + summary.counts.get("pruned", 0) == 8


@pytest.mark.full
@pytest.mark.ray
@pytest.mark.usefixtures("shared_ray")
def test_workers_change_nothing(plan: Plans, store: Store) -> None:
    changes = trained() | {"budget": {"trials": 8}, **FIXED}
    for name, workers in (("one", 1), ("three", 3)):
        ray = {"engine": "ray", "workers": workers}
        Runner(plan(**{**changes, "runner": ray, "name": name}), store).run()
    assert searched(store, "one", 2) == searched(store, "three", 2)
    assert [r.metrics for r in records(store, "one")] == [
        r.metrics for r in records(store, "three")
    ]


# ---------------------------------------------------------------- what is shown
def test_views_mark_them_and_measure_the_search_alone(plan: Plans, store: Store) -> None:
    changes: dict[str, Any] = {"budget": {"trials": 16}, "baseline": True}
    Runner(plan(**changes, name="plain"), store).run()
    Runner(plan(**changes, **FIXED, name="beside"), store).run()
    view, plain = ParetoView.of(store, "beside"), ParetoView.of(store, "plain")
    assert view.kinds.tolist()[:2] == ["published", "published"]
    assert [p.fixed for p in view.points()[:3]] == [*NAMES, None]
    assert {0, 1} <= set(view.front_numbers)  # most gain, least cost
    assert {r.fixed for r in front(store, "beside")} >= {"grid/best", "grid/least"}
    assert (view.hypervolume, view.reference) == (plain.hypervolume, plain.reference)
    grown, usual = HistoryView.of(store, "beside"), HistoryView.of(store, "plain")
    assert grown.hypervolume.tolist() == usual.hypervolume.tolist()
    assert grown.evaluations.tolist() == usual.evaluations.tolist()
    one, other = BaselineView.of(store, "beside"), BaselineView.of(store, "plain")
    assert one is not None
    assert other is not None
    assert (one.score, one.baseline_score) == (other.score, other.baseline_score)
    frame = store.trials("beside")
    assert frame["fixed"].tolist()[:2] == NAMES
    assert frame["fixed"][2:].isna().all()
    assert "fixed" not in store.trials("plain")


def test_figure_and_report_name_them(plan: Plans, store: Store) -> None:
    Runner(plan(**FIXED), store).run()
    figure = front_figure(ParetoView.of(store, "toy"))
    [stars] = [trace for trace in figure.data if trace.name == "published (2)"]
    assert stars.marker.symbol == "star"
    assert [text.split("<br>")[0] for text in stars.text] == [
        "<b>grid/best</b>",
        "<b>grid/least</b>",
    ]
    report = report_html(store, "toy")
    assert "Stars are published networks" in report
    assert "<strong>grid/best </strong>" in report


def test_exported_trials_keep_them(plan: Plans, store: Store, copied: Copies) -> None:
    Runner(plan(**FIXED), store).run()
    lines = copied("toy", "again")
    record, again = store.experiment("toy"), store.experiment("again")
    assert (again.counts, again.fixed) == (record.counts, record.fixed)
    without = [line for line in lines if "grid/best" not in line or "netloom_trials" in line]
    new, trials = read_trials(without, "trials.jsonl")
    assert [point["name"] for point in new.info["fixed"]] == ["grid/least"]
    assert trials[0].tags == {"fixed": "grid/least"}
