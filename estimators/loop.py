"""The training loop: in-memory tensors, one generator per role, no state outside its arguments."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import EvaluationError, SpecError
from ..seeds import derive_seed
from . import augment
from .data.dataset import Array, ByFingerprint, DataSet, Split
from .tasks import metrics, several

if TYPE_CHECKING:
    from .training import Training

_EVAL_BATCH = 512


@dataclass(frozen=True)
class Examples:
    """One split on a device.

    Args:
        x: As loaded.
        y: int64 classes or standardised float32 targets.
        labels: Of the tasks, if there are several.
    """

    x: Tensor
    y: Tensor
    labels: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of the training split, shaped to broadcast over a batch."""

    mean: Tensor
    std: Tensor

    def apply(self, values: Tensor) -> Tensor:
        """Return the values with mean 0 and standard deviation 1 over the training split."""
        return (values.float() - self.mean) / self.std


class Prepared:
    """A data set as tensors on a device; a split is moved there when it is first asked for."""

    def __init__(self, data: DataSet, device: torch.device) -> None:
        self._data, self.device = data, device
        self.classes, self.outputs = data.classes, data.outputs
        self.task_classes = data.task_classes
        train = data.splits().train
        self.inputs = _scale(train.x, device)
        self.targets = None if data.classes else _scale(_columns(train.y), device)
        self._splits: dict[str, Examples] = {}

    def split(self, name: str) -> Examples:
        """Return `train`, `valid` or `test`."""
        if name not in self._splits:
            part: Split = getattr(self._data.splits(), name)
            if self.targets is None:
                y = torch.from_numpy(part.y.astype(np.int64)).to(self.device)
            else:
                columns = torch.from_numpy(_columns(part.y).astype(np.float32))
                y = self.targets.apply(columns.to(self.device))
            x = torch.from_numpy(np.ascontiguousarray(part.x)).to(self.device)
            self._splits[name] = Examples(x, y, several.tensors(part.labels, self.device))
        return self._splits[name]


@lru_cache(maxsize=2)
def _prepared(key: ByFingerprint, device: torch.device) -> Prepared:
    return Prepared(key.data, device)


def prepared(data: DataSet, device: torch.device, *, tasks: bool = False) -> Prepared:
    """Return the data set as tensors; a reused worker keeps the last two.

    Args:
        data: The data set.
        device: Where the tensors are to lie.
        tasks: Whether the caller trains on several tasks at once.

    Raises:
        SpecError: If there are several, and it does not.
    """
    if data.tasks and not tasks:
        raise SpecError(
            f"this trains on one answer per example, the data set {data.label} has the tasks "
            f"{', '.join(data.tasks)}; leave out its option tasks"
        )
    return _prepared(ByFingerprint(data), device)


def fit(
    network: nn.Module,
    data: Prepared,
    recipe: Training,
    *,
    epochs: int,
    seed: int,
    after_epoch: Callable[[int, float], None],
) -> None:
    """Train in place.

    Args:
        network: On the device of the data.
        data: What to train on; only the training split is read.
        recipe: The options of the estimator.
        epochs: How many.
        seed: Decides the order of the examples and the augmentation.
        after_epoch: Called with the number of epochs done and the mean training loss.

    Raises:
        EvaluationError: If the loss is no longer a finite number.
    """
    train = data.split("train")
    order = torch.Generator().manual_seed(derive_seed(seed, "order"))
    draws = torch.Generator().manual_seed(derive_seed(seed, "augment"))
    optimizer = _optimizer(network, recipe)
    scaler = torch.amp.GradScaler(data.device.type, enabled=_mixed(recipe, data.device))
    sizes = _batch_sizes(len(train), recipe.batch_size)
    for epoch in range(epochs):
        network.train()
        total = torch.zeros((), device=data.device)
        shuffled = torch.randperm(len(train), generator=order).to(data.device)
        for step, index in enumerate(torch.split(shuffled[: sum(sizes)], sizes)):
            rate = learning_rate(recipe, epoch * len(sizes) + step, epochs * len(sizes), len(sizes))
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss = _loss(network, data, recipe, train, index, draws)
            if not loss.requires_grad and not loss:  # nothing is known of these examples
                continue
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            if recipe.grad_clip is not None:
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(network.parameters(), recipe.grad_clip)
            scaler.step(optimizer)
            scaler.update()
            total += loss.detach() * len(index)
        mean = float(total) / sum(sizes)
        if not math.isfinite(mean):
            raise EvaluationError(
                f"training diverged: the loss must be finite, got {mean} in epoch {epoch + 1} "
                f"(lr {recipe.lr:g}); lower lr, or set grad_clip or warmup_epochs"
            )
        after_epoch(epoch + 1, mean)


