"""One network taken apart, as plain data: bars, memory, neighbours, two side by side."""

from __future__ import annotations

import base64
import copy
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import pytest

from netloom.dashboard.architecture_figures import WAITS, layers_figure, memory_figure
from netloom.dashboard.details import TrialView
from netloom.dashboard.explained import ArchitectureView, Drawing
from netloom.dashboard.neighbours import (
    change_text,
    decision_pairs,
    front_rows,
    metric_pairs,
    neighbours,
)
from netloom.dashboard.pages import architecture
from netloom.dashboard.pages.architecture_parts import drawings_part
from netloom.dashboard.source import Source
from netloom.dashboard.table import TrialTable
from netloom.dashboard.words import origin_text
from netloom.db.records import EXPLANATION
from netloom.errors import StoreError
from netloom.spaces import SPACES
from netloom.spaces.drawing import draw
from netloom.spaces.part import Part

HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>%{x}"
FITTED = {"source": "fitted", "validation": {"mape_percent": 4.12, "n": 60}}
DOCUMENT: dict[str, Any] = {  # two layers; what a run stores of them
    "format": 1,
    "networks": [
        {
            "name": "",
            "space": "two",
            "drawing": '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>',
            "parts": 2,
            "totals": {"params": 40, "macs": 2304, "peak_activation_bytes": 2048},
            "layers": {
                "name": ["conv", "relu"],
                "kind": ["conv", "elementwise"],
                "macs": [2304, 0],
                "params": [40, 0],
                "output_bytes": [1024, 1024],
                "shape": ["4 x 8 x 8", "4 x 8 x 8"],
            },
        }
    ],
    "devices": {
        "board": {
            "device": "board",
            "title": "A board",
            "family": "mcu",
            "calibrated": False,
            "batch": 1,
            "dtype": "int8",
            "fits": False,
            "reasons": [{"text": "board has 100 bytes of SRAM; the network needs 768"}],
            "totals": {"latency_ms": 3.0, "peak_memory_bytes": 768},
            "units": {"latency_ms": "ms", "peak_memory_bytes": "bytes"},
            "provenance": {"latency_ms": FITTED, "peak_memory_bytes": {"source": "analytic"}},
            "waits_for": {"compute": 66.7, "memory": 33.1, "overhead": 0.2},
            "layers": {
                "name": ["conv", "relu"],
                "kind": ["conv", "elementwise"],
                "latency_ms": [2.0, 1.0],
                "macs": [2304, 0],
                "bytes_moved": [1440, 2048],
                "bottleneck": ["compute", "memory"],
            },
            "memory": {
                "planner": "greedy16",
                "arena_bytes": 512,
                "beside_bytes": 256,
                "peak_bytes": 768,
                "budget_bytes": 640,
                "steps": {
                    "op": ["conv", "relu"],
                    "kind": ["conv", "lut"],
                    "live_bytes": [320, 512],
                },
                "peak": {
                    "op": "relu",
                    "live_bytes": 512,
                    "blocks": [
                        {"name": "small", "bytes": 100, "role": "scratch"},
                        {"name": "large", "bytes": 412, "role": "tensor"},
                    ],
                },
            },
        }
    },
}


@pytest.fixture
def taken(store: Any, make: Any, pairs: Any) -> Any:
    """Give the view of a network of which a document is stored."""

    def taken(document: dict[str, Any] | None) -> ArchitectureView:
        record = make(pairs([(90, 5)]))
        if document is not None:
            with store.transaction() as transaction:
                transaction.add_details(record.id, 0, EXPLANATION, document)
        return ArchitectureView.of(store, "toy", 0)

    return taken


def test_the_bars_of_two_known_layers(taken: Any) -> None:
    view = taken(DOCUMENT)
    device = view.devices["board"]
    assert (device.verdict, device.reasons) == (
        "does not fit",
        ("board has 100 bytes of SRAM; the network needs 768",),
    )
    assert device.totals[0] == (
        "latency_ms",
        "3 ms",
        "(fitted, 4.12 % off on average in 60 measurements)",
    )
    assert device.waits == (("compute", 66.7), ("memory", 33.1))  # what is under 0.5 % is left out
    assert device.bars.values.tolist() == [2.0, 1.0]
    assert device.bars.costliest(5) == [0, 1]
    assert view.counts.values.tolist() == [2304, 0]
    assert view.counts.costliest(5) == [0]  # a layer that costs nothing is none of them
    figure = layers_figure({"trial 0": device.bars})
    first, second = figure.data
    assert (first.name, list(first.x), list(first.y)) == ("waits for arithmetic", [1], [2.0])
    assert first.marker.color == WAITS["compute"]
    assert (second.name, list(second.x), list(second.y)) == ("waits for memory", [2], [1.0])
    assert "66.7 %" in first.text[0]
    assert "1.406 KB moved" in first.text[0]


