"""An estimator written as a plain function: `estimators: [{name: "my_pkg.train:evaluate"}]`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

from ..errors import EvaluationError, NetloomError, SpecError, UnknownName
from ..spaces import Architecture, DecisionSpace
from .estimator import Estimator, Metric, Metrics, Report, check_finite

_F = TypeVar("_F", bound=Callable[..., Any])
GIVEN = ("architecture", "network", "space", "data", "seed", "budget", "report")
_OWN = ("metrics", "cheap", "deterministic", "reports")
_KEYS = ("direction", "unit")


def declares(
    metrics: Mapping[str, Any],
    *,
    cheap: bool = False,
    deterministic: bool = False,
    reports: bool = False,
    version: int = 1,
) -> Callable[[_F], _F]:
    """Mark a function with the metrics it returns, so that specs need not repeat them.

    Args:
        metrics: Metric id -> `maximize` or `minimize`, or `{"direction": ..., "unit": ...}`.
        cheap: Whether a call takes milliseconds.
        deterministic: Whether the seed does not matter (then results are reused across runs).
        reports: Whether it calls `report(step, metrics)` as it goes.
        version: Raise it when the function gives other values for the same arguments.
    """
    marks = {
        "metrics": dict(metrics),
        "cheap": cheap,
        "deterministic": deterministic,
        "reports": reports,
        "version": version,
    }

    def mark(function: _F) -> _F:
        function.__netloom__ = marks  # type: ignore[attr-defined]
        return function

    return mark


class FunctionEstimator(Estimator):
    """Calls a function for every architecture.

    The function takes, by name, what it wants of: `architecture` (the decisions), `network` (the
    architecture built as an `nn.Module`, initialised from the seed), `space`, `data` (the data
    set), `seed`, `budget` (None, or the fidelity asked for), `report` (call it as
    `report(step, metrics)`; it may raise `StopTrial`: let it pass). Every other parameter is an
    option of its own, set in the spec. It returns `{metric: value}`, one value per metric
    declared, by `@declares(...)` on the function or by `metrics` in the spec:

        @declares({"valid_rmse": {"direction": "minimize", "unit": "mm"}})
        def evaluate(network, data, *, seed, budget, report, lr: float = 0.01):
            ...
            return {"valid_rmse": 0.3}

    Args:
        space: Where the architectures come from.
        data: The data set, if the function asks for it.
        function: Import path, `package.module:function`, or a name of the entry-point group.
        metrics: Metric id -> direction, or `{direction: ..., unit: ...}`; None: as declared.
        options: Arguments for the function's own parameters.
        cheap: Whether a call takes milliseconds; None: as declared, else no.
        deterministic: Whether the seed does not matter; None: as declared, else no.
        reports: Whether it calls `report`; None: as declared, else no.

    Raises:
        SpecError: If no metrics are declared, or an option is not a parameter of the function.
    """

    name: ClassVar[str] = "function"

    def __init__(
        self,
        space: DecisionSpace,
        data: Any = None,
        *,
        function: str,
        metrics: dict[str, Any] | None = None,
        options: dict[str, Any] | None = None,
        cheap: bool | None = None,
        deterministic: bool | None = None,
        reports: bool | None = None,
    ) -> None:
        super().__init__(space, data)
        self.function, self.options = function, dict(options or {})
        self.name = function  # type: ignore[misc]  # listings tell several functions apart
        self._call = _function(function)
        marks = getattr(self._call, "__netloom__", {})
        self.version = int(marks.get("version", 1))
        self._declared = _metrics(function, metrics or marks.get("metrics"), self.version)
        # one object's flags, not the kind's
        self.cheap = _first(cheap, marks.get("cheap"))  # type: ignore[misc]
        self.deterministic = _first(deterministic, marks.get("deterministic"))  # type: ignore[misc]
        self.reports = _first(reports, marks.get("reports"))  # type: ignore[misc]
        self._asks = _asked(function, self._call, self.options)
        self.needs_data = "data" in self._asks  # type: ignore[misc]
        if self.needs_data and data is None:
            raise SpecError(f"{function} asks for data; name a data set in the spec (data: ...)")
        self._weights: Mapping[str, Any] | None = None

    @classmethod
    def options_of_function(cls, path: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return this class's options for a function named in a spec with its own options."""
        own = {key: value for key, value in options.items() if key in _OWN}
        rest = {key: value for key, value in options.items() if key not in _OWN}
        return {"function": path, "options": rest, **own}

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """As declared."""
        return self._declared

    def identity(self) -> dict[str, Any]:
        """The function, its version and options, and the data."""
        return {
            "function": self.function,
            "version": self.version,
            "options": self.options,
            "metrics": [[m.name, m.direction] for m in self._declared],
            "data": self.data.fingerprint if self.needs_data else None,
        }

    def evaluate(
        self,
        architecture: Architecture,
        *,
        seed: int = 0,
        budget: float | None = None,
        report: Report | None = None,
    ) -> Metrics:
        """Call the function.

        Raises:
            EvaluationError: If it raises, or returns something else than its metrics.
        """
        self._weights = None
        given: dict[str, Any] = {
            "architecture": architecture,
            "space": self.space,
            "data": self.data,
            "seed": seed,
            "budget": budget,
            "report": report or _silent,
        }
        if "network" in self._asks:
            from .network import built, seeded

            given["network"] = built(self.space, architecture, seed=seed)
            with seeded(seed, "function"):  # the function's torch draws, too, are the seed's
                values = self._values(given)
            self._weights = {k: v.cpu() for k, v in given["network"].state_dict().items()}
        else:
            values = self._values(given)
        if not isinstance(values, Mapping):
            raise EvaluationError(
                f"{self.function} must return {{metric: value}}, got {type(values).__name__}"
            )
        unexpected = sorted(set(values) - {m.name for m in self._declared})
        if unexpected:
            raise EvaluationError(
                f"{self.function} returned {', '.join(unexpected)}, which it does not declare; "
                "declare it by @declares or by metrics in the spec"
            )
        return check_finite(self.function, values, [m.name for m in self._declared])

    def _values(self, given: Mapping[str, Any]) -> Any:
        try:
            return self._call(**{name: given[name] for name in self._asks}, **self.options)
        except NetloomError:
            raise
        except Exception as error:
            raise EvaluationError(
                f"{self.function} raised {type(error).__name__}: {error}"
            ) from error

    def trained_weights(self) -> Mapping[str, Any] | None:
        """Return the weights of the network that the last call was given."""
        return self._weights

    def __getstate__(self) -> dict[str, Any]:
        # the function travels by its import path, the weights stay here
        return {**vars(self), "_weights": None, "_call": None}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        vars(self).update(state)
        self._call = _function(self.function)


