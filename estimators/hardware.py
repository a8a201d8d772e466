"""Estimator `hardware`: what a network costs on named devices, by their hardware models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, NamedTuple, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from ..errors import EvaluationError, SpecError, UnknownName
from ..hw_models import (
    Cost,
    Device,
    HardwareModel,
    Workload,
    device_names,
    load_device,
    model_for,
)
from ..hw_models.device import with_runtime
from ..hw_models.dtypes import Dtype
from ..hw_models.resolution import sides
from ..hw_models.together import cost_together
from ..spaces import Architecture, DecisionSpace
from .chosen import Networks, chips_of
from .estimator import Direction, Estimator, Metric, Metrics, Report
from .tables import measured_devices

# field of Cost -> (unit, direction)
FIELDS: dict[str, tuple[str, Direction]] = {
    "latency_ms": ("ms", "minimize"),
    "peak_memory_bytes": ("bytes", "minimize"),
    "energy_mj": ("mJ", "minimize"),
    "flash_bytes": ("bytes", "minimize"),
    "area_mm2": ("mm2", "minimize"),
    "utilization": ("", "maximize"),
    "throughput_per_s": ("/s", "maximize"),
}


Side: TypeAlias = Annotated[int, Field(ge=1)]


class DeviceChoice(BaseModel):
    """A device at a batch size, under a name of its own.

    Args:
        device: Name, or path of a device file.
        batch: Images at once.
        dtype: Number format (`float32`, `float16`, `bfloat16`, `int16`, `int8`); the device's own
            if left out.
        resolution: Side, or height and width, of the images; what the space builds if left out.
        runtime: Under which runtime networks run there, where its family knows several: a name or
            a mapping, as a device file writes it; the file's own if left out.
        as_: What metrics call it (`as` in a spec): `latency_ms@v100_b64`.
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True, frozen=True)
    device: str
    batch: int = Field(default=1, ge=1)
    dtype: Dtype | None = None
    resolution: Side | tuple[Side, Side] | None = None
    runtime: str | dict[str, Any] | None = None
    as_: str | None = Field(default=None, alias="as", pattern=r"^[A-Za-z0-9_.-]+$")


class Target(NamedTuple):
    """A device as metrics name it: its model, and what it is asked at."""

    model: HardwareModel
    batch: int
    dtype: Dtype
    resolution: tuple[int, int] | None = None

    def cost(self, workload: Workload, *, breakdown: bool) -> Cost:
        """Return what a network costs there."""
        return self.cost_together([workload], breakdown=breakdown)

    def cost_together(
        self, workloads: Sequence[Workload], *, breakdown: bool, enforce: bool = True
    ) -> Cost:
        """Return what networks cost that share it.

        Raises:
            SpecError: If one of them cannot be costed at the resolution.
        """
        how: dict[str, Any] = {"dtype": self.dtype, "breakdown": breakdown, "enforce": enforce}
        return cost_together(self.model, self.at_resolution(workloads), self.batch, **how)

    def at_resolution(self, workloads: Sequence[Workload]) -> Sequence[Workload]:
        """Return the networks for the images asked about."""
        if self.resolution is None:
            return workloads
        return [w.at_resolution(*self.resolution) for w in workloads]

    @property
    def asked(self) -> dict[str, Any]:
        """Batch, number format and, where it is not the space's own, resolution."""
        found: dict[str, Any] = {"batch": self.batch, "dtype": self.dtype}
        if self.resolution is not None:
            found["resolution"] = list(self.resolution)
        return found


