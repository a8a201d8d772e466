from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib

import pytest

from netloom.spaces.testing import SpaceContract

from .conftest import EXAMPLES

PLUGIN = EXAMPLES / "plugin"


@pytest.fixture
def installed(tmp_path):
    """The environment of a machine on which pip has installed the example package."""
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text("utf-8"))["project"]
    name, version = project["name"], project["version"]
    info = tmp_path / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = []
    for group, points in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{key} = {value}" for key, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))
    path = os.pathsep.join([str(tmp_path), str(PLUGIN)])
    return {**os.environ, "PYTHONPATH": path, "NETLOOM_STORE": f"sqlite:///{tmp_path}/plugin.db"}


def netloom(environment, *words):
    command = [sys.executable, "-m", "netloom", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_commands_know_the_space_of_an_installed_package(installed):
    listed = {s["name"]: s for s in json.loads(netloom(installed, "spaces", "--json"))}
    assert listed["tiny_chain"]["size"] == 9 + 9**2 + 9**3
    assert {"nb201", "nats_sss", "nas_bench_macro"} <= listed.keys()


def test_a_spec_names_it_trains_resumes_and_reports(installed, tmp_path):
    spec = tmp_path / "chain.yaml"
    spec.write_text(
        "space: tiny_chain\n"
        "data: digits\n"
        "estimators: [{name: training, epochs: 1}, complexity]\n"
        "strategy: random\n"
        "objectives: [{maximize: valid_accuracy}, {minimize: macs}]\n"
        "budget: {trials: 2}\n"
        "runner: {engine: inline}\n"
    )
    netloom(installed, "search", str(spec), "--quiet")
    netloom(installed, "resume", "chain", "--set", "budget.trials=3", "--quiet")
    assert json.loads(netloom(installed, "show", "chain", "--json"))["counts"]["done"] == 3
    front = json.loads(netloom(installed, "pareto", "chain", "--format", "json"))["front"]
    assert front
    assert all("layer1.kernel" in entry["architecture"] for entry in front)
    netloom(installed, "report", "chain", "-o", str(tmp_path / "chain.html"))
    assert "tiny_chain" in (tmp_path / "chain.html").read_text("utf-8")


@pytest.fixture
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(PLUGIN)


@pytest.mark.usefixtures("_importable")
class TestTinyChain(SpaceContract):
    def make(self):
        from netloom_tiny_chain import TinyChain

        return TinyChain()

    def other_options(self):
        from netloom_tiny_chain import TinyChain

        return TinyChain(classes=3)
