"""What report and pages say alike."""

from __future__ import annotations

from netloom.dashboard import HistoryView, ParetoView, experiment_rows
from netloom.dashboard.rows import open_record
from netloom.dashboard.summary import alone_note, bounds, caption, cards, facts, progress_note

BOUND = ({"metric": "latency_ms@pixel3", "max": 6.0},)


def test_a_search_whose_process_died_is_interrupted(store, make, pairs, trial):
    trials = [*pairs([(90, 5)]), trial(1, {}, status="running", told=None)]
    record = make(trials, status="running")
    with store.claim(record.id):
        assert open_record(store, "toy") == store.experiment("toy")
        assert [row.status for row in experiment_rows(store)] == ["running"]
        assert progress_note(open_record(store, "toy")) is None
    dead = open_record(store, "toy")
    assert (dead.status, dead.counts) == ("interrupted", {"done": 1, "queued": 1})
    assert [row.status for row in experiment_rows(store)] == ["interrupted"]
    assert "netloom resume toy" in progress_note(dead).text
    assert store.experiment("toy").status == "running"  # a viewer changes nothing


def test_a_run_that_failed_on_the_way_can_go_on(make, trial):
    waiting = make([trial(0, {}, status="queued", told=None)], status="failed")
    assert "netloom resume toy" in progress_note(waiting).text
    assert progress_note(make([trial(0, {}, status="failed")], "all", status="failed")) is None


def test_a_command_names_what_a_shell_could_misread_by_its_id(make):
    for name in ("a; rm -rf", "-rf", "$(id)", "with space", "a`b"):
        record = make(name=name, status="interrupted")
        assert progress_note(record).text.endswith(f"netloom resume {record.id}")


def test_facts_and_bounds(make):
    record = make(constraints=BOUND, group="five")
    assert bounds(record) == "with latency_ms@pixel3 ≤ 6 ms"
    assert "one of the group five" in facts(record)
    assert facts(record)[-1] == "12.5 s"
    assert bounds(make(name="free")) == ""


def test_the_headline(store, make, pairs, trial):
    record = make([*pairs([(90, 5), (80, 3)]), trial(2, {}, status="failed")])
    view, history = ParetoView.of(store, "toy"), HistoryView.of(store, "toy")
    assert [(card.label, card.value, card.note) for card in cards(record, view, history)] == [
        ("networks on the front", "2", None),
        ("evaluated of 300", "3", "1 failed"),
        ("best valid_accuracy", "90 %", None),
        ("best latency_ms@pixel3", "3 ms", None),
        ("hypervolume", "4.2", None),
    ]


def test_the_caption_names_every_mark(store, make, pairs, trial):
    good = {"valid_accuracy": 80.0, "latency_ms@pixel3": 4.0}
    slow = {"valid_accuracy": 99.0, "latency_ms@pixel3": 9.0}
    make(
        [
            *pairs([(90, 5), (80, 3)]),
            trial(2, slow, status="infeasible", violation=0.5),
            trial(3, good, status="pruned"),
            trial(4, {}, status="failed"),
        ],
        constraints=BOUND,
    )
    view = ParetoView.of(store, "toy")
    assert view.kinds.tolist() == ["front", "front", "infeasible", "stopped early", "failed"]
    said = caption(view)
    assert "The line is the front." in said
    assert "Crosses break latency_ms@pixel3 ≤ 6 ms." in said
    assert "stopped early stand at their last report" in said
    assert "Not drawn, because a value is missing: 1 failed." in said


def test_a_plane_of_other_metrics_says_whose_front_it_shows(store, make, trial):
    rows = [(90, 5, 1), (80, 3, 2)]
    names = ("valid_accuracy", "latency_ms@pixel3", "params")
    make([trial(n, dict(zip(names, row, strict=True))) for n, row in enumerate(rows)])
    said = caption(ParetoView.of(store, "toy", x="params", y="latency_ms@pixel3"))
    assert "the front of these two metrics alone" in said
    assert "the front of the search: valid_accuracy, latency_ms@pixel3." in said


def test_without_a_random_search_the_reader_is_told(store, make, pairs):
    record = make(pairs([(90, 5)]))
    view = ParetoView.of(store, "toy")
    assert "baseline: true" in alone_note(record, view).text
    random = make(pairs([(90, 5)]), "random", kind="baseline", parent=record.id)
    assert alone_note(random, view) is None
