"""A folder of images with one subfolder per class."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from PIL import Image
from pydantic import AfterValidator

from ...errors import SpecError
from .dataset import Array, DataSet, Split, Splits, hold_out, three_ways
from .files import absolute_path, content_digest, split_folders
from .images import SUFFIXES, open_image, planes


class ImageFolder(DataSet):
    """`root/CLASS/*.png`, or `root/train/CLASS`, `root/test/CLASS` and perhaps `root/valid/CLASS`.

    Images are scaled so that the shorter side fits, cut to the centre square and kept in memory
    as bytes: n x channels x resolution^2 of them.

    Args:
        root: The folder.
        resolution: Side of the images after scaling.
        in_channels: 3 (colour) or 1 (grey).
        valid: Share of the validation split, where there is no such folder.
        test: Share of the test split, where there is no such folder.
        split_seed: Decides which image goes where; not the trial's seed.
    """

    name: ClassVar[str] = "image_folder"

    def __init__(
        self,
        *,
        root: Annotated[str, AfterValidator(absolute_path)],
        resolution: int = 32,
        in_channels: Literal[1, 3] = 3,
        valid: float = 0.2,
        test: float = 0.2,
        split_seed: int = 0,
    ) -> None:
        if resolution < 1:
            raise SpecError(f"image_folder: resolution must be at least 1, got {resolution}")
        self.root = absolute_path(root)
        self.resolution, self.in_channels = resolution, in_channels
        self.valid, self.test, self.split_seed = valid, test, split_seed

    @property
    def classes(self) -> int | None:  # type: ignore[override]
        """One per subfolder."""
        return len(self.class_names)

    @cached_property
    def class_names(self) -> list[str]:
        """The subfolders in alphabetical order: class 0, 1, ..."""
        folder = self._parts[0]
        names = sorted(p.name for p in folder.iterdir() if p.is_dir() and p.name[0] != ".")
        if len(names) < 2:
            raise SpecError(
                f"image_folder: there must be one subfolder per class, at least two, in {folder}; "
                f"got {', '.join(names) or 'none'}"
            )
        return names

    def identity(self) -> dict[str, Any]:
        """The files' names and contents count, not the folder's place."""
        options = {k: v for k, v in super().identity().items() if k != "root"}
        root = Path(self.root)
        parts = [p for p in self._parts if p is not None]
        files = [f for part in parts for paths in self._files(part) for f in paths]
        listing = [(f.relative_to(root).as_posix(), f) for f in files]
        return {**options, "files": content_digest(listing)}

    def load(self) -> Splits:
        """Read every image, and cut the splits that have no folder of their own."""
        folder, valid, test = self._parts
        train, seed = self._read(folder), self.split_seed
        if test is None:
            return three_ways(train, valid=self.valid, test=self.test, seed=seed, stratify=True)
        if valid is None:
            return hold_out(train, self._read(test), valid=self.valid, seed=seed, stratify=True)
        return Splits(train, self._read(valid), self._read(test))

    @property
    def _parts(self) -> tuple[Path, Path | None, Path | None]:
        remedy = "put one folder of images per class there, or name another by the option root"
        return split_folders(self.root, label=self.name, remedy=remedy)

    def _files(self, folder: Path) -> list[list[Path]]:
        """Return the images of each class; the file system's order does not matter."""
        return [
            sorted(f for f in (folder / name).rglob("*") if f.suffix.lower() in SUFFIXES)
            if (folder / name).is_dir()
            else []
            for name in self.class_names
        ]

    def _read(self, folder: Path) -> Split:
        files = self._files(folder)
        empty = [n for n, paths in zip(self.class_names, files, strict=True) if not paths]
        if empty:
            raise SpecError(
                f"image_folder: every class needs images ({' '.join(SUFFIXES)}), "
                f"{', '.join(empty)} in {folder} has none"
            )
        images = [self._image(file) for paths in files for file in paths]
        labels = [c for c, paths in enumerate(files) for _ in paths]
        return Split(np.stack(images), np.array(labels, dtype=np.int64))

    def _image(self, file: Path) -> Array:
        image = open_image(file, "RGB" if self.in_channels == 3 else "L", label="image_folder")
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
        image = image.resize((self.resolution, self.resolution), Image.Resampling.BILINEAR)
        return planes(image)
