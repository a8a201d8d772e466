"""What all commands share: options, output, errors and exit codes."""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
import threading
import traceback
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TextIO

import typer

from ...errors import Interrupted, NetloomError, OutputError, SpecError
from . import completion

if TYPE_CHECKING:
    from ...db import Store
    from ...spaces import DecisionSpace

P = ParamSpec("P")

StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        help="Store to use; else NETLOOM_STORE, else sqlite:///netloom.db.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
ExperimentArgument = Annotated[
    str,
    typer.Argument(
        metavar="EXP",
        help="Experiment: name, id or unique prefix.",
        autocompletion=completion.experiments,
    ),
]
ExperimentsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="EXP...",
        help="Experiments: name, id or unique prefix of each.",
        autocompletion=completion.experiments,
    ),
]
SpecArgument = Annotated[str, typer.Argument(metavar="SPEC", help="The YAML file.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="A.B=C",
        help="Override one value of the spec; may be repeated. Values are read as YAML.",
    ),
]


class _State:
    debug = False
    running = False
    results: TextIO | None = None  # where a running command's results go; None: nowhere


def set_debug(on: bool) -> None:
    """Show tracebacks of errors, or one line each."""
    _State.debug = on


def command(
    app: typer.Typer, name: str, example: str, *, settings: dict[str, Any] | None = None
) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Register a command: help with an example, errors as one line, the project's exit codes."""

    def register(function: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                with _ended_by_sigterm(), _results_alone_on_stdout():
                    function(*args, **kwargs)
                    flush()
            except (NetloomError, KeyboardInterrupt, BrokenPipeError) as error:
                raise typer.Exit(report_error(error)) from error
            except typer.Exit:
                raise
            except Exception as error:
                if _is_typers(error):
                    raise
                raise typer.Exit(report_error(error)) from error

        app.command(
            name,
            epilog=f"Example: {example}",
            no_args_is_help=False,
            context_settings=settings,
        )(guarded)
        return guarded

    return register


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does: what it was writing is taken away again."""
    mine = threading.current_thread() is threading.main_thread()
    if not mine or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def _results_alone_on_stdout() -> Iterator[None]:
    """Send what imported code prints (a data set, an estimator) to stderr: it is no result."""
    _State.running, _State.results = True, sys.stdout
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _State.running, _State.results = False, None


def results() -> TextIO | None:
    """Return the stream that results are written to; None where stdout is closed."""
    return _State.results if _State.running else sys.stdout


def group(app: typer.Typer, name: str, about: str, example: str) -> typer.Typer:
    """Return a group of commands, registered; its help has an example too."""
    made = typer.Typer(no_args_is_help=True, help=about, epilog=f"Example: {example}")
    app.add_typer(made, name=name)
    return made


def report_error(error: BaseException) -> int:
    """Write an error to stderr, one line per problem, and return the exit code."""
    if isinstance(error, BrokenPipeError):  # the reader (head, less) has seen enough
        _silence_stdout()
        return 0
    if _State.debug:
        traceback.print_exception(error, file=sys.stderr)
    if isinstance(error, KeyboardInterrupt):
        note("interrupted")
        return Interrupted.exit_code
    if isinstance(error, NetloomError):
        for line in str(error).splitlines() or [type(error).__name__]:
            note(f"error: {line}")
        return error.exit_code
    text = " ".join(str(error).split())
    note(f"error: {type(error).__name__}: {text}")
    if not _State.debug:
        note("this was not expected; --debug shows the traceback")
    return 1


def _is_typers(error: Exception) -> bool:
    """Whether typer (or click) raised it: those carry their own message and exit code."""
    return type(error).__module__.split(".")[0] in {"typer", "click"}


def printable(text: str, *, keep: str = "\n\t") -> str:
    r"""Return text that a terminal only shows: names of the store may come from anybody.

    >>> printable("\x1b[2J gone")
    '\\u001b[2J gone'

    Args:
        text: What is printed.
        keep: Control characters that stay.
    """
    if text.isprintable():
        return text
    return "".join(
        f"\\u{ord(sign):04x}"
        if sign not in keep and unicodedata.category(sign) in _CONTROLS
        else sign
        for sign in text
    )


_CONTROLS = ("Cc", "Cf", "Cs", "Zl", "Zp")  # also marks that turn the direction of writing


def note(text: str) -> None:
    """Write a line for people to stderr; results alone go to stdout."""
    typer.echo(printable(text), err=True)


def emit(text: str, *, drawn: bool = False) -> None:
    """Write a result to stdout; a terminal gets no control characters that `text` may hold.

    Args:
        text: The result.
        drawn: Whether its control characters are our own: colours.

    Raises:
        OutputError: If stdout cannot be written: it is a file on a full disk.
    """
    with _writing():
        if (stream := results()) is not None:
            typer.echo(printable(text) if stream.isatty() and not drawn else text, file=stream)


def flush() -> None:
    """Hand over the results written so far.

    Raises:
        OutputError: If stdout cannot be written.
    """
    with _writing():
        if (stream := results()) is not None:
            stream.flush()


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise unwritable(error) from error


def unwritable(error: OSError) -> OutputError:
    """Return what is to be said of a file, or of stdout, that cannot be written."""
    if error.filename is None:
        _silence_stdout()
    where, why = error.filename or "stdout", error.strerror or error
    return OutputError(f"{where} cannot be written: {why}; send the results elsewhere")


def _silence_stdout() -> None:
    """Drop what stdout still holds: writing it at exit would fail once more."""
    if (stream := results()) is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def emit_json(value: Any, *, indent: int | None = 2) -> None:
    """Write a result to stdout as JSON."""
    emit(json.dumps(value, indent=indent, ensure_ascii=False, default=_plain))


def _plain(value: Any) -> Any:
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item"):  # a number of numpy's
        return value.item()
    return str(value)


def emit_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "") -> None:
    """Write a table to stdout: drawn on a terminal, plain aligned columns elsewhere."""
    stream, rows = results(), [[printable(cell, keep="") for cell in row] for row in rows]
    if stream is not None and stream.isatty():
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(title=title or None, title_justify="left", box=box.SIMPLE_HEAD)
        for column in columns:  # two metrics may differ in their last letters only
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell, overflow="fold") for cell in row))
        Console(file=stream).print(table)
        return
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    for row in (columns, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        emit("  ".join(cells).rstrip())


def emit_facts(facts: Mapping[str, str]) -> None:
    """Write `label  value` lines to stdout."""
    width = max(map(len, facts), default=0)
    for label, value in facts.items():
        emit(f"{label.ljust(width)}  {printable(value, keep='')}".rstrip())


def open_store(url: str | None, *, write: bool = False, create: bool = False) -> Store:
    """Open the store that `--store`, the environment or the default names.

    Args:
        url: What the user gave.
        write: Whether the command changes the store; viewers open it read-only.
        create: Whether a missing store is made.
    """
    from ...db import Store, store_url

    return Store(store_url(url), read_only=not write, create=create)


def store_words(url: str | None) -> str:
    """Return ` --store URL` for commands that are suggested to the user."""
    from ...db import public_url

    return f" --store {public_url(url)}" if url else ""


def writable_file(path: str, *, force: bool = True) -> Path:
    """Return `path` as a file that may be written.

    Raises:
        SpecError: If it is a folder, its folder does not exist, or it exists and `force` is off.
    """
    file = _usable(path)
    if file.is_dir():
        raise SpecError(f"an output must be a file, got the folder {path!r}; name a file in it")
    if not file.parent.is_dir():
        raise SpecError(f"there is no folder {str(file.parent)!r} to write {file.name!r} into")
    if file.exists() and not force:
        raise SpecError(f"{path!r} exists; choose another name or add --force")
    return file


def readable_file(path: str) -> Path:
    """Return `path` as a file that may be read.

    Raises:
        SpecError: If there is none.
    """
    file = _usable(path)
    if file.is_dir() or not file.exists():
        kind = "is a folder" if file.is_dir() else "does not exist"
        raise SpecError(f"{path!r} {kind}; name a file")
    return file


def _usable(path: str) -> Path:
    """Return a path that the system can look up.

    Raises:
        SpecError: If it cannot: too long a name, a folder without permission, no such user.
    """
    try:
        file = Path(path).expanduser()
        file.stat()
    except FileNotFoundError:
        pass
    except (OSError, RuntimeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise SpecError(f"{path!r} cannot be used: {why}; name another file") from error
    return file


def read_lines(path: str) -> list[str]:
    """Return the lines of a text file.

    Raises:
        SpecError: If it cannot be read as UTF-8 text.
    """
    try:
        text = readable_file(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(f"{path!r} must be UTF-8 text: {error}") from error
    except OSError as error:
        raise SpecError(f"cannot read {path!r}: {error.strerror or error}") from error
    return text.removesuffix("\n").split("\n")  # splitlines would cut JSON text at U+2028 too


def made_space(name: str, options: Sequence[str] | None, *, given_as: str) -> DecisionSpace:
    """Return the space of a command line; its module may stand in the current folder.

    Args:
        name: Registered name or import path.
        options: The texts of `--option`.
        given_as: How the command line calls the name, for messages.

    Raises:
        SpecError: If there is none, or an option is wrong.
    """
    from ...options import SpecProblems
    from ..run.parts import make_importable, make_space
    from ..run.spec import Named

    values = pairs(options, "--option")
    if "name" in values:
        raise SpecError(f"the name of a space is given as {given_as}, got --option name=...")
    make_importable(Path.cwd())
    where = ("--option",)
    try:
        return make_space(Named(name=name, **values), where=where)[0]
    except SpecProblems as error:
        raise error.moved(given_as, where, (*where, "name")) from error


def first_line(thing: Any) -> str:
    """Return the first line of a docstring without its full stop."""
    text = (getattr(thing, "__doc__", None) or "").strip()
    return text.splitlines()[0].rstrip(".") if text else ""


def pairs(texts: Sequence[str] | None, option: str) -> dict[str, Any]:
    """Return the values of repeated `key=value` options, read as YAML.

    Raises:
        SpecError: If one has no `=`.
    """
    from ..run.yaml_text import scalar

    values: dict[str, Any] = {}
    for text in texts or ():
        key, sign, value = text.partition("=")
        if not sign or not key.strip():
            raise SpecError(f"{option} must read key=value, got {text!r}")
        values[key.strip()] = scalar(value)
    return values
