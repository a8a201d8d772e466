"""Folders of images and masks."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from netloom.errors import EvaluationError, MissingDependency, SpecError
from netloom.estimators import DATASETS
from netloom.estimators.data.labels import IGNORED
from netloom.estimators.data.mask_folder import MaskFolder
from netloom.estimators.testing import DataSetContract


def written(root, count=10, *, seed=0, size=(8, 12)):
    """Write noise and masks of three classes; 255 in the corner."""
    rng = np.random.default_rng(seed)
    for name in ("images", "masks"):
        (root / name / "sub").mkdir(parents=True)
    for i in range(count):
        pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "images" / "sub" / f"{i}.bmp")
        mask = rng.integers(0, 3, size, dtype=np.uint8)
        mask[0, 0] = 255
        store(mask, root / "masks" / "sub" / f"{i}.png")
    return root


def store(mask, file, palette=False):
    image = Image.fromarray(mask)
    if palette:
        image = image.convert("L")
        image.putpalette(list(range(255, -1, -1)) * 3)
    image.save(file)


def read(file):
    with Image.open(file) as image:
        return np.array(image)


class TestMaskFolder(DataSetContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.root = str(written(tmp_path / "one"))
        self.other = str(written(tmp_path / "two", seed=1))

    def make(self):
        return MaskFolder(root=self.root, classes=3, resolution=12)

    def variants(self):
        other = [{"root": self.other}, {"classes": 4}, {"resolution": 16}, {"in_channels": 1}]
        other += [{"split_seed": 1}, {"valid": 0.1}]
        same = {"root": self.root, "classes": 3, "resolution": 12}
        return [MaskFolder(**{**same, **o}) for o in other]


def test_masks_go_where_their_images_go(tmp_path):
    """8 x 12 pixels in the middle of 12 x 12: two rows above, two below."""
    root = written(tmp_path / "a")
    data = DATASETS.get("mask_folder")(root=str(root), classes=3, resolution=12)
    assert data.space_options["classes"] == 3
    assert data.task_classes == {"segmentation": 3}
    part = data._read(root)
    for i, (x, mask) in enumerate(zip(part.x, part.labels["segmentation"], strict=True)):
        image, stored = (
            read(root / name / "sub" / f"{i}{end}")
            for name, end in (("images", ".bmp"), ("masks", ".png"))
        )
        assert np.array_equal(x[:, 2:10], image.transpose(2, 0, 1))
        assert np.array_equal(mask[2:10], stored)
        assert (mask[[0, 1, 10, 11]] == IGNORED).all()
        assert mask[2, 0] == IGNORED


def test_the_numbers_of_a_palette_count_and_not_its_colours(tmp_path):
    root = written(tmp_path / "a")
    before = MaskFolder(root=str(root), classes=3, resolution=12)._read(root)
    for file in (root / "masks" / "sub").iterdir():
        store(read(file), file, palette=True)
        with Image.open(file) as image:
            assert image.mode == "P"
    after = MaskFolder(root=str(root), classes=3, resolution=12)._read(root)
    assert np.array_equal(before.labels["segmentation"], after.labels["segmentation"])


def test_enlarged_masks_hold_no_other_numbers(tmp_path):
    root = written(tmp_path / "a")
    part = MaskFolder(root=str(root), classes=3, resolution=31)._read(root)
    assert set(np.unique(part.labels["segmentation"])) == {0, 1, 2, IGNORED}


def test_zero_may_say_that_a_pixel_is_not_known(tmp_path):
    root = written(tmp_path / "a")
    plain = MaskFolder(root=str(root), classes=3, resolution=12)._read(root)
    other = MaskFolder(root=str(root), classes=2, resolution=12, zero_unknown=True)._read(root)
    a, b = plain.labels["segmentation"], other.labels["segmentation"]
    unknown = (a == 0) | (a == IGNORED)
    assert np.array_equal(b == IGNORED, unknown)
    assert np.array_equal(b[~unknown], a[~unknown] - 1)


def test_splits_that_have_a_folder_are_kept(tmp_path):
    for i, (name, count) in enumerate((("train", 8), ("test", 3), ("val", 2))):
        written(tmp_path / name, count, seed=i)
    splits = MaskFolder(root=str(tmp_path), classes=3, resolution=12).splits()
    assert [len(s) for s in (splits.train, splits.valid, splits.test)] == [8, 2, 3]


def _without_mask(root):
    (root / "masks" / "sub" / "3.png").unlink()


def _without_image(root):
    (root / "images" / "sub" / "3.bmp").unlink()


def _twice(root):
    Image.new("RGB", (12, 8)).save(root / "images" / "sub" / "3.png")


def _other_size(root):
    store(np.zeros((12, 8), np.uint8), root / "masks" / "sub" / "3.png")


def _other_class(root):
    store(np.full((8, 12), 7, np.uint8), root / "masks" / "sub" / "3.png")


def _colours(root):
    Image.new("RGB", (12, 8)).save(root / "masks" / "sub" / "3.png")


def _no_masks(root):
    for file in (root / "masks" / "sub").iterdir():
        file.unlink()


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (_without_mask, "1 in .* have no mask, sub/3 among them"),
        (_without_image, "1 in .* have no image, sub/3 among them"),
        (_twice, "differ in more than their ending, got 3.bmp and 3.png"),
        (_other_size, "size of .*3.bmp, 12x8, got 8x12"),
        (_other_class, "must hold 0 to 2, or 255 where not known, got 7"),
        (_colours, "grey image or one with a palette, got the mode RGB"),
        (_no_masks, "must hold .bmp .png .* has none"),
    ],
)
def test_folders_with_a_mistake_are_refused(tmp_path, spoil, rule):
    root = written(tmp_path / "a")
    spoil(root)
    with pytest.raises(SpecError, match=rule):
        MaskFolder(root=str(root), classes=3).splits()


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(MissingDependency, match="the folder is not at"):
        MaskFolder(root=str(tmp_path / "no"), classes=3).splits()
    (tmp_path / "images").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "images" / "a.png")
    with pytest.raises(MissingDependency, match="masks"):
        MaskFolder(root=str(tmp_path), classes=3).splits()
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "a.png").write_bytes(b"no image")
    with pytest.raises(EvaluationError, match="must be an image"):
        MaskFolder(root=str(tmp_path), classes=3).splits()
    (tmp_path / "train").mkdir()
    with pytest.raises(SpecError, match=r"beside .*train there must be"):
        MaskFolder(root=str(tmp_path), classes=3).splits()


@pytest.mark.parametrize(
    ("options", "rule"),
    [({"classes": 1}, "classes must be 2 to 255, got 1"), ({"classes": 256}, "got 256")],
)
def test_options_that_make_no_sense_are_refused(tmp_path, options, rule):
    with pytest.raises(SpecError, match=rule):
        MaskFolder(root=str(tmp_path), **options)
