"""Commands that run nothing: help, validate, init, estimate, and the lists of what there is."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
from typer.testing import CliRunner

from netloom.errors import NetloomError
from netloom.estimators import ESTIMATORS, declares
from netloom.options import SpecProblems
from netloom.search import STRATEGIES
from netloom.search.cli import app
from netloom.search.run.plan import build_plan
from netloom.search.run.spec import RunnerOptions, Spec, parse
from netloom.search.run.yaml_text import loads
from netloom.spaces import SPACES

RESNET = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|"
HEAVY = ("torch", "ray", "pandas", "sqlalchemy", "pydantic", "numpy", "yaml")


def commands(group: Any = None, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the words of every command."""
    group = typer.main.get_command(app) if group is None else group
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*words, name))
        else:
            yield (*words, name)


def loaded(code: str, *modules: str, cwd: Path | None = None) -> list[str]:
    """Return which modules are loaded after `code` ran in a fresh process."""
    script = (
        f"{code}\nimport sys\nsys.stderr.write(','.join(m for m in {modules} if m in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=cwd
    )
    return [m for m in done.stderr.splitlines()[-1:] for m in m.split(",")] if done.stderr else []


def in_process(*words: str) -> str:
    """Return code that runs a command line without leaving the process."""
    return f"from netloom.search.cli import app\napp({list(words)!r}, standalone_mode=False)"


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_every_command_has_help_with_an_example(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert f"Example: netloom {' '.join(words)}" in result.stdout


def test_groups_of_commands_have_an_example_too(cli: Any) -> None:
    for group in ("trials", "db"):
        assert f"Example: netloom {group} " in cli.run(group, "--help").stdout


def test_the_issues_commands_are_there() -> None:
    assert {" ".join(words) for words in commands()} >= {
        "init", "search", "resume", "validate", "list", "show", "repro", "doctor", "pareto",
        "estimate", "spaces", "strategies", "estimators", "devices", "report", "dashboard",
        "stop", "tag", "rename", "archive", "delete", "gc", "trials import", "trials export",
        "db upgrade", "db check",
    }  # fmt: skip


def test_help_loads_nothing_heavy() -> None:
    code = "try:\n    from netloom.search.cli import app; app(['--help'])\nexcept SystemExit: pass"
    assert loaded(code, *HEAVY) == []


def test_looking_at_a_store_or_a_table_loads_no_torch(cli: Any) -> None:
    cli.search("--quiet")
    store = ("--store", cli.store)
    looks = [("list", *store), ("show", "toy", *store), ("pareto", "toy", *store), ("spaces",)]
    assert loaded("\n".join(in_process(*words) for words in looks), "torch", "ray") == []


def test_validating_a_tabular_search_loads_no_torch(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_text(
        "space: nb201\nestimators: [tabular, complexity]\nstrategy: random\n"
        "objectives: [{maximize: valid_accuracy}]\nbudget: {trials: 5}\n",
        encoding="utf-8",
    )
    assert loaded(in_process("validate", "t.yaml"), "torch", "ray", cwd=tmp_path) == []


def test_version_and_completion(cli: Any) -> None:
    assert cli.run("--version").stdout.startswith("netloom ")
    assert "--install-completion" in cli.run("--help").stdout


@pytest.mark.parametrize(
    "words", [["nosuch"], ["search"], ["list", "--nosuch"], ["show", "a", "--trial", "x"]]
)
def test_wrong_usage_is_exit_code_2(cli: Any, words: list[str]) -> None:
    assert cli.run(*words, code=2).stdout == ""


# ------------------------------------------------------------------------ validate


def test_a_valid_spec(cli: Any) -> None:
    assert cli.run("validate", "toy.yaml").stdout.startswith("toy.yaml: valid")
    value = json.loads(cli.run("validate", "toy.yaml", "--json").stdout)
    assert (value["valid"], value["size"], value["cheap"]) == (True, 24, True)
    assert value["spec"]["space"]["widths"] == 4


def test_functions_are_told_apart(cli: Any) -> None:
    assert f"{cli.module}:worth" in cli.run("validate", "toy.yaml").stdout
    value = json.loads(cli.run("validate", "toy.yaml", "--json").stdout)
    assert value["metrics"]["score"]["estimator"] == f"{cli.module}:worth"


def test_a_probe_looks_before_anything_is_spent(cli: Any) -> None:
    value = json.loads(cli.run("validate", "toy.yaml", "--probe", "100", "--json").stdout)["probe"]
    assert value["drawn"] == 24  # the whole space
    assert value["ranges"][0] == {
        "metric": "score", "min": 11, "median": 27, "max": 43, "count": 24,
    }  # fmt: skip
    assert value["constraints"] == [{"text": "cost <= 9", "held": 22, "known": 24}]
    assert value["feasible"] == 22
    assert value["expected_s"] == pytest.approx(8 * value["seconds_per_trial"])
    text = cli.run("validate", "toy.yaml", "--probe", "100").stdout
    assert "22 of 24 (91.7 %)" in text


def test_a_probe_says_what_fails_in_one_line(cli: Any) -> None:
    words = ["--set", f"estimators=[{cli.module}:fragile]", "--set", "constraints=[]"]
    noted = cli.run("validate", "toy.yaml", *words, "--probe", "99").stderr.splitlines()
    assert all(line.startswith("note: ") for line in noted)
    assert any("failed on 12 of 24: EvaluationError: " in line for line in noted)


def test_a_broken_spec_is_exit_code_2_with_every_error(cli: Any) -> None:
    text = cli.spec.read_text(encoding="utf-8").replace("seed:", "sed:").replace("trials", "trals")
    cli.spec.write_text(text, encoding="utf-8")
    result = cli.run("validate", "toy.yaml", code=2)
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        "error: toy.yaml:3:1: sed: unknown key; did you mean seed?",
        "error: toy.yaml:12:10: budget.trals: unknown key; did you mean trials?",
    ]


def test_slips_are_noted(cli: Any) -> None:
    words = ["--set", "objectives=[{minimize: score}]", "--set", "budget.trials=99"]
    noted = cli.run("validate", "toy.yaml", *words, "--set", "repeats=2").stderr
    assert "better is to maximize it" in noted
    assert "the space holds 24 architectures" in noted
    assert "repeats changes nothing" in noted


def test_the_schema_is_published(cli: Any) -> None:
    schema = json.loads(cli.run("validate", "--schema").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(loads(cli.spec.read_text()).data)
    assert "needs a SPEC" in cli.run("validate", code=2).stderr


# ------------------------------------------------------------------------ estimate


def test_estimate_answers_one_architecture(cli: Any) -> None:
    words = ["estimate", "--space", "nb201", "--arch", RESNET]
    value = json.loads(cli.run(*words, "--json", "--device", "pixel3").stdout)
    assert list(value) == ["architecture", "key", "metrics"]
    assert value["architecture"]["node1.from0"] == "nor_conv_3x3"
    assert len(value["key"]) == 64
    assert value["metrics"]["params"] == 559_386
    assert value["metrics"]["macs"] == 78_561_920
    assert value["metrics"]["latency_ms@pixel3"] == pytest.approx(14.7189)
    assert not any("@" in m and m != "latency_ms@pixel3" for m in value["metrics"])
    assert "559,386" in cli.run(*words).stdout


def test_estimate_models_devices(cli: Any) -> None:
    words = ["estimate", "--space", "nb201", "--option", "channels=4", "--option", "cells=1"]
    value = json.loads(
        cli.run(*words, "--arch", RESNET, "--device", "cpu_generic", "--json").stdout
    )
    assert value["metrics"]["latency_ms@cpu_generic"] > 0
    assert value["metrics"]["params"] < 20_000


def test_estimate_answers_a_file_line_by_line(cli: Any) -> None:
    Path("archs.jsonl").write_text(
        "\n".join(
            [
                json.dumps(RESNET),
                json.dumps({"node1.from0": "conv"}),
                "not json",
                "",
                json.dumps(RESNET.replace("3x3", "5x5")),
                json.dumps(RESNET),
            ]
        ),
        encoding="utf-8",
    )
    words = ["estimate", "--space", "nb201", "--arch", "@archs.jsonl"]
    result = cli.run(*words)
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [list(a) for a in answers] == [
        ["architecture", "key", "metrics"], ["error"], ["error"], ["error"],
        ["architecture", "key", "metrics"],
    ]  # fmt: skip
    assert answers[0] == answers[-1]
    assert "nor_conv_5x5" in answers[3]["error"]
    assert "3 of 5 architectures failed" in result.stderr
    cli.run(*words, "--strict", code=4)


@pytest.mark.parametrize("text", [RESNET, json.dumps(RESNET), f"\ufeff{RESNET}\r"])
def test_estimate_reads_one_architecture_from_a_file(cli: Any, text: str) -> None:
    Path("arch.txt").write_text(f"{text}\n", encoding="utf-8")
    value = json.loads(
        cli.run("estimate", "--space", "nb201", "--arch", "@arch.txt", "--json").stdout
    )
    assert value["metrics"]["params"] == 559_386


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--space", "nb200", "--arch", RESNET], "error: --space: unknown space 'nb200'; did yo"),
        (["--space", "nb201", "--option", "name=x", "--arch", RESNET], "is given as --space"),
        (["--space", "nb201", "--arch", '"unfinished'], "a JSON string must be whole"),
        (["--space", "nb201", "--arch", "|conv~0|"], "error: "),
        (["--space", "nb201", "--arch", RESNET, "--option", "chanels=3"], "did you mean channels"),
        (["--space", "nb201", "--arch", RESNET, "--option", "channels"], "must read key=value"),
        (["--space", "nb201", "--arch", RESNET, "--device", "pixel4"], "did you mean pixel3"),
        (["--space", "nb201", "--arch", RESNET, "--device", "none.yaml"], "none.yaml"),
        (["--space", "nb201", "--arch", "@none.jsonl"], "does not exist"),
        (["--space", "nb201", "--arch", "@."], "is a folder"),
        (
            ["--space", "nb201", "--option", "channels=8", "--arch", RESNET, "--device", "pixel3"],
            "measured with channels: 16",
        ),
    ],
)
def test_estimate_refuses_with_the_closest_name(cli: Any, words: list[str], message: str) -> None:
    result = cli.run("estimate", *words, code=2)
    assert result.stdout == ""
    assert message in result.stderr


