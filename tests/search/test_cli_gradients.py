"""Searches by gradients from the command line: what they store, and what bad input gets."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from netloom.db import Store

SPEC: dict[str, Any] = {
    "version": 1,
    "name": "few",
    "space": {"name": "nb201", "channels": 4, "cells": 1},
    "data": {"name": "shapes", "classes": 2, "resolution": 8, "examples": 60},
    "strategy": {"name": "darts", "epochs": 2, "batch_size": 16, "arch_lr": 0.1},
    "estimators": [
        {"name": "complexity"},
        {"name": "hardware", "devices": ["cpu_generic", {"device": "v100", "as": "big"}]},
    ],
    "objectives": [{"minimize": "latency_ms@cpu_generic"}, {"minimize": "macs"}],
    "constraints": ["latency_ms@big <= 100"],
    "budget": {"trials": 2},
    "baseline": False,
    "runner": {"engine": "inline"},
}
FEW_SHOT = {
    "name": "gm_fewshot",
    "base": "darts_1st",
    "split_epochs": [1],
    "epochs": 1,
    "batch_size": 16,
    "match_batches": 1,
    "calibration_batches": 1,
}


@pytest.fixture
def search(cli: Any) -> Any:
    """Run the spec with changes; `strategy` is merged."""

    def search(*words: str, code: int = 0, **changes: Any) -> Any:
        strategy = {**SPEC["strategy"], **changes.pop("strategy", {})}
        cli.spec.write_text(yaml.safe_dump({**SPEC, "strategy": strategy, **changes}))
        return cli.search(*words, code=code)

    return search


def test_costs_of_every_epoch_are_those_of_the_trials(cli: Any, search: Any) -> None:
    search("-q", strategy={"propose": "epochs"}, budget={"trials": 3})
    with Store(cli.store, read_only=True) as store:
        id = store.experiment("few").id
        curves = store.curves(id, strategy=True).set_index(["name", "step"])["value"]
        (note,) = store.notes(id)
        trials = {t.notation: t.metrics for t in store.trial_records(id)}
    assert (note.name, note.kind) == ("search/genotypes", "genotypes")
    runs = note.value["genotypes"]
    assert [runs[0]["epochs"][0], runs[-1]["epochs"][1]] == [1, 2]
    for run in runs:
        for metric in ("latency_ms@cpu_generic", "latency_ms@big", "macs"):
            for epoch in run["epochs"]:
                stored = curves[f"search/{metric}", epoch]
                assert stored == trials[run["notation"]][metric]


def test_an_experiment_names_its_curves_and_notes(cli: Any, search: Any) -> None:
    search("-q", strategy=FEW_SHOT)
    shown = cli.stored("show", "few").stdout
    assert "entropy" in shown
    assert "search/tree" in shown
    assert "netloom report few" in shown
    value = cli.json("show", "few")
    assert "search/root/latency_ms@big" in value["curves"]
    assert {"name": "search/tree", "kind": "split_tree"} in value["notes"]
    tree = json.loads(cli.stored("show", "few", "--note", "search/tree").stdout)
    assert [node["parent"] for node in tree["nodes"]] == [None, "root", "root"]
    assert all(node["notation"] for node in tree["nodes"][1:])
    assert (
        "did you mean search/tree"
        in cli.stored("show", "few", "--note", "search/tre", code=2).stderr
    )
    both = cli.stored("show", "few", "--note", "search/tree", "--trial", "0", code=2).stderr
    assert "--trial or --note, got both" in both
    cli.stored("report", "few", "-o", "few.html")
    html = (cli.folder / "few.html").read_text("utf-8")
    for said in ("Tree of splits: search/tree", "Genotypes over epochs", "Distances of options"):
        assert said in html


def test_nothing_is_said_of_what_is_not_there(cli: Any) -> None:
    cli.search("-q")
    assert "notes" not in cli.stored("show", "toy").stdout
    assert cli.json("show", "toy")["notes"] == []
