"""The conformance suites explain their failures: they are marked before any test imports one."""

from __future__ import annotations

import pytest

SUITES = ("spaces", "hw_models", "estimators", "search", "db")
pytest.register_assert_rewrite(*(f"netloom.{folder}.testing" for folder in SUITES))
