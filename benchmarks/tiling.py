"""Tile and halo: accuracy on whole labelled images, cost, and seams, with the bundled weights.

`python benchmarks/tiling.py levir/val=ROOT:val --grids levir/val=4 --trained levir/train --pair NAME=BEFORE,AFTER ...`

Every image is cut as `run` cuts it, for each tile and halo, and its tiles are blended over half a halo on either side
of the border of their cores, as `run` does (`f1`), or each tile's core is kept (`f1_kept`). Labelled images are those
of the data sets given and rendered scenes that no training saw (seeds from --seed, 0.5 m, at least 1 % change); one
confusion matrix per data set, change = probability > 0.5. Of the sets named by --trained the network has seen the
images: their scores tell the loss from one row to the next, not the accuracy. For each tile size the same weights are
exported anew. `protocol` is the published protocol: tiles of 256 side by side.

`against_default` is the difference of F1 to tile 512 with halo 32 and the bounds of 90 % of 2,000 resamples, in which
quarters of images are drawn with replacement, the same for both. Where a border falls is chance: with --grids NAME=K
each image of a set is cut K times for some of the rows, the k-th time (from 0) without its first 53 k rows and 37 k
columns; `by_grid` is F1 of each time, `against_default_all_grids` the difference over all of them.

Cost of a large scene: pixels that enter the network per pixel, (tile / (tile - 2 halo))^2; CPU seconds of inference
per megapixel, those of one tile over (tile - 2 halo)^2. CPU seconds of a tile are the median of interleaved runs with
one thread; `load` is the machine's load average then. CPU seconds of a busy machine are up to twice
those of a quiet one; their ratios hold.

Seams, on whole images and, at tile 512 with halo 32, on the pairs: jumps |p(x + 1) - p(x)| between neighbours along
both axes, of each way's map, across the borders of the cores and elsewhere, mean and 99th percentile. Jumps elsewhere
are those of the kept map, which has no ramps.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import save
from numpy.typing import NDArray
from stitching import Inference, Scene, blend, jumps, keep_cores

from schanger_edge.datasets.layouts import pair_files
from schanger_edge.datasets.samples import LabelRule, Sample
from schanger_edge.evaluation.scores import Counts
from schanger_edge.geo.grid import Window
from schanger_edge.model.card import ModelCard
from schanger_edge.scene import open_pair
from schanger_edge.sessions import Session, open_session
from schanger_edge.synthetic import SyntheticScene
from schanger_edge.tiling.plan import TilePlan, blend_of, fill_invalid
from schanger_export import to_onnx
from schanger_export.checkpoints import weights_sha256
from schanger_export.weights import resolve

HALOS = {256: (0, 16, 24, 32, 64), 384: (0, 16, 32, 64), 512: (0, 16, 32, 64)}
DEFAULT, PROTOCOL = (512, 32), (256, 0)
ON_ALL_GRIDS = (DEFAULT, (512, 16), (384, 32), (384, 16), (256, 32), (256, 16))
ROUNDS = 9
THRESHOLD, SIDE, LEAST_CHANGE = 0.5, 1024, 0.01
STEP = 53, 37  # pixels from one grid to the next; primes, so that borders never meet again
DRAWS, BOUNDS = 2000, (5, 95)
UNSEEN = 5_000_000  # the first rendered scene: the seeds of train.sh lie below
WEIGHTS = "schanger-small"

Join = Callable[[Inference, TilePlan], NDArray[np.float32]]
Tiling = tuple[int, int]
WAYS: dict[str, Join] = {"blended": blend, "kept": keep_cores}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="*", help="NAME=ROOT:SPLIT")
    parser.add_argument("--pair", action="append", default=[], help="NAME=BEFORE,AFTER, without labels")
    parser.add_argument("--rendered", type=int, default=2, help="rendered scenes")
    parser.add_argument("--grids", action="append", default=[], help="NAME=K, how often each image of a set is cut")
    parser.add_argument("--trained", action="append", default=[], help="name of a set that the network was trained on")
    parser.add_argument("--device", default="auto", help="of a CPU, as for `schanger-edge run`")
    parser.add_argument("--seed", type=int, default=UNSEEN, help="of the first rendered scene")
    options = parser.parse_args()
    grids = {name: int(count) for name, count in (text.split("=") for text in options.grids)}
    labelled = {name: labelled_scenes(place) for name, place in (text.split("=", 1) for text in options.data)}
    if options.rendered:
        labelled["rendered"] = rendered_scenes(options.rendered, options.seed)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        models = exported(Path(folder))
        sessions = {tile: stack.enter_context(open_session(model, options.device, 1)) for tile, model in models.items()}
        load, seconds = round(os.getloadavg()[0], 2), tile_seconds(sessions, next(iter(labelled.values()))[0])
        result: dict[str, Any] = {
            "method": __doc__,
            "weights_sha256": weights_sha256(resolve(WEIGHTS)),
            "device": sessions[DEFAULT[0]].device,
            "load": load,
            "cpu_seconds_per_tile": seconds,
            "images": {},
            "rows": [cost(*tiling, seconds[tiling[0]]) for tiling in all_tilings()],
            "seams": [],
        }
        for text in options.pair:
            real = real_pair(text, sessions[DEFAULT[0]].card)
            result["seams"].append(seam(real.name, [Inference(sessions[DEFAULT[0]], real)], *DEFAULT))
        for name, scenes in labelled.items():
            measure(result, name, scenes, grids.get(name, 1), sessions)
            result["images"][name]["trained_on"] = name in options.trained
            save("tiling", result)


def measure(
    result: dict[str, Any], name: str, scenes: Sequence[Scene], grids: int, sessions: Mapping[int, Session]
) -> None:
    """Put what a data set says into the result: images and protocol, rows, seams."""
    found: dict[tuple[Tiling, str], list[list[list[Counts]]]] = {}  # of each image, each grid, its quarters
    whole: dict[int, list[Inference]] = {tile: [] for tile in sessions}
    for scene, grid in itertools.product(scenes, range(grids)):
        part = cut(scene, grid)
        inferences = {tile: Inference(session, part) for tile, session in sessions.items()}
        for tiling, way in itertools.product(ON_ALL_GRIDS if grid else all_tilings(), WAYS):
            counts = quarters(WAYS[way](inferences[tiling[0]], plan_of(part, *tiling)), part)
            images = found.setdefault((tiling, way), [])
            images += [] if grid else [[]]
            images[-1].append(counts)
        if not grid:
            for tile, infer in inferences.items():
                whole[tile].append(infer)
    default = found[DEFAULT, "blended"]
    for row, tiling in zip(result["rows"], all_tilings(), strict=True):
        blended = found[tiling, "blended"]
        row["data"][name] = own = {
            "f1": round(total(blended, 0).f1, 4),
            "f1_kept": round(total(found[tiling, "kept"], 0).f1, 4),
            "against_default": difference(units(blended, 1), units(default, 1)),
            "f1_per_cpu_second": round(total(blended, 0).f1 / row["cpu_seconds_per_megapixel"], 4),
            "f1_by_image": [round(total([image], 0).f1, 4) for image in blended],
        }
        if grids > 1 and tiling in ON_ALL_GRIDS:
            own["by_grid"] = [round(total(blended, grid).f1, 4) for grid in range(grids)]
            own["against_default_all_grids"] = difference(units(blended, grids), units(default, grids))
        result["seams"].append(seam(name, whole[tiling[0]], *tiling))
    protocol = total(found[PROTOCOL, "kept"], 0)
    scores = {key: round(getattr(protocol, key), 4) for key in ("f1", "precision", "recall")}
    result["images"][name] = {"names": [scene.name for scene in scenes], "grids": grids, "protocol": scores}


def all_tilings() -> list[Tiling]:
    return [(tile, halo) for tile, halos in HALOS.items() for halo in halos]


def total(images: Sequence[Sequence[Sequence[Counts]]], grid: int) -> Counts:
    """Of all quarters of all images, cut once."""
    return sum(itertools.chain.from_iterable(image[grid] for image in images), Counts())


def cut(scene: Scene, grid: int) -> Scene:
    """The scene without its first rows and columns, so that tiles lie elsewhere."""
    row, col = (step * grid for step in STEP)
    assert scene.label is not None
    dates = (date[:, row:, col:] for date in (scene.before, scene.after))
    return Scene(scene.name, *dates, scene.valid[row:, col:], scene.label[row:, col:])


def quarters(probability: NDArray[np.float32], scene: Scene) -> list[Counts]:
    """Counts of the four quarters of an image."""
    assert scene.label is not None
    middle = [side // 2 for side in probability.shape]
    parts = [(rows, cols) for rows in halves(middle[0]) for cols in halves(middle[1])]
    return [Counts.of(probability[part] > THRESHOLD, scene.label[part]) for part in parts]


def halves(middle: int) -> tuple[slice, slice]:
    return slice(0, middle), slice(middle, None)


def units(images: Sequence[Sequence[Sequence[Counts]]], grids: int) -> NDArray[np.int64]:
    """(quarters, 3) true positives, false positives and false negatives, those of an image's first grids together."""
    values = [
        [[(c.true_positive, c.false_positive, c.false_negative) for c in own] for own in image[:grids]]
        for image in images
    ]
    return np.asarray(np.array(values).sum(1).reshape(-1, 3))


