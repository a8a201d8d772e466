from __future__ import annotations

import importlib.util
import json
import math
import pickle
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from netloom.errors import EvaluationError, SpecError, UnknownName
from netloom.estimators import Estimator, Tabular
from netloom.estimators.data.digits import Digits
from netloom.estimators.tables import describe_tables, load_table, rows_of
from netloom.estimators.testing import EstimatorContract
from netloom.spaces import SPACES, Decision, DecisionSpace

NB201 = SPACES.get("nb201")
MACRO = SPACES.get("nas_bench_macro")
SIZE = SPACES.get("nats_sss")


class TestNB201(EstimatorContract):
    def make(self) -> Estimator:
        return Tabular(NB201())

    def variants(self):
        return [
            Tabular(NB201(classes=100), dataset="cifar100"),
            Tabular(NB201(classes=120, resolution=16), dataset="imagenet16"),
            Tabular(SIZE()),
        ]


class TestMacroMean(EstimatorContract):
    def make(self) -> Estimator:
        return Tabular(MACRO())

    def variants(self):
        return [Tabular(MACRO(), runs="each")]


class TestMacroEach(EstimatorContract):
    def make(self) -> Estimator:
        return Tabular(MACRO(), runs="each")


class TestSize(EstimatorContract):
    def make(self) -> Estimator:
        return Tabular(SIZE())


# number 0 of NAS-Bench-201
FIRST = (
    "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|"
    "+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
)


def test_values_are_the_published_ones():
    estimator = Tabular(NB201())
    a = estimator.space.parse(FIRST)
    values = estimator.evaluate(a)
    assert values["valid_accuracy"] == 63.364
    assert values["latency_ms@eyeriss"] == 3.64562
    assert values["latency_ms@pixel3"] == 3.60585
    assert values["latency_ms@1080ti_256"] == 17.25528
    assert estimator.test(a) == {"test_accuracy": 69.55}
    hundred = Tabular(NB201(classes=100), dataset="cifar100")
    assert hundred.evaluate(a)["valid_accuracy"] == 31.84
    assert hundred.test(a) == {"test_accuracy": 31.26}
    small = Tabular(NB201(classes=120, resolution=16), dataset="imagenet16")
    assert small.evaluate(a) == {"valid_accuracy": 18.4667}
    size = Tabular(SIZE())
    assert size.evaluate(size.space.parse("8:8:8:8:16")) == {"accuracy": 82.56}
    assert size.test(size.space.parse("8:8:8:8:16")) == {}


def test_three_runs_as_mean_and_one_by_one():
    mean, each = Tabular(MACRO()), Tabular(MACRO(), runs="each")
    a = mean.space.parse("02012100")
    runs = [89.47, 88.95, 89.17]
    assert mean.evaluate(a)["accuracy"] == pytest.approx(np.mean(runs), abs=1e-12)
    assert mean.evaluate(a)["accuracy_std"] == pytest.approx(np.std(runs, ddof=1), abs=1e-9)
    assert [each.evaluate(a, seed=s)["accuracy"] for s in (0, 1, 2, 3)] == [*runs, runs[0]]
    assert (mean.deterministic, each.deterministic) == (True, False)
    with pytest.raises(SpecError, match="runs: each"):
        Tabular(NB201(), runs="each")


def test_every_member_of_a_space_is_in_its_table():
    for make in (NB201, MACRO, SIZE):
        space = make()
        rows = rows_of(space.name)
        assert len(rows) == space.size
        rng = random.Random(3)
        assert all(space.format(space.sample(rng)) in rows for _ in range(300))


def test_every_number_of_every_table_is_finite_and_every_row_is_there():
    for name, entry in describe_tables().items():
        table = load_table(name)
        assert {len(column) for column in table.values()} == {entry["rows"]}
        numbers = [c for c in table.values() if c.dtype.kind in "fiu"]
        assert numbers
        assert all(np.isfinite(column).all() for column in numbers)
        for data in entry["datasets"].values():
            for column in data["columns"]:
                assert set(column.get("runs", [column.get("column")])) <= set(table)
                assert column["provenance"]["source"]


def test_the_best_networks_are_the_known_ones():
    accuracy = load_table("nb201")["cifar10_valid_acc"]
    assert accuracy.max() == 84.892
    assert load_table("nats_sss")["cifar10_acc"].max() == 93.65


