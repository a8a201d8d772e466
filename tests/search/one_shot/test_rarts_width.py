"""RARTS on widths: scores of channels, the solvable model with an L1 term, and as a strategy."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from netloom.errors import SpecError
from netloom.search.one_shot.relaxed_width import WidthTrainer
from netloom.search.one_shot.widths import Scores, proximal_step, widest_supernet
from netloom.search.run.capabilities import pairing_problem
from netloom.search.strategies.rarts_width import RartsWidth
from netloom.spaces import SPACES, ModuleSpace
from netloom.spaces.layers import Choice, batch_norm2d, conv2d, linear

from .stripes import check_resuming, make_context, same
from .test_rarts import Toy


# ---------------------------------------------------------------- the L1 term
def test_a_proximal_step():
    """eta 0.5, mu 0.2: 0.1 less on either side of 0, after the step of the gradient."""
    score = torch.tensor([1.0, 0.05, -0.3, 0.2])
    proximal_step([score], [torch.tensor([0.4, 0.0, 0.0, 0.6])], 0.5, 0.2)
    assert score.tolist() == pytest.approx([0.7, 0.0, -0.2, 0.0], abs=1e-6)
    assert score[1] == 0


def ran(lam, beta, mu, steps=4000, rate=0.01):
    """Return alpha, w, y of the solvable model with mu |alpha| added to L."""
    toy = Toy(lam, beta, "fused")

    def mover(tensor):
        def move(gradients):
            tensor.data -= rate * gradients[0]

        return move

    def shrink(gradients):
        proximal_step([toy.alpha], gradients, rate, mu)

    for _ in range(steps):
        toy.problem.step(toy.train, toy.valid, mover(toy.w), mover(toy.y), shrink)
    return toy.place


@pytest.mark.parametrize(("lam", "beta"), [(10, 10), (5, 20)])
@pytest.mark.parametrize("mu", [0.0, 0.5, 1.5])
def test_the_solvable_model_with_an_l1_term(lam, beta, mu):
    """alpha = (2 - mu) / (2 - 1/(2 lambda) - 1/beta), w and y follow from it.

    mu = 0 gives the values of the model without the term: 1.08108, 1.02703, 0.91892 of 10 and 10.
    """
    alpha = (2 - mu) / (2 - 1 / (2 * lam) - 1 / beta)
    wanted = [alpha, alpha * (1 - 1 / (2 * lam)), 2 - mu - alpha]
    assert ran(lam, beta, mu) == pytest.approx(wanted, abs=1e-4)


def test_a_strong_term_makes_alpha_zero():
    """At alpha = w = y = 0 the gradient by alpha is -2: from mu = 2 on that is the minimum."""
    alpha, w, y = ran(10, 10, 2.5)
    assert alpha == 0.0
    assert [w, y] == pytest.approx([0, 0], abs=1e-6)


# ---------------------------------------------------------------- scores on networks
class Net(nn.Module):
    """Two convolutions and a linear layer; the first `alive` channels of the second one live."""

    def __init__(self, alive=16):
        super().__init__()
        first, second = (Choice(n, (2, 4, 8, 16)) for n in ("first", "second"))
        self.stem = nn.Sequential(conv2d(1, first, 3), batch_norm2d(first), nn.ReLU())
        self.body = nn.Sequential(conv2d(first, second, 3), batch_norm2d(second), nn.ReLU())
        self.head = linear(second, 2)
        self.alive = alive

    def forward(self, x):
        y = self.body(self.stem(x)).mean((2, 3))
        mask = (torch.arange(y.shape[1], device=y.device) < self.alive).to(y.dtype)
        return self.head(y * mask)


def net_space(alive=16):
    return ModuleSpace(Net, torch.zeros(2, 1, 8, 8), alive=alive)


def net_context(alive=16, examples=48):
    context = make_context(examples=examples)
    context.space = net_space(alive)
    return context


@pytest.mark.parametrize("name", ["net", "nats_sss"])
def test_scores_of_one_change_nothing(name):
    space = net_space() if name == "net" else make_context("nats_sss", preset="tiny").space
    supernet, x = widest_supernet(space, {}), torch.randn(4, 1, 8, 8)
    scores = Scores(supernet)
    plain = supernet(x)
    with scores.applied(supernet):
        torch.testing.assert_close(supernet(x), plain)
        assert supernet.active == {d.name: d.options[-1] for d in space.decisions}
    assert not any(m._forward_pre_hooks for m in supernet.modules())
    assert [len(row) for row in scores.rows] == [row[-1] for row in scores.options.values()]


def test_scores_of_zero_are_the_smaller_network():
    """Behind the first n channels nothing counts: that is the elastic network of width n."""
    supernet, x = widest_supernet(net_space(), {}), torch.randn(4, 1, 8, 8)
    scores = Scores(supernet)
    with torch.no_grad():
        scores.rows[0][4:] = 0
        scores.rows[1][8:] = 0
    with scores.applied(supernet):
        found = supernet(x)
    supernet.activate({"first": 4, "second": 8})
    torch.testing.assert_close(found, supernet(x))


@pytest.mark.parametrize("layer", range(1, 6))
def test_a_channel_without_a_score_does_nothing(layer):
    """Also past skip connections that are identities while two widths agree."""
    torch.manual_seed(0)
    space = make_context("nats_sss", preset="tiny").space
    supernet = widest_supernet(space, {"norms": "shared"})
    scores, x = Scores(supernet), torch.randn(4, 1, 8, 8)
    name = f"layer{layer}.width"
    with torch.no_grad():
        scores.rows[list(scores.options).index(name)][3] = 0.0

    def disturb(module, inputs, output):
        noise = torch.zeros_like(output)
        noise[:, 3] = torch.randn_like(output[:, 3])
        return output + noise

    norms = [
        m for m in supernet.modules() if getattr(getattr(m, "channels", None), "name", None) == name
    ]
    assert norms
    with scores.applied(supernet):
        before = supernet(x)
        for norm in norms:
            norm.register_forward_hook(disturb)
        after = supernet(x)
    torch.testing.assert_close(after, before)


def test_widths_are_rounded_up_to_what_can_be_chosen():
    space = net_space()
    scores = Scores(widest_supernet(space, {}))
    with torch.no_grad():
        scores.rows[0].copy_(torch.tensor([0.5, -0.4, 0.3] + [0.004] * 13))
        scores.rows[1].zero_()
        scores.rows[1][7] = 2.0
    assert scores.kept(0.01) == {"first": 3, "second": 1}
    assert dict(scores.derived(space, 0.01)) == {"first": 4, "second": 2}
    assert scores.kept(0.0) == {"first": 16, "second": 1}
    assert float(scores.norm()) == pytest.approx(1.2 + 13 * 0.004 + 2)


# ---------------------------------------------------------------- the search
def trainer(context, **options):
    recipe = RartsWidth(**{"epochs": 2, "batch_size": 8, **options})
    return WidthTrainer(recipe, context, 7, "search")


def test_a_dead_channel_loses_the_same_in_every_step_until_it_is_zero():
    search = trainer(net_context(alive=4), arch_lr=0.1, sparsity=2.0, epochs=3)
    found = []
    for _ in range(7):
        search._take_step()
        found.append(search.scores.rows[1].detach().clone())
    for steps, row in enumerate(found, start=1):
        assert row[4:].tolist() == pytest.approx([max(0.0, 1 - 0.2 * steps)] * 12, abs=1e-6)
    assert found[-1][4:].abs().max() == 0
    assert search.derived()["second"] <= 4


def test_both_copies_have_the_same_scores():
    search = trainer(net_context())
    assert float(search.problem.distance()) == 0
    search._take_step()
    assert float(search.problem.distance()) > 0
    assert not any(id(row) in map(id, search.weights) for row in search.scores.rows)
    assert set(search.parts()) >= {"scores", "twin", "supernet"}


def test_warm_up_leaves_the_scores():
    search = trainer(net_context(), warmup_epochs=1)
    rows = [row.detach().clone() for row in search.scores.rows]
    search._take_step()
    assert same(rows, list(search.scores.rows))


@pytest.mark.parametrize("mode", ["strict", "fused"])
def test_a_stopped_search_goes_on_bit_for_bit(mode):
    def make(context):
        context.space = net_space()
        return trainer(context, mode=mode)

    check_resuming(make, stop=4)


def test_it_prunes_what_the_loss_does_not_need():
    found = {}
    for sparsity in (0.0, 0.5):
        context = net_context(examples=128)
        strategy = RartsWidth(epochs=12, batch_size=16, lr=0.1, sparsity=sparsity, mode="fused")
        strategy.prepare(context)
        [candidate] = strategy.ask(3)
        curves = context.curves
        assert curves["search/train_loss"][-1][1] < 0.3 < curves["search/train_loss"][0][1]
        assert all(math.isfinite(v) for _, v in curves["search/relaxed_loss"])
        assert context.published == {}
        found[sparsity] = (candidate.architecture, curves["search/channels"][-1][1])
    assert dict(found[0.0][0]) == {"first": 16, "second": 16}
    assert found[0.0][1] == 32
    assert found[0.5][1] < 20


def test_it_runs_on_the_size_space_of_nats_bench():
    context = make_context("nats_sss", 24, preset="tiny")
    strategy = RartsWidth(epochs=1, batch_size=8, supernet={"norms": "shared"})
    strategy.prepare(context)
    [candidate] = strategy.ask(3)
    assert context.space.architecture(candidate.architecture) == candidate.architecture


def test_spaces_without_widths_are_refused():
    assert pairing_problem(RartsWidth, SPACES.get("nats_sss")()) == ""
    assert pairing_problem(RartsWidth, net_space()) == ""
    reason = pairing_problem(RartsWidth, SPACES.get("ofa_mbv3")(preset="tiny"))
    assert "needs a space whose decisions are all widths" in reason
    context = make_context()
    context.space = SPACES.get("ofa_mbv3")(preset="tiny", resolution=24, in_channels=1)
    with pytest.raises(SpecError, match=r"needs? decisions that are widths.*'resolution'"):
        Scores(context.space.supernet())
