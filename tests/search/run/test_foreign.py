"""Fixed points of other spaces than the one that is searched."""

from __future__ import annotations

import json
import os
import pickle
import signal
from collections.abc import Callable
from typing import Any

import pytest
from toy_plans import PROJECT, TRAIN, trained
from toys import Cost, Grid, Ring

from netloom.dashboard.decision_view import DecisionView
from netloom.dashboard.report import report_html
from netloom.dashboard.table import TrialTable
from netloom.dashboard.views import ParetoView
from netloom.db import Store
from netloom.db.records import EXPLANATION, SpaceRef, TrialRecord
from netloom.errors import SpecError
from netloom.options import SpecProblems
from netloom.search.run.engines.inline import InlineEngine
from netloom.search.run.events import Event
from netloom.search.run.experiment import Experiment
from netloom.search.run.fixed import fixed_points
from netloom.search.run.members import Member
from netloom.search.run.plan import Plan, build_plan
from netloom.search.run.portable import read_trials
from netloom.search.run.rescoring import rescore
from netloom.search.run.runner import Runner
from netloom.search.run.spec import parse
from netloom.spaces import Architecture
from netloom.spaces.zoo.darts import Darts
from netloom.spaces.zoo.nb201 import NB201
from netloom.spaces.zoo.ofa.mbv3 import OfaMbv3

Plans = Callable[..., Plan]
Copies = Callable[[str, str], list[str]]
FIXED = {"fixed": ["least", "toys:Ring/round", "toys:Twin/best", "best"]}
NAMES = ["grid/least", "ring/Round", "twin/best", "grid/best"]
BATCHED = {"strategy": {"name": "nsga2", "population": 4, "batch": 4}}
REAL: dict[str, Any] = {
    "name": "real",
    "space": {"name": "nb201", "preset": "tiny"},
    "estimators": ["complexity", {"name": "hardware", "devices": ["cpu_generic"]}],
    "strategy": "random",
    "objectives": [{"minimize": "latency_ms@cpu_generic"}, {"maximize": "macs"}],
    "budget": {"trials": 6},
    "baseline": False,
}


def records(store: Store, name: str) -> list[TrialRecord]:
    return store.trial_records(store.experiment(name).id)


def searched(store: Store, name: str, shift: int = 0) -> list[tuple[Any, ...]]:
    return [
        (r.number - shift, r.key, r.status, r.seed, r.metrics, r.told - shift)
        for r in records(store, name)
        if r.fixed is None
    ]


def real(store: Store, **changes: Any) -> Plan:
    return build_plan(parse({**REAL, "store": store.url, **changes}))


def refused(store: Store, **changes: Any) -> str:
    with pytest.raises(SpecProblems) as caught:
        real(store, **changes)
    [problem] = caught.value.problems
    assert problem.path == ("fixed", 0)
    return problem.message


# ---------------------------------------------------------------- names and spaces
def test_each_network_comes_with_the_options_that_publish_it() -> None:
    names = ["ofa_mbv3/flops-595m", "darts/DARTS_V2", "ResNet"]
    wide, cells, own = fixed_points(names, NB201())
    assert [wide.name, cells.name] == [
        "ofa_mbv3/flops@595M_top1@80.0_finetune@75",
        "darts/DARTS_V2",
    ]
    assert wide.foreign is not None
    assert cells.foreign is not None
    assert wide.foreign.space.fingerprint == OfaMbv3(width=1.2).fingerprint
    assert cells.foreign.space.fingerprint == Darts().fingerprint
    assert dict(cells.architecture) == dict(Darts().published()["DARTS_V2"])
    assert own.foreign is None


def test_the_searched_space_with_other_options_is_another_space() -> None:
    [point] = fixed_points(["ofa_mbv3/flops-595m"], OfaMbv3())
    assert point.foreign is not None
    assert point.foreign.space.options["width"] == 1.2
    [same] = fixed_points(["netloom.spaces.zoo.darts:Darts/PDARTS"], Darts())
    assert same.foreign is None  # another name of the space that is searched


def test_equal_choices_in_two_spaces_have_different_keys() -> None:
    choices, there = {"d0": 1}, SpaceRef("twin", "f" * 64)
    own, member = Architecture(choices), Member(choices, there)
    assert member.key == f"twin-ffffffffffff/{own.key}"
    assert member != own
    assert own != member
    copy = pickle.loads(pickle.dumps(member))
    assert (copy, copy.space, hash(copy)) == (member, there, hash(member))


