"""Chosen networks are trained again, from scratch or from their weights, linked to the search."""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_plans import PROJECT, make_plan
from typer.testing import CliRunner

from netloom.dashboard import write_report
from netloom.db import Store
from netloom.errors import NetloomError, SpecError, StoreError
from netloom.estimators.data.digits import Digits
from netloom.search import Runner
from netloom.search.cli import app
from netloom.search.run.events import Event
from netloom.search.run.experiment import Experiment
from netloom.search.run.plan import build_plan
from netloom.search.run.retrain import retrain_plan
from netloom.search.run.spec import Budget, parse
from netloom.search.strategies.given import PATH, Given
from netloom.spaces import SPACES

QUICKSTART = Path(__file__).parents[3] / "examples" / "quickstart.yaml"
SPEC: dict[str, Any] = {
    "name": "nets",
    "space": "nets:Perceptron",
    "data": {"name": "digits"},
    "estimators": [{"name": "training", "epochs": 1, "threads": 1}, "complexity"],
    "strategy": "random",
    "objectives": [{"maximize": "valid_accuracy"}, {"minimize": "macs"}],
    "constraints": ["params <= 1000"],
    "budget": {"trials": 4},
    "runner": {"engine": "inline"},
    "keep_weights": 0,
    "baseline": False,
}


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose store holds `nets`: all six networks, those of width 16 infeasible."""
    folder = tmp_path_factory.mktemp("searched")
    with Store(f"sqlite:///{folder}/netloom.db") as store:
        plan = build_plan(parse(SPEC), source_dir=PROJECT)
        assert Runner(plan, store).run().counts == {"done": 4, "infeasible": 2, "reused": 0}
    return folder


@pytest.fixture
def folder(searched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(searched, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NETLOOM_STORE", raising=False)
    return tmp_path


@pytest.fixture
def store(folder: Path):
    with Store("sqlite:///netloom.db") as opened:
        yield opened


def netloom(*words: str, code: int = 0) -> Any:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == code, result.output
    return result


def by_status(store: Store, status: str) -> list[int]:
    record = store.experiment("nets")
    return [t.number for t in store.trial_records(record.id, statuses=[status])]


def state(store: Store, name: str, number: int) -> dict[str, torch.Tensor]:
    [kept] = store.artifacts(store.experiment(name).id, kind="weights", number=number)
    return torch.load(store.artifact_path(kept), weights_only=True)


def test_the_front_is_trained_with_the_recipe_of_the_search(folder: Path, store: Store) -> None:
    front = json.loads(netloom("pareto", "nets", "--format", "json").stdout)["front"]
    said = netloom("retrain", "nets", "--front", "--epochs", "3", "--no-progress")
    record, old = store.experiment("nets-retrained"), store.experiment("nets")
    assert "valid_accuracy" in said.stdout
    assert (record.kind, record.parent, record.status) == ("retrained", old.id, "done")
    numbers = list(old.summary["front"])
    assert record.info["retrained"] == {
        "id": old.id,
        "name": "nets",
        "trials": numbers,
        "inherited": [],
    }
    trials = store.trial_records(record.id)
    assert [t.key for t in trials] == [store.trial(old.id, n).key for n in numbers]
    assert len(trials) == len(front) >= 1
    training, complexity = record.spec["estimators"]
    assert training == {**old.spec["estimators"][0], "epochs": 3}
    assert complexity == old.spec["estimators"][1]
    assert record.spec["constraints"] == old.spec["constraints"]
    drawn = {t.seed for t in store.trial_records(old.id)}
    assert drawn.isdisjoint(t.seed for t in trials)  # a lucky draw is not drawn again
    curves = store.curves(record.id, number=0)
    assert sorted(curves[curves["name"] == "valid_accuracy"]["step"]) == [1, 2, 3]
    assert all(state(store, record.name, t.number) for t in trials)


def test_all_that_was_chosen_is_tested_and_says_which_trial_it_was(store: Store) -> None:
    numbers = by_status(store, "done")
    words = [word for number in numbers for word in ("--trial", str(number))]
    said = netloom("retrain", "nets", *words, "--no-progress").stderr
    record, old = store.experiment("nets-retrained"), store.experiment("nets")
    trials = store.trial_records(record.id)
    assert len(trials) > len(record.summary["front"])  # the front is not all that was asked for
    assert all("test_accuracy" in trial.metrics for trial in trials)
    assert [trial.tags for trial in trials] == [{"retrained": number} for number in numbers]
    assert "training for 1 epoch, as its spec says; --epochs E changes that" in said
    for trial, number in zip(trials, numbers, strict=True):
        was, now = (
            f"{metrics['valid_accuracy']:.4g} %"
            for metrics in (store.trial(old.id, number).metrics, trial.metrics)
        )
        assert was != now
        line = f"trial {trial.number} is trial {number} of nets: valid_accuracy {was} before, {now}"
        assert line in said
    best = record.summary["front"][0]
    assert f"netloom export nets-retrained --trial {best} -o delivered" in said
    shown = netloom("show", "nets-retrained", "--trial", "1").stdout
    assert f"trial {numbers[1]} of nets" in shown
    quiet = netloom("retrain", "nets", "--trial", str(numbers[0]), "--name", "on", "--quiet")
    assert (quiet.stdout, quiet.stderr) == ("on\n", "")


def test_the_overrides_that_are_suggested_train_what_was_found_in_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NETLOOM_STORE", raising=False)
    netloom("search", str(QUICKSTART), "--set", "budget.trials=4", "--set", "baseline=false", "-q")
    said = netloom("retrain", "quickstart", "--front", code=2).stderr
    added = shlex.split(said[said.index("--set") :])
    assert added[::2] == ["--set"] * (len(added) // 2)
    words = ["retrain", "quickstart", "--front", "--epochs", "1", *added]
    spec = json.loads(netloom(*words, "--dry-run").stdout)
    assert (spec["data"]["name"], spec["space"]["in_channels"]) == ("digits", 1)
    assert [e["name"] for e in spec["estimators"]] == ["training", "complexity"]
    assert (spec["objectives"], spec["constraints"]) == ([{"maximize": "valid_accuracy"}], [])
    faster = "space.channels=1", "space.cells=1", "runner.engine=inline"
    faster += "estimators.training.threads=1", "estimators.training.batch_size=512"
    small = [word for text in faster for word in ("--set", text)]
    said = netloom(*words, *small, "--no-progress").stderr
    assert "before" not in said  # other data: nothing is compared
    with Store("sqlite:///netloom.db", read_only=True) as store:
        front = store.experiment("quickstart").summary["front"]
        trials = store.trial_records(store.experiment("quickstart-retrained").id)
    assert [trial.status for trial in trials] == ["done"] * len(front)
    assert all({"valid_accuracy", "test_accuracy", "macs"} <= t.metrics.keys() for t in trials)


def test_what_is_suggested_fits_the_space_and_the_caller(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/counted.db"
    product = {"name": "product", "factors": {"a": "nets:Perceptron", "b": "nets:Deep"}}
    counted = [{"name": "complexity", "factor": factor} for factor in "ab"]
    goal, bounds = [{"minimize": "macs@a"}], ["params@b <= 2000"]
    spec = {**SPEC, "space": product, "estimators": counted, "objectives": goal}
    spec |= {"constraints": bounds, "store": url}
    with Store(url) as store:
        Runner(build_plan(parse(spec), source_dir=PROJECT), store).run()
        with pytest.raises(SpecError) as refused:
            Experiment.load("nets", store=store).retrain(overrides=["tags=[again]"])
        assert "--" not in str(refused.value)
        with pytest.raises(SpecError, match=r"^the override seed=x: "):
            Experiment.load("nets", store=store).retrain(overrides=["seed=x"])
        added = ast.literal_eval(str(refused.value).partition("overrides=")[2])
        plan, _ = retrain_plan(store, "nets", overrides=added, epochs=1)
        assert [(e.name, e.factor) for e in plan.estimators] == [
            ("training", "a"),
            ("training", "b"),
            ("complexity", "a"),
            ("complexity", "b"),
        ]
        assert [o.metric for o in plan.objectives] == ["valid_accuracy@a", "macs@a"]
        assert [(c.metric, c.max) for c in plan.constraints] == [("params@b", 2000)]


def test_other_examples_under_the_same_name_are_noticed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    retrain_plan(store, "nets", note=said.append)
    assert not any("fingerprint" in text for text in said)
    monkeypatch.setattr(Digits, "fingerprint", "0" * 64)
    retrain_plan(store, "nets", note=said.append)
    assert re.search(
        r"digits.* gives other examples than when nets ran.*cannot be compared", said[-1]
    )


def test_it_is_reproduced_by_the_same_seed(folder: Path, store: Store) -> None:
    loaded = Experiment.load("nets", store="sqlite:///netloom.db")
    first, second = (loaded.retrain(epochs=2, name=name) for name in ("first", "second"))
    assert [t.metrics for t in first.front] == [t.metrics for t in second.front]
    assert second.experiment.parent == loaded.id
    viewed = Experiment.load("nets", store=Store("sqlite:///netloom.db", read_only=True))
    with pytest.raises(StoreError, match="read-only"):
        viewed.retrain()


def test_inherited_weights_are_where_training_starts(store: Store) -> None:
    number = store.experiment("nets").summary["front"][0]
    # A rate this small moves nothing: what comes out is what went in.
    still = ["estimators.training.lr=1e-12", "estimators.training.weight_decay=0"]
    for name, inherit in (("same", True), ("fresh", False)):
        plan, origin = retrain_plan(
            store, "nets", trials=[number], inherit=inherit, name=name, overrides=still
        )
        Runner(plan, store).run(origin=origin)
    before = state(store, "nets", number)
    same, fresh = (state(store, name, 0) for name in ("same", "fresh"))
    assert all(torch.allclose(before[k], same[k], atol=1e-6) for k in before)
    assert not any(torch.allclose(before[k], fresh[k], atol=1e-3) for k in before)
    old = store.trial(store.experiment("nets").id, number).metrics["valid_accuracy"]
    assert store.trial(store.experiment("same").id, 0).metrics["valid_accuracy"] == old
    assert Runner.resume(store, "same", budget=Budget(trials=2)).reason == "exhausted"


def test_a_part_of_a_super_network_is_where_training_starts(tmp_path: Path) -> None:
    """The search trains no network alone: what can be inherited is the super-network's."""
    counted = {
        **SPEC,
        "space": "nets:Choices",
        "strategy": {"name": "darts", "epochs": 1},
        "estimators": ["complexity"],
        "objectives": [{"minimize": "macs"}],
        "constraints": [],
        "budget": {"trials": 1},
    }
    with Store(f"sqlite:///{tmp_path}/store.db") as store:
        searched = Runner(build_plan(parse(counted), source_dir=PROJECT), store).run().experiment
        recipe = "estimators=[{name: training, epochs: 1, lr: 1e-12, weight_decay: 0}, complexity]"
        plan, origin = retrain_plan(store, searched.id, inherit=True, overrides=[recipe])
        record = Runner(plan, store).run(origin=origin).experiment
        assert record.info["retrained"]["inherited"] == ["the super-network search of nets"]
        [published] = store.artifacts(searched.id, kind="supernet")
        supernet = plan.space.supernet()
        supernet.load_state_dict(torch.load(store.artifact_path(published), weights_only=True))
        architecture = plan.space.architecture(store.trial(searched.id, 0).architecture)
        expected, trained = supernet.extract(architecture), state(store, record.name, 0)
        assert trained.keys() == expected.state_dict().keys()
        for name, value in expected.state_dict().items():
            assert torch.allclose(value, trained[name], atol=1e-6)


