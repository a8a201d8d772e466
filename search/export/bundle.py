"""The folder that is delivered: made beside its place, checked, and moved there whole."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import __version__
from ...errors import OutputError, SpecError
from ...jsonio import digest

if TYPE_CHECKING:
    from ...db import Store
    from ...db.records import ExperimentRecord
    from ...estimators import DataSet
    from ...spaces import DecisionSpace
    from .program import Difference, Program
    from .quantize import Quantized
    from .source import Source

FORMATS = ("torch", "pt2", "onnx", "onnx-int8", "json")
DEFAULT = ("torch", "json")
JSON_FILE = "architecture.json"
CARD_FILE = "README.md"
_JSON_FORMAT = 1  # raise it when an older reader would misread the file
_OWN = (  # what --force may replace
    CARD_FILE,
    JSON_FILE,
    "load.py",
    "weights.safetensors",
    "constants.safetensors",
    "network.pt2",
    "network.onnx",
    "network.onnx.data",
    "network.int8.onnx",
    "__pycache__",
)
_WORK = ".netloom-export-"  # and the process that writes there


@dataclass(frozen=True)
class File:
    """A file of a bundle."""

    name: str
    size_bytes: int
    sha256: str


@dataclass
class Bundle:
    """What was written.

    Args:
        folder: Where.
        source: Which trial.
        formats: Which formats.
        program: The network as a program, where a format needs it.
        checks: File -> how far its outputs are from the network's, by batch size.
        quantized: What int8 costs, where it was asked for.
        files: All but the card.
    """

    folder: Path
    source: Source
    formats: tuple[str, ...]
    program: Program | None = None
    checks: dict[str, list[Difference]] = field(default_factory=dict)
    quantized: Quantized | None = None
    files: list[File] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values of it."""
        found: dict[str, Any] = {
            "folder": str(self.folder),
            "experiment": self.source.record.name,
            "trial": self.source.trial.number,
            "formats": list(self.formats),
            "weights": {"kind": self.source.kind, "origin": self.source.origin},
            "files": [vars(file) for file in self.files],
            "checks": {name: [vars(d) for d in each] for name, each in self.checks.items()},
        }
        if (q := self.quantized) is not None:
            measured = {"float_accuracy": q.float_accuracy, "int8_accuracy": q.int8_accuracy}
            found["int8"] = {
                "calibrated_on": q.examples,
                "tested_on": q.tested,
                **(measured if q.tested else {"not_measured": q.reason}),
            }
        return found


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
    leaves nothing behind.

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
    say(f"weights: {source.origin}")
    bundle = Bundle(target, source, chosen)
    _require(bundle)
    with _appearing(target) as work:
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


def checked_folder(folder: str | Path, *, force: bool) -> Path:
    """Return the path of a folder that may be written.

    Raises:
        SpecError: If it is a file, holds something, or its parent does not exist.
    """
    path = Path(folder).expanduser().absolute()
    if path.exists() and not path.is_dir():
        raise SpecError(f"an export is written into a folder, got the file {str(folder)!r}")
    if not path.exists():
        if not path.parent.is_dir():
            raise SpecError(f"there is no folder {str(path.parent)!r} to make {path.name!r} in")
        return path
    names = sorted(entry.name for entry in path.iterdir())
    if names and not force:
        raise SpecError(
            f"an export needs a folder that is new or empty, got {str(folder)!r}, which holds "
            f"{names[0]}; name another one, or add --force to replace an export"
        )
    if other := [name for name in names if name not in _OWN and not _left_over(name)]:
        raise SpecError(
            f"--force replaces what an export wrote, got {str(folder)!r}, which holds {other[0]}; "
            "name another folder"
        )
    return path


def _left_over(name: str) -> bool:
    """Whether a name is that of the working folder of an export that was killed."""
    from ...db.claims import process_alive

    found = re.fullmatch(rf"{re.escape(_WORK)}(\d{{1,9}})", name)
    # this process has made none yet: numbers come again, in containers soon
    return found is not None and (int(found[1]) == os.getpid() or not process_alive(int(found[1])))


