"""Where every tensor of a network lies while it runs, and what that needs.

A plan is data: offsets, the timeline of operators with the tensors alive at each, the parts of
the peak.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from ...errors import SpecError
from ..memory import patch as patching
from ..memory.buffers import (
    Buffer,
    channel_scratch,
    live_bytes,
    scratch_buffers,
    tensor_buffers,
)
from ..memory.graph import Graph
from ..memory.placement import firstfit, greedy16
from ..memory.reorder import Order, best_order
from ..memory.scratch import op_scratch, tail_bytes, tail_counts, tinyengine_buffers
from .policy import Policy
from .regions import Regions, split

MAX_TILES = 4  # per side, in the search for a patch stage


@dataclass(frozen=True)
class Block:
    """A piece of the arena at one step.

    Args:
        name: Of the tensor, or of the operator whose scratch it is.
        offset: Bytes from the start of the arena; None under a policy that places nothing.
        size_bytes: Unaligned.
        role: `tensor` or `scratch`.
    """

    name: str
    offset: int | None
    size_bytes: int
    role: str


@dataclass(frozen=True)
class Step:
    """One operator of the timeline.

    Args:
        op: Its name.
        kind: Its kind.
        live_bytes: Bytes alive while it runs, unaligned.
        blocks: What is alive, by offset.
    """

    op: str
    kind: str
    live_bytes: int
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class PatchStage:
    """A stage that runs in tiles.

    Args:
        n: Tiles per side.
        split: Operators in it.
        last: Name of its last operator.
        macs: Multiply-adds of the whole network, halos included.
        overhead: As a multiple of the multiply-adds without tiles.
        whole_peak_bytes: The peak without tiles.
    """

    n: int
    split: int
    last: str
    macs: int
    overhead: float
    whole_peak_bytes: int


@dataclass(frozen=True)
class MemoryPlan:
    """What a network needs of the memory of one runtime.

    Args:
        planner: Of the policy.
        liveness_bytes: The most bytes of tensors alive at once: a lower bound of any placement.
        arena_bytes: What the placed tensors and scratch need.
        scratch_bytes: Buffers beside the arena that all operators share.
        persistent_bytes: Structures of the runtime beside the arena.
        peak_op: The operator at which the most bytes are alive.
        timeline: The operators in the order in which they run.
        order: Positions of the operators as they run.
        order_exact: Whether no order needs less; False where a beam search looked, or nothing.
        patch: The stage that runs in tiles.
    """

    planner: str
    liveness_bytes: int
    arena_bytes: int
    scratch_bytes: int
    persistent_bytes: int
    peak_op: str
    timeline: tuple[Step, ...]
    order: tuple[int, ...]
    order_exact: bool
    patch: PatchStage | None = None

    @property
    def peak_bytes(self) -> int:
        """All of it together, without weights and stack."""
        return self.arena_bytes + self.scratch_bytes + self.persistent_bytes

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON values, peak included."""
        return {**asdict(self), "peak_bytes": self.peak_bytes}


class _Arena(NamedTuple):
    """Buffers and where they lie."""

    buffers: tuple[Buffer, ...]
    offsets: dict[int, int]
    head: int


def plan_memory(graph: Graph, policy: Policy) -> MemoryPlan:
    """Return the memory plan of a lowered network under a policy.

    Raises:
        SpecError: If the policy's patch stage cannot be cut there, or its planner plans tokens,
            which a graph does not tell.
    """
    if policy.by_tokens:
        raise SpecError(
            f"planner {policy.planner} plans the tokens of a transformer, which the graph of "
            "operators does not tell; ask McuModel.memory_plan"
        )
    if policy.planner == "mcunet_act":
        return _act_plan(graph, policy)
    whole = _whole(graph, policy)
    if policy.patch is None:
        return whole
    if policy.patch == "auto":
        return _best_tiled(graph, policy, whole)
    tiling = patching.Tiling(policy.patch.n, policy.patch.split)
    if tiling.n > 1 and not policy.clips and (reason := patching.uncuttable(graph, tiling)):
        raise SpecError(
            f"TinyEngine's patch stage needs {reason}; choose another n or split, or "
            "patch_rule: clipped"
        )
    return whole if tiling.n == 1 else _tiled(graph, policy, tiling, whole)


def _whole(graph: Graph, policy: Policy) -> MemoryPlan:
    """Return the plan without tiles."""
    found = _ordered(graph, policy)
    order = None if found.order == tuple(range(len(graph.ops))) else found.order
    arena = _arena(graph, policy, order)
    return _finish(graph, policy, arena, found, None)


def _ordered(graph: Graph, policy: Policy) -> Order:
    if policy.reorder == "dp":
        return best_order(graph, policy.sharing)
    return Order(tuple(range(len(graph.ops))), 0, False)


