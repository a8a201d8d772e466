"""A data set of two classes that a few steps can learn, and searches on it."""

from __future__ import annotations

import numpy as np
import torch

from netloom.estimators import DataSet
from netloom.estimators.data.dataset import Split, Splits
from netloom.search import Objective
from netloom.search.testing import MemoryContext
from netloom.spaces import SPACES


class Stripes(DataSet):
    """Images of vertical or horizontal stripes."""

    name = "stripes"
    in_channels, resolution, classes = 1, 8, 2

    def __init__(self, examples: int = 48) -> None:
        self.examples = examples

    def load(self):
        rng = np.random.default_rng(0)
        n = self.examples + 16
        y = rng.integers(0, 2, n)
        wave = np.sin(np.arange(8)[None] + rng.uniform(0, 6, n)[:, None])
        x = np.where(y[:, None, None] == 0, wave[:, :, None], wave[:, None, :])
        x = (x + 0.1 * rng.normal(size=x.shape))[:, None].astype(np.float32)
        e = self.examples
        return Splits(Split(x[:e], y[:e]), Split(x[e : e + 8], y[e : e + 8]), Split(x[-8:], y[-8:]))


def make_context(name="nb201", examples=48, **options):
    """Return a context without a store: a small space on stripes."""
    data = Stripes(examples)
    options = {"channels": 4, "cells": 1, **options} if name == "nb201" else options
    space = SPACES.get(name)(**options, **data.space_options)
    return MemoryContext(space, [Objective("valid_accuracy", "maximize")], data=data)


def state(trainer):
    """Return every tensor that decides how a search goes on."""
    found = []
    for part in trainer.parts().values():
        own = part.state_dict()
        if isinstance(part, torch.optim.Optimizer):
            own = {str((i, k)): v for i, s in own["state"].items() for k, v in s.items()}
        found += [torch.as_tensor(v) for v in own.values() if v is not None]
    return [t.clone() for t in found]


def same(a, b):
    """Return whether two lists hold the same tensors, bit for bit."""
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def check_resuming(make, stop):
    """Stop a search after some steps, go on in another object, and compare with an undisturbed one.

    Args:
        make: Context -> trainer.
        stop: Steps after which it is stopped.
    """
    undisturbed = make(make_context())
    assert undisturbed.run()
    context = make_context()
    first = make(context)
    context.stopping = lambda: first.done == stop
    assert not first.run()
    context.stopping = lambda: False
    second = make(context)
    second.load(context.restore("search"))
    assert second.run()
    assert second.done > stop
    assert same(state(second), state(undisturbed))
