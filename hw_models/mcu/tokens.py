"""What the tokens of a vision transformer need of a microcontroller's memory, int8.

Three ways to count: the two formulas that MCUFormer's repositories search with, and a schedule
that lists, operator by operator, what lies in memory.

Source: arXiv 2310.16898; `official_engine` liangyn22/MCUFormer, `lib/multi_supernet.py`;
`official_dev` yankeee-0411/MCUformer1228.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from math import ceil
from typing import NamedTuple

from .plan import Block as Piece
from .plan import MemoryPlan, Step
from .policy import Policy
from .transformer import Block, Chain, Transformer

_ROW = 5  # bytes per token of a row of scores: int32 while it is summed, int8 behind the softmax
_SUM = 4  # bytes of an int32


# ---------------------------------------------------------------- a plan
def plan_tokens(t: Transformer, ops: int, policy: Policy) -> MemoryPlan:
    """Return the memory plan of a network under a policy whose planner is one of this module.

    Args:
        t: The network.
        ops: Number of operators of its graph, which run as listed.
        policy: Of the runtime.
    """
    steps = _steps(t, policy)
    worst = max(steps, key=lambda step: step.live_bytes)
    tensors = [sum([b.size_bytes for b in s.blocks if b.role == "tensor"]) for s in steps]
    return MemoryPlan(
        planner=policy.planner,
        liveness_bytes=max(tensors),
        arena_bytes=worst.live_bytes,
        scratch_bytes=0,
        persistent_bytes=0,
        peak_op=worst.op,
        timeline=steps,
        order=tuple(range(ops)),
        order_exact=False,
    )


def _steps(t: Transformer, policy: Policy) -> tuple[Step, ...]:
    in_sram = policy.weights == "sram"
    if policy.planner == "official_engine":
        return engine_steps(t)
    if policy.planner == "official_dev":
        return dev_steps(t, attention_maps=policy.attention_maps)
    if policy.planner == "tokens_naive":
        return naive(t, weights_in_sram=in_sram)
    tile, maps = policy.mlp_tile, policy.attention_maps
    return scheduled(t, weights_in_sram=in_sram, mlp_tile=tile, attention_maps=maps)


# ---------------------------------------------------------------- the two formulas
def official_engine(
    resolution: float, patch: float, dim: int, mlp_ratio: float, rank_ratio: float
) -> float:
    """Return the bytes that the released space evolution counts.

    Tokens and the hidden layer of the MLP for all of them, and one factor of a layer of the MLP.
    The number of tokens is a real one, without padding, which understates memory where patches do
    not divide the image.

    Args:
        resolution: Side of the image.
        patch: Side of a patch.
        dim: Width of the tokens, the largest.
        mlp_ratio: Of the hidden width, the largest.
        rank_ratio: Of the MLP.
    """
    tokens = (resolution / patch) ** 2 + 1
    return dim * (tokens * (1 + mlp_ratio) + dim * mlp_ratio * rank_ratio)


def official_dev(
    tokens: int,
    dim: int,
    blocks: Sequence[tuple[int, float]],
    *,
    attention_ratio: float,
    mlp_ratio: float,
) -> float:
    """Return the bytes that the extended repository constrains subnetworks by.

    The wider layer with the rank and a factor of it, of the MLP or of attention: no residual, no
    maps of attention.

    Args:
        tokens: Patches and the class token.
        dim: Width of the tokens.
        blocks: Of each the width of all heads and the ratio of the hidden width.
        attention_ratio: Of the rank of attention; hundredths.
        mlp_ratio: Of the rank of the MLP; hundredths.
    """
    ranks = [dim * round(100 * ratio) // 100 for ratio in (attention_ratio, mlp_ratio)]
    return max(
        max(_wide(dim * ratio, tokens, ranks[1]), _wide(3 * inner, tokens, ranks[0]))
        for inner, ratio in blocks
    )


def _wide(width: float, tokens: int, rank: int) -> float:
    return width * tokens + rank * tokens + width * rank


def official_engine_share(
    resolution: float,
    patch: float,
    rank_ratio: float,
    *,
    dims: Sequence[int],
    mlp_ratios: Sequence[float],
    depths: Sequence[int],
    budget_bytes: float,
) -> Fraction:
    """Return which share of random subnetworks `official_engine` finds within a budget.

    Exact, for widths, depths, and the ratio of each block drawn uniformly.

    Args:
        resolution: Side of the image.
        patch: Side of a patch.
        rank_ratio: Of the MLP.
        dims: Widths to draw from.
        mlp_ratios: Ratios to draw from.
        depths: Depths to draw from.
        budget_bytes: What is allowed.
    """
    share, n = Fraction(0), len(mlp_ratios)
    for dim in dims:
        fitting = [
            official_engine(resolution, patch, dim, ratio, rank_ratio) <= budget_bytes
            for ratio in mlp_ratios
        ]
        # bytes rise with the largest ratio: all ratios of the blocks must be among the fitting ones
        for depth in depths:
            share += Fraction(sum(fitting), n) ** depth
    return share / (len(dims) * len(depths))


# ---------------------------------------------------------------- the formulas on a network
def engine_steps(t: Transformer) -> tuple[Step, ...]:
    """Return what `official_engine` counts for a network, as one step.

    The ratio of the rank is the smallest hundredth that gives it, where one does.
    """
    rows, columns = (side / patch for side, patch in zip(t.image[1:], t.patch, strict=True))
    tokens = rows * columns + 1
    worst = max(t.blocks, key=lambda b: b.hidden)
    narrow = min(t.dim, worst.hidden)
    ratio = _hundredth(worst.rank_mlp, narrow)
    held = {
        "residual": tokens * t.dim,
        "hidden": tokens * worst.hidden,
        "factor": t.dim * worst.hidden * ratio,
    }
    pieces = [
        Piece(name, None, ceil(size), "weights" if name == "factor" else "tensor")
        for name, size in held.items()
    ]
    return (Step("mlp", "mlp", ceil(sum(held.values())), tuple(pieces)),)


def _hundredth(rank: int, width: int) -> float:
    hundredths = -(-100 * rank // width)
    return hundredths / 100 if width * hundredths // 100 == rank else rank / width


def dev_steps(t: Transformer, *, attention_maps: bool = False) -> tuple[Step, ...]:
    """Return what `official_dev` counts for each block of a network, with its own ranks.

    Args:
        t: The network.
        attention_maps: Whether queries, keys, values and the scores of all heads are counted
            too, which the formula leaves out.
    """
    steps = []
    for i, block in enumerate(t.blocks, start=1):
        if attention_maps:
            maps = block.heads * t.tokens**2
            held = [_tensor("qkv", t.tokens * 3 * block.inner), _tensor("scores", maps)]
            steps.append(_step(f"block{i}.scores", "attention", held))
        steps.append(_wide_step(f"block{i}.attention", t.tokens, 3 * block.inner, block.qkv))
        steps.append(_wide_step(f"block{i}.mlp", t.tokens, block.hidden, block.fc1))
    return tuple(steps)


def _wide_step(name: str, tokens: int, width: int, chain: Chain) -> Step:
    rank = min(chain)
    held = [
        _tensor("wide", width * tokens),
        _tensor("rank", rank * tokens),
        Piece("factor", None, width * rank, "weights"),
    ]
    return _step(name, "fc", held)


# ---------------------------------------------------------------- the schedule
class Saving(NamedTuple):
    """An operator of a schedule beside the plain ones that it stands for.

    Args:
        op: Its name.
        bytes: In memory while it runs.
        plain_op: The one of the plain operators that needs most.
        plain_bytes: In memory while that runs.
    """

    op: str
    bytes: int
    plain_op: str
    plain_bytes: int


def naive(t: Transformer, *, weights_in_sram: bool = False) -> tuple[Step, ...]:
    """Return the operators of a network one by one, each with inputs and outputs in memory.

    Args:
        t: The network.
        weights_in_sram: Whether the matrix of an operator is copied to SRAM while it runs.
    """
    plan = _Naive(t, weights_in_sram)
    steps = [plan.patches()]
    for i, block in enumerate(t.blocks, start=1):
        steps += plan.block(f"block{i}.", block)
    return tuple(steps)


def scheduled(
    t: Transformer,
    *,
    weights_in_sram: bool = False,
    mlp_tile: int | None = None,
    attention_maps: bool = False,
) -> tuple[Step, ...]:
    """Return the operators of a network as MCUFormer's kernels are described to run them.

    Norms, activations and adds run with their neighbour (operator integration); a layer writes a
    token over the one that it read (token overwriting); patches are embedded one at a time, a row
    of the kernel after the other (patch-embedding decomposition); a row of scores at a time.

    Args:
        t: The network.
        weights_in_sram: Whether the matrix of an operator is copied to SRAM while it runs.
        mlp_tile: Run the MLP through for so many tokens at a time; its matrices are read once for
            each tile.
        attention_maps: Whether the scores of all heads are kept instead of a row.
    """
    plan = _Scheduled(t, weights_in_sram, mlp_tile, attention_maps)
    steps = [plan.patches()]
    for i, block in enumerate(t.blocks, start=1):
        steps += plan.block(f"block{i}.", block)
    return tuple(steps)


def savings(plain: Sequence[Step], schedule: Sequence[Step]) -> tuple[Saving, ...]:
    """Return, for each operator of a schedule, what it needs and what `naive` needs instead.

    Args:
        plain: What `naive` returned.
        schedule: What `scheduled` returned for the same network.
    """
    known = {step.op: step.live_bytes for step in plain}
    found = []
    for step in schedule:
        prefix, dot, names = step.op.rpartition(".")
        parts = [f"{prefix}{dot}{name}" for name in names.split("+")]
        worst = max(parts, key=lambda part: known[part])
        found.append(Saving(step.op, step.live_bytes, worst, known[worst]))
    return tuple(found)


class _Naive:
    """Writes the plain operators."""

    def __init__(self, t: Transformer, weights_in_sram: bool) -> None:
        self.t, self.in_sram = t, weights_in_sram
        self.residual = _tensor("residual", t.tokens * t.dim)

    def patches(self) -> Step:
        t = self.t
        channels, rows, columns = t.image
        held = [_tensor("image", channels * rows * columns), _tensor("out", t.patches * t.dim)]
        return _step("patches", "conv", [*held, *self.weights(_patch_inputs(t), t.dim)])

    def block(self, at: str, b: Block) -> Iterator[Step]:
        """Yield the steps of a block."""
        x, tokens = self.t.tokens * self.t.dim, self.t.tokens
        maps, inner, hidden = b.heads * tokens**2, tokens * b.inner, tokens * b.hidden
        yield self.step(f"{at}ln1", "layernorm", x)
        yield from self.chain(f"{at}qkv", b.qkv)
        yield self.step(f"{at}scores", "matmul", 3 * inner, maps)
        yield self.step(f"{at}softmax", "softmax", inner, maps, maps)
        yield self.step(f"{at}mix", "matmul", inner, maps, inner)
        yield from self.chain(f"{at}proj", b.proj)
        yield self.step(f"{at}add1", "add", x, x)
        yield self.step(f"{at}ln2", "layernorm", x)
        yield from self.chain(f"{at}fc1", b.fc1)
        yield self.step(f"{at}gelu", "lut", hidden, hidden)
        yield from self.chain(f"{at}fc2", b.fc2)
        yield self.step(f"{at}add2", "add", x, x)

    def chain(self, at: str, chain: Chain) -> Iterator[Step]:
        tokens = self.t.tokens
        for name, (reads, writes) in zip(_names(at, chain), pairwise(chain), strict=True):
            held = [self.residual, _tensor("in", tokens * reads), _tensor("out", tokens * writes)]
            yield _step(name, "fc", [*held, *self.weights(reads, writes)])

    def step(self, op: str, kind: str, *sizes: int) -> Step:
        names = {1: ["out"], 2: ["in", "out"], 3: ["in", "maps", "out"]}[len(sizes)]
        pieces = [_tensor(name, size) for name, size in zip(names, sizes, strict=True)]
        return _step(op, kind, [self.residual, *pieces])

    def weights(self, reads: int, writes: int) -> list[Piece]:
        return [Piece("weights", None, reads * writes, "weights")] if self.in_sram else []


class _Scheduled(_Naive):
    """Writes the operators that run together."""

    def __init__(
        self, t: Transformer, weights_in_sram: bool, mlp_tile: int | None, attention_maps: bool
    ) -> None:
        super().__init__(t, weights_in_sram)
        self.tile = None if mlp_tile is None else min(mlp_tile, t.tokens)
        self.maps = attention_maps

    def patches(self) -> Step:
        t = self.t
        row = _patch_inputs(t) // t.patch[0]
        held = [
            _tensor("patch", _patch_inputs(t)),
            self.residual,
            Piece("sums", None, _SUM * t.dim, "scratch"),
        ]
        return _step("patches", "conv", [*held, *self.weights(row, t.dim)])

    def block(self, at: str, b: Block) -> Iterator[Step]:
        """Yield the steps of a block."""
        tokens = self.t.tokens
        yield from self.run(at, "qkv", b.qkv, before="ln1+")
        rows = b.heads * tokens**2 + _SUM * tokens if self.maps else _ROW * tokens
        held = [self.residual, _tensor("qkv", 3 * tokens * b.inner)]
        held.append(Piece("scores", None, rows, "scratch"))
        yield _step(f"{at}scores+softmax+mix", "attention", held)
        yield from self.run(at, "proj", b.proj, after="+add1")
        if self.tile is None:
            yield from self.run(at, "fc1", b.fc1, before="ln2+", after="+gelu")
            yield from self.run(at, "fc2", b.fc2, after="+add2")
        else:
            yield self.tiled(at, b, self.tile)

    def run(
        self, at: str, name: str, chain: Chain, *, before: str = "", after: str = ""
    ) -> Iterator[Step]:
        """Yield the layers of a chain: the first behind a norm, the last before an add, or not.

        A norm's and an add's other side is the residual, read and written token by token.
        """
        names = _names(name, chain)
        last = len(names) - 1
        for i, (reads, writes) in enumerate(pairwise(chain)):
            norm, add = bool(before) and i == 0, "add" in after and i == last
            kept = writes if norm else reads if add else max(reads, writes)
            token = self.t.dim if norm or add else writes
            held = [
                self.residual,
                _tensor("tokens", self.t.tokens * kept),
                Piece("token", None, token, "scratch"),
                *self.weights(reads, writes),
            ]
            op = f"{before if i == 0 else ''}{names[i]}{after if i == last else ''}"
            yield _step(f"{at}{op}", "fc", held)

    def tiled(self, at: str, b: Block, tile: int) -> Step:
        """Return the whole MLP for some tokens at a time."""
        parts = ["ln2", *_names("fc1", b.fc1), "gelu", *_names("fc2", b.fc2), "add2"]
        held = [self.residual, _tensor("tile.tokens", tile * self.t.dim)]
        held += [_tensor(f"tile.rank{i}", tile * r) for i, r in enumerate(b.fc1[1:-1], start=1)]
        held.append(_tensor("tile.hidden", tile * b.hidden))
        pairs = [*pairwise(b.fc1), *pairwise(b.fc2)]
        held += self.weights(*max(pairs, key=lambda pair: pair[0] * pair[1]))
        return _step(f"{at}{'+'.join(parts)}", "fc", held)


def _names(at: str, chain: Chain) -> list[str]:
    """Return a name for each matrix of a chain."""
    return [at] if len(chain) == 2 else [f"{at}{i}" for i in range(1, len(chain))]


def _patch_inputs(t: Transformer) -> int:
    return t.image[0] * t.patch[0] * t.patch[1]


def _tensor(name: str, size: int) -> Piece:
    return Piece(name, None, size, "tensor")


def _step(op: str, kind: str, held: Sequence[Piece]) -> Step:
    return Step(op, kind, sum([piece.size_bytes for piece in held]), tuple(held))
