"""YAML as people mean it: 1.2 scalars, no duplicate keys, and a place for every value.

PyYAML reads YAML 1.1: it keeps the last of two equal keys, turns `on` into true and leaves `1e-3` a
string. The loader here follows the core schema of YAML 1.2 (only `true` and `false` are booleans,
`1e-3` is a number) and remembers line and column of each key, so that errors found later can point
at the file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

import yaml

from ...errors import SpecError, did_you_mean
from ...options import Path, Problem, SpecProblems

_MAX_NODES = 100_000  # aliases can blow a small file up; no spec comes near


@dataclass
class Document:
    """A loaded YAML file: plain values, and where each one stands.

    Args:
        data: Mappings, lists and scalars.
        source: Name of the file for messages.
        marks: Path -> (line, column), both counted from 1.
        origins: Path -> text of the command-line override that set it.
    """

    data: Any
    source: str
    marks: dict[Path, tuple[int, int]] = field(default_factory=dict)
    origins: dict[Path, str] = field(default_factory=dict)

    def locate(self, path: Sequence[str | int]) -> str:
        """Return `file:line:column` of the value at `path`, or of the closest one around it.

        A value of an override, or with one inside, is located at the override's text.
        """
        for end in range(len(path), -1, -1):
            part = tuple(path[:end])
            if origin := self.origins.get(part):
                return origin
            if mark := self.marks.get(part):
                return f"{self.source}:{mark[0]}:{mark[1]}"
            inside = [text for key, text in self.origins.items() if key[:end] == part]
            if inside and part:
                return inside[0]
        return self.source

    def located(self, problems: Sequence[Problem]) -> SpecProblems:
        """Return the problems as one error, with locations, in the order of the file."""
        placed = [Problem(p.path, p.message, p.location or self.locate(p.path)) for p in problems]
        return SpecProblems(sorted(placed, key=self._order))

    def _order(self, problem: Problem) -> tuple[int, int]:
        for end in range(len(problem.path), -1, -1):
            if mark := self.marks.get(tuple(problem.path[:end])):
                return mark
        return (0, 0)


class _Loader(yaml.SafeLoader):
    """The reader and parser of PyYAML with the implicit types of YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012 - as PyYAML declares it


def _resolve_as(tag: str, pattern: str, first: str) -> None:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), list(first))