def test_a_published_network_of_another_space_is_trained_again(tmp_path: Path) -> None:
    """It stays out of --front, because one experiment has one space; --trial takes it."""
    sizes = [{"maximize": "params"}, {"minimize": "macs"}]  # no network is behind another
    changes = {**SPEC, "fixed": ["nets:Deep/Eight"], "constraints": [], "budget": {"trials": 1}}
    with Store(f"sqlite:///{tmp_path}/store.db") as store:
        Runner(build_plan(parse({**changes, "objectives": sizes}), source_dir=PROJECT), store).run()
        before = store.trial(store.experiment("nets").id, 0)
        plan, origin = retrain_plan(store, "nets", trials=[0], epochs=2, inherit=True)
        [again] = Runner(plan, store).run(origin=origin).front
        assert before.space is not None
        assert (plan.space.name, plan.space.fingerprint) == ("deep", before.space.fingerprint)
        assert dict(again.architecture) == dict(before.architecture) == {"width": 8}
        with pytest.raises(SpecError, match="and trials 0 and 1 of nets are of two"):
            retrain_plan(store, "nets", trials=[0, 1])
        said: list[str] = []
        assert retrain_plan(store, "nets", note=said.append)[1].trials == (1,)
        assert said == ["left out, being of other spaces: 0 (deep/Eight); --trial trains them"]
        with pytest.warns(UserWarning, match=r"left out, being of other spaces: 0 .*; trials=\["):
            Experiment.load("nets", store=store).retrain()
        alone = {"name": "alone", "objectives": sizes[1:], "constraints": ["params >= 650"]}
        Runner(build_plan(parse({**changes, **alone}), source_dir=PROJECT), store).run()
        with pytest.raises(SpecError, match=r"published networks of others alone: 0 \(deep/Eight"):
            retrain_plan(store, "alone")


