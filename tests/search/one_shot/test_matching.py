"""Gradient distances: against numbers worked out by hand, and without a trace."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from netloom.errors import SpecError
from netloom.search.one_shot.matching import (
    Matching,
    Mixed,
    Path,
    gradient_distance,
    match,
)
from netloom.search.one_shot.partition import best_split, minimum_cut
from netloom.search.one_shot.sharing import shared_parameters
from netloom.spaces import SPACES, ModuleSpace
from netloom.spaces.layers import OneOf, Zero

from .toy_network import toy_batch, toy_supernet


# ---------------------------------------------------------------- distances
@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [
        ((1, 0, 0), (1, 1, 0), 0.292893),
        ((1, 0, 0), (-1, 0, 0), 2),
        ((1, 0, 0), (0, 0, 2), 1),
        ((1, 0, 0), (0, 0, 0), 1),
        ((0, 0, 0), (0, 0, 0), 1),
    ],
)
def test_distances_of_two_gradients(a, b, distance):
    found = gradient_distance(torch.tensor([a, b], dtype=torch.float64))
    assert found[0, 1] == found[1, 0] == pytest.approx(distance, abs=3e-6)


rows = st.lists(st.lists(st.floats(-10, 10), min_size=6, max_size=6), min_size=2, max_size=5)


@settings(deadline=None)
@given(rows, st.permutations(range(6)), st.floats(0.5, 4))
def test_distances_are_symmetric_bounded_and_blind_to_order_and_scale(values, order, scale):
    gradients = torch.tensor(values, dtype=torch.float64)
    distances = gradient_distance(gradients)
    assert torch.equal(distances, distances.T)
    assert bool(((distances > -1e-12) & (distances < 2 + 1e-12)).all())
    torch.testing.assert_close(gradient_distance(gradients[:, list(order)]), distances)
    long = gradients.norm(dim=1) > 1
    assert bool((distances.diagonal()[long].abs() < 2e-6).all())
    scaled = gradient_distance(scale * gradients)
    both = long[:, None] & long[None, :]
    torch.testing.assert_close(scaled[both], distances[both], atol=1e-5, rtol=0)


# ---------------------------------------------------------------- the toy super-network
def loss_on(supernet):
    return lambda batch: F.cross_entropy(supernet(batch[0]), batch[1])


def uniform(supernet):
    return Mixed(
        {
            name: torch.full((len(o),), 1 / len(o), dtype=torch.float64)
            for name, o in supernet.mixtures.items()
        }
    )


def toy_matching(edge, scope):
    supernet = toy_supernet()
    rounds = [(toy_batch(b), uniform(supernet)) for b in (0, 1)]
    return match(supernet, f"edge{edge}", rounds, loss_on(supernet), scope=scope)


def test_the_toy_is_built_as_written_down():
    supernet = toy_supernet()
    supernet.mix(uniform(supernet).weights)
    assert loss_on(supernet)(toy_batch(0)).item() == pytest.approx(1.11270779, abs=1e-8)


def test_distances_of_the_toy():
    found = toy_matching(2, "all").distances
    upper = [0.071567, 0.008044, 0.022460, 0.038398, 0.069704, 0.055075, 0.039041]
    upper += [0.012554, 0.039749, 0.030562]
    i, j = torch.triu_indices(5, 5, 1)
    assert found[i, j].tolist() == pytest.approx(upper, abs=5e-7)


GROUPS = {
    ("all", 0): ({1, 4}, {0, 2, 3}, 0.322851),
    ("all", 1): ({3, 4}, {0, 1, 2}, 2.498504),
    ("all", 2): ({1, 4}, {0, 2, 3}, 0.305055),
    ("edges", 0): ({1, 3}, {0, 2, 4}, 0.903248),
    ("edges", 1): ({1, 2}, {0, 3, 4}, 0.074853),
    ("edges", 2): ({1, 4}, {0, 2, 3}, 1.308324),
}


@pytest.mark.parametrize(("scope", "edge"), list(GROUPS))
def test_distances_across_the_groups_of_the_toy(scope, edge):
    small, large, across = GROUPS[scope, edge]
    found = toy_matching(edge, scope).distances
    assert float(found[list(small)][:, list(large)].sum()) == pytest.approx(across, abs=5e-7)
    assert set(map(frozenset, minimum_cut(1 - found, 2).groups)) == {
        frozenset(small),
        frozenset(large),
    }


@pytest.mark.parametrize(("scope", "split"), [("all", "edge1"), ("edges", "edge2")])
def test_the_scopes_split_different_edges_of_the_toy(scope, split):
    cuts = {f"edge{e}": minimum_cut(1 - toy_matching(e, scope).distances, 2) for e in range(3)}
    assert best_split(cuts) == split


def test_scopes_of_the_toy():
    supernet = toy_supernet()
    every = shared_parameters(supernet, "edge0")
    edges = shared_parameters(supernet, "edge0", "edges")
    assert set(every) - set(edges) == {
        "module.stem.weight",
        "module.head.weight",
        "module.head.bias",
    }
    assert all("edges.0." not in name for name in every)
    assert sum(p.numel() for p in edges.values()) == 2 * 2 * 16


SEVEN = ["max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5"]
SEVEN += ["dil_conv_3x3", "dil_conv_5x5"]


def count(parameters):
    return sum(p.numel() for p in parameters)


def test_how_much_is_shared_in_the_networks_of_the_paper():
    """The convolutions of the reference have no bias, and it counts the reductions as shared."""
    supernet = SPACES.get("nb201")().supernet(affine=False)
    edges = [m for m in supernet.modules() if isinstance(m, OneOf)]
    convolutions = [c for m in edges for c in m.modules() if isinstance(c, nn.Conv2d)]
    biases = count(c.bias for c in convolutions)
    assert count(supernet.parameters()) - biases == 1_686_106
    shared = shared_parameters(supernet, "node1.from0", "edges")
    reductions = count(p for n, p in supernet.named_parameters() if n.split(".")[2] in ("5", "11"))
    assert count(shared.values()) - biases * 5 // 6 + reductions == 1_416_064

    cells = SPACES.get("darts")(operations=SEVEN)
    supernet = cells.supernet()
    assert count(supernet.parameters()) == 1_930_618
    shared = shared_parameters(supernet, "normal.node2.from0", "edges")
    own = [m for m in supernet.modules() if isinstance(m, OneOf)]
    own = [m for m in own if m.choice.name == "normal.node2.from0"]
    assert count(shared.values()) + count(p for m in own for p in m.parameters()) == 1_831_168


def test_the_mean_of_cosines_is_not_the_cosine_of_the_mean():
    supernet = toy_supernet()
    state = uniform(supernet)
    apart = [match(supernet, "edge1", [(toy_batch(b), state)], loss_on(supernet)) for b in range(2)]
    both = match(supernet, "edge1", [(toy_batch(b), state) for b in (0, 1)], loss_on(supernet))
    mean = (apart[0].distances + apart[1].distances) / 2
    torch.testing.assert_close(both.distances, mean)
    spread = (apart[0].distances - apart[1].distances).abs() / 2
    torch.testing.assert_close(both.error, spread)
    assert all(math.isnan(x) for x in apart[0].error.flatten().tolist())
    x, y = (torch.cat(pair) for pair in zip(toy_batch(0), toy_batch(1), strict=True))
    joint = match(supernet, "edge1", [((x, y), state)], loss_on(supernet))
    assert not torch.allclose(joint.distances, both.distances, atol=1e-3)


@pytest.mark.parametrize("batches", range(1, 12))
def test_means_are_symmetric_to_the_last_bit(batches):
    """Sums over batches are rounded in another order at another place."""
    draws = torch.Generator().manual_seed(batches)
    vectors = torch.randn(batches, 5, 40, generator=draws)
    silent = torch.rand(batches, 5, generator=draws) < 0.2
    found = Matching("a", (0, 1, 2, 3, 4), torch.stack([*map(gradient_distance, vectors)]), silent)
    for matrix in (found.distances, found.heard):
        assert torch.equal(matrix, matrix.T)
        minimum_cut(1 - matrix, 2)


def test_soft_probing_changes_what_runs():
    supernet = toy_supernet()
    rounds = [(toy_batch(0), uniform(supernet))]
    hard = match(supernet, "edge0", rounds, loss_on(supernet))
    soft = match(supernet, "edge0", rounds, loss_on(supernet), probing="soft")
    assert not torch.allclose(hard.distances, soft.distances, atol=1e-3)
    state = uniform(supernet)
    state.weights["edge0"].fill_(1.0)
    same = match(supernet, "edge0", [(toy_batch(0), state)], loss_on(supernet), probing="soft")
    assert torch.equal(same.distances, hard.distances)


def test_a_mask_leaves_options_out():
    supernet = toy_supernet()
    whole = match(supernet, "edge0", [(toy_batch(0), uniform(supernet))], loss_on(supernet))
    supernet.restrict({"edge0": [1, 3, 4]})
    part = match(supernet, "edge0", [(toy_batch(0), uniform(supernet))], loss_on(supernet))
    assert part.options == (1, 3, 4)
    keep = [1, 3, 4]
    torch.testing.assert_close(part.distances, whole.distances[keep][:, keep])


# ---------------------------------------------------------------- paths, and gradients of 0
class Chain(nn.Module):
    """A stem and two edges; without the first nothing reaches the second."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(3, 3)
        ops = [{"none": Zero(), "skip": nn.Identity(), "linear": nn.Linear(3, 3)} for _ in "ab"]
        self.a, self.b = OneOf("a", ops[0]), OneOf("b", ops[1])

    def forward(self, x):
        return self.b(self.a(self.stem(x)))


