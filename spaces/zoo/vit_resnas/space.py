"""The space of ViT-ResNAS."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from math import prod
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar

from ....errors import InvalidArchitecture
from ...decision import Architecture, Decision, Option
from ...graph import PartGraph, known_module
from ...networks.vit_resnas_plan import fits
from ...part import NETWORK_INPUT, Part
from ...space import Space
from ..checks import LARGEST
from ..ofa.rules import UpTo
from .notation import SIZES, Network, read_definition, read_object, read_text, written
from .presets import PRESETS
from .published import PUBLISHED
from .rules import LISTS, Fits, StagePlaces, check, zero_or_one

if TYPE_CHECKING:
    from torch import nn

    from ...networks.vit_resnas import VitResSupernet

_NETWORKS = "netloom.spaces.networks.vit_resnas"
_SKELETON = (*LISTS, "head_dims", "layers", "removable", "stem", "patch")


class VitResNas(Space):
    """The space of ViT-ResNAS: transformers of three stages, each block with sizes of its own.

    Tokens are a class token and the patches, 16x16, 8x8 and 4x4 of them; residual spatial
    reduction leads from stage to stage. Decided are the width of each stage, and of each block the
    heads, the width of its multi-layer perceptron and, for every other one, whether it is there.

    Written `{"stem": name, "embed_dims": [3], "blocks": [{"stage", "heads", "head_dim", "mlp",
    "keep"}, ...]}`. A stage may list fewer blocks than it has places: the last removable places
    are then empty. `parse` also reads other sizes than those of the lists, and the `network_def`
    of the original code.

    Source: arXiv 2109.00642; yilunliao/vit-search.

    Args:
        preset: `sr_tiny_mh`, `sr_small_mh` (of ViT-ResNAS-Small and -Medium) or `tiny`; sets the
            options left out.
        layers: Places for blocks, for each stage.
        removable: Places that may be empty, for each stage, counted from 1; an empty one leaves
            removable places that follow it directly empty too.
        embed_dims: Widths of the tokens to choose from, for each stage; none of a stage is
            smaller than one of the stage before.
        heads: Numbers of heads to choose from, for each stage.
        head_dims: Width of a head, for each stage.
        mlps: Widths of the multi-layer perceptron to choose from, for each stage.
        stem: `conv_stem_mid24` (three 3x3 convolutions of this width, then one that makes
            patches), or `linear_patch14` (the latter alone).
        patch: Side of a patch, in pixels; even where the stem has convolutions.
        patch_head: Whether networks, in train mode, also classify each patch of the last stage
            and return both; what is deployed, and counted, is without it.
        drop_path: Probability with which training drops the branches of the last block; rises
            evenly from 0 at the first.
        classes: Number of outputs.
        resolution: Side of the square image: a multiple of patch times 2 for each reduction.
        in_channels: Channels of the image.
    """

    name = "vit_resnas"
    notation = (
        '{"stem": "conv_stem_mid24", "embed_dims": [widths], "blocks": [{"stage": 1, "heads": 4, '
        '"head_dim": 32, "mlp": 640, "keep": 1}, ...]}'
    )
    presets: ClassVar = PRESETS

    def __init__(
        self,
        *,
        preset: str = "sr_tiny_mh",
        layers: Sequence[int] | None = None,
        removable: Sequence[Sequence[int]] | None = None,
        embed_dims: Sequence[Sequence[int]] | None = None,
        heads: Sequence[Sequence[int]] | None = None,
        head_dims: Sequence[int] | None = None,
        mlps: Sequence[Sequence[int]] | None = None,
        stem: str | None = None,
        patch: int | None = None,
        patch_head: bool = False,
        drop_path: float = 0.0,
        classes: int | None = None,
        resolution: int | None = None,
        in_channels: int = 3,
    ) -> None:
        o = self.options
        check(o)
        self._patch, self._classes, self._in_channels = o["patch"], o["classes"], in_channels
        self._patch_head, self._drop_path = patch_head, float(drop_path)
        self._side = o["resolution"] // self._patch
        self._stages = [
            StagePlaces(number, o["layers"][number - 1], tuple(o["removable"][number - 1]))
            for number in range(1, len(o["layers"]) + 1)
        ]
        self._dims = [f"stage{stage.number}.embed_dim" for stage in self._stages]
        super().__init__(list(self._decisions(o)))

    def _decisions(self, o: Mapping[str, Any]) -> Iterator[Decision]:
        """Yield the decisions; of sizes that the lists leave fixed, `parse` reads others."""
        yield Decision("stem", (o["stem"],), accepts=Fits(self._patch))
        for i, stage in enumerate(self._stages):
            lists = {
                "heads": o["heads"][i],
                "head_dim": [o["head_dims"][i]],
                "mlp": o["mlps"][i],
            }
            dims = tuple(sorted(o["embed_dims"][i]))
            yield Decision(self._dims[i], dims, ordered=True, accepts=UpTo(LARGEST))
            for place, name in enumerate(stage.names, start=1):
                options = (0, 1) if place in stage.removable else (1,)
                when = {f"{n}.keep": (1,) for n in stage.needed(place)[:-1]} or None
                yield Decision(f"{name}.keep", options, True, when, accepts=zero_or_one)
                for key in SIZES:
                    sizes, needs = tuple(sorted(lists[key])), {f"{name}.keep": (1,)}
                    yield Decision(f"{name}.{key}", sizes, True, needs, accepts=UpTo(LARGEST))

    # ---------------------------------------------------------------- architectures
    def architecture(self, mapping: Mapping[str, Any]) -> Architecture:
        """Return the architecture that `mapping` describes.

        Raises:
            InvalidArchitecture: Also if the stem makes other patches, or the width falls.
        """
        stem = mapping.get("stem")
        if isinstance(stem, str) and not fits(stem, self._patch):
            raise InvalidArchitecture(
                f"{self.name}: stem must be conv_stem_mid and a width (for even patches), or "
                f"linear_patch{self._patch}, the side that the option patch says; got {stem!r}"
            )
        a = super().architecture(mapping)
        dims: list[Any] = [a[name] for name in self._dims]
        if dims != sorted(dims):
            raise InvalidArchitecture(
                f"{self.name}: no stage may be narrower than the one before (a reduction adds "
                f"channels); {', '.join(self._dims)} are {dims}"
            )
        return a

    def _complete(self, mapping: Mapping[str, Option], rng: Random | None) -> Architecture:
        """Complete it; widths beyond the lists give way where those of the lists need it."""
        a = super()._complete(mapping, rng)
        dims: list[Any] = [a[name] for name in self._dims]
        if dims == sorted(dims):
            return a
        decisions = [self.decisions[self._position[name]] for name in self._dims]
        listed = [d.index(value) is not None for d, value in zip(decisions, dims, strict=True)]
        for i, own in enumerate(listed):
            if not own:
                lower = [v for v, there in zip(dims[:i], listed[:i], strict=True) if there]
                upper = [v for v, there in zip(dims[i:], listed[i:], strict=True) if there]
                dims[i] = min([max([dims[i], *lower]), *upper])
        dims = list(accumulate(dims, max))
        return Architecture({**a, **dict(zip(self._dims, dims, strict=True))})

    def canonical(self, architecture: Architecture) -> str:
        """Return stem, widths and blocks; it does not matter which places are empty."""
        a = architecture
        blocks = [
            [[a[f"{name}.{key}"] for key in SIZES] for name in stage.names if _kept(a, name)]
            for stage in self._stages
        ]
        return json.dumps([a["stem"], [a[name] for name in self._dims], blocks])

    def counts(self) -> dict[str, int]:
        """Return the size; the encodings with the sizes of empty places; the different networks."""
        dims = prod(len(d.options) for d in self.decisions if d.name in self._dims)
        raw, alone = dims, dims
        for stage, lists in zip(self._stages, self._sizes(), strict=True):
            sizes, places = prod(map(len, lists)), len(stage.names)
            empty = len(stage.removable)
            raw *= sizes**places * 2**empty
            alone *= sum(sizes ** (places - n) for n in range(empty + 1))
        return {
            "architectures": self.size,
            "encodings": raw,
            "stand-alone networks": alone,
        }

    def _sizes(self) -> list[list[tuple[Option, ...]]]:
        """Return, for each stage, the options of the sizes of a block."""
        known = {d.name: d.options for d in self.decisions}
        return [[known[f"{s.names[0]}.{key}"] for key in SIZES] for s in self._stages]

    def elastic_lists(self) -> dict[str, tuple[Option, ...]]:
        """Return what each decision is drawn from in training, the largest first.

        Progressive widening unlocks the lists from the front; an entry is drawn as often as it
        stands there. That a block is there, or is not, stands there twice each.
        """
        lists: dict[str, tuple[Option, ...]] = {}
        for d in self.decisions:
            if len(d.options) > 1:
                twice = 2 if d.name.endswith(".keep") else 1
                lists[d.name] = tuple(o for o in reversed(d.options) for _ in range(twice))
        return lists

    # ---------------------------------------------------------------- networks
    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network, freshly initialised."""
        from ...networks.vit_resnas import StagePlan

        a: Mapping[str, Any] = architecture
        plans = []
        for dim, stage in zip(self._dims, self._stages, strict=True):
            blocks = [_block(a, name) for name in stage.names if _kept(a, name)]
            plans.append(StagePlan(a[dim], blocks))
        return self._network(a["stem"], plans)

    def supernet(self) -> VitResSupernet:
        """Return a super-network: the largest network, whose leading parts are all others.

        Many networks may run in one batch (`together`), also in train mode.
        """
        from ...layers import Choice
        from ...networks.vit_resnas import StagePlan, VitResSupernet

        choices: dict[str, Any] = {d.name: Choice.of(d) for d in self.decisions}
        plans = []
        for dim, stage in zip(self._dims, self._stages, strict=True):
            blocks = [_block(choices, name) for name in stage.names]
            places = range(1, len(stage.names) + 1)
            needs = [tuple(choices[f"{n}.keep"] for n in stage.needed(p)) for p in places]
            plans.append(StagePlan(choices[dim], blocks, needs))
        return VitResSupernet(self, self._network(choices["stem"], plans))

    def _network(self, stem: Any, plans: Sequence[Any]) -> nn.Module:
        from ...networks.vit_resnas import VitRes

        last = (self._classes, self._patch_head, self._drop_path)
        return VitRes(stem, self._in_channels, self._patch, self._side, plans, *last)

    def parts(self, architecture: Architecture) -> Sequence[Part]:
        """Return one part per stem, block, reduction and head; the patch head is none."""
        a: Mapping[str, Any] = architecture
        side, image = self._side, self._side * self._patch
        graph = PartGraph((1, self._in_channels, image, image))
        dim = a[self._dims[0]]
        module = known_module(
            f"{_NETWORKS}:Stem", a["stem"], self._in_channels, dim, self._patch, side
        )
        x = graph.add("stem", module, NETWORK_INPUT, shape=(1, 1 + side * side, dim))
        for i, stage in enumerate(self._stages):
            if i:
                module = known_module(f"{_NETWORKS}:Reduction", dim, a[self._dims[i]], side)
                dim, side = a[self._dims[i]], side // 2
                x = graph.add(f"reduction{i}", module, x, shape=(1, 1 + side * side, dim))
            for name in stage.names:
                if _kept(a, name):
                    module = known_module(f"{_NETWORKS}:Block", dim, *_block(a, name))
                    x = graph.add(name, module, x, shape=(1, 1 + side * side, dim))
        module = known_module(f"{_NETWORKS}:Head", dim, self._classes)
        graph.add("head", module, x, shape=(1, self._classes))
        return graph.parts

    # ---------------------------------------------------------------- notation
    def parse_object(self, value: Mapping[str, Any]) -> Architecture:
        """Read the object of the notation, or decision -> option."""
        if not {"embed_dims", "blocks"} & value.keys():
            return self.architecture(value)
        return self._of(read_object(self, value, len(self._stages)))

    def parse_notation(self, value: str | Sequence[Any]) -> Architecture:
        """Read the `network_def` of the original code: a tuple, its text, or lists."""
        if isinstance(value, str):
            value = read_text(self, value)
        if not isinstance(value, list | tuple):
            raise self.unreadable(value)
        sizes = (len(self._stages), self._patch, self._classes)
        return self._of(read_definition(self, value, *sizes))

    def _of(self, network: Network) -> Architecture:
        mapping = {"stem": network.stem, **dict(zip(self._dims, network.dims, strict=True))}
        for stage, listed in zip(self._stages, network.blocks, strict=True):
            if len(listed) > len(stage.names):
                raise InvalidArchitecture(
                    f"{self.name}: stage {stage.number} has {len(stage.names)} places (option "
                    f"layers), this lists {len(listed)} blocks"
                )
            for name, sizes in zip(stage.names, stage.placed(listed), strict=True):
                mapping[f"{name}.keep"] = int(sizes is not None)
                mapping |= {f"{name}.{key}": size for key, size in (sizes or {}).items()}
            self._check_removed(stage, mapping)
        return self.architecture(mapping)

    def _check_removed(self, stage: StagePlaces, mapping: Mapping[str, Any]) -> None:
        for place, name in enumerate(stage.names, start=1):
            *before, _ = stage.needed(place)
            if mapping[f"{name}.keep"] and not all(mapping[f"{n}.keep"] for n in before):
                raise InvalidArchitecture(
                    f"{self.name}: {name} must be empty too: an empty place leaves the removable "
                    f"places that follow it empty; list the block at {before[0]}"
                )

    def format(self, architecture: Architecture) -> str:
        """Return the object as text, with 0 in the sizes of empty places."""
        return json.dumps(written([stage.names for stage in self._stages], architecture))

    def published(self) -> dict[str, Architecture]:
        """Return the reference and the searched networks that belong to the lists of this space."""
        o = self.options
        return {
            name: self._of(read_object(self, network.written(), len(self._stages)))
            for name, network in PUBLISHED.items()
            if all(o[key] == PRESETS[network.preset][key] for key in _SKELETON)
        }


def _kept(a: Mapping[str, Any], name: str) -> bool:
    return bool(a.get(f"{name}.keep"))


def _block(sizes: Mapping[str, Any], name: str) -> tuple[Any, Any, Any]:
    """Return heads, width of a head and hidden width of a block."""
    heads, head_dim, mlp = (sizes[f"{name}.{key}"] for key in SIZES)
    return heads, head_dim, mlp
