"""A plain module as a space: its layers with elastic ones in their place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from fnmatch import fnmatchcase
from typing import Any, cast

import torch
from torch import Tensor, nn

from ...errors import SpecError
from ..layers import (
    Choice,
    ElasticBatchNorm2d,
    ElasticConv2d,
    ElasticLayerNorm,
    ElasticLinear,
    ModuleSupernet,
    Repeat,
    Size,
    cut,
    fixed,
    mutables,
)
from ..module_space import ModuleSpace
from .axes import Axis
from .record import Found, Record, record, tensors

Widths = Sequence[float] | Mapping[str, Sequence[float]]
RATIOS = (0.5, 0.75, 1.0)
_MATRICES = (nn.Conv2d, nn.Linear, ElasticConv2d, ElasticLinear)


def elasticize(
    module: nn.Module,
    example_input: Tensor,
    *,
    widths: Widths = RATIOS,
    depths: bool | Sequence[str] = True,
    divisor: int = 1,
) -> ElasticizedSpace:
    """Return the networks that a plain module can be cut down to.

    The module is run once; which widths depend on each other (through residual adds, depthwise
    layers, norms, flattening) is read off the functions that it calls. Each group of widths
    becomes one decision, named after the layer that writes it first, and each chain of residual
    blocks a decision of depth. What cannot be narrowed keeps its size, and `frozen` says why.

    Args:
        module: Convolutions, linear layers, norms, residual adds and functions between them; it
            is copied, and the super-network has its weights.
        example_input: A batch that it takes.
        widths: Shares of the present width, of every group; or path pattern (`layer2.*`) -> shares
            for the groups whose first layer matches.
        depths: Whether residual blocks at the end of a chain may be left out; or patterns of the
            paths of the chains.
        divisor: Widths are rounded to multiples of it.

    Raises:
        SpecError: If nothing can be made elastic, a share is not in (0, 1], a pattern fits
            nothing, or the module's own code relies on a width.

    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10))
    >>> elasticize(net, torch.zeros(1, 3, 8, 8)).decisions[0].options
    (4, 6, 8)
    """
    return ElasticizedSpace(module, example_input, widths=widths, depths=depths, divisor=divisor)


class ElasticizedSpace(ModuleSpace):
    """The networks that a plain module can be cut down to; `elasticize` makes it."""

    _contract = True

    def __init__(
        self,
        module: nn.Module,
        example_input: Tensor,
        *,
        widths: Widths = RATIOS,
        depths: bool | Sequence[str] = True,
        divisor: int = 1,
    ) -> None:
        if not isinstance(module, nn.Module) or any(True for _ in mutables(module)):
            raise SpecError(
                "elasticize takes a plain module; one with mutable layers is a space already "
                f"(ModuleSpace), got {type(module).__name__}"
            )
        if divisor < 1:
            raise SpecError(f"divisor must be at least 1, got {divisor}")
        self.name = type(module).__name__
        self._made_with = {
            "widths": widths if isinstance(widths, Mapping) else list(widths),
            "depths": depths if isinstance(depths, bool) else list(depths),
            "divisor": divisor,
        }
        source = deepcopy(module)
        found = record(source, example_input)
        elastic = deepcopy(source)
        choices = _width_choices(found, _Shares(widths, divisor))
        _replace_layers(elastic, found, choices)
        _replace_chains(elastic, found, depths)
        #: path of each layer that keeps its width -> why
        self.frozen = {
            path: layer.writes.reason for path, layer in found.layers.items() if layer.writes.reason
        }
        if not any(True for _ in mutables(elastic)):
            reasons = "; ".join(f"{p}: {r}" for p, r in self.frozen.items())
            raise SpecError(
                f"nothing of {self.name} can be made elastic with widths={widths!r}, "
                f"depths={depths!r}, divisor={divisor}. {reasons or 'It has no layer to cut'}"
            )
        _check(source, elastic, example_input)
        super().__init__(elastic, example_input)

    @property
    def options(self) -> dict[str, Any]:
        """What it was made with, beside the module."""
        return dict(self._made_with)

    def supernet(self, **options: Any) -> ModuleSupernet:
        """Return the super-network, with the weights of the module that was given.

        Raises:
            SpecError: If options are given; there is none.
        """
        if options:
            raise SpecError(f"the super-network of a module has no options, got {sorted(options)}")
        return ModuleSupernet(self, self._fresh())


class _Shares:
    """The options of a width, by the path of the layer that writes it."""

    def __init__(self, widths: Widths, divisor: int) -> None:
        self._divisor = divisor
        self._patterns = dict(widths) if isinstance(widths, Mapping) else {"*": widths}
        self.unused = {p for p, shares in self._patterns.items() if shares and p != "*"}
        for shares in self._patterns.values():
            if wrong := [s for s in shares if not 0 < s <= 1]:
                raise SpecError(
                    f"a share of a width must be more than 0, at most 1; got {wrong[0]}"
                )

    def options(self, path: str, size: int) -> tuple[int, ...]:
        """Return the widths to choose from; one only where nothing is to be chosen."""
        for pattern, shares in self._patterns.items():
            if fnmatchcase(path, pattern):
                self.unused.discard(pattern)
                step = self._divisor
                rounded = {max(step, round(size * s / step) * step) for s in shares}
                return tuple(sorted({min(size, n) for n in rounded}))
        return ()


def _width_choices(found: Record, shares: _Shares) -> dict[Axis, Choice]:
    """Return a choice for every axis that may be narrowed, in the order of the first writers."""
    choices: dict[Axis, Choice] = {}
    seen: set[Axis] = set()
    for path, layer in found.layers.items():
        axis = layer.writes.root
        if layer.keeps or axis in seen:
            continue
        seen.add(axis)
        options = shares.options(path, axis.size)
        if not axis.reason and options and options != (axis.size,):
            if axis.size not in options:
                options = (*options, axis.size)
            choices[axis] = Choice(f"{path}.width", options)
    if shares.unused:
        raise SpecError(f"no layer that writes a width matches {sorted(shares.unused)[0]!r}")
    return choices


def _replace_layers(module: nn.Module, found: Record, choices: Mapping[Axis, Choice]) -> None:
    """Put an elastic layer in the place of every layer with a width that is chosen."""
    new: dict[nn.Module, nn.Module] = {}
    for path, layer in found.layers.items():
        old = module.get_submodule(path)
        reads: Size | int = choices.get(layer.reads.root, layer.reads.size)
        writes: Size | int = choices.get(layer.writes.root, layer.writes.size)
        if not fixed(reads, writes):
            new[old] = _elastic(old, layer, reads, writes)
    for parent in list(module.modules()):
        for name, child in list(parent._modules.items()):
            if child in new:
                setattr(parent, name, new[child])


def _elastic(old: nn.Module, found: Found, reads: Size | int, writes: Size | int) -> nn.Module:
    """Return the elastic layer with the weights, type, device and mode of `old`."""
    new: nn.Module
    if isinstance(old, nn.Conv2d):
        new = ElasticConv2d(
            reads,
            writes,
            cast("tuple[int, int]", old.kernel_size),
            stride=cast("tuple[int, int]", old.stride),
            padding=cast("tuple[int, int]", old.padding),
            dilation=cast("tuple[int, int]", old.dilation),
            depthwise=found.keeps,
            bias=old.bias is not None,
        )
    elif isinstance(old, nn.Linear):
        inside = reads if fixed(reads) else cast(Size, reads) * found.times
        new = ElasticLinear(
            inside if isinstance(inside, Size) else old.in_features,
            writes,
            bias=old.bias is not None,
        )
    elif isinstance(old, nn.BatchNorm2d):
        new = ElasticBatchNorm2d(writes, eps=old.eps, momentum=old.momentum, affine=old.affine)
    else:
        new = ElasticLayerNorm(writes, eps=cast("nn.LayerNorm", old).eps)
    new.load_state_dict(old.state_dict())
    for parameter in old.parameters():
        new.to(parameter)
    return new.train(old.training)


def _replace_chains(module: nn.Module, found: Record, depths: bool | Sequence[str]) -> None:
    """Put a choice of depth in the place of every chain of residual blocks."""
    patterns = ["*"] if depths is True else list(depths or ())
    unused = set(patterns) - {"*"}
    for path, parent in list(module.named_modules()):
        if type(parent) not in (nn.Sequential, nn.ModuleList):
            continue
        chains = list(_chains(path, parent, found))
        for names in chains:
            label = f"{path}." if path else ""
            label += "" if len(chains) == 1 else f"{names[0]}."
            matching = [p for p in patterns if fnmatchcase(label.rstrip("."), p)]
            if not matching:
                continue
            unused.difference_update(matching)
            blocks = [cast(nn.Module, parent._modules[name]) for name in names]
            least = 1 if len(names) == len(parent) else 0
            if len(names) > least:
                chain = Repeat(f"{label}depth", blocks, range(least, len(names) + 1))
                parent._modules[names[0]] = chain
                for name in names[1:]:
                    del parent._modules[name]
        if isinstance(parent, nn.ModuleList):
            parent._modules = dict(zip(map(str, range(len(parent))), parent, strict=True))
    if unused:
        raise SpecError(f"no chain of residual blocks matches {sorted(unused)[0]!r}")


def _chains(path: str, parent: nn.Module, found: Record) -> Iterator[list[str]]:
    """Yield the names of neighbouring children that can be left out from the end on."""
    run: list[str] = []
    for name, child in parent.named_children():
        inner = f"{path}.{name}" if path else name
        if _residual(inner, child, found):
            run.append(name)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _residual(path: str, block: nn.Module, found: Record) -> bool:
    """Whether a block adds to what goes in, so that without it the network still fits."""
    if path not in found.residual or path in found.repeated:
        return False
    before, after = found.calls[path]
    alike = [[a.root for a in dim] for dim in before] == [[a.root for a in dim] for dim in after]
    return alike and any(isinstance(m, _MATRICES) for m in block.modules())


def _check(source: nn.Module, elastic: nn.Module, example_input: Tensor) -> None:
    """Run the largest and the smallest network.

    Raises:
        SpecError: If the largest is not the module, or the smallest does not run.
    """
    elastic = deepcopy(elastic).eval()
    if example_input.is_floating_point():  # zeros would hide a difference
        noise = torch.randn(example_input.shape, generator=torch.Generator().manual_seed(0))
        example_input = noise.to(example_input)
    with torch.no_grad():
        expected, given = source.eval()(example_input), elastic(example_input)
        if not all(map(_close, tensors(expected), tensors(given))):
            raise SpecError(
                f"with elastic layers {type(source).__name__} computes something else than before; "
                "it does more with its blocks than call them one after the other: pass depths=False"
            )
        for layer in mutables(elastic):
            for choice in layer.choices:
                choice.activate(choice.options[0])
        try:
            cut(elastic, inherit=True)(example_input)
        except Exception as error:
            raise SpecError(
                f"the code of {type(source).__name__} relies on a width that would be chosen: its "
                f"smallest network raised {type(error).__name__}: {error}. Leave the width out "
                "with widths={pattern: shares}, or write sizes of tensors instead of numbers"
            ) from error


def _close(expected: Tensor, given: Tensor) -> bool:
    return expected.shape == given.shape and torch.allclose(expected, given, 1e-4, 1e-5)
