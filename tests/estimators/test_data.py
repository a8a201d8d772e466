from __future__ import annotations

import io
import pickle
import tarfile

import numpy as np
import pytest
from PIL import Image

from netloom.errors import EvaluationError, MissingDependency, SpecError
from netloom.estimators import DATASETS, DataSet, Split, Splits
from netloom.estimators.data.cifar import Cifar10, Cifar100
from netloom.estimators.data.dataset import check_split, divide, hold_out
from netloom.estimators.data.digits import Digits
from netloom.estimators.data.image_folder import ImageFolder
from netloom.estimators.data.npz import Npz
from netloom.estimators.testing import DataSetContract


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


# --------------------------------------------------------------------------- digits
class TestDigits(DataSetContract):
    def make(self):
        return Digits()

    def variants(self):
        return [Digits(split_seed=1), Digits(resolution=16), Digits(valid=0.1)]


def test_digits_are_all_there_by_class():
    splits = Digits().load()
    sizes = [len(getattr(splits, name)) for name in ("train", "valid", "test")]
    assert sum(sizes) == 1797
    assert sizes == pytest.approx([1078, 359, 360], abs=10)
    for part in (splits.train, splits.valid, splits.test):
        share = np.bincount(part.y) / len(part)
        assert share.min() > 0.09
    assert 0 <= splits.train.x.min() < splits.train.x.max() == 1.0


def test_larger_digits_are_the_same_digits():
    small, large = Digits().load().valid, Digits(resolution=24).load().valid
    assert large.x.shape[1:] == (1, 24, 24)
    assert np.array_equal(large.x[:, :, 1::3, 1::3], small.x)
    with pytest.raises(SpecError, match="multiple of 8, got 12"):
        Digits(resolution=12)


# --------------------------------------------------------------------------- npz
class TestNpz(DataSetContract):
    @pytest.fixture(autouse=True)
    def _file(self, tmp_path):
        self.path = tmp_path / "a.npz"
        np.savez(self.path, x=noise(60, 3, 4, 4), y=np.arange(60) % 3)

    def make(self):
        return Npz(path=str(self.path))

    def variants(self):
        other = self.path.with_name("b.npz")
        np.savez(other, x=noise(60, 3, 4, 4, seed=1), y=np.arange(60) % 3)
        return [Npz(path=str(other)), Npz(path=str(self.path), split_seed=3)]


class TestNpzRegression(DataSetContract):
    @pytest.fixture(autouse=True)
    def _file(self, tmp_path):
        self.path = tmp_path / "a.npz"
        x = noise(50, 7).astype(np.float64)
        np.savez(self.path, x=x, y=x[:, :2] / 3)

    def make(self):
        return Npz(path=str(self.path))


def test_npz_declares_what_it_holds(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=noise(30, 5, 5), y=np.arange(30, dtype=np.uint8) % 4)
    data = Npz(path=str(path))
    assert data.space_options == {"in_channels": 1, "resolution": 5, "classes": 4}
    np.savez(path, x=noise(30, 6).astype(float), y=np.linspace(0, 1, 30))
    data = Npz(path=str(path))
    assert (data.classes, data.targets) == (None, 1)
    assert data.space_options == {"in_channels": 6, "resolution": 1, "classes": 1}
    np.savez(path, x=noise(30, 5, 5, 3), y=np.arange(30) % 4)
    assert Npz(path=str(path), layout="nhwc").in_channels == 3
    assert Npz(path=str(path), layout="nhwc", task="regression").targets == 1


def test_npz_with_channels_last_is_not_turned_over(tmp_path):
    x = noise(40, 6, 6, 3)  # rows and columns differ
    np.savez(tmp_path / "last.npz", x=x, y=np.arange(40) % 2)
    np.savez(tmp_path / "first.npz", x=x.transpose(0, 3, 1, 2), y=np.arange(40) % 2)
    last = Npz(path=str(tmp_path / "last.npz"), layout="nhwc").load().train.x
    first = Npz(path=str(tmp_path / "first.npz")).load().train.x
    assert np.array_equal(last, first)
    assert not np.array_equal(last, last.swapaxes(2, 3))


