"""Weights of an experiment that trainings may start from: those of its trials or super-networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from inspect import signature
from typing import TYPE_CHECKING, Any

from ...errors import NetloomError, SpecError
from ...spaces import Architecture, DecisionSpace
from .book import WEIGHTS
from .evaluation import one_line
from .origin import Inherited, read_weights
from .tensors import pack_tensors

if TYPE_CHECKING:
    from torch import nn

    from ...db import Store
    from ...db.records import ArtifactRecord, ExperimentRecord, TrialRecord

_SUPERNET = "supernet"


def inherited_weights(
    store: Store,
    record: ExperimentRecord,
    space: DecisionSpace,
    chosen: Sequence[TrialRecord],
    *,
    asked: str = "--inherit",
) -> list[Inherited]:
    """Return what the training of each of the trials starts from.

    The weights that a trial ended with, or that the trial whose result it reused did, where the
    store keeps them; else its part of a super-network that the search trained.

    Args:
        store: Where the experiment is.
        record: It.
        space: What it searched.
        chosen: Some of its trials.
        asked: How the caller writes that it wants them.

    Raises:
        SpecError: If there are none for one of them; says which trials have some.
        StoreError: If a file is not beside the store.
    """
    networks = _Supernets(store, record, space)
    found: dict[int, Inherited] = {}
    for trial in chosen:
        if trained := trained_weights(store, record, trial):
            found[trial.number] = trained
        elif trial.space is None and (part := networks.part_of(Architecture(trial.architecture))):
            found[trial.number] = part
    missing = [trial.number for trial in chosen if trial.number not in found]
    if missing:
        kept = store.artifacts(record.id, kind=WEIGHTS)
        there = sorted({a.number for a in kept if a.number is not None})
        known = f"those of {_numbers(there)} are" if there else "there are none"
        raise SpecError(
            f"{asked} needs the weights of the trials, and those of {_numbers(missing)} are not "
            f"kept in {record.name}: {known}; leave {asked} out to train from scratch"
        )
    return [found[trial.number] for trial in chosen]


def trained_weights(store: Store, record: ExperimentRecord, trial: TrialRecord) -> Inherited | None:
    """Return the weights that a trial ended with, or the nearest one that its result is from.

    Raises:
        StoreError: If their file is not beside the store.
    """
    for owner, found in _same_result(store, record, trial):
        if kept := store.artifacts(owner.id, kind=WEIGHTS, number=found.number):
            data = store.artifact_path(kept[-1]).read_bytes()
            said = f"trial {found.number} of {owner.name}"
            return Inherited(said, sha256(data).hexdigest(), data)
    return None


def _same_result(
    store: Store, record: ExperimentRecord, trial: TrialRecord
) -> list[tuple[ExperimentRecord, TrialRecord]]:
    """Return the trial, and those that its values were taken from, nearest first."""
    chain, wanted = [(record, trial)], trial.reused_from
    if wanted is None:
        return chain
    records = [
        e for e in store.experiments(all=True) if e.space_fingerprint == record.space_fingerprint
    ]
    alike = {t.id: (e, t) for e in records for t in store.trial_records(e.id, keys=[trial.key])}
    while wanted in alike:
        chain.append(alike.pop(wanted))
        wanted = chain[-1][1].reused_from
    return chain


def supernet_network(
    store: Store, record: ExperimentRecord, space: DecisionSpace, architecture: Architecture
) -> tuple[nn.Module, str] | None:
    """Return an architecture cut out of a super-network that the search trained, and out of which.

    Its layers need not be those that the space builds: search networks have norms of their own, and
    may be smaller.

    Raises:
        SpecError: If the super-network does not fit its space any more.
        StoreError: If its file is not beside the store.
    """
    return _Supernets(store, record, space).network_of(architecture)


class _Supernets:
    """The super-networks that a search published, the newest first, each built when needed."""

    def __init__(self, store: Store, record: ExperimentRecord, space: DecisionSpace) -> None:
        self._store, self._record, self._space = store, record, space
        self._artifacts = store.artifacts(record.id, kind=_SUPERNET)[::-1]
        self._built: dict[int, Any] = {}

    def part_of(self, architecture: Architecture) -> Inherited | None:
        """Return the weights of an architecture in the first that admits it; None: none does."""
        if (found := self.network_of(architecture)) is None:
            return None
        network, said = found
        data = pack_tensors(network.state_dict())
        return Inherited(said, sha256(data).hexdigest(), data)

    def network_of(self, architecture: Architecture) -> tuple[nn.Module, str] | None:
        """Return an architecture cut out of the first that admits it, and which one that is."""
        for artifact in self._artifacts:
            mask: Mapping[str, Sequence[Any]] = artifact.meta.get("mask", {})
            if all(architecture[name] in mask[name] for name in mask if name in architecture):
                network: nn.Module = self._network(artifact).extract(architecture)
                return network, f"the super-network {artifact.name} of {self._record.name}"
        return None

    def _network(self, artifact: ArtifactRecord) -> Any:
        if artifact.id in self._built:
            return self._built[artifact.id]
        weights = read_weights(self._store.artifact_path(artifact).read_bytes(), artifact.name)
        try:
            network = self._space.supernet(**self._options())  # type: ignore[attr-defined]
            network.load_state_dict(dict(weights))
        except (NetloomError, RuntimeError, AttributeError, TypeError) as error:
            raise SpecError(
                f"the super-network {artifact.name} of {self._record.name} does not fit its space "
                f"any more: {one_line(error)}; restore the code of the space, or train from "
                "scratch (netloom retrain without --inherit)"
            ) from error
        self._built[artifact.id] = network
        return network

    def _options(self) -> dict[str, Any]:
        """Return what the search made it with; PC-DARTS has one of its options itself."""
        strategy = self._record.spec["strategy"]
        takes = signature(self._space.supernet).parameters  # type: ignore[attr-defined]
        own = {name: strategy[name] for name in ("partial",) if name in strategy and name in takes}
        return {**own, **(strategy.get(_SUPERNET) or {})}


def _numbers(numbers: Sequence[int]) -> str:
    """Return trials in words, the first ten by number."""
    more = ", ..." if len(numbers) > 10 else ""
    return f"trial{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers[:10]))}{more}"
