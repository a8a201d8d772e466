"""NATS-Bench, the size space: one cell, five widths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ...errors import SpecError
from ..arguments import with_preset
from ..decision import Architecture, Decision
from ..part import Part
from ..space import Space
from .cell_skeleton import cell_network_parts
from .checks import LONGEST, at_least

if TYPE_CHECKING:
    from torch import nn

    from ..layers import ModuleSupernet

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
    the listed ones; the super-network has the listed ones only. It is slimmable: a smaller width
    is the leading channels of a larger one.

    Source: arXiv 2009.00437; D-X-Y/AutoDL-Projects: xautodl/models/shape_infers/
    InferTinyCellNet.py, exps/NATS-Bench/main-sss.py; changlin31/BossNAS: searching/bossnas/
    models/{supernets/nats_supernet,operations/nats_ops}.py.

    Args:
        preset: `full`, the networks of the benchmark, or `tiny`; sets the options left out.
        widths: To choose from, rising.
        cells: Per stage; the benchmark has one.
        classes: Number of outputs.
        resolution: Side of the square image.
        in_channels: Channels of the image.
    """

    name = "nats_sss"
    notation = "c1:c2:c3:c4:c5"
    widths = True
    presets: ClassVar = {
        "full": {"widths": [8, 16, 24, 32, 40, 48, 56, 64], "resolution": 32},
        "tiny": {"widths": [4, 8, 12, 16], "resolution": 16},
    }

    def __init__(
        self,
        *,
        preset: str = "full",
        widths: Sequence[int] | None = None,
        cells: int = 1,
        classes: int = 10,
        resolution: int | None = None,
        in_channels: int = 3,
    ) -> None:
        own = {"preset": preset, "widths": widths, "resolution": resolution}
        o = with_preset(self.name, own, self.presets)
        widths, resolution = o["widths"], o["resolution"]
        at_least(1, LONGEST, cells=cells)
        at_least(1, classes=classes, resolution=resolution, in_channels=in_channels)
        if isinstance(widths, str) or not isinstance(widths, Sequence):
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

    def supernet(self, *, norms: Literal["width", "shared"] = "width") -> ModuleSupernet:
        """Return the slimmable super-network.

        Args:
            norms: One batch norm for each width (`width`, as in the literature), or the leading
                part of one for all (`shared`).

        Raises:
            SpecError: If `norms` is neither.
        """
        from ..layers import Choice, ModuleSupernet
        from ..networks.cells import CellNetwork, Norm

        if norms not in ("width", "shared"):
            raise SpecError(f"norms must be width or shared, got {norms!r}")
        chosen = [Choice.of(decision) for decision in self.decisions]
        widths = [c for c, n in zip(chosen, self._repeats, strict=True) for _ in range(n)]
        norm = Norm(switchable=norms == "width")
        network = CellNetwork(GENOTYPE, widths, self._reductions, *self._image, norm=norm)
        return ModuleSupernet(self, network)

    def parts(self, architecture: Architecture) -> Sequence[Part]:
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

    def published(self) -> dict[str, Architecture]:
        """Return the networks that the literature names."""
        return {name: self.parse_notation(text) for name, text in _PUBLISHED.items()}

    def _widths(self, architecture: Mapping[str, Any]) -> list[int]:
        layers = zip(_NAMES, self._repeats, strict=True)
        return [int(architecture[name]) for name, n in layers for _ in range(n)]


_PUBLISHED = {
    # arXiv 2103.12424: the best path by the published ratings on CIFAR-10
    "BossNAS": "64:40:48:64:56",
}


def _number(text: Any) -> Any:
    """Return the number that `text` writes; what is none is left for the validation to name."""
    if isinstance(text, str) and len(text) < 10 and text.strip().isdecimal():
        return int(text)
    return text