@pytest.fixture
def chain():
    torch.manual_seed(0)
    return ModuleSpace(Chain, torch.zeros(1, 3)).supernet()


def batch_of(seed, examples=4):
    draws = torch.Generator().manual_seed(seed)
    x = torch.randn(examples, 3, generator=draws)
    return x, torch.randint(0, 3, (examples,), generator=draws)


def test_a_gradient_of_zero_is_flagged(chain):
    rounds = [(batch_of(i), Path({"a": "skip", "b": "linear"})) for i in range(3)]
    found = match(chain, "b", rounds, loss_on(chain))
    assert found.silent.all(0).tolist() == [True, False, False]
    assert found.distances[0].tolist() == [1, 1, 1]
    known = float(found.distances[1, 2])
    assert found.heard[0, 1] == found.heard[0, 2] == pytest.approx(known)
    assert found.heard[1, 2] == pytest.approx(known)


def test_without_any_gradient_nothing_is_known(chain):
    quiet = match(
        chain, "a", [(batch_of(0), Path({"a": "skip", "b": "none"}))], loss_on(chain), scope="edges"
    )
    assert bool(quiet.silent.all())
    assert bool((quiet.distances == 1).all())
    assert bool((quiet.heard == 1).all())


def test_parameters_that_a_path_does_not_read_count_as_zero(chain):
    """With `none` before it the probed edge sees zeros: vectors keep their length."""
    batch = batch_of(1)
    found = match(chain, "a", [(batch, Path({"a": "skip", "b": "linear"}))], loss_on(chain))
    assert found.batches.shape == (1, 3, 3)
    by_hand = []
    shared = shared_parameters(chain, "a")
    for option in ("none", "skip", "linear"):
        chain.activate({"a": option, "b": "linear"})
        gradients = torch.autograd.grad(
            loss_on(chain)(batch), list(shared.values()), allow_unused=True
        )
        parts = [
            torch.zeros_like(p) if g is None else g
            for g, p in zip(gradients, shared.values(), strict=True)
        ]
        by_hand.append(torch.cat([g.flatten() for g in parts]).double())
    cosine = F.cosine_similarity(by_hand[1], by_hand[2], dim=0)
    assert float(found.distances[1, 2]) == pytest.approx(1 - float(cosine), abs=1e-4)


