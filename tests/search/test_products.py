"""Specs whose space is a product: estimators of a factor, options it wants, two trainings."""

from __future__ import annotations

import jsonschema
import pytest
import torch
from torch import nn

from netloom import Store
from netloom.errors import SpecError
from netloom.estimators.factor import FactorEstimator
from netloom.search import Experiment
from netloom.search.run import yaml_text
from netloom.search.run.plan import Plan, build_plan
from netloom.search.run.schema import json_schema
from netloom.search.run.spec import parse
from netloom.search.run.tensors import unpack_tensors
from netloom.spaces import AcceleratorSpace, Decision, ProductSpace, Space

TEXT = """\
name: both
space:
  name: product
  factors:
    ten: nb201
    hundred: nb201
    chip: {name: accelerator, preset: tiny, costs: "2021", dataflows: [dla, shi]}
estimators:
  - {name: tabular, factor: ten}
  - {name: tabular, factor: hundred, dataset: cifar100}
  - {name: hardware, devices: [chip]}
strategy: random
objectives:
  - maximize: valid_accuracy@ten
  - minimize: energy_mj@chip
constraints: [area_mm2@chip <= 1000]
budget: {trials: 5}
"""


def plan(text: str = TEXT, *overrides: str) -> Plan:
    return build_plan(parse(yaml_text.loads(text), overrides=overrides))


def test_factors_are_spaces_by_name_with_what_their_estimators_want():
    space = plan().space
    assert isinstance(space, ProductSpace)
    assert isinstance(space.factors["chip"], AcceleratorSpace)
    assert space.factors["chip"].options["costs"] == "2021"
    assert space.factors["chip"].dataflows == ("dla", "shi")
    assert space.factors["ten"].options["classes"] == 10
    assert space.factors["hundred"].options["classes"] == 100


def test_an_estimator_is_asked_about_its_factor():
    first, second, _ = plan().estimators
    assert isinstance(first, FactorEstimator)
    assert isinstance(second, FactorEstimator)
    assert (first.factor, second.factor) == ("ten", "hundred")
    names = set(plan().metrics)
    assert {"valid_accuracy@ten", "latency_ms@hundred.eyeriss", "area_mm2@chip"} <= names


def test_the_stored_spec_is_read_again():
    stored = plan().spec
    assert stored["estimators"][1]["factor"] == "hundred"
    assert stored["space"]["factors"]["hundred"]["classes"] == 100
    again = build_plan(parse(stored))
    assert again.space.fingerprint == plan().space.fingerprint
    assert [e.fingerprint for e in again.estimators] == [e.fingerprint for e in plan().estimators]


def test_the_schema_knows_the_factor():
    validator = jsonschema.Draft202012Validator(json_schema())
    validator.validate(yaml_text.loads(TEXT).data)
    wrong = yaml_text.loads(TEXT.replace("factor: ten", "factor: 3")).data
    assert not validator.is_valid(wrong)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "factor: ten",
            "factor: tan",
            r"<text>:9:21: .*no factor 'tan'; did you mean ten",
        ),
        ("factor: ten", "factor: [ten]", r"there is no factor \['ten'\]"),
        (
            "{name: tabular, factor: ten}",
            "{name: complexity}",
            r"counting needs a space that builds networks.*factor",
        ),
        ("factor: hundred, dataset: cifar100", "factor: ten", "provided by both"),
        ("devices: [chip]", "devices: [chop]", "unknown device 'chop'"),
        ("name: accelerator, preset", "name: acelerator, preset", "unknown space 'acelerator'"),
        ('costs: "2021"', "costs: 2021", r"factors\.chip\.costs"),
        ("chip: {", "ch.ip: {", "the name without dots"),
    ],
)
def test_what_does_not_fit_is_told_where_and_why(old, new, said):
    assert old in TEXT
    with pytest.raises(SpecError, match=said):
        plan(TEXT.replace(old, new))


def test_the_option_is_a_products_alone():
    text = "space: nb201\nestimators: [{name: tabular, factor: ten}]\nstrategy: random\n"
    text += "objectives: [{maximize: valid_accuracy}]\nbudget: {trials: 1}\n"
    with pytest.raises(SpecError, match=r"estimators\[0\]\.factor: unknown key"):
        plan(text)


class Small(Space):
    """One width of a network for digits."""

    def __init__(self) -> None:
        super().__init__([Decision("width", (2, 3))])

    def build(self, architecture):
        width = architecture["width"]
        return nn.Sequential(
            nn.Conv2d(1, width, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(9 * width, 10)
        )

    def example_input(self, architecture):
        return torch.zeros(1, 1, 8, 8)


def test_two_networks_are_trained_stored_and_tested(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    summary = Experiment(
        name="two",
        space=ProductSpace(a=Small(), b=Small()),
        data="digits",
        estimators=[
            {"name": "training", "factor": "a", "epochs": 1},
            {"name": "training", "factor": "b", "epochs": 1},
            {"name": "hardware", "devices": ["nvdla_256"]},
        ],
        strategy="random",
        objectives=[{"maximize": "valid_accuracy@a"}, {"minimize": "latency_ms@nvdla_256"}],
        budget=1,
        runner={"engine": "inline"},
        store="sqlite:///two.db",
        baseline=False,
    ).run()
    (trial,) = summary.front
    assert {"valid_accuracy@a", "valid_accuracy@b", "test_accuracy@b"} <= trial.metrics.keys()
    with Store("sqlite:///two.db", read_only=True) as store:
        (kept,) = store.artifacts(store.experiment("two").id, kind="weights")
        path = store.artifact_path(kept)
        weights = unpack_tensors(path.read_bytes())
    first = {k.partition(".")[2] for k in weights if k.startswith("a.")}
    assert first == {k.partition(".")[2] for k in weights if k.startswith("b.")}
    assert all(isinstance(v, torch.Tensor) for v in weights.values())
