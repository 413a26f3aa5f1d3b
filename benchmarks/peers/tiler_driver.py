"""tiler with ONNX Runtime: both dates as one array of six bands, overlapping tiles of which the middle is kept.

tiler cuts and joins arrays; reading, inference and writing are its user's. Window, padding and batches are those of its
documentation. Padding is of zeros, as the network's own.
"""

from __future__ import annotations

import numpy as np
import onnxruntime
import rasterio
from driver import BATCH, HALO, TILE, Task, imported, task
from tiler import Merger, Tiler


def run(job: Task) -> None:
    """Read, infer and write one map."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(job.model), options, providers=["CPUExecutionProvider"])
    with rasterio.open(job.before) as first, rasterio.open(job.after) as second:
        profile = first.profile
        pair = np.concatenate([first.read(), second.read()])
    tiles = Tiler(pair.shape, (6, TILE, TILE), overlap=2 * HALO, channel_dimension=0)
    shape, padding = tiles.calculate_padding()
    tiles.recalculate(data_shape=shape)
    joined = Tiler((1, *shape[1:]), (1, TILE, TILE), overlap=2 * HALO, channel_dimension=0)
    merger = Merger(joined, window="overlap-tile", save_visits=False)
    padded = np.pad(pair, padding)
    for number, batch in tiles(padded, batch_size=BATCH):
        (probability,) = session.run(None, {"before": batch[:, :3], "after": batch[:, 3:]})
        merger.add_batch(number, BATCH, probability)
    change = merger.merge(extra_padding=padding)[0] > 0.5
    with rasterio.open(job.output, "w", **(profile | {"count": 1, "dtype": "uint8", "nodata": None})) as output:
        output.write(change.astype(np.uint8), 1)


if __name__ == "__main__":
    imported("tiler", "onnxruntime", "rasterio", "numpy")
    run(task())
