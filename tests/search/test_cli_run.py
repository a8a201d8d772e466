"""`search`, `resume`, `stop`, `repro` and what is made of their results."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netloom.search.run.describe import versions

FAILING = ["--set", "constraints=[]", "--set", "budget.trials=24"]


def start(cli: Any, *words: str) -> subprocess.Popen[str]:
    """Start `netloom` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "netloom", *words],
        cwd=cli.folder,
        env=cli.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_results_go_to_stdout_and_everything_else_to_stderr(cli: Any) -> None:
    result = cli.search()
    assert result.stdout.startswith("trial  score  cost")
    assert "toy: " in result.stderr
    assert "netloom report toy" in result.stderr


def test_json_is_all_that_stdout_holds(cli: Any) -> None:
    value = json.loads(cli.search("--json").stdout)
    assert value["experiment"]["name"] == "toy"
    assert value["experiment"]["counts"]["done"] == 8
    assert value["reason"] == "budget"
    assert value["front"][0].keys() == {"trial", "fixed", "architecture", "notation", "metrics"}


def test_quiet_prints_the_name_alone_and_a_taken_name_says_so(cli: Any) -> None:
    assert cli.search("--quiet").stdout == "toy\n"
    second = cli.search("--quiet")
    assert second.stdout == "toy-2\n"
    assert "the name toy was taken; this run is toy-2" in second.stderr


def test_set_changes_the_spec(cli: Any) -> None:
    value = json.loads(cli.search("--json", "--set", "budget.trials=3", "--set", "seed=5").stdout)
    assert (value["experiment"]["counts"]["done"], value["experiment"]["seed"]) == (3, 5)


def test_a_dry_run_stores_nothing(cli: Any) -> None:
    result = cli.search("--dry-run")
    assert json.loads(result.stdout)["space"] == {"name": f"{cli.module}:Toy", "widths": 4}
    assert not (cli.folder / "store.db").exists()


def test_seeds_are_one_group_of_runs(cli: Any) -> None:
    lines = cli.search("--seeds", "0-1,4", "--json").stdout.splitlines()
    found = [json.loads(line)["experiment"] for line in lines]
    assert [(f["name"], f["seed"], f["group"]) for f in found] == [
        ("toy-s0", 0, "toy"),
        ("toy-s1", 1, "toy"),
        ("toy-s4", 4, "toy"),
    ]
    assert len(cli.json("list", "--group", "toy")) == 3
    assert "in the group 'toi'" in cli.stored("list", "--group", "toi").stderr


@pytest.mark.parametrize("seeds", ["a", "3-1", "1,1", "0-99999", ""])
def test_seeds_that_are_none(cli: Any, seeds: str) -> None:
    assert "--seeds" in cli.search("--seeds", seeds, code=2).stderr


def test_a_warm_start_proposes_the_other_front_first(cli: Any) -> None:
    cli.search("--quiet")
    front = {t["notation"] for t in cli.json("pareto", "toy")["front"]}
    cli.search("--warm-start", "toy", "--quiet", "--set", "seed=9")
    firsts = {cli.json("show", "toy-2", "--trial", str(n))["notation"] for n in range(len(front))}
    assert firsts == front
    for words in ([], ["--dry-run"]):
        assert "nosuch" in cli.search("--warm-start", "nosuch", *words, code=1).stderr
    words = ["toy.yaml", "--store", cli.store, "--set"]
    assert cli.run("validate", *words, "warm_start=nosuch", code=1).stdout == ""
    cli.run("validate", *words, "warm_start=toy")


def test_nothing_feasible_is_exit_code_3_with_the_reason(cli: Any) -> None:
    result = cli.search("--set", "constraints=[cost <= 0.5]", "--set", "budget.max_infeasible=10",
                        code=3)  # fmt: skip
    assert result.stdout == ""
    assert "cost <= 0.5" in result.stderr
    assert "nearest" in result.stderr


