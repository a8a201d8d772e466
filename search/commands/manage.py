"""`netloom delete | gc | db`: looking after a store."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from ...errors import SpecError, StoreError
from .common import (
    ExperimentArgument,
    JsonOption,
    StoreOption,
    command,
    emit,
    emit_facts,
    emit_json,
    group,
    note,
    open_store,
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(app, "delete", "netloom delete quickstart-2 --yes")(delete)
    command(app, "gc", "netloom gc")(gc)
    db = group(app, "db", "Check and upgrade the schema of a store.", "netloom db check")
    command(db, "upgrade", "netloom db upgrade --store sqlite:///netloom.db")(upgrade)
    command(db, "check", "netloom db check")(check)


def delete(
    experiment: ExperimentArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    store: StoreOption = None,
) -> None:
    """Delete an experiment with its baselines and trials; gc then frees its files."""
    from ...dashboard.words import plural

    with open_store(store, write=True) as opened:
        record = opened.experiment(experiment)
        what = f"{record.name} ({record.id}) with {plural(sum(record.counts.values()), 'trial')}"
        if not yes:
            if not sys.stdin.isatty():
                raise SpecError(f"deleting {what} must be confirmed; add --yes")
            if not typer.confirm(f"delete {what}?", err=True):
                raise typer.Exit(1)
        opened.delete_experiment(record.id)
    note(f"deleted {what}; netloom gc frees its files")


def gc(as_json: JsonOption = False, store: StoreOption = None) -> None:
    """Remove what nothing names any more: files, architectures, replaced checkpoints."""
    with open_store(store, write=True) as opened:
        report = opened.gc()
    facts = {
        "files": report.files,
        "bytes": report.bytes,
        "architectures": report.architectures,
        "checkpoints": report.checkpoints,
    }
    if as_json:
        emit_json(facts)
    else:
        emit_facts({f"{name} removed": f"{value:,}" for name, value in facts.items()})


def upgrade(store: StoreOption = None) -> None:
    """Bring the schema of a store to the one that this version of netloom needs."""
    from ...db import maintenance, store_url

    before, after = maintenance.upgrade(store_url(store))
    emit(f"schema {before} is current" if before == after else f"schema {before} -> {after}")


def check(as_json: JsonOption = False, store: StoreOption = None) -> None:
    """Check schema, integrity and files of a store; exit code 1 when something is wrong."""
    from ...db import maintenance, store_url

    report = maintenance.check(store_url(store))
    if as_json:
        emit_json({"ok": not report.problems, **asdict(report)})
    else:
        emit_facts(
            {
                "store": report.url,
                "schema": f"{report.revision} of {report.head}",
                "experiments": f"{report.experiments:,}",
                "trials": f"{report.trials:,}",
                "problems": str(len(report.problems)),
            }
        )
    if report.problems:
        raise StoreError("\n".join(report.problems))
