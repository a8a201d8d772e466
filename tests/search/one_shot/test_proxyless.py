"""ProxylessNAS: gates and their gradients against numbers worked out by hand, and as a strategy."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from netloom.errors import SpecError
from netloom.hw_models import trace
from netloom.search.one_shot.binary import (
    Drawn,
    draw_gates,
    draw_path,
    gate_gradients,
    keep_others,
    logit_gradients,
    run_path,
)
from netloom.search.one_shot.logits import Logits
from netloom.search.one_shot.penalty import PathCost, Terms
from netloom.search.one_shot.proxyless import ProxylessTrainer
from netloom.search.strategies.proxyless import Proxyless
from netloom.spaces import ModuleSpace
from netloom.spaces.layers import OneOf, Zero

from .stripes import check_resuming, make_context, same

X = torch.tensor([[1.0, 2.0, -1.0]], dtype=torch.float64)
C = torch.tensor([[0.5, -1.0, 2.0]], dtype=torch.float64)  # dL/dy of L = <C, y>
GATES = [0.0, -3.5, -7.0, 3.5]  # <C, o(X)> of the four options below


class Times(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor, dtype=torch.float64))

    def forward(self, x):
        return x * self.factor


def linear_supernet():
    options = {"none": Zero(), "same": nn.Identity(), "twice": Times(2.0), "minus": Times(-1.0)}
    return ModuleSpace(OneOf("op", options), X).supernet()


def linear_logits(*row, **options):
    logits = Logits({"op": ("none", "same", "twice", "minus")}, **options).double()
    with torch.no_grad():
        logits.rows[0].copy_(torch.tensor(row))
    return logits


# ---------------------------------------------------------------- gates
@pytest.mark.parametrize("opened", range(4))
def test_gates_have_the_gradient_of_what_they_would_have_given(opened):
    supernet, logits = linear_supernet(), linear_logits(0, 0, 0, 0)
    drawn = {"op": Drawn((0, 1, 2, 3), opened)}
    values = []

    def loss():
        values.append((C * supernet(X)).sum())
        return values[-1]

    found = gate_gradients(supernet, logits, drawn, loss)["op"]
    assert float(values[0].detach()) == GATES[opened]  # the path of the open gate, with weight 1
    assert found.tolist() == GATES


def test_two_gates_run_nothing_else():
    supernet, logits = linear_supernet(), linear_logits(0, 0, 0, 0)
    calls = []
    for i, candidate in enumerate(supernet.module.candidates):
        candidate.register_forward_hook(lambda *_, i=i: calls.append(i))
    drawn = {"op": Drawn((1, 3), 3)}
    found = gate_gradients(supernet, logits, drawn, lambda: (C * supernet(X)).sum())["op"]
    assert found.tolist() == [0, GATES[1], 0, GATES[3]]
    assert calls == [1, 3]
    assert supernet.masks == {}


def test_the_gradient_of_all_gates_is_that_of_the_expected_loss_where_it_is_linear():
    """E[L] = sum of p_j L(o_j): what the binarised path estimates, here without variance."""
    logits = linear_logits(0.3, -0.2, 1.0, 0.1)
    expected = (logits.weights()["op"] * torch.tensor(GATES, dtype=torch.float64)).sum()
    (wanted,) = torch.autograd.grad(expected, list(logits.rows))
    drawn = {"op": Drawn((0, 1, 2, 3), 2)}
    found = logit_gradients(logits, drawn, {"op": torch.tensor(GATES, dtype=torch.float64)})
    torch.testing.assert_close(found[0], wanted)


def test_the_gradient_of_two_gates():
    """p of two logits 0 and ln 3: 1/4 and 3/4; g 1 and 5: p_1 p_2 (g_1 - g_2) = -0.75, +0.75."""
    logits = linear_logits(7.0, 0.0, -2.0, math.log(3))
    gates = torch.tensor([0, 1.0, 0, 5.0], dtype=torch.float64)
    found = logit_gradients(logits, {"op": Drawn((1, 3), 1)}, {"op": gates})
    assert found[0].tolist() == pytest.approx([0, -0.75, 0, 0.75])


def test_the_probabilities_of_others_stay():
    logits = linear_logits(0.5, -1.0, 0.2, 0.0)
    before = {"op": logits.rows[0].detach().clone()}
    old = logits.weights()["op"].tolist()
    with torch.no_grad():
        logits.rows[0] += torch.tensor([0, 0.3, 0, -0.1])
    keep_others(logits, {"op": Drawn((1, 3), 1)}, before)
    new = logits.weights()["op"].tolist()
    assert new[0] == pytest.approx(old[0])
    assert new[2] == pytest.approx(old[2])
    assert new[1] + new[3] == pytest.approx(old[1] + old[3])
    assert new[1] > old[1]
    assert new[1] / new[3] == pytest.approx(old[1] / old[3] * math.exp(0.4))


# ---------------------------------------------------------------- draws
def test_paths_and_gates_are_drawn_by_the_logits():
    """Probabilities 0.1, 0.2, 0.3, 0.4; 4000 draws are off by more than 0.03 once in 10,000."""
    torch.manual_seed(0)
    logits = linear_logits(*[math.log(p) for p in (0.1, 0.2, 0.3, 0.4)])
    names = logits.options["op"]
    paths = [draw_path(logits)["op"] for _ in range(4000)]
    assert [paths.count(n) / 4000 for n in names] == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=0.03)
    pairs = [draw_gates(logits, "two")["op"] for _ in range(4000)]
    assert all(
        len(p.among) == 2 and p.open in p.among and list(p.among) == sorted(p.among) for p in pairs
    )
    mine = [p for p in pairs if p.among == (2, 3)]
    assert len(mine) / 4000 == pytest.approx(0.3 * 0.4 / 0.7 + 0.4 * 0.3 / 0.6, abs=0.03)
    assert sum(p.open == 3 for p in mine) / len(mine) == pytest.approx(4 / 7, abs=0.06)
    every = draw_gates(logits, "all")["op"]
    assert every.among == (0, 1, 2, 3)


def test_masks_are_obeyed():
    torch.manual_seed(0)
    logits = linear_logits(9, 0, 9, 0, allowed={"op": ("same", "minus")})
    assert {draw_path(logits)["op"] for _ in range(50)} == {"same", "minus"}
    assert {draw_gates(logits, g)["op"].among for g in ("two", "all") for _ in range(20)} == {
        (1, 3)
    }
    single = linear_logits(0, 0, 0, 0, allowed={"op": ("twice",)})
    assert draw_gates(single, "two") == {"op": Drawn((2,), 2)}


# ---------------------------------------------------------------- costs
TABLE = {"macs": 300.0}


def test_the_two_forms_of_the_penalty():
    error, costs = torch.tensor(2.0), {"macs": torch.tensor(600.0)}
    assert float(Terms(TABLE).loss(error, costs)) == pytest.approx(2 + 0.1 * (600 - 300) / 300)
    many = Terms(TABLE, "multiply").loss(error, costs)
    assert float(many) == pytest.approx(0.2 * 2 * (math.log(600) / math.log(300)) ** 0.3)
    at = Terms(TABLE, "multiply", scale=1.0).loss(error, {"macs": torch.tensor(300.0)})
    assert float(at) == pytest.approx(2)
    with pytest.raises(SpecError, match=r"above 1; got latency_ms@v100: 0\.5; use penalty: add"):
        Terms({"latency_ms@v100": 0.5}, "multiply")


@pytest.mark.parametrize("metric", ["macs", "params"])
def test_a_certain_path_is_expected_to_cost_what_it_costs(metric):
    space = make_context("mobilenet", preset="tiny").space
    supernet, example = space.supernet(), torch.zeros(1, 1, 8, 8)
    cost = PathCost(supernet, example, Terms({metric: 1.0}))
    for number in range(3):
        architecture = supernet.sample(number)
        logits = Logits(supernet.mixtures)
        with torch.no_grad():
            for (name, options), row in zip(logits.options.items(), logits.rows, strict=True):
                row[options.index(architecture[name])] = 200.0
        work = trace(space.build(architecture), example)
        found = float(cost.expected(logits.weights())[metric].detach())
        assert found == pytest.approx(getattr(work, metric), rel=1e-6)


# ---------------------------------------------------------------- the search
SMALL = {"epochs": 3, "warmup_epochs": 1, "batch_size": 8, "arch_lr": 0.05, "arch_every": 1}


def trainer(context, **options):
    return ProxylessTrainer(Proxyless(**{**SMALL, **options}), context, 7, "search")


def test_logits_rest_in_the_warm_up_and_the_epoch_after_it():
    search = trainer(make_context(), arch_every=2)
    steps = search.halves.steps
    assert steps == 3
    moved = []
    for _ in range(3 * steps):
        before = [row.detach().clone() for row in search.logits.rows]
        search._take_step()
        moved.append(not same(before, list(search.logits.rows)))
    assert moved == [False] * 6 + [False, True, False]  # steps 8 of 2, 4, 6, 8


def test_curves_hold_the_mean_over_the_steps_that_were_taken():
    context = make_context()
    search = trainer(context, arch_every=2)
    seen = []
    taken = search._step_logits
    search._step_logits = lambda batch: seen.append(taken(batch)) or seen[-1]
    assert search.run()
    [(epoch, value)] = context.curves["search/valid_loss"]
    assert epoch == 3
    assert value == pytest.approx(float(torch.stack(seen).mean()))


def test_a_step_on_weights_trains_one_path_and_one_on_logits_no_weight():
    search = trainer(make_context())
    search.mix()
    path = search.supernet.active
    before = {n: p.detach().clone() for n, p in search.supernet.named_parameters()}
    search.mix = lambda: run_path(search.supernet, path)
    search.train_weights(search.halves.train(0, 0))
    moved = {n for n, p in search.supernet.named_parameters() if not torch.equal(p, before[n])}
    running = search.supernet.parameters_of(context_architecture(search, path))
    assert {id(p) for n, p in search.supernet.named_parameters() if n in moved} <= set(
        map(id, running)
    )
    kept = {n: t.clone() for n, t in search.supernet.state_dict().items()}
    rows = [row.detach().clone() for row in search.logits.rows]
    search._step_logits(search.halves.valid(0))
    assert all(torch.equal(t, kept[n]) for n, t in search.supernet.state_dict().items())
    assert not same(rows, list(search.logits.rows))


def context_architecture(search, path):
    return search.context.space.architecture(path)


@pytest.mark.parametrize(("gates", "most"), [("two", 2), ("all", 5)])
def test_how_many_logits_a_step_moves(gates, most):
    search = trainer(make_context(), gates=gates)
    for number in range(4):
        old = [torch.softmax(row.detach(), 0) for row in search.logits.rows]
        search._step_logits(search.halves.valid(number))
        for before, row in zip(old, search.logits.rows, strict=True):
            now = torch.softmax(row.detach(), 0)
            assert int(((now - before).abs() > 1e-6).sum()) <= most


def test_learning_rates_of_both_phases():
    search = trainer(make_context(), epochs=6, warmup_epochs=2, lr_min=0.005)
    rates = [search.rate(epoch) for epoch in range(6)]
    assert rates[:3] == pytest.approx([0.05, 0.025, 0.025])
    assert rates[4] == pytest.approx(0.015)


@pytest.mark.parametrize("gates", ["two", "all"])
def test_a_stopped_search_goes_on_bit_for_bit(gates):
    check_resuming(lambda context: trainer(context, gates=gates, reference={"macs": 1e5}), stop=7)


def test_pieces_of_a_batch_add_up():
    """Without batch norms, which see a piece at a time, the gates' gradients are the same."""
    found = []
    for pieces in (1, 2):
        search = trainer(make_context(), accumulate=pieces)
        search.supernet.eval()
        torch.manual_seed(0)
        drawn = draw_gates(search.logits, "all")
        loss = search.pieces(search.halves.valid(0), frozen=True)
        found.append(gate_gradients(search.supernet, search.logits, drawn, lambda loss=loss: loss))
    for name, gates in found[0].items():
        torch.testing.assert_close(gates, found[1][name])
    assert any(bool(gates.any()) for gates in found[0].values())


