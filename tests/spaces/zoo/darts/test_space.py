"""The DARTS space: genotypes, counts, decisions, what is refused."""

from __future__ import annotations

import json
from itertools import permutations, product
from math import prod
from random import Random
from typing import Any

import pytest
import torch

from netloom.errors import InvalidArchitecture, SpecError
from netloom.options import build
from netloom.spaces import SPACES, Architecture, DecisionSpace
from netloom.spaces.layers import derive_decisions
from netloom.spaces.networks.darts.network import finished_network
from netloom.spaces.networks.darts.plan import plan
from netloom.spaces.testing import SpaceContract
from netloom.spaces.zoo.darts import Darts
from netloom.spaces.zoo.darts.operations import DARTS

V2 = {  # as the sheet of the paper's repository has it
    "normal": [
        ["sep_conv_3x3", 0],
        ["sep_conv_3x3", 1],
        ["sep_conv_3x3", 0],
        ["sep_conv_3x3", 1],
        ["sep_conv_3x3", 1],
        ["skip_connect", 0],
        ["skip_connect", 0],
        ["dil_conv_3x3", 2],
    ],
    "normal_concat": [2, 3, 4, 5],
    "reduce": [
        ["max_pool_3x3", 0],
        ["max_pool_3x3", 1],
        ["skip_connect", 2],
        ["max_pool_3x3", 1],
        ["max_pool_3x3", 0],
        ["skip_connect", 2],
        ["skip_connect", 2],
        ["max_pool_3x3", 1],
    ],
    "reduce_concat": [2, 3, 4, 5],
}
NASNET = (
    "Genotype(normal=[('sep_conv_5x5', 1), ('sep_conv_3x3', 0), ('sep_conv_5x5', 0), "
    "('sep_conv_3x3', 0), ('avg_pool_3x3', 1), ('skip_connect', 0), ('avg_pool_3x3', 0), "
    "('avg_pool_3x3', 0), ('sep_conv_3x3', 1), ('skip_connect', 1)], normal_concat=range(2, 7), "
    "reduce=[('sep_conv_5x5', 1), ('sep_conv_7x7', 0), ('max_pool_3x3', 1), ('sep_conv_7x7', 0), "
    "('avg_pool_3x3', 1), ('sep_conv_5x5', 0), ('skip_connect', 3), ('avg_pool_3x3', 2), "
    "('sep_conv_3x3', 2), ('max_pool_3x3', 1)], reduce_concat=[4, 5, 6])"
)
SMALL = {"preset": "tiny", "steps": 2, "multiplier": 2, "operations": ["none", *DARTS[3:5]]}


class TestDarts(SpaceContract):
    def make(self) -> DecisionSpace:
        return Darts(preset="tiny", resolution=8, in_channels=1)

    def reduced(self) -> DecisionSpace:
        return Darts(**SMALL)

    def other_options(self) -> DecisionSpace:
        return Darts(preset="tiny", resolution=8, in_channels=1, operations="S2")

    def standing_alone(self, architecture: Architecture) -> Any:
        """The search network has no scales and shifts in its norms, and norms behind its pools."""
        return in_search_style(Darts(preset="tiny", resolution=8, in_channels=1), architecture)


class TestStressSpace(SpaceContract):
    draws = 15
    networks = 2

    def make(self) -> DecisionSpace:
        return Darts(preset="tiny", skeleton="imagenet", resolution=33, operations="S1")

    def standing_alone(self, architecture: Architecture) -> Any:
        return in_search_style(self.make(), architecture)  # type: ignore[arg-type]


def in_search_style(space: Darts, a: Architecture) -> torch.nn.Module:
    o = space.options
    image = (o["in_channels"], o["classes"], o["resolution"])
    cells = {kind: (cell.nodes, cell.concat) for kind, cell in space.cells(a).items()}
    nodes = {kind: len(concat) for kind, (_, concat) in cells.items()}
    small = plan(o["skeleton"], 12, 4, 3, nodes, image)
    return finished_network(small, cells, search=True)


# ---------------------------------------------------------------- counts
def test_the_size_is_that_of_the_paper() -> None:
    space = Darts()
    assert space.size == (180 * 7**8) ** 2
    assert space.counts() == {
        "architectures": 1_076_746_950_455_072_400,
        "normal cells": 1_037_664_180,
        "reduce cells": 1_037_664_180,
        "edges": 14,
    }
    assert len(space.encoding) == 2 * (1 + 3 + 6 + 10 + 14 * 7)


