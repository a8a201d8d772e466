"""A store, and plans over toy parts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from netloom.db import Store
from netloom.search.run.portable import read_trials, trial_lines

if TYPE_CHECKING:
    from netloom.search.run.plan import Plan

sys.path.insert(0, str(Path(__file__).parent / "project"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(f"sqlite:///{tmp_path}/store.db") as opened:
        yield opened


@pytest.fixture
def plan(store: Store) -> Callable[..., Plan]:
    from toy_plans import make_plan

    return lambda **changes: make_plan(store.url, **changes)


@pytest.fixture
def copied(store: Store) -> Callable[[str, str], list[str]]:
    """What writes the trials of an experiment, reads them again as another one, gives the lines."""

    def copy(name: str, again: str) -> list[str]:
        record = store.experiment(name)
        lines = list(trial_lines(record, store.trial_records(record.id)))
        new, trials = read_trials(lines, "trials.jsonl", again)
        store.import_trials(store.create_experiment(new).id, trials)
        return lines

    return copy


@pytest.fixture(scope="session")
def shared_ray() -> Iterator[None]:
    """A local Ray that all tests of this session use: runs leave it running."""
    from netloom.search.run.engines.cluster import Cluster
    from netloom.search.run.spec import RunnerOptions

    with Cluster(RunnerOptions(workers=3)):
        yield
