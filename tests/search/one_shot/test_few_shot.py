"""Few-shot search with gradient matching: nodes, the tree as a whole, and how it goes on."""

from __future__ import annotations

import json
import pickle
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from netloom.errors import SpecError
from netloom.search.one_shot.matching import match
from netloom.search.one_shot.partition import minimum_cut
from netloom.search.one_shot.splitting import ROOT, connects
from netloom.search.one_shot.work import Job, advance, choose, held_out
from netloom.search.strategies.gm_fewshot import GmFewshot
from netloom.spaces import SPACES, Architecture

from .stripes import make_context, same, state
from .test_matching import loss_on, uniform

SMALL = {"match_batches": 1, "batch_size": 8, "arch_lr": 0.05, "paths": 4}
EDGE = "node1.from0"
TWO = [EDGE, "node2.from0"]
HALF = ("nor_conv_1x1", "nor_conv_3x3")


def started(context, **options):
    """Return a search whose root was trained for an epoch, and its state."""
    strategy = GmFewshot(**{"split_epochs": [1], "epochs": 2, **SMALL, **options})
    search = strategy.few_shot(context, 7, "search")
    root = search.tree.nodes[ROOT]
    trained = advance(search.work, Job(root, None, None, None))
    return search, root, trained.state


def child_of(search):
    rest = [o for o in SPACES.get("nb201")().decisions[0].options if o not in HALF]
    return search.tree.split(ROOT, EDGE, [HALF, rest])[0]


def opened(search, node, state=None):
    return search.work.trainer(search.work.context(), node, state)


@pytest.fixture
def context():
    return make_context()


# ---------------------------------------------------------------- what nodes inherit
def test_a_child_inherits_everything(context):
    search, root, trained = started(context, restart="none")
    parent = opened(search, root, trained)
    child = opened(search, child_of(search))
    assert child.weight_optimizer.state_dict()["state"] == {}
    stored = {**pickle.loads(pickle.dumps(parent_state(parent)))}
    child.inherit(stored)
    kept = {k: v for k, v in parent.supernet.state_dict().items() if "extra" not in k}
    own = child.supernet.state_dict()
    assert any("running_mean" in k for k in kept)
    assert all(torch.equal(own[k], v) for k, v in kept.items())
    moments = parent.weight_optimizer.state_dict()["state"]
    assert moments
    for i, found in child.weight_optimizer.state_dict()["state"].items():
        assert torch.equal(found["momentum_buffer"], moments[i]["momentum_buffer"])
    assert child.done == parent.done == parent.halves.steps
    assert child.rate(1) == parent.rate(1)
    assert child.supernet.masks == {EDGE: HALF}
    assert parent.supernet.masks == {}
    weights = child.logits.weights()[EDGE].tolist()
    assert weights == [0, 0, 0.5, 0.5, 0]


def parent_state(trainer):
    trainer.save()
    return trainer.context.restore(trainer.name)


def test_children_share_no_storage(context):
    search, _, trained = started(context, restart="none")
    a, b = search.tree.split(ROOT, EDGE, [HALF, ("none", "skip_connect", "avg_pool_3x3")])
    before = bytes(trained)
    results = [advance(search.work, Job(node, None, None, trained)).state for node in (a, b)]
    assert trained == before
    again = advance(search.work, Job(a, None, None, trained)).state
    assert same(state(opened(search, a, again)), state(opened(search, a, results[0])))
    first, second = (state(opened(search, n, s)) for n, s in zip((a, b), results, strict=True))
    assert not same(first, second)


def test_a_restart_is_fresh(context):
    search, root, _ = started(context)
    leaf = opened(search, child_of(search))
    whole = opened(search, root)
    own, other = leaf.supernet.state_dict(), whole.supernet.state_dict()
    assert all(torch.equal(own[k], v) for k, v in other.items() if "extra" not in k)
    assert leaf.weight_optimizer.state_dict()["state"] == {}
    assert leaf.done == 0
    assert all(not row.any() for row in leaf.logits.rows)


