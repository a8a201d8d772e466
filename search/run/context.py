"""What the runner gives a strategy: `RunContext`."""

from __future__ import annotations

import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from ...db.records import NOTE, CurvePoint, TrialRecord
from ...errors import StoreError
from ...seeds import derive_rng
from ...spaces import Architecture
from ..strategy import Context, Result
from .engines.processes import run_processes
from .events import Emitter
from .members import Member, stored_architecture
from .pricing import Pricing
from .tensors import pack_tensors, unpack_tensors
from .together import Home, Parallel, Task

if TYPE_CHECKING:
    from ...db import Store
    from ...db.transaction import Transaction
    from .plan import Plan

_T = TypeVar("_T")
_R = TypeVar("_R")
Mapper = Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]
_RECENT = 4096  # told results kept in memory; older ones come from the store
_FLUSH_S = 1.0


@dataclass(frozen=True, slots=True)
class _Artifact:
    kind: str
    name: str
    sha256: str
    size_bytes: int
    meta: Mapping[str, Any]
    put_at: float  # seconds since the epoch


class RunContext:
    """The `Context` of a run: the store behind it, and nothing that a strategy could break.

    What a strategy writes while it is asked or told (curves, checkpoints) is committed together
    with the state that this leads to; what it writes while it prepares is committed at once.

    Args:
        plan: What runs.
        store: Where to.
        experiment_id: The experiment's id.
        emit: Where progress goes.
        stopping: Whether the run is being stopped.
        mapper: Runs independent pieces of work: `mapper(function, items)`.
        parallel: Runs one piece of work in several processes; on this machine if left out.
    """

    def __init__(
        self,
        plan: Plan,
        store: Store,
        experiment_id: str,
        *,
        emit: Emitter,
        stopping: Callable[[], bool],
        mapper: Mapper,
        parallel: Parallel = run_processes,
    ) -> None:
        self.space, self.data, self.seed = plan.space, plan.data, plan.seed
        self.objectives, self.constraints = plan.objectives, plan.constraints
        self._gpus = plan.runner.gpus_per_trial
        self._canonical = plan.dedup == "canonical"
        self._pricing = Pricing(plan)
        self._tested = {
            m.name for e in plan.estimators for m in e.metrics if m.split == "test"
        }  # no strategy sees these
        self._store, self._experiment, self._emit = store, experiment_id, emit
        self._stopping, self._mapper, self._parallel = stopping, mapper, parallel
        self._known: dict[str, int] = {}
        self._recent: OrderedDict[int, Result] = OrderedDict()
        self._curves: list[CurvePoint] = []
        self._artifacts: list[_Artifact] = []
        self._written: dict[str, bytes] = {}
        #: (kind, name) -> digest of the newest, and when its file was put
        self._files = {
            (a.kind, a.name): (a.sha256, a.created_at.timestamp())
            for a in store.artifacts(experiment_id)
            if a.number is None
        }
        self._flushed = time.monotonic()
        self.preparing = True

    # ------------------------------------------------------------------ what strategies use
    @cached_property
    def device(self) -> str:
        """`cuda` when this process has one, or trials ask for one; else `cpu`."""
        if self._gpus > 0:
            return "cuda"
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    def rng(self, *role: str | int) -> Random:
        """Return a generator derived from (experiment seed, "strategy", *role)."""
        return derive_rng(self.seed, "strategy", *role)

    def known(self, architecture: Architecture) -> bool:
        """Whether this experiment already holds a trial of the architecture, finished or not."""
        return self.identity(architecture) in self._known

    def history(self) -> Iterator[Result]:
        """Yield every committed result, in the order of telling."""
        for record in self._store.told_trials(self._experiment):
            if record.fixed is None:
                yield self.result(record)

    def results(self, numbers: Iterable[int]) -> list[Result]:
        """Return told results by trial number, in the order asked for."""
        wanted = list(numbers)
        found = {n: self._recent[n] for n in wanted if n in self._recent}
        missing = [n for n in wanted if n not in found]
        if missing:
            records = self._store.trial_records(self._experiment, numbers=missing)
            found |= {r.number: self.result(r) for r in records if r.told is not None}
        return [found[n] for n in wanted if n in found]

    def record(self, name: str, value: float, step: int) -> None:
        """Store one point of a curve of the strategy."""
        self._curves.append(CurvePoint(name, step, float(value)))
        if self.preparing and time.monotonic() - self._flushed > _FLUSH_S:
            self.flush()

    def checkpoint(self, name: str, tensors: Mapping[str, Any]) -> None:
        """Store tensors under a name; replaces the earlier ones when it is durable."""
        self._keep("checkpoint", name, pack_tensors(tensors), {})

    def restore(self, name: str) -> Mapping[str, Any] | None:
        """Return the tensors stored under a name, or None.

        Raises:
            StoreError: If their file is not there, or damaged.
        """
        data = self._written.get(name)
        if data is None:
            record = self._store.checkpoint(self._experiment, name)
            if record is None:
                return None
            path = self._store.artifact_path(record)
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() != record.sha256:
                raise StoreError(
                    f"the file of checkpoint {name!r} must be what was stored, got other bytes in "
                    f"{path}; bring it back from a copy, or start a new search"
                )
        return unpack_tensors(data)

    def publish(self, name: str, supernet: Any, mask: Mapping[str, Any] | None = None) -> None:
        """Keep a trained super-network as an artifact that the `supernet` estimator can load."""
        data = pack_tensors(dict(supernet.state_dict()))
        self._keep("supernet", name, data, {"mask": dict(mask or {})})

    def note(self, name: str, value: Mapping[str, Any], kind: str = "") -> None:
        """Keep JSON values under a name for those who read the store; replaces the earlier ones."""
        text = json.dumps(value, allow_nan=False, sort_keys=True)
        meta = {"kind": kind, "value": json.loads(text)}
        self._keep(NOTE, name, text.encode(), meta)

    def costs(self, architecture: Architecture) -> dict[str, float]:
        """Return what an architecture costs: the cheap costs among objectives and constraints."""
        return self._pricing.of(architecture)

    def progress(self, text: str, done: int, total: int) -> None:
        """Show how far a long piece of work is."""
        self._emit("progress", text=text, done=done, total=total)

    def stopping(self) -> bool:
        """Whether the run is being stopped: finish the step, checkpoint, return."""
        return self._stopping()

    def map(self, function: Callable[[_T], _R], items: Sequence[_T]) -> list[_R]:
        """Run independent pieces of work, inline or as Ray tasks; results in order."""
        return self._mapper(function, items)

    def parallel(self, function: Callable[[Context], _R], workers: int) -> _R:
        """Run one piece of training in several processes at once; return what the first gave."""
        task = Task.of(self, function, self._pricing.of)
        found: _R = self._parallel(task, workers, Home.of(self))
        return found

    # ------------------------------------------------------------------ what the session uses
    def identity(self, architecture: Architecture) -> str:
        """Return what makes two architectures count as one."""
        if self._canonical and not isinstance(architecture, Member):
            return self.space.canonical(architecture)
        return architecture.key

    def remember(self, architecture: Architecture, number: int) -> int:
        """Note that an architecture has a trial; return the first trial of it."""
        return self._known.setdefault(self.identity(architecture), number)

    def load_known(self, records: Iterable[TrialRecord]) -> None:
        """Take in which architectures the stored trials are of, fixed points left out."""
        for record in records:
            if record.fixed is None:
                self.remember(Architecture(record.architecture), record.number)

    def result(self, record: TrialRecord) -> Result:
        """Return a stored trial as strategies see it.

        Raises:
            RuntimeError: If it has not ended.
        """
        if record.ending is None:
            raise RuntimeError(f"trial {record.number} has not ended")
        return Result(
            number=record.number,
            architecture=stored_architecture(record),
            status=record.ending,
            metrics={k: v for k, v in record.metrics.items() if k not in self._tested},
            violation=record.violation,
            tags=record.tags,
            parent=record.parent,
        )

    def told(self, results: Sequence[Result]) -> None:
        """Keep recent results at hand: strategies look up the parents of what they are told."""
        for result in results:
            self._recent[result.number] = result
        while len(self._recent) > _RECENT:
            self._recent.popitem(last=False)

    def write(self, transaction: Transaction) -> None:
        """Add what the strategy wrote to the transaction that stores its state."""
        if self._curves:
            transaction.add_curves(self._experiment, self._curves)
        for artifact in self._artifacts:
            transaction.remove_artifacts(self._experiment, kind=artifact.kind, name=artifact.name)
            transaction.add_artifact(
                self._experiment,
                kind=artifact.kind,
                name=artifact.name,
                sha256=artifact.sha256,
                size_bytes=artifact.size_bytes,
                meta=artifact.meta,
            )

    def written(self) -> None:
        """Forget what `write` wrote, once it is committed, and remove the files it replaced."""
        replaced: dict[str, float] = {}
        for artifact in self._artifacts:
            place = (artifact.kind, artifact.name)
            replaced |= dict([self._files[place]] if place in self._files else ())
            self._files[place] = (artifact.sha256, artifact.put_at)
        self._store.drop_files(replaced)
        self._curves, self._artifacts = [], []
        self._written.clear()
        self._flushed = time.monotonic()

    def flush(self) -> None:
        """Commit what the strategy wrote in a transaction of its own."""
        if self._curves or self._artifacts:
            with self._store.transaction() as transaction:
                self.write(transaction)
        self.written()

    def _keep(self, kind: str, name: str, data: bytes, meta: Mapping[str, Any]) -> None:
        sha256, size = self._store.put_file(data)
        self._artifacts.append(_Artifact(kind, name, sha256, size, meta, time.time()))
        if kind == "checkpoint":
            self._written[name] = data
        if self.preparing:
            self.flush()
