from __future__ import annotations

import re
import signal

import pytest

from netloom.db import Store
from netloom.search.run.plan import build_plan
from netloom.search.run.spec import load_spec
from netloom.spaces import SPACES

from .conftest import EXAMPLES, Example

ALL = [Example(path) for path in sorted(EXAMPLES.rglob("*.yaml"))]
INLINE = [e for e in ALL if not e.ray]
SLOW = {  # they train, or are large; each is searched three times
    "gm_fewshot_nb201",
    "rarts_toy",
    "module_space",
    "hiera",
    "fbnetv5",
    "mcuformer",
}


def test_every_way_of_customising_has_an_example():
    spaces = {str(e.spec["space"]) for e in ALL}
    assert any("custom_space:" in s for s in spaces)
    assert any("module_space:" in s for s in spaces)
    assert {e.path.stem for e in ALL} >= {"quickstart", "digits", "regression"}
    assert len({e.name for e in ALL}) == len(ALL)


def test_every_named_space_has_an_example():
    """Each searches the `tiny` preset of its space."""
    found = {e.path.stem: e.spec["space"] for e in ALL if e.path.parent.name == "spaces"}
    assert found.keys() == set(SPACES.names())
    assert all(s == {"name": name, "preset": "tiny"} for name, s in found.items())


@pytest.mark.parametrize("example", ALL, ids=lambda e: e.path.stem)
def test_the_file_is_valid_as_it_is(example, shell):
    checked = shell.json("validate", str(example.path), "--probe", "2", "--json")
    assert checked["valid"] is True


@pytest.mark.parametrize(
    "example",
    [pytest.param(e, marks=pytest.mark.full) if e.path.stem in SLOW else e for e in INLINE],
    ids=lambda e: e.path.stem,
)
def test_it_searches_is_interrupted_resumes_and_reports(
    example, shell, tmp_path, monkeypatch, interrupted_search
):
    interrupted_search(example)
    shell("resume", example.name, "--quiet")
    trials = trials_of("sqlite:///netloom.db", example)
    shell("search", str(example.path), *example.overrides(), "-q", "--store", "sqlite:///other.db")
    assert trials == trials_of("sqlite:///other.db", example)

    front = shell.json("pareto", example.name, "--format", "json")["front"]
    check_front(example, front)
    check_report(example, shell, tmp_path)


RAY = [e for e in ALL if e.ray]


@pytest.mark.ray
@pytest.mark.parametrize("example", RAY, ids=lambda e: e.path.stem)
def test_it_trains_under_ray_and_reports(example, shell, tmp_path):
    shell("search", str(example.path), *example.overrides(), "--quiet")
    with Store("sqlite:///netloom.db") as store:
        assert store.experiment(example.name).status == "done"
        trials = store.trials(example.name)
    assert len(trials) == example.trials
    assert set(trials["status"]) == {"done", "pruned"}  # some are stopped early
    front = shell.json("pareto", example.name, "--format", "json")["front"]
    check_front(example, front)
    check_report(example, shell, tmp_path)


@pytest.mark.full
@pytest.mark.ray
@pytest.mark.parametrize("example", RAY, ids=lambda e: e.path.stem)
def test_it_goes_on_under_ray(example, shell):
    """A larger budget goes on: no trial is lost, none is evaluated twice."""
    shell("search", str(example.path), *example.overrides(trials=3), "--quiet")
    with Store("sqlite:///netloom.db") as store:
        before = store.trials(example.name).set_index("number")
    shell("resume", example.name, "--set", f"budget.trials={example.trials}", "--quiet")
    with Store("sqlite:///netloom.db") as store:
        after = store.trials(example.name).set_index("number")
        assert store.experiment(example.name).status == "done"
    assert list(after.index) == list(range(example.trials))
    assert after["key"].is_unique
    assert set(after["status"]) == {"done", "pruned"}
    columns = ["key", "status", "valid_accuracy", "macs"]
    assert after.loc[before.index, columns].equals(before[columns])


@pytest.fixture
def interrupted_search(shell, monkeypatch):
    """Run a search that gets a Ctrl-C in the middle of its work."""

    def run(example: Example) -> None:
        words = example.overrides()
        spec, folder = load_spec(example.path, words[1::2])
        first = build_plan(spec, source_dir=folder).estimators[0]
        method = "evaluate_many" if first.cheap else "evaluate"
        original, calls = getattr(type(first), method), []

        def interrupted(self, *arguments, **options):
            calls.append(self)
            if len(calls) == 3:
                signal.raise_signal(signal.SIGINT)
            return original(self, *arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(type(first), method, interrupted)
            result = shell("search", str(example.path), *words, "--no-progress", code=130)
        assert len(calls) >= 3
        assert f"netloom resume {example.name}" in result.stderr
        with Store("sqlite:///netloom.db") as store:
            record = store.experiment(example.name)
        assert record.status == "interrupted"
        assert 0 < record.counts["done"] < example.trials

    return run


def trials_of(store_url, example):
    """Return every trial but for how long it took."""
    with Store(store_url) as store:
        record = store.experiment(example.name)
        assert record.status == "done"
        frame = store.trials(example.name)
    searched = frame[frame["fixed"].isna()] if "fixed" in frame else frame
    assert (searched["status"] == "done").sum() == example.trials
    kept = frame.drop(columns="duration_s").astype(object)
    return kept.where(kept.notna(), None).to_dict("records")


def check_front(example, front):
    assert front
    for entry in front:
        assert example.objectives <= entry["metrics"].keys()
        assert entry["notation"]
        assert entry["architecture"]
    if example.trains and any("training" in str(e) for e in example.spec["estimators"]):
        assert all(any(m.startswith("test_") for m in entry["metrics"]) for entry in front)


def check_report(example, shell, tmp_path):
    shell("report", example.name, "-o", "report.html")
    html = (tmp_path / "report.html").read_text("utf-8")
    assert example.name in html
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=.https?:", html)
