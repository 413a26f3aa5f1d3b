"""geoai's ONNXGeoModel: semantic segmentation of one image in overlapping tiles. Takes the first three bands."""

from __future__ import annotations

from driver import HALO, TILE, Task, imported, task
from geoai import ONNXGeoModel


def run(job: Task) -> None:
    """One map of classes."""
    model = ONNXGeoModel(str(job.model), task="semantic-segmentation", tile_size=TILE, overlap=HALO)
    model.predict(str(job.before), output_path=str(job.output))


if __name__ == "__main__":
    imported("geoai-py", "onnxruntime", "rasterio", "numpy")
    run(task())
