"""The conformance suites explain their failures: they are marked before any test imports one."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch

SUITES = ("spaces", "hw_models", "estimators", "search", "db")
pytest.register_assert_rewrite(*(f"netloom.{folder}.testing" for folder in SUITES))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs NNI, which fixes versions that the others exclude, or a GPU, without one."""
    lacking = {}
    if find_spec("nni") is None:
        lacking["nni"] = "needs the extra nni: make test-nni"
    if not torch.cuda.is_available():
        lacking["cuda"] = "needs a CUDA device"
    for item in items:
        for name, reason in lacking.items():
            if item.get_closest_marker(name):
                item.add_marker(pytest.mark.skip(reason=reason))
