"""The solvable example ends where the closed form says."""

from __future__ import annotations

import pytest


def test_the_front_is_that_of_the_closed_form(shell):
    from .conftest import EXAMPLES

    shell("search", str(EXAMPLES / "rarts_toy.yaml"), "--quiet")
    front = shell.json("pareto", "rarts-toy", "--format", "json")["front"]
    for entry in front:
        lam, beta = entry["architecture"]["lambda"], entry["architecture"]["beta"]
        alpha = 2 / (2 - 1 / (2 * lam) - 1 / beta)
        assert entry["metrics"]["error"] == pytest.approx(abs(alpha - 1), abs=4e-3)
    chosen = {(e["architecture"]["lambda"], e["architecture"]["beta"]) for e in front}
    assert {(1, 1), (20, 20)} <= chosen
