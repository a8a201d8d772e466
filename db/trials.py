"""What a store knows of trials: the half of `Store` that only reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, select

from ..errors import StoreError
from . import frames, reading, values
from .catalog import Catalog
from .columns import TrialColumns, metric_column, trial_columns
from .records import ExperimentRecord, TrialRecord
from .rescored import RESCORED
from .rows import unpack
from .tables import DETAILS, TRIALS

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


class TrialReader:
    """The trials of a store's experiments, as records, columns, single values and frames.

    Args:
        read: Opens a transaction that reads.
        catalog: Knows the rows of experiments and sources.
    """

    def __init__(
        self, read: Callable[[], AbstractContextManager[Connection]], catalog: Catalog
    ) -> None:
        self._read, self._catalog = read, catalog

    def trial_records(
        self,
        experiment_id: str,
        *,
        numbers: Iterable[int] | None = None,
        statuses: Iterable[str] | None = None,
        keys: Iterable[str] | None = None,
    ) -> list[TrialRecord]:
        """Return trials by number; each argument given narrows them down."""
        with self._read() as connection:
            entry = self._catalog.entry(connection, experiment_id)
            return reading.trial_records(
                connection, experiment_id, entry, numbers=numbers, statuses=statuses, keys=keys
            )

    def trial(self, experiment_id: str, number: int) -> TrialRecord:
        """Return one trial.

        Raises:
            StoreError: If the experiment has no such number.
        """
        known = 0 <= number < 2**31  # more than a database holds
        if found := self.trial_records(experiment_id, numbers=[number] if known else []):
            return found[0]
        with self._read() as connection:
            id = self._catalog.entry(connection, experiment_id).id
            highest = select(func.max(TRIALS.c.number)).where(TRIALS.c.experiment_id == id)
            last = connection.execute(highest).scalar()
        said = (
            "this experiment has none yet"
            if last is None
            else f"those of this experiment are 0 to {last}"
        )
        raise StoreError(f"a trial is given by its number, got {number}; {said}")

    def told_trials(self, experiment_id: str) -> Iterator[TrialRecord]:
        """Yield the trials that the strategy was told of, in the order of telling."""
        last: int | None = -1
        while last is not None:  # a transaction per page: the caller may take hours
            with self._read() as connection:
                id = self._catalog.entry(connection, experiment_id).id
                page = reading.told_page(connection, experiment_id, id, after=last)
            yield from page
            last = page[-1].told if page else None

    def keys(self, experiment_id: str) -> dict[str, int]:
        """Return the lowest trial number of each architecture key."""
        with self._read() as connection:
            id = self._catalog.entry(connection, experiment_id).id
            return reading.lowest_numbers(connection, id)

    def architectures(self, experiment_id: str, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return the decisions of architectures of the experiment's space, by key."""
        with self._read() as connection:
            space = self._catalog.entry(connection, experiment_id).space_id
            return reading.architectures(connection, space, keys)

    def decision_values(self, experiment_id: str, decision: str) -> dict[int, Any]:
        """Return the option of a decision by trial number, where an architecture has it."""
        with self._read() as connection:
            id = self._catalog.entry(connection, experiment_id).id
            return values.decision_values(connection, id, decision)

    def tag_values(self, experiment_id: str) -> dict[int, dict[str, Any]]:
        """Return what the strategy noted of its trials by number, where it noted anything."""
        with self._read() as connection:
            id = self._catalog.entry(connection, experiment_id).id
            return values.tag_values(connection, id)

    def feasible_values(
        self, experiment_id: str, metrics: Iterable[str], *, first: int = 0
    ) -> dict[str, dict[int, float]]:
        """Return metrics of the feasible trials from number `first` on.

        Returns:
            Metric -> trial number -> value; what was added by rescoring is not among them.
        """
        with self._read() as connection:
            id = self._catalog.entry(connection, experiment_id).id
            return values.feasible_values(connection, id, metrics, first=first)

    def extremes(
        self, ids: Iterable[str], metrics: Iterable[str], *, first: int = 0
    ) -> dict[str, dict[str, tuple[float, float]]]:
        """Return the least and the largest value of metrics over those trials, by experiment."""
        with self._read() as connection:
            return values.extremes(connection, ids, metrics, first=first)

    def columns(
        self,
        experiment_id: str,
        *,
        numbers: Iterable[int] | None = None,
        above: int | None = None,
    ) -> TrialColumns:
        """Return trials as columns, by number: for viewers of a hundred thousand.

        Args:
            experiment_id: The experiment's id.
            numbers: These trials alone (and those above).
            above: Only trials with a higher number.
        """
        with self._read() as connection:
            entry = self._catalog.entry(connection, experiment_id)
            return trial_columns(connection, entry, numbers=numbers, above=above)

    def metric_column(
        self, experiment_id: str, name: str, *, ids: Iterable[int] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return a metric's values: row ids of trials, ascending, and a value for each.

        Args:
            experiment_id: The experiment's id.
            name: The metric.
            ids: Row ids of the only trials that count.
        """
        with self._read() as connection:
            entry = self._catalog.entry(connection, experiment_id)
            return metric_column(connection, entry, name, ids=ids)

    def metrics(self, experiment_id: str, ids: Iterable[int]) -> dict[int, dict[str, float]]:
        """Return the metrics of trials by their row ids."""
        with self._read() as connection:
            self._catalog.entry(connection, experiment_id)
            return reading.metrics_of(connection, ids)

    def lookup(
        self,
        space_fingerprint: str,
        keys: Iterable[str],
        *,
        fingerprint: str,
        budget: float | None = None,
        seed: int | None = None,
    ) -> dict[str, tuple[int, dict[str, float]]]:
        """Return what an estimator has said of architectures, in any experiment.

        Args:
            space_fingerprint: The space's.
            keys: Architecture keys.
            fingerprint: The estimator's.
            budget: The fidelity, which must be equal.
            seed: The trial's seed, which must be equal; None for a deterministic estimator.

        Returns:
            Key -> (id of the oldest done trial, {metric: value}); never metrics of a test split.
        """
        with self._read() as connection:
            return reading.lookup(
                connection,
                space_fingerprint,
                keys,
                fingerprint=fingerprint,
                budget=budget,
                seed=seed,
            )

    # Frames

    def trials(self, experiment: str) -> pd.DataFrame:
        """Return a row per trial, by number.

        Columns: `number`, `key`, `status`, `violation`, each decision, each metric, `duration_s`,
        `parent`, `notation`, and `fixed`, the names of the published networks beside a search
        that has some; a decision or metric of one of these names is shown as
        `decision:NAME` or `metric:NAME`.

        Args:
            experiment: Name, id or unique prefix.
        """
        with self._read() as connection:
            return frames.trials_frame(connection, reading.resolve(connection, experiment))

    def curves(
        self, experiment_id: str, *, number: int | None = None, strategy: bool = False
    ) -> pd.DataFrame:
        """Return `number`, `name`, `step`, `value`; `number` is missing for the strategy's own.

        Args:
            experiment_id: The experiment's id.
            number: Only those of this trial.
            strategy: Only the strategy's own.
        """
        with self._read() as connection:
            id = self._catalog.entry(connection, experiment_id).id
            return frames.curves_frame(connection, id, -1 if strategy else number)

    def costs(
        self,
        space_fingerprint: str,
        keys: Sequence[str] | None = None,
        device: str | None = None,
    ) -> pd.DataFrame:
        """Return `key`, `device`, `model_version`, `metric`, `value`."""
        with self._read() as connection:
            return frames.costs_frame(connection, space_fingerprint, keys, device)

    def rescored(self, record: ExperimentRecord) -> dict[str, dict[str, float]]:
        """Return costs that were added to an experiment after its run: key -> metric -> value."""
        if not record.info.get(RESCORED):
            return {}
        with self._read() as connection:
            id = self._catalog.entry(connection, record.id).id
            return reading.rescored_values(connection, id, record)

    def details(self, experiment_id: str, number: int, kind: str) -> dict[str, Any] | None:
        """Return a breakdown of a trial, or None when none of that kind is kept."""
        with self._read() as connection:
            id = self._catalog.entry(connection, experiment_id).id
            blob = connection.execute(
                select(DETAILS.c.payload)
                .join(TRIALS, TRIALS.c.id == DETAILS.c.trial_id)
                .where(
                    TRIALS.c.experiment_id == id,
                    TRIALS.c.number == number,
                    DETAILS.c.kind == kind,
                )
            ).scalar()
            return None if blob is None else unpack(blob)