def test_npz_keeps_the_splits_of_its_file(tmp_path):
    path = tmp_path / "a.npz"
    train, test = noise(40, 1, 2, 2), noise(9, 1, 2, 2, seed=1)
    arrays = {
        "x_train": train,
        "y_train": np.arange(40) % 2,
        "x_test": test,
        "y_test": np.ones(9, int),
    }
    np.savez(path, **arrays)
    splits = Npz(path=str(path), valid=0.25).splits()
    assert (len(splits.train), len(splits.valid)) == (30, 10)
    assert np.array_equal(splits.test.x, test)
    np.savez(path, **arrays, x_valid=test[:4], y_valid=np.zeros(4, int))
    splits = Npz(path=str(path)).splits()
    assert (len(splits.train), len(splits.valid), len(splits.test)) == (40, 4, 9)


def _objects(path):
    np.savez(path, x=np.array([{}, []], dtype=object), y=np.arange(2))


def _truncated(path):
    np.savez(path, x=noise(60, 3, 4, 4), y=np.arange(60) % 3)
    path.write_bytes(path.read_bytes()[:400])


def _flipped(path):
    np.savez(path, x=noise(60, 3, 4, 4), y=np.arange(60) % 3)
    content = bytearray(path.read_bytes())
    content[500] ^= 0xFF
    path.write_bytes(bytes(content))


def _npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _saved(**arrays):
    return lambda path: np.savez(path, **arrays)


@pytest.mark.parametrize(
    ("write", "error", "rule"),
    [
        (_objects, EvaluationError, "plain arrays"),
        (_truncated, EvaluationError, "cannot be read"),
        (_flipped, EvaluationError, "cannot be read"),
        (lambda p: p.write_bytes(b""), EvaluationError, "cannot be read"),
        (lambda p: p.write_text("x,y"), EvaluationError, "cannot be read"),
        (lambda p: p.write_bytes(_npy(noise(9, 2))), EvaluationError, "one array instead"),
        (_saved(x=noise(9, 2)), SpecError, "must hold x and y"),
        (_saved(x=noise(9, 2, 3, 4), y=np.arange(9)), SpecError, "side, side"),
        (_saved(x=noise(9, 2), y=np.arange(8)), SpecError, "equally many"),
        (_saved(x=noise(60, 2), y=np.arange(60) % 3 - 1), SpecError, "classes must be 0"),
        (_saved(x=np.full((9, 2), np.nan), y=np.arange(9) % 2), SpecError, "x must be finite"),
        (_saved(x=noise(9, 2), y=np.full(9, np.inf)), SpecError, "y must be finite"),
        (_saved(x=noise(2, 2), y=np.arange(2)), SpecError, "too few"),
        (_saved(x=noise(0, 2), y=np.arange(0)), SpecError, "every array must hold examples, x is"),
        (lambda p: p.mkdir(), SpecError, "must not be a folder"),
    ],
)
def test_a_broken_npz_says_what_is_wrong(tmp_path, write, error, rule):
    path = tmp_path / "broken.npz"
    write(path)
    with pytest.raises(error, match=rule):
        Npz(path=str(path)).check()


def test_a_missing_file_says_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingDependency, match=r"not at .*nowhere.npz; .*option path"):
        Npz(path="nowhere.npz").check()


# --------------------------------------------------------------------------- image folder
def _write_images(root, parts=("",), classes=("cat", "dog"), n=10, size=(9, 7)):
    for p, part in enumerate(parts):
        for c, name in enumerate(classes):
            folder = root / part / name
            folder.mkdir(parents=True)
            for i in range(n):
                pixels = noise(size[1], size[0], 3, seed=1000 * p + 100 * c + i)
                Image.fromarray(pixels).save(folder / f"{i}.png")
            (folder / "notes.txt").write_text("not an image")


