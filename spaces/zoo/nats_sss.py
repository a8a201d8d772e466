"""NATS-Bench, the size space: one cell, five widths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...errors import SpecError
from ..decision import Architecture, Decision
from ..part import Part
from ..space import Space
from .cell_skeleton import cell_network_parts
from .checks import at_least

if TYPE_CHECKING:
    from torch import nn

GENOTYPE = (
    ("nor_conv_3x3",),
    ("nor_conv_3x3", "nor_conv_3x3"),
    ("skip_connect", "nor_conv_3x3", "nor_conv_3x3"),
)
_LAYERS = 5  # cell, reduction, cell, reduction, cell
_NAMES = [f"layer{i}.width" for i in range(1, _LAYERS + 1)]


class WidthRange:
    """Widths between the options of a reduced space and those of the benchmark can be read too."""

    def __init__(self, low: int, high: int) -> None:
        self.low, self.high = low, high

    def __call__(self, value: Any) -> bool:
        """Return whether `value` is a whole number in the range."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and self.low <= value <= self.high and value == int(value)


class NatsSSS(Space):
    """The size space of NATS-Bench: 32,768 choices of the widths of five layers.

    Written `c1:c2:c3:c4:c5`. The stem has the first width; where the width changes inside a cell
    the skip becomes a 1x1 convolution and batch norm (no ReLU, as the benchmark's networks have
    it; search code that puts one there trains other networks). `parse` also reads widths between
    the listed ones.

    Source: arXiv 2009.00437; D-X-Y/AutoDL-Projects: xautodl/models/shape_infers/
    InferTinyCellNet.py, exps/NATS-Bench/main-sss.py.

    Args:
        widths: To choose from, rising.
        cells: Per stage; the benchmark has one.
        classes: Number of outputs.
        resolution: Side of the square image.
        in_channels: Channels of the image.
    """

    name = "nats_sss"
    notation = "c1:c2:c3:c4:c5"

    def __init__(
        self,
        *,
        widths: Sequence[int] = (8, 16, 24, 32, 40, 48, 56, 64),
        cells: int = 1,
        classes: int = 10,
        resolution: int = 32,
        in_channels: int = 3,
    ) -> None:
        at_least(1, cells=cells, classes=classes, resolution=resolution, in_channels=in_channels)
        given: Any = widths  # a caller may pass anything
        if isinstance(given, str) or not isinstance(given, Sequence):
            raise SpecError(f"widths must be a list of integers, got {widths!r}")
        at_least(1, **{f"widths[{i}]": w for i, w in enumerate(widths)})
        if not widths or list(widths) != sorted(set(widths)):
            raise SpecError(f"widths must rise and not be empty, got {list(widths)}")
        self._repeats = [1 if i % 2 else cells for i in range(_LAYERS)]
        self._reductions = [bool(i % 2) for i, n in enumerate(self._repeats) for _ in range(n)]
        self._image = (in_channels, classes, resolution)
        also = WidthRange(min(8, widths[0]), max(64, widths[-1]))
        options = tuple(widths)
        super().__init__([Decision(n, options, ordered=True, accepts=also) for n in _NAMES])

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network, freshly initialised."""
        from ..networks.cells import CellNetwork

        widths = self._widths(architecture)
        return CellNetwork(GENOTYPE, widths, self._reductions, *self._image)

    def parts(self, architecture: Architecture) -> list[Part]:
        """Return one part per stem, operation, sum, reduction and head."""
        widths = self._widths(architecture)
        return cell_network_parts(GENOTYPE, widths, self._reductions, *self._image)

    def parse_notation(self, value: str | Sequence[Any]) -> Architecture:
        """Read `c1:c2:c3:c4:c5`, or a list of five widths."""
        widths = value.strip().split(":") if isinstance(value, str) else value
        if not isinstance(widths, list | tuple) or len(widths) != _LAYERS:
            raise self.unreadable(value)
        return self.architecture(dict(zip(_NAMES, map(_number, widths), strict=True)))

    def format(self, architecture: Architecture) -> str:
        """Return `c1:c2:c3:c4:c5`."""
        return ":".join(str(architecture[name]) for name in _NAMES)

    def _widths(self, architecture: Mapping[str, Any]) -> list[int]:
        layers = zip(_NAMES, self._repeats, strict=True)
        return [int(architecture[name]) for name, n in layers for _ in range(n)]


def _number(text: Any) -> Any:
    """Return the number that `text` writes; what is none is left for the validation to name."""
    if isinstance(text, str) and len(text) < 10 and text.strip().isdecimal():
        return int(text)
    return text