# ------------------------------------------------------------------------ what there is


def test_spaces_are_listed_and_shown(cli: Any) -> None:
    rows = {row["name"]: row for row in json.loads(cli.run("spaces", "--json").stdout)}
    assert rows["nb201"]["size"] == 15_625
    assert rows["nats_sss"]["size"] == 32_768
    shown = json.loads(cli.run("spaces", "nb201", "--json").stdout)
    assert {o["name"] for o in shown["options"]} >= {"channels", "cells", "classes"}
    assert len(shown["decisions"]) == 6
    assert "15,625" in cli.run("spaces").stdout
    assert "node1.from0" in cli.run("spaces", "nb201").stdout
    assert "did you mean nb201" in cli.run("spaces", "nb21", code=2).stderr


def test_strategies_come_with_the_spaces_they_can_search(cli: Any) -> None:
    value = json.loads(cli.run("strategies", "--json").stdout)
    assert {row["name"] for row in value["strategies"]} == set(STRATEGIES.names())
    assert {"strategy": "random", "space": "nb201", "valid": True, "reason": ""} in value["pairs"]
    options = json.loads(cli.run("strategies", "random", "--json").stdout)["options"]
    assert options[0]["name"] == "batch"
    assert "searches" in cli.run("strategies").stdout
    assert "must be a Strategy subclass" in cli.run("strategies", "pathlib:Path", code=2).stderr