class TestImageFolder(DataSetContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.root = tmp_path / "images"
        _write_images(self.root)

    def make(self):
        return ImageFolder(root=str(self.root), resolution=6)

    def variants(self):
        return [
            ImageFolder(root=str(self.root), resolution=5),
            ImageFolder(root=str(self.root), resolution=6, in_channels=1),
        ]


def test_an_image_folder_is_cut_square_and_scaled(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(5):
            pixels = np.zeros((4, 8, 3), np.uint8)
            pixels[:, 2:6] = 200 + i + (5 if name == "b" else 0)  # the centre square
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.png")
    data = ImageFolder(root=str(tmp_path), resolution=2, valid=0.2, test=0.2)
    splits = data.splits()
    for part in (splits.train, splits.valid, splits.test):
        assert part.x.shape[1:] == (3, 2, 2)
        assert np.array_equal(part.y, part.x[:, 0, 0, 0] >= 205)
        assert (part.x == part.x[:, :1, :1, :1]).all()
    assert data.class_names == ["a", "b"]


def test_an_image_folder_with_its_own_splits(tmp_path):
    _write_images(tmp_path, parts=("train", "val", "test"), n=3)
    splits = ImageFolder(root=str(tmp_path), resolution=4).splits()
    assert [len(splits.train), len(splits.valid), len(splits.test)] == [6, 6, 6]
    for image in (tmp_path / "test" / "dog").glob("*.png"):
        image.unlink()
    with pytest.raises(SpecError, match=r"dog in .*test has none"):
        ImageFolder(root=str(tmp_path), resolution=4).check()


def test_images_of_equal_names_and_sizes_are_other_data(tmp_path):
    """A corrected version of a folder must not be answered with what was loaded before."""
    for version in (1, 2):
        for name in ("a", "b"):
            (tmp_path / str(version) / name).mkdir(parents=True)
            for i in range(5):
                pixels = np.full((4, 4, 3), 10 * version + i, np.uint8)
                Image.fromarray(pixels).save(tmp_path / str(version) / name / f"{i}.bmp")
    first, second = (ImageFolder(root=str(tmp_path / str(v)), resolution=4) for v in (1, 2))
    assert first.fingerprint != second.fingerprint
    assert first.splits().train.x.max() < 20 <= second.splits().train.x.min()


def test_a_folder_of_images_may_move(tmp_path):
    _write_images(tmp_path / "here")
    before = ImageFolder(root=str(tmp_path / "here")).fingerprint
    (tmp_path / "here").rename(tmp_path / "there")
    assert ImageFolder(root=str(tmp_path / "there")).fingerprint == before


def test_a_broken_image_is_named(tmp_path):
    _write_images(tmp_path)
    (tmp_path / "dog" / "3.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with pytest.raises(EvaluationError, match=r"dog.3\.png must be an image"):
        ImageFolder(root=str(tmp_path)).check()


def test_image_folders_that_are_none(tmp_path):
    with pytest.raises(MissingDependency, match=r"not at .*absent"):
        ImageFolder(root=str(tmp_path / "absent")).check()
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecError, match=r"must not be a file, got .*file; put one folder"):
        ImageFolder(root=str(tmp_path / "file")).check()
    (tmp_path / "only").mkdir()
    with pytest.raises(SpecError, match=r"at least two, in .*; got only"):
        ImageFolder(root=str(tmp_path)).check()
    (tmp_path / "train").mkdir()
    with pytest.raises(SpecError, match=r"there must be .*test"):
        ImageFolder(root=str(tmp_path)).check()


# --------------------------------------------------------------------------- cifar
N = 20


def _old_pickle(value):
    """As Python 2 wrote the archives: protocol 2, byte strings, numpy's old module name."""
    text = pickle.dumps(value, protocol=2)
    return text.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def _write_cifar10(root, kind="python", archive=False):
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    folder = root / ("cifar-10-batches-py" if kind == "python" else "cifar-10-batches-bin")
    folder.mkdir(parents=True)
    for i, name in enumerate(names):
        pixels, labels = noise(N, 3072, seed=i), np.arange(N, dtype=np.uint8) % 10
        if kind == "python":
            batch = {b"batch_label": b"x", b"labels": labels.tolist(), b"data": pixels}
            (folder / name).write_bytes(_old_pickle(batch))
        else:
            (folder / f"{name}.bin").write_bytes(np.column_stack([labels, pixels]).tobytes())
    if archive:
        with tarfile.open(root / f"cifar-10-{kind}.tar.gz", "w:gz") as tar:
            tar.add(folder, arcname=folder.name)
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


class TestCifar10(DataSetContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.root = tmp_path
        _write_cifar10(tmp_path)

    def make(self):
        return Cifar10(root=str(self.root))

    def variants(self):
        return [Cifar10(root=str(self.root), valid=0.2)]


@pytest.mark.parametrize("kind", ["python", "binary"])
@pytest.mark.parametrize("archive", [False, True])
def test_cifar10_in_every_form(tmp_path, kind, archive):
    _write_cifar10(tmp_path, kind, archive)
    data = Cifar10(root=str(tmp_path))
    splits = data.load()
    assert (len(splits.train), len(splits.valid), len(splits.test)) == (90, 10, N)
    assert np.array_equal(splits.test.x.reshape(N, -1), noise(N, 3072, seed=5))
    assert np.array_equal(splits.test.y, np.arange(N) % 10)
    data.check()


@pytest.mark.parametrize("archive", [False, True])
def test_cifar_of_another_content_is_other_data(tmp_path, archive):
    for root in ("a", "b"):
        _write_cifar10(tmp_path / root, "binary")
    batch = tmp_path / "b" / "cifar-10-batches-bin" / "test_batch.bin"
    batch.write_bytes(bytes(reversed(batch.read_bytes()[: -(3072 + 1)])) + bytes(3072 + 1))
    if archive:
        for root in ("a", "b"):
            folder = tmp_path / root / "cifar-10-batches-bin"
            with tarfile.open(tmp_path / root / "cifar-10-binary.tar.gz", "w:gz") as tar:
                tar.add(folder, arcname=folder.name)
            folder.rename(tmp_path / f"{root}-gone")
    a, b = (Cifar10(root=str(tmp_path / root)) for root in ("a", "b"))
    assert a.fingerprint != b.fingerprint
    assert a.fingerprint == Cifar10(root=str(tmp_path / "a")).fingerprint


def test_cifar_in_the_folder_itself_and_by_environment(tmp_path, monkeypatch):
    _write_cifar10(tmp_path)
    monkeypatch.setenv("NETLOOM_DATA", str(tmp_path / "cifar-10-batches-py"))
    here, there = Cifar10(), Cifar10(root=str(tmp_path))
    assert here.fingerprint == there.fingerprint
    assert np.array_equal(here.load().valid.x, there.load().valid.x)


@pytest.mark.parametrize(("labels", "classes"), [("fine", 100), ("coarse", 20)])
def test_cifar100_fine_and_coarse(tmp_path, labels, classes):
    pixels = noise(200, 3072)
    fine, coarse = np.arange(200) % 100, np.arange(200) % 20
    rows = np.column_stack([coarse.astype(np.uint8), fine.astype(np.uint8), pixels])
    for kind in ("binary", "python"):
        root = tmp_path / kind
        folder = root / ("cifar-100-binary" if kind == "binary" else "cifar-100-python")
        folder.mkdir(parents=True)
        for name in ("train", "test"):
            batch = {
                b"data": pixels,
                b"fine_labels": fine.tolist(),
                b"coarse_labels": coarse.tolist(),
            }
            content = rows.tobytes() if kind == "binary" else _old_pickle(batch)
            (folder / (f"{name}.bin" if kind == "binary" else name)).write_bytes(content)
        data = Cifar100(root=str(root), labels=labels, valid=0.5)
        assert data.classes == classes
        assert np.array_equal(data.splits().test.y, fine if labels == "fine" else coarse)
    assert (
        Cifar100(root=str(root)).fingerprint
        != Cifar100(root=str(root), labels="coarse").fingerprint
    )


def test_cifar_that_is_not_there_names_the_archive_and_the_folder(tmp_path):
    with pytest.raises(MissingDependency, match=r"cifar-10-python\.tar\.gz.*NETLOOM_DATA") as info:
        Cifar10(root=str(tmp_path)).check()
    assert str(tmp_path) in str(info.value)
    assert info.value.exit_code == 5


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('the pickle ran')",))


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_that_would_run_something_is_not_loaded(tmp_path, protocol):
    _write_cifar10(tmp_path)
    batch = {b"data": Bomb(), b"labels": [0] * N}
    content = pickle.dumps(batch, protocol=protocol)
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").write_bytes(content)
    with pytest.raises(EvaluationError, match=r"data_batch_3.*not loaded"):
        Cifar10(root=str(tmp_path)).check()


def test_pickles_of_today_are_read_too(tmp_path):
    _write_cifar10(tmp_path)
    batch = {b"data": noise(N, 3072, seed=5), b"labels": list(range(10)) * 2}
    for protocol in (0, 2, 4, 5):
        content = pickle.dumps(batch, protocol=protocol)
        (tmp_path / "cifar-10-batches-py" / "test_batch").write_bytes(content)
        splits = Cifar10(root=str(tmp_path)).load()
        assert np.array_equal(splits.test.x.reshape(N, -1), batch[b"data"])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x02}",
        pickle.dumps([1, 2]),
        pickle.dumps({b"labels": [1]}),
        pickle.dumps({b"data": noise(N, 100), b"labels": [0] * N}),
        pickle.dumps({b"data": noise(N, 3072), b"labels": [0] * (N - 1)}),
        pickle.dumps({b"data": np.zeros((N, 3072)), b"labels": [0] * N}),
        pickle.dumps({b"data": np.array([{}] * N, dtype=object), b"labels": [0] * N}),
    ],
)
def test_a_damaged_cifar_file_is_named(tmp_path, content):
    _write_cifar10(tmp_path)
    (tmp_path / "cifar-10-batches-py" / "data_batch_2").write_bytes(content)
    with pytest.raises(EvaluationError, match=r"data_batch_2 in .*fetch it again"):
        Cifar10(root=str(tmp_path)).check()


