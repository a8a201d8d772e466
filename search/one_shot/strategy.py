"""The base of strategies that train a super-network by gradients, and propose what they derive."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import Field

from ...errors import SpecError
from ...jsonio import digest
from ...options import options_of, validate
from ...spaces import Architecture, DecisionSpace
from ..strategy import Candidate, Context, Result, Strategy

if TYPE_CHECKING:
    from .trainer import Trainer

AUGMENTATIONS = ("crop", "flip", "cutout")
LEAST = 2  # examples of a batch, and of a piece of one: batch norm has no variance over one


Positive: TypeAlias = Annotated[float, Field(gt=0)]
NotNegative: TypeAlias = Annotated[float, Field(ge=0)]
Share: TypeAlias = Annotated[float, Field(gt=0, lt=1)]
Count: TypeAlias = Annotated[int, Field(ge=1)]


def check_supernet(space: Any, options: Mapping[str, Any]) -> None:
    """Check options of a space's super-network by their annotations.

    Raises:
        SpecError: If there is no such option, or a value is of another type.
    """
    validate(options_of(space.supernet), options, where="supernet")


class GradientSearch(Strategy):
    """Searches by training; what comes out is evaluated like anybody's proposals.

    A subclass makes the trainer, and passes on the options of all such searches.

    Args:
        epochs: Passes over the weights' half.
        batch_size: Examples of a step, of either half.
        augment: Any of `crop`, `flip`, `cutout`, for both halves.
        train_share: Of the training split that the weights learn from.
        lr: Learning rate of the weights at the start, `lr_min` at the end of a half cosine.
        lr_min: See `lr`.
        momentum: Of the weights.
        weight_decay: Of the weights.
        grad_clip: Largest norm of the weights' gradient; None: no limit.
        arch_lr: Learning rate of the logits.
        arch_betas: Of their Adam.
        arch_weight_decay: Of the logits.
        warmup_epochs: Epochs at the start in which only weights are trained.
        searches: Searches from different seeds; each proposes its own architecture, and the
            estimators say which is best.
        propose: `final`: what each search ends with; `epochs`: also what it would have ended with
            after earlier epochs, the latest first.
        max_skips: Skip connections allowed when an architecture is derived (of `darts`: in the
            normal cell); the lightest go first (arXiv 1904.12760). None: any number.
        limits: Metric -> most that a derived architecture may cost: `macs`, `params`,
            `peak_activation_bytes`, or a metric of a device (`latency_ms@v100`).
        supernet: Options of the space's super-network (`channels`, `layers` of `darts`).
        accumulate: Pieces into which every batch is cut; their gradients are added up, which takes
            the memory of one. The same steps as in one piece, but for batch norms, which see a
            piece at a time.
        workers: Processes that train one super-network together, each on its share of every batch
            (of every piece of it); batch norms see all shares. The same steps as of one process,
            rounding apart.
        amp: Mixed precision (bfloat16): for GPUs, and CPUs that are made for it.
        channels_last: Whether the channels of a pixel are neighbours in memory.
        checkpoint_minutes: Between two checkpoints.

    Raises:
        SpecError: If options contradict each other.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"mixture"})
    needs_data: ClassVar[bool] = True
    batch = 64  # everything that was derived is asked for at once

    def __init__(
        self,
        *,
        epochs: Count = 50,
        batch_size: Count = 64,
        augment: list[Literal["crop", "flip", "cutout"]] | None = None,
        train_share: Share = 0.5,
        lr: Positive = 0.025,
        lr_min: NotNegative = 0.001,
        momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9,
        weight_decay: NotNegative = 3e-4,
        grad_clip: Positive | None = 5.0,
        arch_lr: Positive = 3e-4,
        arch_betas: tuple[Share, Share] = (0.5, 0.999),
        arch_weight_decay: NotNegative = 1e-3,
        warmup_epochs: Annotated[int, Field(ge=0)] = 0,
        searches: Count = 1,
        propose: Literal["final", "epochs"] = "final",
        max_skips: Annotated[int, Field(ge=0)] | None = None,
        limits: Mapping[str, Positive] | None = None,
        supernet: Mapping[str, Any] | None = None,
        accumulate: Count = 1,
        workers: Count = 1,
        amp: bool = False,
        channels_last: bool = False,
        checkpoint_minutes: Positive = 5.0,
    ) -> None:
        self.epochs, self.batch_size = epochs, batch_size
        self.augment: tuple[str, ...] = tuple(augment or ())
        self.train_share, self.lr, self.lr_min = train_share, lr, lr_min
        self.momentum, self.weight_decay, self.grad_clip = momentum, weight_decay, grad_clip
        self.arch_lr, self.arch_betas = arch_lr, arch_betas
        self.arch_weight_decay, self.warmup_epochs = arch_weight_decay, warmup_epochs
        self.searches, self.propose = searches, propose
        self.max_skips, self.limits = max_skips, dict(limits or {})
        self.supernet, self.amp = dict(supernet or {}), amp
        self.accumulate, self.workers, self.channels_last = accumulate, workers, channels_last
        self.checkpoint_minutes = checkpoint_minutes
        if unknown := [a for a in self.augment if a not in AUGMENTATIONS]:
            raise SpecError(f"augment takes any of {', '.join(AUGMENTATIONS)}, got {unknown[0]!r}")
        if lr_min > lr:
            raise SpecError(f"lr_min must be at most lr, got {lr_min} with lr {lr}")
        if warmup_epochs and warmup_epochs >= epochs:
            raise SpecError(
                f"warmup_epochs must be below epochs, got {warmup_epochs} of {epochs}: the logits "
                "would never be trained; set it to 0, or train for longer"
            )
        if batch_size < (least := LEAST * accumulate * workers):
            raise SpecError(
                f"batch_size must leave {LEAST} examples for each of {workers} workers in each of "
                f"{accumulate} pieces, got {batch_size}; set it to {least} or more, or take fewer"
            )

    @abstractmethod
    def trainer(self, context: Context, seed: int, name: str) -> Trainer:
        """Return the search that starts from `seed`."""

    def check_space(self, space: DecisionSpace) -> None:
        """Refuse options that do not suit the space, before anything is trained.

        Raises:
            SpecError: If its super-network does not take the options, a limit is on what does not
                follow from a network's layers, or there is no such device.
        """
        check_supernet(space, self.supernet)
        if self.limits:
            from .expected_cost import measure_of

            for metric in self.limits:
                measure_of(metric, "limits")

    def prepare(self, context: Context) -> None:
        """Train; go on where an earlier process stopped.

        Raises:
            SpecError: If a checkpoint is that of another search.
            EvaluationError: If a search diverges.
        """
        super().prepare(context)
        self._epochs: list[list[str]] = []  # of each search, what was derived after each epoch
        for number in range(self.searches):
            if not self._search(number):
                return

    def __getstate__(self) -> dict[str, Any]:
        """Return what travels to other processes: the options, not the context."""
        return {k: v for k, v in self.__dict__.items() if k != "context"}

    def ask(self, n: int) -> list[Candidate]:
        """Return what was derived: the last of each search first, then, if asked for, of epochs."""
        found: dict[Architecture, Candidate] = {}
        for text, tags in self._proposals():
            architecture = Architecture.from_json(text)
            if architecture not in found and not self.context.known(architecture):
                found[architecture] = Candidate(architecture, tags=tags)
        return list(found.values())[:n]

    def tell(self, results: Sequence[Result]) -> None:
        """Learn nothing: the search is over."""

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: what was trained is in the checkpoints."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take nothing."""

    def identity(self, context: Context, seed: int) -> str:
        """Return a digest of everything that decides how a search goes on."""
        skip = ("propose", "searches", "workers", "checkpoint_minutes")
        names = options_of(type(self)).model_fields
        options = {k: getattr(self, k) for k in names if k not in skip}
        return digest(
            [
                type(self).__qualname__,
                options,
                context.space.fingerprint,
                context.data.fingerprint,
                seed,
            ]
        )

    def _search(self, number: int) -> bool:
        from ...seeds import derive_seed

        name = "search" if self.searches == 1 else f"search{number}"
        seed = derive_seed(self.context.seed, "search", number)
        trainer = self.trainer(self.context, seed, name)
        if (state := self.context.restore(name)) is not None:
            trainer.load(state)
        finished = trainer.run() if self.workers == 1 else self._run_together(trainer, seed)
        self._epochs.append(trainer.epochs)
        if finished:
            self._publish(trainer)
        return finished

    def _publish(self, trainer: Trainer) -> None:
        """Keep the super-network of a search that came to its end."""
        masks = dict(trainer.supernet.masks)
        self.context.publish(trainer.name, trainer.supernet, masks)

    def _run_together(self, trainer: Trainer, seed: int) -> bool:
        """Train in several processes, from where `trainer` stands; it stands there afterwards."""
        from ..run.tensors import pack_tensors
        from .trainer import train_together

        if trainer.done >= trainer.steps:
            return True
        kept = self.context.restore(trainer.name)
        state = None if kept is None else pack_tensors(kept)
        work = partial(train_together, self, seed, trainer.name, state)
        finished = self.context.parallel(work, self.workers)
        trainer.load(self.context.restore(trainer.name) or {})
        return finished

    def _proposals(self) -> list[tuple[str, dict[str, Any]]]:
        last = [(e[-1], {"search": i, "epoch": len(e)}) for i, e in enumerate(self._epochs) if e]
        if self.propose == "final":
            return last
        earlier = [
            (text, {"search": i, "epoch": epoch})
            for i, epochs in enumerate(self._epochs)
            for epoch, text in reversed(list(enumerate(epochs, start=1)))
        ]
        return [*last, *earlier]


class BilevelSearch(GradientSearch):
    """What the two-level loop of DARTS reads of its options; first order unless said."""

    order: Literal[1, 2] = 1
    hessian: Literal["difference", "exact"] = "difference"
    sampling: Literal["softmax", "snas", "gdas", "drnas"] = "softmax"
    beta_decay: float = 0.0
    cost: Mapping[str, float] = MappingProxyType({})
    early_stop: bool = False

    def check_space(self, space: DecisionSpace) -> None:
        """Refuse options that do not suit the space, before anything is trained.

        Raises:
            SpecError: Also if a cost does not add up over the layers.
        """
        super().check_space(space)
        if self.cost:
            from .expected_cost import check_additive, measure_of

            for metric in self.cost:
                check_additive(metric)
                measure_of(metric, "cost")
