"""Networks and accelerators that were chosen together, and published networks of other spaces."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from netloom.db import Store
from netloom.db.records import NewTrial
from netloom.errors import SpecError
from netloom.search.cli import app
from netloom.search.export import export_trial
from netloom.search.export.source import read_source
from netloom.search.export.torch_files import _module
from netloom.search.run.describe import new_experiment
from netloom.search.run.plan import build_plan
from netloom.search.run.retrain import retrain_plan
from netloom.search.run.runner import Runner
from netloom.search.run.spec import parse
from netloom.spaces import FACTORS, Architecture

from .conftest import SPEC

CELLS = {"name": "nb201", "channels": 2, "cells": 1}
CHIP = {"name": "accelerator", "preset": "tiny"}
HARDWARE = {"name": "hardware", "devices": ["chip"]}
TOGETHER = {
    **SPEC,
    "name": "together",
    "space": {"name": "product", "factors": {"ten": CELLS, "fast": CELLS, "chip": CHIP}},
    "estimators": [
        {"name": "training", "factor": "ten", "epochs": 1, "threads": 1},
        HARDWARE,
    ],
    "objectives": [{"maximize": "valid_accuracy@ten"}, {"minimize": "latency_ms@chip"}],
    "budget": {"trials": 1},
}
PAIR = {"name": "product", "factors": {"net": CELLS, "chip": CHIP}}
COUNTED = {
    **SPEC,
    "data": None,
    "estimators": [HARDWARE],
    "objectives": [{"minimize": "latency_ms@chip"}],
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store(f"sqlite:///{tmp_path_factory.mktemp('products') / 'store.db'}") as opened:
        Runner(build_plan(parse({**TOGETHER, "store": opened.url})), opened).run()
        yield opened


def stored(store: Store, architecture: Architecture | None = None, **spec: Any) -> Any:
    """Return an experiment of one trial: of this architecture, or the first one of its space."""
    plan = build_plan(parse({**COUNTED, **spec}))
    record = store.create_experiment(new_experiment(plan))
    first = architecture or plan.space.at(0)
    trial = NewTrial(0, first.key, first, first.to_json(), "done", 7)
    store.import_trials(record.id, [trial])
    return record


def test_each_network_of_a_product_has_a_folder(store: Store, folder: Path) -> None:
    words = ["export", "together", "--trial", "0", "-o", str(folder), "--json"]
    result = CliRunner().invoke(app, [*words, "--store", store.url])
    assert result.exit_code == 0, result.stderr
    assert "ten: weights: trained by trial 0 of together" in result.stderr
    assert "fast: weights: initialised from the seed" in result.stderr
    said = json.loads(result.stdout)
    assert {name: kind["weights"]["kind"] for name, kind in said["factors"].items() if kind} == {
        "ten": "trained",
        "fast": "initialised",
    }
    files = {file["name"] for file in said["files"]}
    names = ("load.py", "weights.safetensors")
    assert files == {"architecture.json", *(f"{n}/{f}" for n in ("ten", "fast") for f in names)}
    assert set(said["checks"]) == {"ten/load.py", "fast/load.py"}
    record = store.experiment("together")
    [kept] = store.artifacts(record.id, kind="weights", number=0)
    trained = torch.load(store.artifact_path(kept), weights_only=True)
    for name, value in load_file(folder / "ten" / "weights.safetensors").items():
        assert torch.equal(value, trained[f"ten.{name}"])
    with torch.no_grad():
        assert _module(folder / "fast" / "load.py").load()(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    mine = folder / "ten" / "mine.txt"
    mine.write_text("mine")
    with pytest.raises(SpecError, match="which holds ten"):
        export_trial(store, record, 0, folder, ["json"], force=True)
    mine.unlink()
    export_trial(store, record, 0, folder, ["json"], force=True)
    assert {path.name for path in folder.iterdir()} == {"README.md", "architecture.json"}


def test_every_network_of_a_product_is_trained_again(store: Store) -> None:
    record = store.experiment("together")
    training = {"name": "training", "epochs": 1}
    both = [{**training, "factor": "ten"}, {**training, "factor": "fast"}, HARDWARE]
    recipe = [f"estimators={json.dumps(both)}"]
    plan, _ = retrain_plan(store, record.id, trials=[0], epochs=5, overrides=recipe)
    assert [e.get("epochs") for e in plan.spec["estimators"]] == [5, 5, None]
    plan, _ = retrain_plan(store, record.id, trials=[0], inherit=True)
    own = read_source(store, record, 0).networks[0].architecture
    assert list(plan.spec["estimators"][0]["initial"]) == [own.key]
    with pytest.raises(SpecError, match="trial 0 cannot go on from its weights"):
        retrain_plan(store, record.id, trials=[0], inherit=True, overrides=recipe)  # fast has none


def test_the_accelerator_is_in_the_json_and_in_the_card(store: Store, folder: Path) -> None:
    record = store.experiment("together")
    source = read_source(store, record, 0)
    export_trial(store, record, 0, folder, ["json"])
    values = json.loads((folder / "architecture.json").read_text())
    own = {part.factor: part for part in source.parts}
    assert list(values["factors"]) == ["ten", "fast", "chip"]
    for name, part in own.items():
        assert values["factors"][name]["architecture"] == dict(part.architecture)
        assert values["factors"][name]["notation"] == part.notation
    chip = values["factors"]["chip"]["accelerator"]
    assert chip == own["chip"].space.choice(own["chip"].architecture)  # type: ignore[attr-defined]
    text = (folder / "README.md").read_text()
    assert "`chip`, of the space `accelerator`:" in text
    first = chip["accelerators"][0]
    assert f"| {first['dataflow']} | {first['pes']} | {first['bandwidth']} |" in text
    assert "| `latency_ms@chip` |" in text
    assert "| chip | " in text  # the verdict of the run


def test_one_network_beside_an_accelerator_has_no_folder(store: Store, folder: Path) -> None:
    export_trial(store, stored(store, name="pair", space=PAIR), 0, folder)
    assert (folder / "load.py").is_file()
    factors = json.loads((folder / "architecture.json").read_text())["factors"]
    assert factors["net"]["input"]["shape"] == [3, 32, 32]
    assert factors["chip"]["accelerator"]["accelerators"]


def test_what_builds_no_network_is_written_as_json_alone(store: Store, folder: Path) -> None:
    space = FACTORS.get("accelerator")(preset="tiny")
    pair = stored(store, name="bare", space=PAIR, architecture=space.at(0))
    spec = {**pair.spec, "space": CHIP}
    bare = replace(pair, spec=spec, space_fingerprint=space.fingerprint)
    with pytest.raises(SpecError, match=r"as torch must have a network, .* --format json writes"):
        export_trial(store, bare, 0, folder)
    export_trial(store, bare, 0, folder, ["json"])
    assert "It is no network" in (folder / "README.md").read_text()
    values = json.loads((folder / "architecture.json").read_text())
    assert values["accelerator"] == space.choice(space.at(0))


def test_names_of_factors_that_are_no_folders_are_refused(store: Store, folder: Path) -> None:
    factors = {"/tmp/up": CELLS, "b": CELLS, "chip": CHIP}
    odd = stored(store, name="odd", space={"name": "product", "factors": factors})
    with pytest.raises(SpecError, match="got the factor '/tmp/up'"):
        export_trial(store, odd, 0, folder)
    assert not folder.exists()
