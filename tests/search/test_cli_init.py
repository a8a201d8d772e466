"""`init`, and what the shell completes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from netloom.search.cli import app
from netloom.search.commands import completion
from netloom.search.run.capabilities import capability_matrix
from netloom.search.run.plan import build_plan
from netloom.search.run.spec import load_spec, parse
from netloom.search.run.template import render
from netloom.search.run.yaml_text import loads


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("netloom search --se", ["--set", "--seeds"]),
        ("netloom show to", ["toy"]),
        ("netloom resume ", ["toy"]),
        ("netloom search toy.yaml --warm-start t", ["toy"]),
        ("netloom init --space nb", ["nb201"]),
        ("netloom init --strategy ns", ["nsga2"]),
        ("netloom estimate --device pixel3", ["pixel3"]),
        ("netloom estimate --device cpu_g", ["cpu_generic"]),
        ("netloom devices raspi", ["raspi4"]),
        ("netloom spaces nats", ["nats_sss"]),
        ("netloom estimators comp", ["complexity"]),
    ],
)
def test_the_shell_completes_names(
    cli: Any, monkeypatch: pytest.MonkeyPatch, line: str, offered: list[str]
) -> None:
    cli.search("--quiet")
    for name, value in (
        ("_NETLOOM_COMPLETE", "complete_bash"),
        ("COMP_WORDS", line),
        ("COMP_CWORD", str(line.count(" "))),
        ("NETLOOM_STORE", cli.store),
    ):
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(app, prog_name="netloom")
    assert result.stdout.split() == offered


def test_completion_is_silent_where_there_is_no_store() -> None:
    assert completion.experiments(typer.Context(typer.main.get_command(app)), "a") == []


@pytest.mark.parametrize(
    ("space", "strategy"),
    [
        pytest.param(
            pair.space,
            pair.strategy,
            marks=[pytest.mark.nni] if pair.strategy.startswith("nni_") else [],
        )
        for pair in capability_matrix(spaces=["nas_bench_macro", "nats_sss", "nb201"])
        if pair.valid
    ],
)
def test_every_template_validates(space: str, strategy: str) -> None:
    text = render(space, strategy)
    plan = build_plan(parse(loads(text, source="template.yaml")))
    assert plan.spec["space"]["name"] == space
    assert text.count("#") > 10  # it explains itself


def test_init_takes_ones_own_classes_from_beside_the_file(cli: Any) -> None:
    (cli.folder / "sub").mkdir()
    (cli.folder / "sub" / "own_init.py").write_text(
        "from torch import nn\n"
        "from netloom import OneOf\n"
        "from netloom.search.strategies.random import RandomSearch\n"
        "class Mine(RandomSearch): name = 'mine'\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, in_channels: int, classes: int) -> None:\n"
        "        super().__init__()\n"
        "        pools = {'mean': nn.AdaptiveAvgPool2d(1), 'max': nn.AdaptiveMaxPool2d(1)}\n"
        "        self.pool = OneOf('pool', pools)\n"
        "        self.head = nn.Linear(in_channels, classes)\n"
        "    def forward(self, x):\n"
        "        return self.head(self.pool(x).flatten(1))\n"
    )
    words = ["--space", "own_init:Net", "--strategy", "own_init:Mine"]
    cli.run("init", "sub/own.yaml", *words)
    text = Path("sub/own.yaml").read_text(encoding="utf-8")
    assert "#   netloom validate sub/own.yaml" in text
    assert "#   in_channels: (required)" in text
    assert load_spec("sub/own.yaml")[0].name == "own-init-Net-own-init-Mine"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--space", "nb21"], "--space: unknown space 'nb21'; did you mean nb201?"),
        (["--space", "no_such:Space"], "--space: space 'no_such:Space': there is no module"),
        (["--strategy", "nsga3"], "--strategy: unknown strategy 'nsga3'; did you mean nsga2?"),
        (["--strategy", "pathlib:Path"], "--strategy: pathlib:Path must be a Strategy subclass"),
    ],
)
def test_init_says_which_option_is_wrong(cli: Any, words: list[str], message: str) -> None:
    assert cli.run("init", *words, code=2).stderr.startswith(f"error: {message}")


def test_init_writes_a_file_once(cli: Any) -> None:
    cli.run("init", "new.yaml", "--space", "nb201", "--strategy", "random")
    cli.run("validate", "new.yaml")
    assert "--force" in cli.run("init", "new.yaml", code=2).stderr
    cli.run("init", "new.yaml", "--strategy", "random", "--force")
    assert "did you mean nb201" in cli.run("init", "--space", "nb20", code=2).stderr
    pairs = json.loads(cli.run("init", "--list", "--json").stdout)
    assert {"space": "nb201", "strategy": "random"} in pairs
    assert len(pairs) == sum(p.valid for p in capability_matrix())
