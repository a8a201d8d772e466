"""What every store owes its users: subclass, supply the `url` fixture, inherit the tests.

class TestMyStore(StoreContract):
@pytest.fixture
def url(self, tmp_path):
return f"sqlite:///{tmp_path}/store.db"
"""

from __future__ import annotations

from .experiments import ExperimentChecks
from .files import FileChecks
from .processes import ProcessChecks
from .samples import METRICS, SPACE, count_rows, done, experiment, fill, trial
from .trials import TrialChecks

__all__ = [
    "METRICS",
    "SPACE",
    "StoreContract",
    "count_rows",
    "done",
    "experiment",
    "fill",
    "trial",
]


class StoreContract(ExperimentChecks, TrialChecks, FileChecks, ProcessChecks):
    """All checks of a store: its experiments, trials, files, and its use by several processes."""
