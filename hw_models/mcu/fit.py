"""Fits the cycles of a runtime's kernels to networks measured on a device.

Few networks are measured, and the classes of operators occur in nearly fixed proportions, so that
plain least squares would set some classes to nothing. The fit minimises squared relative errors
and stays near known coefficients; no class is negative, and a stem costs at least as much per
multiply-add as a 1x1 convolution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ...errors import SpecError
from ..device import Validation
from ..memory.graph import Graph, MemOp, spatial
from .cycles import CLASSES, WIDE_CHANNELS, Cycles, as_stem, depth, op_cycles

RIDGE = 0.001  # weight of a relative step away from the prior, beside squared relative errors
ROUNDS = 10  # of classes and coefficients in turn


@dataclass(frozen=True)
class CyclesFit:
    """Coefficients and how well they do.

    Args:
        cycles: Fitted to all networks.
        errors_percent: Of each network, signed, with all of them in the fit.
        left_out_percent: Of each network, signed, when the fit has not seen it.
    """

    cycles: Cycles
    errors_percent: tuple[float, ...]
    left_out_percent: tuple[float, ...]

    def validation(self, source: str) -> Validation:
        """Return the errors on networks left out, as a device file holds them."""
        errors = [abs(e) for e in self.left_out_percent]
        return Validation(
            n=len(errors), mape_percent=round(sum(errors) / len(errors), 1), source=source
        )


class Executed(NamedTuple):
    """A network as its runtime executes it.

    Args:
        graph: Lowered for the runtime.
        macs: Multiply-adds of each operator, halos of tiles included.
    """

    graph: Graph
    macs: Sequence[int]

    def cycles(self, table: Cycles) -> float:
        """Return what the model says of it."""
        pairs = zip(self.graph.ops, self.macs, strict=True)
        return math.fsum([c for op, n in pairs for c in op_cycles(self.graph, op, table, n)])


def features(network: Executed, table: Cycles | None = None) -> tuple[float, ...]:
    """Return what multiplies each field of `Cycles` for one network.

    Args:
        network: Its operators.
        table: A convolution beyond 1x1 counts as a stem or as plain, whichever costs more under
            it; None: as a stem below 16 input channels.
    """
    counts = dict.fromkeys(Cycles._fields, 0.0)
    graph = network.graph
    for op, macs in zip(graph.ops, network.macs, strict=True):
        name = CLASSES.get(op.kind)
        if name == "conv" and _is_stem(graph, op, table):
            counts["stem"] += as_stem(graph, op, macs)
        elif name:
            counts[name] += macs
        if name in ("conv", "pw"):
            shape = graph.tensors[op.output].shape
            counts["output"] += shape[0] * shape[1] * math.prod(spatial(shape))
        counts["op"] += 1
    return tuple(counts.values())


def _is_stem(graph: Graph, op: MemOp, table: Cycles | None) -> bool:
    if table is None:
        return depth(graph, op) < WIDE_CHANNELS
    return table.stem * as_stem(graph, op, op.macs) > table.conv * op.macs


def fit_cycles(
    graphs: Sequence[Graph], latencies_ms: Sequence[float], clock_hz: float, prior: Cycles
) -> CyclesFit:
    """Return the coefficients for networks measured on one device under one runtime.

    Args:
        graphs: Lowered for that runtime.
        latencies_ms: Measured.
        clock_hz: At which they ran.
        prior: Coefficients of the same kernels elsewhere, scaled to the core; what is 0 there
            stays 0.

    Raises:
        SpecError: If there are fewer than two networks, their number differs from that of the
            latencies, or a latency is not a positive number.
    """
    if len(graphs) != len(latencies_ms) or len(graphs) < 2:
        raise SpecError(
            "a fit needs at least two networks and a latency for each, got "
            f"{len(graphs)} networks and {len(latencies_ms)} latencies"
        )
    if wrong := [t for t in latencies_ms if not (t > 0 and math.isfinite(t))]:
        raise SpecError(f"latencies must be positive numbers of milliseconds, got {wrong[0]!r}")
    networks = [Executed(g, [op.macs for op in g.ops]) for g in graphs]
    cycles = [t * clock_hz / 1e3 for t in latencies_ms]
    found = fitted(networks, cycles, prior)
    left_out = []
    for i in range(len(networks)):
        rest = fitted(networks[:i] + networks[i + 1 :], cycles[:i] + cycles[i + 1 :], prior)
        left_out.append(100 * _error(networks[i], cycles[i], rest))
    errors = [100 * _error(n, c, found) for n, c in zip(networks, cycles, strict=True)]
    return CyclesFit(found, tuple(errors), tuple(left_out))


def fitted(networks: Sequence[Executed], cycles: Sequence[float], prior: Cycles) -> Cycles:
    """Return the coefficients that explain the cycles of networks best.

    Which class a convolution belongs to depends on the coefficients, so that both are found in
    turn; of the rounds the best one counts.
    """
    best, least, table = prior, math.inf, None
    for _ in range(ROUNDS):
        found = _solve([features(n, table) for n in networks], cycles, prior)
        error = sum([_error(n, c, found) ** 2 for n, c in zip(networks, cycles, strict=True)])
        if error < least:
            best, least = found, error
        if found == table:
            break
        table = found
    return best


def _error(network: Executed, cycles: float, table: Cycles) -> float:
    return network.cycles(table) / cycles - 1


def _solve(rows: Sequence[Sequence[float]], cycles: Sequence[float], prior: Cycles) -> Cycles:
    """Return the coefficients that minimise squared relative errors plus the ridge."""
    import numpy as np
    from scipy.optimize import nnls

    known = np.array(prior)
    free = known > 0
    # the unknown of the stem is what it costs beyond a 1x1 convolution
    beyond = np.eye(len(known))
    beyond[Cycles._fields.index("stem"), Cycles._fields.index("pw")] = 1.0
    data = np.array(rows) / np.array(cycles)[:, None] @ beyond
    scale = np.where(free, known, 1.0)
    ridge = math.sqrt(RIDGE) * beyond / scale[:, None]
    left = np.vstack([data, ridge])[:, free]
    right = np.concatenate([np.ones(len(rows)), math.sqrt(RIDGE) * free])
    steps, _ = nnls(left, right)
    full = np.zeros(len(known))
    full[free] = steps
    return Cycles(*[float(v) for v in beyond @ full])
