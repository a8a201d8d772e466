"""From logits to architectures."""

from __future__ import annotations

import math

import pytest
import torch

from netloom.errors import SpecError
from netloom.search.one_shot.derivation import derive
from netloom.search.one_shot.logits import Logits
from netloom.spaces import SPACES


@pytest.fixture(scope="module")
def cells():
    return SPACES.get("darts")(preset="tiny")


def weights_of(space, logits):
    """Return softmax rows; `logits`: edge -> {operation: logit}, all others 0."""
    rows = {}
    for edge, names in space.operations.items():
        row = torch.zeros(len(names))
        for name, value in logits.get(edge, {}).items():
            row[names.index(name)] = value
        rows[edge] = torch.softmax(row, 0)
    return rows


def test_edges_compete_by_weights_after_the_softmax_with_none(cells):
    """The sheet's example: raw logits would keep the first edge, whose none is heavy."""
    a, b, c = cells.edges["normal.node3"]
    rows = weights_of(
        cells, {a: {"none": 4, "sep_conv_3x3": 2}, b: {"skip_connect": 1}, c: {"max_pool_3x3": 0.5}}
    )
    strengths = [float(rows[e][1:].max()) for e in (a, b, c)]
    assert strengths == pytest.approx([0.109, 0.280, 0.191], abs=1e-3)
    found = cells.kept_edges(derive(cells, cells.operations, rows))
    assert {e: o for e, o in found.items() if e in (a, b, c)} == {
        b: "skip_connect",
        c: "max_pool_3x3",
    }


def test_ties_go_to_the_first_and_none_is_never_derived(cells):
    found = cells.kept_edges(derive(cells, cells.operations, weights_of(cells, {})))
    first = {edge for edges in cells.edges.values() for edge in edges[:2]}
    assert set(found) == first
    assert set(found.values()) == {"max_pool_3x3"}
    only_none = {edge: {"none": 20.0} for edge in cells.operations}
    found = cells.kept_edges(derive(cells, cells.operations, weights_of(cells, only_none)))
    assert "none" not in found.values()


def test_edge_normalisation_multiplies_the_strengths(cells):
    rows = weights_of(cells, {})
    nodes = {n: torch.arange(1.0, len(e) + 1).softmax(0) for n, e in cells.edges.items()}
    found = cells.kept_edges(derive(cells, cells.operations, rows, nodes=nodes))
    assert set(found) == {edge for edges in cells.edges.values() for edge in edges[-2:]}


def test_masked_edges_do_not_win_by_having_fewer_options(cells):
    a, b, c = cells.edges["normal.node3"]
    options = cells.operations
    allowed = {a: options[a][1:4]}  # three of eight: weights of 1/3 where others have 1/8
    logits = Logits(options, allowed=allowed)
    with torch.no_grad():
        for name, row in zip(options, logits.rows, strict=True):
            if name in (b, c):
                row[4] = 0.2
    rows = {name: row.detach() for name, row in logits.weights().items()}
    assert float(rows[a].max()) > float(rows[b].max())
    assert a in cells.kept_edges(derive(cells, options, rows))
    assert a not in cells.kept_edges(derive(cells, options, rows, left=logits.left()))


def test_where_every_edge_is_a_decision_the_heaviest_option_is_taken_none_included():
    space = SPACES.get("nb201")()
    names = [d.name for d in space.decisions]
    rows = {d.name: torch.zeros(5) for d in space.decisions}
    rows[names[0]][0] = 1.0
    rows[names[1]][3] = 1.0
    found = derive(space, {d.name: d.options for d in space.decisions}, rows)
    assert found[names[0]] == space.decisions[0].options[0] == "none"
    assert found[names[1]] == space.decisions[1].options[3]


def test_forbidden_options_have_no_weight_and_no_gradient():
    logits = Logits({"a": ("x", "y", "z")}, allowed={"a": ("x", "z")})
    row = logits.weights()["a"]
    assert row.tolist() == [0.5, 0.0, 0.5]
    (row * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert logits.rows[0].grad[1] == 0.0
    assert logits.left() == {"a": 2}
    assert logits.entropy() == pytest.approx(math.log(2))
    with pytest.raises(SpecError, match="at least one of"):
        Logits({"a": ("x",)}, allowed={"a": ()})


def test_logits_are_saved_and_belong_to_one_search():
    draws = torch.Generator().manual_seed(1)
    logits = Logits({"a.b": ("x", "y"), "c": (1, 2, 3)}, generator=draws)
    assert 0 < float(logits.rows[1].detach().abs().max()) < 5e-3
    other = Logits(logits.options)
    other.load_state_dict(logits.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(logits.rows, other.rows, strict=True))
    with pytest.raises(SpecError, match="another search"):
        Logits({"a.b": ("x", "z"), "c": (1, 2, 3)}).load_state_dict(logits.state_dict())
