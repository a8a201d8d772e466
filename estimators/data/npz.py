"""Arrays in one .npz file: the shortest way from a measurement to a search."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import AfterValidator

from ...errors import EvaluationError, SpecError
from .dataset import Array, DataSet, Split, Splits, hold_out, three_ways
from .files import absolute_path, present

# what reading a damaged, encrypted or strangely packed archive raises
_UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    RuntimeError,
    MemoryError,
    zipfile.BadZipFile,
    zlib.error,
)


class Npz(DataSet):
    """Arrays `x` and `y`, or `x_train`, `y_train`, `x_test`, `y_test` (and `x_valid`, `y_valid`).

    `x` holds images (n, channels, side, side) or (n, side, side), or feature vectors
    (n, features); `y` holds class numbers (integers) or regression targets (floats). Arrays of
    objects are refused: they would be pickles.

    Args:
        path: The file.
        task: `auto` reads it from the type of y: floats are a regression.
        layout: `nhwc` when the channels of images come last.
        valid: Share of the validation split, where the file has none.
        test: Share of the test split, where the file has none.
        split_seed: Decides which example goes where; not the trial's seed.
    """

    name: ClassVar[str] = "npz"

    def __init__(
        self,
        *,
        path: Annotated[str, AfterValidator(absolute_path)],
        task: Literal["auto", "classification", "regression"] = "auto",
        layout: Literal["nchw", "nhwc"] = "nchw",
        valid: float = 0.2,
        test: float = 0.2,
        split_seed: int = 0,
    ) -> None:
        self.path = absolute_path(path)
        self.task, self.layout = task, layout
        self.valid, self.test, self.split_seed = valid, test, split_seed

    def identity(self) -> dict[str, Any]:
        """The content of the file counts, not its place."""
        options = {k: getattr(self, k) for k in ("task", "layout", "valid", "test", "split_seed")}
        return {"sha256": self._sha256, **options}

    @property
    def in_channels(self) -> int:  # type: ignore[override]
        """Channels of the images, or the number of features."""
        return int(self._arrays["x"].shape[1])

    @property
    def resolution(self) -> int:  # type: ignore[override]
        """Side of the images; 1 for feature vectors."""
        x = self._arrays["x"]
        return int(x.shape[2]) if x.ndim == 4 else 1

    @property
    def classes(self) -> int | None:  # type: ignore[override]
        """One more than the largest class number in the file; None for a regression."""
        if self._regression:
            return None
        return 1 + max(int(a.max()) for name, a in self._arrays.items() if name.startswith("y"))

    @property
    def targets(self) -> int | None:  # type: ignore[override]
        """How many values are predicted; None for classes."""
        y = self._arrays["y"]
        return (1 if y.ndim == 1 else int(y.shape[1])) if self._regression else None

    def load(self) -> Splits:
        """Take the splits of the file, and cut those that it does not have."""
        parts = {
            part: Split(self._arrays[f"x{part}"], self._arrays[f"y{part}"])
            for part in ("", "_valid", "_test")
            if f"x{part}" in self._arrays
        }
        stratify = not self._regression
        if "_test" not in parts:
            return three_ways(
                parts[""],
                valid=self.valid,
                test=self.test,
                seed=self.split_seed,
                stratify=stratify,
            )
        if "_valid" in parts:
            return Splits(parts[""], parts["_valid"], parts["_test"])
        return hold_out(
            parts[""], parts["_test"], valid=self.valid, seed=self.split_seed, stratify=stratify
        )

    @property
    def _regression(self) -> bool:
        if self.task == "auto":
            return bool(self._arrays["y"].dtype.kind == "f")
        return self.task == "regression"

    @cached_property
    def _sha256(self) -> str:
        _ = self._arrays  # says what is wrong with a file that is none
        return hashlib.sha256(self._file.read_bytes()).hexdigest()

    @property
    def _file(self) -> Path:
        remedy = "write it with numpy.savez, or name another file by the option path"
        return present(Path(self.path), what="data set npz: the file", remedy=remedy)

    @cached_property
    def _arrays(self) -> dict[str, Array]:
        """The arrays by `x`, `y`, `x_valid`, ...; `x_train` goes by `x`."""
        found = self._read()
        arrays = {name.removesuffix("_train"): a for name, a in found.items()}
        pairs = [(f"x{p}", f"y{p}") for p in ("", "_valid", "_test")]
        broken = [p for p in pairs if (p[0] in arrays) != (p[1] in arrays)]
        twice = len(arrays) < len(found)
        if "x" not in arrays or broken or twice or ("x_valid" in arrays and "x_test" not in arrays):
            raise SpecError(
                "data set npz: the file must hold x and y, or x_train, y_train, x_test, y_test "
                f"(and x_valid, y_valid); got {', '.join(sorted(found)) or 'nothing'} in "
                f"{self.path}"
            )
        names = [name for pair in pairs for name in pair if name in arrays]
        if empty := [name for name in names if arrays[name].size == 0]:
            raise SpecError(
                f"data set npz: every array must hold examples, {empty[0]} is empty in {self.path}"
            )
        return {
            name: self._inputs(arrays[name]) if name[0] == "x" else self._answers(arrays[name])
            for name in names
        }

    def _read(self) -> dict[str, Array]:
        try:
            with self._file.open("rb") as raw:
                file = np.load(raw, allow_pickle=False)
                if not isinstance(file, np.lib.npyio.NpzFile):
                    raise ValueError("one array instead of an archive of arrays")
                return {name: file[name] for name in file.files}
        except _UNREADABLE as error:
            raise EvaluationError(
                f"data set npz: {self.path} must be a whole .npz file of plain arrays, got one "
                f"that cannot be read ({type(error).__name__}: {error}); write it again with "
                "numpy.savez"
            ) from error

    def _inputs(self, x: Array) -> Array:
        if x.ndim == 3:
            x = x[:, None]
        elif x.ndim == 4 and self.layout == "nhwc":
            x = x.transpose(0, 3, 1, 2)
        if x.dtype.kind not in "buif":
            raise SpecError(f"data set npz: x must hold numbers, got {x.dtype} in {self.path}")
        if x.ndim not in (2, 4) or (x.ndim == 4 and x.shape[2] != x.shape[3]):
            raise SpecError(
                "data set npz: x must be (n, channels, side, side), (n, side, side) or "
                f"(n, features), got shape {x.shape} (layout {self.layout}) in {self.path}"
            )
        return np.ascontiguousarray(x if x.dtype == np.uint8 else x.astype(np.float32))

    def _answers(self, y: Array) -> Array:
        if y.dtype.kind not in "buif" or y.ndim == 0:
            raise SpecError(
                "data set npz: y must hold class numbers (integers) or targets (floats), one or a "
                f"row per example, got {y.dtype} of shape {y.shape} in {self.path}"
            )
        if self.task == "classification" and y.dtype.kind not in "iu":
            raise SpecError(f"data set npz: class numbers must be integers, got {y.dtype}")
        return y.astype(np.float32) if self.task == "regression" else y
