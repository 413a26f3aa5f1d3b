"""What all benchmarks share: scenes, versions, results as JSON."""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import rasterio
from rasterio.windows import Window

import schanger_edge

RESULTS = Path(__file__).parent / "results"


def environment() -> dict[str, Any]:
    """Device and versions, for the head of every result."""
    return {
        "device": cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "schanger_edge": schanger_edge.__version__,
        "onnxruntime": onnxruntime.__version__,
        "rasterio": rasterio.__version__,
        "gdal": rasterio.__gdal_version__,
        "numpy": np.__version__,
    }


def cpu_name() -> str:
    """The processor as Linux names it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def repeat_scene(source: Path, target: Path, side: int) -> Path:
    """Write a `side` x `side` GeoTIFF that repeats the pixels of a smaller one, block by block."""
    with rasterio.open(source) as small:
        pixels, profile = small.read(), small.profile
    profile.update(width=side, height=side, tiled=True, blockxsize=256, blockysize=256, compress="deflate", zlevel=1)
    with rasterio.open(target, "w", **profile) as large:
        for row in range(0, side, pixels.shape[1]):
            for col in range(0, side, pixels.shape[2]):
                height, width = min(pixels.shape[1], side - row), min(pixels.shape[2], side - col)
                large.write(pixels[:, :height, :width], window=Window(col, row, width, height))
    return target


def save(name: str, result: dict[str, Any]) -> None:
    """Write a result under benchmarks/results/ and print it."""
    text = json.dumps({"environment": environment(), **result}, indent=2)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(text + "\n")
    sys.stdout.write(text + "\n")