def learning_rate(recipe: Training, step: int, steps: int, steps_per_epoch: int) -> float:
    """Return the rate of one step: a linear warm-up, then constant or a half cosine down to 0."""
    warmup = recipe.warmup_epochs * steps_per_epoch
    if step < warmup:
        return recipe.lr * (step + 1) / warmup
    if recipe.schedule == "constant":
        return recipe.lr
    done = (step - warmup) / max(1, steps - warmup)
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


@torch.no_grad()
def score(network: nn.Module, data: Prepared, recipe: Training, split: str) -> dict[str, float]:
    """Return accuracy (%) and loss, or the rmse (in the targets' unit) and r2, on a split.

    Of several tasks: `accuracy`, `miou`, `map` (%).
    """
    examples = data.split(split)
    network.eval()
    if data.task_classes:
        return _scores(network, data, recipe, examples)
    outputs = []
    for index in torch.split(torch.arange(len(examples), device=data.device), _EVAL_BATCH):
        with _autocast(recipe, data.device):
            outputs.append(_predict(network, data, data.inputs.apply(examples.x[index])).float())
    predicted = torch.cat(outputs)
    if data.targets is None:
        loss = F.cross_entropy(predicted.double(), examples.y)
        return {"accuracy": metrics.accuracy(predicted, examples.y), "loss": float(loss)}
    # per target; double, so that the order of summation does not show
    error = (predicted.double() - examples.y.double()).square().mean(0)
    spread = (examples.y.double() - examples.y.double().mean(0)).square().mean(0)
    rmse = (error * data.targets.std.double().squeeze(0).square()).mean().sqrt()
    return {"rmse": float(rmse), "r2": float((1 - error / spread).mean())}


def _scores(
    network: nn.Module, data: Prepared, recipe: Training, examples: Examples
) -> dict[str, float]:
    scores, size = several.Scores(examples.labels), _size(examples.x)
    for index in torch.split(torch.arange(len(examples), device=data.device), _EVAL_BATCH):
        with _autocast(recipe, data.device):
            outputs = network(data.inputs.apply(examples.x[index]))
        scores.add(several.checked(outputs, data.task_classes, len(index), size), index, size)
    return scores.result()


