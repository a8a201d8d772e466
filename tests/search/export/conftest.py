"""A store with one small search, made once for the tests of the export."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from netloom.db import Store
from netloom.db.records import ExperimentRecord
from netloom.search.run.plan import build_plan
from netloom.search.run.runner import Runner
from netloom.search.run.spec import parse

SPEC = {
    "version": 1,
    "name": "digits",
    "space": {"name": "nb201", "channels": 2, "cells": 1},
    "data": {"name": "digits"},
    "estimators": [
        {"name": "training", "epochs": 1, "threads": 1},
        {"name": "hardware", "devices": ["stm32f746"]},
    ],
    "strategy": {"name": "random"},
    "objectives": [{"maximize": "valid_accuracy"}],
    "budget": {"trials": 3},
    "keep_weights": 0,
    "runner": {"engine": "inline"},
}


class Searched(NamedTuple):
    """A finished search; its front is one trial, the others have no weights."""

    store: Store
    record: ExperimentRecord
    best: int
    other: int


@pytest.fixture(scope="session")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Searched]:
    url = f"sqlite:///{tmp_path_factory.mktemp('export') / 'store.db'}"
    with Store(url) as store:
        summary = Runner(build_plan(parse({**SPEC, "store": url})), store).run()
        [best] = [trial.number for trial in summary.front]
        other = min({0, 1, 2} - {best})
        yield Searched(store, store.experiment("digits"), best, other)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "delivered"
