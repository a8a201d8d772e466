"""Few-shot search over ProxylessNAS and elastic kernels, and when a comparison ends."""

from __future__ import annotations

import pytest
import torch

from netloom.errors import SpecError
from netloom.search.one_shot import few_shot
from netloom.search.one_shot.sharing import shared_parameters
from netloom.search.one_shot.splitting import ROOT
from netloom.search.strategies.gm_fewshot import GmFewshot
from netloom.spaces import SPACES

from .stripes import make_context
from .test_few_shot import EDGE, SMALL, TWO, opened, started


@pytest.fixture
def context():
    return make_context()


# ---------------------------------------------------------------- paths with gates
def test_proxyless_in_a_tree(context):
    """Frozen logits before the split; a leaf rests for an epoch and learns in the second."""
    strategy = GmFewshot(
        base="proxyless", split_epochs=[1], epochs=2, arch_every=1, gates="all", **SMALL
    )
    strategy.prepare(context)
    assert [step for step, _ in context.curves["search/0/valid_loss"]] == [2]
    assert "search/root/valid_loss" not in context.curves
    root, *leaves = context.notes["search/tree"]["nodes"]
    for candidate in strategy.ask(9):
        (leaf,) = (n for n in leaves if n["name"] == candidate.tags["leaf"])
        assert candidate.architecture[root["split"]] in leaf["masks"][root["split"]]


def test_probing_beside_a_drawn_path(context):
    search, root, trained = started(context, base="proxyless")
    trainer = opened(search, root, trained)
    first, again, other = (trainer.state(EDGE, n).options for n in (0, 0, 1))
    assert first == again != other
    found = trainer.distances(EDGE, 2, "all", "hard")
    assert found.batches.shape == (2, 5, 5)
    half = trainer.distances(EDGE, 1, "all", "hard", 1)
    assert torch.equal(half.batches[0], found.batches[1])


def test_gates_need_an_epoch_to_rest_and_one_to_learn():
    with pytest.raises(SpecError, match=r"at least 2.*got 1"):
        GmFewshot(base="proxyless", epochs=1)
    GmFewshot(base="proxyless", epochs=1, restart="none")


# ---------------------------------------------------------------- kernels of one weight
KERNELS = {"base": "ofa_kernel", "split_epochs": [0], "epochs": 1, **SMALL, "batch_size": 4}


def kernel_context():
    context = make_context(examples=12)
    context.space = SPACES.get("ofa_mbv3")(
        preset="tiny", in_channels=1, classes=2, resolution=8, strides=[1, 1, 1, 1, 1]
    )
    return context


def test_only_kernels_are_drawn_and_masks_are_obeyed():
    context = kernel_context()
    name = "stage2.block1.kernel"
    strategy = GmFewshot(**{**KERNELS, "paths": 30})
    search = strategy.few_shot(context, 7, "search")
    assert search.tree.size(ROOT) == 3**20
    node = search.tree.split(ROOT, name, [[7], [3, 5]])[1]
    assert search.tree.size("0") + search.tree.size("1") == 3**20
    trainer = search.work.trainer(search.work.context(), node)
    drawn = trainer.candidates(30)
    assert len(drawn) == 30
    for architecture in drawn:
        assert architecture[name] in (3, 5)
        widest = {"depth": 4, "expand": 6}
        for decision, option in architecture.items():
            kind = decision.rpartition(".")[2]
            assert option == widest.get(kind, option)
    counts = [sum(a["stage4.block3.kernel"] == k for a in drawn) for k in (3, 5, 7)]
    assert min(counts) >= 3  # of 10 expected


def test_a_tree_of_kernels():
    context = kernel_context()
    strategy = GmFewshot(**{**KERNELS, "decisions": ["stage1.block1.kernel"], "paths": 2})
    strategy.check_space(context.space)
    strategy.prepare(context)
    root, *leaves = context.notes["search/tree"]["nodes"]
    assert root["split"] == "stage1.block1.kernel"
    assert sorted(len(n["masks"][root["split"]]) for n in leaves) == [1, 2]
    assert {n["among"] for n in leaves} == {2}
    for candidate in strategy.ask(9):
        (leaf,) = (n for n in leaves if n["name"] == candidate.tags["leaf"])
        assert candidate.architecture[root["split"]] in leaf["masks"][root["split"]]
    _, masks = context.published["search/0"]
    assert masks["stage1.depth"] == (4,)


def test_weights_of_the_probed_block_are_left_out():
    """All kernels of a block are cut out of one weight; the reference compares other blocks."""
    supernet = kernel_context().space.supernet()
    every = {n for n, p in supernet.named_parameters() if p.requires_grad}
    left = shared_parameters(supernet, "stage2.block3.kernel")
    assert every - set(left) == {n for n in every if n.startswith("module.stages.1.blocks.2.")}
    edges = shared_parameters(supernet, "stage2.block3.kernel", "edges")
    assert all(n.startswith("module.stages.") for n in edges)


def test_what_kernels_cannot_be_searched_in(context):
    with pytest.raises(SpecError, match="nb201 has none: choose another base"):
        GmFewshot(**KERNELS).check_space(context.space)
    with pytest.raises(SpecError, match=r"supernet\.wings: unknown key"):
        GmFewshot(**KERNELS, supernet={"wings": 2}).check_space(kernel_context().space)
    space = SPACES.get("ofa_mbv3")(preset="tiny", resolutions=[24, 32])
    with pytest.raises(SpecError, match=r"'resolution' must be.*2 options from 24 to 32; leave it"):
        GmFewshot(**KERNELS).check_space(space)


# ---------------------------------------------------------------- when a comparison ends
def test_a_comparison_ends_when_its_outcome_is_clear(monkeypatch):
    monkeypatch.setattr(few_shot, "FIRST", 2)
    monkeypatch.setattr(few_shot, "settled", lambda judged, errors: len(judged[0].each) >= 4)
    counts = []
    for settle in (None, 3.0):
        context = make_context()
        options = {**SMALL, "match_batches": 5, "settle": settle, "decisions": TWO}
        GmFewshot(base="rsps", split_epochs=[0], epochs=1, **options).prepare(context)
        judged = context.notes["search/tree"]["nodes"][0]["decisions"]
        counts.append({j["batches"] for j in judged.values()})
    assert counts == [{5}, {4}]


def test_rounds_of_a_comparison_are_the_batches_of_one(monkeypatch):
    monkeypatch.setattr(few_shot, "FIRST", 2)
    monkeypatch.setattr(few_shot, "settled", lambda judged, errors: False)
    notes = []
    for settle in (None, 3.0):
        context = make_context()
        options = {**SMALL, "match_batches": 5, "settle": settle, "decisions": TWO}
        GmFewshot(base="rsps", split_epochs=[0], epochs=1, **options).prepare(context)
        notes.append(context.notes["search/tree"]["nodes"])
    assert notes[0] == notes[1]


# ---------------------------------------------------------------- options of all gradient searches
def test_nodes_train_in_pieces(context):
    search, root, _ = started(context, base="darts_1st", accumulate=2, channels_last=True)
    trainer = opened(search, root)
    assert len(trainer.pieces(trainer.halves.train(0, 0))._parts) == 2
    assert trainer.recipe.channels_last is True
