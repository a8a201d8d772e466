"""What boxes say: names from signatures, nothing twice, no defaults."""

from __future__ import annotations

import doctest
from functools import partial
from typing import Any

import pytest
from torch import nn

from netloom.spaces import SPACES, Input, Part, box_words
from netloom.spaces.box_words import size, words
from netloom.spaces.graph import Module


class Attend(nn.Module):
    """Attention.

    And more.
    """

    def __init__(self, dim: int, head_dim: int, heads: int = 1, *, window: Any = None) -> None:
        super().__init__()


def said(build: Any, before: tuple[int, ...], after: tuple[int, ...]) -> tuple[Any, ...]:
    found = words(Part("some key", "label", build, (Input(-1, before),)), after)
    return found.kind, found.facts, found.size


@pytest.mark.parametrize(
    ("build", "before", "after", "expected"),
    [
        (
            Module("torch.nn:Conv2d", (3, 8, 3, 2, 1)),
            (1, 3, 9, 9),
            (1, 8, 5, 5),
            ("Conv2d", ("3x3", "stride 2", "padding 1"), "8 ch, 5 x 5"),
        ),
        (
            partial(nn.Conv2d, 8, 8, (1, 5), groups=8, bias=False),
            (1, 8, 9, 9),
            (1, 8, 9, 5),
            ("Conv2d", ("1x5", "groups 8"), "8 ch, 9 x 5"),
        ),
        (nn.ReLU, (1, 8, 9, 9), (1, 8, 9, 9), ("ReLU", (), "8 ch, 9 x 9")),
        (
            partial(Attend, 64, 16, 4, window=(7, 7)),
            (1, 50, 64),
            (1, 50, 64),
            ("Attend", ("head dim 16", "heads 4", "window (7, 7)"), "50 tokens x 64"),
        ),
        (
            partial(Attend, 64, 16),
            (1, 7, 7, 64),
            (1, 7, 7, 64),
            ("Attend", ("head dim 16",), "64 ch, 7 x 7"),
        ),
        (partial(nn.Linear, 64, 10), (1, 64), (), ("Linear", ("out features 10",), "output")),
        (lambda: nn.ReLU(), (1, 2), (1, 2), ("layer", (), "2")),
    ],
)
def test_names_come_from_the_signature(
    build: Any, before: tuple[int, ...], after: tuple[int, ...], expected: tuple[Any, ...]
) -> None:
    assert said(build, before, after) == expected


def test_the_whole_is_kept_for_those_who_point_at_it() -> None:
    found = words(Part("k", "l", partial(Attend, 64, 16), ()), (1, 50, 64))
    assert found.whole == "Attend(dim=64, head_dim=16)"
    assert found.about == "Attention."


def test_a_part_that_does_not_tell_is_known_by_its_key() -> None:
    part = Part("my.nets:Conv(3, 'same') @ 1x3x8x8", "conv", lambda: nn.Identity(), ())
    assert words(part, (1, 3, 8, 8))[:2] == ("Conv", ("3, same",))


@pytest.mark.parametrize("name", SPACES.names())
def test_no_box_of_a_named_space_holds_bare_numbers(name: str) -> None:
    """Every number has a name, and every box a kind."""
    space = SPACES.get(name)(preset="tiny") if name != "nas_bench_macro" else SPACES.get(name)()
    parts = space.parts(space.at(space.size - 1))
    for part in parts:
        found = words(part, ())
        assert found.kind[:1].isalpha()
        for fact in found.facts:
            assert fact[:1].isalpha() or "x" in fact, fact


def test_the_last_axis_is_the_width_only_if_it_alone_is() -> None:
    assert doctest.testmod(box_words).attempted == 1
    assert doctest.testmod(box_words).failed == 0
    assert size((1, 56, 56, 56), {56}) == ("56 ch, 56 x 56", 56)
    assert size((1, 8, 100)) == ("8 x 100", 8)
