"""What leaves are ordered by: accuracy on held-out examples, with statistics of their own."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from netloom.search.one_shot.splitting import ROOT
from netloom.search.one_shot.work import Job, advance, choose, held_out, tuned
from netloom.search.run.tensors import pack_tensors, unpack_tensors
from netloom.search.strategies.gm_fewshot import GmFewshot
from netloom.spaces import ModuleSpace
from netloom.spaces.layers import OneOf, calibrate

from .stripes import Stripes, make_context


class Planted(nn.Module):
    """Only the convolution lets the two directions of stripes be told apart."""

    def __init__(self):
        super().__init__()
        convolution = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        blur = nn.Sequential(nn.AvgPool2d(7, 1, 3, count_include_pad=False), nn.BatchNorm2d(4))
        self.stem = nn.Conv2d(1, 4, 1)
        self.place = OneOf("place", {"blur": blur, "convolution": convolution})
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.place(self.stem(x)).mean((2, 3)))


class Opposite(Stripes):
    """The other label for every held-out example; what is trained on stays."""

    def load(self):
        splits = super().load()
        return replace(splits, valid=replace(splits.valid, y=1 - splits.valid.y))


def planted_context():
    context = make_context(examples=128)
    context.space = ModuleSpace(Planted, torch.zeros(1, 1, 8, 8))
    return context


OPTIONS = {"split_epochs": [1], "epochs": 10, "batch_size": 16, "lr": 0.1, "match_batches": 1}


@pytest.mark.parametrize("base", ["darts_1st", "snas", "rsps", "proxyless"])
def test_the_leaf_that_can_learn_comes_first(base):
    context = planted_context()
    strategy = GmFewshot(base=base, paths=2, **OPTIONS)
    strategy.prepare(context)
    best, other = strategy.ask(9)
    assert [dict(c.architecture)["place"] for c in (best, other)] == ["convolution", "blur"]
    assert best.tags["held_out"] >= 87.5  # 7 of 8
    assert other.tags["held_out"] <= 75


def leaf_of(context, options, epochs=10):
    """Return a search, its leaf with these options of `place`, and the leaf's state."""
    search = GmFewshot(base="darts_1st", **OPTIONS).few_shot(context, 7, "search")
    rest = [[o] for o in ("blur", "convolution")]
    leaf = next(n for n in search.tree.split(ROOT, "place", rest) if n.masks["place"] == options)
    state = None
    for _ in range(epochs):
        state = advance(search.work, Job(leaf, None, state, None)).state
    return search, leaf, state


@pytest.fixture(scope="module")
def trained():
    return leaf_of(planted_context(), ("convolution",))


def test_a_mixture_of_one_option_is_judged_as_the_network_that_it_is(trained):
    """What is derived, extracted and calibrated computes what the mixture did."""
    search, leaf, state = trained
    chosen = choose(search.work, (leaf, state))
    trainer = search.work.trainer(search.work.context(), leaf, state)
    trainer.mix()
    inputs = [trainer.halves.train(0, i).x for i in range(trainer.halves.steps)]
    calibrate(trainer.supernet, inputs)
    assert chosen.held_out == held_out(trainer.supernet, trainer.data) >= 87.5


def test_statistics_of_the_super_network_do_not_count(trained):
    search, leaf, state = trained
    before = choose(search.work, (leaf, state))
    spoilt = dict(unpack_tensors(state))
    weights = {
        name: value + 1000 if "running" in name else value
        for name, value in spoilt["supernet"].items()
    }
    assert any("running_mean" in name for name in weights)
    spoilt["supernet"] = weights
    assert choose(search.work, (leaf, pack_tensors(spoilt))) == before


def test_the_examples_are_held_out(trained):
    """Neither training nor calibration sees them: with their labels turned, all turns around."""
    search, leaf, state = trained
    before = choose(search.work, (leaf, state))
    context = planted_context()
    context.data = Opposite(128)
    after = choose(*arranged(*leaf_of(context, ("convolution",))))
    assert after.architecture == before.architecture
    assert after.held_out == 100 - before.held_out


def arranged(search, leaf, state):
    return search.work, (leaf, state)


def test_a_network_is_tuned_alone_before_it_is_judged():
    """The weights that a leaf keeps are those of before; without epochs nothing is trained."""
    search, leaf, state = leaf_of(planted_context(), ("convolution",))
    trainer = search.work.trainer(search.work.context(), leaf, state)
    [architecture] = trainer.candidates(1)
    before = {n: p.detach().clone() for n, p in trainer.supernet.named_parameters()}
    plain, trained = (tuned(trainer, architecture, epochs) for epochs in (0, 2))
    assert same_weights(plain, trainer.supernet.extract(architecture))
    assert not same_weights(trained, plain)
    assert same_weights(trained, tuned(trainer, architecture, 2))
    assert all(torch.equal(p, before[n]) for n, p in trainer.supernet.named_parameters())


def test_tuning_goes_on_where_the_leaf_ended():
    """After one epoch the convolution guesses; nine more of its own make up for it."""
    search, leaf, state = leaf_of(planted_context(), ("convolution",), epochs=1)
    values = [choose(replace(search.work, tuning=n), (leaf, state)).held_out for n in (0, 9)]
    assert values[0] < 87.5 <= values[1]


def same_weights(a, b):
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    return all(torch.equal(x, y) for x, y in pairs)