@pytest.mark.full
@pytest.mark.parametrize("probing", ["hard", "soft"])
def test_untrained_cells_set_operations_without_weights_apart(probing):
    """The reference's network of this size: pools, identity and one convolution in one group."""
    torch.manual_seed(1)
    cells = SPACES.get("darts")(operations=SEVEN)
    supernet = cells.supernet(channels=4, layers=5)
    rows = {n: torch.full((7,), 1 / 7) for n in supernet.mixtures}
    rounds = [
        ((torch.randn(16, 3, 32, 32), torch.randint(0, 10, (16,))), Mixed(rows)) for _ in range(2)
    ]
    found = match(
        supernet, "normal.node3.from0", rounds, loss_on(supernet), scope="edges", probing=probing
    )
    first = minimum_cut(1 - found.distances, 2).groups[0]
    assert {"max_pool_3x3", "avg_pool_3x3", "skip_connect"} <= {found.options[i] for i in first}


# ---------------------------------------------------------------- no side effects
def everything(supernet):
    tensors = {k: v.clone() for k, v in supernet.state_dict().items()}
    layers = [m for m in supernet.modules() if isinstance(m, OneOf)]
    settings = [(m.mode, m.weights) for m in layers], supernet.active, supernet.training
    return tensors, settings, torch.get_rng_state()


