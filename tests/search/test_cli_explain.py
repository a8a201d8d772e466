"""`netloom explain`: networks of an experiment taken apart."""

from __future__ import annotations

from typing import Any

import pytest

from netloom.db import Store
from netloom.db.records import EXPLANATION

from .conftest import BOARD

SPEC = """\
space: nb201
estimators: [tabular]
strategy: random
objectives: [{maximize: valid_accuracy}, {minimize: latency_ms@pixel3}]
budget: {trials: 8}
baseline: false
"""


@pytest.fixture
def archive(cli: Any) -> Any:
    """Give a store with eight networks."""
    (cli.folder / "q.yaml").write_text(SPEC, encoding="utf-8")
    cli.stored("search", "q.yaml", "--quiet")
    return cli


def kept(cli: Any, number: int) -> Any:
    with Store(cli.store, read_only=True) as store:
        return store.details(store.experiment("q").id, number, EXPLANATION)


def test_any_trial_can_be_taken_apart_on_any_device(archive: Any) -> None:
    front = archive.json("pareto", "q", "--format", "json")["front"]
    numbers = {entry["trial"] for entry in front}
    inside = kept(archive, min(numbers))  # by the search: drawn; nothing there counts layers
    assert inside["networks"][0]["drawing"].startswith("<svg ")
    assert "layers" not in inside["networks"][0]
    outside = min(set(range(8)) - numbers)
    assert kept(archive, outside) is None
    words = ("explain", "q", "--trial", str(outside), "--device", "cpu_generic")
    [first] = archive.json(*words)
    assert (first["trial"], first["stored"], first["drawn"]) == (outside, True, True)
    document = kept(archive, outside)
    assert first["layers"] == len(document["networks"][0]["layers"]["name"]) > 0
    assert first["devices"]["cpu_generic"]["fits"] is True
    assert archive.json(*words)[0]["stored"] is False  # as it was


def test_the_front_gets_what_its_search_left_out(archive: Any) -> None:
    front = archive.json("pareto", "q", "--format", "json")["front"]
    result = archive.stored("explain", "q", "--front")
    assert f"taken apart: {len(front)} now, 0 before" in result.stderr
    assert f"/exp/q/trial/{front[0]['trial']}" in result.stderr
    assert len(result.stdout.splitlines()) == 1 + len(front)
    again = archive.stored("explain", "q", "--front")
    assert f"taken apart: 0 now, {len(front)} before" in again.stderr


def test_what_cannot_be_taken_apart_is_said(archive: Any) -> None:
    assert "--trial N or --front" in archive.stored("explain", "q", code=2).stderr
    assert "trial" in archive.stored("explain", "q", "--trial", "99", code=1).stderr
    archive.search()
    result = archive.stored("explain", "toy", "--front")
    assert "builds no networks" in result.stdout
    wrong = archive.stored("explain", "q", "--front", "--device", "cpu_generik", code=2)
    assert "cpu_generic" in wrong.stderr


def test_devices_that_rescore_added_are_explained_too(archive: Any, tmp_path: Any) -> None:
    board = tmp_path / "board.yaml"
    board.write_text(BOARD, encoding="utf-8")
    archive.json("rescore", "q", "--device", "cpu_generic", "--batch", "4", "--as", "four")
    archive.json("rescore", "q", "--device", str(board))
    [line] = archive.json("explain", "q", "--trial", "0", "--device", "eyeriss_168")
    assert list(line["devices"]) == ["four", "board", "eyeriss_168"]
    four = kept(archive, 0)["devices"]["four"]
    assert (four["batch"], four["dtype"]) == (4, "float32")
    with Store(archive.store, read_only=True) as store:
        record = store.experiment("q")
        costs = store.rescored(record)[store.trial(record.id, 0).key]
    assert four["totals"]["latency_ms"] == pytest.approx(costs["latency_ms@four"])
    board.unlink()
    result = archive.stored("explain", "q", "--trial", "1")
    assert "board, which rescore added, is left out: " in result.stderr
    assert set(kept(archive, 1)["devices"]) == {"four"}
