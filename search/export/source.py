"""What is exported: a stored trial, its networks, and where their weights come from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ...db.records import ExperimentRecord, TrialRecord
from ...errors import EvaluationError, NetloomError, SpecError
from ...options import SpecProblems
from ...spaces import AcceleratorSpace, Architecture, DecisionSpace, ProductSpace
from ..objectives import Constraint
from ..run.fixed import stored_space
from ..run.inherited import supernet_network, trained_weights
from ..run.parts import make_importable, make_space, wanted_options
from ..run.spec import Named, parse
from ..run.tensors import unpack_tensors
from .examples import Examples, found_data, problem_text, read_examples

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ...db import Store
    from ...estimators import DataSet

Kind = Literal["trained", "inherited", "initialised"]


@dataclass(frozen=True)
class Part:
    """What was decided: all of a trial, or one factor where several spaces were searched together.

    Args:
        factor: Name of the factor; empty: the whole trial.
        space: What it is of.
        architecture: It.
        notation: It, as its space writes it.
        seed: Of the trial.
        weights: State dict of its network, if the store keeps it.
        taken: The network as it lies in a super-network, where that has other layers than its space
            builds.
        kind: Whether the weights were trained, inherited from a super-network, or initialised.
        origin: In words, where they come from; empty: there is no network.
    """

    factor: str
    space: DecisionSpace
    architecture: Architecture
    notation: str
    seed: int
    weights: Mapping[str, Any] | None = None
    taken: nn.Module | None = None
    kind: Kind = "initialised"
    origin: str = ""

    @property
    def builds(self) -> bool:
        """Whether it is a network."""
        return callable(getattr(self.space, "build", None))

    @property
    def choice(self) -> dict[str, Any] | None:
        """The configuration of an accelerator."""
        return (
            self.space.choice(self.architecture)
            if isinstance(self.space, AcceleratorSpace)
            else None
        )

    def network(self) -> nn.Module:
        """Return the network with its weights; initialised from the trial's seed without any.

        Raises:
            EvaluationError: If it cannot be built, or the weights are another network's.
        """
        from ...estimators.network import built

        if self.taken is not None:
            return deepcopy(self.taken)
        network = built(self.space, self.architecture, seed=self.seed)
        if self.weights is not None:
            check_weights(network, self.weights, self.notation)
            network.load_state_dict(dict(self.weights))
        return network


@dataclass(frozen=True)
class Source:
    """A trial that can be exported.

    Args:
        record: Its experiment.
        trial: The trial.
        space: What it is of; that of the search but for published networks of other spaces.
        stored: What makes that space again: its name and options.
        data: The data set of the experiment as it is today, if it has one.
        absent: Why it is not there, where the experiment had one.
        parts: What was decided; several of a product of spaces.
        details: What the run stored of its devices: name -> verdict and costs.
        rescored: Costs that were added after the run.
    """

    record: ExperimentRecord
    trial: TrialRecord
    space: DecisionSpace
    stored: Mapping[str, Any]
    data: DataSet | None
    absent: NetloomError | None
    parts: tuple[Part, ...]
    details: Mapping[str, Any]
    rescored: Mapping[str, float]

    @property
    def networks(self) -> list[Part]:
        """The parts that are networks."""
        return [part for part in self.parts if part.builds]

    @cached_property
    def examples(self) -> Examples:
        """What training knew of the data; they are loaded for what needs it."""
        return read_examples(self.record, self.data, self.absent)

    @property
    def broken(self) -> list[str]:
        """The constraints that the trial breaks, with what it has, and what a device refuses."""
        return list(_broken(self.record, self.trial))

    def example(self, part: Part) -> Tensor:
        """Return an input of batch size 1, of the shape that training gave the network.

        A space makes vectors as images of one pixel, a data set gives them as they are.
        """
        example: Tensor = part.space.example_input(part.architecture)  # type: ignore[attr-defined]
        shape = self.examples.shape
        if len(shape) not in (0, example.dim() - 1) and prod(shape) == example.numel():
            example = example.reshape(1, *shape)
        return example


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
        SpecError: If it has not been evaluated, or its space has changed.
        EvaluationError: If the weights cannot be read.
    """
    trial = store.trial(record.id, number)
    _require_evaluated(trial, record)
    folder = record.info.get("source_dir")
    make_importable(Path(folder) if folder else None)
    absent: NetloomError | None = None
    if space is None:
        space, data, absent = _searched(record)
    stored = stored_space(record, trial)
    if trial.space is not None:
        space = _space(record, Named(**stored), data, absent)
    _require_same(space, trial, record)
    return Source(
        record,
        trial,
        space,
        stored,
        data,
        absent,
        tuple(_parts(store, record, trial, space)),
        _details(store, record, number),
        store.rescored(record).get(trial.key, {}),
    )


def check_weights(network: nn.Module, weights: Mapping[str, Any], notation: str) -> None:
    """Compare weights with a network, name by name and shape by shape.

    Raises:
        EvaluationError: With the first tensor that is missing, of another shape, or not known.
    """
    from ...estimators.network import misfit

    if problem := misfit(network, weights):
        raise EvaluationError(
            f"weights must be those of the architecture {notation}, got {problem}; the space was "
            "changed since, or they are another network's: export a trial of this version"
        )


# ---------------------------------------------------------------- trial and space
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


def _searched(record: ExperimentRecord) -> tuple[DecisionSpace, Any, NetloomError | None]:
    """Return space and data of a stored experiment, not loaded, or why its data are not there."""
    if objects := record.spec.get("objects"):
        raise SpecError(
            f"an experiment to export must name its parts, got {record.name}, which was run from "
            f"Python with objects ({', '.join(objects)}); call "
            "netloom.search.export.export_trial(store, record, number, folder, space=..., data=...)"
        )
    spec = parse(record.spec)
    data, absent = found_data(spec.data)
    wanted = wanted_options(spec.estimators, spec.space)
    return _space(record, spec.space, data, absent, wanted), data, absent


