"""`netloom estimate`: what single architectures cost, without a search."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import NetloomError, SpecError, UnknownName
from . import completion
from .common import JsonOption, command, emit_facts, emit_json, flush, made_space, note, read_lines

if TYPE_CHECKING:
    from ...estimators import Estimator
    from ...spaces import Architecture, DecisionSpace

_DATASETS = ("", "cifar100", "imagenet16")  # the options of a space say which table fits it
_CHUNK = 64  # lines answered together: estimators share work inside a batch


def register(app: typer.Typer) -> None:
    """Add the command."""
    example = "netloom estimate --space nb201 --arch @archs.jsonl --device pixel3"
    command(app, "estimate", example)(estimate)


def estimate(
    space: Annotated[
        str,
        typer.Option(
            "--space", help="Name, or package.module:Class.", autocompletion=completion.spaces
        ),
    ],
    arch: Annotated[
        str,
        typer.Option(
            "--arch",
            metavar="TEXT|@FILE",
            help="Architecture in the space's notation or as JSON; @file reads one from a file, "
            "@file.jsonl one per line.",
        ),
    ],
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="K=V", help="Option of the space; may be repeated."),
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(
            "--device",
            metavar="NAME|FILE",
            help="Add this device's metrics; may be repeated. A modelled device, a YAML file, or "
            "a device that a table of the space was measured on.",
            autocompletion=completion.devices,
        ),
    ] = None,
    as_json: JsonOption = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 4 when a line of @file.jsonl failed.")
    ] = False,
) -> None:
    """Print parameters, MACs and device costs of one architecture, or of a file of them.

    A file @NAME.jsonl holds one architecture per line (a JSON object, list or string) and answers
    one JSON line each, in order; a line that fails answers {"error": ...} and the exit code stays
    0 (4 with --strict).
    """
    built = made_space(space, option, given_as="--space")
    bench = Bench.of(built, device or ())
    if arch.startswith("@") and arch.endswith((".jsonl", ".ndjson")):
        failed = _answer_lines(bench, arch[1:])
        if failed and strict:
            raise typer.Exit(4)
        return
    text = "\n".join(read_lines(arch[1:])).strip() if arch.startswith("@") else arch
    [answer] = bench.answers([bench.parsed(_unquoted(text))])
    if isinstance(answer, Exception):
        raise answer
    if as_json:
        emit_json(answer, indent=None)
        return
    metrics = {
        name: _with_unit(v, bench.units.get(name, "")) for name, v in answer["metrics"].items()
    }
    notation = built.format(built.architecture(answer["architecture"]))
    emit_facts({"architecture": notation, "key": answer["key"], **metrics})


@dataclass(frozen=True)
class Bench:
    """A space with the estimators that were asked for."""

    space: DecisionSpace
    estimators: tuple[Estimator, ...]
    wanted: frozenset[str]  # metrics of tables: only those of the devices asked for

    @classmethod
    def of(cls, space: DecisionSpace, devices: Sequence[str]) -> Bench:
        """Return counts, plus one hardware estimator or table for the devices.

        Raises:
            UnknownName: If a device is neither modelled, nor a file, nor in a table of the space.
        """
        from ..run.parts import make_estimator
        from ..run.spec import Named

        chosen = [make_estimator(Named(name="complexity"), space, None, ("complexity",))[0]]
        modelled, measured = _split(space, devices)
        if modelled:
            named = Named.model_validate({"name": "hardware", "devices": modelled})
            chosen.append(make_estimator(named, space, None, ("--device",))[0])
        wanted = {metric.name for estimator in chosen for metric in estimator.metrics}
        for target, table in measured.items():
            if table not in chosen:
                chosen.append(table)
            wanted |= {m.name for m in table.metrics if m.name.endswith(f"@{target}")}
        return cls(space, tuple(chosen), frozenset(wanted))

    @property
    def units(self) -> dict[str, str]:
        """Unit of each metric."""
        return {m.name: m.unit for e in self.estimators for m in e.metrics}

    def parsed(self, value: Any) -> Architecture:
        """Return the architecture that a JSON value or text writes."""
        return self.space.parse(value)

    def answers(
        self, items: Sequence[Architecture | Exception]
    ) -> list[dict[str, Any] | Exception]:
        """Return one answer per architecture, in order; what failed stays an exception."""
        good = [item for item in items if not isinstance(item, Exception)]
        columns = (
            [e.evaluate_many(good, seeds=[0] * len(good)) for e in self.estimators] if good else []
        )
        rows = iter(list(zip(*columns, strict=True)))
        return [
            item if isinstance(item, Exception) else self._answer(item, next(rows))
            for item in items
        ]

    def _answer(
        self, architecture: Architecture, parts: Sequence[Any]
    ) -> dict[str, Any] | Exception:
        metrics: dict[str, float] = {}
        for part in parts:
            if isinstance(part, Exception):
                return part
            metrics |= {k: _whole(v) for k, v in part.items() if k in self.wanted}
        return {
            "architecture": dict(architecture),
            "key": architecture.key,
            "metrics": metrics,
        }


def _split(space: DecisionSpace, devices: Sequence[str]) -> tuple[list[str], dict[str, Estimator]]:
    """Return the modelled devices, and the table of each measured one."""
    from ...hw_models import device_names

    known = set(device_names()) if devices else set()
    modelled = [d for d in devices if d in known or d.endswith((".yaml", ".yml"))]
    rest = [d for d in devices if d not in modelled]
    if not rest:
        return modelled, {}
    tables, reason = table_targets(space)
    for device in rest:
        if device not in tables:
            error = UnknownName("device", device, known | set(tables))
            raise SpecError(f"{error} ({reason})") if reason else error
    return modelled, {device: tables[device] for device in rest}


def table_targets(space: DecisionSpace) -> tuple[dict[str, Estimator], str]:
    """Return the measured devices of a space's tables; else none, and the reason."""
    from ...estimators import ESTIMATORS
    from ...options import build

    reason = ""
    for dataset in _DATASETS:
        try:
            options = {"dataset": dataset} if dataset else {}
            table: Estimator = build(ESTIMATORS.get("tabular"), options, space, None)
        except SpecError as error:
            reason = reason or str(error)
            continue
        targets = {m.name.partition("@")[2] for m in table.metrics}
        return {target: table for target in sorted(targets) if target}, ""
    return {}, reason


