"""NAS-Bench-Macro: sizes of the benchmark, different networks, the super-network."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import nn

from netloom.errors import InvalidArchitecture, SpecError
from netloom.estimators import Tabular
from netloom.estimators.tables import load_table
from netloom.spaces import DecisionSpace
from netloom.spaces.layers import OneOf
from netloom.spaces.testing import SpaceContract
from netloom.spaces.zoo.nas_bench_macro import NasBenchMacro

from .conftest import (
    Costs,
    assert_extraction_is_exact,
    assert_parameters_are_those_read,
    traced,
)


class TestNasBenchMacro(SpaceContract):
    def make(self) -> DecisionSpace:
        return NasBenchMacro(preset="tiny", resolution=8, in_channels=1)

    def other_options(self) -> DecisionSpace:
        return NasBenchMacro(preset="tiny", resolution=12, in_channels=1)


def macro_rows() -> Iterator[tuple[str, int, int]]:
    yield "00000000", 387_882, 7_713_280
    yield "11111111", 1_588_874, 53_246_464
    yield "22222222", 2_932_586, 105_660_928
    yield "22212220", 1_985_514, 85_164_544
    yield "02012100", 890_666, 47_327_744
    yield "11111221", 2_181_386, 65_012_224
    yield "00011110", 1_118_378, 31_390_208


def test_macro_has_the_sizes_of_the_benchmark() -> None:
    space, costs = NasBenchMacro(), Costs()
    for text, params, macs in macro_rows():
        a = space.parse(text)
        assert costs.of(space.parts(a)) == (params, macs)
        assert sum(p.numel() for p in space.build(a).parameters()) == params


def test_macro_has_3969_networks() -> None:
    space, costs = NasBenchMacro(), Costs()
    classes: dict[str, set[tuple[str, ...]]] = {}
    for a in space.enumerate():
        keys = tuple(p.key for p in space.parts(a))
        classes.setdefault(space.canonical(a), set()).add(keys)
    assert len(classes) == 3969
    assert {len(keys) for keys in classes.values()} == {1}  # the same layers in the same order
    assert len({next(iter(keys)) for keys in classes.values()}) == 3969
    assert costs.of(space.parts(space.parse("00000000")))[0] == 387_882


def test_every_row_of_the_benchmark_has_its_size() -> None:
    space, costs, table = NasBenchMacro(), Costs(), load_table("nas_bench_macro")
    known = {
        arch: (params, macs)
        for arch, params, macs in zip(table["arch"], table["params"], table["flops"], strict=True)
    }
    assert len(known) == space.size == 6_561
    for a in space.enumerate():
        assert costs.of(space.parts(a)) == known[space.format(a)], space.format(a)


def test_equal_networks_have_equal_accuracies_in_the_benchmark() -> None:
    space, table = NasBenchMacro(), load_table("nas_bench_macro")
    runs = [name for name in table if name.startswith("acc")]
    rows = {arch: tuple(table[r][i] for r in runs) for i, arch in enumerate(table["arch"])}
    assert len(runs) == 3
    for a in space.enumerate():
        assert rows[space.format(a)] == rows[space.canonical(a)]


def test_macro_wants_text() -> None:
    with pytest.raises(InvalidArchitecture, match="quotes"):
        NasBenchMacro().parse(22212220)  # type: ignore[arg-type]


def test_counts_and_presets() -> None:
    assert NasBenchMacro().counts() == {"architectures": 3**8, "networks": 9 * 21 * 21}
    assert NasBenchMacro(preset="tiny").counts() == NasBenchMacro().counts()
    assert (
        NasBenchMacro().options == NasBenchMacro(channels=32, features=1280, resolution=32).options
    )
    assert Tabular(NasBenchMacro(preset="full")).table == "nas_bench_macro"
    with pytest.raises(SpecError, match="channels: 32, the space has channels: 4"):
        Tabular(NasBenchMacro(preset="tiny"))
    with pytest.raises(SpecError, match="preset must be one of full, tiny"):
        NasBenchMacro(preset="small")


# ---------------------------------------------------------------- super-network
def test_it_has_every_operation_of_every_layer() -> None:
    space = NasBenchMacro()
    supernet = space.supernet()
    layers = [m for m in supernet.modules() if isinstance(m, OneOf)]
    assert len(layers) == 8
    for operation in "012":
        a = space.parse(operation * 8)
        assert (
            traced(supernet.extract(a), space, a).params == traced(space.build(a), space, a).params
        )
    alone = [sum(p.numel() for p in space.build(space.parse(o * 8)).parameters()) for o in "012"]
    shared = sum(
        p.numel() for m in (supernet.module.stem, supernet.module.head) for p in m.parameters()
    )
    assert sum(p.numel() for p in supernet.parameters()) == sum(alone) - 2 * shared


def test_the_mixture_has_the_macs_of_all_operations() -> None:
    space = NasBenchMacro()
    supernet = space.supernet()
    supernet.mix({d.name: torch.full((3,), 1 / 3) for d in space.decisions})
    known = {row[0]: row[2] for row in macro_rows()}
    shared = 9 * 3 * 32 * 32 * 32 + 256 * 1280 * 4 * 4 + 1280 * 10
    whole = sum(known[operation * 8] for operation in "012") - 2 * shared
    assert traced(supernet, space, space.parse("0" * 8)).macs == whole


def test_extraction_is_exact() -> None:
    supernet = NasBenchMacro(preset="tiny", resolution=9).supernet()
    assert_extraction_is_exact(supernet, members=8)
    assert_parameters_are_those_read(supernet, members=8)


def test_an_identity_is_no_layer_but_where_a_stage_begins() -> None:
    space = NasBenchMacro(preset="tiny")
    a = space.parse("00000000")
    for network in (space.build(a), space.supernet().extract(a)):
        kinds = [type(layer).__name__ for layer in network.layers]
        stage = ["Downsample", "Identity", "Identity"]
        assert kinds == [*stage[:2], *stage, *stage]
        assert not any(isinstance(m, nn.ReLU) for m in network.layers.modules())
