"""How a decision is judged by the gradients of its options."""

from __future__ import annotations

import json

import pytest
import torch

from netloom.search.one_shot.judging import judge
from netloom.search.one_shot.matching import Matching

from .test_partition import FIVE


def matching(*batches, silent=None):
    stacked = torch.stack(batches)
    none = torch.zeros(stacked.shape[:2], dtype=torch.bool)
    return Matching("edge", tuple("abcde"[: stacked.shape[1]]), stacked, none | (silent or False))


def test_groups_and_score_of_the_worked_matrix():
    judgement = judge(matching(FIVE, FIVE, FIVE), 2)
    assert judgement.groups == [["a", "b", "e"], ["c", "d"]]
    assert judgement.cut.score == pytest.approx(0.225)
    assert judgement.agree is True
    assert judgement.error == pytest.approx(0)


def test_the_error_of_a_score_and_whether_halves_agree():
    order = [2, 3, 0, 1, 4]
    other = FIVE[order][:, order]
    judgement = judge(matching(FIVE, other, FIVE, other), 2)
    assert judgement.agree is False
    mean = (FIVE + other) / 2
    label = torch.tensor([[i in g for g in judgement.cut.groups] for i in range(5)]).int().argmax(1)
    crossing = label[:, None] != label[None, :]
    own = [float((1 - m)[crossing].mean()) for m in (FIVE, other)]
    assert judgement.cut.score == pytest.approx(float((1 - mean)[crossing].mean()))
    spread = abs(own[0] - own[1]) / 2 * (4 / 3) ** 0.5
    assert judgement.error == pytest.approx(spread / 2)


def test_one_batch_tells_nothing_of_its_error():
    judgement = judge(matching(FIVE), 2)
    assert judgement.agree is None
    found = json.loads(json.dumps(judgement.to_json(), allow_nan=False))
    assert found["errors"] is found["score_error"] is None
    assert found["distances"] == FIVE.tolist()
    assert found["silent"] == [0] * 5


def test_gradients_of_zero_are_left_out_or_counted():
    """Without a gradient `d` is 1 away from all, which would set it and its like apart."""
    matrix = torch.full((4, 4), 0.2, dtype=torch.float64)
    matrix[0, 1] = matrix[1, 0] = 0.1
    matrix[3] = matrix[:, 3] = 1.0
    quiet = Matching("edge", tuple("abcd"), matrix[None], torch.tensor([[False] * 3 + [True]]))
    counted, left = judge(quiet, 2, "counted"), judge(quiet, 2)
    assert counted.groups == left.groups == [["a", "b"], ["c", "d"]]
    assert counted.cut.score == pytest.approx((0.8 + 0.8 + 0 + 0) / 4)
    assert left.cut.score == pytest.approx((0.8 + 0.8 + 2 * (1 - 0.5 / 3)) / 4)
    assert left.to_json()["silent"] == [0, 0, 0, 1]
