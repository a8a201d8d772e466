"""What the shell offers after Tab: names of spaces, strategies, devices and experiments."""

from __future__ import annotations

from collections.abc import Iterable

import typer

from ...errors import NetloomError


def spaces(incomplete: str) -> list[str]:
    """Return the registered spaces that begin so."""
    from ...spaces import SPACES

    return _fitting(SPACES, incomplete)


def strategies(incomplete: str) -> list[str]:
    """Return the registered strategies that begin so."""
    from ..registry import STRATEGIES

    return _fitting(STRATEGIES, incomplete)


def estimators(incomplete: str) -> list[str]:
    """Return the registered estimators that begin so."""
    from ...estimators import ESTIMATORS

    return _fitting(ESTIMATORS, incomplete)


def devices(incomplete: str) -> list[str]:
    """Return the modelled and the measured devices that begin so."""
    from ...estimators.tables import measured_devices
    from ...hw_models import device_names

    return _fitting([*device_names(), *measured_devices()], incomplete)


def families(incomplete: str) -> list[str]:
    """Return the families of devices that begin so."""
    from ...hw_models.device import FAMILIES

    return _fitting([*FAMILIES, "measured"], incomplete)


def experiments(context: typer.Context, incomplete: str) -> list[str]:
    """Return the experiments of the store that begin so; none where there is no store."""
    from ...db import Store, store_url

    try:
        with Store(store_url(context.params.get("store")), read_only=True) as store:
            return _fitting((e.name for e in store.experiments(all=True)), incomplete)
    except NetloomError:  # a shell that completes must not print: the command itself will
        return []


def metrics(context: typer.Context, incomplete: str) -> list[str]:
    """Return the metrics of the experiment on the command line that begin so."""
    from ...dashboard.rows import open_record
    from ...db import Store, store_url

    experiment = context.params.get("experiment")
    if not experiment:
        return []
    try:
        with Store(store_url(context.params.get("store")), read_only=True) as store:
            return _fitting((m.name for m in open_record(store, experiment).metrics), incomplete)
    except NetloomError:  # as above
        return []


def _fitting(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
