"""The model card: what the files are, where they come from, how to load them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ... import __version__
from ...jsonio import digest

if TYPE_CHECKING:
    from .bundle import Bundle
    from .program import Difference

_SNIPPETS = {
    "torch": (
        "`load.py` needs torch and nothing else:",
        "from load import load{scaled}\n\nnetwork = load()\noutputs = network({x})",
    ),
    "pt2": (
        "`network.pt2` is a program of `torch.export`:",
        'import torch\n\nnetwork = torch.export.load("network.pt2").module()\n'
        "outputs = network(x)  # x: scaled as below",
    ),
    "onnx": (
        "`network.onnx` runs wherever ONNX does:",
        'import onnxruntime\n\nsession = onnxruntime.InferenceSession("network.onnx")\n'
        'outputs = session.run(None, {{"input": x}})  # x: a float32 array, scaled as below',
    ),
    "onnx-int8": (
        "`network.int8.onnx` takes the same float32 inputs, computes in int8, answers in float32:",
        'import onnxruntime\n\nsession = onnxruntime.InferenceSession("network.int8.onnx")\n'
        'outputs = session.run(None, {{"input": x}})  # x: as above',
    ),
}


def card(bundle: Bundle) -> str:
    """Return the card of a bundle as Markdown."""
    source = bundle.source
    sections = [
        f"# Trial {source.trial.number} of {source.record.name}",
        f"A network of the space `{source.record.space}`, written by netloom {__version__}. "
        f"{_weights(bundle)}",
        "## Architecture",
        _fence(source.trial.notation),
        *_metrics(bundle),
        *_devices(bundle),
        "## How to load it",
        *_loading(bundle),
        *_ports(bundle),
        *_checks(bundle),
        *_int8(bundle),
        "## Data",
        _data(bundle),
        "## Where it comes from",
        _provenance(bundle),
        "## Files",
        _table(
            ["file", "bytes", "sha256"],
            [[f"`{f.name}`", f"{f.size_bytes:,}", f"`{f.sha256}`"] for f in bundle.files],
        ),
    ]
    return "\n\n".join(sections) + "\n"


def _weights(bundle: Bundle) -> str:
    """Return where the weights come from, and what else there is to know about them."""
    source = bundle.source
    if bundle.program is None:
        return f"No weights are in this folder; another format has those: {_plain(source.origin)}."
    words = f"Weights: {_plain(source.origin)}."
    if source.kind == "trained" and (repeats := source.record.spec.get("repeats", 1)) > 1:
        words += (
            f" Its metrics on the valid split are means over {repeats} trainings; the weights, and "
            "the test metrics, are those of the first."
        )
    return words


def _metrics(bundle: Bundle) -> Iterator[str]:
    """Yield the metrics of the trial, and the costs added after the run, with their sources."""
    from ...dashboard.words import value_text
    from ...db.rescored import rescored_metrics

    source = bundle.source
    values = {**source.trial.metrics, **source.rescored}
    known = {m.name: m for m in (*rescored_metrics(source.record), *source.record.metrics)}
    yield "## Metrics"
    if not values:
        yield "The trial has none."
        return
    rows = []
    for name, value in values.items():
        metric = known.get(name)
        unit = metric.unit if metric else ""
        rows.append(
            [
                f"`{name}`",
                value_text(value, unit),
                metric.split if metric and metric.provenance.get("kind") == "trained" else "",
                _origin(metric.estimator, metric.provenance) if metric else "",
            ]
        )
    yield _table(["metric", "value", "split", "source"], rows)
    if bundle.source.trial.violation:
        yield f"It breaks constraints of the search (by {source.trial.violation:.3g} in all)."


def _origin(estimator: str, provenance: Mapping[str, Any]) -> str:
    words = [str(provenance[k]) for k in ("kind", "source", "version") if provenance.get(k)]
    return f"{estimator}: {', '.join(words)}" if words else estimator


def _devices(bundle: Bundle) -> Iterator[str]:
    """Yield the verdicts of the devices that the run asked about."""
    if not (devices := bundle.source.details):
        return
    yield "## Devices"
    rows = []
    for name, found in devices.items():
        verdict = "not known" if "fits" not in found else "fits" if found["fits"] else "does not"
        reasons = "; ".join(str(reason["text"]) for reason in found.get("reasons", ()))
        calibrated = {True: "calibrated", False: "not calibrated"}.get(found.get("calibrated"), "")
        rows.append([name, str(found.get("title", "")), calibrated, verdict, reasons])
    yield _table(["device", "", "model", "verdict", "reasons"], rows)


def _loading(bundle: Bundle) -> Iterator[str]:
    for name in bundle.formats:
        if name in _SNIPPETS:
            known = bundle.source.scale is not None
            words, code = _SNIPPETS[name]
            filled = code.format(
                scaled=", scaled" if known else "", x="scaled(x)" if known else "x"
            )
            yield words
            yield _fence(filled, "python")
    yield (
        "`architecture.json` holds the decisions, the options of the space and what is said below "
        "of inputs and weights."
    )


def _ports(bundle: Bundle) -> Iterator[str]:
    source, program = bundle.source, bundle.program
    if program is None:
        return
    yield "## Inputs and outputs"
    shape = ", ".join(str(size) for size in program.example.shape[1:])
    batch = "any batch size" if not program.fixed else f"batch size 1 only ({program.fixed})"
    kind = str(program.example.dtype).removeprefix("torch.")
    yield f"Input `input`: {kind}, shape (batch, {shape}), {_plain(batch)}."
    if source.scale is None:
        yield f"How inputs are to be scaled is not known: {_plain(source.unscaled)}."
    else:
        mean, std = (", ".join(f"{v:.6g}" for v in values) for values in source.scale)
        yield f"Scale inputs before: (x - mean) / std, per channel; mean [{mean}], std [{std}]."
    yield f"Outputs: {', '.join(f'`{name}`' for name in program.outputs)}."


def _checks(bundle: Bundle) -> Iterator[str]:
    if not bundle.checks:
        return
    yield "## Checked"
    yield (
        "Outputs of each file beside those of the network in torch, on random inputs: the largest "
        "difference, and the same divided by the largest output."
    )
    rows = [
        [f"`{name}`", str(d.batch), f"{d.absolute:.3g}", f"{d.relative:.3g}"]
        for name, found in bundle.checks.items()
        for d in found
    ]
    yield _table(["file", "batch", "absolute", "relative"], rows)


def _int8(bundle: Bundle) -> Iterator[str]:
    if (found := bundle.quantized) is None:
        return
    yield "## int8"
    how = f"Calibrated on {found.examples} examples of the training split."
    if not found.tested:
        yield f"{how} What int8 costs in accuracy was not measured: {_plain(found.reason)}."
        return
    yield (
        f"{how} Accuracy on the {found.tested:,} examples of the test split: "
        f"{found.float_accuracy:.2f} % in float32, {found.int8_accuracy:.2f} % in int8, "
        f"a {'drop' if found.drop >= 0 else 'gain'} of {abs(found.drop):.2f} points."
    )
    if bundle.source.kind == "initialised":
        yield "The weights are not trained: neither accuracy says anything about the architecture."


def _data(bundle: Bundle) -> str:
    data = bundle.source.data
    if data is None:
        return "The experiment has no data set: nothing was trained in it. Licence: not stated."
    named = bundle.source.record.spec.get("data") or {}
    options = ", ".join(f"{k}={v!r}" for k, v in named.items() if k != "name" and _portable(v))
    label = getattr(data, "label", "") or type(data).__name__
    licence = getattr(data, "licence", "") or "not stated"
    return f"`{label}`{f' ({_plain(options)})' if options else ''}. Licence: {_plain(licence)}."


def _portable(value: Any) -> bool:
    """Whether an option says something elsewhere: folders of this machine do not."""
    return not (isinstance(value, str) and ("/" in value or "\\" in value))


def _provenance(bundle: Bundle) -> str:
    from ...dashboard.summary import retrained_text

    record, trial = bundle.source.record, bundle.source.trial
    versions = {k: v for k, v in record.versions.items() if k not in ("command", "platform")}
    formats = " ".join(f"--format {name}" for name in bundle.formats)
    rows = [
        ["experiment", f"{record.name} (`{record.id}`), {record.created_at:%Y-%m-%d}"],
        ["strategy", record.strategy],
        ["retrained from", retrained_text(record)],
        ["seeds", f"{record.seed} (experiment), {trial.seed} (trial)"],
        ["training", "; ".join(_recipes(record.spec))],
        ["budget of the trial", "" if trial.budget is None else f"{trial.budget:g}"],
        ["architecture key", f"`{trial.key}`"],
        ["space", f"`{record.space}`, fingerprint `{record.space_fingerprint}`"],
        ["spec", f"sha256 `{digest(dict(record.spec))}`"],
        ["versions", ", ".join(f"{k} {v}" for k, v in versions.items())],
        ["command", f"`netloom export {record.name} --trial {trial.number} {formats} -o DIR`"],
    ]
    return _table(["", ""], [row for row in rows if row[1]])


def _recipes(spec: Mapping[str, Any]) -> Iterator[str]:
    """Yield the options of each training of a spec, without the digests that it began from."""
    for estimator in spec["estimators"]:
        if estimator["name"] == "training":
            options = {k: v for k, v in estimator.items() if k not in ("name", "initial")}
            yield ", ".join(f"{k}={v!r}" for k, v in options.items() if _portable(v))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_cell(c) for c in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|")


def _plain(text: str) -> str:
    """Return text on one line that no reader takes for markup of its own."""
    return " ".join(text.split()).replace("<", "&lt;")


def _fence(text: str, language: str = "") -> str:
    mark = "```"
    while mark in text:
        mark += "`"
    return f"{mark}{language}\n{text}\n{mark}"


def difference_text(found: Sequence[Difference]) -> str:
    """Return the largest differences in words: `1.2e-07 (relative 3e-07) at batch 1, 2, 5`."""
    batches = ", ".join(str(d.batch) for d in found)
    absolute, relative = max(d.absolute for d in found), max(d.relative for d in found)
    return f"{absolute:.2g} (relative {relative:.2g}) at batch {batches}"
