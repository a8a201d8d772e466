"""What a GPU trained is delivered to machines without one, and trained further on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from netloom.db import Store
from netloom.db.records import TrialRecord
from netloom.search.export import FORMATS, export_trial
from netloom.search.export.source import read_source
from netloom.search.run.plan import build_plan
from netloom.search.run.retrain import retrain_plan
from netloom.search.run.runner import Runner
from netloom.search.run.spec import parse

from .conftest import SPEC

pytestmark = pytest.mark.cuda

ON_CUDA = {
    **SPEC,
    "name": "gpu",
    "estimators": [{"name": "training", "epochs": 4, "device": "cuda"}, "complexity"],
}
SHARED = {
    **SPEC,
    "name": "shared",
    "strategy": {"name": "darts", "epochs": 1, "supernet": {"affine": True}},
    "estimators": ["complexity"],
    "objectives": [{"minimize": "macs"}],
    "budget": {"trials": 1},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, TrialRecord]]:
    url = f"sqlite:///{tmp_path_factory.mktemp('gpu')}/store.db"
    with Store(url) as store:
        [best, *_] = Runner(build_plan(parse({**ON_CUDA, "store": url})), store).run().front
        yield store, best


def test_every_format_holds_what_the_gpu_trained(trained, tmp_path: Path) -> None:
    store, best = trained
    record = store.experiment("gpu")
    [part] = read_source(store, record, best.number).networks
    made = export_trial(store, record, best.number, tmp_path / "out", FORMATS)
    assert made.networks[0].part.kind == "trained"
    assert {"load.py", "network.pt2", "network.onnx"} <= set(made.checks)
    for name, value in load_file(tmp_path / "out" / "weights.safetensors").items():
        assert torch.equal(value, part.weights[name])
    stored = best.metrics["test_accuracy"]  # of 360 examples two may change sides on a CPU
    assert made.quantized.float_accuracy == pytest.approx(stored, abs=0.6)


def test_a_program_goes_to_the_gpu(trained, tmp_path: Path) -> None:
    from torch.export.passes import move_to_device_pass

    store, best = trained
    record = store.experiment("gpu")
    export_trial(store, record, best.number, tmp_path / "out", ["pt2"])
    [part] = read_source(store, record, best.number).networks
    network = part.network().eval()
    program = move_to_device_pass(torch.export.load(tmp_path / "out" / "network.pt2"), "cuda:0")
    x = torch.randn(5, 1, 8, 8)
    with torch.no_grad():
        found = program.module()(x.cuda())
        assert found.device.type == "cuda"
        torch.testing.assert_close(found.cpu(), network(x), rtol=1e-3, atol=1e-3)


def test_training_goes_on_from_what_the_gpu_trained(trained) -> None:
    store, best = trained
    plan, origin = retrain_plan(
        store, "gpu", trials=[best.number], epochs=2, inherit=True, store_url=store.url
    )
    [again] = Runner(plan, store).run(origin=origin).front
    assert again.metrics["valid_accuracy"] > best.metrics["valid_accuracy"] - 5


def test_a_super_network_trained_there_gives_its_part(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    with Store(url) as store:
        [found] = Runner(build_plan(parse({**SHARED, "store": url})), store).run().front
        record = store.experiment("shared")
        made = export_trial(store, record, found.number, tmp_path / "out", ["torch", "onnx"])
    assert made.networks[0].part.kind == "inherited"
    assert set(made.checks) == {"load.py", "network.onnx"}
