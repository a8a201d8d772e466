"""How much the options of a decision disagree about the weights that they share.

Each option in turn takes the probed decision; the gradient of the training loss with respect to
the shared weights says where it pulls them. For one batch and one state of all other decisions

    D[i, j] = 1 - <g_i, g_j> / (|g_i| |g_j| + 1e-6)

and the distance of two options is the mean of D over batches (of cosines, not the cosine of mean
gradients). 1 - D is the similarity that a split keeps within its groups.

Source: arXiv 2203.15207; skhu101/GM-NAS: WS-GM/nasbench201/utils.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from ...errors import SpecError
from ...estimators.network import seeded
from ...spaces.decision import Option
from ...spaces.layers import Junction, ModuleSupernet, OneOf
from .binary import run_path
from .pieces import gradients_of
from .sharing import Scope, shared_parameters, splittable

Probing: TypeAlias = Literal["hard", "soft"]
B = TypeVar("B")

EPSILON = 1e-6  # beside the product of two norms


@dataclass(frozen=True)
class Mixed:
    """The state of the other decisions: the weights of their mixtures, by name."""

    weights: Mapping[str, Tensor]

    def set(self, supernet: ModuleSupernet, decision: str, position: int, probing: Probing) -> None:
        """Let one option take the probed decision: with weight 1, or (`soft`) its own."""
        rows = {name: row.detach() for name, row in self.weights.items()}
        alone = torch.zeros_like(rows[decision])
        alone[position] = 1.0 if probing == "hard" else rows[decision][position]
        supernet.mix({**rows, decision: alone})


@dataclass(frozen=True)
class Path:
    """The state of the other decisions: one architecture, in which the probed one is active."""

    architecture: Mapping[str, Any]

    def set(self, supernet: ModuleSupernet, decision: str, position: int, probing: Probing) -> None:
        """Let one option take the probed decision; on a path every weight is 1."""
        option = splittable(supernet)[decision][position]
        supernet.mix(dict.fromkeys(supernet.mixtures))
        supernet.activate(self.architecture)
        supernet.select({decision: option})  # also `none`, where no architecture takes it


@dataclass(frozen=True)
class Selected:
    """The state of the other decisions: an option of each, also one that no architecture takes."""

    options: Mapping[str, Option]

    def set(self, supernet: ModuleSupernet, decision: str, position: int, probing: Probing) -> None:
        """Let one option take the probed decision; each runs alone."""
        run_path(supernet, {**self.options, decision: supernet.mixtures[decision][position]})


State: TypeAlias = Mixed | Path | Selected


@dataclass(frozen=True)
class Matching:
    """The distances of the options of one decision.

    Args:
        decision: Its name.
        options: What was compared, in the order of rows.
        batches: (batches, n, n), the distances of each batch.
        silent: (batches, n), whether an option's gradient was 0: it is at distance 1 from
            everything and from itself then, which says nothing about the option.
    """

    decision: str
    options: tuple[Option, ...]
    batches: Tensor
    silent: Tensor

    def joined(self, other: Matching) -> Matching:
        """Return this one with the batches of another, of the same options, behind its own."""
        batches = torch.cat([self.batches, other.batches])
        silent = torch.cat([self.silent, other.silent])
        return Matching(self.decision, self.options, batches, silent)

    @property
    def distances(self) -> Tensor:
        """The mean over batches, (n, n)."""
        return _symmetric(self.batches.mean(0))

    @property
    def heard(self) -> Tensor:
        """The mean over the batches in which both gradients are not 0, (n, n).

        A pair that never was is as far apart as the other pairs are on average, so that it speaks
        neither for nor against a group; without any other pair it has distance 1.
        """
        loud = ~self.silent
        both = loud[:, :, None] & loud[:, None, :]
        count = both.sum(0)
        known = count > 0
        mean = (self.batches * both).sum(0) / count.clamp(min=1)
        pairs = known & ~torch.eye(len(known), dtype=torch.bool)
        typical = float(mean[pairs].mean()) if bool(pairs.any()) else 1.0
        return _symmetric(torch.where(known, mean, torch.full_like(mean, typical)))

    @property
    def error(self) -> Tensor:
        """The standard error of `distances`, (n, n); nan with a single batch."""
        n = len(self.batches)
        if n < 2:
            return torch.full_like(self.batches[0], float("nan"))
        return self.batches.std(0) / math.sqrt(n)


def _symmetric(matrix: Tensor) -> Tensor:
    """Return the matrix without what rounding adds to one side only: sums differ by their place."""
    return (matrix + matrix.T) / 2


def gradient_distance(gradients: Tensor) -> Tensor:
    """Return 1 - cosine of all pairs of rows.

    Args:
        gradients: (n, parameters), aligned.

    Returns:
        (n, n) in double precision, symmetric. Zero rows are at distance 1 from all rows.
    """
    rows = gradients.double()
    products = rows @ rows.T
    norms = products.diagonal().sqrt()
    cosines: Tensor = _symmetric(products) / (norms[:, None] * norms[None, :] + EPSILON)
    return 1 - cosines


def match(
    supernet: ModuleSupernet,
    decision: str,
    rounds: Iterable[tuple[B, State]],
    loss: Callable[[B], Tensor],
    *,
    scope: Scope = "all",
    probing: Probing = "hard",
    seed: int = 0,
    first: int = 0,
) -> Matching:
    """Return the gradient distances of the options that the masks leave to a decision.

    All options see the same batch, the same state of the other decisions and the same random
    numbers. The network is in train mode meanwhile; afterwards everything is as it was: weights,
    gradients, buffers, modes, mixtures, generators.

    Args:
        supernet: On the device of the batches.
        decision: What is probed.
        rounds: Batches, each with the state of the other decisions.
        loss: Of the super-network as it is set, on a batch.
        scope: Which parameters are compared.
        probing: `hard`: an option runs with weight 1; `soft`: with the weight that it has.
        seed: Of the random numbers inside the network (dropout).
        first: Number of the first round, from which they follow.

    Raises:
        SpecError: If there is no such decision, no batch, or nothing is shared.
    """
    known = splittable(supernet)
    if decision not in known:
        raise SpecError(f"{decision!r} must be one of {sorted(known)}")
    options = known[decision]
    left = supernet.masks.get(decision, options)
    places = [i for i, option in enumerate(options) if option in left]
    shared = shared_parameters(supernet, decision, scope)
    device = next(iter(shared.values())).device
    found, silent = [], []
    with _untouched(supernet):
        for number, (batch, state) in enumerate(rounds, start=first):
            rows = []
            for place in places:
                state.set(supernet, decision, place, probing)
                with seeded(seed, f"probe {number}", device):
                    rows.append(_gradient(loss(batch), shared))
            vectors = torch.stack(rows)
            found.append(gradient_distance(vectors).cpu())
            silent.append((vectors == 0).all(1).cpu())
    if not found:
        raise SpecError("gradients are compared on at least one batch, got none")
    chosen = tuple(options[i] for i in places)
    return Matching(decision, chosen, torch.stack(found), torch.stack(silent))


def _gradient(loss: Tensor, shared: Mapping[str, nn.Parameter]) -> Tensor:
    """Return one vector, in the order of names, zeros where the loss reads nothing."""
    return torch.cat([g.detach().flatten() for g in gradients_of(loss, list(shared.values()))])


@contextmanager
def _untouched(supernet: ModuleSupernet) -> Iterator[None]:
    """Put buffers, modes and what runs back after a block in train mode."""
    buffers = [(b, b.clone()) for b in supernet.buffers()]
    modes = [(m, m.training) for m in supernet.modules()]
    active = supernet.active
    layers = [m for m in supernet.modules() if isinstance(m, OneOf | Junction)]
    weights = [(m, m.weights, m.mode if isinstance(m, OneOf) else "mix") for m in layers]
    supernet.train()
    try:
        yield
    finally:
        supernet.select(active)
        for layer, row, mode in weights:
            getattr(layer, "gate" if mode == "gate" else "mix")(row)
        for module, training in modes:
            module.training = training
        with torch.no_grad():
            for buffer, kept in buffers:
                buffer.copy_(kept)
