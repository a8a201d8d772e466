"""One database, opened: transactions for reading and for writing, errors in words."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from ..errors import StoreError
from .engine import file_of, make_engine, reading, writing
from .failures import as_store_error
from .schema import ensure
from .url import parse_url


class Database:
    """Connections to a store whose schema fits.

    Args:
        url: As in `Store`.
        read_only: As in `Store`.
        create: As in `Store`.

    Raises:
        StoreError: If it cannot be opened, or its schema is of another version.
        MissingDependency: If the URL is PostgreSQL's and the driver is not installed.
    """

    def __init__(self, url: str, *, read_only: bool, create: bool) -> None:
        self.url, self.read_only = parse_url(url), read_only
        self.name = f"the store {self.url.render_as_string()}"
        self._engine, self._pid = make_engine(self.url, read_only=read_only), os.getpid()
        self._busy = threading.local()
        create = create and not read_only
        self._check_path(create)
        try:
            with self._failures():
                ensure(self._engine, self.name, create=create)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close every connection that is not in use; the next use opens them again."""
        self._engine.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction for reading: it sees one moment."""
        with self._failures(), reading(self._own_engine()) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction for writing: committed at its end, or rolled back by an exception.

        Raises:
            StoreError: If the store cannot be written, or this thread has a transaction open.
        """
        if self.read_only:
            raise StoreError(f"{self.name} was opened read-only; open it for writing")
        engine = self._own_engine()
        if getattr(self._busy, "writing", False):
            raise StoreError(
                "a thread has one transaction at a time, got a second one inside the first; "
                "use the methods of the first"
            )
        self._busy.writing = True
        try:
            with self._failures(), writing(engine) as connection:
                yield connection
        finally:
            self._busy.writing = False

    def _check_path(self, create: bool) -> None:
        path = file_of(self.url)
        if path is None:
            return
        try:
            if path.is_dir():
                raise StoreError(f"a store is a file, got the folder {path}; name a file in it")
            if path.exists():
                return
        except OSError as error:
            raise StoreError(
                f"{self.name} cannot be looked up; check its path and your permissions ({error})"
            ) from error
        if not create:
            raise StoreError(
                f"there is no store at {path}; give --store or NETLOOM_STORE, or run a search first"
            )
        if not path.parent.is_dir():
            raise StoreError(f"the folder of a store must exist, got {path.parent}; make it")

    def _own_engine(self) -> Engine:
        if self._pid != os.getpid():  # forked: the open connections are the parent's
            self._engine.dispose(close=False)
            self._pid, self._busy = os.getpid(), threading.local()
        return self._engine

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            raise as_store_error(error, self.url) from error
