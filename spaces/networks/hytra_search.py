"""HyTra's fabric: every operator in every layer, and the networks that are paths through it.

The fabric is not made of the layers of stand-alone networks, by definition (arXiv 2103.12424, and
its code): an operator that halves the side has a 3x3 convolution of stride 2 with norm and ReLU as
its shortcut, not an average and a 1x1 convolution; the first layer reads the stem through an
adaptor; there is no squeeze-and-excitation, and ReLU everywhere. A path through it therefore costs
more than its stand-alone network.

Source: changlin31/BossNAS: searching/bossnas/models/operations/hytra_ops.py,
models/supernets/hytra_supernet.py (re-written).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import InvalidArchitecture, SpecError
from ..layers import Choice, ModuleSupernet, Mutable
from ..layers.mutable import Context
from .hytra import Branch, Entry, Head, Operator, Projection, Stem, silence
from .hytra_plan import (
    ATTENTION,
    CONVOLUTION,
    HIGHEST,
    codes_at,
    codes_up_to,
    heads_of,
    inner_width,
    is_attention,
    resolution_of,
    width_of,
)

if TYPE_CHECKING:
    from ..space import Space

_RELU = "relu"


class Shortcut(nn.Sequential):
    """The way past a branch in the fabric: convolution, batch norm, ReLU.

    Args:
        in_width: Width of the input.
        width: Width of the output.
        stride: 1: the kernel is 1x1; 2: it is 3x3.
    """

    def __init__(self, in_width: int, width: int, stride: int) -> None:
        super().__init__()
        kernel = 3 if stride == 2 else 1
        self.conv = nn.Conv2d(in_width, width, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.activation = nn.ReLU()


class Adaptor(nn.Sequential):
    """From the stem to the resolution of the first layer; also where that is the stem's.

    A depthwise convolution of kernel and stride 2^(3 - r) (missing rows and columns count as
    zeros), 1x1 convolution, batch norm.
    """

    def __init__(self, channels: int, resolution: int) -> None:
        super().__init__()
        width = inner_width(channels, resolution)
        self.reduce = _Patches(channels, 1 << (HIGHEST - resolution))
        self.conv = nn.Conv2d(channels, width, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)


class _Patches(nn.Conv2d):
    """Depthwise convolution of patches that do not overlap; the side is divided upwards."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__(channels, channels, side, side, groups=channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        side = self.kernel_size[0]
        right, bottom = -x.shape[-1] % side, -x.shape[-2] % side
        return super().forward(F.pad(x, (0, right, 0, bottom)) if right or bottom else x)


class EitherEntry(Mutable):
    """The two entries of an operator of the fabric: from its own resolution, from the next higher.

    Which one runs follows from the operator before, so that the side of the image does not matter.

    Args:
        previous: The choice of the layer before.
        same: For inputs of the operator's own resolution.
        above: For inputs of twice the side; None: the block has no such operator.
        resolution: Of the operator.
    """

    def __init__(self, previous: Choice, same: Entry, above: Entry | None, resolution: int) -> None:
        super().__init__()
        self.previous, self.same, self.above = previous, same, above
        higher = () if above is None else codes_at(resolution + 1)
        self._same = tuple(c for c in previous.options if c in codes_at(resolution))
        self._above = tuple(c for c in previous.options if c in higher)

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The choice of the layer before."""
        return (self.previous,)

    @property
    def active(self) -> Entry:
        """The entry that runs.

        Raises:
            InvalidArchitecture: If the layer before has an operator that this one cannot follow.
        """
        if self.previous.active in self._same:
            return self.same
        if self.above is not None and self.previous.active in self._above:
            return self.above
        raise InvalidArchitecture(
            "an operator follows one of its own resolution or of the next higher one, as far as "
            f"its block goes; {self.previous.name} must be one of {(*self._above, *self._same)}, "
            f"got {self.previous.active!r}"
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `Entry` does."""
        entered: tuple[Tensor, Tensor] = self.active(x)
        return entered

    def branches(self) -> Iterator[tuple[nn.Module, Context]]:
        """Yield each entry with the operators before that lead to it."""
        yield self.same, {self.previous: self._same}
        if self.above is not None:
            yield self.above, {self.previous: self._above}

    def cut(self, inherit: bool) -> nn.Module:
        """Return the entry that runs."""
        return self.active