_resolve_as("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF")
_resolve_as("null", r"^(?:~|null|Null|NULL|)$", "~nN")
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^$"), [""])
_resolve_as("int", r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", "-+0123456789")
_resolve_as(
    "float",
    r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
    "-+.0123456789",
)


def read(path: str | FilePath) -> Document:
    """Load a YAML file.

    Raises:
        SpecError: If there is no such file or it is not UTF-8 text.
        SpecProblems: If it is not YAML, or has duplicate keys.
    """
    file = FilePath(path)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        near = sorted(p.name for p in file.parent.glob("*.y*ml")) if file.parent.is_dir() else []
        hint = did_you_mean(file.name, near) if near else ""
        raise SpecError(f"there is no file {str(path)!r}{hint}") from error
    except UnicodeDecodeError as error:
        raise SpecError(f"{path} must be UTF-8 text: {error}; save it as UTF-8") from error
    except OSError as error:
        raise SpecError(f"cannot read {path}: {error.strerror or error}") from error
    return loads(text, source=str(path))


def loads(text: str, *, source: str = "<text>") -> Document:
    """Load YAML text; see `read`."""
    document = Document(None, source)
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            builder = _Builder(loader, document)
            document.data = None if node is None else builder.value(node, ())
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{source}:{mark.line + 1}:{mark.column + 1}" if mark else source
        message = f"is not YAML: {error.problem or error.context}"
        raise SpecProblems([Problem((), message, place)]) from error
    except yaml.YAMLError as error:
        raise SpecProblems([Problem((), f"is not YAML: {error}", source)]) from error
    except RecursionError as error:
        text = "is nested too deep to be a spec; are brackets missing?"
        raise SpecProblems([Problem((), text, source)]) from error
    if builder.problems:
        raise document.located(builder.problems)
    return document


def scalar(text: str) -> Any:
    """Return the value that `text` has in a spec: `4`, `1e-3`, `true`, `[a, b]`, words."""
    return loads(text).data


class _Builder:
    """Turns nodes into values, noting marks and collecting every problem."""

    def __init__(self, loader: _Loader, document: Document) -> None:
        self.loader, self.document = loader, document
        self.problems: list[Problem] = []
        self._count = 0
        self._open: set[int] = set()

    def value(self, node: yaml.Node, path: Path) -> Any:
        """Return the value of `node`, which stands at `path`."""
        self._count += 1
        if id(node) in self._open or self._count > _MAX_NODES:
            raise yaml.constructor.ConstructorError(
                None, None, "an alias repeats itself without end", node.start_mark
            )
        self.document.marks.setdefault(path, _mark(node))
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                return [self.value(item, (*path, i)) for i, item in enumerate(node.value)]
            return self._scalar(node)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            place = f"{self.document.source}:{_mark(key_node)[0]}:{_mark(key_node)[1]}"
            if key is None:
                self.problems.append(Problem(path, "a key must be a word", place))
                continue
            here = (*path, key)
            if key in values:
                line = self.document.marks[here][0]
                message = f"the key stands twice, first in line {line}; remove one"
                self.problems.append(Problem(here, message, place))
                continue
            self.document.marks[here] = _mark(key_node)
            values[key] = self.value(value_node, here)
        return values

    def _scalar(self, node: yaml.Node) -> Any:
        kind = node.tag.rpartition(":")[2]
        try:
            if kind == "int":
                return int(node.value, 10 if re.fullmatch(r"[-+]?\d+", node.value) else 0)
            if kind == "float" and not re.match(r"^[-+]?\.[iInN]", node.value):
                return float(node.value)
            return self.loader.construct_object(node, deep=True)
        except yaml.YAMLError:
            raise
        except Exception as error:  # PyYAML's constructors raise what they stumble over
            what = "a number" if kind in ("int", "float") else f"of the type {node.tag}"
            raise yaml.constructor.ConstructorError(
                None, None, f"{node.value[:40]!r} is not {what}", node.start_mark
            ) from error


def override(document: Document, assignments: Sequence[str], *, called: str = "--set") -> None:
    """Apply `a.b=c` texts (`--set`) to a document; values are read as YAML.

    A list item is named by its position or by its `name`: `estimators.training.epochs=2`. A bare
    name on the way becomes a mapping: `strategy.population=8` over `strategy: nsga2`. Problems are
    located at a text with `called` before it.

    Raises:
        SpecProblems: If a text is not `path=value` or leads through something that has no keys.
    """
    problems = []
    for text in assignments:
        name, sign, value = text.partition("=")
        parts = [p for p in re.split(r"[.\[\]]+", name.strip()) if p]
        origin = f"{called} {text}"
        if not sign or not parts:
            message = "an override must read path=value, for example strategy.population=32"
            problems.append(Problem((), message, origin))
            continue
        try:
            _assign(document, parts, scalar(value), origin)
        except SpecProblems as error:
            problems += [Problem((), p.message, origin) for p in error.problems]
    if problems:
        raise SpecProblems(problems)


def _assign(document: Document, parts: list[str], value: Any, origin: str) -> None:
    if document.data is None:
        document.data = {}
    holder: Any = document.data
    path: Path = ()
    for position, part in enumerate(parts):
        key: Any = _key(holder, part, origin)
        last = position == len(parts) - 1
        path = (*path, key)
        if last:
            holder[key] = value
            break
        inner = holder[key] if isinstance(holder, list) else holder.get(key)
        if inner is None:
            inner = {}
        elif isinstance(inner, str) and path[0] != "constraints":
            inner = {"name": inner}
        holder[key] = inner
        holder = inner
    for known in [p for p in document.marks if p[: len(path)] == path]:
        del document.marks[known]
    document.origins[path] = origin


def _key(holder: Any, part: str, origin: str) -> str | int:
    if isinstance(holder, dict):
        return part
    if not isinstance(holder, list):
        raise SpecProblems([Problem((), f"{holder!r} has no key {part!r}", origin)])
    names = [item.get("name") if isinstance(item, dict) else item for item in holder]
    if part.isdigit() and int(part) < len(holder):
        return int(part)
    if part in names:
        return names.index(part)
    known = [str(n) for n in names if n is not None]
    message = f"no item {part!r} in the list of {len(holder)}{did_you_mean(part, known)}"
    raise SpecProblems([Problem((), message, origin)])


def _mark(node: yaml.Node) -> tuple[int, int]:
    return (node.start_mark.line + 1, node.start_mark.column + 1)
