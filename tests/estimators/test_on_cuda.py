"""Training on a GPU: chosen by itself, repeatable, and as good as on a CPU."""

from __future__ import annotations

import pytest

from netloom.estimators import Training
from netloom.estimators.data.digits import Digits
from netloom.estimators.data.labels import TASKS
from netloom.estimators.data.shapes import Shapes
from netloom.estimators.loop import pick_device
from netloom.spaces.zoo.fbnetv5 import FBNetV5
from netloom.spaces.zoo.nb201 import NB201

pytestmark = pytest.mark.cuda


def cells(data):
    space = NB201(channels=4, cells=1, **data.space_options)
    edges = "|nor_conv_3x3~0|+|nor_conv_3x3~0|none~1|+|none~0|none~1|nor_conv_3x3~2|"
    return space, space.parse(edges)


def test_the_gpu_is_taken_where_there_is_one():
    assert pick_device("auto").type == "cuda"


@pytest.mark.parametrize("options", [{}, {"amp": True}, {"augment": ["mixup"]}])
def test_the_seed_decides_to_the_last_digit(options):
    data = Digits()
    space, a = cells(data)
    recipe = {"epochs": 10, "lr": 0.2, "batch_size": 32, **options}
    first, again, cpu = (
        Training(space, data, device=device, **recipe).evaluate(a, seed=3)
        for device in ("cuda", "auto", "cpu")
    )
    assert first == again
    assert first["valid_accuracy"] > 80
    assert first["valid_accuracy"] == pytest.approx(cpu["valid_accuracy"], abs=6)


def test_three_tasks():
    pytest.importorskip("pycocotools", reason="the metric of boxes needs it")
    data = Shapes(
        classes=3, resolution=32, channels=3, difficulty=1, examples=150, tasks=list(TASKS)
    )
    space = FBNetV5(preset="tiny", **data.space_options, **data.space_defaults)
    a = space.architecture({decision.name: 1 for decision in space.decisions})
    recipe = {"optimizer": "adamw", "lr": 0.01, "batch_size": 15, "epochs": 8, "device": "cuda"}
    found = Training(space, data, **recipe).evaluate(a, seed=1)
    assert set(found) == {"valid_accuracy", "valid_map", "valid_miou"}
    assert found["valid_accuracy"] > 55  # 33 by chance
