"""Plans: what a spec names is found, filled in and compared before anything runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest

from netloom.errors import MissingDependency, SpecError
from netloom.estimators import Estimator, Metric
from netloom.options import SpecProblems
from netloom.search import STRATEGIES, Experiment, Strategy
from netloom.search.run import yaml_text
from netloom.search.run.capabilities import capability_matrix, pairing_problem
from netloom.search.run.plan import Plan, build_plan
from netloom.search.run.spec import load_spec, parse
from netloom.spaces import Decision, DecisionSpace

TEXT = """\
name: q
space: nb201
estimators: [tabular]
strategy: random
objectives:
  - maximize: valid_accuracy
  - minimize: latency_ms@pixel3
constraints:
  - latency_ms@eyeriss <= 6
budget: {trials: 50}
"""


class Toy(DecisionSpace):
    """Two decisions; takes what a data set decides."""

    def __init__(self, *, in_channels: int = 3, classes: int = 10) -> None:
        super().__init__([Decision("a", (1, 2, 3)), Decision("b", (True, False))])
        self.in_channels, self.classes = in_channels, classes


class Grey:
    """A data set of one grey channel and two classes."""

    in_channels, resolution, classes = 1, 8, 2

    def __init__(self, *, share: float = 0.5) -> None:
        self.share = share


class Worth(Estimator):
    """Provides one metric of the name that it is told."""

    name: ClassVar[str] = "worth"
    cheap: ClassVar[bool] = True

    def __init__(self, space: Any, data: Any = None, *, metric: str = "score") -> None:
        super().__init__(space, data)
        self.metric = metric

    @property
    def metrics(self) -> tuple[Metric, ...]:
        return (
            Metric(self.metric, "", "maximize"),
            Metric("test_score", "", "maximize", split="test"),
        )

    def identity(self) -> dict[str, Any]:
        return {"metric": self.metric}

    def evaluate(self, architecture: Any, **kwargs: Any) -> dict[str, float]:
        return {self.metric: float(architecture["a"])}


class Needy(Worth):
    """Needs data."""

    needs_data: ClassVar[bool] = True


class Greedy(Strategy):
    """Takes one objective and a super-network."""

    name: ClassVar[str] = "greedy"
    needs: ClassVar[frozenset[str]] = frozenset({"supernet"})
    objectives = "single"

    def ask(self, n: int) -> list[Any]:
        return []

    def tell(self, results: Any) -> None: ...

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Any) -> None: ...


class Single(Greedy):
    """Takes one objective."""

    name: ClassVar[str] = "single"
    needs: ClassVar[frozenset[str]] = frozenset()


READY = Toy()
NUMBER = 3


@pytest.fixture(autouse=True)
def toys() -> Iterator[None]:
    """Make this module's classes importable as `plan_toys:Name`, as a user's would be."""
    module = ModuleType("plan_toys")
    vars(module).update(globals())
    sys.modules["plan_toys"] = module
    yield
    del sys.modules["plan_toys"]


def plan(text: str = TEXT, *overrides: str) -> Plan:
    return build_plan(parse(yaml_text.loads(text, source="s.yaml"), overrides=overrides))


def errors(text: str, *overrides: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        plan(text, *overrides)
    return str(caught.value).splitlines()


TOY = """\
space: "plan_toys:Toy"
estimators: [{name: "plan_toys:Worth"}]
strategy: random
objectives: [{maximize: score}]
budget: {trials: 3}
"""


def test_a_plan_holds_objects() -> None:
    found = plan()
    assert found.space.name == "nb201"
    assert found.provider("valid_accuracy") is found.estimators[0]
    assert found.cheap
    assert [str(c) for c in found.constraints] == ["latency_ms@eyeriss <= 6"]
    assert found.spec["space"]["channels"] == 16  # defaults are stored


def test_the_stored_spec_makes_the_same_plan() -> None:
    first = plan(TEXT, "strategy.batch=4")
    again = build_plan(parse(first.spec))
    assert again.spec == first.spec
    assert again.strategy.batch == 4
    assert again.space.fingerprint == first.space.fingerprint


def test_a_data_set_fills_the_options_of_the_space() -> None:
    found = plan(TOY, 'data={name: "plan_toys:Grey", share: 0.25}')
    assert (found.space.in_channels, found.space.classes) == (1, 2)  # type: ignore[attr-defined]
    assert found.spec["space"] == {"name": "plan_toys:Toy", "in_channels": 1, "classes": 2}
    assert found.data.share == 0.25


@pytest.mark.parametrize(
    ("dataset", "classes", "resolution"),
    [("cifar10", 10, 32), ("cifar100", 100, 32), ("imagenet16", 120, 16)],
)
def test_a_table_fills_the_options_of_the_space(
    dataset: str, classes: int, resolution: int
) -> None:
    text = TEXT.replace("  - minimize: latency_ms@pixel3\n", "")
    text = text.replace("constraints:\n  - latency_ms@eyeriss <= 6\n", "")
    made = plan(text.replace("[tabular]", f"[{{name: tabular, dataset: {dataset}}}]"))
    assert made.space.options["classes"] == classes
    assert made.space.options["resolution"] == resolution
    assert made.spec["space"]["classes"] == classes
    assert build_plan(parse(made.spec)).space.fingerprint == made.space.fingerprint
    mixed = Experiment(  # one object among the names: the plan is made by hand
        name="mixed",
        space="nb201",
        estimators=[{"name": "tabular", "dataset": dataset}],
        strategy=STRATEGIES.get("random")(),
        objectives=[{"maximize": "valid_accuracy"}],
        budget=1,
    )
    assert mixed.plan().space.fingerprint == made.space.fingerprint


@pytest.mark.parametrize("preset", ["full", "tiny"])
def test_the_options_of_a_preset_are_stored(preset: str) -> None:
    text = TEXT.replace("space: nb201", f"space: {{name: nb201, preset: {preset}}}")
    text = text.replace("[tabular]", "[complexity]").partition("constraints")[0]
    text = text.replace("maximize: valid_accuracy", "minimize: macs")
    made = plan(text.replace("latency_ms@pixel3", "params") + "budget: {trials: 5}\n")
    assert made.spec["space"]["channels"] == made.space.options["channels"] is not None
    assert build_plan(parse(made.spec)).space.fingerprint == made.space.fingerprint


def test_a_table_does_not_overrule_a_preset() -> None:
    text = TEXT.replace("space: nb201", "space: {name: nb201, preset: tiny}")
    (problem,) = errors(text)
    assert "the table nb201 was measured with" in problem
    assert plan(text.replace("preset: tiny", "preset: full")).space.options["channels"] == 16


def test_a_space_that_contradicts_its_table_is_a_conflict() -> None:
    text = TEXT.replace("space: nb201", "space: {name: nb201, classes: 10}")
    (text,) = errors(text.replace("[tabular]", "[{name: tabular, dataset: cifar100}]"))
    assert "measured with classes: 100, the space has classes: 10" in text


def test_a_metric_of_the_test_split_is_never_the_remedy() -> None:
    (text,) = errors(TEXT.replace("maximize: valid_accuracy", "maximize: accuracy"))
    assert "did you mean valid_accuracy" in text
    assert "test_accuracy" not in text


def test_a_finished_object_is_a_space_too() -> None:
    assert plan(TOY, "space=plan_toys:READY").space is READY


def test_spaces_multiply() -> None:
    found = plan(TOY, 'space={name: product, factors: {net: nb201, chip: "plan_toys:Toy"}}')
    assert found.space.size == 15_625 * 6
    assert set(found.spec["space"]["factors"]) == {"net", "chip"}


# overrides of TOY (or of TEXT where it names nb201), and the error
WRONG = [
    (TEXT, "space=nb200", "unknown space 'nb200'; did you mean nb201?"),
    (TEXT, "space.chanels=8", "space.chanels: unknown key; did you mean channels"),
    (TEXT, "strategy=rndom", "unknown strategy 'rndom'; did you mean random?"),
    (TEXT, "strategy.batsh=8", "strategy.batsh: unknown key; did you mean batch?"),
    (TEXT, "strategy.batch=0", "strategy.batch: must be greater than or equal to 1, got 0"),
    (TEXT, "estimators=[tabula]", "unknown estimator 'tabula'; did you mean tabular?"),
    (TEXT, "estimators.tabular.dataset=cifar", "estimators[0].dataset: must be 'cifar10'"),
    (TEXT, "space.channels=8", "measured with channels: 16"),
    (TEXT, "data=digts", "unknown data set 'digts'; did you mean digits?"),
    (TEXT, "constraints=[latency_ms@eyris <= 6]", "did you mean latency_ms@eyeriss"),
    (TEXT, "objectives=[{minimize: macs}]", "macs comes from the estimator complexity"),
    (TEXT, "objectives=[{minimize: energy_mj@m7}]", "no device 'm7' is modelled; known: "),
    (
        TEXT,
        "objectives=[{minimize: energy_mj@cpu_generic}]",
        "energy_mj@cpu_generic comes from the estimator hardware (devices: [cpu_generic])",
    ),
    (
        TOY,
        "objectives=[{minimize: latency_ms@pixel3}]",
        "'latency_ms@pixel3'; pixel3 was measured on nb201 (estimator tabular); known: ",
    ),
    (
        TEXT,
        "estimators=[{name: hardware, devices: [pixel3]}]",
        "; it is not modelled, but measured on nb201: use tabular",
    ),
    (TEXT, "store=foo", "--set store=foo: store: a store is sqlite:///FILE or postgresql://"),
    (TEXT, "store=mysql://a/b", "got 'mysql://a/b'"),
    (
        TEXT,
        "estimators=[tabular, {name: complexity, batch: 3}]",
        "estimators[1].batch: unknown key; known: resolution",
    ),
    (
        TEXT,
        "objectives=[{maximize: test_accuracy}]",
        "test_accuracy is measured on the test split, which no search may see",
    ),
    (TEXT, "constraints=[test_accuracy >= 90]", "measured on the test split"),
    (TOY, "objectives=[{maximize: score}, {minimize: score}]", "score is an objective twice"),
    (
        TOY,
        "estimators=[plan_toys:Worth, tabular, {name: plan_toys:Worth, metric: other}]",
        "estimators[1]: tabular has measurements for the spaces",
    ),
    (
        TOY,
        "estimators=[plan_toys:Worth, {name: plan_toys:Worth, metric: score}]",
        "score, test_score are provided by both estimators[0] (worth) and estimators[1] (worth)",
    ),
    (TOY, "estimators=[plan_toys:Needy]", "needs a data set; add one"),
    (TOY, "estimators=[plan_toys:NUMBER]", "must be an Estimator subclass or a function"),
    (TOY, "space=plan_toys:NUMBER", "space.name: plan_toys:NUMBER is not a space"),
    (TOY, "space=plan_toys:Grey", "must give a Space, got Grey"),
    (TOY, "space={name: plan_toys:READY, in_channels: 3}", "finished object and takes no options"),
    (TOY, "space=plan_toys:Toi", "unknown name in plan_toys 'Toi'; did you mean Toy"),
    (TOY, "space=no_such_module:Toy", "there is no module 'no_such_module'"),
    (TOY, "space=plan_toys", "unknown space 'plan_toys'"),
    (TOY, "space={name: product, factor: {}}", "space.factor: unknown key; did you mean factors?"),
    (TOY, "strategy=plan_toys:Toy", "must be a Strategy subclass"),
    (TOY, "strategy=plan_toys:Greedy", "greedy needs a space with a super-network; "),
    (TOY, "runner.scheduler=asha", "asha needs an estimator that reports while it works"),
    (TOY, "runner={engine: inline, workers: 4}", "engine inline runs one trial at a time, got 4"),
    (TOY, "runner={engine: inline, address: auto}", "engine inline has no cluster"),
    (TOY, "budget={epochs: 30}", "budget.epochs: counts epochs of training, and no estimator"),
]


@pytest.mark.parametrize(("text", "override", "expected"), WRONG, ids=[w[1] for w in WRONG])
def test_a_mistake_is_refused_with_place_and_remedy(
    text: str, override: str, expected: str
) -> None:
    found = errors(text, override)
    assert any(expected in line for line in found), found
    assert all(line.startswith(("--set ", "s.yaml")) for line in found)


def test_a_data_set_contradicted_by_the_spec_is_a_conflict() -> None:
    text = TOY.replace('"plan_toys:Toy"', '{name: "plan_toys:Toy", classes: 10}')
    [line] = errors(text + 'data: "plan_toys:Grey"\n')
    assert line.startswith("s.yaml:1:32: space.classes: the data set Grey needs 2, got 10")


FPGA = "estimators=[tabular, {name: hardware, devices: [zcu102, zcu102_pipeline]}]"


@pytest.mark.parametrize(
    ("objectives", "expected"),
    [
        (
            "[{minimize: latency_ms@zcu102}, {minimize: energy_mj@zcu102}]",
            "objectives[1].minimize: energy_mj@zcu102 is a constant times latency_ms@zcu102, so "
            "that it is no objective of its own beside latency_ms@zcu102, got both; keep one",
        ),
        (
            "[{minimize: energy_mj@zcu102}, {minimize: latency_ms@zcu102}]",
            "objectives[1].minimize: energy_mj@zcu102 is a constant times latency_ms@zcu102",
        ),
    ],
)
def test_a_multiple_of_an_objective_is_no_second_one(objectives: str, expected: str) -> None:
    [line] = errors(TEXT, FPGA, f"objectives={objectives}")
    assert expected in line


@pytest.mark.parametrize(
    "objectives",
    [
        "[{minimize: energy_mj@zcu102}, {maximize: valid_accuracy}]",
        "[{minimize: energy_mj@zcu102}, {minimize: latency_ms@zcu102_pipeline}]",
        "[{minimize: latency_ms@zcu102_pipeline}, {maximize: throughput_per_s@zcu102_pipeline}]",
    ],
)
def test_a_multiple_alone_or_of_another_device_is_an_objective(objectives: str) -> None:
    bound = "constraints=[energy_mj@zcu102_pipeline <= 1 J]"
    assert plan(TEXT, FPGA, f"objectives={objectives}", bound).objectives


def test_the_mistakes_of_all_parts_come_at_once() -> None:
    found = errors(TEXT, "strategy.batsh=1", "estimators.tabular.runs=each")
    assert len(found) == 2
    found = errors(TEXT, "strategy=x", "space=y")
    assert len(found) == 2


def test_one_objective_strategies_refuse_several() -> None:
    [line] = errors(TEXT, "strategy=plan_toys:Single")
    assert line.startswith("s.yaml") or line.startswith("--set")
    assert "single takes one objective, got 2; make the others constraints, or use" in line
    assert "random" in line


def test_options_of_a_strategy_that_do_not_suit_the_space_are_refused() -> None:
    """Before anything is trained: nine blocks in each layer, of which eight are partitioned."""
    text = TEXT.replace("space: nb201", "space: fbnet").replace("[tabular]", "[complexity]")
    text = text.partition("objectives:")[0] + "objectives: [minimize: macs]\nbudget: {trials: 9}\n"
    changes = ("data=digits", "strategy={name: gm_fewshot, split_epochs: [1]}")
    [found] = errors(text, *changes)
    assert "2 to 8 options" in found
    assert "max_options 9" in found
    assert plan(text, changes[0], "strategy={name: gm_fewshot, max_options: 9}").strategy


def test_constructors_that_raise_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("no weights")

    monkeypatch.setattr(sys.modules["plan_toys"], "Broken", broken, raising=False)
    [line] = errors(TOY, "space=plan_toys:Broken")
    assert "raised RuntimeError: no weights; check its options or its code" in line


def test_a_file_that_holds_no_examples_is_placed_in_the_spec(tmp_path: Path) -> None:
    np.savez(tmp_path / "none.npz", x=np.zeros((0, 3)), y=np.zeros(0, int))
    [line] = errors(TOY + f"data: {{name: npz, path: {tmp_path}/none.npz}}\n")
    assert line.startswith("s.yaml:6:1: data: data set npz: every array must hold examples")


def test_a_missing_package_is_exit_code_5(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise MissingDependency("needs the package optuna; pip install 'netloom[optuna]'")

    monkeypatch.setattr(sys.modules["plan_toys"], "Broken", broken, raising=False)
    with pytest.raises(MissingDependency, match="optuna") as caught:
        plan(TOY, "space=plan_toys:Broken")
    assert caught.value.exit_code == 5


def test_the_specs_folder_is_importable(tmp_path: Path) -> None:
    (tmp_path / "beside_the_spec.py").write_text(
        "from netloom.spaces import Decision, DecisionSpace\n"
        "class Tiny(DecisionSpace):\n"
        "    decisions = (Decision('a', (1, 2)),)\n"
        "def worth(architecture, scale: float = 1.0):\n"
        "    return {'score': scale * architecture['a']}\n",
        encoding="utf-8",
    )
    (tmp_path / "s.yaml").write_text(
        "space: 'beside_the_spec:Tiny'\n"
        "estimators:\n"
        "  - {name: 'beside_the_spec:worth', metrics: {score: maximize}, cheap: true, scale: 2}\n"
        "strategy: random\nobjectives: [{maximize: score}]\nbudget: {trials: 2}\n",
        encoding="utf-8",
    )
    spec, folder = load_spec(tmp_path / "s.yaml")
    try:
        found = build_plan(spec, source_dir=folder)
        architecture = found.space.architecture({"a": 2})
        assert found.estimators[0].evaluate(architecture) == {"score": 4.0}
        assert build_plan(parse(found.spec), source_dir=folder).spec == found.spec
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("beside_the_spec", None)


def test_a_plan_of_objects_is_checked_too() -> None:
    found = plan(TOY)
    parts = {name: getattr(found, name) for name in Plan.__dataclass_fields__}
    parts["estimators"] = (*found.estimators, Worth(found.space))
    with pytest.raises(SpecProblems, match="provided by both"):
        Plan(**parts)


def test_repeats_add_standard_deviations() -> None:
    assert plan(TOY, "repeats=3", "constraints=[score_std <= 1]").repeats == 3
    assert "no estimator" in errors(TOY, "constraints=[score_std <= 1]")[0]


def test_the_matrix_covers_every_pair_and_says_why_not() -> None:
    pairs = capability_matrix(["random"])
    assert {p.space for p in pairs} >= {"nb201", "nats_sss", "nas_bench_macro"}
    assert all(p.valid for p in pairs)
    assert "needs a space with a super-network" in pairing_problem(Greedy, READY)
    assert pairing_problem(Single, READY, 1) == ""
