"""Spaces written for NNI as spaces of ours (extra `nni`).

NNI describes a space by labelled choices inside a module. Those become decisions; a network is
built by making the space anew and fixing its choices, because NNI's `freeze` shares the layers of
the space with what it returns.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from random import Random
from typing import TYPE_CHECKING, Any, Literal

from ..errors import InvalidArchitecture, SpecError
from ..jsonio import canonical_json
from .arguments import as_json
from .decision import Architecture, Option
from .nni_choices import choice_of, is_free, nni, quiet
from .space import Space

if TYPE_CHECKING:
    import torch
    from torch import nn

_LISTED = 1 << 16  # combinations that are all tried where a constraint drops some
_RATE_DRAWS = 200  # behind the acceptance that is reported


def from_nni(
    model_space: Any, example_input: torch.Tensor | None = None, **arguments: Any
) -> NniSpace:
    """Return a `nni.nas` `ModelSpace` as a space.

    Args:
        model_space: The class, or one of its objects: it is made anew with the arguments that NNI
            has recorded of it.
        example_input: An input; its first item becomes the example of batch size 1.
        arguments: Of the class.

    Raises:
        MissingDependency: If NNI is not installed.
        SpecError: If it is no `ModelSpace`, cannot be made, or has no choice.
    """
    return NniSpace(model_space, example_input, **arguments)


class NniSpace(Space):
    """The networks of a `nni.nas` `ModelSpace`.

    A choice of one value (`LayerChoice`, the depth of a `Repeat`, `nni.choice`) is a decision named
    by its label, ordered where its values are rising numbers that name no layers. A choice of k of
    n inputs is a decision among the subsets; a choice of any number of them is one decision per
    input, `LABEL/POSITION`, as NNI writes it too. A range has 15 options at the quantiles of its
    distribution, and takes any other value of it.

    Where NNI has constraints, draws that break them are drawn again (`tries` times at most); up to
    65,536 combinations are listed instead, so that `size` is exact; beyond, `size` counts
    combinations, and `rule` says which share of 200 draws keeps the constraints.

    Notation: the JSON object label -> choice of NNI's own exports. Labels that the network does not
    read may be left out.

    Args:
        model_space: The class, or one of its objects.
        example_input: An input; its first item becomes the example of batch size 1.
        tries: Draws before sampling gives up.
        arguments: Of the class.

    Raises:
        MissingDependency: If NNI is not installed.
        SpecError: If it is no `ModelSpace`, cannot be made, has no choice, or a choice that is
            none among finitely many values.
    """

    _contract = True
    notation = "the JSON object label -> choice that NNI exports"

    def __init__(
        self,
        model_space: Any,
        example_input: torch.Tensor | None = None,
        *,
        tries: int = 1000,
        **arguments: Any,
    ) -> None:
        base = nni("nni.nas.nn.pytorch").ModelSpace
        self._args: tuple[Any, ...] = ()
        if isinstance(model_space, base):
            if arguments:
                raise SpecError(
                    f"arguments {sorted(arguments)} need the class {type(model_space).__name__} "
                    "instead of a finished space"
                )
            self._args, arguments = model_space.trace_args, dict(model_space.trace_kwargs)
            model_space = type(model_space)
        if not (inspect.isclass(model_space) and issubclass(model_space, base)):
            raise SpecError(
                f"from_nni takes a nni.nas ModelSpace or its class, got {model_space!r}"
            )
        self._class, self._arguments, self._tries = model_space, arguments, tries
        self.name = model_space.__name__
        self._example = None if example_input is None else example_input[:1].detach().clone()
        labels, layers = self._labels()
        self._choices = [choice_of(m, label in layers) for label, m in labels.items() if is_free(m)]
        self._rules = [m for m in labels.values() if not is_free(m)]
        super().__init__([d for choice in self._choices for d in choice.decisions])
        if self._rules:
            self.rule = self._rule()

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of the class."""
        named = {f"argument {i}": value for i, value in enumerate(self._args)}
        return as_json(self.name, {**named, **self._arguments})

    def identity(self) -> dict[str, Any]:
        """Return what decides the space: also where the class is, and the version of NNI."""
        where = f"{self._class.__module__}:{self._class.__qualname__}"
        return {**super().identity(), "class": where, "nni": nni("nni").__version__}

    # ---------------------------------------------------------------- networks
    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network, freshly initialised; no layer of it is known elsewhere."""
        sample = self._sample_of(self.architecture(architecture))
        network: Any
        with quiet():
            try:
                network = self._fresh().freeze(sample)
            except NotImplementedError:  # a class that registers choices of its own: NNI's advice
                with nni("nni.nas.nn.pytorch").model_context(sample):
                    network = self._class(*self._args, **self._arguments)
        built: nn.Module = network
        return built

    def example_input(self, architecture: Architecture) -> torch.Tensor:
        """Return the example, batch size 1.

        Raises:
            SpecError: If none was given.
        """
        if self._example is None:
            raise SpecError(
                f"the input of {self.name} is not known; give from_nni an example_input, or a spec "
                "a data set or `resolution`"
            )
        return self._example.clone()

    def _fresh(self) -> Any:
        try:
            with quiet():
                return self._class(*self._args, **self._arguments)
        except Exception as error:
            raise SpecError(
                f"{self._class.__name__} raised {type(error).__name__}: {error}; check what it gets"
            ) from error

    def _labels(self) -> tuple[dict[str, Any], set[str]]:
        """Return the choices and constraints by label, and the labels that choose layers."""
        layer_choice = nni("nni.nas.nn.pytorch").LayerChoice
        module = self._fresh()
        layers = {m.label for m in module.modules() if isinstance(m, layer_choice)}
        with quiet():
            return module.simplify(), layers

    # ---------------------------------------------------------------- architectures
    @property
    def size(self) -> int:
        """The number of architectures; of combinations, where there are too many to try."""
        return self._conditions.size if self._legal is None else len(self._legal)

    def counts(self) -> dict[str, int]:
        """Return the size, and the combinations that the constraints choose from."""
        every = {"combinations": self._conditions.size} if self._rules else {}
        return super().counts() | every

    def acceptance(self, draws: int = _RATE_DRAWS) -> float:
        """Return the share of uniform draws that keep NNI's constraints, 0..1."""
        rng = Random(0)
        drawn = [super(NniSpace, self).sample(rng, "decisions") for _ in range(draws)]
        return sum(self._broken(a) is None for a in drawn) / draws

    def architecture(self, mapping: Mapping[str, Any]) -> Architecture:
        """Return the architecture that `mapping` (decision name -> value) describes.

        Raises:
            InvalidArchitecture: Also where it breaks one of NNI's constraints.
        """
        made = super().architecture(mapping)
        if reason := self._broken(made):
            raise InvalidArchitecture(f"{self.name}: a constraint of NNI forbids this: {reason}")
        return made

    def nearest(self, mapping: Mapping[str, Any]) -> Architecture:
        """Return what `mapping` describes, or what is legal after as few random changes as found.

        Raises:
            SpecError: If nothing legal is found.
        """
        made = super().architecture(mapping)
        rng = Random(made.key)
        return self._tried(lambda i: self._changed(made, rng, i * 4 // self._tries + (i > 0)))

    def at(self, index: int) -> Architecture:
        """Return architecture `index`; beyond what is listed, the next that is legal from there."""
        if not 0 <= index < self.size:
            raise IndexError(f"{self.name} numbers its architectures 0..{self.size - 1}")
        if self._legal is None:
            return self._tried(lambda i: self._combination((index + i) % self.size))
        return self._combination(self._legal[index])

    def enumerate(self) -> Iterator[Architecture]:
        """Yield every legal architecture once, lazily."""
        if self._legal is not None or not self._rules:
            yield from super().enumerate()
            return
        index = 0
        while index < self.size:
            if self._broken(made := self._combination(index)) is None:
                yield made
            index += 1

    def _combination(self, index: int) -> Architecture:
        places = self._conditions.at(index)  # nothing is conditional: none is None
        return self._make(d.options[i or 0] for d, i in zip(self.decisions, places, strict=True))

    def sample(
        self, rng: Random, law: Literal["architectures", "decisions"] = "architectures"
    ) -> Architecture:
        """Draw an architecture, again while it breaks a constraint.

        Raises:
            SpecError: If no draw in `tries` keeps the constraints.
        """
        if self._legal is not None and law == "architectures":
            return super().sample(rng, law)
        draw = super().sample
        if law == "architectures":  # without conditions both laws are one
            law = "decisions"
        return self._tried(lambda _: draw(rng, law))

    def neighbors(self, architecture: Architecture) -> list[Architecture]:
        """Return the legal architectures that differ in one decision."""
        return [a for a in super().neighbors(architecture) if self._broken(a) is None]

    def mutate(self, architecture: Architecture, rng: Random) -> Architecture:
        """Return a copy with one decision changed; more where no single change is legal."""
        change = super().mutate

        def mutant(i: int) -> Architecture:
            child = architecture
            for _ in range(1 + i * 4 // self._tries):
                child = change(child, rng)
            return child if child != architecture else change(child, rng)

        return self._tried(mutant)

    def crossover(self, first: Architecture, second: Architecture, rng: Random) -> Architecture:
        """Return a child of both; the first parent again where no mix of them is legal."""
        mix = super().crossover
        last = self._tries - 1
        return self._tried(lambda i: first if i == last else mix(first, second, rng))

    def _changed(self, made: Architecture, rng: Random, changes: int) -> Architecture:
        values = dict(made)
        for decision in rng.sample(self.decisions, min(changes, len(self.decisions))):
            values[decision.name] = rng.choice(decision.options)
        return super().architecture(values)

    def _tried(self, attempt: Callable[[int], Architecture]) -> Architecture:
        """Return the first of `tries` attempts that keeps the constraints."""
        for i in range(self._tries):
            made = attempt(i)
            if (reason := self._broken(made)) is None:
                return made
        raise SpecError(
            f"{self.name}: one of {self._tries} draws must keep NNI's constraints, got none that "
            f"does ({reason}); raise `tries`, or loosen the constraints"
        )

    @cached_property
    def _legal(self) -> list[int] | None:
        """The legal ones among the combinations; None: all, or too many to try."""
        every = self._conditions.size
        if not self._rules or every > _LISTED:
            return None
        return [i for i in range(every) if self._broken(self._combination(i)) is None]

    def _broken(self, architecture: Architecture) -> str | None:
        if not self._rules:
            return None
        sample = self._sample_of(architecture)
        errors = (rule.check_contains(sample) for rule in self._rules)
        return next((str(error) for error in errors if error is not None), None)

    def _rule(self) -> str:
        rules = f"NNI's constraints ({', '.join(rule.label for rule in self._rules)})"
        if self._legal is not None:
            return f"{rules} keep {self.size:,} of {self._conditions.size:,} combinations"
        return (
            f"{rules} keep {100 * self.acceptance():.0f} % of {_RATE_DRAWS} draws; the size counts "
            "all combinations"
        )

    # ---------------------------------------------------------------- notation
    def parse_object(self, value: Mapping[str, Any]) -> Architecture:
        """Return the architecture of NNI's object label -> choice, or of decision -> option.

        Raises:
            InvalidArchitecture: If it writes none, with the rule it breaks.
        """
        choices = {choice.label: choice for choice in self._choices}
        read: dict[str, Any] = {}
        for name, given in value.items():
            read |= choices[name].read(given) if name in choices else {name: given}
        absent = {d.name: d.options[0] for d in self.decisions if d.name not in read}
        if absent and value and self._does_without(absent, read):
            read |= absent
        return self.architecture(read)

    def format(self, architecture: Architecture) -> str:
        """Return the JSON object label -> choice."""
        return canonical_json(self._sample_of(architecture))

    def _sample_of(self, architecture: Mapping[str, Option]) -> dict[str, Any]:
        return {choice.label: choice.value(architecture) for choice in self._choices}

    def _does_without(self, absent: Mapping[str, Any], read: Mapping[str, Any]) -> bool:
        """Whether the network that `read` describes has no use for the decisions left out."""
        made = super().architecture({**absent, **read})  # whose values are checked by that
        given = [c for c in self._choices if not any(d.name in absent for d in c.decisions)]
        sample = {choice.label: choice.value(made) for choice in given}
        missing = nni("nni.mutable").SampleMissingError
        try:
            with quiet(), nni("nni.nas.nn.pytorch").model_context(sample):
                self._class(*self._args, **self._arguments)
        except missing:
            return False
        return True