class Planted(nn.Module):
    """Only the convolution lets the two directions of stripes be told apart."""

    def __init__(self):
        super().__init__()
        convolution = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
        blur = nn.AvgPool2d(7, 1, 3, count_include_pad=False)
        self.stem = nn.Conv2d(1, 4, 1)
        self.place = OneOf("place", {"blur": blur, "convolution": convolution})
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        return self.head(self.place(self.stem(x)).mean((2, 3)))


@pytest.mark.parametrize("gates", ["two", "all"])
def test_it_finds_the_option_that_learns(gates):
    context = make_context(examples=128)
    context.space = ModuleSpace(Planted, torch.zeros(1, 1, 8, 8))
    strategy = Proxyless(
        gates=gates, epochs=14, warmup_epochs=4, batch_size=16, arch_lr=0.1, arch_every=1, lr=0.1
    )
    strategy.prepare(context)
    [candidate] = strategy.ask(4)
    assert dict(candidate.architecture) == {"place": "convolution"}
    entropy = [value for _, value in context.curves["search/entropy"]]
    assert entropy[-1] < 0.6 * math.log(2) < entropy[0]


def test_a_small_reference_makes_networks_small():
    found = []
    for reference in (None, {"macs": 1.0}):
        context = make_context()
        strategy = Proxyless(**SMALL, reference=reference, penalty_weight=10.0, gates="all")
        strategy.prepare(context)
        found.append(context.curves["search/macs"][-1][1])
    assert "search/expected_macs" in context.curves
    assert found[1] < found[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 5, "warmup_epochs": 4}, "at least 6.*got 5"),
        ({"momentum": 0.0}, "nesterov needs momentum"),
        ({"arch_betas": (0.5, 0.999)}, r"gates: two.*must begin with 0.*got \[0\.5"),
        ({"arch_weight_decay": 1e-3}, "use gates: all"),
        ({"reference": {"macs": 0.5}, "penalty": "multiply"}, "above 1"),
    ],
)
def test_options_that_contradict_each_other(options, message):
    with pytest.raises(SpecError, match=message):
        Proxyless(**options)
