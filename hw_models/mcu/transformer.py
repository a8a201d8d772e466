"""A vision transformer as planners of tokens see it: the widths of its layers, block by block.

Plain data: read from a workload, or written from sizes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

from ...errors import SpecError
from ..workload import Layer, Workload

Chain: TypeAlias = tuple[int, ...]  # widths from the input to the output of products of matrices


class Block(NamedTuple):
    """A block: attention and MLP, each behind a norm and beside a shortcut.

    Args:
        heads: Number of heads.
        qkv: Widths on the way to queries, keys and values: a plain layer has two, a product of
            two matrices three, of three matrices four.
        proj: From what the heads give to the tokens.
        fc1: To the hidden width of the MLP.
        fc2: And back.
    """

    heads: int
    qkv: Chain
    proj: Chain
    fc1: Chain
    fc2: Chain

    @property
    def inner(self) -> int:
        """The width of all heads together."""
        return self.proj[0]

    @property
    def hidden(self) -> int:
        """The width inside the MLP."""
        return self.fc2[0]

    @property
    def rank_mlp(self) -> int:
        """The rank of the MLP's layers; of plain ones their narrower side."""
        return min(self.fc1)


class Transformer(NamedTuple):
    """A network that makes tokens of patches and runs blocks on them.

    Args:
        image: Channels, rows and columns.
        patch: Rows and columns of a patch.
        dim: Width of the tokens.
        patches: How many there are.
        tokens: Patches and what stands before them.
        blocks: In order.
    """

    image: tuple[int, int, int]
    patch: tuple[int, int]
    dim: int
    patches: int
    tokens: int
    blocks: tuple[Block, ...]


def from_sizes(
    *,
    in_channels: int,
    resolution: int,
    patch: int,
    patches: int,
    blocks: Sequence[Mapping[str, Any]],
) -> Transformer:
    """Return the record of a network with one class token.

    Args:
        in_channels: Channels of the image.
        resolution: Side of the image.
        patch: Side of a patch.
        patches: How many there are.
        blocks: Of each `dim`, `heads`, `head_dim`, `hidden`, `rank_attn`, `rank_mlp` and
            `factors` (3, 2 or 1); with two, the output layer of attention is one matrix. Other
            keys are not read.
    """
    image = (in_channels, resolution, resolution)
    made = tuple(map(_block, blocks))
    return Transformer(image, (patch, patch), made[0].qkv[0], patches, patches + 1, made)


def _block(sizes: Mapping[str, Any]) -> Block:
    dim, hidden, factors = sizes["dim"], sizes["hidden"], sizes["factors"]
    inner = sizes["heads"] * sizes["head_dim"]
    attn, mlp = (sizes["rank_attn"],) * (factors - 1), (sizes["rank_mlp"],) * (factors - 1)
    return Block(
        heads=sizes["heads"],
        qkv=(dim, *attn, 3 * inner),
        proj=(inner, *(attn if factors == 3 else ()), dim),
        fc1=(dim, *mlp, hidden),
        fc2=(hidden, *mlp, dim),
    )


# patch embedding; norm, layers, softmax, layers, add; norm, layers, activation, layers, add; ...
_WHOLE = re.compile(r"c(NL+SL+\+NL+GL+\+)+NL")
_ONE = re.compile(r"N(L+)(S)(L+)\+N(L+)G(L+)\+")


def read_transformer(workload: Workload) -> Transformer:
    """Return the record of a traced network; kept with the workload.

    Raises:
        SpecError: If it is something else than patches, pre-norm blocks over all tokens, a norm
            and a classifier.
    """
    known = workload.memo.get("mcu.transformer")
    if known is None:
        known = workload.memo["mcu.transformer"] = _read(workload)
    found: Transformer = known
    return found


def _read(workload: Workload) -> Transformer:
    used, dynamic = workload.reaches_output, workload.depends_on_input
    layers = [x for x, u, d in zip(workload.layers, used, dynamic, strict=True) if u and d]
    coded = [(code, layer) for layer in layers if (code := _code(layer))]
    codes = "".join([code for code, _ in coded])
    if not _WHOLE.fullmatch(codes):
        raise _refusal(f"its layers are {codes[:60]!r}")
    first = coded[0][1]
    dim = first.output_shapes[0][1]
    patches = math.prod(first.output_shapes[0][2:])
    tokens = next(layer for code, layer in coded if code == "N").input_shapes[0][-2]
    blocks = []
    for match in _ONE.finditer(codes):
        groups = [[layer for _, layer in coded[slice(*match.span(i))]] for i in range(1, 6)]
        blocks.append(_read_block(groups, dim, tokens))
    channels, rows, columns = first.input_shapes[0][1:]
    patch = (first.kernel[0], first.kernel[1])
    return Transformer((channels, rows, columns), patch, dim, patches, tokens, tuple(blocks))


def _code(layer: Layer) -> str:
    """Return the letter of a layer, none for those that planners pass over."""
    shape = layer.output_shapes[0]
    if layer.kind == "conv" and layer.kernel == layer.stride and len(layer.kernel) == 2:
        return "c"
    if layer.kind == "add":
        return "+" if len(shape) == 3 and len(set(layer.inputs)) == 2 else ""
    letters = {"linear": "L", "norm": "N", "softmax": "S", "attention": "S", "activation": "G"}
    passed = ("matmul", "reshape", "concat", "reduce", "mul")
    return "" if layer.kind in passed else letters.get(layer.kind, "?")


def _read_block(groups: Sequence[Sequence[Layer]], dim: int, tokens: int) -> Block:
    qkv, [softmax], proj, fc1, fc2 = groups
    scores = softmax.input_shapes[0]
    if softmax.kind == "attention":
        scores = (*scores[:-1], softmax.input_shapes[1][-2])
    chains = [_chain(layers) for layers in (qkv, proj, fc1, fc2)]
    block = Block(math.prod(scores[:-2]), *chains)
    ends = [(c[0], c[-1]) for c in chains]
    inner, hidden = block.inner, block.hidden
    if scores[-2:] != (tokens, tokens):
        raise _refusal(f"{softmax.name} attends to {scores[-1]} of {tokens} tokens")
    if ends != [(dim, 3 * inner), (inner, dim), (dim, hidden), (hidden, dim)]:
        raise _refusal(f"around {softmax.name} the widths are {ends}")
    return block


def _chain(layers: Sequence[Layer]) -> Chain:
    shapes = [layer.weight_shapes[0] for layer in layers]
    if any(before[0] != after[1] for before, after in pairwise(shapes)):
        raise _refusal(f"{layers[0].name} and the layers behind it do not follow one another")
    return (shapes[0][1], *[shape[0] for shape in shapes])


def _refusal(problem: str) -> SpecError:
    return SpecError(
        "this planner plans transformers of patches, pre-norm blocks over all tokens (queries, "
        "keys and values of one layer), a norm and a classifier; "
        f"{problem}; choose another planner"
    )
