"""What the tests of the named spaces share."""

from __future__ import annotations

from random import Random

import torch
from torch import Tensor, nn

from netloom.hw_models import Workload, trace
from netloom.spaces import Architecture, Part, Space
from netloom.spaces.layers import ModuleSupernet


class Costs:
    """Parameters and MACs (convolutions and linear layers) by part, counted with hooks."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[int, int]] = {}

    def of(self, parts: list[Part]) -> tuple[int, int]:
        found = [self.known.get(p.key) or self.count(p) for p in parts]
        return sum(params for params, _ in found), sum(macs for _, macs in found)

    def count(self, part: Part) -> tuple[int, int]:
        module = part.build().to("meta").eval()
        macs = 0

        def hook(layer: nn.Module, _: object, y: torch.Tensor) -> None:
            nonlocal macs
            if isinstance(layer, nn.Conv2d | nn.Linear):
                macs += y.numel() * layer.weight[0].numel()

        for layer in module.modules():
            layer.register_forward_hook(hook)
        module(*(torch.empty(i.shape, device="meta") for i in part.inputs))
        self.known[part.key] = sum(p.numel() for p in module.parameters()), macs
        return self.known[part.key]


def traced(network: nn.Module, space: Space, a: Architecture) -> Workload:
    """Trace a network without arithmetic; works for super-networks too."""
    return trace(network, space.example_input(a))


def randomize(module: nn.Module) -> None:
    """Give every parameter and statistic a value that a wrong slice or a wrong norm would show."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
        for name, buffer in module.named_buffers():
            if buffer.is_floating_point():
                low = 0.5 if name.endswith("running_var") else -0.5
                buffer.copy_(low + torch.rand(buffer.shape, generator=generator))


def images(space: Space, a: Architecture, n: int = 4) -> Tensor:
    """Return a batch that fits."""
    shape = space.example_input(a).shape[1:]
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(1))


def assert_extraction_is_exact(
    supernet: ModuleSupernet, members: int, *, same_as_build: bool = True
) -> None:
    """An extracted network gives the super-network's outputs in both modes, bit for bit.

    With `same_as_build` its state is also that of a stand-alone network, by name.
    """
    space, rng = supernet.space, Random(5)
    randomize(supernet)
    for _ in range(members):
        a = space.sample(rng)
        x = images(space, a)
        supernet.activate(a)
        for training in (True, False):  # train mode moves the statistics
            network = supernet.extract(a).train(training)
            supernet.train(training)
            with torch.no_grad():
                assert torch.equal(network(x), supernet(x)), space.format(a)
        if same_as_build:
            alone = space.build(a).eval()
            alone.load_state_dict(network.state_dict())
            with torch.no_grad():
                assert torch.equal(alone(x), network.eval()(x))


def assert_parameters_are_those_read(supernet: ModuleSupernet, members: int) -> None:
    """`parameters_of` names exactly the parameters that get a gradient."""
    space, rng = supernet.space, Random(6)
    supernet.eval()
    for _ in range(members):
        a = space.sample(rng)
        supernet.activate(a)
        supernet.zero_grad(set_to_none=True)
        supernet(images(space, a)).sum().backward()
        reached = {id(p) for p in supernet.parameters() if p.grad is not None}
        assert reached == {id(p) for p in supernet.parameters_of(a)}, space.format(a)
