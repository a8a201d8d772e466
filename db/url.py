"""Where the store is."""

from __future__ import annotations

import os
import re
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from ..errors import WrongStore

DEFAULT_URL = "sqlite:///netloom.db"


def store_url(explicit: str | None = None) -> str:
    """Return `explicit`, else the environment's NETLOOM_STORE, else `sqlite:///netloom.db`."""
    return explicit or os.environ.get("NETLOOM_STORE") or DEFAULT_URL


def public_url(text: str) -> str:
    """Return a URL without its password: for what is printed, stored and put into reports."""
    text = re.sub(r"://([^:/@]*):.*@", r"://\1:***@", text)
    return re.sub(r"([?&]password=)[^&]*", r"\1***", text)


def parse_url(text: str) -> URL:
    """Return the URL with its driver; the path of an SQLite file is made absolute.

    Raises:
        WrongStore: If it names neither an SQLite file nor a PostgreSQL database.
    """
    rule = "a store is sqlite:///FILE or postgresql://USER@HOST/DATABASE"
    if not isinstance(text, str):
        raise WrongStore(f"{rule}, got {text!r}")
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        hint = f"; did you mean sqlite:///{text}?" if "://" not in text else ""
        raise WrongStore(f"{rule}, got {public_url(text)!r}{hint}") from None
    backend = url.get_backend_name()
    shown = url.render_as_string()
    if backend == "postgresql":
        if url.drivername not in ("postgresql", "postgresql+psycopg"):
            raise WrongStore(f"{rule}; only the psycopg driver is supported, got {shown!r}")
        return url.set(drivername="postgresql+psycopg")
    if url.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise WrongStore(f"{rule}, got {shown!r}")
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise WrongStore(
            f"{rule}; a store in memory could not be resumed or shared, got {shown!r}: name a file"
        )
    if url.query:
        raise WrongStore(f"{rule}; SQLite options are set by netloom, got {shown!r}")
    try:
        path = Path(url.database).expanduser().absolute()
    except RuntimeError as error:  # ~somebody
        raise WrongStore(f"{rule}; the file must have a home, got {shown!r}: {error}") from error
    return url.set(drivername="sqlite", database=str(path))
