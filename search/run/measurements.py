"""Measured networks as a table: one row per visit, complete in itself."""

from __future__ import annotations

import csv
import io
import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import SpecError, did_you_mean
from ...files import write_text
from ...spaces import Architecture, DecisionSpace, Space

if TYPE_CHECKING:
    from ...hw_models.timing import Timing

TOLD_APART = 100  # draws per network wanted, before a space is said to hold too few


@dataclass(frozen=True)
class Setting:
    """How a table was measured; the same in all of its rows.

    Args:
        device: Name of the device.
        hardware: What the machine calls its processor.
        place: `cpu` or `cuda`.
        threads: Threads that torch computes with.
        batch: Images at once.
        dtype: Number format.
        torch: Version of torch.
        space: Name of the space, as a spec names it.
        options: Its options, as JSON.
        seed: Of the sample of networks and of their weights.
    """

    device: str
    hardware: str
    place: str
    threads: int
    batch: int
    dtype: str
    torch: str
    space: str
    options: str
    seed: int


@dataclass(frozen=True)
class Visit:
    """One measurement of one network; visits from 1 on repeat an earlier one."""

    key: str
    visit: int
    notation: str
    architecture: str
    latency_ms: float
    q1_ms: float
    q3_ms: float
    runs: int


COLUMNS = [*(f.name for f in fields(Setting)), *(f.name for f in fields(Visit))]


def visits_of(
    space: DecisionSpace, n: int, repeats: int, seed: int
) -> list[tuple[Architecture, int]]:
    """Return what is to be measured, in order: `n` different networks, then some of them again.

    The repeats come after all others, so that slow changes of the machine count as noise too.

    Raises:
        SpecError: If the space holds fewer networks.
    """
    if not 0 <= repeats <= n:
        raise SpecError(f"--repeats counts networks of --n that are measured twice, got {repeats}")
    rng = random.Random(seed)
    chosen: dict[str, Architecture] = {}
    if space.size <= n:
        everything = list(space.enumerate())
        rng.shuffle(everything)
        chosen = {a.key: a for a in everything}
    for _ in range(TOLD_APART * n):
        if len(chosen) >= min(n, space.size):
            break
        member = space.sample(rng)
        chosen.setdefault(member.key, member)
    if len(chosen) < n:
        raise SpecError(
            f"the space has {len(chosen)} different networks to measure, got --n {n}; ask for "
            "fewer, or choose a larger space"
        )
    members = list(chosen.values())[:n]
    again = rng.sample(members, repeats)
    return [*((member, 0) for member in members), *((member, 1) for member in again)]


def visit_of(space: DecisionSpace, member: Architecture, visit: int, timing: Timing) -> Visit:
    """Return the row of one measurement."""
    return Visit(
        key=member.key,
        visit=visit,
        notation=space.format(member),
        architecture=json.dumps(dict(member)),
        latency_ms=timing.median_ms,
        q1_ms=timing.q1_ms,
        q3_ms=timing.q3_ms,
        runs=timing.runs,
    )


def buildable(space: DecisionSpace) -> Space:
    """Return a space that builds networks.

    Raises:
        SpecError: If it does not.
    """
    if not isinstance(space, Space):
        raise SpecError(
            f"measuring needs a space that builds networks, got {space.name!r}, which describes "
            "something else; measure a space of networks"
        )
    return space


class Table:
    """A file of measurements that grows by a row at a time and can be gone on with.

    Args:
        path: The file; made where there is none.
        setting: How everything in it is measured.

    Raises:
        SpecError: If the file holds measurements of another setting.
    """

    def __init__(self, path: Path, setting: Setting) -> None:
        self.path, self.setting = path, setting
        self.done: dict[tuple[str, int], float] = {}
        rows = _rows(path) if path.exists() and path.stat().st_size else []
        wanted = {name: str(value) for name, value in asdict(setting).items()}
        for row in rows:
            for name, value in wanted.items():
                if row[name] != value:
                    raise SpecError(
                        f"{path} holds measurements with {name} {row[name]!r}, got {value!r}; "
                        "go on as it was begun, or name another file with --output"
                    )
            self.done[row["key"], int(row["visit"])] = float(row["latency_ms"])
        self._begin(rows)

    def add(self, visit: Visit) -> None:
        """Append a row; it is in the file when this returns."""
        with self.path.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(self._cells(visit))
        self.done[visit.key, visit.visit] = visit.latency_ms

    def _cells(self, visit: Visit) -> list[Any]:
        return [*asdict(self.setting).values(), *asdict(visit).values()]

    def _begin(self, rows: Sequence[Mapping[str, str]]) -> None:
        """Write the header, and the whole rows: a killed run may have left half of one."""
        lines = [COLUMNS, *([row[name] for name in COLUMNS] for row in rows)]
        write_text(self.path, "".join(_line(cells) for cells in lines))


