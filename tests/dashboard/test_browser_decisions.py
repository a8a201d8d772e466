"""The page of decisions in a real browser: lines, bars, options, the URL that keeps a choice."""

from __future__ import annotations

import pytest

from netloom.jsonio import digest

from .test_browser import HOSTILE, browser, page, site  # noqa: F401 - fixtures

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


@pytest.fixture
def searched(make, trial):
    """A search in which the kernel decides the accuracy and the depth the latency."""
    trials = []
    for number in range(90):
        each = {"kernel": (3, 5, 7)[number % 3], "depth": 1 + number // 3 % 5, HOSTILE: number % 2}
        numbers = {
            "valid_accuracy": 10.0 * each["kernel"] + number % 7 / 10,
            "latency_ms@pixel3": 2.0 * each["depth"] + number % 5 / 10,
        }
        each["id"] = number
        trials.append(trial(number, numbers, key=digest(each), architecture=each))
    return make(trials)


def bar(page, name: str) -> tuple[float, float]:  # noqa: F811
    """Return where on the screen the bar of a decision is."""
    return page.evaluate(
        """(name) => {
            const figure = document.querySelector("#importance-graph .js-plotly-plot");
            figure.scrollIntoView({block: "center", behavior: "instant"});
            const trace = figure._fullData[0], {xaxis, yaxis} = figure._fullLayout;
            const index = trace.customdata.findIndex((each) => each[0] === name);
            const box = figure.getBoundingClientRect();
            return [box.left + xaxis._offset + xaxis.d2p(trace.x[index] / 2),
                    box.top + yaxis._offset + yaxis.d2p(trace.y[index])];
        }""",
        name,
    )


def test_from_the_front_to_what_matters(page, site, searched):  # noqa: F811
    page.goto(f"{site}/exp/toy")
    page.get_by_role("link", name="Decisions").click()
    page.wait_for_selector("#parallel-graph .parcoords .axis-title:has-text('kernel')")
    page.get_by_text("90 trials with a value of valid_accuracy").wait_for()
    page.wait_for_selector("#marginal-graph .g-xtitle:has-text('kernel')")
    assert "R²" in page.inner_text("#importance-quality")
    page.locator("#decisions-metric").click()
    page.get_by_role("option", name="latency_ms@pixel3").click()
    page.wait_for_selector("#marginal-graph .g-xtitle:has-text('depth')")
    assert "metric=latency_ms%40pixel3" in page.url
    page.mouse.click(*bar(page, "depth"))
    page.wait_for_function("location.search.includes('decision=depth')")
    page.go_back()
    page.wait_for_function("!location.search.includes('decision')")
    page.wait_for_selector("#marginal-graph .g-xtitle:has-text('depth')")


@pytest.mark.parametrize("theme", ["light", pytest.param("dark", marks=pytest.mark.full)])
def test_a_url_reproduces_the_decision_in_both_themes(page, site, searched, theme):  # noqa: F811
    page.emulate_media(color_scheme=theme)
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{site}/exp/toy/decisions?metric=latency_ms%40pixel3&decision=kernel")
    page.wait_for_selector("#marginal-graph .g-xtitle:has-text('kernel')")
    title = page.wait_for_selector("#parallel-graph .axis-title >> nth=0")
    colours = page.evaluate(
        "(title) => [getComputedStyle(title).fill, getComputedStyle(document.body).color]", title
    )
    assert colours[0] == colours[1]
    assert page.evaluate("document.querySelector('#parallel-graph').offsetHeight") == 520
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.set_viewport_size({"width": 1280, "height": 900})
    page.get_by_text("4 decisions").click()
    page.locator("#importance-table").get_by_text(HOSTILE).wait_for()


def test_what_cannot_be_known_is_said(page, site, make, trial):  # noqa: F811
    make([trial(0, {"valid_accuracy": 90.0, "latency_ms@pixel3": 5.0})])
    page.goto(f"{site}/exp/toy/decisions")
    page.wait_for_selector("#importance-graph :text('29 more')")
    words = page.locator("#importance-words, #marginal-words").all_inner_texts()
    assert "forest" not in " ".join(words)  # there is none
    assert page.locator("#importance-graph-files, #marginal-graph-files").count() == 2
    assert page.locator(".files:visible").count() == 1  # of the lines: there are no others
    page.goto(f"{site}/exp/toy/decisions?metric=test_accuracy&decision=nonsense")
    page.wait_for_selector("#parallel-graph :text('No trial has a value of test_accuracy')")
    page.wait_for_selector("#marginal-graph :text('unknown decision')")
    page.goto(f"{site}/exp/toy/decisions?metric=nonsense")
    page.get_by_role("alert").get_by_text("unknown metric").wait_for()
    page.locator("#decisions-metric", has_text="unknown: nonsense").wait_for()
