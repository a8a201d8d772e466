from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from netloom.errors import EvaluationError, MissingDependency, SpecError, StopTrial
from netloom.estimators import DataSet, Split, Splits, Training, augment, loop
from netloom.estimators.data.cifar import Cifar10
from netloom.estimators.data.digits import Digits
from netloom.estimators.network import built
from netloom.estimators.testing import EstimatorContract
from netloom.spaces import Decision, Space


class Blobs(DataSet):
    """Four noisy stripes patterns, 6x6: learnt in an epoch or two."""

    name = "blobs"
    in_channels, resolution, classes = 1, 6, 4

    def __init__(self, n: int = 240, *, dtype: str = "float32", spoil_test: bool = False) -> None:
        self.n, self.dtype, self.spoil_test = n, dtype, spoil_test

    def load(self) -> Splits:
        rng = np.random.default_rng(0)
        y = rng.integers(0, 4, self.n)
        x = rng.normal(0, 0.6, (self.n, 1, 6, 6))
        for i, label in enumerate(y):
            x[i, 0, label::4] += 2
        x = (x * 30 + 100).clip(0, 255).astype(np.uint8) if self.dtype == "uint8" else x
        parts = [Split(x[a::3].astype(self.dtype), y[a::3]) for a in range(3)]
        if self.spoil_test:
            parts[2] = Split(parts[2].x[::-1].copy(), parts[2].y)
        return Splits(*parts)


class Line(DataSet):
    """Two targets that are linear in five features, in quite different units."""

    name = "line"
    in_channels, resolution, targets = 5, 1, 2

    def load(self) -> Splits:
        x = np.random.default_rng(1).normal(0, 1, (240, 5)).astype(np.float32)
        y = np.stack([x @ np.arange(5) + 3, 1000 * x[:, 0] - 5000], 1).astype(np.float32)
        return Splits(*(Split(x[a::3], y[a::3]) for a in range(3)))


class Dense(Space):
    decisions = (
        Decision("width", (4, 16), ordered=True),
        Decision("kind", ("good", "raises", "wrong_shape", "no_module", "nan", "frozen", "tuple")),
    )

    def __init__(self, *, in_channels: int = 1, resolution: int = 6, classes: int = 4) -> None:
        self._sizes = in_channels * resolution**2, classes
        super().__init__()

    def build(self, architecture):
        inputs, outputs = self._sizes
        kind, width = architecture["kind"], architecture["width"]
        if kind == "raises":
            raise ValueError("this one cannot be built")
        if kind == "no_module":
            return "a network"
        if kind == "wrong_shape":
            outputs += 1
        layers = [nn.Linear(inputs, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.1)]
        network = nn.Sequential(nn.Flatten(), *layers, nn.Linear(width, outputs))
        if kind == "nan":
            network.append(Log())
        if kind == "tuple":
            network.append(Twice())
        return network.requires_grad_(kind != "frozen")

    def example_input(self, architecture):
        return torch.zeros(1, self._sizes[0])


class Log(nn.Module):
    def forward(self, x):
        return x.log()


class Auxiliary(nn.Module):
    """A network with a second classifier, whose outputs it returns in train mode."""

    auxiliary_weight = 0.4

    def __init__(self):
        super().__init__()
        self.main, self.second = nn.Linear(36, 4), nn.Linear(36, 4)

    def forward(self, x):
        x = x.flatten(1)
        return (self.main(x), self.second(x)) if self.training else self.main(x)


class Pieces(Auxiliary):
    """One whose second classifier sees six pieces."""

    auxiliary_weight = 1.0

    def __init__(self):
        super().__init__()
        self.second = nn.Linear(6, 4)

    def forward(self, x):
        x = x.flatten(1)
        return (self.main(x), self.second(x.view(-1, 6, 6))) if self.training else self.main(x)


class Twice(nn.Module):
    def forward(self, x):
        return x, x


def net(space=None, *, kind="good", width=16):
    return (space or Dense()).architecture({"width": width, "kind": kind})


class TestContract(EstimatorContract):
    def make(self):
        return Training(Dense(), Blobs(), epochs=2)

    def some(self, estimator):
        return [net(width=4), net(width=16)]

    def broken(self):
        return net(kind="raises")

    def variants(self):
        return [
            Training(Dense(), Blobs(), epochs=3),
            Training(Dense(), Blobs(), epochs=2, lr=0.1),
            Training(Dense(), Blobs(), epochs=2, augment=["flip"]),
            Training(Dense(), Blobs(120), epochs=2),
        ]


