"""A Ray to work on: an existing cluster, or a local one for the length of the run."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import secrets
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ....errors import SpecError

if TYPE_CHECKING:
    from ..spec import RunnerOptions

# Set before Ray is imported: quiet, no telemetry, nothing written beside the run's own folder.
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # the store is the checkpoint
    "TUNE_MAX_PENDING_TRIALS_PG": "1",  # staged trials ask for new actors instead of reusing
    "TUNE_WARN_THRESHOLD_S": "60",
}
_TOKEN = secrets.token_hex(32)  # one per process: Ray reads it once
_LONGEST_TEMP = 60  # characters: Ray puts sockets of limited path length into its folder


class Cluster:
    """Connects to Ray on entry; what it started, it stops on exit.

    A Ray that this process has started already is used as it is and left running.

    Args:
        options: Address, resources per trial, workers.
    """

    def __init__(self, options: RunnerOptions) -> None:
        self._options = options
        self._cleanup = contextlib.ExitStack()
        self.workers = options.workers or 1

    @property
    def resources(self) -> dict[str, float]:
        """What one trial reserves."""
        cpus, gpus = self._options.cpus_per_trial, self._options.gpus_per_trial
        if cpus == gpus == 0:
            cpus = 0.01  # Ray refuses to place what needs nothing
        return {"cpu": cpus, "gpu": gpus} if gpus else {"cpu": cpus}

    def __enter__(self) -> Cluster:
        with self._cleanup as stack:
            stack.enter_context(environment(SETTINGS))
            stack.enter_context(quiet())
            import ray

            if ray.is_initialized():
                self._check_address(ray.get_runtime_context().gcs_address)
            else:
                self._start(stack)
            room = self.room()
            if room == 0 and self._options.address is None:  # a cluster may grow, this one cannot
                raise SpecError(
                    f"a trial must fit on this machine, which has {_amounts(self._totals())}; got "
                    f"runner: {_amounts(self.resources)} for each; reserve less, or give the "
                    "address of a cluster"
                )
            if not (self._options.cpus_per_trial or self._options.gpus_per_trial):
                room = int(self._totals()["cpu"])  # nothing is reserved: one trial per core
            self.workers = self._options.workers or max(1, room)
            self._cleanup = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._cleanup.close()

    def _check_address(self, connected: str) -> None:
        wanted = self._options.address
        if wanted not in (None, "auto", connected):
            raise SpecError(
                f"a process is connected to one Ray, here {connected}; got runner.address: "
                f"{wanted}; leave the address out, or call ray.shutdown() first"
            )

    def _start(self, stack: contextlib.ExitStack) -> None:
        import ray

        stack.enter_context(_unprinted())
        if self._options.address is not None:
            ray.init(address=self._options.address, log_to_driver=False, logging_level="error")
            stack.callback(ray.shutdown)
            return
        stack.enter_context(environment(_token()))
        folder = _temporary_folder()
        if folder is not None:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        ray.init(
            num_cpus=max(os.cpu_count() or 1, self._needed_cpus()),
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
            _temp_dir=folder,
        )
        stack.callback(ray.shutdown)

    def _needed_cpus(self) -> int:
        return math.ceil((self._options.workers or 1) * self.resources["cpu"])

    def room(self) -> int:
        """Return how many trials the cluster can run at a time."""
        totals = self._totals()
        return int(min(totals[k] / need for k, need in self.resources.items() if need) + 1e-9)

    def _totals(self) -> dict[str, float]:
        import ray

        found = ray.cluster_resources()
        return {"cpu": found.get("CPU", 0.0), "gpu": found.get("GPU", 0.0)}


def _amounts(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{amount:g} {name}" for name, amount in resources.items())


@contextlib.contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables that are not set, for the length of a block."""
    fresh = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(fresh)
    try:
        yield
    finally:
        for name in fresh:
            os.environ.pop(name, None)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep Ray's warnings and log lines away from the run's own output."""
    loggers = [logging.getLogger(name) for name in ("ray", "ray.tune", "ray.tune.tune")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextlib.contextmanager
def _unprinted() -> Iterator[None]:
    """Drop what Ray prints of lost workers: it does so on stdout, which is for results.

    `log_to_driver` does not hold it back, and the variable that would is read only once, when Ray
    is imported, which somebody may have done before.
    """
    from ray._private.ray_logging import stderr_deduplicator, stdout_deduplicator

    printers = (stdout_deduplicator, stderr_deduplicator)
    before = [printer.skip_re for printer in printers]
    for printer in printers:
        printer.skip_re = re.compile("")  # every line
    try:
        yield
    finally:
        for printer, skipped in zip(printers, before, strict=True):
            printer.skip_re = skipped


def _token() -> dict[str, str]:
    """Return a token of this process's own: Ray would write one into the home folder."""
    off = os.environ.get("RAY_AUTH_MODE", "").lower() == "disabled"
    stored = "RAY_AUTH_TOKEN_PATH" in os.environ or (Path.home() / ".ray" / "auth_token").exists()
    return {} if off or stored else {"RAY_AUTH_TOKEN": _TOKEN}


def _temporary_folder() -> str | None:
    if len(tempfile.gettempdir()) > _LONGEST_TEMP:
        return None
    return tempfile.mkdtemp(prefix="netloom-ray-")