def flags_of(function: Callable[..., Any]) -> dict[str, bool]:
    """Return whether a function is declared `cheap`, `reports`, and asks for data."""
    marks = getattr(function, "__netloom__", {})
    asks = inspect.signature(function).parameters
    flags = {name: bool(marks.get(name, False)) for name in ("cheap", "reports")}
    return {**flags, "needs_data": "data" in asks}


def _silent(step: int, metrics: Mapping[str, float]) -> None:
    """Stand in for `report` where nobody listens."""


def _first(*values: bool | None) -> bool:
    return next((bool(value) for value in values if value is not None), False)


def _function(path: str) -> Callable[..., Any]:
    from .registry import ESTIMATORS

    target = ESTIMATORS.get(path)
    if inspect.isclass(target) or not callable(target):
        raise SpecError(
            f"function must be the import path of a function, got {path!r}, which is a "
            f"{type(target).__name__}; an Estimator class goes under name"
        )
    function: Callable[..., Any] = target
    return function


def _metrics(path: str, declared: Any, version: int) -> tuple[Metric, ...]:
    if not declared or not isinstance(declared, Mapping):
        raise SpecError(
            f"{path} must declare its metrics, for example metrics: {{valid_rmse: minimize}} in "
            f"the spec, or @declares(...) on the function; got {declared!r}"
        )
    provenance = {"kind": "function", "source": path, "version": version}
    metrics = []
    for name, value in declared.items():
        entry = value if isinstance(value, Mapping) else {"direction": value}
        for key in entry:
            if key not in _KEYS:
                raise UnknownName(f"key of metric {name} of {path}", str(key), _KEYS)
        direction = entry.get("direction")
        if direction not in ("maximize", "minimize"):
            raise SpecError(
                f"{path}: the direction of {name} must be maximize or minimize, got {direction!r}"
            )
        metrics.append(Metric(name, entry.get("unit", ""), direction, "valid", provenance))
    return tuple(metrics)


def _asked(path: str, call: Callable[..., Any], options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return which of the given things the function takes; check the options against the rest."""
    parameters = inspect.signature(call).parameters
    own = [n for n, p in parameters.items() if n not in GIVEN and p.kind is not p.VAR_KEYWORD]
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name in options:
        if name in GIVEN or (name not in own and not open_ended):
            raise UnknownName(f"option of {path}", name, own)
    missing = [n for n in own if parameters[n].default is inspect.Parameter.empty]
    missing = [n for n in missing if n not in options and parameters[n].kind is not _VARARGS]
    if missing:
        raise SpecError(
            f"{path} needs the options {', '.join(missing)}; set them in the spec, beside its "
            f"name (it can also ask for {', '.join(GIVEN)})"
        )
    return tuple(name for name in GIVEN if name in parameters)


_VARARGS = inspect.Parameter.VAR_POSITIONAL
