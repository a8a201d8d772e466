"""When a search starts to fail: the curvature of the validation loss over the architecture.

Cells of DARTS that fill up with skip connections announce it by a rising largest eigenvalue of
the Hessian of L_val with respect to the logits.

Source: Zela et al., arXiv 1909.09656, section 4.3; automl/RobustDARTS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

WINDOW = 5  # epochs of the running mean
BACK = 4  # epochs between the two means that are compared
FIRST = 10  # the earliest epoch that is gone back to
RISE = 1.3


class Eigenvalues:
    """Those of the epochs so far; saved with a search."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def state_dict(self) -> dict[str, Any]:
        """Return the values."""
        return {"values": list(self.values)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self.values = list(state["values"])


def largest_eigenvalue(loss: Tensor, alphas: Sequence[Tensor], decay: float = 0.0) -> float:
    """Return the largest eigenvalue of the Hessian of `loss` over all logits, plus their decay.

    One backward pass per logit, through a graph of the first derivative.

    Args:
        loss: A scalar that depends on the logits.
        alphas: The rows of logits.
        decay: Weight decay of the logits, which adds to the diagonal.
    """
    first = torch.autograd.grad(
        loss, alphas, create_graph=True, allow_unused=True, materialize_grads=True
    )
    flat = torch.cat([g.reshape(-1) for g in first])
    rows = []
    for value in flat:
        if not value.requires_grad:
            rows.append(torch.zeros_like(flat))
            continue
        second = torch.autograd.grad(
            value, alphas, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        rows.append(torch.cat([s.reshape(-1) for s in second]))
    hessian = torch.stack(rows).detach().double()
    symmetric = (hessian + hessian.T) / 2 + decay * torch.eye(len(rows), device=hessian.device)
    return float(torch.linalg.eigvalsh(symmetric)[-1])


def epoch_to_return_to(eigenvalues: Sequence[float]) -> int | None:
    """Return the epoch (counted from 0) whose architecture is to be taken, if it is time to stop.

    The running mean over five epochs is compared with that of four epochs before; where it has
    risen by more than 1.3 times, the search goes back to the centre of the earlier window, from
    epoch 10 on.

    Args:
        eigenvalues: Of each epoch so far.
    """
    centre = len(eigenvalues) - 1 - WINDOW // 2
    if centre - BACK < FIRST:
        return None
    now = sum(eigenvalues[-WINDOW:]) / WINDOW
    then = sum(eigenvalues[-WINDOW - BACK : -BACK]) / WINDOW
    return centre - BACK if now > RISE * then else None
