"""One piece of training in several processes by Ray Train. Imported only when wanted."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer, get_device

from ....errors import EvaluationError, SpecError
from ..evaluation import one_line
from ..together import Failure, Home, Message, Task, WorkerContext, raise_first
from .cluster import Cluster
from .losses import LOST
from .payload import Payload, pack

if TYPE_CHECKING:
    from ..plan import Plan

_LOOK_S = 0.2  # between two looks at the mailbox
_ASK_S = 0.5  # between two questions of the first worker whether it is to stop


def run_workers(task: Task, workers: int, home: Home, cluster: Cluster, plan: Plan) -> Any:
    """Run a function in several Ray workers; return what the first one gave.

    Each reserves what a trial does. Messages of the first come through an actor.

    Args:
        task: The function, and what its context knows.
        workers: How many.
        home: Takes what the first worker sends.
        cluster: Where; entered.
        plan: Where modules are.

    Raises:
        SpecError: If there is no room for them at once, or the task cannot be sent.
        NetloomError: What the function raised.
        EvaluationError: If a worker died.
    """
    if plan.runner.address is None and cluster.room() < workers:  # a cluster may grow
        raise SpecError(
            f"the strategy's {workers} workers must fit on this machine at once, where there is "
            f"room for {cluster.room()} trials; lower workers or runner.cpus_per_trial (or "
            "gpus_per_trial), or give the address of a cluster"
        )
    mailbox = ray.remote(num_cpus=0)(_Mailbox).remote()
    folder = tempfile.mkdtemp(prefix="netloom-train-")
    fit = ray.remote(num_cpus=0, max_retries=0)(_fit)
    call = fit.remote(ray.put(pack(task, plan)), mailbox, workers, cluster.resources, folder)
    desk = _Desk(mailbox, home)
    try:
        while not ray.wait([call], timeout=_LOOK_S)[0]:
            desk.look()
        desk.look()
        return desk.result(_ending(call), workers)
    finally:
        ray.cancel(call, force=True)  # its workers go with it
        ray.kill(mailbox)
        shutil.rmtree(folder, ignore_errors=True)


class _Mailbox:
    """Messages on their way home, and the wish to stop on its way to the workers."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._stop = False

    def put(self, message: Message) -> None:
        self._messages.append(message)

    def take(self) -> list[Message]:
        taken, self._messages = self._messages, []
        return taken

    def stop(self) -> None:
        self._stop = True

    def stopping(self) -> bool:
        return self._stop


class _Desk:
    """Reads the mailbox at home."""

    def __init__(self, mailbox: Any, home: Home) -> None:
        self._mailbox, self._home = mailbox, home
        self._failures: dict[int, Failure] = {}
        self._found: list[Any] = []

    def look(self) -> None:
        """Deliver what has come; ask the workers to stop if it is time."""
        for name, values in ray.get(self._mailbox.take.remote()):
            if name == "failed":
                self._failures.setdefault(*values)
            elif name == "result":
                self._found.append(values[0])
            else:
                self._home.deliver((name, values))
        if self._home.stopping():
            ray.get(self._mailbox.stop.remote())

    def result(self, ending: Mapping[int, str], workers: int) -> Any:
        """Return what the first worker gave.

        Args:
            ending: Rank -> how a worker failed, as Ray Train says it; -1: Train itself.
            workers: How many there were.
        """
        silent = [
            text if rank < 0 else f"number {rank}, {text}"
            for rank, text in ending.items()
            if rank not in self._failures
        ]
        raise_first(list(self._failures.values()), workers, silent[0] if silent else None)
        return self._found[0]


def _ending(call: Any) -> Mapping[int, str]:
    try:
        found: Mapping[int, str] = ray.get(call)
    except LOST as error:
        return {-1: one_line(error)}
    return found


def _fit(
    payload: Payload, mailbox: Any, workers: int, resources: Mapping[str, float], folder: str
) -> dict[int, str]:
    """Let Ray Train run the workers; return how they failed."""
    gpus = resources.get("gpu", 0)
    trainer = TorchTrainer(
        _work,
        train_loop_config={"payload": payload, "mailbox": mailbox},
        torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=workers,
            use_gpu=bool(gpus),
            resources_per_worker={k.upper(): v for k, v in resources.items() if v},
        ),
        run_config=RunConfig(
            name="together", storage_path=folder, failure_config=FailureConfig(max_failures=0)
        ),
    )
    try:
        trainer.fit()
    except Exception as error:  # a worker's, or Train's own
        failures = getattr(error, "worker_failures", None) or {-1: error}
        return {rank: one_line(failure) for rank, failure in failures.items()}
    return {}


def _work(config: Mapping[str, Any]) -> None:
    """Be one of the workers."""
    from torch import distributed as dist

    mailbox, rank = config["mailbox"], dist.get_rank()

    def send(message: Message) -> None:
        ray.get(mailbox.put.remote(message))  # one after the other

    try:
        task: Task = config["payload"].load()
        device = get_device()
        context = WorkerContext(task, str(device), send if rank == 0 else None, _Question(mailbox))
        found = task.function(context)
        dist.barrier()  # nobody leaves while another needs the exchange
    except Exception as error:
        send(("failed", (rank, Failure.of(error))))
        raise EvaluationError(one_line(error)) from None  # ends the other workers
    if rank == 0:
        send(("result", (found,)))


class _Question:
    """Asks now and then whether the run is being stopped."""

    def __init__(self, mailbox: Any) -> None:
        self._mailbox, self._answer, self._next = mailbox, False, 0.0

    def __call__(self) -> bool:
        if not self._answer and (now := time.monotonic()) >= self._next:
            self._next = now + _ASK_S
            self._answer = bool(ray.get(self._mailbox.stopping.remote()))
        return self._answer
