"""A tree of labelled tiles, `ROOT/{split}/{A,B,label}/NAME.png`, which appears whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from schanger_edge.errors import ProductError
from schanger_edge.files import write_json, writing

FOLDERS = ("A", "B", "label")
DESCRIPTION, STATISTICS = "dataset.json", "statistics.json"
_WAITING = ".tiles"


class TreeWriter:
    """Takes tiles before their splits are known, then puts each in its place. Use it as a context manager.

    All is written to a hidden folder beside ROOT, which gets its name with `publish`; leaving the context without it
    removes what was written. Where something stands under that name, or the folder cannot be written, any method raises
    a ProductError.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        self._temporary = self.root.parent / f".{self.root.name}.{secrets.token_hex(4)}"
        self._created: list[Path] = []

    def __enter__(self) -> TreeWriter:
        self._refuse_existing()
        parents = [path for path in self.root.parents if not path.exists()]
        with writing(self.root):
            for folder in FOLDERS:
                (self._temporary / _WAITING / folder).mkdir(parents=True)
        self._created = parents
        return self

    def write_tile(
        self, name: str, before: NDArray[np.uint8], after: NDArray[np.uint8], label: NDArray[np.bool_]
    ) -> None:
        """Write one tile: uint8 RGB (3, h, w) of both dates, and (h, w) True where it changed."""
        images = [np.ascontiguousarray(image[::-1].transpose(1, 2, 0)) for image in (before, after)]  # OpenCV: BGR
        for folder, pixels in zip(FOLDERS, (*images, label.astype(np.uint8) * np.uint8(255)), strict=True):
            ok, encoded = cv2.imencode(".png", pixels)
            if not ok:
                raise RuntimeError(f"{name} could not be encoded as PNG")
            with writing(self.root / folder / f"{name}.png"):
                (self._temporary / _WAITING / folder / f"{name}.png").write_bytes(encoded.tobytes())

    def place(self, name: str, split: str) -> None:
        """Put a tile that was written in a split; tiles that are not placed are left out."""
        with writing(self.root):
            for folder in FOLDERS:
                target = self._temporary / split / folder
                target.mkdir(parents=True, exist_ok=True)
                os.replace(self._temporary / _WAITING / folder / f"{name}.png", target / f"{name}.png")

    def write_json(self, name: str, values: Mapping[str, Any]) -> None:
        """Write a JSON file at the root of the tree."""
        with writing(self.root / name):
            write_json(self._temporary / name, values)

    def publish(self) -> None:
        """Give the tree its name."""
        self._refuse_existing()
        with writing(self.root):
            shutil.rmtree(self._temporary / _WAITING)
            os.rename(self._temporary, self.root)
        self._created = []

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._temporary, ignore_errors=True)
        for folder in self._created:
            with contextlib.suppress(OSError):  # not empty, so not only ours
                folder.rmdir()

    def _refuse_existing(self) -> None:
        if os.path.lexists(self.root):
            raise ProductError(
                f"{self.root} could not be written ({os.strerror(errno.EEXIST)}): choose a new folder, or remove "
                "this one."
            )
