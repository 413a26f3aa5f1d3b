"""When a scene is unlike what the model was trained on: one sentence each."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from schanger_edge.model.card import INPUT_NAMES, ModelCard

GSD_RANGE = (0.5, 2.0)  # times the card's GSD
MENDABLE = 4.0  # times the card's GSD up to which resampling is worth a try
MEAN_DISTANCE = 1.5  # standard deviations of the training data
CONTRAST_RANGE = (0.4, 2.5)  # times the training data's standard deviation

DateStatistics = Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]


def model_warnings(
    card: ModelCard,
    tile: int,
    size: tuple[int, int],
    gsd: float | None,
    own_gsd: Mapping[str, float | None],
    statistics: DateStatistics,
) -> list[str]:
    """Compare a pair with the model's training data.

    Args:
        card: the model.
        tile: side of the tiles it sees, in pixels.
        size: rows and columns of the pair's grid.
        gsd: metres per pixel of the pair's grid; None where unknown.
        own_gsd: metres per pixel of each date's file; resampling brings no detail into a coarse one.
        statistics: per date, mean and standard deviation (3,) of uint8 RGB scaled to 0-1; a date may be absent.
    """
    return [*_size_warnings(tile, size), *_scale_warnings(card, gsd, own_gsd), *_color_warnings(card, statistics)]


def _size_warnings(tile: int, size: tuple[int, int]) -> list[str]:
    height, width = size
    if min(size) >= tile:
        return []
    return [
        f"the scene has {width} x {height} pixels, the model sees {tile} x {tile} at once: what is missing "
        "is filled with mirrored pixels, so expect misses and false alarms; give images with more ground around."
    ]


def _scale_warnings(card: ModelCard, gsd: float | None, own_gsd: Mapping[str, float | None]) -> list[str]:
    if gsd is None or card.gsd is None:
        return []
    trained = f"the model was trained at {card.gsd:.2g} m: expect misses and false alarms"
    fits = GSD_RANGE[0] <= gsd / card.gsd <= GSD_RANGE[1]
    coarsest = card.gsd * (GSD_RANGE[1] if fits else MENDABLE)
    warnings = [
        f"the {date} image has {own:.2g} m per pixel and {trained}; resampling restores no detail, so use finer "
        "images or a model trained at this scale."
        for date, own in own_gsd.items()
        if own is not None and own > coarsest
    ]
    if not fits and not warnings:
        warnings.append(f"the grid has {gsd:.2g} m per pixel and {trained}; --gsd {card.gsd:.2g} resamples on reading.")
    return warnings


def _color_warnings(card: ModelCard, statistics: DateStatistics) -> list[str]:
    warnings = []
    for date in INPUT_NAMES:
        if date not in statistics:
            continue
        mean, std = statistics[date]
        trained = getattr(card.normalization, date)
        distance = float(np.abs((mean - np.array(trained.mean)) / np.array(trained.std)).mean())
        contrast = float((std / np.array(trained.std)).mean())
        if distance > MEAN_DISTANCE:
            warnings.append(
                f"the colours of the {date} image are far from the model's training data ({distance:.1f} standard "
                "deviations): expect misses and false alarms; check the band order."
            )
        elif not CONTRAST_RANGE[0] <= contrast <= CONTRAST_RANGE[1]:
            warnings.append(
                f"the contrast of the {date} image is {contrast:.1f} times that of the model's training data: "
                "expect misses and false alarms."
            )
    return warnings
