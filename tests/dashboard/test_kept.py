"""Values that are computed once for all who ask."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from netloom.dashboard.kept import Kept


def counted(asked: list[int]) -> Callable[[], str]:
    def make() -> str:
        asked.append(len(asked))
        return f"made {len(asked)}"

    return make


def test_a_value_is_computed_once_for_all_who_ask_at_once():
    kept, entered, again, found = Kept(4), threading.Event(), threading.Event(), list[str]()

    def make() -> str:
        if entered.is_set():
            again.set()
        entered.set()
        again.wait(0.1)  # time for the other to come in, which it must not
        return "made"

    first, second = (
        threading.Thread(target=lambda: found.append(kept.value("x", make))) for _ in range(2)
    )
    first.start()
    assert entered.wait(30)
    second.start()
    first.join()
    second.join()
    assert found == ["made"] * 2
    assert not again.is_set()


def test_a_slow_value_keeps_nobody_from_another():
    kept = Kept(4)
    assert kept.value("x", lambda: kept.value("y", lambda: "inner")) == "inner"


def test_who_comes_after_an_error_asks_again():
    kept, asked = Kept(4), list[int]()

    def fails_once() -> str:
        asked.append(len(asked))
        if asked == [0]:
            raise OSError("gone")
        return "made"

    with pytest.raises(OSError, match="gone"):
        kept.value("x", fails_once)
    assert [kept.value("x", fails_once) for _ in range(2)] == ["made", "made"]
    assert asked == [0, 1]


def test_another_state_replaces_the_value():
    kept, asked = Kept(1), list[int]()
    make = counted(asked)
    assert [kept.value("x", make, state) for state in ("a", "a", "b")] == ["made 1"] * 2 + [
        "made 2"
    ]
    assert kept.value("x", make, "a") == "made 3"


def test_what_was_asked_for_last_stays():
    kept, asked = Kept(2), list[int]()
    make = counted(asked)
    assert [kept.value(key, make) for key in "xyxzx"] == [
        "made 1",
        "made 2",
        "made 1",
        "made 3",
        "made 1",
    ]
    assert kept.value("y", make) == "made 4"
