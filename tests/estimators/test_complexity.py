"""Counts of architectures, composed and traced."""

from __future__ import annotations

import random
from importlib.resources import files

import pytest
import torch
from torch import nn

from netloom.errors import EvaluationError, SpecError
from netloom.estimators import Complexity
from netloom.estimators.testing import EstimatorContract
from netloom.spaces import SPACES, Decision, ProductSpace, Space


class Plain(Space):
    """A space without parts, written as a user would."""

    decisions = (Decision("width", (4, 8, 16)), Decision("kernel", (1, 3, 5)))

    def build(self, architecture):
        width, kernel = architecture["width"], architecture["kernel"]
        if kernel == 5 and width == 16:
            raise ValueError("16 channels do not take 5x5")
        side = 9 - kernel
        return nn.Sequential(
            nn.Conv2d(3, width, kernel), nn.Flatten(1), nn.Linear(width * side**2, 2)
        )

    def example_input(self, architecture):
        return torch.zeros(1, 3, 8, 8)


class TestComplexityOfParts(EstimatorContract):
    def make(self):
        return Complexity(SPACES.get("nb201")())


class TestComplexityOfBuiltNetworks(EstimatorContract):
    def make(self):
        return Complexity(Plain())

    def broken(self):
        return Plain().architecture({"width": 16, "kernel": 5})

    def some(self, estimator):
        members = [{"width": w, "kernel": k} for w, k in ((4, 1), (8, 5), (16, 3))]
        return [estimator.space.architecture(m) for m in members]


def test_the_largest_cell_of_nb201():
    space = SPACES.get("nb201")()
    cell = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|"
    cell += "+|nor_conv_3x3~0|nor_conv_3x3~1|nor_conv_3x3~2|"
    counts = Complexity(space).evaluate(space.parse(cell))
    assert (counts["params"], counts["macs"]) == (1_531_546, 220_119_680)
    # inside the convolution of edge 1 -> 2: the input of the cell and node 1, which node 3 reads
    # too, the edge 0 -> 2, and the convolution's input and output
    assert counts["peak_activation_bytes"] == 5 * 4 * 16 * 32 * 32


def test_counts_by_hand():
    space = Plain()
    counts = Complexity(space).evaluate(space.architecture({"width": 8, "kernel": 3}))
    conv, linear = 8 * 3 * 9, 8 * 36 * 2
    assert counts == {
        "params": conv + 8 + linear + 2,
        "macs": 36 * conv + linear,
        "peak_activation_bytes": 4 * (3 * 64 + 8 * 36),
    }


def test_metrics_are_counts_to_be_minimised():
    metrics = Complexity(Plain()).metrics
    assert [m.name for m in metrics] == ["params", "macs", "peak_activation_bytes"]
    assert {m.direction for m in metrics} == {"minimize"}
    assert {m.provenance["kind"] for m in metrics} == {"count"}
    assert Complexity.cheap
    assert Complexity.deterministic


def test_a_build_that_raises_is_an_evaluation_error_with_its_cause():
    space = Plain()
    bad, good = ({"width": 16, "kernel": 5}, {"width": 16, "kernel": 3})
    results = Complexity(space).evaluate_many(
        [space.architecture(a) for a in (bad, good)], seeds=[0, 0]
    )
    assert isinstance(results[0], EvaluationError)
    assert "ValueError: 16 channels do not take 5x5" in str(results[0])
    assert isinstance(results[0].__cause__, ValueError)
    assert results[1]["params"] > 0


def test_a_space_without_example_input_says_so():
    class NoInput(Plain):
        example_input = Space.example_input

    space = NoInput()
    with pytest.raises(EvaluationError, match="must define example_input"):
        Complexity(space).evaluate(space.architecture({"width": 4, "kernel": 1}))


def test_a_space_without_networks_is_refused():
    product = ProductSpace(first=Plain(), second=Plain())
    with pytest.raises(SpecError, match=r"needs a space that builds networks.*estimator of your"):
        Complexity(product)


def test_details_add_up():
    space = SPACES.get("nas_bench_macro")()
    architecture = space.sample(random.Random(3))
    estimator = Complexity(space)
    counts, layers = estimator.evaluate(architecture), estimator.details(architecture)["layers"]
    assert sum(layer["macs"] for layer in layers) == counts["macs"]
    assert sum(layer["params"] for layer in layers) == counts["params"]
    assert max(layer["live_bytes"] for layer in layers) == counts["peak_activation_bytes"]


def macro_table():
    import pyarrow.parquet

    table = files("netloom.estimators") / "tables" / "nas_bench_macro.parquet"
    with table.open("rb") as file:
        return pyarrow.parquet.read_table(file).to_pylist()


@pytest.mark.parametrize("rows", [60, pytest.param(6561, marks=pytest.mark.full)])
def test_nas_bench_macro_holds_its_own_counts(rows):
    table = macro_table()
    assert len(table) == 6561
    space = SPACES.get("nas_bench_macro")()
    estimator = Complexity(space)
    for row in random.Random(0).sample(table, rows):
        counts = estimator.evaluate(space.parse(row["arch"]))
        assert (counts["params"], counts["macs"]) == (row["params"], row["flops"]), row["arch"]
