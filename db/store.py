"""The store: what was searched, what came of it, and how to go on."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select

from ..errors import StoreError
from . import labels, reading
from .catalog import Catalog
from .claims import Claim, holder, running
from .database import Database
from .experiments import delete_experiment, insert_experiment
from .failures import file_error
from .files import ArtifactFiles, artifact_folder
from .housekeeping import GcReport, collect_files, collect_replaced, collect_rows
from .records import (
    NOTE,
    ArtifactRecord,
    ExperimentRecord,
    ExperimentStatus,
    NewExperiment,
    NewTrial,
    NoteRecord,
)
from .revisions import revision
from .rows import chunks, upsert
from .tables import (
    ARTIFACTS,
    CHECKPOINTS,
    EXPERIMENTS,
    STATES,
    STOPS,
)
from .transaction import Transaction
from .trials import TrialReader


class Store(TrialReader):
    """The experiments of one database; safe to share between threads, to pickle and to fork.

    Args:
        url: `sqlite:///FILE` or `postgresql://USER@HOST/DATABASE`.
        read_only: Open for viewing: never waits for a run and cannot disturb one.
        create: Make the database file and its tables when they are not there.

    Raises:
        StoreError: If it cannot be opened, or its schema is of another version.
        MissingDependency: If the URL is PostgreSQL's and the driver is not installed.
    """

    def __init__(self, url: str, *, read_only: bool = False, create: bool = True) -> None:
        self._database = Database(url, read_only=read_only, create=create)
        self.url = self._database.url.render_as_string(hide_password=False)
        self.read_only = read_only
        self.files = ArtifactFiles(artifact_folder(self._database.url))
        super().__init__(self._database.read, Catalog())
        self._write, self._claims = self._database.write, set[Claim]()

    def __reduce__(self) -> tuple[Any, ...]:
        return (_reopen, (self.url, self.read_only))

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Store({self._database.url.render_as_string()!r})"

    def close(self) -> None:
        """Close every connection; the next use opens them again."""
        self._database.close()

    # Experiments

    def create_experiment(self, new: NewExperiment) -> ExperimentRecord:
        """Store a new experiment, running; a taken name becomes `name-2`.

        Raises:
            StoreError: If the name cannot be one, or the parent does not exist.
        """
        uid = secrets.token_hex(6)
        with self._write() as connection:
            insert_experiment(connection, new, uid)
        return self.experiment(uid)

    def experiment(self, ref: str) -> ExperimentRecord:
        """Return the experiment that a name, an id or a unique prefix of either means.

        Raises:
            StoreError: If nothing fits (the closest names are shown), or more than one.
        """
        with self._read() as connection:
            id = reading.resolve(connection, ref)
            return reading.experiment_records(connection, [EXPERIMENTS.c.id == id])[0]

    def experiments(
        self, *, all: bool = False, group: str | None = None, parent: str | None = None
    ) -> list[ExperimentRecord]:
        """Return the experiments, newest last.

        Args:
            all: Baselines too.
            group: Of this group only.
            parent: Those that belong to this experiment (its id) only, of every kind.
        """
        where: list[Any] = []
        with self._read() as connection:
            if parent is not None:
                id = self._catalog.entry(connection, parent).id
                where.append(EXPERIMENTS.c.parent_id == id)
            elif not all:
                where.append(EXPERIMENTS.c.kind != "baseline")
            if group is not None:
                where.append(EXPERIMENTS.c.group_name == group)
            return reading.experiment_records(connection, where)

    def update_experiment(
        self,
        id: str,
        *,
        status: ExperimentStatus | None = None,
        elapsed_s: float | None = None,
        summary: Mapping[str, Any] | None = None,
        spec: Mapping[str, Any] | None = None,
        info: Mapping[str, Any] | None = None,
    ) -> None:
        """Replace what is given, in a transaction of its own."""
        with self.transaction() as transaction:
            transaction.update_experiment(
                id, status=status, elapsed_s=elapsed_s, summary=summary, spec=spec, info=info
            )

    def rename_experiment(self, id: str, name: str) -> None:
        """Give an experiment another name; its id stays.

        Raises:
            StoreError: If the name cannot be one, or another experiment has it.
        """
        with self._write() as connection:
            labels.rename(connection, self._catalog.entry(connection, id).id, name)

    def tag_experiment(
        self, id: str, *, add: Iterable[str] = (), remove: Iterable[str] = ()
    ) -> None:
        """Add tags to an experiment and take others away.

        Raises:
            StoreError: If a word cannot be a tag.
        """
        with self._write() as connection:
            labels.tag(connection, self._catalog.entry(connection, id).id, add, remove)

    def archive_experiment(self, id: str, *, archived: bool = True) -> None:
        """Put an experiment away, or take it out again: lists leave out what is put away."""
        with self._write() as connection:
            entry = self._catalog.entry(connection, id)
            labels.archive(connection, entry.id, archived=archived)

    def delete_experiment(self, id: str) -> None:
        """Delete an experiment with its baselines, trials and artifact rows.

        Raises:
            StoreError: If it is being run.
        """
        with self._write() as connection:
            delete_experiment(connection, self._catalog.entry(connection, id).id)
        self._catalog.forget(id)

    def import_trials(self, experiment_id: str, trials: Iterable[NewTrial]) -> list[int]:
        """Append trials under the next free numbers, all or none; return the numbers."""
        numbers: list[int] = []
        with self.transaction() as transaction:
            start = transaction.next_number(experiment_id)
            for part in chunks(trials):
                fresh = range(start + len(numbers), start + len(numbers) + len(part))
                transaction.add_trials(
                    experiment_id,
                    [replace(trial, number=n) for n, trial in zip(fresh, part, strict=True)],
                )
                numbers += fresh
        return numbers

    # Running

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Open a transaction: everything in the block is committed at its end, or nothing.

        Raises:
            StoreError: If the store cannot be written, or this thread has a transaction open.
        """
        for claim in tuple(self._claims):
            claim.check()
        with self._write() as connection:
            transaction = Transaction(connection, self._catalog)
            yield transaction
            transaction.finish()

    @contextmanager
    def claim(self, experiment_id: str) -> Iterator[Claim]:
        """Hold the right to run an experiment, with a sign of life every 10 s.

        Raises:
            StoreError: If another live process holds it; a dead one's is taken over.
        """
        record = self.experiment(experiment_id)
        with self._read() as connection:
            entry = self._catalog.entry(connection, record.id)
        claim = Claim(self._write, entry.id, record.name)
        claim.acquire()
        self._claims.add(claim)
        try:
            yield claim
        finally:
            self._claims.discard(claim)
            claim.release()

    def request_stop(self, experiment_id: str) -> None:
        """Ask the process that runs an experiment to end cleanly."""
        with self._write() as connection:
            id = self._catalog.entry(connection, experiment_id).id
            upsert(connection, STOPS, [{"experiment_id": id, "requested_at": datetime.now(UTC)}])

    def stop_requested(self, experiment_id: str) -> bool:
        """Whether somebody asked for an end since the run began."""
        with self._read() as connection:
            id = self._catalog.entry(connection, experiment_id).id
            found = select(STOPS.c.experiment_id).where(STOPS.c.experiment_id == id)
            return connection.execute(found).first() is not None

    def is_running(self, experiment_id: str) -> bool:
        """Whether a live process holds the experiment's claim (its status may say more)."""
        with self._read() as connection:
            id = self._catalog.entry(connection, experiment_id).id
            return holder(connection, id) is not None

    def running(self) -> set[str]:
        """Return the ids of the experiments that a live process holds."""
        with self._read() as connection:
            return running(connection)

    def load_state(self, experiment_id: str) -> tuple[dict[str, Any], int] | None:
        """Return the strategy's last state and the number of results told by then."""
        with self._read() as connection:
            id = self._catalog.entry(connection, experiment_id).id
            row = connection.execute(
                select(STATES.c.state, STATES.c.told).where(STATES.c.experiment_id == id)
            ).one_or_none()
            return None if row is None else (row.state, row.told)

    # Files

    def put_file(self, data: bytes) -> tuple[str, int]:
        """Store a file durably, before the transaction that names it.

        Returns:
            Its sha256 (hex) and its size in bytes.

        Raises:
            StoreError: If it cannot be written.
        """
        if self.read_only:
            raise StoreError(f"{self._database.name} was opened read-only; open it for writing")
        try:
            return self.files.put(data)
        except OSError as error:
            raise file_error(error, f"the artifact folder {self.files.folder}") from error

    def artifacts(
        self,
        experiment_id: str,
        *,
        kind: str | None = None,
        name: str | None = None,
        number: int | None = None,
    ) -> list[ArtifactRecord]:
        """Return artifacts, oldest first; each argument given narrows them down."""
        with self._read() as connection:
            id = self._catalog.entry(connection, experiment_id).id
            chosen = select(ARTIFACTS).where(ARTIFACTS.c.experiment_id == id)
            for column, value in (("kind", kind), ("name", name), ("number", number)):
                if value is not None:
                    chosen = chosen.where(ARTIFACTS.c[column] == value)
            return reading.artifact_records(connection, experiment_id, chosen)

    def notes(self, experiment_id: str) -> list[NoteRecord]:
        """Return what the strategy of an experiment noted, by name."""
        found = self.artifacts(experiment_id, kind=NOTE)
        notes = [
            NoteRecord(a.name, a.meta.get("kind", ""), a.meta.get("value", a.meta), a.created_at)
            for a in found
            if a.number is None
        ]
        return sorted(notes, key=lambda note: note.name)

    def checkpoint(self, experiment_id: str, name: str) -> ArtifactRecord | None:
        """Return the newest artifact of kind `checkpoint` under a name."""
        with self._read() as connection:
            id = self._catalog.entry(connection, experiment_id).id
            chosen = (
                select(ARTIFACTS)
                .join(CHECKPOINTS, CHECKPOINTS.c.artifact_id == ARTIFACTS.c.id)
                .where(CHECKPOINTS.c.experiment_id == id, CHECKPOINTS.c.name == name)
            )
            found = reading.artifact_records(connection, experiment_id, chosen)
            return found[0] if found else None

    def artifact_path(self, record: ArtifactRecord) -> Path:
        """Return the file of an artifact.

        Raises:
            StoreError: If it is not there, or may not be read.
        """
        path = self.files.path(record.sha256)
        if not path.is_file():
            raise StoreError(
                f"the file of artifact {record.name!r} must be beside the store, got nothing at "
                f"{path}; copy the folder {self.files.folder.name} with the store"
            )
        if not os.access(path, os.R_OK, effective_ids=os.access in os.supports_effective_ids):
            raise StoreError(
                f"the file of artifact {record.name!r} must be one that you may read, got {path}; "
                f"check the permissions of the folder {self.files.folder.name}"
            )
        return path

    def drop_files(self, replaced: Mapping[str, float]) -> None:
        """Remove files whose artifacts were removed, unless another artifact names them.

        Args:
            replaced: Digest -> when its file was put (seconds since the epoch).

        Raises:
            StoreError: If one cannot be removed.
        """
        if not replaced:
            return
        with self._write() as connection:
            try:
                collect_replaced(connection, self.files, replaced)
            except OSError as error:
                raise file_error(error, f"the artifact folder {self.files.folder}") from error

    def gc(self) -> GcReport:
        """Remove what nothing names: architectures, checkpoints that were replaced, files.

        While an experiment is being run, files younger than an hour are spared: a transaction may
        be about to name them.
        """
        with self._write() as connection:
            architectures, checkpoints = collect_rows(connection)
        with self._write() as connection:  # rows first, for good: no row may name a removed file
            try:
                files, size = collect_files(connection, self.files)
            except OSError as error:
                raise file_error(error, f"the artifact folder {self.files.folder}") from error
        return GcReport(files, size, architectures, checkpoints)

    def revision(self) -> int:
        """Return a number that grows with every committed change."""
        with self._read() as connection:
            return revision(connection)


def _reopen(url: str, read_only: bool) -> Store:
    return Store(url, read_only=read_only, create=False)
