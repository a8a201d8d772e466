"""The spec of a search: what one YAML file says, as checked data.

Names of spaces, strategies, estimators and data sets, and their options, are looked up in
`plan.py`; this module imports nothing heavy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from ...errors import SpecError
from ...options import SpecProblems, validate
from ..objectives import BOUND_PATTERN, CONSTRAINT_PATTERN, Constraint, Objective, read_bound
from . import yaml_text

_METRIC = r"^[A-Za-z_][\w.]*(?:@[\w.\-]+)?$"
_DURATION = re.compile(r"^\s*(?:(\d+(?:\.\d+)?)d)?\s*(?:(\d+(?:\.\d+)?)h)?\s*(?:(\d+(?:\.\d+)?)m)?"
                       r"\s*(?:(\d+(?:\.\d+)?)s)?\s*$")  # fmt: skip
_SECONDS = (86400.0, 3600.0, 60.0, 1.0)

# For the JSON Schema alone: what the readers below take.
_DurationText = Annotated[str, Field(pattern=_DURATION.pattern, examples=["45s", "30m", "1h30m"])]
_BoundText = Annotated[str, Field(pattern=BOUND_PATTERN, examples=["320KB", "3M"])]
_ConstraintText = Annotated[
    str, Field(pattern=CONSTRAINT_PATTERN, examples=["latency_ms@eyeriss <= 6", "params <= 1M"])
]
_Positive = Annotated[float, Field(gt=0)]

_NAME_LENGTH = 100

ExperimentName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.\-]*$", max_length=_NAME_LENGTH)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
FixedName = Annotated[str, Field(min_length=1, examples=["ofa_mbv3/flops-595m", "darts/DARTS_V2"])]
MetricId = Annotated[str, Field(pattern=_METRIC, examples=["valid_accuracy", "latency_ms@eyeriss"])]


class _Model(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False
    )


def seconds(value: Any) -> Any:
    """Return the seconds of `30m`, `1h30m`, `45s`, `2d` or of a plain number of seconds."""
    if not isinstance(value, str):
        return value
    found = _DURATION.match(value)
    if found is None or not value.strip():
        raise ValueError(f"must be a duration such as 45s, 30m, 1h30m or 2d, got {value!r}")
    return sum(float(n) * s for n, s in zip(found.groups(), _SECONDS, strict=True) if n)


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


class Named(BaseModel):
    """A registered name or an import path `package.module:Name`, with its options beside it."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: Annotated[str, Field(min_length=1)]

    @property
    def options(self) -> dict[str, Any]:
        """Everything beside the name."""
        return dict(self.model_extra or {})


NameOrOptions = Annotated[
    Named,
    BeforeValidator(_named, json_schema_input_type=str | Named),
]


class ObjectiveSpec(_Model):
    """`maximize: metric` or `minimize: metric`."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1, "maxProperties": 1})

    maximize: MetricId | None = None
    minimize: MetricId | None = None

    @model_validator(mode="after")
    def _one(self) -> ObjectiveSpec:
        if (self.maximize is None) == (self.minimize is None):
            raise ValueError("must be either 'maximize: metric' or 'minimize: metric'")
        return self

    @model_serializer
    def _short(self) -> dict[str, str]:
        return {d: m for d, m in (("maximize", self.maximize), ("minimize", self.minimize)) if m}

    def objective(self) -> Objective:
        """Return the objective that this line means."""
        if self.maximize is not None:
            return Objective(self.maximize, "maximize")
        return Objective(self.minimize or "", "minimize")


def _constraint(value: Any) -> Any:
    """Read `latency_ms@eyeriss <= 6`."""
    if not isinstance(value, str):
        return value
    try:
        parsed = Constraint.parse(value)
    except SpecError as error:
        raise ValueError(str(error)) from error
    return {"metric": parsed.metric, "max": parsed.max, "min": parsed.min}


class ConstraintSpec(_Model):
    """A bound on a metric: text `metric <= number`, or `{metric: ..., max: ...}`."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 2, "maxProperties": 2})

    metric: MetricId
    max: float | None = None
    min: float | None = None

    @field_validator("max", "min", mode="before", json_schema_input_type=_BoundText | float | None)
    @classmethod
    def _bound(cls, value: Any, known: ValidationInfo) -> Any:
        """Read a bound with a unit of its metric: `320KB`."""
        if not isinstance(value, str):
            return value
        try:
            return read_bound(value, known.data.get("metric"))
        except SpecError as error:
            text = f"must be a number, with a unit such as KB or M, got {value!r} ({error})"
            raise ValueError(text) from error

    @model_validator(mode="after")
    def _one(self) -> ConstraintSpec:
        if (self.max is None) == (self.min is None):
            raise ValueError(f"constraint on {self.metric}: give exactly one of max and min")
        return self

    @model_serializer
    def _short(self) -> dict[str, Any]:
        bounds = {k: v for k, v in (("max", self.max), ("min", self.min)) if v is not None}
        return {"metric": self.metric, **bounds}

    def constraint(self) -> Constraint:
        """Return the constraint that this entry means."""
        return Constraint(self.metric, max=self.max, min=self.min)


