"""`trials export | import`: what travels, and what a changed file is told."""

from __future__ import annotations

import json
from typing import Any

import pytest


def exported(cli: Any, name: str = "toy") -> list[dict[str, Any]]:
    """Return the lines of an export as values."""
    text = cli.stored("trials", "export", name).stdout
    return [json.loads(line) for line in text.splitlines()]


def taken_in(cli: Any, lines: list[dict[str, Any]], *words: str, code: int = 0) -> Any:
    """Import lines into the same store."""
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    (cli.folder / "t.jsonl").write_text(text, encoding="utf-8")
    return cli.stored("trials", "import", "t.jsonl", *words, code=code)


def test_an_import_has_a_front_and_takes_a_free_name(cli: Any) -> None:
    cli.search("--quiet")
    result = taken_in(cli, exported(cli))
    assert result.stdout == "toy-2\n"
    assert "the name toy was taken; these are toy-2" in result.stderr
    first, second = cli.json("list")
    assert second["summary"]["front"] == first["summary"]["front"]
    assert second["summary"]["hypervolume"] == first["summary"]["hypervolume"]
    assert second["summary"]["reason"] == "imported"


def test_parents_follow_their_children(cli: Any) -> None:
    """An export leaves unfinished trials out; the others are numbered anew."""
    cli.search("--quiet", "--set", "constraints=[]")
    head, *trials = exported(cli)
    trials[4]["parent"], trials[6]["parent"] = 3, 0
    taken_in(cli, [head, *reversed(trials[2:])], "--name", "part")
    _, *found = exported(cli, "part")
    assert [t["number"] for t in found] == list(range(6))
    assert [t["key"] for t in found] == [t["key"] for t in trials[2:]]
    assert [t["parent"] for t in found] == [None, None, 1, None, None, None]  # 0 is not in the file


@pytest.mark.parametrize(
    ("number", "changes", "message"),
    [
        (0, {"objectives": []}, "t.jsonl:1: objectives: must have at least 1 item, got []"),
        (
            0,
            {"objectives": [{"metric": "score", "direction": "maximise"}]},
            "t.jsonl:1: objective score: the direction must be maximize or minimize",
        ),
        (
            0,
            {"objectives": [{"metric": "scor", "direction": "maximize"}]},
            "t.jsonl:1: the experiment must declare its metrics, 'scor' is not one of them; did "
            "you mean score?",
        ),
        (0, {"constraints": [{"metric": "cost"}]}, "t.jsonl:1: constraints[0]: constraint on cost"),
        (0, {"name": "a/b"}, "t.jsonl:1: name: must match pattern"),
        (1, {"metrics": {"skore": 1.0}}, "t.jsonl:2: the experiment must declare its metrics"),
        (1, {"number": -1}, "t.jsonl:2: number and seed must not be negative"),
        (1, {"seed": 2**63}, "a seed has at most 63 bits"),
        (1, {"number": 1}, "t.jsonl:3: trial 1 stands in the file twice"),
    ],
)
def test_a_changed_file_is_refused_with_its_line(
    cli: Any, number: int, changes: dict[str, Any], message: str
) -> None:
    cli.search("--quiet")
    lines = exported(cli)
    part = lines[number]["experiment"] if number == 0 else lines[number]
    part.update(changes)
    assert message in taken_in(cli, lines, code=2).stderr
    assert [e["name"] for e in cli.json("list")] == ["toy"]


def test_a_name_is_checked_too(cli: Any) -> None:
    cli.search("--quiet")
    for name in ("", "a b", "x/y"):
        assert "must match pattern" in taken_in(cli, exported(cli), "--name", name, code=2).stderr


def test_csv_is_no_program_of_a_spreadsheet(cli: Any) -> None:
    cli.search("--quiet")
    lines = exported(cli)
    for line in lines[1:]:
        line["notation"] = "=2+2"
    cli.stored("delete", "toy", "--yes")
    cli.stored("gc")  # a store holds the notation of an architecture once
    taken_in(cli, lines, "--name", "formula")
    for words in (["pareto"], ["trials", "export"]):
        table = cli.stored(*words, "formula", "-f", "csv").stdout
        assert ",'=2+2" in table
        assert ",=2+2" not in table
    assert exported(cli, "formula")[1]["notation"] == "=2+2"  # for programs it stays


def test_a_number_that_no_trial_has(cli: Any) -> None:
    cli.search("--quiet")
    for number in ("99", str(2**70)):
        refused = cli.stored("show", "toy", "--trial", number, code=1)
        assert f"got {number}; those of this experiment are 0 to" in refused.stderr


def test_trials_that_lack_an_objective_are_on_no_front(cli: Any) -> None:
    cli.search("--quiet")
    lines = exported(cli)
    for line in lines[1::2]:
        line["metrics"].pop("cost", None)
    taken_in(cli, lines, "--name", "gaps")
    [record] = [each for each in cli.json("list") if each["name"] == "gaps"]
    found = [trial["trial"] for trial in cli.json("pareto", "gaps")["front"]]
    assert sorted(record["summary"]["front"]) == sorted(found)
    assert not set(found) & set(range(0, 8, 2))
