"""The comparison of few-shot searches scores, ranks and counts as it says it does."""

from __future__ import annotations

import sys
from itertools import combinations
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace

import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import few_shot
import few_shot_report as tables
import ground_truth

from netloom.search.one_shot.nodes import PathTrainer
from netloom.search.one_shot.splitting import Segment
from netloom.spaces import SPACES

CELLS = ["a", "b", "c", "d"]
SEEDS = [[60.0, 61.0, 62.0], [70.0, 50.0, 66.0], [80.0, 81.0, 82.0], [40.0, 75.0, 41.0]]


def rows(cells=CELLS, seeds=SEEDS):
    return [
        {"cell": cell, "seed": str(seed), "valid_accuracy": str(value)}
        for cell, values in zip(cells, seeds, strict=True)
        for seed, value in enumerate(values)
    ]


# ---------------------------------------------------------------- scores of super-networks
class Says(nn.Module):
    """Says one class, whatever it sees."""

    def __init__(self, label):
        super().__init__()
        self.label = label

    def forward(self, x):
        return torch.eye(4)[self.label].expand(len(x), 4)


def test_a_network_is_scored_by_the_leaf_that_holds_it():
    """One leaf's weights say class 1, which 30 % of the examples have; the other's class 2."""
    space = SPACES.get("nb201")(channels=4, cells=1)
    edge, options = space.decisions[0].name, space.decisions[0].options
    leaves = {
        "0": (SimpleNamespace(calibrated=lambda *_: Says(1)), {edge: options[:2]}),
        "1": (SimpleNamespace(calibrated=lambda *_: Says(2)), {edge: options[2:]}),
    }
    y = torch.tensor([1] * 3 + [2] * 6 + [3])
    data = SimpleNamespace(
        split=lambda name: {"valid": SimpleNamespace(x=torch.zeros(10, 1), y=y)}[name],
        inputs=SimpleNamespace(apply=lambda x: x),
        targets=None,
    )
    base = {d.name: d.options[1] for d in space.decisions}
    networks = [space.architecture({**base, edge: option}) for option in options]
    scores, held_by = few_shot.scored(networks, leaves, [], data)
    assert held_by == ["0", "0", "1", "1", "1"]
    assert scores == pytest.approx([30, 30, 60, 60, 60])
    with pytest.raises(ValueError, match="unpack"):
        few_shot.scored(networks, {"0": leaves["0"]}, [], data)


@pytest.mark.full
def test_a_leaf_of_one_network_scores_what_the_network_reaches_alone():
    """One of the worst cells and the best, trained for as many epochs as alone.

    Seeds of a network are 4.2 points apart: a training is within 9.7 of the mean of three, twice
    the deviation of their difference.
    """
    space, training = ground_truth.task()
    truth = tables.Truth(ground_truth.known())
    cells = sorted(truth.means, key=truth.means.__getitem__)
    strategy = few_shot.GmFewshot(**few_shot.RECIPE_OF_SEARCH, **few_shot.TWICE)
    scores = []
    for cell in (cells[1], cells[-1]):
        network = space.parse(cell)
        masks = {name: (option,) for name, option in network.items()}
        segment = Segment(0, 11, 11, fresh=True, frozen=False)
        context = few_shot.MemoryContext(space, (), data=training.data)
        leaf = PathTrainer(
            strategy._recipe(), context, 100, "leaf", masks=masks, segment=segment, nesterov=True
        )
        leaf.run()
        inputs = [leaf.halves.train(0, i).x for i in range(few_shot.CALIBRATION)]
        (score,), _ = few_shot.scored([network], {"": (leaf.supernet, masks)}, inputs, leaf.data)
        assert score == pytest.approx(truth.accuracy(cell), abs=9.7)
        scores.append(score)
    assert scores[1] > scores[0] + 9.7


def test_all_methods_train_equally_many_epochs():
    for options in few_shot.METHODS.values():
        schedule = few_shot.GmFewshot(**few_shot.RECIPE_OF_SEARCH, **options)._schedule
        total, nodes = 0, 1
        for level, groups in enumerate([*options["groups"], 1]):
            segment = schedule.segment(level)
            total += nodes * (segment.last - segment.first)
            nodes *= groups
        first = schedule.segment(0)
        whole = first.last - first.first == few_shot.EPOCHS  # one-shot: the root, and no leaf
        assert whole or total == few_shot.EPOCHS
        leaves = 1 if whole else nodes
        assert few_shot.PATHS % leaves == 0
    assert {few_shot.LEAVES.get(m, 4) for m in few_shot.METHODS} == {1, 4, 5}


# ---------------------------------------------------------------- ranking
def test_agreement():
    assert tables.agreement([1, 2, 3, 4], [10, 20, 30, 40]) == pytest.approx((1, 1))
    assert tables.agreement([4, 3, 2, 1], [10, 20, 30, 40]) == pytest.approx((-1, -1))
    # one swap of neighbours: 1 - 6 * 2 / (4 * 15), and 5 pairs of 6 in order
    assert tables.agreement([1, 3, 2, 4], [10, 20, 30, 40]) == pytest.approx((0.8, 4 / 6))


