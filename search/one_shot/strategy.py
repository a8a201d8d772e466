"""The base of strategies that train a super-network by gradients, and propose what they derive."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ...errors import SpecError
from ...jsonio import digest
from ...spaces import Architecture
from ..strategy import Candidate, Context, Result, Strategy

if TYPE_CHECKING:
    from .trainer import Trainer

AUGMENTATIONS = ("crop", "flip", "cutout")


class GradientSearch(Strategy):
    """Searches by training; what comes out is evaluated like anybody's proposals.

    A subclass has the options in attributes of their names, and makes the trainer.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"mixture"})
    needs_data: ClassVar[bool] = True

    epochs: int
    batch_size: int
    augment: tuple[str, ...]
    train_share: float
    lr: float
    lr_min: float
    momentum: float
    weight_decay: float
    grad_clip: float | None
    searches: int
    propose: Literal["final", "epochs"]
    supernet: Mapping[str, Any]
    max_skips: int | None = None
    limits: Mapping[str, float] = MappingProxyType({})
    amp: bool
    checkpoint_minutes: float
    batch = 64  # everything that was derived is asked for at once

    @abstractmethod
    def trainer(self, context: Context, seed: int, name: str) -> Trainer:
        """Return the search that starts from `seed`."""

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
        skip = ("propose", "searches", "checkpoint_minutes")
        names = inspect.signature(type(self).__init__).parameters
        options = {k: getattr(self, k) for k in names if k != "self" and k not in skip}
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
        finished = trainer.run()
        self._epochs.append(trainer.epochs)
        if finished:
            self.context.publish(name, trainer.supernet, dict(trainer.supernet.masks))
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


def check_options(strategy: GradientSearch) -> None:
    """Refuse options that contradict each other.

    Raises:
        SpecError: Says which.
    """
    if unknown := [a for a in strategy.augment if a not in AUGMENTATIONS]:
        raise SpecError(f"augment takes any of {', '.join(AUGMENTATIONS)}, got {unknown[0]!r}")
    if strategy.lr_min > strategy.lr:
        raise SpecError(f"lr_min must be at most lr, got {strategy.lr_min} with lr {strategy.lr}")
