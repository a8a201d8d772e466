"""The report: complete, self-contained, and safe against what a store may hold."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import pytest

from netloom.dashboard import write_report
from netloom.dashboard.figures import (
    best_figure,
    curves_figure,
    empty_figure,
    hypervolume_figure,
)
from netloom.dashboard.plane import front_figure
from netloom.dashboard.report import _Content, report_html
from netloom.dashboard.views import HistoryView, ParetoView
from netloom.dashboard.words import value_text
from netloom.errors import OutputError, StoreError

from .conftest import ACCURACY, LATENCY, MAX_ACCURACY

HOSTILE = "<script>alert('x')</script>"
VOID = {"meta", "link", "br", "hr", "img", "input", "wbr"}


class Page(HTMLParser):
    """Collects the tags, the visible text and every address of a page; checks the nesting."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words: list[str] = []
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.broken = False  # the text goes on behind a place where a line may break
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.broken = tag == "wbr"
        names = ("src", "href", "action", "data", "poster", "srcset")
        self.addresses += [value for name, value in attrs if name in names]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        self.broken = False
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "script" in self.open or "style" in self.open:
            return
        if self.broken:
            self.words[-1] += data
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_the_report_says_everything(store, real_looking, tmp_path):
    best = ParetoView.of(store, "quickstart").front_numbers[-1]
    with store.transaction() as transaction:
        transaction.set_metrics(real_looking.id, best, {"test_accuracy": 93.21})
    path = write_report(store, "quickstart", tmp_path / "report.html")
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    for said in (
        "quickstart",
        "max valid_accuracy, min latency_ms@pixel3",
        "with latency_ms@eyeriss ≤ 6 ms",
        "networks on the front",
        "2 trials failed for 1 reason. Run one again, in the foreground: netloom repro quickstart",
        "random search with the same 166 evaluations",
        "test_accuracy ↑ held out",
        "93.21 %",
        "measured · HW-NAS-Bench · 1",
        "The front: ",
        "the loss became NaN in epoch 3",
        "name: nb201",
        "3.11.7",
        real_looking.id,
    ):
        assert said in page.text, said
    assert page.addresses == []
    assert page.tags.count("script") >= 4
    assert "default-src &#x27;none&#x27;" in html
    assert "form-action &#x27;none&#x27;" in html
    assert '"showSendToCloud": false' in html
    assert [child.name for child in tmp_path.iterdir() if "report" in child.name] == ["report.html"]


def test_what_the_store_holds_is_text(store, make, trial):
    numbers = {"valid_accuracy": 90.0, "latency_ms@pixel3": 5.0}
    make(
        [
            trial(0, numbers, notation=HOSTILE, architecture={HOSTILE: HOSTILE}),
            trial(1, {}, status="failed", error=HOSTILE, traceback=HOSTILE),
        ],
        spec={"name": "toy", "note": HOSTILE},
        versions={"netloom": HOSTILE},
        strategy=HOSTILE,
    )
    html = report_html(store, "toy")
    assert "alert(" in html
    assert HOSTILE not in html
    text = Page(html).text
    assert text.count(HOSTILE) >= 6


def test_nothing_feasible_is_explained(store, make, trial):
    lost = [
        trial(n, {"latency_ms@eyeriss": 7.0 + n}, status="infeasible", violation=(1 + n) / 6)
        for n in range(3)
    ]
    make(lost, constraints=({"metric": "latency_ms@eyeriss", "max": 6.0},), status="infeasible")
    text = Page(report_html(store, "toy")).text
    assert "Nothing feasible" in text
    assert "Trial 0 comes nearest" in text
    assert "Trial 0: |nor_conv_3x3~0|+|skip~0|" in text
    assert "Best so far" not in text


def test_one_hypervolume_everywhere(store, real_looking):
    """The headline, the statement and the figure measure against one reference point."""
    content = _Content.read(store, "quickstart")
    text = Page(report_html(store, "quickstart")).text
    volume = value_text(content.history.hypervolume[-1])
    assert content.baseline.score == pytest.approx(content.history.hypervolume[-1])
    assert f"{volume} hypervolume" in text
    assert f"Hypervolume {volume} against" in text
    random = content.beside["trials"]["random search"]  # has more evaluations: the statement is cut
    beside = random.hypervolume[random.evaluations <= content.baseline.evaluations][-1]
    assert beside == pytest.approx(content.baseline.baseline_score)
    assert f" against {value_text(beside)} " in text
    assert "objective of the search and its random baseline and 10 % of its range beyond" in text


def test_failed_trials_are_told_by_reason(store, make, pairs, trial):
    reasons = ["NaN", "out of memory"]
    failed = [trial(n, {}, status="failed", error=reasons[n % 2]) for n in range(1, 30)]
    make([*pairs([(90, 5)]), *failed])
    text = Page(report_html(store, "toy")).text
    assert "29 trials failed for 2 reasons" in text
    assert "15 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, … out of memory" in text
    assert "14 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, … NaN" in text


def test_a_search_that_did_not_end_says_how_it_goes_on(store, make, pairs):
    make(pairs([(90, 5)]), status="running")  # no process claims it
    page = Page(report_html(store, "toy"))
    assert "toy interrupted" in page.text
    assert "netloom resume toy" in page.text


