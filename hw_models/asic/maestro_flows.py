"""What a layer takes under MAESTRO's dataflows: steps, each as long as the slowest of its parts.

`dla` (NVDLA): filters across clusters of 64 elements, channels inside a cluster, pixels in time.
`shi` (ShiDianNao): rows of the output across clusters of 8 elements, columns inside, filters and
channels in time. `rs` (Eyeriss): rows of the output across clusters of as many elements as the
kernel has rows, filters in blocks of 16, channels and columns in time. An array smaller than a
cluster is one cluster. Elements are bytes; the network on chip brings `bandwidth` of them a cycle.

`dla` is the closed form that was derived from MAESTRO's outputs (0.5 % on layers of stride 1), with
results that leave no faster than the bandwidth lets them;
`shi` and `rs` are the steps that its mapping files describe, max(compute, in, out) each.

Source: Kwon et al., MICRO 2019 (maestro-project/maestro, versions of 2020-02 and 2022-08).
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import Literal, NamedTuple, TypeAlias

from ..cost import Bottleneck
from .layers import Job

Dataflow: TypeAlias = Literal["dla", "shi", "rs"]

CHANNELS_PER_CLUSTER = 64  # of dla
COLUMNS_PER_CLUSTER = 8  # of shi
FILTERS_PER_BLOCK = 16  # of rs


class Flow(NamedTuple):
    """What one layer takes.

    Args:
        cycles: In all.
        l2_reads: Elements that leave the shared buffer.
        l2_writes: Elements, partial sums included, that come back.
        l1_bytes: What a processing element must hold, twice for double buffering.
        l2_bytes: What the shared buffer must hold of one step, twice likewise.
        bottleneck: What most steps wait for.
    """

    cycles: int
    l2_reads: int
    l2_writes: int
    l1_bytes: int
    l2_bytes: int
    bottleneck: Bottleneck


class Steps:
    """Adds up steps; the first one of all cannot hide its transfers behind arithmetic."""

    def __init__(self, bandwidth: float, lanes: int) -> None:
        self.bandwidth, self.lanes = bandwidth, lanes
        self.cycles = self.reads = self.writes = self.waiting = self.started = 0

    def add(self, count: int, macs: int, brought: int, taken: int) -> None:
        """Add `count` steps of `macs` per element, of elements brought in and taken away."""
        compute = ceil(macs / self.lanes)
        moving = max(ceil(brought / self.bandwidth), ceil(taken / self.bandwidth))
        if not self.started:
            self.started = 1
            exposed = ceil(brought / self.bandwidth) + compute - max(compute, moving)
            self.cycles += max(exposed, 0)
        self.cycles += count * max(compute, moving)
        self.waiting += count * (moving - compute)
        self.reads += count * brought
        self.writes += count * taken

    def flow(self, l1: int, l2: int) -> Flow:
        """Return the sum; `l1` and `l2` are the elements of one step."""
        waits: Bottleneck = "memory" if self.waiting > 0 else "compute"
        return Flow(self.cycles, self.reads, self.writes, 2 * l1, 2 * l2, waits)


def flow_of(dataflow: Dataflow, job: Job, pes: int, bandwidth: float, lanes: int) -> Flow:
    """Return what a layer takes; groups follow one another."""
    one = {"dla": _dla, "shi": _shi, "rs": _rs}[dataflow](job._replace(g=1), pes, bandwidth, lanes)
    return one._replace(
        cycles=job.g * one.cycles, l2_reads=job.g * one.l2_reads, l2_writes=job.g * one.l2_writes
    )


def _dla(job: Job, pes: int, bandwidth: float, lanes: int) -> Flow:
    cluster = min(CHANNELS_PER_CLUSTER, pes)
    filters, channels = pes // cluster, min(job.c, cluster)
    taps, pixels = job.fy * job.fx, job.b * job.oy * job.ox
    deep, tiles = ceil(job.c / cluster), ceil(job.k / filters) * ceil(job.c / cluster)
    compute, moving = ceil(taps / lanes), ceil(2 * channels * taps / bandwidth)
    used = min(filters, job.k)
    step = max(moving + compute, ceil(used / bandwidth))
    load = ceil((used + 1) * channels * taps / bandwidth) + 1
    window = channels * taps
    return Flow(
        cycles=tiles * (max(load, step) + (pixels - 1) * step),
        l2_reads=tiles * (used + pixels) * window,
        l2_writes=job.k * pixels * deep,
        l1_bytes=2 * (2 * taps + 1),
        l2_bytes=2 * ((used + 1) * window + used),
        bottleneck="memory" if moving > compute else "compute",
    )


def _shi(job: Job, pes: int, bandwidth: float, lanes: int) -> Flow:
    columns = min(COLUMNS_PER_CLUSTER, pes)
    rows = pes // columns
    taps = job.fy * job.fx
    planes = job.k * job.c * job.b
    steps, largest = Steps(bandwidth, lanes), 0
    first = True  # the step that brings the weights of a new pair of channels
    for tall, many_rows in _tiles(job.oy, rows):
        for wide, many_columns in _tiles(job.ox, columns):
            read = _halo(tall, job.sy, job.fy, job.dy) * _halo(wide, job.sx, job.fx, job.dx)
            tiles = many_rows * many_columns
            if first:
                first = False
                steps.add(planes, taps, read + taps, tall * wide)
                tiles -= 1
            if tiles:
                steps.add(planes * tiles, taps, read, tall * wide)
            largest = max(largest, read + taps + tall * wide)
    return steps.flow(2 * taps + 1, largest)


def _rs(job: Job, pes: int, bandwidth: float, lanes: int) -> Flow:
    cluster = min(job.fy, pes)
    turns = ceil(job.fy / cluster)  # rows of the kernel that one element takes
    taps = job.fy * job.fx
    steps, largest = Steps(bandwidth, lanes), 0
    block = min(FILTERS_PER_BLOCK, job.k)
    for tall, many_rows in _tiles(job.oy, pes // cluster):
        read = _halo(tall, job.sy, job.fy, job.dy) * job.fx
        places = job.b * many_rows * job.ox * job.c
        first = True  # the step that brings the inputs of a new channel
        for filters, blocks in _tiles(job.k, FILTERS_PER_BLOCK):
            macs, weights, results = turns * filters * job.fx, filters * taps, filters * tall
            if first:
                first = False
                steps.add(places, macs, weights + read, results)
                blocks -= 1
            if blocks:
                steps.add(places * blocks, macs, weights, results)
        largest = max(largest, block * taps + read + block * tall)
    return steps.flow(turns * (block + 1) * job.fx + block, largest)


def _tiles(extent: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield (tile, how often): the whole ones, then what remains."""
    whole, rest = divmod(extent, size)
    if whole:
        yield size, whole
    if rest:
        yield rest, 1


def _halo(outputs: int, stride: int, kernel: int, dilation: int) -> int:
    return (outputs - 1) * stride + (kernel - 1) * dilation + 1
