"""What the store takes and gives: frozen records without a database behind them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias

ExperimentStatus: TypeAlias = Literal["running", "done", "failed", "interrupted", "infeasible"]
Ending: TypeAlias = Literal["done", "pruned", "infeasible", "failed"]
TrialStatus: TypeAlias = Literal["queued", "running", "done", "pruned", "infeasible", "failed"]
FINISHED: tuple[TrialStatus, ...] = ("done", "pruned", "infeasible", "failed")
NOTE = "note"  # the kind of the artifacts that hold a strategy's notes
ARCHIVED = "archived"  # the tag of experiments that lists leave out
EXPLANATION = "explanation"  # the kind of the details that hold a network's drawing and costs
RETRAINED = "retrained"  # the kind of experiments of chosen networks, and the key of their link
FIXED = "fixed"  # the tag that names a fixed point, and the key of the list of them in `info`
FIXED_SPACE = "fixed_space"  # the tag of a fixed point that is of another space than the search


@dataclass(frozen=True, slots=True)
class SpaceRef:
    """A space that an architecture is of, other than that of its experiment.

    Args:
        name: Name or import path of the space.
        fingerprint: Digest of name, resolved options and version.
    """

    name: str
    fingerprint: str

    def key(self, key: str) -> str:
        """Return the key of one of its architectures within an experiment on another space.

        Architectures of two spaces may be equal word by word and be other networks.
        """
        return f"{self.name}-{self.fingerprint[:12]}/{key}"

    @property
    def tag(self) -> dict[str, str]:
        """What a trial's tags say of it."""
        return {"name": self.name, "fingerprint": self.fingerprint}


def _space(tags: Mapping[str, Any]) -> SpaceRef | None:
    found = tags.get(FIXED_SPACE) if FIXED in tags else None
    return None if found is None else SpaceRef(found["name"], found["fingerprint"])


@dataclass(frozen=True, slots=True)
class MetricRecord:
    """A metric that an experiment's trials carry, with where its values come from.

    Args:
        name: `metric` or `metric@target`.
        unit: Unit in words; may be empty.
        direction: `maximize` or `minimize`.
        split: `valid`, or `test` for what no strategy saw.
        estimator: Name of the estimator that provides it.
        fingerprint: The estimator's fingerprint.
        deterministic: Whether the seed does not matter (the reuse rule asks).
        provenance: `{"kind": ..., "source": ..., "version": ...}`.
    """

    name: str
    unit: str
    direction: str
    estimator: str
    fingerprint: str
    split: str = "valid"
    deterministic: bool = True
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NewExperiment:
    """What a run knows when it starts.

    Args:
        name: Wished name; a taken one becomes `name-2`.
        spec: The resolved spec as JSON values (enough to resume and to repeat).
        space: Name or import path of the space.
        space_fingerprint: Digest of name, resolved options and version of the space.
        strategy: Name of the strategy.
        objectives: `[{"metric": ..., "direction": ...}]`.
        constraints: `[{"metric": ..., "max": ... | "min": ...}]`.
        metrics: What the trials will carry.
        seed: Experiment seed.
        kind: `search`, `baseline` or `retrained`.
        parent: Id of the experiment that this one belongs to (a baseline's search) or whose
            networks it trains again.
        group: Name shared by the runs of one `--seeds` call.
        tags: Free words.
        versions: Package versions, platform, command line.
        info: Further JSON for viewers (space size, decisions, budget).
    """

    name: str
    spec: Mapping[str, Any]
    space: str
    space_fingerprint: str
    strategy: str
    objectives: tuple[Mapping[str, Any], ...]
    constraints: tuple[Mapping[str, Any], ...]
    metrics: tuple[MetricRecord, ...]
    seed: int
    kind: str = "search"
    parent: str | None = None
    group: str | None = None
    tags: tuple[str, ...] = ()
    versions: Mapping[str, Any] = field(default_factory=dict)
    info: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExperimentRecord:
    """A stored experiment: everything of `NewExperiment`, and what became of it.

    `counts` maps each trial status to a number, `fixed` does so for the fixed points, which
    `counts` leaves out; `summary` holds what the run wrote at its end (front numbers, hypervolume,
    reason of stopping, ...).
    """

    id: str
    name: str
    status: ExperimentStatus
    spec: Mapping[str, Any]
    space: str
    space_fingerprint: str
    strategy: str
    objectives: tuple[Mapping[str, Any], ...]
    constraints: tuple[Mapping[str, Any], ...]
    metrics: tuple[MetricRecord, ...]
    seed: int
    kind: str
    parent: str | None
    group: str | None
    tags: tuple[str, ...]
    versions: Mapping[str, Any]
    info: Mapping[str, Any]
    created_at: datetime
    finished_at: datetime | None
    elapsed_s: float
    counts: Mapping[str, int]
    summary: Mapping[str, Any]
    fixed: Mapping[str, int] = field(default_factory=dict)

    @property
    def ref(self) -> str:
        """How suggested commands call it: by its id, where a shell could misread the name."""
        return self.name if re.fullmatch(r"\w[\w.\-]*", self.name) else self.id

    @property
    def archived(self) -> bool:
        """Whether it is put away: lists leave it out."""
        return ARCHIVED in self.tags


