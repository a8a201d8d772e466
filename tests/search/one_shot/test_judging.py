"""How a decision is judged by the gradients of its options."""

from __future__ import annotations

import json

import pytest
import torch

from netloom.errors import SpecError
from netloom.search.one_shot.judging import judge, settled
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


def shifted(score, spread):
    """Two groups of two, whose similarity is `score` on average and off by `spread` in turns."""
    batches = []
    for number in range(8):
        matrix = torch.full((4, 4), 1 - score - spread * (-1) ** (number // 2), dtype=torch.float64)
        matrix[0, 1] = matrix[1, 0] = matrix[2, 3] = matrix[3, 2] = 0.1
        batches.append(matrix)
    return judge(matching(*batches), 2)


def test_a_lead_is_clear_in_standard_errors_of_the_difference():
    """A lead of 0.1 on 8 batches that differ by 0.05 in turns: standard error 0.0189."""
    best, other = shifted(0.2, 0.05), shifted(0.3, 0.0)
    assert settled([other, best], 5.2)
    assert not settled([other, best], 5.4)
    same_noise = shifted(0.3, 0.05)  # on the same batches it does not count
    assert settled([best, same_noise], 100)
    assert settled([best], 3)
    assert not settled([], 3)


def test_groups_that_differ_between_halves_are_not_clear():
    order = [2, 3, 0, 1, 4]
    wavering = judge(matching(*[FIVE, FIVE[order][:, order]] * 4), 2)
    assert wavering.agree is False
    assert not settled([wavering], 0.0)


def test_more_options_where_they_are_allowed():
    matrix = torch.full((9, 9), 0.9, dtype=torch.float64)
    for group in ([0, 2, 4, 6], [1, 3, 5, 7, 8]):
        for i in group:
            matrix[i, group] = 0.1
    wide = Matching("edge", tuple("abcdefghi"), matrix[None], torch.zeros(1, 9, dtype=torch.bool))
    with pytest.raises(SpecError, match=r"at most 8 options.*got 9"):
        judge(wide, 2)
    assert judge(wide, 2, most=9).groups == [list("aceg"), list("bdfhi")]
