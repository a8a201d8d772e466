"""What a strategy that trains left in the store: its curves and its notes, as parts of a page."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from ..db.records import ExperimentRecord, NoteRecord
from .details import Curve, option_text, read_curves
from .strategy_figures import distances_figure, panels_figure, tree_figure
from .words import MISSING, plural, value_text

if TYPE_CHECKING:
    from ..db import Store

MAX_ROWS = 400  # of a table
MAX_MAPS = 12  # nodes whose distances are drawn
MAX_CHARACTERS = 20_000  # of a note shown as JSON
FOLDED_FROM = 24  # rows that are not shown at once
_TITLES = {  # quantity -> what it is, and its unit
    "train_loss": ("loss, weights' half", ""),
    "valid_loss": ("loss, architecture's half", ""),
    "entropy": ("entropy of the logits", "nats"),
    "skips": ("skip connections", ""),
    "macs": ("macs", "MACs"),
    "lr": ("learning rate", ""),
}
_ORDER = ("loss", "distance", "entropy", "eigenvalue", "skips", "macs", "@", "expected", "")


class Notation(str):
    """A text in the notation of a space."""

    __slots__ = ()


@dataclass(frozen=True)
class Rows:
    """A table; `numeric` columns are right-aligned."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Part:
    """One thing to show under a title: what is None is not there.

    Args:
        title: Of the section.
        text: What it says.
        figure: A drawing.
        rows: A table.
        code: Text as it is, of a note that no other view knows.
    """

    title: str
    text: str = ""
    figure: go.Figure | None = None
    rows: Rows | None = None
    code: str | None = None

    @property
    def folded(self) -> bool:
        """Whether its table is too long to be shown at once."""
        return self.rows is not None and len(self.rows.rows) > FOLDED_FROM


@dataclass(frozen=True)
class StrategyView:
    """What a strategy recorded.

    Args:
        curves: By name.
        notes: By name.
    """

    curves: Sequence[Curve]
    notes: Sequence[NoteRecord]

    @classmethod
    def of(cls, store: Store, record: ExperimentRecord) -> StrategyView:
        """Read it."""
        return cls(read_curves(store, record, None), store.notes(record.id))

    @property
    def state(self) -> str:
        """A text that changes whenever something to show changes."""
        points = sum(len(curve.steps) for curve in self.curves)
        notes = [f"{note.name}@{note.created_at.timestamp()}" for note in self.notes]
        return " ".join([str(points), *notes])

    @property
    def parts(self) -> list[Part]:
        """What there is to show, in order."""
        found = list(self._curves())
        genotypes: list[tuple[str, Mapping[str, Any]]] = []
        others: list[Part] = []
        for note in self.notes:
            try:
                if note.kind == "genotypes":
                    _genotype_rows(note.name, note.value)
                    genotypes.append((note.name, note.value))
                elif note.kind == "split_tree":
                    others += _tree_parts(note)
                else:
                    others.append(_plain(note))
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                others.append(_plain(note, f"It is no {note.kind}: {error!r}."))
        if genotypes:
            found.append(_genotypes(genotypes))
        return [*found, *others]

    def _curves(self) -> Iterable[Part]:
        if not self.curves:
            return
        known = any(note.kind in ("genotypes", "split_tree") for note in self.notes)
        panels: dict[str, list[Curve]] = {}
        for curve in sorted(self.curves, key=_rank):
            series, _, quantity = curve.name.rpartition("/")
            title, unit = _TITLES.get(quantity, (quantity, curve.unit))
            shown = replace(curve, name=series or "strategy", unit=unit)
            panels.setdefault(replace(shown, name=title).label, []).append(shown)
        figure = panels_figure(panels, "epoch" if known else "step")
        yield Part("What the strategy trained", figure=figure)


def _rank(curve: Curve) -> tuple[int, str, str]:
    series, _, quantity = curve.name.rpartition("/")
    place = next(i for i, word in enumerate(_ORDER) if word in quantity)
    return place, quantity, series


def _genotypes(notes: Sequence[tuple[str, Mapping[str, Any]]]) -> Part:
    rows = [row for name, value in notes for row in _genotype_rows(name, value)]
    rows.sort(key=lambda row: row[0])  # stable: the newest of each search stays first
    text = "What each search would have proposed after an epoch; equal ones are one line."
    return Part("Genotypes over epochs", text + _cut(rows), rows=_genotype_table(rows))


