"""`netloom explain`: take networks of an experiment apart, for the dashboard and the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import SpecError
from .common import (
    ExperimentArgument,
    JsonOption,
    StoreOption,
    command,
    emit_json,
    emit_table,
    note,
    open_store,
    store_words,
)
from .estimate import DeviceOption

if TYPE_CHECKING:
    from ...db import Store
    from ...db.records import ExperimentRecord, TrialRecord
    from ...spaces import DecisionSpace


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "explain", "netloom explain quickstart --front --device cpu_generic")(explain)


def explain(
    experiment: ExperimentArgument,
    trial: Annotated[
        list[int] | None,
        typer.Option("--trial", metavar="N", min=0, help="Number of a trial; may be repeated."),
    ] = None,
    front: Annotated[
        bool, typer.Option("--front", help="All networks of the front, and the fixed points.")
    ] = False,
    device: DeviceOption = None,
    as_json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Store what networks are made of: drawing, layers, costs by layer, the timeline of memory.

    A search does so at its end for its front and its fixed points; dashboard and report show it.
    The devices are those of the experiment, those that rescore added, and those of --device. What
    is stored already is not made again, unless the model of a device has changed. Nothing is
    evaluated.
    """
    from ..run.explanation import Explainer, explain_trials
    from ..run.rescoring import foreign_space, stored_space

    if not trial and not front:
        raise SpecError("explain takes --trial N or --front; got neither")
    with open_store(store, write=True) as opened:
        record = opened.experiment(experiment)
        chosen = _chosen(opened, record, trial or [], front)

        def taking_apart(space: DecisionSpace, **more: Any) -> Explainer:
            return Explainer(space, _hardware(record, space, device or ()), counted=True, **more)

        others = {t.space for t in chosen if t.space is not None}
        beside = {ref: taking_apart(foreign_space(record, ref)) for ref in others}
        explainer = taking_apart(stored_space(record), beside=beside)
        found = explain_trials(opened, record.id, explainer, chosen, said=_said)
    rows = {n: _facts(document) for n, document in found.documents.items()}
    if as_json:
        now = set(found.made)
        emit_json([{"trial": n, "stored": n in now, **row} for n, row in rows.items()])
    else:
        heads = ["trial", "drawing", "layers", "devices"]
        emit_table(heads, [_line(n, row) for n, row in rows.items()])
    before = len(rows) - len(found.made)
    note(
        f"taken apart: {len(found.made)} now, {before} before; see: netloom "
        f"dashboard{store_words(store)}, /exp/{record.ref}/trial/{next(iter(rows))}"
    )


def _hardware(record: ExperimentRecord, space: Any, devices: Any) -> list[Any]:
    """Return the hardware estimators of an experiment: its own, those added, those asked for."""
    from ...estimators.hardware import DeviceChoice, Hardware
    from ..run.parts import make_estimator
    from ..run.rescoring import rescored_hardware
    from ..run.spec import Named

    named = [Named(**e) for e in record.spec.get("estimators", ()) if _is_hardware(e)]
    found = [make_estimator(n, space, None, ("estimators",))[0] for n in named]
    added, lost = rescored_hardware(record, space)
    for target, why in lost.items():
        note(f"{target}, which rescore added, is left out: {why}")
    found += added
    known = {m.name.partition("@")[2] for e in found for m in e.metrics}
    more = [DeviceChoice(device=name) for name in devices if name not in known]
    return [*found, *([Hardware(space, devices=list(more))] if more else [])]


def _is_hardware(entry: Any) -> bool:
    return isinstance(entry, Mapping) and entry.get("name") == "hardware"


def _chosen(
    opened: Store, record: ExperimentRecord, numbers: list[int], front: bool
) -> list[TrialRecord]:
    """Return the trials asked for, each once.

    Raises:
        StoreError: If there is no such trial.
        SpecError: If there is no front and nothing else was asked for.
    """
    from ...dashboard.views import front as front_of

    chosen = {n: opened.trial(record.id, n) for n in numbers}
    if front:
        fixed = [t for t in opened.trial_records(record.id) if t.fixed is not None]
        chosen |= {t.number: t for t in (*front_of(opened, record.id), *fixed)}
    if not chosen:
        raise SpecError(
            f"{record.name} has no front yet: no trial is feasible; name one with --trial N"
        )
    return list(chosen.values())


def _facts(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return one network in the words of a line."""
    networks = document["networks"]
    reasons = [document.get("reason"), document.get("error"), *(n.get("reason") for n in networks)]
    return {
        "drawn": bool(networks) and all("drawing" in n for n in networks),
        "reason": next((text for text in reasons if text), None),
        "layers": sum(len(n.get("layers", {}).get("name", ())) for n in networks),
        "devices": {
            name: {
                "fits": entry.get("fits"),
                "latency_ms": entry.get("totals", {}).get("latency_ms"),
                "error": entry.get("error"),
            }
            for name, entry in document["devices"].items()
        },
    }


def _line(number: int, row: Mapping[str, Any]) -> list[str]:
    drawing = "drawn" if row["drawn"] else f"none: {row['reason']}"
    devices = [_verdict(name, entry) for name, entry in row["devices"].items()]
    return [str(number), drawing, str(row["layers"]), ", ".join(devices) or "-"]


def _verdict(name: str, entry: Mapping[str, Any]) -> str:
    if entry["error"]:
        return f"{name}: {entry['error']}"
    if entry["latency_ms"] is None:
        return f"{name} cannot run it"
    verdict = "fits" if entry["fits"] else "does not fit"
    return f"{name} {entry['latency_ms']:.4g} ms, {verdict}"


def _said(done: int, total: int) -> None:
    if done % 20 == 0 and done < total:
        note(f"{done} of {total} networks")
