"""How well the offset between two dates is found, where none may be found, and what aligning is worth.

`python benchmarks/registration.py DATA` with a folder of real imagery (`georef/sjer`, `georef/joplin`, `levir`).
Offsets are imposed on pairs in three ways: `georeference` moves the transform of the before file, `pixels` resamples
the before image (Lanczos), `painted` renders the after image elsewhere, without resampling (synthetic pairs only).
All numbers are pixels of the common grid; an error is the distance of the estimate from the imposed offset plus the
estimate of the untouched pair; pairs whose windows agree only roughly are counted apart (`rough`). For synthetic pairs,
whose seasons differ and whose untouched offset is zero, `absolute` takes the imposed offset alone. `unrelated` counts
estimates on pairs that show different ground: all are invented. `alarms` runs the bundled model on painted offsets with
and without `align` and scores against exact truth.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rasterio
from affine import Affine
from common import save

from schanger_edge import detect
from schanger_edge.evaluation.demo import score
from schanger_edge.evaluation.scores import Counts
from schanger_edge.registration.offset import Registration, estimate_offset
from schanger_edge.scene import open_pair
from schanger_edge.scene.opening import open_dataset
from schanger_edge.synthetic import write_pair

OFFSETS = ((0.3, -0.4), (1.5, 2.25), (7.7, -3.2), (25.0, 10.0))
SEEDS, SIDE = (3, 5, 8), 512
APART = (3, 5)  # tiles of LEVIR-CD that many places apart in the list make unrelated pairs
GEOREF = (
    ("sjer/2017_003", "sjer/later_003"),
    ("sjer/2017_062", "sjer/later_062"),
    ("joplin/pre_337-9136", "joplin/post_31500-5137"),
    ("joplin/pre_337-10160", "joplin/post_31500-5137"),
)
Offset = tuple[float, float]
Paths = tuple[Path, Path]


def moved(source: Path, target: Path, offset: Offset, way: str) -> Path:
    """A copy of the before image such that the after image must be moved by `offset` more to lie on it."""
    with open_dataset(str(source)) as dataset:
        pixels, valid = dataset.read([1, 2, 3]), dataset.dataset_mask()
        crs, place = dataset.crs, dataset.transform
    if crs is None:
        crs, place = "EPSG:32631", Affine(0.5, 0, 500_000, 0, -0.5, 4_650_000)
    if way == "georeference":
        place = place @ Affine.translation(*offset)
    else:
        matrix = np.array([[1, 0, offset[0]], [0, 1, offset[1]]])
        size = pixels.shape[:0:-1]
        pixels = cv2.warpAffine(pixels.transpose(1, 2, 0), matrix, size, flags=cv2.INTER_LANCZOS4).transpose(2, 0, 1)
        valid = cv2.warpAffine(valid, matrix, size) // 255 * 255
    profile = {"driver": "GTiff", "count": 3, "width": pixels.shape[2], "height": pixels.shape[1], "dtype": "uint8"}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(target, "w", **profile, crs=crs, transform=place) as out,
    ):
        out.write(pixels)
        out.write_mask(valid)
    return target


def estimate(before: Path, after: Path) -> Registration:
    """As `run` makes it."""
    with open_pair(before, after) as pair:
        return estimate_offset(pair)


def errors(pairs: dict[str, Paths], folder: Path) -> dict[str, Any]:
    """Each pair with each offset imposed in both ways: distance from the estimate of the untouched pair."""
    rows, found, rough = [], [], []
    for name, (before, after) in pairs.items():
        placed = moved(after, folder / "after.tif", (0, 0), "georeference")
        plain = estimate(moved(before, folder / "before.tif", (0, 0), "georeference"), placed)
        for offset, way in itertools.product(OFFSETS, ("georeference", "pixels")):
            shifted = estimate(moved(before, folder / "before.tif", offset, way), placed)
            if plain.offset is None or shifted.offset is None:
                error = None
            else:
                error = float(np.hypot(*np.subtract(shifted.offset, plain.offset) - offset))
            kinds = {result.consensus.kind for result in (plain, shifted) if result.consensus is not None}
            (rough if "rough" in kinds else found).append(error)
            row = {"pair": name, "imposed": offset, "way": way, "kinds": sorted(kinds)}
            rows.append({**row, "error": error and round(error, 3)})
    return {**summarized(found), "rough": summarized(rough), "rows": rows}


def summarized(values: list[float | None]) -> dict[str, Any]:
    """Of errors in pixels, None where the offset is not known."""
    known = [value for value in values if value is not None]
    count = {"n": len(values), "not_known": len(values) - len(known)}
    if not known:
        return count
    return {
        **count,
        "median": round(statistics.median(known), 3),
        "p95": round(float(np.percentile(known, 95)), 3),
        "largest": round(max(known), 3),
    }


def absolute(painted: dict[tuple[int, Offset], Any]) -> dict[str, Any]:
    """Painted offsets: distance of the estimate from what was imposed, the untouched pair included."""
    found = []
    for (_, offset), pair in painted.items():
        result = estimate(pair.before, pair.after).offset
        found.append(None if result is None else float(np.hypot(*np.subtract(result, offset))))
    return summarized(found)


def unrelated(pairs: Iterator[Paths]) -> dict[str, Any]:
    """How many pairs without common ground are given an offset."""
    results = [estimate(*pair).offset for pair in pairs]
    return {"n": len(results), "invented": sum(result is not None for result in results)}


def alarms(painted: dict[tuple[int, Offset], Any], folder: Path) -> list[dict[str, Any]]:
    """Scores of the bundled model over all seeds, per offset, without and with align."""
    rows = []
    for offset, align in itertools.product(((0.0, 0.0), *OFFSETS), (False, True)):
        counts, changed, valid = Counts(), 0, 0
        for seed in SEEDS:
            pair = painted[seed, offset]
            result = detect(pair.before, pair.after, folder / "run", align=align, device="cpu", threads=1)
            counts += score(result.change, pair.truth)
            changed, valid = changed + result.changed, valid + result.valid
        scores = {name: round(getattr(counts, name), 4) for name in ("f1", "precision", "recall")}
        rows.append({"imposed": offset, "align": align, "changed_share": round(changed / valid, 4), **scores})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    options = parser.parse_args()
    tiles = sorted((options.data / "levir").glob("*/A/*.png"))
    levir = [(tile, tile.parents[1] / "B" / tile.name) for tile in tiles]
    georef = {
        first: tuple(options.data / "georef" / f"{name}.tif" for name in (first, after)) for first, after in GEOREF
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        painted = {
            (seed, offset): write_pair(
                folder / f"{seed}_{index}", width=SIDE, height=SIDE, seed=seed, shift=(-offset[0], -offset[1])
            )
            for seed in SEEDS
            for index, offset in enumerate(((0.0, 0.0), *OFFSETS))
        }
        plain = {f"seed {seed}": painted[seed, (0.0, 0.0)] for seed in SEEDS}
        result = {
            "method": __doc__,
            "opencv": cv2.__version__,
            "synthetic": errors({seed: (pair.before, pair.after) for seed, pair in plain.items()}, folder),
            "absolute": absolute(painted),
            "real": {
                "sjer": errors({key: georef[key] for key in georef if key.startswith("sjer")}, folder),
                "joplin": errors({key: georef[key] for key in georef if key.startswith("joplin")}, folder),
                "levir": errors({before.stem: (before, after) for before, after in levir}, folder),
            },
            "unrelated": {
                "synthetic": unrelated((a.before, b.after) for a, b in itertools.permutations(plain.values(), 2)),
                "levir": unrelated(
                    (levir[index][0], levir[(index + step) % len(levir)][1])
                    for index, step in itertools.product(range(len(levir)), APART)
                ),
            },
            "alarms": {"seeds": SEEDS, "side": SIDE, "rows": alarms(painted, folder)},
        }
    save("registration", result)


if __name__ == "__main__":
    main()
