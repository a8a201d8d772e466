"""`netloom measure` and `netloom calibrate`: from networks on this machine to a device file."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch

from netloom.estimators import ESTIMATORS
from netloom.hw_models import load_device, model_for, timing, trace
from netloom.spaces import SPACES

TINY = ("--space", "nb201", "--option", "channels=2", "--option", "cells=1")
MEASURE = ("measure", *TINY, "--device-name", "my-cpu", "--runs", "3")


def rows(path: str = "my-cpu.csv") -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the warm-up: these tests do not look at the time."""
    monkeypatch.setattr(timing, "WARM_S", 0.0)
    monkeypatch.setattr(timing, "WARM_RUNS", 1)


def write_table(path: str, n: int, **changes: str) -> None:
    """Write what the roofline of the generic core says of networks as if it were measured."""
    space = SPACES.get("nb201")(channels=2, cells=1)
    model = ESTIMATORS.get("hardware")(space, devices=["cpu_generic"])
    rng = random.Random(0)
    members = {(a := space.sample(rng)).key: a for _ in range(n)}
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        columns = ["notation", "latency_ms", *changes]
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for member in members.values():
            ms = 3 * model.evaluate(member)["latency_ms@cpu_generic"]
            writer.writerow({"notation": space.format(member), "latency_ms": ms, **changes})


# ------------------------------------------------------------------------ measure


def test_networks_are_measured_into_a_table(cli: Any, quick: None) -> None:
    said = cli.run(*MEASURE, "--n", "4", "--repeats", "2", "--threads", "1")
    assert said.stdout == "my-cpu.csv\n"
    assert said.stderr.count(" ms, quartiles ") == 6
    assert "netloom calibrate my-cpu.csv --device my-cpu" in said.stderr
    table = rows()
    assert [row["visit"] for row in table] == ["0"] * 4 + ["1"] * 2
    assert len({row["key"] for row in table}) == 4
    space = SPACES.get("nb201")(channels=2, cells=1)
    for row in table:
        assert 0 < float(row["q1_ms"]) <= float(row["latency_ms"]) <= float(row["q3_ms"])
        assert space.parse(json.loads(row["architecture"])).key == row["key"]
        assert space.parse(row["notation"]).key == row["key"]
        assert (row["runs"], row["threads"], row["batch"], row["place"]) == ("3", "1", "1", "cpu")
        assert json.loads(row["options"]) == {"cells": 1, "channels": 2}


