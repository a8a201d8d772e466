"""Tables as CSV files, streamed; and plotly.js, for figures that are saved as a page."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import NetloomError
from .axes import TRIAL_AXIS, available_axes, feasible_losses, front_of
from .choice import Choice
from .list_choice import ListChoice
from .list_page import ordered
from .paging import chosen_rows, row_cells
from .results import Result
from .rows import ExperimentRow
from .selection import within
from .source import Source

if TYPE_CHECKING:
    import dash

CHUNK = 500  # rows that are written at a time
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a cell that begins so is run by spreadsheets
_COLUMNS = {
    "number": "trial",
    "status": "status",
    "front": "front",
    "fixed": "published",
    "violation": "violation",
    "duration_s": "duration_s",
    "notation": "architecture",
    "key": "key",
}


def register(app: dash.Dash, source: Source) -> None:
    """Add the addresses of the files."""
    from flask import Response, request
    from plotly.offline import get_plotlyjs

    server = app.server

    def search() -> str:
        return request.query_string.decode(errors="replace")

    def answer(name: str, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Response:
        disposition = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
        return Response(csv_text(head, rows), mimetype="text/csv", headers=disposition)

    @server.route("/download/<id>/trials.csv")  # type: ignore[untyped-decorator]
    def trials(id: str) -> Response:
        try:
            head, rows = trial_rows(source, id, Choice.parse(search()))
        except NetloomError as error:
            return Response(f"{error}\n", status=404, mimetype="text/plain")
        return answer("trials", head, rows)

    @server.route("/download/experiments.csv")  # type: ignore[untyped-decorator]
    def experiments() -> Response:
        try:
            head, rows = experiment_rows(source, ListChoice.parse(search()))
        except NetloomError as error:
            return Response(f"{error}\n", status=404, mimetype="text/plain")
        return answer("experiments", head, rows)

    @server.route("/download/plotly.js")  # type: ignore[untyped-decorator]
    def plotly() -> Response:
        return Response(get_plotlyjs(), mimetype="text/javascript")


def trial_rows(source: Source, ref: str, choice: Choice) -> tuple[list[str], Iterator[list[Any]]]:
    """Return head and rows of the trial table of an experiment, as its page shows it.

    Raises:
        StoreError: If there is no such experiment.
        UnknownName: If an axis of the selected region is no metric of it.
        SpecError: If a filter or the order names a column that the table has not.
    """
    shot = source.snapshot(ref)
    names = [a.metric for a in available_axes(shot.record) if a.metric != TRIAL_AXIS]
    front = front_of(feasible_losses(shot.table, shot.record))
    request = {"filterModel": choice.rules, "sortModel": choice.order}
    chosen = chosen_rows(shot.table, request, front, names, within(shot, choice)).tolist()
    metrics = {f"m{index}": name for index, name in enumerate(names)}
    columns = {**_COLUMNS, **metrics}

    def rows() -> Iterator[list[Any]]:
        for row in chosen:
            cells = row_cells(shot.table.rows[row], bool(front[row]), names)
            yield [cells[column] for column in columns]

    return list(columns.values()), rows()


def experiment_rows(source: Source, choice: ListChoice) -> tuple[list[str], list[list[Any]]]:
    """Return head and rows of the list of experiments that fit, in its order.

    Raises:
        SpecError: If the order names a column that the list has not.
    """
    every = source.rows(baselines=bool(choice.baselines), archived=bool(choice.archived))
    rows = [row for row in every if choice.fits(row)]
    results = source.results(rows)
    rows = ordered(rows, choice.order, lambda _: results)
    return list(_EXPERIMENT), [_experiment_cells(row, results[row.id]) for row in rows]


_EXPERIMENT = (
    *("name", "id", "status", "evaluated", "budget", "objectives", "best values", "hypervolume"),
    *("front", "duration_s", "started", "strategy", "space", "seed", "group", "tags"),
)


def _experiment_cells(row: ExperimentRow, result: Result) -> list[Any]:
    found = [_best(row, result), result.hypervolume, row.front_size]
    ran = [row.elapsed_s, row.created_at.isoformat(), row.strategy, row.space, row.seed]
    head = [row.name, row.id, row.status, row.spent, row.budget, row.goal]
    return [*head, *found, *ran, row.group, " ".join(row.tags)]


def _best(row: ExperimentRow, result: Result) -> str:
    """Return best values in full, in the order of the objectives."""
    values = (result.best.get(axis.metric) for axis in row.objectives)
    return " ".join("-" if value is None else repr(value) for value in values)


def csv_text(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """Yield a CSV file in pieces; texts that a spreadsheet would run begin with an apostrophe."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow([guarded(name) for name in head])
    for count, row in enumerate(rows, start=1):
        writer.writerow([guarded(cell) for cell in row])
        if count % CHUNK == 0:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def guarded(cell: Any) -> Any:
    """Return a cell that no spreadsheet takes for a formula; numbers are as they are.

    >>> guarded("=1+1"), guarded(-1.5), guarded("a=b"), guarded(None)
    ("'=1+1", -1.5, 'a=b', None)
    """
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