@pytest.mark.parametrize("name", ["S1", "S2", "S3", "S4"])
def test_the_stress_spaces_have_two_operations_per_edge(name: str) -> None:
    space = Darts(operations=name)
    assert space.size == (180 * 2**8) ** 2
    options = {len(d.options) for d in space.decisions if ".from" in d.name}
    assert options == {2}
    searched = {len(operations) for operations in space.operations.values()}
    assert searched == ({3} if name == "S3" else {2})
    assert {"S2", "S3"} >= {name} or space.operations != Darts(operations="S2").operations


def test_the_edges_of_the_stress_spaces() -> None:
    same = {
        "S2": ("skip_connect", "sep_conv_3x3"),
        "S3": ("none", "skip_connect", "sep_conv_3x3"),
        "S4": ("noise", "sep_conv_3x3"),
    }
    for name, operations in same.items():
        assert set(Darts(operations=name).operations.values()) == {operations}
    first = Darts(operations="S1").operations
    assert first["normal.node2.from0"] == ("skip_connect", "dil_conv_3x3")
    assert first["normal.node3.from2"] == ("skip_connect", "dil_conv_3x3")
    assert first["normal.node4.from0"] == ("max_pool_3x3", "skip_connect")
    assert first["normal.node5.from4"] == ("dil_conv_3x3", "dil_conv_5x5")
    assert first["reduce.node2.from1"] == ("max_pool_3x3", "dil_conv_3x3")
    assert first["reduce.node4.from1"] == ("max_pool_3x3", "sep_conv_3x3")
    assert first["reduce.node5.from1"] == ("max_pool_3x3", "avg_pool_3x3")
    assert first["reduce.node5.from4"] == ("skip_connect", "dil_conv_5x5")
    kinds = [sorted(v for k, v in first.items() if k.startswith(kind)) for kind in ("n", "r")]
    assert [len(k) for k in kinds] == [14, 14]
    assert [sum("skip_connect" in pair for pair in k) for k in kinds] == [12, 6]


