"""The two mobile families of Once-for-All: elastic kernels, expansion ratios and depths."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

from ....errors import InvalidArchitecture
from ...decision import Architecture, Decision
from ...graph import PartGraph, known_module
from ...part import NETWORK_INPUT, Part
from ...rounding import expanded, make_divisible
from .base import RESOLUTION, Derive, OfaSpace, strided
from .encoding import Entries, SlotEncoding, first_taken
from .published import Released
from .rules import UpTo, odd, positive

if TYPE_CHECKING:
    from torch import nn

KERNELS, RATIOS, DEPTHS = (3, 5, 7), (3, 4, 6), (2, 3, 4)
_BLOCKS = "netloom.spaces.networks.mobile_blocks"


@dataclass(frozen=True)
class StagePlan:
    """A stage at width 1.

    Args:
        channels: Of its blocks' outputs.
        activation: Of its blocks.
        excite: Whether they have squeeze-and-excitation.
        blocks: The most there can be; with 1 the depth is no decision.
    """

    channels: int
    activation: str
    excite: bool = False
    blocks: int = 4


@dataclass(frozen=True)
class MobilePlan:
    """A family at width 1.

    Args:
        stem: Channels and activation of the first convolution.
        first: Channels and activation of the fixed block.
        adds: Whether the fixed block adds its input.
        stages: From the first to the last.
        last: Channels of the 1x1 convolution behind the stages.
        features: Channels of the convolution behind the average; None: there is none.
        eps: Of the batch norms.
    """

    stem: tuple[int, str]
    first: tuple[int, str]
    adds: bool
    stages: tuple[StagePlan, ...]
    last: int
    features: int | None
    eps: float


@dataclass(frozen=True)
class Slot:
    """A place for a block: its name, those of its decisions, and the widths around it."""

    name: str
    kernel: str
    ratio: str
    channels: tuple[int, int]
    stride: int


@dataclass(frozen=True)
class Stage:
    """The decision of its depth (None: one block, always), its plan, its slots."""

    depth: str | None
    plan: StagePlan
    slots: tuple[Slot, ...]

    def taken(self, chosen: Mapping[str, Any]) -> tuple[Slot, ...]:
        """Return the slots that the depth reaches: all of them where it is a `Choice`."""
        depth = 1 if self.depth is None else chosen[self.depth]
        return self.slots[:depth] if isinstance(depth, int) else self.slots


class OfaMobile(OfaSpace):
    """Stages of inverted residuals with elastic kernel, expansion ratio and depth."""

    plan: ClassVar[MobilePlan]
    kernels = True

    # ---------------------------------------------------------------- decisions
    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The stages at the width and with the strides of this space."""
        width, found = self._scaled(self.plan.first[0]), []
        for i, (plan, stride) in enumerate(zip(self.plan.stages, self._strides, strict=True), 1):
            slots, out = [], self._scaled(plan.channels)
            for j in range(plan.blocks):
                name = f"stage{i}.block{j + 1}"
                around = (out if j else width, out)
                slots.append(
                    Slot(name, f"{name}.kernel", f"{name}.expand", around, 1 if j else stride)
                )
            depth = f"stage{i}.depth" if plan.blocks > 1 else None
            found.append(Stage(depth, plan, tuple(slots)))
            width = out
        return tuple(found)

    @property
    def _slots(self) -> Iterator[Slot]:
        for stage in self.stages:
            yield from stage.slots

    def _scaled(self, channels: int) -> int:
        return make_divisible(channels * self._width)

    def _choices(self) -> list[Decision]:
        found = []
        for stage in self.stages:
            if stage.depth is not None:
                most = UpTo(stage.plan.blocks)
                found.append(Decision(stage.depth, DEPTHS, ordered=True, accepts=most))
            for j, slot in enumerate(stage.slots, start=1):
                when = None
                if stage.depth is not None and j > 1:
                    when = {stage.depth: tuple(d for d in DEPTHS if d >= j)}
                found.append(Decision(slot.kernel, KERNELS, True, when, accepts=odd))
                found.append(Decision(slot.ratio, RATIOS, True, when, accepts=positive))
        return found

    def counts(self) -> dict[str, int]:
        """Return the architectures, the same at one input side, different networks, and strings.

        Strings are the lists of options that can be written down: many differ in unused slots
        alone.
        """
        sides = len(self.decisions[0].options)
        networks, strings = 1, 1
        for stage in self.stages:
            ways = [
                len(KERNELS) * len({expanded(slot.channels[0], e) for e in RATIOS})
                for slot in stage.slots
            ]
            depths = DEPTHS if stage.depth else (1,)
            networks *= sum(prod(ways[:depth]) for depth in depths)
            strings *= (len(KERNELS) * len(RATIOS)) ** len(ways) * len(DEPTHS)
        return {
            "architectures": self.size,
            "per_resolution": self.size // sides,
            "networks": networks,
            "strings": strings,
        }

    def canonical(self, architecture: Architecture) -> str:
        """Return the input side and, for each block, its kernel and its hidden width."""
        blocks = (
            [f"{kernel}x{hidden}" for _, _, kernel, hidden, *_ in args]
            for _, args in self._arguments(architecture)
        )
        return f"{architecture[RESOLUTION]}: " + " | ".join(map(" ".join, blocks))

    # ---------------------------------------------------------------- networks
    def _network(self, chosen: Mapping[str, Any], derive: Derive) -> nn.Module:
        from ...networks.ofa_mobile import OfaMobileNet

        stem, first, last, classifier = self._ends()
        return OfaMobileNet(stem, first, self._arguments(chosen, derive), last, classifier)

    def _ends(self) -> tuple[tuple[Any, ...], ...]:
        """Return the arguments of stem, fixed block, last convolution and classifier."""
        plan, eps = self.plan, self.plan.eps
        stem, first, last = (self._scaled(n) for n in (plan.stem[0], plan.first[0], plan.last))
        features = None if plan.features is None else self._scaled(plan.features)
        activation = plan.stem[1]
        return (
            (self._in_channels, stem, 3, self._stem_stride, activation, eps),
            (stem, first, 3, None, 1, plan.first[1], False, eps, plan.adds),
            (self.stages[-1].slots[-1].channels[1], last, 1, 1, activation, eps),
            (last, self._classes, features, activation, self._dropout),
        )

    def _arguments(
        self, chosen: Mapping[str, Any], derive: Derive = lambda function, *n: function(*n)
    ) -> list[tuple[Any, list[tuple[Any, ...]]]]:
        """Return the depth of each stage and the arguments of its blocks."""
        found = []
        for stage in self.stages:
            plan = stage.plan
            blocks = []
            for slot in stage.taken(chosen):
                ratio = chosen[slot.ratio]
                hidden = None if ratio == 1 else derive(expanded, slot.channels[0], ratio)
                rest = (slot.stride, plan.activation, plan.excite, self.plan.eps)
                blocks.append((*slot.channels, chosen[slot.kernel], hidden, *rest))
            found.append((1 if stage.depth is None else chosen[stage.depth], blocks))
        return found

    def parts(self, architecture: Architecture) -> Sequence[Part]:
        """Return one part per stem, block, last convolution and classifier."""
        side: Any = architecture[RESOLUTION]
        stem, first, last, classifier = self._ends()
        graph = PartGraph((1, self._in_channels, side, side))
        side = strided(side, self._stem_stride)
        module = known_module(f"{_BLOCKS}:ConvNorm", *stem)
        x = graph.add("stem", module, NETWORK_INPUT, shape=(1, stem[1], side, side))
        module = known_module(f"{_BLOCKS}:InvertedResidual", *first)
        x = graph.add("first", module, x, shape=(1, first[1], side, side))
        for stage, (_, blocks) in zip(self.stages, self._arguments(architecture), strict=True):
            for slot, args in zip(stage.slots, blocks, strict=False):
                side = strided(side, slot.stride)
                module = known_module(f"{_BLOCKS}:InvertedResidual", *args)
                x = graph.add(slot.name, module, x, shape=(1, args[1], side, side))
        module = known_module(f"{_BLOCKS}:ConvNorm", *last)
        x = graph.add("last", module, x, shape=(1, last[1], side, side))
        module = known_module(f"{_BLOCKS}:Classifier", *classifier)
        graph.add("classifier", module, x, shape=(1, self._classes))
        return graph.parts

    # ---------------------------------------------------------------- notation, encoding
    def _read(self, lists: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
        chosen: dict[str, Any] = {}
        for stage, depth in zip(self.stages, lists["d"], strict=True):
            if stage.depth is not None:
                chosen[stage.depth] = depth
            elif not UpTo(10**9)(depth):  # whatever its depth, the stage has one block
                raise InvalidArchitecture(
                    f"{self.name}: the depth of a stage of one block must be a whole number from 1 "
                    f"up, got {depth!r}"
                )
        for slot, kernel, ratio in zip(self._slots, lists["ks"], lists["e"], strict=True):
            chosen[slot.kernel], chosen[slot.ratio] = kernel, ratio
        return chosen

    def format(self, architecture: Architecture) -> str:
        """Return the object as text, with 0 in unused slots."""
        depths = [architecture[s.depth] if s.depth else 1 for s in self.stages]
        kernels = [architecture.get(slot.kernel, 0) for slot in self._slots]
        ratios = [architecture.get(slot.ratio, 0) for slot in self._slots]
        return json.dumps({"ks": kernels, "e": ratios, "d": depths, "r": architecture[RESOLUTION]})

    def released(self, networks: Mapping[str, Released]) -> dict[str, Architecture]:
        """Return those of `networks` that this space builds as they were released."""
        if (*self._strides, self._stem_stride) != (*self.usual_strides, 2):
            return {}
        slots = [len(stage.slots) for stage in self.stages]
        return {
            name: self.architecture({RESOLUTION: net.side, **self._read(net.lists(slots))})
            for name, net in networks.items()
            if net.width == self._width
        }

    def package_encoding(self, resolutions: Sequence[int] | None = None) -> SlotEncoding:
        """Return the encoding of the reference's predictors: input side, kernels, ratios.

        One 0/1 entry per option: R for R input sides, 3 per slot for the kernels of all slots, 3
        per slot for the ratios of all slots. Slots beyond the depth are all 0.

        Args:
            resolutions: The input sides with an entry; None: those of the space.
        """
        sides = self.decisions[0].options if resolutions is None else tuple(resolutions)
        kernels, ratios = self._entries()
        return SlotEncoding([Entries(RESOLUTION, sides), *kernels, *ratios], self._finish)

    def _entries(self) -> tuple[list[Entries], list[Entries]]:
        kernels = [Entries(slot.kernel, KERNELS) for slot in self._slots]
        return kernels, [Entries(slot.ratio, RATIOS) for slot in self._slots]

    def _finish(self, chosen: dict[str, Any]) -> Architecture:
        """Return the architecture whose depths are the numbers of slots that are taken."""
        for stage in self.stages:
            kernels, ratios = zip(*((slot.kernel, slot.ratio) for slot in stage.slots), strict=True)
            depth = first_taken(self.name, kernels, chosen)
            if depth != first_taken(self.name, ratios, chosen) or not depth:
                raise InvalidArchitecture(
                    f"{self.name}: a stage needs a block, and a block a kernel and a ratio; the "
                    f"vector has {depth} kernels in the stage of {stage.slots[0].name}"
                )
            if stage.depth is not None:
                chosen[stage.depth] = depth
        return self.architecture(chosen)
