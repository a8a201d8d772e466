"""`netloom doctor`: is everything here that a search needs?"""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
from collections.abc import Collection
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from importlib.util import find_spec
from typing import Any

import typer

from ... import __version__
from ...errors import NetloomError
from .common import JsonOption, StoreOption, command, emit_json, emit_table, note, open_store

_PACKAGES = (
    "torch",
    "ray",
    "numpy",
    "pandas",
    "pydantic",
    "SQLAlchemy",
    "alembic",
    "moocore",
    "plotly",
    "pyarrow",
    "scikit-learn",
)
_EXTRAS = {
    "dashboard": ("dash", "dash_ag_grid"),
    "detection": ("pycocotools",),
    "export": ("onnx", "onnxruntime", "onnxscript", "safetensors"),
    "onnx": ("onnx",),
    "optuna": ("optuna",),
    "plot": ("plotext",),
    "postgres": ("psycopg",),
}
_GROUPS = (
    "netloom.spaces",
    "netloom.factors",
    "netloom.strategies",
    "netloom.estimators",
    "netloom.datasets",
    "netloom.device_families",
    "netloom.devices",
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "doctor", "netloom doctor --json")(doctor)


def doctor(as_json: JsonOption = False, store: StoreOption = None) -> None:
    """Report versions, extras, Ray, accelerators, plug-ins and the store; exit 1 on a problem."""
    findings = [
        _finding("netloom", "ok", f"{__version__}, Python {platform.python_version()}"),
        _finding("machine", "ok", f"{platform.platform()}, {os.cpu_count()} CPUs"),
        *(_package(name) for name in _PACKAGES),
        *(_extra(name, modules) for name, modules in _EXTRAS.items()),
        _accelerator(),
        _ray(),
        *_plugins(),
        _store(store),
        _disk(),
    ]
    problems = [f for f in findings if f["state"] == "problem"]
    if as_json:
        emit_json({"ok": not problems, "findings": findings})
    else:
        emit_table(
            ["what", "state", "details"], [[f["what"], f["state"], f["details"]] for f in findings]
        )
    if problems:
        note(f"{len(problems)} problem(s): {', '.join(f['what'] for f in problems)}")
        raise typer.Exit(1)


def _finding(what: str, state: str, details: str) -> dict[str, str]:
    return {"what": what, "state": state, "details": details}


def _package(name: str) -> dict[str, str]:
    try:
        return _finding(name, "ok", version(name))
    except PackageNotFoundError:
        return _finding(name, "problem", f"not installed; pip install {name}")


def _extra(name: str, modules: tuple[str, ...]) -> dict[str, str]:
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        return _finding(f"extra {name}", "missing", f"optional; pip install 'netloom[{name}]'")
    return _finding(f"extra {name}", "ok", ", ".join(modules))


def _accelerator() -> dict[str, str]:
    try:
        import torch
    except Exception as error:  # a broken installation raises anything
        return _finding("accelerator", "problem", f"torch cannot be imported: {error}")
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return _finding("accelerator", "ok", ", ".join(names))
    return _finding("accelerator", "ok", f"none; torch uses {torch.get_num_threads()} CPU threads")


def _ray() -> dict[str, str]:
    try:
        ray: Any = importlib.import_module("ray")
        importlib.import_module("ray.tune")
    except Exception as error:
        return _finding("ray tune", "problem", f"cannot be imported: {error}")
    address = os.environ.get("RAY_ADDRESS", "")
    where = f"cluster {address} (RAY_ADDRESS)" if address else "starts locally when a run needs it"
    return _finding("ray tune", "ok", f"{ray.__version__}, {where}")


def _plugins() -> list[dict[str, str]]:
    return [_plugin(group, point) for group in _GROUPS for point in entry_points(group=group)]


def _plugin(group: str, point: EntryPoint) -> dict[str, str]:
    from ...hw_models import load_device

    what = f"plug-in {group.removeprefix('netloom.')} {point.name}"
    if point.name in _own_names(group):
        text = f"{point.value}: the name {point.name} is netloom's own and stays so; rename it"
        return _finding(what, "problem", text)
    try:
        point.load()
        if group == "netloom.devices":
            load_device(point.name)
    except Exception as error:  # the plug-in's own code
        return _finding(what, "problem", f"{point.value}: {type(error).__name__}: {error}")
    return _finding(what, "ok", point.value)


def _own_names(group: str) -> Collection[str]:
    """Return the names of a group that no plug-in can take."""
    from ...estimators import DATASETS, ESTIMATORS
    from ...hw_models.device import FAMILIES, shipped_devices
    from ...spaces import FACTORS, SPACES
    from ..registry import STRATEGIES

    for registry in (SPACES, FACTORS, STRATEGIES, ESTIMATORS, DATASETS, FAMILIES):
        if registry.group == group:
            return registry.own_names()
    return shipped_devices()


def _store(url: str | None) -> dict[str, str]:
    from ...db import public_url, store_url

    where = public_url(store_url(url))
    path = where.removeprefix("sqlite:///")
    if path != where and not os.path.exists(path):
        return _finding("store", "ok", f"{where}: not there yet; the first search makes it")
    try:
        with open_store(url) as opened:
            count = len(opened.experiments(all=True))
    except NetloomError as error:
        return _finding("store", "problem", f"{where}: {error}")
    return _finding("store", "ok", f"{where}: {count} experiments")


def _disk() -> dict[str, str]:
    free = shutil.disk_usage(os.getcwd()).free / 1024**3
    state = "ok" if free > 1 else "problem"
    return _finding("disk", state, f"{free:.1f} GB free here ({sys.platform})")
