"""How logits become the weights of a pass."""

from __future__ import annotations

import pytest
import torch

from netloom.errors import SpecError
from netloom.search.one_shot.bilevel import BilevelTrainer
from netloom.search.one_shot.logits import Logits
from netloom.search.one_shot.sampling import set_mixture, temperature
from netloom.search.strategies.darts import Darts
from netloom.spaces.layers import OneOf

from .stripes import make_context, same, state


@pytest.fixture
def supernet():
    torch.manual_seed(0)
    return make_context().space.supernet()


def rows_of(supernet):
    layers = {}
    for m in supernet.modules():
        if isinstance(m, OneOf):
            layers.setdefault(m.choice.name, m)
    return {name: m.weights for name, m in layers.items()}, layers


def test_temperatures_fall_linearly():
    assert [temperature("gdas", t) for t in (0, 0.5, 1)] == pytest.approx([10, 5.05, 0.1])
    assert [temperature("snas", t) for t in (0, 1)] == pytest.approx([1, 0.1])
    assert temperature("softmax", 0.3) == 1


@pytest.mark.parametrize("sampling", ["snas", "drnas"])
def test_soft_samples_are_distributions_around_the_logits(supernet, sampling):
    logits = Logits(supernet.mixtures)
    with torch.no_grad():
        for row in logits.rows:
            row[1] = 3.0
    total = torch.zeros(5)
    for _ in range(200):
        set_mixture(supernet, logits, sampling, 1.0)
        row = rows_of(supernet)[0]["node1.from0"]
        assert float(row.detach().sum()) == pytest.approx(1.0, abs=1e-5)
        assert float(row.detach().min()) >= 0
        total += row.detach() / 200
    assert int(total.argmax()) == 1
    row.square().sum().backward()
    assert float(logits.rows[0].grad.abs().sum()) > 0


def test_one_option_is_drawn_with_the_gradient_of_the_softmax(supernet):
    logits = Logits(supernet.mixtures)
    drawn = set()
    for _ in range(50):
        set_mixture(supernet, logits, "gdas", 1.0)
        rows, layers = rows_of(supernet)
        layer = layers["node3.from2"]
        assert layer.mode == "gate"
        row = rows["node3.from2"]
        hot = int(row.detach().argmax())
        torch.testing.assert_close(row.detach(), torch.eye(5)[hot])
        assert layer.choice.active == layer.choice.options[hot]
        drawn.add(hot)
    assert drawn == set(range(5))  # uniform logits draw every option
    set_mixture(supernet, logits, "gdas", 1.0)
    supernet(torch.randn(4, 1, 8, 8)).square().sum().backward()
    assert any(float(row.grad.abs().sum()) > 0 for row in logits.rows if row.grad is not None)


@pytest.mark.parametrize("sampling", ["softmax", "snas", "gdas", "drnas"])
def test_what_is_forbidden_is_never_drawn(supernet, sampling):
    supernet.restrict({"node1.from0": ["none", "nor_conv_1x1"]})
    logits = Logits(supernet.mixtures, allowed=supernet.masks)
    for _ in range(20):
        set_mixture(supernet, logits, sampling, 0.5)
        row = rows_of(supernet)[0]["node1.from0"].detach()
        allowed = [o in ("none", "nor_conv_1x1") for o in logits.options["node1.from0"]]
        assert all(float(w) == 0 for w, ok in zip(row, allowed, strict=True) if not ok)


@pytest.mark.parametrize("sampling", ["snas", "gdas", "drnas"])
def test_sampled_searches_train_and_go_on_bit_for_bit(sampling):
    def trainer(context):
        recipe = Darts(epochs=2, batch_size=8, arch_lr=0.05, sampling=sampling)
        return BilevelTrainer(recipe, context, 7, "search")

    undisturbed = trainer(make_context())
    undisturbed.run()
    context = make_context()
    first = trainer(context)
    before = [r.detach().clone() for r in first.logits.rows]
    context.stopping = lambda: first.done == 4
    first.run()
    assert not same(before, list(first.logits.rows))
    context.stopping = lambda: False
    second = trainer(context)
    second.load(context.restore("search"))
    second.run()
    assert same(state(second), state(undisturbed))


def test_gdas_runs_on_the_cells_of_darts():
    context = make_context("darts", preset="tiny")
    recipe = Darts(epochs=1, batch_size=24, sampling="gdas")
    search = BilevelTrainer(recipe, context, 0, "search")
    assert search.run()
    assert len(search.epochs) == 1


def test_beta_decay_adds_the_softmax_over_the_number_of_rows():
    plain, decayed = (
        BilevelTrainer(Darts(epochs=2, beta_decay=b), make_context(), 7, "s") for b in (0.0, 0.5)
    )
    decayed.done = decayed.steps // 2
    found = torch.autograd.grad(decayed._added(), decayed.alphas)
    wanted = [0.25 * torch.softmax(r.detach(), 0) / 6 for r in decayed.logits.rows]
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b)
    assert plain.recipe.beta_decay == 0


def test_sampling_needs_the_first_order():
    with pytest.raises(SpecError, match="gdas needs order 1"):
        Darts(order=2, sampling="gdas")
