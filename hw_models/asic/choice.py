"""An accelerator that was chosen, as plain data, into a device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import SpecError
from ...jsonio import digest
from ...options import validate
from ..device import Device
from .maestro import MaestroNumbers

_KEYS = ("accelerators", "costs", "clock_ghz", "l1_bytes", "l2_bytes")
_PARTS = ("dataflow", "pes", "bandwidth", "lanes")
_SOURCE = "decided by the search: an accelerator of its space"


def from_choice(choice: Mapping[str, Any]) -> Device:
    """Return the device that a choice describes, of family `maestro`.

    Args:
        choice: `accelerators`, a list of `{dataflow, pes, bandwidth}` (and `lanes`, multipliers
            per element, where the cost table's number is not meant); `costs`, the cost table;
            `clock_ghz`; and the sizes of the buffers, `l1_bytes` of an element and `l2_bytes` of
            an accelerator, where the network shall not decide them. `bandwidth` is in elements
            per cycle. `AcceleratorSpace.choice` gives such mappings.

    Raises:
        SpecError: If a key is unknown or missing.
        SpecProblems: If a value breaks a rule of the family.
    """
    _known(choice, _KEYS, required=_KEYS[:3])
    parts = choice["accelerators"]
    numbers: dict[str, Any] = {
        "clock": _number(choice["clock_ghz"], "GHz"),
        "precision": "int8",
        "other_layers": "free",
        "costs": choice["costs"],
        "accelerators": [_part(part) for part in parts],
    }
    for key, size in (("l1", choice.get("l1_bytes")), ("l2", choice.get("l2_bytes"))):
        if size is not None:
            numbers[key] = _number(size, "bytes")
    return Device(
        name=f"chosen-{digest(dict(choice))[:12]}",
        family="maestro",
        title=" + ".join(f"{p['dataflow']} {p['pes']} {p['bandwidth']}" for p in parts),
        calibrated=False,
        notes="An accelerator of a search, under MAESTRO's cost model.",
        numbers=validate(MaestroNumbers, numbers, where="numbers"),
    )


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    _known(part, _PARTS, required=_PARTS[:3])
    numbers = {
        "dataflow": part["dataflow"],
        "pes": _number(part["pes"], "PEs"),
        "bandwidth": _number(part["bandwidth"], "elements/cycle"),
    }
    lanes = part.get("lanes")
    return numbers if lanes is None else {**numbers, "lanes": _number(lanes, "lanes")}


def _number(value: Any, unit: str) -> dict[str, Any]:
    return {"value": value, "unit": unit, "source": _SOURCE}


def _known(given: Mapping[str, Any], keys: tuple[str, ...], required: tuple[str, ...]) -> None:
    wrong = [key for key in given if key not in keys]
    missing = [key for key in required if key not in given]
    if wrong or missing:
        raise SpecError(
            f"a chosen accelerator has the keys {', '.join(keys)}; unknown: "
            f"{', '.join(wrong) or 'none'}, missing: {', '.join(missing) or 'none'}"
        )
