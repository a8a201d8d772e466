"""The tables. Nothing outside this folder sees them: records go in and come out.

`experiments.id` is small and internal (trials by the hundred thousand point at it); `uid` is the
id that people see. Times are seconds since 1970 (UTC), JSON is text: equal on both databases.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Dialect,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_BIG = BigInteger().with_variant(Integer(), "sqlite")  # SQLite numbers rows by INTEGER keys only
_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Json(TypeDecorator[Any]):
    """JSON as ASCII text: any string survives, NUL and lone surrogates included."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Return the text of `value`."""
        return None if value is None else json.dumps(value, separators=(",", ":"))

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Return the value of a text."""
        return None if value is None else json.loads(value)


class Time(TypeDecorator[datetime]):
    """An aware datetime, stored as seconds since 1970."""

    impl = Double
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> float | None:
        """Return the seconds."""
        return None if value is None else value.timestamp()

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Return the moment, in UTC."""
        return None if value is None else datetime.fromtimestamp(value, UTC)


class Base(DeclarativeBase):
    """Names constraints, so that migrations can name them too."""

    metadata = MetaData(naming_convention=_NAMES)
    type_annotation_map = {  # noqa: RUF012 - read once by SQLAlchemy
        str: Text(),
        float: Double(),
        bytes: LargeBinary(),
        datetime: Time(),
        dict[str, Any]: Json(),
        list[Any]: Json(),
    }


def _id() -> Mapped[int]:
    return mapped_column(_BIG, primary_key=True)


def _owner(*, primary_key: bool = False) -> Mapped[int]:
    """Return a column that points at an experiment and goes with it."""
    return mapped_column(
        _BIG, ForeignKey("experiments.id", ondelete="CASCADE"), primary_key=primary_key
    )


class ExperimentRow(Base):
    """One run of a strategy, or its random baseline."""

    __tablename__ = "experiments"
    __table_args__ = (
        UniqueConstraint("uid"),
        UniqueConstraint("name"),
        Index(None, "parent_id"),
        Index(None, "group_name"),
        {"sqlite_autoincrement": True},  # a cached id must never come to mean another experiment
    )

    id: Mapped[int] = _id()
    uid: Mapped[str]
    name: Mapped[str]
    kind: Mapped[str]
    parent_id: Mapped[int | None] = mapped_column(
        _BIG, ForeignKey("experiments.id", ondelete="CASCADE")
    )
    group_name: Mapped[str | None]
    tags: Mapped[list[Any]]
    status: Mapped[str]
    space_id: Mapped[int] = mapped_column(_BIG, ForeignKey("spaces.id"))
    strategy: Mapped[str]
    objectives: Mapped[list[Any]]
    constraints: Mapped[list[Any]]
    seed: Mapped[int] = mapped_column(BigInteger)
    spec: Mapped[dict[str, Any]]
    versions: Mapped[dict[str, Any]]
    info: Mapped[dict[str, Any]]
    summary: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    elapsed_s: Mapped[float]


class SpaceRow(Base):
    """A space with its options and version: the ground on which architectures are compared."""

    __tablename__ = "spaces"
    __table_args__ = (UniqueConstraint("fingerprint"),)

    id: Mapped[int] = _id()
    fingerprint: Mapped[str]
    name: Mapped[str]


class ArchitectureRow(Base):
    """A member of a space, shared by all experiments."""

    __tablename__ = "architectures"
    __table_args__ = (UniqueConstraint("space_id", "key"),)

    id: Mapped[int] = _id()
    space_id: Mapped[int] = mapped_column(_BIG, ForeignKey("spaces.id"))
    key: Mapped[str]
    decisions: Mapped[dict[str, Any]]
    notation: Mapped[str]


class TrialRow(Base):
    """One evaluation of an architecture within an experiment."""

    __tablename__ = "trials"
    __table_args__ = (
        UniqueConstraint("experiment_id", "number"),
        Index(None, "experiment_id", "status", "number"),
        Index(
            "ix_trials_told",
            "experiment_id",
            "told",
            unique=True,
            sqlite_where=text("told IS NOT NULL"),
            postgresql_where=text("told IS NOT NULL"),
        ),
        Index(None, "architecture_id", "experiment_id"),
        Index(
            "ix_trials_reused_from",
            "reused_from",
            sqlite_where=text("reused_from IS NOT NULL"),
            postgresql_where=text("reused_from IS NOT NULL"),
        ),
    )

    id: Mapped[int] = _id()
    experiment_id: Mapped[int] = _owner()
    number: Mapped[int]
    architecture_id: Mapped[int] = mapped_column(_BIG, ForeignKey("architectures.id"))
    status: Mapped[str]
    seed: Mapped[int] = mapped_column(BigInteger)
    parent: Mapped[int | None]
    budget: Mapped[float | None]
    tags: Mapped[dict[str, Any]]
    violation: Mapped[float]
    error: Mapped[str | None]
    traceback: Mapped[str | None]
    reused_from: Mapped[int | None] = mapped_column(
        _BIG, ForeignKey("trials.id", ondelete="SET NULL")
    )
    attempts: Mapped[int]
    told: Mapped[int | None]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    duration_s: Mapped[float | None]


