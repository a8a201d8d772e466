"""Train each network for some epochs and say how well it does on the validation split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..errors import EvaluationError, NetloomError, SpecError
from ..spaces import Architecture, DecisionSpace, Space
from .data.dataset import DataSet
from .data.labels import CLASSIFICATION, DETECTION, SEGMENTATION
from .estimator import Direction, Estimator, Metric, Metrics, Report, check_finite

if TYPE_CHECKING:
    import torch
    from torch import nn

VERSION = 1
_CLASSES: tuple[tuple[str, str, Direction], ...] = (
    ("accuracy", "%", "maximize"),
    ("loss", "nats", "minimize"),
)
_TARGETS: tuple[tuple[str, str, Direction], ...] = (
    ("rmse", "", "minimize"),
    ("r2", "", "maximize"),
)
_TASKS: dict[str, tuple[str, str, Direction]] = {
    CLASSIFICATION: ("accuracy", "%", "maximize"),
    DETECTION: ("map", "%", "maximize"),
    SEGMENTATION: ("miou", "%", "maximize"),
}


class Training(Estimator):
    """Builds the network, trains it on the training split, scores it on the validation split.

    Classification gives `valid_accuracy` (%) and `valid_loss`; regression gives `valid_rmse` (in
    the unit of the targets) and `valid_r2`. On a data set with `tasks`, a network answers all of
    them at once, is trained on the sum of their losses, and has `valid_accuracy`, `valid_map`
    (COCO's AP) and `valid_miou` (%) of those that there are. `test_...` are the same on the test
    split, which nothing but `test` reads. Inputs (and regression targets) are scaled by the mean
    and the standard deviation of the training split. A network that returns the outputs of an
    auxiliary classifier too, in train mode, is trained on both (`auxiliary_weight` of the network
    says how much the second loss counts) and scored without. Initialisation, order of the examples,
    augmentation and dropout come from the seed alone: on a CPU, equal seeds give equal bits (with
    an equal number of threads).

    Args:
        space: Where the architectures come from; must build networks.
        data: The data set.
        epochs: Passes over the training split; a candidate's budget overrides it.
        batch_size: Examples per step; a last batch of a single example is left out.
        optimizer: `sgd` or `adamw`.
        lr: Learning rate at its highest.
        momentum: Of `sgd`.
        nesterov: Of `sgd`.
        weight_decay: Of all parameters but norms and biases.
        schedule: `cosine` goes down to 0 at the end, `constant` stays.
        warmup_epochs: Epochs of linear rise at the start (parts of an epoch are allowed).
        label_smoothing: 0..1, for classes.
        grad_clip: Largest norm of the gradient; None: no limit.
        augment: Any of `crop`, `flip`, `cutout` (images), `mixup`.
        crop_padding: Largest shift in pixels; None: an eighth of the side.
        cutout_size: Side of the square in pixels; None: half of the image's.
        mixup_alpha: Parameter of the Beta distribution of the weights.
        amp: Mixed precision (float16) on CUDA; a CPU trains in float32 either way.
        device: `auto` (CUDA where there is one), `cpu`, `cuda`, `cuda:1`, ...
        threads: CPU threads of a training; None: torch's own number.
        report_every: Epochs between two reports to the scheduler.
        initial: Key of an architecture -> digest of the stored weights that its training starts
            from; None: every one starts from its seed. `netloom retrain --inherit` fills it.

    Raises:
        SpecError: If an option is out of range, or the space and the data do not fit.
        MissingDependency: If the data set is not there.
    """

    name: ClassVar[str] = "training"
    deterministic: ClassVar[bool] = False
    needs_data: ClassVar[bool] = True
    reports: ClassVar[bool] = True

    def __init__(
        self,
        space: DecisionSpace,
        data: Any = None,
        *,
        epochs: int = 10,
        batch_size: int = 64,
        optimizer: Literal["sgd", "adamw"] = "sgd",
        lr: float = 0.05,
        momentum: float = 0.9,
        nesterov: bool = False,
        weight_decay: float = 5e-4,
        schedule: Literal["cosine", "constant"] = "cosine",
        warmup_epochs: float = 0.0,
        label_smoothing: float = 0.0,
        grad_clip: float | None = None,
        augment: list[Literal["crop", "flip", "cutout", "mixup"]] | None = None,
        crop_padding: int | None = None,
        cutout_size: int | None = None,
        mixup_alpha: float = 0.2,
        amp: bool = False,
        device: str = "auto",
        threads: int | None = None,
        report_every: int = 1,
        initial: dict[str, str] | None = None,
    ) -> None:
        super().__init__(space, data)
        self.epochs, self.batch_size, self.report_every = epochs, batch_size, report_every
        self.optimizer, self.lr, self.momentum, self.nesterov = optimizer, lr, momentum, nesterov
        self.weight_decay, self.schedule, self.warmup_epochs = weight_decay, schedule, warmup_epochs
        self.label_smoothing, self.grad_clip = label_smoothing, grad_clip
        self.augment: tuple[str, ...] = tuple(augment or ())
        self.crop_padding, self.cutout_size = crop_padding, cutout_size
        self.mixup_alpha, self.amp, self.device, self.threads = mixup_alpha, amp, device, threads
        self.initial = initial
        self._check_options()
        self._check_data()
        self._initial: Mapping[str, Mapping[str, torch.Tensor]] = {}
        self._weights: Mapping[str, torch.Tensor] | None = None

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Accuracy and loss, or rmse and r2; the test ones are apart."""
        source = {"kind": "trained", "source": self.data.label, "version": VERSION}
        kinds = self._kinds
        return (
            *(Metric(f"valid_{n}", unit, d, "valid", source) for n, unit, d in kinds),
            *(Metric(f"test_{n}", unit, d, "test", source) for n, unit, d in kinds),
        )

    def identity(self) -> dict[str, Any]:
        """All options that can show in the values, and the data."""
        skip = ("space", "data", "report_every")
        options = {k: v for k, v in vars(self).items() if k not in skip and k[0] != "_"}
        if not self.initial:
            del options["initial"]
        return {**options, "data": self.data.fingerprint, "version": VERSION}

    def evaluate(
        self,
        architecture: Architecture,
        *,
        seed: int = 0,
        budget: float | None = None,
        report: Report | None = None,
    ) -> Metrics:
        """Train from scratch, or from the `initial` weights, and score on the validation split.

        Args:
            architecture: What to build and train.
            seed: Decides initialisation, order of the examples, augmentation, dropout.
            budget: Epochs; None is the option `epochs`. The schedule spans the whole of it.
            report: Called with the epochs done, the validation metrics and `train_loss`.

        Raises:
            EvaluationError: If the network cannot be built or trained: it says why.
            StopTrial: What `report` raised.
        """
        self._weights = None
        epochs = self._epochs(budget)
        from . import loop
        from .network import built, seeded

        device = loop.pick_device(self.device)
        network = built(self.space, architecture, seed=seed)
        self._start(network, architecture)
        with (
            loop.quiet_settings(device, self.threads),
            seeded(seed, "train", device),
            _failures_explained(self.batch_size),
        ):
            network = network.to(device)
            data = loop.prepared(self.data, device, tasks=True)

            values: Metrics = {}

            def after_epoch(done: int, train_loss: float) -> None:
                if done == epochs or (report is not None and done % self.report_every == 0):
                    values.update(self._named("valid", loop.score(network, data, self, "valid")))
                    if report is not None:
                        report(done, {**values, "train_loss": train_loss})

            loop.fit(network, data, self, epochs=epochs, seed=seed, after_epoch=after_epoch)
        result = check_finite(self.name, values, list(values))
        self._weights = {k: v.detach().cpu() for k, v in network.state_dict().items()}
        return result

    def test(self, architecture: Architecture, *, seed: int = 0, weights: Any = None) -> Metrics:
        """Score trained weights on the test split.

        Raises:
            EvaluationError: If there are no weights, or they are not this architecture's.
        """
        if weights is None:
            raise EvaluationError(
                "a test metric needs the weights that the trial trained, and they were not kept; "
                "set keep_weights to at least 1"
            )
        from . import loop
        from .network import built

        device = loop.pick_device(self.device)
        network = built(self.space, architecture, seed=seed)
        _load(network, weights, architecture)
        with loop.quiet_settings(device, self.threads), _failures_explained(self.batch_size):
            data = loop.prepared(self.data, device, tasks=True)
            values = self._named("test", loop.score(network.to(device), data, self, "test"))
        return check_finite(self.name, values, list(values))

    def trained_weights(self) -> Mapping[str, Any] | None:
        """Return the weights of the last network trained to its end, on the CPU."""
        return self._weights

    @property
    def initial_weights(self) -> frozenset[str]:
        """The digests in `initial`."""
        return frozenset((self.initial or {}).values())

    def take_initial(self, weights: Mapping[str, Mapping[str, Any]]) -> None:
        """Take the state dicts that `initial` names, by digest."""
        self._initial = {d: weights[d] for d in self.initial_weights}

    def check_initial(self, architecture: Architecture) -> None:
        """See whether the initial weights of an architecture are there and fit it.

        Raises:
            EvaluationError: If not: it says why.
        """
        from .network import built

        self._start(built(self.space, architecture, seed=0), architecture)

    def _start(self, network: nn.Module, architecture: Architecture) -> None:
        """Put the initial weights into a network, where it has some."""
        digest = (self.initial or {}).get(architecture.key)
        if digest is None:
            return
        if digest not in self._initial:
            raise EvaluationError(
                f"training starts from stored weights ({digest[:12]}), and was given none; run it "
                "with netloom retrain --inherit"
            )
        _load(network, self._initial[digest], architecture)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_weights": None}

    @property
    def _kinds(self) -> tuple[tuple[str, str, Direction], ...]:
        if self.data.tasks:
            return tuple(_TASKS[task] for task in self.data.tasks)
        return _TARGETS if self.data.classes is None else _CLASSES

    def _named(self, split: str, scores: Mapping[str, float]) -> Metrics:
        return {f"{split}_{name}": scores[name] for name, _, _ in self._kinds}

    def _epochs(self, budget: float | None) -> int:
        if budget is None:
            return self.epochs
        if budget < 1 or budget != int(budget):
            raise EvaluationError(
                f"training: the budget of a trial is a whole number of epochs, got {budget:g}"
            )
        return int(budget)

    def _check_options(self) -> None:
        _require(self.epochs >= 1, "epochs must be at least 1", self.epochs)
        _require(self.batch_size >= 1, "batch_size must be at least 1", self.batch_size)
        _require(self.report_every >= 1, "report_every must be at least 1", self.report_every)
        _require(self.lr > 0, "lr must be above 0", self.lr)
        _require(0 <= self.momentum < 1, "momentum must be in 0..1", self.momentum)
        _require(not self.nesterov or self.momentum > 0, "nesterov needs a momentum above 0", 0)
        _require(self.weight_decay >= 0, "weight_decay must not be negative", self.weight_decay)
        _require(self.warmup_epochs >= 0, "warmup_epochs must not be negative", self.warmup_epochs)
        _require(
            0 <= self.label_smoothing < 1, "label_smoothing must be in 0..1", self.label_smoothing
        )
        _require(self.mixup_alpha > 0, "mixup_alpha must be above 0", self.mixup_alpha)
        for option in ("grad_clip", "crop_padding", "cutout_size", "threads"):
            value = getattr(self, option)
            _require(value is None or value > 0, f"{option} must be above 0 or left out", value)
        known = ("crop", "flip", "cutout", "mixup")
        unknown = [a for a in self.augment if a not in known]
        _require(not unknown, f"augment takes any of {', '.join(known)}", ", ".join(unknown))
        for option, allowed in (
            ("optimizer", ("sgd", "adamw")),
            ("schedule", ("cosine", "constant")),
        ):
            value = getattr(self, option)
            _require(value in allowed, f"{option} must be {' or '.join(allowed)}", value)

    def _check_data(self) -> None:
        data: Any = self.data
        if not isinstance(data, DataSet):
            raise SpecError(
                "training needs a data set (data: {name: digits}, or a subclass of "
                f"netloom.estimators.DataSet), got {type(data).__name__}"
            )
        if not callable(getattr(self.space, "build", None)):
            raise SpecError(
                f"training needs a space that builds networks, {self.space.name!r} does not; "
                "subclass netloom.spaces.Space"
            )
        for option, value in data.space_options.items():
            got = self.space.options.get(option, value)
            if got != value:
                raise SpecError(
                    f"the space {self.space.name} has {option}: {got}, the data set {data.label} "
                    f"has {value}; set the space's option {option} to {value} or leave it out"
                )
        images = set(self.augment) - {"mixup"}
        _require(
            data.resolution > 1 or not images,
            f"augment: {', '.join(sorted(images))} need images",
            f"the data set {data.label} of feature vectors",
        )
        if data.tasks:
            self._check_tasks(data)
        elif isinstance(self.space, Space) and (names := self.space.tasks(self.space.at(0))):
            raise SpecError(
                f"training: the networks of {self.space.name} answer the tasks {', '.join(names)}, "
                f"the data set {data.label} has none of its own; set the space's option tasks to "
                "one of them, or take a data set with tasks"
            )
        data.check()

    def _check_tasks(self, data: DataSet) -> None:
        unknown = [task for task in data.tasks if task not in _TASKS]
        _require(not unknown, f"tasks are any of {', '.join(_TASKS)}", ", ".join(unknown))
        _require("mixup" not in self.augment, "augment on several tasks must be no mixup", "mixup")
        if DETECTION in data.tasks:
            from .tasks.metrics import pycocotools

            pycocotools()  # says what to install


def _load(network: nn.Module, weights: Any, architecture: Architecture) -> None:
    """Put weights into a network.

    Raises:
        EvaluationError: If they are not those of this architecture.
    """
    from .network import misfit

    if problem := misfit(network, weights):
        raise EvaluationError(f"the weights do not fit {architecture.to_json()}: got {problem}")
    network.load_state_dict(dict(weights))


def _require(holds: bool, rule: str, value: object) -> None:
    if not holds:
        raise SpecError(f"training: {rule}, got {value}")


@contextmanager
def _failures_explained(batch_size: int) -> Iterator[None]:
    """Turn what a training can raise into an `EvaluationError` that says why."""
    try:
        yield
    except NetloomError:
        raise
    except Exception as error:
        if _out_of_memory(error):
            raise EvaluationError(
                f"training ran out of memory with batch_size {batch_size}; lower batch_size, set "
                "amp (CUDA), or run fewer workers"
            ) from error
        raise EvaluationError(f"training raised {type(error).__name__}: {error}") from error


def _out_of_memory(error: Exception) -> bool:
    from torch import OutOfMemoryError

    text = str(error)  # the CPU allocator raises a plain RuntimeError
    words = ("DefaultCPUAllocator", "can't allocate memory", "CUDA out of memory")
    return isinstance(error, MemoryError | OutOfMemoryError) or any(w in text for w in words)
