"""The `netloom` command."""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from .. import __version__
from .commands import (
    catalog,
    dashboard,
    devices,
    doctor,
    estimate,
    explain_trials,
    export,
    init,
    labels,
    listing,
    manage,
    measure,
    pareto,
    repro,
    rescore,
    retrain,
    search,
    spaces,
    trials,
    validate,
)
from .commands.common import report_error, set_debug, unwritable

app = typer.Typer(
    name="netloom",
    help="Find neural networks for the hardware they must run on.",
    epilog="Example: netloom search examples/quickstart.yaml && netloom pareto quickstart",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"netloom {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    set_debug(debug)


for _module in (
    init,
    validate,
    search,
    retrain,
    listing,
    pareto,
    rescore,
    export,
    repro,
    explain_trials,
    estimate,
    spaces,
    catalog,
    devices,
    measure,
    dashboard,
    trials,
    labels,
    manage,
    doctor,
):
    _module.register(app)


def main() -> None:
    """Run the command line; `--debug` is understood anywhere before `--`."""
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    if "--debug" in words[1:end]:
        words = ["--debug", *(w for i, w in enumerate(words) if w != "--debug" or i >= end)]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a letter that a terminal lacks is no error
            stream.reconfigure(errors="backslashreplace")
    try:
        app(args=words)
    except (KeyboardInterrupt, BrokenPipeError) as error:  # around a command: it has its own
        sys.exit(report_error(error))
    except OSError as error:  # help onto a full disk, completion for a read-only shell
        sys.exit(report_error(unwritable(error)))
