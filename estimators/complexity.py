"""Estimator `complexity`: parameters, multiply-adds and activation memory, counted exactly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ..errors import EvaluationError, SpecError
from ..hw_models import PartCache, Workload
from ..hw_models.resolution import Resolution, sides
from ..hw_models.workload import WORKLOAD_VERSION
from ..spaces import Architecture, DecisionSpace, Space
from .estimator import Estimator, Metric, Metrics, Report

_COUNTS = (("params", ""), ("macs", "MACs"), ("peak_activation_bytes", "bytes"))


class Workloads:
    """The workload of any architecture of a space.

    Spaces with `parts` are composed from parts, each traced once and remembered; the network of
    any other space is built, on the meta device where its constructor allows, and traced.

    Args:
        space: A space that builds networks.

    Raises:
        SpecError: If the space builds no networks.
    """

    def __init__(self, space: DecisionSpace) -> None:
        if not isinstance(space, Space):
            raise SpecError(
                f"counting needs a space that builds networks, got {type(space).__name__} "
                f"{space.name!r}; search such a space, name the factor of a product that does "
                "(factor: net), or count inside an estimator of your own"
            )
        self.space: Space = space
        self._parts = PartCache()
        self._last: tuple[Architecture, Workload] | None = None

    def of(self, architecture: Architecture) -> Workload:
        """Return the workload of `architecture` at batch 1.

        Raises:
            EvaluationError: If its network cannot be built or traced; the cause is chained.
        """
        if self._last is not None and self._last[0] is architecture:
            return self._last[1]
        try:
            parts = self.space.parts(architecture)
            workload = self._traced(architecture) if parts is None else self._parts.compose(parts)
        except EvaluationError:
            raise
        except Exception as error:
            raise EvaluationError(
                f"space {self.space.name!r} could not build {architecture.to_json()}: "
                f"{type(error).__name__}: {error}; its code is at fault"
            ) from error
        self._last = (architecture, workload)
        return workload

    def _traced(self, architecture: Architecture) -> Workload:
        from ..hw_models.tracer import trace_built

        example = self.space.example_input(architecture)
        return trace_built(lambda: self.space.build(architecture), example)

    def __reduce__(self) -> tuple[type[Workloads], tuple[DecisionSpace]]:
        return (type(self), (self.space,))  # a copy in another process traces for itself


class Complexity(Estimator):
    """Counts parameters, multiply-adds and the peak of activation memory of each network.

    Exact, for batch 1 in evaluation mode: one multiply-add is one MAC, convolutions, linear layers
    and matrix products count; parameters are all parameters; the peak is that of the tensors
    alive at once when layers run one after another, without weights.

    Args:
        space: A space that builds networks.
        data: Not used.
        resolution: Side, or height and width, of the images; what the space builds if left out.
    """

    name: ClassVar[str] = "complexity"
    cheap: ClassVar[bool] = True

    def __init__(
        self, space: DecisionSpace, data: Any = None, *, resolution: Resolution | None = None
    ) -> None:
        super().__init__(space, data)
        self._workloads = Workloads(space)
        self._size = None if resolution is None else sides(resolution)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Parameters, MACs and bytes, all to be minimised."""
        source = {"kind": "count", "source": "hw_models.trace", "version": WORKLOAD_VERSION}
        source |= self._asked
        return tuple(Metric(name, unit, "minimize", provenance=source) for name, unit in _COUNTS)

    def identity(self) -> dict[str, Any]:
        """Return what decides the counts: the rules of counting."""
        return {"workload": WORKLOAD_VERSION, **self._asked}

    @property
    def _asked(self) -> dict[str, Any]:
        return {} if self._size is None else {"resolution": list(self._size)}

    def _workload(self, architecture: Architecture) -> Workload:
        """Return the network at the resolution asked for.

        Raises:
            SpecError: If its shapes do not tell what it is at that resolution.
        """
        workload = self._workloads.of(architecture)
        return workload if self._size is None else workload.at_resolution(*self._size)

    def evaluate(
        self,
        architecture: Architecture,
        *,
        seed: int = 0,
        budget: float | None = None,
        report: Report | None = None,
    ) -> Metrics:
        """Return the three counts; see `Estimator.evaluate`."""
        workload = self._workload(architecture)
        return {
            "params": float(workload.params),
            "macs": float(workload.macs),
            "peak_activation_bytes": float(workload.peak_activation_bytes),
        }

    def details(self, architecture: Architecture) -> Mapping[str, Any]:
        """Return what each layer contributes, in execution order."""
        workload = self._workload(architecture)
        live = workload.live_bytes[1:]
        return {
            "layers": [
                {
                    "name": layer.name,
                    "kind": layer.kind,
                    "output_shapes": [list(shape) for shape in layer.output_shapes],
                    "params": layer.params,
                    "macs": layer.macs,
                    "live_bytes": alive,
                }
                for layer, alive in zip(workload.layers, live, strict=True)
            ]
        }