def test_logits_are_frozen_until_the_last_split(context):
    search, root, trained = started(context)
    assert all(not row.any() for row in opened(search, root, trained).logits.rows)
    leaf = child_of(search)
    after = opened(search, leaf, advance(search.work, Job(leaf, None, None, None)).state)
    assert all(bool(row.any()) for row in after.logits.rows)


def test_masked_operations_learn_nothing(context):
    search, _, _ = started(context)
    leaf = child_of(search)
    node = search.tree.nodes[leaf.name]
    fresh = opened(search, node)
    after = opened(search, node, advance(search.work, Job(node, None, None, None)).state)
    index = list(after.logits.options).index(EDGE)
    row = after.logits.rows[index].tolist()
    assert [x == 0 for x in row] == [True, True, False, False, True]
    other = search.tree.nodes["1"]
    trained = opened(search, other, advance(search.work, Job(other, None, None, None)).state)
    for (name, a), (_, b) in zip(
        fresh.supernet.named_parameters(), trained.supernet.named_parameters(), strict=True
    ):
        masked = any(
            id(b) in map(id, layer.candidates[i].parameters())
            for layer in trained.supernet.modules()
            if getattr(getattr(layer, "choice", None), "name", None) == EDGE
            for i, option in enumerate(layer.choice.options)
            if option in HALF
        )
        assert torch.equal(a, b) or not masked, name


def test_learning_rates(context):
    whole, _, _ = started(context)
    leaf = child_of(whole)
    rates = [opened(whole, leaf).rate(e) for e in (0, 2, 3)]
    assert rates[0] == pytest.approx(0.025)
    assert rates[1] > rates[2] == pytest.approx(0.001)  # two epochs, the minimum after three
    alone, _, _ = started(make_context(), cosine="leaf")
    assert opened(alone, child_of(alone)).rate(2) == pytest.approx(0.001)


def test_paths_obey_the_mask_and_lead_through(context):
    search, _, _ = started(context, base="rsps")
    trainer = opened(search, child_of(search))
    paths = trainer.candidates(30)
    assert len(set(paths)) == 30
    assert all(connects(context.space, p) and p[EDGE] in HALF for p in paths)
    probed = [trainer.state("node3.from2", i).architecture for i in range(20)]
    assert all(connects(context.space, p) and p[EDGE] in HALF for p in probed)
    assert len(set(probed)) > 10


@pytest.mark.parametrize("base", ["darts_1st", "snas", "rsps", "proxyless"])
def test_comparing_leaves_no_trace(context, base):
    search, root, trained = started(context, base=base)
    trainer = opened(search, root, trained)
    before = state(trainer), torch.get_rng_state()
    a = trainer.distances("node2.from1", 2, "all", "hard")
    assert same(before[0], state(trainer))
    assert torch.equal(before[1], torch.get_rng_state())
    b = trainer.distances("node2.from1", 2, "all", "hard")
    assert torch.equal(a.batches, b.batches)


def test_snas_draws_one_state_per_batch(context):
    search, root, trained = started(context, base="snas")
    trainer = opened(search, root, trained)
    first, again, other = (trainer.state(EDGE, n).weights for n in (0, 0, 1))
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert not any(torch.equal(first[k], other[k]) for k in first)


# ---------------------------------------------------------------- what untrained networks say
def test_an_untrained_super_network_sets_convolutions_apart():
    """Measured on the reference's network of this size: six edges of six."""
    torch.manual_seed(0)
    supernet = SPACES.get("nb201")(channels=4, cells=1).supernet(affine=False)
    rows = {n: r.float() for n, r in uniform(supernet).weights.items()}
    batches = [(torch.randn(16, 3, 32, 32), torch.randint(0, 10, (16,))) for _ in range(2)]
    rounds = [(batch, type(uniform(supernet))(rows)) for batch in batches]
    apart = 0
    for name, options in supernet.mixtures.items():
        found = match(supernet, name, rounds, loss_on(supernet), scope="edges")
        groups = minimum_cut(1 - found.distances, 2).groups
        apart += {"nor_conv_1x1", "nor_conv_3x3"} in [{options[i] for i in g} for g in groups]
    assert apart >= 5


