"""The model card: what the files are, where they come from, how to load them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ... import __version__
from ...dashboard.markdown import pipes, span
from ...dashboard.markdown import plain as _plain
from ...dashboard.origins import NOT_STATED, DataOrigin
from ...jsonio import digest
from .examples import layout

if TYPE_CHECKING:
    from .bundle import Bundle, Delivered
    from .program import Difference
    from .source import Part

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
        f"# Trial {source.trial.number} of {_plain(source.record.name)}",
        f"{_what(bundle)}, written by netloom {__version__}. {_weights(bundle)}",
        "## Architecture",
        *_architecture(bundle),
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


def _what(bundle: Bundle) -> str:
    """Return what was found, in words."""
    source = bundle.source
    if source.trial.fixed:
        return (
            f"{span(source.trial.fixed)}, a published network of the space "
            f"{span(source.space.name)} that was evaluated beside the search"
        )
    if source.parts[0].factor:
        return f"What was found together: {_listed([part.factor for part in source.parts])}"
    kind = "A network of" if source.networks else "What was decided in"
    return f"{kind} the space {span(source.space.name)}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(span, names))


def _weights(bundle: Bundle) -> str:
    """Return where the weights come from, and what else there is to know about them."""
    source = bundle.source
    if not bundle.networks:
        return "It is no network: there are no weights."
    texts = [f"{_whose(n)}{_plain(n.part.origin)}" for n in bundle.networks]
    if bundle.networks[0].program is None:
        return f"No weights are in this folder; another format has those: {'; '.join(texts)}."
    words = f"Weights: {'; '.join(texts)}."
    trained = any(n.part.kind == "trained" for n in bundle.networks)
    if trained and (repeats := source.record.spec.get("repeats", 1)) > 1:
        words += (
            f" Metrics on the valid split are means over {repeats} trainings; the weights, and "
            "the test metrics, are those of the first."
        )
    return words


def _whose(network: Delivered) -> str:
    """Return the start of a text about one of several networks."""
    return f"{span(network.part.factor)}: " if network.part.factor else ""


def _architecture(bundle: Bundle) -> Iterator[str]:
    folders = {network.part.factor: network.folder for network in bundle.networks}
    for part in bundle.source.parts:
        if part.factor:
            where = f", in the folder `{folders[part.factor]}`" if folders.get(part.factor) else ""
            kind = "a network of" if part.builds else "of"
            yield f"`{part.factor}`, {kind} the space `{part.space.name}`{where}:"
        yield _fence(part.notation)
        yield from _accelerator(part)


def _accelerator(part: Part) -> Iterator[str]:
    """Yield the configuration of an accelerator."""
    if (choice := part.choice) is None:
        return
    keys = list(dict.fromkeys(key for each in choice["accelerators"] for key in each))
    rows = [[str(each.get(key, "")) for key in keys] for each in choice["accelerators"]]
    yield _table(keys, rows)
    rest = ", ".join(f"{k} {v}" for k, v in choice.items() if k != "accelerators")
    yield f"Of the chip: {rest}. `architecture.json` has the same as JSON."


def _metrics(bundle: Bundle) -> Iterator[str]:
    """Yield the metrics of the trial, and the costs added after the run, with their sources."""
    from ...dashboard.words import value_text
    from ...db.rescored import rescored_metrics

    source = bundle.source
    values = {**source.trial.metrics, **source.rescored}
    known = {m.name: m for m in (*rescored_metrics(source.record), *source.record.metrics)}
    yield "## Metrics"
    if source.broken:
        words = "; ".join(map(_plain, source.broken))
        yield f"It is infeasible (by {source.trial.violation:.3g} in all): it breaks {words}."
    if not values:
        yield "The trial has none."
        return
    rows = []
    for name, value in values.items():
        metric = known.get(name)
        unit = metric.unit if metric else ""
        rows.append(
            [
                span(name),
                value_text(value, unit),
                metric.split if metric and metric.provenance.get("kind") == "trained" else "",
                _plain(_origin(metric.estimator, metric.provenance)) if metric else "",
            ]
        )
    yield _table(["metric", "value", "split", "source"], rows)


def _origin(estimator: str, provenance: Mapping[str, Any]) -> str:
    words = [str(provenance[k]) for k in ("kind", "source", "version") if provenance.get(k)]
    return f"{estimator}: {', '.join(words)}" if words else estimator


def _devices(bundle: Bundle) -> Iterator[str]:
    """Yield the verdicts of the devices that the run asked about."""
    source = bundle.source
    asked = any(metric.estimator == "hardware" for metric in source.record.metrics)
    if not (devices := source.details) and not asked:
        return
    yield "## Devices"
    if not devices:
        command = f"netloom explain {source.record.ref} --trial {source.trial.number}"
        yield f"Their verdicts on this trial are not stored; {span(command)} stores them."
        return
    rows = []
    for name, found in devices.items():
        verdict = "not known" if "fits" not in found else "fits" if found["fits"] else "does not"
        reasons = "; ".join(str(reason["text"]) for reason in found.get("reasons", ()))
        calibrated = {True: "calibrated", False: "not calibrated"}.get(found.get("calibrated"), "")
        title = _plain(str(found.get("title", "")))
        rows.append([_plain(name), title, calibrated, verdict, _plain(reasons)])
    yield _table(["device", "", "model", "verdict", "reasons"], rows)


def _loading(bundle: Bundle) -> Iterator[str]:
    if (folders := [n.folder for n in bundle.networks if n.folder and n.program]) != []:
        yield f"Each network has a folder of its own ({_listed(folders)}); run this in one of them."
    for name in bundle.formats:
        if name in _SNIPPETS:
            known = bundle.source.examples.scale is not None
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
    source = bundle.source
    if not any(network.program for network in bundle.networks):
        return
    yield "## Inputs and outputs"
    for network in bundle.networks:
        if (program := network.program) is None:
            continue
        shape = ", ".join(str(size) for size in program.example.shape[1:])
        batch = "any batch size" if not program.fixed else f"batch size 1 only ({program.fixed})"
        kind = str(program.example.dtype).removeprefix("torch.")
        outputs = _listed(program.outputs)
        yield (
            f"{_whose(network)}Input `input`: {kind}, shape (batch, {shape}), that is "
            f"{layout(program.example.shape)}, {_plain(batch)}. "
            f"Outputs: {outputs}."
        )
    examples = source.examples
    if examples.scale is None:
        yield f"How inputs are to be scaled is not known: {_plain(examples.unscaled)}."
    else:
        mean, std = (", ".join(f"{v:.6g}" for v in values) for values in examples.scale)
        yield f"Scale inputs before: (x - mean) / std, per channel; mean [{mean}], std [{std}]."
    if examples.bounds is not None:
        least, largest = (f"{v:.6g}" for v in examples.bounds)
        yield (
            f"x is what the data set gives: {examples.dtype}, from {least} to {largest} in the "
            "training split."
        )
    if examples.targets is not None:
        mean, std = (", ".join(f"{v:.6g}" for v in values) for values in examples.targets)
        yield f"Outputs in the unit of the targets: y * std + mean; mean [{mean}], std [{std}]."


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
    found = [(network, q) for network in bundle.networks if (q := network.quantized) is not None]
    if found:
        yield "## int8"
    for network, q in found:
        how = f"{_whose(network)}Calibrated on {q.examples} examples of the training split."
        if not q.tested:
            yield f"{how} What int8 costs in accuracy was not measured: {_plain(q.reason)}."
            continue
        words = (
            f"{how} Accuracy on the {q.tested:,} examples of the test split: "
            f"{q.float_accuracy:.2f} % in float32, {q.int8_accuracy:.2f} % in int8, "
            f"a {'drop' if q.drop >= 0 else 'gain'} of {abs(q.drop):.2f} points."
        )
        if network.part.kind == "initialised":
            words += (
                " The weights are not trained: neither accuracy says anything about the "
                "architecture."
            )
        yield words


def _data(bundle: Bundle) -> str:
    data, origin = bundle.source.data, DataOrigin.of(bundle.source.record)
    if data is None and origin is None:
        return "The experiment has no data set: nothing was trained in it."
    named = bundle.source.record.spec.get("data") or {}
    options = ", ".join(f"{k}={v!r}" for k, v in named.items() if k != "name" and _portable(v))
    if data is not None:
        label = getattr(data, "label", "") or type(data).__name__
        licence = getattr(data, "licence", "")
    elif origin is not None:
        label, licence = origin.name, origin.licence
    licence = licence or NOT_STATED
    return f"{span(label)}{f' ({_plain(options)})' if options else ''}. Licence: {_plain(licence)}."


def _portable(value: Any) -> bool:
    """Whether an option says something elsewhere: folders of this machine do not."""
    return not (isinstance(value, str) and ("/" in value or "\\" in value))


def _provenance(bundle: Bundle) -> str:
    from ...dashboard.summary import retrained_text

    record, trial, space = bundle.source.record, bundle.source.trial, bundle.source.space
    versions = {k: v for k, v in record.versions.items() if k not in ("command", "platform")}
    formats = " ".join(f"--format {name}" for name in bundle.formats)
    command = f"netloom export {record.ref}"
    rows = [
        ["experiment", f"{_plain(record.name)} (`{record.id}`), {record.created_at:%Y-%m-%d}"],
        ["strategy", _plain(record.strategy)],
        ["retrained from", _plain(retrained_text(record))],
        ["seeds", f"{record.seed} (experiment), {trial.seed} (trial)"],
        ["training", _plain("; ".join(_recipes(record.spec)))],
        ["budget of the trial", "" if trial.budget is None else f"{trial.budget:g}"],
        ["architecture key", f"`{trial.key}`"],
        ["space", f"{span(space.name)}, fingerprint `{space.fingerprint}`"],
        ["spec", f"sha256 `{digest(dict(record.spec))}`"],
        ["versions", _plain(", ".join(f"{k} {v}" for k, v in versions.items()))],
        ["command", span(f"{command} --trial {trial.number} {formats} -o DIR")],
    ]
    return _table(["", ""], [row for row in rows if row[1]])


def _recipes(spec: Mapping[str, Any]) -> Iterator[str]:
    """Yield the options of each training of a spec, without the digests that it began from."""
    for estimator in spec["estimators"]:
        if estimator["name"] == "training":
            options = {k: v for k, v in estimator.items() if k not in ("name", "initial")}
            yield ", ".join(f"{k}={v!r}" for k, v in options.items() if _portable(v))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return pipes(head, ([_cell(c) for c in row] for row in rows))


def _cell(text: str) -> str:
    """Return Markdown that stays in its cell."""
    return " ".join(text.split()).replace("<", "&lt;").replace("|", "\\|")


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
