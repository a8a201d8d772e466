"""The report as Markdown, CSV and JSON: what scripts read, and what a paper takes over."""

from __future__ import annotations

import csv
import io
import json

import pytest

from netloom.dashboard.report_formats import _finite, report_text
from netloom.errors import StoreError

HOSTILE = "<script>alert(1)</script> `code` ![x](y) | bar\nline"
FRONT = [(90, 5), (95, 9), (80, 7)]  # the last is beaten by the first


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_csv_of_the_front_has_units_in_its_head(store, make, pairs):
    make(pairs(FRONT))
    found = rows(report_text(store, ["toy"], "csv"))
    assert [(r["trial"], r["valid_accuracy (%)"], r["latency_ms@pixel3"]) for r in found] == [
        ("0", "90.0", "5.0"),
        ("1", "95.0", "9.0"),
    ]
    assert list(found[0])[-3:] == ["notation", "fixed", "key"]


def test_csv_of_every_trial(store, make, pairs, trial):
    make([*pairs(FRONT), trial(3, status="failed", error="out of memory", duration_s=None)])
    found = rows(report_text(store, ["toy"], "csv", all=True))
    assert [r["status"] for r in found] == ["done", "done", "done", "failed"]
    assert (found[3]["valid_accuracy (%)"], found[3]["duration_s"]) == ("", "")
    assert found[2]["duration_s"] == "0.25"


def test_csv_of_several_experiments_names_them(store, make, pairs):
    make(pairs(FRONT))
    make(pairs([(91, 1)]), "other")
    found = rows(report_text(store, ["toy", "other"], "csv"))
    assert [(r["experiment"], r["trial"]) for r in found] == [
        ("toy", "0"),
        ("toy", "1"),
        ("other", "0"),
    ]


def test_json_has_what_a_script_needs(store, make, pairs, trial):
    record = make([*pairs(FRONT), trial(3, status="failed", error="out of memory")])
    value = json.loads(report_text(store, ["toy"], "json"))
    (found,) = value["experiments"]
    assert value["format"] == 1
    assert (found["id"], found["name"], found["status"]) == (record.id, "toy", "done")
    assert [t["trial"] for t in found["front"]] == [0, 1]
    assert found["front"][0]["architecture"] == {"edge0": "nor_conv_3x3", "edge1": 0}
    assert found["best"] == {"valid_accuracy": 95.0, "latency_ms@pixel3": 5.0}
    assert found["reference"] == pytest.approx(  # the worst and 10 % of the range beyond
        {"valid_accuracy": 80 - 1.5, "latency_ms@pixel3": 9 + 0.4}
    )
    assert found["hypervolume"] == pytest.approx((95 - 78.5) * 0.4 + (90 - 78.5) * (9 - 5))
    assert found["failures"] == [{"reason": "out of memory", "trials": [3]}]
    assert found["metrics"][0]["unit"] == "%"
    assert found["baseline"] is None
    assert "trials" not in found


def test_json_of_every_trial_in_a_stable_order(store, make, pairs):
    make(pairs(FRONT))
    text = report_text(store, ["toy"], "json", all=True)
    (found,) = json.loads(text)["experiments"]
    assert [(t["trial"], t["status"], t["violation"]) for t in found["trials"]] == [
        (0, "done", 0.0),
        (1, "done", 0.0),
        (2, "done", 0.0),
    ]
    assert text == report_text(store, ["toy"], "json", all=True)


def test_json_names_the_baseline(store, real_looking):
    (found,) = json.loads(report_text(store, ["quickstart"], "json"))["experiments"]
    assert found["baseline"]["experiment"] == "quickstart-random"
    assert found["baseline"]["verdict"] in ("ahead", "behind", "level", "too few")
    assert found["notes"][0]["text"] == found["baseline"]["sentence"]


@pytest.mark.parametrize("shape", ["md", "csv", "json"])
def test_an_experiment_without_a_result(store, make, shape):
    make([], "empty", status="running")
    text = report_text(store, ["empty"], shape)
    if shape == "json":
        (found,) = json.loads(text)["experiments"]
        assert (found["front"], found["hypervolume"], found["best"]) == (
            [],
            None,
            {"valid_accuracy": None, "latency_ms@pixel3": None},
        )
    elif shape == "csv":
        assert text == "trial,notation,fixed,key"
    else:
        assert "## Front" not in text


def test_markdown_has_headline_front_and_provenance(store, make, pairs):
    make(pairs(FRONT), constraints=({"metric": "latency_ms@pixel3", "max": 20.0},))
    text = report_text(store, ["toy"], "md")
    assert text.startswith("# toy (done)\n\nmax valid_accuracy, min latency_ms@pixel3\n")
    assert "- networks on the front: **2**" in text
    assert "| trial | valid_accuracy (%) ↑ | latency_ms@pixel3 ↓ | architecture |" in text
    assert r"| 0 | 90 | 5 | `\|nor_conv_3x3~0\|+\|skip~0\|` |" in text
    assert "| valid_accuracy | % | maximize | valid | tabular |" in text
    # no data decide a latency
    latency = "| latency_ms@pixel3 | ms | minimize | – | tabular | measured · HW-NAS-Bench · 1 |"  # noqa: RUF001
    assert latency in text
    assert "| python | 3.11.7 |" in text


def test_what_the_store_holds_cannot_leave_its_cell(store, make, trial):
    numbers = {"valid_accuracy": 90.0, "latency_ms@pixel3": 5.0}
    versions = {"netloom": HOSTILE}
    make([trial(0, numbers, notation=HOSTILE)], versions=versions, strategy=HOSTILE)
    text = report_text(store, ["toy"], "md")
    assert r"strategy &lt;script>alert(1)&lt;/script> \`code\` !\[x\](y) | bar line" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| 0 |")]
    assert row == r"| 0 | 90 | 5 | `<script>alert(1)</script> 'code' ![x](y) \| bar line` |"


def test_an_unknown_experiment(store, make):
    make()
    with pytest.raises(StoreError, match="toy"):
        report_text(store, ["tyo"], "md")


def test_csv_is_no_program_of_a_spreadsheet(store, make, trial):
    numbers = {"valid_accuracy": 90.0, "latency_ms@pixel3": 5.0}
    for name in ("=1+1", "toy"):
        make([trial(0, numbers, notation="@SUM(1)")], name)
    head, *rows = csv.reader(io.StringIO(report_text(store, ["=1+1", "toy"], "csv")))
    assert [row[0] for row in rows] == ["'=1+1", "toy"]
    assert {row[head.index("notation")] for row in rows} == {"'@SUM(1)"}


def test_a_number_that_json_has_not_is_null():
    assert _finite({"a": [1, 2.5, (float("inf"), "x")], "b": None}) == {
        "a": [1, 2.5, [None, "x"]],
        "b": None,
    }