@dataclass(frozen=True, slots=True)
class NewTrial:
    """A trial as it is asked for (status queued or running) or already answered.

    Args:
        number: Counted from 0 in the order of asking.
        key: The architecture's key; of another space than the experiment's: `SpaceRef.key`.
        architecture: Decision -> option.
        notation: The architecture as its literature writes it (viewers cannot import spaces).
        status: Any status; finished ones carry their outcome at once (cheap evaluations).
        seed: The seed that the trial is evaluated with.
        parent: Number of the trial it was derived from.
        budget: Fidelity asked for.
        tags: Notes of the strategy.
        metrics: Values by metric name, for finished ones.
        violation: Sum of relative constraint violations.
        error: One line, for failed ones.
        traceback: The whole traceback, for failed ones.
        reused_from: Id of the trial (any experiment) whose values were reused.
        duration_s: Seconds of evaluation.
        told: Position in the order in which the strategy was told; None: not told yet.
    """

    number: int
    key: str
    architecture: Mapping[str, Any]
    notation: str
    status: TrialStatus = "queued"
    seed: int = 0
    parent: int | None = None
    budget: float | None = None
    tags: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    violation: float = 0.0
    error: str | None = None
    traceback: str | None = None
    reused_from: int | None = None
    duration_s: float | None = None
    told: int | None = None

    @property
    def space(self) -> SpaceRef | None:
        """The space of its architecture, where that is not the experiment's."""
        return _space(self.tags)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a queued or running trial ended."""

    number: int
    status: Ending
    metrics: Mapping[str, float] = field(default_factory=dict)
    violation: float = 0.0
    error: str | None = None
    traceback: str | None = None
    reused_from: int | None = None
    duration_s: float | None = None
    told: int | None = None


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """A stored trial."""

    id: int
    experiment: str
    number: int
    key: str
    architecture: Mapping[str, Any]
    notation: str
    status: TrialStatus
    seed: int
    parent: int | None
    budget: float | None
    tags: Mapping[str, Any]
    metrics: Mapping[str, float]
    violation: float
    error: str | None
    traceback: str | None
    reused_from: int | None
    attempts: int
    created_at: datetime
    finished_at: datetime | None
    duration_s: float | None
    told: int | None

    @property
    def fixed(self) -> str | None:
        """The name of the published network that it evaluates beside the search, or None."""
        return self.tags.get(FIXED)

    @property
    def space(self) -> SpaceRef | None:
        """The space of its architecture, where that is not the experiment's."""
        return _space(self.tags)

    @property
    def ending(self) -> Ending | None:
        """How it ended; None: it has not."""
        return None if self.status == "queued" or self.status == "running" else self.status

    @property
    def feasible(self) -> bool:
        """Whether it was evaluated in full and breaks no constraint."""
        return self.status == "done" and self.violation == 0.0


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One point of a curve: of a trial (`number` given) or of the strategy (`number` None)."""

    name: str
    step: int
    value: float
    number: int | None = None


@dataclass(frozen=True, slots=True)
class CostRecord:
    """A hardware cost of an architecture: kept apart from trials, so that devices can be added."""

    key: str
    device: str
    model_version: str
    metric: str
    value: float


@dataclass(frozen=True, slots=True)
class ArtifactRecord:
    """A content-addressed file beside the store."""

    id: int
    experiment: str
    kind: str
    name: str
    sha256: str
    size_bytes: int
    number: int | None
    meta: Mapping[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NoteRecord:
    """JSON values that a strategy kept under a name; `kind` says how to show them."""

    name: str
    kind: str
    value: Mapping[str, Any]
    created_at: datetime
