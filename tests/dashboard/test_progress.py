"""The running hypervolume against the plain one."""

from __future__ import annotations

import numpy as np
import pytest

from netloom.dashboard import progress
from netloom.dashboard.progress import best_so_far, covered, entering, hypervolume_so_far
from netloom.pareto import hypervolume


def losses_of(seed: int, objectives: int, rows: int = 120) -> np.ndarray:
    rng = np.random.default_rng(seed)
    losses = rng.integers(0, 12, size=(rows, objectives)).astype(float)  # ties and repeats
    losses[rng.random(rows) < 0.2] = np.nan
    return losses


def plain(losses: np.ndarray, reference: np.ndarray) -> list[float]:
    known = [losses[: n + 1][~np.isnan(losses[: n + 1]).any(axis=1)] for n in range(len(losses))]
    return [hypervolume(rows, reference) if len(rows) else 0.0 for rows in known]


@pytest.mark.parametrize("objectives", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(4))
def test_it_equals_the_volume_of_every_head(seed, objectives):
    losses, reference = losses_of(seed, objectives), np.full(objectives, 10.5)
    assert hypervolume_so_far(losses, reference) == pytest.approx(plain(losses, reference))


def test_points_at_or_beyond_the_reference_add_nothing():
    losses = np.array([[10.0, 1.0], [1.0, 12.0], [np.nan, 0.0], [9.0, 9.0]])
    assert hypervolume_so_far(losses, np.array([10.0, 10.0])).tolist() == [0, 0, 0, 1]


def test_many_improvements_are_sampled_and_the_last_is_exact(monkeypatch):
    monkeypatch.setattr(progress, "MAX_EVALUATIONS", 5)
    losses = np.stack([np.linspace(9, 1, 60)] * 3, axis=1)  # each point dominates the last
    grown = hypervolume_so_far(losses, np.full(3, 10.0))
    assert len(np.unique(grown)) == 5
    assert grown[-1] == pytest.approx(9.0**3)
    assert (np.diff(grown) >= 0).all()


def test_entering_rows_across_chunks(monkeypatch):
    monkeypatch.setattr(progress, "CHUNK", 2)
    losses = np.array([[2.0, 2], [2, 2], [3, 1], [3, 3], [1, 3], [1, 1], [0, 9]])
    assert entering(losses, np.arange(7)) == [0, 2, 4, 5, 6]


def test_best_so_far_waits_for_the_first_value():
    best = best_so_far(np.array([[np.nan], [3.0], [np.nan], [4.0], [1.0]]))
    assert np.isnan(best[0, 0])
    assert best[1:, 0].tolist() == [3, 3, 3, 1]


def test_no_rows():
    for objectives in (1, 2, 3):
        assert len(hypervolume_so_far(np.empty((0, objectives)), np.ones(objectives))) == 0


@pytest.mark.parametrize("columns", [1, 2, 3, 5])
def test_what_a_front_covers(columns):
    rng = np.random.default_rng(columns)
    values, front = rng.integers(0, 6, (200, columns)), rng.integers(1, 6, (9, columns))
    by_hand = [any(np.all(point <= row) for point in front) for row in values]
    assert covered(values.astype(float), front.astype(float)).tolist() == by_hand
    assert 0 < sum(by_hand) < 200
    assert not covered(values.astype(float), np.empty((0, columns))).any()
