"""What is decided, and a set of decisions made: `Decision` and `Architecture`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, TypeAlias

from ..errors import InvalidArchitecture, SpecError
from ..jsonio import canonical_json, digest

Option: TypeAlias = bool | int | float | str | None
Rule: TypeAlias = Callable[[Any], bool]
Token: TypeAlias = tuple[bool, Any]


@dataclass(frozen=True)
class Decision:
    """One choice among options.

    Args:
        name: Dotted path, for example `stage2.block1.kernel`; unique in its space.
        options: The JSON scalars to choose from, all different (4 and 4.0 are the same).
        ordered: Whether neighbouring options are alike (3 < 5 < 7); `encode` and mutation use it.
        when: Decision name -> the values under which this one is active; all must hold, and each
            named decision must itself be active. `None`: always active.
        accepts: Rule for legal values beyond the options (OFA's resolution takes any multiple of
            4): `size`, `sample` and `neighbors` use the options, `architecture` and `parse` also
            take accepted values.

    Raises:
        SpecError: If there are no options, two are equal, or one is no JSON scalar.
    """

    name: str
    options: tuple[Option, ...]
    ordered: bool = False
    when: Mapping[str, tuple[Option, ...]] | None = None
    accepts: Rule | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise SpecError(f"the name of a decision must be a text, got {self.name!r}")
        object.__setattr__(self, "options", as_options(_listed(self.name, self.options)))
        if self.when is not None:
            if not isinstance(self.when, Mapping):
                raise SpecError(
                    f"decision {self.name!r}: when must be a mapping of decision names to the "
                    f"values under which this one is active, got {self.when!r}"
                )
            when = {name: _listed(self.name, values) for name, values in self.when.items()}
            object.__setattr__(self, "when", when)
        index = {token(option): i for i, option in enumerate(self.options)}
        if not self.options:
            raise SpecError(f"decision {self.name!r} needs at least one option, got none")
        if len(index) != len(self.options):
            raise SpecError(f"decision {self.name!r}: options must differ, got {self.options}")
        object.__setattr__(self, "_index", index)

    def __deepcopy__(self, memo: dict[int, Any]) -> Decision:
        """Return itself: nothing in it can change."""
        return self

    def index(self, value: Any) -> int | None:
        """Return the position of `value` among the options (by value: 4 = 4.0), or None."""
        try:
            return self._index.get(token(value))  # type: ignore[attr-defined, no-any-return]
        except TypeError:  # unhashable: not an option
            return None

    def accepted(self, value: Any) -> bool:
        """Return whether `accepts` takes `value`; what it cannot judge (a text as a number), no."""
        if self.accepts is None or not _is_scalar(value):
            return False
        try:
            return bool(self.accepts(value))
        except (TypeError, ValueError, ArithmeticError):
            return False

    def resolve(self, value: Any) -> Option:
        """Return the option that equals `value`, or `value` itself where `accepts` takes it.

        Raises:
            InvalidArchitecture: If the value is neither an option nor accepted.
        """
        position = self.index(value)
        if position is not None:
            return self.options[position]
        if self.accepted(value):
            return int(value) if isinstance(value, float) and value.is_integer() else value
        allowed = ", ".join(json.dumps(o) for o in self.options[:16])
        more = ", ..." if len(self.options) > 16 else ""
        raise InvalidArchitecture(f"{self.name} must be one of {allowed}{more}; got {value!r}")


class Architecture(Mapping[str, Option]):
    """An immutable, hashable mapping decision -> option, with inactive decisions dropped.

    Two spellings of one choice are equal and share `key`. Build one through
    `DecisionSpace.architecture`, which validates; this class only holds.
    """

    __slots__ = ("_hash", "_json", "_key", "_options")

    def __init__(self, options: Mapping[str, Option]) -> None:
        self._options: dict[str, Option] = dict(options)
        self._json: str | None = None
        self._key: str | None = None
        self._hash: int | None = None

    @property
    def key(self) -> str:
        """The sha256 (hex) of the canonical JSON: the identity of this architecture anywhere."""
        if self._key is None:
            self._key = digest(self._options)
        return self._key

    def to_json(self) -> str:
        """Return the canonical JSON text (sorted keys, no blanks)."""
        if self._json is None:
            self._json = canonical_json(self._options)
        return self._json

    @classmethod
    def from_json(cls, text: str) -> Architecture:
        """Return the architecture that `to_json` wrote.

        Raises:
            InvalidArchitecture: If `text` is not a JSON object of scalars.
        """
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidArchitecture(f"an architecture must be JSON, got {text!r}") from error
        if not isinstance(value, dict) or not all(map(_is_scalar, value.values())):
            raise InvalidArchitecture(f"an architecture must be a JSON object, got {text!r}")
        return cls(value)

    def __getitem__(self, name: str) -> Option:
        return self._options[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._options)

    def __len__(self) -> int:
        return len(self._options)

    def __contains__(self, name: object) -> bool:  # Mapping's own raises and catches an error
        return name in self._options

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Architecture):
            return self is other or self.to_json() == other.to_json()
        return NotImplemented

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = hash(self.to_json())
        return self._hash

    def __repr__(self) -> str:
        return f"Architecture({self.to_json()})"

    def __reduce__(self) -> tuple[type[Architecture], tuple[dict[str, Option]]]:
        return (type(self), (self._options,))


def as_options(values: Sequence[Any]) -> tuple[Option, ...]:
    """Return `values` as a tuple of JSON scalars.

    Raises:
        SpecError: If one is not a JSON scalar.
    """
    for value in values:
        if not _is_scalar(value):
            raise SpecError(
                "an option must be a JSON scalar (text, finite number, true, false, null), got "
                f"{value!r}; give structures a name"
            )
    return tuple(values)


def token(value: Any) -> Token:
    """Return what makes two options equal: the value, with True kept apart from 1."""
    return (isinstance(value, bool), value)


def _listed(name: str, values: Any) -> tuple[Any, ...]:
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise SpecError(f"decision {name!r}: write values as a list, got {values!r}")
    return tuple(values)


def _is_scalar(value: Any) -> bool:
    if isinstance(value, float):
        return isfinite(value)
    return value is None or isinstance(value, bool | int | str)
