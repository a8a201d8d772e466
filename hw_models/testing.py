"""What every hardware model owes its callers: subclass, supply `make`, inherit the tests.

    class TestMine(HardwareContract):
        def make(self) -> HardwareModel:
            return model_for("my_device")

`toy_network` writes workloads by hand; nothing here needs torch.
"""

from __future__ import annotations

import math
import pickle
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from ..errors import SpecError
from .cost import Cost, HardwareModel
from .workload import Kind, Layer, Role, Tensor, Workload


def toy_network(channels: int = 8, side: int = 8, blocks: int = 2, classes: int = 10) -> Workload:
    """Return a small convolutional network: stem, residual blocks of one convolution, classifier.

    Each block is convolution 3x3, ReLU and the addition of its input.
    """
    graph = _Graph((1, 3, side, side))
    shape = (1, channels, side, side)
    x = graph.conv("stem", 0, shape)
    for block in range(blocks):
        y = graph.conv(f"block{block}.conv", x, shape)
        y = graph.add("activation", f"block{block}.relu", (y,), shape)
        x = graph.add("add", f"block{block}.add", (y, x), shape)
    x = graph.add("reduce", "pool", (x,), (1, channels), axes=(2, 3))
    params = (channels + 1) * classes
    x = graph.add("linear", "head", (x,), (1, classes), macs=channels * classes, params=params)
    return graph.workload(x)


class HardwareContract:
    """Checks of any `HardwareModel`."""

    def make(self) -> HardwareModel:
        """Return the model under test; a fresh one each time."""
        raise NotImplementedError

    def workload(self, **sizes: int) -> Workload:
        """Return a network that the device can run; `sizes` are those of `toy_network`."""
        return toy_network(**sizes)

    def test_gives_what_it_announces(self) -> None:
        model = self.make()
        cost = model.cost(self.workload())
        assert "latency_ms" in model.provides
        for name in model.provides:
            value = getattr(cost, name)
            assert value is not None, name
            assert math.isfinite(value), name
            assert value >= 0, name
        assert cost.latency_ms > 0
        assert cost.peak_memory_bytes > 0
        assert model.version

    def test_a_cost_is_a_record(self) -> None:
        cost = self.make().cost(self.workload())
        assert isinstance(cost, Cost)
        with pytest.raises(FrozenInstanceError):
            cost.latency_ms = 0.0  # type: ignore[misc]

    def test_layers_are_those_of_the_network(self) -> None:
        workload = self.workload()
        cost = self.make().cost(workload)
        assert [layer.name for layer in cost.layers] == [layer.name for layer in workload.layers]
        assert sum(layer.macs for layer in cost.layers) == workload.macs
        assert all(layer.latency_ms >= 0 for layer in cost.layers)

    def test_the_breakdown_changes_no_total(self) -> None:
        whole, total = (self.make().cost(self.workload(), breakdown=b) for b in (True, False))
        assert total.layers == ()
        assert {**vars(whole), "layers": ()} == vars(total)

    def test_equal_devices_give_equal_costs(self) -> None:
        first, second = self.make(), pickle.loads(pickle.dumps(self.make()))
        assert first.fingerprint == second.fingerprint
        assert first.cost(self.workload()) == second.cost(self.workload())

    def test_a_batch_costs_at_least_one_image_and_at_most_so_many(self) -> None:
        model, workload = self.make(), self.workload()
        one, four = model.cost(workload), model.cost(workload, batch=4)
        assert one.latency_ms <= four.latency_ms <= 4 * one.latency_ms * (1 + 1e-9)
        assert one.peak_memory_bytes <= four.peak_memory_bytes <= 4 * one.peak_memory_bytes

    @pytest.mark.parametrize("batch", [0, -1, 1.5, True])
    def test_a_batch_is_a_positive_integer(self, batch: int) -> None:
        with pytest.raises(SpecError, match="batch"):
            self.make().cost(self.workload(), batch)

    def test_a_cost_is_of_a_workload(self) -> None:
        with pytest.raises(SpecError, match="takes a Workload, got object; trace"):
            self.make().cost(object())  # type: ignore[arg-type]

    def test_the_first_number_format_is_the_default(self) -> None:
        model, workload = self.make(), self.workload()
        assert model.cost(workload) == model.cost(workload, dtype=model.dtypes[0])
        with pytest.raises(SpecError, match=f"{model.dtypes[0]}.*got 'int3'"):
            model.cost(workload, dtype="int3")  # type: ignore[arg-type]

    def test_another_resolution_costs_what_a_network_built_for_it_costs(self) -> None:
        model, built = self.make(), self.make().cost(self.workload(side=16))
        assert model.cost(self.workload(side=8), resolution=16) == built
        assert model.cost(self.workload(side=8), resolution=(16, 16), breakdown=True) == built
        wide = model.cost(self.workload(side=8), 2, resolution=(8, 16))
        assert wide == model.cost(self.workload(side=8).at_resolution(8, 16), 2)

    @pytest.mark.parametrize("resolution", [0, (8, -1), 8.0, True, (8,), "8"])
    def test_a_resolution_is_one_or_two_positive_integers(self, resolution: Any) -> None:
        with pytest.raises(SpecError, match="a resolution is"):
            self.make().cost(self.workload(), resolution=resolution)

    def test_what_fits_breaks_no_limit(self) -> None:
        cost = self.make().cost(self.workload(), enforce=False)
        assert cost.fits
        assert cost == self.make().cost(self.workload())

    def test_numbers_say_where_they_come_from(self) -> None:
        model = self.make()
        for name in model.provides:
            found = model.provenance(name)
            assert found.source in ("analytic", "table", "fitted")
            assert found.device == model.device.name

    @pytest.mark.parametrize("sizes", [{"channels": 16}, {"side": 16}, {"blocks": 3}])
    def test_a_larger_network_is_not_cheaper(self, sizes: dict[str, int]) -> None:
        model = self.make()
        small, large = model.cost(self.workload()), model.cost(self.workload(**sizes))
        assert small.latency_ms <= large.latency_ms
        assert small.peak_memory_bytes <= large.peak_memory_bytes

    def test_utilization_is_a_share(self) -> None:
        utilization = self.make().cost(self.workload()).utilization
        assert utilization is None or 0 < utilization <= 1

    def test_energy_of_layers_adds_up(self) -> None:
        cost = self.make().cost(self.workload())
        if cost.energy_mj is not None:
            parts = [layer.energy_mj or 0.0 for layer in cost.layers]
            assert math.isclose(math.fsum(parts), cost.energy_mj, rel_tol=1e-6)


