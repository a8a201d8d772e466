"""The DARTS strategy: what it trains when, what it proposes, and how it goes on."""

from __future__ import annotations

import math

import pytest
import torch

from netloom.errors import EvaluationError, SpecError
from netloom.search.one_shot.bilevel import BilevelTrainer
from netloom.search.strategies.darts import Darts
from netloom.search.strategies.rarts import Rarts
from netloom.spaces import SPACES

from .stripes import make_context, same, state


@pytest.fixture
def context():
    return make_context()


def trainer(context, **options):
    recipe = Darts(epochs=2, batch_size=8, arch_lr=0.05, **options)
    recipe.context = context
    return BilevelTrainer(recipe, context, 7, "search")


@pytest.mark.parametrize(("order", "passes"), [(1, 2), (2, 5)])
def test_passes_of_an_iteration(context, order, passes):
    search = trainer(context, order=order)
    forward, backward = [], []
    search.supernet.register_forward_hook(lambda *_: forward.append(1))
    head = next(m for m in reversed(list(search.supernet.modules())) if hasattr(m, "weight"))
    head.register_full_backward_hook(lambda *_: backward.append(1))
    search._take_step()
    assert len(forward) == len(backward) == passes


def test_a_step_on_the_architecture_leaves_the_weights_alone_and_the_reverse(context):
    for order in (1, 2):
        search = trainer(context, order=order)
        train, valid = search.halves.train(0, 0), search.halves.valid(0)
        before = {k: v.clone() for k, v in search.supernet.state_dict().items()}
        rows = [r.detach().clone() for r in search.logits.rows]
        search._step_architecture(train, valid)
        after = search.supernet.state_dict()
        assert all(torch.equal(after[k], v) for k, v in before.items())
        assert not any(torch.equal(r, b) for r, b in zip(search.logits.rows, rows, strict=True))
        assert all(p.grad is None for p in (*search.weights, *search.logits.rows))
        rows = [r.detach().clone() for r in search.logits.rows]
        search.mix()
        search.descend(search.loss(train))
        assert all(torch.equal(r, b) for r, b in zip(search.logits.rows, rows, strict=True))
        assert all(r.grad is None for r in search.logits.rows)


def test_the_first_order_step_is_adam_on_the_validation_half(context):
    search = trainer(context)
    train, valid = search.halves.train(0, 0), search.halves.valid(0)
    search.mix()
    with torch.random.fork_rng():
        gradients = torch.autograd.grad(search.loss(valid), list(search.logits.rows))
    rows = [r.detach().clone() for r in search.logits.rows]
    search._step_architecture(train, valid)
    for row, old, g in zip(search.logits.rows, rows, gradients, strict=True):
        g = g + 1e-3 * old  # weight decay
        # Adam's first step is lr times the sign, but for epsilon
        torch.testing.assert_close(row.detach(), old - 0.05 * g / (g.abs() + 1e-8))


def test_warm_up_trains_weights_alone(context):
    search = trainer(context, warmup_epochs=1)
    rows = [r.detach().clone() for r in search.logits.rows]
    while search.done < search.halves.steps:
        search._take_step()
    assert same(rows, list(search.logits.rows))
    search._take_step()
    assert not same(rows, list(search.logits.rows))


def test_the_learning_rate_is_a_cosine_that_the_look_ahead_shares(context):
    search = trainer(context, lr=0.1, lr_min=0.02)
    assert [search.rate(e) for e in (0, 1, 2)] == pytest.approx([0.1, 0.06, 0.02])
    for _ in range(search.halves.steps + 1):
        search._take_step()
    assert search.weight_optimizer.param_groups[0]["lr"] == pytest.approx(0.06)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("stop", [pytest.param(1, marks=pytest.mark.full), 3, 4])
def test_a_stopped_search_goes_on_bit_for_bit(order, stop):
    undisturbed = trainer(make_context(), order=order)
    assert undisturbed.run()

    context = make_context()
    first = trainer(context, order=order)
    context.stopping = lambda: first.done == stop
    assert not first.run()
    assert first.done == stop
    context.stopping = lambda: False
    second = trainer(context, order=order)
    second.load(context.restore("search"))
    assert second.run()
    assert same(state(second), state(undisturbed))
    assert second.epochs == undisturbed.epochs
    fresh = make_context()
    trainer(fresh, order=order).run()
    for name, points in context.curves.items():
        assert dict(points) == dict(fresh.curves[name])


def test_it_proposes_what_each_search_ended_with(context):
    strategy = Darts(epochs=2, batch_size=8, arch_lr=0.3, searches=2, propose="epochs")
    strategy.prepare(context)
    asked = strategy.ask(9)
    assert asked[0].tags == {"search": 0, "epoch": 2}
    assert all(context.space.architecture(c.architecture) == c.architecture for c in asked)
    numbers = context.enqueue(asked)
    assert strategy.ask(9) == []
    assert len(numbers) == len({c.architecture for c in asked})
    assert set(context.published) == {"search0", "search1"}
    for name in ("train_loss", "valid_loss", "entropy", "skips", "macs"):
        steps = [step for step, _ in context.curves[f"search1/{name}"]]
        assert steps == [1, 2]