def _arena(graph: Graph, policy: Policy, order: Sequence[int] | None) -> _Arena:
    tensors = tensor_buffers(graph, policy.sharing, order)
    return _place([*tensors, *_scratch(graph, policy, order)], len(graph.ops), policy)


def _scratch(graph: Graph, policy: Policy, order: Sequence[int] | None) -> list[Buffer]:
    """Return the scratch that lies in the arena among the tensors."""
    if policy.scratch == "tinyengine":
        return []
    sizes = {} if policy.scratch == "none" else op_scratch(graph, policy.scratch)
    for k, size in channel_scratch(graph, policy.sharing, order).items():
        sizes[k] = sizes.get(k, 0) + size
    return scratch_buffers(graph, sizes, order)


def _place(buffers: Sequence[Buffer], ops: int, policy: Policy) -> _Arena:
    if policy.planner == "liveness":
        return _Arena(tuple(buffers), {}, max(live_bytes(buffers, ops)))
    offsets, head = (greedy16 if policy.planner == "greedy16" else firstfit)(buffers)
    return _Arena(tuple(buffers), offsets, head)


def regions_of(graph: Graph, policy: Policy, plan: MemoryPlan, limit: int) -> Regions:
    """Return which of a plan's buffers stay in `limit` bytes of fast memory."""
    tensors = tensor_buffers(graph, policy.sharing, plan.order)
    buffers = [*tensors, *_scratch(graph, policy, plan.order)]
    return split(buffers, limit, lambda some: _place(some, len(graph.ops), policy).head)


def _finish(
    graph: Graph, policy: Policy, arena: _Arena, order: Order, stage: PatchStage | None
) -> MemoryPlan:
    """Return the plan that an arena makes."""
    live = live_bytes(arena.buffers, len(graph.ops))
    tensors = [b for b in arena.buffers if b.role == "tensor"]
    peak = live.index(max(live))
    return MemoryPlan(
        planner=policy.planner,
        liveness_bytes=max(live_bytes(tensors, len(graph.ops))),
        arena_bytes=arena.head,
        scratch_bytes=sum(tinyengine_buffers(graph)) if policy.scratch == "tinyengine" else 0,
        persistent_bytes=persistent_bytes(graph, policy),
        peak_op=graph.ops[order.order[max(peak - 1, 0)]].name if graph.ops else "",
        timeline=_timeline(graph, arena, live, order.order),
        order=order.order,
        order_exact=order.exact,
        patch=stage,
    )


def executed_macs(graph: Graph, plan: MemoryPlan, policy: Policy) -> list[int]:
    """Return the multiply-adds of each operator under a plan: tiles compute their halos again."""
    if plan.patch is None:
        return [op.macs for op in graph.ops]
    tiling = patching.Tiling(plan.patch.n, plan.patch.split)
    return patching.op_macs(graph, tiling, clip=policy.clips)


def persistent_bytes(graph: Graph, policy: Policy) -> int:
    """Return what the runtime keeps beside the arena: structures, and weights that lie in SRAM."""
    tail = tail_bytes(**tail_counts(graph)) if policy.overhead == "tflm" else 0
    weights = 0
    if policy.weights == "sram":
        weights = sum([op.weights + 8 * op.channels for op in graph.ops])
    return tail + weights


def _timeline(
    graph: Graph, arena: _Arena, live: Sequence[int], order: Sequence[int]
) -> tuple[Step, ...]:
    steps = []
    for time, k in enumerate(order, start=1):
        alive = [b for b in arena.buffers if b.first <= time <= b.last]
        blocks = [_block(graph, arena, b, time, graph.ops[k].name) for b in alive]
        blocks.sort(key=lambda b: (b.offset or 0, b.name))
        steps.append(Step(graph.ops[k].name, graph.ops[k].kind, live[time], tuple(blocks)))
    return tuple(steps)


def _block(graph: Graph, arena: _Arena, buffer: Buffer, time: int, op: str) -> Block:
    size = buffer.size
    for after, left, _ in buffer.shrinks:
        if time > after:
            size = left
    name = graph.tensors[buffer.id].name if buffer.role == "tensor" else op
    return Block(name, arena.offsets.get(buffer.id), size, buffer.role)


