"""One process runs an experiment: a sign of life that is renewed while it runs."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, delete, select, text, update

from ..errors import StoreError
from .rows import upsert
from .tables import CLAIMS, EXPERIMENTS, STOPS

STALE_S = 60.0
BEAT_S = 10.0
_LOG = logging.getLogger(__name__)

Begin = Callable[[], AbstractContextManager[Connection]]


class Claim:
    """The right to write to an experiment, held until `release`.

    Args:
        begin: Opens a writing transaction.
        experiment_id: Row id of the experiment.
        name: How messages call the experiment.
    """

    def __init__(self, begin: Begin, experiment_id: int, name: str) -> None:
        self._begin, self._experiment, self.name = begin, experiment_id, name
        self._owner = secrets.token_hex(8)
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="netloom-claim", daemon=True)
        self.lost = False
        self.ended = threading.Event()  # no more signs of life: released, or lost

    def acquire(self) -> None:
        """Take the claim; earlier requests to stop are forgotten.

        Raises:
            StoreError: If another process that is alive holds it.
        """
        with self._begin() as connection:
            self._lock(connection)
            refuse_if_held(connection, self._experiment, self.name)
            now = _now(connection)
            row = {
                "experiment_id": self._experiment,
                "owner": self._owner,
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "started_at": now,
                "heartbeat_at": now,
            }
            upsert(connection, CLAIMS, [row])
            connection.execute(delete(STOPS).where(STOPS.c.experiment_id == self._experiment))
        self._thread.start()

    def _lock(self, connection: Connection) -> None:
        # On PostgreSQL two processes could find no claim and both write one.
        row = select(EXPERIMENTS.c.id).where(EXPERIMENTS.c.id == self._experiment)
        connection.execute(row.with_for_update())

    def release(self) -> None:
        """Give the claim back."""
        self._released.set()
        self._thread.join()
        if not self.lost:
            with self._begin() as connection:
                connection.execute(delete(CLAIMS).where(CLAIMS.c.owner == self._owner))

    def check(self) -> None:
        """Refuse to go on when the claim was lost.

        Raises:
            StoreError: If another process took the claim over, or the experiment was deleted.
        """
        if self.lost:
            raise StoreError(
                f"one process writes to an experiment, and {self.name} was taken over by another "
                f"or deleted while this one gave no sign of life for {STALE_S:g} s; resume it"
            )

    def _renew(self) -> None:
        while not self._released.wait(BEAT_S):
            try:
                with self._begin() as connection:
                    renewed = connection.execute(
                        update(CLAIMS)
                        .where(CLAIMS.c.owner == self._owner)
                        .values(heartbeat_at=_now(connection))
                    )
                    self.lost = renewed.rowcount == 0
            except StoreError as error:  # a full disk now may have room at the next beat
                _LOG.warning("the sign of life of %s failed: %s", self.name, error)
            if self.lost:
                break
        self.ended.set()


def refuse_if_held(connection: Connection, experiment_id: int, name: str) -> None:
    """Refuse what only the owner of an experiment may do.

    Raises:
        StoreError: If a process that is alive holds the claim.
    """
    if held := holder(connection, experiment_id):
        raise StoreError(
            f"one process writes to an experiment, and {name} is being run by pid {held.pid} on "
            f"host {held.host}; stop it first (`netloom stop {name}`)"
        )


def holder(connection: Connection, experiment_id: int) -> Row[Any] | None:
    """Return the claim of an experiment, if its owner is alive."""
    found = select(CLAIMS).where(CLAIMS.c.experiment_id == experiment_id)
    row = connection.execute(found).one_or_none()
    return row if row is not None and _alive(row, _now(connection)) else None


def running(connection: Connection) -> set[str]:
    """Return the ids of the experiments whose owners are alive."""
    now = _now(connection)
    claims = select(CLAIMS, EXPERIMENTS.c.uid).join(
        EXPERIMENTS, EXPERIMENTS.c.id == CLAIMS.c.experiment_id
    )
    return {row.uid for row in connection.execute(claims) if _alive(row, now)}


def any_alive(connection: Connection) -> bool:
    """Whether any experiment of the store is being run."""
    now = _now(connection)
    return any(_alive(row, now) for row in connection.execute(select(CLAIMS)))


def _now(connection: Connection) -> datetime:
    if connection.dialect.name == "postgresql":  # several hosts, one clock: the server's
        seconds = connection.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar()
        return datetime.fromtimestamp(float(seconds or 0), UTC)
    return datetime.now(UTC)


def _alive(row: Row[Any], now: datetime) -> bool:
    if now - row.heartbeat_at > timedelta(seconds=STALE_S):
        return False
    return row.host != socket.gethostname() or process_alive(row.pid)


def process_alive(pid: int) -> bool:
    """Return whether a process of this machine is alive."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        return True
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return True
    return stat.read_text(errors="replace").rpartition(")")[2].split()[0] != "Z"  # killed, unburied
