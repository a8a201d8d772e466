"""The schema's version: made fresh, upgraded on request, refused when it does not fit."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, inspect, text

from ..errors import StoreError
from .engine import reading, writing
from .tables import Base

if TYPE_CHECKING:
    from alembic.config import Config

SCRIPTS = Path(__file__).parent / "migrations"
HEAD = "0002"  # the newest file in migrations/versions; a constant, so that opening is quick
_LOCK = 0x6E65746C  # PostgreSQL: two first runs must not create the tables twice
_ALEMBIC = threading.Lock()  # it keeps what it is migrating in a global


def revision_of(connection: Connection) -> str | None:
    """Return the schema's revision; None when the database holds no tables at all.

    Raises:
        StoreError: If the database holds tables of something else.
    """
    names = set(inspect(connection).get_table_names())
    if "alembic_version" in names and "trials" in names:
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        if found is not None:
            return str(found)
    if names:
        raise StoreError(
            "a store has its database to itself, got one with the tables "
            f"{', '.join(sorted(names)[:5])}; name another database"
        )
    return None


def ensure(engine: Engine, where: str, *, create: bool) -> None:
    """Check the schema's revision; make a fresh schema where there is none.

    Args:
        engine: The store's.
        where: The store, for messages.
        create: Whether tables may be made.

    Raises:
        StoreError: If the schema is older or newer than this version's, or missing.
    """
    with reading(engine) as connection:
        found = revision_of(connection)
    if found is None and create:
        with writing(engine) as connection:
            lock(connection)
            if revision_of(connection) is None:
                migrate(connection)
        return
    if found is None:
        raise StoreError(f"{where} holds no tables yet; run a search first")
    if found != HEAD:
        refuse(found, where)


def refuse(found: str, where: str) -> None:
    """Raise the error for a schema that is not `HEAD`.

    Raises:
        StoreError: Always.
    """
    if found in known():
        raise StoreError(
            f"{where} has the older schema {found}, this version of netloom needs {HEAD}; "
            "stop the runs that use it, then run `netloom db upgrade`"
        )
    raise StoreError(
        f"{where} has schema {found}, newer than {HEAD}, the newest that this version of netloom "
        "knows; upgrade netloom"
    )


def lock(connection: Connection) -> None:
    """Keep other processes from changing the tables until the transaction ends."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})


def known() -> list[str]:
    """Return the revisions that this version knows, oldest first."""
    from alembic.script import ScriptDirectory

    with _ALEMBIC:
        scripts = ScriptDirectory.from_config(_config(None))
        return [script.revision for script in reversed(list(scripts.walk_revisions()))]


def migrate(connection: Connection) -> None:
    """Bring the schema to `HEAD` inside the caller's transaction."""
    from alembic import command

    with _ALEMBIC:
        command.upgrade(_config(connection), HEAD)


def differences(connection: Connection) -> list[Any]:
    """Return what Alembic would change to make the database equal the models."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, Base.metadata))


def _config(connection: Connection | None) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["metadata"] = Base.metadata
    return config
