"""`netloom measure | calibrate`: a device of one's own, from networks timed on it."""

from __future__ import annotations

import re
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ...errors import SpecError
from ...hw_models.dtypes import Dtype
from . import completion
from .common import (
    JsonOption,
    command,
    emit,
    emit_facts,
    emit_json,
    made_space,
    note,
    pairs,
    read_lines,
    writable_file,
)

if TYPE_CHECKING:
    from ...hw_models.calibrate import Calibration
    from ...spaces import Space
    from ..run.measurements import Table

_BUSY_PERCENT = 15.0  # quartiles further apart tell of other programs, not of networks
_NAME = re.compile(r"^[A-Za-z0-9_.-]+$")

SpaceOption = Annotated[
    str,
    typer.Option(
        "--space", help="Name, or package.module:Class.", autocompletion=completion.spaces
    ),
]
OptionOption = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="K=V", help="Option of the space; may be repeated."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    example = "netloom measure --space nb201 --n 60 --device-name my-cpu"
    command(app, "measure", example)(measure)
    command(app, "calibrate", "netloom calibrate my-cpu.csv --device my-cpu")(calibrate)


def measure(
    space: SpaceOption,
    device_name: Annotated[
        str, typer.Option("--device-name", metavar="NAME", help="What the device is to be called.")
    ],
    n: Annotated[
        int, typer.Option("--n", min=1, help="Different networks, drawn at random; 60 say much.")
    ] = 60,
    option: OptionOption = None,
    place: Annotated[
        Literal["cpu", "cuda"], typer.Option("--on", help="Where the networks run.")
    ] = "cpu",
    batch: Annotated[int, typer.Option("--batch", min=1, help="Images at once.")] = 1,
    dtype: Annotated[Dtype, typer.Option("--dtype", help="Number format.")] = "float32",
    threads: Annotated[
        int | None,
        typer.Option("--threads", min=1, help="Threads of a CPU; as many as torch takes else."),
    ] = None,
    runs: Annotated[
        int, typer.Option("--runs", min=3, help="Timed runs of each network, after a warm-up.")
    ] = 30,
    repeats: Annotated[
        int | None,
        typer.Option(
            "--repeats",
            min=0,
            help="Networks measured once more at the end, for the noise ceiling; 10 and up tell "
            "one (default: a third, at least 10).",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of sample and weights.")] = 0,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="FILE", help="NAME.csv when left out.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No line per network.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Time real networks of a space on this machine, into a CSV file.

    Median and quartiles of single runs. A row is written as soon as it is measured; the same
    command goes on where it was interrupted. Close other programs first.
    """
    import torch

    from ...hw_models.timing import hardware_name, thread_count
    from ..run.measurements import Setting, Table, buildable, visits_of

    _check_name(device_name)
    if dtype in ("int8", "int16"):
        raise SpecError(f"networks are measured in a floating-point format, got --dtype {dtype}")
    built = buildable(made_space(space, option, given_as="--space"))
    again = min(n, max(10, n // 3)) if repeats is None else repeats
    visits = visits_of(built, n, again, seed)
    file = writable_file(output or f"{device_name}.csv")
    with thread_count(threads) as count:
        setting = Setting(
            device_name,
            hardware_name(place),
            place,
            count,
            batch,
            dtype,
            torch.__version__,
            space,
            _json(pairs(option, "--option")),
            seed,
        )
        table = Table(file, setting)
        try:
            _measure(built, visits, table, runs, quiet)
        except KeyboardInterrupt:
            note(f"{len(table.done)} of {len(visits)} measured; the same command goes on")
            raise
    facts = {"file": str(file), "networks": n, "measurements": len(table.done)}
    if as_json:
        emit_json(facts)
        return
    note(f"next: netloom calibrate {file} --device {device_name}")
    emit(str(file))


def _measure(space: Space, visits: list[Any], table: Table, runs: int, quiet: bool) -> None:
    """Measure what the table does not have yet."""
    import torch

    from ...dashboard.words import seconds_text
    from ...hw_models.timing import time_network
    from ..run.measurements import visit_of

    setting = table.setting
    left = [(m, visit) for m, visit in visits if (m.key, visit) not in table.done]
    if len(left) < len(visits):
        note(f"{len(visits) - len(left)} of {len(visits)} are measured already")
    start, spreads = time.monotonic(), list[float]()
    for done, (member, visit) in enumerate(left, start=1):
        torch.manual_seed(setting.seed)
        found = time_network(
            space.build(member),
            space.example_input(member),
            place=setting.place,
            batch=setting.batch,
            dtype=setting.dtype,  # type: ignore[arg-type]
            runs=runs,
            seed=setting.seed,
        )
        row = visit_of(space, member, visit, found)
        table.add(row)
        spreads.append(found.spread_percent)
        if not quiet:
            rest = (time.monotonic() - start) / done * (len(left) - done)
            note(
                f"[{len(table.done)}/{len(visits)}] {found.median_ms:.4g} ms, quartiles "
                f"{found.spread_percent:.1f} % apart, {seconds_text(rest)} left: {row.notation}"
            )

    if spreads and (typical := median(spreads)) > _BUSY_PERCENT:
        note(
            f"the quartiles of a network are {typical:.0f} % apart, by the median: the machine is "
            "busy; close other programs and measure again"
        )


def calibrate(
    csv: Annotated[
        str,
        typer.Argument(
            metavar="CSV",
            help="What measure wrote, or a table of your own with the columns latency_ms and "
            "architecture, notation or network (a file, or package.module:factory).",
        ),
    ],
    device: Annotated[
        str, typer.Option("--device", metavar="NAME", help="What the device is to be called.")
    ],
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            metavar="NAME|FILE",
            help="Device of family cpu, gpu or mcu whose data sheet the fit starts from; chosen by "
            "the processor that the table names when left out.",
            autocompletion=completion.devices,
        ),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(
            "--space",
            help="Space of the networks, where the table has no such column.",
            autocompletion=completion.spaces,
        ),
    ] = None,
    option: OptionOption = None,
    runtime: Annotated[
        str | None,
        typer.Option(
            "--runtime",
            metavar="NAME|JSON",
            help="What ran the networks on a microcontroller, where the table has no such column "
            "(default: the base's own).",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="devices/NAME.yaml here when left out."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an older file.")] = False,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the cross-validation.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Fit a device to measured networks, and write it where searches find it.

    The report is that of networks that the fit has not seen. From then on latency_ms@NAME is a
    metric like any other.
    """
    from ...hw_models import load_device
    from ...hw_models.calibrate import write_device
    from ..run.calibration import calibrated, check_one_setting
    from ..run.measurements import read_measurements
    from ..run.parts import make_importable

    _check_name(device)
    file = _device_file(device, output, force)
    make_importable(Path.cwd())
    lines = read_lines(csv)
    rows, setting = read_measurements(lines, csv)
    check_one_setting(setting, lines[0].split(","), csv)
    options = pairs(option, "--option")
    found = calibrated(
        rows,
        setting,
        source=csv,
        name=device,
        base=base,
        space=None if space is None else (space, options),
        seed=seed,
        runtime=runtime,
    )
    file.parent.mkdir(exist_ok=True)
    write_device(found.device, file)
    load_device(file)  # what searches will read
    _report(found, file, as_json)


def _report(found: Calibration, file: Path, as_json: bool) -> None:
    from ...hw_models.device_folders import device_folders

    report, name = found.report, found.device.name
    if as_json:
        emit_json(
            {
                "device": name,
                "file": str(file),
                "model": found.model,
                "validation": report.model_dump(exclude_none=True),
            }
        )
        return
    figures = {
        "measurements": str(report.n),
        "fitted": found.model,
        "Spearman": _figure(report.spearman),
        "Kendall": _figure(report.kendall),
        "mean error": f"{report.mape_percent:.3g} %",
        "within 5 %": f"{_figure(report.within_5_percent)} %",
        "within 10 %": f"{_figure(report.within_10_percent)} %",
        "noise ceiling": _figure(report.noise_ceiling, "not known; measure with --repeats 10"),
        "device file": str(file),
    }
    emit_facts(figures)
    found_by_name = file.parent.resolve() in [folder.resolve() for folder in device_folders()]
    how = f"--device {name}" if found_by_name else f"--device {file}"
    note(f"latency_ms@{name} is a metric now: netloom estimate ... {how}")


def _figure(value: float | None, missing: str = "-") -> str:
    return missing if value is None else f"{value:.4g}"


def _device_file(name: str, output: str | None, force: bool) -> Path:
    """Return where the device is written to.

    Raises:
        SpecError: If the file cannot be, or is there already.
    """
    if output is not None:
        return writable_file(output, force=force)
    folder = Path("devices")
    if folder.exists() and not folder.is_dir():
        raise SpecError("./devices must be a folder to hold device files; name one with --output")
    file = folder / f"{name}.yaml"
    if file.exists() and not force:
        raise SpecError(f"{str(file)!r} exists; choose another name or add --force")
    return file


def _check_name(name: str) -> None:
    """Refuse what cannot be the name of a device of one's own.

    Raises:
        SpecError: If it is one of netloom's devices, or cannot stand in a metric.
    """
    from ...hw_models.device import shipped_devices

    if not _NAME.match(name):
        raise SpecError(
            f"a device is named with letters, digits and . _ - alone, got {name!r}; choose another"
        )
    if name in shipped_devices():
        raise SpecError(f"{name} comes with netloom; give your device another name")


def _json(value: Any) -> str:
    from ...jsonio import canonical_json

    return canonical_json(value)
