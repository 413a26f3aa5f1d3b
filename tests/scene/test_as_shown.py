"""Images are read as viewers show them: upright, white where white is meant, and nowhere where no place is given."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from affine import Affine
from helpers import Ground, Tiff

from schanger_edge.datasets.layouts import LabelledFiles
from schanger_edge.datasets.samples import LabelRule, Sample
from schanger_edge.errors import SceneError
from schanger_edge.geo.grid import Window
from schanger_edge.scene import open_pair

STORED: dict[int, Any] = {
    1: lambda shown: shown,
    2: lambda shown: shown[:, ::-1],
    3: lambda shown: shown[::-1, ::-1],
    4: lambda shown: shown[::-1],
    5: lambda shown: shown.swapaxes(0, 1),
    6: np.rot90,
    7: lambda shown: shown[::-1, ::-1].swapaxes(0, 1),
    8: lambda shown: np.rot90(shown, -1),
}


def write_jpeg(path: Path, shown: np.ndarray, code: int) -> Path:
    """(C, H, W) stored so that EXIF's orientation turns it back."""
    stored = np.ascontiguousarray(STORED[code](shown[::-1].transpose(1, 2, 0)))
    data = cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHH", 274, 3, 1, code, 0) + b"\0" * 4
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:])
    return path


def write_with_exif(path: Path, make_tiff: Tiff, shown: np.ndarray, code: int) -> Path:
    """(C, H, W) as a PNG or a WebP without loss, stored so that EXIF's orientation turns it back."""
    driver = path.suffix[1:].upper()
    stored = np.ascontiguousarray(STORED[code](shown.transpose(1, 2, 0)).transpose(2, 0, 1))
    lossless = {"lossless": True} if driver == "WEBP" else {}
    data = make_tiff(path.name, stored, crs=None, driver=driver, **lossless).read_bytes()
    exif = b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHIHH", 274, 3, 1, code, 0) + b"\0" * 4
    if driver == "PNG":
        at, body = data.index(b"IDAT") - 4, b"eXIf" + exif
        chunk = struct.pack(">I", len(exif)) + body + struct.pack(">I", zlib.crc32(body))
        path.write_bytes(data[:at] + chunk + data[at:])
    else:
        body = data[8:] + b"EXIF" + struct.pack("<I", len(exif)) + exif
        path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


def write_turned_bigtiff(path: Path, make_tiff: Tiff, shown: np.ndarray, code: int) -> Path:
    """As `write_turned_tiff`, with 64-bit offsets."""
    stored = np.ascontiguousarray(STORED[code](shown.transpose(1, 2, 0)).transpose(2, 0, 1))
    file = make_tiff(path.name, stored, crs=None, interleave="pixel", bigtiff="YES")
    entry = struct.pack("<HHQHHI", 284, 3, 1, 1, 0, 0)
    raw = file.read_bytes()
    assert raw.count(entry) == 1
    file.write_bytes(raw.replace(entry, struct.pack("<HHQHHI", 274, 3, 1, code, 0, 0)))
    return file


def write_turned_tiff(path: Path, make_tiff: Tiff, shown: np.ndarray, code: int) -> Path:
    """(C, H, W) as a plain TIFF whose tag 274, put where the planar configuration (1 by default) stood, turns it."""
    stored = np.ascontiguousarray(STORED[code](shown.transpose(1, 2, 0)).transpose(2, 0, 1))
    file = make_tiff(path.name, stored, crs=None, interleave="pixel")
    entry = struct.pack("<HHIHH", 284, 3, 1, 1, 0)
    raw = file.read_bytes()
    assert raw.count(entry) == 1
    file.write_bytes(raw.replace(entry, struct.pack("<HHIHH", 274, 3, 1, code, 0)))
    return file


