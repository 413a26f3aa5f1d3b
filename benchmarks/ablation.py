"""What each part of the training strategy brings, on one small budget: arms x seeds, mean and spread of F1.

`python benchmarks/ablation.py WORK --levir ROOT --single IMAGES_AND_MASKS ... [--holdout test_1 test_2]`. Every arm
trains schanger-small for the same number of steps on the same crops of the LEVIR-CD tiles in ROOT/train, without the
held-out ones, which no other tile touches on the ground; the score is F1 on those, by the evaluation protocol, with the
averaged weights of the last step. The prior is pre-trained once, by this script, on the single-date folders. WORK keeps
what is done, so that an interrupted script goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from pathlib import Path
from typing import Any

import torch
from common import save

from schanger_edge.datasets.layouts import pair_files
from schanger_edge.datasets.samples import LabelRule
from schanger_edge.evaluation.protocol import score
from schanger_edge.model.card import Normalization, Statistics
from schanger_export.checkpoints import load_network
from schanger_export.options import Machine, Pretraining, Training
from schanger_export.train import train
from schanger_export.validation import predictor

STATISTICS = Statistics((0.40, 0.39, 0.34), (0.18, 0.17, 0.16))
NORMALIZATION = Normalization(STATISTICS, STATISTICS)
SEEDS = (1, 2, 3)
COMMON: dict[str, Any] = {"tile": 64, "batch_size": 4, "warmup_epochs": 0.5, "rate": 2e-3, "drop": 0.0, "clip": 5.0}
COMMON |= {"ema": 0.98, "ema_every": 1, "focus": 0.5, "eval_interval": 100}


def arms(prior: Path) -> dict[str, dict[str, Any]]:
    """What each arm changes."""
    return {
        "pre-trained": {"init": str(prior)},
        "from scratch": {},
        "pre-trained, without temporal swap": {"init": str(prior), "swap": 0.0},
        "pre-trained, without side losses": {"init": str(prior), "side_losses": False},
    }


def run(options: Training, folder: Path, threads: int) -> Path:
    """Train, or go on, or do nothing where it is done."""
    if not (folder / "done").exists():

        def report(_: str, step: int, steps: int, /, **facts: Any) -> None:
            if step % 20 == 0:
                print(f"{folder.name}: {step} of {steps}, loss {facts['loss']:.3f}", flush=True)

        resume = (folder / "last.pth").exists()
        train(options, folder, Machine(device="cpu", threads=threads), resume=resume, report=report)
        (folder / "done").touch()
    return folder / "last.pth"


def split(work: Path, levir: Path, holdout: list[str]) -> Path:
    """A tree of links: the tiles to train on, and the held-out ones as val."""
    tree = work / "tree"
    for entry in pair_files(levir, "train"):
        part = "val" if entry.name in holdout else "train"
        for folder, path in zip(("A", "B", "label"), (*entry.images, entry.label), strict=True):
            link = tree / part / folder / path.name
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.exists():
                os.symlink(path.resolve(), link)
    (tree / "statistics.json").write_text(json.dumps({"mean": STATISTICS.mean, "std": STATISTICS.std}))
    return tree


def f1(checkpoint: Path, tree: Path) -> float:
    """On the held-out tiles."""
    predict = predictor(load_network(checkpoint, "small"), NORMALIZATION, 2, torch.device("cpu"), None)
    files = pair_files(tree, "val")
    return score(files, LabelRule.for_files(files), predict)[0].f1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--levir", type=Path, required=True)
    parser.add_argument("--single", action="append", required=True, help="as `schanger-edge pretrain` takes them")
    parser.add_argument("--holdout", nargs="+", default=["test_1", "test_2"])
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--prior-epochs", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=16, help="crops of each tile in an epoch")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    tree = split(arguments.work, arguments.levir, arguments.holdout)
    asked = {"sources": tuple(arguments.single), "normalization": NORMALIZATION, **COMMON}
    single = Pretraining.with_presets(**{**asked, "epochs": arguments.prior_epochs, "seed": 36})
    prior = run(single, arguments.work / "prior", arguments.threads)
    rows = {}
    for name, changes in arms(prior).items():
        results = []
        for seed in SEEDS:
            values = {**COMMON, "epochs": arguments.epochs, "seed": seed, **changes}
            source = f"{tree},repeat={arguments.repeat},scale=0.7:1.4"
            options = Training.with_presets(sources=(source,), normalization=NORMALIZATION, gsd=0.5, **values)
            folder = arguments.work / f"{name.replace(' ', '-').replace(',', '')}-{seed}"
            kept = folder / "f1.json"
            checkpoint = run(options, folder, arguments.threads)
            if not kept.exists():
                kept.write_text(json.dumps(f1(checkpoint, tree)))
            results.append(json.loads(kept.read_text()))
            print(name, seed, f"F1 {results[-1]:.4f}", flush=True)
        rows[name] = {
            "f1": [round(value, 4) for value in results], "mean": round(statistics.mean(results), 4),
            "spread": round(statistics.stdev(results), 4),
        }  # fmt: skip
    steps = torch.load(folder / "last.pth", weights_only=True)["training"]["step"]
    prior_steps = torch.load(prior, weights_only=True)["training"]["step"]
    save("ablation", {
        "method": __doc__, "torch": torch.__version__, "steps": steps, "prior_steps": prior_steps, "seeds": SEEDS,
        "settings": COMMON, "holdout": arguments.holdout, "spread": "sample standard deviation", "arms": rows,
    })  # fmt: skip


if __name__ == "__main__":
    main()
