"""`netloom rescore`: one archive, a front per device."""

from __future__ import annotations

import csv
import json
from typing import Any

import pytest

from netloom.db import Store
from netloom.estimators import ESTIMATORS
from netloom.spaces import SPACES

from .conftest import BOARD

SPEC = """\
space: nb201
estimators: [tabular]
strategy: random
objectives: [{maximize: valid_accuracy}, {minimize: latency_ms@pixel3}]
budget: {trials: 30}
baseline: false
"""


@pytest.fixture
def archive(cli: Any) -> Any:
    """Give a store with thirty networks, and a small board beside it."""
    (cli.folder / "q.yaml").write_text(SPEC, encoding="utf-8")
    (cli.folder / "devices").mkdir()
    (cli.folder / "devices" / "board.yaml").write_text(BOARD, encoding="utf-8")
    cli.stored("search", "q.yaml", "--quiet")
    return cli


def trials(cli: Any) -> list[Any]:
    with Store(cli.store, read_only=True) as store:
        return store.trial_records(store.experiment("q").id)


def test_every_architecture_gets_the_costs_of_a_device(archive: Any) -> None:
    before = trials(archive)
    value = archive.json("rescore", "q", "--device", "cpu_generic")
    assert (value["architectures"], value["added"], value["infeasible"]) == (30, 30, 0)
    assert trials(archive) == before  # nothing was evaluated, nothing of the run has changed
    front = archive.json(
        "pareto", "q", "--objective", "valid_accuracy", "--objective", "latency_ms@cpu_generic"
    )["front"]
    space = SPACES.get("nb201")()
    hardware = ESTIMATORS.get("hardware")(space, devices=["cpu_generic"])
    known = {}
    for trial in before:
        cost = hardware.evaluate(space.architecture(trial.architecture))
        known[trial.number] = (trial.metrics["valid_accuracy"], cost["latency_ms@cpu_generic"])
    best = {
        number
        for number, (accuracy, ms) in known.items()
        if not any(
            a >= accuracy and m <= ms and (a, m) != (accuracy, ms) for a, m in known.values()
        )
    }
    assert {trial["trial"] for trial in front} == best
    for trial in front:
        assert trial["metrics"]["latency_ms@cpu_generic"] == known[trial["trial"]][1]
        assert "latency_ms@pixel3" in trial["metrics"]


def test_costs_are_computed_once_for_each_version_of_a_device(archive: Any) -> None:
    assert archive.json("rescore", "q", "--device", "board")["added"] == 30
    assert archive.json("rescore", "q", "--device", "board")["added"] == 0
    pareto = ("pareto", "q", "--objective", "latency_ms@board")
    [first] = archive.json(*pareto)["front"]
    file = archive.folder / "devices" / "board.yaml"
    file.write_text(BOARD.replace("2, unit: FLOP", "1, unit: FLOP"), encoding="utf-8")
    assert archive.json("rescore", "q", "--device", "board")["added"] == 30
    [second] = archive.json(*pareto)["front"]
    assert second["metrics"]["latency_ms@board"] > first["metrics"]["latency_ms@board"]
    with Store(archive.store, read_only=True) as store:
        costs = store.costs(store.experiment("q").space_fingerprint, device="board")
    assert costs["model_version"].nunique() == 2


def test_what_a_device_cannot_run_is_not_on_its_front(archive: Any) -> None:
    value = archive.json("rescore", "q", "--device", "board")
    space = SPACES.get("nb201")()
    hardware = ESTIMATORS.get("hardware")(space, devices=["cpu_generic"])
    needed = {
        t.number: hardware.evaluate(space.architecture(t.architecture))[
            "peak_memory_bytes@cpu_generic"
        ]
        for t in trials(archive)
    }
    fits = {number for number, size in needed.items() if size <= 4 * 1024**2}
    assert 0 < len(fits) < 30
    assert value["infeasible"] == 30 - len(fits)
    words = ("pareto", "q", "--objective", "valid_accuracy", "--objective", "latency_ms@board")
    assert {trial["trial"] for trial in archive.json(*words)["front"]} <= fits


def test_batch_format_and_name_are_free(archive: Any) -> None:
    words = ("rescore", "q", "--device", "cpu_generic")
    archive.json(*words)
    value = archive.json(*words, "--batch", "8", "--as", "cpu_b8")
    assert value["metrics"] == ["latency_ms@cpu_b8", "peak_memory_bytes@cpu_b8"]
    objectives = ("--objective", "latency_ms@cpu_b8", "--objective", "latency_ms@cpu_generic")
    for trial in archive.json("pareto", "q", *objectives)["front"]:
        metrics = trial["metrics"]
        assert metrics["latency_ms@cpu_b8"] > metrics["latency_ms@cpu_generic"]


