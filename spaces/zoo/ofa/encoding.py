"""Architectures of Once-for-All as the 0/1 vectors of its accuracy predictors.

Source: arXiv 1908.09791; mit-han-lab/once-for-all: ofa/nas/accuracy_predictor/arch_encoder.py (the
package form), ofa/tutorial/accuracy_predictor.py (the tutorial form).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ....errors import InvalidArchitecture
from ...decision import Architecture, Decision, Option
from ...encoding import Encoding


@dataclass(frozen=True)
class Entries:
    """The entries of one decision: one per option, in a row.

    Args:
        decision: Name.
        options: Of which each has an entry.
    """

    decision: str
    options: tuple[Option, ...]


class SlotEncoding(Encoding):
    """One 0/1 entry per option of each decision; all 0 where the decision is not active.

    A number between or beyond the options (a side that predictors were not trained on) spreads its
    1 over the two nearest ones, in proportion; only listed options can be decoded.

    Args:
        fields: The entries, in their order.
        finish: Makes an architecture of the options that were read; fills in what has no entries
            (depths follow from the slots that are taken).
    """

    def __init__(
        self, fields: Sequence[Entries], finish: Callable[[dict[str, Any]], Architecture]
    ) -> None:
        self._entries = tuple(fields)
        self._finish = finish
        self.names = [f"{f.decision}={option}" for f in fields for option in f.options]
        self._places: dict[str, tuple[int, Decision]] = {}
        start = 0
        for f in fields:
            self._places[f.decision] = (start, Decision(f.decision, f.options))
            start += len(f.options)

    def encode(self, architecture: Mapping[str, Option]) -> list[float]:
        """Return the vector of `architecture`.

        Raises:
            InvalidArchitecture: If a value is no option, and there are no two numbers to place it
                between.
        """
        vector = [0.0] * len(self.names)
        for name, value in architecture.items():
            if (place := self._places.get(name)) is None:
                continue
            start, decision = place
            if (position := decision.index(value)) is not None:
                vector[start + position] = 1.0
            else:
                for position, share in _shares(decision, value):
                    vector[start + position] = share
        return vector

    def decode(self, vector: Sequence[float]) -> Architecture:
        """Return the architecture of a vector of listed options.

        Raises:
            InvalidArchitecture: If the length is another, an entry is neither 0 nor 1, a decision
                has two options, or the slots that are taken make no network.
        """
        _check_vector(vector, len(self.names))
        chosen: dict[str, Any] = {}
        for name, (start, decision) in self._places.items():
            row = vector[start : start + len(decision.options)]
            if (taken := _one(name, row)) is not None:
                chosen[name] = decision.options[taken]
        return self._finish(chosen)


class TutorialEncoding(SlotEncoding):
    """The form of the released predictor: kernels, ratios, then eight bins of the input side.

    Bin i holds the sides from 112 + 16 i to 127 + 16 i; decoding gives the first of them.

    Args:
        kernels: The entries of the kernels.
        ratios: The entries of the expansion ratios.
        side: Name of the decision of the input side.
        finish: As in `SlotEncoding`.
    """

    BINS, FIRST, WIDTH = 8, 112, 16

    def __init__(
        self,
        kernels: Sequence[Entries],
        ratios: Sequence[Entries],
        side: str,
        finish: Callable[[dict[str, Any]], Architecture],
    ) -> None:
        sides = tuple(range(self.FIRST, self.FIRST + self.BINS * self.WIDTH, self.WIDTH))
        super().__init__([*kernels, *ratios, Entries(side, sides)], finish)
        self._side = side

    def encode(self, architecture: Mapping[str, Option]) -> list[float]:
        """Return the vector of `architecture`.

        Raises:
            InvalidArchitecture: If the input side is in no bin.
        """
        side: Any = architecture[self._side]
        last = self.FIRST + self.BINS * self.WIDTH
        if not self.FIRST <= side < last:
            raise InvalidArchitecture(
                f"{self._side} must be in {self.FIRST} .. {last - 1} for the tutorial's encoding, "
                f"got {side}; use the package form"
            )
        binned = side - (side - self.FIRST) % self.WIDTH
        return super().encode({**architecture, self._side: binned})


def _shares(decision: Decision, value: Any) -> list[tuple[int, float]]:
    """Return the positions of the two nearest options with the share of the value of each."""
    options: Sequence[Any] = decision.options
    if len(options) < 2:
        raise InvalidArchitecture(
            f"{decision.name} has one entry, for {options[0]}, so that {value!r} cannot be encoded"
        )
    i = max(0, min(bisect_right(options, value) - 1, len(options) - 2))
    share = (value - options[i]) / (options[i + 1] - options[i])
    return [(i, 1.0 - share), (i + 1, share)]


def _check_vector(vector: Sequence[float], length: int) -> None:
    if len(vector) != length:
        raise InvalidArchitecture(f"a vector must have {length} entries, got {len(vector)}")
    if wrong := [x for x in vector if x not in (0, 1)]:
        raise InvalidArchitecture(
            f"only vectors of listed options can be decoded: entries are 0 or 1, got {wrong[0]!r}"
        )


def _one(name: str, row: Sequence[float]) -> int | None:
    """Return the position of the 1, or None where there is none."""
    ones = [i for i, x in enumerate(row) if x == 1]
    if len(ones) > 1:
        raise InvalidArchitecture(f"{name} must have one option, the vector has {len(ones)}")
    return ones[0] if ones else None


def first_taken(space: str, slots: Sequence[str], chosen: Mapping[str, Any]) -> int:
    """Return how many slots of a stage are taken.

    Raises:
        InvalidArchitecture: If they are not the first ones.
    """
    taken = [name in chosen for name in slots]
    if any(taken[sum(taken) :]):
        raise InvalidArchitecture(
            f"{space}: the first slots of a stage must be taken, without a gap; the vector takes "
            f"{[name for name in slots if name in chosen]} of {len(slots)}"
        )
    return sum(taken)
