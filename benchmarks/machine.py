"""Where and when a number was measured, and how sure it is."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from math import comb
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def machine(*packages: str) -> dict[str, Any]:
    """Return processor, cores, load and versions; a package that is missing is said to be."""
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "load": load(),
        "versions": {"python": platform.python_version(), **{p: _version(p) for p in packages}},
    }


def sentence(found: dict[str, Any]) -> str:
    """Return what `machine` found as half a sentence for the foot of a table."""
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    return f"{found['cpu']}, {found['cores']} cores, load {found['load']}; {versions}"


def load() -> float:
    """Return the mean number of running processes over the last minute, others' included."""
    return round(os.getloadavg()[0], 1)


def cpu_model() -> str:
    """Return the processor's name where the system tells."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return (median, lower, upper): at least 95 % for the median, whatever the distribution.

    The bounds are two of the values themselves: as many fall below the true median as heads in
    fair tosses. Fewer than six values cannot give such an interval: their whole range comes back.
    """
    ordered, n = sorted(values), len(values)
    outside, cut = 1 / 2**n, 0  # chance that the median lies below value `cut`
    while cut + 1 < n - cut - 1 and (further := outside + comb(n, cut + 1) / 2**n) <= 0.025:
        outside, cut = further, cut + 1
    return statistics.median(ordered), ordered[cut], ordered[n - 1 - cut]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def ratio(over: Sequence[float], under: Sequence[float]) -> str:
    """Return the median ratio of alternating runs with its interval, for a table."""
    median, low, high = median_interval([a / b for a, b in zip(over, under, strict=True)])
    return f"{median:.2f} ({low:.2f} to {high:.2f})"
