"""What every mutable layer is made of: `Choice` (a named decision) and `Mutable` (a layer)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from torch import nn

from ...errors import InvalidArchitecture, SpecError
from ..decision import Decision, Option, as_options

Context: TypeAlias = dict["Choice", tuple[Option, ...]]  # under which choices a layer runs


class Size(ABC):
    """A whole number that may depend on choices: a width, a kernel, a depth."""

    @property
    @abstractmethod
    def value(self) -> int:
        """The number under the active options."""

    @property
    @abstractmethod
    def max(self) -> int:
        """The largest number; shared weights are allocated for it."""

    @property
    @abstractmethod
    def choices(self) -> tuple[Choice, ...]:
        """The choices that decide it."""

    def __mul__(self, other: Size | int) -> Product:
        return Product(self, other)

    def __rmul__(self, other: int) -> Product:
        return Product(self, other)


class Choice(Size):
    """A named decision, held by one mutable layer or shared by several.

    Layers that are given the same object always agree: a width that one layer writes and the
    next one reads is one `Choice`. Two objects of one name in a module are an error.

    Args:
        name: Dotted path, unique in the module.
        options: JSON scalars; numbers where the choice is a width, a kernel, a depth or a ratio.
        ordered: Whether neighbouring options are alike; by default whether they are rising
            numbers.
    """

    def __init__(self, name: str, options: Sequence[Any], ordered: bool | None = None) -> None:
        if ordered is None:
            numbers = all(_is_number(o) for o in options)
            ordered = numbers and list(options) == sorted(options)
        self.decision = Decision(name, as_options(options), ordered=ordered)
        self.active: Option = self.decision.options[-1]

    @property
    def name(self) -> str:
        """Name of the decision."""
        return self.decision.name

    @property
    def options(self) -> tuple[Option, ...]:
        """What there is to choose from."""
        return self.decision.options

    def activate(self, option: Any) -> None:
        """Make `option` the active one.

        Raises:
            InvalidArchitecture: If it is not among the options.
        """
        position = self.decision.index(option)
        if position is None:
            raise InvalidArchitecture(f"{self.name} must be one of {self.options}; got {option!r}")
        self.active = self.decision.options[position]

    @property
    def value(self) -> int:
        """The active option, a whole number."""
        return _whole(self.name, self.active)

    @property
    def max(self) -> int:
        """The largest option."""
        return max(_whole(self.name, option) for option in self.options)

    @property
    def choices(self) -> tuple[Choice, ...]:
        """Itself."""
        return (self,)

    def __repr__(self) -> str:
        return f"Choice({self.name!r}, {self.options})"


class Product(Size):
    """A number times another, rounded to a whole one: an expansion ratio times a width."""

    def __init__(self, first: Size, second: Size | int) -> None:
        self._factors = (first, second)

    @property
    def value(self) -> int:
        """The product of the active numbers."""
        return round(_active(self._factors[0]) * _active(self._factors[1]))

    @property
    def max(self) -> int:
        """The product of the largest numbers."""
        return round(_largest(self._factors[0]) * _largest(self._factors[1]))

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The choices of both factors."""
        return tuple(c for f in self._factors if isinstance(f, Size) for c in f.choices)

    def __repr__(self) -> str:
        return f"{self._factors[0]!r} * {self._factors[1]!r}"


class Mutable(nn.Module, ABC):
    """A layer that holds decisions, runs the active options, and can cut itself down to them."""

    @property
    @abstractmethod
    def choices(self) -> tuple[Choice, ...]:
        """The decisions of this layer, without those of the layers inside it."""

    def branches(self) -> Iterator[tuple[nn.Module, Context]]:
        """Yield the layers inside, each with the options under which it runs ({}: always)."""
        for child in self.children():
            yield child, {}

    @abstractmethod
    def cut(self, inherit: bool) -> nn.Module:
        """Return the layer of the active options.

        Layers inside may be returned as they are: the caller has copied the whole module, and
        cuts them next.

        Args:
            inherit: Whether it takes over these weights; else it keeps, or draws, its own
                initial ones.
        """


class _Number(Size):
    """A number that nothing decides."""

    def __init__(self, number: int) -> None:
        self._number = number

    @property
    def value(self) -> int:
        return self._number

    @property
    def max(self) -> int:
        return self._number

    @property
    def choices(self) -> tuple[Choice, ...]:
        return ()

    def __repr__(self) -> str:
        return str(self._number)


def as_size(value: Size | int) -> Size:
    """Return `value` as a `Size`.

    Raises:
        SpecError: If it is neither a size nor a whole number.
    """
    if isinstance(value, Size):
        return value
    if not isinstance(value, int) or isinstance(value, bool):
        raise SpecError(f"a size must be a whole number or a Choice, got {value!r}")
    return _Number(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(name: str, option: Any) -> int:
    if not _is_number(option) or option != int(option):
        raise SpecError(f"{name} is used as a size; its options must be whole numbers: {option!r}")
    return int(option)


def _active(size: Size | int) -> float:
    return _ratio(size, size.active) if isinstance(size, Choice) else as_size(size).value


def _largest(size: Size | int) -> float:
    if isinstance(size, Choice):
        return max(_ratio(size, option) for option in size.options)
    return as_size(size).max


def _ratio(choice: Choice, option: Any) -> float:
    if not _is_number(option):
        raise SpecError(
            f"{choice.name} is used as a factor; its options must be numbers: {option!r}"
        )
    return float(option)
