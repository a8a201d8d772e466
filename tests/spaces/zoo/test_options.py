"""Options and architectures of the named spaces that no network can have."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from netloom.errors import InvalidArchitecture, SpecError
from netloom.spaces import SPACES, DecisionSpace

_WRONG: dict[str, Any] = {
    "large": 1 << 40,
    "huge": 10**30,
    "beyond floats": 10**400,
    "negative": -1,
    "nan": float("nan"),
    "text": "x",
    "object": {"a": 1},
    "list of lists": [[]],
    "list of large ones": [1 << 40],
}


def _small(name: str, **options: Any) -> DecisionSpace:
    space = SPACES.get(name)
    preset = {"preset": "tiny"} if "tiny" in space.presets else {}
    return space(**{**preset, **options})


@pytest.mark.parametrize("wrong", _WRONG.values(), ids=_WRONG)
@pytest.mark.parametrize("name", SPACES.names())
def test_every_option_refuses_what_it_cannot_be(name: str, wrong: Any) -> None:
    for option in _small(name).options:
        with pytest.raises(SpecError):
            _small(name, **{option: wrong})


@pytest.mark.parametrize("name", SPACES.names())
def test_an_option_takes_its_value_only(name: str) -> None:
    """True is no number, an empty list is no list of sizes; what is taken makes a space."""
    for option in _small(name).options:
        for value in (True, 1.5, 0, [], [1]):
            try:
                space = _small(name, **{option: value})
            except SpecError:
                continue
            architecture = space.sample(Random(0))
            assert space.parse(space.format(architecture)) == architecture, (option, value)


@pytest.mark.parametrize("name", SPACES.names())
def test_what_is_no_architecture_is_refused(name: str) -> None:
    space = _small(name)
    for value in (*_WRONG.values(), None, True, 1.5, "", "{", "[]", [], [1], [[]], {}, b"x"):
        with pytest.raises(InvalidArchitecture, match=space.name):
            space.parse(value)


@pytest.mark.parametrize("name", SPACES.names())
def test_every_decision_refuses_what_it_cannot_be(name: str) -> None:
    space = _small(name)
    architecture = dict(space.sample(Random(0)))
    for decision in architecture:
        for wrong in (*_WRONG.values(), None):
            with pytest.raises(InvalidArchitecture):
                space.architecture({**architecture, decision: wrong})