def _line(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _rows(path: Path) -> list[dict[str, str]]:
    """Return the whole rows of a table that `Table` wrote.

    Raises:
        SpecError: If it is another file.
    """
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    reader = csv.DictReader(whole.splitlines())
    if list(reader.fieldnames or ()) != COLUMNS:
        raise SpecError(
            f"{path} exists and is no table of measurements; name another file with --output"
        )
    return list(reader)


@dataclass(frozen=True)
class Measured:
    """One row of a table, however it was measured.

    Args:
        line: In the file, counted from 1.
        space: Name of the space; empty where the table does not say.
        options: Its options, or arguments of the factory.
        architecture: Decisions, or a notation; None where a network is named.
        latency_ms: For the whole batch.
        network: File, or `package.module:factory`; empty for a member of a space.
        input: Shape of its input, where neither says it.
    """

    line: int
    space: str
    options: Mapping[str, Any]
    architecture: Any
    latency_ms: float
    network: str = ""
    input: str = ""


def read_measurements(lines: Sequence[str], path: str) -> tuple[list[Measured], dict[str, str]]:
    """Return the rows of a table, and what is equal in all of them.

    The columns `latency_ms` and `architecture` (JSON), `notation` or `network` are needed;
    everything else that `netloom measure` writes may be missing.

    Args:
        lines: Of the file.
        path: Its name, for messages.

    Raises:
        SpecError: With file and line of the first thing that is wrong.
    """
    reader = csv.DictReader(lines)
    names = list(reader.fieldnames or ())
    missing = [name for name in ("latency_ms",) if name not in names]
    missing += [] if {"architecture", "notation", "network"} & set(names) else ["architecture"]
    if missing:
        raise SpecError(
            f"{path}:1: a table of measurements needs the column {missing[0]}"
            f"{did_you_mean(missing[0], names)}"
        )
    rows = list(_measured(reader, path))
    if not rows:
        raise SpecError(f"{path} holds no measurement; netloom measure makes some")
    seen: dict[str, set[str]] = {}
    for row in csv.DictReader(lines):
        for name, value in row.items():
            seen.setdefault(str(name), set()).add(str(value))
    return rows, {name: next(iter(values)) for name, values in seen.items() if len(values) == 1}


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise SpecError(f"{where} must be JSON: {error}; got {text!r}") from error


def _measured(reader: csv.DictReader[str], path: str) -> Iterator[Measured]:
    for row in reader:
        line = reader.line_num
        try:
            value = float(row["latency_ms"])
        except (TypeError, ValueError) as error:
            raise SpecError(
                f"{path}:{line}: latency_ms must be a number of ms, got "
                f"{row['latency_ms']!r}; measure the network again, or delete the row"
            ) from error
        if not (math.isfinite(value) and value > 0):
            raise SpecError(
                f"{path}:{line}: latency_ms must be a positive number of ms, got {value}; measure "
                "the network again, or delete the row"
            )
        text = row.get("architecture") or row.get("notation") or ""
        where = f"{path}:{line}"
        options = _json(row.get("options") or "{}", f"{where}: options")
        if not isinstance(options, dict):
            raise SpecError(f"{where}: options must be a JSON object, got {options!r}")
        architecture = text
        if text.startswith(("{", "[", '"')):
            architecture = _json(text, f"{where}: architecture")
        network, space = row.get("network") or "", row.get("space") or ""
        chosen = None if network else architecture
        yield Measured(line, space, options, chosen, value, network, row.get("input") or "")