def test_a_damaged_archive_is_named(tmp_path):
    _write_cifar10(tmp_path, archive=True)
    archive = tmp_path / "cifar-10-python.tar.gz"
    archive.write_bytes(archive.read_bytes()[:5000])
    with pytest.raises(EvaluationError, match="fetch it again"):
        Cifar10(root=str(tmp_path)).check()
    _write_cifar10(tmp_path, "binary")
    (tmp_path / "cifar-10-batches-bin" / "data_batch_4.bin").write_bytes(b"x" * 5000)
    with pytest.raises(EvaluationError, match=r"data_batch_4\.bin .*whole number of records"):
        Cifar10(root=str(tmp_path)).check()


# --------------------------------------------------------------------------- the contract
def splits_of(x, y):
    return Splits(*(Split(x.copy(), y.copy()) for _ in range(3)))


class Own(DataSet):
    in_channels, resolution, classes = 2, 1, 2

    def __init__(self, splits=None, **declared):
        self._splits = splits
        for name, value in declared.items():
            setattr(self, name, value)

    def load(self):
        return self._splits


ROWS, LABELS = np.zeros((4, 2), np.float32), np.array([0, 1, 0, 1])


@pytest.mark.parametrize(
    ("splits", "declared", "rule"),
    [
        ((ROWS, LABELS), {}, "must return Splits"),
        (splits_of(ROWS, LABELS), {"in_channels": 3}, r"declared shape \(3, 1, 1\), got \(2,\)"),
        (splits_of(ROWS, LABELS), {"resolution": 2}, r"declared shape \(2, 2, 2\)"),
        (splits_of(ROWS.astype(np.float64), LABELS), {}, "uint8 or float32, got float64"),
        (splits_of(ROWS, LABELS + 1), {}, r"classes must be 0\.\.1, got 1\.\.2"),
        (splits_of(ROWS, LABELS.astype(float)), {}, "class numbers"),
        (splits_of(ROWS, LABELS), {"classes": None, "targets": 1}, r"floats of shape \(4,\)"),
        (splits_of(ROWS[:0], LABELS[:0]), {}, "at least one"),
        (splits_of(ROWS, LABELS), {"option": object()}, "override it"),
    ],
)
def test_a_data_set_of_ones_own_is_held_to_what_it_declares(splits, declared, rule):
    with pytest.raises(SpecError, match=rule):
        Own(splits, **declared).check()


