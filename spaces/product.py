"""Several things decided together: a network and the accelerator that runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from math import prod
from random import Random
from typing import Any, Literal

from ..errors import InvalidArchitecture, SpecError, did_you_mean
from ..jsonio import canonical_json
from .arguments import from_json
from .decision import Architecture, Option
from .encoding import Encoding
from .space import DecisionSpace


class ProductSpace(DecisionSpace):
    """All combinations of the architectures of its factors.

    Every decision of factor `net` is called `net.<its name>`; rules and notations stay those of
    the factors.

    Args:
        factors: The spaces by name; a name is one word.

    Raises:
        SpecError: If there is no factor, or a name holds a dot.
    """

    name = "product"

    def __init__(self, **factors: DecisionSpace) -> None:
        if not factors:
            raise SpecError("a product of spaces needs at least one factor, got none")
        for name, factor in factors.items():
            if "." in name or not isinstance(factor, DecisionSpace):
                raise SpecError(
                    f"a factor is given as name=space, the name without dots; got {name}={factor!r}"
                )
        self.factors = dict(factors)
        super().__init__(
            [
                replace(
                    d,
                    name=f"{name}.{d.name}",
                    when={f"{name}.{p}": v for p, v in d.when.items()} if d.when else None,
                )
                for name, factor in factors.items()
                for d in factor.decisions
            ]
        )

    @property
    def options(self) -> dict[str, Any]:
        """The names and options of the factors."""
        return {n: {"name": f.name, **f.options} for n, f in self.factors.items()}

    def identity(self) -> dict[str, Any]:
        """Return the identities of the factors by name."""
        return {"space": self.name, "factors": {n: f.identity() for n, f in self.factors.items()}}

    @property
    def size(self) -> int:
        """The product of the sizes of the factors."""
        return prod(f.size for f in self.factors.values())

    def project(self, architecture: Mapping[str, Option], name: str) -> Architecture:
        """Return the architecture of factor `name`.

        Raises:
            SpecError: If there is no such factor.
        """
        if name not in self.factors:
            raise SpecError(f"there is no factor {name!r}{did_you_mean(name, self.factors)}")
        prefix = f"{name}."
        return Architecture(
            {k[len(prefix) :]: v for k, v in architecture.items() if k.startswith(prefix)}
        )

    def join(self, **architectures: Architecture) -> Architecture:
        """Return the combination of one architecture per factor, the inverse of `project`."""
        if architectures.keys() != self.factors.keys():
            raise SpecError(
                f"an architecture is needed for each of {', '.join(self.factors)}; got "
                f"{', '.join(architectures) or 'none'}"
            )
        return Architecture(
            {f"{n}.{k}": v for n in self.factors for k, v in architectures[n].items()}
        )

    def architecture(self, mapping: Mapping[str, Any]) -> Architecture:
        """Return the architecture that `mapping` describes, each factor by its own rules."""
        checked = super().architecture(mapping)
        return self._join(lambda n, f: f.architecture(self.project(checked, n)))

    def nearest(self, mapping: Mapping[str, Any]) -> Architecture:
        """Return the architecture that agrees with most of `mapping`, factor by factor."""
        return self._join(lambda n, f: f.nearest(self.project(mapping, n)))

    def at(self, index: int) -> Architecture:
        """Return architecture number `index`; the last factor turns fastest."""
        if not 0 <= index < self.size:
            raise IndexError(f"{self.name} numbers its architectures 0..{self.size - 1}")
        found: dict[str, Architecture] = {}
        for name, factor in reversed(self.factors.items()):
            index, rest = divmod(index, factor.size)
            found[name] = factor.at(rest)
        return self.join(**found)

    def sample(
        self, rng: Random, law: Literal["architectures", "decisions"] = "architectures"
    ) -> Architecture:
        """Draw one architecture of every factor, in their order."""
        return self._join(lambda n, f: f.sample(rng, law))

    def neighbors(self, architecture: Architecture) -> list[Architecture]:
        """Return the combinations in which one factor is replaced by a neighbour."""
        own = self._projections(architecture)
        return [
            self.join(**{**own, name: other})
            for name, factor in self.factors.items()
            for other in factor.neighbors(own[name])
        ]

    def mutate(self, architecture: Architecture, rng: Random) -> Architecture:
        """Mutate one factor, drawn in proportion to its active decisions."""
        own = self._projections(architecture)
        names = [n for n, f in self.factors.items() if f.size > 1]
        if not names:
            raise SpecError(f"{self.name}: nothing can change, every factor has one architecture")
        bounds = list(accumulate(len(own[n]) for n in names))
        drawn = rng.randrange(bounds[-1])
        name = next(n for n, bound in zip(names, bounds, strict=True) if drawn < bound)
        return self.join(**{**own, name: self.factors[name].mutate(own[name], rng)})

    def crossover(self, first: Architecture, second: Architecture, rng: Random) -> Architecture:
        """Cross every factor by its own rule."""
        a, b = self._projections(first), self._projections(second)
        return self._join(lambda n, f: f.crossover(a[n], b[n], rng))

    def encode(self, architecture: Architecture) -> list[float]:
        """Return the vectors of the factors, one after the other."""
        own = self._projections(architecture)
        return [x for name, factor in self.factors.items() for x in factor.encode(own[name])]

    @property
    def encoding(self) -> Encoding:
        """The layout of the vectors."""
        return Encoding(self.decisions)

    def canonical(self, architecture: Architecture) -> str:
        """Return the canonical texts of the factors as one."""
        own = self._projections(architecture)
        return canonical_json({n: f.canonical(own[n]) for n, f in self.factors.items()})

    def parse(self, value: str | Mapping[str, Any] | Sequence[Any]) -> Architecture:
        """Read `{factor: its notation}` or `{factor.decision: option}`, as an object or JSON."""
        if isinstance(value, str):
            value = from_json(self.name, value)
        if isinstance(value, Mapping) and value.keys() == self.factors.keys():
            notations = value
            return self._join(lambda n, f: f.parse(notations[n]))
        if isinstance(value, Mapping):
            return self.architecture(value)
        raise InvalidArchitecture(
            f"{self.name}: write a JSON object with {', '.join(self.factors)}; got {value!r}"
        )

    def format(self, architecture: Architecture) -> str:
        """Return a JSON object with the notation of every factor."""
        own = self._projections(architecture)
        return canonical_json({n: f.format(own[n]) for n, f in self.factors.items()})

    def _projections(self, architecture: Architecture) -> dict[str, Architecture]:
        return {name: self.project(architecture, name) for name in self.factors}

    def _join(self, make: Any) -> Architecture:
        return self.join(**{name: make(name, factor) for name, factor in self.factors.items()})
