"""From a table of measured networks to a calibrated device."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...errors import NetloomError, SpecError
from ...estimators.complexity import Workloads
from ...hw_models import Workload, device_names, load_device
from ...hw_models.device import with_runtime
from ...hw_models.dtypes import DTYPES, Dtype
from .measurements import Measured
from .networks import network_workload, parse_shape
from .parts import make_space
from .spec import Named

if TYPE_CHECKING:
    from ...hw_models.calibrate import Calibration, Measurement
    from ...hw_models.device import Device

_ONE_OF = ("place", "batch", "dtype", "threads", "hardware", "runtime")


def calibrated(
    rows: Sequence[Measured],
    setting: Mapping[str, str],
    *,
    source: str,
    name: str,
    base: str | None,
    space: tuple[str, Mapping[str, Any]] | None,
    seed: int,
    runtime: str | None = None,
) -> Calibration:
    """Fit a device to measured networks.

    Args:
        rows: The measurements.
        setting: What is equal in all of them.
        source: The file, for messages.
        name: Of the device.
        base: The device whose numbers the fit starts from; None: chosen by the processor.
        space: Name and options of the space, where the table does not name one.
        seed: Of the cross-validation.
        runtime: Under which they ran, on devices that know several; None: as the table says, else
            the base's own.

    Raises:
        SpecError: If measurements differ in their batch or number format, a network is none of its
            space, the measurements are too few or too alike, or the base cannot be calibrated.
    """
    from ...hw_models.calibrate import calibratable, calibrate

    batch, dtype = _asked(setting, source)
    start = load_device(base) if base else base_device(setting)
    calibratable(start)
    if chosen := runtime or setting.get("runtime"):
        start = with_runtime(start, _runtime(chosen, source))
        setting = {**setting, "runtime": chosen}
    found = calibrate(
        start,
        measurements(rows, source, space),
        batch=batch,
        dtype=dtype,
        name=name,
        source=describe(rows, setting, batch, dtype or start.name),
        seed=seed,
    )
    return replace(found, device=replace(found.device, title=_title(name, setting)))


def measurements(
    rows: Sequence[Measured], source: str, space: tuple[str, Mapping[str, Any]] | None
) -> list[Measurement]:
    """Return the networks of a table with what they took.

    Raises:
        SpecError: With the line of the first network that is none.
    """
    from ...hw_models.calibrate import Measurement

    networks = _Networks(space)
    found = []
    for row in rows:
        try:
            workload, group = networks.of(row)
        except NetloomError as error:
            raise SpecError(f"{source}:{row.line}: {error}") from error
        found.append(Measurement(workload, row.latency_ms, group))
    return found


class _Networks:
    """The workloads of rows, each space and each network made once.

    Args:
        space: Name and options of the space of rows that name none.
    """

    def __init__(self, space: tuple[str, Mapping[str, Any]] | None) -> None:
        self._space = space
        self._spaces: dict[str, Workloads] = {}
        self._networks: dict[str, Workload] = {}

    def of(self, row: Measured) -> tuple[Workload, str]:
        """Return the workload of a row, and a text that equal networks share."""
        if row.network:
            text = json.dumps([row.network, row.input, row.options], sort_keys=True)
            if text not in self._networks:
                shapes = [parse_shape(row.input)] if row.input else []
                self._networks[text] = network_workload(row.network, shapes, row.options)
            return self._networks[text], text
        name, options = (row.space, row.options) if row.space else self._space or ("", {})
        if not name:
            raise SpecError("the table names no space; add --space")
        text = json.dumps([name, options], sort_keys=True)
        if text not in self._spaces:
            made, _ = make_space(Named(name=name, **options), where=("space",))
            self._spaces[text] = Workloads(made)
        workloads = self._spaces[text]
        member = workloads.space.parse(row.architecture)
        return workloads.of(member), f"{text} {member.key}"


def base_device(setting: Mapping[str, str]) -> Device:
    """Return the device to start from: what the processor is called after, or any CPU.

    Raises:
        SpecError: If it is a GPU or a microcontroller that no device is named after.
    """
    place = setting.get("place", "cpu")
    if place == "cpu":
        return load_device("cpu_generic")
    family = "mcu" if place == "mcu" else "gpu"
    words = re.sub(r"[^a-z0-9]", "", setting.get("hardware", "").lower())
    known = [d for d in map(load_device, device_names()) if d.family == family]
    fitting = [d for d in known if re.sub(r"[^a-z0-9]", "", d.name.lower()) in words]
    if not fitting:
        raise SpecError(
            f"no device describes {setting.get('hardware') or 'this processor'}; name the one to "
            f"start from with --base, such as {', '.join(d.name for d in known)}, or write its "
            "data sheet into a device file"
        )
    return max(fitting, key=lambda d: len(d.name))


def _runtime(text: str, source: str) -> Any:
    """Return a runtime as device files write it: the name of a preset, or JSON."""
    if not text.startswith("{"):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise SpecError(
            f"{source}: runtime must be a name or JSON: {error}; got {text!r}"
        ) from error


def _title(name: str, setting: Mapping[str, str]) -> str:
    words = [setting.get("hardware") or name]
    if setting.get("place") == "cpu" and setting.get("threads"):
        words.append(f"{setting['threads']} thread{'' if setting['threads'] == '1' else 's'}")
    return f"{', '.join(words)}: calibrated on measured networks"


def describe(rows: Sequence[Measured], setting: Mapping[str, str], batch: int, dtype: str) -> str:
    """Return where measurements come from, in words."""
    spaces = sorted({row.space for row in rows if row.space})
    words = [
        f"networks of {', '.join(spaces)}" if spaces else "networks",
        f"measured on {setting['hardware']}" if setting.get("hardware") else "",
        f"{setting['threads']} threads" if setting.get("threads") else "",
        f"batch {batch}, {dtype}",
        f"torch {setting['torch']}" if setting.get("torch") else "",
        f"runtime {setting['runtime']}" if setting.get("runtime") else "",
    ]
    return ", ".join(word for word in words if word)


def _asked(setting: Mapping[str, str], source: str) -> tuple[int, Dtype | None]:
    """Return batch and number format.

    Raises:
        SpecError: If they are none.
    """
    batch, dtype = setting.get("batch", "1"), setting.get("dtype")
    if not batch.isdigit() or int(batch) < 1:
        raise SpecError(f"{source}: batch must be a number of at least 1, got {batch!r}")
    for known in DTYPES:
        if dtype == known:
            return int(batch), known
    if dtype:
        raise SpecError(f"{source}: dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    return int(batch), None


def check_one_setting(setting: Mapping[str, str], columns: Sequence[str], source: str) -> None:
    """Refuse a table whose rows were measured in different ways.

    Raises:
        SpecError: If batch, number format, threads, processor or runtime differ between rows.
    """
    for column in _ONE_OF:
        if column in columns and column not in setting:
            raise SpecError(
                f"{source}: all networks must be measured alike, got several values of {column}; "
                "split the table, and calibrate a device for each"
            )
