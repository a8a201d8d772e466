"""Spaces written for NNI: its hub with the counts that it publishes; constraints; fresh layers."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

from netloom.errors import InvalidArchitecture, MissingDependency, SpecError
from netloom.estimators.complexity import Complexity
from netloom.spaces import Space, from_nni
from netloom.spaces.nni_adapter import NniSpace
from netloom.spaces.testing import SpaceContract
from netloom.spaces.zoo.nb201 import NB201

sys.path.insert(0, str(Path(__file__).parent / "nni_project"))
nni = pytest.mark.nni
IMAGE = torch.zeros(1, 3, 32, 32)


def hub() -> Any:
    from netloom.spaces.nni_choices import nni as module

    return module("nni.nas.hub.pytorch")


def own(**arguments: Any) -> NniSpace:
    from netloom.spaces.nni_choices import nni as module

    module("nni.nas.nn.pytorch")
    from nni_nets import Everything

    return from_nni(Everything, torch.zeros(1, 3, 8, 8), **arguments)


def params(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@nni
class TestEverything(SpaceContract):
    every_parameter_learns = False  # an input that is not chosen has no gradient

    def make(self) -> Space:
        return own()

    def reduced(self) -> Space:
        return own(bound=4)

    def other_options(self) -> Space:
        return own(width=8)


# ---------------------------------------------------------------- NNI's hub
SMALL = {  # class -> arguments, side of the input
    "MobileNetV3Space": ({}, 32),
    "ProxylessNAS": ({}, 32),
    "ShuffleNetSpace": ({}, 32),
    "AutoFormer": ({}, 224),
    "NasBench201": ({"stem_out_channels": 4, "num_modules_per_stack": 1}, 32),
    "DARTS": ({"width": 8, "num_cells": 3}, 32),
}


@nni
@pytest.mark.parametrize("name", SMALL)
def test_spaces_of_the_hub_are_drawn_built_and_traced(name: str) -> None:
    arguments, side = SMALL[name]
    space = from_nni(getattr(hub(), name), torch.zeros(2, 3, side, side), **arguments)
    assert space.name == name
    assert space.size == math.prod(len(d.options) for d in space.decisions)
    a = space.sample(Random(1))
    assert space.parse(space.format(a)) == a
    network = space.build(a)
    out = network.eval()(space.example_input(a))
    assert (out[0] if isinstance(out, tuple) else out).shape[0] == 1
    assert Complexity(space).evaluate(a)["params"] == params(network)


REFERENCES = [
    ("DARTS", "darts-v2", 3_349_342),
    ("MobileNetV3Space", "mobilenetv3-large-100", 5_483_032),
    ("ProxylessNAS", "acenas-m1", 4_093_864),
    ("AutoFormer", "autoformer-tiny", 5_867_944),
]


@nni
@pytest.mark.parametrize(("name", "searched", "count"), REFERENCES)
def test_searched_networks_have_the_parameters_that_nni_publishes(
    name: str, searched: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cls = getattr(hub(), name)
    # what NNI would freeze, instead of the frozen network
    monkeypatch.setattr(cls, "frozen_factory", lambda sample: lambda **given: (sample, given))
    sample, given = cls.load_searched_model(searched, pretrained=False)
    space = from_nni(cls, **given)
    constant = sample.keys() - {choice.label for choice in space._choices}
    assert constant <= {"s7_depth"}  # a depth that is no choice
    sample = {label: value for label, value in sample.items() if label not in constant}
    a = space.parse(sample)
    assert params(space.build(a)) == count
    read = space._sample_of(a)
    assert {label: read[label] for label in sample} == sample


@nni
def test_nb201_is_the_same_space_as_ours() -> None:
    theirs, ours = from_nni(hub().NasBench201, IMAGE), NB201()
    names = {"conv_1x1": "nor_conv_1x1", "conv_3x3": "nor_conv_3x3"}
    assert theirs.size == ours.size == 15_625
    for seed in range(4):
        a = theirs.sample(Random(seed))
        cell = {
            f"node{node}.from{source}": names.get(op, op)
            for label, op in a.items()
            for source, node in [map(int, str(label).removeprefix("cell/").split("_"))]
        }
        assert params(theirs.build(a)) == params(ours.build(ours.architecture(cell)))


@nni
def test_training_a_network_leaves_the_space_alone() -> None:
    cls = hub().NasBench201
    module = cls(stem_out_channels=4, num_modules_per_stack=1)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    space = from_nni(module, IMAGE)
    network = space.build(space.parse({d.name: "conv_3x3" for d in space.decisions}))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        network(torch.randn(2, 3, 32, 32)).square().sum().backward()
        optimizer.step()
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    again = space.build(space.parse({d.name: "conv_3x3" for d in space.decisions}))
    shared = {p.data_ptr() for p in network.parameters()} & {
        p.data_ptr() for p in (*again.parameters(), *module.parameters())
    }
    assert not shared


@nni
def test_the_seed_decides_the_weights() -> None:
    space = own()
    a = space.sample(Random(0))
    states = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        states.append(torch.cat([p.flatten() for p in space.build(a).parameters()]))
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


# ---------------------------------------------------------------- constraints
@nni
def test_draws_of_nb101_keep_its_constraint() -> None:
    space = from_nni(
        hub().NasBench101, IMAGE, stem_out_channels=8, num_stacks=1, num_modules_per_stack=1
    )
    rate = space.acceptance(200)
    assert 0.2 < rate < 0.9  # NNI's own draws broke it in 92 of 200
    assert f"keep {100 * rate:.0f} % of 200 draws" in space.rule
    drawn = [space.sample(Random(seed)) for seed in range(200)]
    assert all(space.architecture(a) == a for a in drawn)
    assert len({a.key for a in drawn}) == 200
    loose = [super(NniSpace, space).sample(Random(seed), "decisions") for seed in range(200)]
    assert sum(space._broken(a) is None for a in loose) == sum(
        a == b for a, b in zip(drawn, loose, strict=True)
    )
    rng = Random(5)
    for a in drawn[:20]:
        mutant = space.mutate(a, rng)
        assert mutant != a
        assert space._broken(mutant) is None
        assert space._broken(space.crossover(a, drawn[-1], rng)) is None
    broken = next(a for a in loose if space._broken(a) is not None)
    assert space._broken(space.nearest(broken)) is None
    with pytest.raises(InvalidArchitecture, match="a constraint of NNI forbids this"):
        space.architecture(broken)


@nni
def test_a_small_space_with_a_constraint_is_counted_exactly() -> None:
    space = own(bound=4)  # kernel + depth <= 4: (1, 1), (1, 2), (1, 3), (3, 1)
    free = 2 * 15 * 2 * 8 * 3
    assert space.counts() == {"architectures": 4 * free, "combinations": 9 * free}
    assert f"keep {4 * free:,} of {9 * free:,} combinations" in space.rule
    pairs = Counter((a["kernel"], a["depth"]) for a in space.enumerate())
    assert pairs == {(1, 1): free, (1, 2): free, (1, 3): free, (3, 1): free}


@nni
def test_hopeless_constraints_end_in_an_error() -> None:
    own()
    from nni_nets import Hopeless

    with pytest.raises(SpecError, match="one of 50 draws must keep NNI's constraints, got none"):
        from_nni(Hopeless, tries=50).sample(Random(0))


# ---------------------------------------------------------------- kinds of choices
@nni
def test_every_kind_of_choice_is_a_decision() -> None:
    space = own()
    found = {d.name: (d.options, d.ordered) for d in space.decisions}
    assert found["kernel"] == ((1, 3, 5), True)
    assert found["op"] == ((0, 1), False)  # they name layers
    assert found["depth"] == ((1, 2, 3), True)
    assert found["one"] == ((0, 1), False)
    assert found["two"] == (("[0,1]", "[0,2]", "[1,2]"), False)
    assert {f"any/{i}" for i in range(3)} <= found.keys()
    rates, ordered = found["rate"]
    assert (len(rates), rates[7], ordered) == (15, 0.25, True)
    assert space.size == 3 * 2 * 3 * 15 * 2 * 8 * 3
    sample = {
        "kernel": 5,
        "op": 1,
        "depth": 2,
        "rate": 0.3,
        "one": [1],
        "any": [2, 0],
        "two": [2, 0],
    }
    a = space.parse(sample)
    assert (a["rate"], a["one"], a["two"]) == (0.3, 1, "[0,2]")
    assert [a[f"any/{i}"] for i in range(3)] == [True, False, True]
    assert space._sample_of(a) == {**sample, "any": [0, 2], "two": [0, 2]}
    for label, wrong in (("rate", 0.6), ("op", 2), ("any", [3]), ("two", [0]), ("one", [0, 1])):
        with pytest.raises(InvalidArchitecture, match=label):
            space.parse({**sample, label: wrong})


@nni
def test_labels_that_are_not_read_may_be_left_out() -> None:
    space = from_nni(hub().ProxylessNAS, IMAGE)
    every = space._sample_of(space.sample(Random(2))) | {"s2_depth": 1}
    unread = {k: v for k, v in every.items() if k != "s2_i3"}
    first = next(d.options[0] for d in space.decisions if d.name == "s2_i3")
    assert space.parse(unread) == space.parse({**unread, "s2_i3": first})
    read = {k: v for k, v in every.items() if k != "s2_i0"}
    with pytest.raises(InvalidArchitecture, match="missing: s2_i0"):
        space.parse(read)


@nni
def test_it_travels_to_workers_and_knows_its_arguments() -> None:
    space = own(width=6)
    again = pickle.loads(pickle.dumps(space))
    assert again.fingerprint == space.fingerprint
    assert space.options == {"width": 6}
    made = from_nni(space._class(width=6), torch.zeros(1, 3, 8, 8))
    assert made.decisions == space.decisions


@nni
@pytest.mark.parametrize("wrong", [torch.nn.Linear(1, 1), torch.nn.Linear, "nni", 3])
def test_what_is_no_model_space_is_refused(wrong: Any) -> None:
    with pytest.raises(SpecError, match=r"takes a nni\.nas ModelSpace or its class"):
        from_nni(wrong)


def test_without_nni_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nni.nas.nn.pytorch", None)
    with pytest.raises(MissingDependency, match=r"pip install 'netloom\[nni\]'"):
        from_nni(torch.nn.Linear)


def test_nothing_else_imports_nni() -> None:
    code = (
        "import sys, netloom.spaces as s, netloom.search; s.from_nni;"
        "assert not [m for m in sys.modules if m.partition('.')[0] == 'nni']"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
