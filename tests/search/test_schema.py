"""The JSON Schema of specs takes what the checks take, and knows every name and option."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from netloom.search import STRATEGIES
from netloom.search.run import yaml_text
from netloom.search.run.schema import json_schema
from netloom.search.run.spec import load_spec
from netloom.search.run.template import render
from netloom.spaces import SPACES, Decision, DecisionSpace

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
TEXT = """\
version: 1
name: digits-on-f746
seed: 0
space: {name: nb201, cells: 1}
data: {name: digits}
estimators:
  - {name: training, epochs: 4}
  - complexity
  - {name: hardware, devices: [cpu_generic, {device: cpu_generic, batch: 8, as: batched}]}
strategy: {name: nsga2, population: 32}
objectives:
  - maximize: valid_accuracy
  - minimize: latency_ms@cpu_generic
constraints:
  - peak_memory_bytes@cpu_generic <= 320KB
  - {metric: macs, max: 3M}
budget: {trials: 100, time: 1h30m}
runner: {engine: auto, workers: 2, scheduler: {name: asha, grace: 2}}
store: sqlite:///netloom.db
"""


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def accepts(validator: jsonschema.Draft202012Validator, text: str) -> bool:
    return validator.is_valid(yaml_text.loads(text).data)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_the_examples_fit_schema_and_model(
    path: Path, validator: jsonschema.Draft202012Validator
) -> None:
    values = yaml_text.read(path).data
    validator.validate(values)
    assert load_spec(path)[0].name == values["name"]


def test_what_init_writes_fits(validator: jsonschema.Draft202012Validator) -> None:
    for space in SPACES:
        validator.validate(yaml_text.loads(render(space, "random")).data)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("seed: 0", "seed: 1e1"),
        ("{name: nb201, cells: 1}", "nb201"),
        ("{name: nb201, cells: 1}", '{name: "mine:Tiny", anything: 3}'),
        ("{name: nb201, cells: 1}", "{name: product, factors: {net: nb201, chip: 'mine:Chip'}}"),
        ("{name: nsga2, population: 32}", "random"),
        ("{trials: 100, time: 1h30m}", "{epochs: 3}"),
        ("time: 1h30m", "time: 90"),
        ("{name: asha, grace: 2}", "median"),
        ("{metric: macs, max: 3M}", "{metric: macs, min: 1000}"),
        ("data: {name: digits}", "data: null"),
    ],
)
def test_everything_that_may_be_written_is_taken(
    validator: jsonschema.Draft202012Validator, old: str, new: str
) -> None:
    assert accepts(validator, TEXT.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("seed: 0", "sed: 0"),
        ("seed: 0", "seed: -1"),
        ("trials: 100", "trails: 1"),
        ("1h30m", "half an hour"),
        ("{trials: 100, time: 1h30m}", "{}"),
        ("nb201", "nb202"),
        ("cells: 1", "cels: 1"),
        ("cells: 1", "cells: one"),
        ("epochs: 4", "epoch: 4"),
        ("devices: [", "device: ["),
        ("batch: 8", "batch: 0"),
        ("- complexity", "- {name: complexity, batch: 3}"),
        ("population: 32", "population: 1"),
        ("nsga2", "nsga3"),
        ("{name: digits}", "digitz"),
        ("maximize: valid_accuracy", "{maximize: a, minimize: b}"),
        ("<= 320KB", "< 320KB"),
        ("max: 3M", "max: many"),
        ("max: 3M", "max: 3M, min: 1M"),
        ("grace: 2", "grase: 2"),
        ("name: asha", "name: ahsa"),
    ],
)
def test_mistakes_show_in_the_editor(
    validator: jsonschema.Draft202012Validator, old: str, new: str
) -> None:
    assert old in TEXT
    assert not accepts(validator, TEXT.replace(old, new))


def test_keys_and_options_are_described() -> None:
    schema = json_schema()
    assert "Every random draw" in schema["properties"]["seed"]["description"]
    assert "Seconds of wall time" in schema["$defs"]["Budget"]["properties"]["time"]["description"]
    assert "Args:" not in str([part.get("description") for part in schema["$defs"].values()])
    options = schema["$defs"]["strategy.nsga2"]["properties"]
    assert "Survivors" in options["population"]["description"]
    assert options["population"]["minimum"] == 2


class Odd(DecisionSpace):
    """A space of a plug-in, with an option that is no JSON."""

    def __init__(self, rule: type[int] = int) -> None:
        super().__init__([Decision("a", (1, 2))])


def test_a_plug_in_is_known_by_name_even_where_its_options_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(SPACES._objects, "odd", Odd)
    monkeypatch.setitem(SPACES._paths, "lame", "no_such_package.module:Lame")
    monkeypatch.setitem(STRATEGIES._objects, "ready", object())
    schema: dict[str, Any] = json_schema()
    check = jsonschema.Draft202012Validator(schema).is_valid
    values = yaml_text.loads(TEXT).data
    assert check({**values, "space": {"name": "odd", "rule": "x"}})
    assert check({**values, "space": "lame"})
    assert check({**values, "strategy": "ready"})
