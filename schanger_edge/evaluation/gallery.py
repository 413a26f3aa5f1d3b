"""A page of the images a model got most wrong: one HTML file with everything in it."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from schanger_edge.errors import ProductError
from schanger_edge.evaluation.scores import Counts
from schanger_edge.files import replacing
from schanger_edge.geo.grid import Window

SIDE = 512
"""The longer side of an image on the page is at most this many pixels."""
COLORS = {"hit": (240, 240, 240), "false alarm": (230, 60, 25), "miss": (70, 150, 255)}
"""Of the errors, RGB: red against blue is told apart with every kind of colour blindness."""
PANELS = ("before", "after", "label", "prediction", "errors")

Colors = NDArray[np.uint8]


@dataclasses.dataclass(frozen=True)
class GalleryRow:
    """One image of the page: its scores and its panels as data URLs."""

    name: str
    counts: Counts
    panels: Mapping[str, str]


class Gallery:
    """Gathers images tile by tile and keeps the `count` worst; memory doesn't grow with the number of images.

    Attributes:
        rows: the images kept, the one with most wrong pixels first.
    """

    def __init__(self, count: int) -> None:
        if count < 1:
            raise ProductError(f"--gallery-count must be at least 1, not {count}.")
        self._count = count
        self.rows: list[GalleryRow] = []
        self._counts = Counts()
        self._scene: Window | None = None
        self._panels: dict[str, Colors] = {}

    def add(
        self,
        scene: Window,
        owned: Window,
        images: tuple[Colors, ...],
        label: NDArray[np.bool_],
        probability: NDArray[np.float32],
        change: NDArray[np.bool_],
        valid: NDArray[np.bool_] | None = None,
    ) -> None:
        """Take the owned pixels of one tile of the image `scene`; its tiles come one after another.

        All arrays hold the window `owned`: uint8 RGB (3, h, w) of both dates, and (h, w) label, probability (0-1), what
        was predicted, and which pixels count, None for all.
        """
        if self._scene is None:
            self._scene, shape = scene, _size_on_page(scene)
            self._panels = {name: np.zeros((*shape, 3), np.uint8) for name in PANELS}
        self._counts += Counts.of(change, label, valid)
        if valid is not None:
            change, label = change & valid, label & valid
        before, after = (image.transpose(1, 2, 0) for image in images)
        pictures = (before, after, gray(label * 255.0), gray(probability * 255.0), _errors(after, label, change))
        for name, picture in zip(PANELS, pictures, strict=True):
            _place(picture, owned, scene, self._panels[name])

    def end_image(self, name: str) -> None:
        """All tiles of the image came: keep it if it is among the worst."""
        if len(self.rows) < self._count or self._counts.wrong > self.rows[-1].counts.wrong:
            panels = {panel: _data_url(pixels, panel in PANELS[:2]) for panel, pixels in self._panels.items()}
            rows = [*self.rows, GalleryRow(name, self._counts, panels)]
            self.rows = sorted(rows, key=lambda row: -row.counts.wrong)[: self._count]
        self._counts, self._scene = Counts(), None

    def write(self, path: Path, title: str, facts: Mapping[str, str], total: Counts, images: int) -> None:
        """Write the page, an .html file; ProductError where it cannot be written.

        At its top stand the facts of the model and the run, by name, and the total over all images, also those not
        shown.
        """
        from jinja2 import Environment, PackageLoader, StrictUndefined

        loader = PackageLoader("schanger_edge.evaluation", "templates")
        environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
        page = environment.get_template("gallery.html.j2").render(
            title=title,
            facts=facts,
            total=total,
            images=images,
            rows=self.rows,
            panels=PANELS,
            colors={name: "#" + bytes(color).hex() for name, color in COLORS.items()},
        )
        with replacing(path, ProductError) as temporary:
            temporary.write_text(page, encoding="utf-8")


def _size_on_page(scene: Window) -> tuple[int, int]:
    """(rows, columns), the longer at most SIDE; small images are not enlarged."""
    scale = min(1.0, SIDE / max(scene.height, scene.width))
    return max(1, round(scene.height * scale)), max(1, round(scene.width * scale))


def _place(picture: Colors, owned: Window, scene: Window, target: Colors) -> None:
    """Shrink the owned pixels (h, w, 3) into their place in a panel, each panel pixel the mean of what it covers."""
    scale_y, scale_x = target.shape[0] / scene.height, target.shape[1] / scene.width
    top, bottom = round(owned.row_off * scale_y), round(owned.row_end * scale_y)
    left, right = round(owned.col_off * scale_x), round(owned.col_end * scale_x)
    if bottom > top and right > left:
        shrunk = cv2.resize(picture, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
        target[top:bottom, left:right] = shrunk


def gray(values: NDArray[np.floating]) -> Colors:
    """(h, w) of 0-255 -> (h, w, 3)."""
    gray = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=2)


def _errors(after: Colors, label: NDArray[np.bool_], change: NDArray[np.bool_]) -> Colors:
    """Hits, false alarms and misses in colour on the second date, dark and grey."""
    picture = gray(after.mean(axis=2) * 0.4)
    for name, chosen in (("hit", change & label), ("false alarm", change & ~label), ("miss", ~change & label)):
        picture[chosen] = COLORS[name]
    return picture


def _data_url(picture: Colors, photo: bool) -> str:
    """JPEG for photos, PNG for the rest, inside the page."""
    suffix, options = (".jpg", [cv2.IMWRITE_JPEG_QUALITY, 85]) if photo else (".png", [])
    done, data = cv2.imencode(suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise ProductError("a gallery picture could not be encoded: reinstall opencv-python-headless.")
    kind = "jpeg" if photo else "png"
    return f"data:image/{kind};base64,{base64.b64encode(data.tobytes()).decode('ascii')}"
