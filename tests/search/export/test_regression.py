"""A regression on vectors: what goes in, and what comes out in which unit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from netloom.db import Store
from netloom.search.export import export_trial
from netloom.search.export.torch_files import _module
from netloom.search.run.plan import build_plan
from netloom.search.run.runner import Runner
from netloom.search.run.spec import parse

from .conftest import SPEC

PROJECT = Path(__file__).parents[1] / "run" / "project"


def test_a_regression_is_delivered_with_the_scale_of_its_targets(tmp_path: Path) -> None:
    """Vectors go in as the data set gives them; outputs come out in the unit of the targets."""
    x = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    y = 50 + 20 * x[:, 0]
    np.savez(tmp_path / "line.npz", x=x, y=y)
    spec = {
        **SPEC,
        "name": "line",
        "space": "nets:Perceptron",
        "data": {"name": "npz", "path": str(tmp_path / "line.npz"), "task": "regression"},
        "estimators": [{"name": "training", "epochs": 30, "lr": 0.05, "threads": 1}],
        "objectives": [{"minimize": "valid_rmse"}],
        "budget": {"trials": 1},
    }
    with Store(f"sqlite:///{tmp_path}/store.db") as store:
        Runner(build_plan(parse(spec), source_dir=PROJECT), store).run()
        export_trial(store, store.experiment("line"), 0, tmp_path / "out", ["torch", "onnx-int8"])
    module = _module(tmp_path / "out" / "load.py")
    with torch.no_grad():
        answers = module.unscaled(module.load()(module.scaled(torch.from_numpy(x))))[:, 0]
    assert float((answers - torch.from_numpy(y)).abs().mean()) < 10  # its deviation is 20
    values = json.loads((tmp_path / "out" / "architecture.json").read_text())
    assert values["input"]["shape"] == [3]
    assert values["targets"]["mean"] == module.TARGET_MEAN
    assert (
        "Outputs in the unit of the targets: y * std + mean"
        in (tmp_path / "out" / "README.md").read_text()
    )
