"""What is delivered: the files of a trial's networks, checked, with what is known of them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import __version__
from ...errors import SpecError
from ...jsonio import digest
from .place import CARD_FILE, JSON_FILE, appearing, checked_folder

if TYPE_CHECKING:
    from ...db import Store
    from ...db.records import ExperimentRecord
    from ...estimators import DataSet
    from ...spaces import DecisionSpace
    from .program import Difference, Program
    from .quantize import Quantized
    from .source import Part, Source

FORMATS = ("torch", "pt2", "onnx", "onnx-int8", "json")
DEFAULT = ("torch", "json")
_JSON_FORMAT = 1  # raise it when an older reader would misread the file


@dataclass(frozen=True)
class File:
    """A file of a bundle.

    Args:
        name: Its path within the folder.
    """

    name: str
    size_bytes: int
    sha256: str


@dataclass
class Delivered:
    """A network among the files.

    Args:
        part: It.
        folder: Its own folder within the bundle, where there are several; else empty.
        program: It as a program, where a format needs it.
        checks: File -> how far its outputs are from the network's, by batch size.
        quantized: What int8 costs, where it was asked for.
    """

    part: Part
    folder: str
    program: Program | None = None
    checks: dict[str, list[Difference]] = field(default_factory=dict)
    quantized: Quantized | None = None

    def path(self, name: str) -> str:
        """Return where a file of it is within the bundle."""
        return f"{self.folder}/{name}" if self.folder else name


@dataclass
class Bundle:
    """What was written.

    Args:
        folder: Where.
        source: Which trial.
        formats: Which formats.
        networks: Its networks; one, but for products of spaces.
        files: All but the card.
    """

    folder: Path
    source: Source
    formats: tuple[str, ...]
    networks: tuple[Delivered, ...]
    files: list[File] = field(default_factory=list)

    @property
    def quantized(self) -> Quantized | None:
        """What int8 costs the network, the first one where there are several."""
        return self.networks[0].quantized

    @property
    def checks(self) -> dict[str, list[Difference]]:
        """Path of a file -> how far its outputs are from its network's, by batch size."""
        return {n.path(name): found for n in self.networks for name, found in n.checks.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values of it."""
        return {
            "folder": str(self.folder),
            "experiment": self.source.record.name,
            "trial": self.source.trial.number,
            "formats": list(self.formats),
            **_by_factor(self, _summary),
            "files": [vars(file) for file in self.files],
            "checks": {name: [vars(d) for d in each] for name, each in self.checks.items()},
        }


def export_trial(
    store: Store,
    record: ExperimentRecord,
    number: int,
    folder: str | Path,
    formats: Sequence[str] = DEFAULT,
    *,
    force: bool = False,
    space: DecisionSpace | None = None,
    data: DataSet | None = None,
    note: Callable[[str], None] | None = None,
) -> Bundle:
    """Write the network of a trial as files that run without netloom.

    Every file is loaded again and compared with the network before the folder appears; a failure
    leaves nothing behind. Of a product of spaces each network is written, several ones into
    folders of their own, and what else was decided (an accelerator) into `architecture.json`.

    Args:
        store: Where the trial is.
        record: Its experiment.
        number: The trial's.
        folder: Where to; must not exist, or be empty.
        formats: Any of `FORMATS`; the card and `architecture.json` are always written.
        force: Whether what an earlier export wrote there is replaced.
        space: The space of an experiment that was run with Python objects.
        data: The data set of such an experiment.
        note: Called with what the user is to know.

    Raises:
        SpecError: If the trial, a format or the folder cannot be used.
        EvaluationError: If a format cannot hold the network, or a file gives other outputs.
        MissingDependency: If a package or the data set is not there.
        OutputError: If the folder cannot be written.
    """
    from .source import read_source

    target, chosen = checked_folder(folder, force=force), checked_formats(formats)
    source = read_source(store, record, number, space=space, data=data)
    say = note or (lambda text: None)
    bundle = Bundle(target, source, chosen, tuple(_delivered(source)))
    _require(bundle)
    for network in bundle.networks:
        say(_named(network, f"weights: {network.part.origin}"))
    if source.broken:
        say(f"trial {number} is infeasible: it breaks {'; '.join(source.broken)}")
    _say_unknown(bundle, say)
    with appearing(target, say) as work:
        _fill(bundle, work, say)
    return bundle


def checked_formats(formats: Sequence[str]) -> tuple[str, ...]:
    """Return formats in the order in which they are written, each once.

    Raises:
        SpecError: If one is not known.
    """
    if unknown := [name for name in formats if name not in FORMATS]:
        raise SpecError(f"a format must be one of {', '.join(FORMATS)}, got {unknown[0]!r}")
    wanted = {*formats, "json"} | ({"onnx"} if "onnx-int8" in formats else set())
    return tuple(name for name in FORMATS if name in wanted)


def _delivered(source: Source) -> list[Delivered]:
    """Return the networks, each with a folder of its own where there are several."""
    parts = source.networks
    if len(parts) == 1:
        return [Delivered(parts[0], "")]
    if odd := [part.factor for part in parts if not re.fullmatch(r"\w[\w.-]*", part.factor)]:
        raise SpecError(
            f"each of several networks is written into a folder named after its factor, got the "
            f"factor {odd[0]!r}; its name must be letters, digits, _ and -"
        )
    return [Delivered(part, part.factor) for part in parts]


def _named(network: Delivered, text: str) -> str:
    return f"{network.part.factor}: {text}" if network.part.factor else text


def _require(bundle: Bundle) -> None:
    """Say what is missing before anything is computed."""
    files = [name for name in bundle.formats if name != "json"]
    if files and not bundle.networks:
        raise SpecError(
            f"a trial to export as {files[0]} must have a network, got one of the space "
            f"{bundle.source.space.name}, which builds none; --format json writes what was decided"
        )
    if "torch" in files:
        from .torch_files import require_safetensors

        require_safetensors()
    if "onnx" in files:
        from .onnx_files import require_onnx

        require_onnx()
    if "onnx-int8" in files:
        from .quantize import require_data

        require_data(bundle.source)


def _say_unknown(bundle: Bundle, say: Callable[[str], None]) -> None:
    """Say that files are written without the scale of the inputs, where the data are not there."""
    from .examples import problem_text

    if set(bundle.formats) == {"json"}:
        return  # it holds no scale
    if (problem := bundle.source.examples.problem) is not None:
        say(
            f"how inputs are to be scaled is not known: {problem_text(problem)}; put the data back "
            "that it was trained on and export again to have the scale"
        )


def _fill(bundle: Bundle, work: Path, say: Callable[[str], None]) -> None:
    """Write every file of the bundle into a folder, the card last."""
    from .card import card

    if set(bundle.formats) != {"json"}:
        for network in bundle.networks:
            place = work / network.folder
            place.mkdir(exist_ok=True)
            _write_network(bundle, network, place, say)
    _write_json(bundle, work / JSON_FILE)
    bundle.files = [_file(path, work) for path in sorted(work.rglob("*")) if path.is_file()]
    (work / CARD_FILE).write_text(card(bundle), encoding="utf-8")


def _write_network(
    bundle: Bundle, network: Delivered, place: Path, say: Callable[[str], None]
) -> None:
    from .program import exported

    part = network.part
    program = network.program = exported(part.network(), bundle.source.example(part))
    if program.fixed:
        say(_named(network, f"the batch size is fixed to 1: {program.fixed}"))
    for name, write in _writers(bundle.source, program).items():
        if name in bundle.formats:
            network.checks |= write(place)
    if "onnx-int8" in bundle.formats:
        from .quantize import write_int8

        network.quantized = write_int8(place, program, bundle.source)


def _writers(
    source: Source, program: Program
) -> Mapping[str, Callable[[Path], dict[str, list[Difference]]]]:
    """Return what writes each format: a file name and how far its outputs are off."""
    from .onnx_files import ONNX_FILE, write_onnx
    from .torch_files import LOADER_FILE, PROGRAM_FILE, write_program, write_torch

    return {
        "torch": lambda place: {LOADER_FILE: write_torch(place, program, source.examples)},
        "pt2": lambda place: {PROGRAM_FILE: write_program(place, program)},
        "onnx": lambda place: {ONNX_FILE: write_onnx(place, program)},
    }


# ---------------------------------------------------------------- what is said of it
def _by_factor(bundle: Bundle, values: Callable[[Bundle, Delivered], Any]) -> dict[str, Any]:
    """Return values of the network; of a product those of each factor, by its name."""
    made = {network.part.factor: values(bundle, network) for network in bundle.networks}
    if "" in made:
        return dict(made[""])
    factors = {part.factor: made.get(part.factor, {}) for part in bundle.source.parts}
    return {"factors": factors} if "" not in factors else {}


def _summary(bundle: Bundle, network: Delivered) -> dict[str, Any]:
    found: dict[str, Any] = {"weights": _weights(network)}
    if network.folder:
        found["folder"] = network.folder
    if (q := network.quantized) is not None:
        measured = {"float_accuracy": q.float_accuracy, "int8_accuracy": q.int8_accuracy}
        found["int8"] = {
            "calibrated_on": q.examples,
            "tested_on": q.tested,
            **(measured if q.tested else {"not_measured": q.reason}),
        }
    return found


def _weights(network: Delivered) -> dict[str, str]:
    return {"kind": network.part.kind, "origin": network.part.origin}


def _write_json(bundle: Bundle, path: Path) -> None:
    source = bundle.source
    record, trial = source.record, source.trial
    values: dict[str, Any] = {
        "netloom_export": _JSON_FORMAT,
        "netloom": __version__,
        "experiment": {
            "name": record.name,
            "id": record.id,
            "seed": record.seed,
            "spec_sha256": digest(dict(record.spec)),
        },
        "trial": {"number": trial.number, "seed": trial.seed, "metrics": dict(trial.metrics)},
        "space": {**source.stored, "fingerprint": source.space.fingerprint},
        "architecture": dict(trial.architecture),
        "notation": trial.notation,
        **_by_factor(bundle, _ports),
    }
    if trial.fixed:
        values["trial"]["published"] = trial.fixed
    for part in source.parts:
        own = values["factors"][part.factor] if part.factor else values
        if part.factor:
            own["space"] = part.space.name
            own |= {"architecture": dict(part.architecture), "notation": part.notation}
        if part.choice is not None:
            own["accelerator"] = part.choice
    text = json.dumps(values, indent=2, ensure_ascii=False)
    path.write_text(f"{text}\n", encoding="utf-8")


def _ports(bundle: Bundle, network: Delivered) -> dict[str, Any]:
    """Return what one needs to know to run a network."""
    from .examples import layout

    values: dict[str, Any] = {"weights": _weights(network)}
    if (program := network.program) is not None:
        if network.folder:
            values["folder"] = network.folder
        examples = bundle.source.examples
        mean, std = examples.scale or (None, None)
        values["input"] = {
            "shape": list(program.example.shape[1:]),
            "dtype": str(program.example.dtype).removeprefix("torch."),
            "batch": 1 if program.fixed else None,
            "layout": layout(program.example.shape),
            "range": None if examples.bounds is None else list(examples.bounds),
            "given_as": examples.dtype or None,
            "mean": mean,
            "std": std,
        }
        values["outputs"] = list(program.outputs)
        if examples.targets is not None:
            values["targets"] = dict(zip(("mean", "std"), examples.targets, strict=True))
    return values


def _file(path: Path, within: Path) -> File:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return File(path.relative_to(within).as_posix(), path.stat().st_size, sha256)
