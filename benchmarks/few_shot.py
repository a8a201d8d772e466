"""Few-shot search beside one super-network: whose ranking is better, and whose choice?

    python benchmarks/few_shot.py             # goes on where it stopped; an hour
    python benchmarks/few_shot.py --report    # the tables only

Writes results/few_shot.jsonl, a line for each search; few_shot_alone.csv, the trainings of what was
chosen; few_shot.md. Needs the networks of `ground_truth.py`, which are the truth. All methods train
super-networks for equally many epochs, summed over the nodes of a tree, by random paths, and choose
among equally many paths at the end. Of a seed all have the same data, batches and first weights.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))
import few_shot_report
from ground_truth import RECIPE, cells, known, task, train_alone
from machine import RESULTS

from netloom.search import Objective
from netloom.search.one_shot.splitting import ROOT
from netloom.search.one_shot.work import Job, advance, choose, held_out
from netloom.search.strategies.gm_fewshot import GmFewshot
from netloom.search.testing import MemoryContext
from netloom.seeds import derive_seed
from netloom.spaces import Architecture

FILE, ALONE = RESULTS / "few_shot.jsonl", RESULTS / "few_shot_alone.csv"
SEEDS = (0, 1, 2, 3, 4)
EPOCHS, PATHS = 120, 40  # of a method; paths to choose among
CALIBRATION = 4  # batches
RECIPE_OF_SEARCH = {  # chosen by one super-network, with seed 100
    "base": "rsps",
    "batch_size": 64,
    "lr": 0.1,
    "train_share": 0.9,  # random paths have no logits to be trained by the rest
    "match_batches": 8,
    "calibration_batches": CALIBRATION,
    "cosine": "leaf",
}
# epochs of super-networks: 24 + 2 * 16 + 4 * 16, and 40 + 5 * 16; 56 on the way to any leaf
TWICE = {"split_epochs": [24, 40], "groups": [2, 2], "epochs": 16, "restart": "none"}
EVERY = {"split_epochs": [40], "groups": [5], "epochs": 16, "decisions": ["node1.from0"]}
NEW_TWICE = {"split_epochs": [8, 16], "groups": [2, 2], "epochs": 24}  # 8 + 2 * 8 + 4 * 24
NEW_EVERY = {**EVERY, "split_epochs": [0], "epochs": 24, "rule": "random"}  # 5 * 24
METHODS: dict[str, dict[str, Any]] = {
    "one-shot": {"split_epochs": [EPOCHS], "groups": [2], "epochs": 1},  # its root is all of it
    "random split": {**TWICE, "rule": "random"},
    "exhaustive few-shot": {**EVERY, "rule": "random", "restart": "none"},  # no choice: 5 of 5
    "GM split": TWICE,
    "random split, new weights": {**NEW_TWICE, "rule": "random"},
    "exhaustive few-shot, new weights": NEW_EVERY,
    "GM split, new weights": NEW_TWICE,
}
LEAVES = {"one-shot": 1, **dict.fromkeys((m for m in METHODS if "exhaustive" in m), 5)}  # else 4


def search(method: str, seed: int) -> dict[str, Any]:
    """Search by one method, and score all networks of the ground truth by its super-networks."""
    space, training = task()
    context = MemoryContext(
        space, [Objective("valid_accuracy", "maximize")], data=training.data, seed=seed
    )
    paths = PATHS // LEAVES.get(method, 4)
    strategy = GmFewshot(**RECIPE_OF_SEARCH, **METHODS[method], paths=paths)
    start = time.process_time()
    find = whole if method == "one-shot" else split
    found, supernets, trainer = find(strategy, context)
    seconds = time.process_time() - start
    inputs = [trainer.halves.train(0, i).x for i in range(CALIBRATION)]
    scores, leaves = scored(cells(space), supernets, inputs, trainer.data)
    return {
        "method": method,
        "seed": seed,
        **found,
        "leaves": leaves,
        "scores": [round(score, 4) for score in scores],
        "images": images(found["splits"], trainer, strategy, paths * len(supernets)),
        "seconds": round(seconds, 1),
    }


def whole(strategy: GmFewshot, context: Any) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """Train the root alone, as a few-shot search of the same seed would, and choose."""
    tree = strategy.few_shot(context, derive_seed(context.seed, "search", 0), "search")
    root, work = tree.tree.nodes[ROOT], tree.work
    steps = EPOCHS * work.trainer(work.context(), root).halves.steps
    state = advance(work, Job(root, steps, None, None)).state
    chosen = choose(work, (root, state))
    trainer = work.trainer(work.context(), root, state)
    found = {
        "derived": context.space.format(Architecture.from_json(chosen.architecture)),
        "leaf": ROOT,
        "held_out": round(chosen.held_out, 4),
        "splits": {},
    }
    return found, {ROOT: (trainer.supernet, {})}, trainer


def split(strategy: GmFewshot, context: Any) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """Run the strategy; return its first proposal, leaf -> (super-network, mask), and a trainer."""
    strategy.prepare(context)
    (first,) = strategy.ask(1)
    nodes = context.notes["search/tree"]["nodes"]
    supernets = {name.partition("/")[2]: found for name, found in context.published.items()}
    found = {
        "derived": context.space.format(first.architecture),
        "leaf": first.tags["leaf"],
        "held_out": first.tags["held_out"],
        "splits": {node["name"]: _split(node, nodes) for node in nodes if node["split"]},
    }
    trainer = strategy.trainer(context, derive_seed(context.seed, "search", 0), "search")
    return found, supernets, trainer


def _split(node: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a split's decision, its groups, and how many options each comparison had."""
    judged = node.get("decisions", {})
    return {
        "decision": node["split"],
        "groups": [n["masks"][node["split"]] for n in nodes if n["parent"] == node["name"]],
        "compared": sum(len(found["options"]) * found["batches"] for found in judged.values()),
        "halves_agree": [found["halves_agree"] for found in judged.values()],
    }


