"""The front in a real browser: choices live in the URL, selections reach the table, files leave."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace

import pytest

from .conftest import ACCURACY, EYERISS, LATENCY, PARAMS, cells
from .test_browser import browser, page, place_of, site  # noqa: F401 - fixtures

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]
STD = replace(ACCURACY, name="valid_accuracy_std", direction="minimize")
OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
LIMIT = {"metric": "latency_ms@eyeriss", "max": 6.0}
TRACES = "document.querySelector('#front-graph .js-plotly-plot')?._fullData"


@pytest.fixture
def search(make):
    """A search of 80 trials with generations, repeats, a constraint and two published networks."""
    names = ("nb201/ResNet", "nb201/GDAS")
    trials = [
        replace(
            trial,
            tags={"fixed": names[n]} if n < 2 else {"generation": n // 10},
            metrics={**trial.metrics, "valid_accuracy_std": 0.5},
        )
        for n, trial in enumerate(cells(80, 1, skill=1.0))
    ]
    trials[9] = replace(trials[9], notation="=HYPERLINK(1)", status="done", violation=0.0)
    info = {
        "decisions": [
            {"name": f"edge{n}", "options": list(OPERATIONS), "ordered": False} for n in range(6)
        ],
        "fixed": [{"name": name} for name in names],
    }
    metrics = (ACCURACY, LATENCY, EYERISS, PARAMS, STD)
    return make(trials, "search", constraints=(LIMIT,), info=info, metrics=metrics)


def shown(page):  # noqa: F811
    page.wait_for_selector("#front-graph .scatterlayer .point")


def test_a_link_reproduces_what_was_chosen(page, site, search):  # noqa: F811
    page.goto(f"{site}/exp/search")
    shown(page)
    page.get_by_label("infeasible", exact=True).uncheck()
    page.wait_for_function(f"!{TRACES}.some((trace) => trace.name.startsWith('infeasible'))")
    page.get_by_label("across", exact=True).check()
    page.locator("#colour").click()
    page.get_by_role("option", name="edge0").or_(
        page.get_by_text("edge0", exact=True)
    ).first.click()
    page.wait_for_selector("#front-graph .legend2text:has-text('nor_conv_3x3')")
    page.locator("#trials .ag-header-cell-label", has_text="params").click()
    page.wait_for_function("location.search.includes('sort=m3%3Aasc')")
    link = page.url
    assert {"hide=infeasible", "log=x", "color=decision%3Aedge0"} <= set(re.split("[?&]", link))
    page.goto(site)
    page.get_by_role("link", name="search").wait_for()
    page.goto(link)
    page.wait_for_selector("#front-graph .legend2text:has-text('nor_conv_3x3')")
    layout = "document.querySelector('#front-graph .js-plotly-plot')._fullLayout"
    assert page.evaluate(f"{layout}.xaxis.type") == "log"
    assert not page.get_by_label("infeasible", exact=True).is_checked()
    least = min(trial.metrics["params"] for trial in cells(80, 1, skill=1.0))
    first = page.locator("#trials .ag-center-cols-container .ag-row[row-index='0'] [col-id='m3']")
    first.get_by_text(f"{least:,.0f}", exact=True).wait_for()
    assert page.url == link
    page.go_back()
    page.get_by_role("link", name="search").wait_for()


def test_a_box_narrows_the_table_and_its_file(page, site, search):  # noqa: F811
    page.goto(f"{site}/exp/search")
    shown(page)
    page.locator("#front-graph [data-title='Box Select']").click()
    x, y, _ = place_of(page, "#front-graph .js-plotly-plot", "published (", 0)
    page.mouse.move(x - 8, y - 8)
    page.mouse.down()
    page.mouse.move(x + 8, y + 8, steps=4)
    page.mouse.up()
    page.locator("#region-words", has_text="of 80 trials selected").wait_for()
    page.wait_for_function("location.search.includes('select=')")
    count = int(page.inner_text("#region-words").split()[0])
    assert 1 <= count < 40
    page.wait_for_function(
        "(rows) => document.querySelectorAll("
        "'#trials .ag-center-cols-container .ag-row').length == Math.min(rows, 12) || rows > 9",
        arg=count,
    )
    with page.expect_download() as saved:
        page.locator("#trials-csv").click()
    rows = list(csv.reader(io.StringIO(saved.value.path().read_text())))
    assert len(rows) == 1 + count
    page.get_by_role("button", name="Select all again").click()
    page.wait_for_function("!location.search.includes('select=')")


def test_three_metrics_stand_in_space(page, site, search):  # noqa: F811
    page.goto(f"{site}/exp/search?z=params&color=tag%3Ageneration")
    page.wait_for_function(f"{TRACES}?.some((trace) => trace.type == 'scatter3d')")
    names = page.evaluate(f"{TRACES}.map((trace) => trace.name)")
    assert "attained" in names
    assert "latency_ms@eyeriss ≤ 6" not in names  # no axis of it
    page.locator("#front-words", has_text="The surface is what the front").wait_for()


def test_figures_and_tables_leave_as_files(page, site, search):  # noqa: F811
    page.goto(f"{site}/exp/search?trial=9")
    shown(page)
    page.wait_for_selector("#details h2:has-text('Trial 9')")
    texts = {}
    for kind in ("svg", "png", "html"):
        with page.expect_download() as saved:
            page.locator("#front-graph + .files").get_by_text(kind.upper(), exact=True).click()
        assert saved.value.suggested_filename == f"front.{kind}"
        texts[kind] = saved.value.path().read_bytes()
    assert b"<svg" in texts["svg"][:200]
    assert texts["png"].startswith(b"\x89PNG")
    assert b"Plotly.newPlot" in texts["html"]
    with page.expect_download() as saved:
        page.locator("#details .saved [data-save=csv]").first.click()
    rows = list(csv.reader(io.StringIO(saved.value.path().read_text())))
    assert saved.value.suggested_filename == "search-trial-9.csv"
    assert rows[0] == ["metric", "value", "source"]
    runs = {"-0.108 % → 2 %": False, "-1+x|' /C calc'!A0": True, "-1+HYPERLINK (1)": True}
    fill = "(cells, texts) => texts.forEach((text, n) => (cells[3 * n].textContent = text))"
    page.locator("#details .saved td").evaluate_all(fill, list(runs))
    with page.expect_download() as saved:
        page.locator("#details .saved [data-save=csv]").first.click()
    rows = list(csv.reader(io.StringIO(saved.value.path().read_text())))[1:4]
    assert [row[0] for row in rows] == [f"'{text}" if run else text for text, run in runs.items()]
    alone = saved.value.path().with_name("alone.html")
    alone.write_bytes(texts["html"])
    page.goto(alone.as_uri())
    page.wait_for_selector("#figure .scatterlayer .point")


def test_the_list_is_searched_sorted_and_linked(page, site, store, search, make):  # noqa: F811
    make([], "paper one", tags=("paper",))
    store.archive_experiment(make([], "old").id)
    page.goto(site)
    page.get_by_role("link", name="paper one").wait_for()
    assert page.get_by_role("link", name="old").count() == 0
    best = max(t.metrics["valid_accuracy"] for t in store.trial_records(search.id) if t.feasible)
    page.locator("#experiments [col-id='best']", has_text=f"{best:.4g} %").wait_for()
    page.get_by_label("archived too").check()
    page.get_by_role("link", name="old").wait_for()
    page.locator("#search-box").fill("paper")
    page.get_by_role("link", name="old").wait_for(state="detached")
    page.wait_for_function("location.search == '?q=paper&archived=1'")
    page.reload()
    page.get_by_text("1 experiment", exact=True).wait_for()
    assert page.locator("#search-box").input_value() == "paper"
    page.locator("#search-box").fill("nowhere")
    page.get_by_text("No experiment fits").wait_for()


def test_the_theme_is_chosen_and_kept(page, site, search):  # noqa: F811
    page.emulate_media(color_scheme="light")
    background = "getComputedStyle(document.body).backgroundColor"
    page.goto(site)
    page.get_by_role("link", name="search").wait_for()
    light = page.evaluate(background)
    switch = page.locator("#theme")
    switch.press("Enter")
    assert page.evaluate(background) == light
    switch.press("Enter")
    dark = page.evaluate(background)
    assert dark == "rgb(17, 21, 27)"
    page.reload()
    page.get_by_role("link", name="search").wait_for()
    assert page.evaluate(background) == dark
    switch.press("Enter")  # the system's again
    assert page.evaluate(background) == light


def test_the_front_fits_a_phone(page, site, search):  # noqa: F811
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{site}/exp/search?color=decision%3Aedge1&select=5%2C70%3B15%2C95")
    shown(page)
    page.locator("#region-words", has_text="selected").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_refusal_and_a_server_that_is_gone_are_said(browser, site, search):  # noqa: F811
    tab = browser.new_page()  # whose console may say it, too
    tab.goto(site)
    tab.get_by_role("link", name="search").wait_for()
    tab.route("**/_dash-update-component*", lambda route: route.abort())
    tab.get_by_role("alert").get_by_text("does not answer").wait_for()
    tab.unroute("**/_dash-update-component*")
    tab.get_by_role("alert").wait_for(state="detached")
    body = json.dumps({"output": "<b>x</b>"})
    tab.evaluate("(body) => fetch('/_dash-update-component', {method: 'POST', body})", body)
    tab.get_by_role("alert").get_by_text("got '<b>x</b>'; reload the page").wait_for()
    tab.get_by_role("button", name="Reload").click()
    tab.get_by_role("alert").wait_for(state="detached")
    tab.close()


def test_what_is_chosen_without_a_mouse(page, site, search):  # noqa: F811
    page.goto(f"{site}/exp/search")
    shown(page)
    page.locator("nav a, .views a").last.focus()
    focused = "document.activeElement.id || document.activeElement.title"
    order = []
    while order[-1:] != ["Save as PNG"]:
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        order.append(page.evaluate(focused))
        assert outline == "solid", order
        match order[-1]:
            case "y-axis":
                page.keyboard.press("Space")
                page.wait_for_selector(".dash-dropdown-option :focus", state="attached")
                page.keyboard.press("Escape")
                page.wait_for_selector("#y-axis:focus")
            case "colour":
                page.keyboard.press("Enter")
                page.wait_for_selector(".dash-dropdown-option :focus", state="attached")
                page.keyboard.press("ArrowDown")
                page.wait_for_selector("[value=strategy]:focus", state="attached")
                page.keyboard.press("Enter")
                page.wait_for_function("location.search == '?color=strategy'")
                page.wait_for_selector("#colour:focus")
    boxes = ["x-axis", "y-axis", "z-axis", "colour"]
    assert [name for name in order if name in boxes] == boxes
    with page.expect_download() as saved:
        page.keyboard.press("Enter")
    assert saved.value.suggested_filename == "front.png"
    page.get_by_label("across", exact=True).focus()
    page.keyboard.press("Space")
    page.wait_for_function("location.search == '?log=x&color=strategy'")
