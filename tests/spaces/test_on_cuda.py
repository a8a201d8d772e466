"""Super-networks on a GPU: their members equal what is extracted, and train."""

from __future__ import annotations

from random import Random

import pytest
import torch

from netloom.spaces import SPACES
from netloom.spaces.testing import _flat, _total

pytestmark = pytest.mark.cuda


def tiny(name):
    found = SPACES.get(name)
    return found(preset="tiny") if "tiny" in found.presets else found()


SHARED = [name for name in SPACES.names() if "supernet" in tiny(name).supports]


def supernet_of(name):
    space = tiny(name)
    torch.manual_seed(0)
    return space, space.supernet().cuda()


@pytest.mark.parametrize("name", SHARED)
def test_extracted_networks_equal_the_supernet(name):
    space, supernet = supernet_of(name)
    for seed in range(3):
        a = space.sample(Random(seed))
        x = torch.randn(4, *space.example_input(a).shape[1:], device="cuda")
        supernet.activate(a)
        supernet.train()
        _total(supernet(x)).backward()  # moves the statistics away from their start
        network = supernet.extract(a)
        assert {t.device.type for t in network.state_dict().values()} == {"cuda"}
        supernet.eval()
        network.eval()
        with torch.no_grad(), torch.backends.cudnn.flags(allow_tf32=False):
            torch.testing.assert_close(_flat(network(x)), _flat(supernet(x)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", SHARED)
def test_it_is_the_network_of_the_cpu(name):
    """In double precision: the weights of a member give what they give on a CPU."""
    space, supernet = supernet_of(name)
    a = space.sample(Random(9))
    supernet.activate(a)
    network = supernet.extract(a).eval().double()
    x = torch.randn(2, *space.example_input(a).shape[1:], dtype=torch.float64)
    with torch.no_grad():
        there = _flat(network(x.cuda())).cpu()
        torch.testing.assert_close(there, _flat(network.cpu()(x)), rtol=1e-5, atol=1e-6)


def test_each_sample_its_own_network():
    space, supernet = supernet_of("mcuformer")
    first = space.sample(Random(0))
    members = [
        space.architecture({**space.sample(Random(seed)), "patch": first["patch"]})
        for seed in range(4)
    ]
    x = torch.randn(4, *space.example_input(first).shape[1:], device="cuda")
    supernet.eval()
    with torch.no_grad(), supernet.together(members):
        together = supernet(x)
    for i, a in enumerate(members):
        supernet.activate(a)
        with torch.no_grad():
            torch.testing.assert_close(together[i], supernet(x)[i], rtol=1e-3, atol=1e-3)
