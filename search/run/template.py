"""Commented specs to start from: one for every pair of space and strategy that may run."""

from __future__ import annotations

from importlib import resources

from ...errors import SpecError
from ...estimators import ESTIMATORS
from ...options import OptionInfo, SpecProblems, build, describe
from ...spaces import SPACES, DecisionSpace
from .capabilities import pairing_problem
from .parts import is_network, make_data, make_space, strategy_named
from .spec import Named, name_of

_COUNTED = ("macs", "minimize")
_DATA = "digits"  # what the template trains on


def render(space: str, strategy: str, *, file: str | None = None) -> str:
    """Return the text of a spec that validates.

    Args:
        space: Registered name or import path.
        strategy: Registered name or import path.
        file: Where it will stand, for the commands in its head.

    Raises:
        UnknownName: If a name is not registered.
        SpecError: If the strategy cannot search the space, or the space cannot be made without
            options; says why.
    """
    made, strategy_class = _made(space), strategy_named(strategy, ("--strategy",))
    target = SPACES.get(space)
    if problem := pairing_problem(strategy_class, made):
        raise SpecError(problem)
    measured = {} if strategy_class.needs_data else _measured(made)
    name = name_of(f"{space}-{strategy}".replace("_", "-")) or "search"
    task, goals = _task_and_goals(measured, single=strategy_class.objectives == "single")
    return _text("base").format(
        file=file or f"{name}.yaml",
        name=name,
        space=space,
        strategy=strategy,
        space_value=_word(space),
        strategy_value=_word(strategy),
        space_options=_commented([] if target is made else describe(target)),
        strategy_options=_commented(describe(strategy_class)),
        task=task,
        goals=goals,
        trials=200 if measured else 40,
    )


def _made(space: str) -> DecisionSpace:
    """Return the space; a plain network needs a data set to know its input."""
    named, where = Named(name=space), ("--space",)
    try:
        return make_space(named, where=where)[0]
    except SpecProblems as error:
        if ":" not in space or not _is_network(space):
            raise error.moved("--space", (*where, "name")) from error
    return make_space(named, make_data(Named(name=_DATA))[0], where)[0]


def _is_network(path: str) -> bool:
    try:
        return is_network(SPACES.get(path))
    except Exception:  # it cannot even be imported: that error is the one to show
        return False


def _word(name: str) -> str:
    """Return a name as it reads in YAML: an import path holds a colon."""
    return f'"{name}"' if ":" in name else name


def _measured(space: DecisionSpace) -> dict[str, str]:
    """Return metric -> direction of the space's table (validation only); empty: it has none."""
    try:
        table = build(ESTIMATORS.get("tabular"), {}, space, None)
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
