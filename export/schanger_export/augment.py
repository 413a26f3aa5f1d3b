"""Augmentation: one geometry for every date and the label, photometric changes, on tensors by kornia.

The published set (see network.py for the source), as near as kornia has it: sharpness stands for emboss, and a
quarter turn for the transposition, which with the flips gives the same eight symmetries.
"""

from __future__ import annotations

import kornia.augmentation as K
import torch
from torch import Tensor

REFLECT = "reflection"


class Augmentation:
    """Augments one sample; every draw follows from the seed given with it.

    Args:
        dates: 2 for pairs, 1 for single dates.
        jitter: 0 to 1, how far light and colour of each date are drawn apart from the other's; 0 is the published way.
    """

    def __init__(self, dates: int, jitter: float = 0.0) -> None:
        images = ["input"] * dates
        self.geometry = K.AugmentationSequential(
            K.RandomHorizontalFlip(p=0.5),
            K.RandomVerticalFlip(p=0.5),
            K.RandomRotation90(times=(0, 3), p=1.0),
            K.RandomAffine(degrees=45.0, p=0.3, padding_mode=REFLECT),
            K.RandomAffine(degrees=45.0, translate=(0.06, 0.06), scale=(0.9, 1.1), p=0.3, padding_mode=REFLECT),
            data_keys=[*images, "mask"],
        )
        self.photometric = K.AugmentationSequential(
            K.RandomGaussianNoise(std=0.03, p=1.0),
            K.ColorJiggle(hue=0.05, saturation=0.2, p=1.0),
            K.ColorJiggle(brightness=0.2, contrast=0.2, p=1.0),
            K.RandomGamma((0.8, 1.25), p=1.0),
            K.RandomSharpness(0.5, p=1.0),
            K.RandomMotionBlur((3, 7), 45.0, 0.5, p=1.0),
            data_keys=images,
            random_apply=1,
        )
        # Pre-training adds a colour jitter; for pairs it may be drawn for each date alone.
        strength = 1.0 if dates == 1 else jitter
        self.jitter = K.ColorJiggle(0.2 * strength, 0.2 * strength, 0.2 * strength, 0.05 * strength, p=1.0)
        self.jitter_share = 0.4 if dates == 1 else float(jitter > 0)
        self.gamma = K.RandomGamma((1 - 0.3 * jitter, 1 + 0.4 * jitter), p=1.0)
        self.dates = dates

    def __call__(self, images: Tensor, label: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """images (dates, 3, T, T) in 0-1, label (1, T, T) of 0 and 1 -> the same, augmented alike."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            *dates, mask = self.geometry(*images[:, None], label[None])  # each (1, 3, T, T), mask (1, 1, T, T)
            if torch.rand(()) < 0.5:
                changed = self.photometric(*dates)
                dates = changed if isinstance(changed, list | tuple) else [changed]
            dates = [self._jittered(date) for date in dates]
        return torch.cat([date.clamp(0, 1) for date in dates]), mask[0]

    def _jittered(self, date: Tensor) -> Tensor:
        if torch.rand(()) >= self.jitter_share:
            return date
        date = self.jitter(date.clamp(0, 1))
        return date if self.dates == 1 else self.gamma(date)
