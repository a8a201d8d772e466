"""What the mixture is expected to cost: a term of the architecture's loss.

    E[cost] = sum over decisions e and options o of softmax(alpha_e)_o cost(e, o)

cost(e, o) is the metric of option o in every layer of the super-network that holds decision e; it
is worked out once. Terms are divided by their value for uniform logits, so that a weight of 1 makes
"as expensive as the average" count as much as a loss of 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import SpecError, UnknownName
from ...hw_models import Workload, model_for, trace
from ...spaces.layers import ModuleSupernet, OneOf

COUNTS: dict[str, Callable[[Workload], float]] = {
    "macs": lambda work: float(work.macs),
    "params": lambda work: float(work.params),
    "peak_activation_bytes": lambda work: float(work.peak_activation_bytes),
}
ADDITIVE = ("macs", "params", "latency_ms", "energy_mj")  # add up over layers


class ExpectedCost:
    """Weighted terms of expected cost.

    Args:
        supernet: Whose options are costed.
        example: An input.
        weights: Metric -> weight: `macs`, `params`, `latency_ms@DEVICE`, `energy_mj@DEVICE`.

    Raises:
        SpecError: If a metric is no sum over the options' own costs, or nothing costs anything.
        UnknownName: If there is no such device.
    """

    def __init__(
        self, supernet: ModuleSupernet, example: Tensor, weights: Mapping[str, float]
    ) -> None:
        self._weights = dict(weights)
        for metric in weights:
            check_additive(metric)
        measures = {metric: measure_of(metric) for metric in weights}
        workloads = _workloads(supernet, example)
        self.tables = {
            metric: {
                name: torch.tensor([sum(map(measure, works)) for works in rows])
                for name, rows in workloads.items()
            }
            for metric, measure in measures.items()
        }
        self._uniform = {
            metric: sum(float(row.mean()) for row in table.values())
            for metric, table in self.tables.items()
        }
        if free := [metric for metric, cost in self._uniform.items() if not cost]:
            raise SpecError(f"cost: no option of the space costs any {free[0]}; leave it out")

    def expected(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return metric -> E[cost], in its own unit.

        Args:
            weights: Decision -> softmax of its logits; gradients flow into them.
        """
        return {
            metric: torch.stack(
                [(row * table[n].to(row)).sum() for n, row in weights.items()]
            ).sum()
            for metric, table in self.tables.items()
        }

    def relative(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return each expected cost over that of uniform logits.

        Args:
            weights: Decision -> softmax of its logits.
        """
        return {m: value / self._uniform[m] for m, value in self.expected(weights).items()}

    def __call__(self, weights: Mapping[str, Tensor]) -> Tensor:
        """Return the weighted sum, to be added to a loss."""
        terms = [self._weights[m] * value for m, value in self.relative(weights).items()]
        return torch.stack(terms).sum()


def measure_of(metric: str, option: str = "cost") -> Callable[[Workload], float]:
    """Return what a metric makes of a workload: a count, or a field of a device's cost.

    Args:
        metric: Name of a count, or `FIELD@DEVICE`.
        option: Which asks for it.

    Raises:
        SpecError: If it is neither, or there is no such device.
    """
    field, _, device = metric.partition("@")
    if not device and field in COUNTS:
        return COUNTS[field]
    if not device:
        raise SpecError(
            f"{option}: {metric!r} does not follow from a network's layers; choose one of "
            f"{', '.join(COUNTS)}, or a metric of a device (latency_ms@DEVICE)"
        )
    try:
        model = model_for(device)
    except UnknownName as error:
        raise SpecError(
            f"{option}: {metric!r} needs a device's own name, not one that a spec gives it: {error}"
        ) from error
    if field not in model.provides:
        raise SpecError(
            f"{option}: {device} gives {', '.join(model.provides)}, got {metric!r}; choose one of "
            "these"
        )
    return lambda work: float(getattr(model.cost(work, breakdown=False, enforce=False), field))


def check_additive(metric: str) -> None:
    """Refuse a metric that is no sum over the layers.

    Raises:
        SpecError: Says which are.
    """
    if metric.partition("@")[0] not in ADDITIVE:
        raise SpecError(
            f"cost: a term must add up over the layers, as {', '.join(ADDITIVE)} do; got "
            f"{metric!r}: make it an objective or a constraint instead, or, where it follows from "
            "a network's layers, one of `limits`"
        )


def _workloads(supernet: ModuleSupernet, example: Tensor) -> dict[str, list[list[Workload]]]:
    """Return, for each decision and option, the workloads of its layers, traced on their inputs."""
    copy = deepcopy(supernet).cpu().eval()
    options = copy.mixtures
    copy.mix({name: torch.full((len(row),), 1 / len(row)) for name, row in options.items()})
    shapes: dict[nn.Module, tuple[int, ...]] = {}
    layers = [m for m in copy.modules() if isinstance(m, OneOf)]
    for layer in layers:
        for candidate in layer.candidates:
            candidate.register_forward_pre_hook(_noting(shapes))
    with torch.no_grad():
        copy(example.cpu())
    found: dict[str, list[list[Workload]]] = {n: [[] for _ in row] for n, row in options.items()}
    for layer in layers:
        for works, candidate in zip(found[layer.choice.name], layer.candidates, strict=True):
            if (shape := shapes.get(candidate)) is not None:
                candidate._forward_pre_hooks.clear()
                works.append(trace(candidate, torch.zeros(shape)))
    return found


def _noting(shapes: dict[nn.Module, tuple[int, ...]]) -> Any:
    def note(module: nn.Module, inputs: Any) -> None:
        shapes[module] = (1, *inputs[0].shape[1:])

    return note
