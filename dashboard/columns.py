"""Decisions of many trials as columns: one per decision, `not there` a value of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .details import option_text

Codes = NDArray[np.int64]
ABSENT = -1  # code of a trial whose architecture does not have the decision
NOT_THERE = "not there"
MAX_LEVELS = 24  # options that are told apart in a figure
BINS = 12  # of more options that are numbers


@dataclass(frozen=True, slots=True)
class Level:
    """Options of a decision that are shown together, most often one.

    Args:
        text: What it is called.
        codes: Its options.
        place: Along a numeric axis; None where options are no numbers.
    """

    text: str
    codes: tuple[int, ...]
    place: float | None = None

    @classmethod
    def absent(cls) -> Level:
        """Return the level of trials without the decision."""
        return cls(NOT_THERE, (ABSENT,))


@dataclass(frozen=True)
class Column:
    """One decision of n trials.

    Args:
        name: Of the decision.
        options: Those that occur, numbers ascending, other values by their text.
        codes: Index of each trial's option, (n,); `ABSENT` where the decision is not there.
        numeric: Whether every option is a number.
    """

    name: str
    options: tuple[Any, ...]
    codes: Codes = field(repr=False)
    numeric: bool

    @property
    def varied(self) -> bool:
        """Whether it was taken in more than one way."""
        return len(np.unique(self.codes)) > 1

    def at(self, rows: Codes) -> Column:
        """Return the column of some trials; its options and levels stay."""
        kept = replace(self, codes=self.codes[rows])
        kept.__dict__["levels"] = self.levels
        return kept

    @cached_property
    def levels(self) -> tuple[Level, ...]:
        """Options as figures show them: each alone; of many, numbers in ranges, words most used."""
        if len(self.options) <= MAX_LEVELS:
            return tuple(self._level([code]) for code in range(len(self.options)))
        return tuple(self._ranges() if self.numeric else self._most_used())

    def _level(self, codes: Sequence[int]) -> Level:
        first, last = self.options[codes[0]], self.options[codes[-1]]
        text = (
            option_text(first) if first == last else f"{option_text(first)} to {option_text(last)}"
        )
        place = (float(first) + float(last)) / 2 if self.numeric else None
        return Level(text, tuple(codes), place)

    def _ranges(self) -> Iterator[Level]:
        """Give ranges of about equally many trials."""
        present = self.codes[self.codes != ABSENT]
        parts = np.linspace(0, 1, BINS + 1)[1:]
        ends = np.unique(np.quantile(present, parts, method="inverted_cdf")).astype(int)
        ends[-1] = len(self.options) - 1
        start = 0
        for end in ends.tolist():
            yield self._level(range(start, end + 1))
            start = end + 1

    def _most_used(self) -> Iterator[Level]:
        counts = np.bincount(self.codes[self.codes != ABSENT], minlength=len(self.options))
        order = np.argsort(-counts, kind="stable").tolist()
        for code in sorted(order[: MAX_LEVELS - 1]):
            yield self._level([code])
        rest = sorted(order[MAX_LEVELS - 1 :])
        yield Level(f"{len(rest)} other options", tuple(rest))


def columns_of(architectures: Sequence[Mapping[str, Any]]) -> tuple[Column, ...]:
    """Return the decisions of architectures, in the order in which they first occur."""
    names = dict.fromkeys(name for each in architectures for name in each)
    return tuple(_column(name, architectures) for name in names)


def _column(name: str, architectures: Sequence[Mapping[str, Any]]) -> Column:
    texts = [repr(each[name]) if name in each else None for each in architectures]  # 1 is not True
    found = {text: each[name] for text, each in zip(texts, architectures, strict=True) if text}
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in found.values())
    order = sorted(found, key=(lambda text: (found[text], text)) if numeric else None)
    codes = {text: code for code, text in enumerate(order)}
    return Column(
        name=name,
        options=tuple(found[text] for text in order),
        codes=np.array([ABSENT if t is None else codes[t] for t in texts], dtype=np.int64),
        numeric=numeric,
    )
