"""The pages in a real browser: they load, answer clicks, follow a running search, stay silent."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
from collections.abc import Iterator

import pytest
from PIL import Image

from netloom.dashboard import ParetoView, create_app, write_report
from netloom.dashboard.app import make_server
from netloom.dashboard.image import write_front_image
from netloom.dashboard.pages import experiment, shell
from netloom.dashboard.words import seconds_text
from netloom.errors import MissingDependency, SpecError

from .test_strategy_view import GENOTYPES, TREE, points

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HOSTILE = "<script>alert('x')</script><img src=x onerror=alert(1)>"
WAIT_MS = 30_000  # a limit for busy machines, no expectation


def missing(reason: str) -> None:
    if os.environ.get("NETLOOM_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        missing("the browser tests need chromium on the path (apt-get install chromium)")
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        missing("the browser tests need playwright (pip install 'netloom[test]')")
    with sync_playwright() as started:
        context = started.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"),
            executable_path=chromium,
            headless=True,
            args=ARGUMENTS,
            viewport={"width": 1280, "height": 900},
        )
        context.set_default_timeout(WAIT_MS)
        yield context
        context.close()


@pytest.fixture
def page(browser, site):  # after the site, so that the page is closed before it
    """A page that fails the test when it asks for anything outside or reports an error."""
    opened, trouble = browser.new_page(), []

    def check(request):
        if not re.match(r"(http://127\.0\.0\.1:|file:|data:|blob:)", request.url):
            trouble.append(f"asked for {request.url}")

    opened.on("request", check)
    opened.on("pageerror", lambda error: trouble.append(f"raised {error}"))
    opened.on("dialog", lambda dialog: (trouble.append("opened a dialog"), dialog.dismiss()))
    opened.on(
        "console",
        lambda line: trouble.append(line.text) if line.type in ("error", "assert") else None,
    )
    yield opened
    opened.close()
    assert trouble == []


@pytest.fixture
def site(store, monkeypatch) -> Iterator[str]:
    """The dashboard of the test's store, refreshing quickly."""
    monkeypatch.setattr(shell, "REFRESH_MS", 300)
    server = make_server(create_app(store.url), "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join(10)
    server.server_close()


def place_of(page, graph: str, trace: str, index: int) -> tuple[float, float]:
    """Return where on the screen a point of a figure is."""
    return page.evaluate(
        """([graph, name, index]) => {
            const figure = document.querySelector(graph);
            figure.scrollIntoView({block: "center", behavior: "instant"});
            const trace = figure._fullData.find((each) => each.name.startsWith(name));
            const {xaxis, yaxis} = figure._fullLayout, box = figure.getBoundingClientRect();
            return [box.left + xaxis._offset + xaxis.d2p(trace.x[index]),
                    box.top + yaxis._offset + yaxis.d2p(trace.y[index]),
                    Number(trace.customdata[index])];
        }""",
        [graph, trace, index],
    )


def test_from_the_list_to_a_network_and_back(page, site, store, real_looking):
    page.goto(site)
    page.wait_for_function("document.title == 'Experiments · netloom'")
    page.get_by_role("link", name="quickstart").click()
    page.wait_for_selector("#front-graph .scatterlayer .point")
    page.wait_for_function("document.title == 'quickstart · netloom'")
    assert page.url.endswith(f"/exp/{real_looking.id}")
    page.get_by_text("random search with the same 166 evaluations").wait_for()
    x, y, number = place_of(page, "#front-graph .js-plotly-plot", "front (", 5)
    page.mouse.click(x, y)
    page.wait_for_selector(f"#details h2:has-text('Trial {number}')")
    assert f"trial={number}" in page.url
    trial = store.trial(real_looking.id, number)
    details = page.inner_text("#details")
    assert trial.notation in details
    assert f"{trial.metrics['latency_ms@pixel3']:.4g} ms" in details
    assert trial.key in details
    page.go_back()
    page.wait_for_selector("#details .hint")
    page.go_forward()
    page.wait_for_selector(f"#details h2:has-text('Trial {number}')")
    page.get_by_role("button", name="Close").click()
    page.wait_for_selector("#details .hint")
    assert "trial=" not in page.url


def test_a_url_reproduces_the_view_and_the_table_opens_trials(page, site, real_looking):
    page.goto(f"{site}/exp/quickstart?trial=17&x=params&y=latency_ms%40eyeriss")
    page.wait_for_selector("#front-graph .g-xtitle:has-text('params')")
    page.wait_for_selector("#front-graph .g-ytitle:has-text('latency_ms@eyeriss')")
    page.wait_for_selector("#details :text('the loss became NaN in epoch 3')")
    page.locator("#trials .ag-header-cell-label", has_text="valid_accuracy").click()
    page.locator("#trials .ag-header-cell-label", has_text="valid_accuracy").click()
    best = page.locator("#trials .ag-center-cols-container .ag-row[row-index='0']")
    best.locator("[col-id='m0']", has_text="94").wait_for()
    best.locator("[col-id='status']").click()
    page.wait_for_selector("#details h2:has-text('Trial'):not(:has-text('Trial 17'))")
    place = "document.querySelector('#details h2').getBoundingClientRect()"
    page.wait_for_function(f"{place}.top >= 0 && {place}.bottom <= innerHeight")
    assert page.evaluate("document.activeElement.closest('#trials') !== null")
    assert page.locator("#trials .ag-center-cols-container .ag-row").count() < 60


def test_the_axes_can_be_changed(page, site, real_looking):
    page.goto(f"{site}/exp/quickstart")
    page.wait_for_selector("#front-graph .scatterlayer .point")
    page.locator("#x-axis").click()
    page.get_by_role("option", name="params").or_(
        page.get_by_text("params", exact=True)
    ).first.click()
    page.wait_for_selector("#front-graph .g-xtitle:has-text('params')")
    assert "x=params" in page.url


def test_a_running_search_fills_the_page(page, site, store, make, pairs):
    trials = pairs([(80, 5), (85, 6), (90, 7), (95, 8)])
    record = make(trials[:2], status="running")
    with store.claim(record.id):
        _watch(page, site, store, record, trials)
    # Its process has ended without a word.
    page.wait_for_selector("#exp-head .status.interrupted")
    page.get_by_text("netloom resume toy").wait_for()
    with store.transaction() as transaction:
        transaction.update_experiment(record.id, status="done", elapsed_s=3.0)
    page.wait_for_selector("#exp-head .status.done")


def _watch(page, site, store, record, trials):
    page.goto(f"{site}/exp/toy")
    page.wait_for_selector("#exp-head .status.running")
    front = page.locator(".card", has_text="networks on the front").locator("strong")
    front.filter(has_text="2").wait_for()
    page.wait_for_selector("#trials .ag-row[row-index='1'] [col-id='m0']:has-text('85')")
    with store.transaction() as transaction:
        transaction.add_trials(record.id, trials[2:])
    front.filter(has_text="4").wait_for()
    page.wait_for_selector("#trials .ag-row[row-index='3'] [col-id='m0']:has-text('95')")


def test_what_a_strategy_trains_fills_the_page_before_any_trial(page, site, store, make, keep):
    record = make(status="running")
    with store.claim(record.id):
        page.goto(f"{site}/exp/toy")
        page.wait_for_selector("#exp-head .status.running")
        assert page.locator("#strategy section").count() == 0
        keep(record, points("search/lr", [0.1, 0.05]), {"s/genotypes": ("genotypes", GENOTYPES)})
        page.wait_for_selector("#strategy-0 .js-plotly-plot")
        page.get_by_role("cell", name="2 to 4").wait_for()
        keep(record, notes={"search/tree": ("split_tree", TREE)})
        page.get_by_role("heading", name="Distances of options in root").wait_for()
        page.wait_for_selector("#strategy-3 .heatmaplayer")


BUTTONS = {
    "Download plot as a PNG", "Zoom", "Pan", "Zoom in", "Zoom out", "Autoscale", "Reset axes",
}  # fmt: skip


def test_no_button_sends_a_figure_anywhere(page, site, store, real_looking, tmp_path):
    report = write_report(store, "quickstart", tmp_path / "report.html").as_uri()
    for address in (f"{site}/exp/quickstart", report):
        page.goto(address)
        page.wait_for_selector(".scatterlayer .point")
        titles = page.evaluate(
            "[...document.querySelectorAll('.modebar-btn')].map((each) => each.dataset.title)"
        )
        brushes = set() if address == report else {"Box Select", "Lasso Select"}  # of the front
        assert set(titles) == BUTTONS | brushes


@pytest.mark.full
def test_figures_of_a_report_are_saved_and_printed(page, store, real_looking, keep, tmp_path):
    many = {**GENOTYPES, "genotypes": 20 * GENOTYPES["genotypes"]}
    keep(real_looking, notes={"s/genotypes": ("genotypes", many)})
    page.goto(write_report(store, "quickstart", tmp_path / "report.html").as_uri())
    page.wait_for_selector("#figure-hypervolume .scatterlayer .trace")
    figure = page.locator("[role=figure]", has=page.locator("#figure-hypervolume"))
    found = {}
    for kind in ("svg", "png"):
        with page.expect_download() as saved:
            figure.locator(f"[data-save={kind}]").click()
        assert saved.value.suggested_filename == f"hypervolume.{kind}"
        found[kind] = saved.value.path().read_bytes()
    assert found["svg"].startswith(b"<svg")
    assert found["png"].startswith(b"\x89PNG")
    page.emulate_media(media="print")
    size = "(() => { const {width, height} = document.querySelector('#figure-hypervolume')._fullLayout; return [width, height]; })()"  # noqa: E501
    before = page.evaluate(size)
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(size) == [670, 0.66 * before[1]]
    assert page.locator("details.folded td:visible").count() >= 40  # on paper nothing opens it
    page.set_viewport_size({"width": 703, "height": 1000})  # A4 between its margins: nothing is cut
    assert page.evaluate("document.documentElement.scrollWidth") == 703
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(media="screen")
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    page.wait_for_function(f"JSON.stringify({size}) === '{json.dumps(before).replace(' ', '')}'")
    assert page.locator("details.folded td:visible").count() == 0


def test_histories_over_time_are_in_the_url(page, site, real_looking):
    page.goto(f"{site}/exp/quickstart")
    page.wait_for_selector("#volume-graph .g-xtitle:has-text('trials evaluated')")
    page.get_by_label("over time").check()
    page.wait_for_selector("#volume-graph .g-xtitle:has-text('time since the start')")
    page.wait_for_selector("#best-graph .g-x2title:has-text('time since the start')")
    assert page.url.endswith("?by=time")
    page.get_by_role("heading", name="Generations").wait_for()
    page.go_back()
    page.wait_for_selector("#volume-graph .g-xtitle:has-text('trials evaluated')")


def test_without_a_mouse(page, site, real_looking):
    page.goto(site)
    page.get_by_role("link", name="quickstart").wait_for()
    page.locator("#experiments .ag-row[row-index='0'] [col-id='status']").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#trials .ag-row[row-index='1'] [col-id='m0']")
    assert page.url.endswith(f"/exp/{real_looking.id}")
    page.locator("#trials .ag-row[row-index='0'] [col-id='status']").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector("#details h2:has-text('Trial 1')")


def test_tables_have_units(page, site, make):
    make()
    page.goto(site)
    page.locator("#experiments [col-id='elapsed']", has_text="12.5 s").wait_for()
    shown = page.evaluate(
        "(values) => values.map((each) => window.dashAgGridFunctions.duration(each))", DURATIONS
    )
    assert shown == [seconds_text(each) for each in DURATIONS]
    page.goto(f"{site}/exp/toy")
    page.locator("#trials .ag-header-cell", has_text="valid_accuracy (%)").wait_for()


DURATIONS = [
    0.0,
    0.042,
    0.9,
    1.0,
    12.5,
    59.2,
    59.9996,
    60.0,
    75.0,
    3599.0,
    3600.0,
    7384.0,
    200000.0,
]


def test_the_list_follows_the_store(page, site, make):
    page.goto(site)
    page.get_by_text("netloom search examples/quickstart.yaml").wait_for()
    make()
    page.get_by_role("link", name="toy").wait_for()
    page.get_by_text("netloom search examples/quickstart.yaml").wait_for(state="hidden")


def test_hostile_texts_stay_texts(page, site, make, trial):
    numbers = {"valid_accuracy": 90.0, "latency_ms@pixel3": 5.0}
    make(
        [
            trial(0, numbers, notation=HOSTILE, architecture={HOSTILE: HOSTILE}),
            trial(1, {}, status="failed", error=HOSTILE, traceback=HOSTILE),
        ],
        strategy=HOSTILE,
        tags=(HOSTILE,),
    )
    page.goto(site)
    page.get_by_text(HOSTILE).first.wait_for()
    page.goto(f"{site}/exp/toy?trial=1")
    page.locator("#details").get_by_text(HOSTILE).first.wait_for()
    page.wait_for_selector("#front-graph .scatterlayer .point")
    x, y, _ = place_of(page, "#front-graph .js-plotly-plot", "front (", 0)
    page.mouse.move(x, y)
    page.wait_for_selector("#front-graph .hovertext :text('<script>')")


def test_thousands_of_points_are_drawn_by_webgl(page, site, make, trial):
    make(
        [
            trial(n, {"valid_accuracy": 50 + n % 97 / 2, "latency_ms@pixel3": 1 + n % 89})
            for n in range(2200)
        ]
    )
    page.goto(f"{site}/exp/toy")
    page.wait_for_selector("#front-graph .gl-canvas")
    assert page.locator("#front-graph .no-webgl, :text('WebGL is not supported')").count() == 0
    x, y, number = place_of(page, "#front-graph .js-plotly-plot", "front (", 0)
    page.mouse.move(x - 3, y)
    page.mouse.move(x, y)
    page.wait_for_selector("#front-graph .hovertext")
    page.mouse.click(x, y)
    page.wait_for_selector(f"#details h2:has-text('Trial {number}')")


WATCH_THE_FRONT = """
window.places = [];
(function watch() {
  const graph = document.querySelector("#front-graph");
  if (graph && graph.querySelector(".legendtext"))
    window.places.push(Math.round(graph.getBoundingClientRect().top + window.scrollY));
  requestAnimationFrame(watch);
})();
"""


def test_the_front_stays_where_it_was_drawn(page, site, real_looking, monkeypatch):
    grown, seen = experiment._growth, threading.Event()

    def late(*args):
        assert seen.wait(30)
        return grown(*args)

    monkeypatch.setattr(experiment, "_growth", late)
    page.add_init_script(WATCH_THE_FRONT)
    page.goto(f"{site}/exp/quickstart")
    page.wait_for_function("window.places.length > 0")
    seen.set()
    page.wait_for_selector("#note > section")  # what comes last
    assert "\u2013" not in page.locator("#exp-head .cards").inner_text()
    assert len(set(page.evaluate("window.places"))) == 1


def test_errors_say_what_to_do(page, site, make):
    make()
    page.goto(f"{site}/exp/tyo")
    page.get_by_role("alert").get_by_text("toy").wait_for()
    page.get_by_role("link", name="All experiments").click()
    page.get_by_role("link", name="toy").wait_for()
    page.goto(f"{site}/exp/toy?x=nonsense")
    page.wait_for_selector("#front-graph :text('unknown metric')")


def test_nothing_is_wider_than_a_phone(page, site, real_looking):
    page.set_viewport_size({"width": 390, "height": 844})
    for path in ("/", "/exp/quickstart?trial=54"):
        page.goto(site + path)
        page.wait_for_selector(".ag-row" if path == "/" else "#front-graph .point")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_the_report_opens_from_a_file(page, store, real_looking, tmp_path):
    path = write_report(store, "quickstart", tmp_path / "report.html")
    page.goto(path.as_uri())
    page.wait_for_selector("#figure-front .scatterlayer .point")
    for figure in ("front", "hypervolume", "best"):
        assert page.locator(f"#figure-{figure} .main-svg").count() >= 2
    x, y, number = place_of(page, "#figure-front", "front (", 3)
    page.mouse.click(x, y)
    page.wait_for_selector(f"#trial-{number}.chosen details[open]")
    view = ParetoView.of(store, "quickstart")
    assert page.locator("[id^='trial-']").count() == len(view.front_numbers)


def test_a_picture_of_the_front(browser, store, real_looking, tmp_path):
    path = write_front_image(store, "quickstart", tmp_path / "front.png", size=(800, 450))
    with Image.open(path) as picture:
        assert picture.size == (800, 450)
        colours = {colour for _, colour in picture.convert("RGB").getcolors(2**20)}
    assert (213, 94, 0) in colours  # the front
    assert len(colours) > 100


def test_a_page_comes_back_with_its_store(page, site, store, make, pairs, tmp_path):
    make(pairs([(90, 5), (95, 9)]))
    store.close()
    (tmp_path / "netloom.db").rename(tmp_path / "away.db")
    page.goto(f"{site}/exp/toy")
    page.wait_for_selector("#page [role=alert]:has-text('there is no store at')")
    page.wait_for_selector("#live.lost")
    (tmp_path / "away.db").rename(tmp_path / "netloom.db")
    page.wait_for_selector("h1:has-text('toy')")


def test_no_picture_without_a_trial(store, make, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _: "chromium")
    make()
    with pytest.raises(SpecError, match="and toy has none yet; a report says why"):
        write_front_image(store, "toy", tmp_path / "front.png")
    assert not (tmp_path / "front.png").exists()


def test_no_picture_without_chromium(store, make, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    make()
    with pytest.raises(MissingDependency, match="apt-get install chromium"):
        write_front_image(store, "toy", tmp_path / "front.png")
