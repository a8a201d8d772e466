"""A trial of a store as a folder: its weights, its card, and what is refused."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from netloom.db.records import NewTrial
from netloom.errors import EvaluationError, OutputError, SpecError, StoreError
from netloom.estimators.network import built
from netloom.search.cli import app
from netloom.search.export import export_trial, onnx_files, place, torch_files
from netloom.search.export.card import card
from netloom.search.export.source import check_weights, read_source
from netloom.search.run.describe import new_experiment
from netloom.search.run.inherited import inherited_weights
from netloom.search.run.plan import build_plan
from netloom.search.run.runner import Runner
from netloom.search.run.spec import parse
from netloom.spaces import SPACES

from .conftest import SPEC, Searched

SHARED = {
    **SPEC,
    "estimators": ["complexity"],
    "objectives": [{"minimize": "macs"}],
    "budget": {"trials": 1},
}


def run(searched: Searched, *words: str, code: int = 0) -> Any:
    result = CliRunner().invoke(app, ["export", *words, "--store", searched.store.url])
    assert result.exit_code == code, (result.stdout, result.stderr, result.exception)
    return result


def test_the_command_writes_trained_weights_and_a_card(searched: Searched, folder: Path) -> None:
    result = run(searched, "digits", "--trial", str(searched.best), "-o", str(folder), "--json")
    assert f"weights: trained by trial {searched.best} of digits" in result.stderr
    names = {path.name for path in folder.iterdir()}
    assert names == {"README.md", "architecture.json", "load.py", "weights.safetensors"}
    said = json.loads(result.stdout)
    assert said["weights"]["kind"] == "trained"
    for file in said["files"]:
        data = (folder / file["name"]).read_bytes()
        assert file["sha256"] == hashlib.sha256(data).hexdigest()
        assert file["sha256"] in (folder / "README.md").read_text()
    [source] = read_source(searched.store, searched.record, searched.best).networks
    assert source.weights is not None
    for name, value in load_file(folder / "weights.safetensors").items():
        assert torch.equal(value, source.weights[name])


def test_the_card_says_what_the_store_knows(searched: Searched, folder: Path) -> None:
    export_trial(searched.store, searched.record, searched.best, folder, ["json"])
    text = (folder / "README.md").read_text()
    trial = searched.store.trial(searched.record.id, searched.best)
    assert trial.notation in text
    assert str(trial.seed) in text
    assert searched.record.space_fingerprint in text
    assert "| `latency_ms@stm32f746` |" in text
    assert "| stm32f746 | STM32F746" in text
    assert "Licence: CC BY 4.0" in text
    assert "No weights are in this folder" in text
    assert "| training | epochs=1, batch_size=" in text
    splits = {
        row.split("|")[1].strip(): row.split("|")[3].strip()
        for row in text.splitlines()
        if row.startswith("| `")
    }
    assert (splits["`valid_accuracy`"], splits["`test_accuracy`"]) == ("valid", "test")
    assert splits["`latency_ms@stm32f746`"] == ""  # no data were needed
    values = json.loads((folder / "architecture.json").read_text())
    assert values["architecture"] == dict(trial.architecture)
    assert values["space"]["channels"] == 2


def test_int8_is_measured_on_the_test_split(searched: Searched, folder: Path) -> None:
    """float32 has the accuracy that the search stored: same weights, split and scale."""
    stored = searched.store.trial(searched.record.id, searched.best).metrics["test_accuracy"]
    said: list[str] = []
    made = export_trial(
        searched.store, searched.record, searched.best, folder, ["onnx-int8"], note=said.append
    )
    found = made.quantized
    assert found is not None
    assert (found.examples, found.tested) == (256, 360)
    assert found.float_accuracy == pytest.approx(stored, abs=1e-9)
    assert abs(found.drop) < 15
    text = (folder / "README.md").read_text()
    assert f"{found.int8_accuracy:.2f} % in int8, a {'drop' if found.drop >= 0 else 'gain'}" in text
    better = replace(found, float_accuracy=50.0, int8_accuracy=52.0)
    made.networks[0].quantized = better
    assert "52.00 % in int8, a gain of 2.00 points" in card(made)
    import onnx

    kinds = {node.op_type for node in onnx.load(folder / "network.int8.onnx").graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds


def test_without_weights_it_says_so(searched: Searched, folder: Path) -> None:
    result = run(searched, "digits", "--trial", str(searched.other), "-o", str(folder))
    trial = searched.store.trial(searched.record.id, searched.other)
    words = f"initialised from the seed {trial.seed}, not trained: the store keeps no weights of"
    assert words in result.stderr
    text = (folder / "README.md").read_text()
    assert words in text
    assert f"`netloom explain digits --trial {searched.other}` stores them" in text  # no verdicts
    space = SPACES.get("nb201")(channels=2, cells=1, in_channels=1, resolution=8, classes=10)
    network = built(space, space.architecture(trial.architecture), seed=trial.seed)
    for name, value in load_file(folder / "weights.safetensors").items():
        assert torch.equal(value, network.state_dict()[name])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("stem.0.weight"), r"got no stem.0.weight \(2, 1, 3, 3\)"),
        (
            lambda w: w.update({"stem.0.weight": torch.zeros(3, 1, 3, 3)}),
            r"got stem.0.weight \(3, 1, 3, 3\) instead of \(2, 1, 3, 3\)",
        ),
        (lambda w: w.update({"more": torch.zeros(1)}), "got more, which it does not have"),
    ],
)
def test_weights_of_another_architecture_are_refused(
    searched: Searched, change: Any, message: str
) -> None:
    [source] = read_source(searched.store, searched.record, searched.best).networks
    network, weights = source.network(), dict(source.weights or {})
    check_weights(network, weights, "mine")
    change(weights)
    with pytest.raises(EvaluationError, match=f"architecture mine, {message}"):
        check_weights(network, weights, "mine")


def test_a_reused_result_has_the_weights_that_it_came_from(searched: Searched) -> None:
    store, number = searched.store, searched.best
    trial = store.trial(searched.record.id, number)
    record = store.create_experiment(new_experiment(build_plan(parse({**SPEC, "name": "again"}))))
    reused = NewTrial(
        0, trial.key, trial.architecture, trial.notation, "done", 7, reused_from=trial.id
    )
    store.import_trials(record.id, [reused])
    source = read_source(store, record, 0)
    [part] = source.networks
    assert part.origin == f"trained by trial {number} of digits, whose result trial 0 reused"
    [inherited] = inherited_weights(store, record, source.space, [source.trial])
    assert inherited.source == f"trial {number} of digits"
    assert inherited.sha256 == store.artifacts(searched.record.id, kind="weights")[0].sha256
    own = read_source(store, searched.record, number).networks[0].weights
    assert own is not None
    assert part.weights is not None
    assert all(torch.equal(value, part.weights[name]) for name, value in own.items())


def test_weights_of_several_trainings_are_those_of_the_first(
    searched: Searched, folder: Path
) -> None:
    record = replace(searched.record, spec={**searched.record.spec, "repeats": 3})
    export_trial(searched.store, record, searched.best, folder)
    text = (folder / "README.md").read_text()
    assert "means over 3 trainings; the weights, and the test metrics, are those of the" in text


def test_the_card_says_what_was_trained_again(searched: Searched, folder: Path) -> None:
    link = {"name": "before", "id": "a1", "trials": [4], "inherited": ["trial 4 of before"]}
    record = replace(searched.record, info={**searched.record.info, "retrained": link})
    export_trial(searched.store, record, searched.best, folder, ["json"])
    words = "| retrained from | before (trial 4), from stored weights |"
    assert words in (folder / "README.md").read_text()


@pytest.mark.parametrize("affine", [True, False])
def test_a_part_of_a_super_network_is_inherited(
    searched: Searched, folder: Path, affine: bool
) -> None:
    """Without scale and shift of its norms, as search methods train it, it is delivered so."""
    strategy = {"name": "darts", "epochs": 1, "supernet": {"affine": affine}}
    store, name = searched.store, f"shared-{affine}"
    plan = build_plan(parse({**SHARED, "name": name, "strategy": strategy}))
    [trial] = Runner(plan, store).run().front
    record = store.experiment(name)
    made = export_trial(store, record, trial.number, folder)
    assert made.networks[0].part.kind == "inherited"
    words = f"inherited from the super-network search of {name}"
    assert words in (folder / "README.md").read_text()
    [published] = store.artifacts(record.id, kind="supernet")
    supernet = plan.space.supernet(affine=affine)
    supernet.load_state_dict(torch.load(store.artifact_path(published), weights_only=True))
    expected = supernet.extract(plan.space.architecture(trial.architecture)).eval()
    state = expected.state_dict()
    found = load_file(folder / "weights.safetensors")
    assert all(torch.equal(value, state[name]) for name, value in found.items())
    assert found.keys() == state.keys()
    x = torch.randn(3, 1, 8, 8)
    with torch.no_grad():
        delivered = torch_files._module(folder / "load.py").load()(x)
        torch.testing.assert_close(delivered, expected(x), rtol=1e-5, atol=1e-6)


def test_a_full_disk_is_no_matter_of_the_network(
    searched: Searched, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="cannot be written: No space left on device"):
        export_trial(searched.store, searched.record, searched.best, folder, ["pt2"])
    assert not folder.exists()


def test_a_card_reads_names_as_they_stand(searched: Searched, folder: Path) -> None:
    hostile = replace(searched.record, name="<b>![x](http://e.example)`|$(touch x)", strategy="*s*")
    export_trial(searched.store, hostile, searched.best, folder, ["json"])
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert r"of &lt;b>!\[x\](http://e.example)\`|$(touch x)" in card
    assert r"| experiment | &lt;b>!\[x\](http://e.example)\`\|$(touch x) (`" in card
    assert r"| strategy | \*s\* |" in card
    assert f"| `netloom export {hostile.id} --trial " in card
    assert "![" not in card


def torch_file(value: Any) -> bytes:
    torch.save(value, buffer := io.BytesIO())
    return buffer.getvalue()


def test_a_part_with_other_convolutions_is_not_inherited(searched: Searched) -> None:
    """PC-DARTS trains operations on a quarter of the channels."""
    strategy = {"name": "pc_darts", "epochs": 1, "warmup_epochs": 0}
    cells = {**SHARED["space"], "channels": 4}
    plan = build_plan(parse({**SHARED, "name": "pc", "space": cells, "strategy": strategy}))
    [trial] = Runner(plan, searched.store).run().front
    [part] = read_source(searched.store, searched.store.experiment("pc"), trial.number).networks
    assert part.kind == "initialised"
    words = r"and the super-network search of pc has other layers \(got no layers[\w.]+weight \(4, "
    assert re.search(words, part.origin)


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        (None, StoreError, "must be beside the store"),
        (b"cos\nsystem\n(S'true'\ntR.", EvaluationError, "must be a file that this program wrote"),
        (torch_file([1, 2]), EvaluationError, "a file that this program wrote, got TypeError"),
    ],
)
def test_weights_that_are_gone_or_changed_are_refused(
    searched: Searched, folder: Path, data: bytes | None, kind: type[Exception], message: str
) -> None:
    store = searched.store
    [kept] = store.artifacts(searched.record.id, kind="weights", number=searched.best)
    path = store.artifact_path(kept)
    before = path.read_bytes()
    path.unlink() if data is None else path.write_bytes(data)
    try:
        with pytest.raises(kind, match=message):
            export_trial(store, searched.record, searched.best, folder)
    finally:
        path.write_bytes(before)
    assert not folder.exists()


def test_an_unknown_experiment_or_trial_is_refused(searched: Searched, folder: Path) -> None:
    words = ("--trial", "0", "-o", str(folder))
    assert "did you mean digits?" in run(searched, "digtis", *words, code=1).stderr
    far = run(searched, "digits", "--trial", "99", "-o", str(folder), code=1)
    assert "got 99; those of this experiment are 0 to 2" in far.stderr
    assert not folder.exists()


def test_an_unknown_format_is_refused(searched: Searched, folder: Path) -> None:
    words = ("digits", "--trial", "0", "-o", str(folder), "--format", "tflite")
    assert "got 'tflite'" in run(searched, *words, code=2).stderr


def stored(searched: Searched, spec: dict[str, Any], status: Any, error: str | None) -> Any:
    """Return an experiment of one trial that ended, or did not end, in a given way."""
    plan = build_plan(parse({**SPEC, **spec}))
    record = searched.store.create_experiment(new_experiment(plan))
    architecture = plan.space.at(0)
    trial = NewTrial(
        0, architecture.key, architecture, plan.space.format(architecture), status, 7, error=error
    )
    searched.store.import_trials(record.id, [trial])
    return record


def test_a_trial_without_a_result_is_refused(searched: Searched, folder: Path) -> None:
    failed = stored(searched, {"name": "fails"}, "failed", "the loss was NaN")
    with pytest.raises(SpecError, match="trial 0 of fails, which failed: the loss was NaN"):
        export_trial(searched.store, failed, 0, folder)
    waiting = stored(searched, {"name": "waits"}, "queued", None)
    with pytest.raises(SpecError, match="which is queued; `netloom resume waits`"):
        export_trial(searched.store, waiting, 0, folder)
    assert not folder.exists()


def test_int8_without_data_is_refused(searched: Searched, folder: Path) -> None:
    bare = stored(
        searched,
        {
            "name": "bare",
            "data": None,
            "estimators": ["complexity"],
            "objectives": [{"minimize": "macs"}],
        },
        "done",
        None,
    )
    with pytest.raises(SpecError, match="got bare, which has no data set; export onnx"):
        export_trial(searched.store, bare, 0, folder, ["onnx-int8"])
    export_trial(searched.store, bare, 0, folder, ["torch"])
    text = (folder / "README.md").read_text()
    assert "How inputs are to be scaled is not known: the experiment has no data set." in text


def test_experiments_of_objects_need_the_function(searched: Searched, folder: Path) -> None:
    record = replace(searched.record, spec={**searched.record.spec, "objects": ["space"]})
    with pytest.raises(SpecError, match=r"with objects \(space\); call netloom.search.export"):
        export_trial(searched.store, record, searched.best, folder)
    plan = build_plan(parse(SPEC))
    made = export_trial(
        searched.store, record, searched.best, folder, space=plan.space, data=plan.data
    )
    assert made.networks[0].part.kind == "trained"


def test_another_space_is_refused(searched: Searched, folder: Path) -> None:
    space = SPACES.get("nb201")(preset="tiny")
    with pytest.raises(SpecError, match="must be the one that digits searched"):
        export_trial(searched.store, searched.record, searched.best, folder, space=space)


def test_folders_that_hold_something_are_kept(searched: Searched, folder: Path) -> None:
    words = ("digits", "--trial", str(searched.other), "-o", str(folder), "--format", "json")
    run(searched, *words[:-2])
    assert "which holds README.md; name another one" in run(searched, *words, code=2).stderr
    run(searched, *words, "--force")  # what the first one wrote is gone
    assert {path.name for path in folder.iterdir()} == {"README.md", "architecture.json"}
    (folder / "thesis.tex").write_text("mine")
    assert "which holds thesis.tex" in run(searched, *words, "--force", code=2).stderr
    assert (folder / "thesis.tex").read_text() == "mine"


def test_what_a_killed_export_left_is_removed(searched: Searched, folder: Path) -> None:
    words = ("digits", "--trial", str(searched.other), "-o", str(folder), "--format", "json")
    here = socket.gethostname()
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    old, others = [folder.parent / f".netloom-export-elsewhere-{pid}" for pid in (1, 2)]
    dead = [place / f".netloom-export-{here}-{gone.pid}" for place in (folder, folder.parent)]
    living = folder.parent / f".netloom-export-{here}-{os.getppid()}"
    for left in (*dead, folder / f".netloom-export-{here}-{os.getpid()}", old, others, living):
        left.mkdir(parents=True)
        (left / "README.md").write_text("half of it")
    os.utime(old, (0, 0))
    said = run(searched, *words).stderr  # what is left counts as nothing
    for left in (*dead, old):
        assert f"removed {left}, left by an export that was killed" in said
    assert {path.name for path in folder.iterdir()} == {"README.md", "architecture.json"}
    assert set(folder.parent.iterdir()) == {folder, others, living}
    living.rename(folder / living.name)
    assert f"which holds {living.name}" in run(searched, *words, "--force", code=2).stderr


def test_an_export_that_is_killed_while_it_replaces_leaves_no_card(
    searched: Searched, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A card beside files of another export would lie about them."""
    words = ("digits", "--trial", str(searched.other), "-o", str(folder), "--format", "json")
    run(searched, *words)
    moved: list[str] = []

    def die(source: Path, target: Path) -> None:
        moved.append(Path(target).name)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(place.os, "replace", die)
        run(searched, *words, "--force", code=130)
    assert moved == ["architecture.json"]
    assert {path.name for path in folder.iterdir()} == {"architecture.json"}
    run(searched, *words, "--force")
    assert {path.name for path in folder.iterdir()} == {"README.md", "architecture.json"}


