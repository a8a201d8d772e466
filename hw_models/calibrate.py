"""Calibration: from measured networks to a device file that knows its own error.

    measured = [Measurement(trace(network, image), milliseconds), ...]    # 10 or more
    found = calibrate(load_device("cpu_generic"), measured)
    write_device(found.device, "my-cpu.yaml")

What is fitted, and how the kind of model is chosen, is in `fitting` (for microcontrollers in
`mcu.calibrate`); nothing in it knows a space or its names: networks are the layers of their
workloads. The report is that of networks which neither the fit nor the choice has seen: both are
repeated without each tenth of the measurements (without each one, up to 20).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml

from ..errors import SpecError
from ..files import write_text
from .design import Design
from .device import Device, Validation, model_for
from .dtypes import Dtype
from .fit import Fit
from .fitting import Fitted, Fitter
from .mcu.numbers import McuNumbers
from .regression import Vector
from .roofline import RooflineModel, RooflineNumbers
from .scores import noise_ceiling, validation
from .workload import Workload

LEAST = 10  # measured networks


class Measurement(NamedTuple):
    """A network and how long it took.

    Args:
        workload: As traced, at batch 1.
        value_ms: Milliseconds for the whole batch.
        group: Equal texts for measurements that would be equal without noise: of one network, or
            of networks that are one another's mirror image. Empty: known of none.
    """

    workload: Workload
    value_ms: float
    group: str = ""


@dataclass(frozen=True)
class Calibration:
    """What calibration found.

    Args:
        device: The device with the fitted coefficients and the report in it.
        report: How the model does on networks that it has not seen.
        model: What was chosen, in words.
    """

    device: Device
    report: Validation
    model: str


def calibrate(
    device: Device,
    measurements: Sequence[Measurement],
    *,
    batch: int = 1,
    dtype: Dtype | None = None,
    name: str = "",
    source: str = "networks measured by the user",
    seed: int = 0,
) -> Calibration:
    """Fit a device of family `cpu`, `gpu` or `mcu` to measured networks.

    Args:
        device: Its data-sheet numbers; a fit that it already has is replaced. Of a microcontroller
            the runtime under which the networks were measured.
        measurements: At least 10 different networks (4 on microcontrollers) that differ in more
            than one way.
        batch: Images at once in each measurement.
        dtype: Number format of the measurements; None: the device's first.
        name: Of the new device; empty: that of the old one.
        source: Which networks, measured how.
        seed: Of the folds of the cross-validation and of random trees.

    Raises:
        SpecError: If the device is of another family; if a measurement is no positive number; if
            there are too few networks, or all differ in one way only.
    """
    calibratable(device)
    if isinstance(device.numbers, McuNumbers):
        from .mcu.calibrate import calibrate_mcu

        return calibrate_mcu(
            device,
            measurements,
            batch=batch,
            dtype=dtype,
            name=name,
            source=source,
            seed=seed,
        )
    model = _model(device)
    chosen = model.settled(batch, dtype)
    values = checked(measurements)
    design = Design.of([m.workload.cast(chosen) for m in measurements], batch)
    names = groups(measurements)
    _enough(design, names)
    fitter = Fitter(
        design, values * 1e3, names, lambda w: 1e3 * model.kernel_time(w, batch, chosen).ms, seed
    )
    rows = np.ones(len(values), dtype=bool)
    fitted = fitter.fit(fitter.choose(rows), rows)
    unseen = fitter.held_out(rows, lambda train: fitter.fit(fitter.choose(train), train)) / 1e3
    text = f"{source}; {len(set(names))} networks, cross-validated with the choice of the model"
    ceiling = noise_ceiling(values, [m.group for m in measurements])
    report = validation(unseen, values, source=text, noise_ceiling=ceiling)
    fit = as_fit(fitted, design, dtype=chosen, n=len(set(names)), source=source)
    assert isinstance(device.numbers, RooflineNumbers)
    new = replace(
        device,
        name=name or device.name,
        calibrated=True,
        notes=f"Fitted: {describe(fit)}. The numbers beside the fit serve what it has not seen.",
        numbers=device.numbers.model_copy(update={"fit": fit}),
        validation={**device.validation, "latency_ms": report},
        origin="",
    )
    return Calibration(new, report, describe(fit))


def checked(measurements: Sequence[Measurement]) -> Vector:
    """Return the values in ms.

    Raises:
        SpecError: If one is no positive number; says which.
    """
    values = [float(m.value_ms) for m in measurements]
    bad = [i for i, v in enumerate(values) if not (math.isfinite(v) and v > 0)]
    if bad:
        more = f", and {len(bad) - 1} more like it" if len(bad) > 1 else ""
        raise SpecError(
            f"a measurement must be a positive number of ms, got {values[bad[0]]} for network "
            f"{bad[0]}{more}; measure it again or leave it out"
        )
    return np.array(values)


def calibratable(device: Device) -> None:
    """Refuse a device whose model has nothing to fit.

    Raises:
        SpecError: If it is of another family than `cpu`, `gpu` and `mcu`.
    """
    if not isinstance(device.numbers, RooflineNumbers | McuNumbers):
        raise SpecError(
            f"calibration is for devices of the families cpu, gpu and mcu, got {device.name!r} of "
            f"family {device.family!r}, whose cycles are computed and not fitted; describe what "
            "you measured by one of these families"
        )


def _model(device: Device) -> RooflineModel:
    numbers = device.numbers
    assert isinstance(numbers, RooflineNumbers)
    model = model_for(replace(device, numbers=numbers.model_copy(update={"fit": None})))
    assert isinstance(model, RooflineModel)
    return model


def groups(measurements: Sequence[Measurement]) -> list[str]:
    """Return what must not be parted: measurements of one group, and of equal networks."""
    known: dict[Any, str] = {}
    names = []
    for number, m in enumerate(measurements):
        graph = tuple([(x.signature, x.inputs, x.outputs) for x in m.workload.layers])
        name = known.setdefault(graph, m.group or f"network {number}")
        names.append(m.group or name)
    return names


def _enough(design: Design, names: Sequence[str]) -> None:
    """Raise when the measured networks cannot tell what costs what."""
    check_number(names, LEAST, "calibration")
    columns, each = design.columns("work")
    check_mixtures(design.every @ each, sorted({group for group, _ in columns}))


def check_number(names: Sequence[str], least: int, what: str) -> None:
    """Refuse too few networks.

    Args:
        names: Of each measurement, equal for measurements of one network.
        least: How many different networks there must be.
        what: Needs them, for the message.

    Raises:
        SpecError: If there are fewer.
    """
    different = len(set(names))
    if different < least:
        repeats = "" if different == len(names) else f" ({len(names)} measurements)"
        raise SpecError(
            f"{what} needs at least {least} different networks, got {different}{repeats}; "
            f"measure {least - different} more"
        )


def check_mixtures(table: Vector, names: Sequence[str]) -> None:
    """Refuse networks that are multiples of one another.

    Args:
        table: What each network (rows) has of each thing that costs (columns).
        names: Of these things, for the message.

    Raises:
        SpecError: If they differ in fewer than two ways.
    """
    table = table / np.maximum(table.max(axis=0), 1e-300)
    if np.linalg.matrix_rank(table - table.mean(axis=0), tol=1e-9 * len(table)) < 2:
        raise SpecError(
            "the measured networks must differ in at least two ways, else nothing tells what costs "
            f"what; all of these grow and shrink together: {', '.join(names)}; measure networks "
            "with other mixtures of layers (a random sample of a space has them)"
        )


def as_fit(fitted: Fitted, design: Design, *, dtype: Dtype, n: int, source: str) -> Fit:
    """Return a fitted candidate as a device file holds it."""
    candidate = fitted.candidate
    table: dict[str, float] = {}
    if candidate.extra == "table":
        used = design.counts(candidate.runs).max(axis=0) > 0
        for label, us, seen in zip(
            design.labels, fitted.kernels_us.tolist(), used.tolist(), strict=True
        ):
            if seen:
                table[label] = us
    return Fit(
        batch=design.batch,
        dtype=dtype,
        runs=candidate.runs,
        features=candidate.features,
        constant_us=fitted.constant_us,
        groups=fitted.groups(),
        scale=fitted.scale,
        table=table,
        correction=fitted.correction,
        n=n,
        source=source,
    )


def describe(fit: Fit) -> str:
    """Return in words what was chosen."""
    grouped = {
        "roofline": "kernels, kernels with MACs, MACs and bytes",
        "counts": "a cost for each kind of layer",
        "work": "a cost per layer, MAC and byte for each kind of layer",
        "work_by_size": "a cost per layer, MAC and byte for each kind and window of layer",
    }[fit.features]
    which = "every layer" if fit.runs == "every" else "layers that an exported network runs"
    extra = f", a table of {len(fit.table)} single layers" if fit.table else ""
    if fit.correction is not None:
        extra += f", times a learned {'forest' if fit.correction.trees else 'ridge'}"
    return f"{grouped}{extra}; over {which}"


def write_device(device: Device, path: str | Path) -> None:
    """Write a device as the YAML file that `load_device` reads.

    Raises:
        OutputError: If the file cannot be written.
    """
    plain = device.to_dict()
    if not plain["notes"]:
        del plain["notes"]
    text = yaml.safe_dump(
        _lists(plain), sort_keys=False, width=100, allow_unicode=True, default_flow_style=None
    )
    write_text(path, text)


def _lists(value: Any) -> Any:
    """Return the value with lists for tuples, which YAML has not."""
    if isinstance(value, dict):
        return {key: _lists(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_lists(each) for each in value]
    return value
