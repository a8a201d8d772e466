from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from netloom.errors import UnknownName
from netloom.registry import Registry
from netloom.spaces import SPACES
from netloom.spaces.testing import SpaceContract

ZOO = Path(__file__).parent / "zoo"
TINY = """
from netloom.spaces import Decision, Space


class Tiny(Space):
    decisions = (Decision("width", (1, 2)),)

    def build(self, architecture):
        from torch import nn

        return nn.Linear(1, architecture["width"])
"""


def suites() -> Iterator[type[SpaceContract]]:
    """Yield the conformance suites of the named spaces."""
    for path in sorted(ZOO.rglob("test_*.py")):
        name = ".".join(path.relative_to(ZOO.parent).with_suffix("").parts)
        for value in vars(importlib.import_module(f".{name}", __package__)).values():
            named = getattr(value, "__name__", "").startswith("Test")
            if named and isinstance(value, type) and issubclass(value, SpaceContract):
                yield value


def test_every_named_space_has_a_suite() -> None:
    assert {suite().make().name for suite in suites()} == set(SPACES.names())
    assert all(SPACES.get(name).name == name for name in SPACES.names())


def test_installed_packages_add_spaces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plug_in_nets.py").write_text(TINY)
    info = tmp_path / "plug_in_nets-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plug-in-nets\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[netloom.spaces]\ntiny_plug_in = plug_in_nets:Tiny\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    registry = Registry("space", "netloom.spaces", {})
    assert "tiny_plug_in" in registry.names()
    space = registry.get("tiny_plug_in")()
    assert (space.name, space.size) == ("Tiny", 2)
    assert space.build(space.parse({"width": 2})).out_features == 2
    assert registry.get("plug_in_nets:Tiny") is type(space)


def test_unknown_spaces_are_named() -> None:
    with pytest.raises(UnknownName, match="unknown space 'nb202'; did you mean nb201"):
        SPACES.get("nb202")