class TestRegressionContract(EstimatorContract):
    def make(self):
        return Training(Dense(in_channels=5, resolution=1, classes=2), Line(), epochs=2)

    def some(self, estimator):
        return [net(estimator.space)]

    def broken(self):
        return net(kind="wrong_shape")


def test_it_learns_and_tells_apart_what_is_better():
    training = Training(Dense(), Blobs(), epochs=8, batch_size=16)
    values = training.evaluate(net(), seed=1)
    assert values["valid_accuracy"] > 85
    assert values["valid_loss"] < 0.5
    short = Training(Dense(), Blobs(), epochs=1, lr=1e-4).evaluate(net(), seed=1)
    assert short["valid_accuracy"] < 70


def test_bytes_and_floats_are_scaled_alike():
    for dtype in ("uint8", "float32"):
        data = loop.prepared(Blobs(dtype=dtype), torch.device("cpu"))
        train = data.split("train")
        scaled = data.inputs.apply(train.x)
        assert float(scaled.mean()) == pytest.approx(0, abs=1e-5)
        assert float(scaled.std()) == pytest.approx(1, abs=1e-2)
    accuracy = Training(Dense(), Blobs(dtype="uint8"), epochs=8, batch_size=16).evaluate(net())
    assert accuracy["valid_accuracy"] > 85


def test_a_constant_channel_is_scaled_to_zeros():
    x = np.stack([np.full(20, 7.0), np.arange(20.0)], 1).astype(np.float32)
    scale = loop._scale(x, torch.device("cpu"))
    scaled = scale.apply(torch.from_numpy(x))
    assert torch.equal(scaled[:, 0], torch.zeros(20))
    assert scaled[:, 1].mean().item() == pytest.approx(0, abs=1e-6)
    assert scaled[:, 1].std(correction=0).item() == pytest.approx(1, abs=1e-6)


def test_regression_is_in_the_unit_of_the_targets():
    space = Dense(in_channels=5, resolution=1, classes=2)
    training = Training(space, Line(), epochs=60, batch_size=16, optimizer="adamw", lr=0.02)
    values = training.evaluate(net(space), seed=0)
    assert [m.name for m in training.metrics if m.split == "valid"] == ["valid_rmse", "valid_r2"]
    assert values["valid_r2"] > 0.8
    network = space.build(net(space))
    network.load_state_dict(training.trained_weights())
    network.eval()
    part, train = Line().load().valid, Line().load().train
    x = (part.x - train.x.mean(0)) / train.x.std(0)
    with torch.no_grad():
        raw = network(torch.from_numpy(x)).numpy() * train.y.std(0) + train.y.mean(0)
    assert values["valid_rmse"] == pytest.approx(np.sqrt(np.mean((raw - part.y) ** 2)), rel=1e-3)
    r2 = 1 - ((raw - part.y) ** 2).mean(0) / part.y.var(0)
    assert values["valid_r2"] == pytest.approx(r2.mean(), rel=1e-3)


def test_accuracy_is_the_share_of_right_answers_in_per_cent():
    training = Training(Dense(), Blobs(), epochs=2)
    value = training.evaluate(net(), seed=2)["valid_accuracy"]
    network = Dense().build(net())
    network.load_state_dict(training.trained_weights())
    network.eval()
    data = loop.prepared(Blobs(), torch.device("cpu"))
    part = data.split("valid")
    right = network(data.inputs.apply(part.x)).argmax(1) == part.y
    assert value == pytest.approx(100 * float(right.float().mean()), abs=1e-4)


def test_other_seeds_train_other_networks():
    training = Training(Dense(), Blobs(), epochs=1)
    losses = {training.evaluate(net(), seed=s)["valid_loss"] for s in range(4)}
    assert len(losses) == 4


def test_every_random_draw_comes_from_the_seed():
    """Also the augmentation and the dropout, whatever the global generator holds."""
    options = {"epochs": 2, "augment": ["crop", "flip", "cutout", "mixup"]}
    values = []
    for noise in (1, 2):
        torch.manual_seed(noise)
        values.append(Training(Dense(), Blobs(), **options).evaluate(net(), seed=9))
    assert values[0] == values[1]


