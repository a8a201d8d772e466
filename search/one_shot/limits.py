"""Derivation under limits: not more skip connections than wanted, and within hard budgets.

Both forbid one option after another and derive again, so that what remains is decided by the
weights as before. Skips: the lightest one goes first (P-DARTS, arXiv 1904.12760, keeps two in the
normal cell). Budgets: the option goes whose next best costs least weight for what it saves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from ...errors import SpecError
from ...estimators.complexity import Workloads
from ...spaces import Architecture, DecisionSpace, Space
from ...spaces.layers import ModuleSupernet
from .derivation import NONE, CellSpace
from .expected_cost import ADDITIVE, ExpectedCost, measure_of

SKIPS = ("skip_connect", "skip")

Derive = Callable[[Mapping[str, Tensor]], Architecture]
Table = Mapping[str, Tensor]  # decision -> cost of each option


class Limits:
    """The limits of one search.

    Args:
        space: Where the architectures live.
        supernet: Tells what each option costs, about.
        example: An input.
        max_skips: Skip connections allowed, in the normal cell where there are two kinds.
        limits: Metric -> most that an architecture may cost: `macs`, `params`,
            `peak_activation_bytes`, or a metric of a device.

    Raises:
        SpecError: If a metric does not follow from a network's layers.
        UnknownName: If there is no such device.
    """

    def __init__(
        self,
        space: Space,
        supernet: ModuleSupernet,
        example: Tensor,
        *,
        max_skips: int | None = None,
        limits: Mapping[str, float] | None = None,
    ) -> None:
        self._space, self._options = space, supernet.mixtures
        self._max_skips, self._limits = max_skips, dict(limits or {})
        self._measures = {metric: measure_of(metric, "limits") for metric in self._limits}
        self._tables: dict[str, Table] = {}
        if self._limits:
            self._workloads = Workloads(space)
            guides = {m: m if m.partition("@")[0] in ADDITIVE else "macs" for m in self._limits}
            tables = ExpectedCost(supernet, example, dict.fromkeys(guides.values(), 1.0)).tables
            self._tables = {metric: tables[guide] for metric, guide in guides.items()}

    def derived(self, weights: Mapping[str, Tensor], derive: Derive) -> Architecture:
        """Return the architecture of the heaviest weights that keeps all limits.

        Raises:
            SpecError: If none does.
        """
        chosen = (self._space, self._options)
        if self._max_skips is not None:
            _, weights = limit_skips(*chosen, weights, derive, self._max_skips)
        for metric, most in self._limits.items():
            table, measure = self._tables[metric], self._measured(metric)
            _, weights = limit_cost(*chosen, weights, derive, table, measure, most)
        return derive(weights)

    def _measured(self, metric: str) -> Callable[[Architecture], float]:
        return lambda architecture: self._measures[metric](self._workloads.of(architecture))


def chosen_options(space: DecisionSpace, architecture: Architecture) -> dict[str, Any]:
    """Return decision -> option of what an architecture keeps."""
    if isinstance(space, CellSpace):
        return {n: o for n, o in architecture.items() if n in space.operations}
    return dict(architecture)


def limit_skips(
    space: DecisionSpace,
    options: Mapping[str, Sequence[Any]],
    weights: Mapping[str, Tensor],
    derive: Derive,
    most: int,
) -> tuple[Architecture, dict[str, Tensor]]:
    """Derive with at most so many skip connections; in the normal cell, where there are two kinds.

    Args:
        space: Where the architecture lives.
        options: Decision -> options, in the order of the weights.
        weights: Decision -> weights after the softmax.
        derive: Returns the architecture of weights.
        most: How many are allowed.

    Returns:
        The architecture, and the weights with those of the forbidden options 0.
    """
    left = {name: row.detach().clone() for name, row in weights.items()}
    while True:
        architecture = derive(left)
        skips = [
            (float(left[name][options[name].index(option)]), name)
            for name, option in chosen_options(space, architecture).items()
            if option in SKIPS and _counts(space, name)
        ]
        if len(skips) <= most:
            return architecture, left
        _, name = min(skips)
        for option in SKIPS:
            if option in options[name]:
                left[name][options[name].index(option)] = 0.0
        if not _others(options[name], left[name]):
            raise SpecError(
                f"max_skips: {name} has nothing but a skip connection left; allow more than {most}"
            )


def limit_cost(
    space: DecisionSpace,
    options: Mapping[str, Sequence[Any]],
    weights: Mapping[str, Tensor],
    derive: Derive,
    table: Table,
    measure: Callable[[Architecture], float],
    most: float,
) -> tuple[Architecture, dict[str, Tensor]]:
    """Derive what does not cost more than a limit.

    Args:
        space: Where the architecture lives.
        options: Decision -> options, in the order of the weights.
        weights: Decision -> weights after the softmax.
        derive: Returns the architecture of weights.
        table: What each option costs, about.
        measure: What an architecture costs, exactly.
        most: The limit.

    Raises:
        SpecError: If the cheapest options cost more.
    """
    left = {name: row.detach().clone() for name, row in weights.items()}
    while True:
        architecture = derive(left)
        cost = measure(architecture)
        if cost <= most:
            return architecture, left
        steps = [
            (*step, name)
            for name, option in chosen_options(space, architecture).items()
            if (step := _cheaper(options[name], left[name], table[name], option)) is not None
        ]
        if not steps:
            raise SpecError(
                f"limits: the cheapest options that the search leaves cost {cost:g}, more than "
                f"{most:g}; raise the limit, or make the space smaller"
            )
        _, place, name = min(steps)
        left[name][place] = 0.0


def _cheaper(
    options: Sequence[Any], weights: Tensor, costs: Tensor, option: Any
) -> tuple[float, int] | None:
    """Return (weight lost for each unit saved, place) of giving an option up; None: no cheaper."""
    place = options.index(option)
    saving = [
        i
        for i, other in enumerate(options)
        if other != NONE and float(weights[i]) > 0 and float(costs[i]) < float(costs[place])
    ]
    if not saving:
        return None
    best = max(saving, key=lambda i: float(weights[i]))
    lost = float(weights[place] - weights[best])
    return lost / float(costs[place] - costs[best]), place


def _counts(space: DecisionSpace, name: str) -> bool:
    return not isinstance(space, CellSpace) or name.startswith("normal.")


def _others(options: Sequence[Any], weights: Tensor) -> bool:
    pairs = zip(options, weights.tolist(), strict=True)
    return any(weight > 0 for option, weight in pairs if option != NONE)
