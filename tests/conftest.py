"""Fixtures that make real GeoTIFFs and small models."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

# The workers share the cores, and threads of numpy and torch that wait for work spin: before either is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from helpers import Ground, MakePair, Tiff, load_benchmark, write_tiff
from hypothesis import settings

from schanger_edge.sessions import register
from schanger_edge.sessions.engine import Auto

settings.register_profile("suite", derandomize=True, database=None, deadline=None, max_examples=60)
settings.load_profile("suite")


def pytest_configure(config: pytest.Config) -> None:
    """Not in pyproject.toml: there pytest would import rasterio, and so numpy, before this file."""
    for words in (
        "error::rasterio.errors.RasterioDeprecationWarning",
        "ignore::rasterio.errors.NotGeoreferencedWarning",
    ):
        config.addinivalue_line("filterwarnings", words)


@pytest.fixture(scope="session")
def standin() -> ModuleType:
    """benchmarks/standin.py."""
    return load_benchmark("standin")


@pytest.fixture(autouse=True)
def _auto_tries_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--device auto` keeps ONNX Runtime on the CPU, whatever is installed here."""
    engines = [
        dataclasses.replace(one, installed=lambda: False) if one.auto is Auto.IF_FASTER else one
        for one in register.ENGINES
    ]
    monkeypatch.setattr(register, "ENGINES", engines)


@pytest.fixture
def model(standin: ModuleType, tmp_path: Path) -> Path:
    """A small model whose probability depends on pixels up to three away, within its halo."""
    standin.integer_model(tmp_path / "m.onnx", radius=3, tile=64, halo=4)
    return tmp_path / "m.onnx"


@pytest.fixture
def make_tiff(tmp_path: Path) -> Tiff:
    """make_tiff(name, data (C, H, W), ...): see `helpers.write_tiff`."""

    def make(name: str, data: np.ndarray, **options: Any) -> Path:
        return write_tiff(tmp_path / name, data, **options)

    return make


@pytest.fixture
def make_pair(make_tiff: Tiff, ground: Ground) -> MakePair:
    """make_pair(height, width, ...): a.tif and b.tif of the same place, which show different ground.

    `holes` are slices of rows and columns without data in a.tif; `after` are options of b.tif alone, others of both.
    """

    def make(
        height: int, width: int, *, holes: Sequence[Any] = (), after: Mapping[str, Any] | None = None, **options: Any
    ) -> tuple[Path, Path]:
        before = ground(height, width, 1)
        for hole in holes:
            before[(slice(None), *hole)] = 0
        nodata = {"nodata": 0} if holes else {}
        a = make_tiff("a.tif", before, **nodata, **options)
        return a, make_tiff("b.tif", ground(height, width, 2), **{**options, **(after or {})})

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
def ground() -> Ground:
    """ground(height, width, seed=0): smooth uint8 RGB (3, H, W) with detail, never 0 or 255."""

    def make(height: int, width: int, seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        rows, cols = np.mgrid[:height, :width]
        waves = [np.sin(rows / a + cols / b + c) for a, b, c in rng.uniform(3, 30, (3, 3))]
        noise = rng.normal(0, 8, (3, height, width))
        return np.clip(128 + 50 * np.stack(waves) + noise, 1, 254).astype(np.uint8)

    return make
