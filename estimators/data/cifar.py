"""CIFAR-10 and CIFAR-100 from the archives as published, extracted or not.

The "python version" of the archives is a set of pickles, and a pickle can run anything: they are
read with an unpickler that knows numpy arrays and nothing else. The "binary version" needs no
pickle at all.
"""

from __future__ import annotations

import io
import pickle
import tarfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, TypeAlias

import numpy as np
from pydantic import AfterValidator

from ...errors import EvaluationError, MissingDependency
from .dataset import Array, DataSet, Split, Splits, hold_out
from .files import absolute_path, content_digest, data_root

Read: TypeAlias = Callable[[str], bytes]
_PIXELS = 3 * 32 * 32
# What reading a damaged file, archive or pickle raises (pickle's own list is open-ended).
_UNREADABLE = (
    OSError,
    EOFError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    OverflowError,
    pickle.UnpicklingError,
    tarfile.TarError,
    zlib.error,
)


class _Source(NamedTuple):
    """What was found on disk.

    Args:
        names: Of the train files and of the test files, inside the folder or the archive.
        read: Gives the bytes of one.
        parse: Makes examples of them.
        files: (name, place) of what lies on disk.
    """

    names: tuple[tuple[str, ...], ...]
    read: Read
    parse: Callable[[bytes], Split]
    files: list[tuple[str, Path]]


class _Cifar(DataSet):
    """Images 3x32x32 (uint8); the published test set stays the test split."""

    # https://www.cs.toronto.edu/~kriz/cifar.html names none
    licence: ClassVar[str] = (
        "not stated by the authors, who ask to cite A. Krizhevsky, Learning Multiple Layers of "
        "Features from Tiny Images, 2009"
    )
    in_channels = 3
    resolution = 32

    folders: ClassVar[tuple[str, str]]  # python version, binary version
    archives: ClassVar[tuple[str, str]]
    python_files: ClassVar[tuple[tuple[str, ...], tuple[str, ...]]]  # train, test
    binary_files: ClassVar[tuple[tuple[str, ...], tuple[str, ...]]]
    label_bytes: ClassVar[int] = 1  # labels before the pixels of a record of the binary version

    def __init__(
        self,
        *,
        root: Annotated[str, AfterValidator(absolute_path)] | None = None,
        valid: float = 0.1,
        split_seed: int = 0,
    ) -> None:
        self._root = data_root(root)
        self.valid, self.split_seed = valid, split_seed

    def identity(self) -> dict[str, Any]:
        """The content of the files counts (a part of the archive is other data), not their place.

        Raises:
            MissingDependency: If they are not there.
        """
        return {**super().identity(), "files": content_digest(self._source().files)}

    def load(self) -> Splits:
        """Read train and test, and draw the validation split from train, by class."""
        source = self._source()
        train, test = (self._join(names, source.read, source.parse) for names in source.names)
        return hold_out(train, test, valid=self.valid, seed=self.split_seed, stratify=True)

    def _source(self) -> _Source:
        """Find what is on disk: an extracted folder before an archive, binary before pickles."""
        kinds = [
            (self.folders[1], self.archives[1], self.binary_files, self._parse_binary),
            (self.folders[0], self.archives[0], self.python_files, self._parse_python),
        ]
        for folder, _, names, parse in kinds:
            for place in (self._root / folder, self._root):
                if (place / names[0][0]).is_file():
                    files = [(n, place / n) for part in names for n in part]
                    files = [(n, file) for n, file in files if file.is_file()]
                    return _Source(names, _folder_reader(place), parse, files)
        for folder, archive, names, parse in kinds:
            if (file := self._root / archive).is_file():
                return _Source(names, _archive_reader(file, folder), parse, [(archive, file)])
        raise MissingDependency(
            f"{self.name} is not in {self._root}; put {' or '.join(self.archives)} (or the "
            "extracted folder) there, or name another folder by the option root or by "
            "NETLOOM_DATA"
        )

    def _join(self, files: tuple[str, ...], read: Read, parse: Callable[[bytes], Split]) -> Split:
        parts = []
        for name in files:
            try:
                parts.append(parse(read(name)))
            except _UNREADABLE as error:
                raise EvaluationError(
                    f"{self.name}: {name} in {self._root} must be a file of the published archive, "
                    f"got one that cannot be read ({type(error).__name__}: {error}); fetch it again"
                ) from error
        return Split(np.concatenate([p.x for p in parts]), np.concatenate([p.y for p in parts]))

    def _parse_binary(self, data: bytes) -> Split:
        record = self.label_bytes + _PIXELS
        if not data or len(data) % record:
            raise ValueError(f"{len(data)} bytes are not a whole number of records of {record}")
        rows = np.frombuffer(data, np.uint8).reshape(-1, record)
        return self._split(rows[:, self.label_bytes :], rows[:, self._label_column()])

    def _parse_python(self, data: bytes) -> Split:
        batch = _ArraysOnly(io.BytesIO(data), encoding="bytes").load()
        if not isinstance(batch, dict):
            raise ValueError(f"a batch must be a dictionary, got {type(batch).__name__}")
        return self._split(batch[b"data"], np.asarray(batch[self._label_key()]))

    def _split(self, pixels: Any, labels: Array) -> Split:
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 2:
            raise ValueError("pixels must be an array of bytes, one row per image")
        if pixels.shape[1] != _PIXELS or labels.shape != (len(pixels),):
            raise ValueError(f"pixels {pixels.shape} and labels {labels.shape} do not fit")
        return Split(pixels.reshape(-1, 3, 32, 32).copy(), labels.astype(np.int64))

    def _label_column(self) -> int:
        return 0

    def _label_key(self) -> bytes:
        return b"labels"