def test_equal_bits_in_another_process():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_training import Training, Dense, Blobs, net\n"
        "print(repr(Training(Dense(), Blobs(), epochs=2, threads=1).evaluate(net(), seed=4)))\n"
    )
    run = [sys.executable, "-c", code, str(Path(__file__).parent)]
    out = subprocess.run(run, capture_output=True, text=True, check=True)
    own = Training(Dense(), Blobs(), epochs=2, threads=1).evaluate(net(), seed=4)
    assert out.stdout.strip() == repr(own)


def test_threads_are_put_back():
    before = torch.get_num_threads()
    seen = []
    training = Training(Dense(), Blobs(), epochs=1, threads=before + 1)
    training.evaluate(net(), report=lambda step, metrics: seen.append(torch.get_num_threads()))
    assert seen == [before + 1]
    assert torch.get_num_threads() == before


def test_reports_are_per_epoch_and_do_not_change_the_result():
    seen = []
    training = Training(Dense(), Blobs(), epochs=4)
    values = training.evaluate(net(), seed=3, report=lambda *args: seen.append(args))
    assert [step for step, _ in seen] == [1, 2, 3, 4]
    assert set(seen[0][1]) == {"valid_accuracy", "valid_loss", "train_loss"}
    assert {k: seen[-1][1][k] for k in values} == values
    assert training.evaluate(net(), seed=3) == values
    seen.clear()
    Training(Dense(), Blobs(), epochs=5, report_every=2).evaluate(
        net(), report=lambda *args: seen.append(args)
    )
    assert [step for step, _ in seen] == [2, 4, 5]


def test_the_budget_is_in_epochs():
    seen = []
    training = Training(Dense(), Blobs(), epochs=9)
    training.evaluate(net(), budget=2.0, report=lambda step, metrics: seen.append(step))
    assert seen == [1, 2]
    short = Training(Dense(), Blobs(), epochs=2)
    assert training.evaluate(net(), budget=2) == short.evaluate(net())
    with pytest.raises(EvaluationError, match=r"whole number of epochs, got 1\.5"):
        training.evaluate(net(), budget=1.5)


def test_a_stopped_trial_leaves_the_worker_clean():
    training = Training(Dense(), Blobs(), epochs=3)
    values = training.evaluate(net(), seed=1)

    def stop(step, metrics):
        raise StopTrial("enough")

    state = torch.get_rng_state()
    with pytest.raises(StopTrial, match="enough"):
        training.evaluate(net(), seed=1, report=stop)
    assert torch.equal(torch.get_rng_state(), state)
    assert training.trained_weights() is None
    assert training.evaluate(net(), seed=1) == values


@pytest.mark.parametrize(
    ("kind", "options", "reason"),
    [
        ("raises", {}, "build raised ValueError: this one cannot be built"),
        ("no_module", {}, "must return a torch.nn.Module, got str"),
        ("wrong_shape", {}, r"\(64, 4\), got \(64, 5\); set the space's option classes to 4"),
        ("tuple", {}, "one tensor, got tuple"),
        ("frozen", {}, "parameters to train"),
        ("nan", {}, r"diverged.*nan in epoch 1 \(lr 0\.05\); lower lr"),
        ("good", {"lr": 1e38}, "diverged"),
        ("good", {"device": "cuda:77"}, "device must be one of this machine"),
        ("good", {"device": "toaster"}, "device must be one of this machine"),
    ],
)
def test_a_failure_has_a_reason(kind, options, reason):
    training = Training(Dense(), Blobs(), epochs=2, **options)
    with pytest.raises(EvaluationError, match=reason):
        training.evaluate(net(kind=kind))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "ran out of memory with batch_size 64"),
        (RuntimeError("[enforce] DefaultCPUAllocator: not enough memory"), "ran out of memory"),
        (MemoryError(), "lower batch_size"),
        (RuntimeError("shapes cannot be multiplied"), "raised RuntimeError: shapes cannot"),
    ],
)
def test_what_training_raises_is_explained_and_chained(monkeypatch, error, reason):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(loop, "fit", fail)
    with pytest.raises(EvaluationError, match=reason) as info:
        Training(Dense(), Blobs()).evaluate(net())
    assert info.value.__cause__ is error


