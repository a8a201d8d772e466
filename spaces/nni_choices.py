"""The labelled choices of NNI as decisions, and NNI itself, which is imported when it is needed."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import combinations
from math import comb
from types import ModuleType
from typing import Any

from ..errors import InvalidArchitecture, MissingDependency, SpecError
from ..jsonio import canonical_json
from .decision import Decision, Option

_SUBSETS = 10_000  # options of one decision
_POINTS = 4  # 2^4 - 1 values of a range: NNI's granularity


class Choice:
    """A choice of NNI's: its label, its decisions, and both ways between their values.

    Args:
        label: NNI's.
        values: What there is to choose from.
        decisions: What is decided.
    """

    def __init__(self, label: str, values: Sequence[Any], decisions: Sequence[Decision]) -> None:
        self.label, self.values, self.decisions = label, list(values), tuple(decisions)

    def value(self, architecture: Mapping[str, Option]) -> Any:
        """Return the value of NNI's sample."""
        return self._value(architecture[self.label])

    def _value(self, option: Option) -> Any:
        place = self.decisions[0].index(option)
        return option if place is None else self.values[place]

    def read(self, given: Any) -> dict[str, Any]:
        """Return decision -> option of a value in NNI's notation, or of an option."""
        wanted = _plain(given)
        for value, option in zip(self.values, self.decisions[0].options, strict=True):
            if _plain(value) == wanted:
                return {self.label: option}
        return {self.label: given}


class _Subset(Choice):
    """So many of the values: an option per subset.

    Args:
        label: NNI's.
        every: What there is to choose from.
        n: How many are chosen.
    """

    def __init__(self, label: str, every: Sequence[Any], n: int) -> None:
        if comb(len(every), n) > _SUBSETS:
            raise SpecError(
                f"{label} chooses {n} of {len(every)}, which is more than {_SUBSETS:,} options; "
                "split the choice"
            )
        self.every = list(every)
        subsets = [list(chosen) for chosen in combinations(every, n)]
        names = [s[0] if n == 1 else s for s in subsets]
        super().__init__(label, subsets, [Decision(label, _options(names))])

    def read(self, given: Any) -> dict[str, Any]:
        """Return decision -> option; the values of a list may stand in any order."""
        if isinstance(given, list | tuple):
            every = [_plain(v) for v in self.every]
            places = {v: i for i, v in enumerate(every)}
            given = sorted(given, key=lambda v: places.get(_plain(v), len(every)))
        return super().read(given)


class _AnyOf(Choice):
    """Any number of the values: a decision for each."""

    def __init__(self, label: str, values: Sequence[Any]) -> None:
        decisions = [Decision(f"{label}/{i}", (True, False)) for i in range(len(values))]
        super().__init__(label, values, decisions)

    def value(self, architecture: Mapping[str, Option]) -> Any:
        """Return the chosen values."""
        return [v for v, d in zip(self.values, self.decisions, strict=True) if architecture[d.name]]

    def read(self, given: Any) -> dict[str, Any]:
        """Return decision -> option of a list of values."""
        chosen = [_plain(v) for v in given] if isinstance(given, list | tuple) else None
        known = [_plain(v) for v in self.values]
        if chosen is None or any(v not in known for v in chosen):
            raise InvalidArchitecture(
                f"{self.label} must be a list of some of {self.values}; got {given!r}"
            )
        return {d.name: v in chosen for d, v in zip(self.decisions, known, strict=True)}


class _Within:
    """The rule for the values of a range."""

    def __init__(self, numerical: Any) -> None:
        self._numerical = numerical

    def __call__(self, value: Any) -> bool:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        sample = {self._numerical.label: value}
        return number and self._numerical.check_contains(sample) is None


def is_free(mutable: Any) -> bool:
    """Whether it is chosen, and no constraint."""
    return not isinstance(mutable, nni("nni.mutable").Constraint)


def choice_of(mutable: Any, layers: bool) -> Choice:
    """Return a labelled choice of NNI's as decisions.

    Args:
        mutable: NNI's.
        layers: Whether its values name layers, so that numbers among them have no order.

    Raises:
        SpecError: If it is of a kind that NNI does not have.
    """
    kinds, label = nni("nni.mutable"), mutable.label
    if isinstance(mutable, kinds.Categorical):
        options = _options(mutable.values)
        ordered = not layers and _rising(mutable.values)
        return Choice(label, mutable.values, [Decision(label, options, ordered=ordered)])
    if isinstance(mutable, kinds.CategoricalMultiple):
        if mutable.n_chosen is None:
            return _AnyOf(label, mutable.values)
        return _Subset(label, mutable.values, mutable.n_chosen)
    if isinstance(mutable, kinds.Numerical):
        points = list(dict.fromkeys(map(float, mutable.grid(granularity=_POINTS))))
        accepts = _Within(mutable)
        return Choice(label, points, [Decision(label, tuple(points), True, accepts=accepts)])
    raise SpecError(
        f"{label} must be a choice of values, of some of them, or a range; got {mutable!r}"
    )


def _options(values: Sequence[Any]) -> tuple[Option, ...]:
    """Return values as options: what is no JSON scalar is written as text."""
    scalar = (bool, int, float, str, type(None))
    return tuple(v if isinstance(v, scalar) else _plain(v) for v in values)


def _plain(value: Any) -> Any:
    """Return a value that can be compared: lists and tuples alike, as text."""
    return value if isinstance(value, bool | int | float | str | None) else _text(value)


def _text(value: Any) -> str:
    try:
        return canonical_json(value)
    except (TypeError, ValueError):
        return repr(value)


def _rising(values: Sequence[Any]) -> bool:
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    return numbers and list(values) == sorted(values) and len(values) > 1


@contextmanager
def quiet() -> Iterator[None]:
    """Keep to itself what NNI logs, on stdout, and its warnings about torch."""
    logger = logging.getLogger("nni")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            logger.setLevel(level)


def nni(module: str) -> ModuleType:
    """Return a module of NNI.

    Raises:
        MissingDependency: If it, or what it imports, is not installed.
    """
    try:
        with quiet():
            return import_module(module)
    except ModuleNotFoundError as error:
        raise MissingDependency(
            f"what comes from NNI needs the package {error.name!r}, which is not installed; "
            "pip install 'netloom[nni]'"
        ) from error