# ---------------------------------------------------------------- selection
class Always(nn.Module):
    """Says class 1, whatever it sees."""

    def forward(self, x):
        return torch.tensor([0.0, 1.0]).expand(len(x), 2)


def test_held_out_accuracy(context):
    search, root, _ = started(context)
    data = opened(search, root).data
    share = 100 * float((data.split("valid").y == 1).double().mean())
    assert held_out(Always(), data) == pytest.approx(share)


def test_held_out_error_of_targets():
    """Three columns, each one or two off."""
    x = torch.arange(5.0)[:, None].expand(5, 3)
    off = torch.tensor([1.0, -1.0, 2.0])
    data = SimpleNamespace(
        split=lambda name: SimpleNamespace(x=x, y={"valid": x + off}[name]),
        inputs=SimpleNamespace(apply=lambda rows: rows),
        targets="scaled",
    )
    assert held_out(nn.Identity(), data) == pytest.approx(-(2**0.5))


def test_the_best_of_a_leaf_is_chosen_with_statistics_of_its_own(context):
    search, root, trained = started(context, base="rsps")
    chosen = choose(search.work, (root, trained))
    trainer = opened(search, root, trained)
    inputs = [trainer.halves.train(0, i).x for i in range(trainer.halves.steps)]
    values = {
        a.to_json(): held_out(trainer.supernet.calibrated(a, inputs), trainer.data)
        for a in trainer.candidates(4)
    }
    assert chosen.among == len(values) == 4
    assert chosen.held_out == max(values.values()) == values[chosen.architecture]


# ---------------------------------------------------------------- the whole
def pickled(function, items):
    """Run pieces of work as other processes would: nothing is shared."""
    sent = pickle.dumps(function)
    return [
        pickle.loads(pickle.dumps(pickle.loads(sent)(pickle.loads(pickle.dumps(item)))))
        for item in items
    ]


@pytest.fixture(scope="module")
def found():
    context = make_context()
    context.map = pickled
    strategy = GmFewshot(base="darts_1st", split_epochs=[1, 2], epochs=1, **SMALL)
    strategy.prepare(context)
    return context, strategy


def test_what_is_stored_of_a_tree(found):
    context, _ = found
    note = context.notes["search/tree"]
    nodes = {n["name"]: n for n in note["nodes"]}
    assert list(nodes) == ["root", "0", "1", "0.0", "0.1", "1.0", "1.1"]
    assert [n["epoch"] for n in note["nodes"]] == [1, 2, 2, 1, 1, 1, 1]
    leaves = [n for n in note["nodes"] if n["split"] is None]
    assert sum(int(n["architectures"]) for n in leaves) == context.space.size
    for name in ("root", "0", "1"):
        node = nodes[name]
        judged = node["decisions"]
        assert set(judged) == {d.name for d in context.space.decisions} - set(node["masks"])
        scores = {d: j["score"] for d, j in judged.items()}
        assert node["split"] == min(scores, key=scores.get)
        groups = judged[node["split"]]["groups"]
        children = [n for n in note["nodes"] if n["parent"] == name]
        assert [n["masks"][node["split"]] for n in children] == groups
        for j in judged.values():
            assert len(j["distances"]) == len(j["options"]) == 5
            distances = torch.tensor(j["distances"], dtype=torch.float64)
            assert minimum_cut(1 - distances, 2).score == pytest.approx(j["score"])
    assert {n["name"]: n["among"] for n in leaves} == dict.fromkeys(("0.0", "0.1", "1.0", "1.1"), 1)
    assert set(context.published) == {f"search/{n['name']}" for n in leaves}
    assert [s for s, _ in context.curves["search/1.0/valid_loss"]] == [1]
    assert "search/0/valid_loss" not in context.curves


