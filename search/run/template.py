"""Commented specs to start from: one for every pair of space and strategy that may run."""

from __future__ import annotations

from importlib import resources
from typing import Any

from ...errors import SpecError
from ...estimators import ESTIMATORS
from ...options import OptionInfo, build, describe
from ...spaces import SPACES
from ..registry import STRATEGIES
from .capabilities import capability_matrix

_COUNTED = ("macs", "minimize")


def render(space: str, strategy: str) -> str:
    """Return the text of a spec that validates.

    Raises:
        UnknownName: If a name is not registered.
        SpecError: If the strategy cannot search the space; says why.
    """
    space_class, strategy_class = SPACES.get(space), STRATEGIES.get(strategy)
    [pair] = capability_matrix([strategy], [space])
    if not pair.valid:
        raise SpecError(pair.reason)
    measured = _measured(space_class)
    name = f"{space}-{strategy}".replace("_", "-")
    task, goals = _task_and_goals(measured, single=strategy_class.objectives == "single")
    return _text("base").format(
        file=f"{name}.yaml",
        name=name,
        space=space,
        strategy=strategy,
        space_options=_commented(describe(space_class)),
        strategy_options=_commented(describe(strategy_class)),
        task=task,
        goals=goals,
        trials=200 if measured else 40,
    )


def _measured(space_class: Any) -> dict[str, str]:
    """Return metric -> direction of the space's table (validation only); empty: it has none."""
    try:
        table = build(ESTIMATORS.get("tabular"), {}, build(space_class, {}), None)
    except SpecError:
        return {}  # a space without measurements is trained instead
    return {m.name: m.direction for m in table.metrics if m.split == "valid"}


def _task_and_goals(measured: dict[str, str], *, single: bool) -> tuple[str, str]:
    best = [(m, d) for m, d in measured.items() if d == "maximize"][:1]
    first = best[0] if best else ("valid_accuracy", "maximize")
    latency = [(m, d) for m, d in measured.items() if m.startswith("latency_ms@")][:1]
    second = latency[0] if latency else _COUNTED
    if measured:
        task = _text("tabular").format(measured=", ".join(measured))
    else:
        task = _text("training").format()
    lines = ["objectives:", f"  - {first[1]}: {first[0]}"]
    lines += [f"  - {second[1]}: {second[0]}"] if not single else []
    spare = second[0] if single else "params"
    bound = "2M" if spare in ("params", "macs") else "20"
    lines += ["# What must hold; a network that breaks it is recorded and not trained."]
    lines += ["# constraints:", f"#   - {spare} <= {bound}", ""]
    return task, "\n".join(lines)


def _commented(options: list[OptionInfo]) -> str:
    heads = [f"#   {option.name}: {_yaml(option.default)}" for option in options]
    width = max(map(len, heads), default=0)
    lines = [f"{h.ljust(width)}  {o.doc}".rstrip() for h, o in zip(heads, options, strict=True)]
    return "\n".join(lines) or "#   (none)"


def _yaml(default: str | None) -> str:
    """Return a Python default as it reads in YAML."""
    words = {"None": "null", "True": "true", "False": "false", None: "(required)"}
    if default in words:
        return words[default]
    return default.replace("(", "[").replace(")", "]") if default else ""


def _text(name: str) -> str:
    return (resources.files(__package__) / "templates" / f"{name}.yaml").read_text("utf-8")
