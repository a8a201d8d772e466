"""What would be derived after each epoch, kept as a note."""

from __future__ import annotations

import pytest

from netloom.search.one_shot.bilevel import BilevelTrainer
from netloom.search.one_shot.genotypes import genotypes_note
from netloom.search.strategies.darts import Darts
from netloom.search.strategies.gm_fewshot import GmFewshot
from netloom.spaces import Architecture

from .stripes import make_context


def test_epochs_with_the_same_architecture_are_one_entry():
    space = make_context().space
    a, b = (space.at(i).to_json() for i in (5, 6))
    note = genotypes_note(space, [a, a, b, a], last=9, taken=7)
    assert [run["epochs"] for run in note["genotypes"]] == [[6, 7], [8, 8], [9, 9]]
    assert [run["notation"] for run in note["genotypes"]] == [
        space.format(space.at(i)) for i in (5, 6, 5)
    ]
    assert note["genotypes"][1]["architecture"] == dict(space.at(6))
    assert note["taken"] == 7


def latency(architecture):
    return {"latency_ms@toy": 1.0 + sum(o == "nor_conv_3x3" for o in architecture.values())}


def expanded(note):
    """Return epoch -> architecture."""
    return {
        epoch: Architecture(run["architecture"])
        for run in note["genotypes"]
        for epoch in range(run["epochs"][0], run["epochs"][1] + 1)
    }


def test_genotype_and_device_cost_of_every_epoch():
    context = make_context()
    context._costs = latency
    recipe = Darts(epochs=4, batch_size=8, arch_lr=0.3)
    recipe.context = context
    search = BilevelTrainer(recipe, context, 7, "search")
    search.run()
    assert context.kinds["search/genotypes"] == "genotypes"
    genotypes = expanded(context.notes["search/genotypes"])
    assert [a.to_json() for a in genotypes.values()] == search.epochs
    assert context.curves["search/latency_ms@toy"] == [
        (epoch, latency(a)["latency_ms@toy"]) for epoch, a in genotypes.items()
    ]


def test_a_resumed_search_ends_with_the_same_note():
    def run(context, stop):
        recipe = Darts(epochs=3, batch_size=8, arch_lr=0.3)
        recipe.context = context
        search = BilevelTrainer(recipe, context, 7, "search")
        if (state := context.restore("search")) is not None:
            search.load(state)
        context.stopping = lambda: search.done == stop
        return search.run()

    undisturbed, context = make_context(), make_context()
    assert run(undisturbed, None)
    assert not run(context, 4)
    assert run(context, None)
    assert context.notes == undisturbed.notes


def test_a_search_that_goes_back_says_to_which_epoch(monkeypatch):
    context = make_context()
    recipe = Darts(epochs=4, batch_size=8, arch_lr=0.3)
    recipe.context = context
    search = BilevelTrainer(recipe, context, 7, "search")
    monkeypatch.setattr(search, "stop_at", lambda: 0 if len(search.epochs) == 3 else None)
    search.run()
    note = context.notes["search/genotypes"]
    assert list(expanded(note)) == [1, 2, 3]
    assert note["taken"] == 1
    assert len(search.epochs) == 1


@pytest.mark.parametrize(("base", "known"), [("darts_1st", True), ("rsps", False)])
def test_the_nodes_of_a_tree(base, known):
    """Random paths have no logits, and so nothing is derived on the way."""
    context = make_context()
    context._costs = latency
    options = {"batch_size": 8, "match_batches": 1, "paths": 2, "calibration_batches": 1}
    GmFewshot(base=base, split_epochs=[1], epochs=2, restart="none", **options).prepare(context)
    assert context.kinds["search/tree"] == "split_tree"
    for node, epochs in (("root", [1]), ("0", [2, 3]), ("1", [2, 3])):
        assert (f"search/{node}/genotypes" in context.notes) == known
        if known:
            genotypes = expanded(context.notes[f"search/{node}/genotypes"])
            assert list(genotypes) == epochs
            assert context.curves[f"search/{node}/latency_ms@toy"] == [
                (epoch, latency(a)["latency_ms@toy"]) for epoch, a in genotypes.items()
            ]
