"""A store that is missing, empty, newer, broken, or gone while the dashboard runs."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from netloom.dashboard import create_app
from netloom.db import Store

PATHS = ("/", "/exp/toy", "/exp/toy/decisions", "/exp/toy/trial/0", "/compare")
WATCH = ("revision.data", "live.children", "live.className")


@pytest.fixture
def ask(tmp_path: Path) -> Callable[..., Any]:
    """Ask a dashboard for a page and for its watch over the store."""
    client = create_app(f"sqlite:///{tmp_path}/netloom.db").server.test_client()

    def ask(path: str | None = None) -> str:
        names = ["page.children"] if path else list(WATCH)
        outputs = [dict(zip(("id", "property"), each.split("."), strict=True)) for each in names]
        inputs = [("url", "pathname", path)] if path else [("tick", "n_intervals", 1)]
        state = (
            [("url", "search", "")]
            if path
            else [("revision", "data", ""), ("live", "className", "live")]
        )
        body = {
            "output": names[0] if path else f"..{'...'.join(names)}..",
            "outputs": outputs[0] if path else outputs,
            "inputs": [dict(zip(("id", "property", "value"), i, strict=True)) for i in inputs],
            "state": [dict(zip(("id", "property", "value"), i, strict=True)) for i in state],
            "changedPropIds": [".".join(inputs[0][:2])],
        }
        answer = client.post("/_dash-update-component", json=body)
        assert answer.status_code == 200
        return json.dumps(answer.get_json(), ensure_ascii=False)

    return ask


@pytest.mark.parametrize("path", PATHS)
def test_a_missing_store_is_said_and_not_made(ask, tmp_path, path):
    assert "there is no store at" in ask(path)
    assert "there is no store at" in ask()
    assert list(tmp_path.iterdir()) == []


def test_an_empty_store_says_what_to_do(ask, tmp_path):
    Store(f"sqlite:///{tmp_path}/netloom.db").close()
    assert "netloom search" in ask("/")
    assert "live on" in ask()
    assert "This cannot be shown" in ask("/exp/toy")


@pytest.mark.parametrize("path", PATHS)
def test_a_newer_store_is_refused(ask, store, make, path):
    make()
    store.close()
    with sqlite3.connect(store.url.removeprefix("sqlite:///")) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    assert "upgrade netloom" in ask(path)
    assert "upgrade netloom" in ask()


def test_a_file_that_is_no_store(ask, tmp_path):
    (tmp_path / "netloom.db").write_bytes(b"not a database" * 100)
    assert "not an SQLite database" in ask("/")
    assert (tmp_path / "netloom.db").read_bytes() == b"not a database" * 100


def test_another_store_in_its_place(ask, store, make, pairs, tmp_path):
    make(pairs([(90, 5)]))
    assert "max valid_accuracy" in ask("/exp/toy")  # no watch has looked in between
    store.close()
    for part in tmp_path.glob("netloom.db*"):
        part.unlink()
    Store(f"sqlite:///{tmp_path}/netloom.db").close()
    assert "holds no experiment yet" in ask("/exp/toy")


def test_a_copy_over_it(ask, store, make, pairs, tmp_path):
    make(pairs([(90, 5)]))
    store.close()
    path, backup = tmp_path / "netloom.db", tmp_path / "backup.db"
    shutil.copyfile(path, backup)
    assert "max valid_accuracy" in ask("/exp/toy")
    Store(f"sqlite:///{tmp_path}/other.db").close()
    shutil.copyfile(tmp_path / "other.db", path)
    assert "holds no experiment yet" in ask("/exp/toy")
    shutil.copyfile(backup, path)
    assert "live on" in ask()
    assert "max valid_accuracy" in ask("/exp/toy")


def test_a_folder_in_its_place(ask, tmp_path):
    (tmp_path / "netloom.db").mkdir()
    assert "a store is a file, got the folder" in ask("/")
    assert "a store is a file, got the folder" in ask()


def test_a_store_that_vanishes_and_comes_back(ask, store, make, pairs, tmp_path):
    make(pairs([(90, 5)]))
    assert "live on" in ask()
    store.close()
    gone = tmp_path / "elsewhere"
    gone.mkdir()
    for part in tmp_path.glob("netloom.db*"):
        part.rename(gone / part.name)
    told = ask()
    assert "there is no store at" in told
    assert "live lost" in told
    for path in PATHS:
        assert "there is no store at" in ask(path)
    assert list(tmp_path.glob("netloom.db*")) == []
    for part in gone.iterdir():
        part.rename(tmp_path / part.name)
    assert "live on" in ask()
    assert "max valid_accuracy" in ask("/exp/toy")