def test_estimators_and_devices_are_listed(cli: Any) -> None:
    rows = {row["name"]: row for row in json.loads(cli.run("estimators", "--json").stdout)}
    assert rows["tabular"]["cheap"]
    assert rows["training"]["needs_data"]
    assert "epochs" in cli.run("estimators", "training").stdout
    assert "training" in cli.run("estimators").stdout
    devices = {row["name"]: row for row in json.loads(cli.run("devices", "--json").stdout)}
    assert devices["cpu_generic"]["family"] == "cpu"
    assert devices["pixel3"]["family"] == "measured"
    assert json.loads(cli.run("devices", "pixel3", "--json").stdout) == devices["pixel3"]
    assert "every network of nb201" in cli.run("devices", "pixel3").stdout
    assert "memory_bandwidth" in cli.run("devices", "cpu_generic").stdout
    assert "did you mean cpu_generic" in cli.run("devices", "cpu_generi", code=2).stderr


def test_a_plug_in_that_cannot_be_loaded_hides_nothing(
    cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STRATEGIES._paths, "lame", "no_such_package.module:Lame")
    rows = {r["name"]: r for r in json.loads(cli.run("strategies", "--json").stdout)["strategies"]}
    assert "no_such_package" in rows["lame"]["error"]
    assert rows["random"]["objectives"] == "any"


