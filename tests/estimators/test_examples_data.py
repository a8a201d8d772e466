from __future__ import annotations

from pathlib import Path

import pytest

from netloom.errors import SpecError
from netloom.estimators import DATASETS
from netloom.estimators.testing import DataSetContract

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)


class TestWafers(DataSetContract):
    def make(self):
        return DATASETS.get("custom_data:Wafers")(wafers=200)

    def variants(self):
        return [DATASETS.get("custom_data:Wafers")(wafers=200, defects=0.1)]

    def test_the_defects_are_a_share(self):
        with pytest.raises(SpecError, match=r"share in 0\.\.1, got 2"):
            DATASETS.get("custom_data:Wafers")(defects=2)


class TestDiabetes(DataSetContract):
    def make(self):
        return DATASETS.get("regression:Diabetes")()

    def variants(self):
        return [DATASETS.get("regression:Diabetes")(split_seed=1)]

    def test_a_network_has_one_output(self):
        assert self.make().space_options == {"in_channels": 10, "resolution": 1, "classes": 1}
