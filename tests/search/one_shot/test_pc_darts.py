"""PC-DARTS: part of the channels, logits of edges, warm-up."""

from __future__ import annotations

import pytest
import torch

from netloom.errors import SpecError
from netloom.search.one_shot.partial import PartialTrainer
from netloom.search.run.capabilities import pairing_problem
from netloom.search.strategies.darts import Darts
from netloom.search.strategies.pc_darts import PcDarts
from netloom.spaces import SPACES

from .stripes import check_resuming, make_context, same


def trainer(context, **options):
    options = {"epochs": 2, "batch_size": 8, "warmup_epochs": 0, "partial": 2, **options}
    return PartialTrainer(PcDarts(**options), context, 7, "search")


def test_defaults_are_those_of_the_paper():
    found = PcDarts()
    assert (found.partial, found.batch_size, found.lr, found.lr_min) == (4, 256, 0.1, 0.0)
    assert (found.arch_lr, found.warmup_epochs, found.epochs, found.order) == (6e-4, 15, 50, 1)


def test_edges_have_logits_that_learn_after_the_warm_up():
    search = trainer(make_context(), warmup_epochs=1)
    assert {n: len(r) for n, r in zip(search.edges.options, search.edges.rows, strict=True)} == {
        "node1": 1,
        "node2": 2,
        "node3": 3,
    }
    before = [r.detach().clone() for r in search.edges.rows]
    for _ in range(search.halves.steps):
        search._take_step()
    assert same(before, list(search.edges.rows))
    search._take_step()
    changed = [not torch.equal(r, b) for r, b in zip(search.edges.rows, before, strict=True)]
    assert changed[1:] == [True, True]


def test_edge_normalisation_can_be_left_out():
    search = trainer(make_context(), edge_normalization=False)
    assert search.edges is None
    search._take_step()


def test_uniform_edges_divide_each_node_by_its_inputs():
    search = trainer(make_context())
    with torch.no_grad():
        for row in search.edges.rows:
            row.zero_()
    x = torch.randn(4, 1, 8, 8)
    cell = search.supernet.module.layers[0]
    y = torch.randn(4, 4, 8, 8)
    search.mix()
    weighed = cell.sums[2](y, y, y)
    torch.testing.assert_close(weighed, y)
    search.supernet.mix(dict.fromkeys(search.supernet.junctions))
    torch.testing.assert_close(cell.sums[2](y, y, y), 3 * y)
    assert search.supernet(x).shape == (4, 2)


def test_derivation_multiplies_both_softmaxes():
    context = make_context("darts", preset="tiny")
    search = trainer(context)
    [first, *_] = [n for n in search.edges.options if n.endswith("node4")]
    edges = context.space.edges[first]
    with torch.no_grad():
        for name, row in zip(search.edges.options, search.edges.rows, strict=True):
            if name == first:
                row[:] = torch.tensor([0.0, 2.0, 0.0, 2.0])
    kept = context.space.kept_edges(search.derived())
    assert {e for e in kept if e in edges} == {edges[1], edges[3]}


def test_it_trains_fewer_channels_than_darts():
    context = make_context()
    part, whole = trainer(context), Darts(epochs=1).trainer(context, 7, "search")
    cells = [sum(p.numel() for p in t.supernet.module.layers.parameters()) for t in (part, whole)]
    assert cells[0] < cells[1]


def test_a_stopped_search_goes_on_bit_for_bit():
    check_resuming(trainer, stop=3)


def test_it_proposes_what_it_derived():
    context = make_context()
    strategy = PcDarts(epochs=1, batch_size=8, warmup_epochs=0, partial=4)
    strategy.prepare(context)
    [candidate] = strategy.ask(5)
    assert candidate.tags == {"search": 0, "epoch": 1}


def test_channels_must_divide():
    with pytest.raises(SpecError, match=r"divide by partial=3, got 4"):
        trainer(make_context(), partial=3)
    with pytest.raises(SpecError, match=r"divide by partial=3"):
        trainer(make_context("darts", preset="tiny"), partial=3)


def test_a_space_without_partial_channels_is_refused():
    reason = pairing_problem(PcDarts, SPACES.get("mobilenet")(preset="tiny"))
    assert "pc_darts needs" in reason
    assert "part of the channels" in reason
    assert pairing_problem(PcDarts, SPACES.get("nb201")()) == ""
