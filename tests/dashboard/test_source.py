"""What pages have in common: what is read when, and once for all who ask."""

from __future__ import annotations

import threading
import time

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


def test_what_several_ask_for_at_once_is_computed_once(store, make, pairs):
    make(pairs([(90, 5)]))
    source, asked, found = Source(store.url), list[str](), list[str]()
    shot = source.snapshot("toy")

    def slow() -> str:
        asked.append("now")
        time.sleep(0.05)
        return "made"

    threads = [
        threading.Thread(target=lambda: found.append(source._once("x", shot, slow)))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (asked, found) == (["now"], ["made"] * 5)


def test_who_waited_for_a_failure_asks_again(store, make, pairs):
    make(pairs([(90, 5)]))
    source, asked = Source(store.url), list[int]()
    shot = source.snapshot("toy")

    def fails_once() -> str:
        asked.append(len(asked))
        if asked == [0]:
            raise OSError("gone")
        return "made"

    with pytest.raises(OSError, match="gone"):
        source._once("x", shot, fails_once)
    assert [source._once("x", shot, fails_once) for _ in range(2)] == ["made", "made"]
    assert asked == [0, 1]