def test_a_front_is_bounded_afterwards(archive: Any) -> None:
    archive.json("rescore", "q", "--device", "cpu_generic")
    words = ("--objective", "valid_accuracy", "--objective", "latency_ms@cpu_generic")
    front = archive.json("pareto", "q", *words)["front"]
    middle = front[len(front) // 2]["metrics"]["latency_ms@cpu_generic"]
    bound = ("--constraint", f"latency_ms@cpu_generic <= {middle}")
    inside = archive.json("pareto", "q", *words, *bound)["front"]
    assert inside == [t for t in front if t["metrics"]["latency_ms@cpu_generic"] <= middle]
    [best] = archive.json("pareto", "q", "--objective", "valid_accuracy", *bound)["front"]
    assert best == max(inside, key=lambda t: t["metrics"]["valid_accuracy"])
    shown = archive.stored("pareto", "q", "--objective", "valid_accuracy", *bound).stdout
    assert "latency_ms@cpu_generic" in shown.splitlines()[0]
    none = archive.stored("pareto", "q", "--constraint", "latency_ms@cpu_generic <= 1us")
    assert "no feasible architecture" in none.stderr


def test_the_report_shows_the_front_of_a_device(archive: Any) -> None:
    archive.json("rescore", "q", "--device", "cpu_generic")
    words = ("--objective", "valid_accuracy", "--objective", "latency_ms@cpu_generic")
    archive.stored("report", "q", "-o", "r.html", *words)
    text = (archive.folder / "r.html").read_text(encoding="utf-8")
    assert "latency_ms@cpu_generic" in text


def test_other_objectives_need_no_rescoring(archive: Any) -> None:
    [best] = archive.json("pareto", "q", "--objective", "latency_ms@raspi4")["front"]
    values = [trial.metrics["latency_ms@raspi4"] for trial in trials(archive)]
    assert best["metrics"]["latency_ms@raspi4"] == min(values)
    [worst] = archive.json("pareto", "q", "--objective", "maximize:latency_ms@raspi4")["front"]
    assert worst["metrics"]["latency_ms@raspi4"] == max(values)
    table = archive.stored("pareto", "q", "--objective", "latency_ms@raspi4").stdout
    assert table.splitlines()[0].split()[:2] == ["trial", "latency_ms@raspi4"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pareto", "q", "--objective", "latency_ms@board"], "rescore q --device board adds it"),
        (["pareto", "q", "--objective", "valid_acuracy"], "did you mean valid_accuracy"),
        (["pareto", "q", "--objective", "most:params"], "maximize:METRIC"),
        (["pareto", "q", "--constraint", "latency_ms@board <= 3"], "--device board adds it"),
        (["pareto", "q", "--constraint", "quick"], "a constraint must read"),
        (["pareto", "q", *(["--objective", "latency_ms@fpga"] * 2)], "twice"),
        (["rescore", "q", "--device", "bord"], "did you mean board"),
        (["rescore", "q", "--device", "pixel3"], "use tabular"),
        (["rescore", "q", "--device", "board", "--as", "pixel3"], "give the device another name"),
        (["rescore", "q", "--device", "board", "--dtype", "int16"], "board computes in"),
        (["rescore", "q", "--device", "board", "--as", "a b"], "--device.as: must match pattern"),
        (["rescore", "q", "--device", "board", "--resolution", "8x"], "such as 192 or 192x160"),
    ],
)
def test_wrong_questions_are_told_the_way(archive: Any, words: list[str], said: str) -> None:
    assert said in archive.stored(*words, code=2).stderr


def test_a_multiple_of_an_objective_is_none_of_its_own(archive: Any) -> None:
    archive.json("rescore", "q", "--device", "zcu102")
    words = ["pareto", "q", "--objective", "latency_ms@zcu102", "--objective", "energy_mj@zcu102"]
    said = archive.stored(*words, code=2).stderr
    assert "energy_mj@zcu102 is a constant times latency_ms@zcu102" in said
    assert archive.json(*words[:2], "--objective", "energy_mj@zcu102")["front"]


def test_a_space_without_networks_has_no_costs(cli: Any) -> None:
    cli.search("--quiet")
    said = cli.stored("rescore", "toy", "--device", "cpu_generic", code=2).stderr
    assert "counting needs a space that builds networks" in said


def test_metrics_are_offered_to_the_shell(archive: Any) -> None:
    from netloom.search.commands.completion import metrics

    class Context:
        params = {"experiment": "q", "store": archive.store}  # noqa: RUF012

    archive.json("rescore", "q", "--device", "board")
    assert metrics(Context(), "latency_ms@b") == ["latency_ms@board"]
    Context.params = {"experiment": "nothing", "store": archive.store}
    assert metrics(Context(), "") == []


def test_added_costs_are_shown_and_exported(archive: Any) -> None:
    archive.json("rescore", "q", "--device", "cpu_generic")
    shown = archive.stored("show", "q").stdout.splitlines()
    assert ["rescored", "on", "cpu_generic"] in [line.split() for line in shown]
    metrics = archive.json("show", "q")["metrics"]
    assert "latency_ms@cpu_generic" in {metric["name"] for metric in metrics}
    text = archive.stored("trials", "export", "q", "--format", "csv").stdout
    table = list(csv.DictReader(text.splitlines()))
    assert all(float(row["latency_ms@cpu_generic"]) > 0 for row in table)
    assert len(table) == 30


def test_exported_trials_do_not_promise_costs_that_stay_behind(archive: Any) -> None:
    archive.json("rescore", "q", "--device", "board")
    lines = archive.stored("trials", "export", "q").stdout.splitlines()
    assert "rescored" not in json.loads(lines[0])["experiment"]["info"]
