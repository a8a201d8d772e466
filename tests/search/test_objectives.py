"""Objectives, constraints and their units."""

from __future__ import annotations

import math

import pytest

from netloom.errors import SpecError
from netloom.search import Constraint, Objective
from netloom.search.objectives import losses, read_bound, total_violation


def test_losses_turn_the_sign_of_what_is_maximised() -> None:
    wanted = [Objective("accuracy", "maximize"), Objective("latency_ms@pixel3", "minimize")]
    assert losses(wanted, {"accuracy": 90.0, "latency_ms@pixel3": 4.0, "other": 1.0}) == (-90, 4)


@pytest.mark.parametrize(
    ("text", "metric", "bound"),
    [
        ("latency_ms@eyeriss <= 6", "latency_ms@eyeriss", 6.0),
        ("latency_ms@pixel3<=250us", "latency_ms@pixel3", 0.25),
        ("latency_ms <= 1.5 s", "latency_ms", 1500.0),
        ("peak_memory_bytes@stm32f746 <= 320KB", "peak_memory_bytes@stm32f746", 320 * 1024.0),
        ("flash_bytes <= 1 MiB", "flash_bytes", 1024.0**2),
        ("params <= 5M", "params", 5e6),
        ("macs <= 300_000_000", "macs", 3e8),
        ("macs <= 3e8", "macs", 3e8),
        ("energy_mj@eyeriss <= 40 uJ", "energy_mj@eyeriss", 0.04),
        ("area_mm2 <= 12 mm2", "area_mm2", 12.0),
        ("my.size <= 2KB", "my.size", 2048.0),
    ],
)
def test_upper_bounds_and_units(text, metric, bound) -> None:
    constraint = Constraint.parse(text)
    assert (constraint.metric, constraint.max) == (metric, pytest.approx(bound))


def test_lower_bounds() -> None:
    assert Constraint.parse("valid_accuracy >= 90 %") == Constraint("valid_accuracy", min=90.0)
    assert Constraint.parse("score >= -2.5") == Constraint("score", min=-2.5)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "latency_ms",
        "latency_ms < 6",
        "latency_ms == 6",
        "6 >= latency_ms",
        "2 <= latency_ms <= 6",
        "latency_ms <= six",
        "latency_ms@ <= 6",
        "latency_ms <= 1e999",
    ],
)
def test_other_texts_are_refused(text) -> None:
    with pytest.raises(SpecError):
        Constraint.parse(text)


@pytest.mark.parametrize(
    "text",
    ["latency_ms@pixel3 <= 6KB", "peak_memory_bytes <= 6ms", "params <= 3ms", "params <= 3kb"],
)
def test_a_unit_must_be_one_of_the_metric(text) -> None:
    with pytest.raises(SpecError, match="is not a unit of") as caught:
        Constraint.parse(text)
    assert text in str(caught.value)


def test_a_bound_alone_takes_any_unit() -> None:
    assert read_bound("320KB") == 320 * 1024
    assert read_bound(" 1.5 s") == 1500
    assert read_bound("5M") == 5e6
    for text, metric in (("3kb", None), ("six", None), ("3KB", "latency_ms")):
        with pytest.raises(SpecError):
            read_bound(text, metric)


def test_a_constraint_has_one_finite_bound() -> None:
    for bounds in ({}, {"max": 1.0, "min": 0.0}):
        with pytest.raises(SpecError, match="exactly one"):
            Constraint("params", **bounds)
    for value in (math.nan, math.inf):
        with pytest.raises(SpecError, match="finite"):
            Constraint("params", max=value)
    with pytest.raises(SpecError, match="maximize or minimize"):
        Objective("accuracy", "max")  # type: ignore[arg-type]


def test_violations_are_relative_to_the_bound() -> None:
    assert Constraint("x", max=200.0).violation({"x": 250.0}) == 0.25
    assert Constraint("x", max=200.0).violation({"x": 200.0}) == 0.0
    assert Constraint("x", min=80.0).violation({"x": 60.0}) == 0.25
    assert Constraint("x", min=-2.0).violation({"x": -3.0}) == 0.5
    assert Constraint("x", max=0.0).violation({"x": 3.0}) == 3.0
    assert Constraint("x", min=0.0).violation({"x": 3.0}) == 0.0
    assert Constraint("x", max=1.0).violation({"x": math.nan}) == math.inf


def test_violations_add_up_over_the_metrics_that_are_there() -> None:
    constraints = [Constraint("x", max=100.0), Constraint("y", min=10.0), Constraint("z", max=1.0)]
    assert total_violation(constraints, {"x": 150.0, "y": 5.0}) == 1.0


def test_a_constraint_prints_as_it_is_read() -> None:
    for constraint in (Constraint("a_bytes@d", max=327_680.0), Constraint("b", min=1234567.5)):
        assert Constraint.parse(str(constraint)) == constraint
