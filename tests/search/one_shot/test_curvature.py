"""The largest eigenvalue, and when it says stop."""

from __future__ import annotations

import pytest
import torch

from netloom.search.one_shot.bilevel import BilevelTrainer
from netloom.search.one_shot.curvature import epoch_to_return_to, largest_eigenvalue
from netloom.search.strategies.darts import Darts

from .stripes import make_context


def test_the_largest_eigenvalue_of_a_quadratic_form():
    a = torch.tensor([[2.0, 1.0, 0.0], [1.0, 2.0, 0.0], [0.0, 0.0, 0.5]], dtype=torch.float64)
    rows = [torch.randn(2).double().requires_grad_(), torch.randn(1).double().requires_grad_()]
    x = torch.cat(rows)
    assert largest_eigenvalue(0.5 * x @ a @ x, rows) == pytest.approx(3.0)
    x = torch.cat(rows)
    assert largest_eigenvalue(0.5 * x @ a @ x, rows, decay=0.25) == pytest.approx(3.25)
    assert largest_eigenvalue(rows[0].sum(), rows) == 0.0


def stop(series):
    """Return (epoch of the stop, epoch that is gone back to)."""
    for epoch in range(len(series)):
        if (place := epoch_to_return_to(series[: epoch + 1])) is not None:
            return epoch, place
    return None


def test_when_to_stop():
    assert stop([0.1] * 100) is None
    assert stop([0.1 * 1.08**e for e in range(50)]) == (16, 10)
    late = [0.1] * 30 + [0.1 * 1.2**e for e in range(1, 20)]
    found = stop(late)
    assert found is not None
    assert found[0] - found[1] == 6
    assert found[0] > 30


def test_a_search_goes_back_to_the_epoch_that_the_curvature_says(monkeypatch):
    import netloom.search.one_shot.bilevel as bilevel

    context = make_context()
    recipe = Darts(epochs=30, batch_size=24, arch_lr=0.3, early_stop=True)
    search = BilevelTrainer(recipe, context, 7, "search")
    rising = iter([0.1 * 1.08**e for e in range(30)])
    monkeypatch.setattr(bilevel, "largest_eigenvalue", lambda *_: next(rising))
    assert search.run()
    assert len(search.epochs) == 11  # the last one is that of epoch 10
    assert len(context.curves["search/max_eigenvalue"]) == 17


def test_the_eigenvalue_of_a_search_is_a_curve():
    context = make_context()
    recipe = Darts(epochs=1, batch_size=24, early_stop=True)
    search = BilevelTrainer(recipe, context, 7, "search")
    search.run()
    [(step, value)] = context.curves["search/max_eigenvalue"]
    assert step == 1
    assert value > 0
    saved = context.restore("search")
    second = BilevelTrainer(recipe, make_context(), 7, "search")
    second.load(saved)
    assert second._eigenvalues.values == [value]