def test_the_test_split_is_read_by_test_only(monkeypatch):
    """Spoiling the test split changes what `test` says and nothing that a search sees."""
    fair, spoilt = (Training(Dense(), Blobs(spoil_test=s), epochs=6, batch_size=16) for s in (0, 1))
    values = fair.evaluate(net(), seed=1)
    assert spoilt.evaluate(net(), seed=1) == values
    weights = fair.trained_weights()
    test = fair.test(net(), seed=1, weights=weights)
    assert set(test) == {m.name for m in fair.metrics if m.split == "test"}
    assert test["test_accuracy"] > 80
    assert spoilt.test(net(), seed=1, weights=weights)["test_accuracy"] < 60
    asked = []
    split = loop.Prepared.split
    monkeypatch.setattr(
        loop.Prepared, "split", lambda self, name: (asked.append(name), split(self, name))[1]
    )
    fair.evaluate(net(), seed=1, report=lambda step, metrics: None)
    assert set(asked) == {"train", "valid"}


def test_weights_come_back_as_they_were():
    training = Training(Dense(), Blobs(), epochs=2)
    training.evaluate(net(), seed=1)
    weights = {name: value.clone() for name, value in training.trained_weights().items()}
    first = training.test(net(), seed=1, weights=weights)
    training.evaluate(net(width=4), seed=2)
    assert training.test(net(), seed=1, weights=weights) == first
    with pytest.raises(EvaluationError, match="weights do not fit"):
        training.test(net(width=4), weights=weights)
    with pytest.raises(EvaluationError, match="keep_weights"):
        training.test(net())
    assert pickle.loads(pickle.dumps(training)).trained_weights() is None


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size"),
        ({"lr": 0}, "lr must be above 0"),
        ({"momentum": 1.0}, "momentum"),
        ({"nesterov": True, "momentum": 0.0}, "nesterov"),
        ({"weight_decay": -1}, "weight_decay"),
        ({"warmup_epochs": -1}, "warmup_epochs"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
        ({"grad_clip": 0}, "grad_clip"),
        ({"threads": 0}, "threads"),
        ({"report_every": 0}, "report_every"),
        ({"mixup_alpha": 0}, "mixup_alpha"),
        ({"optimizer": "lion"}, "sgd or adamw, got lion"),
        ({"schedule": "step"}, "cosine or constant, got step"),
        ({"augment": ["flop"]}, "crop, flip, cutout, mixup, got flop"),
    ],
)
def test_options_out_of_range_are_refused(options, rule):
    with pytest.raises(SpecError, match=rule):
        Training(Dense(), Blobs(), **options)


def test_space_and_data_must_fit(tmp_path):
    with pytest.raises(SpecError, match="needs a data set"):
        Training(Dense())
    with pytest.raises(SpecError, match="has classes: 10, the data set blobs has 4"):
        Training(Dense(classes=10), Blobs())
    with pytest.raises(SpecError, match="has resolution: 6, the data set digits has 8"):
        Training(Dense(classes=10), Digits())
    with pytest.raises(SpecError, match="crop need images"):
        Training(Dense(in_channels=5, resolution=1, classes=2), Line(), augment=["crop"])
    with pytest.raises(MissingDependency, match="NETLOOM_DATA"):
        Training(Dense(in_channels=3, resolution=32, classes=10), Cifar10(root=str(tmp_path)))


def test_the_rate_warms_up_and_comes_down():
    recipe = Training(Dense(), Blobs(), lr=1.0, warmup_epochs=2)
    rates = [loop.learning_rate(recipe, step, 100, 10) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 20)
    assert rates[19] == pytest.approx(1.0)
    assert rates[60] == pytest.approx(0.5)
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[99] < 0.001
    flat = Training(Dense(), Blobs(), lr=1.0, schedule="constant")
    assert {loop.learning_rate(flat, step, 100, 10) for step in range(100)} == {1.0}


def test_an_auxiliary_classifier_is_trained_with_its_weight():
    data, network = loop.prepared(Blobs(), torch.device("cpu")), Auxiliary()
    recipe, train = Training(Dense(), Blobs()), data.split("train")
    index = torch.arange(8)
    loss = loop._loss(network, data, recipe, train, index, torch.Generator())
    x, y = data.inputs.apply(train.x[index]).flatten(1), train.y[index]
    main, second = (F.cross_entropy(head(x), y) for head in (network.main, network.second))
    torch.testing.assert_close(loss, main + 0.4 * second)
    assert loop.score(network, data, recipe, "valid").keys() == {"accuracy", "loss"}


