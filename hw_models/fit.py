"""Coefficients that calibration fitted to measured networks, as a device file holds them.

    latency = (constant + sum over the kernels that run of their cost) x correction

A kernel costs what the table says of it, else the coefficients of the groups that it belongs to,
times its work. The correction is 1, or what a learned model says of the network as a whole, kept
within the range that it had on the measured networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .dtypes import Dtype
from .executed import every_kernel, live_kernels
from .fusion import Kernel
from .work import Work
from .workload import Workload

Features: TypeAlias = Literal["roofline", "counts", "work", "work_by_size"]
Runs: TypeAlias = Literal["every", "live"]
FEATURES: tuple[Features, ...] = ("roofline", "counts", "work", "work_by_size")
WORK = ("us_per_kernel", "us_per_mmac", "us_per_mb", "us_per_weight_mb")


class Coefficients(BaseModel):
    """What one kernel of a group costs.

    Args:
        us_per_kernel: Microseconds each.
        us_per_mmac: Per million multiply-adds.
        us_per_mb: Per 10^6 bytes of activations read and written.
        us_per_weight_mb: Per 10^6 bytes of weights read.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    us_per_kernel: float = Field(default=0.0, ge=0)
    us_per_mmac: float = Field(default=0.0, ge=0)
    us_per_mb: float = Field(default=0.0, ge=0)
    us_per_weight_mb: float = Field(default=0.0, ge=0)

    def us(self, amounts: Sequence[float]) -> float:
        """Return the cost of these amounts of work, in the order of `WORK`."""
        each = (self.us_per_kernel, self.us_per_mmac, self.us_per_mb, self.us_per_weight_mb)
        return sum([c * a for c, a in zip(each, amounts, strict=True) if c])


class Correction(BaseModel):
    """A learned factor: linear in totals of the network, or the mean of regression trees.

    Args:
        totals: What it looks at: `kind: measure`, summed over the kernels that run.
        center: Of each total, what is subtracted.
        spread: And then divided by.
        weights: Of the linear model, per total; empty for trees.
        trees: Each a list of nodes [total, threshold, left, right, value]; leaves have total -1.
        constant: What the weighted totals, or the trees, are added to.
        lowest: The factor is at least this.
        highest: And at most this.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    totals: tuple[str, ...]
    center: tuple[float, ...]
    spread: tuple[float, ...]
    weights: tuple[float, ...] = ()
    trees: tuple[tuple[tuple[float, ...], ...], ...] = ()
    constant: float
    lowest: float = Field(gt=0)
    highest: float = Field(gt=0)

    @model_validator(mode="after")
    def _consistent(self) -> Correction:
        count = len(self.totals)
        if not len(self.center) == len(self.spread) == count or 0 in self.spread:
            raise ValueError(f"center and spread must have {count} numbers, spread none of them 0")
        if self.weights and len(self.weights) != count:
            raise ValueError(f"weights must have {count} numbers, got {len(self.weights)}")
        for number, tree in enumerate(self.trees):
            if not tree or not all(
                _sound(i, node, len(tree), count) for i, node in enumerate(tree)
            ):
                raise ValueError(
                    f"tree {number} must have nodes [total, threshold, left, right, value] that "
                    "lead to later ones, and leaves with total -1"
                )
        return self

    def factor(self, totals: Mapping[str, float]) -> float:
        """Return the factor of a network with these totals; one that is missing is 0."""
        x = [
            (totals.get(name, 0.0) - c) / s
            for name, c, s in zip(self.totals, self.center, self.spread, strict=True)
        ]
        value = self.constant
        if self.weights:
            value += sum([w * v for w, v in zip(self.weights, x, strict=True)])
        if self.trees:
            value += sum([_leaf(tree, x) for tree in self.trees]) / len(self.trees)
        return min(max(value, self.lowest), self.highest)


def _sound(place: int, node: Sequence[float], nodes: int, totals: int) -> bool:
    """Return whether a node of a tree leads on, or ends."""
    if len(node) != 5:
        return False
    total, _, left, right, _ = node
    return total < 0 or (total < totals and place < min(left, right) and max(left, right) < nodes)


def _leaf(tree: Sequence[Sequence[float]], x: Sequence[float]) -> float:
    node = tree[0]
    while node[0] >= 0:
        node = tree[int(node[2] if x[int(node[0])] <= node[1] else node[3])]
    return node[4]


class Fit(BaseModel):
    """What was fitted, to what; see the module's text.

    Args:
        batch: The batch size of the measurements.
        dtype: Their number format.
        runs: Which layers cost something: `every` one, or the `live` ones (see `executed`).
        features: How kernels are grouped: all together and those with MACs apart (`roofline`), by
            kind (`counts`: so much each; `work`: also per MAC and byte), by kind and window.
        constant_us: What every network costs.
        groups: The coefficients of each group.
        scale: Measured over modelled time of the measured networks: what the roofline of a kernel
            is multiplied by when no measured network had one of its group.
        table: Microseconds of single kernels, by label; they take the place of the coefficients.
        correction: A factor for the network as a whole.
        n: How many networks were measured.
        source: Which networks, how measured.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    batch: int = Field(ge=1)
    dtype: Dtype
    runs: Runs
    features: Features
    constant_us: float = Field(ge=0)
    groups: dict[str, Coefficients]
    scale: float = Field(gt=0)
    table: dict[str, Annotated[float, Field(ge=0)]] = {}
    correction: Correction | None = None
    n: int = Field(ge=1)
    source: str = Field(min_length=10)

    def __hash__(self) -> int:
        return hash(self.model_dump_json())


def running(workload: Workload, runs: Runs) -> tuple[Kernel, ...]:
    """Return the kernels that cost something."""
    return every_kernel(workload) if runs == "every" else live_kernels(workload)


def groups_of(work: Work, features: Features) -> tuple[str, ...]:
    """Return the groups that a kernel belongs to."""
    if features == "roofline":
        return ("any", "with MACs") if work.macs else ("any",)
    if features == "work_by_size" and work.size:
        return (f"{work.kind} {work.size}",)
    return (work.kind,)


def amounts(work: Work, batch: int) -> tuple[float, float, float, float]:
    """Return the work of a kernel at a batch in the units of `WORK`."""
    return (1.0, work.macs * batch / 1e6, work.moved * batch / 1e6, work.weights / 1e6)


def totals_of(works: Sequence[Work], batch: int) -> dict[str, float]:
    """Return what a correction looks at; integers inside, so that the order changes nothing."""
    found: dict[str, list[int]] = {}
    for work in works:
        for name in ("all", work.kind):
            sums = found.setdefault(name, [0, 0, 0, 0])
            sums[0] += 1
            sums[1] += work.macs
            sums[2] += work.moved
            sums[3] += work.weights
    return {
        f"{name}: {measure[7:]}": value
        for name, (count, *sums) in found.items()
        for measure, value in zip(
            WORK, (float(count), *amounts(Work("", "", *sums), batch)[1:]), strict=True
        )
    }
