"""What is exported: a stored trial, its network, and where its weights come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ...db.records import ExperimentRecord, TrialRecord
from ...errors import EvaluationError, MissingDependency, SpecError
from ...spaces import Architecture, DecisionSpace
from ..run.evaluation import one_line
from ..run.inherited import supernet_part, trained_weights
from ..run.parts import make_data, make_importable, make_space, wanted_options
from ..run.spec import parse
from ..run.tensors import unpack_tensors

if TYPE_CHECKING:
    from torch import nn

    from ...db import Store
    from ...estimators import DataSet

Scale = tuple[list[float], list[float]]
Kind = Literal["trained", "inherited", "initialised"]


@dataclass(frozen=True)
class Source:
    """A trial that can be exported.

    Args:
        record: Its experiment.
        trial: The trial.
        space: What builds its network.
        data: The data set of the experiment, if it has one.
        weights: Its state dict, if the store keeps it.
        kind: Whether the weights were trained, inherited from a super-network, or initialised.
        origin: In words, where they come from.
        details: What the run stored of its devices: name -> verdict and costs.
        rescored: Costs that were added after the run.
    """

    record: ExperimentRecord
    trial: TrialRecord
    space: DecisionSpace
    data: DataSet | None
    weights: Mapping[str, Any] | None
    kind: Kind
    origin: str
    details: Mapping[str, Any]
    rescored: Mapping[str, float]

    @property
    def architecture(self) -> Architecture:
        """What its space builds."""
        return Architecture(self.trial.architecture)

    @property
    def scale(self) -> Scale | None:
        """Mean and deviation of the training split per channel, where they are known."""
        return self._scaling[0]

    @property
    def unscaled(self) -> str:
        """Why they are not."""
        return self._scaling[1]

    @cached_property
    def _scaling(self) -> tuple[Scale | None, str]:
        return _scale(self.data)  # data are loaded for what needs them

    def network(self) -> nn.Module:
        """Return the network with its weights; initialised from the trial's seed without any.

        Raises:
            EvaluationError: If it cannot be built, or the weights are another network's.
        """
        from ...estimators.network import built

        network = built(self.space, self.architecture, seed=self.trial.seed)
        if self.weights is not None:
            check_weights(network, self.weights, self.trial.notation)
            network.load_state_dict(dict(self.weights))
        return network


def read_source(
    store: Store,
    record: ExperimentRecord,
    number: int,
    *,
    space: DecisionSpace | None = None,
    data: DataSet | None = None,
) -> Source:
    """Return a trial with what its export needs.

    Args:
        store: Where it is.
        record: Its experiment.
        number: The trial's.
        space: The space of an experiment that was run with Python objects.
        data: The data set of such an experiment.

    Raises:
        StoreError: If there is no such trial, or the file of its weights is gone.
        SpecError: If it has not been evaluated, or its space builds no network.
        EvaluationError: If the weights cannot be read.
    """
    trial = store.trial(record.id, number)
    _require_evaluated(trial, record)
    if space is None:
        space, data = _parts(record)
    _require_network(space, record)
    weights, kind, origin = _weights(store, record, trial, space)
    return Source(
        record,
        trial,
        space,
        data,
        weights,
        kind,
        origin,
        _details(store, record, number),
        store.rescored(record).get(trial.key, {}),
    )


def check_weights(network: nn.Module, weights: Mapping[str, Any], notation: str) -> None:
    """Compare weights with a network, name by name and shape by shape.

    Raises:
        EvaluationError: With the first tensor that is missing, of another shape, or not known.
    """
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    problem = ""
    for name, shape in wanted.items():
        if name not in weights:
            problem = f"no {name} {shape}"
        elif (got := tuple(getattr(weights[name], "shape", ()))) != shape:
            problem = f"{name} {got} instead of {shape}"
        if problem:
            break
    if not problem and (more := [name for name in weights if name not in wanted]):
        problem = f"{more[0]}, which it does not have"
    if problem:
        raise EvaluationError(
            f"weights must be those of the architecture {notation}, got {problem}; the space was "
            "changed since, or they are another network's: export a trial of this version"
        )


def _require_evaluated(trial: TrialRecord, record: ExperimentRecord) -> None:
    if trial.status == "failed":
        raise SpecError(
            f"a trial to export must have been evaluated, got trial {trial.number} of "
            f"{record.name}, which failed: {trial.error}; `netloom pareto {record.name}` lists "
            "those of the front"
        )
    if trial.ending is None:
        raise SpecError(
            f"a trial to export must have been evaluated, got trial {trial.number} of "
            f"{record.name}, which is {trial.status}; `netloom resume {record.name}` goes on"
        )
    if trial.space is not None:
        raise SpecError(
            f"a trial to export must be of the space that was searched, {record.space}; got trial "
            f"{trial.number} of {record.name}, {trial.fixed}, a published network of the space "
            f"{trial.space.name}; export it from a search on that space"
        )


def _parts(record: ExperimentRecord) -> tuple[DecisionSpace, Any]:
    """Return space and data of a stored experiment; the data are not loaded."""
    if objects := record.spec.get("objects"):
        raise SpecError(
            f"an experiment to export must name its parts, got {record.name}, which was run from "
            f"Python with objects ({', '.join(objects)}); call "
            "netloom.search.export.export_trial(store, record, number, folder, space=..., data=...)"
        )
    folder = record.info.get("source_dir")
    make_importable(Path(folder) if folder else None)
    spec = parse(record.spec)
    data = None if spec.data is None else make_data(spec.data)[0]
    wanted = wanted_options(spec.estimators, spec.space)
    return make_space(spec.space, data, wanted=wanted)[0], data


def _require_network(space: DecisionSpace, record: ExperimentRecord) -> None:
    if not callable(getattr(space, "build", None)):
        raise SpecError(
            f"a trial to export must be one network, got one of the space {space.name!r}, which "
            "builds none; search a space that does (a product's networks are trials of their own "
            "spaces)"
        )
    if space.fingerprint != record.space_fingerprint:
        raise SpecError(
            f"the space must be the one that {record.name} searched, got {space.name!r} with "
            "other decisions or options; its code was changed since, or other options were given"
        )


def _weights(
    store: Store, record: ExperimentRecord, trial: TrialRecord, space: DecisionSpace
) -> tuple[Mapping[str, Any] | None, Kind, str]:
    """Return the best weights that the store keeps: trained ones, else a super-network's."""
    if found := trained_weights(store, record, trial):
        own = found.source == f"trial {trial.number} of {record.name}"
        reused = "" if own else f", whose result trial {trial.number} reused"
        return _read(found.data, found.source), "trained", f"trained by {found.source}{reused}"
    why = f"the store keeps no weights of trial {trial.number} of {record.name}"
    architecture = Architecture(trial.architecture)
    if part := supernet_part(store, record, space, architecture):
        from ...estimators.network import built

        weights = _read(part.data, part.source)
        try:
            check_weights(built(space, architecture, seed=trial.seed), weights, trial.notation)
        except EvaluationError as error:
            why += f", and {part.source} has other layers ({one_line(error)})"
        else:
            calibrated = "the statistics of its norms are those of the super-network"
            return weights, "inherited", f"inherited from {part.source}; {calibrated}"
    return None, "initialised", f"initialised from the seed {trial.seed}, not trained: {why}"


def _read(data: bytes, whose: str) -> Mapping[str, Any]:
    try:
        return unpack_tensors(data)
    except Exception as error:  # torch raises many kinds, and nothing in the file was executed
        raise EvaluationError(
            f"the weights of {whose} must be a file that this program wrote, got "
            f"{type(error).__name__}; copy the folder of the store again"
        ) from error


def _scale(data: Any) -> tuple[Scale | None, str]:
    """Return what training scales inputs by."""
    from ...estimators import DataSet

    if not isinstance(data, DataSet):
        return None, "the experiment has no data set"
    from torch import device

    from ...estimators import loop

    try:
        inputs = loop.prepared(data, device("cpu"), tasks=True).inputs
    except MissingDependency as error:
        return None, f"the data set is not there: {' '.join(str(error).split())}"
    return (inputs.mean.flatten().tolist(), inputs.std.flatten().tolist()), ""


def _details(store: Store, record: ExperimentRecord, number: int) -> Mapping[str, Any]:
    from ...db.records import EXPLANATION

    document = store.details(record.id, number, EXPLANATION) or {}
    devices: Mapping[str, Any] = document.get("devices", {})
    return devices