def test_pieces_of_an_image_have_its_label():
    data, network = loop.prepared(Blobs(), torch.device("cpu")), Pieces()
    recipe, train = Training(Dense(), Blobs(), label_smoothing=0.1), data.split("train")
    index = torch.arange(8)
    loss = loop._loss(network, data, recipe, train, index, torch.Generator())
    x, y = data.inputs.apply(train.x[index]).flatten(1), train.y[index]
    main = F.cross_entropy(network.main(x), y, label_smoothing=0.1)
    pieces = network.second(x.view(8, 6, 6)).transpose(1, 2)  # (N, classes, pieces)
    second = F.cross_entropy(pieces, y[:, None].expand(8, 6), label_smoothing=0.1)
    torch.testing.assert_close(loss, main + second)


def test_no_batch_of_a_single_example():
    assert loop._batch_sizes(65, 64) == [64]
    assert loop._batch_sizes(66, 64) == [64, 2]
    assert loop._batch_sizes(1, 64) == [1]
    assert loop._batch_sizes(3, 1) == [1, 1, 1]
    assert Training(Dense(), Blobs(123), epochs=1, batch_size=40).evaluate(net())


def test_options_change_what_is_trained():
    plain = Training(Dense(), Blobs(), epochs=2).evaluate(net())
    for options in (
        {"nesterov": True},
        {"weight_decay": 0.5},
        {"warmup_epochs": 1},
        {"label_smoothing": 0.2},
        {"grad_clip": 0.01},
        {"augment": ["mixup"]},
        {"augment": ["flip"]},
        {"augment": ["crop"], "crop_padding": 2},
        {"augment": ["cutout"], "cutout_size": 2},
        {"optimizer": "adamw"},
        {"schedule": "constant"},
    ):
        other = Training(Dense(), Blobs(), epochs=2, **options)
        assert other.evaluate(net()) != plain, options
    assert Training(Dense(), Blobs(), epochs=2, amp=True).evaluate(net()) == plain  # CUDA only


def generator():
    return torch.Generator().manual_seed(3)


def test_the_loss_of_a_mixture_weighs_both_answers():
    recipe = Training(Dense(), Blobs(), augment=["mixup"], mixup_alpha=1.0)
    network = Dense().build(net()).eval()
    data = loop.prepared(Blobs(), torch.device("cpu"))
    train, index = data.split("train"), torch.arange(24)
    x, partner, weight = augment.mixup(data.inputs.apply(train.x[index]), generator(), 1.0)
    assert not 0.45 < weight < 0.55  # or the order would not show
    own, other = (F.cross_entropy(network(x), y) for y in (train.y[index], train.y[index][partner]))
    loss = loop._loss(network, data, recipe, train, index, generator())
    assert loss.item() == pytest.approx((weight * own + (1 - weight) * other).item(), rel=1e-5)


def test_adamw_decays_the_weights_themselves():
    recipe = Training(Dense(), Blobs(), optimizer="adamw", lr=0.1, weight_decay=0.5)
    network = Dense().build(net())
    before = [p.detach().clone() for p in network.parameters()]
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    loop._optimizer(network, recipe).step()
    for old, new in zip(before, network.parameters(), strict=True):
        assert torch.allclose(new, old * (1 - 0.1 * 0.5) if old.ndim > 1 else old)


def test_mixed_precision_is_for_cuda():
    mixed, plain = (Training(Dense(), Blobs(), amp=amp) for amp in (True, False))
    assert loop._mixed(mixed, torch.device("cuda"))
    assert not loop._mixed(plain, torch.device("cuda"))
    assert not loop._mixed(mixed, torch.device("cpu"))


def test_mixed_precision_computes_in_halves_and_clips_true_gradients(monkeypatch):
    """The path that CUDA takes, on the CPU's own halves."""
    monkeypatch.setattr(loop, "_mixed", lambda recipe, device: recipe.amp)
    types, norms = set(), []
    predict, clip = loop._predict, torch.nn.utils.clip_grad_norm_

    def seen(network, data, x):
        output = predict(network, data, x)
        types.add(output.dtype)
        return output

    def measured(parameters, limit):
        norms.append(float(clip(parameters, limit)))

    monkeypatch.setattr(loop, "_predict", seen)
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", measured)
    recipe = Training(Dense(), Blobs(), epochs=4, amp=True, grad_clip=100.0)
    values = recipe.evaluate(net())
    assert types == {torch.float16}
    assert max(norms) < 1000  # the scale of the loss (65536) is out of them
    assert values["valid_accuracy"] > 60