def test_what_is_proposed(found):
    context, strategy = found
    asked = strategy.ask(9)
    values = [c.tags["held_out"] for c in asked]
    assert values == sorted(values, reverse=True)
    leaves = {n["name"]: n for n in context.notes["search/tree"]["nodes"]}
    for candidate in asked:
        leaf = leaves[candidate.tags["leaf"]]
        assert Architecture.from_json(leaf["architecture"]) == candidate.architecture
        assert leaf["held_out"] == pytest.approx(candidate.tags["held_out"], abs=1e-4)
        for decision, options in leaf["masks"].items():
            assert candidate.architecture[decision] in options
    context.enqueue(asked)
    assert strategy.ask(9) == []


@pytest.mark.parametrize(
    "base", ["darts_1st", *(pytest.param(b, marks=pytest.mark.full) for b in ("rsps", "proxyless"))]
)
def test_a_stopped_search_goes_on_bit_for_bit(base):
    options = {"base": base, "split_epochs": [1], "epochs": 2, "decisions": TWO, **SMALL}
    undisturbed = make_context()
    GmFewshot(**options).prepare(undisturbed)

    context = make_context()
    runs = 0
    while "search/1" not in context.published:
        calls = iter([False] * 2)
        context.stopping = lambda calls=calls: next(calls, True)
        GmFewshot(**options).prepare(context)
        runs += 1
    assert runs > 1
    assert context.notes == undisturbed.notes
    for name in ("search/root", "search/0", "search/1"):
        ours, theirs = (c.restore(name)["supernet"] for c in (context, undisturbed))
        assert all(torch.equal(ours[k], v) for k, v in theirs.items())
    assert {n: dict(p) for n, p in context.curves.items()} == {
        n: dict(p) for n, p in undisturbed.curves.items()
    }


def test_short_rounds_come_to_the_same():
    """Where an epoch takes longer than checkpoints may be apart, rounds get shorter."""
    options = {"base": "darts_1st", "split_epochs": [1], "epochs": 1, "decisions": TWO, **SMALL}
    contexts = make_context(), make_context()
    rounds: list[list[int | None]] = [[], []]
    for context, steps, minutes in zip(contexts, rounds, (5.0, 1e-9), strict=True):

        def watched(function, items, steps=steps):
            steps += [item.steps for item in items if isinstance(item, Job)]
            return [function(item) for item in items]

        context.map = watched
        GmFewshot(**options, checkpoint_minutes=minutes).prepare(context)
    assert rounds[0] == [None] * 3
    assert rounds[1][0] is None
    assert set(rounds[1][1:]) == {1}
    assert contexts[0].notes == contexts[1].notes
    assert contexts[0].curves == contexts[1].curves


def test_random_splits_look_at_no_gradient(context):
    strategy = GmFewshot(base="rsps", rule="random", split_epochs=[1], epochs=1, **SMALL)
    strategy.prepare(context)
    root, *children = context.notes["search/tree"]["nodes"]
    assert "decisions" not in root
    sizes = sorted(len(c["masks"][root["split"]]) for c in children)
    assert sizes == [2, 3]


def test_every_option_of_a_given_decision(context):
    """The baseline of few-shot search: no training before the split, a part for each option."""
    strategy = GmFewshot(
        base="rsps",
        split_epochs=[0],
        groups=[5],
        decisions=[EDGE],
        epochs=1,
        **{**SMALL, "paths": 1},
    )
    strategy.prepare(context)
    root, *children = context.notes["search/tree"]["nodes"]
    assert root["split"] == EDGE
    assert [c["masks"][EDGE] for c in children] == [[o] for o in context.space.decisions[0].options]
    assert len(strategy.ask(9)) == 5


