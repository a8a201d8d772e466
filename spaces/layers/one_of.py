"""A layer that is one of several candidates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import SpecError
from .mutable import Choice, Context, Mutable


class OneOf(Mutable):
    """One of several candidate layers; only the active one runs.

    `mix` runs all of them instead, as a weighted sum. Decisions inside a candidate exist only
    while that candidate is chosen.

    Args:
        choice: Name of the decision, or a `Choice` shared with other layers.
        candidates: Option -> layer; a sequence numbers the options 0, 1, ...

    Raises:
        SpecError: If there is no candidate, one is no module, or the options are not those of
            the shared choice.

    >>> layer = OneOf("block.op", {"linear": nn.Linear(4, 4), "skip": nn.Identity()})
    >>> layer.choice.activate("skip")
    """

    def __init__(
        self, choice: str | Choice, candidates: Mapping[Any, nn.Module] | Sequence[nn.Module]
    ) -> None:
        super().__init__()
        if not isinstance(candidates, Mapping):
            candidates = dict(enumerate(candidates))
        if isinstance(choice, str):
            choice = Choice(choice, tuple(candidates), ordered=False)
        elif [choice.decision.index(o) for o in candidates] != list(range(len(choice.options))):
            raise SpecError(
                f"{choice.name}: the candidates must have the options of the choice in order, "
                f"{choice.options}; got {tuple(candidates)}"
            )
        if strange := [c for c in candidates.values() if not isinstance(c, nn.Module)]:
            raise SpecError(
                f"{choice.name}: every candidate must be a torch.nn.Module, got {strange[0]!r}; "
                "nn.Identity() is the one that does nothing"
            )
        self.choice = choice
        self.candidates = nn.ModuleList(candidates.values())
        self.weights: Tensor | None = None

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The choice of the candidate."""
        return (self.choice,)

    @property
    def active(self) -> nn.Module:
        """The candidate that runs."""
        return self.candidates[self._position]

    def mix(self, weights: Tensor | None) -> None:
        """Run a weighted sum of the candidates from now on; None goes back to the active one.

        Args:
            weights: (number of candidates,), any scale; gradients flow into it.

        Raises:
            SpecError: If the shape is another.
        """
        if weights is not None and tuple(weights.shape) != (len(self.candidates),):
            raise SpecError(
                f"{self.choice.name}: the weights must have shape ({len(self.candidates)},), got "
                f"{tuple(weights.shape)}"
            )
        # a parameter of the search, not of the network: it must not become one of this module's
        object.__setattr__(self, "weights", weights)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Return the active candidate's output, or the weighted sum of all outputs."""
        if self.weights is None:
            return self.active(*inputs, **named)
        outputs = [candidate(*inputs, **named) for candidate in self.candidates]
        if len({output.shape for output in outputs}) > 1:
            shapes = {o: tuple(y.shape) for o, y in zip(self.choice.options, outputs, strict=True)}
            raise SpecError(f"{self.choice.name}: only equal shapes can be mixed, got {shapes}")
        return torch.stack([w * y for w, y in zip(self.weights, outputs, strict=True)]).sum(0)

    def branches(self) -> Iterator[tuple[nn.Module, Context]]:
        """Yield each candidate with the option that stands for it."""
        for option, candidate in zip(self.choice.options, self.candidates, strict=True):
            yield candidate, {self.choice: (option,)}

    def cut(self, inherit: bool) -> nn.Module:
        """Return the active candidate."""
        return self.active

    def __getstate__(self) -> dict[str, Any]:
        """Leave the mixture behind: a copy runs its active candidate."""
        return {**self.__dict__, "weights": None}

    @property
    def _position(self) -> int:
        position = self.choice.decision.index(self.choice.active)
        return 0 if position is None else position
