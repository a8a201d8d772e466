"""Spaces of NNI in a spec."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from netloom.db import Store
from netloom.errors import MissingDependency
from netloom.options import SpecProblems
from netloom.search.run.parts import make_space
from netloom.search.run.plan import build_plan
from netloom.search.run.runner import Runner
from netloom.search.run.spec import Named, parse

nni = pytest.mark.nni
PATH = "nni.nas.hub.pytorch:ShuffleNetSpace"
CELLS = "nni.nas.hub.pytorch:NasBench201"
SMALL = {"stem_out_channels": 4, "num_modules_per_stack": 1}


class Images:
    in_channels, resolution, classes, name = 3, 48, 7, "images"


def made(data: Any = None, **options: Any) -> tuple[Any, dict[str, Any]]:
    return make_space(Named(**{"name": "nni", "class": PATH, **options}), data)


@nni
def test_a_data_set_fills_what_the_class_calls_otherwise() -> None:
    space, stored = made(Images())
    assert stored == {"name": PATH, "num_labels": 7, "resolution": 48, "in_channels": 3}
    assert space.example_input(space.at(0)).shape == (1, 3, 48, 48)
    again, same = make_space(Named(**stored), Images())
    assert (again.fingerprint, same) == (space.fingerprint, stored)
    network = space.build(space.at(0)).eval()
    assert network(space.example_input(space.at(0))).shape == (1, 7)
    former, stored = made(**{"class": "nni.nas.hub.pytorch:AutoFormer"})
    assert stored == {"name": "nni.nas.hub.pytorch:AutoFormer"}
    assert former.example_input(former.at(0)).shape == (1, 3, 224, 224)  # its own img_size


@nni
@pytest.mark.parametrize(
    ("options", "path", "words"),
    [
        ({"num_labls": 3, "resolution": 32}, "num_labls", "unknown key; did you mean num_labels?"),
        ({"num_labels": "x", "resolution": 32}, "num_labels", "must be"),
        ({}, "resolution", "the size of the input must be known"),
        ({"class": None}, "class", "a space of NNI needs its class, such as class: 'nni.nas.hub"),
        ({"class": "nni.nas.hub.pytorch:Shuffle"}, "name", "did you mean"),
    ],
)
def test_what_is_wrong_is_said_at_its_place(options: Any, path: str, words: str) -> None:
    with pytest.raises(SpecProblems) as caught:
        made(**options)
    [problem] = caught.value.problems
    assert problem.path == ("space", path)
    assert words in problem.message


@nni
def test_a_contradiction_with_the_data_is_refused() -> None:
    with pytest.raises(SpecProblems, match="the data set needs 7, got 10; leave it out"):
        made(Images(), num_labels=10)


@nni
def test_a_search_runs_and_resumes(tmp_path: Any) -> None:
    spec = {
        "name": "nni",
        "space": {"name": "nni", "class": CELLS, "resolution": 8, **SMALL},
        "estimators": ["complexity"],
        "strategy": {"name": "regularized_evolution", "population": 2, "sample": 2},
        "objectives": [{"minimize": "macs"}],
        "budget": {"trials": 3},
        "baseline": False,
        "store": f"sqlite:///{tmp_path}/nni.db",
    }
    with Store(spec["store"]) as store:
        Runner(build_plan(parse(spec)), store).run()
        stored = store.experiment("nni").spec
        assert stored["space"] == {"name": CELLS, **SMALL, "resolution": 8}
        summary = Runner.resume(
            store, "nni", budget=parse({**spec, "budget": {"trials": 4}}).budget
        )
        assert summary.counts["done"] == 4


def test_without_nni_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nni.nas.nn.pytorch", None)
    for named in (Named(name=PATH), Named(**{"name": "nni", "class": PATH})):
        with pytest.raises(MissingDependency, match=r"pip install 'netloom\[nni\]'") as caught:
            make_space(named)
        assert caught.value.exit_code == 5