class SourceRow(Base):
    """A metric of an experiment, and where its values come from."""

    __tablename__ = "metric_sources"
    __table_args__ = (UniqueConstraint("experiment_id", "name"), Index(None, "fingerprint"))

    id: Mapped[int] = _id()
    experiment_id: Mapped[int] = _owner()
    name: Mapped[str]
    unit: Mapped[str]
    direction: Mapped[str]
    split: Mapped[str]
    estimator: Mapped[str]
    fingerprint: Mapped[str]
    deterministic: Mapped[bool]
    provenance: Mapped[dict[str, Any]]


class MetricRow(Base):
    """One finite value."""

    __tablename__ = "metrics"
    __table_args__ = (
        CheckConstraint("abs(value) <= 1.7976931348623157e308", name="finite"),
        Index(None, "source_id", "trial_id", "value"),  # only ever appended to
        {"sqlite_with_rowid": False},
    )

    trial_id: Mapped[int] = mapped_column(
        _BIG, ForeignKey("trials.id", ondelete="CASCADE"), primary_key=True
    )
    source_id: Mapped[int] = mapped_column(
        _BIG, ForeignKey("metric_sources.id", ondelete="CASCADE"), primary_key=True
    )
    value: Mapped[float]


class CurveRow(Base):
    """One point of a curve; `number` -1 is the strategy's own, a NULL value is NaN."""

    __tablename__ = "curves"
    __table_args__ = ({"sqlite_with_rowid": False},)

    experiment_id: Mapped[int] = _owner(primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    step: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    value: Mapped[float | None]


class CostRow(Base):
    """What an architecture costs on a device, by the model's version."""

    __tablename__ = "costs"
    __table_args__ = (Index(None, "device", "metric"), {"sqlite_with_rowid": False})

    architecture_id: Mapped[int] = mapped_column(
        _BIG, ForeignKey("architectures.id", ondelete="CASCADE"), primary_key=True
    )
    device: Mapped[str] = mapped_column(Text, primary_key=True)
    model_version: Mapped[str] = mapped_column(Text, primary_key=True)
    metric: Mapped[str] = mapped_column(Text, primary_key=True)
    value: Mapped[float]


class DetailRow(Base):
    """A breakdown of one trial: zlib-compressed JSON."""

    __tablename__ = "details"

    trial_id: Mapped[int] = mapped_column(
        _BIG, ForeignKey("trials.id", ondelete="CASCADE"), primary_key=True
    )
    kind: Mapped[str] = mapped_column(Text, primary_key=True)
    payload: Mapped[bytes]


class StateRow(Base):
    """The strategy's state after `told` results: one per experiment."""

    __tablename__ = "strategy_states"

    experiment_id: Mapped[int] = _owner(primary_key=True)
    state: Mapped[dict[str, Any]]
    told: Mapped[int]


class ArtifactRow(Base):
    """A content-addressed file beside the store."""

    __tablename__ = "artifacts"
    __table_args__ = (
        ForeignKeyConstraint(
            ["experiment_id", "number"],
            ["trials.experiment_id", "trials.number"],
            ondelete="CASCADE",
        ),
        Index(None, "experiment_id", "kind", "name"),
        Index(None, "experiment_id", "number"),
        Index(None, "sha256"),
    )

    id: Mapped[int] = _id()
    experiment_id: Mapped[int] = _owner()
    kind: Mapped[str]
    name: Mapped[str]
    sha256: Mapped[str]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    number: Mapped[int | None]
    meta: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class CheckpointRow(Base):
    """Which artifact of kind `checkpoint` is the valid one under its name; others are stale."""

    __tablename__ = "checkpoints"
    __table_args__ = (Index(None, "artifact_id"),)

    experiment_id: Mapped[int] = _owner(primary_key=True)
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    artifact_id: Mapped[int] = mapped_column(_BIG, ForeignKey("artifacts.id", ondelete="CASCADE"))


class ClaimRow(Base):
    """Who runs an experiment: a sign of life that is renewed while it runs."""

    __tablename__ = "claims"

    experiment_id: Mapped[int] = _owner(primary_key=True)
    owner: Mapped[str]
    pid: Mapped[int]
    host: Mapped[str]
    started_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime]


class StopRow(Base):
    """Somebody asked the run to stop."""

    __tablename__ = "stop_requests"

    experiment_id: Mapped[int] = _owner(primary_key=True)
    requested_at: Mapped[datetime]


class RevisionRow(Base):
    """How often an experiment changed; scope 0 counts the rest.

    One row per experiment, not one per store: on PostgreSQL two runs must not wait for each other.
    """

    __tablename__ = "revisions"

    scope: Mapped[int] = mapped_column(_BIG, primary_key=True, autoincrement=False)
    value: Mapped[int] = mapped_column(BigInteger)


def _table(row: type[Base]) -> Table:
    return cast(Table, row.__table__)


EXPERIMENTS, SPACES, ARCHITECTURES = map(_table, (ExperimentRow, SpaceRow, ArchitectureRow))
TRIALS, SOURCES, METRICS = map(_table, (TrialRow, SourceRow, MetricRow))
CURVES, COSTS, DETAILS, STATES = map(_table, (CurveRow, CostRow, DetailRow, StateRow))
ARTIFACTS, CHECKPOINTS = map(_table, (ArtifactRow, CheckpointRow))
CLAIMS, STOPS, REVISIONS = map(_table, (ClaimRow, StopRow, RevisionRow))