def test_sizes_of_other_cells() -> None:
    rng = Random(0)
    for _ in range(20):
        steps = rng.randint(1, 5)
        operations = rng.sample(DARTS, rng.randint(1, 8))
        n = len(set(operations) - {"none"})
        if not n:
            continue
        space = Darts(steps=steps, multiplier=rng.randint(1, steps), operations=operations)
        cells = prod(i * (i - 1) // 2 * n * n for i in range(2, 2 + steps))
        assert space.size == cells**2


# ---------------------------------------------------------------- notation
def test_published_genotypes_are_read_in_every_form() -> None:
    space = Darts()
    named = space.parse("DARTS_V2")
    assert space.parse(V2) == space.parse(json.dumps(V2)) == named
    assert json.loads(space.format(named))["normal_concat"] == [2, 3, 4, 5]
    turned = {k: [v[i ^ 1] for i in range(8)] if len(v) == 8 else v for k, v in V2.items()}
    assert space.parse(turned) == named  # the pairs of a node have no order
    floats = {**V2, "reduce_concat": [2.0, 3, 4, 5]}
    assert space.parse(floats) == named
    assert space.parse(NASNET) == space.parse("NASNet")
    assert space.parse(f"  {NASNET}  ") == space.parse("NASNet")
    assert {"DARTS_V1", "PC_DARTS_cifar", "PC_DARTS_image", "AmoebaNet", "PDARTS"} <= set(
        space.published()
    )
    assert space.kept_edges(named)["normal.node5.from2"] == "dil_conv_3x3"
    assert "normal.node5.from3" not in named


def test_genotypes_print_in_the_order_of_their_inputs() -> None:
    space = Darts()
    genotype = json.loads(space.format(space.parse("DARTS_V2")))
    assert list(genotype) == ["normal", "normal_concat", "reduce", "reduce_concat"]
    assert genotype["normal"][4:] == [
        ["skip_connect", 0],
        ["sep_conv_3x3", 1],
        ["skip_connect", 0],
        ["dil_conv_3x3", 2],
    ]


def test_cells_of_another_form_are_one_decision() -> None:
    space = Darts(preset="tiny")
    nasnet, amoeba = space.parse("NASNet"), space.parse("AmoebaNet")
    assert set(nasnet) == {"normal.cell", "reduce.cell"}
    assert space.architecture(dict(nasnet)) == nasnet
    mixed = space.parse({**V2, **{k: v for k, v in _genotype(nasnet).items() if "reduce" in k}})
    assert mixed["normal.node2.from0"] == "sep_conv_3x3"
    assert mixed["reduce.cell"] == nasnet["reduce.cell"]
    assert space.mutate(nasnet, Random(0)) != nasnet
    child = space.crossover(nasnet, amoeba, Random(1))
    assert child["normal.cell"] in (nasnet["normal.cell"], amoeba["normal.cell"])
    assert [n["normal.cell"] for n in space.neighbors(nasnet)] == [
        "searched",
        nasnet["normal.cell"],
    ]
    small = Darts(preset="tiny", operations="S2")
    v2 = small.parse("DARTS_V2")
    assert v2["normal.cell"] != "searched"
    assert json.loads(small.format(v2)) == _genotype(space.parse("DARTS_V2"))


def test_a_cell_has_one_spelling() -> None:
    space = Darts(preset="tiny")
    a = space.parse("DARTS_V2")
    cell = space.cells(a)["normal"].to_json()
    with pytest.raises(InvalidArchitecture, match=r"normal\.cell must be one of \"searched\""):
        space.architecture({**a, "normal.cell": cell})
    text = space.parse("NASNet")["normal.cell"]
    assert isinstance(text, str)
    for other in (text.replace(",", ", "), text.replace("sep_conv_5x5", "sep_conv_9x9"), "{}", "["):
        with pytest.raises(InvalidArchitecture, match=r"normal\.cell"):
            space.architecture({**a, "normal.cell": other})


def _genotype(a: Architecture) -> dict[str, Any]:
    return json.loads(Darts().format(a))  # type: ignore[no-any-return]


# ---------------------------------------------------------------- edges
def test_edges_have_names_in_the_order_of_the_logits() -> None:
    space = Darts(preset="tiny")
    names = [name for node in space.edges.values() for name in node]
    assert names == list(space.operations)
    assert names[:5] == [
        "normal.node2.from0",
        "normal.node2.from1",
        "normal.node3.from0",
        "normal.node3.from1",
        "normal.node3.from2",
    ]
    assert [len(edges) for edges in space.edges.values()] == [2, 3, 4, 5] * 2
    assert set(space.operations.values()) == {DARTS}


def test_architectures_and_edges() -> None:
    space, rng = Darts(preset="tiny"), Random(4)
    for _ in range(20):
        a = space.sample(rng)
        kept = space.kept_edges(a)
        assert len(kept) == 16
        assert space.from_edges(kept) == a
        filled = dict.fromkeys(space.operations, "none") | kept
        assert space.from_edges(filled) == a
    with pytest.raises(
        InvalidArchitecture, match=r"normal\.node4 must keep two of its edges.*got 1"
    ):
        space.from_edges({k: v for k, v in kept.items() if k != _one(kept, "normal.node4")})
    with pytest.raises(InvalidArchitecture, match=r"did you mean normal\.node2\.from0"):
        space.from_edges({**kept, "normal.node2.form0": "skip_connect"})
    with pytest.raises(InvalidArchitecture, match=r"normal\.cell must be searched"):
        space.kept_edges(space.parse("NASNet"))


def _one(kept: dict[str, str], node: str) -> str:
    return next(name for name in kept if name.startswith(node))


def test_nodes_keep_two_inputs_and_no_zero_operation() -> None:
    space, rng = Darts(), Random(6)
    for _ in range(100):
        for cell in space.cells(space.sample(rng)).values():
            for number, node in enumerate(cell.nodes, start=2):
                assert len({source for _, source in node}) == 2
                assert all(source < number and name != "none" for name, source in node)


def test_the_choices_of_the_search_network_are_the_decisions() -> None:
    space = Darts(**SMALL)
    derived = {d.name: d for d in derive_decisions(space.supernet().module)}
    own = {d.name: d for d in space.decisions}
    assert derived.keys() == own.keys()
    for name, decision in own.items():
        options = tuple(o for o in derived[name].options if o != "none")
        assert options == decision.options


# ---------------------------------------------------------------- equal networks
def test_nodes_that_trade_places_make_the_same_network() -> None:
    space = Darts(**SMALL)
    classes: dict[str, set[str]] = {}
    for a in space.enumerate():
        classes.setdefault(space.canonical(a), set()).add(_first_of_all_orders(space, a))
    assert all(len(found) == 1 for found in classes.values())
    assert len(classes) == len({next(iter(found)) for found in classes.values()})
    # a cell is one of two where neither node reads the other and they differ
    apart = list(product(product(range(2), repeat=2), repeat=2))
    alike = sum(a == b for a, b in apart)
    one_cell = 48 - (len(apart) - alike) // 2
    assert len(classes) == one_cell**2


def _first_of_all_orders(space: Darts, a: Architecture) -> str:
    """Return the smallest spelling of the cells over all orders of their nodes."""
    texts = []
    for cell in space.cells(a).values():
        orders = []
        for order in permutations(range(2, 2 + len(cell.nodes))):
            place = {0: 0, 1: 1} | {old: new for new, old in enumerate(order, start=2)}
            nodes = [sorted((place[j], name) for name, j in cell.nodes[old - 2]) for old in order]
            if all(j < new for new, node in enumerate(nodes, start=2) for j, _ in node):
                orders.append(str((nodes, sorted(place[n] for n in cell.concat))))
        texts.append(min(orders))
    return " ".join(texts)


def test_canonical_cells_of_four_nodes() -> None:
    space, rng = Darts(preset="tiny", multiplier=3, operations="S2"), Random(5)
    drawn = [space.sample(rng) for _ in range(300)]
    pairs = {(space.canonical(a), _first_of_all_orders(space, a)) for a in drawn}
    assert len(pairs) == len({c for c, _ in pairs}) == len({o for _, o in pairs})
    twins = {"normal": [["skip_connect", 0], ["skip_connect", 1]] * 12}
    many = {**V2, **twins, "normal_concat": list(range(2, 14))}
    assert space.canonical(space.parse(many))  # in no time, although 12! orders exist


# ---------------------------------------------------------------- what is refused
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"normal": V2["normal"][:7]}, r"normal must list two \[operation, input\] pairs.* of 7"),
        ({"normal": []}, "normal must list two"),
        ({"normal": "sep_conv_3x3"}, "normal must list two"),
        ({"reduce": [["sep_conv_3x3", 0]] * 6}, r"reduce_concat must list nodes .* 2 to 4"),
        ({"reduce": [["sep_conv_3x4", 0]] * 8}, r"reduce, node 2: unknown .*mean sep_conv_3x3"),
        ({"reduce": [["none", 0]] * 8}, "reduce, node 2: none is an operation of search"),
        ({"normal": [["skip_connect", 2]] * 8}, "normal, node 2 reads the states 0 to 1.*got 2"),
        ({"normal": [["skip_connect", "0"]] * 8}, "normal, node 2 reads the states 0 to 1"),
        ({"normal": [["skip_connect", True]] * 8}, "normal, node 2 reads the states 0 to 1"),
        ({"normal": [["skip_connect"]] * 8}, "normal, node 2 must list"),
        ({"normal_concat": [2, 2]}, "normal_concat must list nodes of the cell, 2 to 5"),
        ({"normal_concat": [0, 5]}, "normal_concat must list nodes of the cell, 2 to 5"),
        ({"normal_concat": 4}, "normal_concat must list nodes"),
        ({"normal_concatt": [2]}, "no key 'normal_concatt'; did you mean normal_concat"),
    ],
)
def test_broken_genotypes_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArchitecture, match=message):
        Darts().parse({**V2, **change})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"normal": V2["normal"]}, "missing: normal_concat, reduce, reduce_concat"),
        ("DARTS_V3", "did you mean DARTS_V"),
        ("Genotype(V2)", "written as"),
        ("Genotype(normal=open('x'))", "written as"),
        ("Genotype(normal=[], reduce=range(1000000000))", "written as"),
        ('{"normal": 1, "normal": 2}', "must not repeat a key"),
        ({"normal.node2.from0": "sep_conv_3x3"}, "missing: normal.cell"),
        (["sep_conv_3x3"], "written as"),
    ],
)
def test_what_is_no_genotype_is_refused(value: Any, message: str) -> None:
    with pytest.raises(InvalidArchitecture, match=message):
        Darts().parse(value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "huge"}, "preset must be one of full, tiny"),
        ({"channels": 35}, "channels must be even"),
        ({"channels": 0}, "channels must be an integer of at least 1"),
        ({"steps": 3}, "multiplier must be at most steps, 3; got 4"),
        ({"steps": 3, "multiplier": 3, "operations": "S1"}, "S1 lists the edges of 4 nodes"),
        ({"operations": "S5"}, "operations must be one of S1, S2, S3, S4, darts, or a list"),
        ({"operations": ["sep_conv_3x3", "sep_conv_3x3"]}, "operations must differ"),
        ({"operations": ["none"]}, "at least one besides none"),
        ({"operations": ["sep_conv_4x4"]}, "unknown operation 'sep_conv_4x4'; did you mean"),
        ({"skeleton": "cifer"}, "skeleton"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        build(SPACES.get("netloom.spaces.zoo.darts:Darts"), options, where="space")
    with pytest.raises(SpecError, match=message):
        Darts(**options)


def test_options_left_out_are_those_of_the_skeleton() -> None:
    assert {k: Darts().options[k] for k in ("channels", "layers", "classes", "resolution")} == {
        "channels": 36,
        "layers": 20,
        "classes": 10,
        "resolution": 32,
    }
    large = Darts(skeleton="imagenet", classes=7).options
    assert (large["channels"], large["layers"], large["classes"]) == (48, 14, 7)
    assert large["resolution"] == 224
    tiny = Darts(preset="tiny", skeleton="imagenet").options
    assert (tiny["channels"], tiny["layers"], tiny["resolution"]) == (4, 3, 16)
    assert Darts().fingerprint == Darts(channels=36, preset="full").fingerprint
