"""A signature is a set of options: types, bounds, closest names, documentation."""

from __future__ import annotations

import pickle
from abc import ABC
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from netloom.errors import InvalidArchitecture, SpecError
from netloom.options import (
    Problem,
    SpecProblems,
    build,
    describe,
    dotted,
    options_of,
    resolve,
)


class Contract(ABC):  # noqa: B024
    def __init__(self, space: Any, data: Any = None, inner: int = 1) -> None:
        self.space, self.data = space, data


class Base(Contract):
    """A base.

    Args:
        depth: How deep it is.
    """

    def __init__(self, space: Any, data: Any = None, *, depth: int = 3) -> None:
        super().__init__(space, data)
        self.depth = depth


class Evolution(Base):
    """A class with options of every kind.

    Args:
        population: Members kept; more
            is slower.
        rate: Share that mutates: 0 to 1.
    """

    def __init__(
        self,
        space: Any,
        data: Any = None,
        *,
        population: Annotated[int, Field(ge=2)] = 8,
        rate: float = 0.1,
        law: Literal["uniform", "weighted"] = "uniform",
        devices: tuple[str, ...] = (),
        mixed: Sequence[str | Mapping[str, float]] = (),
        width: int | list[int] = 3,
        **options: Any,
    ) -> None:
        super().__init__(space, data, **options)
        self.population, self.rate, self.law = population, rate, law
        self.devices, self.mixed, self.width = devices, mixed, width


def make_pair(*, left: int, right: int = 2) -> tuple[int, int]:
    return left, right


def problems(cls: Any, options: dict[str, Any], where: Any = "strategy") -> list[str]:
    with pytest.raises(SpecProblems) as caught:
        build(cls, options, None, where=where)
    return str(caught.value).splitlines()


def test_values_are_converted_as_json_says() -> None:
    made = build(
        Evolution,
        {"population": 1e1, "rate": 1, "devices": ["a"], "mixed": ["a", {"b": 1}], "depth": 5},
        "space",
        "data",
    )
    assert (made.space, made.data) == ("space", "data")
    assert (made.population, made.rate, made.depth) == (10, 1.0, 5)
    assert made.devices == ("a",)
    assert list(made.mixed) == ["a", {"b": 1.0}]


def test_defaults_stay_the_constructors_own() -> None:
    assert build(Evolution, {}, None).population == 8
    assert resolve(Evolution, {"rate": 0.5}) == {
        "population": 8,
        "rate": 0.5,
        "law": "uniform",
        "devices": (),
        "mixed": (),
        "width": 3,
        "depth": 3,
    }


def test_a_function_has_options_too() -> None:
    assert build(make_pair, {"left": 1}) == (1, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"populaton": 3},
            "strategy.populaton: unknown key; did you mean population?",
        ),
        ({"depht": 3}, "strategy.depht: unknown key; did you mean depth?"),
        ({"inner": 3}, "strategy.inner: unknown key"),
        ({"population": "3"}, "strategy.population: must be a valid integer, got '3'"),
        ({"population": True}, "strategy.population: must be a valid integer, got True"),
        ({"population": 2.5}, "strategy.population: must be a valid integer, got 2.5"),
        ({"population": 1}, "strategy.population: must be greater than or equal to 2, got 1"),
        ({"rate": "1e-3"}, "strategy.rate: must be a valid number, got '1e-3'"),
        ({"rate": float("nan")}, "strategy.rate: must be a finite number, got nan"),
        (
            {"law": "unifrom"},
            "strategy.law: must be 'uniform' or 'weighted', got 'unifrom'; did you mean uniform?",
        ),
        ({"devices": "a"}, "strategy.devices: must be a list, got 'a'"),
        ({"devices": [1]}, "strategy.devices[0]: must be a valid string, got 1"),
        ({"mixed": [3]}, "strategy.mixed[0]: must be a valid string or a mapping, got 3"),
        ({"width": "x"}, "strategy.width: must be a valid integer or a list, got 'x'"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], message: str) -> None:
    [found] = problems(Evolution, options)
    assert found.startswith(message)


def test_all_problems_come_at_once() -> None:
    found = problems(Evolution, {"population": 1, "rate": "x", "lw": 1}, where=("estimators", 0))
    assert len(found) == 3
    assert all(line.startswith("estimators[0].") for line in found)


def test_a_required_option_is_missed() -> None:
    assert problems(make_pair, {}) == ["strategy.left: is required and missing"]


def test_what_a_constructor_refuses_carries_the_path() -> None:
    def refuses(space: Any, *, n: int = 0) -> None:
        raise SpecError("n must be even, got 0")

    def breaks(space: Any, *, n: int = 0) -> None:
        raise KeyError("n")

    def invalid(space: Any, *, n: int = 0) -> None:
        raise InvalidArchitecture("no")

    assert problems(refuses, {}) == ["strategy: n must be even, got 0"]
    assert "raised KeyError: 'n'" in problems(breaks, {})[0]
    with pytest.raises(InvalidArchitecture):
        build(invalid, {}, None)


def test_an_annotation_that_cannot_be_read_is_the_authors_error() -> None:
    def late(*, n: Nowhere = 0) -> None: ...  # type: ignore[name-defined] # noqa: F821

    with pytest.raises(SpecError, match=r"annotation 'Nowhere' of n .*TYPE_CHECKING"):
        options_of(late)


def test_describe_reads_signature_and_docstring() -> None:
    listed = {info.name: info for info in describe(Evolution)}
    assert list(listed)[:2] == ["population", "rate"]
    assert listed["population"].type == "int"
    assert listed["population"].default == "8"
    assert listed["population"].doc == "Members kept; more is slower."
    assert listed["depth"].doc == "How deep it is."
    assert describe(make_pair)[0].default is None


def test_problems_survive_pickling_and_paths_read_well() -> None:
    error = SpecProblems([Problem(("a", 0, "b"), "is wrong", "f.yaml:3:1")])
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error) == "f.yaml:3:1: a[0].b: is wrong"
    assert copy.exit_code == 2
    assert dotted(("a", 0, 1, "b")) == "a[0][1].b"
