"""Valid inputs, made once, from which each mutated one is derived."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio.raw
import rasterio
import shapely
from helpers import ORIGIN, ROOT, UTM, load_benchmark, terrain, write_tiff
from rasterio.shutil import copy as gdal_copy
from rasterio.vrt import WarpedVRT

from schanger_edge import detect
from schanger_edge.errors import StoppedError

SIDE = 96
GEOTIFFS: dict[str, dict[str, Any]] = {
    "none": {}, "deflate": {"compress": "deflate", "predictor": 2, "tiled": True, "blockxsize": 32, "blockysize": 32},
    "lzw": {"compress": "lzw"}, "packbits": {"compress": "packbits"}, "zstd": {"compress": "zstd"},
    "jpeg": {"compress": "jpeg", "photometric": "ycbcr"}, "big": {"BIGTIFF": "YES", "interleave": "band"},
    "nodata": {"nodata": 0, "compress": "deflate"}, "sparse": {"SPARSE_OK": True, "tiled": True},
}  # fmt: skip
FORMATS = {"png": "PNG", "jpg": "JPEG", "img": "HFA", "jp2": "JP2OpenJPEG"}
VECTORS = {
    "geojson": "GeoJSON", "gpkg": "GPKG", "fgb": "FlatGeobuf", "shp": "ESRI Shapefile", "kml": "KML", "gml": "GML",
}  # fmt: skip


def make(folder: Path, *, trained: bool) -> None:
    """All of them, below an empty folder; weights and a training, which need torch, where that is asked for."""
    models = load_benchmark("standin")
    models.integer_model(folder / "m.onnx", radius=1, tile=64, halo=4)
    _images(folder / "images")
    _vrts(folder / "vrts", folder / "images")
    _areas(folder / "areas")
    _unfinished(folder)
    _station(folder)
    if trained:
        _checkpoint(folder)


def pixels(date: int, height: int = SIDE, width: int = SIDE) -> Any:
    """uint8 RGB (3, H, W) of one of two dates."""
    return terrain(height, width, seed=7, at=(0.0, 0.0)) if date == 1 else terrain(height, width, seed=8)


def _images(folder: Path) -> None:
    """a.NAME.SUFFIX and b.NAME.SUFFIX: the two dates in many forms."""
    for date, letter in enumerate("ab", 1):
        data = pixels(date)
        for name, options in GEOTIFFS.items():
            write_tiff(folder / f"{letter}.{name}.tif", data, **options)
        write_tiff(folder / f"{letter}.uint16.tif", data.astype(np.uint16) * 40, compress="deflate", predictor=2)
        write_tiff(folder / f"{letter}.float.tif", data.astype(np.float32), compress="lzw", predictor=3)
        write_tiff(folder / f"{letter}.mask.tif", data, mask=(data[0] > 90).astype(np.uint8) * 255)
        alpha = np.concatenate([data, np.where(data[:1] > 90, 255, 0).astype(np.uint8)])
        write_tiff(folder / f"{letter}.alpha.tif", alpha, alpha=True)
        with rasterio.open(write_tiff(folder / f"{letter}.overviews.tif", data, tiled=True), "r+") as dataset:
            dataset.build_overviews([2, 4])
        with rasterio.open(write_tiff(folder / f"{letter}.palette.tif", data[:1] // 16), "r+") as dataset:
            dataset.write_colormap(1, {number: (number * 16, 255 - number, 7, 255) for number in range(256)})
        for suffix, driver in FORMATS.items():
            gdal_copy(folder / f"{letter}.none.tif", folder / f"{letter}.{suffix}.{suffix}", driver=driver)


def _vrts(folder: Path, images: Path) -> None:
    folder.mkdir()
    for letter in "ab":
        with rasterio.open(images / f"{letter}.deflate.tif") as dataset:
            gdal_copy(dataset, folder / f"{letter}.plain.vrt", driver="VRT")
            with WarpedVRT(dataset, crs="EPSG:3857") as warped:
                gdal_copy(warped, folder / f"{letter}.warped.vrt", driver="VRT")
        nested = (folder / f"{letter}.plain.vrt").read_text().replace(f"{letter}.deflate.tif", f"{letter}.plain.vrt")
        (folder / f"{letter}.nested.vrt").write_text(nested.replace("../images/", ""))


def _areas(folder: Path) -> None:
    folder.mkdir()
    left, top = ORIGIN
    shapes = [shapely.box(left + 5, top - 40, left + 30, top - 5), shapely.Point(left + 30, top - 30).buffer(9)]
    wkb = np.array([shapely.to_wkb(shape) for shape in shapes], object)
    for suffix, driver in VECTORS.items():
        pyogrio.raw.write(
            folder / f"area.{suffix}", wkb, [np.array([1, 2])], ["n"], driver=driver, crs=UTM, geometry_type="Polygon"
        )


def _unfinished(folder: Path) -> None:
    """A run of two sections that was stopped after the first."""
    run = folder / "run"
    for date, letter in enumerate("ab", 1):
        write_tiff(run / f"{letter}.tif", pixels(date, 560, 460), compress="deflate")
    sections = itertools.count()
    try:
        detect(
            run / "a.tif", run / "b.tif", run / "out",
            model=str(folder / "m.onnx"), device="cpu", threads=1, stop=lambda: next(sections) > 0,
        )  # fmt: skip
    except StoppedError:
        return
    raise AssertionError("the run was to be stopped")


def _station(folder: Path) -> None:
    """A watch that has published a pair, put a file aside and has a scene more to look at."""
    inbox = folder / "watch" / "inbox"
    for day in (1, 2):
        write_tiff(inbox / f"s_2024050{day}.tif", pixels(day))
    (inbox / "bad.tif").write_text("no image")
    _made(watch_once(folder / "watch", folder / "m.onnx"))
    write_tiff(inbox / "s_20240503.tif", pixels(1))


def watch_once(folder: Path, model: Path) -> list[str]:
    """The command of a watch over `inbox`, with its output in `out`."""
    command = ["watch", str(folder / "inbox"), "-o", str(folder / "out"), "--once", "--settle", "0.02"]
    return [*command, "--min-free", "0", "--model", str(model), "--device", "cpu", "--threads", "1"]


def run_main(arguments: list[str]) -> int:
    """The exit code of the command line, which is called in this process."""
    from schanger_edge.cli import main

    sys.argv = ["schanger-edge", *arguments]
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def _made(arguments: list[str]) -> None:
    if code := run_main(arguments):
        raise AssertionError(f"exit code {code}: {arguments}")


def _checkpoint(folder: Path) -> None:
    """Weights as torch saves them, and a training of one step."""
    import torch

    sys.path.append(str(ROOT / "tests" / "data"))
    import deterministic_weights as weights

    state = {name: torch.from_numpy(array) for name, array in weights.make(weights.table("small")).items()}
    torch.save({"state_dict": state, "card": {"name": "x", "dataset": "d", "gsd": 0.5}}, folder / "weights.pth")
    norm = {"mean": [0.4, 0.4, 0.4], "std": [0.2, 0.2, 0.2]}
    (folder / "norm.json").write_text(json.dumps(norm))
    data = folder / "data"
    for split in ("train", "val"):
        for number in range(2):
            for date, name in enumerate(("A", "B"), 1):
                _png(data / split / name / f"{number}.png", pixels(date, 64, 64))
            label = np.zeros((1, 64, 64), np.uint8)
            label[:, 10:30, 20:50] = 255
            _png(data / split / "label" / f"{number}.png", label)
    train = (
        f"train {data} -o {folder / 'training'} --from-scratch --size small --tile 64 --batch 2 --epochs 1 --threads 1"
    )
    normalized = ["--normalization", str(folder / "norm.json"), "--eval-interval", "1", "--warmup-epochs", "0"]
    run_main([*train.split(), "--device", "cpu", *normalized])


def _png(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_tiff(path, data, crs=None, driver="PNG")