class _Graph:
    def __init__(self, shape: tuple[int, ...]) -> None:
        self.layers: list[Layer] = []
        self.tensors: list[Tensor] = []
        self._tensor(shape, "input", None)

    def _tensor(self, shape: tuple[int, ...], role: Role, producer: int | None) -> int:
        index = len(self.tensors)
        size = 4 * math.prod(shape)
        self.tensors.append(Tensor(shape, "float32", size, role, index, producer, ()))
        return index

    def add(
        self,
        kind: Kind,
        name: str,
        inputs: tuple[int, ...],
        shape: tuple[int, ...],
        macs: int = 0,
        params: int = 0,
        kernel: tuple[int, ...] = (),
        axes: tuple[int, ...] = (),
    ) -> int:
        here = len(self.layers)
        for index in inputs:
            tensor = self.tensors[index]
            self.tensors[index] = tensor._replace(consumers=(*tensor.consumers, here))
        output = self._tensor(shape, "activation", here)
        ones = (1,) * len(kernel)
        self.layers.append(
            Layer(
                name=name,
                kind=kind,
                op=kind,
                inputs=inputs,
                outputs=(output,),
                input_shapes=tuple(self.tensors[i].shape for i in inputs),
                output_shapes=(shape,),
                macs=macs,
                params=params,
                weight_bytes=4 * params,
                input_bytes=sum(self.tensors[i].size_bytes for i in inputs),
                output_bytes=self.tensors[output].size_bytes,
                kernel=kernel,
                stride=ones,
                padding=tuple(k // 2 for k in kernel),
                dilation=ones,
                axes=axes,
            )
        )
        return output

    def conv(self, name: str, source: int, shape: tuple[int, ...]) -> int:
        params = shape[1] * self.tensors[source].shape[1] * 9
        macs = params * math.prod(shape[2:])
        return self.add("conv", name, (source,), shape, macs, params, kernel=(3, 3))

    def workload(self, output: int) -> Workload:
        params = sum(layer.params for layer in self.layers)
        return Workload(
            self.layers,
            self.tensors,
            inputs=[0],
            outputs=[output],
            params=params,
            weight_bytes=4 * params,
        )
