"""GeoDeep: what its command `geodeep IMAGE MODEL -t mask -o OUTPUT` does. Takes one image of three bands."""

from __future__ import annotations

from driver import Task, imported, task
from geodeep import segment
from geodeep.segmentation import save_mask_to_raster


def run(job: Task) -> None:
    """One map of classes."""
    mask = segment(str(job.before), str(job.model), output_type="raw")
    save_mask_to_raster(str(job.before), mask, str(job.output))


if __name__ == "__main__":
    imported("geodeep", "onnxruntime", "rasterio", "numpy")
    run(task())
