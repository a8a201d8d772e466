"""A folder imports only from the floors below it and from the ground."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ALLOWED = {
    "spaces": set(),
    "hw_models": set(),
    "db": set(),
    "estimators": {"spaces", "hw_models"},
    "dashboard": {"db"},
    "search": {"spaces", "hw_models", "db", "estimators", "dashboard"},
}
BANNED = {
    "spaces": {"ray", "sqlalchemy"},
    "hw_models": {"ray", "sqlalchemy"},
    "db": {"torch", "ray"},
    "estimators": {"ray", "sqlalchemy"},
    "dashboard": {"torch", "ray"},
    "search": set(),
}


def imported(path: Path, package: list[str]) -> set[tuple[str, ...]]:
    """Return the absolute dotted names that a module imports, relative ones resolved."""
    names: set[tuple[str, ...]] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {tuple(alias.name.split(".")) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            names.add((*base, *(node.module or "").split(".")))
            if not node.module:
                names |= {(*base, alias.name) for alias in node.names}
    return names


@pytest.mark.parametrize("folder", sorted(ALLOWED))
def test_imports_run_downwards(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    for path in files:
        package = ["netloom", *path.relative_to(ROOT).parent.parts]
        for name in imported(path, package):
            if name[0] == "netloom" and len(name) > 1 and name[1] in ALLOWED:
                assert name[1] == folder or name[1] in ALLOWED[folder], f"{path}: {'.'.join(name)}"
            assert name[0] not in BANNED[folder], f"{path} imports {name[0]}"


def test_the_ground_imports_no_floor() -> None:
    for path in sorted((ROOT / "src/netloom").glob("*.py")):
        if path.name == "__main__.py":  # the entry point is the roof
            continue
        for name in imported(path, ["netloom"]):
            assert not (name[0] == "netloom" and len(name) > 1 and name[1] in ALLOWED), (path, name)


def test_our_folders_import_each_other_relatively() -> None:
    for folder in ALLOWED:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom) and not node.level:
                    assert (node.module or "").split(".")[0] != "netloom", path
