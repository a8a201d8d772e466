"""The loop that the gradient-based searches share: epochs, curves, checkpoints, resumption."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from ...errors import EvaluationError, SpecError
from ...estimators.complexity import Workloads
from ...estimators.loop import pick_device, prepared, quiet_settings
from ...estimators.network import seeded
from ...seeds import derive_seed
from ...spaces import Architecture, Space
from ..run.tensors import unpack_tensors
from ..strategy import Context
from .batches import Batch, Halves
from .crew import Crew
from .derivation import CellSpace, derive
from .genotypes import GENOTYPES, genotypes_note
from .gradients import frozen_statistics
from .limits import Limits
from .logits import Logits
from .pieces import Pieces, Value
from .strategy import LEAST, check_supernet

if TYPE_CHECKING:
    from ...spaces.layers import ModuleSupernet
    from .strategy import GradientSearch

CHECKPOINT_VERSION = 2


class Trainer(ABC):
    """One search: a super-network, its logits, and the steps that train both.

    Args:
        recipe: The strategy, for its options.
        context: Gives space, data and device, and takes curves and checkpoints.
        seed: Of this search.
        name: Of its checkpoint and its curves.

    Raises:
        SpecError: If space and data do not fit.
    """

    def __init__(self, recipe: GradientSearch, context: Context, seed: int, name: str) -> None:
        self.recipe, self.context, self.seed, self.name = recipe, context, seed, name
        self.device = pick_device(context.device)
        self.data = prepared(context.data, self.device)
        self.halves = Halves(
            self.data,
            batch_size=recipe.batch_size,
            augmentation=recipe.augment,
            share=recipe.train_share,
            seed=derive_seed(seed, "data"),
            least=max(LEAST, recipe.workers),
        )
        self.crew = Crew()  # nobody else, until others join
        with seeded(seed, "supernet"):
            self.supernet: ModuleSupernet = self.make_supernet().to(self.device)
        self._format = torch.contiguous_format
        if recipe.channels_last:
            self._format = torch.channels_last
            self.supernet.to(memory_format=self._format)  # type: ignore[call-overload]
        self.supernet.train()
        draws = torch.Generator().manual_seed(derive_seed(seed, "logits"))
        self.logits = Logits(
            self.supernet.mixtures, allowed=self.supernet.masks, generator=draws
        ).to(self.device)
        trained = {n: p for n, p in self.supernet.named_parameters() if p.requires_grad}
        self._names, self.weights = list(trained), list(trained.values())
        self.weight_optimizer = torch.optim.SGD(
            self.weights,
            lr=recipe.lr,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            foreach=True,
        )
        self._workloads = Workloads(context.space)
        self._limits = Limits(
            cast(Space, context.space),
            self.supernet,
            self.halves.valid(0).x[:1],
            max_skips=recipe.max_skips,
            limits=recipe.limits,
        )
        self.done = 0  # steps
        self.epochs: list[str] = []  # what was derived after each, as JSON
        self._sums: dict[str, float] = {}

    # ---------------------------------------------------------------- what a method says
    def make_supernet(self) -> ModuleSupernet:
        """Return the super-network."""
        return supernet_of(self.context.space, self.recipe.supernet)

    @abstractmethod
    def step(self, epoch: int, train: Batch, valid: Batch) -> dict[str, Tensor]:
        """Take one step on everything that is trained; return losses to average over the epoch."""

    def parts(self) -> dict[str, Any]:
        """Return everything that has a state, by name."""
        return {
            "supernet": self.supernet,
            "logits": self.logits,
            "weight_optimizer": self.weight_optimizer,
        }

    def derived(self) -> Architecture:
        """Return the architecture of the heaviest weights that the limits allow.

        Raises:
            SpecError: If none does.
        """
        weights: Mapping[str, Tensor] = self.logits.weights()
        derive_from = partial(
            derive,
            self.context.space,
            self.logits.options,
            nodes=self.edge_weights(),
            left=self.logits.left() if self.supernet.masks else None,
        )
        return self._limits.derived(weights, derive_from)

    def edge_weights(self) -> Mapping[str, Tensor] | None:
        """Return the weights of the edges into each node, where the method has some."""
        return None

    def stop_at(self) -> int | None:
        """Return the epoch whose architecture is taken, if the search is to stop early."""
        return None

    def points(self, epoch: int) -> dict[str, float]:
        """Return further points of curves after an epoch."""
        return {}

    # ---------------------------------------------------------------- the loop
    @property
    def steps(self) -> int:
        """Steps of the whole search."""
        return self.recipe.epochs * self.halves.steps

    def run(self) -> bool:
        """Train from where it stands to the end; return whether it came there.

        Raises:
            SpecError: If no network keeps the limits.
            EvaluationError: If a loss or a weight is no longer a finite number; the last
                checkpoint, which is of finite ones, is kept.
        """
        saved = time.monotonic()
        if self.recipe.limits:
            self.derived()  # rather an error now than after an epoch
        with quiet_settings(self.device, None):
            while self.done < self.steps:
                if self.crew.any(self.context.stopping()):
                    self.save()
                    return False
                self._take_step()
                if time.monotonic() - saved > 60 * self.recipe.checkpoint_minutes:
                    self.save()
                    saved = time.monotonic()
        self.save()
        return True

    def _take_step(self) -> None:
        epoch, within = divmod(self.done, self.halves.steps)
        for group in self.weight_optimizer.param_groups:
            group["lr"] = self.rate(epoch)
        train, valid = self.halves.train(epoch, within), self.halves.valid(self.done)
        draws = seeded(derive_seed(self.seed, "step", self.done), "forward", self.device)
        with draws, self.crew.norms():
            losses = self.step(epoch, train, valid)
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value)
        self.done += 1
        if not all(map(math.isfinite, self._sums.values())):
            raise self._diverged(f"losses must be finite, got {self._sums}")
        self.context.progress(f"{self.name}: steps", self.done, self.steps)
        if within + 1 == self.halves.steps:
            self._end_epoch(epoch)

    def _diverged(self, found: str) -> EvaluationError:
        epoch = (self.done - 1) // self.halves.steps
        clip = "set grad_clip" if self.recipe.grad_clip is None else "a lower grad_clip"
        return EvaluationError(
            f"{self.name} diverged: {found} in step {self.done} (epoch {epoch + 1}, lr "
            f"{self.rate(epoch):g}). Going on would end here again: start a new search with a "
            f"lower lr or arch_lr, or {clip}. What was stored until then is kept (checkpoint, "
            "curves, genotypes)"
        )

    def rate(self, epoch: int) -> float:
        """Return the weights' learning rate: a half cosine over the epochs."""
        low, high = self.recipe.lr_min, self.recipe.lr
        return low + (high - low) * half_cosine(epoch, self.recipe.epochs)

    def _end_epoch(self, epoch: int) -> None:
        points = {name: total / self.halves.steps for name, total in self._sums.items()}
        points |= {"lr": self.rate(epoch), "entropy": self.logits.entropy()}
        architecture = self.derived()
        points["macs"] = float(self._workloads.of(architecture).macs)
        points["skips"] = sum(o in ("skip_connect", "skip") for o in architecture.values())
        points |= self.points(epoch)
        for name, value in {**self.context.costs(architecture), **points}.items():
            self.context.record(f"{self.name}/{name}", value, epoch + 1)
        self.epochs.append(architecture.to_json())
        place = self.stop_at()
        taken = None if place is None else place + 1
        note = genotypes_note(self.context.space, self.epochs, epoch + 1, taken)
        self.context.note(f"{self.name}/{GENOTYPES}", note, GENOTYPES)
        if place is not None:
            self.epochs = self.epochs[: place + 1]
            self.done = self.steps
        self._sums = {}

    # ---------------------------------------------------------------- losses
    def loss(
        self,
        batch: Batch,
        weights: Sequence[Tensor] | None = None,
        network: nn.Module | None = None,
    ) -> Tensor:
        """Return the mean loss of the super-network as it is set, on a batch.

        Args:
            batch: Inputs and targets.
            weights: In place of its own.
            network: In place of the super-network, a copy of it.
        """
        network = network or self.supernet
        x = batch.x.contiguous(memory_format=self._format) if batch.x.ndim == 4 else batch.x
        with self._precision():
            if weights is None:
                output = network(x)
            else:
                values = dict(zip(self._names, weights, strict=True))
                output = functional_call(network, values, (x,))
        return loss_of(output, batch.y)

    def pieces(
        self,
        batch: Batch,
        weights: Sequence[Tensor] | None = None,
        network: nn.Module | None = None,
        *,
        frozen: bool = False,
    ) -> Pieces:
        """Return the same loss, to be computed as the options say: in pieces, by this process.

        Args:
            batch: Inputs and targets, of all processes.
            weights: See `loss`.
            network: See `loss`.
            frozen: Whether running statistics stay as they are.
        """

        def compute(part: Batch, share: float) -> Tensor:
            still = frozen_statistics(network or self.supernet) if frozen else nullcontext()
            with still:
                value = self.loss(part, weights, network)
            return value if share == 1.0 else share * value

        shares = self.crew.shares(batch, self.recipe.accumulate)
        total = self.crew.total if self.crew.size > 1 else None
        return Pieces([partial(compute, *share) for share in shares], total)

    def _precision(self) -> AbstractContextManager[Any]:
        if self.recipe.amp:
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()

    def descend(self, loss: Value) -> None:
        """Take a step of SGD on the weights, their gradient's norm clipped."""
        self.weight_optimizer.zero_grad(set_to_none=True)
        if isinstance(loss, Pieces):
            loss.backward(self.weights)
        else:
            torch.autograd.backward(loss, inputs=self.weights)
        if self.recipe.grad_clip:
            nn.utils.clip_grad_norm_(self.weights, self.recipe.grad_clip, foreach=True)
        self.weight_optimizer.step()

    # ---------------------------------------------------------------- state
    def save(self) -> None:
        """Store everything that decides how the search goes on.

        Raises:
            EvaluationError: If a weight is no longer a finite number: such a state leads nowhere.
        """
        for part in self.parts().values():
            for name, value in part.state_dict().items() if isinstance(part, nn.Module) else ():
                if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                    raise self._diverged(f"weights must be finite, those of {name} are not")
        self.context.checkpoint(
            self.name,
            {
                "version": CHECKPOINT_VERSION,
                "belongs": self.recipe.identity(self.context, self.seed),
                "steps": self.halves.steps,
                "done": self.done,
                "sums": dict(self._sums),
                "epochs": list(self.epochs),
                **{name: part.state_dict() for name, part in self.parts().items()},
            },
        )

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what `save` stored.

        Raises:
            SpecError: If the checkpoint is that of another search.
        """
        belongs = self.recipe.identity(self.context, self.seed)
        if state["version"] != CHECKPOINT_VERSION:
            raise SpecError(
                f"the checkpoint {self.name!r} must have version {CHECKPOINT_VERSION}, got "
                f"{state['version']}: another version of netloom wrote it; resume with that one, "
                "or start a new search"
            )
        if state["belongs"] != belongs:
            raise SpecError(
                f"the checkpoint {self.name!r} must belong to this space, data set, seed and "
                "options; it does not: resume with the spec that it was made with, or start a new "
                "search"
            )
        if state["steps"] != self.halves.steps:
            raise SpecError(
                f"the checkpoint {self.name!r} is of epochs of {state['steps']} batches, got "
                f"{self.halves.steps} with workers: {self.recipe.workers} (a last batch of fewer "
                "examples than workers is left out): resume with as many workers as before"
            )
        for name, part in self.parts().items():
            part.load_state_dict(state[name])
        self.done, self._sums = state["done"], dict(state["sums"])
        self.epochs = list(state["epochs"])


def train_together(
    recipe: GradientSearch, seed: int, name: str, state: bytes | None, context: Context
) -> bool:
    """Train as one of several processes; return whether the search came to its end.

    Args:
        recipe: The strategy.
        seed: Of the search.
        name: Of the search.
        state: What `Trainer.save` stored; None: it begins.
        context: This process's.
    """
    trainer = recipe.trainer(context, seed, name)
    trainer.crew = Crew.joined(trainer.device)
    if state is not None:
        trainer.load(unpack_tensors(state))
    return trainer.run()


def supernet_of(space: Any, options: Mapping[str, Any]) -> ModuleSupernet:
    """Return the space's super-network, if a search can give weights to all of its decisions.

    Raises:
        SpecError: If an option is unknown, or a decision is not one of candidates.
    """
    check_supernet(space, options)
    supernet: ModuleSupernet = space.supernet(**options)
    rows = set(supernet.mixtures)
    known = space.operations if isinstance(space, CellSpace) else {d.name for d in space.decisions}
    if missing := sorted(set(known) - rows):
        raise SpecError(
            f"a gradient search needs candidates to mix for every decision; {space.name} has none "
            f"for {missing[0]!r}: choose a strategy that needs no mixture"
        )
    return supernet


def half_cosine(done: int, whole: int) -> float:
    """Return 1 at the start, 0 when `whole` epochs are done, and a half cosine between."""
    return (1 + math.cos(math.pi * done / whole)) / 2


def loss_of(output: Tensor, y: Tensor) -> Tensor:
    """Return cross-entropy for classes, the mean square for targets."""
    if output.dtype in (torch.float16, torch.bfloat16):
        output = output.float()
    if y.dtype == torch.int64:
        return F.cross_entropy(output, y)
    return F.mse_loss(output, y)