def test_it_learns():
    """The mixture fits the data, and its weights leave the uniform ones."""
    context = make_context(examples=128)
    strategy = Darts(epochs=12, batch_size=16, lr=0.1, arch_lr=0.05)
    strategy.prepare(context)
    entropy = [value for _, value in context.curves["search/entropy"]]
    assert entropy[-1] < entropy[0] < math.log(5) + 1e-3
    losses = [value for _, value in context.curves["search/valid_loss"]]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(
    ("change", "match"),
    [({"lr": 0.2}, "options"), ({"seed": 8}, "seed"), ({"channels": 8}, "space")],
)
def test_a_checkpoint_of_another_search_is_refused(context, change, match):
    first = trainer(context)
    first._take_step()
    first.save()
    saved = context.restore("search")
    other = make_context()
    if "channels" in change:
        other.space = make_context(channels=8).space
    recipe = Darts(epochs=2, batch_size=8, arch_lr=0.05, lr=change.get("lr", 0.025))
    second = BilevelTrainer(recipe, other, change.get("seed", 7), "search")
    with pytest.raises(SpecError, match=match):
        second.load(saved)


def test_a_checkpoint_of_another_version_is_refused(context):
    first = trainer(context)
    first.save()
    saved = {**context.restore("search"), "version": 99}
    with pytest.raises(SpecError, match=r"must have version 2, got 99.*netloom"):
        trainer(context).load(saved)


def test_weights_that_are_no_numbers_are_never_stored(context):
    """The last step may diverge without any loss that says so."""
    search = trainer(context)
    search.save()
    kept = context.restore("search")
    search._take_step()
    with torch.no_grad():
        search.weights[3].fill_(math.inf)
    with pytest.raises(EvaluationError, match=r"diverged: weights must be finite.*lower lr"):
        search.save()
    assert context.restore("search") is kept


def test_limits_that_nothing_keeps_are_refused_before_a_step(context):
    search = trainer(context, limits={"macs": 1.0})
    with pytest.raises(SpecError, match="limits: the cheapest options"):
        search.run()
    assert search.done == 0


def test_a_warm_up_leaves_epochs_to_the_logits():
    with pytest.raises(SpecError, match="warmup_epochs must be below epochs, got 3 of 3"):
        Darts(epochs=3, warmup_epochs=3)


@pytest.mark.parametrize(("share", "halves"), [(0.01, "0 and 48"), (0.99, "47 and 1")])
def test_a_share_that_leaves_nothing_to_one_side(context, share, halves):
    with pytest.raises(SpecError, match=f"train_share must leave 2 .*cuts 48 into {halves}"):
        trainer(context, train_share=share)


def test_a_search_that_diverges_says_so_and_keeps_its_checkpoint(context):
    search = trainer(context, lr=1e18, grad_clip=None)
    search.save()
    kept = context.restore("search")
    with pytest.raises(EvaluationError, match=r"diverged.*lower lr"):
        search.run()
    assert context.restore("search") is kept


def test_too_few_examples_for_two_halves():
    with pytest.raises(SpecError, match=r"at least 4 examples.*got 3"):
        trainer(make_context(examples=3))


def test_options_that_contradict_each_other():
    with pytest.raises(SpecError, match="lr_min must be at most lr"):
        Darts(lr=0.1, lr_min=0.2)


def test_unknown_options_of_the_super_network(context):
    with pytest.raises(SpecError, match=r"supernet.wings: unknown key; known: affine, partial"):
        trainer(context, supernet={"wings": 2})


@pytest.mark.parametrize(
    ("name", "options"),
    [("nas_bench_macro", {}), ("mobilenet", {"preset": "tiny"}), ("fbnet", {})],
)
@pytest.mark.parametrize("recipe", [Darts(order=2, batch_size=4), Rarts(batch_size=4)])
def test_networks_of_blocks_are_mixed_too(recipe, name, options):
    """A step moves the logits of every block, and the weights of every one that has some."""
    context = make_context(name, 12, **options)
    search = recipe.trainer(context, 7, "search")
    rows, weights = (
        [t.detach().clone() for t in tensors] for tensors in (search.logits.rows, search.weights)
    )
    search._take_step()
    assert {d.name for d in context.space.decisions} == set(search.logits.options)
    assert not any(torch.equal(r, b) for r, b in zip(search.logits.rows, rows, strict=True))
    assert not any(torch.equal(w, b) for w, b in zip(search.weights, weights, strict=True))
    assert context.space.architecture(search.derived()) == search.derived()


def test_elastic_spaces_have_no_mixture():
    context = make_context()
    context.space = SPACES.get("ofa_mbv3")(preset="tiny", classes=2)
    with pytest.raises(SpecError, match="candidates to mix for every decision"):
        trainer(context)
