"""Names that travel as text (YAML, SQL, command line) and the classes they stand for.

A registry holds import paths, not classes: listing names loads nothing, so that `netloom --help`
needs neither torch nor ray. Installed packages add names through the entry-point group of the
registry; anything else is reached by its import path `package.module:Name`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from .errors import MissingDependency, SpecError, UnknownName

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


class Registry:
    """The names of one kind of thing.

    Args:
        kind: Word used in messages (`space`).
        group: Entry-point group (`netloom.spaces`).
        builtin: name -> `netloom.module:Name`.
    """

    def __init__(self, kind: str, group: str, builtin: Mapping[str, str]) -> None:
        self.kind, self.group = kind, group
        self._paths = dict(builtin)
        self._objects: dict[str, Any] = {}

    def register(self, name: str, target: Any) -> None:
        """Add `target` (an object, or an import path as text) under `name`.

        Raises:
            SpecError: If the name is taken.
        """
        if name in self:
            raise SpecError(f"the {self.kind} name {name!r} is taken; choose another")
        if isinstance(target, str):
            self._paths[name] = target
        else:
            self._objects[name] = target

    def names(self) -> list[str]:
        """Return all names, sorted; loads nothing."""
        return sorted({*self._paths, *self._objects, *self._plugins})

    def own_names(self) -> set[str]:
        """Return the names that came with netloom or were registered: they win over plug-ins."""
        return {*self._paths, *self._objects}

    def get(self, name: str) -> Any:
        """Return the object behind `name`, which is a registered name or `package.module:Name`.

        Raises:
            UnknownName: If nothing is registered under `name`; says the closest names.
            SpecError: If an import path does not lead anywhere.
            MissingDependency: If its module needs a package that is not installed.
        """
        if name in self._objects:
            return self._objects[name]
        if path := self._paths.get(name):
            return load(path, kind=self.kind)
        if plugin := self._plugins.get(name):
            return load(plugin.value, kind=self.kind)
        if ":" in name:
            return load(name, kind=self.kind)
        raise UnknownName(self.kind, name, self.names())

    def __contains__(self, name: str) -> bool:
        return name in self._paths or name in self._objects or name in self._plugins

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    @cached_property
    def _plugins(self) -> dict[str, EntryPoint]:
        from importlib.metadata import entry_points  # 30 ms that `netloom --help` can do without

        return {point.name: point for point in entry_points(group=self.group)}


def load(path: str, *, kind: str) -> Any:
    """Import `package.module:Name` (dots allowed after the colon) and return the object.

    Raises:
        SpecError: If the path is malformed, or the module or the name does not exist.
        MissingDependency: If the module itself imports a package that is not installed.
    """
    module_name, _, attribute = path.partition(":")
    if not module_name or not attribute:
        raise SpecError(f"a {kind} path must read package.module:Name, got {path!r}")
    try:
        value: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module_name == missing or module_name.startswith(f"{missing}."):
            raise SpecError(
                f"{kind} {path!r}: there is no module {missing!r}; install it, or put it beside "
                "the spec (the spec's folder is importable)"
            ) from error
        raise MissingDependency(
            f"{kind} {path!r} needs the package {missing!r}; install it and try again"
        ) from error
    for part in attribute.split("."):
        try:
            value = getattr(value, part)
        except AttributeError as error:
            public = [n for n in vars(value) if not n.startswith("_")]
            raise UnknownName(f"name in {module_name}", part, public) from error
    return value
