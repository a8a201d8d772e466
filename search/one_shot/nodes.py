"""The super-networks of a split tree: what each trains, inherits, compares and derives.

All nodes of a search share one seed: their halves of the data, their batches and the weights that
they start from are the same, and leaves differ by their masks alone.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...errors import SpecError
from ...estimators.network import seeded
from ...seeds import derive_seed
from ...spaces import Architecture
from ...spaces.layers import ModuleSupernet, OneOf
from ..strategy import Context
from .batches import Batch
from .bilevel import BilevelTrainer
from .binary import draw_path
from .matching import Matching, Mixed, Path, Probing, Selected, State, match
from .pieces import value_of
from .proxyless import ProxylessTrainer
from .sampling import set_mixture, temperature
from .sharing import Scope, kernel_masks
from .splitting import Masks, Segment, connects
from .trainer import Trainer, half_cosine

if TYPE_CHECKING:
    from ..strategies.proxyless import Proxyless
    from .strategy import BilevelSearch, GradientSearch

TRIES = 1000  # draws after which a path with a property is given up


class NodeTrainer(Trainer):
    """Trains part of a space, and compares the options of its decisions.

    Before the last split the logits stay equal: gradients would else measure what the logits
    prefer by then.

    Args:
        recipe: Options of the base search.
        context: Gives space, data and device, and takes curves and the checkpoint.
        seed: Of the whole tree.
        name: Of the checkpoint and the curves.
        masks: Decision -> the options that are left.
        segment: Which epochs it trains.
        nesterov: Whether the weights' momentum looks ahead (the step of second order does not).
    """

    def __init__(
        self,
        recipe: GradientSearch,
        context: Context,
        seed: int,
        name: str,
        *,
        masks: Masks,
        segment: Segment,
        nesterov: bool = False,
    ) -> None:
        self.masks, self.segment = masks, segment
        super().__init__(recipe, context, seed, name)
        with torch.no_grad():
            for row in self.logits.rows:
                row.zero_()  # equal
        for group in self.weight_optimizer.param_groups:
            group["nesterov"] = nesterov
        self.done = segment.first * self.halves.steps
        self._until = segment.last * self.halves.steps

    def make_supernet(self) -> ModuleSupernet:
        """Return the super-network with the node's masks."""
        supernet = super().make_supernet()
        self.restrict(supernet)
        return supernet

    def restrict(self, supernet: ModuleSupernet) -> None:
        """Give a super-network the node's masks."""
        supernet.restrict(self.masks)

    # ---------------------------------------------------------------- what it trains
    @property
    def steps(self) -> int:
        """Steps after which `run` is over, counted from epoch 0."""
        return self._until

    @property
    def epoch(self) -> float:
        """Epochs done, counted from 0."""
        return self.done / self.halves.steps

    def pause_after(self, steps: int | None) -> None:
        """Let `run` end after some steps, or (None) with the epoch that it is in."""
        rest = self.halves.steps - self.done % self.halves.steps
        whole = self.segment.last * self.halves.steps
        self._until = min(whole, self.done + (rest if steps is None else steps))

    def rate(self, epoch: int) -> float:
        """Return the weights' learning rate: a half cosine over the period of the segment."""
        low, high = self.recipe.lr_min, self.recipe.lr
        return low + (high - low) * half_cosine(epoch, self.segment.period)

    def train_as_set(self, train: Batch) -> dict[str, Tensor]:
        """Take a step on the weights of the super-network as it is set; return its loss."""
        loss = self.pieces(train)
        self.descend(loss)
        return {"train_loss": value_of(loss)}

    def inherit(self, state: Mapping[str, Any]) -> None:
        """Start from what the parent saved: weights, buffers, logits, moments, learning rate.

        Raises:
            SpecError: If it is the state of another search.
        """
        self.load(state)
        self.restrict(self.supernet)
        self._sums, self.epochs = {}, []

    # ---------------------------------------------------------------- how it is split
    def distances(
        self, decision: str, batches: int, scope: Scope, probing: Probing, first: int = 0
    ) -> Matching:
        """Compare the options of a decision on training batches that come after its epochs.

        Args:
            decision: What is probed.
            batches: How many.
            scope: Which parameters are compared.
            probing: Whether a probed option runs alone.
            first: Number of the first batch.
        """
        return match(
            self.supernet,
            decision,
            self._rounds(decision, range(first, first + batches)),
            self.loss,
            scope=scope,
            probing=probing,
            seed=self.seed,
            first=first,
        )

    def _rounds(self, decision: str, numbers: range) -> Iterator[tuple[Batch, State]]:
        for number in numbers:
            epoch, within = divmod(number, self.halves.steps)
            batch = self.halves.train(self.segment.last + epoch, within)
            yield batch, self.state(decision, number)

    @abstractmethod
    def state(self, decision: str, number: int) -> State:
        """Return what the other decisions are while one is probed, on the batch of a number."""

    # ---------------------------------------------------------------- what it proposes
    @abstractmethod
    def candidates(self, paths: int) -> list[Architecture]:
        """Return the architectures to choose from at the end; so many, if they are drawn."""


