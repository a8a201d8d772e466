"""A trial that is asked for and not yet told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...db.records import FIXED, NewTrial, Outcome, TrialRecord
from ...seeds import derive_seed
from ...spaces import Architecture, DecisionSpace
from ..strategy import Candidate, Result
from .members import stored_architecture


@dataclass(slots=True)
class OpenTrial:
    """What the session knows of a trial between asking and telling.

    Args:
        number: Counted from 0 in the order of asking.
        architecture: What is evaluated.
        seeds: One per repeat; the first is the trial's seed.
        budget: Fidelity.
        parent: Trial it was derived from.
        tags: Notes of the strategy.
        metrics: Values known so far: the cheap ones and reused ones.
        answered: Positions of the costly estimators that need not be asked.
        reused_from: Row id of the stored trial that gave values.
        leader: Trial of the same batch that this one copies: they count as one architecture.
        duration_s: Seconds spent so far.
        epochs: Steps reported so far.
        losses: Workers that died while they evaluated it, in this process.
        outcome: How it ended.
        weights: The trained network, while it is not stored.
    """

    number: int
    architecture: Architecture
    seeds: tuple[int, ...]
    budget: float | None = None
    parent: int | None = None
    tags: Mapping[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    answered: set[int] = field(default_factory=set)
    reused_from: int | None = None
    leader: int | None = None
    duration_s: float = 0.0
    epochs: int = 0
    losses: int = 0
    outcome: Outcome | None = None
    weights: bytes | None = None

    @classmethod
    def of(cls, candidate: Candidate, number: int, seeds: tuple[int, ...]) -> OpenTrial:
        """Return the trial of a candidate."""
        return cls(
            number,
            candidate.architecture,
            seeds,
            candidate.budget,
            candidate.parent,
            candidate.tags,
        )

    @classmethod
    def stored(cls, record: TrialRecord, seeds: tuple[int, ...]) -> OpenTrial:
        """Return a trial that an earlier process asked for and did not tell."""
        trial = cls(
            record.number,
            stored_architecture(record),
            seeds,
            record.budget,
            record.parent,
            record.tags,
        )
        if record.ending is not None:
            trial.outcome = Outcome(
                record.number,
                record.ending,
                record.metrics,
                record.violation,
                record.error,
                record.traceback,
                record.reused_from,
                record.duration_s,
            )
        return trial

    @property
    def fixed(self) -> str | None:
        """The name of the published network that it evaluates beside the search, or None."""
        return self.tags.get(FIXED)

    def row(self, space: DecisionSpace, told: int | None) -> NewTrial:
        """Return what is stored of it: queued, or with its outcome."""
        ended = self.outcome
        if ended is None:
            return NewTrial(
                self.number,
                self.architecture.key,
                self.architecture,
                space.format(self.architecture),
                "queued",
                self.seeds[0],
                self.parent,
                self.budget,
                self.tags,
            )
        return NewTrial(
            self.number,
            self.architecture.key,
            self.architecture,
            space.format(self.architecture),
            ended.status,
            self.seeds[0],
            self.parent,
            self.budget,
            self.tags,
            ended.metrics,
            ended.violation,
            ended.error,
            ended.traceback,
            ended.reused_from,
            ended.duration_s,
            told,
        )

    def result(self) -> Result:
        """Return what the strategy is told.

        Raises:
            RuntimeError: If it has not ended.
        """
        if self.outcome is None:
            raise RuntimeError(f"trial {self.number} has not ended")
        return Result(
            self.number,
            self.architecture,
            self.outcome.status,
            self.outcome.metrics,
            self.outcome.violation,
            self.tags,
            self.parent,
        )


def trial_seeds(seed: int, number: int, repeats: int, *, fixed: int = 0) -> tuple[int, ...]:
    """Return the seeds of a trial's evaluations: they depend on its number, not on workers.

    Args:
        seed: The experiment's.
        number: The trial's.
        repeats: How many seeds.
        fixed: Fixed points of the search: they have the first numbers, and what the strategy
            proposes has the seeds that it would have without them.
    """
    role = (FIXED, number) if number < fixed else ("trial", number - fixed)
    first = derive_seed(seed, *role)
    return (first, *(derive_seed(seed, *role, "repeat", r) for r in range(1, repeats)))
