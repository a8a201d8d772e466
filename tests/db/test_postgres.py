"""What only a server can meet."""

from __future__ import annotations

import builtins
import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from netloom.db import Store
from netloom.db.testing import done, experiment, trial
from netloom.errors import MissingDependency, StoreError

TOYS = Path(__file__).parents[1] / "search" / "run" / "project"


def test_a_missing_driver_names_the_extra(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == "psycopg":
            raise ModuleNotFoundError("No module named 'psycopg'", name="psycopg")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependency, match=r"pip install 'netloom\[postgres\]'"):
        Store("postgresql://somebody@localhost/netloom")


@pytest.mark.postgres
def test_a_server_that_is_not_there(postgres_server, tmp_path):
    with pytest.raises(StoreError, match="cannot be reached; check host, port and server") as error:
        Store(f"postgresql://somebody:secret@/netloom?host={tmp_path}")
    assert "secret" not in str(error.value)


@pytest.mark.postgres
def test_a_database_that_is_not_there(postgres_server):
    with pytest.raises(StoreError, match="does not exist; create it with `createdb`"):
        Store(postgres_server("nowhere"))


@pytest.mark.postgres
def test_two_runs_add_the_same_architectures_without_a_deadlock(postgres_url):
    with Store(postgres_url) as store:
        ids = [store.create_experiment(experiment(f"run{n}")).id for n in range(2)]
        orders = [range(200), range(199, -1, -1)]
        failures = []

        def add(exp, order):
            try:
                for start in range(0, 200, 20):
                    part = [done(n) for n in order[start : start + 20]]
                    with store.transaction() as tx:
                        tx.add_trials(exp, part)
            except StoreError as error:
                failures.append(error)

        threads = [threading.Thread(target=add, args=run) for run in zip(ids, orders, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert [len(store.keys(exp)) for exp in ids] == [200, 200]
        assert store.lookup(
            store.experiment("run0").space_fingerprint, [trial(3).key], fingerprint="tabular-1"
        )


@pytest.mark.postgres
def test_garbage_collection_waits_for_a_run(postgres_url):
    with Store(postgres_url) as store:
        exp = store.create_experiment(experiment()).id
        gone = store.create_experiment(experiment("gone")).id
        store.import_trials(gone, [done(0)])
        store.delete_experiment(gone)
        reports = []
        collector = threading.Thread(target=lambda: reports.append(store.gc()))
        with store.transaction() as tx:
            tx.add_trials(exp, [done(0)])  # finds the architecture that nothing names any more
            collector.start()
            collector.join(0.2)
            assert reports == []
        collector.join(60)
        assert reports[0].architectures == 0
        assert len(store.keys(exp)) == 1


@pytest.mark.postgres
def test_a_search_killed_and_resumed_on_a_server_is_the_one_on_a_file(
    postgres_url, sqlite_url, monkeypatch
):
    from netloom.search import Runner

    monkeypatch.syspath_prepend(TOYS)
    from toy_plans import TRAIN, make_plan

    changes = {**TRAIN, "strategy": {"name": "nsga2", "population": 4, "batch": 4}}
    command = [sys.executable, TOYS / "kill_child.py", postgres_url, json.dumps(changes)]
    ended = subprocess.run([*command, "6", "transaction"], timeout=120, check=False)
    assert ended.returncode == -signal.SIGKILL
    with Store(postgres_url) as server, Store(sqlite_url) as file:
        Runner.resume(server, "toy")
        Runner(make_plan(file.url, **changes), file).run()
        rows = [
            [
                (r.number, r.key, r.status, r.seed, r.parent, r.metrics, r.violation, r.told)
                for r in store.trial_records(store.experiment("toy").id)
            ]
            for store in (server, file)
        ]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 10
