"""Searches in double precision: what is equal in mathematics is equal to 12 digits there.

Also imported by its plain name, in worker processes.
"""

from __future__ import annotations

import copy
import os
import signal

import numpy as np

from netloom.errors import SpecError
from netloom.estimators import DataSet
from netloom.estimators.data.dataset import Split, Splits
from netloom.estimators.loop import Scale
from netloom.search.one_shot.bilevel import BilevelTrainer
from netloom.search.one_shot.crew import Crew
from netloom.search.one_shot.partial import PartialTrainer
from netloom.search.one_shot.proxyless import ProxylessTrainer
from netloom.search.one_shot.relaxed import RelaxedTrainer
from netloom.search.strategies.darts import Darts
from netloom.search.strategies.pc_darts import PcDarts
from netloom.search.strategies.proxyless import Proxyless
from netloom.search.strategies.rarts import Rarts

try:
    from .stripes import same, state
except ImportError:  # in a worker process
    from stripes import same, state


class Vectors(DataSet):
    """Three numbers, and which of three classes they are of."""

    name = "vectors"
    in_channels, resolution, classes = 3, 1, 3

    def __init__(self, examples: int = 44) -> None:
        self.examples = examples

    def load(self):
        rng = np.random.default_rng(0)
        x = rng.normal(size=(self.examples + 16, 3)).astype(np.float32)
        y, e = np.abs(x).argmax(1), self.examples
        return Splits(Split(x[:e], y[:e]), Split(x[e : e + 8], y[e : e + 8]), Split(x[-8:], y[-8:]))


def in_double(trainer):
    """Turn a search that stands before its first step into one in double precision."""
    for module in (trainer.supernet, trainer.logits, *(_further(trainer))):
        module.double()
    data = copy.copy(trainer.data)
    data.inputs = Scale(data.inputs.mean.double(), data.inputs.std.double())
    trainer.halves._data = data
    return trainer


def _further(trainer):
    found = (getattr(trainer, name, None) for name in ("twin", "edges"))
    return [module for module in found if module is not None]


class PreciseDarts(Darts):
    def trainer(self, context, seed, name):
        return in_double(BilevelTrainer(self, context, seed, name))


class PrecisePcDarts(PcDarts):
    def trainer(self, context, seed, name):
        return in_double(PartialTrainer(self, context, seed, name))


class PreciseRarts(Rarts):
    def trainer(self, context, seed, name):
        return in_double(RelaxedTrainer(self, context, seed, name))


class PreciseProxyless(Proxyless):
    def trainer(self, context, seed, name):
        return in_double(ProxylessTrainer(self, context, seed, name))


SEARCHES = {
    "first order": (PreciseDarts, {}),
    "second order": (PreciseDarts, {"order": 2}),
    "exact second order": (PreciseDarts, {"order": 2, "hessian": "exact"}),
    "sampled": (PreciseDarts, {"sampling": "snas"}),
    "with terms": (PreciseDarts, {"beta_decay": 0.5}),
    "strict": (PreciseRarts, {"mode": "strict"}),
    "fused": (PreciseRarts, {"mode": "fused"}),
    "partial": (PrecisePcDarts, {"partial": 2, "warmup_epochs": 1}),
    "gates": (PreciseProxyless, {"warmup_epochs": 0, "arch_every": 1, "reference": {"macs": 1e5}}),
}


def search(name, context, seed=7, **options):
    """Return a strategy of one of `SEARCHES` in a context."""
    kind, own = SEARCHES[name]
    strategy = kind(**{"epochs": 2, "batch_size": 8, "lr": 0.1, "arch_lr": 0.05, **own, **options})
    strategy.context = context
    return strategy


# ---------------------------------------------------------------- in worker processes
def trained_in_a_crew(cases, context):
    """Return what each of `cases` (name, options) ends with, and whether resuming changes it."""
    return [_trained_in_a_crew(name, context, options) for name, options in cases]


def _trained_in_a_crew(name, context, options):
    recipe = search(name, context, **options)

    def begin():
        trainer = recipe.trainer(context, 7, "search")
        trainer.crew = Crew.joined(trainer.device)
        return trainer

    whole = begin()
    assert whole.run()
    if whole.steps <= 4:
        return state(whole), whole.epochs, None
    first, second = begin(), begin()
    asked, context.stopping = context.stopping, lambda: first.crew.rank == 0 and first.done == 4
    assert not first.run()
    context.stopping = asked
    second.load(context.restore("search"))
    assert second.done == 4
    assert second.run()
    return state(whole), whole.epochs, same(state(whole), state(second))


def fails(how, context):
    """Fail in one process, after a checkpoint, while the other waits for it."""
    recipe = search("first order", context)
    trainer = recipe.trainer(context, 7, "search")
    trainer.crew = Crew.joined(trainer.device)
    trainer._take_step()
    trainer.save()
    if trainer.crew.rank == 1:
        if how == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        raise {"spec": SpecError("its own words"), "other": ValueError("not so")}[how]
    trainer._take_step()