@pytest.mark.parametrize(
    ("space", "options", "rule"),
    [
        (lambda: NB201(cells=1), {}, r"cells: 5.*cells: 1"),
        (lambda: NB201(channels=8), {}, r"channels: 16.*channels: 8"),
        (lambda: NB201(), {"dataset": "cifar100"}, r"classes: 100.*classes: 10"),
        (lambda: NB201(classes=120), {"dataset": "imagenet16"}, r"resolution: 16"),
        (lambda: NB201(in_channels=1), {}, r"in_channels: 3"),
        (lambda: SIZE(cells=2), {}, r"cells: 1.*cells: 2"),
        (lambda: MACRO(classes=100), {}, r"classes: 10.*classes: 100"),
        (lambda: MACRO(), {"dataset": "cifar100"}, r"dataset must be one of cifar10"),
        (lambda: Coins(), {}, r"nb201.*got 'Coins'"),
    ],
)
def test_other_networks_than_the_measured_ones_are_refused(space, options, rule):
    with pytest.raises(SpecError, match=rule):
        Tabular(space(), **options)


class Coins(DecisionSpace):
    decisions = (Decision("coin", ("heads", "tails")),)


def test_other_data_than_the_measured_are_refused():
    with pytest.raises(SpecError, match="in_channels: 3, the data set digits has 1"):
        Tabular(NB201(), Digits())


def test_the_options_that_a_table_wants():
    wanted = Tabular.options_for("nb201", "cifar100")
    assert NB201(**wanted).options["classes"] == 100
    Tabular(NB201(**wanted), dataset="cifar100")
    with pytest.raises(SpecError, match="dataset must be one of"):
        Tabular.options_for("nats_sss", "imagenet16")
    with pytest.raises(SpecError, match="got 'hytra'"):
        Tabular.options_for("hytra")


def test_a_network_that_the_table_does_not_hold():
    estimator = Tabular(SIZE())
    odd = estimator.space.parse(
        "8:8:8:8:17"
    )  # the space reads it, the benchmark has multiples of 8
    with pytest.raises(EvaluationError, match="8:8:8:8:17 is not among them"):
        estimator.evaluate(odd)


def test_an_unknown_table_names_the_known_ones():
    with pytest.raises(UnknownName, match="nb201"):
        load_table("nb202")


def test_provenance_says_what_is_measured_and_what_is_modelled():
    kinds = {m.name: m.provenance["kind"] for m in Tabular(NB201()).metrics}
    assert kinds["valid_accuracy"] == "table"
    assert kinds["latency_ms@pixel3"] == "measured"
    assert kinds["latency_ms@eyeriss"] == "model"
    (accuracy, _) = Tabular(MACRO()).metrics
    assert "best epoch" in accuracy.provenance["what"]
    splits = {m.name: m.split for m in Tabular(NB201()).metrics}
    assert [name for name, split in splits.items() if split == "test"] == ["test_accuracy"]


def test_nothing_of_a_table_travels_with_the_estimator():
    estimator = Tabular(NB201())
    estimator.evaluate(estimator.space.parse(FIRST))
    assert len(pickle.dumps(estimator)) < 10_000


def test_values_are_copies():
    estimator = Tabular(NB201())
    a = estimator.space.parse(FIRST)
    estimator.evaluate(a)["valid_accuracy"] = math.inf
    assert estimator.evaluate(a)["valid_accuracy"] == 63.364


def test_looking_up_loads_no_torch():
    code = (
        "import sys, json\n"
        "from netloom.estimators import ESTIMATORS, DATASETS\n"
        "from netloom.spaces import SPACES\n"
        "light = 'pyarrow' not in sys.modules\n"
        "e = ESTIMATORS.get('tabular')(SPACES.get('nb201')())\n"
        f"v = e.evaluate(e.space.parse({FIRST!r}))\n"
        "print(json.dumps([light, 'torch' in sys.modules, v['valid_accuracy']]))\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(out.stdout) == [True, False, 63.364]


def test_the_conversion_keeps_decimals():
    path = Path(__file__).parents[2] / "benchmarks" / "make_tables.py"
    spec = importlib.util.spec_from_file_location("make_tables", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    texts = ["3.64562", "12", "0.1"]
    array, places = module.numbers(texts)
    assert [value / 10**places for value in array.to_pylist()] == [float(text) for text in texts]
