"""What tests of the search share."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from netloom.search.cli import app

BOARD = """\
name: board
family: cpu
title: A board
calibrated: false
numbers:
  clock: {value: 1, unit: GHz, source: data sheet}
  flops_per_cycle: {value: 2, unit: FLOP/cycle, source: data sheet}
  memory_bandwidth: {value: 1, unit: GB/s, source: data sheet}
  layer_overhead: {value: 0, unit: us, source: data sheet}
  memory: {value: 4, unit: MiB, source: data sheet}
"""
PARTS = '''
"""A space of 24 architectures and functions that judge them in microseconds."""
import time

from netloom.errors import MissingDependency
from netloom.estimators import declares
from netloom.spaces import Decision, DecisionSpace


class Toy(DecisionSpace):
    """Three decisions."""

    name = "toy"

    def __init__(self, *, widths: int = 4) -> None:
        super().__init__([
            Decision("width", tuple(range(1, widths + 1)), ordered=True),
            Decision("depth", (1, 2, 3), ordered=True),
            Decision("act", ("relu", "tanh")),
        ])


@declares({"score": "maximize", "cost": "minimize"}, cheap=True, deterministic=True)
def worth(architecture):
    width, depth = architecture["width"], architecture["depth"]
    return {"score": width * 10 + depth, "cost": width * depth}


@declares({"score": "maximize", "cost": "minimize"}, cheap=True, deterministic=True)
def fragile(architecture):
    if architecture["act"] == "tanh":
        raise ValueError("tanh is broken")
    return worth(architecture)


@declares({"score": "maximize", "cost": "minimize"}, cheap=True, deterministic=True)
def slow(architecture):
    time.sleep(0.2)
    return worth(architecture)


def needs_more():
    raise MissingDependency("this needs the package wings; pip install wings")
'''

SPEC = """\
version: 1
name: toy
seed: 0
space: {{name: "{module}:Toy"}}
estimators: [{{name: "{module}:worth"}}]
strategy: {{name: random, batch: 4}}
objectives:
  - maximize: score
  - minimize: cost
constraints:
  - cost <= 9
budget: {{trials: 8}}
baseline: false
"""


class CommandLine:
    """A folder with a spec, its parts and a store; `run` is the command line in this process."""

    def __init__(self, folder: Path, module: str) -> None:
        self.folder, self.module = folder, module
        self.store = f"sqlite:///{folder / 'store.db'}"
        self.spec = folder / "toy.yaml"
        (folder / f"{module}.py").write_text(PARTS, encoding="utf-8")
        self.spec.write_text(SPEC.format(module=module), encoding="utf-8")

    def run(self, *words: str, code: int = 0, input: str | None = None) -> Any:
        """Run a command and check its exit code; give its result."""
        result = CliRunner().invoke(app, list(words), input=input)
        assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
        return result

    def stored(self, *words: str, code: int = 0) -> Any:
        """Run a command that reads the store."""
        return self.run(*words, "--store", self.store, code=code)

    def search(self, *words: str, code: int = 0) -> Any:
        """Run the spec."""
        return self.stored("search", str(self.spec), *words, code=code)

    def json(self, *words: str) -> Any:
        """Run a command that reads the store, with --json."""
        return json.loads(self.stored(*words, "--json").stdout)

    def environment(self) -> dict[str, str]:
        """Return what a child process needs."""
        return {**os.environ, "NETLOOM_STORE": self.store, "OMP_NUM_THREADS": "1"}


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    """Give a case in a folder of its own, whose module is forgotten afterwards."""
    module = f"toy_parts_{abs(hash(str(tmp_path)))}"
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NETLOOM_STORE", raising=False)
    monkeypatch.setattr("netloom.hw_models.device_folders._BESIDE_SPECS", [])
    path = list(sys.path)
    yield CommandLine(tmp_path, module)
    sys.path[:] = path
    sys.modules.pop(module, None)
