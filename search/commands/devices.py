"""`netloom devices`: modelled and measured devices, with where their numbers come from."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from ...errors import NetloomError
from . import completion
from .common import JsonOption, command, emit, emit_facts, emit_json, emit_table

_KEYS = ("name", "family", "title", "calibrated")
_MANY = 60  # values under one heading that are worth a line each
_FIRST = 3  # numbers of a device in the list
_FIGURES = (
    ("n", "networks"),
    ("mape_percent", "mean error %"),
    ("spearman", "Spearman"),
    ("kendall", "Kendall"),
    ("within_5_percent", "within 5 %"),
    ("within_10_percent", "within 10 %"),
    ("noise_ceiling", "ceiling"),
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "devices", "netloom devices cpu_generic")(devices)


def devices(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME|FILE",
            help="Show one in full: every number with its source, and the validation.",
            autocompletion=completion.devices,
        ),
    ] = None,
    family: Annotated[
        str | None,
        typer.Option(
            "--family",
            metavar="NAME",
            help="Only the devices of a family.",
            autocompletion=completion.families,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the devices that can be modelled, and those that tables measured.

    Shipped ones, and device files (NAME.yaml) of ./devices, of the folders in NETLOOM_DEVICES and
    of ~/.config/netloom/devices.
    """
    from ...estimators.tables import measured_devices
    from ...hw_models import device_names

    if name is not None:
        if name in measured_devices() and name not in device_names():
            facts = _measured(name)
            emit_json(facts) if as_json else emit_facts(facts)
        else:
            _show(name, as_json)
        return
    rows = [*map(_row, device_names()), *map(_measured, measured_devices())]
    rows = [row for row in rows if family in (None, row.get("family"))]
    if as_json:
        emit_json(rows)
        return
    cells = [
        [
            row["name"],
            row.get("family", "-"),
            {True: "yes", False: "no", None: "-"}[row.get("calibrated")],
            _errors(row.get("error_percent", {})) if "numbers" in row else "-",
            ", ".join(row.get("numbers", ())) or "-",
            f"cannot be used: {row['error']}" if "error" in row else row["title"],
        ]
        for row in rows
    ]
    emit_table(["device", "family", "calibrated", "error", "numbers", "about"], cells)


def _row(name: str) -> dict[str, Any]:
    """Return a line of the list; a file that cannot be read says why and hides no other."""
    from ...hw_models import load_device

    try:
        device = load_device(name)
    except NetloomError as error:
        return {"name": name, "error": " ".join(str(error).split())}
    whole = device.to_dict()
    numbers = [f"{key} {text}" for key, text, source in _numbers(whole["numbers"]) if source]
    return {
        **{key: whole[key] for key in _KEYS},
        "error_percent": {
            field: found["mape_percent"] for field, found in whole["validation"].items()
        },
        "numbers": numbers[:_FIRST],
        "origin": device.origin,
    }


def _show(name: str, as_json: bool) -> None:
    from ...hw_models import load_device, model_for

    device = load_device(name)
    whole = device.to_dict()
    model = model_for(device)
    gives = {field: model.provenance(field).source for field in model.provides}
    if as_json:
        emit_json({**whole, "origin": device.origin, "gives": gives, "dtypes": model.dtypes})
        return
    facts = {key: whole[key] for key in ("name", "family", "title")}
    facts["calibrated"] = "yes" if device.calibrated else "no"
    facts["notes"] = " ".join(device.notes.split())
    facts["gives"] = ", ".join(f"{field} ({source})" for field, source in gives.items())
    facts["number formats"] = ", ".join(model.dtypes)
    facts["file"] = device.origin
    emit_facts(facts)
    emit("")
    emit_table(["number", "value", "source"], _shortened(list(_numbers(whole["numbers"]))))
    emit("")
    _emit_validation(whole["validation"])


def _emit_validation(validation: Mapping[str, Mapping[str, Any]]) -> None:
    if not validation:
        emit_facts({"validation": "never compared with measurements"})
        return
    head = ["validation of", *(title for _, title in _FIGURES), "source"]
    rows = [
        [
            field,
            *(f"{found[key]:.4g}" if key in found else "-" for key, _ in _FIGURES),
            str(found["source"]),
        ]
        for field, found in validation.items()
    ]
    emit_table(head, rows)


def _numbers(value: Any, path: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield the dotted name, the value with its unit, and the source of every number."""
    if isinstance(value, Mapping) and "value" in value and {"unit", "source"} & value.keys():
        text = f"{_plain(value['value'])} {value.get('unit', '')}".rstrip()
        yield path, text, str(value.get("source", ""))
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _numbers(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple) and any(isinstance(v, Mapping) for v in value):
        for position, inner in enumerate(value):
            yield from _numbers(inner, f"{path}[{position}]")
    elif isinstance(value, list | tuple):
        yield path, ", ".join(map(_plain, value)), ""
    elif value is not None:
        yield path, _plain(value), ""


def _shortened(rows: list[tuple[str, str, str]]) -> list[list[str]]:
    """Return the rows; of a fitted table or a forest only how large it is."""

    def group(path: str) -> str:
        return ".".join(re.split(r"[.\[]", path)[:2])

    sizes = Counter(group(path) for path, _, _ in rows)
    found: dict[str, list[str]] = {}
    for path, value, source in rows:
        if (size := sizes[group(path)]) > _MANY:
            found.setdefault(group(path), [group(path), f"{size:,} values; --json has them", ""])
        else:
            found[path] = [path, value, source]
    return list(found.values())


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.9g}" if isinstance(value, float) else str(value)


def _errors(percent: Mapping[str, float]) -> str:
    """Return the mean errors that are known: `latency_ms 4.2 %`."""
    known = [f"{field} {value:.3g} %" for field, value in percent.items()]
    return ", ".join(known) or "not known"


def _measured(target: str) -> dict[str, Any]:
    from ..run.bench import measured_device

    facts = measured_device(target)
    return {"name": facts.pop("device"), **facts}
