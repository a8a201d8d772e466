"""The two cost tables of MAESTRO: what area and energy its designs are charged with.

Its published results of 2019 and 2020 (NASAIC's specifications among them) only make sense with the
first table; since 2021 another one is the default. Energies differ by a factor of 3,900, areas by
ten. Neither says where its energy per operation comes from: compare designs under one table.

Source: maestro-project/maestro, its cost database in 2019-20 and since 2021 (MIT).
"""

from __future__ import annotations

from math import ceil
from typing import Literal, NamedTuple, TypeAlias

Table: TypeAlias = Literal["2019-20", "2021"]

L1_ACCESS = 1.68  # energy in units of a multiply-add
L2_ACCESS = 18.61
BUS_AREA_UM2 = 101.7938
ARBITER_AREA_UM2 = 395.473


class CostTable(NamedTuple):
    """Unit costs.

    Args:
        mac_energy_nj: The unit of energy; accesses are multiples of it, and a multiply-add itself
            is not added.
        mac_area_um2: One multiplier.
        l1_bytes: Size of one cell of the buffers in the processing elements.
        l1_area_um2: Its area.
        l2_bytes: Size of one cell of the shared buffer.
        l2_area_um2: Its area.
        lanes: Multipliers of a processing element where nothing else is said.
    """

    mac_energy_nj: float
    mac_area_um2: float
    l1_bytes: int
    l1_area_um2: float
    l2_bytes: int
    l2_area_um2: float
    lanes: int


TABLES: dict[Table, CostTable] = {
    "2019-20": CostTable(0.904, 4470.9014, 64, 4505.1889, 32768, 4161.536, 9),
    "2021": CostTable(0.00023, 283.0, 1, 0.104, 1, 0.104, 1),
}


def energy_nj(table: CostTable, l1: float, l2: float) -> float:
    """Return the energy of so many accesses of L1 and L2."""
    return (L2_ACCESS * l2 + L1_ACCESS * l1) * table.mac_energy_nj


def area_um2(
    table: CostTable, pes: int, bandwidth: float, lanes: int, l1_bytes: int, l2_bytes: int
) -> float:
    """Return the area of one accelerator in um2 (28 nm).

    Multipliers and L1 of every processing element, L2, a bus that grows with elements and
    bandwidth, and an arbiter that grows with the square of the elements and soon is most of it.

    Args:
        table: Unit costs.
        pes: Processing elements; none is no accelerator.
        bandwidth: Of the network on chip, elements per cycle.
        lanes: Multipliers per element.
        l1_bytes: Per element.
        l2_bytes: In all.
    """
    if pes == 0:
        return 0.0
    cells = table.l1_area_um2 * ceil(l1_bytes / table.l1_bytes)
    elements = pes * (lanes * table.mac_area_um2 + cells)
    shared = table.l2_area_um2 * ceil(l2_bytes / table.l2_bytes)
    bus = BUS_AREA_UM2 * (14.662 * pes + 28.895) * bandwidth
    arbiter = ARBITER_AREA_UM2 * (1.2886 * pes**2 + 5.5814 * pes - 23.711)
    return elements + shared + bus + arbiter