def test_it_outlives_the_search_and_repeats_from_its_own_files(store: Store) -> None:
    number = store.experiment("nets").summary["front"][0]
    netloom("retrain", "nets", "--trial", str(number), "--inherit", "--name", "on", "--quiet")
    netloom("delete", "nets", "--yes")
    netloom("gc")
    assert store.experiment("on").parent is None
    assert "as stored" in netloom("repro", "on", "--trial", "0").stdout
    assert f"nets (trial {number}), from stored weights" in netloom("show", "on").stdout
    page = write_report(store, "on", Path("report.html")).read_text("utf-8")
    assert f"retrained from nets (trial {number}), from stored weights" in page


def test_an_interrupted_one_goes_on(store: Store) -> None:
    numbers = by_status(store, "done")
    whole, origin = retrain_plan(store, "nets", trials=numbers[:3], name="whole")
    Runner(whole, store).run(origin=origin)

    def stop(event: Event) -> None:
        if event.kind == "committed":
            raise KeyboardInterrupt

    plan, origin = retrain_plan(store, "nets", trials=numbers[:3], name="cut")
    assert Runner(plan, store, listeners=[stop]).run(origin=origin).exit_code == 130
    assert store.experiment("cut").counts["done"] == 1
    netloom("resume", "cut", "--quiet")
    whole_trials, cut_trials = (
        [(t.key, t.metrics.get("valid_accuracy")) for t in store.trial_records(r.id)]
        for r in (store.experiment("whole"), store.experiment("cut"))
    )
    assert cut_trials == whole_trials
    assert len(cut_trials) == 3


