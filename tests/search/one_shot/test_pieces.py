"""A batch in pieces: the same steps, the memory of one piece."""

from __future__ import annotations

import weakref

import pytest
import torch

from netloom.errors import SpecError
from netloom.search import Objective
from netloom.search.one_shot.batches import Batch
from netloom.search.one_shot.crew import Crew
from netloom.search.one_shot.pieces import Pieces, gradients_of, value_of
from netloom.search.strategies.darts import Darts
from netloom.search.strategies.rarts import Rarts
from netloom.search.testing import MemoryContext
from netloom.spaces import ModuleSpace

from .precise import SEARCHES, Vectors, search
from .stripes import make_context, state
from .toy_network import Toy, toy_batch


def toy_context():
    """Return a context with a network without batch norms."""
    space = ModuleSpace(Toy, toy_batch(0)[0])
    return MemoryContext(space, [Objective("valid_accuracy", "maximize")], data=Vectors())


def trained(name, context, steps=None, **options):
    """Return a search after some steps; all of them, if None."""
    found = search(name, context, **options).trainer(context, 7, "search")
    for _ in range(found.steps if steps is None else steps):
        found._take_step()
    return found


def assert_equal(one, other, tolerance=1e-10):
    for a, b in zip(state(one), state(other), strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def assert_equal_curves(one, other):
    assert one.curves.keys() == other.curves.keys()
    for name, points in one.curves.items():
        assert [s for s, _ in points] == [s for s, _ in other.curves[name]]
        wanted = pytest.approx([v for _, v in other.curves[name]], rel=1e-9)
        assert [v for _, v in points] == wanted, name


@pytest.mark.parametrize(
    "name", [n for n in SEARCHES if n not in ("exact second order", "partial")]
)
def test_pieces_take_the_steps_of_the_whole_batch(name):
    contexts = toy_context(), toy_context()
    # layers made in double precision cannot be costed on the data's single precision
    free = {"reference": None} if name == "gates" else {}
    whole = trained(name, contexts[0], **free)
    cut = trained(name, contexts[1], accumulate=3, **free)
    assert whole.halves.steps == 3  # 8, 8 and 6 examples: pieces of two sizes
    start = search(name, toy_context(), **free).trainer(toy_context(), 7, "search")
    assert not torch.allclose(whole.logits.rows[0], start.logits.rows[0], atol=1e-3)
    assert_equal(whole, cut)
    assert_equal_curves(*contexts)
    assert whole.epochs == cut.epochs


@pytest.mark.parametrize(
    ("name", "passes"), [("first order", 2), ("second order", 5), ("fused", 2)]
)
def test_each_pass_is_made_of_pieces(name, passes):
    context = make_context()
    found = search(name, context, accumulate=4).trainer(context, 7, "search")
    sizes = []
    for network in (found.supernet, getattr(found, "twin", None)):
        if network is not None:
            network.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    found._take_step()
    assert sizes == [2] * 4 * passes
    assert found.done == 1


def test_batch_norms_see_a_piece_at_a_time():
    context = make_context()
    found = search("first order", context, accumulate=2).trainer(context, 7, "search")
    batch = found.halves.train(0, 0)
    found.mix()
    parts = [found.loss(Batch(*(t[half] for t in batch))) for half in (slice(4), slice(4, 8))]
    wanted = torch.autograd.grad((parts[0] + parts[1]) / 2, found.weights[:1])
    found.mix()
    got = gradients_of(found.pieces(batch), found.weights[:1])
    torch.testing.assert_close(got[0], wanted[0])
    norm = next(m for m in found.supernet.modules() if isinstance(m, torch.nn.BatchNorm2d))
    assert int(norm.num_batches_tracked) == 4


def test_the_graph_of_a_piece_is_gone_before_the_next():
    alive = []

    class Kept:
        def __init__(self, tensor):
            self.tensor = tensor
            alive.append(weakref.ref(self))

    x = torch.ones(4, requires_grad=True)
    shared = torch.exp(x)  # as the softmax of the logits is

    def part():
        assert not any(ref() for ref in alive)
        with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
            return (shared**3).sum()

    loss = Pieces([part, part])
    [gradient] = gradients_of(loss, [x], 0.5)
    torch.testing.assert_close(gradient, torch.full((4,), 3 * torch.e**3))
    torch.testing.assert_close(value_of(loss), torch.tensor(8 * torch.e**3))
    loss.backward([x])
    torch.testing.assert_close(x.grad, torch.full((4,), 6 * torch.e**3))
    assert len(alive) == 4


def test_weights_that_a_loss_does_not_read_have_no_gradient_and_do_not_decay():
    w, unread = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    Pieces([lambda: w.sum()]).backward([w, unread])
    assert unread.grad is None
    assert gradients_of(Pieces([lambda: w.sum()]), [unread])[0].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("count", "sizes"), [(8, [3, 3, 2]), (6, [2, 2, 2]), (5, [3, 2]), (3, [3])]
)
def test_no_piece_has_less_than_two_examples(count, sizes):
    batch = Batch(torch.arange(count), torch.arange(count))
    shares = Crew().shares(batch, 3)
    assert [len(part.y) for part, _ in shares] == sizes
    assert [share for _, share in shares] == [n / count for n in sizes]
    assert torch.equal(torch.cat([part.x for part, _ in shares]), batch.x)


