"""Plans over the toys, for tests and for the processes that tests kill."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from netloom.search.run.plan import Plan, build_plan
from netloom.search.run.spec import parse

PROJECT = Path(__file__).parent
SPEC: dict[str, Any] = {
    "name": "toy",
    "seed": 3,
    "space": "toys:Grid",
    "estimators": ["toys:Cost"],
    "strategy": {"name": "random", "batch": 4},
    "objectives": [{"maximize": "gain"}, {"minimize": "cost"}],
    "budget": {"trials": 20},
    "baseline": False,
}
TRAIN: dict[str, Any] = {
    "estimators": ["toys:Cost", {"name": "toys:Train"}],
    "objectives": [{"maximize": "accuracy"}, {"minimize": "cost"}],
    "budget": {"trials": 10},
    "runner": {"engine": "inline"},
}


def make_plan(url: str, **changes: Any) -> Plan:
    """Return the toy plan with changes."""
    return build_plan(parse({**SPEC, "store": url, **changes}), source_dir=PROJECT)


def trained(**options: Any) -> dict[str, Any]:
    """Return changes of the toy plan that make it train with these options."""
    return {**TRAIN, "estimators": ["toys:Cost", {"name": "toys:Train", **options}]}
