"""What an SQLite file can meet: locks, full disks, damage, missing rights."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import contextmanager

import pytest
from sqlalchemy import event

from netloom.db import Store, check, engine
from netloom.db.testing import done, experiment, fill
from netloom.errors import StoreError, WrongStore


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.db"


@pytest.fixture
def exp(sqlite_url):
    """Fill a store and close it."""
    with Store(sqlite_url) as store:
        id = store.create_experiment(experiment()).id
        fill(store, id)
    return id


@contextmanager
def unprivileged():
    """Root may write everywhere: become nobody for a moment."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def modes(folder, folder_mode, file_mode):
    """Give everybody these rights, and the folders above enough to get here."""
    for above in list(folder.parents)[:3]:
        if above.owner() == folder.owner() and above.stat().st_mode & 0o777 == 0o700:
            above.chmod(0o755)
    files = [file for file in folder.iterdir() if file.is_file()]
    for file in files:
        file.chmod(file_mode)
    folder.chmod(folder_mode)
    try:
        yield
    finally:
        folder.chmod(0o755)
        for file in files:
            file.chmod(0o644)


def test_every_connection_follows_the_rules(sqlite_url):
    wanted = {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1, "busy_timeout": 30000}
    with Store(sqlite_url) as store:
        for _ in range(2):  # as made, and as used again
            with store._database.write() as connection, store._database.read() as other:
                for one in (connection, other):
                    for pragma, value in wanted.items():
                        found = one.exec_driver_sql(f"PRAGMA {pragma}").scalar()
                        assert found == value, pragma


def test_the_path_is_fixed_when_the_store_is_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Store("sqlite:///here.db") as store:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        store.close()
        store.create_experiment(experiment())
        assert store.files.folder == tmp_path / "here.db-artifacts"
    assert [file.name for file in tmp_path.glob("**/*.db")] == ["here.db"]


def test_names_that_a_url_would_misread(tmp_path):
    folder = tmp_path / "50% ü #1 &x=y"
    folder.mkdir()
    with Store(f"sqlite:///{folder}/a b.db") as store:
        store.create_experiment(experiment())
    found = [file.relative_to(tmp_path).as_posix() for file in tmp_path.glob("**/*.db")]
    assert len(found) == 1
    with Store(store.url, read_only=True) as viewer:
        assert len(viewer.experiments()) == 1


def test_a_missing_file_is_not_made_for_reading(tmp_path):
    for options in ({"read_only": True}, {"create": False}):
        with pytest.raises(StoreError, match=r"there is no store at .*none\.db; give --store"):
            Store(f"sqlite:///{tmp_path}/none.db", **options)
    with pytest.raises(StoreError, match="the folder of a store must exist"):
        Store(f"sqlite:///{tmp_path}/no/folder.db")
    assert list(tmp_path.iterdir()) == []


def test_a_locked_store_says_so(sqlite_url, exp, monkeypatch):
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_S", 0.05)
    with Store(sqlite_url) as store, Store(sqlite_url) as other, store.transaction():
        with pytest.raises(StoreError, match=r"is locked: another process .* wait for it"):
            other.create_experiment(experiment())
        assert other.experiment(exp).counts == {"done": 2}


def test_a_full_disk_loses_nothing_that_was_committed(sqlite_url, exp):
    with Store(sqlite_url) as store:
        limit = {"pages": 0}

        @event.listens_for(store._database._engine, "checkout")
        def _(connection, *_):
            pages = limit["pages"] or 2**30
            connection.execute(f"PRAGMA max_page_count = {pages}")

        with store._database.read() as connection:
            used = connection.exec_driver_sql("PRAGMA page_count").scalar()
        limit["pages"] = used + 8
        with pytest.raises(StoreError, match="disk is full; free some space"):
            fill_up(store, exp)
        count = len(store.trial_records(exp))
        assert count > 2
        assert count % 10 == 2  # whole transactions only
        limit["pages"] = 0
        assert store.import_trials(exp, [done(20_000)]) == [count]
    assert check(sqlite_url).problems == ()


def test_a_full_disk_under_the_artifacts(sqlite_url, exp, monkeypatch):
    with Store(sqlite_url) as store:
        monkeypatch.setattr(os, "fsync", _full)
        with pytest.raises(StoreError, match=r"the artifact folder .* disk is full"):
            store.put_file(b"never seen before")
        monkeypatch.undo()
        assert store.gc().files == 0  # the half-written file is gone


def fill_up(store, exp):
    for start in range(2, 10_000, 10):
        store.import_trials(exp, [done(n) for n in range(start, start + 10)])


def _full(handle):
    raise OSError(28, "No space left on device")


