"""Published measurements as package data: one parquet file each, described by `tables.json`.

A table is read once per process, at the first look-up. Nothing here needs torch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import UnknownName


@cache
def describe_tables() -> Mapping[str, Mapping[str, Any]]:
    """Return what `tables.json` says: table name -> space, file, data sets, columns, sources."""
    text = files(__package__).joinpath("tables.json").read_text(encoding="utf-8")
    tables: Mapping[str, Mapping[str, Any]] = json.loads(text)
    return tables


@cache
def measured_devices() -> Mapping[str, list[str]]:
    """Return device -> the spaces of which a table holds a measurement of every network."""
    spaces: dict[str, list[str]] = {}
    for entry in describe_tables().values():
        columns = [c for each in entry.get("datasets", {}).values() for c in each["columns"]]
        for column in columns if entry.get("complete") else ():
            target = column["metric"].partition("@")[2]
            if target and entry["space"] not in spaces.setdefault(target, []):
                spaces[target].append(entry["space"])
    return dict(sorted(spaces.items()))


@cache
def load_table(name: str) -> Mapping[str, npt.NDArray[Any]]:
    """Return the columns of a table: text as objects, numbers as float64, both read-only.

    Raises:
        UnknownName: If there is no such table.
    """
    import pyarrow.parquet as pq

    if name not in describe_tables():
        raise UnknownName("table", name, describe_tables())
    with files(__package__).joinpath(describe_tables()[name]["file"]).open("rb") as file:
        table = pq.read_table(file)
    columns: dict[str, npt.NDArray[Any]] = {}
    for field in table.schema:
        values = table[field.name].to_numpy()
        if field.metadata and b"decimals" in field.metadata:
            # an integer over a power of ten is the float nearest to the published decimal
            values = values / np.float64(10 ** int(field.metadata[b"decimals"]))
        values.setflags(write=False)
        columns[field.name] = values
    return columns


@cache
def rows_of(name: str) -> Mapping[str, int]:
    """Return notation -> row number of a table."""
    keys = load_table(name)[describe_tables()[name]["key"]]
    return {key: row for row, key in enumerate(keys.tolist())}
