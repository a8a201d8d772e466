"""What pages have in common: what is read when."""

from __future__ import annotations

import pytest

from netloom.dashboard.pages import decisions, experiment
from netloom.dashboard.source import Source
from netloom.db import Store


@pytest.mark.parametrize("page", [experiment, decisions])
def test_a_page_appears_before_its_trials_are_read(page, store, make, pairs, monkeypatch):
    make(pairs([(90, 5), (91, 6)]))

    def never(*args, **kwargs):
        raise AssertionError("the trials were read")

    monkeypatch.setattr(Store, "columns", never)
    assert "toy" in repr(page.layout(Source(store.url), "toy", ""))