ConstraintText = Annotated[
    ConstraintSpec,
    BeforeValidator(_constraint, json_schema_input_type=_ConstraintText | ConstraintSpec),
]


class Budget(_Model):
    """How much may be spent; whichever bound is reached first ends the search.

    Args:
        trials: Trials done, pruned, failed or reused.
        time_s: Seconds of wall time, over all resumes; `time: 30m` in a spec.
        epochs: Epochs of training, summed over the trials.
        max_infeasible: Infeasible architectures before the search gives up; 100 times `trials`
            (10,000 without a bound on trials) when left out.
    """

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": [k]} for k in ("trials", "time", "epochs")]}
    )

    trials: Annotated[int, Field(ge=1)] | None = None
    time_s: Annotated[
        _Positive | None,
        BeforeValidator(seconds, json_schema_input_type=_DurationText | _Positive | None),
    ] = Field(default=None, alias="time")
    epochs: Annotated[int, Field(ge=1)] | None = None
    max_infeasible: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _bounded(self) -> Budget:
        if self.trials is None and self.time_s is None and self.epochs is None:
            raise ValueError("needs at least one of trials, time and epochs, got none")
        return self

    @property
    def infeasible_cap(self) -> int:
        """How many infeasible architectures are recorded before the search gives up."""
        if self.max_infeasible is not None:
            return self.max_infeasible
        return 100 * self.trials if self.trials is not None else 10_000


class Scheduler(_Model):
    """Early stopping of trials whose estimator reports while it works.

    Args:
        name: `asha` (successive halving, asynchronous), `median` (stop below the median of the
            others at the same step) or `none`.
        grace: Steps that every trial gets.
        reduction: One trial in so many goes on at each rung (`asha`).
        min_trials: Trials that must have reached a step before the median counts (`median`).
        metric: What is compared; the first objective that its estimator reports when left out.
    """

    name: Literal["asha", "median", "none"]
    grace: Annotated[int, Field(ge=1)] = 1
    reduction: Annotated[float, Field(gt=1)] = 3.0
    min_trials: Annotated[int, Field(ge=1)] = 3
    metric: MetricId | None = None


class RunnerOptions(_Model):
    """Where and how trials run.

    Args:
        engine: `inline` (this process), `ray`, or `auto`: inline when every estimator is cheap.
        workers: Trials at a time; None takes 1 inline, and under Ray what its CPUs allow.
        order: `number` tells results in trial order, so that the number of workers does not change
            the trials; `arrival` tells them as they finish.
        address: Address of an existing Ray cluster; None starts a local one for the run.
        scheduler: Early stopping.
        cpus_per_trial: CPUs that a trial reserves.
        gpus_per_trial: GPUs that a trial reserves; fractions share one.
        retries: Further attempts of a trial whose worker was lost.
    """

    engine: Literal["auto", "inline", "ray"] = "auto"
    workers: Annotated[int, Field(ge=1)] | None = None
    order: Literal["number", "arrival"] = "number"
    address: str | None = None
    scheduler: Annotated[
        Scheduler,
        BeforeValidator(
            _named, json_schema_input_type=Literal["asha", "median", "none"] | Scheduler
        ),
    ] = Scheduler(name="none")
    cpus_per_trial: Annotated[float, Field(ge=0)] = 1.0
    gpus_per_trial: Annotated[float, Field(ge=0)] = 0.0
    retries: Annotated[int, Field(ge=0)] = 2