class FirstEntry(Mutable):
    """The entries of an operator of the first layer, which always reads an adaptor.

    The entry from above is built as in every other layer, as the original does; nothing reaches it.
    """

    def __init__(self, own: Choice, same: Entry, above: Entry) -> None:
        super().__init__()
        self._own, self.same, self.above = own, same, above

    @property
    def choices(self) -> tuple[Choice, ...]:
        """None of its own."""
        return ()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `Entry` does."""
        entered: tuple[Tensor, Tensor] = self.same(x)
        return entered

    def branches(self) -> Iterator[tuple[nn.Module, Context]]:
        """Yield the entry that runs, and that which no operator reaches."""
        yield self.same, {}
        yield self.above, {self._own: ()}

    def cut(self, inherit: bool) -> nn.Module:
        """Return the entry that runs."""
        return self.same


class FabricLayer(Mutable):
    """A layer of the fabric: one of its operators.

    Args:
        choice: Of the operator code.
        operators: Code -> operator.
        adaptors: Resolution -> what leads there from the stem, in the first layer.
    """

    def __init__(
        self,
        choice: Choice,
        operators: Mapping[int, nn.Module],
        adaptors: Mapping[int, nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.choice = choice
        self.operators = nn.ModuleDict({str(code): op for code, op in operators.items()})
        self.adaptors = nn.ModuleDict({str(r): op for r, op in (adaptors or {}).items()})

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The choice of the operator."""
        return (self.choice,)

    @property
    def active(self) -> list[nn.Module]:
        """What runs, one after the other."""
        code = self.choice.value
        operator = self.operators[str(code)]
        return [self.adaptors[str(resolution_of(code))], operator] if self.adaptors else [operator]

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the active operator.

        Raises:
            SpecError: When each sample runs a network of its own: their maps differ in size.
        """
        if self.together:
            raise SpecError(
                "the paths of a fabric have maps of different sizes, so that they cannot run "
                "together in one batch; activate one architecture at a time"
            )
        for layer in self.active:
            x = layer(x)
        return x

    def branches(self) -> Iterator[tuple[nn.Module, Context]]:
        """Yield each operator with its code, each adaptor with those of its resolution."""
        for resolution, adaptor in self.adaptors.items():
            yield adaptor, {self.choice: codes_at(int(resolution))}
        for code, operator in self.operators.items():
            yield operator, {self.choice: (int(code),)}

    def cut(self, inherit: bool) -> nn.Module:
        """Return the active operator, behind its adaptor if there is one."""
        layers = self.active
        return nn.Sequential(*layers) if self.adaptors else layers[0]


class AnyHead(Mutable):
    """A classifier for each resolution at which a path may end."""

    def __init__(self, last: Choice, heads: Mapping[int, nn.Module]) -> None:
        super().__init__()
        self.last = last
        self.heads = nn.ModuleDict({str(r): head for r, head in heads.items()})

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The choice of the last layer."""
        return (self.last,)

    @property
    def active(self) -> nn.Module:
        """The head that runs."""
        return self.heads[str(resolution_of(self.last.value))]

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, classes)."""
        logits: Tensor = self.active(x)
        return logits

    def branches(self) -> Iterator[tuple[nn.Module, Context]]:
        """Yield each head with the operators that end at its resolution."""
        for resolution, head in self.heads.items():
            yield head, {self.last: codes_at(int(resolution))}

    def cut(self, inherit: bool) -> nn.Module:
        """Return the head that runs."""
        return self.active


class Fabric(nn.Module):
    """Stem, blocks of layers, and a classifier if wanted.

    Args:
        stem: The arguments of `Stem` but for the activation.
        blocks: For each block its layers, all of them operator codes or all of them choices.
        classes: Number of outputs; None: the output is the last map.
        scales: The highest resolution of each block; an operator below it can halve the side.
    """

    def __init__(
        self,
        stem: tuple[int, int, int, bool],
        blocks: Sequence[Sequence[Choice | int]],
        classes: int | None,
        scales: Sequence[int],
    ) -> None:
        super().__init__()
        channels = stem[1]
        self.stem = Stem(*stem, _RELU)
        previous: Choice | int | None = None
        made = []
        for block, scale in zip(blocks, scales, strict=True):
            layers = []
            for own in block:
                layers.append(_layer(own, previous, channels, scale))
                previous = own
            made.append(nn.Sequential(*layers))
        assert previous is not None
        self.blocks = nn.ModuleList(made)
        self.head = nn.Identity() if classes is None else _head(previous, channels, classes)
        silence(self)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, classes); without a classifier, the map of the last layer."""
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        output: Tensor = self.head(x)
        return output


