"""The report for papers and scripts: Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
import yaml

from ..db.records import ExperimentRecord, TrialRecord
from .axes import TRIAL_AXIS, Axis, available_axes
from .compare import BaselineView, Rivals
from .contest import Contest
from .contest_text import comparison_json, comparison_markdown
from .decision_parts import HEAD, decision_json, decision_views, importance_rows
from .decision_view import DecisionView
from .details import metric_rows, option_text
from .diagnosis import Diagnosis, failures
from .downloads import guarded
from .generation_parts import generation_json
from .generations import GenerationsView
from .markdown import cell, code, pipes, plain
from .origins import MODEL_HEAD, DataOrigin, model_origins
from .rows import ExperimentRow, open_record
from .summary import VERDICTS, Note, alone_note, bounds, cards, facts, progress_note
from .table import Row, TrialTable
from .views import HistoryView, Objectives, ParetoView, front, with_objectives
from .words import MISSING, split_text

if TYPE_CHECKING:
    from ..db import Store

Shape: TypeAlias = Literal["md", "csv", "json"]
SHAPES: tuple[Shape, ...] = get_args(Shape)
JSON_FORMAT = 1  # grows when a key changes its meaning or goes; new keys may come any time


@dataclass(frozen=True)
class _Content:
    """What every format is made from."""

    record: ExperimentRecord
    table: TrialTable
    view: ParetoView
    history: HistoryView
    front: Sequence[TrialRecord]
    baseline: BaselineView | None
    diagnosis: Diagnosis | None
    decisions: Sequence[DecisionView]
    generations: GenerationsView | None

    @classmethod
    def read(cls, store: Store, ref: str, objectives: Objectives, shape: Shape) -> _Content:
        record = with_objectives(open_record(store, ref), objectives)
        table = TrialTable.read(store, record)
        # a baseline was made for the run's own objectives
        rivals = None if objectives else Rivals.of(store, record, table)
        shared = rivals.named_reference if rivals else {}
        return cls(
            record=record,
            table=table,
            view=ParetoView.from_table(record, table, None, None),
            history=HistoryView.from_table(record, table, reference=shared or None),
            front=front(store, record.id, table=table, objectives=objectives),
            baseline=BaselineView.from_rivals(rivals) if rivals else None,
            diagnosis=Diagnosis.of(record, table),
            # a table of networks does without the forests
            decisions=[] if shape == "csv" else decision_views(store, record, table),
            generations=GenerationsView.of(store, record, table) if shape == "json" else None,
        )

    def axes(self, rows: Iterable[Mapping[str, float]]) -> list[Axis]:
        """Return the metrics that some row has, objectives first."""
        present = {name for metrics in rows for name in metrics}
        axes = [axis for axis in available_axes(self.record) if axis.metric != TRIAL_AXIS]
        return [axis for axis in axes if axis.metric in present]


def report_text(
    store: Store,
    refs: Sequence[str],
    shape: Shape,
    *,
    objectives: Objectives = (),
    all: bool = False,
) -> str:
    """Return the report of experiments as text.

    Args:
        store: Where they are.
        refs: Names, ids or unique prefixes.
        shape: `md`, `csv` or `json`.
        objectives: What the fronts are made of instead of the experiments' own.
        all: Every trial instead of the front (CSV), or beside it (JSON).

    Raises:
        StoreError: If there is no such experiment.
        UnknownName: If an objective is no metric of one.
        SpecError: If several cannot be compared (Markdown and JSON).
    """
    ids = list(dict.fromkeys(store.experiment(ref).id for ref in refs))
    contents = [_Content.read(store, id, objectives, shape) for id in ids]
    if shape == "md":
        compared = [comparison_markdown(_contest(contents))] if len(contents) > 1 else []
        return "\n\n".join([*compared, *(_markdown(content) for content in contents)])
    if shape == "csv":
        return _csv(contents, all=all)
    value = {
        "format": JSON_FORMAT,
        "comparison": comparison_json(_contest(contents)) if len(contents) > 1 else None,
        "experiments": [_json(store, content, all=all) for content in contents],
    }
    return json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    """Return JSON values with null for numbers that JSON has not: a volume may be too large."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list | tuple) else value


def _contest(contents: Sequence[_Content]) -> Contest:
    return Contest.from_tables([(content.record, content.table) for content in contents])


# Markdown