# ---------------------------------------------------------------- refusals
def test_what_the_data_set_dictates_is_filled_in(store: Store) -> None:
    plan = real(store, data="digits", fixed=["darts/DARTS_V2"])
    [there] = plan.foreign.values()
    wanted = {"in_channels": 1, "resolution": 8, "classes": 10}
    assert {name: there.space.options[name] for name in wanted} == wanted
    assert [e.space for e in there.estimators] == [there.space] * 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"data": "digits", "fixed": ["hiera/Hiera-T"]},
            "hiera/Hiera-T cannot be built beside this search: resolution must be a multiple of 32",
        ),
        (
            {
                "space": "nb201",
                "estimators": ["tabular"],
                "objectives": [{"maximize": "valid_accuracy"}],
                "fixed": ["darts/DARTS_V2"],
            },
            "darts/DARTS_V2 cannot have valid_accuracy: the estimator tabular does not give it for "
            "the space darts (tabular has measurements for the spaces",
        ),
        (
            {
                "space": "nats_sss",
                "estimators": ["tabular", "complexity"],
                "objectives": [{"minimize": "params"}],
                "constraints": ["accuracy >= 90"],
                "fixed": ["nas_bench_macro/best"],
            },
            "cannot have accuracy: the estimator tabular does not give it for the space "
            "nas_bench_macro (there they come from another source",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(
    store: Store, changes: dict[str, Any], words: str
) -> None:
    assert words in refused(store, **changes)


def test_a_space_that_does_not_take_what_the_data_set_dictates_is_refused(store: Store) -> None:
    said = refused(store, data="digits", fixed=["toys:Rigid/Only"])
    assert "the space has no option in_channels and no option resolution and no option" in said


def test_a_metric_that_nothing_asks_for_may_be_missing(plan: Plans, store: Store) -> None:
    Runner(plan(estimators=["toys:Cost", "toys:OnGrid"], **FIXED), store).run()
    least, ring, twin, best = records(store, "toy")[:4]
    assert (least.metrics["tabled"], best.metrics["tabled"]) == (0, 20)
    assert ring.metrics.keys() == twin.metrics.keys() == {"cost", "gain"}
    tabled = {"estimators": ["toys:Cost", "toys:OnGrid"], "constraints": ["tabled >= 1"]}
    with pytest.raises(SpecError, match=r"Ring/Round cannot have tabled: .* on_grid .*no table"):
        plan(**tabled, fixed=["toys:Ring/Round"])


# ---------------------------------------------------------------- the search
@pytest.mark.parametrize("changes", [{}, {**TRAIN, **BATCHED}], ids=["cheap", "training"])
def test_they_change_nothing_of_the_search(
    plan: Plans, store: Store, changes: dict[str, Any]
) -> None:
    plain = Runner(plan(**changes, name="plain"), store).run()
    beside = Runner(plan(**changes, **FIXED, name="beside"), store).run()
    assert searched(store, "beside", 4) == searched(store, "plain")
    assert (beside.counts, beside.experiment.fixed) == (plain.counts, {"done": 4})
    assert beside.experiment.summary["hypervolume"] == plain.experiment.summary["hypervolume"]
    first = records(store, "beside")[:4]
    assert [r.fixed for r in first] == NAMES
    assert [r.space and r.space.name for r in first] == [None, "ring", "twin", None]
    assert [r.metrics["cost"] for r in first] == [0, 22, 20, 20]
    assert first[1].notation == "ring:11:11"
    assert dict(first[1].architecture) == {"a": 11, "b": 11}
    assert dict(first[2].architecture) == dict(first[3].architecture)
    assert first[2].key == f"twin-{first[2].space.fingerprint[:12]}/{first[3].key}"
    assert "ring/Round" in {r.fixed for r in beside.front}
    assert store.details(beside.experiment.id, 1, "cost") == {"parts": {"a": 11, "b": 11}}


@pytest.mark.parametrize("stop", [1, 2, 6], ids=["at-one", "at-the-next", "later"])
def test_an_interrupted_search_has_them_once(plan: Plans, store: Store, stop: int) -> None:
    def interrupt(event: Event) -> None:
        if (event.kind, event.number) == ("evaluating", stop):
            os.kill(os.getpid(), signal.SIGINT)

    changes = {**TRAIN, **FIXED, **BATCHED}
    Runner(plan(**changes, name="calm"), store).run()
    assert Runner(plan(**changes), store, listeners=[interrupt]).run().exit_code == 130
    Runner.resume(store, "toy")
    found = [
        [
            (r.number, r.fixed, r.space, r.key, r.notation, r.status, r.seed, r.metrics, r.told)
            for r in some
        ]
        for some in (records(store, "toy"), records(store, "calm"))
    ]
    assert found[0] == found[1]


def test_a_killed_evaluation_is_given_out_again(
    plan: Plans, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {**trained(weights=True), **FIXED}
    Runner(plan(**changes, name="calm"), store).run()

    def die(self: InlineEngine, session: Any) -> None:
        session.start(session.take())
        session.start(session.take())
        session.running.clear()  # nobody gives them back
        raise MemoryError("gone")

    with monkeypatch.context() as patch:
        patch.setattr(InlineEngine, "run", die)
        with pytest.raises(MemoryError):
            Runner(plan(**changes), store).run()
    assert [r.status for r in records(store, "toy")[:3]] == ["running", "running", "queued"]
    summary = Runner.resume(store, "toy")
    found = [
        [(r.fixed, r.key, r.status, r.metrics, r.told) for r in records(store, name)]
        for name in ("toy", "calm")
    ]
    assert found[0] == found[1]
    assert not summary.test_failures
    assert {r.number: r.metrics["test_accuracy"] for r in summary.front if r.fixed}[1] == 21


def test_a_space_that_changed_is_not_resumed(
    plan: Plans, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    Runner(plan(**FIXED), store).run()
    monkeypatch.setattr(Ring, "version", 2)
    with pytest.raises(SpecError, match="the space ring of a fixed point of toy has changed since"):
        Runner.resume(store, "toy")


def test_constraints_hold_for_them(plan: Plans, store: Store) -> None:
    summary = Runner(plan(constraints=["cost <= 20"], **FIXED), store).run()
    statuses = [(r.fixed, r.status) for r in records(store, "toy")[:4]]
    assert statuses[:3] == [
        ("grid/least", "done"),
        ("ring/Round", "infeasible"),
        ("twin/best", "done"),
    ]
    assert summary.experiment.fixed == {"done": 3, "infeasible": 1}


def test_equal_text_under_canonical_is_no_copy(plan: Plans, store: Store) -> None:
    Runner(plan(**{**TRAIN, **FIXED}, dedup="canonical"), store).run()
    assert all(r.reused_from is None for r in records(store, "toy") if r.space is not None)


@pytest.mark.ray
@pytest.mark.usefixtures("shared_ray")
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="actors"),
        pytest.param(trained(epochs=3), id="tune", marks=pytest.mark.full),
    ],
)
def test_workers_give_the_same(plan: Plans, store: Store, changes: dict[str, Any]) -> None:
    made = {**changes, **FIXED, "budget": {"trials": 6}}
    Runner(plan(**{**made, "name": "here", "runner": {"engine": "inline"}}), store).run()
    Runner(
        plan(**{**made, "name": "there", "runner": {"engine": "ray", "workers": 2}}), store
    ).run()
    found = [
        [(r.fixed, r.key, r.status, r.metrics) for r in records(store, name)]
        for name in ("here", "there")
    ]
    assert found[0] == found[1]


