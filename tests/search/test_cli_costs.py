"""Costs on the command line: explanations, network files, device files of users."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from netloom.search.commands import completion, devices

RESNET = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|"
SMALL = ("estimate", "--space", "nb201", "--option", "channels=4", "--option", "cells=1")
DEVICE = """\
name: my-board
family: cpu
title: A board
calibrated: true
numbers:
  clock: {value: 1, unit: GHz, source: data sheet of the board}
  flops_per_cycle: {value: 2, unit: FLOP/cycle, source: data sheet of the board}
  memory_bandwidth: {value: 1, unit: GB/s, source: data sheet of the board}
  layer_overhead: {value: 0, unit: us, source: data sheet of the board}
  memory: {value: 1, unit: GiB, source: data sheet of the board}
validation:
  latency_ms:
    n: 40
    mape_percent: 4.5
    spearman: 0.98
    kendall: 0.9
    within_10_percent: 90
    source: forty networks of nb201, five folds
"""
NETS = """\
from torch import nn


def linear(width: int = 10):
    return nn.Sequential(nn.Flatten(), nn.Linear(48, width))


class Declared(nn.Sequential):
    example_shape = (3, 4, 4)

    def __init__(self):
        super().__init__(nn.Conv2d(3, 2, 1))


def wrong():
    return 3