class Spec(_Model):
    """One search.

    Args:
        version: Version of this format.
        name: Name of the experiment; the file's name when left out.
        seed: Every random draw derives from it.
        space: What can be built.
        data: The data set; fills `in_channels`, `resolution`, `classes` of the space.
        estimators: Where metrics come from; each metric from exactly one.
        strategy: What proposes architectures.
        fixed: Published networks, of this space or of others (`darts/DARTS_V2`), evaluated first
            and beside what the search finds.
        objectives: What is wanted.
        constraints: What must hold: `metric <= number`.
        budget: When to stop.
        runner: Where trials run.
        store: URL of the store; `NETLOOM_STORE`, then `sqlite:///netloom.db` when left out.
        repeats: Seeds per architecture; metrics are means, with `_std` beside them.
        dedup: Which architectures count as one: equal `key`, or equal `canonical` network.
        reuse: Whether stored results of equal evaluations are taken.
        keep_weights: Trained weights kept, per objective, beside those of the front.
        baseline: Whether an equal random search is stored; None: when evaluations are cheap.
        warm_start: Experiment whose front is proposed first.
        tags: Free words for listings.
        group: Name that several runs share.
    """

    version: Literal[1] = 1
    name: ExperimentName = "search"
    seed: Seed = 0
    space: NameOrOptions
    data: NameOrOptions | None = None
    estimators: Annotated[tuple[NameOrOptions, ...], Field(min_length=1)]
    strategy: NameOrOptions
    fixed: tuple[FixedName, ...] = ()
    objectives: Annotated[tuple[ObjectiveSpec, ...], Field(min_length=1)]
    constraints: tuple[ConstraintText, ...] = ()
    budget: Budget
    runner: RunnerOptions = RunnerOptions()
    store: str | None = None
    repeats: Annotated[int, Field(ge=1)] = 1
    dedup: Literal["key", "canonical"] = "key"
    reuse: bool = True
    keep_weights: Annotated[int, Field(ge=0)] = 5
    baseline: bool | None = None
    warm_start: str | None = None
    tags: tuple[str, ...] = ()
    group: str | None = None

    _document: yaml_text.Document | None = PrivateAttr(default=None)

    @property
    def document(self) -> yaml_text.Document | None:
        """The file it was read from, for the places of errors."""
        return self._document

    def to_json(self) -> dict[str, Any]:
        """Return the spec as JSON values that `parse` reads again."""
        return self.model_dump(mode="json", by_alias=True)


def parse(
    values: Mapping[str, Any] | yaml_text.Document,
    *,
    overrides: Sequence[str] = (),
    called: str = "--set",
) -> Spec:
    """Return the spec that `values` says.

    Args:
        values: JSON values, or a loaded file (then errors carry file, line and column).
        overrides: `a.b=c` texts applied first.
        called: What stands before one of them where it is the place of an error.

    Raises:
        SpecProblems: With everything that is wrong, at once.
    """
    document = (
        values
        if isinstance(values, yaml_text.Document)
        else yaml_text.Document(_copied(values), "spec")
    )
    yaml_text.override(document, overrides, called=called)
    if not isinstance(document.data, dict):
        kind = "an empty file" if document.data is None else type(document.data).__name__
        raise SpecError(f"{document.source}: a spec must be a mapping of keys, got {kind}")
    try:
        spec: Spec = validate(Spec, document.data)
    except SpecProblems as error:
        raise document.located(error.problems) from error
    object.__setattr__(spec, "_document", document)
    return spec


def load_spec(path: str | Path, overrides: Sequence[str] = ()) -> tuple[Spec, Path]:
    """Read a YAML file.

    Args:
        path: The file.
        overrides: `a.b=c` texts (`--set`).

    Returns:
        The spec, and the folder of the file (which its import paths may use).

    Raises:
        SpecError: If the file cannot be read or breaks a rule; every problem with its place.
    """
    document = yaml_text.read(path)
    if isinstance(document.data, dict) and "name" not in document.data:
        document.data["name"] = name_of(Path(path).stem) or "search"
    return parse(document, overrides=overrides), Path(path).resolve().parent


def name_of(text: str) -> str:
    """Return `text` as the name of an experiment; empty where nothing of it can stand in one."""
    words = re.sub(r"[^\w.\-]+", "-", text).strip("-")
    return re.sub(r"^[^A-Za-z0-9]+", "", words)[:_NAME_LENGTH]


def _copied(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {str(key): _copied(value) for key, value in values.items()}
    return [_copied(v) for v in values] if isinstance(values, list | tuple) else values
