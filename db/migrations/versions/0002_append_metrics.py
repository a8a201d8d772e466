"""Index metrics in the order in which they are written.

Values arrive in no order: an index that begins with them changes a page per value, more of them
the larger the store. This one grows at its ends, and still answers for a metric's values alone.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_metrics_source_id_value", table_name="metrics")
    op.create_index(
        "ix_metrics_source_id_trial_id_value", "metrics", ["source_id", "trial_id", "value"]
    )
