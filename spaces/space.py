"""The contract of a space: `DecisionSpace` (what is decided) and `Space` (what is built)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from inspect import signature
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from ..errors import InvalidArchitecture, SpecError, did_you_mean
from ..jsonio import digest
from .arguments import as_json, from_json, resolved, with_preset
from .conditions import Conditions
from .decision import Architecture, Decision, Option, token
from .encoding import Encoding
from .part import Part

if TYPE_CHECKING:
    from torch import Tensor, nn

    from .layers.supernet import Supernet


class DecisionSpace(ABC):
    """A set of architectures, given by decisions.

    A subclass passes its decisions to this constructor, or declares them as the class attribute
    `decisions`. The keyword arguments of its own constructor are its options: what a YAML spec
    may set, and, with `name` and `version`, what its fingerprint is made of.

    Args:
        decisions: What is decided, in the order in which architectures list it.

    Raises:
        SpecError: If names repeat, or conditions name unknown decisions or form a cycle.
    """

    name: str = "decisions"
    notation: ClassVar[str] = "a JSON object decision -> option"  # as error messages show it
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}  # name -> the options that it sets
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ()  # options with other published networks
    rule: str = ""  # what restricts options beyond conditions, in words
    part: ClassVar[type[Any] | None] = None  # what a mask makes of it, if no plain RestrictedSpace
    version: int = 1  # raise it when the same options build other networks than before
    decisions: tuple[Decision, ...]
    _call: tuple[tuple[Any, ...], dict[str, Any]]
    _contract: ClassVar[bool] = True  # the arguments of this constructor are not options

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in vars(cls):  # a subclass of a named space is another space
            cls.name = cls.__name__

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Remember the arguments, which are the options of the space."""
        self = super().__new__(cls)
        self._call = (args, kwargs)
        return self

    def __init__(self, decisions: Sequence[Decision] | None = None) -> None:
        if decisions is not None:
            self.decisions = tuple(decisions)
        _ = self._conditions  # checks the decisions now, not at the first draw

    @cached_property
    def options(self) -> dict[str, Any]:
        """The constructor's arguments with the defaults filled in: JSON values.

        In a space with `presets`, the option `preset` names one of them, and options that are
        None take its values. The constructor may read this before it calls its base.

        Raises:
            SpecError: If one is not a JSON value, or there is no such preset.
        """
        return with_preset(
            self.name, as_json(self.name, resolved(type(self), *self._call)), self.presets
        )

    @cached_property
    def fingerprint(self) -> str:
        """A digest of name, options, version and decisions: equal in every process."""
        return digest(self.identity())

    def identity(self) -> dict[str, Any]:
        """Return the JSON values that decide what this space holds and builds."""
        return {
            "space": self.name,
            "version": self.version,
            "options": self.options,
            "decisions": [
                [d.name, d.options, d.ordered, dict(d.when) if d.when else None]
                for d in self.decisions
            ],
        }

    @property
    def size(self) -> int:
        """The number of architectures, exact."""
        return self._conditions.size

    def counts(self) -> dict[str, int]:
        """Return the size, and what else its literature counts, by name: all exact."""
        return {"architectures": self.size}

    @property
    def supports(self) -> frozenset[str]:
        """What the space offers beyond architectures: `supernet`, `mixture`, `tasks`."""
        return frozenset()

    # ---------------------------------------------------------------- architectures
    def architecture(self, mapping: Mapping[str, Any]) -> Architecture:
        """Return the architecture that `mapping` (decision name -> value) describes.

        Values of inactive decisions are dropped unread.

        Raises:
            InvalidArchitecture: If a name is unknown, an active decision is missing, or a value
                is not allowed.
        """
        for name in mapping:
            if name not in self._position:
                raise InvalidArchitecture(
                    f"{self.name}: there is no decision {name!r}"
                    f"{did_you_mean(str(name), self._position)}"
                )
        chosen: list[Any] = [_INACTIVE] * len(self.decisions)
        missing = []
        for i in self._conditions.order:
            if not self._active(i, chosen):
                continue
            decision = self.decisions[i]
            if decision.name in mapping:
                try:
                    chosen[i] = decision.resolve(mapping[decision.name])
                except InvalidArchitecture as error:
                    raise InvalidArchitecture(f"{self.name}: {error}") from None
            else:
                missing.append(decision.name)
        if missing:
            raise InvalidArchitecture(
                f"{self.name}: every active decision needs a value; missing: {_some(missing)}"
            )
        return self._make(chosen)

    def nearest(self, mapping: Mapping[str, Any]) -> Architecture:
        """Return the architecture that agrees with most of `mapping`, a value of each decision.

        In a space without rules beyond conditions that is the one that it describes.
        """
        return self.architecture(mapping)

    def at(self, index: int) -> Architecture:
        """Return architecture number `index`, 0 <= index < size, in the order of `enumerate`.

        Raises:
            IndexError: If there is no such number.
        """
        if not 0 <= index < self.size:
            raise IndexError(f"{self.name} numbers its architectures 0..{self.size - 1}")
        options = (
            _INACTIVE if i is None else d.options[i]
            for d, i in zip(self.decisions, self._conditions.at(index), strict=True)
        )
        return self._make(options)

    def enumerate(self) -> Iterator[Architecture]:
        """Yield every architecture once, lazily, always in the same order."""
        index, size = 0, self.size  # `range` has no length beyond 2^63, but counting goes on
        while index < size:
            yield self.at(index)
            index += 1

    def sample(
        self, rng: Random, law: Literal["architectures", "decisions"] = "architectures"
    ) -> Architecture:
        """Draw an architecture.

        Args:
            rng: The only source of randomness.
            law: `architectures` is uniform over the space; `decisions` draws each active decision
                uniformly, as super-network training does (the same when nothing is conditional).

        Raises:
            SpecError: If the law is neither.
        """
        if law == "architectures":
            return self.at(rng.randrange(self.size))
        if law != "decisions":
            raise SpecError(f"law must be architectures or decisions, got {law!r}")
        return self._complete({}, rng)

    def neighbors(self, architecture: Architecture) -> list[Architecture]:
        """Return the architectures that differ in one decision, in decision and option order.

        Decisions that become active take their first option, so that going back need not lead
        back where decisions are conditional; elsewhere the relation is symmetric.
        """
        found = []
        for decision in self.decisions:
            if decision.name not in architecture:
                continue
            current = decision.index(architecture[decision.name])
            found += [
                self._complete({**architecture, decision.name: option}, None)
                for i, option in enumerate(decision.options)
                if i != current
            ]
        return found

    def mutate(self, architecture: Architecture, rng: Random) -> Architecture:
        """Return a copy with one active decision changed, drawn uniformly; never an equal one.

        An ordered decision goes to an adjacent option half of the time and to any other one
        otherwise. Decisions that become active are drawn uniformly.

        Raises:
            SpecError: If the architecture has nothing that can change.
        """
        free = []
        for decision in self.decisions:
            if decision.name in architecture:
                current = decision.index(architecture[decision.name])
                if current is None or len(decision.options) > 1:
                    free.append((decision, current))
        if not free:
            raise SpecError(
                f"{self.name}: nothing can change, every active decision has one option"
            )
        decision, current = free[rng.randrange(len(free))]
        option = decision.options[_other(decision, current, rng)]
        return self._complete({**architecture, decision.name: option}, rng)

    def crossover(self, first: Architecture, second: Architecture, rng: Random) -> Architecture:
        """Return a child that takes each decision from either parent with equal chance.

        A decision that only one parent has active comes from that parent; one that neither has
        is drawn uniformly.
        """
        mixed: dict[str, Option] = {}
        for decision in self.decisions:
            name = decision.name
            options = [p[name] for p in (first, second) if name in p]
            if options:
                mixed[name] = options[rng.randrange(2)] if len(options) == 2 else options[0]
        return self._complete(mixed, rng)

    def encode(self, architecture: Architecture) -> list[float]:
        """Return a vector of fixed length (`len(self.encoding)`) for predictors.

        An unordered decision gives one 0/1 entry per option (all 0: inactive). An ordered one
        gives its position scaled to 0..1, values between options interpolated, preceded by an
        entry that is 1 when the decision is active if it is conditional.

        Raises:
            InvalidArchitecture: If an accepted value beyond the options belongs to a decision
                that is not an ordered list of numbers.
        """
        return self.encoding.encode(architecture)

    @cached_property
    def encoding(self) -> Encoding:
        """The layout of the vectors of `encode`."""
        return Encoding(self.decisions)

    def canonical(self, architecture: Architecture) -> str:
        """Return a text shared by exactly the architectures that build the same network."""
        return architecture.key

    # ---------------------------------------------------------------- notation
    def parse(self, value: str | Mapping[str, Any] | Sequence[Any]) -> Architecture:
        """Return the architecture that `value` writes.

        Takes a mapping decision -> option, its JSON text, or the name of a published network;
        spaces with a notation of their own take that too.

        Raises:
            InvalidArchitecture: If the value cannot be read, with the rule it breaks.
        """
        if isinstance(value, str):
            if (named := self._published.get(value.strip())) is not None:
                return named
            if value.lstrip()[:1] in ("{", "["):
                value = from_json(self.name, value)
        if isinstance(value, Mapping):
            return self.parse_object(value)
        return self.parse_notation(value)

    def parse_object(self, value: Mapping[str, Any]) -> Architecture:
        """Return the architecture that a JSON object writes: decision -> option.

        Override it for a space whose own notation is an object too.

        Raises:
            InvalidArchitecture: If it writes none, with the rule it breaks.
        """
        return self.architecture(value)

    def parse_notation(self, value: str | Sequence[Any]) -> Architecture:
        """Return the architecture that a text or a list writes in this space's own notation.

        Override it, with `notation` and `format`, for a space that has one.

        Raises:
            InvalidArchitecture: If the value cannot be read, with the rule it breaks.
        """
        raise self.unreadable(value)

    def unreadable(self, value: Any, problem: str = "") -> InvalidArchitecture:
        """Return the error for a value that is not in the notation.

        Args:
            value: What was received.
            problem: What is wrong with it, where there is more to say.
        """
        names = ", ".join(sorted(self._published))
        return InvalidArchitecture(
            f"{self.name}: an architecture is written as {self.notation}"
            f"{f' (or {names})' if names else ''}; got {value!r}{problem and f': {problem}'}"
        )

    def format(self, architecture: Architecture) -> str:
        """Return the text that `parse` reads back."""
        return architecture.to_json()

    def published(self) -> dict[str, Architecture]:
        """Return the networks that the literature names, by name; `parse` takes the names.

        Make them with `parse_notation` or `architecture`: `parse` itself asks for the names.
        """
        return {}

    # ---------------------------------------------------------------- inside
    @cached_property
    def _conditions(self) -> Conditions:
        if "decisions" not in vars(self) and not hasattr(type(self), "decisions"):
            raise SpecError(
                f"space {self.name!r} declares no decisions; pass them to super().__init__, or "
                "set the class attribute `decisions`"
            )
        return Conditions(self.decisions)

    @cached_property
    def _published(self) -> dict[str, Architecture]:
        return self.published()

    @cached_property
    def _position(self) -> dict[str, int]:
        return {d.name: i for i, d in enumerate(self.decisions)}

    def _active(self, i: int, chosen: Sequence[Any]) -> bool:
        condition = self._conditions.of[i]
        if condition is None:
            return True
        for parent, values in condition.parents:
            if chosen[parent] is _INACTIVE or token(chosen[parent]) not in values:
                return False
        return True

    def _complete(self, mapping: Mapping[str, Option], rng: Random | None) -> Architecture:
        """Return `mapping` without what is inactive and with the rest drawn (or first options)."""
        chosen: list[Any] = [_INACTIVE] * len(self.decisions)
        conditions = self._conditions.of
        for i in self._conditions.order:
            if conditions[i] is None or self._active(i, chosen):
                decision = self.decisions[i]
                if decision.name in mapping:
                    chosen[i] = mapping[decision.name]
                else:
                    position = rng.randrange(len(decision.options)) if rng else 0
                    chosen[i] = decision.options[position]
        return self._make(chosen)

    def _make(self, chosen: Any) -> Architecture:
        pairs = zip(self._position, chosen, strict=True)
        return Architecture({name: option for name, option in pairs if option is not _INACTIVE})

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}: {self.size:,} architectures>"


