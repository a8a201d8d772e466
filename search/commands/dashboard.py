"""`netloom report` and `netloom dashboard`: see results."""

from __future__ import annotations

from typing import Annotated

import typer

from .common import ExperimentArgument, StoreOption, command, emit, note, open_store, writable_file
from .pareto import ObjectiveOption


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "report", "netloom report quickstart -o report.html")(report)
    command(app, "dashboard", "netloom dashboard --port 8050")(dashboard)


def report(
    experiment: ExperimentArgument,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Where to write; EXP.html by default. FILE.png is a picture of the front alone.",
        ),
    ] = None,
    objective: ObjectiveOption = None,
    store: StoreOption = None,
) -> None:
    """Write one self-contained HTML file: front, progress, architectures, spec, versions."""
    from ...dashboard.report import write_report
    from ...dashboard.rows import open_record
    from ..run.rescoring import objectives_of

    with open_store(store) as opened:
        record = open_record(opened, experiment)
        objectives = objectives_of(record, objective or ())
        target = writable_file(output or f"{record.name}.html")
        if target.suffix.lower() == ".png":
            from ...dashboard.image import write_front_image

            path = write_front_image(opened, record.id, target, objectives=objectives)
        else:
            path = write_report(opened, record.id, target, objectives=objectives)
    emit(str(path))


def dashboard(
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")
    ] = 8050,
    store: StoreOption = None,
) -> None:
    """Serve the dashboard of a store, until Ctrl-C."""
    from ...dashboard.app import serve
    from ...db import store_url

    open_store(store).close()  # say what is wrong with the store before anything is served
    serve(
        store_url(store),
        host,
        port,
        on_ready=lambda url: note(f"dashboard: {url} (Ctrl-C ends it)"),
    )
