"""Pieces of pages: what they are made of."""

from __future__ import annotations

from dash import html

from netloom.dashboard.pages.parts import LONG, rows_table


def components(part) -> int:
    children = getattr(part, "children", None)
    each = children if isinstance(children, list) else [children]
    return 1 + sum(components(child) for child in each if hasattr(child, "to_plotly_json"))


def test_a_long_table_is_one_component():
    rows = [(str(number), f"{number} ms") for number in range(LONG + 1)]
    short = rows_table(("trial", "took"), rows[:-1])
    assert components(short) > 2 * LONG
    shown = rows_table(("trial", "took"), iter(rows), numeric=frozenset({1}))
    assert components(shown) < 6
    grid, other = shown.children[0], rows_table(("trial", "took"), rows).children[0]
    assert grid.rowData[-1] == {"c0": str(LONG), "c1": f"{LONG} ms"}
    assert [column.get("type") for column in grid.columnDefs] == [None, "rightAligned"]
    assert grid.id != other.id


def test_a_table_of_components_stays_a_table():
    rows = [(html.B("x"), "y")] * (LONG + 1)
    assert isinstance(rows_table(("a", "b"), rows).children[0].children, html.Table)