def test_failed_trials_are_exit_code_4_when_strict(cli: Any) -> None:
    words = [*FAILING, "--set", f"estimators=[{{name: '{cli.module}:fragile'}}]"]
    value = json.loads(cli.search(*words, "--json").stdout)
    assert value["experiment"]["counts"] == {"done": 12, "failed": 12}
    assert "12 trials failed" in cli.search(*words, "--strict", code=4).stderr


def test_a_search_of_which_every_trial_failed_says_why(cli: Any) -> None:
    words = ["--set", f"estimators=[{{name: '{cli.module}:worth', metrics: {{score: maximize}}}}]"]
    words += ["--set", "objectives=[{maximize: score}]", "--set", "constraints=[]"]
    told = cli.search(*words, "--quiet", code=1).stderr
    assert told.startswith("error: every trial failed, the first with EvaluationError: ")
    assert cli.json("list")[0]["status"] == "failed"


def test_a_failed_trial_can_be_repeated_with_its_traceback(cli: Any) -> None:
    cli.search(*FAILING, "--set", f"estimators=[{{name: '{cli.module}:fragile'}}]", "--quiet")
    trials = [
        json.loads(line) for line in cli.stored("trials", "export", "toy").stdout.splitlines()
    ]
    failed = next(t for t in trials[1:] if t["status"] == "failed")
    shown = cli.stored("show", "toy", "--trial", str(failed["number"])).stdout
    assert "tanh is broken" in shown
    again = cli.stored("repro", "toy", "--trial", str(failed["number"]), code=1)
    assert "ValueError: tanh is broken" in again.stderr
    assert "Traceback" in again.stderr
    done = next(t for t in trials[1:] if t["status"] == "done")
    good = cli.stored("repro", "toy", "--trial", str(done["number"]), "--json")
    value = json.loads(good.stdout)
    assert value["metrics"] == value["stored"]


def test_a_missing_package_is_exit_code_5(cli: Any) -> None:
    result = cli.search("--set", f"space={cli.module}:needs_more", code=5)
    assert "pip install wings" in result.stderr


def test_a_finished_run_goes_on_with_a_larger_budget(cli: Any) -> None:
    cli.search("--quiet")
    value = json.loads(cli.stored("resume", "toy", "--set", "budget.trials=12", "--json").stdout)
    assert value["experiment"]["counts"]["done"] == 12
    assert "budget only" in cli.stored("resume", "toy", "--set", "seed=3", code=2).stderr


def test_a_budget_is_never_cut_silently_nor_below_what_is_spent(cli: Any) -> None:
    cli.search("--quiet", "--set", "budget.time=1h")
    said = cli.stored("resume", "toy", "--set", "budget.trials=7", code=2).stderr
    assert "toy has spent 8 of budget.trials 8, got 7" in said
    assert cli.json("show", "toy")["spec"]["budget"]["trials"] == 8
    words = ["--set", "budget.time=30m", "--set", "budget.trials=9"]
    said = cli.stored("resume", "toy", *words, "--quiet").stderr
    assert said == "budget.time is 1800 from now on; it was 3600\n"
    assert cli.json("show", "toy")["counts"]["done"] == 9


