"""What stands behind the numbers of an experiment: its data, and the models of its devices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..db.records import ExperimentRecord
from .details import option_text

NOT_STATED = "not stated"


@dataclass(frozen=True, slots=True)
class DataOrigin:
    """The data set of an experiment.

    Args:
        name: As the spec or its class calls it.
        licence: Under which its examples may be used; empty where the class states none.
        identity: What decides the examples: options, digests of files; empty where not known.
        fingerprint: A digest of that; None where it is not known.
    """

    name: str
    licence: str
    identity: Mapping[str, Any]
    fingerprint: str | None

    @classmethod
    def of(cls, record: ExperimentRecord) -> DataOrigin | None:
        """Return what is stored of the data of an experiment; None of one without."""
        named, known = record.spec.get("data"), record.info.get("data")
        if isinstance(known, Mapping):
            found = (known["name"], known["licence"], known["identity"], known["fingerprint"])
            return cls(*found)
        if not isinstance(named, Mapping):
            return None
        options = {key: value for key, value in named.items() if key != "name"}
        return cls(str(named.get("name", "")), "", options, None)

    @property
    def rows(self) -> list[tuple[str, str]]:
        """What there is to say, in words."""
        options = [(name, option_text(value)) for name, value in self.identity.items()]
        digests = [] if self.fingerprint is None else [("fingerprint", self.fingerprint)]
        head = [("data set", self.name), ("licence", self.licence or NOT_STATED)]
        return [*head, *options, *digests]


@dataclass(frozen=True, slots=True)
class ModelOrigin:
    """A metric that a model of a device computes.

    Args:
        metric: Its name.
        device: What is modelled.
        family: Kind of the model.
        version: Of the model.
        calibrated: Whether the device's numbers were fitted to measurements.
        error_percent: Mean absolute error on measurements that the model had not seen, in per
            cent of the measured value; None: never compared.
        proportional_to: The metric that it is a constant multiple of; None: of none.
    """

    metric: str
    device: str
    family: str
    version: str
    calibrated: bool
    error_percent: float | None
    proportional_to: str | None

    @property
    def error_text(self) -> str:
        """The error in words."""
        if self.error_percent is not None:
            return f"{self.error_percent:.3g} %"
        return "never compared with measurements"

    @property
    def cells(self) -> tuple[str, ...]:
        """A row below `MODEL_HEAD`."""
        fitted = "fitted to measurements" if self.calibrated else "not fitted to measurements"
        more = f", a multiple of {self.proportional_to}" if self.proportional_to else ""
        model = f"{self.family}, version {self.version}"
        return (self.metric, self.device, model, fitted + more, self.error_text)


MODEL_HEAD = ("metric", "device", "model", "numbers of the device", "mean error on unseen networks")


def model_origins(record: ExperimentRecord) -> list[ModelOrigin]:
    """Return the metrics that models of devices compute, with what is known of their error."""
    found = [(metric.name, metric.provenance) for metric in record.metrics]
    return [
        ModelOrigin(
            metric=name,
            device=str(told.get("source", "")),
            family=str(told["family"]),
            version=str(told.get("version", "")),
            calibrated=bool(told.get("calibrated")),
            error_percent=told.get("error_percent"),
            proportional_to=told.get("proportional_to"),
        )
        for name, told in found
        if told.get("kind") == "model" and told.get("family")
    ]