def test_boxes_are_listed_in_full_since_pictures_have_no_tooltips(taken: Any) -> None:
    document = copy.deepcopy(DOCUMENT)
    part = Part("x.y:Z(1) @ 1", "<a>.b", partial(Fraction, 3), ())
    document["networks"][0]["drawing"] = draw([part], title="t")
    [drawing] = taken(document).drawings
    assert drawing.boxes == [("<a>.b", "Fraction(numerator=3) makes output")]
    assert drawing.plain


def test_boxes_of_two_networks_stand_side_by_side(taken: Any) -> None:
    def network(*numbers: int) -> ArchitectureView:
        parts = [Part("k", f"p{i}", partial(Fraction, n), ()) for i, n in enumerate(numbers)]
        drawing = Drawing("", draw(parts), "", ())
        return replace(taken_apart, drawings=(drawing,))

    taken_apart = taken(DOCUMENT)
    page = str(drawings_part(network(1, 2), network(1, 3, 4)))
    assert "2 of 3 boxes differ" in page
    assert page.count("className='differs'") == 2
    assert "in full" not in page
    assert "The 2 boxes in full" in str(drawings_part(network(1, 2), None))


@pytest.mark.parametrize("name", ["nb201", "hiera"])
def test_what_is_drawn_can_be_saved_as_it_is(name: str) -> None:
    space = SPACES.get(name)(preset="tiny")
    assert Drawing("", draw(space.parts(space.at(3))), "", ()).plain


@pytest.mark.parametrize(
    "inside", ["<script>1</script>", "<g onload='1'>", '<g onload="1">', "<a href='#'>", "<!--"]
)
def test_what_could_run_is_no_plain_drawing(inside: str) -> None:
    assert not Drawing("", f"<svg>{inside}</svg>", "", ()).plain


def test_memory_lies_below_its_budget_line(taken: Any) -> None:
    line = taken(DOCUMENT).devices["board"].memory
    assert line.blocks == (("large", "tensor", 412), ("small", "scratch", 100))
    figure = memory_figure({"trial 0": line})
    own, alive, points = figure.data
    assert set(own.y) == {256 / 1024}
    assert np.array(alive.y).tolist() == [576 / 1024, 768 / 1024, 768 / 1024]
    assert list(points.x) == [1, 2]
    assert [shape.y0 for shape in figure.layout.shapes] == [640 / 1024, 768 / 1024]
    assert "budget 640 B" in [text.text for text in figure.layout.annotations]


def test_two_networks_are_drawn_to_one_scale(taken: Any) -> None:
    bars = taken(DOCUMENT).devices["board"].bars
    figure = layers_figure({"trial 0": bars, "trial 1": bars})
    assert figure.layout.yaxis2.matches == "y"
    assert [trace.showlegend for trace in figure.data] == [True, True, False, False]


def test_what_is_not_stored_names_the_command(taken: Any) -> None:
    view = taken(None)
    assert (view.stored, view.command) == (False, "netloom explain toy --trial 0")
    assert (view.drawings, view.counts, dict(view.devices)) == ((), None, {})


def test_what_failed_says_why(taken: Any) -> None:
    view = taken(
        {
            "networks": [],
            "error": "RuntimeError: no layer",
            "devices": {"board": {"device": "board", "error": "RuntimeError: no layer"}},
        }
    )
    assert (view.stored, view.reason, view.counts) == (True, "RuntimeError: no layer", None)
    device = view.devices["board"]
    assert (device.verdict, device.error, device.bars) == (
        "not known",
        "RuntimeError: no layer",
        None,
    )