# ---------------------------------------------------------------- tiles
def _best_tiled(graph: Graph, policy: Policy, whole: MemoryPlan) -> MemoryPlan:
    """Return the plan that needs least memory; without tiles where they save nothing.

    Cuts whose stage output, or whose rest of the network, needs more than the best plan so far
    are not planned.
    """
    listed = whole.order == tuple(range(len(graph.ops)))
    live = [step.live_bytes for step in whole.timeline] if listed else []
    image = sum([graph.size(i) for i in graph.inputs]) if policy.input_resident else 0
    best = whole
    for length in patching.splits(graph):
        stage = graph.size(graph.ops[length - 1].output) + image
        rest = max(live[length:], default=0)
        for n in range(2, MAX_TILES + 1):
            if max(stage, rest) >= best.peak_bytes - best.persistent_bytes:
                break
            tiling = patching.Tiling(n, length)
            if not policy.clips and patching.uncuttable(graph, tiling):
                continue
            macs = sum(patching.op_macs(graph, tiling, clip=policy.clips))
            if macs > policy.patch_overhead * graph.macs:
                continue
            plan = _tiled(graph, policy, tiling, whole)
            if plan.peak_bytes < best.peak_bytes:
                best = plan
    return best


def _tiled(graph: Graph, policy: Policy, tiling: patching.Tiling, whole: MemoryPlan) -> MemoryPlan:
    """Return the plan of the tile that needs most."""
    macs = sum(patching.op_macs(graph, tiling, clip=policy.clips))
    stage = PatchStage(
        n=tiling.n,
        split=tiling.split,
        last=graph.ops[tiling.split - 1].name,
        macs=macs,
        overhead=macs / graph.macs if graph.macs else math.inf,
        whole_peak_bytes=whole.peak_bytes,
    )
    resident = policy.input_resident
    kinds = patching.patched(graph, tiling, resident=resident, clip=policy.clips)
    plans = [_one_kind(kind, policy, stage, whole) for kind in kinds]
    return max(plans, key=lambda p: p.peak_bytes)


def _one_kind(
    kind: patching.Patched, policy: Policy, stage: PatchStage, whole: MemoryPlan
) -> MemoryPlan:
    """Return the plan as one kind of tile sees it; order within is as listed."""
    graph = kind.graph
    tensors = [_kept(b, kind, policy) for b in tensor_buffers(graph, policy.sharing)]
    buffers = [*tensors, *_scratch(graph, policy, None)]
    arena = _place(buffers, len(graph.ops), policy)
    order = Order(tuple(range(len(graph.ops))), 0, False)
    plan = _finish(graph, policy, arena, order, stage)
    return MemoryPlan(**{**vars(plan), "persistent_bytes": whole.persistent_bytes})


def _kept(buffer: Buffer, kind: patching.Patched, policy: Policy) -> Buffer:
    """Return the buffer of a tensor with the life that the stage gives it.

    To TinyEngine a tensor that nothing reads after the operator which brings it in is a result of
    the network: the assembled output, and a tile's own that is not written in place of its input,
    keep their memory to the end. The first operator's is the exception.

    Source: mit-han-lab/tinyengine, `GeneralMemoryScheduler.py`.
    """
    end = len(kind.graph.ops)
    if buffer.id == kind.assembled:
        return buffer._replace(first=0, last=buffer.last if policy.clips else end)
    if buffer.id == kind.image:
        return buffer._replace(last=max(buffer.last, kind.end))
    if buffer.id == kind.tile and not policy.clips and kind.end > 2:
        return buffer._replace(last=end)
    return buffer


# ---------------------------------------------------------------- the proxy of MCUNet's search
def act_bytes(graph: Graph) -> list[int]:
    """Return what MCUNet's `count_peak_activation_size` counts for each operator.

    Input and output of every convolution and classifier, and the input of the block where a
    residual is added later; of the convolution whose output the add reads, without it.

    Source: mit-han-lab/mcunet, `utils/pytorch_utils.py`.
    """
    added = {i for op in graph.ops if op.kind == "add" for i in op.inputs}
    counts = []
    for k, op in enumerate(graph.ops):
        if not op.parametric:
            counts.append(0)
            continue
        held = {*op.inputs, op.output}
        if op.output not in added:
            held |= {i for i in added if _spans(graph, i, k)}
        counts.append(sum([graph.size(i) for i in held]))
    return counts


def _spans(graph: Graph, tensor: int, k: int) -> bool:
    """Whether a tensor is written before operator k and read after it."""
    readers = graph.consumers[tensor]
    return graph.producer.get(tensor, -1) < k and bool(readers) and readers[-1] > k


def _act_plan(graph: Graph, policy: Policy) -> MemoryPlan:
    counts = act_bytes(graph)
    peak = max(counts, default=0)
    plain = policy.model_copy(update={"planner": "liveness"})
    plan = _whole(graph, plain)
    op = graph.ops[counts.index(peak)].name if counts else ""
    facts = {"planner": policy.planner, "arena_bytes": peak, "peak_op": op}
    return MemoryPlan(**{**vars(plan), **facts})
