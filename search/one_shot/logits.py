"""The architecture as parameters: a row of logits for every decision."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import SpecError

INIT = 1e-3  # standard deviation of the initial logits


class Logits(nn.Module):
    """One row of logits per name, softmax over the options that are allowed.

    Rows are parameters, in `state_dict` with everything else. They belong to the architecture's
    optimizer alone: they are no part of the super-network, so that no step, decay or clipping of
    its weights can touch them.

    Args:
        options: Name -> options, in the order of the columns.
        allowed: Name -> options that may be taken; names left out allow all. What is forbidden has
            weight 0 and no gradient.
        generator: Draws the initial values; None: all 0.
        scale: Their standard deviation.

    Raises:
        SpecError: If a row has no option left.
    """

    def __init__(
        self,
        options: Mapping[str, Sequence[Any]],
        *,
        allowed: Mapping[str, Sequence[Any]] | None = None,
        generator: torch.Generator | None = None,
        scale: float = INIT,
    ) -> None:
        super().__init__()
        self.options = {name: tuple(row) for name, row in options.items()}
        self.rows = nn.ParameterList()
        self._masks: list[Tensor | None] = []
        for name, row in self.options.items():
            value = torch.zeros(len(row))
            if generator is not None:
                value = scale * torch.randn(len(row), generator=generator)
            self.rows.append(nn.Parameter(value))
            self._masks.append(_mask(name, row, (allowed or {}).get(name)))

    def weights(self) -> dict[str, Tensor]:
        """Return the softmax of each row, gradients flow into it."""
        return {name: torch.softmax(row, 0) for name, row in self.masked().items()}

    def masked(self) -> dict[str, Tensor]:
        """Return the rows with -inf where an option is forbidden."""
        return {
            name: _masked(row, mask)
            for name, row, mask in zip(self.options, self.rows, self._masks, strict=True)
        }

    def left(self) -> dict[str, int]:
        """Return how many options each row has left."""
        return {
            name: len(row) if mask is None else int(mask.sum())
            for (name, row), mask in zip(self.options.items(), self._masks, strict=True)
        }

    @torch.no_grad()
    def entropy(self) -> float:
        """Return the mean entropy of the rows in nats."""
        total = sum(float(torch.special.entr(w).sum()) for w in self.weights().values())
        return total / max(1, len(self.rows))

    def get_extra_state(self) -> Tensor:
        """Return the names and options of the rows as bytes, for `state_dict`."""
        return torch.tensor(list(json.dumps(self.options).encode()), dtype=torch.uint8)

    def set_extra_state(self, state: Any) -> None:
        """Refuse the logits of another space.

        Raises:
            SpecError: If names or options are others.
        """
        known = {name: tuple(row) for name, row in json.loads(bytes(state.tolist())).items()}
        if known != self.options:
            raise SpecError(
                f"the logits are those of another search, of {len(known)} decisions from "
                f"{next(iter(known), 'nothing')!r} on; start a new search"
            )


def _mask(name: str, row: Sequence[Any], allowed: Sequence[Any] | None) -> Tensor | None:
    if allowed is None:
        return None
    mask = torch.tensor([option in allowed for option in row])
    if not bool(mask.any()):
        raise SpecError(f"{name}: a mask must leave at least one of {tuple(row)}, got {allowed}")
    return None if bool(mask.all()) else mask


def _masked(row: Tensor, mask: Tensor | None) -> Tensor:
    return row if mask is None else row.masked_fill(~mask.to(row.device), float("-inf"))
