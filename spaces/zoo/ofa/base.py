"""What the spaces of Once-for-All share: options, the input side, reading and building."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from ....errors import SpecError
from ...arguments import with_preset
from ...decision import Architecture, Decision
from ...space import Space
from ..checks import at_least
from .encoding import SlotEncoding
from .notation import read_lists
from .rules import multiple_of_4, positive

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ...layers import ModuleSupernet

RESOLUTION = "resolution"
SIDES = list(range(128, 225, 4))  # 25 resolutions
Derive: TypeAlias = Callable[..., Any]  # (function, numbers or choices) -> a number, or a size


class OfaSpace(Space):
    """Networks of one elastic super-network.

    Args:
        preset: `full` or `tiny`; sets the options left out.
        width: Multiplier of all channel counts, which are rounded to multiples of 8.
        classes: Number of outputs.
        resolution: Side of the images of the data; the only input side unless `resolutions` lists
            others.
        resolutions: Input sides to draw from, rising.
        in_channels: Channels of the image.
        stem_stride: Of the first convolution; 1 suits small images.
        strides: Of the first block of each stage; None: those of the literature.
        dropout: Before the classifier, in training (the published networks: 0.1).
    """

    lengths: ClassVar[Mapping[str, int]]  # of the lists of the notation
    usual_strides: ClassVar[tuple[int, ...]]

    def __init__(
        self,
        *,
        preset: str = "full",
        width: float | None = None,
        classes: int | None = None,
        resolution: int | None = None,
        resolutions: Sequence[int] | None = None,
        in_channels: int = 3,
        stem_stride: int | None = None,
        strides: Sequence[int] | None = None,
        dropout: float = 0.0,
    ) -> None:
        own = {"preset": preset, "width": width, "classes": classes, "stem_stride": stem_stride}
        o = with_preset(self.name, {**own, "resolutions": None}, self.presets)
        self._width, self._stem_stride, self._classes = o["width"], o["stem_stride"], o["classes"]
        self._in_channels, self._dropout = in_channels, dropout
        self._strides: Sequence[int] = self.usual_strides if strides is None else strides
        self._check()
        if resolution is not None:
            at_least(1, resolution=resolution)
        if resolutions is None:
            resolutions = o["resolutions"] if resolution is None else [resolution]
        super().__init__([_side(resolutions), *self._choices()])

    def _check(self) -> None:
        at_least(
            1,
            classes=self._classes,
            in_channels=self._in_channels,
            stem_stride=self._stem_stride,
        )
        stages, strides = len(self.usual_strides), self._strides
        if not isinstance(strides, Sequence) or len(strides) != stages:
            raise SpecError(
                f"strides must list {stages} integers, one for each stage; got {strides!r}"
            )
        at_least(1, **{f"strides[{i}]": stride for i, stride in enumerate(strides)})
        if not positive(self._width) or self._width > 100:
            raise SpecError(f"width must be a number above 0, up to 100; got {self._width!r}")
        if self._dropout != 0 and not (positive(self._dropout) and self._dropout < 1):
            raise SpecError(f"dropout must be a number from 0 to below 1, got {self._dropout!r}")

    @cached_property
    def options(self) -> dict[str, Any]:
        """The options, with the input sides that are drawn from."""
        options = super().options
        sides = list(self.decisions[0].options)
        return {**options, "resolutions": sides} if "resolutions" in options else options

    # ---------------------------------------------------------------- what a family defines
    @abstractmethod
    def _choices(self) -> list[Decision]:
        """Return the decisions but for the input side."""

    @abstractmethod
    def _read(self, lists: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
        """Return decision -> option, with those of unused slots."""

    @abstractmethod
    def _network(self, chosen: Mapping[str, Any], derive: Derive) -> nn.Module:
        """Return the network of numbers, or of `Choice`s by the name of their decision."""

    # ---------------------------------------------------------------- networks
    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network, freshly initialised."""
        return self._network(architecture, lambda function, *numbers: function(*numbers))

    def supernet(self) -> ModuleSupernet:
        """Return the elastic super-network of the listed options.

        Smaller kernels are learned transforms of the centre of larger ones; smaller widths are the
        first channels, smaller depths the first blocks. The input side is the caller's to follow.
        """
        from ...layers import Choice, Derived, ModuleSupernet

        chosen = {decision.name: Choice.of(decision) for decision in self.decisions}
        return ModuleSupernet(self, self._network(chosen, Derived))

    def example_input(self, architecture: Architecture) -> Tensor:
        """Return zeros of batch size 1 with the side of the architecture."""
        import torch

        side = int(architecture[RESOLUTION])  # type: ignore[arg-type]
        return torch.zeros(1, self._in_channels, side, side)

    # ---------------------------------------------------------------- notation, encoding
    def parse_object(self, value: Mapping[str, Any]) -> Architecture:
        """Read the notation, or decision -> option.

        Unused slots may hold anything. A side is needed where there are several to choose from.
        """
        if value.keys() & self._position.keys():
            return self.architecture(value)
        lists, side = read_lists(self, value, self.lengths)
        if side is None:
            sides = self.decisions[0].options
            if len(sides) > 1:
                raise self.unreadable(value, f'the input side is missing; add "r": {sides[-1]}')
            side = sides[0]
        return self.architecture({RESOLUTION: side, **self._read(lists)})

    @cached_property
    def encoding(self) -> SlotEncoding:
        """The layout of the vectors of `encode`: the package form (see `package_encoding`)."""
        return self.package_encoding()

    @abstractmethod
    def package_encoding(self, resolutions: Sequence[int] | None = None) -> SlotEncoding:
        """Return the encoding of the reference's predictors: one 0/1 entry per option.

        Args:
            resolutions: The input sides with an entry; None: those of the space.
        """

    def decode(self, vector: Sequence[float]) -> Architecture:
        """Return the architecture of a vector that `encode` made of listed options.

        Raises:
            InvalidArchitecture: If it is none.
        """
        return self.encoding.decode(vector)


def _side(sides: Any) -> Decision:
    if isinstance(sides, str) or not isinstance(sides, Sequence):
        raise SpecError(f"resolutions must be a list of integers, got {sides!r}")
    at_least(1, **{f"resolutions[{i}]": side for i, side in enumerate(sides)})
    if not sides or list(sides) != sorted(set(sides)):
        raise SpecError(f"resolutions must rise and not be empty, got {list(sides)}")
    return Decision(RESOLUTION, tuple(sides), ordered=True, accepts=multiple_of_4)


def strided(side: int, stride: int) -> int:
    """Return the side behind a padded layer of a stride."""
    return (side - 1) // stride + 1
