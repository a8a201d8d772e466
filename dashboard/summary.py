"""What the report and the pages say of an experiment alike: facts, headline numbers, captions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..db.records import RETRAINED, ExperimentRecord, TrialRecord
from .axes import TRIAL_AXIS, objective_axes
from .rows import ExperimentRow
from .views import PUBLISHED, PUBLISHED_OUT, HistoryView, ParetoView
from .words import MISSING, constraint_text, seconds_text, value_text

VERDICTS = {
    "ahead": "Ahead of random search",
    "behind": "Behind random search",
    "level": "Not told apart from random search",
    "too few": "Too little to compare with random search",
}
_NAMED = 10  # trials that a sentence names
OTHER_STATUSES = ("infeasible", "pruned", "failed", "running", "queued")


@dataclass(frozen=True, slots=True)
class Card:
    """One headline number."""

    label: str
    value: str
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """Something to know before reading on; `kind` is `behind` where it is bad news."""

    title: str
    text: str
    kind: str = ""


def facts(record: ExperimentRecord) -> list[str]:
    """Return what was run, when, and for how long."""
    group = [] if record.group is None else [f"one of the group {record.group}"]
    retrained = [f"retrained from {text}"] if (text := retrained_text(record)) else []
    return [
        f"space {record.space}",
        f"strategy {record.strategy}",
        f"seed {record.seed}",
        *group,
        *retrained,
        f"{record.created_at:%Y-%m-%d %H:%M} UTC",
        seconds_text(record.elapsed_s),
    ]


def retrained_text(record: ExperimentRecord) -> str:
    """Return where the networks come from that an experiment trains again; empty: it searched."""
    link = record.info.get(RETRAINED)
    if not link:
        return ""
    trials = [str(number) for number in link["trials"]]
    more = ", ..." if len(trials) > _NAMED else ""
    start = "stored weights" if link["inherited"] else "scratch"
    return (
        f"{link['name']} (trial{'s' * (len(trials) > 1)} {', '.join(trials[:_NAMED])}{more}), "
        f"from {start}"
    )


def retrained_trial_text(record: ExperimentRecord, trial: TrialRecord) -> str:
    """Return which trial a retrained one is; empty: it was searched."""
    link = record.info.get(RETRAINED)
    if not link or RETRAINED not in trial.tags:
        return ""
    return f"trial {trial.tags[RETRAINED]} of {link['name']}"


def bounds(record: ExperimentRecord) -> str:
    """Return the constraints in words, empty without one: `with params ≤ 20 k`."""
    units = {metric.name: metric.unit for metric in record.metrics}
    texts = [constraint_text(c, units.get(c["metric"], "")) for c in record.constraints]
    return f"with {', '.join(texts)}" if texts else ""


def cards(
    record: ExperimentRecord, view: ParetoView | None = None, history: HistoryView | None = None
) -> list[Card]:
    """Return the headline numbers; before the trials are read, dashes where those are to stand."""
    row, axes = ExperimentRow.of(record), objective_axes(record)
    rest = [f"{row.counts[s]:,} {s}" for s in OTHER_STATUSES if row.counts.get(s)]
    evaluated = f"evaluated of {row.budget:,}" if row.budget else "evaluated"
    members = None if view is None else len(view.front_numbers)
    found = [
        Card(
            "network on the front" if members == 1 else "networks on the front",
            MISSING if members is None else f"{members:,}",
        ),
        Card(evaluated, f"{row.spent:,}", ", ".join(rest) or None),
    ]
    for axis in axes:
        value = None
        if history is not None and len(best := history.best[axis.metric]):
            value = float(best[-1])
        found.append(Card(f"best {axis.metric}", value_text(value, axis.unit)))
    reached = row.counts.get("done") if history is None else history.reference
    if len(axes) > 1 and reached:
        volume = None if history is None else float(history.hypervolume[-1])
        found.append(Card("hypervolume", value_text(volume)))
    return found


def progress_note(record: ExperimentRecord) -> Note | None:
    """Return how a search goes on that has not come to its end."""
    if record.status == "interrupted":
        return Note(
            "Interrupted", f"What is finished is shown; go on with: netloom resume {record.ref}"
        )
    if record.status == "failed" and record.counts.get("queued", 0):
        return Note(
            "The run failed",
            "What is finished is shown. When the cause is gone, go on with: "
            f"netloom resume {record.ref}",
            "behind",
        )
    return None


def alone_note(record: ExperimentRecord, view: ParetoView) -> Note | None:
    """Return why nothing is said about chance: no random search lies beside this search."""
    if record.kind != "search" or record.status != "done" or not view.front_numbers:
        return None
    return Note(
        "Not compared with random search",
        "None was stored beside this search, so how much of the result is luck is not known. The "
        "line “baseline: true” in a spec stores one; without it, only searches with cheap "
        "evaluations have one.",
    )


def caption(
    view: ParetoView, *, line: bool = True, marks: tuple[str, str] = ("Crosses", "Stars")
) -> str:
    """Return what the marks of the figure of `view` mean.

    Args:
        view: What is drawn.
        line: Whether the front's line is.
        marks: Shapes of infeasible and of published networks.
    """
    said = []
    if line and len(view.line[0]) > 1:
        said.append(_line_text(view))
    shown = set(view.kinds[view.shown].tolist())
    units = {axis.metric: axis.unit for axis in view.axes}
    if "infeasible" in shown and view.constraints:
        texts = [constraint_text(c, units.get(c["metric"], "")) for c in view.constraints]
        said.append(f"{marks[0]} break {' or '.join(texts)}.")
    if shown & {PUBLISHED, PUBLISHED_OUT}:
        said.append(
            f"{marks[1]} are published networks beside the search: their trials are not of its "
            "budget."
        )
    if "stopped early" in shown:
        said.append("Networks stopped early stand at their last report, not at a full evaluation.")
    kinds, counts = np.unique(view.kinds[~view.shown], return_counts=True)
    if len(kinds):
        each = [f"{count:,} {kind}" for kind, count in zip(kinds, counts, strict=True)]
        said.append(f"Not drawn, because a value is missing: {', '.join(each)}.")
    return " ".join(said)


def _line_text(view: ParetoView) -> str:
    if view.x.metric == TRIAL_AXIS:
        return "The line is the best so far."
    goals = [axis.metric for axis in view.experiment.objectives]
    if set(goals) == {view.x.metric, view.y.metric}:
        return "The line is the front."
    return (
        "The line is the front of these two metrics alone; the diamonds are the front of the "
        f"search: {', '.join(goals)}."
    )
