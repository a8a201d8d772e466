"""What every space owes the platform: subclass the suite, supply `make`, inherit the tests.

    from netloom.spaces.testing import SpaceContract

    class TestTiny(SpaceContract):
        def make(self):
            return Tiny(width=4)

For readable failures register the module in `conftest.py`:
`pytest.register_assert_rewrite("netloom.spaces.testing")`.
"""

from __future__ import annotations

import math
import pickle
from collections import Counter
from itertools import islice
from random import Random
from typing import Any

import pytest

from ..errors import InvalidArchitecture, SpecError
from ..jsonio import canonical_json
from .decision import Architecture
from .space import DecisionSpace, Space

_FEW = 20_000  # enumerated without thinking


class SpaceContract:
    """Checks of a `DecisionSpace`; those of networks run where `make` gives a `Space`."""

    draws = 40  # architectures looked at in spaces that are not enumerated
    networks = 3  # networks built and trained for a step
    every_parameter_learns = True  # False where networks have layers that cannot reach the output

    def make(self) -> DecisionSpace:
        """Return the space, the same one at every call, small enough to train on a CPU."""
        raise NotImplementedError

    def reduced(self) -> DecisionSpace | None:
        """Return a space of at most 20,000 architectures of the same kind, if there is one."""
        space = self.make()
        return space if space.size <= _FEW else None

    def other_options(self) -> DecisionSpace | None:
        """Return the space with other options, for the test of fingerprints; None: skip."""
        return None

    def standing_alone(self, architecture: Architecture) -> Any:
        """Return the network whose parameters have the shapes of those that are extracted.

        Another one than `build`'s where search and final networks differ by definition.
        """
        return _space(self).build(architecture)

    # ---------------------------------------------------------------- architectures
    def test_the_seed_decides_the_sample(self) -> None:
        space = self.make()
        for law in ("architectures", "decisions"):
            drawn = [space.sample(Random(5), law) for _ in range(2)]
            assert drawn[0] == drawn[1]
        with pytest.raises(SpecError):
            space.sample(Random(5), "luck")  # type: ignore[arg-type]

    def test_architectures_are_what_their_space_validates(self) -> None:
        space = self.make()
        for a in _some(space, self.draws):
            assert space.architecture(a) == a
            assert space.architecture(dict(reversed(list(a.items())))) == a
            again = Architecture.from_json(a.to_json())
            assert (again, again.key, hash(again)) == (a, a.key, hash(a))

    def test_notation_is_read_back(self) -> None:
        space = self.make()
        for a in _some(space, self.draws):
            text = space.format(a)
            assert isinstance(text, str)
            assert space.parse(text) == a
            assert space.parse(dict(a)) == a
            assert space.parse(a.to_json()) == a
        for name, a in space.published().items():
            assert space.parse(name) == a
            assert space.parse(space.format(a)) == a

    @pytest.mark.parametrize("value", ["", "?", "{", "[]", "{}", '{"no such decision": 1}', "null"])
    def test_what_is_no_architecture_is_refused(self, value: str) -> None:
        with pytest.raises(InvalidArchitecture):
            self.make().parse(value)

    def test_wrong_options_are_refused_by_name(self) -> None:
        space = self.make()
        a = dict(space.sample(Random(0)))
        name = next(iter(a))
        with pytest.raises(InvalidArchitecture, match=name.replace(".", r"\.")):
            space.architecture({**a, name: "no such option"})
        missing = {k: v for k, v in a.items() if k != name}
        with pytest.raises(InvalidArchitecture, match=name.replace(".", r"\.")):
            space.architecture(missing)

    def test_size_is_what_enumeration_finds(self) -> None:
        space = _enumerable(self)
        found = list(space.enumerate())
        assert len(found) == len({a.key for a in found}) == space.size
        assert found == list(space.enumerate())

    def test_numbers_and_architectures_match(self) -> None:
        space = self.make()
        assert list(islice(space.enumerate(), 20)) == [
            space.at(i) for i in range(min(20, space.size))
        ]
        assert space.architecture(space.at(space.size - 1)) == space.at(space.size - 1)
        for index in (-1, space.size):
            with pytest.raises(IndexError):
                space.at(index)

    def test_sampling_is_uniform(self) -> None:
        space = _enumerable(self)
        cells = min(space.size, 500)
        place = {a.key: i * cells // space.size for i, a in enumerate(space.enumerate())}
        expected = Counter(place.values())
        n, rng = 20 * cells, Random(11)
        seen = Counter(place[space.sample(rng).key] for _ in range(n))
        chi2 = sum(
            (seen[c] - n * k / space.size) ** 2 / (n * k / space.size) for c, k in expected.items()
        )
        freedom = cells - 1
        assert chi2 <= freedom + 5 * math.sqrt(2 * freedom) + 10

    def test_mutation_is_legal_and_changes_something(self) -> None:
        space, rng = self.make(), Random(3)
        if space.size == 1:
            pytest.skip("a space of one architecture has nothing to mutate")
        for a in _some(space, self.draws):
            mutant = space.mutate(a, rng)
            assert mutant != a
            assert space.architecture(mutant) == mutant
            assert space.mutate(a, Random(9)) == space.mutate(a, Random(9))

    def test_crossover_is_legal_and_takes_from_the_parents(self) -> None:
        space, rng = self.make(), Random(4)
        for a, b in zip(_some(space, self.draws), _some(space, self.draws, seed=8), strict=True):
            child = space.crossover(a, b, rng)
            assert space.architecture(child) == child
            assert space.crossover(a, a, rng) == a
            for name, option in child.items():
                parents = {p[name] for p in (a, b) if name in p}
                assert not parents or option in parents

    def test_neighbors_differ_in_one_decision(self) -> None:
        space = self.make()
        free = not any(d.when for d in space.decisions)
        for a in _some(space, min(self.draws, 10)):
            neighbors = space.neighbors(a)
            assert len({n.key for n in neighbors} - {a.key}) == len(neighbors)
            assert neighbors == space.neighbors(a)
            for n in neighbors[:50]:
                assert space.architecture(n) == n
                if free:
                    assert sum(a[k] != n[k] for k in a) == 1
                    assert a in space.neighbors(n)

    def test_encoding_has_one_length_and_tells_architectures_apart(self) -> None:
        space = self.reduced() or self.make()
        few = space.size <= _FEW
        vectors: dict[tuple[float, ...], Architecture] = {}
        for a in islice(space.enumerate(), 3000) if few else _some(space, self.draws):
            vector = space.encode(a)
            assert len(vector) == len(space.encoding.names)
            assert all(isinstance(x, float) and math.isfinite(x) for x in vector)
            assert vectors.setdefault(tuple(vector), a) == a

    def test_canonical_is_a_text_of_the_architecture_alone(self) -> None:
        space, again = self.make(), pickle.loads(pickle.dumps(self.make()))
        for a in _some(space, self.draws):
            assert isinstance(space.canonical(a), str)
            assert space.canonical(a) == again.canonical(space.parse(space.format(a)))

    # ---------------------------------------------------------------- the space itself
    def test_the_space_survives_pickling(self) -> None:
        space = self.make()
        again = pickle.loads(pickle.dumps(space))
        assert again.fingerprint == space.fingerprint == self.make().fingerprint
        assert again.size == space.size
        assert again.sample(Random(1)) == space.sample(Random(1))
        a = space.sample(Random(2))
        assert pickle.loads(pickle.dumps(a)) == a

    def test_options_are_json_and_decide_the_fingerprint(self) -> None:
        space, other = self.make(), self.other_options()
        assert canonical_json(space.options)
        if other is not None:
            assert other.options != space.options
            assert other.fingerprint != space.fingerprint

    # ---------------------------------------------------------------- networks
    def test_networks_train_a_step(self) -> None:
        import torch

        space = _space(self)
        for a in _some(space, self.networks, seed=21):
            torch.manual_seed(0)
            network, x = space.build(a), _batch(space, a)
            network.train()
            optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
            _total(network(x)).backward()
            if self.every_parameter_learns:
                dead = [n for n, p in network.named_parameters() if p.grad is None]
                assert not dead, f"{space.format(a)}: no gradient reaches {dead}"
            optimizer.step()
            network.eval()
            with torch.no_grad():
                assert torch.isfinite(_total(network(x)))

    def test_networks_stand_alone(self) -> None:
        import torch

        space = _space(self)
        a = space.sample(Random(22))
        first, second = space.build(a), space.build(a)
        storages = {p.data_ptr() for p in first.parameters() if p.numel()}
        assert storages.isdisjoint(p.data_ptr() for p in second.parameters() if p.numel())
        x = _batch(space, a)
        first.eval()
        copy = pickle.loads(pickle.dumps(first))
        second.load_state_dict(first.state_dict())
        with torch.no_grad():
            assert torch.equal(_flat(copy(x)), _flat(first(x)))
            assert torch.equal(_flat(second.eval()(x)), _flat(first(x)))

    def test_one_canonical_text_means_one_network(self) -> None:
        space = _space(self)
        classes: dict[str, Architecture] = {}
        pairs = 0
        for a in _some(space, 20 * self.draws, seed=23):
            b = classes.setdefault(space.canonical(a), a)
            if a != b and pairs < self.networks:
                pairs += 1
                assert _shapes(space.build(a)) == _shapes(space.build(b))

    def test_example_input_fits(self) -> None:
        space = _space(self)
        a = space.sample(Random(24))
        x = space.example_input(a)
        assert x.shape[0] == 1
        assert _flat(space.build(a).eval()(x)).shape[0] >= 1

    def test_parts_chain(self) -> None:
        import torch

        space = _space(self)
        for a in _some(space, self.networks, seed=25):
            parts = space.parts(a)
            if parts is None:
                pytest.skip("the space gives no parts")
            assert len({p.label for p in parts}) == len(parts)
            assert sum(_size(p.build()) for p in parts) == _size(space.build(a))
            values = {-1: space.example_input(a)}
            for i, part in enumerate(parts):
                inputs = [values[source.source] for source in part.inputs]
                assert [tuple(x.shape) for x in inputs] == [s.shape for s in part.inputs]
                with torch.no_grad():
                    values[i] = part.build().eval()(*inputs)
            with torch.no_grad():
                expected = space.build(a).eval()(values[-1])
            assert _flat(values[len(parts) - 1]).shape == _flat(expected).shape

    # ---------------------------------------------------------------- super-network
    def test_a_space_without_supernet_says_so(self) -> None:
        space = _space(self)
        if "supernet" in space.supports:
            pytest.skip("the space has one")
        with pytest.raises(SpecError, match="super-network"):
            space.supernet()

    def test_extracted_networks_equal_the_supernet(self) -> None:
        import torch

        space = _space(self)
        if "supernet" not in space.supports:
            pytest.skip("the space has none")
        supernet = space.supernet()
        for a in _some(space, self.networks, seed=26):
            x = _batch(space, a)
            supernet.activate(a)
            supernet.train()
            _total(supernet(x)).backward()  # moves the statistics away from their start
            network = supernet.extract(a)
            reached = {id(p) for p in supernet.parameters() if p.grad is not None}
            assert reached <= {id(p) for p in supernet.parameters_of(a)}
            supernet.zero_grad(set_to_none=True)
            for training in (False, True):
                supernet.train(training)
                network.train(training)
                with torch.no_grad():
                    torch.testing.assert_close(_flat(network(x)), _flat(supernet(x)))
            assert _shapes(network) == _shapes(self.standing_alone(a))


def _some(space: DecisionSpace, n: int, seed: int = 1) -> list[Architecture]:
    rng = Random(seed)
    return [space.sample(rng) for _ in range(n)]


def _enumerable(suite: SpaceContract) -> DecisionSpace:
    space = suite.reduced()
    if space is None:
        pytest.skip("no reduced space to enumerate")
    return space


def _space(suite: SpaceContract) -> Space:
    space = suite.make()
    if not isinstance(space, Space):
        pytest.skip("not a space of networks")
    return space


def _batch(space: Space, a: Architecture) -> Any:
    import torch

    shape = space.example_input(a).shape[1:]
    return torch.randn(4, *shape, generator=torch.Generator().manual_seed(0))


def _flat(output: Any) -> Any:
    """Return the output as one tensor; networks of several outputs nest them in dicts and lists."""
    import torch

    if isinstance(output, dict):
        output = [output[key] for key in sorted(output)]
    if isinstance(output, list | tuple):
        return torch.cat([_flat(each).flatten() for each in output])
    return output


def _total(output: Any) -> Any:
    return _flat(output).float().square().mean()


def _size(network: Any) -> int:
    return sum(p.numel() for p in network.parameters())


def _shapes(network: Any) -> list[tuple[int, ...]]:
    return sorted(tuple(p.shape) for p in network.parameters())
