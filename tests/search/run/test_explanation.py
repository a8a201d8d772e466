"""What is stored of a network for those who look at it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from netloom.db import Store
from netloom.db.records import EXPLANATION
from netloom.estimators.hardware import DeviceChoice, Hardware
from netloom.hw_models import trace
from netloom.search.run import explanation, finishing
from netloom.search.run.explanation import MAX_BYTES, Explainer, explain_trials
from netloom.search.run.plan import Plan
from netloom.search.run.runner import Runner
from netloom.search.run.traced_drawing import drawn_layers
from netloom.spaces import SPACES, Decision, DecisionSpace, Space

from ..conftest import BOARD

Plans = Callable[..., Plan]


class Two(Space):
    """A convolution of some width on 8 x 8 pixels, and its positive part."""

    name = "two"
    decisions = (Decision("width", (4, 8)),)

    def build(self, architecture: Any) -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, architecture["width"], 3, padding=1), nn.ReLU())

    def example_input(self, architecture: Any) -> torch.Tensor:
        return torch.zeros(1, 1, 8, 8)


class Upwards(Two):
    """A transposed convolution."""

    name = "upwards"

    def build(self, architecture: Any) -> nn.Module:
        return nn.Sequential(nn.ConvTranspose2d(1, architecture["width"], 2, stride=2))


class Dead(Two):
    """Its networks cannot be built."""

    name = "dead"

    def build(self, architecture: Any) -> nn.Module:
        raise RuntimeError("no such <layer>")


@pytest.fixture
def board(tmp_path: Path) -> str:
    (tmp_path / "board.yaml").write_text(BOARD, encoding="utf-8")
    return str(tmp_path / "board.yaml")


def hardware(space: DecisionSpace, *devices: str) -> Hardware:
    return Hardware(space, devices=[DeviceChoice(device=device) for device in devices])


def test_the_layers_of_a_network_that_can_be_counted_with_a_pencil(board: str) -> None:
    space = Two()
    document = Explainer(space, [hardware(space, board)]).document(space.at(0))
    [network] = document["networks"]
    assert network["totals"]["params"] == 4 * 9 + 4
    assert network["layers"]["macs"] == [4 * 9 * 64, 0]
    assert network["layers"]["params"] == [40, 0]
    assert network["layers"]["shape"] == ["4 x 8 x 8", "4 x 8 x 8"]
    picture = network["drawing"]  # by its layers, since the space gives no parts
    assert picture.count("<g><title>") == network["parts"] == 2
    assert ">3x3</text>" in picture
    assert ">4 ch, 8 x 8</text>" in picture
    assert ">conv2d</text>" in picture
    device = document["devices"]["board"]
    # 2 FLOP per MAC at 2 GFLOP/s, 256 + 1024 + 160 bytes at 1 GB/s; then 2 x 1024 bytes
    assert device["layers"]["latency_ms"] == [0.002304, 0.002048]
    assert device["layers"]["bottleneck"] == ["compute", "memory"]
    assert device["layers"]["bytes_moved"] == [1440, 2048]
    assert device["totals"]["latency_ms"] == pytest.approx(0.004352)
    assert (device["fits"], device["reasons"]) == (True, [])


def test_what_cannot_be_put_together_says_why_and_is_made_next_time(board: str) -> None:
    space = Two()
    explainer = Explainer(space, [hardware(space, board)])
    known = {"devices": {"gone": {"layers": {"latency_ms": None}}}}  # no columns of an older run
    document = explainer.document(space.at(0), known)
    assert document["networks"] == []
    assert document["error"].startswith("TypeError: ")
    assert document["devices"]["board"] == {"device": "board", "error": document["error"]}
    assert document["devices"]["gone"] == known["devices"]["gone"]
    whole = explainer.document(space.at(0), {**document, "devices": {}})
    assert whole == explainer.document(space.at(0))
    assert "error" not in whole


def test_without_parts_and_without_layers_there_is_no_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    space = Two()
    [network] = Explainer(space, []).document(space.at(0))["networks"]
    assert "layers were not counted" in network["reason"]
    monkeypatch.setattr(explanation, "MOST", 1)
    [network] = Explainer(space, [], counted=True).document(space.at(0))["networks"]
    assert "2 layers are no picture" in network["reason"]


def test_boxes_read_what_a_renamed_tensor_was() -> None:
    class Branches(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            flat = torch.relu(x).flatten(1)  # a view: no box
            return flat + torch.tanh(flat)

    boxes = drawn_layers(trace(Branches(), torch.zeros(1, 2, 4)))
    assert [box.kind for box in boxes] == ["relu", "tanh", "add"]
    assert [[i.source for i in box.inputs] for box in boxes] == [[-1], [0], [0, 1]]


def test_a_space_with_parts_is_drawn_and_a_microcontroller_has_a_timeline() -> None:
    space = SPACES.get("nb201")()
    cell = space.parse("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|")
    model = hardware(space, "stm32f746")
    document = Explainer(space, [model]).document(cell)
    assert document["networks"][0]["drawing"].startswith("<svg ")
    device = document["devices"]["stm32f746"]
    memory = device["memory"]
    plan = model.targets["stm32f746"].model.memory_plan(model.networks(cell)[0])
    assert memory["steps"]["live_bytes"] == [step.live_bytes for step in plan.timeline]
    assert memory["peak_bytes"] == device["totals"]["peak_memory_bytes"] == plan.peak_bytes
    assert memory["budget_bytes"] == 316 * 1024  # 320 KB without what the runtime reserves
    assert sum(block["bytes"] for block in memory["peak"]["blocks"]) == plan.liveness_bytes
    assert max(memory["steps"]["live_bytes"]) == memory["peak"]["live_bytes"]


def test_what_cannot_be_made_is_a_reason() -> None:
    plain = DecisionSpace([Decision("width", (1, 2))])
    plain.name = "plain"
    document = Explainer(plain, [], counted=True).document(plain.at(0))
    assert document["networks"] == []
    assert "builds no networks" in document["reason"]
    space = Dead()
    broken = Explainer(space, [hardware(space, "cpu_generic")]).document(space.at(0))
    assert "no such <layer>" in broken["error"]
    assert "no such <layer>" in broken["devices"]["cpu_generic"]["error"]


def test_a_device_that_cannot_run_a_layer_says_so() -> None:
    space = Upwards()
    document = Explainer(space, [hardware(space, "stm32f746")]).document(space.at(0))
    device = document["devices"]["stm32f746"]
    assert device["fits"] is False
    assert device["reasons"][0]["layer"] == "0"
    assert not {"totals", "memory", "error"} & device.keys()
    assert document["networks"][0]["layers"]["name"] == ["0"]


def test_nothing_is_made_again_until_a_model_changes(
    board: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = Two()
    member = space.at(1)
    first = Explainer(space, [hardware(space, board)]).document(member)
    asked: list[str] = []
    real = explanation.explanation
    monkeypatch.setattr(
        explanation,
        "explanation",
        lambda w, name, *a, **k: asked.append(name) or real(w, name, *a, **k),
    )
    assert Explainer(space, [hardware(space, board)]).document(member, first) == first
    assert asked == []
    more = Explainer(space, [hardware(space, "cpu_generic")]).document(member, first)
    assert asked == ["cpu_generic"]
    assert more["devices"]["board"] == first["devices"]["board"]  # stays
    Path(board).write_text(BOARD.replace("value: 2, unit: FLOP", "value: 1, unit: FLOP"))
    again = Explainer(space, [hardware(space, board)]).document(member, more)
    assert asked == ["cpu_generic", "board"]
    then, now = (each["devices"]["board"]["layers"]["latency_ms"][0] for each in (first, again))
    assert (then, now) == (2 * 8 * 9 * 64 / 2e6, 2 * 8 * 9 * 64 / 1e6)


def test_long_networks_are_added_up_and_stay_small(monkeypatch: pytest.MonkeyPatch) -> None:
    space = SPACES.get("darts")()
    member = space.at(space.size - 1)
    whole = Explainer(space, [hardware(space, "cpu_generic")]).document(member)
    monkeypatch.setattr(explanation, "MAX_ROWS", 100)
    short = Explainer(space, [hardware(space, "cpu_generic")]).document(member)
    before, after = whole["devices"]["cpu_generic"], short["devices"]["cpu_generic"]
    assert after["added_up"] == len(before["layers"]["name"]) > 100
    assert len(after["layers"]["name"]) <= 100
    for name in ("latency_ms", "macs", "bytes_moved"):
        assert sum(after["layers"][name]) == pytest.approx(sum(before["layers"][name]), rel=1e-4)
    monkeypatch.setattr(explanation, "MAX_BYTES", 6000)
    tiny = Explainer(space, [hardware(space, "cpu_generic")]).document(member)
    assert explanation._size(whole) < MAX_BYTES
    assert explanation._size(tiny) <= 6000
    assert "takes more room" in tiny["networks"][0]["reason"]


def test_a_run_explains_its_front_once(store: Store, plan: Plans) -> None:
    changes: dict[str, Any] = {
        "space": {"name": "nb201"},
        "estimators": ["tabular", {"name": "hardware", "devices": ["cpu_generic"]}],
        "objectives": [{"maximize": "valid_accuracy"}, {"minimize": "latency_ms@cpu_generic"}],
        "budget": {"trials": 6},
    }
    made = plan(**changes)
    summary = Runner(made, store).run()
    number = summary.front[0].number
    kept = store.details(summary.experiment.id, number, EXPLANATION)
    assert kept is not None
    given = kept["devices"]["cpu_generic"]["totals"]["latency_ms"]
    assert given == pytest.approx(summary.front[0].metrics["latency_ms@cpu_generic"])
    on_front = {trial.number for trial in summary.front}
    for trial in store.trial_records(summary.experiment.id):
        known = store.details(summary.experiment.id, trial.number, EXPLANATION)
        assert (known is not None) == (trial.number in on_front)
    explainer = Explainer(made.space, made.estimators)
    again = explain_trials(store, summary.experiment.id, explainer, summary.front)
    assert again.made == []
    assert json.loads(json.dumps(again.documents[number])) == kept


def test_time_that_is_up_leaves_the_rest(store: Store, plan: Plans) -> None:
    made = plan()
    summary = Runner(made, store).run()
    explainer = Explainer(made.space, made.estimators)
    found = explain_trials(store, summary.experiment.id, explainer, summary.front, seconds=-1.0)
    assert found.left == [trial.number for trial in summary.front]


def test_a_run_survives_an_explainer_that_breaks(
    store: Store, plan: Plans, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("out of pencils")

    monkeypatch.setattr(finishing, "Explainer", broken)
    heard: list[str] = []
    hear = lambda event: heard.append(str(event.data.get("text", "")))  # noqa: E731
    summary = Runner(plan(), store, listeners=[hear]).run()
    assert (summary.exit_code, summary.experiment.status) == (0, "done")
    assert any("the front was not taken apart" in t and "out of pencils" in t for t in heard)
