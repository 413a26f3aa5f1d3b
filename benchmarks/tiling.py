"""Tile, halo and joining: accuracy on whole labelled images, cost, and seams on real pairs, with the bundled weights.

`python benchmarks/tiling.py levir/val=ROOT:val --pair NAME=BEFORE,AFTER ...`

Every image is cut as `run` cuts it, for each tile and halo. The same tiles are joined in two ways: each tile's core is
kept (as `run` does), or overlapping tiles are blended with weights that fall linearly over the overlap. Labelled images
are those of the data sets given and rendered scenes that no training saw (seeds from --seed, 0.5 m, at least 1 %
change); one confusion matrix per data set, change = probability > 0.5. For each tile size the same weights are exported
anew.

Cost: pixels that enter the network per pixel of these images, where the last tile shifts in, and of a large scene,
(tile / (tile - 2 halo))^2; CPU seconds of inference, of all threads, per megapixel of these images.

Seams, on the labelled data and, at tile 256, on the pairs: jumps |p(x + 1) - p(x)| between neighbours along both axes,
across the borders of the cores and elsewhere, mean and 99th percentile; beside them those across the same borders in
the blended map, which tells how much of a jump is what lies there.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import save
from numpy.typing import NDArray
from stitching import Scene, Stitched, jumps, stitch

from schanger_edge.grid import Window
from schanger_edge.model_card import ModelCard
from schanger_edge.scene import open_pair
from schanger_edge.scene.layouts import pair_files
from schanger_edge.scene.samples import LabelRule, Sample
from schanger_edge.scores import Counts
from schanger_edge.sessions import open_session
from schanger_edge.synthetic import SyntheticScene
from schanger_edge.tiling import TilePlan, fill_invalid
from schanger_export.to_onnx import export
from schanger_export.weights import resolve

TILES, HALOS, PAIR_TILE = (256, 384, 512), (0, 16, 32, 48, 64), 256
THRESHOLD, SIDE, LEAST_CHANGE = 0.5, 1024, 0.01
WEIGHTS = "schanger-small"

DataSets = dict[str, list[Scene]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", help="NAME=ROOT:SPLIT")
    parser.add_argument("--pair", action="append", default=[], help="NAME=BEFORE,AFTER, without labels")
    parser.add_argument("--rendered", type=int, default=3, help="rendered scenes")
    parser.add_argument("--seed", type=int, default=700_000, help="of the first rendered scene")
    options = parser.parse_args()
    labelled = {name: labelled_scenes(place) for name, place in (text.split("=", 1) for text in options.data)}
    labelled["rendered"] = rendered_scenes(options.rendered, options.seed)
    rows: list[dict[str, Any]] = []
    seams: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for tile in TILES:
            model = Path(folder) / f"{tile}.onnx"
            sha256 = export(resolve(WEIGHTS), "small", model, tile=tile, halo=0).sha256
            with open_session(model) as session:
                pairs = [real_pair(text, session.card) for text in options.pair] if tile == PAIR_TILE else []
                for halo in HALOS:
                    row, found = measured(session, labelled, pairs, tile, halo)
                    rows.append(row)
                    seams += found
                    head = {"method": __doc__, "weights": WEIGHTS, "exported_sha256": sha256}
                    images = {name: [scene.name for scene in scenes] for name, scenes in labelled.items()}
                    save("tiling", {**head, "images": images, "rows": rows, "seams": seams})


def measured(
    session: Any, labelled: DataSets, pairs: Sequence[Scene], tile: int, halo: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """One row of the table, and its seams."""
    row: dict[str, Any] = {"tile": tile, "halo": halo}
    seams, tiles, pixels, seconds = [], 0, 0, 0.0
    for name, scenes in labelled.items():
        results = [stitch(session, scene, plan_of(scene, tile, halo)) for scene in scenes]
        for way in ("kept", "blended"):
            maps = [getattr(result, way) for result in results]
            row[f"{name} f1 {way}"] = round(f1(scenes, maps), 4)
            row[f"{name} f1 {way} by image"] = [round(f1([s], [m]), 4) for s, m in zip(scenes, maps, strict=True)]
        tiles, seconds = tiles + sum(r.tiles for r in results), seconds + sum(r.seconds for r in results)
        pixels += sum(scene.valid.size for scene in scenes)
        seams.append({"data": name, "tile": tile, "halo": halo, **seam(scenes, results, tile, halo)})
    row["tiles"] = tiles
    row["network_pixels_per_pixel"] = round(tiles * tile**2 / pixels, 3)
    row["network_pixels_per_pixel_large_scene"] = round((tile / (tile - 2 * halo)) ** 2, 3)
    row["cpu_seconds_per_megapixel"] = round(seconds / pixels * 1e6, 2)
    for scene in pairs:
        result = stitch(session, scene, plan_of(scene, tile, halo))
        seams.append({"data": scene.name, "tile": tile, "halo": halo, **seam([scene], [result], tile, halo)})
    return row, seams


def plan_of(scene: Scene, tile: int, halo: int) -> TilePlan:
    return TilePlan(scene.valid.shape[1], scene.valid.shape[0], tile, halo)


def f1(scenes: Sequence[Scene], maps: Sequence[NDArray[np.float32]]) -> float:
    """Of all pixels together."""
    counts = Counts()
    for scene, probability in zip(scenes, maps, strict=True):
        assert scene.label is not None
        counts += Counts.of(probability > THRESHOLD, scene.label)
    return counts.f1


def seam(scenes: Sequence[Scene], results: Sequence[Stitched], tile: int, halo: int) -> dict[str, Any]:
    """Mean and 99th percentile of the jumps across the borders of cores, elsewhere, and there in the blended map."""
    found: dict[str, list[NDArray[np.float32]]] = {"across": [], "elsewhere": [], "blended_across": []}
    for scene, result in zip(scenes, results, strict=True):
        plan = plan_of(scene, tile, halo)
        across, elsewhere = jumps(result.kept, scene.valid, plan)
        blended, _ = jumps(result.blended, scene.valid, plan)
        for values, all_of in zip((across, elsewhere, blended), found.values(), strict=True):
            all_of.append(values)
    together = {name: np.concatenate(parts) for name, parts in found.items()}
    result = {"neighbours_across": together["across"].size}
    for name, values in together.items():
        result[f"{name}_mean"] = round(float(values.mean()), 5)
        result[f"{name}_p99"] = round(float(np.percentile(values, 99)), 4)
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