@contextmanager
def quiet_settings(device: torch.device, threads: int | None) -> Iterator[None]:
    """Run a block with `threads` CPU threads and repeatable CUDA kernels; restore both after."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    cuda = device.type == "cuda"
    kernels = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)
    try:
        with kernels if cuda else nullcontext():
            yield
    finally:
        torch.set_num_threads(before)


def pick_device(name: str) -> torch.device:
    """Return the device; `auto` is CUDA where there is one, else the CPU.

    Raises:
        EvaluationError: If the device asked for is not there.
    """
    if name == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise EvaluationError(
            f"training: device must be one of this machine, got {name!r} ({error}); set it to auto"
        ) from error
    return device


def _loss(
    network: nn.Module,
    data: Prepared,
    recipe: Training,
    train: Examples,
    index: Tensor,
    draws: torch.Generator,
) -> Tensor:
    x, y = data.inputs.apply(train.x[index]), train.y[index]
    x, labels = _changed(x, several.batch(train.labels, index), recipe, draws)
    if data.task_classes:
        return _loss_of_tasks(network, data, recipe, x, labels)
    partner, weight = None, 1.0
    if "mixup" in recipe.augment:
        x, partner, weight = augment.mixup(x, draws, recipe.mixup_alpha)
    with _autocast(recipe, data.device):
        outputs = _outputs(network, data, x)
    total = torch.zeros((), device=data.device)
    for share, output in outputs:
        loss = _distance(output, y, data, recipe)
        if partner is not None:
            loss = weight * loss + (1 - weight) * _distance(output, y[partner], data, recipe)
        total = total + share * loss
    return total


def _loss_of_tasks(
    network: nn.Module, data: Prepared, recipe: Training, x: Tensor, labels: Mapping[str, Any]
) -> Tensor:
    with _autocast(recipe, data.device):
        outputs = network(x)
    found = several.checked(outputs, data.task_classes, len(x), _size(x))
    return several.loss_of(found, labels, _size(x), recipe.label_smoothing)


def _size(x: Tensor) -> tuple[int, int]:
    return x.shape[-2], x.shape[-1]


def _changed(
    x: Tensor, labels: Mapping[str, Any], recipe: Training, draws: torch.Generator
) -> tuple[Tensor, Mapping[str, Any]]:
    """Crop, flip and cut out, in this order."""
    if "crop" in recipe.augment:
        padding = recipe.crop_padding or max(1, x.shape[-1] // 8)
        x, labels = augment.crop_labelled(x, labels, draws, padding)
    if "flip" in recipe.augment:
        x, labels = augment.flip_labelled(x, labels, draws)
    if "cutout" in recipe.augment:
        x = augment.cutout(x, draws, recipe.cutout_size or max(1, x.shape[-1] // 2))
    return x, labels


def _distance(output: Tensor, y: Tensor, data: Prepared, recipe: Training) -> Tensor:
    if data.targets is None:
        return F.cross_entropy(output, y, label_smoothing=recipe.label_smoothing)
    return F.mse_loss(output, y)


def _outputs(network: nn.Module, data: Prepared, x: Tensor) -> list[tuple[float, Tensor]]:
    """Return what a network in train mode gives, with the weights of the losses.

    A network with an auxiliary classifier returns its outputs too, and has an `auxiliary_weight`.
    One that classifies T pieces of an image (N, T, classes) is told the label of the image for
    each, and its loss is their mean.
    """
    output = network(x)
    weight: float | None = getattr(network, "auxiliary_weight", None)
    if weight is None or not isinstance(output, tuple):
        return [(1.0, _checked(output, data, len(x)).float())]
    first, *others = output
    outputs = [(1.0, first)]
    for other in others:
        pieces = other.unbind(1) if other.dim() == 3 else (other,)
        outputs += [(weight / len(pieces), piece) for piece in pieces]
    return [(share, _checked(each, data, len(x)).float()) for share, each in outputs]


def _predict(network: nn.Module, data: Prepared, x: Tensor) -> Tensor:
    return _checked(network(x), data, len(x))


def _checked(output: object, data: Prepared, n: int) -> Tensor:
    """Return the outputs for `n` examples, if that is what they are."""
    if not isinstance(output, Tensor):
        raise EvaluationError(
            f"training: a network must return one tensor, got {type(output).__name__}"
        )
    if data.targets is not None and output.shape == (n,):
        output = output[:, None]
    if output.shape != (n, data.outputs):
        what = "classes" if data.targets is None else "targets"
        raise EvaluationError(
            f"training: the output must have the shape (batch, {what}) = "
            f"{(n, data.outputs)}, got {tuple(output.shape)}; set the space's option classes "
            f"to {data.outputs}"
        )
    return output


def _optimizer(network: nn.Module, recipe: Training) -> torch.optim.Optimizer:
    """Build the optimizer; norms and biases (one-dimensional parameters) do not decay."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    if not parameters:
        raise EvaluationError("training: a network must have parameters to train, got none")
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.lr)
    return torch.optim.SGD(
        groups,
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
    )


def _batch_sizes(examples: int, batch: int) -> list[int]:
    """Cut an epoch into batches; a last one of a single example is left out (batch norm)."""
    sizes = [batch] * (examples // batch) + ([examples % batch] if examples % batch else [])
    return sizes[:-1] if len(sizes) > 1 and batch > 1 == sizes[-1] else sizes


def _mixed(recipe: Training, device: torch.device) -> bool:
    return recipe.amp and device.type == "cuda"


def _autocast(recipe: Training, device: torch.device) -> Any:
    return torch.autocast(device.type, torch.float16) if _mixed(recipe, device) else nullcontext()


def _columns(y: Array) -> Array:
    return y[:, None] if y.ndim == 1 else y


def _scale(x: Array, device: torch.device) -> Scale:
    """Return mean and deviation per channel (images), feature or target, in pieces of 4,096."""
    axes = (0, 2, 3) if x.ndim == 4 else (0,)
    total = square = np.zeros(x.shape[1])
    starts = range(0, len(x), 4096)
    count = x.size // x.shape[1]
    for i in starts:
        total = total + x[i : i + 4096].sum(axes, dtype=np.float64)
    mean = total / count
    shape = (1, -1, 1, 1) if x.ndim == 4 else (1, -1)
    for i in starts:
        square = square + ((x[i : i + 4096] - mean.reshape(shape)) ** 2).sum(axes)
    std = np.sqrt(square / count)
    std[std < 1e-8] = 1.0  # a constant channel says nothing
    tensors = (
        torch.from_numpy(v.astype(np.float32)).reshape(shape).to(device) for v in (mean, std)
    )
    return Scale(*tensors)