class MixtureTrainer(NodeTrainer, BilevelTrainer):
    """DARTS, or its loop with the samples of SNAS: all options that the masks leave are mixed."""

    recipe: BilevelSearch

    def mix(self) -> None:
        """Set the mixture; the temperature falls while logits are trained."""
        first, last = (e * self.halves.steps for e in (self.segment.first, self.segment.last))
        share = 0.0 if self.segment.frozen else (self.done - first) / max(1, last - first)
        tau = temperature(self.recipe.sampling, min(1.0, share))
        set_mixture(self.supernet, self.logits, self.recipe.sampling, tau)

    def step(self, epoch: int, train: Batch, valid: Batch) -> dict[str, Tensor]:
        """Take a step on the logits, unless they are frozen, then on the weights."""
        if not self.segment.frozen:
            return BilevelTrainer.step(self, epoch, train, valid)
        self.mix()
        return self.train_as_set(train)

    def state(self, decision: str, number: int) -> State:
        """Return the mixture of a step."""
        with torch.no_grad(), seeded(self.seed, f"state {number}", self.device):
            self.mix()
        layers = [m for m in self.supernet.modules() if isinstance(m, OneOf)]
        return Mixed({m.choice.name: m.weights for m in layers if m.weights is not None})

    def candidates(self, paths: int) -> list[Architecture]:
        """Return the derived architecture."""
        return [self.derived()]


class GateTrainer(NodeTrainer, ProxylessTrainer):
    """ProxylessNAS: one path per step, uniform before the last split, drawn by the logits after."""

    recipe: Proxyless

    def step(self, epoch: int, train: Batch, valid: Batch) -> dict[str, Tensor]:
        """Take a step on the weights of a path, then, unless they are frozen, on the logits."""
        if not self.segment.frozen:
            return ProxylessTrainer.step(self, epoch, train, valid)
        self.mix()
        return self.train_as_set(train)

    def state(self, decision: str, number: int) -> State:
        """Return a path, drawn as a step draws it."""
        with seeded(self.seed, f"state {number}", self.device):
            return Selected(draw_path(self.logits))

    def candidates(self, paths: int) -> list[Architecture]:
        """Return the derived architecture."""
        return [self.derived()]


class PathTrainer(NodeTrainer):
    """Random sampling with path evaluation (RSPS): each step trains one path, there are no logits.

    Paths are uniform over those that the masks allow and that lead from input to output.

    Source: Li and Talwalkar, arXiv 1902.07638; D-X-Y/AutoDL-Projects: RANDOM-NAS.py.
    """

    def step(self, epoch: int, train: Batch, valid: Batch) -> dict[str, Tensor]:
        """Take a step on the weights of one path."""
        self.supernet.activate(self._path(self.done, "train"))
        return self.train_as_set(train)

    def _end_epoch(self, epoch: int) -> None:
        points = {name: total / self.halves.steps for name, total in self._sums.items()}
        for name, value in {**points, "lr": self.rate(epoch)}.items():
            self.context.record(f"{self.name}/{name}", value, epoch + 1)
        self._sums = {}

    def state(self, decision: str, number: int) -> State:
        """Return a path that makes the probed decision."""
        return Path(self._path(number, f"probe {decision}", decision))

    def candidates(self, paths: int) -> list[Architecture]:
        """Return distinct random paths, fewer where the node does not hold as many."""
        found: dict[Architecture, None] = {}
        draws = 0
        while len(found) < paths and draws < TRIES + 20 * paths:
            found.setdefault(self._path(draws, "evaluate"))
            draws += 1
        return list(found)

    def _path(self, number: int, role: str, decision: str | None = None) -> Architecture:
        space = self.context.space
        for again in range(TRIES):
            seed = derive_seed(self.seed, "path", role, again)
            path = self.supernet.sample(number, seed)
            if connects(space, path) and (decision is None or decision in path):
                return path
        raise SpecError(
            f"{space.name}: a path from input to output must be among {TRIES} random ones, got "
            f"none with the masks {json.dumps({k: list(v) for k, v in self.masks.items()})}"
            + (f" that makes the decision {decision!r}" if decision else "")
        )


class KernelTrainer(PathTrainer):
    """Once-for-All's phase of elastic kernels: a uniform kernel in each block, all else largest.

    Without what surrounds the phase there: no teacher, no smaller depths and widths after it.

    Source: arXiv 1908.09791; mit-han-lab/once-for-all: training/progressive_shrinking.py.
    """

    def make_supernet(self) -> ModuleSupernet:
        """Return the elastic super-network, with kernels as the only choice."""
        space: Any = self.context.space
        supernet: ModuleSupernet = space.supernet(**self.recipe.supernet)
        self._fixed = kernel_masks(space, supernet)
        self.restrict(supernet)
        return supernet

    def restrict(self, supernet: ModuleSupernet) -> None:
        """Give a super-network the node's masks, and the largest of what is no kernel."""
        supernet.restrict({**self._fixed, **self.masks})
