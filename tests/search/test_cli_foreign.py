"""Every command on a search with a published network of another space among its fixed points."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from netloom.dashboard.pages import shell
from netloom.dashboard.source import Source
from netloom.spaces.zoo.nats_sss import NatsSSS

SPEC = """\
version: 1
name: mixed
space: {name: nb201, preset: tiny}
estimators: [complexity, {name: hardware, devices: [cpu_generic]}]
strategy: random
fixed: [nats_sss/BossNAS, ResNet]
objectives:
  - minimize: latency_ms@cpu_generic
  - maximize: macs
budget: {trials: 4}
baseline: false
"""
NAME = "nats_sss/BossNAS"


@pytest.fixture
def mixed(cli: Any) -> Any:
    cli.spec.write_text(SPEC, encoding="utf-8")
    cli.search("--quiet")
    return cli


def facts(cli: Any, *words: str) -> dict[str, str]:
    """Return what `netloom show` prints, label -> value."""
    lines = cli.stored("show", "mixed", *words).stdout.splitlines()
    return dict(re.split(r"  +", line, maxsplit=1) for line in lines)


def test_lists_and_fronts_name_it(mixed: Any) -> None:
    shown = facts(mixed)
    assert (shown["fixed"], shown["trials"]) == (f"{NAME}, nb201/ResNet", "4 done")
    one, own = facts(mixed, "--trial", "0"), facts(mixed, "--trial", "1")
    assert (one["fixed"], one["space"]) == (NAME, "nats_sss, not nb201")
    assert one["key"].startswith("nats_sss-")
    assert own["fixed"] == "nb201/ResNet"
    assert "space" not in own
    assert NAME in [entry["fixed"] for entry in mixed.json("pareto", "mixed")["front"]]
    for words in (
        ("pareto", "mixed"),
        ("pareto", "mixed", "--format", "csv"),
        ("report", "mixed", "--format", "md"),
        ("report", "mixed", "--format", "json"),
        ("trials", "export", "mixed", "--format", "csv"),
    ):
        assert NAME in mixed.stored(*words).stdout


def test_it_is_evaluated_again_and_on_another_device(mixed: Any) -> None:
    again = mixed.json("repro", "mixed", "--trial", "0")
    assert again["status"] == "done"
    assert again["metrics"] == again["stored"]
    added = mixed.json("rescore", "mixed", "--device", "eyeriss_168")
    assert (added["architectures"], added["added"], added["failed"]) == (6, 6, {})
    words = ("--objective", "latency_ms@eyeriss_168", "--objective", "maximize:macs")
    front = mixed.json("pareto", "mixed", *words)["front"]
    assert NAME in [entry["fixed"] for entry in front]
    explained = mixed.json("explain", "mixed", "--trial", "0", "--device", "eyeriss_168")
    assert explained[0]["drawn"]
    assert explained[0]["devices"]["eyeriss_168"]["error"] is None


def test_pages_show_it(mixed: Any) -> None:
    def page(path: str, search: str = "") -> str:
        made = shell._page(Source(mixed.store), path, search)
        return json.dumps(made, default=lambda part: part.to_plotly_json())

    assert "mixed" in page("/exp/mixed")
    assert NAME in page("/exp/mixed/trial/0", "?beside=1")


def test_a_larger_budget_goes_on(mixed: Any) -> None:
    mixed.stored("resume", "mixed", "--set", "budget.trials=6", "--quiet")
    shown = facts(mixed)
    assert (shown["fixed"], shown["trials"]) == (f"{NAME}, nb201/ResNet", "6 done")


def test_trials_go_to_another_store(mixed: Any) -> None:
    mixed.stored("trials", "export", "mixed", "-o", "trials.jsonl")
    lines = (mixed.folder / "trials.jsonl").read_text("utf-8").splitlines()
    assert json.loads(lines[1])["tags"]["fixed_space"]["name"] == "nats_sss"
    mixed.stored("trials", "import", "trials.jsonl", "--name", "copy")
    one, other = mixed.json("pareto", "mixed"), mixed.json("pareto", "copy")
    assert one == other
    added = mixed.json("rescore", "copy", "--device", "eyeriss_168")
    assert (added["added"], added["failed"]) == (6, {})


def test_it_is_exported_from_its_own_space(mixed: Any) -> None:
    mixed.stored("export", "mixed", "--trial", "0", "-o", "out", "--format", "json")
    values = json.loads((mixed.folder / "out" / "architecture.json").read_text("utf-8"))
    assert values["trial"]["published"] == NAME
    space = NatsSSS()
    assert values["space"]["fingerprint"] == space.fingerprint
    assert space.options.items() <= values["space"].items()
    assert values["notation"] == space.format(space.published()["BossNAS"])
    text = (mixed.folder / "out" / "README.md").read_text("utf-8")
    assert f"`{NAME}`, a published network of the space `nats_sss`" in text


def test_a_spec_is_validated_with_it(mixed: Any) -> None:
    mixed.run("validate", str(mixed.spec))
    mixed.spec.write_text(SPEC.replace(NAME, "nats_sss/BossNet"), encoding="utf-8")
    said = mixed.run("validate", str(mixed.spec), code=2).stderr
    assert "toy.yaml:6:9: fixed[0]: a fixed point must be a published network of nats_sss" in said
    assert "did you mean BossNAS?" in said
