"""One experiment, or several, as one HTML file that opens anywhere, without a network."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from plotly.offline import get_plotlyjs

from ..db.records import ExperimentRecord, TrialRecord
from ..files import write_text
from .axes import default_axes, objective_axes
from .compare import BaselineView, Rivals
from .contest import Contest
from .decision_parts import decision_part, decision_views
from .details import metric_rows, option_text
from .diagnosis import Diagnosis, Failure, failures
from .explained import ArchitectureView
from .figures import best_figure, hypervolume_figure
from .generation_parts import generation_parts
from .generations import GenerationsView
from .markup import Html, el, join, notation, table
from .origins import MODEL_HEAD, DataOrigin, model_origins
from .plane import front_figure
from .progress import By
from .report_compare import anchor, comparison_header, comparison_sections
from .report_front import front_table, front_title
from .report_networks import networks_part, read_networks
from .report_parts import figure_part as _figure
from .report_parts import note_part as _note
from .report_parts import section as _section
from .rows import ExperimentRow, open_record
from .strategy_view import Notation, Part, StrategyView
from .summary import VERDICTS, Note, alone_note, bounds, caption, cards, facts, progress_note
from .table import TrialTable
from .views import HistoryView, Objectives, ParetoView, front, with_objectives
from .words import MISSING, plural, split_text, value_text

if TYPE_CHECKING:
    from ..db import Store

MAX_ERRORS = 10  # reasons of failed trials
MAX_NUMBERS = 12  # failed trials named per reason
CSP = (  # nothing from or to anywhere; plotly.js compiles its WebGL drawing, hence unsafe-eval
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data: blob:; form-action 'none'; base-uri 'none'"
)
CLOCK = "Time counts from the creation of an experiment to each result, pauses included."
WAYS: tuple[By, ...] = ("trials", "time")  # that histories are drawn along
STYLES = (("assets", "base.css"), ("assets", "picture.css"), ("templates", "report.css"))


@dataclass(frozen=True)
class _Content:
    """Everything that the report shows of an experiment, read once; ids begin with `prefix`."""

    prefix: str
    record: ExperimentRecord
    trials: TrialTable
    planes: Sequence[ParetoView]
    histories: Mapping[By, HistoryView]
    front: Sequence[TrialRecord]
    baseline: BaselineView | None
    beside: Mapping[By, Mapping[str, HistoryView]]
    diagnosis: Diagnosis | None
    failures: Sequence[Failure]
    failed: dict[int, TrialRecord]
    strategy: Sequence[Part]
    decisions: Sequence[Part]
    networks: Sequence[ArchitectureView]

    @classmethod
    def read(
        cls, store: Store, ref: str, objectives: Objectives = (), *, several: bool = False
    ) -> _Content:
        record = with_objectives(open_record(store, ref), objectives)
        trials = TrialTable.read(store, record)
        # a baseline was made for the run's own objectives
        rivals = None if objectives else Rivals.of(store, record, trials)
        shared = rivals.named_reference if rivals else {}
        reasons = failures(trials)
        first = [each.numbers[0] for each in reasons[:MAX_ERRORS]]
        failed = store.trial_records(record.id, numbers=first) if first else []
        members = front(store, record.id, table=trials, objectives=objectives)
        return cls(
            prefix=anchor(record) if several else "",
            record=record,
            trials=trials,
            planes=_planes(record, trials),
            histories={
                by: HistoryView.from_table(record, trials, reference=shared or None, by=by)
                for by in WAYS
            },
            front=members,
            baseline=BaselineView.from_rivals(rivals) if rivals else None,
            beside={
                by: {"random search": rivals.baseline_history(by)} if rivals and shared else {}
                for by in WAYS
            },
            diagnosis=Diagnosis.of(record, trials),
            failures=reasons,
            failed={trial.number: trial for trial in failed},
            strategy=[
                *StrategyView.of(store, record).parts,
                *generation_parts(GenerationsView.of(store, record, trials)),
            ],
            decisions=[decision_part(view) for view in decision_views(store, record, trials)],
            networks=read_networks(store, record.id, members),
        )

    @property
    def history(self) -> HistoryView:
        """How the result grew with the trials."""
        return self.histories["trials"]


def _planes(record: ExperimentRecord, trials: TrialTable) -> list[ParetoView]:
    """Return the planes of the first quality and each other objective, the default one first."""
    x, y = default_axes(record)
    others = [axis.metric for axis in objective_axes(record) if axis.metric not in (x, y)]
    return [ParetoView.from_table(record, trials, across, y) for across in (x, *others)]


def write_report(
    store: Store,
    ref: str | Sequence[str],
    path: str | os.PathLike[str],
    *,
    objectives: Objectives = (),
) -> Path:
    """Write the report of experiment `ref`, or of several, to `path` and return the path.

    The file holds everything it needs, plotly.js included (about 5 MB), and asks for nothing.

    Raises:
        StoreError: If there is no such experiment.
        SpecError: If several have no objective in common.
        OutputError: If the path cannot be written.
    """
    return write_text(path, report_html(store, ref, objectives=objectives))


def report_html(store: Store, ref: str | Sequence[str], *, objectives: Objectives = ()) -> str:
    """Return the report of experiment `ref` as HTML text; of several their comparison first.

    Args:
        store: Where it is.
        ref: Name, id or unique prefix; or several of them.
        objectives: What the front is made of instead of the experiment's own; then nothing is
            said of the baseline, which was made for those.
    """
    refs = [ref] if isinstance(ref, str) else list(ref)
    ids = list(dict.fromkeys(store.experiment(each).id for each in refs))
    several = len(ids) > 1
    contents = [_Content.read(store, each, objectives, several=several) for each in ids]
    names = " and ".join(content.record.name for content in contents)
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=CSP),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("title", f"{names} · netloom"),
        Html(f"<style>{''.join(_file(*style) for style in STYLES)}</style>"),
        Html(f"<script>{get_plotlyjs()}</script>"),
    )
    body = el(
        "body",
        *(_comparison(contents) if several else ()),
        *(part for content in contents for part in _whole(content)),
        el("footer", f"Made by netloom from {_origin(ids)}."),
        Html(f"<script>{_file('assets', 'files.js')}</script>"),
        Html(f"<script>{_file('templates', 'report.js')}</script>"),
    )
    return "<!doctype html>\n" + el("html", head, body, lang="en")


def _comparison(contents: Sequence[_Content]) -> Iterable[Html]:
    contest = Contest.from_tables([(content.record, content.trials) for content in contents])
    yield comparison_header(contest)
    yield el("main", *comparison_sections(contest))


def _whole(content: _Content) -> Iterable[Html]:
    """Yield all that is said of one experiment."""
    yield _header(content)
    yield el("main", *_sections(content))


def _origin(ids: Sequence[str]) -> str:
    return f"{'experiments' if len(ids) > 1 else 'experiment'} {', '.join(ids)}"


def _sections(content: _Content) -> Iterable[Html]:
    yield _headline(content)
    yield from _notes(content)
    for number, view in enumerate(content.planes, start=1):
        if view.shown.any():
            yield _plane(view, number, content.prefix, several=len(content.planes) > 1)
    if content.front:
        rows = front_table(content.record, content.front, content.prefix)
        yield _section(front_title(content.front), rows, wide=True)
    drawn = networks_part(content.networks, len(content.front), content.record.ref)
    if drawn is not None:
        yield _section("Networks of the front", drawn, wide=True)
    if content.history.reference:
        yield from _growth(content)
    for number, part in enumerate((*content.strategy, *content.decisions)):
        yield _part(part, number, content.prefix)
    if content.failures:
        yield _section("Failed trials", _failures(content), wide=True)
    yield _section("Where the numbers come from", _provenance(content.record), wide=True)
    if models := model_origins(content.record):
        rows = table(MODEL_HEAD, [each.cells for each in models], numeric=frozenset())
        yield _section("Models of devices", rows, wide=True)
    if (data := DataOrigin.of(content.record)) is not None:
        rows = table(("data", "value"), data.rows, numeric=frozenset())
        yield _section("Data", el("div", rows, class_="versions"), wide=True)
    spec = yaml.safe_dump(dict(content.record.spec), sort_keys=False, allow_unicode=True)
    yield _section("Spec", el("pre", spec, tabindex=0))
    yield _section("Versions", _versions(content.record))


def _header(content: _Content) -> Html:
    record, row = content.record, ExperimentRow.of(content.record)
    status = el("span", record.status, class_=f"status {record.status}")
    limits = bounds(record)
    return el(
        "header",
        None if content.prefix else el("p", "netloom", class_="brand"),
        el("h1", record.name, " ", status, id=f"{content.prefix}top" if content.prefix else None),
        el("p", row.goal, class_="goal"),
        el("p", limits, class_="goal bounds") if limits else None,
        el("p", " · ".join(facts(record)), class_="facts"),
    )


def _headline(content: _Content) -> Html:
    return el(
        "section",
        *(
            el(
                "div",
                el("strong", card.value),
                el("span", card.label),
                el("small", card.note) if card.note else None,
                class_="card",
            )
            for card in cards(content.record, content.planes[0], content.history)
        ),
        class_="cards wide",
    )


def _notes(content: _Content) -> Iterable[Html]:
    if (note := progress_note(content.record)) is not None:
        yield _note(note)
    if content.diagnosis is not None:
        yield _diagnosis(content.diagnosis)
    elif content.baseline is not None:
        verdict = content.baseline.verdict
        yield _note(Note(VERDICTS[verdict], content.baseline.sentence, verdict.replace(" ", "-")))
    elif (note := alone_note(content.record, content.planes[0])) is not None:
        yield _note(note)


def _diagnosis(found: Diagnosis) -> Html:
    more = []
    if found.notation:
        text = f"Trial {found.nearest}: "
        more.append(el("p", text, notation(found.notation), class_="nearest"))
    if found.shares:
        head = ("constraint", "trials that satisfy it", "closest")
        rows = [
            (share.text, f"{share.held:,} of {share.known:,}", share.nearest_text)
            for share in found.shares
        ]
        more.append(table(head, rows, numeric=frozenset({1})))
    return _note(Note(found.title, found.sentence, "behind" if found.broken else ""), *more)


def _plane(view: ParetoView, number: int, prefix: str, *, several: bool) -> Html:
    title = "Front" if view.front.any() else "Trials"
    if several:
        title += f": {view.y.metric} and {view.x.metric}"
    name = prefix + ("front" if number == 1 else f"front-{number}")
    said = [caption(view), "A click on a diamond opens its row below." if view.front.any() else ""]
    words = el("p", " ".join(filter(None, said)), class_="about")
    return _section(title, _figure(front_figure(view), name), words, wide=True)


def _growth(content: _Content) -> Iterable[Html]:
    for by, history in content.histories.items():
        beside = content.beside[by]
        best, end = best_figure(history, beside), "" if by == "trials" else f"-{by}"
        drawn = _figure(best, f"{content.prefix}best{end}")
        if len(history.objectives) == 1:  # its hypervolume would draw the same line again
            yield _section(f"Best so far, over {by}", drawn, wide=True)
            continue
        volume = _figure(hypervolume_figure(history, beside), f"{content.prefix}hypervolume{end}")
        words = _about(content) if by == "trials" else el("p", CLOCK, class_="about")
        yield _section(f"Hypervolume over {by}", volume, words)
        yield _section(f"Best so far, over {by}", drawn)


def _about(content: _Content) -> Html:
    units = {axis.metric: axis.unit for axis in content.history.objectives}
    corner = ", ".join(
        f"{name} {value_text(value, units[name])}"
        for name, value in content.history.reference.items()
    )
    whose = " of the search and its random baseline" if content.beside["trials"] else ""
    return el(
        "p",
        "The volume between the front and the reference point (",
        corner,
        "), in the product of the units. The reference is the worst feasible value of each "
        f"objective{whose} and 10 % of its range beyond.",
        class_="about",
    )


def _part(part: Part, number: int, prefix: str) -> Html:
    """Return something that the strategy trained, or what its decisions mean."""
    children: list[Html] = []
    if part.text:
        children.append(el("p", part.text, class_="about"))
    if part.figure is not None:
        drawing = _figure(part.figure, prefix + f"part-{number}")
        children.append(el("div", drawing, class_="scroll drawing", tabindex=0))
    if part.rows is not None:
        rows = [[notation(c) if isinstance(c, Notation) else c for c in r] for r in part.rows.rows]
        whole = table(part.rows.head, rows, numeric=part.rows.numeric)
        summary = el("summary", plural(len(rows), "row"))
        folded = el("details", summary, whole, class_="folded") if part.folded else whole
        children.append(folded)
    if part.code is not None:
        children.append(el("pre", part.code, class_="any", tabindex=0))
    return _section(part.title, *children, wide=True)


def _failures(content: _Content) -> Html:
    total = sum(len(each.numbers) for each in content.failures)
    said = f"{plural(total, 'trial')} failed for {plural(len(content.failures), 'reason')}"
    if len(content.failures) > MAX_ERRORS:
        said += f", the {MAX_ERRORS} most frequent ones are listed"
    first = content.failures[0].numbers[0]
    again = f"netloom repro {content.record.ref} --trial {first}"
    rows = [_failure(each, content.failed) for each in content.failures[:MAX_ERRORS]]
    return join(
        [
            el("p", f"{said}. Run one again, in the foreground: ", el("code", again)),
            table(("trials", "of them", "reason"), rows, numeric=frozenset({0})),
        ]
    )


def _failure(failure: Failure, records: dict[int, TrialRecord]) -> tuple[object, ...]:
    first = records[failure.numbers[0]]
    named = ", ".join(str(number) for number in failure.numbers[:MAX_NUMBERS])
    if len(failure.numbers) > MAX_NUMBERS:
        named += ", …"
    reason = el(
        "details",
        el("summary", failure.reason),
        el("p", f"Trial {first.number}: ", notation(first.notation or first.key)),
        el("pre", first.traceback or "no traceback recorded", tabindex=0),
    )
    return f"{len(failure.numbers):,}", named, reason


def _provenance(record: ExperimentRecord) -> Html:
    rows = [
        (
            metric.name,
            metric.unit or MISSING,
            metric.direction,
            split_text(metric.name, metric.split) or MISSING,
            metric.estimator,
            metric.provenance or MISSING,
            el("code", metric.fingerprint[:12]),
        )
        for metric in metric_rows(record)
    ]
    head = ("metric", "unit", "better", "split", "estimator", "source", "fingerprint")
    return el("div", table(head, rows, numeric=frozenset()), class_="sources")


def _versions(record: ExperimentRecord) -> Html:
    rows = [
        (name, shlex.join(map(str, value)) if isinstance(value, list) else option_text(value))
        for name, value in record.versions.items()
    ]
    rows += [("space fingerprint", record.space_fingerprint), ("experiment", record.id)]
    return el("div", table(("part", "version"), rows, numeric=frozenset()), class_="versions")


def _file(folder: str, name: str) -> str:
    return Path(__file__).with_name(folder).joinpath(name).read_text(encoding="utf-8")
