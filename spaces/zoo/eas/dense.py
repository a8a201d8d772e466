"""DenseNets that grow: a growth rate for each mini-block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar, cast

from ....errors import InvalidArchitecture, SpecError
from ...arguments import with_preset
from ...decision import Architecture, Decision
from ...graph import PartGraph, known_module
from ...networks.eas_actions import Action, Deeper, Growth, Noise, Transitions, Wider
from ...networks.eas_plan import DensePlan, dense_plan
from ...part import NETWORK_INPUT, Part
from ..checks import LONGEST, at_least, probability, rising
from .blocks import Between, depth_of, layer_of
from .growing import GrowingSpace, error_of, ladder_above, readable
from .notation import rates_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ...networks.eas_dense import DenseNetwork

_NETWORKS = "netloom.spaces.networks.eas_dense"
_LARGEST = 10**9  # of a growth rate that `parse` reads


def _densenet(depth: int, growth: int) -> str:
    """Return the DenseNet-BC of three equal blocks: two convolutions for each mini-block."""
    block = "_".join([f"g{growth}"] * ((depth - 4) // 6))
    return "_t_".join([block] * 3)


_PUBLISHED = {
    "DenseNet-BC-40-40": _densenet(40, 40),
    "DenseNet-BC-40-16": _densenet(40, 16),
    "DenseNet-BC-10-4": _densenet(10, 4),
}


class EasDense(GrowingSpace):
    """The DenseNet-BCs of EAS, with a growth rate for each mini-block; they grow.

    Written as `gN` for each mini-block and `t` for the transitions between dense blocks, joined by
    `_`. The first convolution has twice the mean growth rate, a transition half of what it reads.

    There is no super-network: a network hands its weights on by growing. `grow` raises a growth
    rate, or puts one more mini-block into a dense block, without changing what the network
    computes.

    Source: arXiv 1707.04873, 1608.06993; han-cai/EAS.

    Args:
        preset: `full`, `small` (a ladder from 4 to 48) or `tiny`; sets the options left out.
        growths: The ladder: what growth rates there may be.
        blocks: How many dense blocks there may be.
        block_layers: The most mini-blocks of a dense block.
        max_layers: The most entries of a network, transitions among them.
        bottleneck: Width of the 1x1 convolution of a mini-block, as a multiple of its growth rate.
        reduction: Width of a transition, as a ratio of what it reads, rounded down.
        dropout: Probability with which training drops outputs of convolutions but the first.
        classes: Number of outputs.
        resolution: Side of the square image.
        in_channels: Channels of the image.
    """

    name = "eas_dense"
    notation = "gN for each mini-block and t between dense blocks, joined by _"
    presets: ClassVar = {
        "full": {"growths": list(range(40, 65, 4)), "blocks": [3], "block_layers": 20}
        | {"max_layers": 50, "resolution": 32},
        "small": {"growths": list(range(4, 49, 2)), "blocks": [3], "block_layers": 20}
        | {"max_layers": 50, "resolution": 32},
        "tiny": {"growths": [4, 6, 8], "blocks": [3], "block_layers": 3}
        | {"max_layers": 8, "resolution": 16},
    }

    def __init__(
        self,
        *,
        preset: str = "full",
        growths: Sequence[int] | None = None,
        blocks: Sequence[int] | None = None,
        block_layers: int | None = None,
        max_layers: int | None = None,
        bottleneck: int = 4,
        reduction: float = 0.5,
        dropout: float = 0.0,
        classes: int = 10,
        resolution: int | None = None,
        in_channels: int = 3,
    ) -> None:
        own = {
            "growths": growths,
            "blocks": blocks,
            "block_layers": block_layers,
            "max_layers": max_layers,
            "resolution": resolution,
        }
        o = with_preset(self.name, {"preset": preset, **own}, self.presets)
        at_least(1, LONGEST, block_layers=o["block_layers"], max_layers=o["max_layers"])
        at_least(
            1,
            resolution=o["resolution"],
            bottleneck=bottleneck,
            classes=classes,
            in_channels=in_channels,
        )
        probability(dropout=dropout)
        number = isinstance(reduction, int | float) and not isinstance(reduction, bool)
        if not number or not 0 < reduction <= 1:
            raise SpecError(f"reduction must be above 0, up to 1, got {reduction!r}")
        self._growths = rising("growths", o["growths"], whole=True)
        self._counts = rising("blocks", o["blocks"], whole=True)
        self._side, self._reduction = o["resolution"], float(reduction)
        self._rest = (in_channels, classes, bottleneck, float(dropout))
        self._deepest, self._most = o["block_layers"], o["resolution"].bit_length()
        if self._counts[-1] > self._most:
            raise SpecError(
                f"blocks: a map of {self._side} pixels a side (resolution) allows up to "
                f"{self._most}, as each transition halves it; got {self._counts[-1]}"
            )
        narrowest = [[self._growths[0]]] * self._counts[-1]
        if 0 in dense_plan(narrowest, self._reduction).transitions:
            raise SpecError(
                f"reduction: transitions of the narrowest network, {self._text(narrowest)}, have "
                f"no channel left with {reduction}; raise it, or the lowest growth rate"
            )
        super().__init__(self._decisions(), o["max_layers"], between=-1)

    def _decisions(self) -> list[Decision]:
        found = [Decision("blocks", self._counts, ordered=True, accepts=Between(1, self._most))]
        depths = range(1, self._deepest + 1)
        for number in range(1, self._most + 1):
            block = f"block{number}"
            when = {"blocks": tuple(range(number, self._most + 1))}
            found.append(depth_of(block, depths, when, 1))
            for layer in depths:
                slot = (block, layer, self._deepest)
                found.append(layer_of(*slot, "growth", self._growths, Between(1, _LARGEST)))
        return found

    # ---------------------------------------------------------------- networks
    def build(
        self, architecture: Architecture, *, widths: Sequence[int] | None = None
    ) -> DenseNetwork:
        """Return the network, freshly initialised.

        Args:
            architecture: Which.
            widths: Of first convolution and transitions, where growing made them other than the
                growth rates ask for (`network.plan.widths`).

        Raises:
            InvalidArchitecture: If there are not as many widths.
        """
        from ...networks.eas_dense import DenseNetwork

        plan = self.plan(architecture)
        if widths is not None:
            if len(widths) != len(plan.widths) or any(width < 1 for width in widths):
                raise InvalidArchitecture(
                    f"{self.name}: widths are those of the first convolution and of the "
                    f"{len(plan.transitions)} transitions; got {list(widths)}"
                )
            plan = DensePlan(widths[0], plan.blocks, tuple(widths[1:]))
        return DenseNetwork(plan, *self._rest)

    def plan(self, architecture: Mapping[str, Any]) -> DensePlan:
        """Return the widths of the network.

        Raises:
            InvalidArchitecture: If a transition would have no channels.
        """
        plan = dense_plan(self.rates(architecture), self._reduction)
        if 0 in plan.transitions:
            raise InvalidArchitecture(
                f"{self.name}: a transition needs a channel, those of "
                f"{self._text(plan.blocks)} have {list(plan.transitions)}; raise reduction"
            )
        return plan

    def rates(self, architecture: Mapping[str, Any]) -> list[list[int]]:
        """Return the growth rates of the mini-blocks of each dense block."""
        a = architecture
        return [
            [a[f"block{b}.layer{i}.growth"] for i in range(1, a[f"block{b}.depth"] + 1)]
            for b in range(1, a["blocks"] + 1)
        ]

    def parts(self, architecture: Architecture) -> Sequence[Part]:
        """Return one part per mini-block and transition, stem and head."""
        in_channels, classes, bottleneck, dropout = self._rest
        plan, side = self.plan(architecture), self._side
        drop = (dropout,) if dropout else ()
        graph = PartGraph((1, in_channels, side, side))
        stem = known_module(f"{_NETWORKS}:Stem", in_channels, plan.stem)
        x = graph.add("stem", stem, NETWORK_INPUT, shape=(1, plan.stem, side, side))
        for number, rates in enumerate(plan.blocks):
            inputs = plan.inputs(number)
            for layer, growth in enumerate(rates):
                arguments = (inputs[layer], growth, bottleneck, *drop)
                mini = known_module(f"{_NETWORKS}:MiniBlock", *arguments)
                shape = (1, inputs[layer + 1], side, side)
                x = graph.add(f"block{number + 1}.layer{layer + 1}", mini, x, shape=shape)
            if number < len(plan.transitions):
                width, side = plan.transitions[number], side // 2
                transition = known_module(f"{_NETWORKS}:Transition", inputs[-1], width, *drop)
                x = graph.add(
                    f"transition{number + 1}", transition, x, shape=(1, width, side, side)
                )
        head = known_module(f"{_NETWORKS}:Head", inputs[-1], classes)
        graph.add("head", head, x, shape=(1, classes))
        return graph.parts

    # ---------------------------------------------------------------- notation
    def architecture(self, mapping: Mapping[str, Any]) -> Architecture:
        """Return the architecture that `mapping` (decision name -> value) describes.

        Raises:
            InvalidArchitecture: As any space; also for more entries than `max_layers`, and for
                transitions without a channel.
        """
        checked = super().architecture(mapping)
        self.plan(checked)
        return checked

    def parse_notation(self, value: str | Sequence[Any]) -> Architecture:
        """Read entries joined by `_` (or `-`), or a list of them; also with `t` at both ends."""
        if not isinstance(value, str | list | tuple):
            raise self.unreadable(value)
        blocks, problem = rates_of(value)
        if problem:
            raise self.unreadable(value, problem)
        return self._of(blocks)

    def _of(self, blocks: Sequence[Sequence[int]]) -> Architecture:
        """Return the architecture of growth rates."""
        if len(blocks) > self._most:
            raise InvalidArchitecture(
                f"{self.name}: an image of {self._side} pixels a side (resolution) allows up to "
                f"{self._most} dense blocks, got {len(blocks)}"
            )
        mapping: dict[str, Any] = {"blocks": len(blocks)}
        for number, rates in enumerate(blocks, start=1):
            if len(rates) > self._deepest:
                raise InvalidArchitecture(
                    f"{self.name}: block{number}.depth must be at most {self._deepest} "
                    f"(block_layers), got {len(rates)}; take mini-blocks away, or raise "
                    "block_layers"
                )
            mapping[f"block{number}.depth"] = len(rates)
            for layer, rate in enumerate(rates, start=1):
                mapping[f"block{number}.layer{layer}.growth"] = rate
        return self.architecture(mapping)

    def _text(self, blocks: Sequence[Sequence[int]]) -> str:
        return "_t_".join("_".join(f"g{rate}" for rate in rates) for rates in blocks)

    def format(self, architecture: Architecture) -> str:
        """Return the entries joined by `_`."""
        return self._text(self.rates(architecture))

    def published(self) -> dict[str, Architecture]:
        """Return DenseNet-BCs of equal growth rates, those that fit the options."""
        return readable(self, _PUBLISHED)

    # ---------------------------------------------------------------- growing
    def actions(self, architecture: Architecture) -> list[Action]:
        """Return what `grow` can do: each mini-block to its next rate, each new mini-block."""
        blocks = self.rates(architecture)
        found: list[Action] = []
        for place, where in enumerate(self._places(blocks)):
            if where is not None:
                growth = ladder_above(self._growths, blocks[where[0]][where[1]])
                found += [] if growth is None else [Wider(place, growth)]
        if len(self._places(blocks)) < self._limit:
            found += [
                Deeper(number, layer)
                for number, rates in enumerate(blocks)
                for layer in range(len(rates))
                if len(rates) < self._deepest
            ]
        return found

    def _places(self, blocks: Sequence[Sequence[int]]) -> list[tuple[int, int] | None]:
        """Return block and layer of each entry of the text; None for a transition."""
        found: list[tuple[int, int] | None] = []
        for number, rates in enumerate(blocks):
            found += [None] * (number > 0)
            found += [(number, layer) for layer in range(len(rates))]
        return found

    def after(self, architecture: Architecture, action: Action) -> Architecture:
        """Return the architecture that an action makes, without any network.

        Raises:
            InvalidArchitecture: If the action is not possible, with the rule.
        """
        return self._after(architecture, action)[0]

    def _after(
        self, architecture: Architecture, action: Action
    ) -> tuple[Architecture, Action, tuple[int, int]]:
        """Return the architecture, the action with its growth rate, and the mini-block."""
        if isinstance(action, Transitions):
            return architecture, action, (0, 0)
        blocks = self.rates(architecture)
        if isinstance(action, Wider):
            action, where = self._wider(blocks, action)
            blocks[where[0]][where[1]] = cast("int", action.width)
        else:
            where = (action.block, action.layer)
            if where not in self._places(blocks):
                depths = ", ".join(str(len(rates)) for rates in blocks)
                raise error_of(
                    self,
                    action,
                    f"a new mini-block stands behind another; the dense blocks have {depths}",
                    "count both from 0",
                )
            action = action._replace(kernel=None)
            rates = blocks[where[0]]
            rates.insert(where[1], rates[where[1]])
        return self._of(blocks), action, where

    def _wider(
        self, blocks: Sequence[Sequence[int]], action: Wider
    ) -> tuple[Wider, tuple[int, int]]:
        """Return the action with its growth rate, and the mini-block."""
        places = dict(enumerate(self._places(blocks)))
        where = places.get(action.layer)
        if where is None:
            legal = ", ".join(str(place) for place, at in places.items() if at)
            raise error_of(
                self, action, "only mini-blocks become wider by themselves", f"they are at {legal}"
            )
        rate = blocks[where[0]][where[1]]
        growth = ladder_above(self._growths, rate) if action.width is None else action.width
        if growth is None or growth <= rate:
            raise error_of(
                self,
                action,
                f"g{rate} must become wider than it is, and the ladder ends at {self._growths[-1]}",
                "choose another mini-block, or give a larger width",
            )
        return Wider(action.layer, growth), where

    def grow(
        self,
        network: nn.Module,
        architecture: Architecture,
        action: Action,
        *,
        rng: Random,
        images: Tensor | None = None,
        noise: Noise | None = None,
        maps: Mapping[str, Sequence[int]] | None = None,
    ) -> Growth:
        """Return a larger network with the same outputs in eval mode; see `GrowingSpace.grow`.

        `Wider` and `Deeper` leave first convolution and transitions as wide as they are;
        `Transitions`, which the original does once after all of them, widens those that the growth
        rates ask to be wider. `network.plan` tells the widths of a network. No images are needed:
        copies of mini-blocks copy statistics as well.
        """
        from ...networks.eas_dense import DenseNetwork
        from ...networks.eas_grow_dense import (
            deepen_mini_block,
            widen_mini_block,
            widen_transitions,
        )
        from ...networks.eas_growth import Draws

        rates = tuple(map(tuple, self.rates(architecture)))
        if not isinstance(network, DenseNetwork) or network.plan.blocks != rates:
            raise SpecError(f"grow needs the network of {self.format(architecture)}")
        child, action, (block, layer) = self._after(architecture, action)
        draws = Draws(rng, noise, maps)
        if isinstance(action, Transitions):
            names = ["stem", *(f"transition{i}" for i in range(1, len(rates)))]
            grown = widen_transitions(network, names, self._reduction, draws)
        elif isinstance(action, Wider):
            name, width = f"block{block + 1}.layer{layer + 1}", cast("int", action.width)
            grown = widen_mini_block(network, block, layer, name, width, draws)
        else:
            name = f"block{block + 1}.layer{layer + 2}"
            grown = deepen_mini_block(network, block, layer, name, draws)
        return Growth(grown, child, action, draws.maps)