def images(
    splits: Mapping[str, Any], trainer: Any, strategy: GmFewshot, paths: int
) -> dict[str, float]:
    """Return how many images were passed forward and backward; forward alone is a third of it."""
    return {
        "training": EPOCHS * len(trainer.halves.halves[0]),
        "matching": strategy.batch_size * sum(found["compared"] for found in splits.values()),
        "choosing": paths * _seen(strategy, trainer) / 3,
    }


def _seen(strategy: GmFewshot, trainer: Any) -> int:
    return strategy.batch_size * CALIBRATION + len(trainer.data.split("valid"))


# ---------------------------------------------------------------------- ranking
def holds(mask: Mapping[str, Iterable[Any]], architecture: Mapping[str, Any]) -> bool:
    """Return whether a leaf's mask leaves an architecture in."""
    return all(architecture[name] in row for name, row in mask.items())


def scored(
    architectures: Sequence[Any],
    supernets: Mapping[str, tuple[Any, Mapping[str, Any]]],
    inputs: Sequence[Any],
    data: Any,
) -> tuple[list[float], list[str]]:
    """Return the held-out accuracy of each by the weights of the leaf that holds it, and the leaf.

    Args:
        architectures: What is scored.
        supernets: Leaf -> super-network and mask; disjoint, and together the whole space.
        inputs: Batches for the batch-norm statistics.
        data: Whose validation split no super-network learned from.

    Raises:
        ValueError: If an architecture is in no leaf, or in several.
    """
    scores, leaves = [], []
    for architecture in architectures:
        (leaf,) = (name for name, (_, mask) in supernets.items() if holds(mask, architecture))
        network = supernets[leaf][0].calibrated(architecture, inputs)
        scores.append(held_out(network, data))
        leaves.append(leaf)
    return scores, leaves


# ---------------------------------------------------------------------- run
def read(path: Path = FILE) -> list[dict[str, Any]]:
    """Return the searches that are there."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def run(methods: Sequence[str], seeds: Sequence[int]) -> None:
    """Search what is missing, seed by seed, and train alone what was chosen."""
    space = task()[0]
    true = {row["cell"] for row in known()}
    found = read()
    done = {(line["method"], line["seed"]) for line in found}
    missing = [(m, s) for s in seeds for m in methods if (m, s) not in done]
    _train_chosen(space, found, true)
    for method, seed in missing:
        line = search(method, seed)
        with FILE.open("a") as file:
            file.write(json.dumps(line) + "\n")
        _train_chosen(space, [line], true)


def _train_chosen(space: Any, lines: Iterable[Mapping[str, Any]], true: Container[str]) -> None:
    chosen = dict.fromkeys(line["derived"] for line in lines)
    train_alone([space.parse(cell) for cell in chosen if cell not in true], ALONE)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--report", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(RECIPE["threads"])
    if not options.report:
        run(options.methods, options.seeds)
    lines = sorted(read(), key=lambda line: list(METHODS).index(line["method"]))
    text = few_shot_report.report(lines, known(), known(ALONE))
    FILE.with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
