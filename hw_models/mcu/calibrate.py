"""Calibration of a microcontroller: the cycles of its kernels, from networks measured on it.

    found = calibrate(load_device("stm32f746"), measured, name="my-mcu")    # 4 networks or more

What is fitted is in `fit`: coefficients per class of operators, near those that are known of the
same kernels on the same core. Memory and Flash are arithmetic and stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import fsum
from typing import Any

import numpy as np

from ...errors import SpecError
from ..calibrate import (
    Calibration,
    Measurement,
    check_mixtures,
    check_number,
    checked,
    groups,
)
from ..device import Device, Number, Validation
from ..dtypes import Dtype
from ..regression import Vector, folds
from ..scores import noise_ceiling, validation
from ..workload import Workload
from .cycles import Cycles, cycles_of
from .fit import Executed, features, fitted
from .model import McuModel
from .numbers import FittedCycles, McuNumbers
from .plan import executed_macs

LEAST = 4  # measured networks: as many as MLPerf Tiny has
UNITS = {"output": "cycles/output", "op": "cycles"}  # of a coefficient; of the others, per MAC


def calibrate_mcu(
    device: Device,
    measurements: Sequence[Measurement],
    *,
    batch: int,
    dtype: Dtype | None,
    name: str,
    source: str,
    seed: int,
) -> Calibration:
    """Fit the cycles of a device's runtime to networks measured on it; see `calibrate`.

    Raises:
        SpecError: As `calibrate`; or if nothing is known of the runtime's kernels on the core.
    """
    model = McuModel(device)
    model.settled(batch, dtype)
    values, names = checked(measurements), groups(measurements)
    kernels, core = model.policy.kernels, model.numbers.core.value
    prior = cycles_of(kernels, core)
    networks = [_executed(model, m.workload, batch) for m in measurements]
    rows = np.array([features(n) for n in networks])
    check_number(names, LEAST, "calibration of a microcontroller")
    used = _counted(rows, prior)
    classes = [Cycles._fields[i] for i in used]
    check_mixtures(rows[:, used], classes)
    slow = _slow(model, measurements, batch)
    cycles = (values - slow) / model.ms_per_cycle

    def fit(chosen: Sequence[int]) -> Cycles:
        return fitted([networks[i] for i in chosen], [float(cycles[i]) for i in chosen], prior)

    unseen = np.zeros(len(values))
    for fold in folds(names, seed):
        table = fit(np.flatnonzero(~fold).tolist())
        for i in np.flatnonzero(fold).tolist():
            unseen[i] = networks[i].cycles(table) * model.ms_per_cycle + slow[i]
    text = f"{source}; {len(set(names))} networks under {kernels}, cross-validated"
    ceiling = noise_ceiling(values, [m.group for m in measurements])
    report = validation(unseen, values, source=text, noise_ceiling=ceiling)
    told = f"cycles of {', '.join(classes)} under {kernels}, near those known of a {core}"
    table = fit(range(len(values)))
    new = _device(device, table, report, name=name, source=source, told=told, kernels=kernels)
    return Calibration(new, report, told)


def _executed(model: McuModel, workload: Workload, batch: int) -> Executed:
    graph, plan = model.graph(workload, batch), model.memory_plan(workload, batch)
    return Executed(graph, executed_macs(graph, plan, model.policy))


def _slow(model: McuModel, measurements: Sequence[Measurement], batch: int) -> Vector:
    """Return the time that each network's traffic with external RAM takes, which is no cycles.

    Raises:
        SpecError: If a network took no more than that.
    """
    slow = np.zeros(len(measurements))
    for i, m in enumerate(measurements):
        slow[i] = fsum([o.slow_ms for o in model.report(m.workload, batch).operators])
        if m.value_ms <= slow[i]:
            raise SpecError(
                "a network must take longer than its traffic with external RAM, got "
                f"{m.value_ms} ms for network {i}, whose traffic takes {slow[i]:.4g} ms; correct "
                "psram_bandwidth in the device file, or measure again"
            )
    return slow


def _counted(rows: Vector, prior: Cycles) -> list[int]:
    """Return the coefficients that the networks use and that the kernels have."""
    return [i for i, known in enumerate(prior) if known and rows[:, i].any()]


def _device(
    device: Device,
    table: Cycles,
    report: Validation,
    *,
    name: str,
    source: str,
    told: str,
    kernels: Any,
) -> Device:
    """Return the device with the fitted cycles and their error in it."""
    numbers = device.numbers
    assert isinstance(numbers, McuNumbers)
    fields = {
        field: Number(value=value, unit=UNITS.get(field, "cycles/MAC"), source=f"fitted: {source}")
        for field, value in table._asdict().items()
    }
    cycles = {**numbers.cycles, kernels: FittedCycles(**fields, validation=report)}
    return replace(
        device,
        name=name or device.name,
        calibrated=True,
        notes=f"Fitted: {told}. All other numbers are those of {device.name}.",
        numbers=numbers.model_copy(update={"cycles": cycles}),
        validation={**device.validation, "latency_ms": report},
        origin="",
    )
