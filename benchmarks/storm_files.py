"""What `watch_storm.py` drops into an inbox: scenes, copies, damaged files, in one piece or in several."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine

SETTLE = 3.0
"""Seconds; far more than a busy machine holds the dropper up between two pieces of a file."""


def scene_bytes(folder: Path, place: int, date: int, **profile: Any) -> bytes:
    """A GeoTIFF of 64 to 150 pixels a side."""
    rng = np.random.default_rng([place, date])
    side = 64 + place * 37 % 87
    rows, cols = np.mgrid[:side, :side]
    waves = [np.sin(rows / a + cols / b + c) for a, b, c in rng.uniform(3, 30, (3, 3))]
    pixels = np.clip(128 + 50 * np.stack(waves) + rng.normal(0, 8, (3, side, side)), 1, 254).astype(np.uint8)
    path = folder / "scene.tif"
    layout = {"driver": "GTiff", "count": 3, "height": side, "width": side, "dtype": "uint8", "compress": "deflate"}
    layout |= {"crs": "EPSG:32631", "transform": Affine(0.5, 0, 500_000 + 1000 * place, 0, -0.5, 4_650_000)}
    with rasterio.open(path, "w", **layout | profile) as dataset:
        dataset.write(pixels)
    return path.read_bytes()


def damaged_bytes(good: bytes, kind: int, folder: Path) -> bytes:
    """A file that is no scene, in one of several ways."""
    ways = [
        lambda: b"",
        lambda: b"no image at all",
        lambda: b"II*\0" + bytes(range(256)) * 8,
        lambda: good[: len(good) * 2 // 3],
        lambda: good[: len(good) // 2] + bytes(len(good) - len(good) // 2),  # room was made, the copy broke off
        lambda: scene_bytes(folder, kind, 99, crs=None, transform=Affine.identity()),
    ]
    return ways[kind % len(ways)]()


class Dropper:
    """Drops files into the inbox, and remembers what must become of them."""

    def __init__(self, inbox: Path, scratch: Path, rng: random.Random) -> None:
        self._inbox, self._scratch, self._rng = inbox, scratch, rng
        self.good: dict[tuple[int, int], str] = {}
        self.bad: list[str] = []
        self.copies: list[str] = []
        self.unfinished: list[str] = []
        self.pieces = self.sent_again = 0

    def burst(self, places: int, date: int, extras: int) -> None:
        """All places of one date, in random order, and some troubles."""
        todo = [(self._scene, place, date) for place in range(places)]
        todo += [(self._trouble, place, date) for place in range(extras)]
        self._rng.shuffle(todo)
        for drop, place, day in todo:
            drop(place, day)

    def _scene(self, place: int, date: int) -> None:
        name = f"place{place:02d}_202405{date:02d}.tif"
        self._write(name, scene_bytes(self._scratch, place, date))
        self.good[place, date] = name

    def _trouble(self, number: int, date: int) -> None:
        count = len(self.bad) + len(self.copies) + len(self.unfinished)
        if not self.good or count % 9 in (0, 2, 4, 6):
            good = scene_bytes(self._scratch, number, 90 + date)
            self.bad.append(f"bad{count:03d}_{date}.tif")
            self._write(self.bad[-1], damaged_bytes(good, len(self.bad), self._scratch))
        elif count % 9 == 8:
            self.unfinished.append(f"endless{count:03d}.tif.part")
            (self._inbox / self.unfinished[-1]).write_bytes(b"II*\0")
        else:
            original = self._rng.choice(sorted(self.good.values()))
            self.copies.append(f"copy{count:03d}_of_{original}")
            self._write(self.copies[-1], (self._inbox / original).read_bytes())

    def send_again(self) -> None:
        """A file that is known already, under its own name."""
        name = self._rng.choice(sorted(self.good.values()))
        self._write(name, (self._inbox / name).read_bytes())
        self.sent_again += 1

    def _write(self, name: str, content: bytes) -> None:
        way = self._rng.random()
        if way < 0.3 and len(content) > 100:
            self.pieces += 1
            with open(self._inbox / name, "wb") as file:
                for part in range(3):
                    file.write(content[len(content) * part // 3 : len(content) * (part + 1) // 3])
                    file.flush()
                    time.sleep(SETTLE / 20)
        elif way < 0.5:
            (self._inbox / f"{name}.part").write_bytes(content)
            os.replace(self._inbox / f"{name}.part", self._inbox / name)
        else:
            (self._inbox / name).write_bytes(content)
