"""Accelerators as a space: how many processing elements and how much bandwidth each one gets.

Plain data: `AcceleratorSpace.choice` says what was decided, and `hw_models.asic.from_choice` reads
it; neither folder knows the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, pairwise
from math import comb
from random import Random
from typing import Any, ClassVar, Literal

from ..errors import InvalidArchitecture, SpecError
from ..jsonio import canonical_json
from .decision import Architecture, Decision, Option
from .space import DecisionSpace

Costs = Literal["2019-20", "2021"]
_TRIES = 64  # draws of a change or a child before a certain one is taken


class AcceleratorSpace(DecisionSpace):
    """Chips of one or several accelerators that share processing elements and bandwidth.

    Each accelerator has a dataflow, elements and a share of the bandwidth of the network on chip;
    one without elements is left out, and one at least is there. The sums keep to the totals. Use
    it as a factor of a product, beside the networks that the chip shall run.

    Args:
        preset: `full` is NASAIC's space; `tiny` is small enough to enumerate.
        accelerators: At most so many.
        dataflows: Templates to choose from: `dla` (NVDLA), `shi` (ShiDianNao), `rs` (Eyeriss).
        pes: Processing elements in all.
        pe_step: Elements come in multiples of this.
        bandwidth: Of the network on chip, in all, in elements per cycle (GB/s at 1 GHz).
        bandwidth_step: Likewise.
        costs: MAESTRO's cost table: `2019-20` or `2021`.
        clock_ghz: Of the chip.
        lanes: Multipliers of an element; None: as the cost table says.

    Raises:
        SpecError: If a total is less than a step, or there is no dataflow or no accelerator.
    """

    name = "accelerator"
    notation: ClassVar[str] = (
        "dataflow,PEs,bandwidth for each accelerator, off for one left out: dla,576,56 + shi,1792,8"
    )
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "full": {"accelerators": 2, "pes": 4096, "pe_step": 32, "bandwidth": 64},
        "tiny": {"accelerators": 2, "pes": 256, "pe_step": 64, "bandwidth": 24},
    }

    def __init__(
        self,
        *,
        preset: str = "full",
        accelerators: int | None = None,
        dataflows: tuple[Literal["dla", "shi", "rs"], ...] = ("dla", "shi", "rs"),
        pes: int | None = None,
        pe_step: int | None = None,
        bandwidth: int | None = None,
        bandwidth_step: int = 8,
        costs: Costs = "2019-20",
        clock_ghz: float = 1.0,
        lanes: int | None = None,
    ) -> None:
        o = self.options
        self.accelerators, self.dataflows = o["accelerators"], tuple(o["dataflows"])
        self.pe_step, self.bandwidth_step = o["pe_step"], o["bandwidth_step"]
        self.pes, self.bandwidth = o["pes"], o["bandwidth"]
        _positive(o)
        self._units = (self.pes // self.pe_step, self.bandwidth // self.bandwidth_step)
        super().__init__([d for i in range(self.accelerators) for d in self._decisions(i)])

    def _decisions(self, number: int) -> Iterator[Decision]:
        part = f"acc{number + 1}"
        pes = tuple(range(0, self.pes + 1, self.pe_step))
        there = {f"{part}.pes": pes[1:]}
        shares = tuple(range(self.bandwidth_step, self.bandwidth + 1, self.bandwidth_step))
        yield Decision(f"{part}.pes", pes, ordered=True)
        yield Decision(f"{part}.dataflow", self.dataflows, when=there)
        yield Decision(f"{part}.bandwidth", shares, ordered=True, when=there)

    def choice(self, architecture: Mapping[str, Option]) -> dict[str, Any]:
        """Return the accelerators as `hw_models.asic.from_choice` reads them."""
        o = self.options
        lanes = {} if o["lanes"] is None else {"lanes": o["lanes"]}
        return {
            "accelerators": [
                {"dataflow": d, "pes": p, "bandwidth": b, **lanes}
                for d, p, b in self._present(architecture)
            ],
            "costs": o["costs"],
            "clock_ghz": o["clock_ghz"],
        }

    # ---------------------------------------------------------------- what is legal
    @property
    def size(self) -> int:
        """The number of chips that keep to the totals, exact."""
        return sum(self._count(there) for there in range(1, self.accelerators + 1))

    def _count(self, there: int) -> int:
        """Return how many chips have exactly so many accelerators."""
        which: int = comb(self.accelerators, there) * len(self.dataflows) ** there
        return which * comb(self._units[0], there) * comb(self._units[1], there)

    def architecture(self, mapping: Mapping[str, Any]) -> Architecture:
        """Return the chip that `mapping` describes.

        Raises:
            InvalidArchitecture: As any space; or if there is no accelerator, or the shares are
                more than a total.
        """
        checked = super().architecture(mapping)
        if problem := self._problem(checked):
            raise InvalidArchitecture(f"{self.name}: {problem}")
        return checked

    def _problem(self, architecture: Mapping[str, Option]) -> str:
        parts = self._present(architecture)
        if not parts:
            return "one accelerator at least must have processing elements; got none"
        pes, shares = [part[1] for part in parts], [part[2] for part in parts]
        for what, given, total in (
            ("pes", pes, self.pes),
            ("bandwidth", shares, self.bandwidth),
        ):
            if sum(given) > total:
                parts_text = " + ".join(map(str, given))
                return f"the {what} of all must be at most {total}; got {parts_text}"
        return ""

    def _present(self, architecture: Mapping[str, Option]) -> list[tuple[str, int, int]]:
        """Return (dataflow, elements, bandwidth) of the accelerators that have elements."""
        a: Mapping[str, Any] = architecture
        parts = [f"acc{i + 1}" for i in range(self.accelerators)]
        return [
            (str(a[f"{p}.dataflow"]), int(a[f"{p}.pes"]), int(a[f"{p}.bandwidth"]))
            for p in parts
            if a[f"{p}.pes"]
        ]

    # ---------------------------------------------------------------- one after the other
    def at(self, index: int) -> Architecture:
        """Return chip number `index`: fewer accelerators first."""
        if not 0 <= index < self.size:
            raise IndexError(f"{self.name} numbers its architectures 0..{self.size - 1}")
        there = 1
        while index >= self._count(there):
            index -= self._count(there)
            there += 1
        index, b = divmod(index, comb(self._units[1], there))
        index, p = divmod(index, comb(self._units[0], there))
        which, flows = divmod(index, len(self.dataflows) ** there)
        places = list(combinations(range(self.accelerators), there))[which]
        pes = _shares(p, self._units[0], there)
        shares = _shares(b, self._units[1], there)
        mapping: dict[str, Option] = {f"acc{i + 1}.pes": 0 for i in range(self.accelerators)}
        for place, units, share in zip(places, pes, shares, strict=True):
            flows, flow = divmod(flows, len(self.dataflows))
            mapping[f"acc{place + 1}.pes"] = units * self.pe_step
            mapping[f"acc{place + 1}.dataflow"] = self.dataflows[flow]
            mapping[f"acc{place + 1}.bandwidth"] = share * self.bandwidth_step
        return self._complete(mapping, None)

    def sample(
        self, rng: Random, law: Literal["architectures", "decisions"] = "architectures"
    ) -> Architecture:
        """Draw a chip; law `decisions` draws again while a draw breaks a rule, or a uniform one."""
        if law == "decisions":
            drawn = self._try(lambda: self._complete({}, rng))
            if drawn is not None:
                return drawn
            law = "architectures"
        return super().sample(rng, law)

    def neighbors(self, architecture: Architecture) -> list[Architecture]:
        """Return the legal chips that differ in one decision."""
        return [n for n in super().neighbors(architecture) if not self._problem(n)]

    def mutate(self, architecture: Architecture, rng: Random) -> Architecture:
        """Change one decision so that the result is legal."""
        mutate = super().mutate
        found = self._try(lambda: mutate(architecture, rng))
        if found is not None:
            return found
        neighbors = self.neighbors(architecture)
        if not neighbors:
            raise SpecError(f"{self.name}: no chip differs from this one in one decision alone")
        return neighbors[rng.randrange(len(neighbors))]

    def crossover(self, first: Architecture, second: Architecture, rng: Random) -> Architecture:
        """Mix two chips until the child is legal; a parent where no child is."""
        mix = super().crossover
        found = self._try(lambda: mix(first, second, rng))
        return found if found is not None else (first, second)[rng.randrange(2)]

    def _try(self, draw: Any) -> Architecture | None:
        for _ in range(_TRIES):
            drawn: Architecture = draw()
            if not self._problem(drawn):
                return drawn
        return None

    def canonical(self, architecture: Architecture) -> str:
        """Return a text that the order of the accelerators does not change."""
        return canonical_json(sorted(map(list, self._present(architecture))))

    # ---------------------------------------------------------------- notation
    def parse_notation(self, value: str | Sequence[Any]) -> Architecture:
        """Read `dla,576,56 + shi,1792,8`; accelerators that are not written are off."""
        if not isinstance(value, str) or not value.strip():
            raise self.unreadable(value)
        parts = [part.strip() for part in value.split("+")]
        if len(parts) > self.accelerators:
            raise self.unreadable(value, f"at most {self.accelerators} accelerators, got more")
        parts += ["off"] * (self.accelerators - len(parts))
        mapping: dict[str, Any] = {}
        for number, part in enumerate(parts, start=1):
            if part == "off":
                mapping[f"acc{number}.pes"] = 0
                continue
            words = [word.strip() for word in part.split(",")]
            if len(words) != 3 or not all(word.isdecimal() for word in words[1:]):
                raise self.unreadable(value, f"{part!r} is not dataflow,PEs,bandwidth")
            mapping[f"acc{number}.dataflow"] = words[0]
            mapping[f"acc{number}.pes"] = int(words[1])
            mapping[f"acc{number}.bandwidth"] = int(words[2])
        return self.architecture(mapping)

    def format(self, architecture: Architecture) -> str:
        """Return `dla,576,56 + shi,1792,8`."""
        texts = []
        for number in range(1, self.accelerators + 1):
            if not architecture[f"acc{number}.pes"]:
                texts.append("off")
                continue
            fields = ("dataflow", "pes", "bandwidth")
            texts.append(",".join(str(architecture[f"acc{number}.{name}"]) for name in fields))
        return " + ".join(texts)

    def published(self) -> dict[str, Architecture]:
        """Return the chips of NASAIC's table of results, in the space that they come from."""
        found: dict[str, Architecture] = {}
        if self.accelerators < 2:
            return found
        for name, text in _NASAIC.items():
            try:
                found[name] = self.parse_notation(text)
            except InvalidArchitecture:
                continue  # beyond the totals, steps or dataflows of this space
        return found


