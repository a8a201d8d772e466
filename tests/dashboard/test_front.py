"""What is chosen of a front, as plain data: URLs, regions, colours, three metrics, files."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from netloom.dashboard import ParetoView, create_app
from netloom.dashboard.brushed import mark_selected
from netloom.dashboard.captions import front_words
from netloom.dashboard.choice import Choice, filter_text, order_text
from netloom.dashboard.colours import REST, Colours, colour_names, colours_of
from netloom.dashboard.cube import SpaceView, attained, space_figure
from netloom.dashboard.downloads import csv_text, trial_rows
from netloom.dashboard.figures import GREY, best_figure
from netloom.dashboard.look import Look
from netloom.dashboard.pages.front import changed
from netloom.dashboard.plane import front_figure
from netloom.dashboard.region import Region
from netloom.dashboard.source import Source
from netloom.dashboard.table import TrialTable
from netloom.dashboard.views import HistoryView
from netloom.errors import UnknownName

from .conftest import ACCURACY, EYERISS, LATENCY, MAX_ACCURACY, MIN_LATENCY, PARAMS, new_trial

STD = replace(ACCURACY, name="valid_accuracy_std", direction="minimize")
MIN_PARAMS = {"metric": "params", "direction": "minimize"}


def triple(number, accuracy, latency, params, **more):
    values = {"valid_accuracy": accuracy, "latency_ms@pixel3": latency, "params": params}
    return new_trial(number, values, **more)


@pytest.mark.parametrize(
    ("search", "kept"),
    [
        ("?z=a&log=y,q,x&color=strategy&hide=failed", "z=a&log=x%2Cy&color=strategy&hide=failed"),
        ("?select=1,2;3,4.00000001", "select=1%2C2%3B3%2C4"),
        ("?select=1,2;3,nan&log=q&filter=[1]", ""),
        ('?filter={"a":1}&sort=m0:desc', "sort=m0%3Adesc&filter=%7B%22a%22%3A1%7D"),
        ("?filter={broken", ""),
    ],
)  # fmt: skip
def test_a_url_keeps_what_is_understood(search, kept):
    choice = Choice.parse(search)
    assert choice.search.removeprefix("?") == kept
    assert Choice.parse(choice.search) == choice


def test_actions_change_their_part_of_the_choice():
    assert changed("x-axis", "value", "params") == {"x": "params", "select": None}
    assert changed("x-axis", "value", None) == {}
    assert changed("z-axis", "value", "none") == {"z": None}
    assert changed("logs", "value", ["z", "x"]) == {"log": "x,z"}
    kept = ["feasible", "stopped", "unfinished", "published"]
    assert changed("shown", "value", kept) == {"hide": "infeasible,failed"}
    assert changed("front-graph", "clickData", {"points": [{"customdata": 3}]}) == {"trial": 3}
    assert changed("front-graph", "clickData", {"points": [{}]}) == {}
    assert changed("trials", "columnState", [{"colId": "a"}, {"colId": "m0", "sort": "asc"}]) == {
        "sort": "m0:asc"
    }
    assert order_text([]) is None
    assert filter_text({"a": "x" * 3000}) is None  # a URL has an end


def test_a_region_is_a_box_or_a_polygon():
    xs, ys = np.array([1.0, 2.0, 3.0, np.nan, 2.0]), np.array([1.0, 2.0, 1.0, 1.0, 0.5])
    box = Region.parse("3,3;1,1")
    assert box.inside(xs, ys).tolist() == [True, True, True, False, False]
    triangle = Region.parse("0,0;4,0;2,3")
    assert triangle.inside(xs, ys).tolist() == [True, True, True, False, True]
    hollow = Region.parse("0,0;4,0;4,4;2,0.9;0,4")  # a notch from above down to (2, 0.9)
    assert hollow.inside(xs, ys).tolist() == [True, False, True, False, True]


def test_words_have_classes_and_many_numbers_a_scale():
    words = Colours.of("d", "d", [*"aab", None, *"cdefghij"])
    assert words.classes == (*"abcdefg", REST)
    assert words.codes.tolist() == [0, 0, 1, -1, 2, 3, 4, 5, 6, 7, 7, 7]
    few = Colours.of("k", "kernel", [7, 3, 3, None, 5])
    assert (few.classes, few.ordered) == (("3", "5", "7"), True)
    assert few.codes.tolist() == [2, 0, 0, -1, 1]
    many = Colours.of("w", "width", list(range(20)))
    assert many.classes == ()
    assert many.values.tolist() == list(range(20))
    assert Colours.of("b", "flag", [True, False, True]).classes == ("false", "true")


def test_colours_come_from_decisions_notes_and_sources(store, make, trial):
    numbers = {"valid_accuracy": 90.0, "latency_ms@pixel3": 5.0}
    trials = [
        trial(0, numbers, tags={"fixed": "nb201/ResNet"}),
        trial(1, numbers, tags={"warm_start": "old"}),
        trial(2, numbers, tags={"generation": 4}),
        trial(3, numbers, tags={"generation": 2}, architecture={"edge1": 7}, key="k" * 64),
    ]
    info = {"decisions": [{"name": "edge0", "options": [], "ordered": False}], "fixed": [{}]}
    record = make(trials, info=info)
    table = TrialTable.read(store, record)
    names = [name for name, _ in colour_names(store, record)]
    assert names[:3] == ["strategy", "tag:generation", "decision:edge0"]
    source = colours_of(store, record, table, "strategy")
    assert [source.classes[code] for code in source.codes] == [
        "published", "warm start from old", "nsga2", "nsga2",
    ]  # fmt: skip
    generation = colours_of(store, record, table, "tag:generation")
    assert (generation.classes, generation.codes.tolist()) == (("2", "4"), [-1, -1, 1, 0])
    edge = colours_of(store, record, table, "decision:edge0")
    assert (edge.classes, edge.codes.tolist()) == (("nor_conv_3x3",), [0, 0, 0, -1])
    with pytest.raises(UnknownName, match="unknown colour"):
        colours_of(store, record, table, "decision:edge9")
    with pytest.raises(UnknownName, match="unknown metric"):
        colours_of(store, record, table, "metric:nothing")
    figure = front_figure(ParetoView.of(store, "toy"), look=Look(colours=edge))
    assert [t.name for t in figure.data if t.legend == "legend2"] == ["nor_conv_3x3"]
    kinds = [t for t in figure.data if t.legendgroup and t.showlegend is not False]
    assert {t.marker.color for t in kinds} == {GREY}  # colours mean the decision alone


def test_the_surface_is_the_best_third_value_of_networks_no_worse(store, make):
    make(
        [triple(0, 90, 5, 100), triple(1, 80, 2, 50), triple(2, 85, 6, 200), triple(3, 95, 9, 300)],
        objectives=(MAX_ACCURACY, MIN_LATENCY, MIN_PARAMS),
    )
    space = SpaceView.of(ParetoView.of(store, "toy", x="latency_ms@pixel3"), "params")
    assert space.front.tolist() == [True, True, False, True]
    xs, ys, zs = attained(space)
    assert xs.tolist() == [2, 5, 5, 9, 9, 9]
    assert ys.tolist() == [95, 90, 90, 80, 80, 80]  # a loss: from the best on
    nan = float("nan")
    known = [[nan] * 4 + [300] * 2, [nan, nan, 100, 100, 100, 100], [50] * 6]
    assert np.array_equal(zs[[0, 2, 4]], np.array(known, dtype=float), equal_nan=True)
    figure = space_figure(space, selected=1)
    assert {trace.type for trace in figure.data} == {"scatter3d", "surface"}
    numbers = [n for t in figure.data if t.customdata is not None for n in t.customdata]
    assert sorted(numbers) == [0, 1, 2, 3]
    assert "better corner" in [t.name for t in figure.data if t.showlegend is not False]


def test_constraints_are_planes_in_space(store, make):
    make(
        [triple(0, 90, 5, 100), triple(1, 80, 2, 50)],
        constraints=({"metric": "params", "max": 80},),
    )
    space = SpaceView.of(ParetoView.of(store, "toy"), "params")
    [plane] = [t for t in space_figure(space).data if t.type == "mesh3d"]
    assert (plane.name, set(plane.z)) == ("params ≤ 80", {80})


def test_bars_are_the_deviations_that_were_measured(store, make):
    metrics = (ACCURACY, LATENCY, EYERISS, PARAMS, STD)
    trials = [triple(0, 90, 5, 100), triple(1, 80, 2, 50)]
    trials[0] = replace(trials[0], metrics={**trials[0].metrics, "valid_accuracy_std": 0.25})
    make(trials, metrics=metrics)
    view = ParetoView.of(store, "toy")
    [front] = [t for t in front_figure(view).data if t.name == "front (2)"]
    assert front.error_x.array is None
    assert np.array_equal(front.error_y.array, [0.25, np.nan], equal_nan=True)
    assert "one standard deviation" in front_words(view, Look(), None)
    make(trials[1:], "plain")
    plain = ParetoView.of(store, "plain")
    assert front_figure(plain).data[-1].error_y.array is None
    assert "deviation" not in front_words(plain, Look(), None)


def test_logarithmic_axes_and_what_is_left_out(store, make, trial):
    trials = [triple(0, 90, 5, 100), triple(1, 80, 0.0, 50), trial(2, status="failed")]
    trials.append(triple(3, 70, 9, 10, status="infeasible", violation=0.5))
    make(trials, constraints=({"metric": "latency_ms@pixel3", "max": 8.0},))
    view = ParetoView.of(store, "toy")
    look = Look(log=("x",), hidden=("infeasible",))
    figure = front_figure(view, look=look)
    assert figure.layout.xaxis.type == "log"
    assert [t.name for t in figure.data if t.customdata is not None] == ["front (1)"]
    assert "1 trial of zero or less" in front_words(view, look, None)
    [bound] = [note for note in figure.layout.annotations if "≤" in note.text]
    assert bound.x == pytest.approx(np.log10(8))
    assert figure.layout.shapes[0].x0 == 8.0


def test_a_region_is_drawn_and_narrows_the_file(store, make, pairs):
    record = make(pairs([(90, 5), (80, 2), (70, 9)]))
    source = Source(store.url)
    choice = Choice.parse("?select=1,75;6,95&sort=m0:asc")
    look = Look(region=choice.region)
    [box] = front_figure(ParetoView.of(store, "toy"), look=look).layout.selections
    assert (box.x0, box.y0, box.x1, box.y1) == (1, 75, 6, 95)
    head, rows = trial_rows(source, record.id, choice)
    assert head[:2] == ["trial", "status"]
    assert [row[0] for row in rows] == [1, 0]
    assert [len(list(trial_rows(source, "toy", Choice(filter=text))[1])) for text in (
        '{"m1":{"filterType":"number","type":"lessThan","filter":6}}', "{}")] == [2, 3]  # fmt: skip
    source.close()


def test_what_is_selected_is_marked_in_the_history(store, make, pairs):
    trials = pairs([(60, 9), (90, 5), (80, 2), (70, 9)])
    trials[0] = replace(trials[0], tags={"fixed": "nb201/ResNet"})
    make(trials, info={"fixed": [{"name": "nb201/ResNet"}]})
    shot = Source(store.url).snapshot("toy")
    history = HistoryView.from_table(shot.record, shot.table)
    figure = best_figure(history)
    mark_selected(figure, history, shot.table, np.array([True, False, True, True]))
    first, second = [trace for trace in figure.data if trace.name == "selected"]
    assert (list(first.x), list(first.y)) == ([2, 3], [80, 70])
    assert (list(second.y), list(second.customdata)) == ([2, 9], [2, 3])


def test_files_hold_every_row_and_no_formula(store, make, trial):
    numbers = {"valid_accuracy": -1.5, "latency_ms@pixel3": 5.0}
    count = 1200
    make([trial(n, numbers, notation='=HYPERLINK("x")' if n else '+a,"b"') for n in range(count)])
    client = create_app(store.url).server.test_client()
    answer = client.get("/download/toy/trials.csv")
    assert answer.status_code == 200
    assert answer.headers["Content-Disposition"] == 'attachment; filename="trials.csv"'
    assert answer.mimetype == "text/csv"
    head, *rows = csv.reader(io.StringIO(answer.get_data(as_text=True)))
    assert len(rows) == count
    place, metric = head.index("architecture"), head.index("valid_accuracy")
    assert [row[place] for row in rows[:2]] == ['\'+a,"b"', '\'=HYPERLINK("x")']
    assert rows[0][metric] == "-1.5"
    for wrong in ("nothing/trials.csv", "toy/trials.csv?sort=evil:asc"):
        refused = client.get(f"/download/{wrong}")
        assert (refused.status_code, refused.mimetype) == (404, "text/plain")
    assert client.get("/download/plotly.js").mimetype == "text/javascript"


def test_csv_is_streamed():
    pieces = list(csv_text(["@a", "b"], ([n, None] for n in range(1001))))
    assert len(pieces) == 3
    assert pieces[0].startswith("'@a,b\r\n0,\r\n")