def test_only_files_with_the_scale_load_the_data(searched: Searched, folder: Path) -> None:
    plan = build_plan(parse(SPEC))

    class Unread(type(plan.data)):  # type: ignore[misc]
        def splits(self) -> Any:
            raise AssertionError("the data were loaded")

    objects = {"space": plan.space, "data": Unread()}
    same = {**searched.record.info["data"], "fingerprint": Unread().fingerprint}
    record = replace(searched.record, info={**searched.record.info, "data": same})
    export_trial(searched.store, record, searched.other, folder, ["json"], **objects)
    with pytest.raises(AssertionError, match="the data were loaded"):
        export_trial(searched.store, record, searched.other, folder / "more", ["torch"], **objects)


def test_places_that_are_no_folders_are_refused(searched: Searched, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecError, match="got the file"):
        place.checked_folder(tmp_path / "file", force=True)
    with pytest.raises(SpecError, match="there is no folder"):
        place.checked_folder(tmp_path / "no" / "where", force=False)


@pytest.mark.parametrize("there", [False, True])
def test_a_failure_leaves_nothing(
    searched: Searched, folder: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    def broken(work: Path, *_: object) -> None:
        (work / "network.onnx").write_text("half of it")
        raise EvaluationError("ONNX lacks it")

    def full(work: Path, *_: object) -> None:
        (work / "network.onnx").write_text("half of it")
        raise OSError(28, "No space left on device")

    if there:
        folder.mkdir()
    for failure, kind in ((broken, EvaluationError), (full, OutputError)):
        monkeypatch.setattr(onnx_files, "write_onnx", failure)
        with pytest.raises(kind):
            export_trial(searched.store, searched.record, searched.best, folder, ["onnx"])
        assert list(folder.parent.rglob("*")) == ([folder] if there else [])
