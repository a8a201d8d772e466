"""Comparisons as pages ask for them: what was read and computed of a state is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from ..db import Store
from ..db.records import ExperimentRecord
from .contest import Contest, Objectives, Run, chosen_records, common_objectives
from .findings import Finding, findings
from .growth import Growth
from .kept import Kept
from .progress import By
from .table import TrialTable
from .views import with_objectives

RUNS_KEPT = 120  # two comparisons of the largest size; a run of 100,000 trials is some 3 MB
RESULTS_KEPT = 16


class ContestCache:
    """Comparisons of one store.

    Args:
        table: Gives the trials of an experiment.
        state_of: Gives a text that changes whenever something to show of an experiment changes.
    """

    def __init__(
        self,
        table: Callable[[ExperimentRecord], TrialTable],
        state_of: Callable[[ExperimentRecord], str],
    ) -> None:
        self._table, self._state_of = table, state_of
        self._runs = Kept(RUNS_KEPT)
        self._results = Kept(RESULTS_KEPT)

    def contest(
        self, store: Store, refs: Sequence[str], groups: Sequence[str], *, apart: bool
    ) -> tuple[Contest, str]:
        """Return the comparison, and a text that changes whenever it does.

        Raises:
            StoreError: If there is no such experiment.
            UnknownName: If there is no such group.
            SpecError: If they cannot be compared.
        """
        records = chosen_records(store, refs, groups)
        objectives = common_objectives(records)
        keys = tuple(self._key(record, objectives) for record in records)
        runs = [
            self._runs.value(key, partial(self._run, record, objectives))
            for key, record in zip(keys, records, strict=True)
        ]
        key = ("contest", keys, apart)
        contest = self._results.value(key, lambda: Contest.from_runs(runs, apart=apart))
        return contest, repr(key)

    def findings(self, contest: Contest, state: str) -> list[Finding]:
        """Return what may be said of every two competitors."""
        return self._results.value(("findings", state), lambda: findings(contest))

    def growth(self, contest: Contest, state: str, by: By) -> Growth:
        """Return the histories."""
        return self._results.value(("growth", state, by), lambda: Growth.of(contest, by))

    def _key(self, record: ExperimentRecord, objectives: Objectives) -> tuple[str, ...]:
        goals = (f"{each['direction']} {each['metric']}" for each in objectives)
        return (record.id, record.name, self._state_of(record), *goals)

    def _run(self, record: ExperimentRecord, objectives: Objectives) -> Run:
        return Run.of(with_objectives(record, objectives), self._table(record))
