"""Errors, registry, seeds and canonical JSON."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from netloom import errors
from netloom.errors import MissingDependency, NetloomError, SpecError, UnknownName
from netloom.jsonio import canonical_json, digest
from netloom.registry import Registry, load
from netloom.seeds import derive_rng, derive_seed


def test_exit_codes_are_the_documented_ones() -> None:
    codes = {
        name: cls.exit_code
        for name, cls in vars(errors).items()
        if isinstance(cls, type) and issubclass(cls, NetloomError)
    }
    assert codes["SpecError"] == codes["InvalidArchitecture"] == 2
    assert codes["NoFeasible"] == 3
    assert codes["TrialsFailed"] == 4
    assert codes["MissingDependency"] == 5
    assert codes["Interrupted"] == 130
    assert codes["WrongStore"] == 2
    assert codes["OutputError"] == 1
    assert codes["EvaluationError"] == codes["StoreError"] == codes["HardwareLimit"] == 1


def test_unknown_names_list_the_closest_and_survive_pickling() -> None:
    error = UnknownName("device", "pixle3", ["pixel3", "eyeriss"])
    assert "did you mean pixel3?" in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert "known: a, b" in str(UnknownName("device", "zzzzzz", ["b", "a"]))


def test_canonical_json_is_one_text_per_value() -> None:
    assert canonical_json({"b": 4.0, "a": [1, (2.5,)]}) == '{"a":[1,[2.5]],"b":4}'
    assert digest({"a": 4.0, "b": True}) == digest({"b": True, "a": 4})
    assert digest({"a": True}) != digest({"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        canonical_json(float("nan"))


def test_seeds_depend_on_every_part_and_on_nothing_else() -> None:
    seeds = {derive_seed(s, r, n) for s in (0, 1) for r in ("a", "b") for n in (0, 1, 10)}
    assert len(seeds) == 12
    script = "from netloom.seeds import derive_seed; print(derive_seed(3, 'trial', 7))"
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert int(other.stdout) == derive_seed(3, "trial", 7)
    assert derive_rng(1, "x").random() == derive_rng(1, "x").random()


def test_a_registry_loads_by_name_and_by_path() -> None:
    registry = Registry("thing", "netloom.nothing", {"digest": "netloom.jsonio:digest"})
    assert registry.get("digest") is digest
    assert registry.get("netloom.errors:SpecError") is SpecError
    registry.register("mine", SpecError)
    assert registry.names() == ["digest", "mine"]
    with pytest.raises(SpecError, match="taken"):
        registry.register("mine", digest)
    with pytest.raises(UnknownName, match="did you mean digest"):
        registry.get("digets")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no_such_module_here:Thing", "no module 'no_such_module_here'"),
        ("netloom.errors:SpecEror", "did you mean SpecError"),
        ("netloom.errors:", "package.module:Name"),
    ],
)
def test_a_wrong_path_says_what_is_wrong(path: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        load(path, kind="space")


def test_a_module_that_misses_a_package_is_a_missing_dependency(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needs_more.py").write_text("import surely_not_installed\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingDependency, match="surely_not_installed"):
        load("needs_more:Thing", kind="space")