_NASAIC = {  # its table of results
    "nasaic_w1": "dla,576,56 + shi,1792,8",
    "nasaic_w1_nas_then_asic": "dla,2112,48 + shi,1984,16",
    "nasaic_w1_asic_then_nas": "dla,1088,24 + shi,2368,40",
    "nasaic_w2": "dla,2112,40 + shi,1184,24",
    "nasaic_w2_nas_then_asic": "dla,2368,56 + shi,1728,8",
    "nasaic_w2_asic_then_nas": "dla,2112,24 + shi,1536,40",
}


def _positive(options: Mapping[str, Any]) -> None:
    for name, least in (
        ("accelerators", 1),
        ("pe_step", 1),
        ("bandwidth_step", 1),
        ("pes", options["pe_step"]),
        ("bandwidth", options["bandwidth_step"]),
    ):
        if options[name] < least:
            raise SpecError(f"accelerator: {name} must be at least {least}, got {options[name]}")


def _shares(index: int, total: int, parts: int) -> list[int]:
    """Return way number `index` to give `parts` their shares, at least 1 each, of `total`.

    The running sums are a subset of 1..total; subsets are counted in lexical order.
    """
    sums, least = [0], 1
    for left in range(parts - 1, -1, -1):
        while index >= (count := comb(total - least, left)):
            index -= count
            least += 1
        sums.append(least)
        least += 1
    return [b - a for a, b in pairwise(sums)]
