"""Batches for a search: one half of the training split is the weights', the other the logits'.

Every draw is derived from (seed, role, epoch or step): a resumed search sees the batches that an
undisturbed one sees, and nothing of a generator needs to be stored.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ...errors import SpecError
from ...estimators import augment
from ...estimators.loop import Examples, Prepared
from ...seeds import derive_seed
from .strategy import LEAST


class Batch(NamedTuple):
    """Inputs, scaled and augmented, and what is to be said of them."""

    x: Tensor
    y: Tensor


class Halves:
    """The training split in two halves, drawn once (data sets may be sorted by class).

    Args:
        data: The data set on its device.
        batch_size: Examples of a batch.
        augmentation: Any of `crop`, `flip`, `cutout`, for both halves.
        share: Of the examples that the weights learn from; the others are the logits'.
        seed: Decides the halves, the order, and the augmentation.
        least: Examples that a batch must have; a smaller last one is left out.

    Raises:
        SpecError: If a half is too small for a batch.
    """

    def __init__(
        self,
        data: Prepared,
        *,
        batch_size: int,
        augmentation: tuple[str, ...] = (),
        share: float = 0.5,
        seed: int = 0,
        least: int = LEAST,
    ) -> None:
        self._data, self._size, self._augmentation = data, batch_size, augmentation
        self._seed, self._least = seed, least
        self._examples: Examples = data.split("train")
        count = len(self._examples)
        order = torch.randperm(count, generator=self._generator("halves"))
        cut = int(share * count)
        self.halves = (order[:cut], order[cut:])
        if count < 2 * least:
            raise SpecError(
                f"the training split must have at least {2 * least} examples to be cut into a half "
                f"for the weights and one for the architecture of {least} or more each, got "
                f"{count}; take more data, or a smaller valid and test split"
            )
        if min(map(len, self.halves)) < least:
            raise SpecError(
                f"train_share must leave {least} examples to the weights and to the architecture, "
                f"got {share:g}, which cuts {count} into {cut} and {count - cut}; take it nearer "
                "to 0.5"
            )

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        count = len(self.halves[0])
        full, rest = divmod(count, self._size)
        return full + (rest >= self._least)

    def train(self, epoch: int, step: int) -> Batch:
        """Return one batch of the weights' half; the batches of an epoch hold each example once."""
        half = self.halves[0]
        order = torch.randperm(len(half), generator=self._generator("order", epoch))
        index = half[order[step * self._size : (step + 1) * self._size]]
        return self._batch(index, "train", epoch * self.steps + step)

    def valid(self, step: int) -> Batch:
        """Return a random batch of the other half: each step draws a new one from all of it."""
        half = self.halves[1]
        order = torch.randperm(len(half), generator=self._generator("valid", step))
        return self._batch(half[order[: self._size]], "valid", step)

    def _batch(self, index: Tensor, role: str, step: int) -> Batch:
        index = index.to(self._data.device)
        x = self._data.inputs.apply(self._examples.x[index])
        draws = self._generator("augment", role, step)
        side = x.shape[-1]
        if "crop" in self._augmentation:
            x = augment.crop(x, draws, max(1, side // 8))
        if "flip" in self._augmentation:
            x = augment.flip(x, draws)
        if "cutout" in self._augmentation:
            x = augment.cutout(x, draws, max(1, side // 2))
        return Batch(x, self._examples.y[index])

    def _generator(self, *role: str | int) -> torch.Generator:
        return torch.Generator().manual_seed(derive_seed(self._seed, *role))
