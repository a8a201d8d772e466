"""Processes of this machine that train together; no Ray."""

from __future__ import annotations

import multiprocessing
import pickle
import shutil
import signal
import tempfile
import time
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from ....errors import SpecError
from ..evaluation import one_line
from ..together import Failure, Home, Message, Task, WorkerContext, raise_first

_LOOK_S = 0.2  # between two looks at whether the run is being stopped
_GRACE_S = 30.0  # in which the others may end by themselves after one has failed


def run_processes(task: Task, workers: int, home: Home) -> Any:
    """Run a function in several processes of this machine; return what the first one gave.

    They are joined by gloo, on CUDA by NCCL with a GPU for each. Ctrl-C reaches them as the stop
    of the run. All of them are gone when this returns or raises.

    Args:
        task: The function, and what its context knows.
        workers: How many processes.
        home: Takes what the first process sends.

    Raises:
        SpecError: If there are not enough GPUs, or the task cannot be sent.
        NetloomError: What the function raised.
        EvaluationError: If a process died.
    """
    _require_gpus(task, workers)
    folder = tempfile.mkdtemp(prefix="netloom-crew-")
    crew = _Crew(_packed(task), workers, Path(folder, "meeting").as_uri())
    try:
        return crew.run(home)
    finally:
        crew.end()
        shutil.rmtree(folder, ignore_errors=True)


class _Crew:
    """The processes, as the one that started them sees them."""

    def __init__(self, task: bytes, workers: int, meeting: str) -> None:
        import torch

        threads = max(1, torch.get_num_threads() // workers)
        fresh = multiprocessing.get_context("spawn")
        self._stop = fresh.Event()
        self._lines: dict[Connection, int] = {}  # those that are open, with the process's number
        self._processes: list[Any] = []
        self._failures: list[Failure] = []
        self._lost: str | None = None
        self._ended: set[int] = set()  # those that gave a result or an error
        self._result: Any = None
        for rank in range(workers):
            mine, theirs = fresh.Pipe(duplex=False)
            process = fresh.Process(
                target=_work,
                args=(task, rank, workers, meeting, theirs, self._stop, threads),
                name=f"netloom worker {rank}",
                daemon=True,
            )
            process.start()
            theirs.close()  # so that the line ends with the process
            self._processes.append(process)
            self._lines[mine] = rank

    def run(self, home: Home) -> Any:
        """Deliver messages until all have ended; return the first one's result."""
        deadline = None
        while self._lines and (deadline is None or time.monotonic() < deadline):
            if home.stopping():
                self._stop.set()
            for line in wait(list(self._lines), timeout=_LOOK_S):
                assert isinstance(line, Connection)
                self._hear(line, home)
            if deadline is None and (self._failures or self._lost):
                deadline = time.monotonic() + _GRACE_S
        raise_first(self._failures, len(self._processes), self._lost)
        return self._result

    def _hear(self, line: Connection, home: Home) -> None:
        rank = self._lines[line]
        try:
            name, values = pickle.loads(line.recv_bytes())  # a pipe to a process we started
        except EOFError:
            del self._lines[line]
            self._processes[rank].join()
            if rank not in self._ended and self._lost is None:
                code = self._processes[rank].exitcode
                how = f"signal {-code}" if code < 0 else f"exit code {code}"
                self._lost = f"number {rank}, by {how}"
            return
        if name == "failed":
            self._failures.append(values)
            self._ended.add(rank)
        elif name == "result":
            self._ended.add(rank)
            self._result = values if rank == 0 else self._result
        else:
            home.deliver((name, values))

    def end(self) -> None:
        """End whatever is still there."""
        for process in self._processes:
            if process.is_alive():
                process.kill()
            process.join()
            process.close()
        for line in self._lines:
            line.close()


def _work(
    blob: bytes, rank: int, workers: int, meeting: str, line: Connection, stop: Any, threads: int
) -> None:
    """Be one of the processes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: the run says when to stop
    try:
        found = _result(blob, rank, workers, meeting, line, stop, threads)
        line.send_bytes(pickle.dumps(("result", found)))
    except Exception as error:
        line.send_bytes(pickle.dumps(("failed", Failure.of(error))))
    finally:
        line.close()


def _result(
    blob: bytes, rank: int, workers: int, meeting: str, line: Connection, stop: Any, threads: int
) -> Any:
    import torch
    from torch import distributed as dist

    task: Task = pickle.loads(blob)  # what `_packed` made in the process that started this one
    torch.set_num_threads(threads)
    device = task.device
    if device.startswith("cuda"):
        device = f"cuda:{rank}"
        torch.cuda.set_device(rank)
    backend = "nccl" if device.startswith("cuda") else "gloo"
    dist.init_process_group(backend, init_method=meeting, rank=rank, world_size=workers)
    try:

        def send(message: Message) -> None:
            line.send_bytes(pickle.dumps(message))  # torch would send tensors by shared memory

        context = WorkerContext(task, device, send if rank == 0 else None, stop.is_set)
        found = task.function(context)
        dist.barrier()  # nobody leaves while another needs the exchange
        return found if rank == 0 else None
    finally:
        dist.destroy_process_group()


def _packed(task: Task) -> bytes:
    try:
        return pickle.dumps(task)
    except Exception as error:
        raise SpecError(
            f"what several workers train must be sent to them, but it cannot be pickled "
            f"({one_line(error)}); take space, data and estimators from modules, or set workers: 1"
        ) from error


def _require_gpus(task: Task, workers: int) -> None:
    if task.device.startswith("cuda"):
        import torch

        if (count := torch.cuda.device_count()) < workers:
            raise SpecError(
                f"each of the strategy's workers takes a GPU of its own, got {workers} workers for "
                f"{count} here; lower workers, or run them on a cluster (runner: engine: ray)"
            )
