"""Family `eyeriss`: the row-stationary array of Eyeriss, with a search for the best tiling.

Of M filters, C channels and E output rows, factors are kept in the register files (0), spread over
the array (1), kept in the global buffer (2) or taken from DRAM (3): M = M0 M1 M2 M3, C = C0 C1 C2,
E = E1 E3, every factor whole. R x S is the kernel, F the width of the output, s the stride.
A tiling is valid if M0 <= 16, E1 > 1 (but for a single output row), and, all strict,

    M1 C1 E1 R < PEs                C0 S < words for inputs        M0 C0 S < words for weights
    C1 C0 ((E1 - 1) s + R) ((F - 1) s + S) + M2 M1 M0 E1 F < words of the global buffer.

It takes M3 M2 M0 C2 C0 E3 F S cycles; bandwidth is no bound. Accesses, with ni, nw and no the
elements of input, weights and output, H x W the input's size:

    DRAM    M3 ni + E3 nw + no                      DRAM to buffer    M3 ni + no
    buffer  M3 M2 ni + max(2 (C2 - 1), 1) no
    NoC     M3 M2 M1 (R E / H) ni + E3 E1 nw + max(C2 (C1 R - 1), 1) no
    RF      M3 M2 M1 (R E / H) M0 (S F / W) ni + E3 E1 F nw + max(2 C2 C1 R (C0 S - 1), 1) no

Multiply-adds are charged too, but for a pooling. The tiling chosen minimises
(En - min En) / max En + (Lat - min Lat) / max Lat over the valid ones: neither the fastest nor the
thriftiest. Costs of the same tiling are reported.

Rules of our own: groups follow one another, and so do images of a batch; the rows of a matrix
product are the width F of one output row; an odd number of rows that cannot be split (59) is
padded to the next that can, where `pad_rows` says so.

Source: Zhao et al., "DNN-Chip Predictor", arXiv 2002.11270, its published predictor of Eyeriss
(65 nm; Chen et al., JSSC 52(1), 2017).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, ClassVar, Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from ..device import Device, Number, measures
from ..workload import Layer
from .layers import Job, pool_as_conv
from .model import WHOLE, ArrayCost, ArrayModel, ArrayNumbers, numbers_of

_Energy = Annotated[Number, measures("energy", positive=False)]
_Words = Annotated[Number, measures("words"), WHOLE]
Integers: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]


class EyerissNumbers(ArrayNumbers):
    """What a file of the family holds; energies are per access of one word.

    Args:
        pes: Processing elements.
        filters_in_registers: Most filters at a time in one element, M0.
        input_words: Register file for inputs.
        weight_words: Register file for weights.
        buffer_words: Global buffer.
        mac_energy: One multiply-add.
        dram_energy: One access of DRAM.
        dram_to_buffer_energy: Moving one word from or to DRAM.
        buffer_energy: One access of the global buffer.
        noc_energy: One word over the network on chip.
        register_energy: One access of a register file.
        pooling: Windows that move (not global pooling): `other`, as `other_layers` says; or
            `dense_conv`, the convolution of all channels with all that the published tables take
            a pooling for.
        pad_rows: Whether rows that no tiling fits are padded; otherwise such a layer is refused.
    """

    pes: Annotated[Number, measures("processing elements"), WHOLE]
    filters_in_registers: _Words
    input_words: _Words
    weight_words: _Words
    buffer_words: _Words
    mac_energy: _Energy
    dram_energy: _Energy
    dram_to_buffer_energy: _Energy
    buffer_energy: _Energy
    noc_energy: _Energy
    register_energy: _Energy
    pooling: Literal["other", "dense_conv"]
    pad_rows: bool


class Limits(NamedTuple):
    """What a tiling must fit into; all but the first are strict bounds."""

    filters: int
    pes: int
    input_words: int
    weight_words: int
    buffer_words: int


class Energies(NamedTuple):
    """Picojoules per multiply-add and per access."""

    mac: float
    dram: float
    dram_to_buffer: float
    buffer: float
    noc: float
    register: float


class Tiling(NamedTuple):
    """A way to cut a layer (M0..M3, C0..C2, E1 and E3), and what it costs."""

    m: tuple[int, ...]
    c: tuple[int, ...]
    e: tuple[int, ...]
    cycles: int
    energy_pj: float


class EyerissModel(ArrayModel):
    """The best tiling of each layer; see the module's text."""

    provides: ClassVar[tuple[str, ...]] = (*ArrayModel.provides, "energy_mj")
    Numbers: ClassVar[type[ArrayNumbers]] = EyerissNumbers

    def __init__(self, device: Device) -> None:
        super().__init__(device)
        n = numbers_of(device, EyerissNumbers)
        sizes = (n.filters_in_registers, n.pes, n.input_words, n.weight_words, n.buffer_words)
        self.limits = Limits(*[int(size.si) for size in sizes])
        energies = [n.mac_energy, n.dram_energy, n.dram_to_buffer_energy, n.buffer_energy]
        energies += [n.noc_energy, n.register_energy]
        self.energies = Energies(*[energy.si * 1e12 for energy in energies])
        self.pooling, self.pad_rows = n.pooling, n.pad_rows

    @property
    def macs_per_cycle(self) -> int:
        """One per processing element."""
        return self.limits.pes

    def layer_jobs(self, layer: Layer, batch: int) -> tuple[Job, ...] | None:
        """Return the loops of a layer; with `pooling: dense_conv`, of windows that move too."""
        if self.pooling == "dense_conv" and layer.kind == "pool" and _moves(layer):
            return (pool_as_conv(layer, batch),)
        return super().layer_jobs(layer, batch)

    def array_cost(self, job: Job) -> ArrayCost:
        """Return the best tiling of one group and image, times their number."""
        found = self.tiling(job)
        times = job.b * job.g
        one = job._replace(b=1, g=1)
        moved = self.word_bytes * (one.iy * one.ix * one.c + one.weights + one.outputs)
        return ArrayCost(times * found.cycles, times * found.energy_pj, times * moved, "compute")

    def tiling(self, job: Job) -> Tiling:
        """Return how one group of one image is cut.

        Raises:
            ValueError: If no tiling is valid.
        """
        return best_tiling(job._replace(b=1, g=1), self.limits, self.energies, self.pad_rows)


