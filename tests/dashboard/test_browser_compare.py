"""Comparisons in a real browser: from the list, by URL, in both themes, with and without errors."""

from __future__ import annotations

import pytest

from netloom.dashboard import write_report

from .conftest import MAX_ACCURACY, cells
from .test_browser import HOSTILE, browser, page, site  # noqa: F401 - fixtures

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

PLACE = """([selector, name]) => {
    const figure = document.querySelector(selector);
    figure.scrollIntoView({block: "center", behavior: "instant"});
    const trace = figure._fullData.find((e) => e.name.startsWith(name) && e.customdata);
    const {xaxis, yaxis} = figure._fullLayout, box = figure.getBoundingClientRect();
    return [box.left + xaxis._offset + xaxis.d2p(trace.x[0]),
            box.top + yaxis._offset + yaxis.d2p(trace.y[0]), trace.customdata[0]];
}"""


def seeds(make, name, skill, strategy):
    for seed in range(3):
        trials = cells(20, 10 * seed + len(name), skill=skill)
        make(trials, f"{name}-s{seed}", group=name, seed=seed, strategy=strategy)


def test_from_the_list_to_a_comparison(page, site, make):  # noqa: F811
    make(cells(60, 1, skill=1.0), "first")
    make(cells(60, 2, skill=0.0), "second", strategy="random")
    page.goto(site)
    page.get_by_role("link", name="first").wait_for()
    for row in (0, 1):
        page.locator(f"#experiments .ag-row[row-index='{row}'] .ag-checkbox input").click()
    page.get_by_role("link", name="Compare 2 experiments").click()
    page.wait_for_selector("#contest-fronts .scatterlayer .point")
    page.wait_for_function("document.title == 'Compare · netloom'")
    assert page.url.count("e=") == 2
    page.get_by_text("nor which method is better").wait_for()
    x, y, (_, number) = page.evaluate(PLACE, ["#contest-fronts .js-plotly-plot", "second"])
    page.mouse.click(x, y)
    page.get_by_role("link", name=f"trial {number} of second").wait_for()
    page.get_by_label("over time").click()
    page.wait_for_selector("#contest-volume .xtitle:has-text('time since the start')")
    assert "by=time" in page.url
    page.locator("#contest-table").get_by_role("link", name="first").click()
    page.get_by_role("link", name="Compare with others").wait_for()
    page.go_back()
    page.wait_for_selector("#contest-volume .xtitle:has-text('time since the start')")


@pytest.mark.parametrize("theme", ["light", pytest.param("dark", marks=pytest.mark.full)])
def test_a_url_reproduces_groups_of_seeds(page, site, make, theme):  # noqa: F811
    page.emulate_media(color_scheme=theme)
    seeds(make, "good", 1.0, "nsga2")
    seeds(make, "plain", 0.0, "random")
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{site}/compare?g=good&g=plain&x=valid_accuracy&by=trials")
    page.wait_for_selector("#contest-surfaces .scatterlayer .trace")
    page.wait_for_selector("#contest-fronts .g-xtitle:has-text('valid_accuracy')")
    page.get_by_text("The 95 % interval of the difference is").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.set_viewport_size({"width": 1280, "height": 900})
    page.get_by_label("each seed by itself").click()
    page.get_by_role("cell", name="good-s2").first.wait_for()
    page.locator("#contest-surfaces").wait_for(state="detached")
    assert "seeds=apart" in page.url


def test_what_cannot_be_compared_says_why(page, site, make, pairs):  # noqa: F811
    make(pairs([(80, 2)]), "toy")
    make(pairs([(80, 2)]), "single", objectives=(MAX_ACCURACY,))
    make((), "other", objectives=({"metric": "params", "direction": "minimize"},))
    make((), "empty", group=HOSTILE, strategy=HOSTILE)
    page.goto(f"{site}/compare?e=toy&e=tyo")
    page.get_by_role("alert").get_by_text("did you mean").wait_for()
    page.goto(f"{site}/compare?e=toy&e=other")
    page.get_by_role("alert").get_by_text("other has min params").wait_for()
    page.goto(f"{site}/compare?e=toy&e=single")
    page.get_by_text("One common objective has no front").wait_for()
    page.get_by_role("cell", name="80 %").first.wait_for()
    page.goto(f"{site}/compare?e=empty")
    page.get_by_text("No feasible trial yet, so there is nothing to compare.").wait_for()
    page.goto(f"{site}/compare")
    page.get_by_text("Choose experiments or a group of seeds above.").first.wait_for()


def test_a_report_of_several_opens_from_a_file(page, store, make, tmp_path):  # noqa: F811
    seeds(make, "good", 1.0, "nsga2")
    make(cells(20, 2, skill=0.0), "plain", strategy="random")
    names = ["good-s0", "good-s1", "good-s2", "plain"]
    path = write_report(store, names, tmp_path / "comparison.html")
    page.goto(path.as_uri())
    page.wait_for_selector("#figure-compare-fronts .scatterlayer .point")
    page.wait_for_selector("#figure-compare-attainment .scatterlayer .trace")
    id = store.experiment("plain").id
    page.wait_for_selector(f"#figure-e{id}-front .scatterlayer .point")
    for figure, kind in (("figure-compare-fronts", "plain"), (f"figure-e{id}-front", "front (")):
        x, y, data = page.evaluate(PLACE, [f"#{figure}", kind])
        page.mouse.click(x, y)
        number = data[1] if isinstance(data, list) else data
        page.wait_for_selector(f"#e{id}-trial-{number}.chosen details[open]")
