"""schanger-edge: the command `run` with all its products or, with `--maps`, its two maps alone.

`--maps` stands for what the other tools do, read + infer + write, but still checks the grid and keeps a journal to
resume from. Further options go to `run`.
"""

from __future__ import annotations

import shutil
import sys

from driver import Task, imported, task

from schanger_edge.cli import main
from schanger_edge.products import CHANGE, PROBABILITY
from schanger_edge.products.journal import Journal
from schanger_edge.products.rasters import RasterSink
from schanger_edge.run.detect import READ_THREADS
from schanger_edge.run.predict import predict
from schanger_edge.scene import open_pair
from schanger_edge.sessions import open_session


def maps(job: Task) -> None:
    """probability.tif and change.tif, both Cloud-Optimized."""
    folder = job.output.with_suffix("")
    folder.mkdir()
    with (
        open_pair(job.before, job.after, threads=READ_THREADS) as pair,
        open_session(job.model) as session,
        Journal(folder) as journal,
    ):
        journal.begin({}, pair.grid.width * pair.grid.height)
        sink = RasterSink(pair.grid, threshold=0.5, journal=journal)
        predict(pair, session, sink, batch_size=session.best_batch)
        sink.finish(folder / PROBABILITY, folder / CHANGE)
    shutil.move(folder / CHANGE, job.output)


def run(job: Task) -> None:
    """All products, as from a shell."""
    folder = job.output.with_suffix("")
    sys.argv = ["schanger-edge", "run", str(job.before), str(job.after), "-o", str(folder), "--model", str(job.model)]
    sys.argv += job.options
    try:
        main()
    except SystemExit as ended:
        if ended.code:
            raise
    shutil.move(folder / CHANGE, job.output)


if __name__ == "__main__":
    imported("schanger-edge", "onnxruntime", "rasterio", "numpy")
    job = task()
    maps(job) if job.options == ["--maps"] else run(job)
