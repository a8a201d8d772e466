"""Database errors in words: which rule, what was met, what to do."""

from __future__ import annotations

import errno
import re
import sqlite3

from sqlalchemy import URL
from sqlalchemy.exc import IntegrityError, StatementError

from ..errors import StoreError

_SQLITE = {
    "SQLITE_BUSY": "is locked: another process has been writing to it for 30 s; "
    "wait for it, or stop it",
    "SQLITE_LOCKED": "is locked by this process; close the other transaction first",
    "SQLITE_READONLY": "is read-only; give yourself write access to the file, to its journals "
    "beside it (-wal, -shm) and to their folder, or copy it",
    "SQLITE_FULL": "cannot grow: the disk is full; free some space and resume, nothing that was "
    "committed is lost",
    "SQLITE_CORRUPT": "is damaged; run `netloom db check`, then restore a copy, or save what is "
    "readable with `sqlite3 FILE .recover`",
    "SQLITE_NOTADB": "is not an SQLite database; give the path of a netloom store",
    "SQLITE_CANTOPEN": "cannot be opened; check that the folder exists and that you may use it",
    "SQLITE_IOERR": "cannot be read or written (input/output error); check the disk",
    "SQLITE_PERM": "may not be used; check the permissions of the file and of its folder",
    "SQLITE_TOOBIG": "refused a value: too big; store it as an artifact",
}
_POSTGRES = {
    "55P03": "is locked by another session; wait for it, or stop it",
    "40001": "refused because another run changed the same rows; resume to try again",
    "40P01": "refused because another run waited for the same rows; resume to try again",
    "25006": "is read-only; open it with a user and on a server that may write",
    "53100": "cannot grow: the disk is full; free some space and resume, nothing that was "
    "committed is lost",
    "53300": "has no free connection; close others, or raise max_connections",
    "3D000": "does not exist; create it with `createdb`",
    "42501": "may not be used by this user; grant the rights, or use another user",
    "28P01": "refused the password; correct the URL",
    "28000": "refused the user; correct the URL",
}


def as_store_error(error: BaseException, url: URL) -> StoreError:
    """Return the `StoreError` that explains a database error."""
    where = f"the store {url.render_as_string()}"
    cause = error.orig if isinstance(error, StatementError) and error.orig is not None else error
    detail = f" ({' '.join(str(cause).split())})"
    if isinstance(error, IntegrityError):
        return StoreError(f"{where} refused {_integrity(str(cause))}{detail}")
    if isinstance(cause, sqlite3.Error):
        name = getattr(cause, "sqlite_errorname", None) or ""
        for known, text in _SQLITE.items():
            if name == known or name.startswith(f"{known}_"):
                return StoreError(f"{where} {text}{detail}")
    state = getattr(cause, "sqlstate", None) or _state_of_login(str(cause))
    if state in _POSTGRES:
        return StoreError(f"{where} {_POSTGRES[state]}{detail}")
    if isinstance(cause, TypeError):
        return StoreError(f"{where} takes JSON values only{detail}; convert the value first")
    if type(cause).__module__.startswith("psycopg") and (not state or state.startswith("08")):
        return StoreError(f"{where} cannot be reached; check host, port and server{detail}")
    return StoreError(f"{where} failed: {type(cause).__name__}{detail}; run `netloom db check`")


def _state_of_login(text: str) -> str | None:
    # psycopg gives no code when the connection fails, only what the server said.
    for said, state in (
        (r'database ".*" does not exist', "3D000"),
        ("password authentication failed", "28P01"),
        (r'role ".*" does not exist|no pg_hba.conf entry', "28000"),
    ):
        if re.search(said, text):
            return state
    return None


def _integrity(text: str) -> str:
    lowered = text.lower()
    if "foreign key" in lowered:
        return "a row that belongs to nothing: the experiment or the trial was deleted meanwhile"
    if "trials" in lowered and "told" in lowered:
        return "a trial told at a position that is taken: each result is told once"
    if "trials" in lowered and "number" in lowered:
        return "a trial number that is taken: one process writes to an experiment; stop the other"
    return "a row that breaks a rule"


def file_error(error: OSError, where: str) -> StoreError:
    """Return the `StoreError` that explains a failed file operation."""
    detail = f" ({error})"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(f"{where} cannot grow: the disk is full; free some space{detail}")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreError(f"{where} may not be written; check the permissions{detail}")
    return StoreError(f"{where} cannot be used; check the path and the disk{detail}")
