"""What every mutable layer is made of: `Choice` (a named decision) and `Mutable` (a layer)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

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
    def least(self) -> int:
        """The smallest number that the masks of the choices leave."""

    @property
    @abstractmethod
    def choices(self) -> tuple[Choice, ...]:
        """The choices that decide it."""

    @abstractmethod
    def each(self, n: int) -> list[int]:
        """Return the number for each of `n` samples, which may run networks of their own."""

    def mask(self, n: int, device: torch.device) -> Tensor:
        """Return which of the largest width's channels each sample has: (n, max), bool."""
        widths = torch.tensor(self.each(n), device=device)
        return torch.arange(self.max, device=device) < widths[:, None]

    def map(self, function: Callable[[int], int]) -> Derived:
        """Return the size that a rising function makes of this one."""
        return Derived(function, self)

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
        self.allowed: tuple[Option, ...] = self.decision.options
        self.spread: tuple[Option, ...] | None = None  # per sample of a batch; None: all alike

    @classmethod
    def of(cls, decision: Decision) -> Choice:
        """Return a choice with the name, the options and the order of a decision of a space."""
        return cls(decision.name, decision.options, decision.ordered)

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
            InvalidArchitecture: If it is not among the options, or a mask forbids it.
        """
        self.active = self.checked(option)

    def checked(self, option: Any) -> Option:
        """Return the option that equals `option`.

        Raises:
            InvalidArchitecture: If it is not among the options, or a mask forbids it.
        """
        position = self.decision.index(option)
        if position is None:
            raise InvalidArchitecture(f"{self.name} must be one of {self.options}; got {option!r}")
        found = self.options[position]
        if len(self.allowed) < len(self.options) and found not in self.allowed:
            raise InvalidArchitecture(
                f"{self.name} must be one of {self.allowed}, the options that the mask leaves; "
                f"got {option!r}"
            )
        return found

    def restrict(self, options: Iterable[Any] | None) -> None:
        """Forbid all but `options`, as splitting a super-network does; None allows all again.

        Raises:
            SpecError: If one is no option, or none is left.
        """
        wanted = self.options if options is None else tuple(options)
        places = [self.decision.index(option) for option in wanted]
        if None in places or not places:
            raise SpecError(
                f"{self.name}: a mask must leave at least one of {self.options}; got {wanted}"
            )
        self.allowed = tuple(o for i, o in enumerate(self.options) if i in places)
        if self.decision.index(self.active) not in places:
            self.active = self.allowed[-1]

    @property
    def value(self) -> int:
        """The active option, a whole number."""
        return _whole(self.name, self.active)

    @property
    def max(self) -> int:
        """The largest option."""
        return max(self.values)

    @property
    def least(self) -> int:
        """The smallest option that the mask leaves."""
        return min(_whole(self.name, option) for option in self.allowed)

    @property
    def values(self) -> tuple[int, ...]:
        """The options, whole numbers."""
        return tuple(_whole(self.name, option) for option in self.options)

    @property
    def choices(self) -> tuple[Choice, ...]:
        """Itself."""
        return (self,)

    def each(self, n: int) -> list[int]:
        """Return the option of each sample."""
        return [_whole(self.name, option) for option in self.each_option(n)]

    def each_option(self, n: int) -> tuple[Option, ...]:
        """Return the option of each of `n` samples.

        Raises:
            SpecError: If the batch has another length than the list of architectures.
        """
        if self.spread is None:
            return (self.active,) * n
        if len(self.spread) != n:
            raise SpecError(
                f"each sample of a batch needs its own architecture: got {len(self.spread)} "
                f"architectures for {n} samples"
            )
        return self.spread

    def __repr__(self) -> str:
        return f"Choice({self.name!r}, {self.options})"


class Derived(Size):
    """A number that a function makes of others: a product rounded to a multiple of 8.

    Args:
        function: Of the numbers of `inputs`, to a whole number; must not fall when one rises.
        inputs: Sizes, whole numbers, and choices among any numbers (ratios).
    """

    def __init__(self, function: Callable[..., int], *inputs: Size | int) -> None:
        self._function, self._inputs = function, inputs

    @property
    def value(self) -> int:
        """The function of the active numbers."""
        return int(self._function(*map(_active, self._inputs)))

    @property
    def max(self) -> int:
        """The function of the largest numbers."""
        return int(self._function(*map(_largest, self._inputs)))

    @property
    def least(self) -> int:
        """The function of the smallest numbers that the masks leave."""
        return int(self._function(*map(_smallest, self._inputs)))

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The choices of all inputs."""
        return tuple(c for i in self._inputs if isinstance(i, Size) for c in i.choices)

    def each(self, n: int) -> list[int]:
        """Return the function of each sample's numbers."""
        columns = [_each(i, n) for i in self._inputs]
        return [int(self._function(*row)) for row in zip(*columns, strict=True)]

    def __repr__(self) -> str:
        name = getattr(self._function, "__name__", type(self._function).__name__)
        return f"{name}({', '.join(map(repr, self._inputs))})"


class Product(Derived):
    """A number times another, rounded to a whole one: an expansion ratio times a width."""

    def __init__(self, first: Size, second: Size | int) -> None:
        super().__init__(_product, first, second)

    def __repr__(self) -> str:
        return f"{self._inputs[0]!r} * {self._inputs[1]!r}"


class Mutable(nn.Module, ABC):
    """A layer that holds decisions, runs the active options, and can cut itself down to them."""

    copies = False  # whether `cut` copies what it inherits, so that it may be shared until then
    together = False  # whether each sample of a batch runs a network of its own

    @property
    @abstractmethod
    def choices(self) -> tuple[Choice, ...]:
        """The decisions of this layer, without those of the layers inside it."""

    def branches(self) -> Iterator[tuple[nn.Module, Context]]:
        """Yield the layers inside, each with the options under which it runs ({}: always)."""
        for child in self.children():
            yield child, {}

    def read_parameters(self) -> Iterator[nn.Parameter]:
        """Yield its own parameters that the active options read, elastic ones whole."""
        yield from self.parameters(recurse=False)

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
    def least(self) -> int:
        return self._number

    @property
    def choices(self) -> tuple[Choice, ...]:
        return ()

    def each(self, n: int) -> list[int]:
        return [self._number] * n

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


def fixed(*sizes: Size | int) -> bool:
    """Return whether no choice decides any of `sizes`."""
    return not any(isinstance(size, Size) and size.choices for size in sizes)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(name: str, option: Any) -> int:
    if not _is_number(option) or option != int(option):
        raise SpecError(f"{name} is used as a size; its options must be whole numbers: {option!r}")
    return int(option)


def _product(first: float, second: float) -> int:
    return round(first * second)


def _active(size: Size | int) -> float:
    return _ratio(size, size.active) if isinstance(size, Choice) else as_size(size).value


def _largest(size: Size | int) -> float:
    if isinstance(size, Choice):
        return max(_ratio(size, option) for option in size.options)
    return as_size(size).max


def _smallest(size: Size | int) -> float:
    if isinstance(size, Choice):
        return min(_ratio(size, option) for option in size.allowed)
    return as_size(size).least


def _each(size: Size | int, n: int) -> Sequence[float]:
    if isinstance(size, Choice):
        return [_ratio(size, option) for option in size.each_option(n)]
    return as_size(size).each(n)


def _ratio(choice: Choice, option: Any) -> float:
    if not _is_number(option):
        raise SpecError(
            f"{choice.name} is used as a factor; its options must be numbers: {option!r}"
        )
    return option  # type: ignore[no-any-return]
