"""Connections: SQLite with explicit transactions, PostgreSQL through psycopg."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine
from sqlalchemy.pool import QueuePool

from ..errors import MissingDependency

BUSY_TIMEOUT_S = 30.0
_SNAPSHOT: dict[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
_LOG = logging.getLogger(__name__)


def make_engine(url: URL, *, read_only: bool) -> Engine:
    """Return an engine for `url`; nothing is opened yet.

    Raises:
        MissingDependency: If the PostgreSQL driver is not installed.
    """
    if url.get_backend_name() == "sqlite":
        return _sqlite(url, read_only)
    return _postgres(url, read_only)


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that sees one moment, and neither waits for writers nor stops them."""
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            yield connection
        return
    with engine.connect().execution_options(**_SNAPSHOT) as connection:
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that is committed at its end; on SQLite it takes the write lock at once.

    Read-then-write under SQLite's deferred BEGIN lets two processes read the same next number.
    """
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection


def _sqlite(url: URL, read_only: bool) -> Engine:
    path = Path(url.database or "")
    return create_engine(
        url, creator=_sqlite_opener(path, read_only), poolclass=QueuePool, pool_size=5
    )


def _sqlite_opener(path: Path, read_only: bool) -> Callable[[], sqlite3.Connection]:
    def connect() -> sqlite3.Connection:
        if read_only:
            return _open_for_reading(path)
        connection = _connect(path, "mode=rwc")
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA synchronous = NORMAL")
            _use_wal(connection, path)
        except BaseException:
            connection.close()
            raise
        return connection

    return connect


def _open_for_reading(path: Path) -> sqlite3.Connection:
    connection = _connect(path, "mode=ro")
    try:
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        if not _resting(path):
            raise
        # A WAL file that was closed, in a folder without write access: nobody can be writing to
        # it, and only this flag lets SQLite do without the journal it would make there.
        return _connect(path, "mode=ro&immutable=1")
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(path: Path, options: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.as_uri()}?{options}",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,  # the driver begins nothing by itself
        check_same_thread=False,
    )


def _use_wal(connection: sqlite3.Connection, path: Path) -> None:
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            if _mode(connection, "journal_mode") == "wal":
                return
            mode = _mode(connection, "journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # The switch to WAL does not wait for other connections by itself.
            busy = (error.sqlite_errorname or "").startswith("SQLITE_BUSY")
            if not busy or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
            continue
        if mode != "wal":
            _LOG.warning("%s: the file system offers no WAL; readers may have to wait", path)
        return


def _mode(connection: sqlite3.Connection, pragma: str) -> str:
    return str(connection.execute(f"PRAGMA {pragma}").fetchone()[0]).lower()


def _resting(path: Path) -> bool:
    return (
        path.is_file()
        and not path.with_name(path.name + "-wal").exists()
        and not os.access(
            path.parent, os.W_OK, effective_ids=os.access in os.supports_effective_ids
        )
    )


def _postgres(url: URL, read_only: bool) -> Engine:
    options: dict[str, Any] = {"connect_args": {"connect_timeout": 10}}
    if read_only:
        options["execution_options"] = {"postgresql_readonly": True}
    try:
        return create_engine(url, pool_pre_ping=True, pool_size=5, **options)
    except ModuleNotFoundError as error:
        raise MissingDependency(
            "a PostgreSQL store needs psycopg; run pip install 'netloom[postgres]'"
        ) from error


def file_of(url: URL) -> Path | None:
    """Return the SQLite file of a URL, or None for a server."""
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None
