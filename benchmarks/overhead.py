"""CPU time of our stream against a bare rasterio + ONNX Runtime loop, on one pair, interleaved.

Both read two 4096 x 4096 tiled, compressed GeoTIFFs of one grid and run the timing stand-in on the same tiles with the
same batch. The bare loop is what one would write by hand: it writes one map of probability; no validity, no threads of
its own, no checks, nothing to resume from. Ours writes durable sections of both maps. CPU time is that of the whole
process, all threads; models and files are opened inside the time. Joining the sections to the two maps with overviews
is timed apart; other products are in neither. Needs the `quantize` extra.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import rasterio
from common import repeat_scene, save
from standin import timing_model

from schanger_edge.products.journal import Journal
from schanger_edge.products.rasters import RasterSink
from schanger_edge.run.predict import predict
from schanger_edge.scene import open_pair
from schanger_edge.sessions import open_session
from schanger_edge.synthetic import write_pair
from schanger_edge.tiling.plan import TilePlan

TILE, HALO, BATCH = 256, 16, 8
CREATION = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate", "zlevel": 1, "predictor": 2}


def bare(before: Path, after: Path, model: Path, target: Path) -> None:
    """The loop one would write by hand."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    with rasterio.open(before) as first, rasterio.open(after) as second:
        profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "nodata": 255, "crs": first.crs}
        profile |= {"width": first.width, "height": first.height, "transform": first.transform}
        tiles = [tile for strip in TilePlan(first.width, first.height, TILE, HALO).strips() for tile in strip]
        with rasterio.open(target, "w", **profile, **CREATION) as output:
            for start in range(0, len(tiles), BATCH):
                part = tiles[start : start + BATCH]
                windows = [tile.window.rasterio for tile in part]
                a = np.stack([first.read(window=window) for window in windows])
                b = np.stack([second.read(window=window) for window in windows])
                (probability,) = session.run(None, {"before": a, "after": b})
                for tile, p in zip(part, probability[:, 0], strict=True):
                    owned = p[tile.owned.slices_in(tile.window)]
                    values = np.rint(owned * 254).astype(np.uint8)
                    output.write(values, 1, window=tile.owned.rasterio)


def ours(before: Path, after: Path, model: Path, folder: Path) -> None:
    """The product's own stream into sections, without what follows it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    with (
        open_pair(before, after) as pair,
        open_session(model) as session,
        Journal(folder) as journal,
    ):
        journal.begin({}, pair.grid.width * pair.grid.height)
        predict(pair, session, RasterSink(pair.grid, threshold=0.5, journal=journal), batch_size=BATCH)


def join(before: Path, after: Path, model: Path, folder: Path) -> None:
    """The sections that `ours` left to two maps."""
    with open_pair(before, after) as pair, Journal(folder, resume=True) as journal:
        journal.begin({}, pair.grid.width * pair.grid.height)
        sink = RasterSink(pair.grid, threshold=0.5, journal=journal)
        sink.finish(folder / "probability.tif", folder / "change.tif")


def measure(function: Callable[..., None], *arguments: Path) -> tuple[float, float]:
    """(CPU seconds of the process, wall seconds)."""
    cpu, wall = time.process_time(), time.perf_counter()
    function(*arguments)
    return time.process_time() - cpu, time.perf_counter() - wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    times: dict[str, list[tuple[float, float]]] = {"bare": [], "ours": [], "join": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "timing.onnx"
        timing_model(model, tile=TILE, halo=HALO)
        scene = write_pair(folder / "scene", width=2048, height=2048, seed=1, nodata_wedge=False)
        pair = [repeat_scene(p, folder / p.name, options.side) for p in (scene.before, scene.after)]
        for run in range(options.runs + 1):
            for label, function, target in (("bare", bare, "bare.tif"), ("ours", ours, "ours"), ("join", join, "ours")):
                result = measure(function, *pair, model, folder / target)
                if run:  # the first of each warms caches and libraries
                    times[label].append(result)
        with rasterio.open(folder / "bare.tif") as a, rasterio.open(folder / "ours" / "probability.tif") as b:
            equal = bool((a.read() == b.read()).all())
    ratios = [o[0] / b[0] for o, b in zip(times["ours"], times["bare"], strict=True)]
    save(
        "overhead",
        {
            "method": __doc__,
            "side": options.side,
            "runs": options.runs,
            "same_pixels": equal,
            "cpu_seconds": {k: [round(cpu, 3) for cpu, _ in v] for k, v in times.items()},
            "wall_seconds": {k: [round(wall, 3) for _, wall in v] for k, v in times.items()},
            "cpu_ratio_median": statistics.median(ratios),
            "cpu_ratio_range": [min(ratios), max(ratios)],
            "wall_ratio_median": statistics.median(
                o[1] / b[1] for o, b in zip(times["ours"], times["bare"], strict=True)
            ),
        },
    )


if __name__ == "__main__":
    main()
