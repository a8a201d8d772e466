"""Every example runs through the real command line, reduced in size and never in steps."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from netloom.search.cli import app

EXAMPLES = Path(__file__).parents[2] / "examples"


@dataclass(frozen=True)
class Example:
    """One YAML file and the overrides that make it small."""

    path: Path

    @property
    def spec(self) -> dict[str, Any]:
        return yaml.safe_load(self.path.read_text("utf-8"))

    @property
    def name(self) -> str:
        return self.spec["name"]

    @property
    def trains(self) -> bool:
        return "data" in self.spec

    @property
    def ray(self) -> bool:
        return self.spec.get("runner", {}).get("engine") == "ray"

    @property
    def trials(self) -> int:
        """Three generations, in the third of which a search is interrupted, and more."""
        return min(6 if self.trains else 25, self.spec["budget"]["trials"])

    @property
    def objectives(self) -> set[str]:
        return {metric for entry in self.spec["objectives"] for metric in entry.values()}

    def overrides(self, trials: int | None = None) -> list[str]:
        """Fewer trials, epochs and examples, a smaller population: the same steps."""
        values = {"budget.trials": trials or self.trials}
        if "examples" in self.spec.get("data", {}):
            values["data.examples"] = 200
        if "population" in self.spec["strategy"]:
            values["strategy.population"] = 2 if self.trains else 8
        if "epochs" in self.spec["strategy"]:
            values["strategy.epochs"] = 3
        for i, estimator in enumerate(self.spec["estimators"]):
            if "epochs" in estimator:
                values[f"estimators.{i}.epochs"] = 2 if self.ray else 1
        if "grace" in self.spec.get("runner", {}).get("scheduler", {}):
            values["runner.scheduler.grace"] = 1
        elif self.trains:
            values["runner.engine"] = "inline"  # Ray has its own example
        return [word for key, value in values.items() for word in ("--set", f"{key}={value}")]


class Shell:
    """Runs commands in a folder and expects their exit code."""

    def __call__(self, *words: str, code: int = 0) -> Result:
        result = CliRunner().invoke(app, list(words))
        told = f"netloom {' '.join(words)}\n{result.output}"
        assert result.exit_code == code, told
        return result

    def json(self, *words: str) -> Any:
        return json.loads(self(*words).stdout)


@pytest.fixture
def shell(tmp_path, monkeypatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NETLOOM_STORE", raising=False)
    monkeypatch.syspath_prepend(EXAMPLES)  # undone afterwards, with what the commands add
    return Shell()
