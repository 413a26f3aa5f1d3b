"""Which bands of a file are red, green and blue, and whether what it calls alpha is one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from rasterio.enums import ColorInterp

from schanger_edge.errors import SceneError
from schanger_edge.geo.grid import Window
from schanger_edge.scene.opening import RGB, check_types
from schanger_edge.scene.sampling import lattice

_NAMES = ("red", "green", "blue")
_OTHERS = {"edge", "rededge", "infra", "infrared", "near", "nir", "coastal"}  # words beside red or blue in other bands
_OPAQUE = 0.5  # share of an alpha band's shown pixels that hold its greatest value, at least


def pick_bands(dataset: Any, bands: Sequence[int] | None, name: str) -> tuple[tuple[int, ...], str | None]:
    """Red, green, blue: as asked for, else by description, colour interpretation, or place; and a warning.

    Descriptions come before colour interpretation, which GDAL sets by itself for the first three bytes of a TIFF.

    Raises:
        SceneError: there are no such bands, or they differ in type.
    """
    count, colors, doubt = dataset.count, dataset.colorinterp, None
    described = _described(dataset.descriptions)
    interpreted = tuple(colors.index(color) + 1 for color in RGB) if all(color in colors for color in RGB) else None
    if bands is not None:
        if len(bands) != 3 or not all(1 <= band <= count for band in bands):
            raise SceneError(f"--bands needs three numbers between 1 and {count} for {name}, such as 1,2,3.")
        chosen = tuple(bands)
    elif described is not None:
        chosen = described
        if interpreted not in (None, described):
            doubt = f"{name} describes bands {_words(described)} as red, green and blue, but colours them {interpreted}"
            doubt = f"{doubt}: the descriptions are followed; --bands chooses others."
    elif interpreted is not None:
        chosen = interpreted
    else:
        chosen = (1, 2, 3) if count > 2 else (1, 1, 1)
        if count - (ColorInterp.alpha in colors) not in (1, 3):  # three bands that nobody names are red, green, blue
            doubt = (
                f"{name} doesn't say which of its {count} bands are red, green and blue: {_words(chosen)} are taken; "
                "--bands chooses others."
            )
    check_types(dataset, chosen, name)
    return chosen, doubt


def _words(bands: Sequence[int]) -> str:
    return ", ".join(map(str, bands))


def _described(descriptions: Sequence[str | None]) -> tuple[int, ...] | None:
    """Bands called red, green and blue, each once; None where any is not."""
    words = [set(re.findall(r"[a-z]+", (text or "").lower())) for text in descriptions]
    chosen = []
    for name in _NAMES:
        exact = [band for band, text in enumerate(descriptions, 1) if (text or "").strip().lower() in (name, name[0])]
        among = [band for band, of_band in enumerate(words, 1) if name in of_band and not of_band & _OTHERS]
        found = exact or among
        if len(found) != 1:
            return None
        chosen += found
    return tuple(chosen)


def is_spectral(dataset: Any, band: int) -> bool:
    """True where a band that is called alpha holds values as a sensor's do: few shown pixels are opaque."""
    shown = opaque = 0
    for window in lattice(Window(0, 0, dataset.width, dataset.height)):
        values = dataset.read(band, window=window.rasterio)
        values = values[values > 0]
        full = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else 1
        shown += values.size
        opaque += int(np.isin(values, (1, 255, full)).sum())
    return shown > 0 and opaque < _OPAQUE * shown