def _genotype_table(rows: Sequence[Sequence[str]]) -> Rows:
    return Rows(("search", "epochs", "architecture"), rows[:MAX_ROWS], frozenset({1}))


def _genotype_rows(name: str, value: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return (search, epochs, notation), the last epoch first."""
    found: list[tuple[str, str, str]] = []
    for run in reversed(value["genotypes"]):
        first, last = (int(epoch) for epoch in run["epochs"])
        epochs = str(first) if first == last else f"{first} to {last}"
        if value.get("taken") is not None and first <= value["taken"] <= last:
            epochs += f", taken: {int(value['taken'])}"
        found.append((name.rpartition("/")[0] or name, epochs, Notation(run["notation"])))
    return found


def _tree_parts(note: NoteRecord) -> list[Part]:
    """Return a tree of splits: its drawing, its nodes, and the distances behind each split."""
    nodes: Sequence[Mapping[str, Any]] = note.value["nodes"]
    rows = [_node_row(node, _scores(nodes, node)) for node in nodes]
    head = (
        *("part", "parent", "options left", "networks", "epoch"),
        *("split by", "score", "held out", "best architecture"),
    )
    text = (
        f"{plural(len(nodes), 'super-network')}, split by {note.value['rule']}. The score is the "
        "mean similarity of the gradients of options in different parts: the lower, the less they "
        "agree. Held out is what a leaf's best architecture reaches on the validation split, with "
        "the shared weights."
    )
    tree = Part(
        f"Tree of splits: {note.name}",
        text + _cut(rows),
        figure=tree_figure(nodes),
        rows=Rows(head, rows[:MAX_ROWS], frozenset({3, 4, 6, 7})),
    )
    judged = [node for node in nodes if node.get("decisions")]
    maps = [_map_part(node) for node in judged[:MAX_MAPS]]
    if len(judged) > MAX_MAPS:
        maps[-1] = replace(maps[-1], text=f"{maps[-1].text} {len(judged) - MAX_MAPS} more are not.")
    return [tree, *maps]


def _map_part(node: Mapping[str, Any]) -> Part:
    decisions = node["decisions"]
    chosen = decisions.get(node["split"], {})
    said = [
        "Gradient distance of each pair of options, 0: alike, 1: nothing in common; behind the "
        "name is the score of the best cut."
    ]
    if chosen.get("groups"):
        groups = " | ".join(", ".join(map(option_text, group)) for group in chosen["groups"])
        said.append(f"{node['split']} was split into {groups}.")
    if chosen.get("halves_agree") is False:
        said.append("Half of the batches alone would have been split otherwise.")
    title = f"Distances of options in {node['name']}"
    return Part(title, " ".join(said), figure=distances_figure(decisions, node["split"]))


def _scores(
    nodes: Sequence[Mapping[str, Any]], node: Mapping[str, Any]
) -> Mapping[str, float | None]:
    """Return the score and its error of the split of a node; empty without one."""
    found: Mapping[str, float | None] = node.get("decisions", {}).get(node["split"], {})
    return found


def _node_row(node: Mapping[str, Any], judged: Mapping[str, float | None]) -> tuple[str, ...]:
    masks = "; ".join(
        f"{name}: {', '.join(map(option_text, options))}" for name, options in node["masks"].items()
    )
    score, error = judged.get("score"), judged.get("score_error")
    held_out, architecture = node.get("held_out"), node.get("notation")
    return (
        node["name"],
        node["parent"] or MISSING,
        masks or "all",
        str(node.get("architectures", MISSING)),
        value_text(node.get("epoch")),
        node["split"] or MISSING,
        value_text(score) + ("" if error is None else f" ± {error:.2g}"),
        value_text(held_out),
        MISSING if architecture is None else Notation(option_text(architecture)),
    )


def _plain(note: NoteRecord, said: str = "") -> Part:
    """Return a note of a kind that is not known here, as JSON."""
    text = json.dumps(note.value, indent=1, ensure_ascii=False, default=str)
    if len(text) > MAX_CHARACTERS:
        more = len(text) - MAX_CHARACTERS
        text = f"{text[:MAX_CHARACTERS]}\n… {plural(more, 'more character')}"
    kind = f" ({note.kind})" if note.kind else ""
    return Part(f"Note {note.name}{kind}", said, code=text)


def _cut(rows: Sequence[Any]) -> str:
    return f" The first {MAX_ROWS} of {len(rows)} are listed." if len(rows) > MAX_ROWS else ""
