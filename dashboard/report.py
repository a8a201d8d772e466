"""One experiment as one HTML file that opens anywhere, without a network."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import plotly.graph_objects as go
import plotly.io as pio
import yaml
from plotly.offline import get_plotlyjs

from ..db.records import ExperimentRecord, TrialRecord
from ..errors import SpecError
from .compare import BaselineView
from .details import Diagnosis, MetricRow, metric_rows, option_text
from .figures import best_figure, front_figure, hypervolume_figure
from .markup import Html, el, join, table
from .rows import ExperimentRow, spent_text
from .table import TrialTable
from .views import HistoryView, ParetoView, front
from .words import MISSING, plural, seconds_text, value_text

if TYPE_CHECKING:
    from ..db import Store

MAX_ROWS = 500  # front networks listed; the figure shows them all
MAX_ERRORS = 10
CSP = (  # nothing from anywhere; plotly.js compiles its WebGL drawing, hence unsafe-eval
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:"
)
CONFIG = {"responsive": True, "displaylogo": False}


@dataclass(frozen=True)
class _Content:
    """Everything that the report shows, read once."""

    record: ExperimentRecord
    row: ExperimentRow
    trials: TrialTable
    pareto: ParetoView
    history: HistoryView
    front: Sequence[TrialRecord]
    baseline: BaselineView | None
    baseline_history: HistoryView | None
    diagnosis: Diagnosis | None
    failed: Sequence[TrialRecord]

    @classmethod
    def read(cls, store: Store, ref: str) -> _Content:
        record = store.experiment(ref)
        trials = TrialTable.read(store, record)
        history = HistoryView.from_table(record, trials)
        baseline = BaselineView.of(store, record.id, table=trials)
        beside = None
        if baseline is not None and history.reference:
            other = store.experiment(baseline.baseline.id)
            beside = HistoryView.from_table(
                other, TrialTable.read(store, other), reference=history.reference
            )
        failed = trials.number[trials.status == "failed"][:MAX_ERRORS].tolist()
        return cls(
            record=record,
            row=ExperimentRow.of(record),
            trials=trials,
            pareto=ParetoView.from_table(record, trials, None, None),
            history=history,
            front=front(store, record.id, table=trials),
            baseline=baseline,
            baseline_history=beside,
            diagnosis=Diagnosis.of(record, trials),
            failed=store.trial_records(record.id, numbers=failed) if failed else [],
        )


def write_report(store: Store, ref: str, path: str | os.PathLike[str]) -> Path:
    """Write the report of experiment `ref` to `path` and return the path.

    The file holds everything it needs, plotly.js included (about 5 MB), and asks for nothing.

    Raises:
        StoreError: If there is no such experiment.
        SpecError: If the path cannot be written.
    """
    html, target = report_html(store, ref), Path(path)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        partial.write_text(html, encoding="utf-8")
        partial.replace(target)
    except OSError as error:
        raise SpecError(
            f"a report needs a path that can be written, got {target}: {error.strerror}; "
            "give another one with -o"
        ) from error
    return target


def report_html(store: Store, ref: str) -> str:
    """Return the report of experiment `ref` as HTML text."""
    content = _Content.read(store, ref)
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=CSP),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("title", f"{content.record.name} · netloom"),
        Html(f"<style>{_file('assets', 'base.css')}{_file('templates', 'report.css')}</style>"),
        Html(f"<script>{get_plotlyjs()}</script>"),
    )
    body = el(
        "body",
        _header(content),
        el("main", *_sections(content)),
        el("footer", f"Made by netloom from experiment {content.record.id}."),
        Html(f"<script>{_file('templates', 'report.js')}</script>"),
    )
    return "<!doctype html>\n" + el("html", head, body, lang="en")


def _sections(content: _Content) -> Iterable[Html]:
    yield _headline(content)
    if content.baseline is not None:
        yield _baseline(content.baseline)
    if content.diagnosis is not None:
        yield _diagnosis(content.diagnosis)
    if content.pareto.shown.any():
        yield _section("Front", _figure(front_figure(content.pareto), "front"), wide=True)
    if content.front:
        yield _section(_front_title(content), _front_table(content), wide=True)
    if content.history.reference:
        others = {"random search": content.baseline_history} if content.baseline_history else None
        growth = hypervolume_figure(content.history, others)
        yield _section("Hypervolume over trials", _figure(growth, "hypervolume"), _about(content))
        yield _section("Best so far", _figure(best_figure(content.history), "best"))
    if content.failed:
        yield _section("Failed trials", _failures(content), wide=True)
    yield _section("Where the numbers come from", _provenance(content.record), wide=True)
    spec = yaml.safe_dump(dict(content.record.spec), sort_keys=False, allow_unicode=True)
    yield _section("Spec", el("pre", spec))
    yield _section("Versions", _versions(content.record))


def _header(content: _Content) -> Html:
    record, row = content.record, content.row
    facts = [
        f"space {record.space}",
        f"strategy {record.strategy}",
        f"seed {record.seed}",
        f"{record.created_at:%Y-%m-%d %H:%M} UTC",
        seconds_text(row.elapsed_s),
    ]
    status = el("span", record.status, class_=f"status {record.status}")
    return el(
        "header",
        el("p", "netloom", class_="brand"),
        el("h1", record.name, " ", status),
        el("p", row.goal, class_="goal"),
        el("p", " · ".join(facts), class_="facts"),
    )


def _headline(content: _Content) -> Html:
    counts = content.record.counts
    rest = [
        f"{counts[status]:,} {status}"
        for status in ("infeasible", "pruned", "failed", "running", "queued")
        if counts.get(status)
    ]
    cards = [
        ("networks on the front", f"{len(content.front):,}", None),
        ("evaluated", spent_text(content.row), ", ".join(rest) or None),
    ]
    for axis in content.history.objectives:
        best = content.history.best[axis.metric]
        value = float(best[-1]) if len(best) else None
        cards.append((f"best {axis.metric}", value_text(value, axis.unit), None))
    volume = content.pareto.hypervolume
    if len(content.history.objectives) > 1 and volume is not None:
        cards.append(("hypervolume", value_text(volume), None))
    return el(
        "section",
        *(
            el(
                "div",
                el("strong", value),
                el("span", label),
                el("small", note) if note else None,
                class_="card",
            )
            for label, value, note in cards
        ),
        class_="cards wide",
    )


def _baseline(view: BaselineView) -> Html:
    title = {
        "ahead": "Ahead of random search",
        "behind": "Behind random search",
        "level": "Not told apart from random search",
        "too few": "Too little to compare with random search",
    }[view.verdict]
    return el(
        "section",
        el("h2", title),
        el("p", view.sentence),
        class_=f"note wide {view.verdict.replace(' ', '-')}",
    )


def _diagnosis(found: Diagnosis) -> Html:
    rows = [
        (share.text, f"{share.held:,} of {share.known:,}", share.nearest_text)
        for share in found.shares
    ]
    shown = None
    if rows:
        head = ("constraint", "trials that satisfy it", "closest value")
        shown = table(head, rows, numeric=frozenset({1, 2}))
    return el(
        "section",
        el("h2", "Nothing feasible"),
        el("p", found.sentence),
        shown,
        class_="note wide behind",
    )


def _front_title(content: _Content) -> str:
    count = len(content.front)
    cut = f", the first {MAX_ROWS} of them" if count > MAX_ROWS else ""
    return f"The front: {plural(count, 'network')}{cut}"


def _front_table(content: _Content) -> Html:
    metrics = metric_rows(content.record)
    shown = [
        metric for metric in metrics if any(metric.name in trial.metrics for trial in content.front)
    ]
    head = ["trial", "architecture", *(_column_head(metric) for metric in shown)]
    rows = (
        el(
            "tr",
            el("td", trial.number, class_="number"),
            el("td", _architecture(trial)),
            *(
                el(
                    "td",
                    value_text(trial.metrics.get(metric.name), metric.unit),
                    class_="number objective" if metric.objective else "number",
                )
                for metric in shown
            ),
            id=f"trial-{trial.number}",
        )
        for trial in content.front[:MAX_ROWS]
    )
    header = el(
        "tr", *(el("th", cell, class_="number" if i != 1 else None) for i, cell in enumerate(head))
    )
    return el("div", el("table", el("thead", header), el("tbody", *rows)), class_="scroll front")


def _column_head(metric: MetricRow) -> Html:
    arrow = "↑" if metric.direction == "maximize" else "↓"
    note = el("small", "held out") if metric.split == "test" else None
    return join([f"{metric.name} {arrow} ", note])


def _architecture(trial: TrialRecord) -> Html:
    decisions = [(name, option_text(value)) for name, value in trial.architecture.items()]
    return el(
        "details",
        el("summary", el("code", trial.notation or trial.key[:12])),
        table(("decision", "value"), decisions, numeric=frozenset()),
        el("p", "key ", el("code", trial.key), class_="key"),
    )


def _about(content: _Content) -> Html:
    units = {axis.metric: axis.unit for axis in content.history.objectives}
    corner = ", ".join(
        f"{name} {value_text(value, units[name])}"
        for name, value in content.history.reference.items()
    )
    return el(
        "p",
        "The volume between the front and the reference point (",
        corner,
        "), in the product of the units. The reference is the worst feasible value of each "
        "objective and 10 % of its range beyond.",
        class_="about",
    )


def _failures(content: _Content) -> Html:
    rows = [
        (
            trial.number,
            el("code", trial.notation or trial.key[:12]),
            el(
                "details",
                el("summary", trial.error or "no reason recorded"),
                el("pre", trial.traceback or "no traceback recorded"),
            ),
        )
        for trial in content.failed
    ]
    total = content.record.counts.get("failed", len(rows))
    return join(
        [
            el("p", f"{plural(total, 'trial')} failed; the first {len(rows)} are listed.")
            if total > len(rows)
            else None,
            table(("trial", "architecture", "reason"), rows, numeric=frozenset({0})),
        ]
    )


def _provenance(record: ExperimentRecord) -> Html:
    rows = [
        (
            metric.name,
            metric.unit or MISSING,
            metric.direction,
            "test, held out" if metric.split == "test" else metric.split,
            metric.estimator,
            metric.provenance or MISSING,
            el("code", metric.fingerprint[:12]),
        )
        for metric in metric_rows(record)
    ]
    head = ("metric", "unit", "better", "split", "estimator", "source", "fingerprint")
    return el("div", table(head, rows, numeric=frozenset()), class_="sources")


def _versions(record: ExperimentRecord) -> Html:
    rows = [(name, option_text(value)) for name, value in record.versions.items()]
    rows += [("space fingerprint", record.space_fingerprint), ("experiment", record.id)]
    return el("div", table(("part", "version"), rows, numeric=frozenset()), class_="versions")


def _section(title: str, *children: Html, wide: bool = False) -> Html:
    return el("section", el("h2", title), *children, class_="wide" if wide else None)


def _figure(figure: go.Figure, name: str) -> Html:
    # No width of its own: the page decides, and `responsive` follows it.
    text = pio.to_html(
        figure, include_plotlyjs=False, full_html=False, div_id=f"figure-{name}", config=CONFIG
    )
    return Html(text)


def _file(folder: str, name: str) -> str:
    return Path(__file__).with_name(folder).joinpath(name).read_text(encoding="utf-8")
