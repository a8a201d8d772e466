"""What the expected cost of a drawn path does to the architecture's loss, measured by a reference.

    E[cost] = fixed + sum over decisions e and options o of softmax(alpha_e)_o cost(e, o)

    add:       CE + weight (E[cost] - reference) / reference
    multiply:  scale CE (log E[cost] / log reference)^power

Several metrics add up, or multiply. `fixed` is what no decision changes (stem, classifier): the
cost of one path less that of its options, so that E[cost] of a path that is certain is its cost,
where costs add up over layers.

Source: arXiv 1812.00332, section 3.3; mit-han-lab/proxylessnas: search/nas_manager.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from ...errors import SpecError
from ...hw_models import trace
from ...spaces.layers import ModuleSupernet, cut
from .expected_cost import ExpectedCost, measure_of

Penalty: TypeAlias = Literal["add", "multiply"]


@dataclass(frozen=True)
class Terms:
    """How a cost enters the loss.

    Args:
        reference: Metric -> the cost that is wanted.
        penalty: `add` or `multiply`.
        weight: Of what is added.
        scale: Of the product.
        power: Of the ratio of logarithms.

    Raises:
        SpecError: If a reference has no logarithm above 0, and one is needed.
    """

    reference: Mapping[str, float]
    penalty: Penalty = "add"
    weight: float = 0.1
    scale: float = 0.2
    power: float = 0.3

    def __post_init__(self) -> None:
        low = [metric for metric, value in self.reference.items() if value <= 1]
        if self.penalty == "multiply" and low:
            raise SpecError(
                f"penalty: multiply takes the logarithm of a reference, which must be above 1; got "
                f"{low[0]}: {self.reference[low[0]]:g}; use penalty: add"
            )

    def loss(self, error: Tensor, costs: Mapping[str, Tensor]) -> Tensor:
        """Return the architecture's loss.

        Args:
            error: Its cross-entropy (of targets its mean square).
            costs: Metric -> expectation.
        """
        if self.penalty == "add":
            over = [(costs[m] - value) / value for m, value in self.reference.items()]
            return error + self.weight * torch.stack(over).sum()
        ratios = [costs[m].log() / math.log(value) for m, value in self.reference.items()]
        return self.scale * error * torch.stack(ratios).prod() ** self.power


class PathCost:
    """What the path that a super-network draws is expected to cost, in the units of the metrics.

    Args:
        supernet: Whose options are costed.
        example: An input.
        terms: Names the metrics.

    Raises:
        SpecError: If a metric is no sum over layers, nothing costs anything, or a cost has no
            logarithm that is needed.
        UnknownName: If there is no such device.
    """

    def __init__(self, supernet: ModuleSupernet, example: Tensor, terms: Terms) -> None:
        names = dict.fromkeys(terms.reference, 1.0)
        self._options = ExpectedCost(supernet, example, names)
        tables = self._options.tables
        self._fixed = {
            metric: _whole(supernet, example, metric, table)
            - sum(float(r.max()) for r in table.values())
            for metric, table in tables.items()
        }
        for metric, table in tables.items():
            least = self._fixed[metric] + sum(float(row.min()) for row in table.values())
            if terms.penalty == "multiply" and least <= 1:
                raise SpecError(
                    f"penalty: multiply takes the logarithm of costs, which must be above 1; a "
                    f"network of this space has {metric} {least:g}; use penalty: add"
                )

    def expected(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return metric -> E[cost].

        Args:
            weights: Decision -> softmax of its logits; gradients flow into them.
        """
        return {m: self._fixed[m] + value for m, value in self._options.expected(weights).items()}


def _whole(
    supernet: ModuleSupernet, example: Tensor, metric: str, table: Mapping[str, Tensor]
) -> float:
    """Return the cost of the path of the costliest options, with all that lies around them."""
    copy = deepcopy(supernet).cpu().eval()
    copy.restrict({})
    copy.select({name: copy.mixtures[name][int(row.argmax())] for name, row in table.items()})
    return measure_of(metric)(
        trace(cut(copy.module, inherit=True), torch.zeros_like(example.cpu()))
    )
