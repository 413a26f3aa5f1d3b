"""Can the loop learn at all? Eight tiles of 128 pixels, from random weights, until they are known by heart.

`python benchmarks/overfit.py LEVIR_ROOT [--epochs 60]` cuts eight tiles of 128 x 128 with 10 to 60 % change out of the
split train, trains on them without augmentation or dropout, and scores the averaged weights on the same tiles.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from common import save

from schanger_edge.datasets.layouts import pair_files
from schanger_edge.datasets.samples import LabelRule, Sample
from schanger_edge.evaluation.protocol import score
from schanger_edge.geo.grid import Window
from schanger_edge.model.card import Normalization, Statistics
from schanger_export.checkpoints import load_network
from schanger_export.options import Machine, Training
from schanger_export.train import train
from schanger_export.validation import predictor

TILE, TILES = 128, 8
STATISTICS = Statistics((0.40, 0.39, 0.34), (0.18, 0.17, 0.16))


def cut_tiles(root: Path, target: Path) -> int:
    """Write the first eight tiles with 10 to 60 % change, spread over the images."""
    found = 0
    for folder in ("A", "B", "label"):
        (target / "train" / folder).mkdir(parents=True)
    for offset in range(0, 1024, TILE):
        for entry in pair_files(root, "train"):
            with Sample(entry, LabelRule()) as sample:
                window = Window(offset, offset, TILE, TILE)
                label = sample.label(window)
                if found == TILES or not 0.1 <= label.mean() <= 0.6:
                    continue
                for folder, image in zip("AB", sample.images(window), strict=True):
                    cv2.imwrite(str(target / "train" / folder / f"{found}.png"), image[::-1].transpose(1, 2, 0))
                cv2.imwrite(str(target / "train" / "label" / f"{found}.png"), label.astype(np.uint8) * 255)
                found += 1
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    normalization = Normalization(STATISTICS, STATISTICS)
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        assert cut_tiles(arguments.root, tree) == TILES, "fewer than eight tiles with change"
        (tree / "statistics.json").write_text(json.dumps({"mean": STATISTICS.mean, "std": STATISTICS.std}))
        options = Training.with_presets(
            sources=(str(tree),), tile=TILE, epochs=arguments.epochs, warmup_epochs=2, batch_size=4, rate=3e-3,
            drop=0.0, ema=0.9, ema_every=1, clip=5.0, swap=0.0, augment=False,
        )  # fmt: skip
        began = time.monotonic()
        losses: list[float] = []

        def report(_: str, step: int, steps: int, /, **facts: Any) -> None:
            losses.append(facts["loss"])
            if step % 10 == 0:
                print(f"step {step} of {steps}, loss {facts['loss']:.3f}", flush=True)

        trained = train(options, Path(folder) / "run", Machine(device="cpu", threads=arguments.threads), report=report)
        seconds = time.monotonic() - began
        network = load_network(trained.checkpoint, "small")
        files = pair_files(tree, "train")
        predict = predictor(network, normalization, 2, torch.device("cpu"), None)
        counts, _ = score(files, LabelRule.for_files(files), predict, tile=TILE)
    save("overfit", {
        "method": __doc__, "torch": torch.__version__, "steps": trained.step, "batch": options.schedule.batch_size,
        "seconds": round(seconds), "first_loss": losses[0], "last_loss": losses[-1], "f1": round(counts.f1, 4),
        "precision": round(counts.precision, 4), "recall": round(counts.recall, 4),
    })  # fmt: skip


if __name__ == "__main__":
    main()
