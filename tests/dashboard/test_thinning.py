"""Thinning: what fits stays as it is, of more a given number with both ends."""

from __future__ import annotations

import numpy as np

from netloom.dashboard.thinning import evenly


def test_what_fits_is_left_alone():
    assert evenly(np.array([5.0, 2.0, 9.0]), 3).tolist() == [5.0, 2.0, 9.0]
    assert evenly(np.array([], dtype=np.int64), 1).tolist() == []


def test_of_more_both_ends_stay_and_none_comes_twice():
    assert evenly(np.arange(0, 90, 10), 5).tolist() == [0, 20, 40, 60, 80]
    for count in range(3, 40):
        for most in range(2, count):
            kept = evenly(np.arange(count), most).tolist()
            assert kept == sorted(set(kept)), (count, most)
            assert (len(kept), kept[0], kept[-1]) == (most, 0, count - 1)
