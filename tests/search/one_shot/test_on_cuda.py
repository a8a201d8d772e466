"""Searches by gradients on a GPU: there they train, stop, go on, and come back to the CPU."""

from __future__ import annotations

import importlib
import math
from functools import partial
from pathlib import Path

import pytest
import torch

from netloom.search.one_shot.bilevel import BilevelTrainer
from netloom.search.strategies.darts import Darts
from netloom.search.strategies.gm_fewshot import GmFewshot

from . import precise
from .stripes import check_resuming, make_context, state
from .test_few_shot import SMALL

pytestmark = pytest.mark.cuda


def on_cuda(**options):
    context = make_context(**options)
    context.device = "cuda"
    return context


def close(a, b):
    """Check that two searches stand at the same point, up to the rounding of their processors."""
    for x, y in zip(state(a), state(b), strict=True):
        torch.testing.assert_close(x.cpu(), y.cpu(), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", list(precise.SEARCHES))
def test_a_gpu_takes_the_steps_of_a_cpu(name):
    if name in ("sampled", "gates"):
        pytest.skip("each processor has its own random numbers")
    found = []
    for context in (make_context(), on_cuda()):
        trainer = precise.search(name, context).trainer(context, 7, "search")
        assert trainer.run()
        found.append(trainer)
    here, there = found
    assert {p.device.type for p in there.supernet.parameters()} == {"cuda"}
    assert {row.device.type for row in there.logits.rows} == {"cuda"}
    close(here, there)
    assert here.epochs == there.epochs


@pytest.mark.parametrize("name", list(precise.SEARCHES))
def test_going_on_gives_the_same_bits(name):
    def make(context):
        context.device = "cuda"
        kind, own = precise.SEARCHES[name]
        recipe = kind(**{"epochs": 2, "batch_size": 8, **own})
        recipe.context = context
        return recipe.trainer(context, 7, "search")

    check_resuming(make, 4)


def test_what_a_gpu_left_goes_on_at_a_cpu():
    context = on_cuda()
    first = precise.search("second order", context).trainer(context, 7, "search")
    context.stopping = lambda: first.done == 3
    assert not first.run()
    kept = context.restore("search")
    own = make_context()
    second = precise.search("second order", own).trainer(own, 7, "search")
    second.load(kept)
    assert second.run()
    whole = precise.search("second order", own).trainer(own, 7, "search")
    assert whole.run()
    close(second, whole)


def darts(**options):
    context = on_cuda()
    recipe = Darts(epochs=1, batch_size=8, **options)
    recipe.context = context
    return BilevelTrainer(recipe, context, 7, "search")


def first_loss(trainer):
    trainer.mix()
    return trainer.loss(trainer.halves.train(0, 0)).item()


def test_channels_are_neighbours_where_they_are_wanted():
    wanted, plain = darts(channels_last=True), darts()
    filters = [m for m in wanted.supernet.modules() if isinstance(m, torch.nn.Conv2d)]
    assert any(
        m.weight.is_contiguous(memory_format=torch.channels_last) and not m.weight.is_contiguous()
        for m in filters
    )
    assert all(
        m.weight.is_contiguous() for m in plain.supernet.modules() if isinstance(m, torch.nn.Conv2d)
    )
    losses = [first_loss(t) for t in (wanted, plain)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_mixed_precision():
    mixed, plain = darts(amp=True), darts()
    types = set()
    for module in mixed.supernet.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda m, x, y: types.add(y.dtype))
    losses = [first_loss(t) for t in (mixed, plain)]
    assert types == {torch.bfloat16}
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
    assert mixed.run()
    assert all(math.isfinite(v) for t in state(mixed) for v in t.double().flatten().tolist())


@pytest.mark.parametrize("base", ["darts_1st", "rsps", "snas"])
def test_few_shot(base):
    context = on_cuda()
    strategy = GmFewshot(base=base, split_epochs=[1], epochs=1, **SMALL)
    strategy.prepare(context)
    tree = context.notes["search/tree"]["nodes"]
    assert len(tree) == 3
    candidates = strategy.ask(4)
    assert candidates
    assert all(context.space.architecture(c.architecture) == c.architecture for c in candidates)


def test_a_process_of_its_own_exchanges_by_nccl(monkeypatch):
    """One GPU gives one worker: what it exchanges must change nothing."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    plain = importlib.import_module("precise")
    context = on_cuda(examples=44)
    cases = [("first order", {"epochs": 2}), ("second order", {"epochs": 1})]
    found = context.parallel(partial(plain.trained_in_a_crew, cases), 1)
    for (name, options), (there, epochs, resumed) in zip(cases, found, strict=True):
        own = on_cuda(examples=44)
        alone = plain.search(name, own, **options).trainer(own, 7, "search")
        assert alone.run()
        for a, b in zip(state(alone), there, strict=True):
            torch.testing.assert_close(a.cpu(), b.cpu(), rtol=1e-6, atol=1e-9)
        assert epochs == alone.epochs
        assert resumed in (None, True)
