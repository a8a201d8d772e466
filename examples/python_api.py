"""A search from Python: the same runner as the command line, with objects instead of names.

    python examples/python_api.py

The run is stored like any other: `netloom list`, `netloom pareto python-api`,
`netloom report python-api`.
"""

from __future__ import annotations

from torch import nn

from netloom import Architecture, Decision, Experiment, Objective, Space
from netloom.estimators import DATASETS, Complexity, Training
from netloom.search import RunSummary
from netloom.search.strategies.nsga2 import NSGA2


class Pyramid(Space):
    """Two convolutions of chosen kernels and widths, and a pooling between them."""

    decisions = (
        Decision("kernel1", (1, 3, 5), ordered=True),
        Decision("width1", (4, 8, 16), ordered=True),
        Decision("kernel2", (1, 3, 5), ordered=True),
        Decision("width2", (8, 16, 32), ordered=True),
        Decision("pool", ("average", "max")),
    )

    def __init__(self, *, in_channels: int = 1, resolution: int = 8, classes: int = 10) -> None:
        super().__init__()

    def build(self, architecture: Architecture) -> nn.Module:
        """Return the network, freshly initialised."""
        pool = {"average": nn.AvgPool2d, "max": nn.MaxPool2d}[architecture["pool"]]
        width1, width2 = architecture["width1"], architecture["width2"]
        return nn.Sequential(
            *_block(self.options["in_channels"], width1, architecture["kernel1"]),
            pool(2),
            *_block(width1, width2, architecture["kernel2"]),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(width2, self.options["classes"]),
        )


def _block(width: int, out: int, kernel: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(width, out, kernel, padding=kernel // 2, bias=False)
    return convolution, nn.BatchNorm2d(out), nn.ReLU()


def experiment(*, trials: int = 24, epochs: int = 3) -> Experiment:
    """Return the search: `.run()` starts it, `.resume()` goes on with a stored run of it."""
    digits = DATASETS.get("digits")()
    space = Pyramid()
    return Experiment(
        name="python-api",
        space=space,
        data=digits,
        estimators=[Training(space, digits, epochs=epochs), Complexity(space)],
        strategy=NSGA2(population=8),
        objectives=[Objective("valid_accuracy", "maximize"), Objective("macs", "minimize")],
        budget={"trials": trials},
        runner={"engine": "inline"},
        seed=0,
    )


def main(*, trials: int = 24, epochs: int = 3) -> RunSummary:
    """Search, print the front, return what came of it."""
    summary = experiment(trials=trials, epochs=epochs).run()
    print(f"{summary.experiment.name}: {summary.counts['done']} trials")
    for trial in summary.front:
        metrics = trial.metrics
        print(
            f"{metrics['valid_accuracy']:6.2f} % valid {metrics['test_accuracy']:6.2f} % test "
            f"{metrics['macs']:9,.0f} MACs  {dict(trial.architecture)}"
        )
    return summary


if __name__ == "__main__":
    main()