def test_shares_of_several_processes_are_the_pieces_of_one():
    batch = Batch(torch.arange(11), torch.arange(11))
    pieces = Crew().shares(batch, 2)
    crew = [Crew(rank, 2).shares(batch, 2) for rank in range(2)]
    for piece, *parts in zip(pieces, *crew, strict=True):
        assert torch.equal(torch.cat([part.x for part, _ in parts]), piece[0].x)
        assert sum(share for _, share in parts) == pytest.approx(piece[1])


def test_options_that_contradict_each_other():
    with pytest.raises(
        SpecError, match=r"2 examples for each of 2 workers in each of 3 pieces.*12"
    ):
        Rarts(batch_size=8, accumulate=3, workers=2)
    with pytest.raises(SpecError, match=r"exact differentiates.*accumulate must be 1, got 2"):
        Darts(order=2, hessian="exact", accumulate=2)


@pytest.mark.parametrize("name", ["second order", "strict", "partial"])
def test_the_channels_may_be_neighbours(name):
    plain = trained(name, make_context(), steps=2)
    other = trained(name, make_context(), steps=2, channels_last=True)
    wide = next(w for w in other.weights if w.ndim == 4 and min(w.shape[:2]) > 1 < w.shape[2])
    assert wide.is_contiguous(memory_format=torch.channels_last)
    assert not wide.is_contiguous()
    assert all(w.is_contiguous() for w in plain.weights)  # on a CPU they are if that is asked for
    assert_equal(plain, other, 1e-8)


def test_mixed_precision_computes_in_half_and_learns_in_full():
    def run(amp):
        context = make_context()
        strategy = Darts(epochs=1, batch_size=8, arch_lr=0.05, amp=amp)
        found = strategy.trainer(context, 7, "search")
        kinds = set()
        layer = next(m for m in found.supernet.modules() if isinstance(m, torch.nn.Conv2d))
        layer.register_forward_hook(lambda _, __, output: kinds.add(output.dtype))
        found._take_step()
        return found, kinds

    (full, wide), (mixed, narrow) = run(False), run(True)
    assert (wide, narrow) == ({torch.float32}, {torch.bfloat16})
    assert {w.dtype for w in (*mixed.weights, *mixed.logits.rows)} == {torch.float32}
    for a, b in zip(full.weights, mixed.weights, strict=True):
        torch.testing.assert_close(a, b, rtol=0.1, atol=0.05)
    assert not torch.equal(full.weights[0], mixed.weights[0])
