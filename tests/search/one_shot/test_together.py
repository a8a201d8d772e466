"""Several processes train one super-network: the steps of one process on the joint batch."""

from __future__ import annotations

import copy
import importlib
import multiprocessing
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from netloom.errors import EvaluationError, SpecError
from netloom.search.one_shot.crew import Crew
from netloom.seeds import derive_seed

from .stripes import make_context, same, state

FEW = [
    ("first order", {"epochs": 2, "accumulate": 2}),
]
MORE = [
    ("second order", {}),
    ("strict", {}),
    ("gates", {"epochs": 2}),
    ("second order", {"epochs": 2}),
    ("first order", {"early_stop": True}),
    ("exact second order", {}),
    ("sampled", {"cost": {"macs": 0.5}}),
    ("fused", {}),
    ("partial", {"warmup_epochs": 0}),
    ("gates", {"epochs": 2, "gates": "all", "penalty": "multiply", "accumulate": 2}),
]


@pytest.fixture
def precise(monkeypatch):
    """Return the module of searches in double precision under a name that processes import."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return importlib.import_module("precise")


@pytest.mark.parametrize("some", [FEW, pytest.param(MORE, marks=pytest.mark.full)])
def test_two_workers_take_the_steps_of_one(precise, some):
    """On networks with batch norms, whose statistics are those of all shares."""
    context = make_context(examples=44)  # steps of 8, 8 and 6 examples
    cases = [(name, {"epochs": 1, **options}) for name, options in some]
    found = context.parallel(partial(precise.trained_in_a_crew, cases), 2)
    for (name, options), (together, epochs, resumed) in zip(cases, found, strict=True):
        own = make_context(examples=44)
        alone = precise.search(name, own, **options).trainer(own, 7, "search")
        before = [row.detach().clone() for row in alone.logits.rows]
        assert alone.run()
        assert alone.done == 3 * options["epochs"]
        assert not same(before, list(alone.logits.rows))
        for a, b in zip(state(alone), together, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9, msg=f"{name} {options}")
        assert epochs == alone.epochs
        assert resumed is (None if alone.done == 3 else True)
    assert not multiprocessing.active_children()


def test_a_strategy_trains_with_workers_and_stops_when_the_run_does(precise):
    """What the first one writes is written here, once; the others write nothing."""
    context = make_context(examples=44)
    strategy = precise.search("first order", context, epochs=500, workers=2)
    seen = []
    context.progress = lambda text, done, total: seen.append((text, done, total))
    context.stopping = lambda: len(context.curves.get("search/lr", ())) >= 2
    strategy.prepare(context)
    kept = context.restore("search")
    assert 6 <= kept["done"] < 1500
    assert context.published == {}
    assert {(text, total) for text, _, total in seen} == {("search: steps", 1500)}
    epochs = [step for step, _ in context.curves["search/valid_loss"]]
    assert epochs == list(range(1, len(kept["epochs"]) + 1))
    assert len(context.notes["search/genotypes"]["genotypes"]) >= 1
    assert strategy.ask(1)[0].tags["epoch"] == len(kept["epochs"])
    # another number of workers goes on from there: it is the same search
    alone = precise.search("first order", context, epochs=500)
    again = alone.trainer(context, derive_seed(context.seed, "search", 0), "search")
    again.load(kept)
    again._take_step()
    assert again.done == kept["done"] + 1
    assert alone.identity(context, 7) == strategy.identity(context, 7)


@pytest.mark.parametrize(
    ("how", "kind", "text"),
    [
        ("dies", EvaluationError, r"WorkerLost: one of 2 workers.*number 1.*signal 9.*resume"),
        pytest.param("spec", SpecError, r"^its own words$", marks=pytest.mark.full),
        pytest.param("other", EvaluationError, r"ValueError: not so", marks=pytest.mark.full),
    ],
)
def test_a_worker_that_fails_is_named_and_loses_nothing(precise, how, kind, text):
    context = make_context(examples=44)
    with pytest.raises(kind, match=text):
        context.parallel(partial(precise.fails, how), 2)
    assert context.restore("search")["done"] == 1
    assert not multiprocessing.active_children()


def test_what_cannot_be_sent_is_refused():
    with pytest.raises(SpecError, match=r"cannot be pickled.*workers: 1"):
        make_context().parallel(lambda context: None, 2)


def test_each_worker_needs_a_gpu_of_its_own(monkeypatch):
    context = make_context()
    context.device = "cuda"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(SpecError, match=r"got 2 workers for 1 here"):
        context.parallel(print, 2)


def test_one_process_alone_exchanges_nothing():
    crew = Crew()
    assert crew.any(True)
    assert not crew.any(False)
    assert crew.agreed(0.1) == 0.1


def test_what_batch_norms_exchange_in_a_pass(monkeypatch):
    """Two sums on the way forward, two on the way back; of one process they change nothing."""
    network = nn.Sequential(
        nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)
    ).double()
    other = copy.deepcopy(network)
    x = torch.randn(5, 2, 3, 3, generator=torch.Generator().manual_seed(0)).double()
    exchanges = []
    monkeypatch.setattr(torch.distributed, "all_reduce", exchanges.append)  # nobody adds anything
    with Crew(0, 2).norms():
        loss = (network(x) ** 3).sum()
    assert len(exchanges) == 2 * 2
    loss.backward()
    assert len(exchanges) == 2 * 2 + 2 * 2
    (other(x) ** 3).sum().backward()
    assert len(exchanges) == 8
    for a, b in zip(network.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-9, atol=1e-9)
    for a, b in zip(network.buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(a, b)


def test_a_last_batch_smaller_than_the_crew_is_left_out(precise):
    """Of 40 examples 20 are the weights': three batches of 6 and one of 2."""
    context = make_context(examples=40)
    pair, three = (
        precise.search("first order", context, workers=n, batch_size=6).trainer(context, 7, "s")
        for n in (2, 3)
    )
    assert (pair.halves.steps, three.halves.steps) == (4, 3)
    pair.save()
    with pytest.raises(SpecError, match=r"4 batches, got 3 with workers: 3.*as many workers"):
        three.load(context.restore("s"))
    assert three.done == 0


def test_too_few_examples_for_the_workers(precise):
    context = make_context(examples=5)
    with pytest.raises(SpecError, match=r"at least 6 examples.*of 3 or more each, got 5"):
        precise.search("first order", context, workers=3, batch_size=6).trainer(context, 7, "s")
