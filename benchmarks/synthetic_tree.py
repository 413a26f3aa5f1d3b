"""Render a labelled tree of scenes: `ROOT/{split}/{A,B,label}`, for training and for scores on unseen scenes.

`python benchmarks/synthetic_tree.py ROOT train --count 110 --seed 5000`. Seeds go up from the given one; the GSD is
drawn from 0.35, 0.5 (twice) and 0.7 m; of the scenes with less than 1 % change, 85 % are left out. With --city,
buildings are high and seen from another angle on each date; there those without change teach most, and stay.

With --single the split holds `image` and `mask` instead: of every second scene the earlier date, of the others the
later one, with all roofs that stand on it, for `pretrain`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from schanger_edge.synthetic import SyntheticScene
from schanger_edge.synthetic.scene import Date

SIDE = 768


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("split")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--city", action="store_true")
    parser.add_argument("--single", action="store_true")
    options = parser.parse_args()
    folder, rng = options.root / options.split, np.random.default_rng(options.seed)
    names = ("image", "mask") if options.single else ("A", "B", "label")
    for name in names:
        (folder / name).mkdir(parents=True, exist_ok=True)
    made, seed = 0, options.seed
    while made < options.count:
        scene = SyntheticScene(seed, SIDE, SIDE, gsd=float(rng.choice([0.35, 0.5, 0.5, 0.7])), city=options.city)
        dates: tuple[Date, ...] = ("before", "after")
        if options.single:
            dates = (dates[1 - made % 2],)
        truth = scene.buildings(dates[0]) if options.single else scene.truth()
        if options.single or options.city or truth.mean() >= 0.01 or rng.random() >= 0.85:
            images = [scene.render(date)[::-1].transpose(1, 2, 0) for date in dates]
            for name, image in zip(names, [*images, truth * 255], strict=True):
                cv2.imwrite(str(folder / name / f"{seed}.png"), image)
            made += 1
        seed += 1
    print(f"{made} scenes of {seed - options.seed} seeds in {folder}")


if __name__ == "__main__":
    main()
