"""The SQL store of experiments, trials, metrics, costs and artifacts."""

from __future__ import annotations

from .housekeeping import GcReport
from .maintenance import CheckReport, check, upgrade
from .records import (
    FINISHED,
    ArtifactRecord,
    CostRecord,
    CurvePoint,
    ExperimentRecord,
    ExperimentStatus,
    MetricRecord,
    NewExperiment,
    NewTrial,
    NoteRecord,
    Outcome,
    TrialRecord,
    TrialStatus,
)
from .store import Store
from .transaction import Transaction
from .url import DEFAULT_URL, public_url, store_url

__all__ = [
    "DEFAULT_URL",
    "FINISHED",
    "ArtifactRecord",
    "CheckReport",
    "CostRecord",
    "CurvePoint",
    "ExperimentRecord",
    "ExperimentStatus",
    "GcReport",
    "MetricRecord",
    "NewExperiment",
    "NewTrial",
    "NoteRecord",
    "Outcome",
    "Store",
    "Transaction",
    "TrialRecord",
    "TrialStatus",
    "check",
    "public_url",
    "store_url",
    "upgrade",
]