def test_without_a_baseline_the_reader_is_told(store, make, pairs):
    make(pairs([(90, 5)]))
    assert "Not compared with random search" in Page(report_html(store, "toy")).text


@pytest.mark.parametrize("objectives", [1, 3])
def test_any_number_of_objectives(store, make, trial, objectives):
    goals = tuple(
        {"metric": name, "direction": "minimize"}
        for name in ("params", "latency_ms@eyeriss", "latency_ms@pixel3")[:objectives]
    )
    values = [{goal["metric"]: float(n + (-1) ** n) for goal in goals} for n in range(6)]
    make([trial(n, each) for n, each in enumerate(values)], objectives=goals)
    html = report_html(store, "toy")
    assert "The front: 1 network" in Page(html).text
    # A plane per objective beside the first; the volume of one objective is its best value again.
    assert html.count('<div id="figure-front') == max(1, objectives - 1)
    assert ('id="figure-hypervolume"' in html) == (objectives > 1)
    assert 'id="figure-best"' in html


def test_an_empty_experiment_has_a_report(store, make):
    make(status="running")
    assert "No trial has been proposed yet" in Page(report_html(store, "toy")).text


def test_a_path_that_cannot_be_written(store, make, tmp_path):
    make()
    with pytest.raises(OutputError, match="No such file or directory; name another"):
        write_report(store, "toy", tmp_path / "nowhere" / "report.html")


def test_an_unknown_experiment_writes_nothing(store, make, tmp_path):
    make()
    with pytest.raises(StoreError):
        write_report(store, "tyo", tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_the_front_figure_knows_the_directions(store, real_looking):
    view = ParetoView.of(store, "quickstart", y="valid_accuracy", x="latency_ms@eyeriss")
    figure = front_figure(view, selected=view.front_numbers[0])
    names = [trace.name.split(" (")[0] for trace in figure.data]
    assert names[:2] == ["infeasible", "feasible"]
    front = figure.data[names.index("front")]
    assert list(front.customdata) == view.table.number[view.front].tolist()
    assert front.text[0].startswith("|")
    assert [note.text for note in figure.layout.annotations] == ["≤ 6 ms"]
    assert figure.layout.legend.title.text == "better ↖"
    turned = ParetoView.of(store, "quickstart", x="valid_accuracy", y="params")
    assert front_figure(turned).layout.legend.title.text == "better ↘"
    assert figure.layout.xaxis.title.text == "latency_ms@eyeriss"


def test_figures_escape_and_grow_into_webgl(store, make, trial, monkeypatch):
    from netloom.dashboard import plane

    numbers = {"valid_accuracy": 90.0, "latency_ms@pixel3": 5.0}
    make([trial(0, numbers, notation=HOSTILE), trial(1, numbers)])
    view = ParetoView.of(store, "toy")
    assert (
        front_figure(view).data[-1].text[0] == "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;"
    )
    assert front_figure(view).data[-1].type == "scatter"
    monkeypatch.setattr(plane, "WEBGL_FROM", 1)
    monkeypatch.setattr(plane, "HOVER_TEXTS", 1)
    large = front_figure(view)
    assert {trace.type for trace in large.data} == {"scattergl"}
    assert large.data[-1].text is None


def test_histories_hold_only_the_changes(store, real_looking):
    history = HistoryView.of(store, "quickstart")
    line = hypervolume_figure(history, {"random search": history}).data[0]
    assert len(line.x) < 80
    assert (line.x[-1], line.y[-1]) == (166, history.hypervolume[-1])
    best = best_figure(history, {"random search": history})
    assert [panel.name for panel in best.data] == ["this search", "random search"] * 2
    assert best.data[2].y[-1] == history.best["latency_ms@pixel3"][-1]
    assert best.layout.yaxis2.title.text == "latency_ms@pixel3"


def test_what_was_stopped_early_is_not_called_infeasible(store, make, trial):
    numbers = {"valid_accuracy": 60.0, "latency_ms@pixel3": 5.0}
    make([trial(0, numbers, status="pruned")])
    figure = front_figure(ParetoView.of(store, "toy"))
    assert [trace.name for trace in figure.data] == ["stopped early (1)"]
    assert figure.layout.showlegend  # one kind is named too


def test_few_steps_have_whole_ticks(store, make, pairs):
    make(pairs([(90, 5), (80, 3)]))
    assert hypervolume_figure(HistoryView.of(store, "toy")).layout.xaxis.dtick == 1


def test_long_names_of_panels_are_broken_before_their_target(store, make, trial):
    metric = replace(LATENCY, name="latency_ms@stm32f746")
    goal = {"metric": metric.name, "direction": "minimize"}
    numbers = {"valid_accuracy": 90.0, metric.name: 5.0}
    make([trial(0, numbers)], objectives=(MAX_ACCURACY, goal), metrics=(ACCURACY, metric))
    axes = best_figure(HistoryView.of(store, "toy")).select_yaxes()
    assert [axis.title.text for axis in axes] == [
        "valid_accuracy (%)",
        "latency_ms<br>@stm32f746",
    ]


def test_other_figures():
    import numpy as np

    from netloom.dashboard.details import Curve

    curves = curves_figure([Curve("<b>", np.array([1, 2]), np.array([0.5, 0.2]))])
    assert curves.data[0].name == "&lt;b&gt;"
    assert "&lt;i&gt;" in empty_figure("<i>").layout.annotations[0].text
