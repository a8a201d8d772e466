"""`netloom estimate`: what single networks cost, without a search."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import NetloomError, SpecError
from ...hw_models.dtypes import Dtype
from . import completion
from .common import (
    JsonOption,
    command,
    emit_facts,
    emit_json,
    flush,
    made_space,
    note,
    pairs,
    read_lines,
)
from .explain import emit_explanations

if TYPE_CHECKING:
    from ...spaces import Architecture
    from ..run.bench import Asked, Bench

_CHUNK = 64  # lines answered together: estimators share work inside a batch
_TOP = 5

BatchOption = Annotated[int, typer.Option("--batch", min=1, help="Images at once.")]
DtypeOption = Annotated[
    Dtype | None,
    typer.Option(
        "--dtype", help="Number format of weights and activations; each device's own when left out."
    ),
]
ResolutionOption = Annotated[
    str | None,
    typer.Option(
        "--resolution",
        metavar="N|HxW",
        help="Side, or height and width, of the images; what the network was built for when left "
        "out.",
    ),
]
DeviceOption = Annotated[
    list[str] | None,
    typer.Option(
        "--device",
        metavar="NAME|FILE",
        help="Add this device's metrics; may be repeated. A modelled device, a YAML file, or "
        "a device that a table of the space was measured on.",
        autocompletion=completion.devices,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    example = "netloom estimate --space nb201 --arch @arch.txt --device cpu_generic --explain"
    command(app, "estimate", example)(estimate)


def estimate(
    space: Annotated[
        str | None,
        typer.Option(
            "--space", help="Name, or package.module:Class.", autocompletion=completion.spaces
        ),
    ] = None,
    arch: Annotated[
        str | None,
        typer.Option(
            "--arch",
            metavar="TEXT|@FILE",
            help="Architecture in the space's notation or as JSON; @file reads one from a file, "
            "@file.jsonl one per line.",
        ),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(
            "--network",
            metavar="FILE|M:F",
            help="Instead of --space and --arch: a .pt2 or .onnx file, or package.module:factory.",
        ),
    ] = None,
    input_: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            metavar="1x3x224x224",
            help="Shape of the input of --network, the batch first; one for each input.",
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            metavar="K=V",
            help="Option of the space, or argument of the factory; may be repeated.",
        ),
    ] = None,
    device: DeviceOption = None,
    batch: BatchOption = 1,
    dtype: DtypeOption = None,
    resolution: ResolutionOption = None,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Per device: verdict with reasons, where each number comes from and how wrong it "
            "may be, the costliest layers and what they wait for.",
        ),
    ] = False,
    top: Annotated[
        int | None,
        typer.Option("--top", metavar="N", min=0, help="Layers that --explain lists (5)."),
    ] = None,
    as_json: JsonOption = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 4 when a line of @file.jsonl failed.")
    ] = False,
) -> None:
    """Print parameters, MACs and device costs of one network, or of a file of architectures.

    Of a product of spaces every network is counted, and the accelerators that it decides are
    devices too. A network that a device cannot run is an error; with --explain it is an answer
    that says why.

    A file @NAME.jsonl holds one architecture per line (a JSON object, list or string) and answers
    one JSON line each, in order; a line that fails answers {"error": ...} and the exit code stays
    0 (4 with --strict).
    """
    from ..run.bench import Asked, Bench
    from ..run.networks import parse_resolution

    if top is not None and not explain:
        raise SpecError("--top says how many layers --explain lists; add --explain")
    shown = (_TOP if top is None else top) if explain else None
    size = None if resolution is None else parse_resolution(resolution)
    asked = Asked(tuple(device or ()), batch, dtype, size, shown)
    if network is not None:
        if space is not None or arch is not None:
            raise SpecError("give --network, or --space and --arch; got both")
        _network(network, input_ or [], pairs(option, "--option"), asked, as_json)
        return
    if space is None or arch is None:
        given = "--arch" if arch else "--space" if space else "neither"
        raise SpecError(f"estimate needs --space and --arch, or --network; got {given}")
    if input_:
        raise SpecError("a space says what its networks take; --input goes with --network")
    bench = Bench.of(made_space(space, option, given_as="--space"), asked)
    if arch.startswith("@") and arch.endswith((".jsonl", ".ndjson")):
        failed = _answer_lines(bench, arch[1:])
        if failed and strict:
            raise typer.Exit(4)
        return
    text = "\n".join(read_lines(arch[1:])).strip() if arch.startswith("@") else arch
    [answer] = bench.answers([bench.parsed(_unquoted(text))])
    if isinstance(answer, Exception):
        raise answer
    notation = bench.space.format(bench.space.architecture(answer["architecture"]))
    _print({"architecture": notation, "key": answer["key"]}, answer, bench.units, as_json)


def _network(
    source: str, shapes: list[str], options: dict[str, Any], asked: Asked, as_json: bool
) -> None:
    """Answer for a network that no space holds."""
    from ..run.bench import network_answer, units_of
    from ..run.costing import targets_of
    from ..run.networks import network_workload, parse_shape

    targets = targets_of(asked.devices, **asked.how)
    workload = network_workload(source, [parse_shape(text) for text in shapes], options)
    batches = {workload.tensors[i].shape[:1] for i in workload.inputs}
    if asked.batch > 1 and batches - {(1,)}:
        raise SpecError(
            f"--batch counts inputs of batch 1, and those of {source} begin with "
            f"{', '.join(str(b[0]) if b else 'nothing' for b in batches)}; give --input with 1 "
            "first, or leave out --batch"
        )
    answer = network_answer(source, workload, asked)
    _print({"network": source}, answer, units_of(targets), as_json)


def _print(
    head: dict[str, str], answer: dict[str, Any], units: dict[str, str], as_json: bool
) -> None:
    if as_json:
        emit_json(answer, indent=None)
        return
    units = {"macs": "MACs", "peak_activation_bytes": "bytes", **units}
    explained = {d["device"] for d in answer.get("devices", ()) if "fits" in d}
    metrics = {
        name: _with_unit(v, units.get(name, ""))
        for name, v in answer["metrics"].items()
        if name.partition("@")[2] not in explained
    }
    emit_facts({**head, **metrics})
    emit_explanations(answer.get("devices", ()))


def _answer_lines(bench: Bench, path: str) -> int:
    """Answer a file line by line and return how many failed."""
    lines = iter(enumerate(read_lines(path), start=1))
    total = failed = 0
    while chunk := list(islice(lines, _CHUNK)):
        for answer in bench.answers([_read(bench, text) for _, text in chunk if text.strip()]):
            total += 1
            if isinstance(answer, Exception):
                failed += 1
                kind = "" if isinstance(answer, NetloomError) else f"{type(answer).__name__}: "
                answer = {"error": f"{kind}{answer}"}
            emit_json(answer, indent=None)
        flush()
    if failed:
        note(f"{failed} of {total} architectures failed; their lines say why")
    return failed


def _unquoted(text: str) -> str:
    """Return the notation that a JSON string holds, or the text as it is."""
    if text.startswith('"'):
        try:
            return str(json.loads(text))
        except json.JSONDecodeError as error:
            raise SpecError(f"a JSON string must be whole ({error}), got {text!r}") from error
    return text


def _read(bench: Bench, text: str) -> Architecture | Exception:
    try:
        return bench.parsed(json.loads(text))
    except json.JSONDecodeError as error:
        return SpecError(f"a line must be a JSON object, list or string ({error}), got {text!r}")
    except Exception as error:
        return error


def _with_unit(value: float, unit: str) -> str:
    text = f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"
    return f"{text} {unit}".rstrip()
