"""`netloom report --format` and `netloom pareto --plot`."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest


@pytest.fixture
def searched(cli: Any) -> Any:
    cli.stored("search", "toy.yaml", "--quiet")
    return cli


def test_formats_for_programs_are_printed(searched: Any) -> None:
    (found,) = json.loads(searched.stored("report", "toy", "--format", "json").stdout)[
        "experiments"
    ]
    assert found["name"] == "toy"
    assert "trials" not in found
    rows = list(
        csv.DictReader(io.StringIO(searched.stored("report", "toy", "-f", "csv", "--all").stdout))
    )
    assert len(rows) == sum(found["counts"].values())
    assert searched.stored("report", "toy", "-f", "md").stdout.startswith("# toy (done)")


def test_the_ending_of_the_file_decides(searched: Any) -> None:
    shown = searched.stored("report", "toy", "-o", "front.CSV")
    assert shown.stdout == "front.CSV\n"
    text = (searched.folder / "front.CSV").read_text(encoding="utf-8")
    assert text.startswith("trial,score,")
    searched.stored("report", "toy", "-o", "front.txt", "-f", "md")
    assert (searched.folder / "front.txt").read_text(encoding="utf-8").startswith("# toy")


@pytest.mark.parametrize(
    ("file", "words", "said"),
    [
        ("a.txt", (), "use one of these endings, or add --format"),
        ("b.json", ("-f", "csv"), "ends with .json holds json, got b.json with --format csv"),
        ("c.png", ("-f", "html"), "leave --format out, or give the file another ending"),
    ],
)
def test_an_ending_that_says_something_else_is_refused(
    searched: Any, file: str, words: tuple[str, ...], said: str
) -> None:
    assert said in searched.stored("report", "toy", "-o", file, *words, code=2).stderr
    assert not (searched.folder / file).exists()


def test_all_is_for_programs(searched: Any) -> None:
    assert "csv or json" in searched.stored("report", "toy", "--all", code=2).stderr


def test_a_front_in_the_terminal(searched: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    text = searched.stored("pareto", "toy", "--plot").stdout
    assert text.startswith("score   better ↖\n")
    assert "◆ front" in text
    assert "\x1b" not in text
    assert max(len(line) for line in text.split("\n\n")[0].splitlines()) <= 60
    monkeypatch.setenv("COLUMNS", "10")
    assert "30 columns" in searched.stored("pareto", "toy", "--plot", code=2).stderr
    for words in (("--json",), ("--format", "csv")):
        assert "not both" in searched.stored("pareto", "toy", "--plot", *words, code=2).stderr


def test_without_a_front_it_says_why(searched: Any) -> None:
    words = ("--quiet", "--set", "constraints=['cost <= 0']", "--set", "name=none")
    searched.stored("search", "toy.yaml", *words, code=3)
    said = searched.stored("pareto", "none", "--plot").stderr
    assert said.startswith("none has no feasible architecture. None of ")
    assert "The binding one is cost ≤ 0: 0 of " in said
    assert "the closest: 1. Trial " in said
    said = searched.stored("pareto", "toy", "--constraint", "cost <= 0.5").stderr
    assert said.startswith("toy has no feasible architecture that keeps cost <= 0.5, too; the ")
    assert said.endswith("closest: cost 1\n")


def test_several_experiments_are_compared_first(searched: Any) -> None:
    searched.stored("search", "toy.yaml", "--quiet", "--set", "seed=5")
    searched.stored("search", "toy.yaml", "--quiet", "--set", "strategy.name=random")
    shown = searched.stored("report", "toy", "toy-2", "toy-3")
    assert shown.stdout == "comparison.html\n"
    text = (searched.folder / "comparison.html").read_text(encoding="utf-8")
    assert "Comparison of toy and 1 more and toy-3" in text  # two seeds, another strategy
    found = json.loads(searched.stored("report", "toy", "toy-3", "-f", "json").stdout)
    assert [each["name"] for each in found["experiments"]] == ["toy", "toy-3"]
    refused = searched.stored("report", "toy", "toy-2", "-o", "front.png", code=2).stderr
    assert "a picture shows the front of one experiment, got 2" in refused


@pytest.mark.parametrize(
    ("name", "file"),
    [("../../gone", "_.._gone.html"), ("/tmp/x", "_tmp_x.html"), ("..", "report.html")],
)
def test_the_name_of_an_experiment_is_no_path(searched: Any, name: str, file: str) -> None:
    searched.stored("rename", "toy", name)
    folder = sorted(searched.folder.parent.iterdir())
    assert searched.stored("report", name).stdout == f"{file}\n"
    assert (searched.folder / file).is_file()
    assert sorted(searched.folder.parent.iterdir()) == folder


def test_a_name_longer_than_a_file_may_be_called(searched: Any) -> None:
    searched.stored("rename", "toy", "\U0001d518" * 200)
    assert searched.stored("report", "\U0001d518").stdout == f"{chr(0x1D518) * 25}.html\n"
