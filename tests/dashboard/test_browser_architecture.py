"""The page of one network in a real browser: from the front, and back."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from netloom.db.records import EXPLANATION

from .test_architecture import DOCUMENT, HOSTILE
from .test_browser import browser, page, place_of, site  # noqa: F401 (fixtures)

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


def explain(store: Any, record: Any, number: int, document: Any = DOCUMENT) -> None:
    with store.transaction() as transaction:
        transaction.add_details(record.id, number, EXPLANATION, document)


def test_from_the_front_to_a_network_and_back(page, site, store, real_looking):  # noqa: F811
    page.goto(f"{site}/exp/quickstart")
    page.wait_for_selector("#front-graph .scatterlayer .point")
    x, y, number = place_of(page, "#front-graph .js-plotly-plot", "front (", 5)
    page.mouse.click(x, y)
    page.get_by_role("link", name="Take it apart").click()
    page.wait_for_function(f"document.title == 'Trial {number} of quickstart · netloom'")
    page.get_by_text(f"netloom explain quickstart --trial {number}").wait_for()
    explain(store, real_looking, number)  # the page follows the store
    page.wait_for_selector("#layers-graph .barlayer .point")
    page.wait_for_selector("#memory-graph .scatterlayer")
    assert page.evaluate("document.querySelector('.picture img').naturalWidth") == 9
    page.get_by_text("the network needs 768").wait_for()
    for kind, start in (("png", b"\x89PNG"), ("svg", b"<svg")):
        with page.expect_download() as saved:
            page.locator(f"#arch-parts .files [data-save={kind}]").first.click()
        assert saved.value.suggested_filename == f"trial-{number}.{kind}"
        assert saved.value.path().read_bytes().startswith(start)
    page.get_by_role("link", name="beside this one").first.click()
    page.wait_for_selector("tr.differs")
    beside = int(re.search(r"beside=(\d+)", page.url)[1])
    page.get_by_text(f"netloom explain quickstart --trial {beside}").wait_for()
    page.go_back()
    page.wait_for_selector("tr.differs", state="detached")
    page.get_by_role("link", name="Back to the front").click()
    page.wait_for_selector(f"#details h2:has-text('Trial {number}')")


def test_the_url_chooses_device_and_neighbour(page, site, store, make, pairs):  # noqa: F811
    record = make(pairs([(80, 5), (85, 6), (90, 7)]))
    hostile = copy.deepcopy(DOCUMENT)
    hostile["networks"][0]["drawing"] = (
        "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)' width='9' height='9'>"
        "<script>alert(2)</script></svg>"
    )
    device = hostile["devices"]["board"]
    device["layers"]["name"] = device["memory"]["steps"]["op"] = [HOSTILE, HOSTILE]
    device["reasons"] = [{"text": HOSTILE}]
    hostile["devices"][HOSTILE] = device
    for number in (0, 1):
        explain(store, record, number, hostile)
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{site}/exp/toy/trial/1?beside=0&device=")
    page.get_by_role("heading", name="MACs by layer").wait_for()
    page.locator("#arch-device").click()
    page.get_by_text("board", exact=True).click()
    page.get_by_role("heading", name="Costs on board").wait_for()
    assert page.url.endswith("?beside=0&device=board")
    differing = [row.split("\t")[0] for row in page.locator("tr.differs").all_inner_texts()]
    assert differing == ["valid_accuracy", "latency_ms@pixel3", "edge1"]
    assert page.locator(".picture img").count() == 2
    assert page.locator("[role=figure]:has(.picture) [data-save]").all_inner_texts() == ["PNG"] * 2
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    picture = page.locator(".picture").first
    dark, white = picture.evaluate("box => getComputedStyle(box).backgroundColor"), "255, 255, 255"
    assert white not in dark
    page.goto(f"{site}/exp/toy/trial/1?device=nowhere")
    page.get_by_role("heading", name="Costs on").wait_for()
    shown = page.get_by_role("heading", name="Costs on").first.inner_text()
    page.locator("#arch-device", has_text=shown.removeprefix("Costs on ")).wait_for()
    page.goto(f"{site}/exp/toy/trial/1?beside=77")
    page.get_by_role("alert").get_by_text("77").wait_for()
    page.set_viewport_size({"width": 1280, "height": 900})
