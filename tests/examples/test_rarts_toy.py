"""The solvable example ends where the closed form says."""

from __future__ import annotations

import pytest

from .conftest import EXAMPLES


@pytest.mark.parametrize(("lam", "beta"), [(1, 1), (5, 20), (20, 5), (20, 20)])
def test_it_ends_where_the_closed_form_says(lam, beta, monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    from rarts_toy import Couplings, solve

    found = solve(Couplings().architecture({"lambda": lam, "beta": beta}))
    alpha = 2 / (2 - 1 / (2 * lam) - 1 / beta)
    assert found["error"] == pytest.approx(abs(alpha - 1), abs=4e-3)
    assert found["strength"] == lam + beta