class Hardware(Estimator):
    """Gives `latency_ms@dev`, `peak_memory_bytes@dev` and what else each device's model gives.

    On a product the networks of all its factors share each device: accelerators that work side by
    side run them at once, any other device one after the other.

    Args:
        space: A space that builds networks, or a product with such factors.
        data: Not used.
        devices: Device names, paths of device files, or
            `{device: v100, batch: 64, resolution: 192, as: v100_b64}`; without `as`, metrics use
            the device's own name. On a product also the name of a factor that decides
            accelerators.
    """

    name: ClassVar[str] = "hardware"
    cheap: ClassVar[bool] = True

    def __init__(
        self,
        space: DecisionSpace,
        data: Any = None,
        *,
        devices: Annotated[list[str | DeviceChoice], Field(min_length=1)],
    ) -> None:
        super().__init__(space, data)
        self._networks = Networks(space)
        given: object = devices
        if isinstance(given, str) or not given:
            raise SpecError(f"devices must be a list of device names, got {devices!r}")
        choices = [_choice(entry) for entry in devices]
        chips = {c.device: f for c in choices if (f := chips_of(space, c.device)) is not None}
        self._chips = {c.as_ or c.device: chips[c.device] for c in choices if c.device in chips}
        self.targets = chosen_targets(choices, {name: f.example for name, f in chips.items()})

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """For each device, what its model gives."""
        found = []
        for target, asked in self.targets.items():
            model = asked.model
            source = {
                "kind": "model",
                "source": f"factor {target}" if target in self._chips else model.device.name,
                "family": model.device.family,
                "calibrated": model.device.calibrated,
                **asked.asked,
                "version": model.version,
            }
            for name in model.provides:
                unit, direction = FIELDS[name]
                provenance = model.provenance(name)
                error, base = provenance.error_percent, provenance.derived_from
                known: dict[str, Any] = {} if error is None else {"error_percent": error}
                if base:
                    known["proportional_to"] = f"{base}@{target}"
                whence = {**source, **known}
                found.append(Metric(f"{name}@{target}", unit, direction, provenance=whence))
        return tuple(found)

    def identity(self) -> dict[str, Any]:
        """Return the fingerprints of the models, which hold every number of their devices."""
        return {t: [a.model.fingerprint, *a.asked.values()] for t, a in self.targets.items()}

    def evaluate(
        self,
        architecture: Architecture,
        *,
        seed: int = 0,
        budget: float | None = None,
        report: Report | None = None,
    ) -> Metrics:
        """Return the metrics of all devices; see `Estimator.evaluate`."""
        workloads = self._networks.of(architecture)
        metrics: Metrics = {}
        for target in self.targets:
            asked = self.asked(architecture, target)
            cost = asked.cost_together(workloads, breakdown=False)
            for name in asked.model.provides:
                value = getattr(cost, name)
                if value is None:
                    raise EvaluationError(
                        f"{target} has no {name} for {architecture.to_json()}: nothing of this "
                        "network takes time there; leave such networks out of the space"
                    )
                metrics[f"{name}@{target}"] = float(value)
        return metrics

    def cost(self, architecture: Architecture, target: str) -> Cost:
        """Return the cost on one device with its breakdown.

        Raises:
            UnknownName: If `target` is not among the devices of this estimator.
        """
        asked = self.asked(architecture, target)
        return asked.cost_together(self.networks(architecture), breakdown=True)

    def chosen(self, architecture: Architecture, target: str) -> Mapping[str, Any] | None:
        """Return the accelerator that an architecture holds, as plain data; None for a device."""
        chips = self._chips.get(target)
        return None if chips is None else chips.choice(architecture)

    @property
    def factors(self) -> tuple[str, ...]:
        """The targets that are factors of the space: each architecture decides one of its own."""
        return tuple(self._chips)

    def details(self, architecture: Architecture) -> Mapping[str, Any]:
        """Return, for each device, the cost with its breakdown by layer.

        Of a device that was decided also what it is, and where and when each layer runs there; of
        a microcontroller where each tensor lies while the network runs.
        """
        found: dict[str, Any] = {}
        for target in self.targets:
            found[target] = self.cost(architecture, target).to_dict()
            if target in self._chips:
                found[target] |= self._chip_details(architecture, target)
            else:
                found[target] |= self._memory_details(architecture, target)
        return found

    def _memory_details(self, architecture: Architecture, target: str) -> dict[str, Any]:
        """Return the memory plan of a model that makes one, for one network."""
        asked = self.targets[target]
        plan = getattr(asked.model, "memory_plan", None)
        networks = asked.at_resolution(self._networks.of(architecture))
        if plan is None or len(networks) != 1:
            return {}
        return {"memory": plan(networks[0], asked.batch).to_dict()}

    def networks(self, architecture: Architecture) -> list[Workload]:
        """Return the networks of an architecture: one, or one per network of a product."""
        return self._networks.of(architecture)

    def asked(self, architecture: Architecture, target: str) -> Target:
        """Return the device; that which an architecture of a product holds, if it decides one.

        Raises:
            UnknownName: If `target` is not among the devices of this estimator.
        """
        if target not in self.targets:
            raise UnknownName("target", target, self.targets)
        asked = self.targets[target]
        chips = self._chips.get(target)
        return asked if chips is None else asked._replace(model=chips.model(architecture))

    def _chip_details(self, architecture: Architecture, target: str) -> dict[str, Any]:
        chips, batch = self._chips[target], self.targets[target].batch
        steps = getattr(chips.model(architecture), "steps_at_once", None)
        networks = self.targets[target].at_resolution(self._networks.of(architecture))
        schedule = [] if steps is None else steps(networks, batch)
        return {
            "accelerator": dict(chips.choice(architecture)),
            "schedule": [step._asdict() for step in schedule],
        }


def chosen_targets(
    choices: Iterable[DeviceChoice], known: Mapping[str, HardwareModel] | None = None
) -> dict[str, Target]:
    """Return the devices by the name that metrics use.

    Args:
        choices: What is asked for.
        known: Models by what a choice calls its device; any other is a device's name or file.

    Raises:
        SpecError: If there is no such device, two have one name, or one does not compute in the
            number format asked for.
    """
    targets: dict[str, Target] = {}
    given = known or {}
    for choice in choices:
        model = given.get(choice.device) or model_for(_device(choice.device))
        if choice.runtime is not None:
            model = model_for(with_runtime(model.device, choice.runtime))
        name = choice.as_ or (choice.device if choice.device in given else model.device.name)
        if name in targets:
            raise SpecError(
                f"devices must have different names, got {name!r} twice; name one of them "
                f"{{device: {choice.device}, as: other_name}}"
            )
        size = None if choice.resolution is None else sides(choice.resolution)
        dtype = model.settled(choice.batch, choice.dtype)
        targets[name] = Target(model, choice.batch, dtype, size)
    return targets


def _device(name: str) -> Device:
    """Return a device; one that only tables know is an error that says so."""
    try:
        return load_device(name)
    except UnknownName as error:
        unknown = UnknownName("device", name, device_names())
        if spaces := measured_devices().get(name):
            text = f"it is not modelled, but measured on {', '.join(spaces)}: use tabular"
            raise SpecError(f"{unknown}; {text}") from error
        raise unknown from error


def _choice(entry: str | DeviceChoice | Mapping[str, Any]) -> DeviceChoice:
    if isinstance(entry, str):
        return DeviceChoice(device=entry)
    if isinstance(entry, DeviceChoice):
        return entry
    from ..options import validate

    choice: DeviceChoice = validate(DeviceChoice, entry, where="devices")
    return choice
