"""What all benchmarks share: scenes, versions, results as JSON."""

from __future__ import annotations

import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import rasterio
from rasterio.windows import Window

import schanger_edge
from schanger_edge.host import board

RESULTS = Path(__file__).parent / "results"


def environment() -> dict[str, Any]:
    """Device and versions, for the head of every result."""
    return {
        "device": board.processor(Path("/")),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "schanger_edge": schanger_edge.__version__,
        "onnxruntime": onnxruntime.__version__,
        "rasterio": rasterio.__version__,
        "gdal": rasterio.__gdal_version__,
        "numpy": np.__version__,
    }


_PEAK = """
import atexit, pathlib
from schanger_edge.host import board
atexit.register(lambda: pathlib.Path(TOLD).write_text(str(board.peak_memory(pathlib.Path("/")))))
from schanger_edge.cli import main
main()
"""


def peak_memory(*arguments: str | Path) -> tuple[float, float]:
    """(peak resident memory in MB, wall seconds) of a `schanger-edge` command in a process of its own; needs Linux.

    The process tells by itself: what `wait4` gives of it is at least the memory of the process that started it.
    """
    with tempfile.TemporaryDirectory() as folder:
        peak = Path(folder) / "peak"
        code = f"TOLD = {str(peak)!r}\n{_PEAK}"
        began = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=False)
        seconds = time.perf_counter() - began
        if done.returncode:
            raise SystemExit(f"schanger-edge {arguments[0]} failed")
        return int(peak.read_text()) / 2**20, seconds


def official_scores(data: Sequence[str], model: Path) -> dict[str, dict[str, float]]:
    """Scores by the official protocol on each NAME=ROOT:SPLIT, for a model's card; `label_share` is that of change."""
    scores: dict[str, dict[str, float]] = {}
    for text in data:
        name, place = text.split("=", 1)
        root, split = place.rsplit(":", 1)
        result = schanger_edge.evaluate(root, split=split, model=model)
        keys = ("f1", "precision", "recall", "iou")
        counts = result.counts
        share = (counts.true_positive + counts.false_negative) / counts.total
        scores[name] = {key: round(getattr(result, key), 4) for key in keys}
        scores[name] |= {"tiles": result.tiles, "label_share": round(share, 4)}
    return scores


def repeat_scene(source: Path, target: Path, side: int, height: int | None = None, **profile: Any) -> Path:
    """Write a GeoTIFF of `side` columns and as many rows (or `height`) that repeats the pixels of a smaller one.

    Tiles of 256 with deflate, unless `profile` says otherwise.
    """
    with rasterio.open(source) as small:
        pixels = small.read()
        layout = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate", "zlevel": 1}
        layout = {**small.profile, **layout, "width": side, "height": height or side, "bigtiff": "IF_SAFER", **profile}
    across = -(-side // pixels.shape[2])
    with rasterio.open(target, "w", **layout) as large:
        for row in range(0, large.height, 256):
            first, rows = row % pixels.shape[1], min(256, large.height - row)
            part = np.tile(pixels[:, first : first + rows], across)
            large.write(part[:, :, :side], window=Window(0, row, side, rows))
    return target


def repeat_virtually(source: Path, target: Path, side: int) -> Path:
    """Write a VRT of `side` x `side` pixels that repeats a smaller image, whose blocks are read again and again."""
    with rasterio.open(source) as small:
        width, height, profile = small.width, small.height, small.profile
        t = small.transform
    place = f'<SourceFilename relativeToVRT="0">{source.absolute()}</SourceFilename>'
    lines = [f'<VRTDataset rasterXSize="{side}" rasterYSize="{side}"><SRS>{profile["crs"].to_wkt()}</SRS>']
    lines.append(f"<GeoTransform>{t.c!r}, {t.a!r}, {t.b!r}, {t.f!r}, {t.d!r}, {t.e!r}</GeoTransform>")
    for band, color in enumerate(("Red", "Green", "Blue"), 1):
        lines.append(f'<VRTRasterBand dataType="Byte" band="{band}"><ColorInterp>{color}</ColorInterp>')
        for row, col in itertools.product(range(0, side, height), range(0, side, width)):
            size = f'xSize="{width}" ySize="{height}"'
            lines.append(f"<SimpleSource>{place}<SourceBand>{band}</SourceBand>")
            lines.append(
                f'<SrcRect xOff="0" yOff="0" {size}/><DstRect xOff="{col}" yOff="{row}" {size}/></SimpleSource>'
            )
        lines.append("</VRTRasterBand>")
    target.write_text("".join(lines) + "</VRTDataset>")
    return target


def save(name: str, result: dict[str, Any]) -> None:
    """Write a result under benchmarks/results/ and print it."""
    text = json.dumps({"environment": environment(), **result}, indent=2)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(text + "\n")
    sys.stdout.write(text + "\n")