class Cifar10(_Cifar):
    """CIFAR-10: 50,000 training and 10,000 test images of ten classes.

    Source: A. Krizhevsky, "Learning multiple layers of features from tiny images" (2009);
    `cifar-10-python.tar.gz` or `cifar-10-binary.tar.gz`.

    Args:
        root: Folder that holds the archive or the extracted folder; $NETLOOM_DATA, else ./data.
        valid: Share of the training set that becomes the validation split.
        split_seed: Decides which images those are; not the trial's seed.
    """

    name = "cifar10"
    classes = 10
    folders = ("cifar-10-batches-py", "cifar-10-batches-bin")
    archives = ("cifar-10-python.tar.gz", "cifar-10-binary.tar.gz")
    python_files = (tuple(f"data_batch_{i}" for i in range(1, 6)), ("test_batch",))
    binary_files = (tuple(f"data_batch_{i}.bin" for i in range(1, 6)), ("test_batch.bin",))


class Cifar100(_Cifar):
    """CIFAR-100: 50,000 training and 10,000 test images of 100 classes (or 20 coarse ones).

    Source: A. Krizhevsky, "Learning multiple layers of features from tiny images" (2009);
    `cifar-100-python.tar.gz` or `cifar-100-binary.tar.gz`.

    Args:
        root: Folder that holds the archive or the extracted folder; $NETLOOM_DATA, else ./data.
        labels: `fine` (100 classes) or `coarse` (20).
        valid: Share of the training set that becomes the validation split.
        split_seed: Decides which images those are; not the trial's seed.
    """

    name = "cifar100"
    folders = ("cifar-100-python", "cifar-100-binary")
    archives = ("cifar-100-python.tar.gz", "cifar-100-binary.tar.gz")
    python_files = (("train",), ("test",))
    binary_files = (("train.bin",), ("test.bin",))
    label_bytes = 2  # coarse, fine

    def __init__(
        self,
        *,
        root: Annotated[str, AfterValidator(absolute_path)] | None = None,
        labels: Literal["fine", "coarse"] = "fine",
        valid: float = 0.1,
        split_seed: int = 0,
    ) -> None:
        super().__init__(root=root, valid=valid, split_seed=split_seed)
        self.labels = labels
        self.classes = 100 if labels == "fine" else 20

    def _label_column(self) -> int:
        return 1 if self.labels == "fine" else 0

    def _label_key(self) -> bytes:
        return f"{self.labels}_labels".encode()


def _folder_reader(folder: Path) -> Read:
    return lambda name: (folder / name).read_bytes()


def _archive_reader(archive: Path, folder: str) -> Read:
    """Read members in memory: nothing of an archive is ever written to disk."""

    def read(name: str) -> bytes:
        with tarfile.open(archive, "r:gz") as tar:
            member = tar.extractfile(f"{folder}/{name}")
            if member is None:
                raise ValueError(f"{folder}/{name} is not a file of the archive")
            return member.read()

    return read


class _ArraysOnly(pickle.Unpickler):
    """Knows what a pickled numpy array of plain numbers is made of, and refuses the rest."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, which is not part of a numpy array: not loaded"
            )
        return _ALLOWED[module, name]


def _encode_latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes are written as latin1, got {encoding!r}: not loaded")
    return text.encode("latin1")


def _number_dtype(*arguments: Any) -> np.dtype[Any]:
    dtype: np.dtype[Any] = np.dtype(*arguments)
    if dtype.kind not in "biuf":
        raise pickle.UnpicklingError(f"an array must hold numbers, got {dtype}: not loaded")
    return dtype


def _from_buffer(buffer: bytes, dtype: np.dtype[Any], shape: Any, order: Any) -> Array:
    array: Array = np.frombuffer(buffer, dtype).reshape(shape, order=order)
    return array


def _allowed() -> Mapping[tuple[str, str], Any]:
    """Return what may be asked for, by the names that old and new versions of numpy write."""
    reconstruct = np.zeros(1, np.uint8).__reduce__()[0]
    allowed: dict[tuple[str, str], Any] = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): _number_dtype,
        ("_codecs", "encode"): _encode_latin1,
    }
    for package in ("numpy.core", "numpy._core"):
        allowed[f"{package}.multiarray", "_reconstruct"] = reconstruct
        allowed[f"{package}.numeric", "_frombuffer"] = _from_buffer
    return allowed


_ALLOWED = _allowed()
