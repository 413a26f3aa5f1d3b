"""Fixtures that make real GeoTIFFs and small models."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from helpers import load_benchmark
from hypothesis import settings
from rasterio.enums import ColorInterp

settings.register_profile("suite", derandomize=True, database=None, deadline=None, max_examples=60)
settings.load_profile("suite")

UTM = "EPSG:32631"
ORIGIN = (500_000.0, 4_650_000.0)


@pytest.fixture(scope="session")
def standin() -> ModuleType:
    """benchmarks/standin.py."""
    return load_benchmark("standin")


@pytest.fixture(autouse=True)
def _auto_without_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--device auto` tries nothing and keeps ONNX Runtime, whatever extra is installed here."""
    monkeypatch.setattr("schanger_edge.sessions.devices.openvino_installed", lambda: False)


@pytest.fixture
def model(standin: ModuleType, tmp_path: Path) -> Path:
    """A small model whose probability depends on pixels up to three away, within its halo."""
    standin.integer_model(tmp_path / "m.onnx", radius=3, tile=64, halo=4)
    return tmp_path / "m.onnx"


@pytest.fixture
def make_tiff(tmp_path: Path) -> Callable[..., Path]:
    """make_tiff(name, data (C, H, W), transform=, crs=, nodata=, mask=, alpha=, **creation options)."""

    def make(
        name: str,
        data: np.ndarray,
        *,
        transform: Affine | None = None,
        crs: Any = UTM,
        nodata: float | None = None,
        mask: np.ndarray | None = None,
        alpha: bool = False,
        colors: list[ColorInterp] | None = None,
        **options: Any,
    ) -> Path:
        path = tmp_path / name
        profile = {"driver": "GTiff", "count": data.shape[0], "height": data.shape[1], "width": data.shape[2]}
        if crs is not None or transform is not None:
            profile |= {"crs": crs, "transform": transform or Affine(0.5, 0, ORIGIN[0], 0, -0.5, ORIGIN[1])}
        if alpha:
            profile |= {"photometric": "RGB", "ALPHA": "YES"}
        elif data.shape[0] != 3:
            profile |= {"photometric": "MINISBLACK", "ALPHA": "NO"}
        profile |= {"dtype": data.dtype, "nodata": nodata, **options}
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **profile) as dataset:
            if colors is not None:
                dataset.colorinterp = colors
            dataset.write(data)
            if mask is not None:
                dataset.write_mask(mask)
        return path

    return make


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("only root on Linux can mount a small file system")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=False).returncode:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def ground() -> Callable[..., np.ndarray]:
    """ground(height, width, seed=0): smooth uint8 RGB (3, H, W) with detail, never 0 or 255."""

    def make(height: int, width: int, seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        rows, cols = np.mgrid[:height, :width]
        waves = [np.sin(rows / a + cols / b + c) for a, b, c in rng.uniform(3, 30, (3, 3))]
        noise = rng.normal(0, 8, (3, height, width))
        return np.clip(128 + 50 * np.stack(waves) + noise, 1, 254).astype(np.uint8)

    return make
