"""Data that changed or went away since the search, and what is said of inputs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from netloom.db import Store
from netloom.db.records import NewTrial
from netloom.errors import MissingDependency, SpecError
from netloom.search.cli import app
from netloom.search.export import export_trial
from netloom.search.export.source import read_source
from netloom.search.export.torch_files import _module
from netloom.search.run.describe import new_experiment
from netloom.search.run.plan import build_plan
from netloom.search.run.runner import Runner
from netloom.search.run.spec import parse

from .conftest import SPEC, Searched

PROJECT = Path(__file__).parents[1] / "run" / "project"


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[tuple[Store, Path]]:
    """A store whose experiment was trained on bytes in a file, and that file."""
    file = tmp_path / "mine.npz"
    x = np.random.default_rng(0).integers(0, 200, (60, 1, 8, 8)).astype(np.uint8)
    x[0, 0, 0, :2] = 0, 199
    np.savez(file, x_train=x, y_train=np.arange(60) % 2, x_test=x[:20], y_test=np.arange(20) % 2)
    spec = {
        **SPEC,
        "name": "mine",
        "space": "nets:Perceptron",
        "data": {"name": "npz", "path": str(file)},
        "estimators": [{"name": "training", "epochs": 1, "threads": 1}],
        "budget": {"trials": 1},
    }
    with Store(f"sqlite:///{tmp_path}/store.db") as store:
        Runner(build_plan(parse(spec), source_dir=PROJECT), store).run()
        yield store, file


def export(store: Store, folder: Path, *words: str) -> Any:
    given = ["export", "mine", "--trial", "0", "-o", str(folder), *words, "--store", store.url]
    return CliRunner().invoke(app, given)


def brighter(file: Path, side: int = 8) -> None:
    held = np.load(file)
    arrays = {name: value for name, value in held.items() if name[0] == "y"}
    for name in ("x_train", "x_test"):
        arrays[name] = held[name].repeat(side // 8, 2).repeat(side // 8, 3) + np.uint8(5)
    np.savez(file, **arrays)


def test_inputs_are_named_with_their_unit(mine: tuple[Store, Path], folder: Path) -> None:
    store, _ = mine
    assert export(store, folder).exit_code == 0
    card = (folder / "README.md").read_text()
    assert "shape (batch, 1, 8, 8), that is N x C x H x W, any batch size" in card
    assert "x is what the data set gives: uint8, from 0 to 199 in the training split." in card
    given = json.loads((folder / "architecture.json").read_text())["input"]
    assert (given["layout"], given["given_as"], given["range"]) == (
        "N x C x H x W",
        "uint8",
        [0.0, 199.0],
    )
    module = _module(folder / "load.py")
    assert (module.LAYOUT, module.DTYPE, module.RANGE) == ("N x C x H x W", "uint8", (0.0, 199.0))
    for wrong, seen in (((1, 8, 8), r"\(1, 8, 8\)"), ((2, 3, 8, 8), r"\(2, 3, 8, 8\)")):
        for function in (module.scaled, module.load()):
            with pytest.raises(ValueError, match=rf"shape \(N, 1, 8, 8\), got {seen}; x\[None\]"):
                function(torch.zeros(wrong))


@pytest.mark.parametrize("change", ["content", "size", "gone", "damaged"])
def test_weights_are_delivered_without_the_data_that_trained_them(
    mine: tuple[Store, Path], folder: Path, change: str
) -> None:
    """A scale that is computed from other data would be another network's."""
    store, file = mine
    if change == "gone":
        file.unlink()
    elif change == "damaged":
        file.write_bytes(b"half of it")
    else:
        brighter(file, side=16 if change == "size" else 8)
    result = export(store, folder)
    assert result.exit_code == 0, result.stderr
    other = change in ("content", "size")
    why = "gives other examples than when mine ran (fingerprint" if other else "data set npz: "
    assert "how inputs are to be scaled is not known" in result.stderr
    assert why in result.stderr
    assert "put the data back that it was trained on and export again" in result.stderr
    card = (folder / "README.md").read_text()
    why = "gives other examples than when mine ran" if other else "it was trained on are not there"
    assert "How inputs are to be scaled is not known" in card
    assert why in card
    assert str(file.parent) not in card
    assert "`npz`" in card
    given = json.loads((folder / "architecture.json").read_text())["input"]
    assert (given["mean"], given["range"], given["shape"]) == (None, None, [1, 8, 8])
    with pytest.raises(ValueError, match="mean and deviation of the training data are not known"):
        _module(folder / "load.py").scaled(torch.zeros(1, 1, 8, 8))
    [part] = read_source(store, store.experiment("mine"), 0).networks
    assert part.kind == "trained"
    assert part.weights is not None
    for name, value in load_file(folder / "weights.safetensors").items():
        assert torch.equal(value, part.weights[name])


