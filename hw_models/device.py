"""Devices are data: one YAML file each, every number with its unit and its source.

A file of a known family needs no code. Files are found by name in `devices/` and in the folders of
users (`device_folders.py`), by path, and through the entry-point group `netloom.devices`; families
through `netloom.device_families`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ..errors import SpecError, UnknownName, did_you_mean
from ..options import Problem, SpecProblems, validate
from ..registry import Registry
from .cost import HardwareModel
from .device_folders import user_devices
from .marked_yaml import read_marked

FAMILIES = Registry(
    "device family",
    "netloom.device_families",
    {
        "array": "netloom.hw_models.asic.array:SpatialArrayModel",
        "cpu": "netloom.hw_models.cpu:CpuModel",
        "eyeriss": "netloom.hw_models.asic.eyeriss:EyerissModel",
        "fpga": "netloom.hw_models.fpga.tiled:TiledModel",
        "fpga_pipeline": "netloom.hw_models.fpga.pipeline:PipelineModel",
        "gpu": "netloom.hw_models.gpu:GpuModel",
        "maestro": "netloom.hw_models.asic.maestro:MaestroModel",
        "mcu": "netloom.hw_models.mcu:McuModel",
        "systolic": "netloom.hw_models.asic.systolic:SystolicModel",
    },
)
_PLUGINS = Registry("device", "netloom.devices", {})

# unit -> (what it measures, how many of the base unit it is)
UNITS: dict[str, tuple[str, float]] = {
    "Hz": ("frequency", 1.0),
    "MHz": ("frequency", 1e6),
    "GHz": ("frequency", 1e9),
    "FLOP/cycle": ("FLOP per cycle", 1.0),
    "GFLOP/s": ("FLOP per second", 1e9),
    "TFLOP/s": ("FLOP per second", 1e12),
    "TOP/s": ("FLOP per second", 1e12),
    "TB/s": ("bytes per second", 1e12),
    "share": ("share", 1.0),
    "percent": ("share", 0.01),
    "MB/s": ("bytes per second", 1e6),
    "GB/s": ("bytes per second", 1e9),
    "ns": ("time", 1e-9),
    "us": ("time", 1e-6),
    "ms": ("time", 1e-3),
    "bytes": ("memory", 1.0),
    "KiB": ("memory", 1024.0),
    "MiB": ("memory", 1024.0**2),
    "GiB": ("memory", 1024.0**3),
    "GB": ("memory", 1e9),
    "cores": ("cores", 1.0),
    "PEs": ("processing elements", 1.0),
    "lanes": ("lanes", 1.0),
    "words": ("words", 1.0),
    "elements/cycle": ("elements per cycle", 1.0),
    "bytes/cycle": ("bytes per cycle", 1.0),
    "DSP": ("DSP slices", 1.0),
    "DSP/MAC": ("DSP slices per multiply-add", 1.0),
    "BRAM18": ("block RAMs", 1.0),
    "BRAM36": ("block RAMs", 2.0),
    "ports": ("ports", 1.0),
    "bits": ("bits", 1.0),
    "cycles": ("cycles", 1.0),
    "cycles/MAC": ("cycles per MAC", 1.0),
    "cycles/output": ("cycles per output", 1.0),
    "V": ("voltage", 1.0),
    "mW": ("power", 1e-3),
    "mJ": ("energy", 1e-3),
    "W": ("power", 1.0),
    "pJ": ("energy", 1e-12),
    "pJ/byte": ("energy per byte", 1e-12),
}


class Number(BaseModel):
    """A number of a device.

    Args:
        value: In `unit`.
        unit: One of `UNITS`.
        source: Where it comes from: a document, a measurement, or an assumption that says so.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    value: float = Field(ge=0)
    unit: str
    source: str = Field(min_length=10)

    @property
    def si(self) -> float:
        """The value in the base unit of what it measures (seconds, bytes, hertz, ...)."""
        return self.value * UNITS[self.unit][1]


def measures(what: str, *, positive: bool = True) -> AfterValidator:
    """Return the rule that a number's unit must measure this (`frequency`, `time`, ...)."""

    def check(number: Number) -> Number:
        allowed = [unit for unit, (measured, _) in UNITS.items() if measured == what]
        if number.unit not in allowed:
            raise ValueError(f"unit must be {' or '.join(allowed)}, got {number.unit!r}")
        if positive and number.value == 0:
            raise ValueError("value must be greater than 0, got 0")
        return number

    return AfterValidator(check)


class Validation(BaseModel):
    """How a model did against measurements that it had not seen.

    Args:
        n: How many networks it was compared on.
        mape_percent: Mean absolute error in per cent of the measured value.
        spearman: Rank correlation with the measurements.
        kendall: Likewise, tau-b.
        within_5_percent: Share of networks, in per cent, predicted within 5 % of the measurement.
        within_10_percent: Likewise, 10 %.
        noise_ceiling: Spearman correlation that a perfect model could reach, where repeats are
            known.
        source: Which networks, measured how, and by which protocol compared.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    n: int = Field(ge=2)
    mape_percent: float = Field(ge=0)
    spearman: float | None = Field(default=None, ge=-1, le=1)
    kendall: float | None = Field(default=None, ge=-1, le=1)
    within_5_percent: float | None = Field(default=None, ge=0, le=100)
    within_10_percent: float | None = Field(default=None, ge=0, le=100)
    noise_ceiling: float | None = Field(default=None, ge=0, le=1)
    source: str = Field(min_length=10)


class Numbers(BaseModel):
    """What a family needs to know of a device; each family declares its own fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = Field(pattern=r"^[A-Za-z0-9_.-]+$")
    family: str
    title: str = Field(min_length=1)
    calibrated: bool
    notes: str = ""
    numbers: dict[str, Any]
    validation: dict[str, Validation] = {}


