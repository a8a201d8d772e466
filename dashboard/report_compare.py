"""The first part of a report of several experiments: how they compare."""

from __future__ import annotations

from collections.abc import Iterable

from ..db.records import ExperimentRecord
from .contest import Competitor, Contest
from .contest_figures import attainment_figure, bests_figure, fronts_figure, volumes_figure
from .contest_words import captions, pair_note, plane_of
from .findings import findings
from .growth import Growth
from .markup import Html, el, join, table
from .report_parts import figure_part, note_part, section
from .standings import (
    NUMERIC_PAIRS,
    PAIR_HEAD,
    pair_cells,
    reference_text,
    spread_text,
    standing_cells,
    standing_head,
    standings,
)
from .summary import Note


def anchor(record: ExperimentRecord) -> str:
    """Return what the ids of an experiment's parts begin with in a report of several."""
    return f"e{record.id}-"


def comparison_header(contest: Contest) -> Html:
    """Return the head of the report, with links to the experiments in it."""
    goals = ", ".join(f"{(axis.direction or '')[:3]} {axis.metric}" for axis in contest.axes)
    links = [el("a", run.record.name, href=f"#{anchor(run.record)}top") for run in contest.runs]
    return el(
        "header",
        el("p", "netloom", class_="brand"),
        el("h1", "Comparison of ", " and ".join(each.label for each in contest.competitors)),
        el("p", goals, class_="goal"),
        el("p", join(child for link in links for child in (link, " ")), class_="facts"),
    )


def comparison_sections(contest: Contest) -> Iterable[Html]:
    """Yield the parts of the comparison."""
    for text in contest.warnings:
        yield note_part(Note("Mind the difference", text, "behind"))
    if contest.reference is None:
        yield note_part(Note("Nothing to compare", pair_note(contest), "behind"))
        return
    x, y = plane_of(contest.axes)
    trials, time = Growth.of(contest), Growth.of(contest, "time")
    said = captions(contest, trials, x, y)
    if contest.plane:
        fronts = figure_part(fronts_figure(contest, x, y), "compare-fronts")
        click = "A click on a point opens its row below."
        yield section("Fronts", fronts, _about(f"{said.fronts} {click}"), wide=True)
    yield section("What each reached", _table(contest), wide=True)
    yield section("In pairs", *_pairs(contest), wide=True)
    growth = _about(said.growth)
    over_trials = figure_part(volumes_figure(contest, trials), "compare-volume")
    yield section("Hypervolume over trials", over_trials, growth)
    yield section("Best so far", figure_part(bests_figure(contest, trials), "compare-best"))
    if time.volume:
        over_time = figure_part(volumes_figure(contest, time), "compare-volume-time")
        yield section(
            "Hypervolume over time", over_time, _about(captions(contest, time, x, y).growth)
        )
        best = figure_part(bests_figure(contest, time), "compare-best-time")
        yield section("Best so far, over time", best)
    if (surfaces := attainment_figure(contest, x, y)) is not None:
        drawn = figure_part(surfaces, "compare-attainment")
        yield section("Attainment", drawn, _about(said.attainment), wide=True)


def _table(contest: Contest) -> Html:
    rows = [[_who(each.competitor), *standing_cells(contest, each)] for each in standings(contest)]
    head = standing_head(contest)
    words = " ".join(filter(None, [spread_text(contest), reference_text(contest)]))
    return join([table(head, rows, numeric=frozenset(range(2, len(head)))), _about(words)])


def _who(competitor: Competitor) -> Html:
    """Return a competitor with links to its experiments."""
    links = [el("a", run.record.name, href=f"#{anchor(run.record)}top") for run in competitor.runs]
    if len(links) == 1:
        return links[0]
    runs = join(child for link in links for child in (" ", link))
    return el("details", el("summary", competitor.label), runs)


def _pairs(contest: Contest) -> list[Html]:
    found = findings(contest)
    if not found:
        return [el("p", pair_note(contest))]
    return [
        table(PAIR_HEAD, [pair_cells(each) for each in found], numeric=NUMERIC_PAIRS),
        el("ul", *(el("li", each.sentence) for each in found)),
        _about(pair_note(contest)),
    ]


def _about(text: str) -> Html:
    return el("p", text, class_="about")
