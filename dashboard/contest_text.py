"""A comparison as Markdown and as JSON values."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from .contest import Contest
from .contest_words import pair_note
from .findings import findings
from .markdown import cell, pipes, plain
from .standings import (
    PAIR_HEAD,
    pair_cells,
    reference_text,
    spread_text,
    standing_cells,
    standing_head,
    standings,
)


def comparison_markdown(contest: Contest) -> str:
    """Return what each competitor reached, and every pair, as Markdown."""
    title = " and ".join(each.label for each in contest.competitors)
    goals = ", ".join(f"{(axis.direction or '')[:3]} {axis.label}" for axis in contest.axes)
    found = findings(contest)
    rows = [
        [cell(each.competitor.label), *map(cell, standing_cells(contest, each))]
        for each in standings(contest)
    ]
    parts = [
        f"# Comparison of {plain(title)}",
        plain(goals),
        *(f"**Mind the difference.** {plain(text)}" for text in contest.warnings),
        pipes([cell(head) for head in standing_head(contest)], rows),
        plain(f"{spread_text(contest)} {reference_text(contest)}".strip()),
    ]
    if found:
        parts.append(pipes(PAIR_HEAD, [[cell(text) for text in pair_cells(f)] for f in found]))
        parts.append("\n".join(f"- {plain(each.sentence)}" for each in found))
    parts.append(plain(pair_note(contest)))
    return "\n\n".join(part for part in parts if part)


def comparison_json(contest: Contest) -> dict[str, Any]:
    """Return the comparison as JSON values; lists have one value for each run."""
    return {
        "objectives": [{"metric": a.metric, "direction": a.direction} for a in contest.axes],
        "reference": contest.named_reference,
        "warnings": list(contest.warnings),
        "competitors": [
            {
                "label": each.competitor.label,
                "experiments": [run.record.id for run in each.competitor.runs],
                "seeds": [run.record.seed for run in each.competitor.runs],
                "evaluations": list(each.evaluations),
                "front": list(each.front),
                "hypervolume": list(each.volume),
                "best": {name: list(values) for name, values in each.best.items()},
            }
            for each in standings(contest)
        ],
        "pairs": [asdict(found) for found in findings(contest)],
    }
