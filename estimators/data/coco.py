"""Images with the json file of instances that COCO made common: boxes, and masks from outlines."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, Field, ValidationError

from ...errors import EvaluationError, MissingDependency, SpecError
from .dataset import DataSet, Split, Splits, hold_out, three_ways
from .files import absolute_path, content_digest, present
from .images import Fit, open_image
from .labels import (
    ABSENT,
    DETECTION,
    IGNORED,
    SEGMENTATION,
    Array,
    Found,
    Task,
    check_tasks,
    collate,
)
from .outlines import filled, from_runs, runs_of

Place = Annotated[str, AfterValidator(absolute_path)]


class _Runs(BaseModel):
    size: tuple[int, int]  # height, width
    counts: list[int] | str


class _Image(BaseModel):
    id: int
    file_name: str
    width: int = Field(ge=1)
    height: int = Field(ge=1)


class _Annotation(BaseModel):
    id: int | None = None
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]  # left, top, width, height
    segmentation: list[list[float]] | _Runs | None = None
    iscrowd: Literal[0, 1] = 0


class _Category(BaseModel):
    id: int
    name: str


class _File(BaseModel):
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


class Coco(DataSet):
    """A folder of images and a json file with `images`, `annotations` and `categories`.

    Images are scaled so that the longer side fits, put in the middle of a square and kept in
    memory as bytes. Classes are the categories in the order of their ids, whatever gaps these
    have. Boxes are cut at the borders of the image; those without an area are left out. In masks,
    0 is the background, smaller objects lie on larger ones, and crowds and what is around the
    image are not known.

    Args:
        images: The folder.
        annotations: The file.
        test_images: The folder of another set, which becomes the test split; None: a share.
        test_annotations: Its file.
        tasks: `detection`, `segmentation` or both; None: the first.
        resolution: Side of the images after scaling.
        in_channels: 3 (colour) or 1 (grey).
        unannotated: What an image without annotations is: `empty` (nothing is to be seen),
            `unknown` (nobody looked), or to `drop`.
        valid: Share of the validation split.
        test: Share of the test split, where there is no other set.
        split_seed: Decides which image goes where; not the trial's seed.

    Source: arXiv 1405.0312, and its format of instances.
    """

    name: ClassVar[str] = "coco"

    def __init__(
        self,
        *,
        images: Place,
        annotations: Place,
        test_images: Place | None = None,
        test_annotations: Place | None = None,
        tasks: list[Task] | None = None,
        resolution: int = 128,
        in_channels: Literal[1, 3] = 3,
        unannotated: Literal["empty", "unknown", "drop"] = "empty",
        valid: float = 0.1,
        test: float = 0.1,
        split_seed: int = 0,
    ) -> None:
        if resolution < 1:
            raise SpecError(f"coco: resolution must be at least 1, got {resolution}")
        if (test_images is None) != (test_annotations is None):
            raise SpecError(
                "coco: test_images and test_annotations must be given together, got "
                f"{test_images} and {test_annotations}"
            )
        self.tasks = tuple(tasks or (DETECTION,))
        check_tasks("coco", self.tasks, (DETECTION, SEGMENTATION))
        self.resolution, self.in_channels = resolution, in_channels
        self.unannotated, self.valid, self.test = unannotated, valid, test
        self.split_seed = split_seed
        self._places = [(absolute_path(images), absolute_path(annotations))]
        if test_images is not None and test_annotations is not None:
            self._places.append((absolute_path(test_images), absolute_path(test_annotations)))

    @property
    def classes(self) -> int | None:  # type: ignore[override]
        """One per category."""
        return len(self.class_names)

    @property
    def class_names(self) -> list[str]:
        """The categories in the order of their ids: class 0, 1, ..."""
        return list(self._sets[0].names.values())

    def identity(self) -> dict[str, Any]:
        """The content of the files counts, not their place."""
        listing = [
            (f"{i}/{name}", place)
            for i, one in enumerate(self._sets)
            for name, place in [("annotations", one.file), *one.places.items()]
        ]
        return {**super().identity(), "files": content_digest(listing)}

    def load(self) -> Splits:
        """Read every image, and cut the splits that there are no files of."""
        first, *others = (self._read(one) for one in self._sets)
        if not others:
            return three_ways(
                first, valid=self.valid, test=self.test, seed=self.split_seed, stratify=False
            )
        return hold_out(first, others[0], valid=self.valid, seed=self.split_seed, stratify=False)

    @cached_property
    def _sets(self) -> list[_Set]:
        sets = [_Set(Path(folder), Path(file)) for folder, file in self._places]
        for other in sets[1:]:
            if other.names != sets[0].names:
                raise SpecError(
                    f"data set coco: the categories of {other.file} must be those of "
                    f"{sets[0].file}, {sets[0].names}, got {other.names}"
                )
        return sets

    def _read(self, one: _Set) -> Split:
        mode, images, labels = "RGB" if self.in_channels == 3 else "L", [], []
        for image in one.content.images:
            found = one.of_image.get(image.id, [])
            if not found and self.unannotated == "drop":
                continue
            picture = open_image(one.places[image.file_name], mode, label="coco")
            if picture.size != (image.width, image.height):
                raise SpecError(
                    f"data set coco: {one.places[image.file_name]} must have the size that "
                    f"{one.file} says, {image.width}x{image.height}, got "
                    f"{picture.width}x{picture.height}"
                )
            fit = Fit(image.width, image.height, self.resolution)
            images.append(fit.image(picture))
            known = bool(found) or self.unannotated == "empty"
            labels.append(self._labels(one, image, fit) if known else {})
        if not images:
            raise SpecError(
                f"data set coco: {one.file} must have images with annotations, has none"
            )
        said = collate(labels, tasks=self.tasks, side=self.resolution)
        return Split(np.stack(images), np.full(len(images), ABSENT), said)

    def _labels(self, one: _Set, image: _Image, fit: Fit) -> dict[str, Any]:
        labels: dict[str, Any] = {}
        if DETECTION in self.tasks:
            labels[DETECTION] = one.boxes(image, fit)
        if SEGMENTATION in self.tasks:
            labels[SEGMENTATION] = fit.mask(one.mask(image))
        return labels


class _Set:
    """One file of annotations and its images, checked.

    Raises:
        MissingDependency: If the file or an image is not there.
        EvaluationError: If the file is not json.
        SpecError: If it is not what COCO's are.
    """

    def __init__(self, folder: Path, file: Path) -> None:
        what, remedy = "data set coco: the {}", "name another by the option {}"
        self.folder = present(
            folder, what=what.format("folder"), remedy=remedy.format("images"), folder=True
        )
        self.file = present(
            file, what=what.format("file of annotations"), remedy=remedy.format("annotations")
        )
        self.content = self._parsed()
        self.names = {c.id: c.name for c in sorted(self.content.categories, key=lambda c: c.id)}
        self.numbers = {category: number for number, category in enumerate(self.names)}
        self.of_image: dict[int, list[_Annotation]] = {}
        for annotation in self.content.annotations:
            self.of_image.setdefault(annotation.image_id, []).append(annotation)
        self._check()
        self.places = {image.file_name: self._place(image) for image in self.content.images}
        missing = [name for name, place in self.places.items() if not place.is_file()]
        if missing:
            raise MissingDependency(
                f"data set coco: all {len(self.places)} images of {file} must be in {folder}, "
                f"{len(missing)} are not, {missing[0]} among them; name another folder by the "
                "option images"
            )

    def boxes(self, image: _Image, fit: Fit) -> Found:
        """Return the boxes of an image, in the square that it is put into."""
        rows = []
        for annotation in self.of_image.get(image.id, []):
            left, top, width, height = annotation.bbox
            if width == 0 or height == 0:
                continue
            box = [max(0.0, left), max(0.0, top)]
            box += [min(image.width, left + width), min(image.height, top + height)]
            if not (box[0] < box[2] and box[1] < box[3]):
                raise self._refuse(
                    annotation,
                    f"a box must be left, top, width, height within {image.width}x{image.height} "
                    "pixels",
                    annotation.bbox,
                )
            rows.append((box, self.numbers[annotation.category_id], annotation.iscrowd == 1))
        corners = np.array([row[0] for row in rows], np.float64).reshape(-1, 4)
        numbers = np.array([row[1] for row in rows], np.int64)
        return Found(fit.boxes(corners), numbers, np.array([row[2] for row in rows], bool))

    def mask(self, image: _Image) -> Array:
        """Return the class of each pixel of an image, plus 1; (height, width)."""
        mask = np.zeros((image.height, image.width), np.uint8)
        layers = [(a, self._pixels(a, image)) for a in self.of_image.get(image.id, [])]
        # crowds below all, then the largest
        layers.sort(key=lambda layer: (layer[0].iscrowd == 0, -int(layer[1].sum())))
        for annotation, pixels in layers:
            number = self.numbers[annotation.category_id] + 1
            mask[pixels] = IGNORED if annotation.iscrowd else number
        return mask

    def _pixels(self, annotation: _Annotation, image: _Image) -> Array:
        size, shape = {"width": image.width, "height": image.height}, annotation.segmentation
        try:
            if isinstance(shape, _Runs):
                if shape.size != (image.height, image.width):
                    raise ValueError(f"its size is {shape.size}, (height, width)")
                text = isinstance(shape.counts, str)
                runs = runs_of(shape.counts) if text else shape.counts  # type: ignore[arg-type]
                return from_runs(runs, **size)  # type: ignore[arg-type]
            if not shape:
                raise ValueError("it has none")
            pixels: Array = np.logical_or.reduce([filled(outline, **size) for outline in shape])
            return pixels
        except (ValueError, OverflowError) as error:
            rule = f"segmentation must be outlines or run lengths of {image.width}x{image.height}"
            raise self._refuse(annotation, rule, error) from error

    def _parsed(self) -> _File:
        try:
            return _File.model_validate_json(self.file.read_bytes())
        except ValidationError as error:
            first = error.errors()[0]
            if first["type"] == "json_invalid":
                raise EvaluationError(
                    f"data set coco: {self.file} must be json, got {first['msg']}; fetch it again"
                ) from error
            where = ".".join(str(step) for step in first["loc"])
            raise SpecError(
                f"data set coco: {self.file} must hold images, annotations and categories as "
                f"COCO's files of instances do, got at {where}: {first['msg']}"
            ) from error

    def _check(self) -> None:
        for kind, entries in (
            ("images", self.content.images),
            ("categories", self.content.categories),
        ):
            if not entries:
                raise SpecError(f"data set coco: {self.file} must have {kind}, got none")
            twice = [i for i, n in Counter(entry.id for entry in entries).items() if n > 1]
            if twice:
                raise SpecError(
                    f"data set coco: ids of {kind} in {self.file} must differ, got "
                    f"{twice[0]} more than once"
                )
        if len(self.names) >= IGNORED:
            raise SpecError(
                f"data set coco: there must be fewer than {IGNORED} categories, got "
                f"{len(self.names)} in {self.file}"
            )
        images = {image.id for image in self.content.images}
        for annotation in self.content.annotations:
            if annotation.image_id not in images:
                raise self._refuse(
                    annotation, "image_id must be one of images", annotation.image_id
                )
            if annotation.category_id not in self.names:
                rule = f"category_id must be one of {', '.join(map(str, self.names))}"
                raise self._refuse(annotation, rule, annotation.category_id)
            if not (np.isfinite(annotation.bbox).all() and min(annotation.bbox[2:]) >= 0):
                rule = "a box must be left, top, width, height, none of the last two below 0"
                raise self._refuse(annotation, rule, annotation.bbox)

    def _place(self, image: _Image) -> Path:
        path = PurePosixPath(image.file_name)
        if path.is_absolute() or ".." in path.parts or not path.name:
            raise SpecError(
                f"data set coco: file_name must be a path within the folder of images, got "
                f"{image.file_name!r} for the image {image.id} in {self.file}"
            )
        return self.folder / path

    def _refuse(self, annotation: _Annotation, rule: str, got: object) -> SpecError:
        return SpecError(
            f"data set coco: {rule}, got {got} for the annotation {annotation.id} of the image "
            f"{annotation.image_id} in {self.file}; correct it or remove it"
        )
