"""A search killed with SIGKILL anywhere ends, once resumed, as if nothing had happened."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from toy_plans import PROJECT, TRAIN, make_plan

from netloom.db import Store
from netloom.db.records import TrialRecord
from netloom.search.run.runner import Runner
from netloom.spaces import Architecture

CHILD = PROJECT / "kill_child.py"
EVOLVE = {"name": "nsga2", "population": 4, "batch": 4}
CHEAP = {"strategy": EVOLVE, "budget": {"trials": 24}, "constraints": ["cost <= 14"]}
INLINE = {**TRAIN, "strategy": EVOLVE, "constraints": ["cost <= 14"], "budget": {"trials": 16}}
RAY = {**INLINE, "runner": {"engine": "ray", "workers": 2}}
ARRIVAL = {
    **TRAIN,
    "estimators": ["toys:Cost", {"name": "toys:Train", "epochs": 6}],
    "budget": {"trials": 16},
    "runner": {"engine": "ray", "workers": 2, "order": "arrival", "scheduler": "asha"},
}
AT_ONCE = ("asked", "evaluating", "transaction", "committed", "told")
IN_STEPS = ("asked", "queued", "evaluating", "transaction", "committed", "told")


@pytest.fixture
def short_tmp() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="nlk-"))  # Ray's sockets need a short path
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def points(seed: int, trials: int, phases: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Draw kill points (trial number, phase) without end."""
    rng = Random(seed)
    while True:
        yield rng.randrange(trials), rng.choice(phases)


