"""Two folders, of images and of the masks that go with them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import AfterValidator

from ...errors import SpecError
from .dataset import DataSet, Split, Splits, hold_out, three_ways
from .files import absolute_path, content_digest, present, split_folders
from .images import SUFFIXES, Fit, open_image
from .labels import ABSENT, IGNORED, SEGMENTATION, Array, collate

_MASKS = (".bmp", ".png", ".pgm", ".tif", ".tiff")  # what is stored without a loss


class MaskFolder(DataSet):
    """`root/images/*.jpg` and `root/masks/*.png`, or such folders in `root/train`, `root/test`, ...

    An image and its mask have one name but for the ending, also in subfolders, and one size. A
    mask is a grey image or one with a palette, whose numbers (not its colours) are the classes;
    255 is not known. Images are scaled so that the longer side fits, put in the middle of a square
    and kept in memory as bytes; what is around them is not known.

    Args:
        root: The folder; with `train` and `test`, and perhaps `valid`, in it, these are the splits.
        classes: Number of classes, the background among them: masks hold 0 to one less.
        resolution: Side of the images after scaling.
        in_channels: 3 (colour) or 1 (grey).
        zero_unknown: Whether 0 in a file says that a pixel is not known, and the classes are the
            numbers from 1 on (as in ADE20K's files).
        valid: Share of the validation split, where there is no such folder.
        test: Share of the test split, where there is no such folder.
        split_seed: Decides which image goes where; not the trial's seed.
    """

    name: ClassVar[str] = "mask_folder"
    tasks = (SEGMENTATION,)
    classes: int

    def __init__(
        self,
        *,
        root: Annotated[str, AfterValidator(absolute_path)],
        classes: int,
        resolution: int = 128,
        in_channels: Literal[1, 3] = 3,
        zero_unknown: bool = False,
        valid: float = 0.2,
        test: float = 0.2,
        split_seed: int = 0,
    ) -> None:
        if resolution < 1:
            raise SpecError(f"mask_folder: resolution must be at least 1, got {resolution}")
        if not 2 <= classes <= IGNORED:
            raise SpecError(f"mask_folder: classes must be 2 to {IGNORED}, got {classes}")
        self.root, self.classes = absolute_path(root), classes
        self.resolution, self.in_channels = resolution, in_channels
        self.zero_unknown, self.valid, self.test = zero_unknown, valid, test
        self.split_seed = split_seed

    @property
    def task_classes(self) -> dict[str, int]:
        """The classes of the masks; the background is one of them."""
        return {SEGMENTATION: self.classes}

    def identity(self) -> dict[str, Any]:
        """The files' names and contents count, not the folder's place."""
        options = {k: v for k, v in super().identity().items() if k != "root"}
        root = Path(self.root)
        files = [f for part in self._parts if part for pair in _pairs(part) for f in pair]
        return {
            **options,
            "files": content_digest((f.relative_to(root).as_posix(), f) for f in files),
        }

    def load(self) -> Splits:
        """Read every image and mask, and cut the splits that have no folder of their own."""
        folder, valid, test = self._parts
        train, seed = self._read(folder), self.split_seed
        if test is None:
            return three_ways(train, valid=self.valid, test=self.test, seed=seed, stratify=False)
        if valid is None:
            return hold_out(train, self._read(test), valid=self.valid, seed=seed, stratify=False)
        return Splits(train, self._read(valid), self._read(test))

    @property
    def _parts(self) -> tuple[Path, Path | None, Path | None]:
        remedy = "put images and masks there, or name another by the option root"
        return split_folders(self.root, label=self.name, remedy=remedy)

    def _read(self, folder: Path) -> Split:
        mode, images = "RGB" if self.in_channels == 3 else "L", []
        labels: list[dict[str, Array]] = []
        for image_file, mask_file in _pairs(folder):
            image = open_image(image_file, mode, label="mask_folder")
            mask = self._mask(mask_file)
            if mask.shape != (image.height, image.width):
                raise SpecError(
                    f"data set mask_folder: {mask_file} must have the size of {image_file}, "
                    f"{image.width}x{image.height}, got {mask.shape[1]}x{mask.shape[0]}"
                )
            fit = Fit(image.width, image.height, self.resolution)
            images.append(fit.image(image))
            labels.append({SEGMENTATION: fit.mask(mask)})
        said = collate(labels, tasks=self.tasks, side=self.resolution)
        return Split(np.stack(images), np.full(len(images), ABSENT), said)

    def _mask(self, file: Path) -> Array:
        image = open_image(file, None, label="mask_folder")
        if image.mode not in ("1", "L", "P", "I", "I;16"):
            raise SpecError(
                f"data set mask_folder: {file} must be a grey image or one with a palette, got "
                f"the mode {image.mode}; store the number of each pixel's class"
            )
        stored = np.asarray(image).astype(np.int64)
        mask = stored
        if self.zero_unknown:
            mask = np.where((stored == 0) | (stored == IGNORED), IGNORED, stored - 1)
        wrong = (mask != IGNORED) & ((mask < 0) | (mask >= self.classes))
        if wrong.any():
            first = int(self.zero_unknown)
            raise SpecError(
                f"data set mask_folder: {file} must hold {first} to {self.classes - 1 + first}, or "
                f"{IGNORED} where not known, got {int(stored[wrong][0])}; raise the option classes"
            )
        return mask


def _pairs(folder: Path) -> list[tuple[Path, Path]]:
    """Return images with their masks; the file system's order does not matter."""
    images, masks = (
        _by_stem(folder / name, suffixes)
        for name, suffixes in (("images", SUFFIXES), ("masks", _MASKS))
    )
    for have, lack, what in ((images, masks, "mask"), (masks, images, "image")):
        if alone := sorted(set(have) - set(lack)):
            raise SpecError(
                f"data set mask_folder: every image needs a mask of its name, and the other way "
                f"round; {len(alone)} in {folder} have no {what}, {alone[0]} among them"
            )
    return [(images[stem], masks[stem]) for stem in sorted(images)]


def _by_stem(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    remedy = "put the files there, or name another root"
    present(folder, what="data set mask_folder: the folder", remedy=remedy, folder=True)
    files: dict[str, Path] = {}
    for file in sorted(f for f in folder.rglob("*") if f.suffix.lower() in suffixes):
        stem = file.relative_to(folder).with_suffix("").as_posix()
        if stem in files:
            raise SpecError(
                f"data set mask_folder: names in {folder} must differ in more than their ending, "
                f"got {files[stem].name} and {file.name}"
            )
        files[stem] = file
    if not files:
        raise SpecError(f"data set mask_folder: {folder} must hold {' '.join(suffixes)}, has none")
    return files