def test_a_picture_is_only_ever_a_picture(taken: Any) -> None:
    hostile = copy.deepcopy(DOCUMENT)
    hostile["networks"][0]["drawing"] = f"<svg>{HOSTILE}</svg>"
    for table in (hostile["networks"][0]["layers"], hostile["devices"]["board"]["layers"]):
        table["name"] = [HOSTILE, HOSTILE]
    memory = hostile["devices"]["board"]["memory"]
    memory["steps"]["op"] = [HOSTILE, HOSTILE]
    view = taken(hostile)
    head, _, body = view.drawings[0].source.partition(",")
    assert head == "data:image/svg+xml;base64"
    assert HOSTILE in base64.b64decode(body).decode()
    device = view.devices["board"]
    for figure in (
        layers_figure({HOSTILE: device.bars, "b": device.bars}),
        memory_figure({HOSTILE: device.memory, "b": device.memory}),
    ):
        text = str(figure.to_dict())
        assert "<script" not in text
        assert "<img" not in text
        templates = [trace.hovertemplate or "" for trace in figure.data]
        assert not any("alert" in template for template in templates)  # no fields of its own


def test_the_next_cheaper_and_the_next_dearer_of_a_front(store: Any, make: Any, pairs: Any) -> None:
    #             0        1        2        3 beaten  4
    record = make(pairs([(80, 1), (85, 2), (90, 4), (84, 3), (95, 8)]))
    table = TrialTable.read(store, record)
    members = front_rows(record, table)
    assert [row.number for row in members] == [0, 1, 2, 4]
    found = neighbours(record, members, TrialView.of(store, "toy", 2))
    assert [(n.axis.metric, n.side, n.number) for n in found] == [
        ("latency_ms@pixel3", "cheaper", 1),
        ("latency_ms@pixel3", "dearer", 4),
    ]
    dearer = {d.axis.metric: (d.change, d.better, d.text) for d in found[1].differences}
    assert dearer == {
        "valid_accuracy": (5.0, True, "+5 %"),
        "latency_ms@pixel3": (4.0, False, "+4 ms"),
    }
    ends = neighbours(record, members, TrialView.of(store, "toy", 0))
    assert [(n.side, n.number) for n in ends] == [("dearer", 1)]
    beaten = neighbours(record, members, TrialView.of(store, "toy", 3))  # not on the front
    assert [(n.side, n.number) for n in beaten] == [("cheaper", 1), ("dearer", 2)]


def test_without_costs_every_objective_has_neighbours(store: Any, make: Any, pairs: Any) -> None:
    goals = ({"metric": "valid_accuracy", "direction": "maximize"},)
    record = make(pairs([(80, 1), (95, 2)]), objectives=goals)
    members = front_rows(record, TrialTable.read(store, record))
    [found] = neighbours(record, members, TrialView.of(store, "toy", 0))
    assert (found.number, found.differences[0].better) == (1, True)


def test_two_networks_side_by_side(store: Any, make: Any, trial: Any) -> None:
    make(
        [
            trial(0, {"valid_accuracy": 90.0, "latency_ms@pixel3": 5.0}),
            trial(1, {"valid_accuracy": 90.0, "latency_ms@pixel3": 4.0, "params": 7.0}),
        ]
    )
    here, there = (TrialView.of(store, "toy", number) for number in (0, 1))
    assert [(p.name, p.here, p.there, p.differs) for p in decision_pairs(here, there)] == [
        ("edge0", "nor_conv_3x3", "nor_conv_3x3", False),
        ("edge1", "0", "1", True),
    ]
    pairs = {p.name: (p.differs, p.change, p.better) for p in metric_pairs(here, there)}
    assert pairs == {
        "valid_accuracy": (False, "", None),
        "latency_ms@pixel3": (True, "-1 ms", True),
        "params": (True, "", None),
    }


@pytest.mark.parametrize("trial", ["99", "-1", "<script>", "9" * 12, "²"])
def test_a_trial_that_is_none_is_an_error_of_the_page(
    store: Any, make: Any, pairs: Any, trial: str
) -> None:
    make(pairs([(80, 5)]))
    with pytest.raises(StoreError, match="trial"):
        architecture.layout(Source(store.url), "toy", trial, "")


def test_the_url_holds_what_is_shown() -> None:
    assert architecture.Shown.parse("?beside=7&device=stm32") == architecture.Shown(7, "stm32")
    assert architecture.Shown.parse("?beside=7&device=stm32").search == "?beside=7&device=stm32"
    assert architecture.Shown.parse("?device=").device == ""
    assert architecture.Shown.parse("?beside=x%00&other=1") == architecture.Shown()
    assert architecture.Shown().search == ""


def test_words() -> None:
    assert change_text(1.25, "ms") == "+1.25 ms"
    assert change_text(-2048, "bytes") == "-2 KB"
    assert change_text(0, "%") == "the same"
    assert origin_text({"source": "analytic", "derived_from": "latency_ms"}) == (
        "(analytic, a multiple of latency_ms, never compared with measurements)"
    )
