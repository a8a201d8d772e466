"""The conformance suites explain their failures: they are marked before any test imports one."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

SUITES = ("spaces", "hw_models", "estimators", "search", "db")
pytest.register_assert_rewrite(*(f"netloom.{folder}.testing" for folder in SUITES))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs NNI where it is not installed: it fixes versions that the others exclude."""
    if find_spec("nni") is None:
        for item in items:
            if item.get_closest_marker("nni"):
                item.add_marker(pytest.mark.skip(reason="needs the extra nni: make test-nni"))
