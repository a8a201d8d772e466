"""NNI's DARTS strategy, step by step beside another search (for `one_shot.py`)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import nni.nas.hub.pytorch as hub
import pytorch_lightning
import torch
from nni.nas.evaluator.pytorch import DataLoader, Lightning, LightningModule, Trainer
from nni.nas.strategy import DARTS
from torch.nn import functional as F
from torch.utils.data import TensorDataset


class Recipe(LightningModule):
    """Trains weights as DARTS does."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Return the loss."""
        x, y = batch
        return F.cross_entropy(self.model(x), y)

    def configure_optimizers(self) -> Any:
        """Return SGD with the paper's numbers."""
        return torch.optim.SGD(self.parameters(), lr=0.025, momentum=0.9, weight_decay=3e-4)


class InTurn(pytorch_lightning.Callback):
    """Takes another search's step before each of NNI's, and times the latter."""

    def __init__(self, other: Callable[[], Any]) -> None:
        self.other, self.spent = other, []
        self._start = 0.0

    def on_train_batch_start(self, *args: Any) -> None:
        """Batches are there; NNI's iteration begins."""
        self.other()
        self._start = time.process_time()

    def on_train_batch_end(self, *args: Any) -> None:
        """Both optimizers have taken their step."""
        self.spent.append(time.process_time() - self._start)


def search_beside(
    other: Callable[[], Any], data: Any, *, batch: int, channels: int, cells: int, steps: int
) -> list[float]:
    """Return the seconds of each of NNI's iterations, `other` being called before each.

    Args:
        other: Takes a step of another search.
        data: A data set of 32x32 images of ten classes.
        batch: Examples of a step.
        channels: Of the search network.
        cells: Of the search network.
        steps: Iterations.
    """
    train = data.splits().train
    whole = TensorDataset(torch.from_numpy(train.x).float() / 255, torch.from_numpy(train.y))
    loaders = [DataLoader(whole, batch_size=batch, shuffle=True) for _ in range(2)]
    turns = InTurn(other)
    pl_trainer = Trainer(
        max_epochs=1,
        limit_train_batches=steps,
        limit_val_batches=0,
        accelerator="cpu",
        callbacks=[turns],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    strategy = DARTS(gradient_clip_val=5.0)
    evaluator = strategy.mutate_evaluator(Lightning(Recipe(), pl_trainer, *loaders))
    space = hub.DARTS(width=channels, num_cells=cells, dataset="cifar")
    evaluator.evaluate(strategy.mutate_model(space))
    return turns.spent