class Space(DecisionSpace):
    """A space whose architectures are networks.

    A space for images takes the options `in_channels`, `resolution` and `classes` where a data
    set can fill them; with the first two, `example_input` comes for free.
    """

    mixture: ClassVar[bool] = False  # whether its super-network runs weighted mixtures of options
    widths: ClassVar[bool] = False  # whether every decision is a width of its super-network
    kernels: ClassVar[bool] = False  # whether it cuts kernels of several sides out of one weight

    @property
    def supports(self) -> frozenset[str]:
        """What the class defines: `tasks`, `supernet`, and what that offers (`mixture`, ...)."""
        cls = type(self)
        offers = {
            "supernet": cls.supernet is not Space.supernet,
            "mixture": cls.mixture,
            "widths": cls.widths,
            "kernels": cls.kernels,
            "partial": "partial" in signature(cls.supernet).parameters,
            "tasks": cls.tasks is not Space.tasks,
        }
        return frozenset(name for name, offered in offers.items() if offered)

    @abstractmethod
    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network, freshly initialised, with no choice left in it."""

    def example_input(self, architecture: Architecture) -> Tensor:
        """Return an input of batch size 1 (zeros, float32).

        Raises:
            SpecError: If the space has no options `in_channels` and `resolution` to tell.
        """
        import torch

        options = self.options
        if not {"in_channels", "resolution"} <= options.keys():
            raise SpecError(
                f"space {self.name!r} must define example_input, or have the options in_channels "
                f"and resolution; its options are {sorted(options)}"
            )
        side = options["resolution"]
        return torch.zeros(1, options["in_channels"], side, side)

    def tasks(self, architecture: Architecture) -> tuple[str, ...]:
        """Return the names of the network's outputs; empty for a network of one task."""
        return ()

    def parts(self, architecture: Architecture) -> Sequence[Part] | None:
        """Return the network as a graph of keyed parts, or None where the space has none."""
        return None

    def supernet(self, *args: Any, **options: Any) -> Supernet:
        """Return a super-network: shared weights for all networks of the space.

        Implementations take keyword options of their own.

        Raises:
            SpecError: If the space has none.
        """
        offers = ", ".join(sorted(self.supports)) or "stand-alone networks only"
        raise SpecError(
            f"space {self.name!r} has no super-network (it offers: {offers}); choose a strategy "
            "that needs none, or a space that has one (`netloom spaces` lists them)"
        )


class _Inactive:
    """The value of a decision that is not taken; one object, also after unpickling."""

    def __reduce__(self) -> str:
        return "_INACTIVE"


_INACTIVE = _Inactive()


def _other(decision: Decision, current: int | None, rng: Random) -> int:
    """Return the position of another option than `current`."""
    n = len(decision.options)
    if current is None:
        return rng.randrange(n)
    if decision.ordered and n > 2 and rng.random() < 0.5:
        adjacent = [i for i in (current - 1, current + 1) if 0 <= i < n]
        return adjacent[rng.randrange(len(adjacent))]
    other = rng.randrange(n - 1)
    return other + (other >= current)


def _some(names: Sequence[str], limit: int = 12) -> str:
    return ", ".join(names[:limit]) + (f", ... ({len(names)})" if len(names) > limit else "")