@dataclass(frozen=True)
class Device:
    """One device as its file describes it.

    Args:
        name: What specs call it.
        family: Which hardware model reads it.
        title: One line for people.
        calibrated: Whether its numbers were fitted to measured networks.
        notes: What to know before believing its numbers.
        numbers: The family's numbers.
        validation: For fields of `Cost`, how the model did against measurements.
        origin: The file it came from, for messages.
    """

    name: str
    family: str
    title: str
    calibrated: bool
    notes: str
    numbers: Numbers
    validation: Mapping[str, Validation] = field(default_factory=dict, hash=False)
    origin: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON values that the file holds."""
        return {
            "name": self.name,
            "family": self.family,
            "title": self.title,
            "calibrated": self.calibrated,
            "notes": self.notes,
            "numbers": self.numbers.model_dump(exclude_none=True),
            "validation": {
                name: found.model_dump(exclude_none=True) for name, found in self.validation.items()
            },
        }


Source: TypeAlias = "str | Path | Device"


def device_names() -> list[str]:
    """Return the names of all devices, sorted; reads no file."""
    return sorted({*_builtin(), *_PLUGINS.names(), *user_devices()})


def shipped_devices() -> list[str]:
    """Return the names of the devices that come with netloom, sorted."""
    return sorted(_builtin())


def register_device(name: str, device: Source) -> None:
    """Add a device (an object, or the path of its YAML file) under `name` in this process.

    Raises:
        SpecError: If the name is taken.
    """
    if name in _builtin():
        raise SpecError(f"the device name {name!r} is taken; choose another")
    _PLUGINS.register(name, Path(device) if isinstance(device, str) else device)


def load_device(device: Source) -> Device:
    """Return a device by name, by the path of a YAML file, or as it is.

    Raises:
        UnknownName: If there is no device of that name; says the closest ones.
        SpecProblems: If a file breaks rules; one line per problem with file and line.
    """
    if isinstance(device, Device):
        return device
    text = str(device)
    if isinstance(device, Path) or text.endswith((".yaml", ".yml")):
        return _read(text)
    if path := _builtin().get(text):
        return _read(path)
    if text in _PLUGINS:
        found = _PLUGINS.get(text)
        return load_device(found() if callable(found) else found)
    if file := user_devices().get(text):
        return _read_named(text, file)
    raise UnknownName("device", text, device_names())


def model_for(device: Source) -> HardwareModel:
    """Return the hardware model of a device.

    Raises:
        SpecError: As `load_device`; or if its family is unknown.
    """
    loaded = load_device(device)
    model: HardwareModel = FAMILIES.get(loaded.family)(loaded)
    return model


def with_runtime(device: Device, runtime: Any) -> Device:
    """Return a device that runs networks under another runtime than its file says.

    What was compared with measurements under the file's runtime no longer counts as validation.

    Args:
        device: Of a family that knows runtimes.
        runtime: As a device file writes it.

    Raises:
        SpecError: If the family knows no runtimes, or not this one.
    """
    if "runtime" not in type(device.numbers).model_fields:
        raise SpecError(
            f"devices of family {device.family} run networks in one way, got runtime {runtime!r} "
            f"for {device.name}; leave it out"
        )
    values = {**device.numbers.model_dump(exclude_none=True), "runtime": runtime}
    numbers = validate(type(device.numbers), values, where="numbers")
    if numbers == device.numbers:
        return device
    return replace(device, numbers=numbers, validation={})


@lru_cache(maxsize=1)
def _builtin() -> Mapping[str, str]:
    folder = files(__package__) / "devices"
    found = (entry.name for entry in folder.iterdir() if entry.name.endswith(".yaml"))
    return {name.removesuffix(".yaml"): str(folder / name) for name in found}


def _read_named(name: str, file: Path) -> Device:
    """Read a file that its name led to; metrics are called as the file says, so both must agree."""
    device = _read(str(file))
    if device.name != name:
        raise SpecError(
            f"a device file is called as the device in it, got {device.name!r} in {file}; rename "
            "one of them"
        )
    return device


def _read(path: str) -> Device:
    shown = Path(path).name
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise SpecError(f"the device file {path} cannot be read: {error.strerror}") from error
    value, place = read_marked(text, shown)
    try:
        file = validate(_File, value)
        family = _family(file.family)
        numbers = validate(family, file.numbers, where="numbers")
        _known_fields(file)
    except SpecProblems as error:
        problems = [Problem(p.path, p.message, place(p.path)) for p in error.problems]
        raise SpecProblems(problems) from error
    facts = {**dict(file), "numbers": numbers}
    return Device(**facts, origin=path)


def _known_fields(file: _File) -> None:
    """Check that what was compared with measurements is what models of the family give."""
    given = FAMILIES.get(file.family).provides
    unknown = [name for name in file.validation if name not in given]
    if unknown:
        raise SpecProblems(
            [Problem(("validation", n), f"unknown key{did_you_mean(n, given)}") for n in unknown]
        )


def _family(name: str) -> type[Numbers]:
    try:
        numbers: type[Numbers] = FAMILIES.get(name).Numbers
    except UnknownName as error:
        raise SpecProblems([Problem(("family",), str(error))]) from error
    return numbers
