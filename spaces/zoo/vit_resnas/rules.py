"""What the options of ViT-ResNAS may be, and the sizes of its networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ....errors import SpecError
from ...networks.vit_resnas_plan import fits
from ..checks import LARGEST, LONGEST, at_least, listed, probability, true_or_false

LISTS = ("embed_dims", "heads", "mlps")  # a list of options for each stage


@dataclass(frozen=True)
class StagePlaces:
    """The places for the blocks of a stage.

    Args:
        number: Of the stage, from 1.
        layers: How many there are.
        removable: Those that may be empty, from 1.
    """

    number: int
    layers: int
    removable: tuple[int, ...]

    @property
    def names(self) -> list[str]:
        """The name of each block."""
        return [f"stage{self.number}.block{place}" for place in range(1, self.layers + 1)]

    def needed(self, place: int) -> list[str]:
        """Return the blocks that must be there for that of a place, itself last."""
        first = place
        while first in self.removable and first - 1 in self.removable:
            first -= 1
        return self.names[first - 1 : place]

    def placed(self, listed: Sequence[dict[str, Any] | None]) -> list[dict[str, Any] | None]:
        """Return the block of each place, None where there is none.

        Args:
            listed: As many as there are places; or fewer, those that are there then leave the
                last removable places empty.
        """
        if len(listed) == self.layers:
            return list(listed)
        blocks = [sizes for sizes in listed if sizes is not None]
        places = range(self.layers, 0, -1)
        order = sorted(places, key=lambda place: place not in self.removable)
        empty = set(order[: self.layers - len(blocks)])
        rest = iter(blocks)
        return [None if p in empty else next(rest) for p in range(1, self.layers + 1)]


@dataclass(frozen=True)
class Fits:
    """The rule for stems, also such that `sample` does not draw.

    Args:
        patch: Side of a patch.
    """

    patch: int

    def __call__(self, value: Any) -> bool:
        """Return whether `value` names a stem that makes such patches."""
        return fits(value, self.patch)


def zero_or_one(value: Any) -> bool:
    """Return whether `value` says that a block is there, or is not."""
    return not isinstance(value, bool) and value in (0, 1)


def check(o: Mapping[str, Any]) -> None:
    """Check the options.

    Raises:
        SpecError: If one is not what it must be, by its name.
    """
    at_least(1, **{key: o[key] for key in ("patch", "classes", "resolution", "in_channels")})
    listed(**{key: o[key] for key in ("layers", "head_dims", "removable", *LISTS)})
    stages = len(o["layers"])
    at_least(1, stages=stages)
    for key in (*LISTS, "head_dims", "removable"):
        if len(o[key]) != stages:
            raise SpecError(
                f"{key} needs an entry for each of the {stages} stages (option layers), got "
                f"{o[key]}"
            )
    for key, most in (("layers", LONGEST), ("head_dims", LARGEST)):
        at_least(1, most, **{f"{key}[{i}]": value for i, value in enumerate(o[key])})
    listed(**{f"removable[{i}]": places for i, places in enumerate(o["removable"])})
    for key in LISTS:
        listed(**{f"{key}[{i}]": options for i, options in enumerate(o[key])})
        for i, options in enumerate(o[key]):
            at_least(1, **{f"{key}[{i}][{j}]": value for j, value in enumerate(options)})
    _check_stages(o)
    _check_image(o)
    probability(drop_path=o["drop_path"])
    true_or_false(patch_head=o["patch_head"])


def _check_stages(o: Mapping[str, Any]) -> None:
    for i, (layers, places) in enumerate(zip(o["layers"], o["removable"], strict=True)):
        if len(set(places)) < len(places) or not set(places) <= set(range(1, layers + 1)):
            raise SpecError(
                f"removable[{i}] must list places from 1 to {layers}, each once; got {places}"
            )
    for before, after in pairwise(o["embed_dims"]):
        if before and after and max(before) > min(after):
            raise SpecError(
                "embed_dims: no width of a stage may be smaller than one of the stage before; "
                f"got {before}, then {after}"
            )


def _check_image(o: Mapping[str, Any]) -> None:
    patch, resolution, stem = o["patch"], o["resolution"], o["stem"]
    if not fits(stem, patch):
        raise SpecError(
            f"stem must be conv_stem_mid and a width (with an even patch), or linear_patch{patch}; "
            f"got {stem!r} with patch {patch}"
        )
    step = patch * 2 ** (len(o["layers"]) - 1)
    if resolution % step:
        raise SpecError(
            f"resolution must be a multiple of {step} (patch {patch}, halved by each of the "
            f"{len(o['layers']) - 1} reductions), got {resolution}; choose another patch or "
            f"resolution"
        )