class Lame:
    """A space whose constructor raises something of its own."""

    def __init__(self) -> None:
        raise NotImplementedError("later")


@declares({"worth": "maximize"}, cheap=True)
def worth(architecture: Any, data: Any, scale: float = 2.0) -> dict[str, float]:
    """Say how much an architecture is worth."""
    return {"worth": scale * len(architecture)}


def test_a_space_that_cannot_be_made_hides_no_strategy(
    cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SPACES._objects, "lame", Lame)
    pairs = json.loads(cli.run("strategies", "--json").stdout)["pairs"]
    assert {"strategy": "random", "space": "nb201", "valid": True, "reason": ""} in pairs
    assert "lame" not in {pair["space"] for pair in pairs}
    rows = {row["name"]: row for row in json.loads(cli.run("spaces", "--json").stdout)}
    assert "NotImplementedError: later" in rows["lame"]["error"]


def test_a_function_is_listed_as_the_estimator_that_it_is(
    cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The entry-point group takes functions as well as classes."""
    monkeypatch.setitem(ESTIMATORS._objects, "worth", worth)
    rows = {row["name"]: row for row in json.loads(cli.run("estimators", "--json").stdout)}
    assert rows["worth"]["cheap"]
    assert rows["worth"]["needs_data"]
    assert rows["worth"]["about"] == "Say how much an architecture is worth"
    assert "worth" in cli.run("estimators").stdout
    one = json.loads(cli.run("estimators", "worth", "--json").stdout)
    assert (one["cheap"], one["needs_data"], one["reports"]) == (True, True, False)
    assert [option["name"] for option in one["options"]] == ["scale"]


def test_names_of_the_current_folder_can_be_shown(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shown_here.py").write_text(
        "from netloom.estimators import declares\n"
        "from netloom.search.strategies.random import RandomSearch\n"
        'class Mine(RandomSearch):\n    """Mine alone."""\n'
        "@declares({'a': 'maximize'})\ndef score(architecture):\n    'Say a.'\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert "Mine alone" in cli.run("strategies", "shown_here:Mine").stdout
    assert "Say a" in cli.run("estimators", "shown_here:score").stdout


def test_the_dashboard_says_why_it_cannot_start(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "error: " in cli.stored("dashboard", code=1).stderr  # no store yet
    cli.search("--quiet")
    assert "host must be" in cli.stored("dashboard", "--host", "10.0.0.1", code=2).stderr


def test_errors_know_their_exit_codes() -> None:
    assert issubclass(SpecProblems, NetloomError)
    assert SpecProblems([]).exit_code == 2


def test_the_reference_pages_are_true() -> None:
    docs = Path(__file__).parents[2] / "docs"
    page = (docs / "cli.md").read_text(encoding="utf-8")
    for words in commands():
        assert f"`{' '.join(words)}" in page or f"`{words[-1]}" in page, words
    spec = (docs / "spec.md").read_text(encoding="utf-8")
    example = spec.partition("```yaml\n")[2].partition("```")[0]
    assert build_plan(parse(loads(example))).budget.time_s == 1800
    table = spec.partition("## Keys")[2].partition("\n**")[0]
    for key in Spec.model_fields:
        assert f"`{key}`" in table, key
    for key in RunnerOptions.model_fields:
        assert f"`{key}`" in spec, key