def test_a_warm_start_leaves_them_out(plan: Plans, store: Store) -> None:
    Runner(plan(**FIXED), store).run()
    Runner(plan(name="next", warm_start="toy"), store).run()
    warm = [r for r in records(store, "next") if r.tags.get("warm_start")]
    assert warm
    assert all(set(r.architecture) == {"d0", "d1", "d2", "d3"} for r in warm)


def test_python_objects_take_them_too(store: Store) -> None:
    common: dict[str, Any] = {
        "strategy": "random",
        "objectives": [{"minimize": "cost"}],
        "budget": 4,
        "store": store,
        "baseline": False,
        "source_dir": PROJECT,
        "fixed": ["toys:Ring/Round"],
    }
    summary = Experiment(space=Grid(), estimators=[Cost], **common).run()
    assert summary.experiment.fixed == {"done": 1}
    grid = Grid()
    with pytest.raises(SpecError, match=r"estimators\[0\] is an object made for the space that is"):
        Experiment(space=grid, estimators=[Cost(grid)], **common)


# ---------------------------------------------------------------- real networks
def test_networks_of_three_spaces_in_one_search(store: Store) -> None:
    fixed = ["ofa_mbv3/flops-595m", "darts/DARTS_V2", "ResNet"]
    summary = Runner(real(store, fixed=fixed), store).run()
    wide, cells, own = records(store, "real")[:3]
    assert wide.metrics["macs"] == 595_189_032  # its name says 595M
    assert cells.metrics["params"] == 3_349_342  # without the auxiliary head
    assert own.metrics["params"] == 11_054
    assert cells.notation == Darts().format(Darts().published()["DARTS_V2"])
    assert summary.counts["done"] == 6
    costs = store.costs(OfaMbv3(width=1.2).fingerprint, device="cpu_generic")
    assert set(costs["key"]) == {wide.key}
    for number, space in enumerate(["ofa_mbv3", "darts", "nb201"]):
        document = store.details(summary.experiment.id, number, EXPLANATION)
        assert document is not None
        assert [entry["space"] for entry in document["networks"]] == [space]
        assert "error" not in document

    found = rescore(store, summary.experiment, {"device": "eyeriss_168"})
    assert (found.failed, found.added, found.architectures) == ({}, 9, 9)
    again = rescore(store, store.experiment("real"), {"device": "eyeriss_168"})
    assert again.added == 0
    values = store.rescored(store.experiment("real"))
    assert {wide.key, cells.key, own.key} <= values.keys()
    assert values[wide.key]["latency_ms@eyeriss_168"] > values[own.key]["latency_ms@eyeriss_168"]