# ---------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split_epochs": [3, 2]}, "rising"),
        ({"split_epochs": []}, "one or more"),
        ({"groups": [2]}, "one number for each of the 2 splits"),
        ({"momentum": 0.0}, "nesterov needs momentum"),
        ({"lr": 0.1, "lr_min": 0.2}, "lr_min must be at most lr"),
    ],
)
def test_options_that_contradict_each_other(options, message):
    with pytest.raises(SpecError, match=message):
        GmFewshot(**options)


def test_unknown_decisions_and_nothing_left_to_split(context):
    with pytest.raises(SpecError, match=r"decisions must be of .*got 'wing'"):
        GmFewshot(decisions=["wing"]).prepare(context)
    strategy = GmFewshot(
        base="rsps", split_epochs=[0, 1], epochs=1, decisions=[EDGE], rule="random", **SMALL
    )
    with pytest.raises(SpecError, match="got 1 for 2 splits into 2 groups"):
        strategy.prepare(make_context())


def test_splits_that_take_away_what_later_ones_need():
    """Two decisions for two groups, the same ones for five: the third split finds neither whole."""
    strategy = GmFewshot(
        base="rsps",
        split_epochs=[0, 1, 2],
        groups=[2, 2, 5],
        epochs=1,
        decisions=TWO,
        rule="random",
        **SMALL,
    )
    with pytest.raises(SpecError, match="a split into 5 groups needs a decision"):
        strategy.prepare(make_context())


def test_a_tree_of_another_search_is_refused(context):
    options = {"base": "rsps", "split_epochs": [0], "epochs": 1, "rule": "random", **SMALL}
    GmFewshot(**options).prepare(context)
    with pytest.raises(SpecError, match="must belong to this space"):
        GmFewshot(**{**options, "groups": [3]}).prepare(context)


def test_the_state_of_the_strategy_is_small(found):
    _, strategy = found
    assert json.dumps(strategy.state_dict()) == "{}"


# ---------------------------------------------------------------- other spaces
@pytest.mark.parametrize("base", ["darts_1st", pytest.param("rsps", marks=pytest.mark.full)])
def test_cells_that_keep_two_edges_of_a_node(base):
    """`none` is an option of the search network alone, and other nodes may leave the edge out."""
    edge = "normal.node3.from2"
    context = make_context("darts", 12, preset="tiny")
    strategy = GmFewshot(
        base=base, split_epochs=[0], epochs=1, decisions=[edge], **{**SMALL, "batch_size": 4}
    )
    strategy.prepare(context)
    root, *children = context.notes["search/tree"]["nodes"]
    assert "none" in root["decisions"][edge]["options"]
    for candidate in strategy.ask(9):
        (leaf,) = (c for c in children if c["name"] == candidate.tags["leaf"])
        kept = context.space.kept_edges(candidate.architecture)
        assert kept.get(edge, leaf["masks"][edge][0]) in leaf["masks"][edge]


def test_decisions_of_more_options_than_are_enumerated():
    """Nine blocks in each layer of fbnet: 126 partitions, tried where that is allowed."""
    space = make_context("fbnet", 12).space
    with pytest.raises(SpecError, match=r"2 to 8 options.*got 0 for 2 splits.*max_options 9"):
        GmFewshot().check_space(space)
    GmFewshot(max_options=9).check_space(space)
    with pytest.raises(SpecError, match=r"mixes operations; ofa_mbv3 offers.*set base: ofa_kernel"):
        GmFewshot().check_space(SPACES.get("ofa_mbv3")(preset="tiny", resolution=24))


@pytest.mark.parametrize("base", ["darts_1st", "snas", "rsps", "proxyless"])
def test_a_space_that_suits_the_base(base):
    GmFewshot(base=base).check_space(make_context().space)
