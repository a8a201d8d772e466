"""COCO's json files: boxes and masks end up where they belong, and mistakes are said."""

from __future__ import annotations

import json
from copy import deepcopy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as masks

from netloom.errors import EvaluationError, MissingDependency, SpecError
from netloom.estimators import DATASETS
from netloom.estimators.data.coco import Coco
from netloom.estimators.data.labels import ABSENT, IGNORED
from netloom.estimators.data.outlines import filled, from_runs, runs_of
from netloom.estimators.testing import DataSetContract

BOTH = ["detection", "segmentation"]


def square(left, top, right, bottom):
    return [left, top, right, top, right, bottom, left, bottom]


def annotation(number, image, category, box, **more):
    left, top, right, bottom = box
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": [left, top, right - left, bottom - top],
        "segmentation": [square(*box)],
        "iscrowd": 0,
        **more,
    }


def content(images=20):
    """Images of 40 x 20 pixels with a square each; the ids of the categories have gaps."""
    return {
        "info": {"year": 2024},
        "images": [
            {"id": 100 + i, "file_name": f"a/{i}.png", "width": 40, "height": 20, "license": 1}
            for i in range(images)
        ],
        "annotations": [
            annotation(i, 100 + i, (7, 90, 3)[i % 3], (4, 2, 14, 12)) for i in range(images)
        ],
        "categories": [
            {"id": 90, "name": "toothbrush"},
            {"id": 3, "name": "car"},
            {"id": 7, "name": "train"},
        ],
    }


