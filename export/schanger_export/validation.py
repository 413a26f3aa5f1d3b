"""Scores while training, by the evaluation protocol: tiles of 256, averaged weights, threshold 0.5."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from schanger_edge.datasets.samples import LabelRule
from schanger_edge.datasets.sources import Source
from schanger_edge.evaluation.protocol import score
from schanger_edge.evaluation.scores import Counts
from schanger_edge.model.card import Normalization

BATCH_SIZE = 8


@dataclasses.dataclass(frozen=True)
class Scores:
    """Counts over all validation data, and F1 of each source where there are several."""

    counts: Counts
    by_source: dict[str, float]

    @property
    def f1(self) -> float | None:
        """Of the change class (or of the single-date class), over all sources; None where it says nothing."""
        return self.counts.f1 if len(self.counts.kinds_of_labels) == 2 else None

    def as_record(self) -> dict[str, Any]:
        """For the history."""
        counts = self.counts
        if self.f1 is None:
            return {}
        plain = {"f1": counts.f1, "precision": counts.precision, "recall": counts.recall, "iou": counts.iou}
        return plain | ({"f1_by_source": self.by_source} if len(self.by_source) > 1 else {})

    def __str__(self) -> str:
        if self.f1 is None:
            return "no F1: the labels for validation are all alike, so the last weights count as the best"
        precision, recall = 100 * self.counts.precision, 100 * self.counts.recall
        return f"F1 {100 * self.f1:.2f} (precision {precision:.2f}, recall {recall:.2f})"


def validate(
    network: nn.Module,
    sources: Sequence[Source],
    dates: int,
    normalization: Normalization,
    device: torch.device,
    amp: torch.dtype | None,
) -> Scores:
    """Score a network in eval mode on whole files, tile by tile."""
    predict = predictor(network, normalization, dates, device, amp)
    counts, by_source = Counts(), {}
    batch_size = BATCH_SIZE if device.type == "cuda" else 1
    for source in sources:
        files = source.files(dates)
        rule = LabelRule.for_files(files, source.label or "auto")
        found, _ = score(files, rule, predict, batch_size=batch_size, fill=normalization.mean_colors[:dates])
        counts += found
        by_source[f"{source.root}:{source.split}"] = found.f1
    return Scores(counts, by_source)


def colours(normalization: Normalization, dates: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the colours of each date, twice (dates, 3, 1, 1)."""
    chosen = (normalization.before, normalization.after)[:dates]
    mean, std = (
        torch.tensor([getattr(date, name) for date in chosen], device=device)[..., None, None]
        for name in ("mean", "std")
    )
    return mean, std


def predictor(
    network: nn.Module, normalization: Normalization, dates: int, device: torch.device, amp: torch.dtype | None
) -> Callable[..., NDArray[np.float32]]:
    """uint8 tiles by date, each (N, 3, T, T) -> probability (N, 1, T, T), by a network in eval mode."""
    mean, std = colours(normalization, dates, device)

    def predict(*tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode(), torch.autocast(device.type, amp, enabled=amp is not None):
            images = [
                (torch.from_numpy(tile).to(device).float() / 255 - m) / s
                for tile, m, s in zip(tiles, mean, std, strict=True)
            ]
            logits = network(*(image.contiguous(memory_format=torch.channels_last) for image in images))
            probability: NDArray[np.float32] = torch.sigmoid(logits[:, :1].float()).cpu().numpy()
        return probability

    return predict