def test_an_interrupted_measurement_goes_on(
    cli: Any, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.run(*MEASURE, "--n", "3", "--repeats", "1", "--quiet", "-o", "whole.csv")
    real, calls = timing.time_network, []

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(1)
        return real(*args, **kwargs)

    monkeypatch.setattr(timing, "time_network", interrupted)
    words = (*MEASURE, "--n", "3", "--repeats", "1")
    assert "2 of 4 measured; the same command goes on" in cli.run(*words, code=130).stderr
    first = Path("my-cpu.csv").read_text(encoding="utf-8")
    with Path("my-cpu.csv").open("a", encoding="utf-8") as file:
        file.write('my-cpu,"half a row')  # the process was killed while it wrote
    monkeypatch.setattr(timing, "time_network", real)
    assert "2 of 4 are measured already" in cli.run(*words).stderr
    assert Path("my-cpu.csv").read_text(encoding="utf-8").startswith(first)
    same = ("key", "visit")
    assert [[r[k] for k in same] for r in rows()] == [
        [r[k] for k in same] for r in rows("whole.csv")
    ]
    cli.run(*words)
    assert len(rows()) == 4


@pytest.mark.parametrize(("q3", "busy"), [(1.05, False), (1.5, True)])
def test_a_busy_machine_is_told_so(
    cli: Any, monkeypatch: pytest.MonkeyPatch, q3: float, busy: bool
) -> None:
    found = timing.Timing(median_ms=1.0, q1_ms=0.98, q3_ms=q3, runs=3)
    monkeypatch.setattr(timing, "time_network", lambda *args, **kwargs: found)
    said = cli.run(*MEASURE, "--n", "3", "--repeats", "0", "--quiet").stderr
    assert ("the machine is busy" in said) is busy


def test_a_table_holds_one_setting(cli: Any, quick: None) -> None:
    cli.run(*MEASURE, "--n", "1", "--repeats", "0", "--quiet")
    said = cli.run(*MEASURE, "--n", "2", "--batch", "2", code=2).stderr
    assert "my-cpu.csv holds measurements with batch '1', got '2'" in said
    Path("other.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    assert "is no table" in cli.run(*MEASURE, "--n", "2", "-o", "other.csv", code=2).stderr
    assert Path("other.csv").read_text(encoding="utf-8") == "a,b\n1,2\n"


def test_batch_and_number_format_reach_the_network() -> None:
    seen: list[Any] = []

    class Looks(torch.nn.Module):
        def forward(self, x: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
            seen.append((tuple(x.shape), x.dtype, tuple(ids.shape), ids.dtype, self.training))
            return x

    example = (torch.zeros(1, 3), torch.zeros(1, 5, dtype=torch.int64))
    found = timing.time_network(Looks(), example, batch=4, dtype="bfloat16", runs=7)
    assert found.runs == 7
    assert len(seen) >= 7 + timing.WARM_RUNS
    assert set(seen) == {((4, 3), torch.bfloat16, (4, 5), torch.int64, False)}
    assert found.q1_ms <= found.median_ms <= found.q3_ms


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--n", "20000"], 2, "has 15625 different networks"),
        (["--n", "5", "--repeats", "6"], 2, "--repeats counts networks of --n"),
        (["--dtype", "int8"], 2, "floating-point format"),
        (["--device-name", "cpu_generic"], 2, "comes with netloom"),
        (["--device-name", "my cpu"], 2, "got 'my cpu'"),
        (["-o", "none/x.csv"], 2, "there is no folder"),
    ],
)
def test_what_cannot_be_measured(cli: Any, words: list[str], code: int, said: str) -> None:
    assert said in cli.run(*MEASURE, *words, code=code).stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_must_be_there(cli: Any) -> None:
    assert "needs a CUDA device" in cli.run(*MEASURE, "--on", "cuda", code=5).stderr


def test_a_space_without_networks_is_refused(cli: Any) -> None:
    words = ["measure", "--space", f"{cli.module}:Toy", "--device-name", "d"]
    assert "needs a space that builds networks" in cli.run(*words, code=2).stderr


# ------------------------------------------------------------------------ calibrate


def test_a_calibrated_device_is_a_metric_like_any_other(cli: Any) -> None:
    write_table("t.csv", 40)
    words = ["calibrate", "t.csv", "--device", "my-cpu", *TINY]
    value = json.loads(cli.run(*words, "--json").stdout)
    assert value["file"] == "devices/my-cpu.yaml"
    report = value["validation"]
    assert report["n"] == len(rows("t.csv"))
    assert report["spearman"] > 0.99  # the truth is a sum over layers
    assert report["mape_percent"] < 1
    assert "noise_ceiling" not in report
    device = load_device("devices/my-cpu.yaml")
    assert device.calibrated
    assert device.validation["latency_ms"].n == report["n"]
    arch = rows("t.csv")[0]
    estimate = ["estimate", *TINY, "--arch", arch["notation"], "--device", "my-cpu"]
    answer = json.loads(cli.run(*estimate, "--explain", "--json").stdout)
    assert answer["metrics"]["latency_ms@my-cpu"] == pytest.approx(
        float(arch["latency_ms"]), rel=0.05
    )
    assert answer["devices"][0]["provenance"]["latency_ms"]["source"] == "fitted"
    listed = {row["name"]: row for row in json.loads(cli.run("devices", "--json").stdout)}
    assert listed["my-cpu"]["error_percent"]["latency_ms"] == pytest.approx(report["mape_percent"])
    assert "add --force" in cli.run(*words, code=2).stderr
    said = cli.run(*words, "--force", "--output", "elsewhere.yaml")
    assert "Spearman" in said.stdout
    assert "--device elsewhere.yaml" in said.stderr


def test_a_measured_table_calibrates(cli: Any, quick: None) -> None:
    cli.run(*MEASURE, "--n", "12", "--repeats", "12", "--quiet")
    value = json.loads(cli.run("calibrate", "my-cpu.csv", "--device", "my-cpu", "--json").stdout)
    assert value["validation"]["n"] == 24
    assert "noise_ceiling" in value["validation"]
    assert "networks of nb201, measured on" in value["validation"]["source"]


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        ("latency,notation\n1,x\n", [], "t.csv:1: a table of measurements needs the column"),
        ("latency_ms,key\n1,x\n", [], "needs the column architecture"),
        ("latency_ms,notation\n", [], "holds no measurement"),
        ("latency_ms,notation\nfast,x\n", [], "t.csv:2: latency_ms must be a number of ms"),
        ("latency_ms,notation\nnan,x\n", [], "t.csv:2: latency_ms must be a positive number"),
        ("latency_ms,notation\n1,x\n", [], "t.csv:2: the table names no space; add --space"),
        ("latency_ms,notation\n1,x\n", [*TINY], "t.csv:2: "),
        ("latency_ms,architecture\n1,{x\n", [*TINY], "t.csv:2: architecture must be JSON"),
        ("latency_ms,notation,options\n1,x,{a\n", [*TINY], "t.csv:2: options must be JSON"),
        ("latency_ms,notation,options\n1,x,[1]\n", [*TINY], "options must be a JSON object"),
        ("latency_ms,notation,batch\n1,x,1\n2,x,8\n", [*TINY], "several values of batch"),
        ("latency_ms,notation,batch\n1,x,many\n", [*TINY], "batch must be a number"),
        ("latency_ms,notation,dtype\n1,x,int3\n", [*TINY], "dtype must be one of"),
        ("latency_ms,notation,place,hardware\n1,x,cuda,Some GPU\n", [*TINY], "--base"),
    ],
)
def test_wrong_tables_are_told_where(cli: Any, text: str, words: list[str], said: str) -> None:
    Path("t.csv").write_text(text, encoding="utf-8")
    result = cli.run("calibrate", "t.csv", "--device", "mine", *words, code=2)
    assert said in result.stderr
    assert not Path("devices").exists()


