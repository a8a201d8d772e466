"""The contract of a data set: what it declares before it is loaded, and what loading gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, ClassVar

import numpy as np

from ...errors import SpecError
from ...jsonio import digest
from .labels import ABSENT, SEGMENTATION, Labels, check_labels
from .labels import Array as Array
from .labels import take as take_labels


@dataclass(frozen=True)
class Split:
    """Inputs and what is to be said of them.

    Args:
        x: Images (n, channels, height, width) or feature vectors (n, features); uint8 or float32.
            uint8 images stay bytes in memory, training scales them.
        y: Class numbers (n,) of any integer type, or regression targets (n,) or (n, targets).
        labels: What is said of each example in each of the data set's `tasks`, if it has some.
    """

    x: Array
    y: Array
    labels: Labels = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.x)

    def take(self, index: Array) -> Split:
        """Return the examples at `index`, in that order."""
        return Split(self.x[index], self.y[index], take_labels(self.labels, index))


@dataclass(frozen=True)
class Splits:
    """Three sets that share no example: weights see `train`, strategies `valid`, nobody `test`."""

    train: Split
    valid: Split
    test: Split


class DataSet(ABC):
    """A data set for training and for filling a space's `in_channels`, `resolution`, `classes`.

    Every keyword argument of the constructor is an option that a YAML spec may set. A subclass
    says the four values below (as class attributes, in its constructor or as properties) and
    loads. `netloom.estimators.testing.DataSetContract` checks the rest.

    Attributes:
        in_channels: Channels of an image, or the number of features of a vector.
        resolution: Side of the (square) images; 1 for feature vectors.
        classes: Number of classes; None for regression.
        targets: Number of values to predict in a regression; None for classification.
        tasks: What a network answers at once (`netloom.estimators.data.labels.TASKS`); none: one
            class, or one regression, the one of `y`.
        licence: Under which its examples may be used, for the cards of networks; empty: not stated.
    """

    name: ClassVar[str] = ""
    licence: ClassVar[str] = ""
    version: ClassVar[int] = 1  # raise it when the same options load other examples

    in_channels: int
    resolution: int
    classes: int | None = None
    targets: int | None = None
    tasks: tuple[str, ...] = ()

    @abstractmethod
    def load(self) -> Splits:
        """Read or make the three splits; the same ones every time.

        Raises:
            MissingDependency: If files are not there; says which, and where they are looked for.
            EvaluationError: If files are there but cannot be read.
        """

    @property
    def outputs(self) -> int:
        """How many numbers a network gives per example: the classes, or the targets."""
        return self.classes if self.classes is not None else self.targets or 1

    @property
    def task_classes(self) -> dict[str, int]:
        """Classes of each task; 0 of a mask is the background, which is no class elsewhere."""
        return {task: self.outputs + (task == SEGMENTATION) for task in self.tasks}

    @property
    def space_options(self) -> dict[str, int]:
        """What the options of those names of a space are to be for this data set."""
        return {
            "in_channels": self.in_channels,
            "resolution": self.resolution,
            "classes": self.outputs,
        }

    @property
    def space_defaults(self) -> dict[str, Any]:
        """What options of a space are where a spec leaves them out, and may be otherwise."""
        tasks = [{"name": task, "classes": n} for task, n in self.task_classes.items()]
        return {"tasks": tasks} if tasks else {}

    def identity(self) -> dict[str, Any]:
        """Return the JSON values that decide the examples; `fingerprint` digests them.

        The default is every public attribute of the object; override it where one does not matter
        (a folder's place) or is no JSON value.
        """
        return {k: v for k, v in self.__getstate__().items() if not k.startswith("_")}

    @cached_property
    def fingerprint(self) -> str:
        """A digest of what decides the examples.

        Raises:
            SpecError: If `identity` holds something that JSON cannot.
        """
        kind = type(self)
        try:
            return digest([f"{kind.__module__}:{kind.__qualname__}", self.version, self.identity()])
        except (TypeError, ValueError) as error:
            raise SpecError(
                f"data set {self.label}: identity() must return JSON values, got "
                f"{self.identity()!r}; override it"
            ) from error

    @property
    def label(self) -> str:
        """The name for messages."""
        return self.name or type(self).__name__

    def splits(self) -> Splits:
        """Return what `load` gives, checked; the last two data sets of a process stay loaded."""
        return _loaded(ByFingerprint(self))

    def check(self) -> None:
        """Raise what is wrong with the data before a search starts; the default loads it."""
        self.splits()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what was loaded or computed: it does not travel to worker processes."""
        kind = type(self)
        return {
            name: value
            for name, value in vars(self).items()
            if not isinstance(getattr(kind, name, None), cached_property)
        }


class ByFingerprint:
    """A data set as a key: equal for one fingerprint, so that a reused worker loads once."""

    def __init__(self, data: DataSet) -> None:
        self.data, self.fingerprint = data, data.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByFingerprint) and self.fingerprint == other.fingerprint


