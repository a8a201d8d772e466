"""What the families `cpu` and `gpu` share: kernels one after another, each as fast as it can be.

A family says how long one kernel takes (`kernel_time`). Kernels are what the runtime launches:
single layers (`eager`), or what it fuses (`compiled`, see `fusion`). A device that was calibrated
carries a `Fit`; its latency is then the fit's, and the roofline remains for what the fit has never
seen: kinds of layers that no measured network had (times the fitted scale), and batches other than
the measured one (times the ratio of the roofline's latencies at the two).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from math import fsum
from typing import Literal, NamedTuple
from weakref import WeakKeyDictionary

from ..errors import SpecError
from .cost import Bottleneck, Cost, Excess, HardwareModel, LayerCost, Provenance
from .device import Device, Number, Numbers
from .dtypes import Dtype
from .fit import Fit, amounts, groups_of, running, totals_of
from .fusion import Kernel, kernels
from .work import Work, label_of, main_layer, work_of
from .workload import Workload


class KernelTime(NamedTuple):
    """How long a kernel takes, and what it waits for."""

    ms: float
    bottleneck: Bottleneck


def share(number: Number | None) -> float:
    """Return the part of a peak that a file says is reached; all of it if it says nothing.

    Raises:
        SpecError: If it is more than all.
    """
    if number is None:
        return 1.0
    if number.si > 1:
        raise SpecError(
            f"a share of a peak must be at most 1, got {number.value:g} {number.unit}; correct it"
        )
    return number.si


class RooflineNumbers(Numbers):
    """What files of both families may hold beside the numbers of their own.

    Args:
        runtime: `eager`, also if left out: every layer is a kernel; `compiled`: what a compiler
            fuses is one.
        fit: What calibration found; then `calibrated` is true.
    """

    runtime: Literal["eager", "compiled"] | None = None
    fit: Fit | None = None


class RooflineModel(HardwareModel):
    """Sums the times of the kernels of a network.

    Args:
        device: Its numbers are `RooflineNumbers`.
    """

    memory_bytes: int
    peaks: dict[Dtype, float]  # FLOP/s per number format

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        numbers = device.numbers
        assert isinstance(numbers, RooflineNumbers)
        if numbers.fit is not None and not device.calibrated:
            raise SpecError(
                f"{device.name!r} carries a fit and says calibrated: false; set calibrated: true, "
                "or remove the fit"
            )
        self.runtime = numbers.runtime or "eager"
        self.fit = numbers.fit
        self._times: dict[tuple[int, Dtype], WeakKeyDictionary[Kernel, KernelTime]] = {}
        self._digest: str | None = None
        self._fitted: WeakKeyDictionary[Kernel, float] = WeakKeyDictionary()

    @abstractmethod
    def kernel_time(self, work: Work, batch: int, dtype: Dtype) -> KernelTime:
        """Return the time of one kernel by the numbers of the device's data sheet."""

    @property
    def dtypes(self) -> tuple[Dtype, ...]:
        """The number formats with a peak; a calibrated device has that of its measurements."""
        return tuple(self.peaks) if self.fit is None else (self.fit.dtype,)

    def provenance(self, field: str) -> Provenance:
        """Return where a field of `Cost` comes from; a fit decides the latency alone."""
        found = super().provenance(field)
        return replace(found, source="fitted") if self.fit and field == "latency_ms" else found

    def cost_of(self, workload: Workload, batch: int, dtype: Dtype, *, breakdown: bool) -> Cost:
        """Return the sum over the kernels; see `HardwareModel.cost`."""
        workload = workload.cast(dtype)
        memory, excesses = self.memory(workload, batch)
        latency = self.latency_ms(workload, batch, dtype)
        share = 2e3 * workload.macs * batch / self.peaks[dtype] / latency if latency > 0 else 2.0
        return Cost(
            latency_ms=latency,
            peak_memory_bytes=memory,
            utilization=share if share <= 1 else None,  # a fit may be faster than the data sheet
            layers=self._layers(workload, batch, dtype, latency) if breakdown else (),
            excesses=excesses,
        )

    def latency_ms(self, workload: Workload, batch: int, dtype: Dtype) -> float:
        """Return the latency of a network whose tensors are in `dtype`."""
        if self.fit is None:
            return self.roofline_ms(workload, batch, dtype)
        latency = self._fitted_ms(self.fit, workload)
        if batch != self.fit.batch and latency > 0:
            latency *= self.roofline_ms(workload, batch, dtype)
            latency /= self.roofline_ms(workload, self.fit.batch, dtype)
        return latency

    def roofline_ms(self, workload: Workload, batch: int, dtype: Dtype) -> float:
        """Return the latency by the data sheet alone."""
        if self.runtime != "eager":
            found = kernels(workload, self.runtime)
            return fsum([self._time(k, batch, dtype).ms for k in found])
        key = self._key(batch, dtype)
        times = [p.memo.get(key) or self._new(p, key) for p in workload.parts]
        return fsum(chain.from_iterable(times))

    def _key(self, batch: int, dtype: Dtype) -> tuple[str, int, Dtype]:
        """Return what the times of the kernels of a piece are remembered under."""
        if self._digest is None:
            self._digest = self.fingerprint
        return (self._digest, batch, dtype)

    def _new(self, piece: Workload, key: tuple[str, int, Dtype]) -> tuple[float, ...]:
        times = tuple([self._time(k, *key[1:]).ms for k in kernels(piece, "eager")])
        piece.memo[key] = times
        return times

    def memory(self, workload: Workload, batch: int) -> tuple[int, tuple[Excess, ...]]:
        """Return weights plus the peak of activations in bytes, and whether they do not fit."""
        needed = workload.peak_activation_bytes * batch + workload.weight_bytes
        if needed <= self.memory_bytes:
            return needed, ()
        remedy = "choose a smaller network, input or batch"
        layer = workload.peak_layer
        return needed, (Excess("memory", needed, self.memory_bytes, "bytes", layer, remedy),)

    def fitted_us(self, kernel: Kernel) -> float:
        """Return what the fit says of a kernel, in microseconds.

        The roofline, times the fitted scale, where no measured network had one of its group.
        """
        known = self._fitted.get(kernel)
        if known is None:
            assert self.fit is not None
            known = self._fitted[kernel] = self._fitted_us(self.fit, kernel)
        return known

    def _fitted_us(self, fit: Fit, kernel: Kernel) -> float:
        if fit.table and (found := fit.table.get(label_of(kernel))) is not None:
            return found
        work = work_of(kernel)
        groups = groups_of(work, fit.features)
        if not all(name in fit.groups for name in groups):
            return fit.scale * 1e3 * self.kernel_time(work, fit.batch, fit.dtype).ms
        per_kernel = amounts(work, fit.batch)
        return fsum([fit.groups[name].us(per_kernel) for name in groups])

    def _fitted_ms(self, fit: Fit, workload: Workload) -> float:
        ran = running(workload, fit.runs)
        total = (fit.constant_us + fsum([self.fitted_us(k) for k in ran])) / 1e3
        if fit.correction is not None:
            total *= fit.correction.factor(totals_of([work_of(k) for k in ran], fit.batch))
        return total

    def _time(self, kernel: Kernel, batch: int, dtype: Dtype) -> KernelTime:
        known = self._times.setdefault((batch, dtype), WeakKeyDictionary())
        found = known.get(kernel)
        if found is None:
            found = known[kernel] = self.kernel_time(work_of(kernel), batch, dtype)
        return found

    def _layers(
        self, workload: Workload, batch: int, dtype: Dtype, latency: float
    ) -> tuple[LayerCost, ...]:
        """Return the breakdown; a kernel's cost stands at its heaviest layer."""
        whole = Workload(
            workload.layers,
            workload.tensors,
            inputs=workload.inputs,
            outputs=workload.outputs,
            params=workload.params,
            weight_bytes=workload.weight_bytes,
        )
        found: dict[str, tuple[float, Bottleneck, int]] = {}
        for kernel in self._ran(whole):
            work, time = work_of(kernel), self._time(kernel, batch, dtype)
            ms = time.ms if self.fit is None else self.fitted_us(kernel)
            moved = work.moved * batch + work.weights
            found[main_layer(kernel).name] = (ms, time.bottleneck, moved)
        scale = 1.0
        if self.fit is not None:  # what belongs to no kernel is spread over all
            scale = latency / (fsum([ms for ms, _, _ in found.values()]) or 1.0)
        costs = []
        for layer in whole.layers:
            ms, bottleneck, moved = found.get(layer.name, (0.0, "none", 0))
            macs = layer.macs * batch
            costs.append(
                LayerCost(layer.name, layer.kind, ms * scale, None, macs, moved, bottleneck)
            )
        return tuple(costs)

    def _ran(self, workload: Workload) -> Sequence[Kernel]:
        if self.fit is not None:
            return running(workload, self.fit.runs)
        return kernels(workload, self.runtime)