class HytraSupernet(ModuleSupernet):
    """The fabric with all operators, whose blocks also run one by one."""

    def __init__(self, space: Space, module: Fabric, names: Sequence[Sequence[str]]) -> None:
        super().__init__(space, module)
        self._names = [list(block) for block in names]

    @property
    def blocks(self) -> list[nn.Module]:
        """The blocks; the stem is not part of the first."""
        return list(cast(Fabric, self.module).blocks)

    def run_block(self, number: int, x: Tensor, path: Sequence[int]) -> Tensor:
        """Run one block on a path of its own; the paths of the blocks before stay active.

        Args:
            number: From 0. The first block begins with the stem.
            x: (N, in, H, W): images for the first block, for others the output of the one before.
            path: An operator code for each of its layers.

        Returns:
            The map of its last layer, (N, C, H', W').

        Raises:
            SpecError: If there is no such block, or the path has another length.
            InvalidArchitecture: If a code is no operator of its layer, or cannot follow the one
                before, in the block before too.
        """
        if not 0 <= number < len(self._names):
            raise SpecError(f"the blocks are 0 to {len(self._names) - 1}, got {number}")
        names = self._names[number]
        if len(path) != len(names):
            raise SpecError(f"block {number} has {len(names)} layers, got the path {list(path)}")
        self.select(dict(zip(names, path, strict=True)))
        fabric = cast(Fabric, self.module)
        y: Tensor = fabric.blocks[number](x if number else fabric.stem(x))
        return y


def _layer(
    own: Choice | int, previous: Choice | int | None, channels: int, scale: int
) -> nn.Module:
    """Return a layer; where everything is decided, of the one operator that runs."""
    if isinstance(own, int):
        operator = _operator(own, own, previous, channels, scale)
        if previous is not None:
            return operator
        return nn.Sequential(Adaptor(channels, resolution_of(own)), operator)
    operators = {
        code: _operator(code, own, previous, channels, scale) for code in codes_up_to(scale)
    }
    if previous is not None:
        return FabricLayer(own, operators)
    # the original has the adaptors to all resolutions, whatever the first layer may be
    return FabricLayer(own, operators, {r: Adaptor(channels, r) for r in range(HIGHEST + 1)})


def _operator(
    code: int, own: Choice | int, previous: Choice | int | None, channels: int, scale: int
) -> Operator:
    resolution = resolution_of(code)
    entry = _entrance(resolution, own, previous, channels, scale)
    kind = ATTENTION if is_attention(code) else CONVOLUTION
    branch = Branch(kind, width_of(channels, resolution), heads_of(resolution), _RELU)
    return Operator(entry, branch, _RELU)


def _entrance(
    resolution: int, own: Choice | int, previous: Choice | int | None, channels: int, scale: int
) -> nn.Module:
    """Return the entry of an operator; where layers are choices, both."""
    width = width_of(channels, resolution)
    reads = inner_width(channels, resolution) if previous is None else width
    if isinstance(own, int):
        if isinstance(previous, int) and resolution_of(previous) > resolution:
            return _entry(width_of(channels, resolution + 1), width, 2)
        return _entry(reads, width, 1)
    same, above = _entry(reads, width, 1), None
    if resolution < scale:
        above = _entry(width_of(channels, resolution + 1), width, 2)
    if isinstance(previous, Choice):
        return EitherEntry(previous, same, above, resolution)
    return same if above is None else FirstEntry(own, same, above)


def _entry(in_width: int, width: int, stride: int) -> Entry:
    plain = stride == 1 and in_width == width
    shortcut = nn.Identity() if plain else Shortcut(in_width, width, stride)
    return Entry(Projection(in_width, width // 4, stride), shortcut)


def _head(last: Choice | int, channels: int, classes: int) -> nn.Module:
    if isinstance(last, int):
        return Head(width_of(channels, resolution_of(last)), classes)
    ends = sorted({resolution_of(code) for code in last.values})
    return AnyHead(last, {r: Head(width_of(channels, r), classes) for r in ends})
