"""Networks of the front in a report."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from netloom.dashboard import front
from netloom.dashboard.report import report_html
from netloom.dashboard.report_networks import SHOWN, chosen
from netloom.db.records import EXPLANATION

from .test_architecture import DOCUMENT, HOSTILE


@pytest.fixture
def report(store: Any, make: Any, pairs: Any) -> Any:
    """Give the section of a report on eight networks, with what is stored of some."""

    def report(documents: dict[int, Any]) -> str:
        record = make(pairs([(80 + i, 1 + i) for i in range(8)]))
        with store.transaction() as transaction:
            for number, document in documents.items():
                transaction.add_details(record.id, number, EXPLANATION, document)
        text = report_html(store, "toy")
        found = re.search(r"<h2>Networks of the front</h2>.*?</section>", text, re.DOTALL)
        return found[0] if found else ""

    return report


def test_the_chosen_ones_reach_from_end_to_end(store: Any, make: Any, pairs: Any) -> None:
    make(pairs([(80 + i, 1 + i) for i in range(8)]))
    members = front(store, "toy")
    assert [trial.number for trial in chosen(members)] == [0, 2, 4, 5, 7]
    assert len(chosen(members)) == SHOWN
    assert [trial.number for trial in chosen(members[:3])] == [0, 1, 2]
    assert chosen([]) == []


def test_networks_are_drawn_with_their_costs(report: Any) -> None:
    text = report(dict.fromkeys(range(8), DOCUMENT))
    assert "5 of 8, from one end of the front to the other" in text
    assert re.findall(r"<h3>Trial (\d)", text) == ["0", "2", "4", "5", "7"]
    assert text.count('<img src="data:image/svg+xml;base64,') == 5
    assert "does not fit<br><small>board has 100 bytes of SRAM" in text
    assert "compute 67 %, memory 33 %" in text
    assert "conv 2 ms, relu 1 ms" in text
    assert "is stored by" not in text


def test_what_is_missing_names_its_command(report: Any) -> None:
    text = report({7: DOCUMENT})
    assert re.findall(r"<h3>Trial (\d)", text) == ["7"]
    assert "<code>netloom explain toy --front</code>" in text


def test_nothing_stored_is_no_section(report: Any) -> None:
    assert report({}) == ""


def test_hostile_names_are_text(report: Any) -> None:
    hostile = copy.deepcopy(DOCUMENT)
    hostile["networks"][0] |= {"name": HOSTILE, "drawing": f"<svg>{HOSTILE}</svg>"}
    device = hostile["devices"]["board"]
    device["layers"]["name"] = [HOSTILE, HOSTILE]
    device["reasons"] = [{"text": HOSTILE}]
    hostile["devices"] = {HOSTILE: device}
    text = report({0: hostile, 7: {"networks": [], "reason": HOSTILE, "devices": {}}})
    assert "<script" not in text
    assert "<img src=x" not in text
    assert "&lt;script&gt;" in text
