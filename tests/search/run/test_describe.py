"""What is stored of the data of an experiment."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from netloom.estimators.data.cifar import Cifar10
from netloom.estimators.data.digits import Digits
from netloom.estimators.data.npz import Npz
from netloom.search.run.describe import data_info


def test_a_data_set_is_named_with_its_licence_and_options() -> None:
    found = data_info(Digits(resolution=16))
    assert (found["name"], found["licence"]) == ("digits", Digits.licence)
    assert found["identity"] == {"resolution": 16, "valid": 0.2, "test": 0.2, "split_seed": 0}
    assert found["fingerprint"] == Digits(resolution=16).fingerprint


def test_files_are_named_by_their_digest(tmp_path: Path) -> None:
    file = tmp_path / "mine.npz"
    x, y = np.zeros((20, 1, 8, 8), np.float32), np.arange(20) % 2
    np.savez(file, x=x, y=y)
    found = data_info(Npz(path=str(file)))
    assert found["identity"]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert str(tmp_path) not in str(found)


def test_files_that_are_not_there_are_no_error(tmp_path: Path) -> None:
    found = data_info(Cifar10(root=str(tmp_path)))
    assert (found["identity"], found["fingerprint"]) == ({}, None)