def written(folder, file):
    """Write a file and its images, each of noise of its own."""
    (folder / "images" / "a").mkdir(parents=True, exist_ok=True)
    for image in file["images"]:
        rng = np.random.default_rng(image["id"])
        pixels = rng.integers(0, 256, (image["height"], image["width"], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / image["file_name"])
    (folder / "instances.json").write_text(json.dumps(file))
    return {"images": str(folder / "images"), "annotations": str(folder / "instances.json")}


def loaded(folder, file, **options):
    """Return the examples in the order of the file."""
    data = Coco(**written(folder, file), **{"resolution": 40, "tasks": BOTH, **options})
    return data._read(data._sets[0])


class TestCoco(DataSetContract):
    @pytest.fixture(autouse=True)
    def _files(self, tmp_path):
        self.files = written(tmp_path / "one", content())
        other = content()
        other["annotations"][3]["bbox"][0] = 5
        self.other = written(tmp_path / "two", other)

    def make(self):
        return Coco(**self.files, resolution=16, tasks=BOTH)

    def variants(self):
        same = {"resolution": 16, "tasks": BOTH}
        return [
            Coco(**self.other, **same),
            Coco(**self.files, **same, split_seed=1),
            Coco(**self.files, **same, unannotated="drop"),
            Coco(**self.files, resolution=24, tasks=BOTH),
            Coco(**self.files, resolution=16),
            Coco(**self.files, **same, in_channels=1),
        ]


# --------------------------------------------------------------------------- where things are
def test_categories_become_classes_in_the_order_of_their_ids(tmp_path):
    data = DATASETS.get("coco")(**written(tmp_path, content()), tasks=BOTH)
    assert data.class_names == ["car", "train", "toothbrush"]
    assert data.task_classes == {"detection": 3, "segmentation": 4}
    found = loaded(tmp_path, content())
    assert found.labels["detection"].classes[:3, 0].tolist() == [1, 2, 0]
    assert found.labels["segmentation"][:3, 14, 6].tolist() == [2, 3, 1]


def test_boxes_and_masks_go_where_the_image_goes(tmp_path):
    """40 x 20 in the middle of 80 x 80: twice as large, 20 pixels down."""
    file = content(1)
    part = loaded(tmp_path, file, resolution=80)
    assert part.labels["detection"].corners[0, 0].tolist() == [8, 24, 28, 44]
    mask = part.labels["segmentation"][0]
    assert (mask[:20] == IGNORED).all()
    assert (mask[60:] == IGNORED).all()
    expected = np.zeros((40, 80))
    expected[4:24, 8:28] = 2
    assert np.array_equal(mask[20:60], expected)
    assert not part.x[0, :, :20].any()
    with Image.open(tmp_path / "images/a/0.png") as image:
        stored = np.array(image).transpose(2, 0, 1)
    assert np.array_equal(loaded(tmp_path, file).x[0][:, 10:30], stored)


def test_a_box_that_sticks_out_is_cut_and_one_without_an_area_is_left_out(tmp_path):
    file = content(2)
    file["annotations"][0]["bbox"] = [-3, 15.5, 10, 9]
    file["annotations"][1]["bbox"] = [5, 5, 0, 4]
    found = loaded(tmp_path, file, tasks=["detection"]).labels["detection"]
    assert found.corners[0, 0].tolist() == [0, 25.5, 7, 30]
    assert found.classes.tolist() == [[1], [ABSENT]]
    assert found.known.all()


def test_smaller_objects_lie_on_larger_ones_and_crowds_below_all(tmp_path):
    file = content(1)
    runs = {"size": [20, 40], "counts": [0, 20 * 20, 20 * 20]}  # the left half
    file["annotations"] = [
        annotation(1, 100, 7, (2, 2, 6, 6)),
        annotation(2, 100, 3, (0, 0, 12, 12)),
        annotation(3, 100, 3, (0, 0, 20, 20), iscrowd=1, segmentation=runs),
    ]
    part = loaded(tmp_path, file)
    mask = part.labels["segmentation"][0][10:30]
    assert mask[4, 4] == 2
    assert mask[8, 8] == 1
    assert mask[16, 16] == IGNORED
    assert mask[16, 30] == 0
    found = part.labels["detection"]
    assert found.crowd.tolist() == [[False, False, True]]
    assert found.classes.tolist() == [[1, 0, 0]]


def test_images_without_annotations(tmp_path):
    file = content(3)
    del file["annotations"][1]
    empty = loaded(tmp_path, file)
    assert empty.labels["detection"].known.tolist() == [True] * 3
    assert empty.labels["detection"].classes[1].tolist() == [ABSENT]
    assert not empty.labels["segmentation"][1, 10:30].any()
    unknown = loaded(tmp_path, file, unannotated="unknown")
    assert unknown.labels["detection"].known.tolist() == [True, False, True]
    assert (unknown.labels["segmentation"][1] == IGNORED).all()
    assert np.array_equal(loaded(tmp_path, file, unannotated="drop").x, empty.x[[0, 2]])


def test_another_set_becomes_the_test_split(tmp_path):
    train, test = written(tmp_path / "a", content()), written(tmp_path / "b", content(5))
    others = {f"test_{name}": place for name, place in test.items()}
    data = Coco(**train, **others, resolution=16, valid=0.25)
    splits = data.splits()
    assert [len(s) for s in (splits.train, splits.valid, splits.test)] == [15, 5, 5]
    other = content(5)
    other["categories"][0]["name"] = "brush"
    written(tmp_path / "b", other)
    with pytest.raises(SpecError, match=r"categories of .* must be those of"):
        Coco(**train, **others).splits()
    with pytest.raises(SpecError, match="given together"):
        Coco(**train, test_images=str(tmp_path))


# --------------------------------------------------------------------------- outlines, run lengths
def test_an_outline_holds_the_pixels_whose_centre_is_within():
    mask = filled(square(2, 1, 6, 3), width=8, height=5)
    expected = np.zeros((5, 8), bool)
    expected[1:3, 2:6] = True
    assert np.array_equal(mask, expected)
    triangle = filled([0, 0, 4, 0, 0, 4], width=4, height=4)
    assert triangle.tolist() == [[i + j + 1 < 4 for i in range(4)] for j in range(4)]
    assert filled(square(-5, -5, 50, 50), width=8, height=5).all()


def test_outlines_are_those_of_pycocotools_up_to_the_border():
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    radius = 20 + 8 * np.cos(5 * angles)
    outline = np.stack([32 + radius * np.cos(angles), 30 + radius * np.sin(angles)], 1).ravel()
    ours = filled(outline.tolist(), width=64, height=60)
    text = masks.merge(masks.frPyObjects([outline.tolist()], 60, 64))["counts"].decode()
    theirs = from_runs(runs_of(text), width=64, height=60)
    assert (ours & theirs).sum() / (ours | theirs).sum() > 0.98


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.data())
def test_run_lengths_are_those_of_pycocotools(width, height, data):
    bits = data.draw(st.lists(st.booleans(), min_size=width * height, max_size=width * height))
    mask = np.array(bits).reshape(height, width)
    text = masks.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    assert np.array_equal(from_runs(runs_of(text), width=width, height=height), mask)


def test_long_runs_and_differences_below_zero():
    mask = np.zeros((300, 500), bool)
    mask[10:250, 3:400] = True
    mask[40:60, 100:110] = False
    text = masks.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    assert np.array_equal(from_runs(runs_of(text), width=500, height=300), mask)


def test_a_file_may_hold_run_lengths_as_text(tmp_path):
    mask = np.zeros((20, 40), np.uint8, order="F")
    mask[3:9, 5:30] = 1
    runs = {"size": [20, 40], "counts": masks.encode(mask)["counts"].decode()}
    file = content(1)
    file["annotations"][0]["segmentation"] = runs
    assert np.array_equal(loaded(tmp_path, file).labels["segmentation"][0, 10:30], 2 * mask)


