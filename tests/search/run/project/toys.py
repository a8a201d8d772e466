"""Spaces and estimators that cost nothing, for tests of the runner; workers import this too."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any, ClassVar

from netloom.errors import EvaluationError, HardwareLimit, SpecError, StopTrial
from netloom.estimators import Estimator, Metric
from netloom.search.strategies.random import RandomSearch
from netloom.seeds import derive_rng
from netloom.spaces import Architecture, Decision, DecisionSpace, Space


class Grid(DecisionSpace):
    """`width` choices in each of `depth` places; the order of places does not matter."""

    name = "grid"

    def __init__(self, depth: int = 4, width: int = 6) -> None:
        super().__init__(
            [Decision(f"d{i}", tuple(range(width)), ordered=True) for i in range(depth)]
        )

    def canonical(self, architecture: Architecture) -> str:
        return str(sorted(architecture.values()))

    def published(self) -> dict[str, Architecture]:
        values = {"best": len(self.decisions[0].options) - 1, "least": 0}
        return {
            name: self.architecture({d.name: value for d in self.decisions})
            for name, value in values.items()
        }


class Twin(Grid):
    """Another space whose architectures read like those of `Grid`."""

    name = "twin"


class Ring(DecisionSpace):
    """A space with other decisions than `Grid`, and a notation of its own."""

    name = "ring"
    notation = "ring:a:b"

    def __init__(self, size: int = 12) -> None:
        super().__init__([Decision(name, tuple(range(size)), ordered=True) for name in "ab"])

    def format(self, architecture: Architecture) -> str:
        return ":".join(["ring", *(str(value) for value in architecture.values())])

    def published(self) -> dict[str, Architecture]:
        top = len(self.decisions[0].options) - 1
        return {"Round": self.architecture({"a": top, "b": top})}


class Rigid(Space):
    """Networks for one kind of images only: it takes no options."""

    name = "rigid"

    def __init__(self) -> None:
        super().__init__([Decision("width", (1, 2), ordered=True)])

    def build(self, architecture: Architecture) -> Any:
        from torch import nn

        return nn.Conv2d(3, int(architecture["width"]), 1)

    def published(self) -> dict[str, Architecture]:
        return {"Only": self.architecture({"width": 1})}


def value(architecture: Architecture) -> int:
    return sum(int(v) for v in architecture.values())


class Cost(Estimator):
    """The sum of the choices; may refuse large ones as a device would, or raise."""

    name: ClassVar[str] = "cost"
    cheap: ClassVar[bool] = True

    def __init__(
        self,
        space: Any,
        data: Any = None,
        *,
        limit: int | None = None,
        broken: int | None = None,
        deadly: int | None = None,
    ) -> None:
        super().__init__(space, data)
        self.limit, self.broken, self.deadly = limit, broken, deadly

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return (Metric("cost", "", "minimize"), Metric("gain", "", "maximize"))

    def identity(self) -> dict[str, Any]:
        return {"limit": self.limit, "broken": self.broken}

    def evaluate(self, architecture: Architecture, **_: Any) -> dict[str, float]:
        total = value(architecture)
        if total == self.deadly:
            os._exit(1)
        if self.broken is not None and total == self.broken:
            raise ValueError(f"the sum is {total}\nand that is bad")
        if self.limit is not None and total > self.limit:
            raise HardwareLimit("too big", layer="x", needed=total, limit=self.limit)
        spread = len(set(architecture.values()))
        return {"cost": float(total), "gain": total + math.sin(total) + spread}

    def details(self, architecture: Architecture) -> Mapping[str, Any]:
        return {"parts": dict(architecture)}


class OnGrid(Cost):
    """A table of `Grid`: it knows no other space."""

    name: ClassVar[str] = "on_grid"

    def __init__(self, space: Any, data: Any = None) -> None:
        super().__init__(space, data)
        if type(space) is not Grid:
            raise SpecError(f"there is no table for the space {space.name}")

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return (Metric("tabled", "", "maximize"),)

    def evaluate(self, architecture: Architecture, **_: Any) -> dict[str, float]:
        return {"tabled": float(value(architecture))}


class Train(Estimator):
    """Pretends to train; reports what it promises, and a loss that it does not."""

    name: ClassVar[str] = "train"
    deterministic: ClassVar[bool] = False
    reports: ClassVar[bool] = True

    def __init__(
        self,
        space: Any,
        data: Any = None,
        *,
        epochs: int = 2,
        nan_at: int | None = None,
        raise_at: int | None = None,
        die_at: int | None = None,
        exit_at: int | None = None,
        stop_at: int | None = None,
        sleep_s: float = 0.0,
        weights: bool = False,
        tested: bool = False,
        log: str | None = None,
        pids: str | None = None,
        deadly_test: bool = False,
    ) -> None:
        super().__init__(space, data)
        self.epochs, self.nan_at, self.raise_at, self.die_at = epochs, nan_at, raise_at, die_at
        self.exit_at, self.stop_at, self.pids = exit_at, stop_at, pids
        self.sleep_s, self.weights, self.log = sleep_s, weights, log
        self.tested, self.deadly_test = tested or weights, deadly_test
        self._last: dict[str, Any] | None = None

    @property
    def metrics(self) -> tuple[Metric, ...]:
        found = (Metric("accuracy", "%", "maximize"),)
        tested = Metric("test_accuracy", "%", "maximize", split="test")
        return (*found, tested) if self.tested else found

    def identity(self) -> dict[str, Any]:
        return {"epochs": self.epochs}

    def evaluate(
        self,
        architecture: Architecture,
        *,
        seed: int = 0,
        budget: float | None = None,
        report: Any = None,
    ) -> dict[str, float]:
        total = value(architecture)
        if self.log:
            with Path(self.log).open("a") as file:
                file.write(f"{architecture.to_json()} {seed}\n")
        if self.pids:
            Path(self.pids).write_text(str(os.getpid()))
        if total == self.exit_at:
            sys.exit(3)
        if total == self.raise_at:
            print("what it printed")
            raise EvaluationError("it does not train")
        if total == self.die_at:
            os._exit(1)
        accuracy = 0.0
        for epoch in range(1, 1 + int(budget or self.epochs)):
            time.sleep(self.sleep_s)
            accuracy = total + epoch / 10 + self._noise(seed)
            if total == self.nan_at:
                accuracy = math.nan
            if report is not None:
                report(epoch, {"accuracy": accuracy, "loss": 1 / epoch})  # a curve, no metric
            if total == self.stop_at:
                raise StopTrial("enough")
        if self.weights:
            import torch

            self._last = {"w": torch.full((4,), float(seed % 1000))}
        return {"accuracy": accuracy}

    def test(
        self, architecture: Architecture, *, seed: int = 0, weights: Any = None
    ) -> dict[str, float]:
        if self.deadly_test:
            os._exit(1)
        if self.weights and (weights is None or float(weights["w"][0]) != seed % 1000):
            raise EvaluationError(f"the weights are not those of seed {seed}: {weights}")
        return {"test_accuracy": value(architecture) - 1.0}

    def trained_weights(self) -> Mapping[str, Any] | None:
        return self._last

    @staticmethod
    def _noise(seed: int) -> float:
        rng: Random = derive_rng(seed, "noise")
        return rng.random() / 100


class Exact(Train):
    """The same every time: its results are reused across runs."""

    name: ClassVar[str] = "exact"
    deterministic: ClassVar[bool] = True

    @staticmethod
    def _noise(seed: int) -> float:
        return 0.0


class OnlyHere:
    """Fine where it is made, not in a worker."""

    def __getstate__(self) -> dict[str, Any]:
        return {"made_in": os.getpid()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if os.getpid() != state["made_in"]:
            raise RuntimeError("this cannot be loaded elsewhere")


class Unloadable(OnlyHere, Train):
    """Trains where it was made."""

    name: ClassVar[str] = "unloadable"


class UnloadableCost(OnlyHere, Cost):
    """Cheap where it was made."""

    name: ClassVar[str] = "unloadable_cost"


class Remembering(RandomSearch):
    """Random search that writes a checkpoint whenever it is told something."""

    name: ClassVar[str] = "remembering"

    def __init__(self) -> None:
        super().__init__(batch=4)
        self._told = 0

    def tell(self, results: Any) -> None:
        import torch

        for _ in results:
            self._told += 1
            self.context.checkpoint("memory", {"told": torch.tensor(self._told)})


class Noting(RandomSearch):
    """Random search that notes how much it was told."""

    name: ClassVar[str] = "noting"

    def __init__(self) -> None:
        super().__init__(batch=4)
        self._told = 0

    def tell(self, results: Any) -> None:
        self._told += len(results)
        self.context.note("memory", {"told": self._told, "by": ["four"]}, "count")