def test_feature_vectors_may_have_two_dimensions_or_four():
    for x in (ROWS, ROWS[:, :, None, None]):
        check_split(Own(), "train", Split(x, LABELS))


def test_shares_are_disjoint_and_complete():
    whole = Split(np.arange(1000, dtype=np.float32)[:, None], np.arange(1000) % 7)
    parts = divide(whole, shares=(0.2, 0.3), seed=1, stratify=True)
    assert [len(p) for p in parts] == pytest.approx([200, 300, 500], abs=7)
    together = np.sort(np.concatenate([p.x for p in parts]).ravel())
    assert np.array_equal(together, whole.x.ravel())
    again = divide(whole, shares=(0.2, 0.3), seed=1, stratify=True)
    other = divide(whole, shares=(0.2, 0.3), seed=2, stratify=True)
    assert np.array_equal(parts[0].x, again[0].x)
    assert not np.array_equal(parts[0].x, other[0].x)
    with pytest.raises(SpecError, match="together below 1"):
        divide(whole, shares=(0.5, 0.5), seed=1, stratify=False)
    test = Split(whole.x[:3], whole.y[:3])
    assert hold_out(whole, test, valid=0.1, seed=0, stratify=False).test is test


def test_a_reused_worker_loads_once():
    class Counted(Own):
        loads = 0

        def load(self):
            Counted.loads += 1
            return splits_of(ROWS, LABELS)

    Counted(option=1).splits()
    Counted(option=1).splits()
    assert Counted.loads == 1
    Counted(option=2).splits()
    assert Counted.loads == 2


def test_every_named_data_set_can_be_had():
    for name in DATASETS.names():
        assert issubclass(DATASETS.get(name), DataSet)
        assert DATASETS.get(name).name == name
