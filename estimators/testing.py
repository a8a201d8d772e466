"""Conformance suites: what every estimator and every data set owes its users.

Subclass a suite in a test file, supply its factories, and pytest runs the inherited tests:

    class TestMine(EstimatorContract):
        def make(self):
            return Mine(MySpace())
"""

from __future__ import annotations

import math
import pickle
import random
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..spaces import Architecture
from .data.dataset import DataSet, Split, check_split
from .data.labels import Boxes
from .estimator import Estimator, Metrics


class EstimatorContract:
    """What every estimator owes the runner. Supply `make`, and `variants` where there are options.

    Attributes:
        architectures: How many random architectures the tests evaluate.
    """

    architectures = 3

    def make(self) -> Estimator:
        """Return a new estimator, the same one at every call."""
        raise NotImplementedError

    def variants(self) -> Sequence[Estimator]:
        """Return estimators that differ from `make`'s in an option that decides values."""
        return ()

    def broken(self) -> Architecture:
        """Return an architecture that cannot be evaluated."""
        return Architecture({"no such decision": 0})

    def some(self, estimator: Estimator) -> list[Architecture]:
        """Return random architectures of the estimator's space."""
        rng = random.Random(11)
        return [estimator.space.sample(rng) for _ in range(self.architectures)]

    def test_metrics_are_declared_once_with_a_direction(self) -> None:
        """Every metric says which way is better and where its values come from."""
        estimator = self.make()
        names = [metric.name for metric in estimator.metrics]
        assert names
        assert len(set(names)) == len(names)
        assert all(metric.direction in ("maximize", "minimize") for metric in estimator.metrics)
        assert all(metric.provenance.get("kind") for metric in estimator.metrics)

    def test_values_are_finite_and_exactly_those_declared(self) -> None:
        """No metric is missing, none is extra, none is NaN or infinite."""
        estimator = self.make()
        declared = {m.name for m in estimator.metrics if m.split == "valid"}
        for architecture in self.some(estimator):
            values = estimator.evaluate(architecture, seed=5)
            assert set(values) == declared
            assert all(type(v) is float and math.isfinite(v) for v in values.values())

    def test_the_seed_decides_the_values(self) -> None:
        """Equal seeds give equal values, whatever was evaluated before."""
        first, again = self.make(), self.make()
        for architecture in self.some(first)[:2]:
            a = first.evaluate(architecture, seed=5)
            assert again.evaluate(architecture, seed=5) == a
            assert first.evaluate(architecture, seed=5) == a
            if first.deterministic:
                assert first.evaluate(architecture, seed=6) == a

    def test_no_global_generator_is_touched(self) -> None:
        """The generators of `random`, numpy and torch are left as they were."""
        estimator = self.make()
        architecture = self.some(estimator)[0]
        before = _generators()
        estimator.evaluate(architecture, seed=5)
        assert _generators() == before

    def test_many_keeps_the_order_and_isolates_failures(self) -> None:
        """A failure takes its place in the list and hurts no other."""
        estimator = self.make()
        members = self.some(estimator)
        asked = [members[0], self.broken(), *members[1:]]
        results = estimator.evaluate_many(asked, seeds=[5] * len(asked))
        assert len(results) == len(asked)
        assert isinstance(results[1], Exception)
        expected: list[Metrics] = [estimator.evaluate(a, seed=5) for a in members]
        assert [r for i, r in enumerate(results) if i != 1] == expected

    def test_a_copy_in_another_process_is_the_same(self) -> None:
        """An estimator travels to a worker, also after it has evaluated."""
        estimator = self.make()
        architecture = self.some(estimator)[0]
        copy = pickle.loads(pickle.dumps(estimator))
        assert copy.fingerprint == estimator.fingerprint
        assert copy.metrics == estimator.metrics
        values = estimator.evaluate(architecture, seed=5)
        assert copy.evaluate(architecture, seed=5) == values
        assert pickle.loads(pickle.dumps(estimator)).fingerprint == copy.fingerprint

    def test_the_fingerprint_depends_on_the_options_only(self) -> None:
        """Equal options, equal fingerprint; another option, another one."""
        prints = [e.fingerprint for e in (self.make(), *self.variants())]
        assert self.make().fingerprint == prints[0]
        assert len(set(prints)) == len(prints)


class DataSetContract:
    """What every data set owes the estimators. Supply `make`, and `variants` where there are any.

    Attributes:
        unique: Whether no two examples are equal (then the splits must share none).
    """

    unique = True

    def make(self) -> DataSet:
        """Return a new data set, the same one at every call."""
        raise NotImplementedError

    def variants(self) -> Sequence[DataSet]:
        """Return data sets that differ from `make`'s in an option that decides the examples."""
        return ()

    def test_the_splits_are_what_is_declared(self) -> None:
        """Shapes, types and class numbers are those that were declared."""
        data = self.make()
        splits = data.load()
        for name in ("train", "valid", "test"):
            check_split(data, name, getattr(splits, name))
        if data.classes is not None:
            assert data.outputs == data.classes
        if data.tasks:
            assert set(data.task_classes) == set(data.tasks)
        elif data.classes is not None:
            assert len(np.unique(splits.train.y)) == data.classes
        else:
            assert data.outputs == data.targets

    def test_the_splits_share_no_example(self) -> None:
        """What the weights saw is not what they are judged on."""
        splits = self.make().load()
        rows = [{x.tobytes() for x in part.x} for part in (splits.train, splits.valid, splits.test)]
        if self.unique:
            assert not rows[0] & rows[1]
            assert not rows[0] & rows[2]
            assert not rows[1] & rows[2]

    def test_loading_again_gives_the_same(self) -> None:
        """Loading does not depend on a global generator."""
        np.random.seed(1)  # a data set must not depend on the global generator
        first = self.make().load()
        np.random.seed(2)
        again = self.make().load()
        for name in ("train", "valid", "test"):
            assert _same(getattr(first, name), getattr(again, name))

    def test_the_fingerprint_depends_on_the_options_only(self) -> None:
        """Equal options, equal fingerprint; another option, another one."""
        prints = [d.fingerprint for d in (self.make(), *self.variants())]
        data = self.make()
        data.load()
        assert data.fingerprint == prints[0]
        assert len(set(prints)) == len(prints)

    def test_a_copy_in_another_process_is_the_same_and_small(self) -> None:
        """A data set travels without its examples."""
        data = self.make()
        data.splits()
        text = pickle.dumps(data)
        assert pickle.loads(text).fingerprint == data.fingerprint
        assert len(text) < 100_000, "loaded examples must not travel with the data set"


def _generators() -> list[Any]:
    state: list[Any] = [random.getstate(), pickle.dumps(np.random.get_state())]
    if (torch := sys.modules.get("torch")) is not None:  # only what is loaded can be touched
        state.append(torch.get_rng_state().tolist())
    return state


def _same(a: Split, b: Split) -> bool:
    return set(a.labels) == set(b.labels) and all(
        np.array_equal(p, q) for p, q in zip(_arrays(a), _arrays(b), strict=True)
    )


def _arrays(split: Split) -> list[Any]:
    arrays = [split.x, split.y]
    for task in sorted(split.labels):
        value = split.labels[task]
        arrays += [*vars(value).values()] if isinstance(value, Boxes) else [value]
    return arrays