def test_ranks_and_regrets():
    truth = tables.Truth(rows(), rows(["new"], [[90.0, 80.0, 85.0]]))
    assert truth.means == pytest.approx({"a": 61, "b": 62, "c": 81, "d": 52})
    assert [truth.rank(truth.accuracy(cell)) for cell in [*CELLS, "new"]] == [3, 2, 1, 4, 1]
    assert [truth.regret(truth.accuracy(cell)) for cell in ("c", "d", "new")] == [0, 29, -4]
    assert not truth.holds("other")


def test_a_cell_without_all_its_trainings_does_not_count():
    assert not tables.Truth(rows(), rows(["new"], [[90.0, 80.0]])).holds("new")


def test_the_ceiling_of_noisy_means():
    """Three seeds that agree leave no noise; with r = 1/2 it is sqrt(1.5 / 2)."""
    assert ground_truth.ceiling([[1, 2, 3]] * 3) == pytest.approx((1, 1, 1))
    r, _, most = ground_truth.ceiling([[1, 2, 3], [1, 3, 2], [2, 1, 3]])
    assert r == pytest.approx((0.5 + 0.5 - 0.5) / 3)
    assert most == pytest.approx((3 * r / (1 + 2 * r)) ** 0.5)


# ---------------------------------------------------------------- random search
@pytest.mark.parametrize("draws", [1, 2, 3, 4])
def test_what_random_search_is_expected_to_find(draws):
    first, then = [60.0, 70.0, 80.0, 40.0], [61.5, 58.0, 81.5, 58.0]
    drawn = [then[max(picks, key=lambda i: first[i])] for picks in combinations(range(4), draws)]
    assert tables.expected_best(first, then, draws) == pytest.approx(fmean(drawn))


def test_random_search_is_judged_by_other_trainings_than_it_chose_by():
    """All four are drawn, so each seed takes its best one: c, c, c; of 81.5, 81 and 80.5."""
    truth = tables.Truth(rows())
    assert truth.random_search(4) == pytest.approx({"accuracy": 81, "rank": 1, "regret": 0})
    # of one network drawn, the mean of all: 64, and the mean of four ranks
    assert truth.random_search(1)["accuracy"] == pytest.approx(fmean(map(fmean, SEEDS)))


def test_a_training_alone_costs_its_epochs_and_its_validation():
    assert tables.images_alone() == pytest.approx(10 * 1200 + 1600 / 3)
    assert tables.affordable(25_100) == 2
    assert tables.affordable(25_000) == 1


# ---------------------------------------------------------------- differences
def test_differences_are_paired():
    assert tables.paired([1.0, 1.0, 1.0]) == "+1.000, 3 of 3"
    text = tables.paired([1.0, 2.0, 3.0, 4.0, 5.0])
    assert text.startswith("+3.000 [+1.")
    assert text.endswith("], 5 of 5 (p 0.06)")  # 2 / 2^5


def test_the_report_shows_every_finished_search():
    """One method ranks as the truth does, the other the other way round."""
    cells = [SPACES.get("nb201")().format(a) for a in ground_truth.cells(SPACES.get("nb201")())]
    cells = cells[:4]
    truth = rows(cells)
    images = {"training": 30_000, "matching": 0, "choosing": 0}
    lines = [
        {
            "method": method,
            "seed": seed,
            "derived": cells[seed],
            "scores": scores,
            "leaves": ["0", "0", "1", "1"],
            "images": images,
            "splits": {},
        }
        for method, scores in (("one-shot", [2, 3, 4, 1]), ("random split", [3, 2, 1, 4]))
        for seed in range(2)
    ]
    text = tables.report(lines, truth, [])
    assert "| one-shot | 1.000 ± 0.000 | 1.000 ± 0.000 |" in text
    assert "| random split | -1.000 ± 0.000 | -1.000 ± 0.000 |" in text
    assert "| one-shot | 61.5 ± 0.7 | 2.5 (3, 2) | 19.5 ± 0.7 |" in text
    assert "random search, 2 networks" in text
    assert "| 81.0 ± 0.0 | 30 |" in text  # the first of the leaves: b and c
    assert "| 61.0 ± 0.0 | 30 |" in text  # a and d
    assert "| random split | -2.000, 0 of 2 | -2.000, 0 of 2 | +0.0, 0 of 2 |" in text


# ---------------------------------------------------------------- trainings alone
def test_a_file_of_trainings_is_continued(tmp_path, monkeypatch):
    trained = []

    def evaluate(architecture, seed):
        trained.append(seed)
        return {"valid_accuracy": 50.0 + seed, "valid_loss": 1.0}

    space = ground_truth.task()[0]
    monkeypatch.setattr(ground_truth, "task", lambda: (space, SimpleNamespace(evaluate=evaluate)))
    path, networks = tmp_path / "alone.csv", ground_truth.cells(space)[:2]
    for some in ([], networks[:1], networks):
        ground_truth.train_alone(some, path)
    assert trained == [0, 1, 2, 0, 1, 2]
    found = ground_truth.accuracies(ground_truth.known(path))
    assert found == {space.format(a): [50, 51, 52] for a in networks}