def test_a_file_is_on_disk_before_it_is_named(sqlite_url, monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda h: (synced.append(os.readlink(f"/proc/self/fd/{h}")), real(h))
    )
    with Store(sqlite_url) as store:
        sha256, _ = store.put_file(b"weights")
        folder = store.files.folder
    assert synced[0].startswith(str(folder / sha256[:2]))
    assert synced[1:] == [str(folder / sha256[:2]), str(folder), str(folder.parent)]


@pytest.mark.parametrize("read_only", [False, True])
def test_a_file_that_is_no_database(sqlite_url, path, read_only):
    path.write_text("name,accuracy\n" * 200)
    with pytest.raises(StoreError, match="is not an SQLite database; give the path"):
        Store(sqlite_url, read_only=read_only)
    assert path.read_text() == "name,accuracy\n" * 200


def test_damage_is_reported(sqlite_url, exp, path):
    with Store(sqlite_url) as store:
        store.import_trials(exp, [done(n) for n in range(2, 500)])
    data = bytearray(path.read_bytes())
    half = len(data) // 2  # the list of tables is in the first pages
    data[half:] = b"\x55" * (len(data) - half)
    path.write_bytes(data)
    with Store(sqlite_url) as store, pytest.raises(StoreError, match="is damaged; run `netloom"):
        store.trials("exp")
    assert any(problem.startswith("damaged") for problem in check(sqlite_url).problems)


def test_check_finds_lost_rows_and_files(sqlite_url, exp, path):
    report = check(sqlite_url)
    assert (report.experiments, report.trials, report.problems) == (1, 2, ())
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM architectures")
    connection.close()
    (file,) = path.with_name("store.db-artifacts").glob("*/*")
    file.write_bytes(b"short")
    problems = check(sqlite_url).problems
    assert sum("of trials belongs to no row of architectures" in p for p in problems) == 2
    assert any("has 5 bytes, not 7" in p for p in problems)
    shutil.rmtree(path.with_name("store.db-artifacts"))
    assert any("is missing" in p for p in check(sqlite_url).problems)


def test_a_store_on_read_only_media_can_be_viewed(sqlite_url, exp, path):
    with modes(path.parent, 0o555, 0o444), unprivileged():
        with Store(sqlite_url, read_only=True) as viewer:
            assert viewer.experiment("exp").counts == {"done": 2}
        assert check(sqlite_url).problems == ()
        with pytest.raises(StoreError, match=r"read-only|may not be used|cannot be opened"):
            Store(sqlite_url).create_experiment(experiment())


def test_a_store_without_rights_says_so(sqlite_url, exp, path):
    refused = pytest.raises(StoreError, match="cannot be opened; check that the folder")
    with modes(path.parent, 0o755, 0o000), unprivileged(), refused:
        Store(sqlite_url, read_only=True)
    refused = pytest.raises(StoreError, match="read-only; give yourself write access")
    with modes(path.parent, 0o755, 0o644), unprivileged(), refused:
        Store(sqlite_url)
    refused = pytest.raises(StoreError, match="may not be written; check the permissions")
    with Store(sqlite_url) as store:
        store.files.folder.chmod(0o555)
        with unprivileged(), refused:
            store.put_file(b"never seen before")
        store.files.folder.chmod(0o755)
        sha256, size = store.put_file(b"kept")
        with store.transaction() as tx:
            tx.add_artifact(exp, kind="weights", name="mine", sha256=sha256, size_bytes=size)
        [kept] = store.artifacts(exp, name="mine")
        store.artifact_path(kept).chmod(0o000)
        refused = pytest.raises(StoreError, match="'mine' must be one that you may read")
        with unprivileged(), refused:
            store.artifact_path(kept)


def test_a_path_that_cannot_be_looked_up_says_so(tmp_path, path, exp):
    with pytest.raises(StoreError, match="a store is a file, got the folder"):
        Store(f"sqlite:///{tmp_path}", create=False)
    for name in ("x" * 300, "closed/store.db"):
        (tmp_path / "closed").mkdir(mode=0o000, exist_ok=True)
        refused = pytest.raises(StoreError, match="cannot be looked up; check its path")
        with modes(path.parent, 0o755, 0o644), unprivileged(), refused:
            Store(f"sqlite:///{tmp_path}/{name}", create=False)
    with pytest.raises(WrongStore, match="the file must have a home"):
        Store("sqlite:///~nobody-here/store.db")


def test_a_forked_child_has_connections_of_its_own(sqlite_url, exp):
    with Store(sqlite_url) as store:
        store.trials("exp")
        engine_before = store._database._engine.pool
        child = os.fork()
        if child == 0:  # leave without pytest's own clean-up
            code = 1
            try:
                store.import_trials(exp, [done(7)])
                code = 0 if store._database._engine.pool is not engine_before else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert store.import_trials(exp, [done(8)]) == [3]