def _markdown(content: _Content) -> str:
    record = content.record
    said = [ExperimentRow.of(record).goal, bounds(record), " · ".join(facts(record))]
    numbers = [
        f"- {card.label}: **{card.value}**{f' ({card.note})' if card.note else ''}"
        for card in cards(record, content.view, content.history)
    ]
    parts = [f"# {plain(record.name)} ({record.status})", *map(plain, filter(None, said))]
    parts += [
        "\n".join(numbers),
        *(f"**{note.title}.** {plain(note.text)}" for note in _notes(content)),
    ]
    if content.front:
        parts += ["## Front", _front_table(content)]
    for decided in content.decisions:
        parts += [f"## What decides {plain(decided.axis.metric)}", *_decisions(decided)]
    parts += ["## Where the numbers come from", _sources(record)]
    if models := model_origins(record):
        rows = [list(map(cell, each.cells)) for each in models]
        parts += ["## Models of devices", pipes(MODEL_HEAD, rows)]
    if (data := DataOrigin.of(record)) is not None:
        known = [[cell(name), cell(value)] for name, value in data.rows]
        parts += ["## Data", pipes(["data", "value"], known)]
    parts += ["## Versions", _versions(record)]
    spec = yaml.safe_dump(dict(record.spec), sort_keys=False, allow_unicode=True)
    parts += ["## Spec", f"```yaml\n{spec.replace('```', '` ` `')}```"]
    return "\n\n".join(parts)


def _notes(content: _Content) -> Iterable[Note]:
    if (note := progress_note(content.record)) is not None:
        yield note
    if content.diagnosis is not None:
        yield Note(content.diagnosis.title, content.diagnosis.sentence)
    elif content.baseline is not None:
        yield Note(VERDICTS[content.baseline.verdict], content.baseline.sentence)
    elif (note := alone_note(content.record, content.view)) is not None:
        yield note


def _front_table(content: _Content) -> str:
    """Return the front with its objectives, constrained metrics and those of the test split.

    CSV and JSON have every metric; a table of them all would fit no page.
    """
    record = content.record
    wanted = {str(item["metric"]) for item in (*record.objectives, *record.constraints)}
    axes = content.axes(trial.metrics for trial in content.front)
    axes = [axis for axis in axes if axis.metric in wanted or axis.split == "test"]
    arrows = {"maximize": " ↑", "minimize": " ↓"}
    named = ["network"] if content.record.fixed else []
    labels = [f"{cell(axis.label)}{arrows.get(axis.direction or '', '')}" for axis in axes]
    head = ["trial", *named, *labels]
    rows = [
        [
            str(trial.number),
            *([cell(trial.fixed or "")] if named else []),
            *(_figures(trial.metrics.get(axis.metric)) for axis in axes),
            code(trial.notation or trial.key),
        ]
        for trial in content.front
    ]
    return pipes([*head, "architecture"], rows)


def _decisions(view: DecisionView) -> Iterable[str]:
    """Yield the quality of the surrogate and the importances."""
    yield plain(view.study.sentence)
    if view.study.importances:
        yield pipes(HEAD, [list(map(cell, row)) for row in importance_rows(view.study)])


def _figures(value: float | None) -> str:
    """Return at most six significant digits, without an exponent where that can be read."""
    if value is None:
        return MISSING
    return f"{value:.0f}" if abs(value) >= 1e5 and value == round(value) else f"{value:.6g}"


def _sources(record: ExperimentRecord) -> str:
    rows = []
    for m in metric_rows(record):
        split = split_text(m.name, m.split)
        known = (m.name, m.unit, m.direction, split, m.estimator, m.provenance)
        rows.append([*map(cell, known), code(m.fingerprint[:12])])
    head = ["metric", "unit", "better", "split", "estimator", "source", "fingerprint"]
    return pipes(head, rows)


def _versions(record: ExperimentRecord) -> str:
    rows = [[name, cell(option_text(value))] for name, value in record.versions.items()]
    rows += [["space fingerprint", record.space_fingerprint], ["experiment", record.id]]
    return pipes(["part", "version"], rows)


# CSV


def _csv(contents: Sequence[_Content], *, all: bool) -> str:
    """Return a row per network; several experiments get a column with their names."""
    made = [(content, _csv_rows(content, all=all)) for content in contents]
    axes = {a.metric: a for content, rows in made for a in content.axes(r.metrics for r in rows)}
    several = ["experiment"] if len(contents) > 1 else []
    every = ["status", "violation", "duration_s"] if all else []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    labels = [guarded(axis.label) for axis in axes.values()]
    writer.writerow([*several, "trial", *every, *labels, "notation", "fixed", "key"])
    for content, rows in made:
        for row in rows:
            state = [row.status, row.violation, _known(row.duration_s)] if all else []
            values = [row.metrics.get(name, "") for name in axes]
            name = [guarded(content.record.name)] if several else []
            end = [guarded(row.notation), guarded(row.fixed or ""), row.key]
            writer.writerow([*name, row.number, *state, *values, *end])
    return text.getvalue().rstrip("\n")