def test_the_seed_draws_the_first_weights():
    """Not only the order of the examples."""
    first = [built(Dense(), net(), seed=seed).state_dict() for seed in (0, 0, 1)]
    assert all(torch.equal(first[0][k], first[1][k]) for k in first[0])
    assert not all(torch.equal(first[0][k], first[2][k]) for k in first[0])


def test_norms_and_biases_do_not_decay():
    network = Dense().build(net())
    groups = loop._optimizer(network, Training(Dense(), Blobs())).param_groups
    assert [g["weight_decay"] for g in groups] == [5e-4, 0.0]
    assert {p.ndim for p in groups[0]["params"]} == {2}
    assert {p.ndim for p in groups[1]["params"]} == {1}


# --------------------------------------------------------------------------- augmentation


def test_a_crop_is_a_shift():
    x = torch.arange(2 * 3 * 5 * 5.0).reshape(2, 3, 5, 5) + 1
    many = augment.crop(x.repeat(200, 1, 1, 1), generator(), 2)
    assert many.shape == (400, 3, 5, 5)
    shifts = set()
    for image, source in zip(many, x.repeat(200, 1, 1, 1), strict=True):
        padded = torch.nn.functional.pad(source, (2, 2, 2, 2))
        places = [
            (i, j)
            for i in range(5)
            for j in range(5)
            if torch.equal(padded[:, i : i + 5, j : j + 5], image)
        ]
        assert len(places) == 1
        shifts.add(places[0])
    assert len(shifts) == 25


def test_a_flip_mirrors_half_of_the_images():
    x = torch.arange(4.0).reshape(1, 1, 1, 4).repeat(1000, 1, 2, 1)
    out = augment.flip(x, generator())
    mirrored = (out[:, 0, 0, 0] == 3).sum()
    assert 430 < int(mirrored) < 570
    assert set(map(tuple, out[:, 0, 1].tolist())) == {(0.0, 1.0, 2.0, 3.0), (3.0, 2.0, 1.0, 0.0)}


def test_a_cutout_is_a_square_of_zeros():
    out = augment.cutout(torch.ones(500, 2, 8, 8), generator(), 4)
    gone = (out == 0).sum((2, 3))
    assert torch.equal(gone[:, 0], gone[:, 1])
    assert int(gone.max()) == 16
    assert int(gone.min()) >= 4  # the centre is inside
    assert float((out == 0).float().mean((0, 1)).min()) > 0  # everywhere


def test_mixup_mixes_and_says_with_what():
    x = torch.randn(32, 3)
    mixed, partner, weight = augment.mixup(x, generator(), 1.0)
    assert 0 < weight < 1
    assert torch.allclose(mixed, weight * x + (1 - weight) * x[partner])
    assert sorted(partner.tolist()) == list(range(32))
    draws = torch.Generator().manual_seed(0)
    weights = [augment.mixup(x[:2], draws, 0.2)[2] for _ in range(400)]
    assert np.mean(weights) == pytest.approx(0.5, abs=0.06)
    assert np.var(weights) == pytest.approx(0.25 / 1.4, abs=0.03)  # Beta(0.2, 0.2)


def test_initial_weights_decide_the_values_and_must_be_there():
    space, blobs = Dense(), Blobs()
    architecture = space.architecture({"width": 4, "kind": "good"})
    plain, network = Training(space, blobs, epochs=1), built(space, architecture, seed=5)
    begun = Training(space, blobs, epochs=1, lr=1e-12, initial={architecture.key: "0" * 64})
    assert plain.fingerprint == Training(space, blobs, epochs=1, initial={}).fingerprint
    assert begun.fingerprint != Training(space, blobs, epochs=1, lr=1e-12).fingerprint
    assert (plain.initial_weights, begun.initial_weights) == (frozenset(), {"0" * 64})
    with pytest.raises(EvaluationError, match="starts from stored weights"):
        begun.evaluate(architecture)
    begun.take_initial({"0" * 64: network.state_dict()})
    begun.check_initial(architecture)
    begun.evaluate(architecture)
    trained = begun.trained_weights()
    for name, value in network.named_parameters():
        torch.testing.assert_close(trained[name], value.detach(), atol=1e-6, rtol=0)


# --------------------------------------------------------------------------- imports
def test_the_options_can_be_read_without_torch():
    code = (
        "import sys\n"
        "from netloom.estimators import ESTIMATORS, DATASETS, Training\n"
        "assert ESTIMATORS.get('training') is Training\n"
        "DATASETS.get('digits')().space_options\n"
        "assert 'torch' not in sys.modules and 'sklearn' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