@pytest.mark.parametrize("code", STORED)
def test_exif_orientation_is_heeded(tmp_path: Path, make_tiff: Tiff, ground: Ground, code: int) -> None:
    image = cv2.GaussianBlur(ground(40, 60).transpose(1, 2, 0), (0, 0), 2).transpose(2, 0, 1)
    jpeg = write_jpeg(tmp_path / "b.jpg", image, code)
    tiff = write_turned_tiff(tmp_path / "b.tif", make_tiff, image, code)
    big = write_turned_bigtiff(tmp_path / "big.tif", make_tiff, image, code)
    others = [write_with_exif(tmp_path / f"b.{suffix}", make_tiff, image, code) for suffix in ("png", "webp")]
    for path, most in ((jpeg, 20), *((path, 0) for path in (tiff, big, *others))):
        with open_pair(write_jpeg(tmp_path / "a.jpg", image, 1), path) as pair:
            tile, part = pair.read(pair.grid.window), pair.read(Window(7, 5, 30, 20))
            pair.align(Affine.translation(0.0, 0.4))
            moved = pair.read(Window(7, 5, 30, 20))
        assert np.abs(tile.after.astype(int) - image).max() <= most
        assert (part.after == tile.after[:, 5:25, 7:37]).all()
        assert np.abs(moved.after.astype(int) - part.after).mean() < 6  # interpolated, of the same place
        assert len(pair.warnings) == (code != 1)
        label = make_tiff("label.tif", np.zeros((1, 40, 60), np.uint8), crs=None)
        with Sample(LabelledFiles("x", (path, path), label), LabelRule()) as sample:
            assert (sample.height, sample.width) == (40, 60)
            assert np.abs(sample.images()[0].astype(int) - image).max() <= most
            assert (sample.images(Window(7, 5, 30, 20))[1] == sample.images()[1][:, 5:25, 7:37]).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_white_stored_as_zero(make_tiff: Tiff, ground: Ground, dtype: str) -> None:
    grey = ground(60, 60)[:1].astype(dtype) * (1 if dtype == "uint8" else 50)
    black = np.iinfo(dtype).max
    a, b = make_tiff("a.tif", grey), make_tiff("b.tif", black - grey, photometric="MINISWHITE")
    with open_pair(a, b) as pair:
        tile = pair.read(pair.grid.window)
    assert np.abs(tile.before.astype(int) - tile.after).max() <= (dtype != "uint8")
    assert "MINISWHITE" in pair.warnings[0]
    with open_pair(a, b, stretch=(0, 4000)) as pair:
        tile = pair.read(pair.grid.window)
    assert np.abs(tile.before.astype(int) - tile.after).max() <= 1
    if dtype == "uint8":
        label = make_tiff("label.tif", 255 - (grey > 128) * np.uint8(255), photometric="MINISWHITE")
        with Sample(LabelledFiles("x", (b, a), label), LabelRule()) as sample:
            assert (sample.images()[0] == sample.images()[1]).all()
            assert (sample.label() == (grey[0] > 128)).all()


def test_a_crs_without_a_geotransform_gives_no_place(make_tiff: Tiff, ground: Ground) -> None:
    a, b = (make_tiff(f"{name}.tif", ground(40, 40), transform=Affine.identity()) for name in "ab")
    with open_pair(a, b) as pair:
        assert (pair.grid.crs, pair.grid.gsd) == (None, None)
        assert [("no geotransform" in warning) for warning in pair.warnings] == [True, True]
    with pytest.raises(SceneError, match=r"b\.tif has no georeference"):
        open_pair(make_tiff("c.tif", ground(40, 40)), b)


def test_a_jpeg_that_was_cut_short_is_refused(tmp_path: Path, ground: Ground) -> None:
    """GDAL would read grey below the cut."""
    whole = write_jpeg(tmp_path / "a.jpg", ground(60, 60), 1)
    cut = tmp_path / "b.jpg"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with open_pair(whole, cut) as pair, pytest.raises(SceneError, match=r"b\.jpg cannot be read: it is damaged"):
        pair.read(pair.grid.window)