# --------------------------------------------------------------------------- mistakes
def change(*path, value):
    def apply(file):
        inner = file
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = value

    return apply


FIRST = ("annotations", 0)


@pytest.mark.parametrize(
    ("apply", "rule"),
    [
        (change(*FIRST, "image_id", value=5), "image_id must be one of images, got 5"),
        (change(*FIRST, "category_id", value=1), "category_id must be one of 3, 7, 90, got 1"),
        (change(*FIRST, "bbox", value=[1, 1, -2, 3]), "none of the last two below 0, got"),
        (change(*FIRST, "bbox", value=[1, 1, 3]), "at annotations.0.bbox"),
        (change(*FIRST, "bbox", value=[41, 1, 3, 3]), "within 40x20 pixels, got"),
        (change(*FIRST, "iscrowd", value=2), "at annotations.0.iscrowd"),
        (change(*FIRST, "segmentation", value=[]), "got it has none for the annotation 0"),
        (change(*FIRST, "segmentation", value=[[1, 2, 3, 4]]), "three pairs x, y, got 4 values"),
        (
            change(*FIRST, "segmentation", value={"size": [40, 20], "counts": [800]}),
            r"its size is \(40, 20\), \(height, width\)",
        ),
        (
            change(*FIRST, "segmentation", value={"size": [20, 40], "counts": [3, 4]}),
            "add up to 40 x 20 pixels, got 7",
        ),
        (
            change(*FIRST, "segmentation", value={"size": [20, 40], "counts": "~"}),
            "characters 0 to o, got '~'",
        ),
        (
            change(*FIRST, "segmentation", value={"size": [20, 40], "counts": "o" * 40}),
            "end within a number",
        ),
        (
            change(*FIRST, "segmentation", value={"size": [20, 40], "counts": [10**30]}),
            "run lengths of 40x20",
        ),
        (change("images", 1, "id", value=100), "ids of images .* got 100 more than once"),
        (change("categories", 1, "id", value=90), "ids of categories .* got 90 more than once"),
        (change("categories", value=[]), "must have categories, got none"),
        (change("images", 0, "width", value=0), "at images.0.width"),
        (change("images", 0, "file_name", value="../x.png"), "within the folder of images, got"),
        (change("images", 0, "file_name", value="/etc/x.png"), "within the folder of images, got"),
    ],
)
def test_files_with_a_mistake_are_refused(tmp_path, apply, rule):
    file = content(4)
    places = written(tmp_path, file)
    wrong = deepcopy(file)
    apply(wrong)
    (tmp_path / "instances.json").write_text(json.dumps(wrong))
    with pytest.raises(SpecError, match=rule):
        Coco(**places, tasks=BOTH, valid=0.3, test=0.3).splits()


def test_files_that_are_not_there_are_named(tmp_path):
    places = written(tmp_path, content(4))
    (tmp_path / "images" / "a" / "2.png").unlink()
    with pytest.raises(MissingDependency, match=r"all 4 images .* 1 are not, a/2.png"):
        _ = Coco(**places).fingerprint
    with pytest.raises(MissingDependency, match="the folder is not at"):
        Coco(**{**places, "images": str(tmp_path / "no")}).splits()
    with pytest.raises(MissingDependency, match="file of annotations is not at"):
        Coco(**{**places, "annotations": str(tmp_path / "no.json")}).splits()
    (tmp_path / "instances.json").write_text("{")
    with pytest.raises(EvaluationError, match="must be json"):
        Coco(**places).splits()
    (tmp_path / "instances.json").write_text("[]")
    with pytest.raises(SpecError, match="must hold images, annotations and categories"):
        Coco(**places).splits()


def test_an_image_must_have_the_size_that_the_file_says(tmp_path):
    places = written(tmp_path, content(4))
    Image.new("RGB", (20, 40)).save(tmp_path / "images" / "a" / "0.png")
    with pytest.raises(SpecError, match="40x20, got 20x40"):
        Coco(**places, valid=0.3, test=0.3).splits()
    (tmp_path / "images" / "a" / "0.png").write_bytes(b"no image")
    with pytest.raises(EvaluationError, match="must be an image"):
        Coco(**places, valid=0.3, test=0.3).splits()


def test_options_that_make_no_sense_are_refused(tmp_path):
    places = written(tmp_path, content(4))
    with pytest.raises(SpecError, match="any of detection, segmentation"):
        Coco(**places, tasks=["classification"])
    with pytest.raises(SpecError, match="resolution must be at least 1"):
        Coco(**places, resolution=0)
    file = content(4)
    file["annotations"] = []
    with pytest.raises(SpecError, match="must have images with annotations"):
        Coco(**written(tmp_path, file), unannotated="drop").splits()
