"""HTML as nested calls: text is escaped unless it is already `Html`, so that nobody can forget."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from .words import pieces

_VOID = frozenset({"meta", "link", "br", "hr", "img", "wbr"})


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def el(tag: str, *children: object, **attributes: object) -> Html:
    """Return an element; attribute names lose a trailing `_` and turn `_` into `-`.

    >>> el("p", "1 < 2", class_="note")
    '<p class="note">1 &lt; 2</p>'
    """
    names = ((name.rstrip("_").replace("_", "-"), value) for name, value in attributes.items())
    pairs = "".join(
        f' {name}="{escape(str(value))}"' for name, value in names if value not in (None, False)
    )
    if tag in _VOID:
        return Html(f"<{tag}{pairs}>")
    return Html(f"<{tag}{pairs}>{join(children)}</{tag}>")


def join(children: Iterable[object]) -> Html:
    """Return the children one after the other; None is left out."""
    parts = (
        child if isinstance(child, Html) else escape(str(child))
        for child in children
        if child is not None
    )
    return Html("".join(parts))


def notation(text: str) -> Html:
    """Return an architecture's notation as code that may be broken into lines."""
    return el("code", *(child for piece in pieces(text) for child in (piece, el("wbr"))))


def table(
    head: Iterable[object], rows: Iterable[Iterable[object]], *, numeric: frozenset[int]
) -> Html:
    """Return a table that scrolls sideways in itself; `numeric` columns are right-aligned."""

    def cell(tag: str, index: int, child: object) -> Html:
        return el(tag, child, class_="number" if index in numeric else None)

    body = [el("tr", *(cell("td", i, child) for i, child in enumerate(row))) for row in rows]
    header = el("tr", *(cell("th", i, child) for i, child in enumerate(head)))
    whole = el("table", el("thead", header), el("tbody", *body))
    return el("div", whole, class_="scroll", tabindex=0)
