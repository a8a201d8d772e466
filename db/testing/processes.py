"""Several processes and threads, kills, claims."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from ...errors import StoreError
from .. import claims
from ..records import CostRecord
from ..store import Store
from ..tables import CLAIMS, TRIALS
from .samples import SPACE, Fixtures, done, experiment, fill, trial


class ProcessChecks(Fixtures):
    """Several processes and threads, kills, claims."""

    def test_two_processes_never_take_one_number(self, store: Store, exp: str) -> None:
        script = """
import sys
from netloom.db import Store
from netloom.db.testing import done
store, base = Store(sys.argv[1]), int(sys.argv[3])
for n in range(base, base + 40):
    store.import_trials(sys.argv[2], [done(n % 60)])  # some architectures are the other's too
"""
        children = [_child(script, store.url, exp, str(base)) for base in (0, 30)]
        for child in children:
            _, errors = child.communicate(timeout=120)
            assert (child.returncode, errors) == (0, "")
        assert [r.number for r in store.trial_records(exp)] == list(range(80))
        assert len(store.keys(exp)) == 60

    def test_a_kill_inside_a_transaction_leaves_nothing_of_it(self, store: Store, exp: str) -> None:
        script = """
import sys
from netloom.db import Store
from netloom.db.testing import done
store, exp = Store(sys.argv[1]), sys.argv[2]
with store.transaction() as tx:
    tx.add_trials(exp, [done(n) for n in range(50)])
    tx.save_state(exp, {"n": 50}, 50)
with store.transaction() as tx:
    tx.add_trials(exp, [done(n) for n in range(50, 2000)])
    tx.save_state(exp, {"n": 2000}, 2000)
    print("inside", flush=True)
    sys.stdin.read()
"""
        child = _child(script, store.url, exp)
        assert child.stdout is not None
        assert child.stdout.readline() == "inside\n"
        assert store.experiment(exp).counts == {"done": 50}
        child.send_signal(signal.SIGKILL)
        child.communicate(timeout=60)
        assert store.load_state(exp) == ({"n": 50}, 50)
        assert store.import_trials(exp, [done(50)]) == [50]  # and the lock is gone
        assert len(store.keys(exp)) == 51
        assert store.gc().architectures == 0

    def test_a_reader_neither_waits_nor_delays(self, store: Store, exp: str) -> None:
        fill(store, exp)
        with Store(store.url, read_only=True) as viewer:
            with store.transaction() as tx:
                tx.add_trials(exp, [done(5)])
                assert len(viewer.trials("exp")) == 2
                assert viewer.experiment(exp).counts == {"done": 2}
            with viewer._database.read() as connection:  # a viewer in the middle of something
                before = connection.execute(select(func.count()).select_from(TRIALS)).scalar()
                store.import_trials(exp, [done(6)])
                after = connection.execute(select(func.count()).select_from(TRIALS)).scalar()
            assert before == after == 3
            assert len(viewer.trials("exp")) == 4

    def test_a_read_only_store_refuses_to_write(self, store: Store, exp: str) -> None:
        with Store(store.url, read_only=True) as viewer:
            for write in (
                lambda: viewer.create_experiment(experiment()),
                lambda: viewer.update_experiment(exp, status="done"),
                lambda: viewer.put_file(b"x"),
                lambda: viewer.request_stop(exp),
                viewer.gc,
            ):
                with pytest.raises(StoreError, match="opened read-only; open it for writing"):
                    write()

    def test_threads_share_a_store(self, store: Store, exp: str) -> None:
        def add(n: int) -> list[int]:
            return store.import_trials(exp, [done(n), done(n % 3)])

        with ThreadPoolExecutor(4) as pool:
            numbers = [n for part in pool.map(add, range(24)) for n in part]
        assert sorted(numbers) == list(range(48))

    def test_a_thread_has_one_transaction(self, store: Store, exp: str) -> None:
        with (
            pytest.raises(StoreError, match="one transaction at a time"),
            store.transaction(),
        ):
            store.update_experiment(exp, status="done")
        store.update_experiment(exp, status="done")
        assert store.experiment(exp).status == "done"

    def test_a_pickled_store_opens_the_same_database(self, store: Store, exp: str) -> None:
        fill(store, exp)
        with pickle.loads(pickle.dumps(store)) as copy:
            assert copy.url == store.url
            assert len(copy.trial_records(exp)) == 2
        viewer = Store(store.url, read_only=True)
        with viewer, pickle.loads(pickle.dumps(viewer)) as copy:
            assert copy.read_only
        assert len(store.trial_records(exp)) == 2

    def test_a_closed_store_opens_again(self, store: Store, exp: str) -> None:
        store.close()
        assert store.experiment(exp).id == exp

    def test_the_revision_grows_with_every_change(self, store: Store, exp: str) -> None:
        seen = [store.revision()]

        def changed() -> bool:
            seen.append(store.revision())
            return seen[-1] > seen[-2]

        fill(store, exp)
        assert changed()
        store.update_experiment(exp, elapsed_s=1.0)
        assert changed()
        other = store.create_experiment(experiment()).id
        assert changed()
        with store.transaction() as tx:
            tx.add_costs(SPACE, [CostRecord(trial(0).key, "dev", "1", "latency_ms", 1.0)])
        assert changed()
        store.delete_experiment(exp)
        assert changed()
        assert store.gc().architectures == 2
        assert changed()
        store.trials(other)
        with store.transaction():
            pass
        assert not changed()

    def test_one_process_claims_an_experiment(self, store: Store, exp: str) -> None:
        assert store.running() == set()
        with store.claim(exp):
            assert store.is_running(exp)
            assert store.running() == {exp}
            with Store(store.url) as other:
                whose = f"exp is being run by pid {os.getpid()} on host {socket.gethostname()}"
                with pytest.raises(StoreError, match=whose), other.claim(exp):
                    pytest.fail("claimed twice")
                with pytest.raises(StoreError, match=r"stop it first \(`netloom stop exp`\)"):
                    other.delete_experiment(exp)
        assert not store.is_running(exp)
        with Store(store.url) as other, other.claim(exp):
            assert other.is_running(exp)

    def test_a_dead_process_holds_nothing(self, store: Store, exp: str) -> None:
        script = """