def test_seeds_that_were_not_started_are_named(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from netloom.search.run.runner import Runner

    real, seen = Runner.run, []

    def interrupted(self: Any, **options: Any) -> Any:
        seen.append(self.plan.name)
        summary = real(self, **options)
        return dataclasses.replace(summary, reason="interrupted", exit_code=130)

    monkeypatch.setattr(Runner, "run", interrupted)
    said = cli.search("--seeds", "3,7,11", "--set", "budget.trials=4", "--quiet", code=130).stderr
    assert seen == ["toy-s3"]
    assert "not started: toy-s7, toy-s11; run them with: netloom search " in said
    assert "--set budget.trials=4" in said
    assert said.rstrip().endswith("--seeds 7,11")


def test_data_of_a_relative_path_is_found_from_elsewhere(
    cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = np.zeros((60, 1, 4, 4), dtype=np.float32), np.arange(60) % 2
    np.savez(cli.folder / "d.npz", x=x, y=y)
    judge = "from netloom.estimators import declares\n\n\n@declares({'score': 'maximize'})\n"
    judge += "def score(architecture, data):\n    return {'score': len(data.load().train.x)}\n"
    (cli.folder / f"judge_{cli.module}.py").write_text(judge, encoding="utf-8")
    words = ["--set", f"estimators=['judge_{cli.module}:score']", "--set", "constraints=[]"]
    words += ["--set", "objectives=[{maximize: score}]", "--set", "data={name: npz, path: d.npz}"]
    cli.search("--quiet", *words, "--set", "budget.trials=2", "--set", "runner.engine=inline")
    stored = cli.json("show", "toy")["spec"]["data"]
    assert stored["path"] == str(cli.folder / "d.npz")
    elsewhere = cli.folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    cli.stored("resume", "toy", "--quiet", "--set", "budget.trials=4")
    assert cli.json("show", "toy")["counts"]["done"] == 4


SLOW = ["--set", "constraints=[]", "--set", "strategy.batch=1", "--set", "budget.trials=24"]


def test_ctrl_c_is_exit_code_130_and_resumable(cli: Any) -> None:
    slow = f"estimators=[{cli.module}:slow]"
    process = start(cli, "search", "toy.yaml", *SLOW, "--set", slow)
    deadline = time.monotonic() + 60
    while _finished(cli) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "netloom resume toy" in errors
    assert "Traceback" not in errors
    [found] = cli.json("list")
    assert found["status"] == "interrupted"
    assert 2 <= found["counts"]["done"] < 24
    words = ["--set", "budget.trials=10", "--json"] if found["counts"]["done"] < 10 else ["--json"]
    assert json.loads(cli.stored("resume", "toy", *words).stdout)["experiment"]["status"] == "done"


def _finished(cli: Any) -> int:
    try:
        return sum(e["counts"].get("done", 0) for e in cli.json("list"))
    except AssertionError:  # the store is not there yet
        return 0


def test_stop_reaches_a_run_and_nothing_else(cli: Any) -> None:
    cli.search("--quiet")
    assert "only a running experiment" in cli.stored("stop", "toy", code=2).stderr
    slow = f"estimators=[{cli.module}:slow]"
    process = start(cli, "search", "toy.yaml", *SLOW, "--set", slow, "--set", "name=other")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(cli.json("list")) < 2:
        time.sleep(0.1)
    cli.stored("stop", "other")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "was stopped" in errors
    assert sum(cli.json("show", "other")["counts"].values()) < 24


def test_a_run_whose_process_was_killed_is_called_interrupted(cli: Any) -> None:
    slow = f"estimators=[{cli.module}:slow]"
    process = start(cli, "search", "toy.yaml", *SLOW, "--set", slow)
    deadline = time.monotonic() + 60
    while _finished(cli) < 1 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert cli.json("list")[0]["status"] == "running"
    process.kill()
    process.communicate(timeout=60)
    assert cli.json("list")[0]["status"] == cli.json("show", "toy")["status"] == "interrupted"
    assert "toy is interrupted" in cli.stored("stop", "toy", code=2).stderr


def test_pareto_in_three_shapes(cli: Any) -> None:
    cli.search("--quiet")
    value = json.loads(cli.stored("pareto", "toy", "--format", "json").stdout)
    assert list(value) == ["front"]
    assert value == cli.json("pareto", "toy")
    assert value["front"][0]["architecture"].keys() == {"width", "depth", "act"}
    rows = list(csv.DictReader(io.StringIO(cli.stored("pareto", "toy", "-f", "csv").stdout)))
    assert [int(r["trial"]) for r in rows] == [t["trial"] for t in value["front"]]
    assert float(rows[0]["score"]) == value["front"][0]["metrics"]["score"]
    table = cli.stored("pareto", "toy").stdout.splitlines()
    assert len(table) == len(rows) + 1
    assert cli.stored("pareto", "toy", "-f", "xml", code=2).stdout == ""


def test_experiments_are_found_by_name_id_and_prefix(cli: Any) -> None:
    cli.search("--quiet")
    full = cli.json("show", "toy")
    assert {"spec", "versions", "metrics", "info"} <= full.keys()
    assert cli.json("show", full["id"])["name"] == "toy"
    assert cli.json("show", full["id"][:5])["name"] == "toy"
    missing = cli.stored("show", "tyo", code=1).stderr
    assert missing.startswith("error: ")
    assert missing.count("\n") == 1
    assert (
        "has no" in missing or "got 99" in cli.stored("show", "toy", "--trial", "99", code=1).stderr
    )


def test_list_says_what_there_is(cli: Any) -> None:
    assert "error: " in cli.stored("list", code=1).stderr
    cli.search("--quiet", "--set", "tags=[first]", "--set", "baseline=true")
    [found] = cli.json("list")
    assert {"name", "id", "status"} <= found.keys()
    assert [e["kind"] for e in json.loads(cli.stored("list", "--all", "--json").stdout)] == [
        "search",
        "baseline",
    ]
    text = cli.stored("list").stdout
    assert "first" in text
    assert "8/8" in text


def test_the_store_comes_from_option_environment_or_spec(
    cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.search("--quiet")
    monkeypatch.setenv("NETLOOM_STORE", cli.store)
    assert [e["name"] for e in json.loads(cli.run("list", "--json").stdout)] == ["toy"]
    other = f"sqlite:///{cli.folder / 'other.db'}"
    cli.run("search", "toy.yaml", "--set", f"store={other}", "--quiet")
    assert (cli.folder / "other.db").exists()
    assert len(json.loads(cli.run("list", "--json").stdout)) == 1
    monkeypatch.delenv("NETLOOM_STORE")
    cli.run("search", "toy.yaml", "--quiet")
    assert (cli.folder / "netloom.db").exists()


def test_a_store_that_is_none_is_wrong_usage(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "did you mean sqlite:///foo" in cli.run("list", "--store", "foo", code=2).stderr
    monkeypatch.setenv("NETLOOM_STORE", "mysql://host/name")
    told = cli.run("validate", "toy.yaml", code=2).stderr
    assert told.startswith("error: a store is sqlite:///FILE or postgresql://")


def test_a_password_is_neither_printed_nor_stored(cli: Any) -> None:
    words = ["toy.yaml", "--store", "postgresql://me:secret@host/db"]
    for command in (["validate", *words, "--json"], ["search", *words, "--dry-run"]):
        told = cli.run(*command).stdout
        assert "postgresql://me:***@host/db" in told
        assert "secret" not in told
    assert "secret" not in str(versions(["netloom", "search", *words]))


def test_a_report_is_one_file(cli: Any) -> None:
    cli.search("--quiet")
    assert cli.stored("report", "toy").stdout == "toy.html\n"
    assert "plotly" in (cli.folder / "toy.html").read_text(encoding="utf-8")
    assert "no folder" in cli.stored("report", "toy", "-o", "nowhere/r.html", code=2).stderr
    assert "folder" in cli.stored("report", "toy", "-o", str(cli.folder), code=2).stderr


def test_a_picture_needs_a_browser(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cli.search("--quiet")
    monkeypatch.setenv("PATH", str(cli.folder))
    told = cli.stored("report", "toy", "-o", "front.PNG", code=5).stderr
    assert "apt-get install chromium" in told


def test_trials_travel_as_text(cli: Any) -> None:
    cli.search("--quiet")
    cli.stored("trials", "export", "toy", "-o", "t.jsonl")
    other = f"sqlite:///{cli.folder / 'other.db'}"
    assert cli.run("trials", "import", "t.jsonl", "--name", "copy", "--store", other).stdout == (
        "copy\n"
    )
    front = json.loads(cli.run("pareto", "copy", "--json", "--store", other).stdout)
    assert [t["metrics"] for t in front["front"]] == [
        t["metrics"] for t in cli.json("pareto", "toy")["front"]
    ]
    rows = list(csv.DictReader(io.StringIO(
        cli.stored("trials", "export", "toy", "--format", "csv").stdout)))  # fmt: skip
    assert len(rows) == sum(cli.json("show", "toy")["counts"].values())


def _changed(lines: list[str], number: int, **changes: Any) -> str:
    value = json.loads(lines[number]) | changes
    return "\n".join([*lines[:number], json.dumps(value), *lines[number + 1 :]])


def test_a_changed_file_of_trials_is_refused_whole(cli: Any) -> None:
    cli.search("--quiet")
    lines = cli.stored("trials", "export", "toy").stdout.splitlines()
    other = ["--store", f"sqlite:///{cli.folder / 'other.db'}"]
    texts = {
        "bad.jsonl:1: the first line must name format 1": _changed(lines, 0, netloom_trials=9),
        "bad.jsonl:2: the key is not that": _changed(lines, 1, architecture={"width": 1}),
        "bad.jsonl:2: status must be one of": _changed(lines, 1, status="running"),
        "bad.jsonl:2: nubmer: unknown key; did you mean number": _changed(lines, 1, nubmer=1),
        "bad.jsonl:3: a line must be JSON": "\n".join([*lines[:2], "{"]),
        "bad.jsonl:2: a line must be a JSON object": "\n".join([lines[0], "3"]),
        "bad.jsonl is empty": "",
    }
    for message, text in texts.items():
        Path("bad.jsonl").write_text(text, encoding="utf-8")
        assert message in cli.run("trials", "import", "bad.jsonl", *other, code=2).stderr
    assert "does not exist" in cli.run("trials", "import", "none.jsonl", *other, code=2).stderr


def test_deleting_asks_first(cli: Any) -> None:
    cli.search("--quiet")
    assert "add --yes" in cli.stored("delete", "toy", code=2).stderr
    cli.stored("delete", "toy", "--yes")
    assert cli.json("list") == []
    assert cli.json("gc")["architectures"] > 0


def test_the_store_is_checked_and_upgraded(cli: Any) -> None:
    cli.search("--quiet")
    assert cli.json("db", "check")["ok"]
    assert "problems     0" in cli.stored("db", "check").stdout
    assert "is current" in cli.stored("db", "upgrade").stdout
    assert "error: " in cli.run("db", "check", "--store", "sqlite:///none.db", code=1).stderr


def test_doctor_looks_at_every_plug_in(tmp_path: Path) -> None:
    (tmp_path / "doctored.py").write_text("space = object()\ndevice = '/no/such/device.yaml'\n")
    info = tmp_path / "doctored-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: doctored\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[netloom.spaces]\nfine = doctored:space\nnb201 = doctored:space\n"
        "[netloom.datasets]\nlost = no_such_module:Data\n"
        "[netloom.devices]\nmissing = doctored:device\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "netloom", "doctor", "--json"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    findings = {f["what"]: f for f in json.loads(done.stdout)["findings"]}
    assert findings["plug-in spaces fine"]["state"] == "ok"
    for name, words in (
        ("spaces nb201", "netloom's own"),
        ("datasets lost", "No module named 'no_such_module'"),
        ("devices missing", "/no/such/device.yaml cannot be read"),
    ):
        finding = findings[f"plug-in {name}"]
        assert finding["state"] == "problem"
        assert words in finding["details"]


def test_doctor_looks_at_everything(cli: Any) -> None:
    cli.search("--quiet")
    found = json.loads(cli.stored("doctor", "--json").stdout)
    states = {f["what"]: f["state"] for f in found["findings"]}
    assert states["torch"] == states["ray tune"] == states["store"] == "ok"
    broken = cli.run("doctor", "--store", "mysql://x", code=1)
    assert "store" in broken.stderr


def test_unexpected_errors_are_one_line_and_debug_shows_more(
    cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def boom(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("netloom.search.run.spec.load_spec", boom)
    plain = cli.run("validate", "toy.yaml", code=1).stderr
    assert plain.splitlines()[0] == "error: RuntimeError: two lines"
    assert "--debug" in plain
    assert "Traceback" in cli.run("--debug", "validate", "toy.yaml", code=1).stderr


def test_a_closed_pipe_is_no_error(cli: Any) -> None:
    cli.search("--quiet")
    command = f"{sys.executable} -m netloom trials export toy | head -n 1"
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=cli.folder,
        env=cli.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith('{"netloom_trials"')
    assert done.stderr == ""
    assert os.path.exists(cli.folder / "store.db")