"""


@pytest.fixture
def board(cli: Any) -> Path:
    """Put a device file where devices of users are found."""
    folder = cli.folder / "devices"
    folder.mkdir()
    (folder / "my-board.yaml").write_text(DEVICE, encoding="utf-8")
    return folder / "my-board.yaml"


@pytest.fixture
def nets(cli: Any) -> Any:
    """Put a module of networks beside the case."""
    (cli.folder / f"nets_{cli.module}.py").write_text(NETS, encoding="utf-8")
    return f"nets_{cli.module}"


# ------------------------------------------------------------------------ explanations


def test_an_explanation_adds_up(cli: Any) -> None:
    words = [*SMALL, "--arch", RESNET, "--device", "cpu_generic"]
    value = json.loads(cli.run(*words, "--explain", "--top", "1000", "--json").stdout)
    plain = json.loads(cli.run(*words, "--json").stdout)
    assert value["metrics"] == plain["metrics"]
    [device] = value["devices"]
    assert (device["device"], device["batch"], device["dtype"]) == ("cpu_generic", 1, "float32")
    assert device["fits"]
    assert device["reasons"] == []
    assert device["totals"]["latency_ms"] == value["metrics"]["latency_ms@cpu_generic"]
    assert device["provenance"]["latency_ms"]["source"] == "analytic"
    spent = [layer["latency_ms"] for layer in device["layers"]]
    assert spent == sorted(spent, reverse=True)
    assert sum(spent) == pytest.approx(device["totals"]["latency_ms"])
    assert sum(layer["share_percent"] for layer in device["layers"]) == pytest.approx(100)
    assert sum(device["waits_for"].values()) == pytest.approx(100)
    assert sum(layer["macs"] for layer in device["layers"]) == value["metrics"]["macs"]


def test_an_explanation_is_read_by_people(cli: Any, board: Path) -> None:
    words = [*SMALL, "--arch", RESNET, "--device", "my-board", "--device", "cpu_generic"]
    text = cli.run(*words, "--explain").stdout
    assert "my-board: A board (family cpu, calibrated, batch 1, float32)" in text
    assert "(analytic, 4.5 % off on average in 40 measurements)" in text
    assert "(analytic, never compared with measurements)" in text
    assert text.count("costliest layers") == 2
    assert text.count(" conv ") == 10  # five layers of each device, and all are convolutions
    none = cli.run(*words, "--explain", "--top", "0").stdout
    assert "costliest layers" not in none


def test_what_does_not_fit_is_an_answer_with_reasons(cli: Any, board: Path) -> None:
    board.write_text(DEVICE.replace("1, unit: GiB", "1, unit: KiB"), encoding="utf-8")
    words = [*SMALL, "--arch", RESNET, "--device", "my-board"]
    assert "my-board has 1,024 bytes of memory" in cli.run(*words, code=1).stderr
    [device] = json.loads(cli.run(*words, "--explain", "--json").stdout)["devices"]
    assert not device["fits"]
    [reason] = device["reasons"]
    assert (reason["resource"], reason["limit"]) == ("memory", 1024)
    assert reason["needed"] == device["totals"]["peak_memory_bytes"]
    assert reason["violation"] == pytest.approx(reason["needed"] / 1024 - 1)
    text = cli.run(*words, "--explain").stdout
    assert "does not fit" in text
    assert "choose a smaller network" in text


def test_a_layer_that_a_device_cannot_run_is_named(cli: Any) -> None:
    (cli.folder / f"rnn_{cli.module}.py").write_text(
        "from torch import nn\n\n\ndef net():\n    return nn.LSTM(4, 4)\n", encoding="utf-8"
    )
    words = ["estimate", "--network", f"rnn_{cli.module}:net", "--input", "5x1x4"]
    words += ["--device", "stm32f746"]
    assert "rnn" in cli.run(*words, code=1).stderr
    value = json.loads(cli.run(*words, "--explain", "--json").stdout)
    [device] = value["devices"]
    assert (device["fits"], "totals" in device) == (False, False)
    assert device["reasons"][0]["resource"] == "layer"
    assert "latency_ms@stm32f746" not in value["metrics"]
    assert "does not fit" in cli.run(*words, "--explain").stdout


def test_batch_and_number_format_are_asked_for(cli: Any) -> None:
    words = [*SMALL, "--arch", RESNET, "--device", "cpu_generic"]
    one = json.loads(cli.run(*words, "--json").stdout)["metrics"]
    many = json.loads(cli.run(*words, "--batch", "64", "--json").stdout)["metrics"]
    name = "latency_ms@cpu_generic"
    assert one[name] < many[name] < 64 * one[name]
    assert one["macs"] == many["macs"]  # counts are of one input
    explained = cli.run(*words, "--batch", "64", "--explain", "--json").stdout
    assert json.loads(explained)["metrics"] == many
    assert "cpu_generic computes in float32" in cli.run(*words, "--dtype", "int8", code=2).stderr


def test_a_resolution_is_asked_for(cli: Any) -> None:
    words = [*SMALL, "--arch", RESNET, "--device", "cpu_generic", "--json"]
    built = json.loads(cli.run(*words, "--option", "resolution=48").stdout)["metrics"]
    asked = json.loads(cli.run(*words, "--resolution", "48").stdout)["metrics"]
    assert asked == built
    assert asked != json.loads(cli.run(*words).stdout)["metrics"]
    explained = json.loads(cli.run(*words, "--resolution", "48x48", "--explain").stdout)
    assert explained["metrics"] == built
    assert explained["devices"][0]["resolution"] == [48, 48]
    text = cli.run(*words[:-1], "--resolution", "48x40", "--explain").stdout
    assert "(family cpu, not calibrated, batch 1, float32, images of 48 x 40)" in text
    for wrong in ("0", "48x", "1x2x3", "big"):
        said = cli.run(*words, "--resolution", wrong, code=2).stderr
        assert f"such as 192 or 192x160, got '{wrong}'" in said


def test_a_network_of_no_space_has_a_resolution_too(cli: Any, nets: str) -> None:
    words = ["estimate", "--network", f"{nets}:Declared", "--resolution", "8x6"]
    value = json.loads(cli.run(*words, "--device", "cpu_generic", "--json").stdout)
    assert value["metrics"]["macs"] == 3 * 2 * 8 * 6
    words[2:3] = [f"{nets}:linear", "--input", "1x3x4x4"]
    assert "layer '1' cannot be costed for images of 8 x 6" in cli.run(*words, code=2).stderr


PRODUCT = (
    *("estimate", "--space", "product", "--option"),
    "factors={a: {name: nb201, preset: tiny}, b: {name: nb201, preset: tiny, classes: 3}, "
    "chip: {name: accelerator, preset: tiny}}",
)
CHOICE = json.dumps({"a": RESNET, "b": RESNET, "chip": "dla,64,16 + shi,64,8"})


def test_the_accelerator_of_a_product_is_a_device(cli: Any) -> None:
    words = [*PRODUCT, "--arch", CHOICE]
    plain = json.loads(cli.run(*words, "--device", "v100", "--json").stdout)["metrics"]
    value = json.loads(
        cli.run(*words, "--device", "v100", "--explain", "--top", "1000", "--json").stdout
    )
    assert value["metrics"] == plain
    assert {"params@a", "macs@b", "latency_ms@chip", "area_mm2@chip", "latency_ms@v100"} <= {*plain}
    assert plain["params@a"] - plain["params@b"] == (10 - 3) * (16 + 1)
    chip, v100 = value["devices"]
    assert (chip["device"], chip["family"], v100["device"]) == ("chip", "maestro", "v100")
    assert [a["pes"] for a in chip["accelerator"]["accelerators"]] == [64, 64]
    assert "accelerator" not in v100
    for device in (chip, v100):
        layers = device["layers"]
        assert {layer["name"].partition(".")[0] for layer in layers} == {"0", "1"}
        assert sum(layer["macs"] for layer in layers) == plain["macs@a"] + plain["macs@b"]
        assert all(layer["bottleneck"] in ("compute", "memory", "overhead") for layer in layers)
    assert v100["totals"]["latency_ms"] == pytest.approx(
        sum(y["latency_ms"] for y in v100["layers"])
    )
    # side by side they take less than one after the other
    assert chip["totals"]["latency_ms"] < sum(layer["latency_ms"] for layer in chip["layers"])
    text = cli.run(*words, "--explain", "--batch", "2", "--resolution", "24").stdout
    assert (
        "chip: dla 64 16 + shi 64 8 (family maestro, not calibrated, batch 2, int8, images" in text
    )
    assert text.count("costliest layers") == 1


def test_devices_of_a_product_are_known_by_name(cli: Any) -> None:
    words = [*PRODUCT, "--arch", CHOICE, "--device"]
    assert "did you mean chip" in cli.run(*words, "chips", code=2).stderr
    assert (
        "estimate that factor of the product by itself" in cli.run(*words, "pixel3", code=2).stderr
    )
    Path("p.jsonl").write_text(f"{CHOICE}\n", encoding="utf-8")
    [line] = cli.run(*PRODUCT, "--arch", "@p.jsonl", "--explain").stdout.splitlines()
    assert json.loads(line)["devices"][0]["fits"]


def test_measured_devices_are_named_and_not_explained(cli: Any) -> None:
    words = ["estimate", "--space", "nb201", "--arch", RESNET, "--device", "pixel3"]
    value = json.loads(cli.run(*words, "--explain", "--json").stdout)
    assert value["metrics"]["latency_ms@pixel3"] == pytest.approx(14.7189)
    assert value["devices"][0]["family"] == "measured"
    assert "latency_ms@pixel3" in cli.run(*words, "--explain").stdout
    assert "known by measurements alone" in cli.run(*words, "--batch", "2", code=2).stderr


def test_a_file_of_architectures_is_explained_line_by_line(cli: Any) -> None:
    Path("a.jsonl").write_text(f"{json.dumps(RESNET)}\n[1]\n", encoding="utf-8")
    words = [*SMALL, "--arch", "@a.jsonl", "--device", "cpu_generic", "--explain", "--top", "2"]
    first, second = map(json.loads, cli.run(*words).stdout.splitlines())
    assert len(first["devices"][0]["layers"]) == 2
    assert list(second) == ["error"]


# ------------------------------------------------------------------------ networks of users


def test_a_function_that_builds_a_network(cli: Any, nets: str) -> None:
    words = ["estimate", "--network", f"{nets}:linear", "--input", "1x3x4x4"]
    value = json.loads(cli.run(*words, "--device", "cpu_generic", "--json").stdout)
    assert value["network"] == f"{nets}:linear"
    assert (value["metrics"]["params"], value["metrics"]["macs"]) == (490, 480)
    assert value["metrics"]["peak_memory_bytes@cpu_generic"] == 490 * 4 + (48 + 10) * 4
    wide = json.loads(cli.run(*words, "--option", "width=20", "--json").stdout)
    assert wide["metrics"]["macs"] == 960
    text = cli.run(*words, "--device", "cpu_generic", "--explain").stdout
    assert re.search(r"^macs +480 MACs$", text, re.MULTILINE)
    assert "linear" in text


def test_a_class_may_declare_its_input(cli: Any, nets: str) -> None:
    value = json.loads(cli.run("estimate", "--network", f"{nets}:Declared", "--json").stdout)
    assert value["metrics"]["macs"] == 3 * 2 * 16


def test_a_network_file(cli: Any) -> None:
    import torch

    program = torch.export.export(torch.nn.Linear(6, 4), (torch.zeros(1, 6),))
    torch.export.save(program, cli.folder / "n.pt2")
    words = ["estimate", "--network", "n.pt2", "--device", "cpu_generic", "--json"]
    value = json.loads(cli.run(*words).stdout)
    assert (value["network"], value["metrics"]["macs"]) == ("n.pt2", 24)


def test_onnx_is_an_extra(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("n.onnx").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert "netloom[onnx]" in cli.run("estimate", "--network", "n.onnx", code=5).stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--network", "{n}:linear"], "--input 1x3x224x224"),
        (["--network", "{n}:linear", "--input", "1x3x4"], "failed in"),
        (["--network", "{n}:linear", "--input", "1xax4"], "--input must be a shape"),
        (["--network", "{n}:linear", "--input", "0x3x4"], "--input must be a shape"),
        (["--network", "{n}:linear", "--option", "with=3", "--input", "1x48"], "TypeError"),
        (["--network", "{n}:nothing", "--input", "1x48"], "unknown name"),
        (["--network", "{n}:wrong", "--input", "1x48"], "must return a torch.nn.Module"),
        (["--network", "{n}:NETS", "--space", "nb201"], "got both"),
        (["--network", "none.onnx"], "does not exist"),
        (["--network", "n.onnx", "--option", "a=1"], "takes no --option"),
        (["--network", "{n}:linear", "--input", "2x48", "--batch", "2"], "--batch counts inputs"),
        (["--network", "{n}:linear", "--input", "1x48", "--device", "pixel3"], "use tabular"),
        (["--space", "nb201"], "needs --space and --arch, or --network"),
        ([], "got neither"),
        (["--space", "nb201", "--arch", RESNET, "--input", "1x3"], "--input goes with --network"),
        (["--space", "nb201", "--arch", RESNET, "--top", "2"], "add --explain"),
    ],
)
def test_wrong_networks_are_refused(cli: Any, nets: str, words: list[str], said: str) -> None:
    code = 1 if said == "failed in" else 2
    result = cli.run("estimate", *(w.replace("{n}", nets) for w in words), code=code)
    assert result.stdout == ""
    assert said in result.stderr


# ------------------------------------------------------------------------ devices


def test_devices_of_users_are_found_and_shown_in_full(
    cli: Any, board: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {row["name"]: row for row in json.loads(cli.run("devices", "--json").stdout)}
    assert rows["my-board"]["error_percent"] == {"latency_ms": 4.5}
    assert rows["my-board"]["origin"] == str(board)
    assert rows["my-board"]["numbers"][0] == "clock 1 GHz"
    assert "latency_ms 4.5 %" in cli.run("devices").stdout
    shown = cli.run("devices", "my-board").stdout
    for text in ("0.98", "forty networks", "flops_per_cycle", "data sheet", str(board)):
        assert text in shown
    assert "never compared" in cli.run("devices", "cpu_generic").stdout
    value = json.loads(cli.run("devices", "my-board", "--json").stdout)
    assert value["gives"]["latency_ms"] == "analytic"
    families = json.loads(cli.run("devices", "--family", "cpu", "--json").stdout)
    assert {row["family"] for row in families} == {"cpu"}
    assert completion.families("cp") == ["cpu"]
    assert "my-board" in completion.devices("my-")
    assert "did you mean my-board" in cli.run("devices", "my-bord", code=2).stderr
    elsewhere = cli.folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert "unknown device" in cli.run("devices", "my-board", code=2).stderr
    monkeypatch.setenv("NETLOOM_DEVICES", str(board.parent))
    assert "A board" in cli.run("devices", "my-board").stdout
    monkeypatch.delenv("NETLOOM_DEVICES")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(cli.folder / "config"))
    (cli.folder / "config" / "netloom").mkdir(parents=True)
    board.parent.rename(cli.folder / "config" / "netloom" / "devices")
    assert "A board" in cli.run("devices", "my-board").stdout


def test_a_fitted_table_is_not_listed_value_by_value() -> None:
    rows = [(f"fit.table.conv {n}", str(n), "") for n in range(100)]
    rows += [("fit.scale", "2", ""), ("clock", "1 GHz", "data sheet")]
    assert devices._shortened(rows) == [
        ["fit.table", "100 values; --json has them", ""],
        ["fit.scale", "2", ""],
        ["clock", "1 GHz", "data sheet"],
    ]


def test_a_broken_device_file_hides_no_other(cli: Any, board: Path) -> None:
    (board.parent / "torn.yaml").write_text("name: torn\n", encoding="utf-8")
    (board.parent / "other.yaml").write_text(DEVICE, encoding="utf-8")
    rows = {row["name"]: row for row in json.loads(cli.run("devices", "--json").stdout)}
    assert "torn.yaml" in rows["torn"]["error"]
    assert "rename one of them" in rows["other"]["error"]
    assert rows["my-board"]["calibrated"]
    assert "cannot be used: " in cli.run("devices").stdout


def test_a_search_finds_devices_beside_its_spec(
    cli: Any, board: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cli.folder / "b.yaml").write_text(
        "space: {name: nb201, channels: 4, cells: 1}\n"
        "estimators: [{name: hardware, devices: [my-board]}]\nstrategy: random\n"
        "objectives: [{minimize: latency_ms@my-board}]\nbudget: {trials: 3}\n",
        encoding="utf-8",
    )
    elsewhere = cli.folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    cli.stored("search", str(cli.folder / "b.yaml"), "--quiet")
    front = cli.json("pareto", "b")["front"]
    assert front[0]["metrics"]["latency_ms@my-board"] > 0