def _moves(layer: Layer) -> bool:
    return layer.kernel != tuple(layer.input_shapes[0][2:])


@lru_cache(maxsize=65536)
def best_tiling(job: Job, limits: Limits, energies: Energies, pad_rows: bool) -> Tiling:
    """Return the tiling of one group and image that the objective likes best.

    Raises:
        ValueError: If none is valid.
    """
    if job.fx >= limits.input_words or job.fy * 2 >= limits.pes:
        raise ValueError(
            f"a kernel must be less than {limits.input_words} wide, got {job.fy}x{job.fx}; use a "
            "smaller one, or several"
        )
    # two rows at a time always divide an even number of rows
    for rows in range(job.oy, job.oy + 2 if pad_rows else job.oy + 1):
        found = _search(job._replace(oy=rows), limits, energies)
        if found is not None:
            return found
    raise ValueError(
        f"no tiling of {job.k}x{job.c} channels, kernel {job.fy}x{job.fx} and {job.oy}x{job.ox} "
        f"outputs fits {limits.pes} elements and {limits.buffer_words} words of buffer; use a "
        "narrower map, or a number of rows with small factors"
    )


def _search(job: Job, limits: Limits, energies: Energies) -> Tiling | None:
    """Evaluate all tilings of M (down) and C (across) at once, for each one of E.

    Energy is a constant plus a term of each of M, C and E; cycles are a product of such terms.
    """
    m, c = _filters(job, limits), _channels(job, limits)
    m0, m1, m2, m3 = m
    c0, c1, c2 = c
    in_array = np.outer(m1, c1 * job.fy)
    fits = np.outer(m0, c0 * job.fx) < limits.weight_words
    energy = _energy_of_m(job, energies, m)[:, None] + _energy_of_c(job, energies, c)[None, :]
    cycles = np.outer(m3 * m2 * m0, c2 * c0) * (job.ox * job.fx)
    width = (job.ox - 1) * job.sx + (job.fx - 1) * job.dx + 1
    found = []
    for e1, e3 in _splits(job.oy, 2):
        if e1 == 1 and job.oy != 1:
            continue
        height = (e1 - 1) * job.sy + (job.fy - 1) * job.dy + 1
        buffered = (m2 * m1 * m0 * e1 * job.ox)[:, None] + (c1 * c0 * height * width)[None, :]
        valid = fits & (in_array * e1 < limits.pes) & (buffered < limits.buffer_words)
        row, column = np.nonzero(valid)
        here = np.full(row.size, e1)
        more = energies.dram * e3 * job.weights  # the one term of E
        found.append((row, column, here, energy[row, column] + more, cycles[row, column] * e3))
    rows, columns, e_array, joules, times = (
        np.concatenate(part) for part in zip(*found, strict=True)
    )
    if not rows.size:
        return None
    best = _best(joules, times)
    e1 = int(e_array[best])
    return Tiling(
        tuple(map(int, m[:, rows[best]])),
        tuple(map(int, c[:, columns[best]])),
        (e1, job.oy // e1),
        int(times[best]),
        float(joules[best]),
    )


def _best(energy: Floats, cycles: Integers) -> int:
    """Return the position that the objective likes best; of equal ones the fastest, the first."""
    score = (energy - energy.min()) / energy.max() + (cycles - cycles.min()) / cycles.max()
    tied = np.nonzero(score <= score.min() + 1e-12)[0]  # equal but for the last digit
    return int(tied[np.argmin(cycles[tied])])


def _energy_of_m(job: Job, e: Energies, m: Integers) -> Floats:
    """Everything that depends on M alone, and what depends on nothing."""
    m0, m1, m2, m3 = m
    inputs = job.iy * job.ix * job.c
    outputs, weights = job.outputs, job.weights
    over_rows = job.fy * job.oy / job.iy * inputs
    constant = (0.0 if job.pools else e.mac * job.macs) + (e.dram + e.dram_to_buffer) * outputs
    constant += e.noc * job.oy * weights + e.register * job.oy * job.ox * weights
    per_tile = (e.dram + e.dram_to_buffer) * inputs * m3 + e.buffer * inputs * m3 * m2
    array = e.noc * over_rows * m3 * m2 * m1
    registers = e.register * over_rows * (job.fx * job.ox / job.ix) * (m3 * m2 * m1 * m0)
    total: Floats = constant + per_tile + array + registers
    return total


def _energy_of_c(job: Job, e: Energies, c: Integers) -> Floats:
    """The traffic of partial sums."""
    c0, c1, c2 = c
    buffer = np.maximum(2 * (c2 - 1), 1)
    noc = np.maximum(c2 * (c1 * job.fy - 1), 1)
    register = np.maximum(2 * c2 * c1 * job.fy * (c0 * job.fx - 1), 1)
    total: Floats = (e.buffer * buffer + e.noc * noc + e.register * register) * job.outputs
    return total


def _filters(job: Job, limits: Limits) -> Integers:
    """Return M0..M3 of every split of the filters that fits by itself, one column each."""
    return _columns(
        [
            m
            for m in _splits(job.k, 4)
            if m[0] <= limits.filters and m[0] * job.fx < limits.weight_words
            and m[1] * job.fy < limits.pes
        ],
        4,
    )  # fmt: skip


def _channels(job: Job, limits: Limits) -> Integers:
    """Return C0..C2 likewise."""
    return _columns(
        [
            c
            for c in _splits(job.c, 3)
            if c[0] * job.fx < limits.input_words and c[1] * job.fy < limits.pes
        ],
        3,
    )


def _columns(rows: list[tuple[int, ...]], width: int) -> Integers:
    return np.array(rows, dtype=np.int64).reshape(-1, width).T


@lru_cache(maxsize=4096)
def _splits(number: int, parts: int) -> tuple[tuple[int, ...], ...]:
    """Return every way to write `number` as an ordered product of so many whole factors."""
    if parts == 1:
        return ((number,),)
    divisors = _divisors(number)
    return tuple(
        (first, *rest) for first in divisors for rest in _splits(number // first, parts - 1)
    )


@lru_cache(maxsize=4096)
def _divisors(number: int) -> tuple[int, ...]:
    small = [d for d in range(1, int(number**0.5) + 1) if number % d == 0]
    return tuple(sorted({*small, *(number // d for d in small)}))
