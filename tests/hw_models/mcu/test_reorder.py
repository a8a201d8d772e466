"""Orders of operators against published ones and against every order of small graphs."""

from __future__ import annotations

import random
from itertools import permutations

import pytest

from netloom.hw_models.mcu import PRESETS, lower, plan_memory, policy
from netloom.hw_models.memory import (
    Graph,
    MemOp,
    MemTensor,
    Sharing,
    best_order,
    live_bytes,
    tensor_buffers,
)


def graph_of(sizes, edges, kinds=None):
    tensors = [MemTensor(f"t{i}", (1, size), size) for i, size in enumerate(sizes)]
    kinds = kinds or ["lut"] * len(edges)
    ops = [
        MemOp(f"op{k}", kind, tuple(given), k + 1)
        for k, (given, kind) in enumerate(zip(edges, kinds, strict=True))
    ]
    return Graph(tensors, ops, inputs=[0], outputs=[len(sizes) - 1])


def peak(graph, order, sharing=Sharing()):  # noqa: B008
    return max(live_bytes(tensor_buffers(graph, sharing, order), len(graph.ops)))


def orders(graph):
    """Yield every order in which the operators can run."""
    for order in permutations(range(len(graph.ops))):
        known = set(graph.inputs)
        for k in order:
            if not known.issuperset(graph.ops[k].inputs):
                break
            known.add(graph.ops[k].output)
        else:
            yield order


# Liberis and Lane, arXiv 1910.05110
PUBLISHED = graph_of(
    [1568, 3136, 1568, 512, 512, 256, 256, 512],
    [(0,), (1,), (2,), (1,), (3,), (4,), (5, 6)],
)


def test_the_published_example():
    assert peak(PUBLISHED, range(7)) == 5216
    found = best_order(PUBLISHED)
    assert (found.peak_bytes, found.exact) == (4960, True)
    assert [k + 1 for k in found.order] == [1, 4, 6, 2, 3, 5, 7]
    assert peak(PUBLISHED, found.order) == 4960


def branches(rng):
    """Return a graph of up to 7 operators, with adds that may be in place."""
    ops = rng.randint(4, 7)
    edges, kinds = [], []
    for k in range(ops):
        known = range(k + 1)
        add = k > 1 and rng.random() < 0.4
        edges.append(tuple(rng.sample(known, 2 if add else 1)))
        kinds.append("add" if add else "lut")
    sizes = [rng.choice([16, 64, 64, 256, 1024]) for _ in range(ops + 1)]
    return graph_of(sizes, edges, kinds)


@pytest.mark.parametrize("add", [False, True])
@pytest.mark.parametrize("seed", range(25))
def test_no_order_is_better(seed, add):
    graph, sharing = branches(random.Random(seed)), Sharing(add=add)
    found = best_order(graph, sharing)
    listed = peak(graph, range(len(graph.ops)), sharing)
    assert found.exact
    assert found.peak_bytes <= listed
    assert peak(graph, found.order, sharing) == found.peak_bytes
    assert found.peak_bytes == min(peak(graph, order, sharing) for order in orders(graph))


def test_the_listed_order_stays_where_none_is_better():
    chain = graph_of([64, 32, 16, 8], [(0,), (1,), (2,)])
    assert best_order(chain).order == (0, 1, 2)
    diamond = graph_of([64, 64, 64, 64], [(0,), (0,), (1, 2)])
    assert best_order(diamond).order == (0, 1, 2)


def wide(branches=24):
    """Return many branches of two operators that one operator joins."""
    sizes, edges = [16], []
    for _ in range(branches):
        sizes += [1024]
        edges.append((0,))
    for n in range(branches):
        sizes += [16]
        edges.append((n + 1,))
    sizes.append(16)
    edges.append(tuple(range(branches + 1, 2 * branches + 1)))
    return graph_of(sizes, edges)


def test_wide_graphs_get_a_beam_search_that_says_so():
    graph = wide()
    found = best_order(graph, beam=4)
    assert not found.exact
    assert found.peak_bytes == 16 + 1024 + 16 * 23  # one branch after the other
    assert peak(graph, found.order) == found.peak_bytes < peak(graph, range(len(graph.ops)))
    assert sorted(found.order) == list(range(len(graph.ops)))


def test_a_plan_with_the_best_order(network):
    graph = PUBLISHED
    how = policy({"preset": "ideal"})
    plan = plan_memory(graph, how)
    assert (plan.arena_bytes, plan.order_exact) == (4960, True)
    assert [step.op for step in plan.timeline][:3] == ["op0", "op3", "op5"]
    usual = plan_memory(graph, policy({"preset": "ideal", "reorder": "off"}))
    assert (usual.arena_bytes, usual.order_exact) == (5216, False)


@pytest.mark.parametrize("name", ["in0", "in4", "vww1", "ic"])
def test_the_ideal_runtime_is_a_lower_bound_of_the_others(network, name):
    ideal = PRESETS["ideal"]
    bound = plan_memory(lower(network(name), ideal.lowering), ideal).peak_bytes
    for runtime in ("tflm_ref", "tflm_cmsis", "tinyengine"):
        how = PRESETS[runtime]
        assert bound <= plan_memory(lower(network(name), how.lowering), how).peak_bytes
