"""Tags, names and the archive of experiments from the command line."""

from __future__ import annotations

import json
from typing import Any


def names(cli: Any, *words: str) -> list[str]:
    return [row["name"] for row in cli.json("list", *words)]


def test_tags_are_added_removed_and_printed(cli: Any) -> None:
    cli.search("--quiet")
    assert "no tags" in cli.stored("tag", "toy").stderr
    assert cli.stored("tag", "toy", "+paper", "+cheap", "+paper").stdout == "paper cheap\n"
    # -cheap holds the letter of -h, -paperback that of no option: both are words
    assert cli.stored("tag", "toy", "-cheap", "-paperback", "+v2").stdout == "paper v2\n"
    assert cli.json("tag", "toy") == ["paper", "v2"]
    assert json.loads(cli.stored("show", "toy", "--json").stdout)["tags"] == ["paper", "v2"]


def test_words_that_are_no_tags_are_refused(cli: Any) -> None:
    cli.search("--quiet")
    assert "write +paper" in cli.stored("tag", "toy", "paper", code=2).stderr
    assert "use netloom archive" in cli.stored("tag", "toy", "+archived", code=1).stderr
    for word in ("+", "+a b", "+a,b", "+" + "x" * 61, "-\x1b[31m"):
        assert "a tag is one printable word" in cli.stored("tag", "toy", word, code=1).stderr
    assert cli.json("tag", "toy") == []


def test_another_name_keeps_the_id(cli: Any) -> None:
    cli.search("--quiet")
    cli.search("--quiet")
    id = cli.json("show", "toy")["id"]
    cli.stored("rename", "toy", "paper table 2")
    assert cli.json("show", "paper table 2")["id"] == id
    assert names(cli) == ["paper table 2", "toy-2"]
    taken = cli.stored("rename", "toy-2", "paper table 2", code=1).stderr
    assert "another one has; choose another" in taken
    assert "printable characters" in cli.stored("rename", "toy-2", "a\nb", code=1).stderr
    cli.stored("rename", "toy-2", "toy-2")  # its own name is free


def test_the_archive_leaves_lists_alone_and_loses_nothing(cli: Any) -> None:
    cli.search("--quiet")
    cli.search("--quiet")
    cli.stored("tag", "toy", "+old")
    cli.stored("archive", "toy")
    assert names(cli) == ["toy-2"]
    assert names(cli, "--archived") == ["toy", "toy-2"]
    assert cli.json("show", "toy")["tags"] == ["old", "archived"]
    cli.stored("archive", "toy", "--undo")
    assert names(cli) == ["toy", "toy-2"]
    assert cli.json("tag", "toy") == ["old"]


def test_an_archived_search_takes_its_baseline_along(cli: Any) -> None:
    cli.search("--quiet", "--set", "baseline=true")
    assert names(cli, "--all") == ["toy", "toy-random"]
    cli.stored("archive", "toy")
    assert names(cli, "--all") == []
    assert names(cli, "--all", "--archived") == ["toy", "toy-random"]
