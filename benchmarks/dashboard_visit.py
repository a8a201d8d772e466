"""A browser without a screen: it asks the dashboard what a browser asks, and takes the time."""

from __future__ import annotations

import gzip
import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Key = tuple[str, str]  # a component's id and a property of it
ROWS = {"startRow": 0, "endRow": 100, "sortModel": [], "filterModel": {}}


@dataclass(frozen=True)
class Answer:
    """What one request took: seconds to the last byte, the server's own, and bytes on the way."""

    name: str
    seconds: float
    cpu_s: float
    size: int


class Visit:
    """One browser tab: the properties of the components on the page, and its requests.

    Args:
        url: Address of the dashboard, with the slash at the end.
        cpu_s: Gives the processor time that the server has spent.
    """

    def __init__(self, url: str, cpu_s: Callable[[], float]) -> None:
        self._cpu_s = cpu_s
        self.url, self.answers, self.props = url.rstrip("/"), list[Answer](), dict[Key, Any]()
        self._get("the frame", "/")
        self._put(self._get("the frame's parts", "/_dash-layout"))
        self.callbacks = [
            each
            for each in self._get("the frame's callbacks", "/_dash-dependencies")
            if not each["clientside_function"] and "{" not in json.dumps(_ids(each))
        ]

    def open(self, path: str, search: str = "") -> list[Answer]:
        """Go to a page; return the answers until it is complete."""
        frame = {"url", "tick", "revision", "live", "page"}
        self.props = {key: value for key, value in self.props.items() if key[0] in frame}
        self.props |= {("url", "pathname"): path, ("url", "search"): search}
        self.props |= {("place", "search"): search}
        return self._settle({("url", "pathname")})

    def change(self, id: str, property: str, value: Any) -> list[Answer]:
        """Set a property as a person would; return the answers until all is calm."""
        self.props[id, property] = value
        return self._settle({(id, property)})

    def _settle(self, changed: set[Key]) -> list[Answer]:
        """Fire what depends on what has changed, as long as anything changes."""
        before = len(self.answers)
        while changed:
            new, changed = changed, set()
            for callback in self.callbacks:
                inputs = [(i["id"], i["property"]) for i in callback["inputs"]]
                if new & set(inputs) and all(self._has(id) for id in _ids(callback)):
                    changed |= self._fire(callback, sorted(new & set(inputs)))
        return self.answers[before:]

    def _has(self, id: str) -> bool:
        return any(key[0] == id for key in self.props)

    def _fire(self, callback: dict[str, Any], triggers: list[Key]) -> set[Key]:
        """Ask for one callback; return the inputs that may now be answered."""
        outputs = [
            {"id": id, "property": name.split("@")[0]} for id, name in _outputs(callback["output"])
        ]
        body = {
            "output": callback["output"],
            "outputs": outputs if callback["output"].startswith("..") else outputs[0],
            "inputs": [self._value(each) for each in callback["inputs"]],
            "state": [self._value(each) for each in callback.get("state", ())],
            "changedPropIds": [".".join(key) for key in triggers],
        }
        answer = self._get(callback["output"], "/_dash-update-component", body)
        changed: set[Key] = set()
        for id, values in (answer or {}).get("response", {}).items():
            for name, value in values.items():
                self.props[id, name] = value
                changed |= {(id, name)} | self._put(value)
        return changed

    def _value(self, each: dict[str, str]) -> dict[str, Any]:
        return {**each, "value": self.props.get((each["id"], each["property"]))}

    def _put(self, value: Any) -> set[Key]:
        """Take over components; return their properties, which callbacks may wait for."""
        found = set()
        for part in _components(value):
            props = part["props"]
            if isinstance(id := props.get("id"), str):
                if part["type"] == "AgGrid" and props.get("rowModelType") == "infinite":
                    props = {**props, "getRowsRequest": ROWS}
                self.props[id, "id"] = id
                self.props |= {(id, name): each for name, each in props.items()}
                found |= {(id, name) for name in props} | self._asked_first(id)
        return found

    def _asked_first(self, id: str) -> set[Key]:
        """Return the inputs of a new component whose callbacks are asked without a change."""
        return {
            (each["id"], each["property"])
            for callback in getattr(self, "callbacks", ())
            if not callback["prevent_initial_call"]
            for each in callback["inputs"]
            if id in _ids(callback) and self._has(each["id"])
        }

    def _get(self, name: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path, data, {"Content-Type": "application/json", "Accept-Encoding": "gzip"}
        )
        start, spent = time.perf_counter(), self._cpu_s()
        with urllib.request.urlopen(request, timeout=300) as answer:
            text = answer.read()
            packed = answer.headers.get("Content-Encoding") == "gzip"
        seconds = time.perf_counter() - start
        self.answers.append(Answer(name, seconds, self._cpu_s() - spent, len(text)))
        text = gzip.decompress(text) if packed else text
        return json.loads(text) if text and path != "/" else None


def _ids(callback: dict[str, Any]) -> list[str]:
    parts = [*callback["inputs"], *callback.get("state", ())]
    return [str(part["id"]) for part in parts]


def _outputs(text: str) -> list[tuple[str, str]]:
    """Return id and property of each output of a callback, as dash writes them."""
    parts = text.strip(".").split("...") if text.startswith("..") else [text]
    return [(id, name) for id, _, name in (part.rpartition(".") for part in parts)]


def _components(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "props" in value and "namespace" in value:
            yield value
        for part in value.values():
            yield from _components(part)
    elif isinstance(value, list):
        for part in value:
            yield from _components(part)
