from __future__ import annotations

import runpy

from netloom import Store
from netloom.dashboard import write_report
from netloom.search.run.spec import Budget

from .conftest import EXAMPLES


def test_a_search_from_python_prints_its_front_and_is_stored(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NETLOOM_STORE", raising=False)
    example = runpy.run_path(str(EXAMPLES / "python_api.py"))
    summary = example["main"](trials=4, epochs=1)
    assert summary.reason == "budget"
    assert summary.counts["done"] == 4
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "python-api: 4 trials"
    assert len(lines) == 1 + len(summary.front) > 1
    assert all("% test" in line for line in lines[1:])
    with Store("sqlite:///netloom.db", read_only=True) as store:
        assert len(store.trials("python-api")) == 4
        assert store.experiment("python-api").status == "done"


def test_it_goes_on_with_a_larger_budget_and_reports(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NETLOOM_STORE", raising=False)
    example = runpy.run_path(str(EXAMPLES / "python_api.py"))
    example["main"](trials=2, epochs=1)
    with Store("sqlite:///netloom.db", read_only=True) as store:
        before = store.trials("python-api").drop(columns=["test_accuracy", "test_loss"])
    summary = example["experiment"](trials=2, epochs=1).resume(budget=Budget(trials=4))
    assert summary.counts["done"] == 4
    with Store("sqlite:///netloom.db", read_only=True) as store:
        assert store.trials("python-api")[before.columns][:2].equals(before)
        path = write_report(store, "python-api", tmp_path / "report.html")
    assert "python-api" in path.read_text("utf-8")
