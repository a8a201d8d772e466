"""Searches by gradients from the command line: what they store, and what bad input gets."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest
import yaml

from netloom.db import Store
from netloom.search.one_shot.trainer import Trainer

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


# ---------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"space": {"name": "nats_sss"}}, "darts needs a space that mixes operations; nats_sss"),
        ({"cost": {"valid_accuracy": 1.0}}, "cost: a term must add up over the layers"),
        ({"cost": {"peak_activation_bytes": 1.0}}, "objective or a constraint instead"),
        ({"cost": {"latency_ms": 1.0}}, "cost: 'latency_ms' does not follow from"),
        ({"cost": {"latency_ms@big": 1.0}}, "cost: 'latency_ms@big' needs a device's own name"),
        ({"cost": {"energy_mj@cpu_generic": 1.0}}, "cost: cpu_generic gives latency_ms"),
        ({"limits": {"valid_accuracy": 90.0}}, "limits: 'valid_accuracy' does not follow from"),
        ({"supernet": {"wings": 2}}, "supernet.wings: unknown key; known: affine, partial"),
        ({"supernet": {"affine": "maybe"}}, "supernet.affine: must be true or false"),
        ({"warmup_epochs": 2}, "warmup_epochs must be below epochs, got 2 of 2"),
        ({"data": None}, "strategy darts trains and needs data"),
    ],
)
def test_what_is_refused_before_anything_is_stored(
    cli: Any, search: Any, changes: dict[str, Any], said: str
) -> None:
    whole = {k: v for k, v in changes.items() if k in SPEC}
    own = {k: v for k, v in changes.items() if k not in SPEC}
    done = search(code=2, strategy=own, **whole)
    assert f"{cli.spec}:" in done.stderr  # with its place in the file
    assert said in done.stderr
    assert not (cli.folder / "store.db").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"data": {"name": "shapes", "classes": 2, "examples": 8, "valid": 0.4, "test": 0.4}},
            "more data, or a smaller valid",
        ),
        ({"train_share": 0.01}, "train_share must leave 2 examples"),
        ({"limits": {"macs": 1.0}}, "limits: the cheapest options that the search leaves cost"),
        ({"supernet": {"partial": 3}}, "must divide by partial=3, got 4; choose channels that"),
    ],
)
def test_what_is_refused_before_training(
    cli: Any, search: Any, changes: dict[str, Any], said: str
) -> None:
    data = changes.pop("data", SPEC["data"])
    assert said in search(code=2, strategy=changes, data=data).stderr
    assert cli.json("show", "few")["status"] == "failed"
    assert cli.json("show", "few")["curves"] == []


def test_a_search_that_diverges_keeps_what_it_had(cli: Any, search: Any) -> None:
    strategy = {"epochs": 3, "lr": 1e12, "grad_clip": None, "checkpoint_minutes": 1e-9}
    said = search(code=1, strategy=strategy).stderr
    assert "search diverged: " in said
    assert "lower lr or arch_lr, or set grad_clip" in said
    assert "Traceback" not in said
    assert cli.json("show", "few")["status"] == "failed"
    again = cli.stored("resume", "few", code=1).stderr  # it ends where it ended
    assert "search diverged: " in again


def test_checkpoints_that_were_changed(cli: Any, search: Any, monkeypatch: Any) -> None:
    """Nothing else than what was stored is gone on with."""
    stop_after(monkeypatch, 2)
    search(code=130, strategy={"epochs": 3})
    with Store(cli.store) as store:
        record = store.checkpoint(store.experiment("few").id, "search")
        path = store.artifact_path(record)
    whole = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(whole[: len(whole) // 2])
    said = cli.stored("resume", "few", code=1).stderr
    assert "the file of checkpoint 'search' must be what was stored" in said
    path.unlink()
    assert "the file of artifact 'search'" in cli.stored("resume", "few", code=1).stderr
    path.write_bytes(whole)
    cli.stored("resume", "few", "-q")
    assert cli.json("show", "few")["status"] == "done"
    for change in ("strategy.lr=0.5", "seed=3", "space.channels=8"):
        refused = cli.stored("resume", "few", "--set", change, code=2).stderr
        assert "resume may change the budget only" in refused


# ---------------------------------------------------------------- Ctrl-C while it is trained
def stop_after(monkeypatch: Any, steps: int) -> None:
    """Send Ctrl-C in the middle of a step; the next call of this name undoes it."""
    taken = []
    original = Trainer._take_step

    def step(self: Trainer) -> None:
        taken.append(1)
        if len(taken) == steps:
            signal.raise_signal(signal.SIGINT)
        original(self)

    monkeypatch.setattr(Trainer, "_take_step", step)


@pytest.mark.parametrize(
    ("strategy", "steps"),
    [({"epochs": 3, "searches": 2, "propose": "epochs"}, 7), (FEW_SHOT, 4)],
    ids=["darts", "gm_fewshot"],
)
def test_ctrl_c_while_it_trains_loses_nothing(
    cli: Any, search: Any, monkeypatch: Any, strategy: dict[str, Any], steps: int
) -> None:
    """Not a bit: trials, curves, notes, checkpoints and super-networks are those of a whole run."""
    with monkeypatch.context() as patch:
        stop_after(patch, steps)
        stopped = search(code=130, strategy=strategy)
    assert "netloom resume few" in stopped.stderr
    assert cli.json("show", "few")["status"] == "interrupted"
    assert sum(cli.json("show", "few")["counts"].values()) == 0
    cli.stored("resume", "few", "-q")
    resumed = everything(cli.store)
    cli.store = f"sqlite:///{cli.folder / 'whole.db'}"
    search("-q", strategy=strategy)
    assert everything(cli.store) == resumed


def everything(url: str) -> dict[str, Any]:
    """Return what a run left behind, but for times."""
    with Store(url, read_only=True) as store:
        id = store.experiment("few").id
        curves = store.curves(id)
        frame = store.trials(id).drop(columns="duration_s").astype(object)
        return {
            "trials": frame.where(frame.notna(), None).to_dict("records"),
            "curves": curves[["name", "step", "value"]].to_dict("records"),
            "notes": [(n.name, n.kind, n.value) for n in store.notes(id)],
            "files": sorted((a.kind, a.name, a.sha256) for a in store.artifacts(id)),
        }
