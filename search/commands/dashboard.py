"""`netloom report` and `netloom dashboard`: see results."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

from ...errors import SpecError
from .common import (
    ExperimentsArgument,
    StoreOption,
    command,
    emit,
    note,
    open_store,
    read_lines,
    writable_file,
)
from .pareto import ObjectiveOption

Shape: TypeAlias = Literal["html", "md", "csv", "json"]
PASSWORD = "NETLOOM_DASHBOARD_PASSWORD"
ENDINGS: dict[str, Shape | Literal["png"]] = {
    ".html": "html",
    ".htm": "html",
    ".md": "md",
    ".csv": "csv",
    ".json": "json",
    ".png": "png",
}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    example = "netloom report nsga2-s0 nsga2-s1 random -o comparison.html"
    command(app, "report", example)(report)
    command(app, "dashboard", "netloom dashboard --port 8050")(dashboard)


def report(
    experiment: ExperimentsArgument,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Where to write; EXP.html by default, of several comparison.html. FILE.png is a "
            "picture of the front alone.",
        ),
    ] = None,
    shape: Annotated[
        Shape | None,
        typer.Option(
            "--format",
            "-f",
            help="What the ending of FILE says, html without one. md (for papers), csv and json "
            "(for scripts) are printed unless -o names a file.",
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every trial, not the front alone (csv and json).")
    ] = False,
    objective: ObjectiveOption = None,
    store: StoreOption = None,
) -> None:
    """Write one self-contained HTML file: front, progress, architectures, spec, versions.

    Of several experiments their comparison comes first; runs of one spec that differ in their seed
    alone count as one competitor.

    --format md, csv or json gives the same to papers and scripts.
    """
    from ...dashboard.report import write_report
    from ...dashboard.rows import open_record
    from ..run.rescoring import objectives_of

    made = _shape(output, shape)
    if every and made not in ("csv", "json"):
        raise SpecError(f"--all lists every trial as csv or json, got the format {made}")
    if made == "md" or made == "csv" or made == "json":
        _report_text(experiment, made, output, objective, store, every=every)
        return

    with open_store(store) as opened:
        records = {r.id: r for r in (open_record(opened, each) for each in experiment)}
        record, *others = records.values()
        objectives = objectives_of(record, objective or ())
        target = writable_file(output or _file_name("comparison" if others else record.name))
        if made == "png":
            if others:
                raise SpecError(
                    f"a picture shows the front of one experiment, got {len(records)}; give one, "
                    "or write a report: -o comparison.html"
                )
            from ...dashboard.image import write_front_image

            path = write_front_image(opened, record.id, target, objectives=objectives)
        else:
            path = write_report(opened, list(records), target, objectives=objectives)
    emit(str(path))


def _shape(output: str | None, wanted: Shape | None) -> Shape | Literal["png"]:
    """Return what to write: what the ending of the file says, and `--format` must not deny it.

    Raises:
        SpecError: If both differ, or neither says anything.
    """
    ending = Path(output or "").suffix.lower()
    told = ENDINGS.get(ending)
    if told is not None and wanted not in (None, told):
        remedy = f"write --format {told}" if told != "png" else "leave --format out"
        raise SpecError(
            f"a file that ends with {ending} holds {told}, got {output} with --format {wanted}; "
            f"{remedy}, or give the file another ending"
        )
    if ending and told is None and wanted is None:
        raise SpecError(
            f"the ending of a file says what a report is written as ({', '.join(ENDINGS)}), got "
            f"{output}; use one of these endings, or add --format"
        )
    return told or wanted or "html"


def _file_name(name: str) -> str:
    """Return a file in this folder, whatever an experiment is called."""
    words = re.sub(r"[^\w.\- ]", "_", name).lstrip(".-")
    return f"{words.encode()[:100].decode(errors='ignore') or 'report'}.html"


def _report_text(
    experiments: list[str],
    shape: Literal["md", "csv", "json"],
    output: str | None,
    objective: list[str] | None,
    store: str | None,
    *,
    every: bool,
) -> None:
    """Print the report as text, or write it where `output` says."""
    from ...dashboard.report_formats import report_text
    from ...dashboard.rows import open_record
    from ...files import write_text
    from ..run.rescoring import objectives_of

    target = writable_file(output) if output else None
    with open_store(store) as opened:
        objectives = objectives_of(open_record(opened, experiments[0]), objective or ())
        text = report_text(opened, experiments, shape, objectives=objectives, all=every)
    if target is None:
        emit(text)
    else:
        emit(str(write_text(target, text + "\n")))


def dashboard(
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")
    ] = 8050,
    auth: Annotated[
        bool,
        typer.Option(
            "--auth",
            help="Ask for the password in NETLOOM_DASHBOARD_PASSWORD; needed where --host is "
            "not this machine's own address.",
        ),
    ] = False,
    auth_file: Annotated[
        str | None,
        typer.Option("--auth-file", metavar="FILE", help="Ask for the password in this file."),
    ] = None,
    store: StoreOption = None,
) -> None:
    """Serve the dashboard of a store, until Ctrl-C."""
    from ...dashboard.app import serve
    from ...db import store_url

    password = _password(auth, auth_file)
    open_store(store).close()  # say what is wrong with the store before anything is served
    serve(
        store_url(store),
        host,
        port,
        password=password,
        on_ready=lambda url: note(f"dashboard: {url} (Ctrl-C ends it)"),
    )


def _password(auth: bool, file: str | None) -> str | None:
    """Return what a browser must know; it is never given on the command line, where others read.

    Raises:
        SpecError: If there is none where one is asked for, or it is too short.
    """
    from ...dashboard.guard import checked_password

    if file is not None:
        return checked_password(read_lines(file)[0], file)
    if not auth:
        return None
    password = os.environ.get(PASSWORD)
    if password is None:
        raise SpecError(f"--auth needs a password: set {PASSWORD}, or give --auth-file FILE")
    return checked_password(password, PASSWORD)
