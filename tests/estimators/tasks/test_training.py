"""The estimator `training` on several tasks: a plain network with three heads learns `shapes`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from netloom.errors import EvaluationError, MissingDependency, SpecError
from netloom.estimators import Training, loop
from netloom.estimators.data.labels import ABSENT, IGNORED, TASKS
from netloom.estimators.data.shapes import Shapes
from netloom.estimators.network import built
from netloom.estimators.tasks import several
from netloom.estimators.testing import EstimatorContract

ALL = list(TASKS)


def shapes(**options):
    given = {"classes": 3, "resolution": 32, "difficulty": 1, "examples": 60, "tasks": ALL}
    return Shapes(**{**given, **options})


class Nameless(Shapes):
    """The training split says nothing of one task."""

    def __init__(self, task, tasks=ALL):
        super().__init__(classes=3, resolution=32, difficulty=1, examples=60, tasks=tasks)
        self.task = task

    def load(self):
        splits = super().load()
        labels = splits.train.labels
        if self.task == "detection":
            labels[self.task].known[:] = False
            labels[self.task].classes[:] = ABSENT
        else:
            labels[self.task][:] = ABSENT if self.task == "classification" else IGNORED
        return splits


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[3] / "examples")


def space(data, **options):
    from multi_task import Heads

    return Heads(**{**data.space_options, **data.space_defaults, **options})


def training(data, **options):
    given = {"epochs": 1, "batch_size": 20, "optimizer": "adamw", "lr": 0.01, "threads": 1}
    return Training(space(data), data, **{**given, **options})


SMALL = {"width": 12, "kernel": 3, "blocks": 1}


def evaluate(data, seed=1, **options):
    estimator = training(data, **options)
    values = estimator.evaluate(estimator.space.architecture(SMALL), seed=seed)
    return values, estimator


class TestTrainingOfThreeTasks(EstimatorContract):
    architectures = 2

    def make(self):
        return training(shapes())

    def variants(self):
        return [training(shapes(tasks=ALL[:2])), training(shapes(missing=0.5))]


# --------------------------------------------------------------------------- learning
def test_a_plain_network_learns_all_three_tasks():
    """Chance: 33 % of the classes, mIoU below 25 % (all background), AP near 0."""
    values, estimator = evaluate(shapes(examples=300), epochs=8)
    assert values["valid_accuracy"] > 80
    assert values["valid_miou"] > 55
    assert values["valid_map"] > 20
    architecture = estimator.space.architecture(SMALL)
    tested = estimator.test(architecture, seed=1, weights=estimator.trained_weights())
    assert set(tested) == {"test_accuracy", "test_map", "test_miou"}
    assert tested["test_miou"] == pytest.approx(values["valid_miou"], abs=15)


def test_nothing_is_learnt_in_no_step():
    """The same network before training: what the test above calls chance."""
    data = shapes(examples=300)
    estimator = training(data)
    network = built(estimator.space, estimator.space.architecture(SMALL), seed=1)
    prepared = loop.prepared(data, torch.device("cpu"), tasks=True)
    scores = loop.score(network, prepared, estimator, "valid")
    assert scores["accuracy"] < 50
    assert scores["miou"] < 30
    assert scores["map"] < 5


@pytest.mark.parametrize("task", ALL)
def test_a_single_task_has_its_own_metric(task):
    name = {"classification": "accuracy", "detection": "map", "segmentation": "miou"}[task]
    values, estimator = evaluate(shapes(tasks=[task]))
    assert set(values) == {f"valid_{name}"}
    assert [m.name for m in estimator.metrics] == [f"valid_{name}", f"test_{name}"]
    assert all(m.unit == "%" and m.direction == "maximize" for m in estimator.metrics)


# --------------------------------------------------------------------------- missing labels
@pytest.mark.parametrize("task", ALL)
def test_a_task_of_which_nothing_is_known_leaves_its_head_as_it_was(task):
    """Weights, and moments of the optimizer: nothing moves them, no decay either."""
    data = Nameless(task)
    _, estimator = evaluate(data, epochs=2, weight_decay=0.1)
    start = built(estimator.space, estimator.space.architecture(SMALL), seed=1).state_dict()
    trained = estimator.trained_weights()
    moved = {
        name.split(".")[1]
        for name, value in start.items()
        if name.startswith("heads.")
        and "running" not in name  # the head's norms see every image
        and "num_batches" not in name
        and not torch.equal(value, trained[name])
    }
    assert moved == set(ALL) - {task}


def test_a_batch_of_which_nothing_is_known_is_passed_over():
    data = Nameless("classification", tasks=["classification"])
    _, estimator = evaluate(data, epochs=1)
    start = built(estimator.space, estimator.space.architecture(SMALL), seed=1).state_dict()
    trained = estimator.trained_weights()
    assert all(torch.equal(v, trained[n]) for n, v in start.items() if n.endswith("weight"))


# --------------------------------------------------------------------------- augmentation
def test_augmentation_takes_the_labels_along(monkeypatch):
    """What a step sees: every mask lies where its shape does."""
    seen = []
    original = several.loss_of
    monkeypatch.setattr(
        several, "loss_of", lambda o, t, s, p: (seen.append(t), original(o, t, s, p))[1]
    )
    images = []
    data = shapes()
    estimator = training(data, augment=["crop", "flip"], crop_padding=6)
    network = built(estimator.space, estimator.space.architecture(SMALL), seed=1)
    network.register_forward_pre_hook(lambda _, x: images.append(x[0]))
    prepared = loop.prepared(data, torch.device("cpu"), tasks=True)
    loop.fit(network, prepared, estimator, epochs=1, seed=0, after_epoch=lambda *_: None)
    for x, targets in zip(images, seen, strict=True):
        masks = targets["segmentation"]
        assert (masks == IGNORED).any()
        for image, mask in zip(x[:, 0], masks, strict=True):
            inside, outside = image[(mask > 0) & (mask != IGNORED)], image[mask == 0]
            assert (inside.mean() - outside.mean()).abs() > 3 * outside.std() / len(inside) ** 0.5
            assert (inside.median() - outside.median()).abs() > outside.std()


# --------------------------------------------------------------------------- what is refused
def test_options_and_data_that_do_not_go_together():
    with pytest.raises(SpecError, match="no mixup"):
        training(shapes(), augment=["mixup"])
    with pytest.raises(SpecError, match="classification, detection, segmentation; leave out its"):
        loop.prepared(shapes(), torch.device("cpu"))
    data = shapes()
    data.tasks = ("classification", "depth")
    with pytest.raises(SpecError, match=r"tasks are any of .*, got depth"):
        training(data)


def test_detection_needs_pycocotools_and_says_so_at_once(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    training(shapes(tasks=["classification", "segmentation"]))
    with pytest.raises(MissingDependency, match=r"netloom\[detection\]"):
        training(shapes(tasks=["detection"]))


N, SIZE = 2, (32, 32)
GOOD = {
    "classification": torch.zeros(N, 3),
    "segmentation": torch.zeros(N, 4, 8, 8),
    "detection": [(torch.zeros(N, 3, 4, 4), torch.zeros(N, 4, 4, 4))],
}
CLASSES = {"classification": 3, "detection": 3, "segmentation": 4}


def test_outputs_are_taken_as_they_are():
    assert set(several.checked(GOOD, CLASSES, N, SIZE)) == set(ALL)
    alone = several.checked(GOOD["classification"], {"classification": 3}, N, SIZE)
    assert alone["classification"] is GOOD["classification"]


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda o: torch.zeros(N, 3), "outputs of classification, detection, .* got Tensor"),
        (lambda o: {"detection": o["detection"]}, r"got \['detection'\]; set .* option tasks"),
        (lambda o: {**o, "depth": 0}, "'depth'"),
        (lambda o: {**o, "classification": torch.zeros(N, 4)}, r"\(2, 3\), got \(2, 4\)"),
        (lambda o: {**o, "segmentation": torch.zeros(N, 3, 8, 8)}, r"\(2, 4, any, any\), got"),
        (lambda o: {**o, "segmentation": torch.zeros(N, 4, 64, 8)}, "larger than the images"),
        (lambda o: {**o, "segmentation": None}, "got NoneType"),
        (lambda o: {**o, "detection": []}, "for each stride, got list"),
        (lambda o: {**o, "detection": [torch.zeros(N, 3, 4, 4)]}, "a heat map and boxes"),
        (
            lambda o: {**o, "detection": [(torch.zeros(N, 3, 4, 4), torch.zeros(N, 4, 4, 5))]},
            r"\(2, 4, 4, 4\), got \(2, 4, 4, 5\)",
        ),
    ],
)
def test_outputs_that_are_none_are_refused(change, rule):
    with pytest.raises(EvaluationError, match=rule):
        several.checked(change(GOOD), CLASSES, N, SIZE)


def test_the_losses_add_up():
    data = shapes()
    labels = several.tensors(data.splits().train.labels, torch.device("cpu"))
    targets = several.batch(labels, torch.arange(N))
    assert targets["segmentation"].dtype == torch.int64
    whole = several.loss_of(GOOD, targets, SIZE, 0.1)
    parts = [several.loss_of({t: GOOD[t]}, targets, SIZE, 0.1) for t in ALL]
    assert torch.isclose(whole, sum(parts))
    assert np.isclose(parts[0].item(), np.log(3))
    assert np.isclose(parts[2].item(), np.log(4))
