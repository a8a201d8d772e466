"""Which engine runs, on which Ray, with how many trials at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from toy_plans import PROJECT, TRAIN

from netloom.db import Store
from netloom.errors import SpecError
from netloom.search.run.engines import make_engine
from netloom.search.run.engines.cluster import Cluster
from netloom.search.run.plan import Plan
from netloom.search.run.runner import Runner
from netloom.search.run.spec import RunnerOptions

Plans = Callable[..., Plan]
HEAD = """\
import os, sys, tempfile
import ray
with tempfile.TemporaryDirectory(prefix="nlh-") as folder:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _temp_dir=folder)
    print(ray.get_runtime_context().gcs_address, flush=True)
    sys.stdin.read()
    assert not [p for p in ray.util.placement_group_table().values() if p["state"] == "CREATED"]
    ray.shutdown()
"""
GUEST = """\
import json, sys
sys.path.insert(0, sys.argv[1])
from toy_plans import make_plan
from netloom.db import Store
from netloom.search.run.runner import Runner
url, changes = sys.argv[2], json.loads(sys.argv[3])
with Store(url) as store:
    for name, more in changes.items():
        Runner(make_plan(url, **more, name=name), store).run()
import ray
assert not ray.is_initialized()
"""


@pytest.mark.parametrize(
    ("changes", "engine"),
    [
        ({}, "InlineEngine"),
        (TRAIN | {"runner": {"engine": "auto"}}, "RayTuneEngine"),
        ({"runner": {"engine": "ray"}}, "RayActorsEngine"),
        (TRAIN | {"runner": {"engine": "ray"}}, "RayTuneEngine"),
        (TRAIN, "InlineEngine"),
    ],
    ids=["auto, cheap", "auto, training", "ray, cheap", "ray, training", "inline, training"],
)
def test_the_estimators_decide_unless_the_spec_does(
    plan: Plans, changes: dict[str, Any], engine: str
) -> None:
    assert type(make_engine(plan(**changes))).__name__ == engine


def test_a_cheap_search_imports_no_ray(tmp_path: Path) -> None:
    script = GUEST.partition("import ray")[0] + "assert 'ray' not in sys.modules\n"
    changes = json.dumps({"toy": {"budget": {"trials": 8}}})
    command = [sys.executable, "-c", script, str(PROJECT), f"sqlite:///{tmp_path}/s.db", changes]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.ray
@pytest.mark.usefixtures("shared_ray")
class TestRoom:
    @pytest.mark.parametrize(
        ("options", "workers"),
        [
            ({}, 3),
            ({"cpus_per_trial": 1.5}, 2),
            ({"cpus_per_trial": 3}, 1),
            ({"cpus_per_trial": 0}, 3),
            ({"workers": 2}, 2),
        ],
    )
    def test_what_a_trial_reserves_decides_how_many_run(
        self, options: dict[str, Any], workers: int
    ) -> None:
        with Cluster(RunnerOptions(**options)) as cluster:
            assert cluster.workers == workers

    def test_a_trial_that_fits_nowhere_is_refused(self, plan: Plans, store: Store) -> None:
        changes = TRAIN | {"runner": {"engine": "ray", "gpus_per_trial": 64}}
        with pytest.raises(SpecError, match=r"3 cpu, 0 gpu; got runner: 1 cpu, 64 gpu for each"):
            Runner(plan(**changes), store).run()

    def test_another_cluster_than_the_one_at_hand_is_refused(
        self, plan: Plans, store: Store
    ) -> None:
        changes = TRAIN | {"runner": {"engine": "ray", "address": "192.0.2.1:6379"}}
        with pytest.raises(SpecError, match=r"connected to one Ray.*got runner.address: 192.0.2.1"):
            Runner(plan(**changes), store).run()


@contextmanager
def cluster(environment: dict[str, str]) -> Iterator[str]:
    """Run a Ray of somebody else's; it must be there, and free, when the guests have left."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    head = subprocess.Popen([sys.executable, "-c", HEAD], env=environment, **pipes)
    try:
        assert head.stdout is not None
        yield head.stdout.readline().strip()
        head.communicate(timeout=60)
        assert head.returncode == 0
    finally:
        head.kill()
        head.wait()


@pytest.mark.ray
def test_an_existing_cluster_is_joined_and_left(tmp_path: Path) -> None:
    environment = {**os.environ, "RAY_AUTH_TOKEN": "0" * 64, "RAY_USAGE_STATS_ENABLED": "0"}
    url = f"sqlite:///{tmp_path}/store.db"
    with cluster(environment) as address:
        runner = {"engine": "ray", "address": address, "workers": 2}
        trained = TRAIN | {"runner": runner, "budget": {"trials": 4}}
        cheap = {"runner": runner, "budget": {"trials": 8}}
        changes = json.dumps({"trained": trained, "cheap": cheap})
        command = [sys.executable, "-c", GUEST, str(PROJECT), url, changes]
        ended = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=240, check=False
        )
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    with Store(url) as store:
        counts = {e.name: e.counts for e in store.experiments()}
    assert counts == {"trained": {"done": 4}, "cheap": {"done": 8}}
