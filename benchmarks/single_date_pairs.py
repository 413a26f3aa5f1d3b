"""Make pairs for change training out of single-date building sets: `ROOT/{split}/{A,B,label}`.

`python benchmarks/single_date_pairs.py ROOT train --single IMAGES_AND_MASKS [--glob "*-19.*"] --count 300 --seed 1`.
Two images of one place name (the part before the first `_`) become a pair; its label is where exactly one of their
masks shows a building; `--mosaic 2` lays 2 x 2 such pairs beside one another. One pair in four is one image twice,
where nothing changed. All ground but buildings differs and counts as no change, which teaches that only buildings
matter (single-temporal supervision: Zheng et al., "Change is Everywhere", ICCV 2021).
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 256
SAME = 0.25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("split")
    parser.add_argument("--single", type=Path, required=True, help="folder with image/ and mask/")
    parser.add_argument("--glob", default="*")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--mosaic", type=int, default=1, help="pairs along each side of a file")
    options = parser.parse_args()
    folder, rng = options.root / options.split, np.random.default_rng(options.seed)
    for name in ("A", "B", "label"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    places = defaultdict(list)
    for path in sorted((options.single / "image").glob(options.glob)):
        places[place_of(path)].append(path)
    images = [path for paths in places.values() for path in paths]

    def pair() -> list[NDArray[np.uint8]]:
        first = images[rng.integers(len(images))]
        place = places[place_of(first)]
        second = first if rng.random() < SAME else place[rng.integers(len(place))]
        before, after = read(first, cv2.IMREAD_COLOR), read(second, cv2.IMREAD_COLOR)
        built = [read(next((options.single / "mask").glob(f"{path.stem}.*")), cv2.IMREAD_GRAYSCALE) > 127
                 for path in (first, second)]  # fmt: skip
        return [before, after, (built[0] ^ built[1]).astype(np.uint8) * 255]

    side = options.mosaic
    for number in range(options.count):
        grid = [[pair() for _ in range(side)] for _ in range(side)]
        name = f"{options.single.name}_{options.seed}_{number}.png"
        for index, kind in enumerate(("A", "B", "label")):
            rows = [np.concatenate([parts[index] for parts in row], axis=1) for row in grid]
            cv2.imwrite(str(folder / kind / name), np.concatenate(rows))


def place_of(path: Path) -> str:
    """The part of a name before the first `_`; one place for all names without it."""
    return path.name.split("_")[0] if "_" in path.name else ""


def read(path: Path, mode: int) -> NDArray[np.uint8]:
    """An image of 256 x 256, by area where it is larger."""
    array = cv2.imread(str(path), mode)
    assert array is not None, path
    return cv2.resize(array, (SIDE, SIDE), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


if __name__ == "__main__":
    main()
