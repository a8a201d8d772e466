"""What does not fit together in a plan, and who could provide a metric that nobody does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

from ...errors import SpecError, did_you_mean
from ...estimators import Estimator
from ...options import Path, Problem
from .capabilities import SpaceCheck, pairing_problem
from .evaluation import label

if TYPE_CHECKING:
    from .plan import Plan

_HINTS = {
    "params": "complexity",
    "macs": "complexity",
    "peak_activation_bytes": "complexity",
    "valid_accuracy": "training or tabular",
    "test_accuracy": "training or tabular",
    "valid_loss": "training",
    "accuracy": "tabular (nats_sss, nas_bench_macro)",
}


def no_provider(metric: str, known: Iterable[str]) -> str:
    """Return why `metric` cannot be had, the closest metrics, and who could provide it."""
    names = sorted(known)
    base, _, target = metric.partition("@")
    close = get_close_matches(metric, names, n=3, cutoff=0.6)
    text = f"no estimator of this spec provides {metric!r}"
    if close:
        text += f"; did you mean {' or '.join(close)}?"
    if target:
        text += _modelled(metric, target, quiet=bool(close))
    elif hint := _HINTS.get(base):
        text += f"; {metric} comes from the estimator {hint}"
    if not close:
        text += did_you_mean(metric, names) if names else ""
    return text


def _modelled(metric: str, target: str, *, quiet: bool) -> str:
    """Return which estimator models `target`, or, unless `quiet`, which devices there are."""
    from ...estimators.tables import measured_devices
    from ...hw_models import device_names

    devices = device_names()
    if target in devices:
        return f"; {metric} comes from the estimator hardware (devices: [{target}])"
    if spaces := measured_devices().get(target):
        return f"; {target} was measured on {', '.join(spaces)} (estimator tabular)"
    return "" if quiet else f"; no device {target!r} is modelled{did_you_mean(target, devices)}"


def mismatches(plan: Plan) -> Iterable[Problem]:
    """Yield what does not fit together."""
    yield from _twice_provided(plan.estimators)
    yield from _unprovided(plan)
    yield from _one_in_two(plan)
    reason = pairing_problem(type(plan.strategy), plan.space, len(plan.objectives))
    if reason:
        yield Problem(("strategy",), reason)
    elif isinstance(plan.strategy, SpaceCheck):
        try:
            plan.strategy.check_space(plan.space)
        except SpecError as error:
            yield Problem(("strategy",), str(error))
    if plan.strategy.needs_data and plan.data is None:
        name = plan.strategy.name or type(plan.strategy).__name__
        remedy = "name a data set (data: {name: digits})"
        yield Problem(("data",), f"strategy {name} trains and needs data, got none; {remedy}")
    yield from _runner_problems(plan)


def _twice_provided(estimators: Sequence[Estimator]) -> Iterable[Problem]:
    first: dict[str, tuple[int, str]] = {}
    for i, estimator in enumerate(estimators):
        clashes: dict[str, list[str]] = {}
        for metric in estimator.metrics:
            j, other = first.setdefault(metric.name, (i, label(estimator)))
            if j != i:
                clashes.setdefault(f"estimators[{j}] ({other})", []).append(metric.name)
        for other, names in clashes.items():
            verb = "is" if len(names) == 1 else "are"
            text = (
                f"{', '.join(names)} {verb} provided by both {other} and estimators[{i}] "
                f"({label(estimator)}); a metric must come from exactly one, remove the other"
            )
            yield Problem(("estimators", i), text)


def _unprovided(plan: Plan) -> Iterable[Problem]:
    wanted: list[tuple[Path, str]] = [
        (("objectives", i, o.direction), o.metric) for i, o in enumerate(plan.objectives)
    ]
    wanted += [(("constraints", i), c.metric) for i, c in enumerate(plan.constraints)]
    seen: set[str] = set()
    for path, metric in wanted:
        if path[0] == "objectives" and metric in seen:
            yield Problem(path, f"{metric} is an objective twice; keep one")
        seen.add(metric)
        try:
            provider = plan.provider(metric)
        except SpecError as error:
            yield Problem(path, str(error))
            continue
        given = {m.name: m for m in provider.metrics}.get(metric)
        if given is not None and given.split == "test":
            valid = [m for m in plan.metrics.values() if m.split == "valid"]
            close = did_you_mean(metric, [m.name for m in valid])
            text = (
                f"{metric} is measured on the test split, which no search may see (the front gets "
                f"it once, at the end); use a validation metric{close}"
            )
            yield Problem(path, text)


def _one_in_two(plan: Plan) -> Iterable[Problem]:
    """Yield objectives that are a constant times another: they order networks alike.

    An estimator says so in a metric's provenance, `proportional_to`.
    """
    metrics = plan.metrics

    def root(name: str) -> str:
        metric = metrics.get(name)
        base = metric.provenance.get("proportional_to") if metric else None
        return root(base) if base else name

    first: dict[str, str] = {}
    for i, objective in enumerate(plan.objectives):
        name = objective.metric
        other = first.setdefault(root(name), name)
        if other != name:
            derived, base = (name, other) if root(name) != name else (other, name)
            text = (
                f"{derived} is a constant times {root(base)}, so that it is no objective of its "
                f"own beside {base}, got both; keep one, or bound the other by a constraint"
            )
            yield Problem(("objectives", i, objective.direction), text)


def _runner_problems(plan: Plan) -> Iterable[Problem]:
    runner, reports = plan.runner, any(e.reports for e in plan.estimators)
    names = ", ".join(map(label, plan.estimators))
    if runner.scheduler.name != "none":
        path = ("runner", "scheduler")
        if not reports:
            text = f"{runner.scheduler.name} needs an estimator that reports while it works"
            yield Problem(path, f"{text} (training does); got {names}")
        if runner.engine == "inline":
            yield Problem(path, f"{runner.scheduler.name} needs engine ray, got engine inline")
        if runner.scheduler.metric is not None and runner.scheduler.metric not in plan.metrics:
            text = no_provider(runner.scheduler.metric, plan.metrics)
            yield Problem((*path, "metric"), text)
    if runner.engine == "inline":
        if (runner.workers or 1) > 1:
            text = f"engine inline runs one trial at a time, got {runner.workers}; use engine ray"
            yield Problem(("runner", "workers"), text)
        if runner.address is not None:
            text = f"engine inline has no cluster, got {runner.address!r}; use engine ray"
            yield Problem(("runner", "address"), text)
    if plan.budget.epochs is not None and plan.cheap:
        text = f"counts epochs of training, and no estimator trains ({names}); bound trials or time"
        yield Problem(("budget", "epochs"), text)
