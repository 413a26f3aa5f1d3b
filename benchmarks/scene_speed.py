"""A run whose network only waits: each stage alone, all together, and the finishing of the products.

Eight pairs of side x side pixels (tiled in 256 x 256 or in strips of one row; uint8 or uint16; the second date on the
same grid or in another CRS), deflate-compressed, all valid, of rendered ground that is repeated. The session sleeps a
fixed time per batch of 8 tiles and gives a fixed map of probability; tile and halo are the bundled model's.

session: the sleeping, added up. read: the run with a session that answers at once and a sink that drops all. write: the
sink alone, which makes durable sections of both maps. together: the run, sleeping and writing. CPU seconds are of all
threads. `ratio` is wall(together) / max(session, (CPU(read) + CPU(write)) / cores). `decoded` is the bytes that `read`
took from the two files over their size: GDAL keeps no compressed bytes, so it tells how often a block was decoded.
Finishing (maps with overviews, polygons, preview, pictures of the report) comes after `together` and is not in it.
`load` is the machine's load average when a case begins and ends: above 0.5 at the beginning, something else took the
cores, and walls and ratios mean little. Needs Linux.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rasterio
from common import repeat_scene, save
from numpy.typing import NDArray
from rasterio.warp import transform_bounds

from schanger_edge.geo.grid import Window
from schanger_edge.model.bundled import model_path
from schanger_edge.model.file import read_model
from schanger_edge.products.journal import Journal
from schanger_edge.products.rasters import RasterSink
from schanger_edge.products.register import PRODUCT_NAMES
from schanger_edge.products.staging import Staging
from schanger_edge.products.thumbnail import Thumbnail
from schanger_edge.run.control import Control
from schanger_edge.run.detect import READ_THREADS
from schanger_edge.run.options import RunOptions
from schanger_edge.run.predict import COLUMN, Observers, predict, section_tiles
from schanger_edge.run.stages import Laps, Run
from schanger_edge.scene import Pair, open_pair
from schanger_edge.synthetic import write_pair
from schanger_edge.synthetic.files import Dtype, SyntheticPair
from schanger_edge.tiling.blending import Blender
from schanger_edge.tiling.plan import TilePlan, blend_of

BATCH = 8
OTHER_CRS = "EPSG:32632"
LAYOUTS: dict[str, dict[str, Any]] = {"tiled": {}, "striped": {"tiled": False, "blockxsize": None, "blockysize": 1}}
DTYPES: tuple[Dtype, ...] = ("uint8", "uint16")
CARD = read_model(model_path(None)).card


class WaitingSession:
    """See `sessions.Session`: sleeps `wait` seconds per batch."""

    card, model, model_sha256, device = CARD, Path("waiting"), "none", "a session that waits"
    slots, max_batch, best_batch = 1, None, BATCH

    def __init__(self, wait: float) -> None:
        self._wait, self.notes = wait, list[str]()
        self._probability = probability_tiles(BATCH, CARD.tile)
        self.batches = 0

    def run(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.batches += 1
        if self._wait:
            time.sleep(self._wait)
        return self._probability[: len(before)]

    def submit(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> Callable[[], NDArray[np.float32]]:
        probability = self.run(before, after)
        return lambda: probability

    def close(self) -> None:
        """Nothing is held."""


class NullSink:
    """See `sink.Sink`: drops all but the edges that are asked for."""

    def __init__(self) -> None:
        self._section: Window | None = None
        self._edges: dict[tuple[Window | None, str], Any] = {}

    def begin(self, section: Window) -> None:
        self._section = section

    def write(self, window: Window, probability: Any, valid: Any) -> None:
        """Nothing."""

    def end(self, edges: Mapping[str, Any]) -> None:
        self._edges |= {(self._section, name): edge for name, edge in edges.items()}

    def edge(self, section: Window, name: str) -> Any:
        return self._edges.pop((section, name), None)


def probability_tiles(count: int, side: int) -> NDArray[np.float32]:
    """(count, 1, side, side): smooth, low nearly everywhere, with a few areas above 0.5, as a network gives."""
    rng = np.random.default_rng(0)
    tiles = []
    for _ in range(count):
        coarse = cv2.GaussianBlur(rng.normal(size=(side, side)), None, 12)
        logits = 3 * coarse / coarse.std() - 6 + 0.1 * rng.normal(size=(side, side))
        tiles.append(1 / (1 + np.exp(-logits)))
    return np.array(tiles, np.float32)[:, None]


class CpuLaps(Laps):
    """Seconds of wall and of CPU of one stage after the other."""

    def __init__(self) -> None:
        super().__init__()
        self.stages: dict[str, dict[str, float]] = {}
        self._cpu = time.process_time()

    def __call__(self, stage: str) -> None:
        super().__call__(stage)
        now = time.process_time()
        self.stages[stage] = {"wall": round(self.seconds[stage], 3), "cpu": round(now - self._cpu, 3)}
        self._cpu = now


def measure(function: Callable[[], Any]) -> dict[str, float]:
    """Wall and CPU seconds, and bytes read from files."""
    wall, cpu, taken = time.perf_counter(), time.process_time(), _bytes_read()
    function()
    return {
        "wall": round(time.perf_counter() - wall, 3),
        "cpu": round(time.process_time() - cpu, 3),
        "bytes_read": _bytes_read() - taken,
    }


def _bytes_read() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])


def read_alone(pair: Pair, session: Any) -> None:
    """Everything before the network."""
    thumbnail = Thumbnail(pair.grid)
    predict(
        pair, session, NullSink(), batch_size=BATCH,
        observers=Observers(observe=lambda w, pixels: thumbnail.add(w, pixels.before, pixels.after, pixels.valid)),
    )  # fmt: skip


def write_alone(pair: Pair, folder: Path) -> None:
    """Sections of both maps and their edges, of the same tiles."""
    grid, tiles = pair.grid, probability_tiles(BATCH, CARD.tile)[:, 0]
    folder.mkdir()
    with Journal(folder) as journal:
        journal.begin({}, grid.width * grid.height)
        sink = RasterSink(grid, threshold=0.5, journal=journal)
        plan = TilePlan(grid.width, grid.height, CARD.tile, CARD.halo, blend_of(CARD.tile, CARD.halo))
        for section in plan.sections(section_tiles(CARD.tile), COLUMN):
            above = section.above and sink.edge(section.above, "bottom")
            left = section.left and sink.edge(section.left, "right")
            blender = Blender(section, above, left)
            sink.begin(section.window)
            for number, tile in enumerate(itertools.chain.from_iterable(section.strips())):
                valid = np.ones((tile.owned.height, tile.owned.width), np.bool_)
                sink.write(tile.owned, blender.add(tile, tiles[number % BATCH]), valid)
            sink.end(blender.edges())
        journal.discard()


def together(pair: Pair, session: Any, folder: Path) -> dict[str, dict[str, float]]:
    """A run without opening: seconds of each stage, `predict` first."""
    options = RunOptions.of(threshold=0.5, batch_size=BATCH, max_offset=math.inf)
    laps = CpuLaps()
    with Staging(folder, PRODUCT_NAMES) as staging, Journal(folder) as journal:
        run = Run(pair, session, staging, journal, options=options, control=Control(), laps=laps)
        laps.stages.clear()
        run.join_maps(*run.predict())
        run.outline()
        run.draw()
        journal.discard()
    return laps.stages


def one_case(before: Path, after: Path, folder: Path, waits: list[float]) -> dict[str, Any]:
    """All stages of one pair."""
    load = os.getloadavg()[0]
    sizes = [path.stat().st_size for path in (before, after)]
    with open_pair(before, after, threads=READ_THREADS) as pair:
        instant = WaitingSession(0)
        read = measure(lambda: read_alone(pair, instant))
        write = measure(lambda: write_alone(pair, folder / "write"))
        cores = len(os.sched_getaffinity(0))
        busy = (read["cpu"] + write["cpu"]) / cores
        runs: list[dict[str, Any]] = []
        for wait in waits:
            session = instant.batches * wait
            stages = together(pair, WaitingSession(wait), folder / "out")
            run: dict[str, Any] = {
                "wait_per_batch": wait,
                "session": round(session, 3),
                "together": stages.pop("predict"),
            }
            run["ratio"] = round(run["together"]["wall"] / max(session, busy), 3)
            runs.append({**run, "finishing": stages})
    return {
        "megabytes": [round(size / 1e6) for size in sizes], "batches": instant.batches, "read": read, "write": write,
        "cpu_over_cores": round(busy, 3), "decoded": round(read["bytes_read"] / sum(sizes), 3), "runs": runs,
        "load": [round(load, 2), round(os.getloadavg()[0], 2)],
    }  # fmt: skip


def write_scenes(
    small: SyntheticPair, folder: Path, side: int, layout: dict[str, Any], reprojected: bool
) -> tuple[Path, Path]:
    """A pair that repeats a small one; the second date covers the first in any case."""
    before = repeat_scene(small.before, folder / "before.tif", side, **layout)
    place: dict[str, Any] = {}
    height = width = side
    if reprojected:
        with rasterio.open(before) as image:
            left, bottom, right, top = transform_bounds(image.crs, OTHER_CRS, *image.bounds)
            gsd = image.res[0]
        width, height = int((right - left) / gsd) + 9, int((top - bottom) / gsd) + 9
        corner = rasterio.Affine(gsd, 0, left - 4 * gsd, 0, -gsd, top + 4 * gsd)
        place = {"crs": OTHER_CRS, "transform": corner}
    return before, repeat_scene(small.after, folder / "after.tif", width, height, **layout, **place)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=16384)
    parser.add_argument("--waits", type=float, nargs="+", default=[0.005, 0.04], help="seconds per batch")
    parser.add_argument("--cases", nargs="+", help="such as tiled-uint8-same; all where none is given")
    parser.add_argument("--name", default="scene_speed", help="of the result")
    options = parser.parse_args()
    cases = {}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        small = {dtype: write_pair(work / dtype, dtype=dtype, seed=1, nodata_wedge=False) for dtype in DTYPES}
        for layout, dtype, grid in itertools.product(LAYOUTS, DTYPES, ("same", "reprojected")):
            case = f"{layout}-{dtype}-{grid}"
            if options.cases and case not in options.cases:
                continue
            folder = work / case
            folder.mkdir()
            scenes = write_scenes(small[dtype], folder, options.side, LAYOUTS[layout], grid != "same")
            cases[case] = one_case(*scenes, folder, options.waits)
            sys.stderr.write(f"{case} {cases[case]}\n")
            shutil.rmtree(folder)
            save(options.name, {"method": __doc__, "side": options.side, "cases": cases})


if __name__ == "__main__":
    main()
