"""Artifacts, checkpoints, garbage."""

from __future__ import annotations

import os
import time

import pytest

from ...errors import StoreError
from ..store import Store
from .samples import Fixtures, done


class FileChecks(Fixtures):
    """Artifacts, checkpoints, garbage."""

    def test_a_file_is_named_by_its_content(self, store: Store, exp: str) -> None:
        sha256, size = store.put_file(b"weights")
        assert store.put_file(b"weights") == (sha256, size) == (sha256, 7)
        with store.transaction() as tx:
            tx.add_trials(exp, [done(0)])
            for name, number in (("a", 0), ("b", None)):
                tx.add_artifact(
                    exp,
                    kind="weights",
                    name=name,
                    sha256=sha256,
                    size_bytes=size,
                    number=number,
                    meta={"m": name},
                )
        first, second = store.artifacts(exp)
        assert (first.name, first.number, first.meta, first.experiment) == ("a", 0, {"m": "a"}, exp)
        assert store.artifact_path(first).read_bytes() == b"weights"
        assert store.artifact_path(first) == store.artifact_path(second)
        assert store.artifacts(exp, number=0) == store.artifacts(exp, name="a") == [first]
        assert store.artifacts(exp, kind="other") == []
        with store.transaction() as tx:
            tx.remove_artifacts(exp, kind="weights", numbers=[0])
        assert (store.artifacts(exp), store.gc().files) == ([second], 0)
        with store.transaction() as tx:
            tx.remove_artifacts(exp, kind="weights", name="b")
        assert store.gc().files == 1
        with pytest.raises(StoreError, match="must be beside the store"):
            store.artifact_path(first)

    def test_the_newest_checkpoint_is_the_valid_one(self, store: Store, exp: str) -> None:
        for data in (b"old", b"new"):
            sha256, size = store.put_file(data)
            with store.transaction() as tx:
                tx.add_artifact(
                    exp, kind="checkpoint", name="supernet", sha256=sha256, size_bytes=size
                )
        newest = store.checkpoint(exp, "supernet")
        assert newest is not None
        assert store.artifact_path(newest).read_bytes() == b"new"
        assert store.checkpoint(exp, "other") is None
        report = store.gc()
        assert (report.checkpoints, report.files, report.bytes) == (1, 1, 3)
        assert store.artifacts(exp) == [newest]
        with store.transaction() as tx:
            tx.remove_artifacts(exp, kind="checkpoint")
        assert store.checkpoint(exp, "supernet") is None

    def test_a_replaced_file_goes_at_once(self, store: Store, exp: str) -> None:
        put = {}
        for data in (b"replaced", b"named elsewhere", b"put again"):
            sha256, size = store.put_file(data)
            put[sha256] = time.time()
            with store.transaction() as tx:
                tx.add_artifact(exp, kind="weights", name="old", sha256=sha256, size_bytes=size)
        replaced, named, again = put
        with store.transaction() as tx:
            tx.remove_artifacts(exp, kind="weights", name="old")
            tx.add_artifact(exp, kind="weights", name="new", sha256=named, size_bytes=15)
        later = put[again] + 5
        os.utime(store.files.path(again), (later, later))  # another process is about to name it
        store.drop_files(put)
        assert not store.files.path(replaced).exists()
        assert store.files.path(named).read_bytes() == b"named elsewhere"
        assert store.files.path(again).read_bytes() == b"put again"
        assert sorted(p.name for p in store.files.folder.glob("??/*")) == sorted((named, again))
        store.drop_files({replaced: time.time()})  # a second time
        assert store.put_file(b"replaced")[0] == replaced
        assert store.files.path(replaced).read_bytes() == b"replaced"

    def test_garbage_collection_spares_a_run(self, store: Store, exp: str) -> None:
        sha256, _ = store.put_file(b"about to be named")
        with store.claim(exp):
            assert store.gc().files == 0
            old = store.files.path(sha256)
            os.utime(old, (1, 1))
            assert store.put_file(b"about to be named")[0] == sha256  # makes it young again
            assert store.gc().files == 0
            os.utime(old, (1, 1))
            assert store.gc().files == 1
        (store.files.folder / "ab").mkdir()
        (store.files.folder / "ab" / ".new-killed").write_bytes(b"half")
        assert store.gc().files == 1