import sys
from netloom.db import Store
with Store(sys.argv[1]).claim(sys.argv[2]):
    print("claimed", flush=True)
    sys.stdin.read()
"""
        child = _child(script, store.url, exp)
        assert child.stdout is not None
        assert child.stdout.readline() == "claimed\n"
        assert store.is_running(exp)
        with pytest.raises(StoreError, match=f"by pid {child.pid}"), store.claim(exp):
            pytest.fail("claimed twice")
        child.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, but not buried yet
        assert store.running() == set()
        with store.claim(exp):
            assert store.is_running(exp)
        child.communicate(timeout=60)

    def test_a_silent_host_loses_its_claim(
        self, store: Store, exp: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(claims, "BEAT_S", 0.05)
        with store.claim(exp) as claim, Store(store.url) as other:
            with store.transaction() as tx:
                tx.add_trials(exp, [done(0)])
            with other._database.write() as connection:
                connection.execute(update(CLAIMS).values(host="elsewhere", owner="theirs"))
            assert claim.ended.wait(60)  # the next sign of life finds out
            with pytest.raises(StoreError, match="taken over"), store.transaction():
                pytest.fail("wrote without a claim")
            with pytest.raises(StoreError, match="on host elsewhere"), other.claim(exp):
                pytest.fail("claimed twice")
            with other._database.write() as connection:
                past = datetime.now(UTC) - timedelta(seconds=61)
                connection.execute(update(CLAIMS).values(heartbeat_at=past))
            with other.claim(exp):
                assert other.is_running(exp)

    def test_a_claim_gives_signs_of_life(
        self, store: Store, exp: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(claims, "BEAT_S", 0.01)

        def beat() -> Any:
            with store._database.read() as connection:
                return connection.execute(select(CLAIMS.c.heartbeat_at)).scalar_one()

        with store.claim(exp):
            first, patience = beat(), threading.Event()
            for _ in range(3000):
                if beat() > first:
                    return
                patience.wait(0.01)
        pytest.fail("no sign of life in 30 s")

    def test_a_request_to_stop_is_seen_until_the_next_run(self, store: Store, exp: str) -> None:
        assert not store.stop_requested(exp)
        with store.claim(exp):
            for _ in range(2):
                store.request_stop(exp)
            assert store.stop_requested(exp)
        with store.claim(exp):
            assert not store.stop_requested(exp)


def _child(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
