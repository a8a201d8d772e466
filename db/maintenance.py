"""What `netloom db upgrade` and `netloom db check` do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, Table, func, select, text
from sqlalchemy.exc import SQLAlchemyError

from ..errors import StoreError
from . import schema
from .claims import any_alive
from .engine import file_of, make_engine, reading, writing
from .failures import as_store_error
from .files import ArtifactFiles, artifact_folder
from .tables import ARTIFACTS, EXPERIMENTS, TRIALS
from .url import parse_url


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What `check` found.

    Args:
        url: The store, its password hidden.
        revision: Revision of its schema.
        head: Revision that this version of netloom needs.
        experiments: How many it holds, baselines included.
        trials: How many it holds.
        problems: One sentence each; empty when all is well.
    """

    url: str
    revision: str
    head: str
    experiments: int
    trials: int
    problems: tuple[str, ...]


def upgrade(url: str) -> tuple[str, str]:
    """Bring the schema of a store up to date, in one transaction.

    Returns:
        The revision it had, and the one it has.

    Raises:
        StoreError: If it holds no tables, is newer than this version, or is in use by a run.
    """
    with _opened(url) as (engine, name), _migrating(engine) as connection:
        found = schema.revision_of(connection)
        if found is None:
            raise StoreError(f"{name} holds no tables yet; run a search first")
        if found == schema.HEAD:
            return found, found
        if found not in schema.known():
            schema.refuse(found, name)
        if any_alive(connection):
            raise StoreError(f"{name} is in use by a run, which an upgrade would break; stop it")
        schema.migrate(connection)
        if lost := _lost_rows(connection):
            raise StoreError(f"{name} was left as it was: {lost[0]}; run `netloom db check`")
        return found, schema.HEAD


def check(url: str) -> CheckReport:
    """Look for damage: pages, references, tables, artifact files.

    Raises:
        StoreError: If it cannot be read at all.
    """
    with _opened(url, read_only=True) as (engine, name), reading(engine) as connection:
        found = schema.revision_of(connection)
        if found is None:
            raise StoreError(f"{name} holds no tables yet; run a search first")
        shown = engine.url.render_as_string()
        if found != schema.HEAD:
            known = found in schema.known()
            remedy = "`netloom db upgrade` brings it there" if known else "upgrade netloom"
            problem = f"the schema is {found}, not {schema.HEAD}; {remedy}"
            return CheckReport(shown, found, schema.HEAD, 0, 0, (problem,))
        files = ArtifactFiles(artifact_folder(parse_url(url)))
        problems = list(_damage(connection))
        counts = [0, 0]
        try:
            counts = [_count(connection, table) for table in (EXPERIMENTS, TRIALS)]
            problems += [*_lost_rows(connection), *_drift(connection), *_missing(connection, files)]
        except SQLAlchemyError as error:
            if not problems:  # else this is what damage leads to
                raise
            problems.append(str(as_store_error(error, engine.url)))
        return CheckReport(shown, found, schema.HEAD, counts[0], counts[1], tuple(problems))


@contextmanager
def _opened(url: str, *, read_only: bool = False) -> Iterator[tuple[Engine, str]]:
    parsed = parse_url(url)
    if (path := file_of(parsed)) and not path.exists():
        raise StoreError(f"there is no store at {path}; give --store or NETLOOM_STORE")
    engine = make_engine(parsed, read_only=read_only)
    try:
        yield engine, f"the store {parsed.render_as_string()}"
    except SQLAlchemyError as error:
        raise as_store_error(error, parsed) from error
    finally:
        engine.dispose()


@contextmanager
def _migrating(engine: Engine) -> Iterator[Connection]:
    if engine.dialect.name != "sqlite":
        with writing(engine) as connection:
            schema.lock(connection)
            yield connection
        return
    with engine.connect() as connection:
        # A table is changed by copying it; dropping the old one must not delete what points at it.
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield connection
        connection.commit()


def _damage(connection: Connection) -> Iterator[str]:
    if connection.dialect.name != "sqlite":
        return
    for (line,) in connection.execute(text("PRAGMA integrity_check(20)")):
        if line != "ok":
            yield f"damaged: {line}; restore a copy, or use `sqlite3 FILE .recover`"


def _count(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def _lost_rows(connection: Connection) -> list[str]:
    if connection.dialect.name != "sqlite":  # a server keeps its references by itself
        return []
    rows = connection.execute(text("PRAGMA foreign_key_check")).all()
    return [f"row {row[1]} of {row[0]} belongs to no row of {row[2]}" for row in rows[:20]]


def _drift(connection: Connection) -> Iterator[str]:
    for difference in schema.differences(connection):
        yield f"a table differs from what it should be: {difference}"


def _missing(connection: Connection, files: ArtifactFiles) -> Iterator[str]:
    chosen = select(ARTIFACTS.c.sha256, ARTIFACTS.c.size_bytes, func.min(ARTIFACTS.c.name))
    grouped = chosen.group_by(ARTIFACTS.c.sha256, ARTIFACTS.c.size_bytes)
    for sha256, size, name in connection.execute(grouped):
        path = files.path(sha256)
        if not path.is_file():
            yield f"the file of artifact {name!r} is missing: {path}"
        elif (found := path.stat().st_size) != size:
            yield f"the file of artifact {name!r} has {found} bytes, not {size}: {path}"
