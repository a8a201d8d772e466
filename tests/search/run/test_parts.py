"""What a data set decides about a space, and what it only proposes."""

from __future__ import annotations

from pathlib import Path

import pytest

from netloom.estimators.data.shapes import Shapes
from netloom.search.run.parts import make_space
from netloom.search.run.spec import Named


@pytest.fixture
def shapes(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[3] / "examples")
    return Shapes(resolution=32, classes=3, examples=60, tasks=["detection", "segmentation"])


def test_the_tasks_of_a_space_are_those_of_the_data_where_a_spec_names_none(shapes):
    filled, stored = make_space(Named(name="multi_task:Heads"), shapes)
    expected = [{"name": "detection", "classes": 3}, {"name": "segmentation", "classes": 4}]
    assert filled.options["tasks"] == stored["tasks"] == expected
    own = [{"name": "detection", "classes": 3}]
    kept, _ = make_space(Named(name="multi_task:Heads", tasks=own), shapes)
    assert kept.options["tasks"] == own


def test_what_a_space_does_not_take_is_not_proposed(shapes):
    space, stored = make_space(Named(name="custom_space:Perceptron"), shapes)
    assert "tasks" not in stored
    assert space.options["classes"] == 3
