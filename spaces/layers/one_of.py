"""A layer that is one of several candidates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ...errors import SpecError
from .mutable import Choice, Context, Mutable
from .partial_channels import PartialChannels


class Zero(nn.Module):
    """A candidate that contributes nothing: zeros, subsampled by the stride.

    Args:
        stride: Of both directions.
    """

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> zeros (N, C, ceil(H/stride), ceil(W/stride))."""
        return (x[..., :: self.stride, :: self.stride] if self.stride > 1 else x) * 0.0

    def extra_repr(self) -> str:
        """Return the stride for printing."""
        return f"stride={self.stride}"


class OneOf(Mutable):
    """One of several candidate layers; there are four ways to run it.

    The active candidate alone (`activate`); the active candidate times its weight, for sampled
    paths whose gates have gradients (`gate`); the weighted sum of all (`mix`); and, with `partial`,
    any of these on the first of `partial` parts of the channels, the others passing by, followed
    by a channel shuffle (PC-DARTS, arXiv 1907.05737). Edge normalisation, the other half of that
    method, is `Junction`'s.

    Decisions inside a candidate exist only while that candidate is chosen.

    Args:
        choice: Name of the decision, or a `Choice` shared with other layers.
        candidates: Option -> layer; a sequence numbers the options 0, 1, ...
        partial: Share of the channels that the candidates work on is 1 / `partial`.
        stride: Of the candidates, where channels pass them by.

    Raises:
        SpecError: If there is no candidate, one is no module, or the options are not those of
            the shared choice.

    >>> layer = OneOf("block.op", {"linear": nn.Linear(4, 4), "skip": nn.Identity()})
    >>> layer.choice.activate("skip")
    """

    def __init__(
        self,
        choice: str | Choice,
        candidates: Mapping[Any, nn.Module] | Sequence[nn.Module],
        *,
        partial: int = 1,
        stride: int = 1,
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
        self.channels = PartialChannels(partial, stride) if partial != 1 else None
        self.weights: Tensor | None = None
        self.mode: Literal["one", "gate", "mix"] = "one"

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The choice of the candidate."""
        return (self.choice,)

    @property
    def active(self) -> nn.Module:
        """The candidate that runs."""
        return self.candidates[self._position]

    @property
    def alone(self) -> bool:
        """Whether the active candidate runs alone, without a weight, for the whole batch."""
        return not self.together and (self.mode == "one" or self.weights is None)

    def mix(self, weights: Tensor | None) -> None:
        """Run a weighted sum of the candidates from now on; None goes back to the active one.

        Candidates that the choice's mask forbids are left out, whatever their weights.

        Args:
            weights: (number of candidates,), any scale; gradients flow into it.

        Raises:
            SpecError: If the shape is another.
        """
        self._weigh(weights, "mix")

    def gate(self, weights: Tensor | None) -> None:
        """Run the active candidate times its weight from now on; None goes back to it alone.

        Args:
            weights: (number of candidates,); with the value 1 for the active one and a gradient,
                this is the sampled path of straight-through methods.

        Raises:
            SpecError: If the shape is another.
        """
        self._weigh(weights, "gate")

    def _weigh(self, weights: Tensor | None, mode: Literal["gate", "mix"]) -> None:
        if weights is not None and tuple(weights.shape) != (len(self.candidates),):
            raise SpecError(
                f"{self.choice.name}: the weights must have shape ({len(self.candidates)},), got "
                f"{tuple(weights.shape)}"
            )
        # a parameter of the search, not of the network: it must not become one of this module's
        object.__setattr__(self, "weights", weights)
        self.mode = "one" if weights is None else mode

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Return the active candidate's output, or the weighted sum of all outputs."""
        if self.channels is None:
            return self._run(*inputs, **named)
        part, rest = self.channels.split(inputs[0])
        return self.channels.join(self._run(part, *inputs[1:], **named), rest)

    def _run(self, *inputs: Any, **named: Any) -> Any:
        if self.together:
            return self._together(*inputs, **named)
        if self.weights is None or self.alone:
            return self.active(*inputs, **named)
        if self.mode == "gate":
            return self.active(*inputs, **named) * self.weights[self._position]
        return self._mixture(self.weights, *inputs, **named)

    def _mixture(self, weights: Tensor, *inputs: Any, **named: Any) -> Any:
        allowed, silent, total = self.choice.allowed, None, None
        for i, (option, candidate) in enumerate(
            zip(self.choice.options, self.candidates, strict=True)
        ):
            if option not in allowed:
                continue
            if isinstance(candidate, Zero):  # adds nothing, and its weight has no gradient
                silent = candidate
                continue
            total = self._added(total, candidate(*inputs, **named) * weights[i], option)
        if total is None and silent is not None:
            return silent(*inputs, **named)
        return total

    def _together(self, x: Any, *inputs: Any, **named: Any) -> Any:
        """Run, for each sample, the candidate of its own architecture."""
        options, total = self.choice.each_option(len(x)), None
        for option, candidate in zip(self.choice.options, self.candidates, strict=True):
            if option in options:
                y = candidate(x, *inputs, **named)
                mine = torch.tensor([o == option for o in options], device=x.device)
                total = self._added(total, y * mine.view(len(x), *(1,) * (y.dim() - 1)), option)
        return total

    def _added(self, total: Any, y: Any, option: Any) -> Any:
        """Return the sum so far with a candidate's output.

        Raises:
            SpecError: If the shapes differ.
        """
        if total is not None and y.shape != total.shape:
            raise SpecError(
                f"{self.choice.name}: only equal shapes can be mixed, got {tuple(total.shape)} "
                f"and, for {option!r}, {tuple(y.shape)}"
            )
        return y if total is None else total + y

    def branches(self) -> Iterator[tuple[nn.Module, Context]]:
        """Yield each candidate with the option that stands for it."""
        for option, candidate in zip(self.choice.options, self.candidates, strict=True):
            yield candidate, {self.choice: (option,)}

    def cut(self, inherit: bool) -> nn.Module:
        """Return the active candidate, beside the channels that pass it by if there are any."""
        if self.channels is None:
            return self.active
        return self.channels.around(self.active)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the mixture behind: a copy runs its active candidate."""
        return {**self.__dict__, "weights": None, "mode": "one"}

    @property
    def _position(self) -> int:
        position = self.choice.decision.index(self.choice.active)
        return 0 if position is None else position