def _csv_rows(content: _Content, *, all: bool) -> list[Row]:
    if all:
        return list(content.table.rows)
    by_number = {row.number: row for row in content.table.rows}
    return [by_number[trial.number] for trial in content.front]


def _known(value: float) -> float | str:
    return "" if value != value else value


# JSON


def _json(store: Store, content: _Content, *, all: bool) -> dict[str, Any]:
    record, row = content.record, ExperimentRow.of(content.record)
    value: dict[str, Any] = {
        "id": record.id,
        "name": record.name,
        "status": record.status,
        "kind": record.kind,
        "group": record.group,
        "tags": list(record.tags),
        "space": record.space,
        "space_fingerprint": record.space_fingerprint,
        "strategy": record.strategy,
        "seed": record.seed,
        "created_at": record.created_at.isoformat(),
        "finished_at": record.finished_at.isoformat() if record.finished_at else None,
        "elapsed_s": record.elapsed_s,
        "counts": dict(record.counts),
        "evaluated": row.spent,
        "budget_trials": row.budget,
        "objectives": [dict(item) for item in record.objectives],
        "constraints": [dict(item) for item in record.constraints],
        "metrics": [_metric_json(metric) for metric in metric_rows(record)],
        "best": _best(content.history),
        "hypervolume": _last(content.history.hypervolume) if content.history.reference else None,
        "reference": dict(content.history.reference),
        "baseline": _baseline_json(content.baseline),
        "notes": [{"title": note.title, "text": note.text} for note in _notes(content)],
        "front": [_trial_json(trial) for trial in content.front],
        "failures": [
            {"reason": each.reason, "trials": list(each.numbers)}
            for each in failures(content.table)
        ],
    }
    if all:
        value["trials"] = _all_json(store, content)
    data = DataOrigin.of(record)
    return {
        **value,
        "history": _history_json(content.history),
        "generations": [] if content.generations is None else generation_json(content.generations),
        "decisions": [decision_json(view) for view in content.decisions],
        "devices": [asdict(each) for each in model_origins(record)],
        "data": None if data is None else asdict(data),
        "versions": dict(record.versions),
        "spec": dict(record.spec),
    }


def _metric_json(metric: Any) -> dict[str, Any]:
    names = ("name", "unit", "direction", "split", "objective", "estimator")
    more = {"source": metric.provenance, "fingerprint": metric.fingerprint}
    return {name: getattr(metric, name) for name in names} | more


def _best(history: HistoryView) -> dict[str, float | None]:
    return {name: _last(values) for name, values in history.best.items()}


def _history_json(history: HistoryView) -> list[dict[str, Any]]:
    """Return where something became better, and the last evaluation."""
    columns = np.stack([history.hypervolume, *history.best.values()])
    changed = np.any(np.diff(columns, axis=1, prepend=np.nan) != 0, axis=0)
    changed &= np.isfinite(columns).all(axis=0)
    changed[-1:] |= len(changed) > 0 and bool(np.isfinite(columns[:, -1]).all())
    return [
        {
            "trial": int(history.number[row]),
            "evaluations": int(history.evaluations[row]),
            "elapsed_s": float(history.elapsed_s[row]),
            "hypervolume": float(history.hypervolume[row]),
            "best": {name: float(values[row]) for name, values in history.best.items()},
        }
        for row in np.flatnonzero(changed).tolist()
    ]


def _last(values: Any) -> float | None:
    """Return the last value, None where there is none or it is no number yet."""
    return float(values[-1]) if len(values) and values[-1] == values[-1] else None


def _baseline_json(view: BaselineView | None) -> dict[str, Any] | None:
    if view is None:
        return None
    return {
        "experiment": view.baseline.name,
        "verdict": view.verdict,
        "evaluations": view.evaluations,
        "score": view.score,
        "baseline_score": view.baseline_score,
        "difference": view.difference,
        "seeds": view.seeds,
        "p_value": view.p_value,
        "interval": list(view.interval) if view.interval else None,
        "sentence": view.sentence,
    }


def _all_json(store: Store, content: _Content) -> list[dict[str, Any]]:
    """Return every trial; the metrics of the table include those that rescoring added."""
    metrics = {row.number: row.metrics for row in content.table.rows}
    return [
        {
            **_trial_json(trial),
            "metrics": dict(metrics.get(trial.number, trial.metrics)),
            "status": trial.status,
            "violation": trial.violation,
            "duration_s": trial.duration_s,
            "error": trial.error,
        }
        for trial in store.trial_records(content.record.id)
    ]


def _trial_json(trial: TrialRecord) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "fixed": trial.fixed,
        "key": trial.key,
        "architecture": dict(trial.architecture),
        "notation": trial.notation,
        "metrics": dict(trial.metrics),
    }
