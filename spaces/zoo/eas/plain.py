"""Plain CNNs that grow: blocks of convolutions between pools, then linear layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from ....errors import InvalidArchitecture, SpecError
from ...arguments import with_preset
from ...decision import Architecture, Decision
from ...graph import PartGraph, known_module
from ...networks.eas_actions import Action, Deeper, Growth, Noise, Wider
from ...networks.eas_plan import CONV, FULL, POOL, Entry, placed
from ...part import NETWORK_INPUT, Part
from ..checks import LONGEST, at_least, probability, rising
from .blocks import Between, Odd, depth_of, layer_of
from .growing import GrowingSpace, error_of, ladder_above, readable
from .notation import entries_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ...networks.eas_plain import PlainNetwork

_NETWORKS = "netloom.spaces.networks.eas_plain"
_LARGEST = 10**9  # of a width that `parse` reads
_FILTERS = [16, 32, 64, 96, 128, 192, 256, 320, 384, 448, 512]
_UNITS = [64, 128, 256, 384, 512, 640, 768, 896, 1024]
_PUBLISHED = {
    "EAS-start": "conv-16-3_pool_conv-32-3_pool_conv-64-3_pool_conv-128-3_pool_fc-256",
    "EAS-start-small": "conv-4-3_pool_conv-4-3_pool_conv-4-3_pool_conv-4-3_pool_fc-8",
}


class EasPlain(GrowingSpace):
    """The plain CNNs of EAS: convolutions between pools, then linear layers; they grow.

    Written as its entries joined by `_`: `conv-F-K` is a convolution of F filters and kernel K,
    `pool` halves the side (the last one averages the whole map), `fc-U` is a linear layer of U
    units; each layer has batch norm and ReLU. The classifier is not written.

    There is no super-network: a network hands its weights on by growing. `grow` makes a layer
    wider, or puts one more into a block, without changing what the network computes.

    Source: arXiv 1707.04873; han-cai/EAS.

    Args:
        preset: `full`, `large` and `small` (longer and shorter ladders), or `tiny`; sets the
            options left out.
        filters: The ladder of convolutions: what widths they may have.
        units: The ladder of linear layers.
        kernels: Of convolutions, odd numbers.
        pools: How many there may be.
        block_layers: The most layers of a block, of convolutions or of linear ones.
        max_layers: The most entries of a network, pools among them.
        last_pool: `global`, the average of the whole map, or `max`, as the others.
        dropout: Probability with which training drops outputs of layers but the first.
        classes: Number of outputs.
        resolution: Side of the square image.
        in_channels: Channels of the image.
    """

    name = "eas_plain"
    notation = "conv-F-K, pool and fc-U joined by _"
    presets: ClassVar = {
        "full": {"filters": _FILTERS, "units": _UNITS, "pools": [4], "block_layers": 10}
        | {"max_layers": 50, "resolution": 32},
        "large": {"filters": [*_FILTERS, 576, 640], "units": [*_UNITS, 1152, 1280], "pools": [4]}
        | {"block_layers": 10, "max_layers": 50, "resolution": 32},
        "small": {"filters": list(range(4, 41, 4)), "units": list(range(8, 81, 8)), "pools": [4]}
        | {"block_layers": 10, "max_layers": 50, "resolution": 32},
        "tiny": {"filters": [4, 6, 8], "units": [8, 12, 16], "pools": [2], "block_layers": 3}
        | {"max_layers": 9, "resolution": 16},
    }

    def __init__(
        self,
        *,
        preset: str = "full",
        filters: Sequence[int] | None = None,
        units: Sequence[int] | None = None,
        kernels: Sequence[int] = (1, 3, 5),
        pools: Sequence[int] | None = None,
        block_layers: int | None = None,
        max_layers: int | None = None,
        last_pool: Literal["global", "max"] = "global",
        dropout: float = 0.0,
        classes: int = 10,
        resolution: int | None = None,
        in_channels: int = 3,
    ) -> None:
        own = {
            "filters": filters,
            "units": units,
            "pools": pools,
            "block_layers": block_layers,
            "max_layers": max_layers,
            "resolution": resolution,
        }
        o = with_preset(self.name, {"preset": preset, **own}, self.presets)
        at_least(1, LONGEST, block_layers=o["block_layers"], max_layers=o["max_layers"])
        at_least(1, resolution=o["resolution"], classes=classes, in_channels=in_channels)
        self._filters = rising("filters", o["filters"], whole=True)
        self._units = rising("units", o["units"], whole=True)
        self._pools = rising("pools", o["pools"], whole=True)
        self._kernels = rising("kernels", kernels, whole=True)
        if even := [kernel for kernel in self._kernels if kernel % 2 == 0]:
            raise SpecError(f"kernels must be odd, so that maps keep their side; got {even[0]}")
        if last_pool not in ("global", "max"):
            raise SpecError(f"last_pool must be global or max, got {last_pool!r}")
        probability(dropout=dropout)
        self._side: int = o["resolution"]
        self._rest = (in_channels, self._side, classes, last_pool, float(dropout))
        self._deepest = o["block_layers"]
        self._most = o["resolution"].bit_length() - (last_pool == "max")
        if self._pools[-1] > self._most:
            raise SpecError(
                f"pools: a map of {o['resolution']} pixels a side (resolution) allows up to "
                f"{self._most}, as each but a global one halves it; got {self._pools[-1]}"
            )
        super().__init__(list(self._decisions()), o["max_layers"], between=0)

    def _decisions(self) -> Sequence[Decision]:
        depths = range(1, self._deepest + 1)
        found = [Decision("pools", self._pools, ordered=True, accepts=Between(1, self._most))]
        for number in range(1, self._most + 1):
            block, largest = f"block{number}", self._largest(number)
            kernels = [kernel for kernel in self._kernels if kernel <= largest]
            if number <= self._pools[-1] and not kernels:
                raise SpecError(
                    f"kernels: {block} works on maps of {(largest + 1) // 2} pixels a side, for "
                    f"which the largest is {largest}; got {list(self._kernels)}; give a smaller "
                    "one, fewer pools or a higher resolution"
                )
            when = {"pools": tuple(range(number, self._most + 1))}
            found.append(depth_of(block, depths, when, 0))
            for layer in depths:
                slot = (block, layer, self._deepest)
                found.append(layer_of(*slot, "filters", self._filters, Between(1, _LARGEST)))
                found.append(layer_of(*slot, "kernel", kernels or [1], Odd(largest)))
        found.append(depth_of("fc", depths, None, 0))
        for layer in depths:
            slot = ("fc", layer, self._deepest)
            found.append(layer_of(*slot, "units", self._units, Between(1, _LARGEST)))
        return found

    def _largest(self, block: int) -> int:
        """Return the largest kernel of a block, from 1, whose taps all meet a pixel somewhere."""
        return 2 * (self._side >> (block - 1)) - 1

    # ---------------------------------------------------------------- networks
    def build(self, architecture: Architecture) -> PlainNetwork:
        """Return the network, freshly initialised."""
        from ...networks.eas_plain import PlainNetwork

        return PlainNetwork(self.entries(architecture), *self._rest)

    def parts(self, architecture: Architecture) -> Sequence[Part]:
        """Return one part per entry, and the classifier."""
        in_channels, side, classes, last_pool, dropout = self._rest
        graph = PartGraph((1, in_channels, side, side))
        x, width = NETWORK_INPUT, in_channels
        entries = self.entries(architecture)
        found, features = placed(entries, in_channels, side, last_pool)
        names = self.names(entries)
        for name, place in zip(names, found, strict=True):
            entry, side = place.entry, place.out_side
            width = entry.width or width
            drop = (dropout,) if place.drop and dropout else ()
            shape = (1, width) if entry.kind == FULL else (1, width, side, side)
            if entry.kind == POOL:
                kind = "GlobalPool" if place.last and last_pool == "global" else "MaxPool"
                module = known_module(f"{_NETWORKS}:{kind}")
            elif entry.kind == CONV:
                arguments = (place.inputs, width, entry.kernel, *drop)
                module = known_module(f"{_NETWORKS}:ConvLayer", *arguments)
            else:
                module = known_module(f"{_NETWORKS}:FullLayer", place.inputs, width, *drop)
            x = graph.add(name, module, x, shape=shape)
        classifier = known_module(f"{_NETWORKS}:Classifier", features, classes)
        graph.add("classifier", classifier, x, shape=(1, classes))
        return graph.parts

    def entries(self, architecture: Mapping[str, Any]) -> tuple[Entry, ...]:
        """Return the entries of the network's text."""
        a, found = architecture, list[Entry]()
        for number in range(1, a["pools"] + 1):
            for layer in range(1, a[f"block{number}.depth"] + 1):
                name = f"block{number}.layer{layer}"
                found.append(Entry(CONV, a[f"{name}.filters"], a[f"{name}.kernel"]))
            found.append(Entry(POOL))
        for layer in range(1, a["fc.depth"] + 1):
            found.append(Entry(FULL, a[f"fc.layer{layer}.units"]))
        return tuple(found)

    def names(self, entries: Sequence[Entry]) -> list[str]:
        """Return what the entries are called: `block2.layer1`, `pool2`, `fc.layer1`."""
        found, pools, layer = [], 0, 0
        for entry in entries:
            layer = 0 if entry.kind == POOL else layer + 1
            pools += entry.kind == POOL
            block = "fc" if entry.kind == FULL else f"block{pools + 1}"
            found.append(f"pool{pools}" if entry.kind == POOL else f"{block}.layer{layer}")
        return found

    # ---------------------------------------------------------------- notation
    def parse_notation(self, value: str | Sequence[Any]) -> Architecture:
        """Read entries joined by `_`, or a list of them."""
        if not isinstance(value, str | list | tuple):
            raise self.unreadable(value)
        entries, problem = entries_of(value)
        if problem:
            raise self.unreadable(value, problem)
        return self._of(entries)

    def _of(self, entries: Sequence[Entry]) -> Architecture:
        """Return the architecture of entries in a legal order."""
        pools = sum(entry.kind == POOL for entry in entries)
        if pools > self._most:
            raise InvalidArchitecture(
                f"{self.name}: an image of {self._side} pixels a side (resolution) allows up to "
                f"{self._most} pools (last_pool: {self._rest[3]}), got {pools}"
            )
        mapping: dict[str, Any] = {"pools": pools, "fc.depth": 0}
        mapping |= {f"block{number}.depth": 0 for number in range(1, pools + 1)}
        for name, entry in zip(self.names(entries), entries, strict=True):
            if entry.kind == POOL:
                continue
            mapping[f"{name.partition('.')[0]}.depth"] += 1
            if entry.kind == FULL:
                mapping[f"{name}.units"] = entry.width
            else:
                mapping |= {f"{name}.filters": entry.width, f"{name}.kernel": entry.kernel}
        for name, value in mapping.items():
            if name.endswith(".depth") and value > self._deepest:
                raise InvalidArchitecture(
                    f"{self.name}: {name} must be at most {self._deepest} (block_layers), got "
                    f"{value}; take layers away, or raise block_layers"
                )
            if name.endswith(".kernel"):
                self._check_kernel(name, value)
        return self.architecture(mapping)

    def _check_kernel(self, name: str, kernel: int) -> None:
        """Raise InvalidArchitecture where a kernel is even, or larger than its map."""
        largest = self._largest(int(name.removeprefix("block").partition(".")[0]))
        if kernel % 2 == 0:
            raise InvalidArchitecture(
                f"{self.name}: {name}: kernels are odd, so that maps keep their side; got {kernel}"
            )
        if kernel > largest:
            side = (largest + 1) // 2
            raise InvalidArchitecture(
                f"{self.name}: {name}: a kernel must not be larger than its map: on {side}x{side} "
                f"pixels, {largest} is the largest whose taps all meet one; got {kernel}; take a "
                "smaller kernel, fewer pools or a higher resolution"
            )

    def format(self, architecture: Architecture) -> str:
        """Return the entries joined by `_`."""
        return "_".join(map(str, self.entries(architecture)))

    def published(self) -> dict[str, Architecture]:
        """Return the networks that the searches started from, those that fit the options."""
        return readable(self, _PUBLISHED)

    # ---------------------------------------------------------------- growing
    def actions(self, architecture: Architecture) -> list[Action]:
        """Return what `grow` can do: each layer to its next width, each new layer."""
        entries = self.entries(architecture)
        found: list[Action] = []
        for place, entry in enumerate(entries):
            steps = self._filters if entry.kind == CONV else self._units
            if entry.kind != POOL and (width := ladder_above(steps, entry.width)) is not None:
                found.append(Wider(place, width))
        if len(entries) >= self._limit:
            return found
        depths = list(self._depths_of(architecture).values())
        for block, depth in enumerate(depths):
            kernels: Sequence[int | None] = (None,)
            if block < len(depths) - 1:
                kernels = [k for k in self._kernels if k <= self._largest(block + 1)]
            if depth < self._deepest:
                found += [Deeper(block, layer, k) for layer in range(depth) for k in kernels]
        return found

    def after(self, architecture: Architecture, action: Action) -> Architecture:
        """Return the architecture that an action makes, without any network.

        Raises:
            InvalidArchitecture: If the action is not possible, with the rule.
        """
        return self._after(self.entries(architecture), action)[0]

    def _after(
        self, entries: tuple[Entry, ...], action: Action
    ) -> tuple[Architecture, Action, int]:
        """Return the architecture, the action with its width, and the place of the layer."""
        if isinstance(action, Wider):
            action, new = self._wider(entries, action)
            place, rest = action.layer, entries[action.layer + 1 :]
            return self._of([*entries[:place], new, *rest]), action, place
        if isinstance(action, Deeper):
            place = self._place(entries, action)
            kernel = None if entries[place].kind == FULL else action.kernel
            if kernel is None and entries[place].kind == CONV:
                raise error_of(self, action, "a new convolution needs a kernel", "give an odd one")
            new = entries[place]._replace(kernel=kernel or 0)
            grown = [*entries[: place + 1], new, *entries[place + 1 :]]
            return self._of(grown), action._replace(kernel=kernel), place
        raise error_of(self, action, "plain networks have no transitions", "use Wider or Deeper")

    def _wider(self, entries: Sequence[Entry], action: Wider) -> tuple[Wider, Entry]:
        """Return the action with its width, and the wider layer."""
        layers = [place for place, entry in enumerate(entries) if entry.kind != POOL]
        if action.layer not in layers:
            places = ", ".join(map(str, layers))
            raise error_of(
                self, action, "only layers become wider, pools do not", f"they are at {places}"
            )
        entry = entries[action.layer]
        steps = self._filters if entry.kind == CONV else self._units
        width = ladder_above(steps, entry.width) if action.width is None else action.width
        if width is None or width <= entry.width:
            raise error_of(
                self,
                action,
                f"{entry} must become wider than it is, and its ladder ends at {steps[-1]}",
                "choose another layer, or give a larger width",
            )
        return Wider(action.layer, width), entry._replace(width=width)

    def _place(self, entries: Sequence[Entry], action: Deeper) -> int:
        """Return the place of the layer that a new one is put behind."""
        pools = sum(entry.kind == POOL for entry in entries)
        blocks: list[list[int]] = [[] for _ in range(pools + 1)]
        passed = 0
        for place, entry in enumerate(entries):
            passed += entry.kind == POOL
            if entry.kind != POOL:
                blocks[passed].append(place)
        if action.block not in range(len(blocks)):
            raise error_of(
                self, action, f"the blocks are 0 to {pools}, the last one of linear layers", ""
            )
        places = blocks[action.block]
        if not places:
            raise error_of(
                self,
                action,
                f"block {action.block} has no layer that a new one could stand behind",
                "choose another block",
            )
        if action.layer not in range(len(places)):
            raise error_of(
                self, action, f"block {action.block} has the layers 0 to {len(places) - 1}", ""
            )
        return places[action.layer]

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

        A new layer begins with the statistics of what it reads, so that `Deeper` needs images.
        """
        from ...networks.eas_grow_plain import deepen_plain, widen_plain
        from ...networks.eas_growth import Draws
        from ...networks.eas_plain import PlainNetwork

        entries = self.entries(architecture)
        if not isinstance(network, PlainNetwork) or network.plan != entries:
            raise SpecError(f"grow needs the network of {self.format(architecture)}")
        child, action, place = self._after(entries, action)
        draws = Draws(rng, noise, maps)
        if isinstance(action, Wider):
            name, width = self.names(entries)[place], cast("int", action.width)
            grown = widen_plain(network, place, name, width, draws)
        else:
            grown = deepen_plain(network, place, cast("Deeper", action).kernel, images, draws)
        return Growth(grown, child, action, draws.maps)