def test_too_few_networks_make_no_device(cli: Any) -> None:
    write_table("t.csv", 4)
    said = cli.run("calibrate", "t.csv", "--device", "mine", *TINY, code=2).stderr
    assert "at least 10 different networks, got 4" in said
    assert not Path("devices").exists()
    assert "comes with netloom" in cli.run("calibrate", "t.csv", "--device", "h100", code=2).stderr


def test_networks_of_ones_own_calibrate(cli: Any) -> None:
    (cli.folder / f"own_{cli.module}.py").write_text(
        "from torch import nn\n\n\ndef net(width: int, depth: int):\n"
        "    layers = [nn.Conv2d(3, width, 3, padding=1)]\n"
        "    layers += [nn.Conv2d(width, width, 3, padding=1) for _ in range(depth)]\n"
        "    return nn.Sequential(*layers, nn.ReLU())\n",
        encoding="utf-8",
    )
    with Path("t.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["network", "input", "options", "latency_ms"])
        for width in (4, 8, 16):
            for depth in range(6):
                options = json.dumps({"width": width, "depth": depth})
                ms = 0.1 + 0.02 * depth + 1e-6 * depth * width * width * 9 * 64
                writer.writerow([f"own_{cli.module}:net", "1x3x8x8", options, ms])
    value = json.loads(cli.run("calibrate", "t.csv", "--device", "mine", "--json").stdout)
    assert value["validation"]["n"] == 18
    assert value["validation"]["spearman"] > 0.95
    Path("t.csv").write_text("network,latency_ms\nnone.onnx,1\n", encoding="utf-8")
    said = cli.run("calibrate", "t.csv", "--device", "other", code=2).stderr
    assert "t.csv:2: the network file none.onnx does not exist" in said


def test_a_gpu_is_known_by_its_name(cli: Any) -> None:
    write_table("t.csv", 12, place="cuda", hardware="NVIDIA H100 80GB HBM3", dtype="float32")
    cli.run("calibrate", "t.csv", "--device", "my-gpu", *TINY)
    device = load_device("my-gpu")
    assert device.family == "gpu"
    assert device.title == "NVIDIA H100 80GB HBM3: calibrated on measured networks"


# ------------------------------------------------------------------------ microcontrollers


TINY_NETWORK = """from torch import nn


def net(width: int, depth: int):
    layers = [nn.Conv2d(3, width, 3, 2, 1)]
    for _ in range(depth):
        layers += [nn.Conv2d(width, width, 3, 1, 1, groups=width), nn.Conv2d(width, width, 1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))
"""


def write_boards(cli: Any, path: str, n: int, **changes: str) -> list[float]:
    """Write what an STM32F746 at a third of its speed would take, as if it were measured."""
    (cli.folder / f"tiny_{cli.module}.py").write_text(TINY_NETWORK, encoding="utf-8")
    names: dict[str, Any] = {}
    exec(TINY_NETWORK, names)
    model, values = model_for("stm32f746"), []
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["network", "input", "options", "latency_ms", *changes])
        writer.writeheader()
        for i in range(n):
            options = {"width": 8 + 8 * (i % 3), "depth": 1 + i // 3}
            workload = trace(names["net"](**options), torch.zeros(1, 3, 16, 16))
            values.append(3 * model.cost(workload).latency_ms)
            row = {"network": f"tiny_{cli.module}:net", "input": "1x3x16x16", **changes}
            writer.writerow({**row, "options": json.dumps(options), "latency_ms": values[-1]})
    return values


def test_a_microcontroller_calibrates(cli: Any) -> None:
    values = write_boards(cli, "t.csv", 6)
    words = ["calibrate", "t.csv", "--device", "my-mcu", "--base", "stm32f746"]
    value = json.loads(cli.run(*words, "--json").stdout)
    assert value["file"] == "devices/my-mcu.yaml"
    assert value["model"].startswith("cycles of stem, pw, dw, fc, op under cmsis_nn")
    report = value["validation"]
    assert report["n"] == 6
    assert report["mape_percent"] < 10
    assert {"spearman", "kendall", "within_5_percent", "within_10_percent"} <= set(report)
    device = load_device("my-mcu")
    assert (device.family, device.calibrated) == ("mcu", True)
    estimate = ["estimate", "--network", f"tiny_{cli.module}:net", "--input", "1x3x16x16"]
    estimate += ["--option", "width=8", "--option", "depth=1", "--device", "my-mcu"]
    answer = json.loads(cli.run(*estimate, "--explain", "--json").stdout)
    assert answer["metrics"]["latency_ms@my-mcu"] == pytest.approx(values[0], rel=0.1)
    listed = {row["name"]: row for row in json.loads(cli.run("devices", "--json").stdout)}
    assert listed["my-mcu"]["error_percent"]["latency_ms"] == pytest.approx(report["mape_percent"])


def test_the_runtime_of_a_table_is_calibrated(cli: Any) -> None:
    changes = {"place": "mcu", "hardware": "STM32F746G-DISCO", "runtime": "tinyengine"}
    write_boards(cli, "t.csv", 5, **changes)
    value = json.loads(cli.run("calibrate", "t.csv", "--device", "te", "--json").stdout)
    assert "under tinyengine" in value["model"]
    assert "runtime tinyengine" in value["validation"]["source"]
    assert list(load_device("te").numbers.cycles) == ["tinyengine"]
    words = ["calibrate", "t.csv", "--device", "tiled", "--runtime"]
    cli.run(*words, '{"preset": "tinyengine", "patch": "auto"}')
    assert load_device("tiled").numbers.runtime.patch == "auto"
    words[3] = "other"
    assert "runtime must be a name or JSON" in cli.run(*words, "{tinyengine", code=2).stderr
    assert "unknown runtime 'tinyengin'" in cli.run(*words, "tinyengin", code=2).stderr


def test_what_cannot_be_calibrated_is_said_at_once(cli: Any) -> None:
    write_boards(cli, "t.csv", 3)
    words = ["calibrate", "t.csv", "--device", "mine", "--base"]
    said = cli.run(*words, "zcu102", code=2).stderr
    assert "families cpu, gpu and mcu, got 'zcu102' of family 'fpga'" in said
    said = cli.run(*words, "stm32f746", code=2).stderr
    assert "at least 4 different networks, got 3; measure 1 more" in said
    text = Path("t.csv").read_text(encoding="utf-8")
    Path("t.csv").write_text(text.replace("latency_ms", "latency_ms,place", 1), encoding="utf-8")
    rows_ = Path("t.csv").read_text(encoding="utf-8").splitlines()
    Path("t.csv").write_text("\n".join([rows_[0], *(r + ",mcu" for r in rows_[1:])]) + "\n")
    said = cli.run("calibrate", "t.csv", "--device", "mine", code=2).stderr
    assert "no device describes this processor" in said
    assert "stm32f746" in said
    assert not Path("devices").exists()
