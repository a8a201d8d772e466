"""Experiments of the store, looked at from Python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import plotly.graph_objects as go
import pytest
from toy_plans import PROJECT, make_plan
from toys import Cost, Grid

from netloom import Experiment, Objective
from netloom.db import Store
from netloom.errors import SpecError, StoreError, UnknownName
from netloom.search import Runner
from netloom.search.run.plan import build_plan
from netloom.search.run.spec import parse
from netloom.search.strategies.random import RandomSearch


def search(store: Store, **changes: object):
    return Runner(make_plan(store.url, **changes), store).run()


def test_trials_and_front_are_tables(store: Store) -> None:
    summary = search(store, constraints=["cost <= 12"])
    loaded = Experiment.load("toy", store=store)
    assert (loaded.name, loaded.status) == ("toy", "done")
    assert loaded.id == summary.experiment.id
    assert loaded.record == summary.experiment
    trials, front = loaded.trials(), loaded.front()
    assert trials.equals(store.trials("toy"))
    assert set(front["number"]) == {trial.number for trial in summary.front}
    assert list(front.columns) == list(trials.columns)
    assert front["cost"].max() <= 12
    merged = front.merge(trials, on="number", suffixes=("", "_there"))
    assert (merged["gain"] == merged["gain_there"]).all()


def test_one_of_objects_is_loaded_by_url_or_prefix(store: Store) -> None:
    space = Grid()
    summary = Experiment(
        name="objects",
        space=space,
        strategy=RandomSearch(),
        estimators=[Cost(space)],
        objectives=[Objective("gain", "maximize")],
        budget=6,
        baseline=False,
        store=store,
    ).run()
    for ref in ("objects", "obj", summary.experiment.id):
        assert len(Experiment.load(ref, store=store.url).trials()) == 6
    figure = Experiment.load("objects", store=store).plot.history()  # one objective: its best
    assert figure.layout.yaxis.title.text == "gain"
    assert figure.data[0].y[-1] == summary.front[0].metrics["gain"]


def test_figures_hold_every_trial(store: Store) -> None:
    summary = search(store)
    plot = Experiment.load("toy", store=store).plot
    figure = plot.front()
    assert isinstance(figure, go.Figure)
    for drawn in (figure, plot.history()):  # a notebook in the dark has no style sheet for it
        assert (drawn.layout.paper_bgcolor, drawn.layout.plot_bgcolor) == ("#ffffff", "#ffffff")
    drawn = [n for t in figure.data if t.customdata is not None for n in t.customdata]
    assert sorted(drawn) == list(range(20))
    named = {trace.name.split(" (")[0]: trace for trace in figure.data if trace.name}
    assert sorted(named["front"].customdata) == sorted(t.number for t in summary.front)
    assert plot.front("gain", "cost").layout.xaxis.title.text.startswith("gain")
    grown = plot.history().data[0].y
    assert grown[-1] == pytest.approx(summary.experiment.summary["hypervolume"])


def test_a_running_one_grows(store: Store) -> None:
    seen = []

    def watch(event) -> None:
        if event.kind == "told" and event.number in (3, 19):
            loaded = Experiment.load("toy", store=store.url)
            seen.append((loaded.status, len(loaded.trials()), len(loaded.front()) > 0))

    Runner(make_plan(store.url), store, listeners=[watch]).run()
    assert seen == [("running", 4, True), ("running", 20, True)]


def test_a_notebook_shows_it_escaped(store: Store) -> None:
    summary = search(store, tags=["<script>alert(1)</script>"], constraints=["cost <= 12"])
    for shown in (Experiment.load("toy", store=store), summary):
        text = shown._repr_html_()
        assert "<strong>toy</strong> · done · 20 of 20 trials" in text
        assert "max gain, min cost with cost ≤ 12" in text
        assert text.count("<tr>") == 1 + min(8, len(summary.front))
        assert "<script" not in text
    row = summary.experiment
    with store.transaction() as transaction:
        transaction.update_experiment(row.id, info={**row.info, "retrained": HOSTILE})
    text = Experiment.load("toy", store=store)._repr_html_()
    assert "<img" not in text
    assert "retrained from &lt;img src=x&gt; (trial 1), from scratch" in text
    assert repr(Experiment.load("toy", store=store)).startswith(f"<experiment toy ({row.id}): done")


HOSTILE = {"name": "<img src=x>", "id": "0", "trials": [1], "inherited": []}


def test_without_a_front_there_is_an_empty_table_and_a_sentence(store: Store) -> None:
    search(store, constraints=["cost <= -1"], budget={"trials": 5, "max_infeasible": 5})
    loaded = Experiment.load("toy", store=store)
    assert loaded.status == "infeasible"
    assert loaded.front().empty
    assert list(loaded.front().columns) == list(loaded.trials().columns)
    assert "No feasible network yet." in loaded._repr_html_()
    [said] = loaded.plot.history().layout.annotations
    assert said.text == "toy has no feasible trial yet"


def test_what_is_not_there_is_named(store: Store, tmp_path: Path) -> None:
    search(store)
    with pytest.raises(StoreError, match=r"did you mean toy\?"):
        Experiment.load("tyo", store=store)
    with pytest.raises(StoreError, match="there is no store"):
        Experiment.load("toy", store=f"sqlite:///{tmp_path}/nowhere.db")
    assert not (tmp_path / "nowhere.db").exists()
    for wrong in (None, 5):
        with pytest.raises(
            StoreError, match=f"by its name, its id or a unique prefix, got {wrong}"
        ):
            Experiment.load(wrong, store=store)  # type: ignore[arg-type]
    with pytest.raises(StoreError, match=r"a store is sqlite:///FILE .*, got PosixPath\("):
        Experiment.load("toy", store=tmp_path / "toy.db")  # type: ignore[arg-type]
    with pytest.raises(UnknownName, match=r"did you mean gain\?"):
        Experiment.load("toy", store=store).plot.front("gian")


def test_it_shows_itself_after_its_store_is_gone(store: Store, tmp_path: Path) -> None:
    search(store)
    loaded = Experiment.load("toy", store=store.url)
    store.close()
    for part in tmp_path.glob("*.db*"):
        part.rename(tmp_path / f"{part.name}.moved")
    assert repr(loaded).startswith(f"<experiment {loaded.id}: there is no store at ")
    assert f"<strong>{loaded.id}</strong> · there is no store at " in loaded._repr_html_()
    with pytest.raises(StoreError, match="there is no store at"):
        loaded.trials()
    for part in tmp_path.glob("*.moved"):
        part.rename(tmp_path / part.name.removesuffix(".moved"))
    assert "20 done" in repr(loaded)


def test_a_network_is_exported(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/nets.db"
    spec = {"name": "nets", "space": "nets:Perceptron", "estimators": ["complexity"], "store": url}
    spec |= {"objectives": [{"minimize": "macs"}], "budget": {"trials": 1}, "baseline": False}
    plan = build_plan(parse({**spec, "strategy": "random"}), source_dir=PROJECT)
    with Store(url) as opened:
        Runner(plan, opened).run()
    loaded, said = Experiment.load("nets", store=url), list[str]()
    bundle = loaded.export(0, tmp_path / "there", formats=["json"], note=said.append)
    assert bundle.folder == tmp_path / "there"
    assert (bundle.folder / "architecture.json").is_file()
    assert [text for text in said if text.startswith("weights: ")]
    with pytest.raises(SpecError, match="onx"):
        loaded.export(0, tmp_path / "other", formats=["onx"])


def test_loading_draws_nothing_until_it_is_asked() -> None:
    code = "import sys, netloom; netloom.Experiment; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    modules = set(loaded.stdout.split())
    assert "netloom.search.run.loaded" in modules
    assert not modules & {"plotly", "netloom.dashboard.figures", "dash"}
