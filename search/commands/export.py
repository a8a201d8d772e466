"""`netloom export`: a network of the store as files that run without netloom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .common import (
    ExperimentArgument,
    JsonOption,
    StoreOption,
    command,
    emit,
    emit_json,
    note,
    open_store,
)

if TYPE_CHECKING:
    from ..export.bundle import Bundle

FormatOption = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        "-f",
        metavar="FORMAT",
        help="torch, pt2, onnx, onnx-int8 or json; may be repeated. torch and json by default; "
        "json is architecture.json, which is always written.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "export", "netloom export digits --trial 17 --format onnx -o delivered")(export)


def export(
    experiment: ExperimentArgument,
    trial: Annotated[int, typer.Option("--trial", metavar="N", min=0, help="Number of the trial.")],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="DIR", help="New or empty folder.")
    ],
    shape: FormatOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace what an earlier export wrote into DIR.")
    ] = False,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Write the network of a trial: weights, a loader that needs torch alone, ONNX, a card.

    Weights are the trained ones where the store keeps them, else initialised from the trial's seed;
    the card says which. Every file is loaded again and its outputs compared before DIR appears.
    """
    from ..export.bundle import DEFAULT, export_trial

    with open_store(store) as opened:
        record = opened.experiment(experiment)
        bundle = export_trial(
            opened, record, trial, output, shape or DEFAULT, force=force, note=note
        )
    _say(bundle)
    if as_json:
        emit_json(bundle.to_dict())
    else:
        emit(str(bundle.folder))


def _say(bundle: Bundle) -> None:
    from ..export.card import difference_text
    from ..export.quantize import INT8_FILE

    for name, found in bundle.checks.items():
        note(f"{name}: outputs as the network's to within {difference_text(found)}")
    for network in bundle.networks:
        if (q := network.quantized) is None:
            continue
        name = network.path(INT8_FILE)
        if q.tested:
            note(
                f"{name}: {q.int8_accuracy:.2f} % on the test split, {q.float_accuracy:.2f} % in "
                f"float32 ({q.tested} examples)"
            )
        else:
            note(f"{name}: accuracy not measured: {q.reason}")