def difference(own: NDArray[np.int64], other: NDArray[np.int64]) -> list[float]:
    """F1 of one minus that of the other, and its bounds, see the method."""
    draws = np.random.default_rng(0).integers(0, len(own), (DRAWS, len(own)))
    resampled = f1_of(own[draws].sum(1)) - f1_of(other[draws].sum(1))
    whole = f1_of(own.sum(0)) - f1_of(other.sum(0))
    return [round(float(value), 4) for value in (whole, *np.percentile(resampled, BOUNDS))]


def f1_of(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """(..., 3) -> (...): 2 TP / (2 TP + FP + FN)."""
    return np.asarray(2 * counts[..., 0] / np.maximum(2 * counts[..., 0] + counts[..., 1] + counts[..., 2], 1))


def exported(folder: Path) -> dict[int, Path]:
    """A model file for each tile size, made where it is missing."""
    models = {tile: folder / f"{tile}.onnx" for tile in HALOS}
    for tile, model in models.items():
        if not model.exists():
            to_onnx.export(resolve(WEIGHTS), "small", model, tile=tile, halo=0, tiles=1)
    return models


def tile_seconds(sessions: Mapping[int, Session], scene: Scene) -> dict[int, float]:
    """CPU seconds of one tile by its size, see the method."""
    found: dict[int, list[float]] = {tile: [] for tile in sessions}
    for _ in range(ROUNDS):
        for tile, session in sessions.items():
            dates = (date[None, :, :tile, :tile] for date in (scene.before, scene.after))
            began = time.process_time()
            session.run(*dates)
            found[tile].append(time.process_time() - began)
    return {tile: round(statistics.median(values), 3) for tile, values in found.items()}


def cost(tile: int, halo: int, seconds: float) -> dict[str, Any]:
    """A row of the table without its accuracy; `seconds` are those of a tile."""
    core = tile - 2 * halo
    return {
        "tile": tile,
        "halo": halo,
        "network_pixels_per_pixel": round((tile / core) ** 2, 3),
        "cpu_seconds_per_megapixel": round(seconds / core**2 * 1e6, 3),
        "data": {},
    }


def plan_of(scene: Scene, tile: int, halo: int) -> TilePlan:
    return TilePlan(scene.valid.shape[1], scene.valid.shape[0], tile, halo, blend_of(tile, halo))


def seam(name: str, images: Sequence[Inference], tile: int, halo: int) -> dict[str, Any]:
    """Mean and 99th percentile of the jumps across the borders of cores, by way of joining, and elsewhere."""
    found: dict[str, list[NDArray[np.float32]]] = {way: [] for way in [*WAYS, "elsewhere"]}
    for infer in images:
        plan = plan_of(infer.scene, tile, halo)
        for way, join in WAYS.items():
            across, elsewhere = jumps(join(infer, plan), infer.scene.valid, plan)
            found[way].append(across)
            if way == "kept":
                found["elsewhere"].append(elsewhere)
    together = {kind: np.concatenate(parts) for kind, parts in found.items()}
    result: dict[str, Any] = {"data": name, "tile": tile, "halo": halo, "neighbours_across": together["kept"].size}
    for kind, values in together.items():  # images of one tile have no borders
        result[f"{kind}_mean"] = round(float(values.mean()), 5) if values.size else None
        result[f"{kind}_p99"] = round(float(np.percentile(values, 99)), 4) if values.size else None
    return result


def labelled_scenes(place: str) -> list[Scene]:
    """The images of ROOT:SPLIT."""
    root, split = place.rsplit(":", 1)
    files = pair_files(Path(root), split)
    rule, scenes = LabelRule.for_files(files), []
    for entry in files:
        with Sample(entry, rule) as sample:
            before, after = sample.images()
            scenes.append(Scene(entry.name, before, after, np.ones(before.shape[1:], np.bool_), sample.label()))
    return scenes


def rendered_scenes(count: int, seed: int) -> list[Scene]:
    """The first scenes from a seed up in which enough changed."""
    scenes: list[Scene] = []
    while len(scenes) < count:
        scene = SyntheticScene(seed, SIDE, SIDE)
        label = scene.truth().astype(np.bool_)
        if label.mean() >= LEAST_CHANGE:
            images = scene.render("before"), scene.render("after")
            scenes.append(Scene(str(seed), *images, np.ones((SIDE, SIDE), np.bool_), label))
        seed += 1
    return scenes


def real_pair(text: str, card: ModelCard) -> Scene:
    """NAME=BEFORE,AFTER read as `run` reads it, what is not valid filled with the card's mean colours."""
    name, paths = text.split("=", 1)
    with open_pair(*paths.split(",")) as pair:
        pixels = pair.read(Window(0, 0, pair.grid.width, pair.grid.height))
    norm = card.normalization
    for image, date in ((pixels.before, norm.before), (pixels.after, norm.after)):
        fill_invalid(image, pixels.valid, date.mean_color)
    return Scene(name, pixels.before, pixels.after, pixels.valid)


if __name__ == "__main__":
    main()
