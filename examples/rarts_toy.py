"""The model of a search that can be solved by hand, and RARTS on it.

    netloom search examples/rarts_toy.yaml

    L_val = alpha y - 2 alpha + 1,    L_train = w^2 - 2 alpha w + alpha^2

The bilevel optimum is alpha = w = 1. First-order DARTS ends at 2. RARTS ends at
2 / (2 - 1/(2 lambda) - 1/beta): the stronger lambda and beta, the closer to the optimum, and the
smaller the steps must be. Unless 4 lambda beta > 2 lambda + beta it diverges; the options below all
converge.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from netloom.errors import EvaluationError
from netloom.estimators import declares
from netloom.search.one_shot.relaxed import Move, Relaxed
from netloom.spaces import Architecture, Decision, DecisionSpace

STRENGTHS = (1, 2, 5, 10, 20)


class Couplings(DecisionSpace):
    """The two numbers of RARTS: lambda weighs the training loss, beta couples the copies."""

    name = "couplings"

    def __init__(self) -> None:
        super().__init__([Decision(n, STRENGTHS, ordered=True) for n in ("lambda", "beta")])


@declares({"error": {"direction": "minimize"}, "strength": {"direction": "minimize"}})
def solve(architecture: Architecture, rate: float = 0.02, steps: int = 4000) -> dict[str, float]:
    """Run RARTS with plain gradient steps until it stands still."""
    alpha, w, y = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (2, -2, 0))
    weight, coupling = float(architecture["lambda"]), float(architecture["beta"])
    problem = Relaxed([w], [y], [alpha], weight, coupling, mode="fused")

    def mover(value: Tensor) -> Move:
        def move(gradients: Sequence[Tensor]) -> None:
            value.data -= rate * gradients[0]

        return move

    moves = [mover(value) for value in (w, y, alpha)]
    for _ in range(steps):
        before = alpha.item()
        problem.step(
            lambda: w**2 - 2 * alpha * w + alpha**2, lambda: alpha * y - 2 * alpha + 1, *moves
        )
        if abs(alpha.item() - before) < 1e-5:
            return {"error": abs(alpha.item() - 1), "strength": weight + coupling}
    raise EvaluationError(f"RARTS did not come to rest in {steps} steps: alpha = {alpha.item():g}")