def killed(url: str, changes: dict[str, Any], number: int, phase: str, tmp: Path) -> bool:
    """Run a search in a process of its own; return whether the kill landed."""
    ended = subprocess.run(
        [sys.executable, CHILD, url, json.dumps(changes), str(number), phase],
        env={**os.environ, "TMPDIR": str(tmp), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ended.returncode in (0, -signal.SIGKILL), ended.stderr
    return ended.returncode != 0


def rows(store: Store, name: str) -> list[tuple[Any, ...]]:
    """Return what must be equal: everything but times, row ids and attempts."""
    return [
        (r.number, r.key, r.status, r.seed, r.parent, r.metrics, r.violation, r.told, r.tags)
        for r in store.trial_records(store.experiment(name).id)
    ]


def logged(changes: dict[str, Any], log: Path) -> dict[str, Any]:
    """Return the changes with a file in which each training notes that it began."""
    cheap, *costly = changes.get("estimators", ["toys:Cost"])
    return {**changes, "estimators": [cheap, *({**e, "log": str(log)} for e in costly)]}


def finished(records: list[TrialRecord]) -> dict[int, dict[str, float]]:
    return {r.number: r.metrics for r in records if r.status in ("done", "pruned")}


def check_what_was_paid(records: list[TrialRecord], before: set[int], log: Path) -> None:
    """What had ended before the kill was trained once, the rest no more often than it was tried."""
    lines = log.read_text().splitlines() if log.exists() else []
    paid = Counter(line.rsplit(" ", 1)[0] for line in lines)
    for record in records:
        times = paid[Architecture(record.architecture).to_json()]
        if record.number in before:
            assert times == 1, record.number
        assert times <= record.attempts, record.number


def kill_and_resume(
    tmp_path: Path, tmp: Path, changes: dict[str, Any], phases: tuple[str, ...], seed: int
) -> None:
    """Kill at one point that lands, resume, compare with an undisturbed run."""
    url = f"sqlite:///{tmp_path}/undisturbed.db"
    calm = {**changes, "runner": {"engine": "inline"}} if "runner" in changes else changes
    with Store(url) as store:
        Runner(make_plan(url, **calm), store).run()
        expected = rows(store, "toy")
    for i, (number, phase) in enumerate(points(seed, len(expected), phases)):
        url, log = f"sqlite:///{tmp_path}/killed-{i}.db", tmp_path / f"killed-{i}.log"
        if not killed(url, logged(changes, log), number, phase, tmp):
            continue  # for example: an infeasible trial is never evaluated in a worker
        with Store(url) as store:
            before = finished(store.trial_records(store.experiment("toy").id))
            summary = Runner.resume(store, "toy")
            assert summary.reason == "budget"
            assert rows(store, "toy") == expected, (number, phase)
            records = store.trial_records(summary.experiment.id)
            assert sum(r.attempts > 1 for r in records) <= 2  # no more than were running
            if "runner" in changes:
                check_what_was_paid(records, set(before), log)
        return


INLINE_CASES = [(CHEAP, AT_ONCE, 1), (INLINE, IN_STEPS, 2), (INLINE, IN_STEPS, 3)]


@pytest.mark.parametrize(("changes", "phases", "seed"), INLINE_CASES)
def test_a_killed_inline_search_ends_the_same(
    tmp_path: Path, short_tmp: Path, changes: dict[str, Any], phases: tuple[str, ...], seed: int
) -> None:
    kill_and_resume(tmp_path, short_tmp, changes, phases, seed)


@pytest.mark.parametrize(("number", "phase"), [(0, "evaluating"), (1, "transaction")])
def test_a_network_of_another_space_is_there_once(
    tmp_path: Path, short_tmp: Path, number: int, phase: str
) -> None:
    changes = {**INLINE, "fixed": ["toys:Ring/Round", "least"], "constraints": []}
    url, log = f"sqlite:///{tmp_path}/killed.db", tmp_path / "killed.log"
    assert killed(url, logged(changes, log), number, phase, short_tmp)
    calm = f"sqlite:///{tmp_path}/undisturbed.db"
    with Store(url) as store, Store(calm) as other:
        before = finished(store.trial_records(store.experiment("toy").id))
        Runner.resume(store, "toy")
        Runner(make_plan(calm, **changes), other).run()
        assert rows(store, "toy") == rows(other, "toy")
        records = store.trial_records(store.experiment("toy").id)
        assert [r.fixed for r in records[:3]] == ["ring/Round", "grid/least", None]
        check_what_was_paid(records, set(before), log)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(100, 120))
def test_killed_inline_searches_end_the_same(tmp_path: Path, short_tmp: Path, seed: int) -> None:
    changes, phases, _ = INLINE_CASES[seed % 2]
    kill_and_resume(tmp_path, short_tmp, changes, phases, seed)


@pytest.mark.full
@pytest.mark.ray
@pytest.mark.usefixtures("shared_ray")
@pytest.mark.parametrize("seed", [0, 1, 2, *range(100, 120)])
def test_killed_ray_searches_end_the_same(tmp_path: Path, short_tmp: Path, seed: int) -> None:
    kill_and_resume(tmp_path, short_tmp, RAY, IN_STEPS, seed)


@pytest.mark.ray
@pytest.mark.usefixtures("shared_ray")
@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(s, marks=pytest.mark.full) for s in range(100, 110))]
)
def test_by_arrival_nothing_is_lost_and_nothing_comes_twice(
    tmp_path: Path, short_tmp: Path, seed: int
) -> None:
    for i, (number, phase) in enumerate(points(seed, 16, IN_STEPS)):
        url, log = f"sqlite:///{tmp_path}/killed-{i}.db", tmp_path / f"killed-{i}.log"
        if not killed(url, logged(ARRIVAL, log), number, phase, short_tmp):
            continue
        with Store(url) as store:
            stored = finished(store.trial_records(store.experiment("toy").id))
            summary = Runner.resume(store, "toy")
            records = store.trial_records(summary.experiment.id)
            assert [r.number for r in records] == list(range(16))
            assert sorted(r.told for r in records if r.told is not None) == list(range(16))
            assert {r.status for r in records} <= {"done", "pruned"}
            assert all(records[n].metrics.items() >= m.items() for n, m in stored.items())
            assert len({r.key for r in records}) == 16
            check_what_was_paid(records, set(stored), log)
        return
