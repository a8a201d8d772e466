"""How many cycles operators take: coefficients fitted to measured networks, per runtime and core.

    cycles(operator) = a x MACs + b x output elements + c

with a and b by the operator's class. A convolution beyond 1x1 that reads an image (a stem) has a
class of its own, for kernels waste their vectors on three channels; where a window holds more than
the 3 x 3 x 3 elements that were measured, its output elements cost as much as those of a stem,
until what they cost as a plain convolution is more.
Operators without multiply-adds cost c.

The tables hold for a Cortex-M7 (STM32H743, 480 MHz, caches on); another core of Arm takes a factor
more cycles in the same runtime. Fits: TinyEngine's README of December 2022, relative least squares.
Classes are nearly collinear in measured networks: believe sums over networks, not single classes.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ...errors import SpecError
from ..memory.graph import Graph, MemOp, spatial

STEM_WINDOW = 27  # elements that an output of the stems that were measured reads: 3 x 3 x 3
WIDE_CHANNELS = 16  # of the narrowest convolutions that were measured as plain ones


class Cycles(NamedTuple):
    """Cycles of one runtime on one core.

    Args:
        stem: Per MAC of a convolution beyond 1x1 whose outputs read up to 27 elements.
        conv: Per MAC of convolutions beyond 1x1 with many.
        pw: Per MAC of a 1x1 convolution.
        dw: Per MAC of a depthwise convolution.
        fc: Per MAC of fully connected operators and products of activations.
        output: Per output element of dense convolutions, the stem left out.
        op: Per operator.
    """

    stem: float
    conv: float
    pw: float
    dw: float
    fc: float
    output: float = 0.0
    op: float = 0.0

    def scaled(self, factor: float) -> Cycles:
        """Return the cycles on a core that takes `factor` times as many."""
        return Cycles(*[value * factor for value in self])


# fitted on five networks (mcunet-in0, in2, in4, vww1, proxyless-w0.3-r64), X-CUBE-AI on nine;
# fc is counted as pw there; conv is measured under X-CUBE-AI (ResNet-8) and assumed as pw elsewhere
M7: dict[str, Cycles] = {
    "tflm_ref": Cycles(stem=146, conv=36.0, pw=36.0, dw=54.1, fc=36.0),
    "cmsis_nn": Cycles(stem=19.7, conv=1.37, pw=1.37, dw=9.13, fc=1.37, op=10_700),
    "x_cube_ai": Cycles(stem=5.7, conv=1.2, pw=1.17, dw=4.40, fc=1.17, op=69_800),
    "tinyengine": Cycles(stem=9.16, conv=1.25, pw=1.25, dw=2.55, fc=1.25),
}
# cycles of the same runtime relative to the M7: MLPerf Tiny v1.0 under X-CUBE-AI 7.3, four models
# (M33 1.47 to 1.52, M4 1.77 to 1.94); M4 to M0+ x5.5
CORE_FACTORS: dict[str, float] = {
    "cortex-m7": 1.0,
    "cortex-m33": 1.5,
    "cortex-m4f": 1.85,
    "cortex-m0plus": 10.0,
}
# measured on the core itself
MEASURED: dict[tuple[str, str], Cycles] = {
    # raspberrypi/pico-tflmicro benchmarks on an RP2040, within 15 %; a 3x3 convolution as pw
    ("cmsis_nn", "cortex-m0plus"): Cycles(
        stem=8.0, conv=8.0, pw=8.0, dw=42.0, fc=8.0, output=78.0, op=360_000
    ),
    # espressif/esp-nn README: 1x1 of 64 and of 16 channels solved for a and b, 3x3 of 3 channels,
    # 3x3 depthwise, fully connected; a 3x3 convolution with more channels as pw
    ("esp_nn", "xtensa-lx7"): Cycles(stem=6.3, conv=0.28, pw=0.28, dw=5.0, fc=1.3, output=33.9),
    ("plain_c", "xtensa-lx7"): Cycles(stem=35.0, conv=9.0, pw=9.0, dw=31.0, fc=10.0, output=160.0),
}
CORES = (*CORE_FACTORS, "xtensa-lx7")


def cycles_of(kernels: str, core: str) -> Cycles:
    """Return the coefficients of a runtime's kernels on a core.

    Raises:
        SpecError: If nothing was ever measured that would tell.
    """
    if found := MEASURED.get((kernels, core)):
        return found
    if kernels in M7 and core in CORE_FACTORS:
        return M7[kernels].scaled(CORE_FACTORS[core])
    known = [k for k in (*M7, "esp_nn", "plain_c") if k in M7 and core in CORE_FACTORS]
    known += [k for k, c in MEASURED if c == core and k not in known]
    raise SpecError(
        f"cycles on {core} are known for the kernels {', '.join(known)}, got {kernels!r}; choose "
        "one of them, or give the device file `cycles` of its own"
    )


CLASSES: dict[str, str] = {"conv": "conv", "pw": "pw", "dw": "dw", "fc": "fc", "matmul": "fc"}


def depth(graph: Graph, op: MemOp) -> int:
    """Return the input channels that one output channel of a convolution reads."""
    return graph.tensors[op.inputs[0]].shape[1] // op.groups


def as_stem(graph: Graph, op: MemOp, macs: int) -> float:
    """Return the multiply-adds of a stem whose outputs cost as much as those of this operator."""
    window = math.prod(op.kernel) * depth(graph, op)
    return macs * min(window, STEM_WINDOW) / window


def op_cycles(graph: Graph, op: MemOp, table: Cycles, macs: int) -> tuple[float, float]:
    """Return the cycles of an operator's arithmetic, and those that it costs in any case.

    Args:
        graph: Holds the shapes.
        op: The operator.
        table: Coefficients.
        macs: Its multiply-adds, which tiles may have raised.
    """
    name = CLASSES.get(op.kind)
    if name is None:
        return 0.0, table.op
    work: float = getattr(table, name) * macs
    if name == "conv":
        work = max(work, table.stem * as_stem(graph, op, macs))
    if name in ("conv", "pw") and table.output:
        shape = graph.tensors[op.output].shape
        rows, columns = spatial(shape)
        work += table.output * shape[0] * shape[1] * rows * columns
    return work, table.op
