"""Measured networks as matrices: how often each kernel runs in each, and what it does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .fit import WORK, Features, Runs, amounts, groups_of, running, totals_of
from .fusion import Kernel
from .regression import Matrix, Vector
from .work import Work, label_of, work_of
from .workload import Workload

# a column of a regression: the group, and the coefficients that are one number in it
Column = tuple[str, tuple[str, ...]]


@dataclass(frozen=True)
class Design:
    """Some networks, at one batch size.

    Args:
        kernels: Every different kernel of them.
        every: (networks, kernels) how often each is in each.
        live: Likewise, those that an exported network runs.
        batch: Images at once.
    """

    kernels: tuple[Kernel, ...]
    every: Matrix
    live: Matrix
    batch: int

    @classmethod
    def of(cls, workloads: Sequence[Workload], batch: int) -> Design:
        """Return the design of some networks."""
        place: dict[object, int] = {}
        kernels: list[Kernel] = []
        known: dict[int, int] = {}  # id of a kernel -> its column; `alive` keeps ids valid
        alive: list[Kernel] = []
        counts: dict[Runs, list[dict[int, int]]] = {"every": [], "live": []}
        for workload in workloads:
            for runs, rows in counts.items():
                row: dict[int, int] = {}
                for kernel in running(workload, runs):
                    column = known.get(id(kernel))
                    if column is None:
                        column = place.setdefault(kernel.signature, len(kernels))
                        if column == len(kernels):
                            kernels.append(kernel)
                        known[id(kernel)] = column
                        alive.append(kernel)
                    row[column] = row.get(column, 0) + 1
                rows.append(row)
        every, live = (_dense(rows, len(kernels)) for rows in counts.values())
        return cls(tuple(kernels), every, live, batch)

    def counts(self, runs: Runs) -> Matrix:
        """Return how often each kernel costs something in each network."""
        return self.every if runs == "every" else self.live

    @property
    def all_live(self) -> bool:
        """Whether no network has a layer that an exporter would drop."""
        return bool((self.every == self.live).all())

    @cached_property
    def works(self) -> tuple[Work, ...]:
        """The work of each kernel."""
        return tuple([work_of(kernel) for kernel in self.kernels])

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The text of each kernel."""
        return tuple([label_of(kernel) for kernel in self.kernels])

    def columns(self, features: Features) -> tuple[list[Column], Matrix]:
        """Return the columns that `features` means, and what one of each kernel adds to them."""
        columns: dict[Column, int] = {}
        entries: list[tuple[int, int, float]] = []
        for row, work in enumerate(self.works):
            values = dict(zip(WORK, amounts(work, self.batch), strict=True))
            for group in groups_of(work, features):
                for measures in _measures(features, group):
                    column = columns.setdefault((group, measures), len(columns))
                    entries.append((row, column, sum([values[m] for m in measures])))
        matrix = np.zeros((len(self.kernels), len(columns)))
        for row, column, value in entries:
            matrix[row, column] = value
        return list(columns), matrix

    def groups(self, features: Features) -> list[tuple[str, ...]]:
        """Return the groups of each kernel."""
        return [groups_of(work, features) for work in self.works]

    @cached_property
    def totals(self) -> tuple[tuple[str, ...], Matrix]:
        """What a correction looks at: names, and what one of each kernel adds."""
        each = [totals_of([work], self.batch) for work in self.works]
        names = sorted({name for found in each for name in found})
        matrix = np.array([[found.get(name, 0.0) for name in names] for found in each])
        return tuple(names), matrix.reshape(len(each), len(names))

    def each(self, value: Callable[[Work], float]) -> Vector:
        """Return a value of each kernel."""
        return np.array([value(work) for work in self.works])


def _measures(features: Features, group: str) -> tuple[tuple[str, ...], ...]:
    count, macs, activations, weights = WORK
    if features == "counts" or group == "with MACs":
        return ((count,),)
    if features == "roofline":
        return ((count,), (macs,), (activations, weights))
    return ((count,), (macs,), (activations,), (weights,))


def _dense(rows: Sequence[dict[int, int]], columns: int) -> Matrix:
    matrix = np.zeros((len(rows), columns))
    for number, row in enumerate(rows):
        for column, count in row.items():
            matrix[number, column] = count
    return matrix