def _require(bundle: Bundle) -> None:
    """Say what is missing before anything is computed."""
    if "torch" in bundle.formats:
        from .torch_files import require_safetensors

        require_safetensors()
    if "onnx" in bundle.formats:
        from .onnx_files import require_onnx

        require_onnx()
    if "onnx-int8" in bundle.formats:
        from .quantize import require_data

        require_data(bundle.source)


def _fill(bundle: Bundle, work: Path, say: Callable[[str], None]) -> None:
    """Write every file of the bundle into a folder, the card last."""
    from .card import card

    if set(bundle.formats) != {"json"}:
        _write_network(bundle, work, say)
    _write_json(bundle, work / JSON_FILE)
    bundle.files = [_file(path) for path in sorted(work.iterdir())]
    (work / CARD_FILE).write_text(card(bundle), encoding="utf-8")


def _write_network(bundle: Bundle, work: Path, say: Callable[[str], None]) -> None:
    from .program import exported

    source, space = bundle.source, bundle.source.space
    example = space.example_input(source.architecture)  # type: ignore[attr-defined]
    program = bundle.program = exported(source.network(), example)
    if program.fixed:
        say(f"the batch size is fixed to 1: {program.fixed}")
    for name, write in _writers(bundle, program).items():
        if name in bundle.formats:
            bundle.checks |= write(work)
    if "onnx-int8" in bundle.formats:
        from .quantize import write_int8

        bundle.quantized = write_int8(work, program, source)


def _writers(
    bundle: Bundle, program: Program
) -> Mapping[str, Callable[[Path], dict[str, list[Difference]]]]:
    """Return what writes each format: a file name and how far its outputs are off."""
    from .onnx_files import ONNX_FILE, write_onnx
    from .torch_files import LOADER_FILE, PROGRAM_FILE, write_program, write_torch

    scale = bundle.source.scale
    return {
        "torch": lambda work: {LOADER_FILE: write_torch(work, program, scale)},
        "pt2": lambda work: {PROGRAM_FILE: write_program(work, program)},
        "onnx": lambda work: {ONNX_FILE: write_onnx(work, program)},
    }


def _write_json(bundle: Bundle, path: Path) -> None:
    source, program = bundle.source, bundle.program
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
        "space": {**record.spec["space"], "fingerprint": record.space_fingerprint},
        "architecture": dict(trial.architecture),
        "notation": trial.notation,
        "weights": {"kind": source.kind, "origin": source.origin},
    }
    if program is not None:
        mean, std = source.scale or (None, None)
        values["input"] = {
            "shape": list(program.example.shape[1:]),
            "dtype": str(program.example.dtype).removeprefix("torch."),
            "batch": 1 if program.fixed else None,
            "mean": mean,
            "std": std,
        }
        values["outputs"] = list(program.outputs)
    text = json.dumps(values, indent=2, ensure_ascii=False)
    path.write_text(f"{text}\n", encoding="utf-8")


def _file(path: Path) -> File:
    with path.open("rb") as file:
        return File(path.name, path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


@contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """Give a folder to write into; its files are moved to their place when the block ends well.

    Raises:
        OutputError: If they cannot be written.
    """
    there = target.is_dir()
    work = (target if there else target.parent) / f"{_WORK}{os.getpid()}"
    try:
        if there:
            for left in [path for path in target.iterdir() if _left_over(path.name)]:
                shutil.rmtree(left)
        work.mkdir()
        try:
            yield work
            if there:
                _replace(target, work)
            else:
                work.rename(target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise OutputError(
            f"{target} cannot be written: {error.strerror or error}; name another folder"
        ) from error


def _replace(target: Path, work: Path) -> None:
    """Move files into a folder, and remove what an earlier export wrote and this one did not."""
    written = {path.name for path in work.iterdir()}
    for name in sorted(written):
        os.replace(work / name, target / name)
    for name in set(_OWN) - written:
        path = target / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