@pytest.mark.full
def test_they_are_trained_like_the_others(store: Store) -> None:
    training = {"name": "training", "epochs": 1}
    changes = {
        "data": "digits",
        "estimators": ["complexity", training],
        "objectives": [{"maximize": "valid_accuracy"}, {"minimize": "params"}],
        "budget": {"trials": 1},
        "runner": {"engine": "inline"},
        "fixed": ["nats_sss/BossNAS"],
    }
    summary = Runner(real(store, **changes), store).run()
    first = records(store, "real")[0]
    assert (first.fixed, first.status) == ("nats_sss/BossNAS", "done")
    assert first.metrics["valid_accuracy"] > 30  # ten classes
    tested = {r.number: r.metrics for r in summary.front}
    assert all("test_accuracy" in metrics for metrics in tested.values())


# ---------------------------------------------------------------- what is shown and kept
def test_views_show_them(plan: Plans, store: Store) -> None:
    Runner(plan(**FIXED), store).run()
    view = ParetoView.of(store, "toy")
    assert [p.fixed for p in view.points()[:4]] == NAMES
    assert "<strong>ring/Round </strong>" in report_html(store, "toy")
    frame = store.trials("toy")
    assert frame["fixed"].tolist()[:4] == NAMES
    assert frame["a"].tolist()[:3] != frame["d0"].tolist()[:3]
    assert frame["a"][4:].isna().all()
    record = store.experiment("toy")
    decisions = DecisionView.of(store, record, TrialTable.read(store, record))
    assert decisions.number.tolist() == [0, *range(3, 24)]  # they have none of these decisions
    assert decisions.total == 22


def test_exported_trials_keep_them(plan: Plans, store: Store, copied: Copies) -> None:
    Runner(plan(**FIXED), store).run()
    lines = copied("toy", "again")
    both = [[(r.key, r.space, r.notation) for r in records(store, n)] for n in ("toy", "again")]
    assert both[0] == both[1]
    broken = json.loads(lines[2])
    broken["tags"]["fixed_space"] = {"name": "ring"}
    with pytest.raises(SpecError, match=r":3: the tag fixed_space must name a space, got"):
        read_trials([*lines[:2], json.dumps(broken)], "trials.jsonl")
    del broken["tags"]["fixed_space"]
    with pytest.raises(SpecError, match="the key is not that of the architecture"):
        read_trials([*lines[:2], json.dumps(broken)], "trials.jsonl")
