"""Hiera's blocks with free depths, widths, heads, poolings, and local or global attention."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from ....errors import InvalidArchitecture, SpecError
from ...arguments import with_preset
from ...decision import Architecture, Decision
from ...graph import PartGraph, known_module
from ...networks.hiera_plan import (
    STAGES,
    Pooling,
    head_option,
    heads_at,
    hidden_of,
    local_stages,
    pool_at,
    window_at,
)
from ...part import NETWORK_INPUT, Part
from ...space import Space
from ..checks import LARGEST, LONGEST, at_least, probability
from ..ofa.rules import UpTo, positive
from . import rules
from .notation import OWN, Config, read

if TYPE_CHECKING:
    from torch import nn

    from ...layers import ModuleSupernet

Call = Callable[..., Any]
_DEPTHS = ((1, 2, 3), (1, 2, 3, 4), tuple(range(2, 13)), (1, 2, 3))
_WIDTHS = (
    (32, 48, 64, 80, 96),
    (48, 64, 96, 128, 160, 192),
    tuple(range(128, 385, 32)),
    tuple(range(256, 769, 64)),
)
_HEAD_SIZES, _RATIOS, _POOLS = (16, 32), (2, 3, 4), (2, 3)
_UNIT = Pooling(max(_POOLS)).unit[0]
_BLOCKS, _NETWORKS = "netloom.spaces.networks.hiera_block", "netloom.spaces.networks.hiera"
HEAD_SIZE, RATIO, POOL = "head_size", "mlp_ratio", "q_pool"
DEPTH, WIDTH, LOCAL = (
    [f"stage{i}.{what}" for i in range(1, STAGES + 1)] for what in ("depth", "width", "local")
)


class Hiera(Space):
    """Four stages of mask-unit attention and pooled queries: 184,757,760 networks.

    The blocks are Hiera's. TurboViT was found among such patterns; its own space is not public, and
    this one does not claim to be it. Decided are depth and width of each stage (in any order:
    widths need not rise), whether it attends inside windows or over the whole map, and, for all
    stages, head size, MLP ratio and the number of poolings. The first block of a stage still
    attends as the stage before.

    Written `{"widths": [4], "heads": [4], "stages": [4]}`, with `q_pool` (3), `mask_unit_attn`
    ([true, true, false, false]), `mlp_ratio` (4), `q_stride` ([2, 2]) and `mask_unit_size` ([8, 8])
    where they are not these; or, as the original's networks, with `embed_dim` and `num_heads` of
    the first stage, which double from stage to stage.

    `parse` also reads any depths, widths, heads that divide them, and ratios; 0 to 3 poolings of
    any stride, and any windows that they and the map allow.

    Source: arXiv 2306.00989, 2308.11421; facebookresearch/hiera: hiera/hiera.py.

    Args:
        preset: `full` or `tiny`; sets the options left out.
        width: Multiplier of the widths and head sizes to choose from.
        classes: Number of outputs.
        resolution: Side of the square image: a multiple of 8 times `stem_stride`.
        stem_stride: Between patches of 7x7 pixels.
        in_channels: Channels of the image.
        drop_path: Probability with which training drops a branch of a stand-alone network's last
            block; rises linearly from 0 at the first.
    """

    name = "hiera"
    notation = (
        '{"widths": [4 numbers], "heads": [4], "stages": [4]}, or {"embed_dim": number, '
        '"num_heads": number, "stages": [4]}'
    )
    presets: ClassVar = {
        "full": {"width": 1.0, "classes": 1000, "resolution": 224, "stem_stride": 4},
        "tiny": {"width": 0.25, "classes": 10, "resolution": 32, "stem_stride": 2},
    }

    def __init__(
        self,
        *,
        preset: str = "full",
        width: float | None = None,
        classes: int | None = None,
        resolution: int | None = None,
        stem_stride: int | None = None,
        in_channels: int = 3,
        drop_path: float = 0.0,
    ) -> None:
        own = {"width": width, "classes": classes, "resolution": resolution}
        own["stem_stride"] = stem_stride
        o = with_preset(self.name, {"preset": preset, **own}, self.presets)
        self._width, self._classes, side, stride = (o[name] for name in own)
        at_least(1, classes=self._classes, in_channels=in_channels)
        at_least(1, resolution=side, stem_stride=stride)
        if side % (stride * _UNIT):
            step = stride * _UNIT
            raise SpecError(
                f"resolution must be a multiple of {step} (windows of {_UNIT} x {_UNIT} tokens, a "
                f"token every {stride} pixels), got {side}; the next one is "
                f"{-(-side // step) * step}, and a smaller stem_stride needs smaller multiples"
            )
        probability(drop_path=drop_path)
        self._image, self._drop = (in_channels, stride, side), float(drop_path)
        self._tokens = side // stride
        super().__init__(self._decisions())

    def _decisions(self) -> list[Decision]:
        found = []
        for i in range(STAGES):
            widths = tuple(map(self._scaled, _WIDTHS[i]))
            found.append(Decision(DEPTH[i], _DEPTHS[i], ordered=True, accepts=UpTo(LONGEST)))
            found.append(Decision(WIDTH[i], widths, ordered=True, accepts=UpTo(LARGEST)))
            found.append(Decision(LOCAL[i], (False, True)))
        sizes = tuple(map(self._scaled, _HEAD_SIZES))
        pools = rules.Poolable(self._tokens)
        found.append(Decision(HEAD_SIZE, sizes, ordered=True, accepts=rules.heads))
        found.append(Decision(RATIO, _RATIOS, ordered=True, accepts=positive))
        found.append(Decision(POOL, _POOLS, ordered=True, accepts=pools))
        return found

    def _scaled(self, width: int) -> int:
        scaled = width * self._width if positive(self._width) else 0
        if not 1 <= scaled <= LARGEST or scaled != int(scaled):
            raise SpecError(
                "width must be a number above 0 that makes all widths and head sizes whole numbers "
                f"(a multiple of {1 / min(_HEAD_SIZES):g}), got {self._width!r}"
            )
        return int(scaled)

    # ---------------------------------------------------------------- architectures
    def architecture(self, mapping: Mapping[str, Any]) -> Architecture:
        """Return the architecture that `mapping` (decision name -> value) describes.

        Raises:
            InvalidArchitecture: Also where heads do not divide a width, nothing is left of it
                inside the MLP, or poolings do not divide the windows.
        """
        found = super().architecture(mapping)
        pool, wanted = mapping[POOL], mapping[HEAD_SIZE]  # not as `_make` leaves them
        if isinstance(pool, str) and (problem := self._problem({**found, POOL: pool})):
            raise InvalidArchitecture(f"{self.name}: {problem}; got {pool!r} ({POOL})")
        ratio: Any = found[RATIO]
        heads = self.heads(found)
        for i, width in enumerate(self._widths(found)):
            if isinstance(wanted, str) and int(wanted.split()[i]) != heads[i]:
                raise InvalidArchitecture(
                    f"{self.name}: the heads of stage {i + 1} must divide its width {width}, got "
                    f"{wanted.split()[i]} (head_size {wanted!r})"
                )
            if not hidden_of(width, ratio):
                raise InvalidArchitecture(
                    f"{self.name}: mlp_ratio leaves stage {i + 1} of width {width} no width inside "
                    f"its MLP; give at least {1 / width:g}, got {ratio}"
                )
        return found

    def heads(self, architecture: Mapping[str, Any]) -> tuple[int, ...]:
        """Return the number of heads of each stage.

        It is width / head size, or the next smaller number that divides the width: a width of 48
        with a head size of 32 has one head.
        """
        option = architecture[HEAD_SIZE]
        return tuple(
            heads_at(i, width, option) for i, width in enumerate(self._widths(architecture))
        )

    def _widths(self, architecture: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(architecture[name] for name in WIDTH)

    def _problem(self, a: Mapping[str, Any]) -> str:
        """Return why the map cannot be pooled and divided so; "" if it can."""
        local, depths = ([a[name] for name in names] for names in (LOCAL, DEPTH))
        return Pooling.of(a[POOL]).problem(self._tokens, local_stages(local, depths))

    def _make(self, chosen: Any) -> Architecture:
        """Return the architecture; beyond the lists, such that it can be built and read back.

        One head size stands for all that give the same heads. Where a mutation leaves unusual
        poolings or windows that do not fit, the usual ones take their place.
        """
        found = super()._make(chosen)
        listed = (*WIDTH, HEAD_SIZE, POOL)
        if all(self._decision(name).index(found[name]) is not None for name in listed):
            return found
        sizes: Any = self._decision(HEAD_SIZE).options
        own: dict[str, Any] = {
            HEAD_SIZE: head_option(self._widths(found), self.heads(found), sizes)
        }
        if self._problem(found):
            own[POOL] = Pooling.of(found[POOL]).times  # type: ignore[arg-type]
        return Architecture({**found, **own})

    def _decision(self, name: str) -> Decision:
        return self.decisions[self._position[name]]

    def counts(self) -> dict[str, int]:
        """Return the architectures, and how many different networks they are (see `canonical`)."""
        windows = (self._tokens // _UNIT) ** 2
        last = self._decision(DEPTH[-1]).options
        networks = self.size // 2**STAGES
        if windows > 1:  # a last stage of one block attends as the stage before
            networks = networks * 2 ** (STAGES - 1) * (2 * len(last) - (1 in last)) // len(last)
        return {"architectures": self.size, "networks": networks}

    def canonical(self, architecture: Architecture) -> str:
        """Return the sizes of all blocks.

        A flag that no block follows is not seen: that of a last stage of one block, and all of them
        where one window fills the map.
        """
        stages = (f"{blocks}" for _, blocks in self._stages(architecture))
        return f"{architecture[WIDTH[0]]}: {' | '.join(stages)}"

    # ---------------------------------------------------------------- networks
    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network, freshly initialised. It gives logits."""
        from ...networks.hiera import HieraNet

        stages = self._stages(architecture)
        last = max(1, sum(len(blocks) for _, blocks in stages) - 1)
        place = 0
        for _, blocks in stages:
            for i, args in enumerate(blocks):
                blocks[i] = (*args, self._drop * place / last)
                place += 1
        return HieraNet(self._stem(architecture), stages, self._classes)

    def supernet(self) -> ModuleSupernet:
        """Return the super-network of the listed options.

        Smaller widths are the first channels (of queries, keys and values each), smaller depths the
        first blocks; heads are what head size and width make of the channels. Flags and poolings
        change what is done with the same weights. It drops no branches.
        """
        from ...layers import Choice, Derived, ModuleSupernet
        from ...networks.hiera import HieraNet
        from ...networks.hiera_block import Setting

        chosen = {decision.name: Choice.of(decision) for decision in self.decisions}
        stages = self._stages(chosen, Derived, Setting)
        return ModuleSupernet(self, HieraNet(self._stem(chosen), stages, self._classes))

    def _stem(self, chosen: Mapping[str, Any]) -> tuple[Any, ...]:
        in_channels, stride, _ = self._image
        return (in_channels, chosen[WIDTH[0]], stride, self._tokens)

    def _stages(
        self,
        chosen: Mapping[str, Any],
        size: Call = lambda f, *n: f(*n),
        setting: Call | None = None,
    ) -> list[tuple[Any, list[tuple[Any, ...]]]]:
        """Return the depth of each stage and the arguments of its blocks.

        Args:
            chosen: Numbers, or choices, by the name of their decision.
            size: Makes a width of a function and numbers or choices.
            setting: Makes anything else likewise.
        """
        setting = setting or size
        found = []
        for i in range(STAGES):
            width, local, depth = (chosen[names[i]] for names in (WIDTH, LOCAL, DEPTH))
            heads = setting(partial(heads_at, i), width, chosen[HEAD_SIZE])
            hidden = size(hidden_of, width, chosen[RATIO])
            pool = setting(partial(pool_at, i), chosen[POOL])
            window = partial(window_at, i, self._tokens)
            lagging = chosen[LOCAL[max(0, i - 1)]]  # the first block attends as the stage before
            before = chosen[WIDTH[max(0, i - 1)]]
            first = (before, width, heads, hidden, pool, setting(window, lagging, chosen[POOL]))
            rest = (width, width, heads, hidden, None, setting(window, local, chosen[POOL]))
            most = depth if isinstance(depth, int) else depth.max
            found.append((depth, [first, *[rest] * (most - 1)]))
        return found

    def parts(self, architecture: Architecture) -> Sequence[Part]:
        """Return one part per stem, block and head."""
        in_channels, _, side = self._image
        graph = PartGraph((1, in_channels, side, side))
        sides = [self._tokens] * 2
        stem = self._stem(architecture)
        module = known_module(f"{_NETWORKS}:Stem", *stem)
        x = graph.add("stem", module, NETWORK_INPUT, shape=(1, *sides, stem[1]))
        for i, (_, blocks) in enumerate(self._stages(architecture), start=1):
            for j, args in enumerate(blocks, start=1):
                if args[4] is not None:
                    sides = [n // s for n, s in zip(sides, args[4], strict=True)]
                module = known_module(f"{_BLOCKS}:Block", *args)
                x = graph.add(f"stage{i}.block{j}", module, x, shape=(1, *sides, args[1]))
        head = known_module(f"{_NETWORKS}:Head", architecture[WIDTH[-1]], self._classes)
        graph.add("head", head, x, shape=(1, self._classes))
        return graph.parts

    # ---------------------------------------------------------------- notation
    def parse_object(self, value: Mapping[str, Any]) -> Architecture:
        """Read the notation, or decision -> option."""
        if not value.keys() & OWN:
            return self.architecture(value)
        config = read(self.name, value)
        local = local_stages(config.local, config.depths)
        if problem := config.pooling.problem(self._tokens, local):
            raise InvalidArchitecture(f"{self.name}: {problem}; got {dict(value)!r}")
        sizes: Any = self._decision(HEAD_SIZE).options
        return self.architecture(
            {
                **dict(zip(DEPTH, config.depths, strict=True)),
                **dict(zip(WIDTH, config.widths, strict=True)),
                **dict(zip(LOCAL, config.local, strict=True)),
                HEAD_SIZE: head_option(config.widths, config.heads, sizes),
                RATIO: config.ratio,
                POOL: config.pooling.option,
            }
        )

    def format(self, architecture: Architecture) -> str:
        """Return the object as text, without what is as usual."""
        a: Mapping[str, Any] = architecture
        depths, local = (tuple(a[name] for name in names) for names in (DEPTH, LOCAL))
        widths, pooling = self._widths(a), Pooling.of(a[POOL])
        return json.dumps(Config(widths, self.heads(a), depths, pooling, local, a[RATIO]).written())

    def published(self) -> dict[str, Architecture]:
        """Return the original's six networks, at their widths and their stride."""
        if (self._width, self._image[1]) != (1, 4):
            return {}
        return {name: self.parse_object(stock) for name, stock in _PUBLISHED.items()}


def _stock(embed_dim: int, num_heads: int, *stages: int) -> dict[str, Any]:
    return {"embed_dim": embed_dim, "num_heads": num_heads, "stages": list(stages)}


_PUBLISHED = {  # facebookresearch/hiera: hiera/hiera.py
    "Hiera-T": _stock(96, 1, 1, 2, 7, 2),
    "Hiera-S": _stock(96, 1, 1, 2, 11, 2),
    "Hiera-B": _stock(96, 1, 2, 3, 16, 3),
    "Hiera-B+": _stock(112, 2, 2, 3, 16, 3),
    "Hiera-L": _stock(144, 2, 2, 6, 36, 4),
    "Hiera-H": _stock(256, 4, 2, 6, 36, 4),
}
