"""MCUFormer: vision transformers of low-rank layers, for microcontrollers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

from ....errors import InvalidArchitecture, SpecError
from ...decision import Architecture, Decision
from ...encoding import Encoding
from ...graph import PartGraph, known_module
from ...networks.mcuformer_plan import (
    BlockSizes,
    dim_share,
    heads_share,
    hidden_width,
    narrower_share,
    share,
    side,
)
from ...part import NETWORK_INPUT, Part
from ...space import Space
from ..checks import at_least, probability, rising
from ..ofa.rules import UpTo, positive
from .notation import read, write

if TYPE_CHECKING:
    from torch import nn

    from ...layers import ModuleSupernet

_NETWORKS = "netloom.spaces.networks.mcuformer"
_WIDEST = 1 << 16
_ALIKE = {  # in the presets of the literature
    "patches": (16, 20, 24, 28, 32),
    "rank_ratios": tuple(i / 100 for i in range(40, 100, 5)),
    "head_dim": 64,
    "classes": 1000,
    "resolution": 240,
}
Derive: TypeAlias = Callable[..., Any]  # (function, numbers or choices) -> a number, or a size


class McuFormer(Space):
    """The space of MCUFormer: transformers whose linear layers are products of small matrices.

    Decided are the side of a patch, the rank of the layers, the width of the tokens, the depth,
    and for each block the number of heads and the hidden width of its MLP. Written
    `{"patch": 20, "r_attn": 0.9, "r_mlp": 0.9, "depth": 12, "embed_dim": 192,
    "mlp_ratio": [12 numbers], "num_heads": [12 numbers]}`; `"rank_ratio": 0.9` means both ratios.
    The decisions `rank_attn` and `rank_mlp` hold hundredths; 0 for the latter: that of attention.

    `parse` also reads other patches up to the image, ratios from 0.01 to 1, widths, heads and
    ratios of the MLP, and depths up to the largest.

    Source: arXiv 2310.16898; liangyn22/MCUFormer, `experiments/supernet/`.

    Args:
        preset: `T`, `S`, `B` or `tiny`; sets the options left out.
        patches: Sides of a patch, rising.
        rank_ratios: Of the ranks, hundredths, rising.
        ranks: `tied`: attention and MLP have one ratio; `separate`: each its own.
        factors: 3: every layer is (in x R)(R x R)(R x out), with R = int(super_dim r) in attention
            and int(min(E, F) r) in the MLP; 2: (in x R)(R x out), with int(Q r) and int(E r), and
            the output layer of attention stays whole; 1: all layers are whole, as AutoFormer's.
        embed_dims: Widths E of the tokens, rising.
        super_dim: That of the super-network which three-factor ranks of attention are parts of.
        heads: Numbers of heads, rising; the width Q of all together is a multiple of `head_dim`.
        head_dim: Width of a head.
        mlp_ratios: Of the hidden width F = int(E ratio), rising.
        depths: Numbers of blocks, rising.
        drop_path: Probability with which training drops the branches of the last block; rises
            linearly from 0 at the first.
        classes: Number of outputs.
        resolution: Side of the square image; padded to whole patches.
        in_channels: Channels of the image.
    """

    name = "mcuformer"
    notation = (
        '{"patch": side, "r_attn": ratio, "r_mlp": ratio, "depth": d, "embed_dim": width, '
        '"mlp_ratio": [d numbers], "num_heads": [d numbers]}'
    )
    presets: ClassVar = {
        "T": {
            **_ALIKE,
            "embed_dims": (168, 192, 216),
            "super_dim": 256,
            "heads": (3, 4),
            "mlp_ratios": (3.5, 4),
            "depths": (12, 13, 14),
        },
        "S": {
            **_ALIKE,
            "embed_dims": (320, 384, 448),
            "super_dim": 448,
            "heads": (5, 6, 7),
            "mlp_ratios": (3, 3.5, 4),
            "depths": (12, 13, 14),
        },
        "B": {
            **_ALIKE,
            "embed_dims": (528, 576, 624),
            "super_dim": 640,
            "heads": (9, 10),
            "mlp_ratios": (3, 3.5, 4),
            "depths": (14, 15, 16),
        },
        "tiny": {
            "patches": (4, 8),
            "rank_ratios": (0.5, 0.7, 0.9),
            "embed_dims": (32, 48),
            "super_dim": 48,
            "heads": (2, 3),
            "head_dim": 16,
            "mlp_ratios": (2, 3),
            "depths": (2, 3),
            "classes": 10,
            "resolution": 32,
        },
    }

    def __init__(
        self,
        *,
        preset: str = "T",
        patches: Sequence[int] | None = None,
        rank_ratios: Sequence[float] | None = None,
        ranks: Literal["tied", "separate"] = "tied",
        factors: Literal[1, 2, 3] = 3,
        embed_dims: Sequence[int] | None = None,
        super_dim: int | None = None,
        heads: Sequence[int] | None = None,
        head_dim: int | None = None,
        mlp_ratios: Sequence[float] | None = None,
        depths: Sequence[int] | None = None,
        drop_path: float = 0.0,
        classes: int | None = None,
        resolution: int | None = None,
        in_channels: int = 3,
    ) -> None:
        o = self.options
        at_least(1, in_channels=in_channels)
        at_least(1, **{k: o[k] for k in ("super_dim", "head_dim", "classes", "resolution")})
        _check(ranks, factors)
        probability(drop_path=drop_path)
        self._factors, self._tied, self._drop = factors, ranks == "tied", float(drop_path)
        self._super_dim, self._head_dim = o["super_dim"], o["head_dim"]
        self._image, self._classes = (in_channels, o["resolution"]), o["classes"]
        self._deepest = max(rising("depths", o["depths"], whole=True))
        super().__init__(self._decisions(o))
        self._place = [self._position[name] for name in ("rank_attn", "rank_mlp")]
        smallest = {d.name: d.options[0] for d in self.decisions}
        self._check_ranks(smallest, SpecError)

    def _decisions(self, o: Mapping[str, Any]) -> list[Decision]:
        patches = rising("patches", o["patches"], whole=True)
        if patches[-1] > o["resolution"]:
            raise SpecError(
                f"patches must not be larger than the image, {o['resolution']} (resolution); got "
                f"{patches[-1]}; set patches"
            )
        found = [Decision("patch", patches, ordered=True, accepts=UpTo(o["resolution"]))]
        found += self._rank_decisions(o["rank_ratios"])
        deepest, widest = self._deepest, UpTo(_WIDEST)
        depths = rising("depths", o["depths"], whole=True)
        found.append(Decision("depth", depths, ordered=True, accepts=UpTo(deepest)))
        dims = rising("embed_dims", o["embed_dims"], whole=True)
        found.append(Decision("embed_dim", dims, ordered=True, accepts=widest))
        ratios = rising("mlp_ratios", o["mlp_ratios"])
        heads = rising("heads", o["heads"], whole=True)
        for i in range(1, deepest + 1):
            when = {"depth": tuple(range(i, deepest + 1))} if i > 1 else None
            found.append(Decision(f"block{i}.mlp_ratio", ratios, True, when, accepts=positive))
            found.append(Decision(f"block{i}.heads", heads, True, when, accepts=widest))
        return found

    def _rank_decisions(self, ratios: Any) -> list[Decision]:
        if self._factors == 1:
            return [Decision("rank_attn", (100,)), Decision("rank_mlp", (0,))]
        listed = _hundredths(ratios)
        rule = UpTo(100)
        return [
            Decision("rank_attn", listed, ordered=True, accepts=rule),
            Decision("rank_mlp", (0,) if self._tied else listed, not self._tied, accepts=rule),
        ]

    # ---------------------------------------------------------------- architectures
    def architecture(self, mapping: Mapping[str, Any]) -> Architecture:
        """Return the architecture that `mapping` (decision name -> value) describes.

        Raises:
            InvalidArchitecture: As in `DecisionSpace`, and if a rank would be 0.
        """
        found = super().architecture(mapping)
        self._check_ranks(found, InvalidArchitecture)
        return found

    def _check_ranks(
        self, a: Mapping[str, Any], error: type[InvalidArchitecture | SpecError]
    ) -> None:
        if self._factors == 1:
            return
        for i, block in enumerate(self.blocks(a), start=1):
            if 0 in (block.rank_attn, block.rank_mlp, block.hidden):
                raise error(
                    f"{self.name}: ranks and hidden widths must be at least 1, block {i} has "
                    f"{block.rank_attn} in attention, {block.rank_mlp} in the MLP and a hidden "
                    f"width of {block.hidden}; choose larger ratios or widths"
                )

    def _make(self, chosen: Any) -> Architecture:
        values = list(chosen)
        attn, mlp = self._place
        if self._tied and values[mlp] == values[attn]:
            values[mlp] = 0  # one spelling of equal ratios
        return super()._make(values)

    def encode(self, architecture: Architecture) -> list[float]:
        """Return a vector of fixed length, with the MLP's own ratio; see `DecisionSpace`."""
        return self.encoding.encode(self._written_out(architecture))

    @cached_property
    def encoding(self) -> Encoding:
        """The layout of the vectors of `encode`."""
        attn, mlp = self._place
        own = self.decisions[attn]
        free = Decision("rank_mlp", own.options, own.ordered)
        return Encoding([free if i == mlp else d for i, d in enumerate(self.decisions)])

    def _written_out(self, a: Mapping[str, Any]) -> Mapping[str, Any]:
        return a if a["rank_mlp"] else {**a, "rank_mlp": a["rank_attn"]}

    def counts(self) -> dict[str, int]:
        """Return the architectures, the pairs of patch and ranks, and the networks of each pair.

        The literature trains a super-network for each pair.
        """
        pairs = 1
        for decision in self.decisions[:3]:
            pairs *= len(decision.options)
        return {
            "architectures": self.size,
            "patches and ranks": pairs,
            "networks of one patch and rank": self.size // pairs,
        }

    # ---------------------------------------------------------------- sizes
    def blocks(self, architecture: Mapping[str, Any]) -> list[BlockSizes]:
        """Return the sizes of the blocks of a network."""
        depth = architecture["depth"]
        return [BlockSizes(*b) for b in self._blocks(architecture, depth, _now)]

    def patches(self, architecture: Mapping[str, Any]) -> int:
        """Return how many patches a network sees, the class token left out."""
        return side(self._image[1], architecture["patch"]) ** 2

    def sizes(self, architecture: Mapping[str, Any]) -> dict[str, Any]:
        """Return what plans of memory need to know of a network, as plain data.

        `netloom.hw_models.mcu.from_sizes` takes it.
        """
        in_channels, resolution = self._image
        return {
            "in_channels": in_channels,
            "resolution": resolution,
            "patch": architecture["patch"],
            "patches": self.patches(architecture),
            "blocks": [block._asdict() for block in self.blocks(architecture)],
        }

    def _blocks(self, chosen: Mapping[str, Any], depth: int, derive: Derive) -> list[list[Any]]:
        """Return the arguments of `Block` but the probability, of numbers or of choices."""
        dim, attn, mlp = (chosen[name] for name in ("embed_dim", "rank_attn", "rank_mlp"))
        found = []
        for i in range(1, depth + 1):
            heads, ratio = chosen[f"block{i}.heads"], chosen[f"block{i}.mlp_ratio"]
            if self._factors == 2:
                ranks = (
                    derive(heads_share, self._head_dim, heads, attn),
                    derive(dim_share, dim, attn, mlp),
                )
            else:
                ranks = (
                    derive(share, self._super_dim, attn),
                    derive(narrower_share, dim, ratio, attn, mlp),
                )
            hidden = derive(hidden_width, dim, ratio)
            found.append([dim, heads, self._head_dim, hidden, *ranks, self._factors])
        return found

    # ---------------------------------------------------------------- networks
    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network, freshly initialised."""
        depth: Any = architecture["depth"]
        return self._network(architecture, [architecture["patch"]], depth, _now)

    def supernet(self) -> ModuleSupernet:
        """Return a super-network with entangled weights: smaller sizes are the first rows, columns.

        Every patch has an embedding and positions of its own; smaller ranks are leading parts as
        well. The literature trains one for each patch and rank: `patches` and `rank_ratios` of one
        entry.
        """
        from ...layers import Choice, Derived, ModuleSupernet

        chosen = {decision.name: Choice.of(decision) for decision in self.decisions}
        patches = self.decisions[0].options
        return ModuleSupernet(self, self._network(chosen, patches, self._deepest, Derived))

    def _network(
        self, chosen: Mapping[str, Any], patches: Sequence[Any], depth: int, derive: Derive
    ) -> nn.Module:
        from ...networks.mcuformer import VisionTransformer

        in_channels, resolution = self._image
        return VisionTransformer(
            {p: (in_channels, chosen["embed_dim"], p, resolution) for p in patches},
            chosen["patch"],
            self._blocks(chosen, depth, derive),
            chosen["depth"],
            self._classes,
            self._drop,
            self._deepest,
        )

    def parts(self, architecture: Architecture) -> Sequence[Part]:
        """Return one part for the embedding, each block and the head."""
        in_channels, resolution = self._image
        patch, dim = architecture["patch"], architecture["embed_dim"]
        graph = PartGraph((1, in_channels, resolution, resolution))
        tokens: tuple[Any, ...] = (1, self.patches(architecture) + 1, dim)
        embedding = known_module(f"{_NETWORKS}:PatchEmbedding", in_channels, dim, patch, resolution)
        x = graph.add("embedding", embedding, NETWORK_INPUT, shape=tokens)
        for i, block in enumerate(self.blocks(architecture), start=1):
            x = graph.add(f"block{i}", known_module(f"{_NETWORKS}:Block", *block), x, shape=tokens)
        head = known_module(f"{_NETWORKS}:Head", dim, self._classes)
        graph.add("head", head, x, shape=(1, self._classes))
        return graph.parts

    # ---------------------------------------------------------------- notation
    def parse_object(self, value: Mapping[str, Any]) -> Architecture:
        """Read the notation, or decision -> option."""
        if value.keys() & self._position.keys() - {"patch", "depth", "embed_dim"}:
            return self.architecture(value)
        found = read(self, value)
        if self._tied and found["rank_mlp"] == found["rank_attn"]:
            found["rank_mlp"] = 0
        return self.architecture(found)

    def format(self, architecture: Architecture) -> str:
        """Return the text that `parse` reads back."""
        return json.dumps(write(self._written_out(architecture)))


def _now(function: Callable[..., int], *numbers: Any) -> int:
    return function(*numbers)


def _hundredths(ratios: Any) -> tuple[int, ...]:
    listed = rising("rank_ratios", ratios)
    found = tuple(round(100 * ratio) for ratio in listed)
    if listed[-1] > 1 or any(abs(100 * r - n) > 1e-4 for r, n in zip(listed, found, strict=True)):
        raise SpecError(f"rank_ratios must be hundredths from 0.01 to 1, got {ratios!r}")
    return found


def _check(ranks: Any, factors: Any) -> None:
    if ranks not in ("tied", "separate"):
        raise SpecError(f"ranks must be tied or separate, got {ranks!r}")
    if isinstance(factors, bool) or factors not in (1, 2, 3):
        raise SpecError(f"factors must be 1, 2 or 3, got {factors!r}")
