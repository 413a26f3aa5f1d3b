"""The loop one would write by hand, the floor: windows of one or two dates, ONNX Runtime, the cores of tiles written.

`--dates 1` takes the first image alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import rasterio
from driver import BATCH, HALO, TILE, Task, imported, task
from rasterio.windows import Window


def spans(length: int) -> list[tuple[int, int, int]]:
    """(first pixel of the tile, first and last + 1 of its core) along one axis; the last tile shifts in."""
    starts = [*range(0, length - TILE, TILE - 2 * HALO), length - TILE]
    ends = [start + TILE - HALO for start in starts[:-1]] + [length]
    return list(zip(starts, [0, *ends], ends, strict=False))


def predict(session: onnxruntime.InferenceSession, images: list[rasterio.DatasetReader]) -> Iterator[tuple]:
    """(window, change) of the core of each tile."""
    names = [port.name for port in session.get_inputs()]
    rows, cols = spans(images[0].height), spans(images[0].width)
    tiles = [(row, col) for row in rows for col in cols]
    for first in range(0, len(tiles), BATCH):
        batch = tiles[first : first + BATCH]
        windows = [Window(col[0], row[0], TILE, TILE) for row, col in batch]
        pixels = [np.stack([image.read(window=window) for window in windows]) for image in images]
        (probability,) = session.run(None, dict(zip(names, pixels, strict=True)))
        for (row, col), tile in zip(batch, probability[:, 0], strict=True):
            core = tile[row[1] - row[0] : row[2] - row[0], col[1] - col[0] : col[2] - col[0]]
            yield Window(col[1], row[1], col[2] - col[1], row[2] - row[1]), core > 0.5


def run(job: Task, paths: list[Path]) -> None:
    """Read, infer and write one map."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(job.model), options, providers=["CPUExecutionProvider"])
    images = [rasterio.open(path) for path in paths]
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "width": images[0].width, "height": images[0].height}
    profile |= {"crs": images[0].crs, "transform": images[0].transform, "compress": "deflate", "zlevel": 1}
    with rasterio.open(job.output, "w", **profile, tiled=True, blockxsize=256, blockysize=256) as output:
        for window, change in predict(session, images):
            output.write(change.astype(np.uint8), 1, window=window)


if __name__ == "__main__":
    imported("onnxruntime", "rasterio", "numpy")
    job = task()
    run(job, [job.before] if job.options == ["--dates", "1"] else [job.before, job.after])