@lru_cache(maxsize=2)
def _loaded(key: ByFingerprint) -> Splits:
    splits = key.data.load()
    if not isinstance(splits, Splits):
        raise SpecError(
            f"data set {key.data.label}: load() must return Splits(train, valid, test), got "
            f"{type(splits).__name__}"
        )
    for name in ("train", "valid", "test"):
        check_split(key.data, name, getattr(splits, name))
    return splits


def check_split(data: DataSet, name: str, split: Split) -> None:
    """Compare a split with what its data set declares.

    Raises:
        SpecError: If shapes, types or values are not the declared ones.
    """

    def refuse(rule: str, got: object) -> SpecError:
        return SpecError(f"data set {data.label}, {name} split: {rule}, got {got}")

    x, y = split.x, split.y
    if not isinstance(x, np.ndarray) or not isinstance(y, np.ndarray):
        raise refuse("x and y must be numpy arrays", f"{type(x).__name__}, {type(y).__name__}")
    if len(x) == 0 or len(x) != len(y):
        raise refuse("x and y must hold equally many examples, at least one", (len(x), len(y)))
    if x.dtype not in (np.uint8, np.float32):
        raise refuse("x must be uint8 or float32", x.dtype)
    side = data.resolution
    image = (data.in_channels, side, side)
    if x.shape[1:] != image and not (side == 1 and x.shape[1:] == (data.in_channels,)):
        raise refuse(f"an example must have the declared shape {image}", x.shape[1:])
    if x.dtype == np.float32 and not np.isfinite(x).all():
        raise refuse("x must be finite", "NaN or infinity")
    _check_answers(data, y, refuse)
    check_labels(split.labels, data.task_classes, examples=len(x), side=side, refuse=refuse)


def _check_answers(data: DataSet, y: Array, refuse: Any) -> None:
    if data.classes is not None:
        least = ABSENT if data.tasks else 0
        if y.ndim != 1 or y.dtype.kind not in "iu":
            raise refuse("y must be class numbers of shape (n,)", f"{y.dtype} {y.shape}")
        if y.min() < least or y.max() >= data.classes:
            raise refuse(f"classes must be {least}..{data.classes - 1}", f"{y.min()}..{y.max()}")
        return
    wanted = [(len(y), data.outputs)] + ([(len(y),)] if data.outputs == 1 else [])
    if y.dtype.kind != "f" or y.shape not in wanted:
        raise refuse(f"y must be floats of shape {wanted[-1]}", f"{y.dtype} {y.shape}")
    if not np.isfinite(y).all():
        raise refuse("y must be finite", "NaN or infinity")


def divide(whole: Split, *, shares: tuple[float, ...], seed: int, stratify: bool) -> list[Split]:
    """Cut `whole` into disjoint random parts: one per share, and last the rest.

    Args:
        whole: What to cut.
        shares: Share of each part, each above 0, together below 1.
        seed: Decides the cut and nothing else does: numpy's global generator is not touched.
        stratify: Keep the share of every class (y holds class numbers).

    Raises:
        SpecError: If the shares leave a part without an example, or x and y differ in length.
    """
    if len(whole.x) != len(whole.y):
        raise SpecError(
            f"x and y must hold equally many examples, got {len(whole.x)} and {len(whole.y)}"
        )
    if any(not 0 < share < 1 for share in shares) or sum(shares) >= 1:
        raise SpecError(f"shares must each be above 0 and together below 1, got {shares}")
    rng = np.random.default_rng(seed)
    groups = [np.flatnonzero(whole.y == c) for c in np.unique(whole.y)] if stratify else []
    parts: list[list[Array]] = [[] for _ in range(len(shares) + 1)]
    for group in groups or [np.arange(len(whole))]:
        order = rng.permutation(group)
        ends = [round(len(order) * sum(shares[: i + 1])) for i in range(len(shares))]
        for part, index in zip(parts, np.split(order, ends), strict=True):
            part.append(index)
    indices = [rng.permutation(np.concatenate(part)) for part in parts]
    if not all(len(index) for index in indices):
        raise SpecError(
            f"{len(whole)} examples are too few for the shares {shares}: a part would be empty"
        )
    return [whole.take(index) for index in indices]


def three_ways(whole: Split, *, valid: float, test: float, seed: int, stratify: bool) -> Splits:
    """Cut one set into train, valid and test (shares of the whole)."""
    valid_part, test_part, train = divide(whole, shares=(valid, test), seed=seed, stratify=stratify)
    return Splits(train, valid_part, test_part)


def hold_out(train: Split, test: Split, *, valid: float, seed: int, stratify: bool) -> Splits:
    """Draw the validation split from `train` (a share of it); `test` stays as published."""
    valid_part, rest = divide(train, shares=(valid,), seed=seed, stratify=stratify)
    return Splits(rest, valid_part, test)
