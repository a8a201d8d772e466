"""What stands behind the numbers: the data set, and how wrong the models of devices are."""

from __future__ import annotations

import json
from dataclasses import replace

from netloom.dashboard.origins import DataOrigin, model_origins
from netloom.dashboard.report import report_html
from netloom.dashboard.report_formats import report_text

from .conftest import ACCURACY, LATENCY
from .test_report import Page

MODEL = {"kind": "model", "source": "mine", "family": "cpu", "calibrated": True, "version": 3}
FITTED = replace(LATENCY, name="latency_ms@mine", provenance={**MODEL, "error_percent": 4.125})
SHARE = {**MODEL, "calibrated": False, "proportional_to": "latency_ms@mine"}
ENERGY = replace(LATENCY, name="energy_mj@mine", unit="mJ", provenance=SHARE)
DATA = {
    "name": "digits",
    "licence": "CC BY 4.0",
    "identity": {"resolution": 8, "valid": 0.2},
    "fingerprint": "d" * 64,
}


def test_report_and_json_say_it(store, make, pairs):
    record = make(
        pairs([(90, 5), (95, 9)]),
        metrics=(ACCURACY, LATENCY, FITTED, ENERGY),
        info={"data": DATA},
    )
    text = Page(report_html(store, "toy")).text
    for said in (
        "latency_ms@mine mine cpu, version 3 fitted to measurements 4.12 %",
        "not fitted to measurements, a multiple of latency_ms@mine never compared with",
        "data set digits licence CC BY 4.0 resolution 8 valid 0.2 fingerprint dddd",
    ):
        assert said in text, said
    (found,) = json.loads(report_text(store, ["toy"], "json"))["experiments"]
    assert found["data"] == DATA
    assert [(each["metric"], each["error_percent"]) for each in found["devices"]] == [
        ("latency_ms@mine", 4.125),
        ("energy_mj@mine", None),
    ]
    markdown = report_text(store, ["toy"], "md")
    assert (
        "| latency_ms@mine | mine | cpu, version 3 | fitted to measurements | 4.12 % |" in markdown
    )
    assert "| licence | CC BY 4.0 |" in markdown
    assert [each.metric for each in model_origins(record)] == ["latency_ms@mine", "energy_mj@mine"]


def test_older_experiments_say_what_their_spec_knows(make):
    assert DataOrigin.of(make()) is None
    record = make(name="old", spec={"version": 1, "data": {"name": "npz", "path": "x.npz"}})
    found = DataOrigin.of(record)
    assert found.rows == [("data set", "npz"), ("licence", "not stated"), ("path", "x.npz")]


def test_tables_and_counts_are_no_models_of_devices(store, make, pairs):
    make(pairs([(90, 5)]))
    assert "Models of devices" not in report_html(store, "toy")