def _answer_lines(bench: Bench, path: str) -> int:
    """Answer a file line by line and return how many failed."""
    lines = iter(enumerate(read_lines(path), start=1))
    total = failed = 0
    while chunk := list(islice(lines, _CHUNK)):
        for answer in bench.answers([_read(bench, text) for _, text in chunk if text.strip()]):
            total += 1
            if isinstance(answer, Exception):
                failed += 1
                kind = "" if isinstance(answer, NetloomError) else f"{type(answer).__name__}: "
                answer = {"error": f"{kind}{answer}"}
            emit_json(answer, indent=None)
        flush()
    if failed:
        note(f"{failed} of {total} architectures failed; their lines say why")
    return failed


def _unquoted(text: str) -> str:
    """Return the notation that a JSON string holds, or the text as it is."""
    if text.startswith('"'):
        try:
            return str(json.loads(text))
        except json.JSONDecodeError as error:
            raise SpecError(f"a JSON string must be whole ({error}), got {text!r}") from error
    return text


def _read(bench: Bench, text: str) -> Architecture | Exception:
    try:
        return bench.parsed(json.loads(text))
    except json.JSONDecodeError as error:
        return SpecError(f"a line must be a JSON object, list or string ({error}), got {text!r}")
    except Exception as error:
        return error


def _whole(value: float) -> float | int:
    return int(value) if float(value).is_integer() else float(value)


def _with_unit(value: float, unit: str) -> str:
    text = f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"
    return f"{text} {unit}".rstrip()
