"""The 1,797 handwritten digits that scikit-learn carries: real data without a download."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ...errors import SpecError
from .dataset import DataSet, Split, Splits, three_ways


class Digits(DataSet):
    """Grey images of ten digits, 8x8, values 0..1.

    Source: the test set of UCI "Optical recognition of handwritten digits", bundled with
    scikit-learn (`sklearn.datasets.load_digits`).

    Args:
        resolution: 8, or a multiple of it: every pixel is repeated (for spaces that halve often).
        valid: Share of the validation split.
        test: Share of the test split.
        split_seed: Decides which digit goes where; not the trial's seed.
    """

    name: ClassVar[str] = "digits"
    # the repository's donation policy; what its page of the data set asks to cite
    licence: ClassVar[str] = (
        "CC BY 4.0; E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI "
        "Machine Learning Repository, 1998, https://doi.org/10.24432/C50P49"
    )
    in_channels = 1
    classes = 10

    def __init__(
        self, *, resolution: int = 8, valid: float = 0.2, test: float = 0.2, split_seed: int = 0
    ) -> None:
        if resolution < 8 or resolution % 8:
            raise SpecError(f"digits: resolution must be a multiple of 8, got {resolution}")
        self.resolution = resolution
        self.valid, self.test, self.split_seed = valid, test, split_seed

    def load(self) -> Splits:
        """Cut the digits by class into 60 / 20 / 20 per cent (by default)."""
        from sklearn.datasets import load_digits  # 1.7 s: only when the data are needed

        bunch = load_digits()
        images = (bunch.images / 16).astype(np.float32)[:, None]
        factor = self.resolution // 8
        whole = Split(images.repeat(factor, 2).repeat(factor, 3), bunch.target.astype(np.int64))
        return three_ways(
            whole, valid=self.valid, test=self.test, seed=self.split_seed, stratify=True
        )
