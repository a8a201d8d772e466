"""FBNetV5's networks and what several tasks are trained with: shapes of outputs, losses, labels."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from netloom.errors import SpecError
from netloom.estimators import Training
from netloom.estimators.data.digits import Digits
from netloom.estimators.data.labels import TASKS
from netloom.estimators.data.shapes import Shapes
from netloom.estimators.tasks import several
from netloom.spaces import Architecture
from netloom.spaces.zoo.fbnetv5 import FBNetV5


def shapes(**options: Any) -> Shapes:
    given = {"classes": 3, "resolution": 32, "channels": 3, "difficulty": 1, "examples": 150}
    return Shapes(**{**given, "tasks": list(TASKS), **options})


def space(data: Shapes, **options: Any) -> FBNetV5:
    return FBNetV5(preset="tiny", **{**data.space_options, **data.space_defaults, **options})


def everything(made: FBNetV5) -> Architecture:
    return made.architecture({decision.name: 1 for decision in made.decisions})


def test_the_classes_of_the_tasks_are_those_of_the_data_set() -> None:
    """A pixel may be background, too."""
    made = space(shapes())
    assert [(t.name, t.classes, t.label) for t in made.members] == [
        ("classification", 3, "classification"),
        ("detection", 3, "detection"),
        ("segmentation", 4, "segmentation"),
    ]


@pytest.mark.parametrize("masks", ["one", pytest.param("each", marks=pytest.mark.full)])
def test_a_network_learns_three_tasks(masks: str) -> None:
    pytest.importorskip("pycocotools", reason="the metric of boxes needs it")
    data = shapes()
    made = space(data, masks=masks)
    recipe = {"optimizer": "adamw", "lr": 0.01, "threads": 1, "batch_size": 15}
    before, after = (
        Training(made, data, epochs=epochs, **recipe).evaluate(everything(made), seed=1)
        for epochs in (1, 8)
    )
    assert set(after) == {"valid_accuracy", "valid_map", "valid_miou"}
    assert after["valid_accuracy"] > 55  # 33 by chance
    assert after["valid_miou"] > before["valid_miou"] + 10


@pytest.mark.parametrize("task", TASKS)
def test_labels_that_are_missing_do_not_change_a_head(task: str) -> None:
    """A batch without boxes has no gradient for the head of detection, and one for the others."""
    data = shapes(missing=0.0)
    made = space(data)
    torch.manual_seed(0)
    network = made.build(everything(made))
    split = data.splits().train
    labels = several.tensors(split.labels, torch.device("cpu"))
    targets = several.batch(labels, torch.arange(8))
    if task == "detection":
        targets[task].known[:] = False
    else:
        targets[task][:] = -1 if task == "classification" else 255
    x = torch.from_numpy(split.x[:8]).float() / 255
    outputs = several.checked(network(x), data.task_classes, 8, (32, 32))
    several.loss_of(outputs, targets, (32, 32), 0.1).backward()
    for name, head in network.heads.tasks.items():
        moved = any(p.grad is not None and bool(p.grad.any()) for p in head.parameters())
        assert moved == (name != task), name


def test_training_on_one_answer_refuses_networks_of_several() -> None:
    data = Digits()
    options = {"channels_list": [8, 8], "entries": ["k3_e2"] * 2, "operators": ["k3_e2"] * 2}
    made = {"blocks": [1, 1], "stem_stride": 1, **options, **data.space_options}
    with pytest.raises(SpecError, match="answer the tasks classification, detection, segmentation"):
        Training(FBNetV5(preset="tiny", **made), data)
    one = FBNetV5(preset="tiny", tasks=["classification"], **made)
    values = Training(one, data, epochs=3, threads=1).evaluate(everything(one), seed=0)
    assert values["valid_accuracy"] > 50
