"""Values looked up in published measurements: a search in seconds, on real numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, Literal

from ..errors import EvaluationError, SpecError
from ..spaces import Architecture, DecisionSpace
from .estimator import Direction, Estimator, Metric, Metrics, Report
from .tables import describe_tables, load_table, rows_of

VERSION = 1


class Tabular(Estimator):
    """Accuracies and latencies that others measured, for every network of a space.

    Covers `nb201` (`valid_accuracy`, `test_accuracy`, `latency_ms@...` of seven devices),
    `nats_sss` and `nas_bench_macro` (`accuracy`, as published: it may be a test accuracy).
    `netloom.estimators.tables` says where each number comes from.

    Args:
        space: One of those three, with the options that the networks were measured with.
        data: Not used.
        dataset: What the networks were trained on; `nb201` has all three, the others CIFAR-10.
        runs: For tables that hold several training runs (`nas_bench_macro`: three): `mean` of
            them, with their spread as `accuracy_std`; or `each`, the run that the trial's seed
            picks (seed modulo their number), as noisy as one training is.

    Raises:
        SpecError: If there is no table for the space, or it was measured with other options.
    """

    name: ClassVar[str] = "tabular"
    cheap: ClassVar[bool] = True

    def __init__(
        self,
        space: DecisionSpace,
        data: Any = None,
        *,
        dataset: Literal["cifar10", "cifar100", "imagenet16"] = "cifar10",
        runs: Literal["mean", "each"] = "mean",
    ) -> None:
        super().__init__(space, data)
        self.dataset, self.runs = dataset, runs
        self.table = _table_of(space)
        entry = _entry(self.table, dataset)
        _same_options(space, self.table, entry["options"])
        _same_data(data, self.table, entry["options"])
        counts = {len(c["runs"]) for c in entry["columns"] if "runs" in c}
        if runs == "each" and not counts:
            raise SpecError(
                f"runs: each needs a table with several training runs, {self.table} has one; "
                "leave the option out"
            )
        self._seeds = max(counts, default=1) if runs == "each" else 1
        self.deterministic = self._seeds == 1  # type: ignore[misc]  # one object's, not the kind's

    @classmethod
    def space_options(cls, space: str, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the options that the networks of the table were measured with."""
        try:
            return cls.options_for(space, str(options.get("dataset", "cifar10")))
        except SpecError:  # no such table: the constructor says so
            return {}

    @classmethod
    def options_for(cls, space: str, dataset: str = "cifar10") -> Mapping[str, Any]:
        """Return the options that the table of `space` (a name) wants the space to have.

        Raises:
            SpecError: If there is no table for that space and data set.
        """
        for table, entry in describe_tables().items():
            if entry["space"] == space and entry["complete"]:
                options: Mapping[str, Any] = _entry(table, dataset)["options"]
                return options
        raise _no_table(space)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """One per column of the table, with its published source."""
        return tuple(
            Metric(
                name,
                column["unit"],
                direction,
                column.get("split", "valid"),
                {**column["provenance"], "version": VERSION, "table": self.table},
            )
            for column in _entry(self.table, self.dataset)["columns"]
            for name, direction in self._names(column)
        )

    def identity(self) -> dict[str, Any]:
        """The table, what it was trained on, and how its runs are taken."""
        return {
            "table": self.table,
            "dataset": self.dataset,
            "runs": self.runs,
            "version": VERSION,
        }

    def evaluate(
        self,
        architecture: Architecture,
        *,
        seed: int = 0,
        budget: float | None = None,
        report: Report | None = None,
    ) -> Metrics:
        """Look the network up; a table has one fidelity, `budget` changes nothing.

        Raises:
            EvaluationError: If the table does not hold the network.
        """
        return self._values("valid", architecture, seed)

    def test(self, architecture: Architecture, *, seed: int = 0, weights: Any = None) -> Metrics:
        """Look up the test accuracy, where the table has one apart."""
        return self._values("test", architecture, seed)

    def _values(self, split: str, architecture: Architecture, seed: int) -> Metrics:
        notation = self.space.format(architecture)
        names, rows = _values_of(self.table, self.dataset, self.runs, split, seed % self._seeds)
        row = rows_of(self.table).get(notation)
        if row is None:
            raise EvaluationError(
                f"the table {self.table} holds {len(rows)} networks, {notation} is not among them"
            )
        return dict(zip(names, rows[row], strict=True))

    def _names(self, column: Mapping[str, Any]) -> list[tuple[str, Direction]]:
        name = column["metric"]
        if "runs" in column and self.runs == "mean":
            return [(name, column["direction"]), (f"{name}_std", "minimize")]
        return [(name, column["direction"])]


@cache
def _values_of(
    table: str, dataset: str, runs: str, split: str, run: int
) -> tuple[tuple[str, ...], Sequence[tuple[float, ...]]]:
    """Return metric names and one tuple of values per row; computed once per process."""
    data = load_table(table)
    columns: dict[str, Any] = {}
    for column in _entry(table, dataset)["columns"]:
        if column.get("split", "valid") != split:
            continue
        if "runs" not in column:
            columns[column["metric"]] = data[column["column"]]
        elif runs == "each":
            columns[column["metric"]] = data[column["runs"][run]]
        else:
            count = len(column["runs"])
            mean = sum(data[name] for name in column["runs"]) / count
            spread = sum((data[name] - mean) ** 2 for name in column["runs"]) / (count - 1)
            columns[column["metric"]] = mean
            columns[f"{column['metric']}_std"] = spread**0.5
    if not columns:
        return (), [()] * len(rows_of(table))
    return tuple(columns), list(zip(*(c.tolist() for c in columns.values()), strict=True))


def _table_of(space: DecisionSpace) -> str:
    for table, entry in describe_tables().items():
        if entry["space"] == space.name and entry["complete"]:
            return table
    raise _no_table(space.name)


def _no_table(space: str) -> SpecError:
    known = sorted(e["space"] for e in describe_tables().values() if e["complete"])
    return SpecError(
        f"tabular has measurements for the spaces {', '.join(known)}, got {space!r}; choose one of "
        "them, or another estimator (training, complexity, hardware)"
    )


def _entry(table: str, dataset: str) -> Mapping[str, Any]:
    datasets = describe_tables()[table]["datasets"]
    if dataset not in datasets:
        raise SpecError(
            f"tabular: dataset must be one of {', '.join(datasets)} for the table {table}, "
            f"got {dataset!r}"
        )
    entry: Mapping[str, Any] = datasets[dataset]
    return entry


def _same_options(space: DecisionSpace, table: str, wanted: Mapping[str, Any]) -> None:
    """Raise when the space's networks are not the ones that were measured."""
    for option, value in wanted.items():
        got = space.options.get(option, value)
        if got != value:
            raise SpecError(
                f"tabular: the table {table} was measured with {option}: {value}, the space has "
                f"{option}: {got}; set the space's option {option} to {value}, or use another "
                "estimator"
            )


def _same_data(data: Any, table: str, wanted: Mapping[str, Any]) -> None:
    for option in ("in_channels", "resolution", "classes"):
        got = getattr(data, option, None)
        if got is not None and got != wanted[option]:
            raise SpecError(
                f"tabular: the table {table} was measured on data with {option}: "
                f"{wanted[option]}, the data set {getattr(data, 'name', '')} has {got}; leave the "
                "data out, or use another estimator"
            )
