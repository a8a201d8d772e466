"""`netloom spaces NAME`: counts, published networks, drawings."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree


def test_a_space_shows_its_counts_and_published_networks(cli: Any) -> None:
    shown = json.loads(cli.run("spaces", "nb201", "--json").stdout)
    assert shown["networks"] == shown["counts"]["architectures"] == 15_625
    [resnet] = [row for row in shown["published"] if row["name"] == "ResNet"]
    assert (resnet["params"], resnet["macs"]) == (559_386, 78_561_920)
    assert shown["notation"] == "|op~0|+|op~0|op~1|+|op~0|op~1|op~2|"
    text = cli.run("spaces", "nb201").stdout
    assert "78,561,920" in text
    assert resnet["notation"] in text


def test_options_decide_what_is_shown(cli: Any) -> None:
    words = ("spaces", "nb201", "--option", "channels=4", "--option", "cells=1", "--json")
    [resnet] = [r for r in json.loads(cli.run(*words).stdout)["published"] if r["name"] == "ResNet"]
    assert resnet["params"] < 559_386 // 10
    error = cli.run("spaces", "nb201", "--option", "chanels=4", code=2).stderr
    assert "did you mean channels" in error


def test_a_space_of_ones_own_is_shown_too(cli: Any) -> None:
    shown = json.loads(cli.run("spaces", f"{cli.module}:Toy", "--json").stdout)
    assert shown["networks"] == 24
    assert shown["published"] == []


def test_a_network_is_drawn(cli: Any, tmp_path: Any) -> None:
    file = tmp_path / "cell.svg"
    words = ("spaces", "nb201", "--option", "preset=tiny", "--draw", str(file))
    cli.run(*words)
    first = file.read_text("utf-8")
    assert ElementTree.fromstring(first).tag.endswith("svg")
    cell = "|none~0|+|none~0|none~1|+|none~0|none~1|avg_pool_3x3~2|"
    cli.run(*words, "--arch", cell)
    assert "AvgPool" in file.read_text("utf-8")
    assert file.read_text("utf-8") != first


def test_what_a_drawing_needs(cli: Any) -> None:
    assert "name it first" in cli.run("spaces", "--draw", "x.svg", code=2).stderr
    assert "add --draw" in cli.run("spaces", "nb201", "--arch", "ResNet", code=2).stderr
    toy = cli.run("spaces", f"{cli.module}:Toy", "--draw", "x.svg", code=2).stderr
    assert "gives no parts" in toy
