"""Every error that netloom raises on purpose.

    NetloomError                exit code 1
    +-- SpecError               2   a spec, an option or a command line that breaks a rule
    |   +-- UnknownName         2   a name that no registry knows (lists the closest ones)
    +-- InvalidArchitecture     2   an architecture that its space does not hold
    +-- HardwareLimit           1   a network that cannot run on a device at all
    |   +-- UnsupportedLayer    1   because of one of its layers
    +-- EvaluationError         1   an estimator could not give its metrics
    |   +-- StopTrial           -   raised by `report` to end a trial early: not a failure
    |   +-- TraceError          1   a network whose workload cannot be captured without data
    +-- StoreError              1   the store refused: locked, full, read-only, newer schema
    |   +-- WrongStore          2   what was given names no store
    +-- OutputError             1   a result could not be written: a full disk, no permission
    +-- NoFeasible              3   a search ended without one feasible architecture
    +-- TrialsFailed            4   a search ended with failed trials (`--strict`)
    +-- MissingDependency       5   an optional package or a data set is not there
    +-- Interrupted             130 stopped by the user; resumable

A message says the rule, the value received and the remedy, in this order.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, ClassVar


class NetloomError(Exception):
    """Base of all errors raised on purpose; `exit_code` is what the CLI returns."""

    exit_code: ClassVar[int] = 1


class SpecError(NetloomError):
    """A spec, an option or a command line breaks a rule."""

    exit_code = 2


class UnknownName(SpecError):
    """A name that a registry does not hold.

    Args:
        kind: What was looked up (`space`, `strategy`, ...).
        name: The name received.
        known: The names that would have been accepted.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind, self.name, self.known = kind, name, sorted(known)
        super().__init__(f"unknown {kind} {name!r}{did_you_mean(name, self.known)}")

    def __reduce__(self) -> tuple[type[UnknownName], tuple[str, str, list[str]]]:
        return (type(self), (self.kind, self.name, self.known))


class InvalidArchitecture(NetloomError):
    """An architecture breaks a rule of its space: which rule, which value, what is allowed."""

    exit_code = 2


class HardwareLimit(NetloomError):
    """A network cannot run on a device at all.

    Args:
        message: Rule, value, remedy.
        layer: Name of the layer that breaks the limit.
        needed: What the layer (or the network) needs.
        limit: What the device has.
        unit: Of both.
    """

    def __init__(
        self, message: str, *, layer: str, needed: int, limit: int, unit: str = "bytes"
    ) -> None:
        self.layer, self.needed, self.limit, self.unit = layer, needed, limit, unit
        super().__init__(message)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_revive, (type(self), self.args, self.__dict__))

    @property
    def violation(self) -> float:
        """Excess relative to the limit, as constraint violations are measured."""
        return (self.needed - self.limit) / self.limit if self.limit else float(self.needed)


def _revive(kind: type[HardwareLimit], args: tuple[Any, ...], state: dict[str, Any]) -> Any:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class UnsupportedLayer(HardwareLimit):
    """A device cannot run a kind of layer, whatever its size; says what would make it runnable."""

    def __init__(self, message: str, *, layer: str) -> None:
        super().__init__(message, layer=layer, needed=1, limit=0, unit="layers")


class EvaluationError(NetloomError):
    """An estimator could not give its metrics; the cause is chained."""


class StopTrial(EvaluationError):
    """Raised by `report(step, metrics)` when the trial is to end now (pruned, or the run stops)."""


class TraceError(EvaluationError):
    """A network's forward pass cannot be followed without data (`hw_models.trace`)."""


class StoreError(NetloomError):
    """The store refused: locked, full, read-only, corrupt, or of another schema version."""


class WrongStore(StoreError):
    """What was given is not the URL of a store."""

    exit_code = 2


class OutputError(NetloomError):
    """A file, or stdout, could not be written; nothing half-written is left."""


class NoFeasible(NetloomError):
    """A search ended without one feasible architecture."""

    exit_code = 3


class TrialsFailed(NetloomError):
    """A search ended with failed trials and `--strict` was asked for."""

    exit_code = 4


class MissingDependency(NetloomError):
    """An optional package or a data set is not installed; the message names the remedy."""

    exit_code = 5


class Interrupted(NetloomError):
    """The user stopped the run; everything finished is kept and the run can be resumed."""

    exit_code = 130


def did_you_mean(name: str, known: Iterable[str], *, limit: int = 12) -> str:
    """Return `; did you mean a, b?` for close names, else the known ones (for error messages)."""
    names = sorted(known)
    if close := get_close_matches(name, names, n=3, cutoff=0.6):
        return f"; did you mean {' or '.join(close)}?"
    if not names:
        return "; none is registered"
    shown = ", ".join(names[:limit])
    return f"; known: {shown}{', ...' if len(names) > limit else ''}"
