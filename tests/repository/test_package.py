"""The wheel holds what it should, and help answers without loading the heavy things."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("spaces", "hw_models", "estimators", "search", "db", "dashboard")
HEAVY = ("torch", "ray", "pandas", "sqlalchemy", "plotly", "dash", "sklearn", "optuna")


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    target = tmp_path_factory.mktemp("wheel")
    source = target / "source"
    source.mkdir()
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split("\0")
    for name in filter(None, tracked):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", target, source],
        check=True,
        capture_output=True,
    )
    (wheel,) = target.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_every_module_is_in_the_wheel(wheel_names: set[str]) -> None:
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            assert f"netloom/{path.relative_to(ROOT)}" in wheel_names
    for path in (ROOT / "src/netloom").glob("*.py"):
        assert f"netloom/{path.name}" in wheel_names


def test_data_files_are_in_the_wheel(wheel_names: set[str]) -> None:
    for pattern in ("hw_models/devices/*.yaml", "estimators/tables/*.parquet"):
        files = list(ROOT.glob(pattern))
        assert files
        for path in files:
            assert f"netloom/{path.relative_to(ROOT)}" in wheel_names
    assert "netloom/py.typed" in wheel_names
    assert any(name.startswith("netloom/db/migrations/versions/0001") for name in wheel_names)


def test_the_wheel_installs_only_netloom(wheel_names: set[str]) -> None:
    tops = {name.split("/")[0] for name in wheel_names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"netloom"}


def loaded_by(statement: str) -> set[str]:
    script = f"{statement}\nimport sys\nprint(' '.join(m for m in {HEAVY!r} if m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    return set(done.stdout.splitlines()[-1].split()) if done.stdout.strip() else set()


@pytest.mark.parametrize(
    "module",
    ["netloom", "netloom.errors", "netloom.spaces", "netloom.search", "netloom.search.cli"],
)
def test_importing_loads_nothing_heavy(module: str) -> None:
    assert loaded_by(f"import {module}") == set()


@pytest.mark.parametrize("module", ["netloom.db", "netloom.estimators", "netloom.hw_models"])
def test_importing_loads_neither_torch_nor_ray(module: str) -> None:
    assert not loaded_by(f"import {module}") & {"torch", "ray"}


def test_help_loads_nothing_heavy() -> None:
    help_text = (
        "import sys; from netloom.search.cli import main\n"
        "sys.argv = ['netloom', '--help']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code"
    )
    assert loaded_by(help_text) == set()


def test_public_names_resolve() -> None:
    import netloom

    for name in netloom.__all__:
        assert getattr(netloom, name) is not None


def declared(*, extras: bool = False) -> set[str]:
    """Return the distributions that `pip install netloom` asks for, or with every user's extra."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = list(project["dependencies"])
    for name, more in project["optional-dependencies"].items() if extras else ():
        lines += more if name not in ("test", "bench") else []
    return {re.split(r"[^\w.-]", line)[0].lower().replace("_", "-") for line in lines}


def imported() -> set[str]:
    """Return the distributions that the package imports, its test suites left out."""
    of_module = packages_distributions()
    names: set[str] = set()
    for folder in ("src/netloom", *FOLDERS):
        for path in (ROOT / folder).rglob("*.py"):
            if path.name == "testing.py" or "testing" in path.parts:
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    names |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    names.add((node.module or "").partition(".")[0])
                elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "import_module":
                    names |= {str(a.value) for a in node.args if isinstance(a, ast.Constant)}
    third_party = names - sys.stdlib_module_names - {"netloom", "__future__"}
    return {of_module[n][0].lower().replace("_", "-") for n in third_party if n in of_module}


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    used = imported()
    below = {"click", "flask", "pydantic-core", "werkzeug"}  # parts of typer, dash and pydantic
    assert used - below <= declared(extras=True)
    assert declared() <= used


def test_quickstart_shows_the_run_that_it_made(tmp_path: Path) -> None:
    """On a second run the name is taken, and the front of the first would be an old one."""
    binaries = tmp_path / "venv" / "bin"
    binaries.mkdir(parents=True)
    (binaries / "python").symlink_to(sys.executable)
    stub = binaries / "netloom"
    stub.write_text(
        '#!/bin/sh\necho "$@" >> calls\n'
        """[ "$1" != search ] || echo '{"experiment": {"name": "quickstart-2"}}'\n"""
    )
    stub.chmod(0o755)
    for name in ("Makefile", "pyproject.toml", "setup.py", "constraints.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "venv" / ".installed").touch()
    subprocess.run(
        ["make", "quickstart", "VENV=venv"], cwd=tmp_path, check=True, capture_output=True
    )
    assert (tmp_path / "calls").read_text().splitlines() == [
        "search examples/quickstart.yaml --json",
        "pareto quickstart-2",
        "report quickstart-2 -o report.html",
    ]
