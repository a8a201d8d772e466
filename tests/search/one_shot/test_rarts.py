"""RARTS against the model that can be solved by hand, and as a strategy."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from netloom.errors import SpecError
from netloom.search.one_shot.relaxed import Relaxed, RelaxedTrainer
from netloom.search.strategies.rarts import Rarts

from .stripes import check_resuming, make_context, same


class Toy:
    """L_val = alpha y - 2 alpha + 1, L_train = w^2 - 2 alpha w + alpha^2."""

    def __init__(self, train_weight, coupling, mode="strict", y=0.0, alpha=2.0, w=-2.0):
        values = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (alpha, w, y)]
        self.alpha, self.w, self.y = values
        self.passes = 0
        self.problem = Relaxed([self.w], [self.y], [self.alpha], train_weight, coupling, mode)

    def train(self):
        self.passes += 1
        return self.w**2 - 2 * self.alpha * self.w + self.alpha**2

    def valid(self):
        self.passes += 1
        return self.alpha * self.y - 2 * self.alpha + 1

    def run(self, steps, rate=0.01):
        def mover(tensor):
            def move(gradients):
                tensor.data -= rate * gradients[0]

            return move

        values = []
        moves = [mover(t) for t in (self.w, self.y, self.alpha)]
        for _ in range(steps):
            losses = self.problem.step(self.train, self.valid, *moves)
            values.append(losses)
        return values

    @property
    def place(self):
        return [t.item() for t in (self.alpha, self.w, self.y)]


def fixed_point(lam, beta):
    alpha = 2 / (2 - 1 / (2 * lam) - 1 / beta)
    return [alpha, alpha * (1 - 1 / (2 * lam)), 2 - alpha]


@pytest.mark.parametrize("mode", ["strict", "fused"])
@pytest.mark.parametrize(("lam", "beta"), [(10, 10), (5, 20), (20, 5), (1, 1.5)])
def test_it_converges_to_the_known_point(lam, beta, mode):
    toy = Toy(lam, beta, mode)
    toy.run(1100, rate=0.02)
    assert toy.place == pytest.approx(fixed_point(lam, beta), abs=1e-5)


def test_the_values_of_the_sheet():
    toy = Toy(10, 10)
    toy.run(919)
    wanted = [1.08108, 1.02703, 0.91892]
    assert fixed_point(10, 10) == pytest.approx(wanted, abs=1e-5)
    assert toy.place == pytest.approx(wanted, abs=2e-3)
    toy.run(30)
    assert toy.place == pytest.approx(wanted, abs=1e-3)
    assert fixed_point(1e6, 1e6) == pytest.approx([1, 1, 1], abs=1e-5)


def test_it_diverges_where_the_loss_has_no_minimum():
    """Convex, hence convergent, if and only if 4 lambda beta > 2 lambda + beta."""
    toy = Toy(0.5, 0.5)
    toy.run(2000, rate=0.1)
    assert max(map(abs, toy.place)) > 1e3


@pytest.mark.parametrize(("mode", "passes"), [("strict", 4), ("fused", 2)])
def test_passes_of_an_iteration(mode, passes):
    toy = Toy(1, 1, mode)
    toy.run(1)
    assert toy.passes == passes
    search = trainer(make_context(), mode=mode)
    calls = []
    search.supernet.register_forward_hook(lambda *_: calls.append("w"))
    search.twin.register_forward_hook(lambda *_: calls.append("y"))
    search._take_step()
    assert len(calls) == passes
    assert calls.count("w") == calls.count("y")


def test_the_loss_never_rises_on_a_convex_problem_with_small_steps():
    toy = Toy(10, 10)
    values = []
    for _ in range(100):
        before = (toy.train().detach(), toy.valid().detach())
        values.append(float(toy.problem.value(*before)))
        toy.run(1, rate=0.005)
    assert all(b <= a + 1e-12 for a, b in itertools.pairwise(values))


def test_a_strong_coupling_ties_the_copies():
    loose, tight = Toy(5, 1), Toy(5, 20)
    for toy in (loose, tight):
        toy.run(800, rate=0.02)
    assert float(tight.problem.distance()) < 0.1 * float(loose.problem.distance())


def test_weight_one_and_a_strong_coupling_train_on_all_data():
    """One w for both losses: w^2 + alpha^2 - alpha w - 2 alpha + 1 is least at (4/3, 2/3, 2/3)."""
    toy = Toy(1, 40)
    toy.run(1100, rate=0.02)
    assert toy.place == pytest.approx(fixed_point(1, 40), abs=1e-5)
    assert toy.place == pytest.approx([4 / 3, 2 / 3, 2 / 3], abs=1 / 40)
    assert fixed_point(1, 1e6) == pytest.approx([4 / 3, 2 / 3, 2 / 3], abs=1e-5)


def test_without_weight_and_coupling_only_the_validation_half_is_seen():
    toy = Toy(0, 0)
    alpha, w, y = toy.place
    toy.run(1)
    assert toy.place == pytest.approx(
        [alpha - 0.01 * (y - 0.01 * alpha - 2), w, y - 0.01 * alpha], abs=1e-12
    )


def test_the_architecture_reacts_to_both_halves():
    moved = []
    for lam in (0.0, 1.0):
        toy = Toy(lam, 0.0, "fused", y=0.5)
        toy.run(1)
        moved.append(toy.place[0])
    assert moved[0] != moved[1]
    y_alone = 2.0 - 0.01 * (0.5 - 2)
    assert moved[0] == pytest.approx(y_alone)


# ---------------------------------------------------------------- on a super-network
def trainer(context, **options):
    recipe = Rarts(**{"epochs": 2, "batch_size": 8, "arch_lr": 0.05, **options})
    return RelaxedTrainer(recipe, context, 7, "search")


def test_the_copies_start_alike_and_part():
    search = trainer(make_context())
    assert float(search.problem.distance()) == 0.0
    norms = [m for m in search.supernet.modules() if hasattr(m, "running_mean")]
    twins = [m for m in search.twin.modules() if hasattr(m, "running_mean")]
    search._take_step()
    assert float(search.problem.distance()) > 0
    assert not torch.equal(norms[0].running_mean, twins[0].running_mean)
    assert int(norms[0].num_batches_tracked) == int(twins[0].num_batches_tracked) == 1


def test_curves_hold_the_loss_and_the_distance():
    context = make_context()
    strategy = Rarts(epochs=2, batch_size=8, mode="fused")
    strategy.prepare(context)
    assert len(strategy.ask(3)) == 1
    for name in ("train_loss", "valid_loss", "relaxed_loss", "distance", "entropy"):
        values = [v for _, v in context.curves[f"search/{name}"]]
        assert len(values) == 2
        assert all(map(math.isfinite, values))


def test_a_stopped_search_goes_on_bit_for_bit():
    check_resuming(trainer, stop=4)


def test_warm_up_leaves_the_logits():
    search = trainer(make_context(), warmup_epochs=1)
    rows = [r.detach().clone() for r in search.logits.rows]
    search._take_step()
    assert same(rows, list(search.logits.rows))
    assert float(search.problem.distance()) > 0


def test_a_coupling_that_overshoots_is_refused():
    with pytest.raises(SpecError, match=r"coupling times lr must be below 1, got 50 x 0\.025"):
        Rarts(coupling=50)