@pytest.mark.parametrize("path", [False, True])
def test_matching_leaves_no_trace(path):
    space = SPACES.get("nb201")(channels=4, cells=1, resolution=8)
    supernet = space.supernet()
    supernet.eval()
    x, y = torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 2, 3])
    name = next(iter(supernet.mixtures))
    rows = {n: torch.full((5,), 0.2, requires_grad=True) for n in supernet.mixtures}
    supernet.gate({name: rows[name]})
    state = Path(dict.fromkeys(rows, "nor_conv_3x3")) if path else Mixed(rows)
    before = everything(supernet)
    found = match(supernet, name, [((x, y), state)] * 2, loss_on(supernet))
    after = everything(supernet)
    assert found.batches.shape == (2, 5, 5)
    assert all(torch.equal(after[0][k], v) for k, v in before[0].items())
    assert [m for m, _ in after[1][0]] == [m for m, _ in before[1][0]]
    assert all(a is b for (_, a), (_, b) in zip(after[1][0], before[1][0], strict=True))
    assert after[1][1:] == before[1][1:]
    assert torch.equal(after[2], before[2])
    assert all(p.grad is None for p in (*supernet.parameters(), *rows.values()))


def test_all_options_see_the_same_random_numbers(chain):
    noisy = ModuleSpace(lambda: nn.Sequential(nn.Dropout(0.5), Chain()), torch.zeros(1, 3))
    supernet = noisy.supernet()
    twice = [(batch_of(0), Path({"a": "skip", "b": "skip"}))]
    a, b = (match(supernet, "a", twice, loss_on(supernet), seed=s) for s in (3, 3))
    assert torch.equal(a.batches, b.batches)
    assert not torch.equal(
        match(supernet, "a", twice, loss_on(supernet), seed=4).batches, a.batches
    )


# ---------------------------------------------------------------- bad input
def test_an_unknown_decision_and_no_batch(chain):
    with pytest.raises(SpecError, match=r"'c' must be one of \['a', 'b'\]"):
        match(chain, "c", [], loss_on(chain))
    with pytest.raises(SpecError, match="at least one batch"):
        match(chain, "a", [], loss_on(chain))


def test_nothing_shared():
    lonely = ModuleSpace(
        lambda: nn.Sequential(nn.Linear(3, 3), OneOf("a", [nn.Linear(3, 3), nn.Identity()])),
        torch.zeros(1, 3),
    ).supernet()
    with pytest.raises(SpecError, match=r"must share parameters.*use the scope 'all'"):
        shared_parameters(lonely, "a", "edges")
