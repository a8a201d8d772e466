"""One path at a time, and the gradient of its gates: how ProxylessNAS learns an architecture.

Each decision runs one option, drawn from the softmax p of its logits: of its gates g one is open
(1), the others are closed (0). The derivative by a gate needs the output that its option has or
would have had,

    dL/dg_j = <dL/dy, o_j(x)>,      dL/dalpha_i = sum over j of dL/dg_j p_j (delta_ij - p_i)

`all`: every option runs for that, one of them with weight 1. `two`: two options are drawn without
replacement, one of them opened by the softmax of their two logits, and p, i and j are of these two
alone; after the step both logits are moved together, so that the probabilities of all others are
what they were.

Source: arXiv 1812.00332, section 3; mit-han-lab/proxylessnas: search/modules/mix_op.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from ...spaces.decision import Option
from ...spaces.layers import ModuleSupernet
from .gradients import Loss
from .logits import Logits
from .pieces import gradients_of

Gates: TypeAlias = Literal["two", "all"]


@dataclass(frozen=True)
class Drawn:
    """The gates of one decision.

    Args:
        among: Positions of the options that run, ascending.
        open: Position of the one that counts.
    """

    among: tuple[int, ...]
    open: int


def draw_path(logits: Logits) -> dict[str, Option]:
    """Return one option of each decision, drawn by the softmax of its logits.

    Random numbers come from torch's generator.
    """
    with torch.no_grad():
        rows = logits.weights()
    return {name: logits.options[name][_one(row)] for name, row in rows.items()}


def run_path(supernet: ModuleSupernet, path: Mapping[str, Option]) -> None:
    """Let the options of a path run alone from now on, without weights."""
    supernet.mix(dict.fromkeys(supernet.mixtures))
    supernet.select(path)


def draw_gates(logits: Logits, gates: Gates) -> dict[str, Drawn]:
    """Return, for each decision, the options that run in a step on the architecture."""
    with torch.no_grad():
        rows = logits.weights()
    return {name: _drawn(row, logits.masked()[name].detach(), gates) for name, row in rows.items()}


def gate_gradients(
    supernet: ModuleSupernet,
    logits: Logits,
    drawn: Mapping[str, Drawn],
    loss: Loss,
) -> dict[str, Tensor]:
    """Return dL/dg of every gate, zeros for those that do not run: one forward and backward pass.

    Args:
        supernet: Mixes the options that run, closed gates with weight 0.
        logits: Say names and options.
        drawn: What runs.
        loss: Of the super-network as it is set.
    """
    weights = {
        name: F.one_hot(torch.tensor(drawn[name].open), len(row)).to(row).requires_grad_()
        for name, row in zip(logits.options, logits.rows, strict=True)
    }
    running = {name: [logits.options[name][i] for i in d.among] for name, d in drawn.items()}
    with supernet.among(running):
        supernet.mix(weights)
        found = gradients_of(loss(), list(weights.values()))
    return dict(zip(weights, found, strict=True))


def logit_gradients(
    logits: Logits, drawn: Mapping[str, Drawn], gates: Mapping[str, Tensor]
) -> list[Tensor]:
    """Return dL/dalpha of every row from the gradients of its gates."""
    return [
        _through_softmax(row.detach(), drawn[name].among, gates[name])
        for name, row in zip(logits.options, logits.rows, strict=True)
    ]


@torch.no_grad()
def keep_others(logits: Logits, drawn: Mapping[str, Drawn], before: Mapping[str, Tensor]) -> None:
    """Move the logits of the options that ran, so that the others' probabilities stay.

    Args:
        logits: After the step, changed in place.
        drawn: What ran.
        before: The rows before the step.
    """
    for name, row in zip(logits.options, logits.rows, strict=True):
        places = list(drawn[name].among)
        grown = torch.logsumexp(row[places], 0) - torch.logsumexp(before[name][places], 0)
        row[places] -= grown


def _through_softmax(row: Tensor, among: tuple[int, ...], gates: Tensor) -> Tensor:
    places = list(among)
    p, g = torch.softmax(row[places], 0), gates[places]
    found = torch.zeros_like(row)
    found[places] = p * (g - (p * g).sum())
    return found


def _drawn(row: Tensor, masked: Tensor, gates: Gates) -> Drawn:
    """Draw the gates of a decision.

    Args:
        row: Its probabilities, 0 where a mask forbids an option.
        masked: Its logits, -inf there.
        gates: How many run.
    """
    there = torch.nonzero(row).flatten().tolist()
    if gates == "all" or len(there) < 2:
        return Drawn(tuple(there), _one(row))
    pair = sorted(torch.multinomial(row, 2).tolist())
    return Drawn(tuple(pair), pair[_one(torch.softmax(masked[pair], 0))])


def _one(row: Tensor) -> int:
    return int(torch.multinomial(row, 1))
