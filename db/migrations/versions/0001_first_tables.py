"""The first tables.

Written out, not taken from the models: the models move on, this file stays.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.Text()
TIME: sa.Double[float] = sa.Double()


def upgrade() -> None:
    _revisions()
    _spaces()
    _architectures()
    _experiments()
    _claims()
    _costs()
    _curves()
    _metric_sources()
    _stop_requests()
    _strategy_states()
    _trials()
    _artifacts()
    _details()
    _metrics()
    _checkpoints()


def _revisions() -> None:
    op.create_table(
        "revisions",
        sa.Column("scope", BIG, autoincrement=False, nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("scope", name="pk_revisions"),
    )


def _spaces() -> None:
    op.create_table(
        "spaces",
        sa.Column("id", BIG, nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_spaces"),
        sa.UniqueConstraint("fingerprint", name="uq_spaces_fingerprint"),
    )


def _architectures() -> None:
    op.create_table(
        "architectures",
        sa.Column("id", BIG, nullable=False),
        sa.Column("space_id", BIG, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("decisions", JSON, nullable=False),
        sa.Column("notation", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["space_id"], ["spaces.id"], name="fk_architectures_space_id"),
        sa.PrimaryKeyConstraint("id", name="pk_architectures"),
        sa.UniqueConstraint("space_id", "key", name="uq_architectures_space_id_key"),
    )


def _experiments() -> None:
    op.create_table(
        "experiments",
        sa.Column("id", BIG, nullable=False),
        sa.Column("uid", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("parent_id", BIG, nullable=True),
        sa.Column("group_name", sa.Text(), nullable=True),
        sa.Column("tags", JSON, nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("space_id", BIG, nullable=False),
        sa.Column("strategy", sa.Text(), nullable=False),
        sa.Column("objectives", JSON, nullable=False),
        sa.Column("constraints", JSON, nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("spec", JSON, nullable=False),
        sa.Column("versions", JSON, nullable=False),
        sa.Column("info", JSON, nullable=False),
        sa.Column("summary", JSON, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("elapsed_s", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["experiments.id"], name="fk_experiments_parent_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["space_id"], ["spaces.id"], name="fk_experiments_space_id"),
        sa.PrimaryKeyConstraint("id", name="pk_experiments"),
        sa.UniqueConstraint("name", name="uq_experiments_name"),
        sa.UniqueConstraint("uid", name="uq_experiments_uid"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_experiments_group_name", "experiments", ["group_name"])
    op.create_index("ix_experiments_parent_id", "experiments", ["parent_id"])


def _claims() -> None:
    op.create_table(
        "claims",
        sa.Column("experiment_id", BIG, nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("heartbeat_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            ["experiments.id"],
            name="fk_claims_experiment_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("experiment_id", name="pk_claims"),
    )


def _costs() -> None:
    op.create_table(
        "costs",
        sa.Column("architecture_id", BIG, nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["architecture_id"],
            ["architectures.id"],
            name="fk_costs_architecture_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "architecture_id", "device", "model_version", "metric", name="pk_costs"
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_costs_device_metric", "costs", ["device", "metric"])


def _curves() -> None:
    op.create_table(
        "curves",
        sa.Column("experiment_id", BIG, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            ["experiments.id"],
            name="fk_curves_experiment_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("experiment_id", "number", "name", "step", name="pk_curves"),
        sqlite_with_rowid=False,
    )


def _metric_sources() -> None:
    op.create_table(
        "metric_sources",
        sa.Column("id", BIG, nullable=False),
        sa.Column("experiment_id", BIG, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("direction", sa.Text(), nullable=False),
        sa.Column("split", sa.Text(), nullable=False),
        sa.Column("estimator", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("deterministic", sa.Boolean(), nullable=False),
        sa.Column("provenance", JSON, nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            ["experiments.id"],
            name="fk_metric_sources_experiment_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_metric_sources"),
        sa.UniqueConstraint("experiment_id", "name", name="uq_metric_sources_experiment_id_name"),
    )
    op.create_index("ix_metric_sources_fingerprint", "metric_sources", ["fingerprint"])


def _stop_requests() -> None:
    op.create_table(
        "stop_requests",
        sa.Column("experiment_id", BIG, nullable=False),
        sa.Column("requested_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            ["experiments.id"],
            name="fk_stop_requests_experiment_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("experiment_id", name="pk_stop_requests"),
    )


def _strategy_states() -> None:
    op.create_table(
        "strategy_states",
        sa.Column("experiment_id", BIG, nullable=False),
        sa.Column("state", JSON, nullable=False),
        sa.Column("told", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            ["experiments.id"],
            name="fk_strategy_states_experiment_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("experiment_id", name="pk_strategy_states"),
    )


def _trials() -> None:
    op.create_table(
        "trials",
        sa.Column("id", BIG, nullable=False),
        sa.Column("experiment_id", BIG, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("architecture_id", BIG, nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("parent", sa.Integer(), nullable=True),
        sa.Column("budget", sa.Double(), nullable=True),
        sa.Column("tags", JSON, nullable=False),
        sa.Column("violation", sa.Double(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("traceback", sa.Text(), nullable=True),
        sa.Column("reused_from", BIG, nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("told", sa.Integer(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("duration_s", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["architecture_id"], ["architectures.id"], name="fk_trials_architecture_id"
        ),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            ["experiments.id"],
            name="fk_trials_experiment_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["reused_from"], ["trials.id"], name="fk_trials_reused_from", ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_trials"),
        sa.UniqueConstraint("experiment_id", "number", name="uq_trials_experiment_id_number"),
    )
    op.create_index(
        "ix_trials_architecture_id_experiment_id", "trials", ["architecture_id", "experiment_id"]
    )
    op.create_index(
        "ix_trials_experiment_id_status_number", "trials", ["experiment_id", "status", "number"]
    )
    op.create_index(
        "ix_trials_reused_from",
        "trials",
        ["reused_from"],
        sqlite_where=sa.text("reused_from IS NOT NULL"),
        postgresql_where=sa.text("reused_from IS NOT NULL"),
    )
    op.create_index(
        "ix_trials_told",
        "trials",
        ["experiment_id", "told"],
        unique=True,
        sqlite_where=sa.text("told IS NOT NULL"),
        postgresql_where=sa.text("told IS NOT NULL"),
    )


def _artifacts() -> None:
    op.create_table(
        "artifacts",
        sa.Column("id", BIG, nullable=False),
        sa.Column("experiment_id", BIG, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=True),
        sa.Column("meta", JSON, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_id", "number"],
            ["trials.experiment_id", "trials.number"],
            name="fk_artifacts_experiment_id_number",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            ["experiments.id"],
            name="fk_artifacts_experiment_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name="pk_artifacts"),
    )
    op.create_index(
        "ix_artifacts_experiment_id_kind_name", "artifacts", ["experiment_id", "kind", "name"]
    )
    op.create_index("ix_artifacts_experiment_id_number", "artifacts", ["experiment_id", "number"])
    op.create_index("ix_artifacts_sha256", "artifacts", ["sha256"])


def _details() -> None:
    op.create_table(
        "details",
        sa.Column("trial_id", BIG, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["trial_id"], ["trials.id"], name="fk_details_trial_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("trial_id", "kind", name="pk_details"),
    )


def _metrics() -> None:
    op.create_table(
        "metrics",
        sa.Column("trial_id", BIG, nullable=False),
        sa.Column("source_id", BIG, nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.CheckConstraint("abs(value) <= 1.7976931348623157e308", name="ck_metrics_finite"),
        sa.ForeignKeyConstraint(
            ["source_id"], ["metric_sources.id"], name="fk_metrics_source_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["trial_id"], ["trials.id"], name="fk_metrics_trial_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("trial_id", "source_id", name="pk_metrics"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_metrics_source_id_value", "metrics", ["source_id", "value"])


def _checkpoints() -> None:
    op.create_table(
        "checkpoints",
        sa.Column("experiment_id", BIG, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("artifact_id", BIG, nullable=False),
        sa.ForeignKeyConstraint(
            ["artifact_id"], ["artifacts.id"], name="fk_checkpoints_artifact_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            ["experiments.id"],
            name="fk_checkpoints_experiment_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("experiment_id", "name", name="pk_checkpoints"),
    )
    op.create_index("ix_checkpoints_artifact_id", "checkpoints", ["artifact_id"])
