"""The pages that are taken at their word: their blocks of commands, the files these name, and how they are run."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyogrio.raw
import rasterio
import shapely
from helpers import ROOT

from schanger_edge.synthetic import SyntheticPair, write_pair

DOCS = ROOT / "docs"
WITHOUT_OPENVINO = ROOT / "tests" / "data" / "without_openvino"
"""Python finds a sitecustomize there: `--device auto` tries nothing, as in all tests."""
NEEDS = ("gpu", "jetson", "chromium", "qgis", "network")
SHORTER = {  # all that is not run as it is written: it would take too long
    "ml-engineers": {
        "-o prior --epochs 400": "-o prior --epochs 1 --tile 64 --batch 4",
        "last.pth --epochs 200": "last.pth --epochs 1 --tile 64 --batch 4",
        "--name town\n": "--name town --tile 64\n",
        "mydata -o town.fp16.onnx": "mydata -o town.fp16.onnx --tiles 4",
        "--tiles 256": "--tiles 8",
        "--repetitions 100": "--repetitions 5 --batch 1",
        "split=val --worst": "split=val --tiles 4 --worst",
    },
    "review": {"-o reviewed": "-o reviewed --tile 64 --split 1,0,0"},
    "ground-stations": {"--once": "--once --settle 1s"},
}
_BLOCK = re.compile(
    r"^(?: *<!-- needs: (?P<needs>.*?) -->\n)?(?P<indent> *)```(?P<kind>.*)\n(?P<text>(?s:.*?))^(?P=indent)```$",
    re.MULTILINE,
)


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and what the comment just before it asks for."""

    kind: str
    text: str
    needs: str | None


def read_blocks(page: Path) -> list[Block]:
    """All fenced blocks, in order."""
    found = _BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [Block(block["kind"], textwrap.dedent(block["text"]), block["needs"]) for block in found]


def commands(page: Path) -> list[str]:
    """The blocks that are run: all of kind sh that need nothing."""
    return [block.text for block in read_blocks(page) if block.kind == "sh" and block.needs is None]


def run_block(text: str, folder: Path, shorter: Mapping[str, str] | None = None, **environment: str) -> str:
    """Run a block as a reader would who pastes it, in a folder; its standard output.

    Args:
        text: the block.
        folder: where it runs.
        shorter: what is replaced first, all that is not run as it is written.
        environment: further variables.
    """
    for written, run in (shorter or {}).items():
        text = text.replace(written, run)
    first = {"PATH": Path(sys.executable).parent, "PYTHONPATH": WITHOUT_OPENVINO}
    paths = {name: os.pathsep.join([str(path), *filter(None, [os.environ.get(name)])]) for name, path in first.items()}
    done = subprocess.run(
        ["bash", "-euc", text], cwd=folder, env={**os.environ, **paths, **environment}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{text}{done.stdout}{done.stderr}"
    return done.stdout


def fly_twice(folder: Path, side: int = 256) -> SyntheticPair:
    """Two flights, 0.25 m per pixel, in two CRSs, that lie 1.5 m apart."""
    return write_pair(folder, width=side, height=side, gsd=0.25, seed=5, after_crs="EPSG:4326", shift=(6.0, 0.0))


def lay_out_site(flights: SyntheticPair, folder: Path) -> shapely.Polygon:
    """The flights, and the client's parcel, which is returned."""
    for path in (flights.before, flights.after):
        shutil.copy(path, folder)
    with rasterio.open(flights.before) as image:
        crs, (west, south, east, north) = image.crs.to_wkt(), image.bounds
    parcel = shapely.box(west + 16, south + 16, (west + east) / 2, north - 16)
    layout = {"driver": "GPKG", "geometry_type": "Polygon", "crs": crs}
    wkb = np.array([shapely.to_wkb(parcel)])
    pyogrio.raw.write(folder / "parcel.gpkg", wkb, field_data=[], fields=[], **layout)
    return parcel


def lay_out_station(flights: SyntheticPair, folder: Path) -> None:
    """Two nights, in the inbox and beside it, and a list of them."""
    (folder / "inbox").mkdir()
    for source, night in ((flights.before, "20240501"), (flights.after, "20240601")):
        for place in (folder, folder / "inbox"):
            shutil.copy(source, place / f"{night}.tif")
    (folder / "nights.csv").write_text("before,after\n20240501.tif,20240601.tif\n")


def lay_out_training(folder: Path) -> None:
    """A labelled pair, and a picture of buildings with its mask."""
    pair = write_pair(folder, width=1024, height=1024, seed=5)
    (folder / "pairs.csv").write_text(f"before,after,label\nbefore.tif,after.tif,{pair.truth.name}\n")
    with rasterio.open(pair.before) as image, rasterio.open(pair.truth) as truth:
        for name, kind in (("images", image), ("masks", truth)):
            (folder / "buildings" / name).mkdir(parents=True)
            window = rasterio.windows.Window(512, 512, 256, 256)
            profile = {"driver": "PNG", "width": 256, "height": 256, "count": kind.count, "dtype": "uint8"}
            with rasterio.open(folder / "buildings" / name / "town.png", "w", **profile) as picture:
                picture.write(kind.read(window=window))