def test_the_same_file_put_back_gives_the_scale(mine: tuple[Store, Path], folder: Path) -> None:
    store, file = mine
    before = file.read_bytes()
    file.unlink()
    result = export(store, folder, "--format", "json")
    assert result.exit_code == 0
    assert "scaled" not in result.stderr  # architecture.json needs no data
    file.write_bytes(before)
    assert export(store, folder, "--force").exit_code == 0
    assert json.loads((folder / "architecture.json").read_text())["input"]["mean"] is not None


def test_int8_needs_the_data_that_trained(mine: tuple[Store, Path], folder: Path) -> None:
    store, file = mine
    record = store.experiment("mine")
    brighter(file)
    words = "mine was run with: the data set npz gives other examples .*; put those data back, or"
    with pytest.raises(SpecError, match=words):
        export_trial(store, record, 0, folder, ["onnx-int8"])
    file.unlink()
    with pytest.raises(MissingDependency, match="was run with: data set npz: the file is not at"):
        export_trial(store, record, 0, folder, ["onnx-int8"])
    assert not folder.exists()


PLAIN = """
from torch import nn
from netloom.spaces import OneOf

class Plain(nn.Sequential):
    def __init__(self, classes: int = 10) -> None:
        act = OneOf("act", {"relu": nn.ReLU(), "tanh": nn.Tanh()})
        super().__init__(nn.Flatten(), act, nn.Linear(64, classes))
"""


def test_a_module_whose_input_only_the_data_tell_needs_them(
    mine: tuple[Store, Path], tmp_path: Path, folder: Path
) -> None:
    store, file = mine
    (tmp_path / "plain_export.py").write_text(PLAIN)
    spec = {
        **store.experiment("mine").spec,
        "name": "plain",
        "space": "plain_export:Plain",
        "estimators": ["complexity"],
        "objectives": [{"minimize": "macs"}],
        "store": None,
    }
    Runner(build_plan(parse(spec), source_dir=tmp_path), store).run()
    record = store.experiment("plain")
    export_trial(store, record, 0, folder, ["json"])
    file.unlink()
    words = (
        r"where the data are not there \(data set npz: .*the input of a plain module is not known"
    )
    with pytest.raises(SpecError, match=words):
        export_trial(store, record, 0, folder, ["json"], force=True)


def test_an_infeasible_trial_names_what_it_breaks(searched: Searched, folder: Path) -> None:
    spec = {
        **SPEC,
        "name": "bound",
        "estimators": ["complexity"],
        "objectives": [{"minimize": "macs"}],
        "constraints": ["params <= 100", "macs >= 1"],
    }
    plan = build_plan(parse(spec))
    record = searched.store.create_experiment(new_experiment(plan))
    one = plan.space.at(0)
    metrics = {"params": 150.0, "macs": 5000.0}
    trial = NewTrial(
        0, one.key, one, plan.space.format(one), "infeasible", 7, metrics=metrics, violation=0.5
    )
    searched.store.import_trials(record.id, [trial])
    said: list[str] = []
    export_trial(searched.store, record, 0, folder, ["json"], note=said.append)
    broken = "it breaks params ≤ 100 (it has 150)"
    assert f"trial 0 is infeasible: {broken}" in said
    assert f"It is infeasible (by 0.5 in all): {broken}." in (folder / "README.md").read_text()
