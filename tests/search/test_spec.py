"""Specs: YAML as people mean it, every error with its place and its remedy, all at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from netloom.errors import SpecError
from netloom.options import SpecProblems
from netloom.search.objectives import Constraint, Objective
from netloom.search.run import yaml_text
from netloom.search.run.spec import Budget, Spec, load_spec, parse

TEXT = """\
version: 1
name: digits-on-f746
seed: 0
space: {name: mcuformer, preset: tiny}
data: {name: digits}
estimators:
  - {name: training, epochs: 4}
  - {name: hardware, devices: [stm32f746]}
strategy: {name: nsga2, population: 32}
objectives:
  - maximize: valid_accuracy
  - minimize: latency_ms@stm32f746
constraints:
  - peak_memory_bytes@stm32f746 <= 320KB
  - {metric: macs, max: 3M}
budget: {trials: 100, time: 1h30m}
runner: {engine: auto, workers: 2, scheduler: asha}
store: sqlite:///netloom.db
"""


def read(text: str, *overrides: str) -> Spec:
    return parse(yaml_text.loads(text, source="spec.yaml"), overrides=overrides)


def errors(text: str, *overrides: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        read(text, *overrides)
    return str(caught.value).splitlines()


def test_the_design_page_reads() -> None:
    spec = read(TEXT)
    assert spec.space.name == "mcuformer"
    assert spec.space.options == {"preset": "tiny"}
    assert [o.objective() for o in spec.objectives] == [
        Objective("valid_accuracy", "maximize"),
        Objective("latency_ms@stm32f746", "minimize"),
    ]
    assert [c.constraint() for c in spec.constraints] == [
        Constraint("peak_memory_bytes@stm32f746", max=320 * 1024),
        Constraint("macs", max=3e6),
    ]
    assert spec.budget.time_s == 5400
    assert spec.runner.scheduler.name == "asha"


def test_what_is_stored_reads_again() -> None:
    spec = read(TEXT)
    assert parse(json.loads(json.dumps(spec.to_json()))) == spec


def test_names_may_stand_alone() -> None:
    spec = read(TEXT.replace("{name: nsga2, population: 32}", "nsga2"))
    assert (spec.strategy.name, spec.strategy.options) == ("nsga2", {})


# what is replaced, by what, and the error that must come: place, rule, value, remedy
BROKEN = [
    ("seed: 0", "sed: 0", "spec.yaml:3:1: sed: unknown key; did you mean seed?"),
    ("seed: 0", "seed: x", "spec.yaml:3:1: seed: must be a valid integer, got 'x'"),
    ("seed: 0", "seed: true", "spec.yaml:3:1: seed: must be a valid integer, got True"),
    ("seed: 0", "seed: -1", "spec.yaml:3:1: seed: must be greater than or equal to 0, got -1"),
    ("version: 1", "version: 2", "spec.yaml:1:1: version: must be 1, got 2"),
    ("name: digits-on-f746", "name: a b", "spec.yaml:2:1: name: must match pattern"),
    (
        "name: digits-on-f746",
        "seed: 1",
        "spec.yaml:3:1: seed: the key stands twice, first in line 2; remove one",
    ),
    (
        "trials: 100",
        "trails: 100",
        "spec.yaml:16:10: budget.trails: unknown key; did you mean trials?",
    ),
    ("trials: 100", "trials: 0", "spec.yaml:16:10: budget.trials: must be greater than or equal"),
    (
        "time: 1h30m",
        "time: half an hour",
        "spec.yaml:16:23: budget.time: must be a duration such as 45s, 30m, 1h30m or 2d",
    ),
    ("time: 1h30m", "time: 0", "spec.yaml:16:23: budget.time: must be greater than 0, got 0"),
    (
        "time: 1h30m",
        "epochs: 1e-3",
        "spec.yaml:16:23: budget.epochs: must be a valid integer, got 0.001",
    ),
    (
        "{trials: 100, time: 1h30m}",
        "{}",
        "spec.yaml:16:1: budget: needs at least one of trials, time and epochs",
    ),
    (
        "maximize: valid",
        "maximise: valid",
        "spec.yaml:11:5: objectives[0].maximise: unknown key; did you mean maximize",
    ),
    (
        "<= 320KB",
        "< 320KB",
        "spec.yaml:14:5: constraints[0]: a constraint must read 'metric <= number'",
    ),
    ("max: 3M", "mx: 3M", "spec.yaml:15:20: constraints[1].mx: unknown key; did you mean max?"),
    ("max: 3M", "max: 3X", "spec.yaml:15:20: constraints[1].max: must be a number, with a unit"),
    ("macs, max: 3M", "macs", "spec.yaml:15:5: constraints[1]: constraint on macs: give exactly"),
    (
        "engine: auto",
        "engine: rai",
        "spec.yaml:17:10: runner.engine: must be 'auto', 'inline' or 'ray', got 'rai'; did you",
    ),
    ("scheduler: asha", "scheduler: ahsa", "spec.yaml:17:36: runner.scheduler: must be 'asha'"),
    (
        "scheduler: asha",
        "scheduler: {name: asha, gracee: 2}",
        "spec.yaml:17:60: runner.scheduler.gracee: unknown key; did you mean grace?",
    ),
    (
        "strategy: {name: nsga2, population: 32}\n",
        "",
        "spec.yaml:1:1: strategy: is required and missing",
    ),
    ("{name: nsga2, p", "{nam: nsga2, p", "spec.yaml:9:1: strategy.name: is required and missing"),
    ("store: sqlite", "reuse: on\n#", "spec.yaml:18:1: reuse: must be true or false, got 'on'"),
    ("digits-on-f746", "12", "spec.yaml:2:1: name: must be a valid string, got 12; write it in qu"),
    ("seed: 0", f"seed: {2**63}", "spec.yaml:3:1: seed: must be less than 9223372036854775808"),
    ("time: 1h30m", "time_s: 60", "spec.yaml:16:23: budget.time_s: unknown key; did you mean tim"),
    (
        "{metric: macs, max: 3M}",
        "{metric: latency_ms@a, max: 6KB}",
        "spec.yaml:15:28: constraints[1].max: must be a number, with a unit such as KB or M, got "
        "'6KB' (constraint '6KB': 'KB' is not a unit of latency_ms@a; leave it out, or use one of",
    ),
    ("budget: {", "budget: [", "spec.yaml:16:34: is not YAML: "),
    ("  - {name: training", "\t- {name: training", "spec.yaml:7:1: is not YAML: "),
    ("seed: 0", "seed: !!python/object:os.system 0", "spec.yaml:3:7: is not YAML: could not"),
    ("seed: 0", "tags: &t [*t]", "spec.yaml:3:7: is not YAML: an alias repeats itself"),
    ("seed: 0", "reuse: !!bool maybe", "spec.yaml:3:8: is not YAML: 'maybe' is not of the type"),
    ("seed: 0", "seed: !!timestamp abc", "spec.yaml:3:7: is not YAML: 'abc' is not of the type"),
    ("seed: 0", f"tags: {'[' * 2000}", "spec.yaml: is nested too deep to be a spec"),
    ("seed: 0", f"tags: {'[' * 2000}{']' * 2000}", "spec.yaml: is nested too deep to be a spec"),
]


@pytest.mark.parametrize(("old", "new", "expected"), BROKEN, ids=[b[1][:24] for b in BROKEN])
def test_an_error_says_where_and_how_to_mend_it(old: str, new: str, expected: str) -> None:
    assert old in TEXT
    [line] = errors(TEXT.replace(old, new, 1))
    assert line.startswith(expected)


def test_all_errors_come_at_once_in_the_order_of_the_file() -> None:
    broken = TEXT.replace("seed: 0", "sed: 0").replace("trials: 100", "trails: 1")
    found = errors(broken.replace("<= 320KB", "=< 320KB"))
    assert [line.split(": ")[0] for line in found] == [
        "spec.yaml:3:1",
        "spec.yaml:14:5",
        "spec.yaml:16:10",
    ]


@pytest.mark.parametrize("text", ["", "- 1", "just words", "3"])
def test_a_spec_is_a_mapping(text: str) -> None:
    assert "a spec must be a mapping of keys" in errors(text)[0]


def test_scalars_are_those_of_yaml_1_2() -> None:
    document = yaml_text.loads(
        "a: 1e-3\non: off\nb: [yes, no, y, 0x1F, 0o17, 010, .5, 1., -3, 1:30, 2024-01-01, 1_000]\n"
        "c: [~, null, '', \"1\", .inf, true, False]\n"
    )
    assert document.data == {
        "a": 0.001,
        "on": "off",
        "b": ["yes", "no", "y", 31, 15, 10, 0.5, 1.0, -3, "1:30", "2024-01-01", "1_000"],
        "c": [None, None, "", "1", float("inf"), True, False],
    }


def test_every_duplicate_key_is_found() -> None:
    with pytest.raises(SpecProblems) as caught:
        yaml_text.loads("a: 1\na: 2\nb: {x: 1, x: 2}\n", source="f.yaml")
    assert str(caught.value).splitlines() == [
        "f.yaml:2:1: a: the key stands twice, first in line 1; remove one",
        "f.yaml:3:11: b.x: the key stands twice, first in line 3; remove one",
    ]


def test_a_spec_is_not_blown_up_by_aliases() -> None:
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    text += "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9))
    with pytest.raises(SpecProblems, match="without end"):
        yaml_text.loads(text)


def test_overrides_are_typed_and_reach_everything() -> None:
    spec = read(
        TEXT.replace("{name: nsga2, population: 32}", "nsga2"),
        "strategy.population=8",
        "estimators.training.epochs=2",
        "estimators[1].devices=[a, b]",
        "estimators.0.lr=1e-3",
        "budget.time=10s",
        "runner.scheduler=none",
        "data=",
    )
    assert spec.strategy.options == {"population": 8}
    assert spec.estimators[0].options == {"epochs": 2, "lr": 0.001}
    assert spec.estimators[1].options == {"devices": ["a", "b"]}
    assert (spec.budget.time_s, spec.data) == (10, None)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seed", "--set seed: an override must read path=value"),
        ("=3", "--set =3: an override must read path=value"),
        ("sed=3", "--set sed=3: sed: unknown key; did you mean seed?"),
        ("budget.trials=x", "--set budget.trials=x: budget.trials: must be a valid integer"),
        ("estimators.trainin.epochs=1", "--set estimators.trainin.epochs=1: no item 'trainin'"),
        ("seed.x=3", "--set seed.x=3: 0 has no key 'x'"),
        ("tags=[a", "--set tags=[a: is not YAML"),
        ("a.b.c=3", "--set a.b.c=3: a: unknown key; known: "),
        ("tags.0=x", "--set tags.0=x: tags: must be a list"),
        (
            "constraints.0.max=3",
            "--set constraints.0.max=3: 'peak_memory_bytes@stm32f746 <= 320KB'",
        ),
    ],
)
def test_a_wrong_override_is_quoted(override: str, expected: str) -> None:
    [line] = errors(TEXT, override)
    assert line.startswith(expected)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(TEXT, encoding="utf-8")
    with pytest.raises(SpecError, match=r"no file .*did you mean spec\.yaml"):
        load_spec(tmp_path / "specs.yaml")
    with pytest.raises(SpecError, match="cannot read"):
        load_spec(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("name: Müller".encode("latin-1"))
    with pytest.raises(SpecError, match="UTF-8"):
        load_spec(tmp_path / "latin.yaml")


def test_the_files_name_is_the_experiments_where_it_has_none(tmp_path: Path) -> None:
    path = tmp_path / "my spec.yaml"
    path.write_text(TEXT.replace("name: digits-on-f746\n", ""), encoding="utf-8")
    spec, folder = load_spec(path, ["seed=3"])
    assert (spec.name, spec.seed, folder) == ("my-spec", 3, tmp_path.resolve())


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("Größe 3", "Größe-3"),
        ("über", "ber"),
        ("-a-", "a"),
        ("日本", "search"),
        ("x" * 150, "x" * 100),
    ],
)
def test_any_file_gives_a_name(tmp_path: Path, stem: str, name: str) -> None:
    path = tmp_path / f"{stem}.yaml"
    path.write_text(TEXT.replace("name: digits-on-f746\n", ""), encoding="utf-8")
    assert load_spec(path)[0].name == name


def test_a_bound_takes_the_units_of_its_metric() -> None:
    spec = read(TEXT.replace("{metric: macs, max: 3M}", "{metric: latency_ms@a, max: 1.5 s}"))
    assert spec.constraints[1].constraint() == Constraint("latency_ms@a", max=1500.0)


def test_the_cap_of_infeasible_architectures_has_a_default() -> None:
    assert Budget(trials=7).infeasible_cap == 700
    assert Budget(time_s=1.0).infeasible_cap == 10_000
    assert Budget(trials=7, max_infeasible=3).infeasible_cap == 3
