"""What people change of an experiment afterwards: its name, its tags, whether it is put away."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, func, select, update

from ..errors import StoreError
from .experiments import check_name
from .records import ARCHIVED
from .revisions import count_change
from .tables import EXPERIMENTS

_TAG_LENGTH = 60


def rename(connection: Connection, id: int, name: str) -> None:
    """Give an experiment another name.

    Raises:
        StoreError: If the name cannot be one, or another experiment has it.
    """
    check_name(name)
    if connection.dialect.name == "postgresql":  # SQLite's write lock is held already
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(name))))
    taken = select(EXPERIMENTS.c.id).where(EXPERIMENTS.c.name == name, EXPERIMENTS.c.id != id)
    if connection.execute(taken).first() is not None:
        raise StoreError(
            f"an experiment's name is its own, got {name!r}, which another one has; choose another"
        )
    connection.execute(update(EXPERIMENTS).where(EXPERIMENTS.c.id == id).values(name=name))
    count_change(connection, [id])


def tag(connection: Connection, id: int, add: Iterable[str], remove: Iterable[str]) -> None:
    """Add tags behind those that are there, and take others away; one that is not there may go.

    Raises:
        StoreError: If a word cannot be a tag, or is the one that archived experiments carry.
    """
    add, remove = list(add), set(remove)
    for word in (*add, *remove):
        _check_tag(word)
    _change_tags(connection, id, add, remove)


def archive(connection: Connection, id: int, *, archived: bool) -> None:
    """Put an experiment away, or take it out again: lists leave those out that are put away."""
    word = {ARCHIVED}
    _change_tags(connection, id, word if archived else (), set() if archived else word)


def _change_tags(connection: Connection, id: int, add: Iterable[str], remove: set[str]) -> None:
    found = select(EXPERIMENTS.c.tags).where(EXPERIMENTS.c.id == id).with_for_update()
    old = connection.execute(found).scalar_one()
    new = [word for word in dict.fromkeys((*old, *add)) if word not in remove]
    if new != old:
        connection.execute(update(EXPERIMENTS).where(EXPERIMENTS.c.id == id).values(tags=new))
        count_change(connection, [id])


def _check_tag(word: str) -> None:
    if word == ARCHIVED:
        raise StoreError(
            f"the tag {ARCHIVED!r} is what archived experiments carry; use netloom archive"
        )
    if not word or len(word) > _TAG_LENGTH or not word.isprintable() or set(word) & set(" ,"):
        raise StoreError(
            f"a tag is one printable word of 1 to {_TAG_LENGTH} characters without spaces and "
            f"commas, got {word[:80]!r}; choose another one"
        )
