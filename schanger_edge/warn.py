"""When a scene is unlike what the model was trained on: one sentence each."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from schanger_edge.model_card import INPUT_NAMES, ModelCard

GSD_RANGE = (0.5, 2.0)  # times the card's GSD
MENDABLE = 4.0  # times the card's GSD up to which resampling is worth a try
MEAN_DISTANCE = 1.5  # standard deviations of the training data
CONTRAST_RANGE = (0.4, 2.5)  # times the training data's standard deviation

DateStatistics = Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]


def model_warnings(card: ModelCard, gsd: float | None, statistics: DateStatistics) -> list[str]:
    """Compare a pair with the model's training data.

    Args:
        card: the model.
        gsd: metres per pixel of the pair's grid; None where unknown.
        statistics: per date, mean and standard deviation (3,) of uint8 RGB scaled to 0-1; a date may be absent.
    """
    warnings = []
    if gsd is not None and card.gsd is not None and not GSD_RANGE[0] <= gsd / card.gsd <= GSD_RANGE[1]:
        advice = (
            f"--gsd {card.gsd:.2g} resamples on reading."
            if gsd <= MENDABLE * card.gsd
            else "resampling brings no detail back, use finer images or a model trained at this scale."
        )
        warnings.append(
            f"the images have {gsd:.2g} m per pixel and the model was trained at {card.gsd:.2g} m: expect misses "
            f"and false alarms; {advice}"
        )
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
