"""The arena of a chain of links against the placement of all its buffers."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from netloom.hw_models.mcu.chain import Link, chain_head
from netloom.hw_models.mcu.head import live_sums
from netloom.hw_models.memory import Buffer, greedy16

SIZES = st.sampled_from([16, 32, 64, 64, 64, 496, 512, 512, 4096])


@st.composite
def chains(draw):
    """Return (sizes, firsts, lasts, ops, result) of each link; each reads the one before it.

    The buffers of a link are its input, the result of each operator, and scratch.
    """
    found = []
    image = draw(SIZES)
    for _ in range(draw(st.integers(1, 6))):
        ops = draw(st.integers(1, 6))
        result = draw(st.integers(1, ops))
        sizes = [image, *[draw(SIZES) for _ in range(ops)]]
        ends = [draw(st.integers(k, ops)) for k in range(1, ops + 1)]
        ends[result - 1] = ops
        lasts = [draw(st.integers(1, ops)), *ends]
        firsts = [0, *range(1, ops + 1)]
        for at in draw(st.lists(st.integers(1, ops), max_size=2, unique=True)):
            sizes.append(draw(SIZES))
            firsts.append(at)
            lasts.append(at)
        found.append((sizes, firsts, lasts, ops, result))
        image = sizes[result]
    return found * draw(st.integers(1, 2)) if found[0][0][0] == image else found


def whole(chain):
    """Return the buffers of the network that the links make up: tensors first, then scratch."""
    tensors = [[chain[0][0][0], 0, 0]]
    scratch = []
    handed, offset = 0, 0
    for sizes, firsts, lasts, ops, result in chain:
        tensors[handed][2] = offset + lasts[0]
        handed = len(tensors) - 1 + result
        rows = list(zip(sizes, firsts, lasts, strict=True))[1:]
        tensors += [[size, offset + a, offset + b] for size, a, b in rows[:ops]]
        scratch += [[size, offset + a, offset + b] for size, a, b in rows[ops:]]
        offset += ops
    return [Buffer(i, *row) for i, row in enumerate(tensors + scratch)], offset


@settings(max_examples=500, deadline=None)
@given(chains())
def test_the_head_is_that_of_the_full_placement(chain):
    buffers, ops = whole(chain)
    links = {id(row): Link(row[0], row[0], *row[1:]) for row in chain}
    made = [links[id(row)] for row in chain]  # a link that comes twice is one object
    assert chain_head(made) == greedy16(buffers).head
    assert chain_head(made) == greedy16(buffers).head  # from what the links remember
    live = live_sums(*zip(*[(b.size, b.first, b.last) for b in buffers], strict=True), ops)
    assert max(link.peak[0] for link in made) == max(live)


def test_a_chain_by_hand():
    # image 64 -> a 32 -> b 64: a lies above the image, b below a once the image is dead
    first = Link([64, 32], [64, 32], [0, 1], [1, 1], 1, 1)
    second = Link([32, 64], [32, 64], [0, 1], [1, 1], 1, 1)
    assert chain_head([first]) == 96
    assert chain_head([first, second]) == 96
    assert first.around_result(0) == ((0, 64),)
    assert second.around_result(-1) == ()
    assert second.peak == (96, 0)
