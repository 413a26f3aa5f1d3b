"""Tile, halo and joining: accuracy on whole labelled images, cost, and seams on real pairs, with the bundled weights.

`python benchmarks/tiling.py levir/val=ROOT:val --pair NAME=BEFORE,AFTER ...`

Every image is cut as `run` cuts it, for each tile and halo. The same tiles are joined in three ways: each tile's core
is kept; neighbours are blended over half a halo on either side of the border of their cores (as `run` does); or wide,
over a whole halo, to the very edge of the tiles. Labelled images are those of the data sets given and rendered scenes
that no training saw (seeds from --seed, 0.5 m, at least 1 % change); one confusion matrix per data set, change =
probability > 0.5. For each tile size the same weights are exported anew.

Cost: pixels that enter the network per pixel of these images, where the last tile shifts in, and of a large scene,
(tile / (tile - 2 halo))^2; CPU seconds of inference per megapixel of these images: tiles times the seconds of one, the
median of interleaved runs of the three sizes with one thread. Of images that the network was trained on, scores tell
the loss from one row to the next, not the accuracy.

Seams, on the labelled data and, at tile 256 and halos 0, 32 and 64, on the pairs: jumps |p(x + 1) - p(x)| between
neighbours along both axes, of each way's map, across the borders of the cores and elsewhere, mean and 99th percentile.
Where the ways differ nowhere but along the borders, jumps elsewhere are those of the kept map, which has no ramps.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
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
from schanger_edge.sessions import open_session
from schanger_edge.synthetic import SyntheticScene
from schanger_edge.tiling.plan import TilePlan, blend_of, fill_invalid
from schanger_export import to_onnx
from schanger_export.checkpoints import weights_sha256
from schanger_export.weights import resolve

TILES, HALOS = (256, 384, 512), (0, 16, 32, 64)
PAIR_TILE, PAIR_HALOS = 256, (0, 32, 64)
ROUNDS = 7
THRESHOLD, SIDE, LEAST_CHANGE = 0.5, 1024, 0.01
WEIGHTS = "schanger-small"

Images = Sequence[tuple[Scene, Inference]]
Join = Callable[[Inference, TilePlan], NDArray[np.float32]]
WAYS: dict[str, Join] = {
    "kept": keep_cores,
    "blended": blend,
    "wide": lambda infer, plan: blend(
        infer, dataclasses.replace(plan, blend=min(plan.halo, plan.tile // 2 - plan.halo))
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", help="NAME=ROOT:SPLIT")
    parser.add_argument("--pair", action="append", default=[], help="NAME=BEFORE,AFTER, without labels")
    parser.add_argument("--rendered", type=int, default=2, help="rendered scenes")
    parser.add_argument("--device", default="auto", help="of a CPU, as for `schanger-edge run`")
    parser.add_argument("--seed", type=int, default=700_000, help="of the first rendered scene")
    options = parser.parse_args()
    labelled = {name: labelled_scenes(place) for name, place in (text.split("=", 1) for text in options.data)}
    if options.rendered:
        labelled["rendered"] = rendered_scenes(options.rendered, options.seed)
    with tempfile.TemporaryDirectory() as folder:
        models, differences = exported(Path(folder))
        head = {"method": __doc__, "weights_sha256": weights_sha256(resolve(WEIGHTS))}
        head["images"] = {name: [scene.name for scene in scenes] for name, scenes in labelled.items()}
        head["largest_difference_from_double_precision"] = differences
        head["cpu_seconds_per_tile"] = tile_seconds(models, next(iter(labelled.values()))[0], options.device)
        measure(models, labelled, options.pair, head, options.device)


def measure(
    models: Mapping[int, Path],
    labelled: Mapping[str, Sequence[Scene]],
    pairs: Sequence[str],
    head: dict[str, Any],
    device: str,
) -> None:
    """Every row of the table and its seams, saved as they come."""
    rows: list[dict[str, Any]] = []
    seams: list[dict[str, Any]] = []
    for tile, model in models.items():
        with open_session(model, device) as session:
            head["device"] = session.device
            data = {name: [(scene, Inference(session, scene)) for scene in images] for name, images in labelled.items()}
            real = [real_pair(text, session.card) for text in pairs] if tile == PAIR_TILE else []
            alone = {scene.name: [(scene, Inference(session, scene))] for scene in real}
            for halo in HALOS:
                rows.append(row(data, tile, halo, head["cpu_seconds_per_tile"][tile]))
                shown = {**data, **alone} if halo in PAIR_HALOS else data
                seams += [seam(name, images, tile, halo) for name, images in shown.items()]
                save("tiling", {**head, "rows": rows, "seams": seams})


def exported(folder: Path) -> tuple[dict[int, Path], dict[int, float]]:
    """A model file for each tile size, and its largest difference from double precision."""
    models = {tile: folder / f"{tile}.onnx" for tile in TILES}
    reports = {tile: to_onnx.export(resolve(WEIGHTS), "small", model, tile=tile) for tile, model in models.items()}
    return models, {tile: round(report.largest_difference, 6) for tile, report in reports.items()}


def tile_seconds(models: Mapping[int, Path], scene: Scene, device: str) -> dict[int, float]:
    """CPU seconds of one tile by its size, see the method."""
    found: dict[int, list[float]] = {tile: [] for tile in models}
    with contextlib.ExitStack() as stack:
        sessions = {tile: stack.enter_context(open_session(model, device, 1)) for tile, model in models.items()}
        for _ in range(ROUNDS):
            for tile, session in sessions.items():
                dates = (date[None, :, :tile, :tile] for date in (scene.before, scene.after))
                began = time.process_time()
                session.run(*dates)
                found[tile].append(time.process_time() - began)
    return {tile: round(statistics.median(values), 3) for tile, values in found.items()}


def row(data: Mapping[str, Images], tile: int, halo: int, seconds: float) -> dict[str, Any]:
    """One row of the table: F1 by data set and way of joining, and cost; `seconds` are those of a tile."""
    result: dict[str, Any] = {"tile": tile, "halo": halo}
    tiles = pixels = 0
    for name, images in data.items():
        for way, join in WAYS.items():
            maps = [join(infer, plan_of(scene, tile, halo)) for scene, infer in images]
            counts = [Counts.of(p > THRESHOLD, scene.label) for p, (scene, _) in zip(maps, images, strict=True)]
            result[f"{name} f1 {way}"] = round(sum(counts, Counts()).f1, 4)
            result[f"{name} f1 {way} by image"] = [round(own.f1, 4) for own in counts]
        tiles += sum(len(plan_of(scene, tile, halo)) for scene, _ in images)
        pixels += sum(scene.valid.size for scene, _ in images)
    result["tiles"] = tiles
    result["network_pixels_per_pixel"] = round(tiles * tile**2 / pixels, 3)
    result["network_pixels_per_pixel_large_scene"] = round((tile / (tile - 2 * halo)) ** 2, 3)
    result["cpu_seconds_per_megapixel"] = round(tiles * seconds / pixels * 1e6, 2)
    return result


def plan_of(scene: Scene, tile: int, halo: int) -> TilePlan:
    return TilePlan(scene.valid.shape[1], scene.valid.shape[0], tile, halo, blend_of(tile, halo))


def seam(name: str, images: Images, tile: int, halo: int) -> dict[str, Any]:
    """Mean and 99th percentile of the jumps across the borders of cores, by way of joining, and elsewhere."""
    found: dict[str, list[NDArray[np.float32]]] = {way: [] for way in [*WAYS, "elsewhere"]}
    for scene, infer in images:
        plan = plan_of(scene, tile, halo)
        for way, join in WAYS.items():
            across, elsewhere = jumps(join(infer, plan), scene.valid, plan)
            found[way].append(across)
            if way == "kept":
                found["elsewhere"].append(elsewhere)
    together = {kind: np.concatenate(parts) for kind, parts in found.items()}
    result = {"data": name, "tile": tile, "halo": halo, "neighbours_across": together["kept"].size}
    for kind, values in together.items():
        result[f"{kind}_mean"] = round(float(values.mean()), 5)
        result[f"{kind}_p99"] = round(float(np.percentile(values, 99)), 4)
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