def test_a_dry_run_prints_the_spec_and_stores_nothing(store: Store) -> None:
    number = by_status(store, "done")[0]
    words = ["--trial", str(number), "--set", "estimators.training.augment=[mixup]", "--dry-run"]
    spec = json.loads(netloom("retrain", "nets", *words).stdout)
    old = store.experiment("nets")
    trial = store.trial(old.id, number)
    assert spec["strategy"]["architectures"] == [dict(trial.architecture)]
    assert spec["estimators"][0]["augment"] == ["mixup"]
    assert [r.name for r in store.experiments(all=True)] == ["nets"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nest", "--front"], "did you mean nets?"),
        (["nets"], "takes --trial N (once or more) or --front, got neither"),
        (["nets", "--front", "--trial", "1"], "or --front, got both"),
        (["nets", "--trial", "99"], "those of this experiment are 0 to 5"),
        (["nets", "--trial", "BROKEN"], "breaks a constraint, so that it would not be trained"),
        (["nets", "--trial", "BEHIND", "--inherit"], "leave --inherit out to train from scratch"),
        (["nets", "--front", "--set", "strategy=random"], "strategy cannot be changed"),
        (["nets", "--front", "--set", "estimators=[complexity]"], "keep training in estimators"),
        (["nets", "--front", "--set", "estimators.training.lr=-1"], "lr must be above 0, got -1"),
        (["nets", "--front", "--set", "estimators.0.epoch=3"], "did you mean epochs?"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_stored(
    store: Store, words: list[str], message: str
) -> None:
    behind = set(by_status(store, "done")) - set(store.experiment("nets").summary["front"])
    known = {"BROKEN": by_status(store, "infeasible")[0], "BEHIND": min(behind)}
    words = [str(known.get(word, word)) for word in words]
    revision = store.revision()
    said = netloom("retrain", *words, code=1 if "99" in words or "nest" in words else 2)
    assert said.stdout == ""
    assert message in said.stderr
    assert "Traceback" not in said.stderr
    assert store.revision() == revision


def test_what_has_not_been_evaluated_is_not_trained_again(tmp_path: Path) -> None:
    with Store(f"sqlite:///{tmp_path}/toy.db") as store:
        broken = {"estimators": [{"name": "toys:Cost", "broken": 8}], "budget": {"trials": 60}}
        failed = Runner(make_plan(store.url, **broken), store).run().experiment
        [number, *_] = [t.number for t in store.trial_records(failed.id, statuses=["failed"])]
        with pytest.raises(SpecError, match=rf"trial {number} of toy failed \(ValueError: the sum"):
            retrain_plan(store, "toy", trials=[number])
        with pytest.raises(SpecError, match="needs the estimator training, and toy has toys:Cost"):
            retrain_plan(store, "toy")
        never = make_plan(store.url, name="never", constraints=["cost <= -1"])
        Runner(never, store).run()
        with pytest.raises(SpecError, match="never has no feasible trial"):
            retrain_plan(store, "never")
        with pytest.raises(SpecError, match="needs at least one trial, got none"):
            retrain_plan(store, "never", trials=[])


def test_any_name_can_be_trained_again(store: Store) -> None:
    record = store.experiment("nets")
    for name, expected in (
        ("my nets; rm", "my_nets__rm-retrained"),
        ("../nets", "nets-retrained"),
        ("日本", f"{record.id}-retrained"),
        ("x" * 200, f"{'x' * 90}-retrained"),
    ):
        store.rename_experiment(record.id, name)
        assert retrain_plan(store, record.id)[0].name == expected


def test_weights_of_other_networks_or_without_a_file_are_refused(store: Store) -> None:
    record = store.experiment("nets")
    number = record.summary["front"][0]
    [kept] = store.artifacts(record.id, kind="weights", number=number)
    store.artifact_path(kept).unlink()
    with pytest.raises(StoreError, match="must be beside the store"):
        retrain_plan(store, "nets", trials=[number], inherit=True)
    Path("other.pt").touch()
    torch.save({"1.weight": torch.zeros(1)}, "other.pt")
    sha256, size = store.put_file(Path("other.pt").read_bytes())
    with store.transaction() as transaction:
        transaction.add_artifact(
            record.id, kind="weights", name="x", sha256=sha256, size_bytes=size, number=number
        )
    said = rf"trial {number} cannot go on from its weights: .* got 1.weight \(1,\) instead of \("
    with pytest.raises(SpecError, match=said):
        retrain_plan(store, "nets", trials=[number], inherit=True)


def test_what_a_spec_cannot_name_is_not_rebuilt(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/objects.db"
    experiment = Experiment(
        space=SPACES.get("nb201")(),
        strategy="random",
        estimators=[{"name": "tabular", "dataset": "cifar10"}],
        objectives=[{"maximize": "valid_accuracy"}],
        budget=2,
        baseline=False,
        store=url,
    )
    experiment.run()
    with (
        Store(url) as store,
        pytest.raises(NetloomError, match=r"objects that a spec cannot name \(space\)"),
    ):
        retrain_plan(store, "search")


def test_a_list_of_architectures_is_a_strategy(tmp_path: Path) -> None:
    """Notations, JSON and names of published networks are read; the order is that of the list."""
    with Store(f"sqlite:///{tmp_path}/toy.db") as store:
        given: list[Any] = ["best", {f"d{i}": i for i in range(4)}, '{"d0":1,"d1":1,"d2":0,"d3":0}']
        strategy = {"name": PATH, "architectures": given, "batch": 2}
        plan = make_plan(store.url, strategy=strategy)
        summary = Runner(plan, store).run()
        assert summary.reason == "exhausted"
        trials = store.trial_records(summary.experiment.id)
        sums = [sum(t.architecture.values()) for t in trials]
        assert sums == [20, 6, 2]
        for wrong, message in (
            (["best", "best"], r"architectures\[1\] must differ from the others, got that of posi"),
            (["besst"], r"architectures\[0\]: grid: an architecture is written as"),
            ([], "architectures"),
        ):
            strategy = {"name": PATH, "architectures": wrong}
            with pytest.raises(SpecError, match=message):
                make_plan(store.url, strategy=strategy)
        with pytest.raises(
            SpecError, match="tags must have one entry for each architecture, got 2"
        ):
            make_plan(store.url, strategy={**strategy, "architectures": ["best"], "tags": [{}, {}]})
    assert Given(architectures=["best"]).state_dict() == {"next": 0}