def _space(
    record: ExperimentRecord,
    named: Named,
    data: Any,
    absent: NetloomError | None,
    wanted: Mapping[str, Any] | None = None,
) -> DecisionSpace:
    """Return a stored space; its options say what the data decided, but for inputs of modules.

    Raises:
        SpecError: If it cannot be made.
    """
    try:
        return make_space(named, wanted=wanted)[0]
    except SpecProblems as error:
        if absent is not None:
            raise SpecError(
                f"the space {named.name} of {record.name} must be made from its options where the "
                f"data are not there ({problem_text(absent)}), got: {error}; put the data back"
            ) from error
        if data is None:
            raise
        return make_space(named, data, wanted=wanted)[0]


def _require_same(space: DecisionSpace, trial: TrialRecord, record: ExperimentRecord) -> None:
    fingerprint = trial.space.fingerprint if trial.space else record.space_fingerprint
    if space.fingerprint != fingerprint:
        whose = f"of {trial.fixed}" if trial.space else f"that {record.name} searched"
        raise SpecError(
            f"the space must be the one {whose}, got {space.name!r} with other decisions or "
            "options; its code was changed since, or other options were given"
        )


# ---------------------------------------------------------------- parts and weights
def _parts(
    store: Store, record: ExperimentRecord, trial: TrialRecord, space: DecisionSpace
) -> Iterator[Part]:
    trained = trained_weights(store, record, trial)
    held = _read(trained.data, trained.source) if trained else {}
    for factor, own, architecture in _factors(space, Architecture(trial.architecture)):
        part = Part(factor, own, architecture, own.format(architecture), trial.seed)
        start = f"{factor}." if factor else ""
        mine = {k.removeprefix(start): v for k, v in held.items() if k.startswith(start)}
        if not part.builds:
            yield part
        elif trained and mine:
            same = trained.source == f"trial {trial.number} of {record.name}"
            reused = "" if same else f", whose result trial {trial.number} reused"
            origin = f"trained by {trained.source}{reused}"
            yield replace(part, weights=mine, kind="trained", origin=origin)
        else:
            yield _untrained(store, record, trial, part)


def _factors(
    space: DecisionSpace, architecture: Architecture, name: str = ""
) -> Iterator[tuple[str, DecisionSpace, Architecture]]:
    """Yield what a product decides, one factor after the other; of another space itself."""
    if not isinstance(space, ProductSpace):
        yield name, space, architecture
        return
    for factor, own in space.factors.items():
        longer = f"{name}.{factor}" if name else factor
        yield from _factors(own, space.project(architecture, factor), longer)


def _untrained(store: Store, record: ExperimentRecord, trial: TrialRecord, part: Part) -> Part:
    """Return the network with a super-network's weights, if the search trained one; else none."""
    whose = f"{part.factor} of trial {trial.number}" if part.factor else f"trial {trial.number}"
    why = f"the store keeps no weights of {whose} of {record.name}"
    searched = not part.factor and trial.space is None  # what a super-network is of
    found = supernet_network(store, record, part.space, part.architecture) if searched else None
    if found is not None:
        from ...estimators.network import built, misfit

        taken, name = found
        network = built(part.space, part.architecture, seed=trial.seed)
        if not (problem := misfit(network, taken.state_dict())):
            given: dict[str, Any] = {"weights": taken.state_dict()}
            origin = f"inherited from {name}"
        elif _macs(part, taken) == _macs(part, network):
            given = {"taken": taken}
            origin = f"inherited from {name}, with the norms and biases that it has there"
        else:
            why += f", and {name} has other layers (got {problem})"
            return replace(part, origin=_initialised(trial, why))
        origin += "; the statistics of its norms are those of the super-network"
        return replace(part, kind="inherited", origin=origin, **given)
    return replace(part, origin=_initialised(trial, why))


def _initialised(trial: TrialRecord, why: str) -> str:
    return f"initialised from the seed {trial.seed}, not trained: {why}"


def _macs(part: Part, network: nn.Module) -> int:
    from ...hw_models import trace

    example = part.space.example_input(part.architecture)  # type: ignore[attr-defined]
    return trace(network, example).macs


def _read(data: bytes, whose: str) -> Mapping[str, Any]:
    try:
        return unpack_tensors(data)
    except Exception as error:  # torch raises many kinds, and nothing in the file was executed
        raise EvaluationError(
            f"the weights of {whose} must be a file that this program wrote, got "
            f"{type(error).__name__}; copy the folder of the store again"
        ) from error


# ---------------------------------------------------------------- devices and constraints
def _broken(record: ExperimentRecord, trial: TrialRecord) -> Iterator[str]:
    from ...dashboard.words import constraint_text, value_text

    units = {metric.name: metric.unit for metric in record.metrics}
    for item in record.constraints:
        bound = Constraint(item["metric"], item.get("max"), item.get("min"))
        if bound.metric in trial.metrics and bound.violation(trial.metrics) > 0:
            unit = units.get(bound.metric, "")
            value = value_text(trial.metrics[bound.metric], unit)
            yield f"{constraint_text(item, unit)} (it has {value})"
    if trial.status == "infeasible" and trial.error:
        yield trial.error


def _details(store: Store, record: ExperimentRecord, number: int) -> Mapping[str, Any]:
    from ...db.records import EXPLANATION

    document = store.details(record.id, number, EXPLANATION) or {}
    devices: Mapping[str, Any] = document.get("devices", {})
    return devices
