"""Lifetimes, liveness and the two allocators, by hand and as properties of random buffers."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netloom.errors import SpecError
from netloom.hw_models.mcu import PRESETS, plan_memory, policy
from netloom.hw_models.memory import (
    Buffer,
    Graph,
    MemOp,
    MemTensor,
    Sharing,
    firstfit,
    greedy16,
    lifetimes,
    live_bytes,
    tensor_buffers,
)


def graph_of(sizes, edges, outputs=None, kinds=None):
    """Return a graph of flat tensors; an edge is (operands, result)."""
    tensors = [MemTensor(f"t{i}", (1, size), size) for i, size in enumerate(sizes)]
    kinds = kinds or ["lut"] * len(edges)
    ops = [
        MemOp(f"op{k + 1}", kind, tuple(given), result)
        for k, ((given, result), kind) in enumerate(zip(edges, kinds, strict=True))
    ]
    written = {op.output for op in ops}
    inputs = [i for i in range(len(sizes)) if i not in written]
    return Graph(tensors, ops, inputs=inputs, outputs=outputs or [len(sizes) - 1])


def chain(*sizes):
    return graph_of(sizes, [((k,), k + 1) for k in range(len(sizes) - 1)])


def peak(graph, sharing=Sharing()):  # noqa: B008
    return max(live_bytes(tensor_buffers(graph, sharing), len(graph.ops)))


def test_a_chain():
    assert peak(chain(3072, 8192, 4096, 10)) == 12_288


@pytest.mark.parametrize("add", [False, True])
def test_a_residual(add):
    """The second convolution sets the peak, so an add in place saves nothing."""
    edges = [((0,), 1), ((1,), 2), ((0, 2), 3)]
    graph = graph_of([4096] * 4, edges, kinds=["conv", "conv", "add"])
    assert peak(graph, Sharing(add=add)) == 12_288
    step = live_bytes(tensor_buffers(graph, Sharing(add=add)), 3)[3]
    assert step == (8192 if add else 12_288)


def inverted_residual():
    """Return 24 x 24 maps of 8, 48, 48 and 8 channels, and the add of the first."""
    shapes = [(1, c, 24, 24) for c in (8, 48, 48, 8, 8)]
    tensors = [MemTensor(f"t{i}", s, s[1] * 576) for i, s in enumerate(shapes)]
    ops = [
        MemOp("expand", "pw", (0,), 1, weights=384, channels=48),
        MemOp("dw", "dw", (1,), 2, kernel=(3, 3), padding=(1,) * 4, groups=48, channels=48),
        MemOp("project", "pw", (2,), 3, weights=384, channels=8),
        MemOp("add", "add", (0, 3), 4),
    ]
    return Graph(tensors, ops, inputs=[0], outputs=[4])


def test_an_inverted_residual():
    plain = plan_memory(inverted_residual(), policy({"planner": "liveness", "overhead": "none"}))
    assert (plain.peak_bytes, plain.peak_op) == (59_904, "dw")
    inside = policy({"planner": "liveness", "overhead": "none", "inplace_dw": True})
    found = plan_memory(inverted_residual(), inside)
    assert (found.peak_bytes, found.peak_op) == (36_864, "project")
    scratch = [b for step in found.timeline for b in step.blocks if b.role == "scratch"]
    assert [(b.name, b.size_bytes) for b in scratch] == [("dw", 576)]


def test_depthwise_in_place_saves_the_output_but_for_its_scratch():
    before, after = (
        plan_memory(
            inverted_residual(),
            policy({"planner": "liveness", "overhead": "none", "inplace_dw": inside}),
        )
        for inside in (False, True)
    )
    assert before.timeline[1].live_bytes - after.timeline[1].live_bytes == 27_648 - 576


def test_depthwise_of_stride_2_in_place_leaves_a_quarter():
    shapes = [(1, 16, 8, 8), (1, 16, 4, 4), (1, 4, 4, 4)]
    tensors = [MemTensor(f"t{i}", s, s[1] * s[2] * s[3]) for i, s in enumerate(shapes)]
    dw = MemOp("dw", "dw", (0,), 1, kernel=(3, 3), stride=(2, 2), groups=16, channels=16)
    pw = MemOp("pw", "pw", (1,), 2, channels=4)
    graph = Graph(tensors, [dw, pw], inputs=[0], outputs=[2])
    (whole, small) = tensor_buffers(graph, Sharing(depthwise=True))
    assert (whole.size, whole.shrinks) == (1024, ((1, 256, True),))
    assert live_bytes([whole, small], 2) == (1024, 1024, 256 + 64)
    # what starts after the operator may lie above the quarter
    assert firstfit([whole, small]).offsets == {0: 0, 2: 256}
    assert greedy16([whole, small]).offsets == {0: 0, 2: 1024}


def test_depthwise_is_not_in_place_where_its_input_is_read_again():
    edges = [((0,), 1), ((1,), 2), ((1, 2), 3)]
    graph = graph_of([64] * 4, edges, kinds=["pw", "dw", "add"])
    assert len(tensor_buffers(graph, Sharing(depthwise=True))) == 4
    last = graph_of([64] * 3, [((0,), 1), ((1,), 2)], outputs=[1, 2], kinds=["pw", "dw"])
    assert len(tensor_buffers(last, Sharing(depthwise=True))) == 3


def test_lifetimes():
    """An input that no one reads lives at 0, a result that no one reads while it is written."""
    graph = graph_of([1, 1, 1, 1, 1], [((0,), 2), ((2,), 3), ((2,), 4)], outputs=[2])
    assert lifetimes(graph) == [(0, 1), (0, 0), (1, 3), (2, 2), (3, 3)]
    assert lifetimes(graph, [0, 2, 1]) == [(0, 1), (0, 0), (1, 3), (3, 3), (2, 2)]


def test_placement_may_exceed_liveness():
    buffers = [Buffer(i, size, i, i + 1) for i, size in enumerate((1536, 1280, 1280, 1536))]
    assert max(live_bytes(buffers, 4)) == 2816
    assert greedy16(buffers).head == 4096


def test_ties_go_to_the_higher_id():
    buffers = [Buffer(0, 64, 0, 1), Buffer(1, 64, 1, 2)]
    assert greedy16(buffers).offsets == {1: 0, 0: 64}
    assert firstfit(buffers).offsets == {0: 0, 1: 64}


def test_a_gap_is_used():
    buffers = [
        Buffer(0, 160, 0, 1),
        Buffer(1, 96, 0, 3),
        Buffer(2, 80, 2, 3),
        Buffer(3, 48, 2, 3),
    ]
    assert greedy16(buffers).offsets == {0: 0, 1: 160, 2: 0, 3: 80}


def random_buffers(data):
    return [Buffer(i, size, first, first + length) for i, (size, first, length) in enumerate(data)]


BUFFERS = st.lists(
    st.tuples(st.integers(1, 5000), st.integers(0, 12), st.integers(0, 6)), min_size=1, max_size=24
)


@settings(max_examples=200, deadline=None)
@given(BUFFERS)
def test_buffers_that_live_together_never_overlap(data):
    buffers = random_buffers(data)
    for placement, align in ((greedy16(buffers), 16), (firstfit(buffers), 1)):
        assert placement.head >= max(live_bytes(buffers, 18, align=align))
        for b in buffers:
            low, high = placement.offsets[b.id], placement.offsets[b.id] + b.size
            assert low >= 0
            assert high <= placement.head
            for other in buffers:
                if other.id < b.id and other.first <= b.last and b.first <= other.last:
                    start = placement.offsets[other.id]
                    assert high <= start or start + other.size <= low
    tflm = greedy16(buffers)
    assert tflm.head % 16 == 0
    assert all(offset % 16 == 0 for offset in tflm.offsets.values())


@settings(max_examples=100, deadline=None)
@given(BUFFERS, st.randoms(use_true_random=False))
def test_the_order_in_which_buffers_are_listed_decides_nothing_for_greedy(data, rng):
    buffers = random_buffers(data)
    mixed = list(buffers)
    rng.shuffle(mixed)
    assert greedy16(mixed) == greedy16(buffers)


def random_graph(rng, ops=8):
    sizes = [rng.randint(1, 40) * 16 for _ in range(ops + 1)]
    edges = []
    for k in range(ops):
        given = rng.sample(range(k + 1), min(k + 1, rng.choice([1, 1, 2])))
        edges.append((tuple(given), k + 1))
    return graph_of(sizes, edges)


@pytest.mark.parametrize("seed", range(30))
def test_the_peak_holds_inputs_and_output_of_every_operator(seed):
    graph = random_graph(random.Random(seed))
    for planner in ("liveness", "greedy16", "firstfit"):
        plan = plan_memory(graph, policy({"planner": planner, "overhead": "none"}))
        for op in graph.ops:
            assert plan.peak_bytes >= sum(graph.size(i) for i in {*op.inputs, op.output})
        assert plan.liveness_bytes <= plan.arena_bytes


@pytest.mark.parametrize("seed", range(30))
def test_another_reader_never_lowers_the_peak(seed):
    rng = random.Random(seed)
    graph = random_graph(rng)
    k = rng.randrange(1, len(graph.ops))
    skip = rng.randrange(k + 1)
    ops = list(graph.ops)
    ops[k] = ops[k]._replace(inputs=tuple({*ops[k].inputs, skip}))
    more = Graph(graph.tensors, ops, inputs=graph.inputs, outputs=graph.outputs)
    assert peak(more) >= peak(graph)


def test_timelines_say_what_lies_where():
    plan = plan_memory(chain(3072, 8192, 4096, 10), PRESETS["tflm_ref"])
    assert [step.live_bytes for step in plan.timeline] == [11_264, 12_288, 4106]
    assert [[(b.name, b.offset) for b in step.blocks] for step in plan.timeline] == [
        [("t1", 0), ("t0", 8192)],
        [("t1", 0), ("t2", 8192)],
        [("t3", 0), ("t2", 8192)],
    ]
    assert plan.peak_op == "op2"


def test_a_graph_must_run():
    tensors = [MemTensor("a", (1, 4), 4), MemTensor("b", (1, 4), 4)]
    with pytest.raises(SpecError, match="must read tensors that were written before it"):
        Graph(tensors, [MemOp("x", "lut", (1,), 0)], inputs=[], outputs=[0])
    with pytest.raises(SpecError, match="must be written once"):
        Graph(tensors, [MemOp("x", "lut", (0,), 0)], inputs=[0], outputs=[0])
    with pytest.raises(SpecError, match=r"at least one element, got 'a' of shape \(1, 0\)"):
        Graph([MemTensor("a", (1, 0), 0)], [], inputs=[0], outputs=[0])
