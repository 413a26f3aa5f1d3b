"""Augmentation: one geometry for every date and the label, changes of light and colour, by numpy and OpenCV.

The published set (see network.py for the source): turns, flips and warps; one of noise, hue and saturation, brightness
and contrast, gamma, emboss, motion blur. Beyond it, because a camera or a season must not look like a building: casts,
haze, JPEG and loss of sharpness, drawn for both dates and for each, and pairs in which nothing was built.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Image = NDArray[np.float32]
"""(T, T, 3) in 0-1."""
GREY = np.array([0.299, 0.587, 0.114], np.float32)
CLEAN = 0.25  # of the samples keep their colours, so that those of the data stay the best known
APART = 0.6  # of the dates that may differ do
UNIT = np.pad(np.ones((1, 1), np.float32), 1)
RELIEF = np.diag(np.array([-1, 1, 1], np.float32))
DEEPER = np.array([[-1, -1, 0], [-1, 0, 1], [0, 1, 1]], np.float32)
"""The published emboss filter is RELIEF + strength * DEEPER, mixed with the image."""


class Augmentation:
    """Augments one sample; every draw follows from the seed given with it.

    Args:
        dates: 2 for pairs, 1 for single dates.
        jitter: 0 to 1, how far light and colour of each date are drawn apart from the other's; 0 is the published way.
        cast: 0 to 1, how far light and colour of both dates are drawn together.
        negatives: share of pairs that show one date twice, where nothing changed.
    """

    def __init__(self, dates: int, jitter: float = 0.0, cast: float = 0.0, negatives: float = 0.0) -> None:
        self.dates, self.jitter, self.cast, self.negatives = dates, jitter, cast, negatives

    def __call__(self, images: Tensor, label: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """images (dates, 3, T, T) in 0-1, label (1, T, T) of 0 and 1 -> the same, augmented alike."""
        rng = np.random.default_rng(seed)
        dates: list[Image] = [np.ascontiguousarray(image) for image in images.numpy().transpose(0, 2, 3, 1)]
        mask = label.numpy()[0]
        if self.dates == 2 and rng.random() < self.negatives:
            dates, mask = [dates[rng.integers(2)]] * 2, np.zeros_like(mask)
        dates, mask = self._turned(dates, mask, rng)
        dates = self._coloured(dates, rng)
        stacked = np.stack(dates).transpose(0, 3, 1, 2).clip(0, 1)
        return torch.from_numpy(np.ascontiguousarray(stacked)), torch.from_numpy(mask.copy())[None]

    def _turned(
        self, dates: list[Image], mask: NDArray[np.float32], rng: np.random.Generator
    ) -> tuple[list[Image], NDArray[np.float32]]:
        """Flips, quarter turns and warps, borders reflected; with jitter one date may lie up to three pixels off."""
        flips, quarters = rng.random(2) < 0.5, int(rng.integers(4))
        matrix = _warp(mask.shape[0], rng)
        offsets = [np.zeros(2) for _ in dates]
        if self.jitter and self.dates == 2 and rng.random() < 0.3:
            offsets[int(rng.integers(2))] = rng.uniform(-2, 2, 2) * rng.uniform(0, 1.5)
        rows, cols = (slice(None, None, -1 if flip else 1) for flip in flips)
        turned = [np.ascontiguousarray(np.rot90(image, quarters)[rows, cols]) for image in (*dates, mask)]
        for number, offset in enumerate(offsets):
            if matrix is not None or offset.any():
                whole = np.eye(3)[:2] if matrix is None else matrix.copy()
                whole[:, 2] += offset
                turned[number] = _warped(turned[number], whole, cv2.INTER_LINEAR)
        if matrix is not None:
            turned[-1] = _warped(turned[-1], matrix, cv2.INTER_NEAREST)
        return turned[:-1], turned[-1]

    def _coloured(self, dates: list[Image], rng: np.random.Generator) -> list[Image]:
        if rng.random() < 0.5:
            dates = _published(dates, rng)
        if self.dates == 1:
            return [_published_jitter(image, rng) if rng.random() < 0.4 else image for image in dates]
        if not (self.jitter or self.cast) or rng.random() < CLEAN:
            return dates
        if self.cast:
            light = _Light.drawn(self.cast, rng)
            dates = [light(image) for image in dates]
        if self.jitter:
            dates = [self._apart(image, rng) if rng.random() < APART else image for image in dates]
        return dates

    def _apart(self, image: Image, rng: np.random.Generator) -> Image:
        return _optics(_Light.drawn(0.7 * self.jitter, rng)(image), self.jitter, rng)


class _Light(NamedTuple):
    """One draw of light and colour: saturation, gain and offset of each channel, contrast, gamma, haze."""

    matrix: Image
    offset: Image
    gamma: float

    @classmethod
    def drawn(cls, strength: float, rng: np.random.Generator) -> _Light:
        saturation = rng.uniform(1 - 0.8 * strength, 1 + 0.4 * strength) if rng.random() < 0.3 else 1.0
        mix = saturation * np.eye(3) + (1 - saturation) * np.tile(GREY, (3, 1))
        gain = np.exp(rng.uniform(-0.2, 0.2, 3) * strength)
        offset = rng.uniform(-0.1, 0.1, 3) * strength
        if rng.random() < 0.4:  # one channel far off
            offset[rng.integers(3)] = rng.uniform(-0.14, 0.14) * strength
        exposure, contrast, gamma = np.exp(rng.uniform(-0.35, 0.3, 3) * strength * (rng.random(3) < 0.6))
        gain, offset = gain * exposure * contrast, offset + 0.45 * (1 - contrast)
        if rng.random() < 0.2:
            haze = rng.uniform(0, 0.4) * strength
            gain, offset = gain * (1 - haze), offset * (1 - haze) + haze * rng.uniform(0.55, 0.9, 3)
        if rng.random() < 0.2:  # dusk, or a dark camera
            dark = np.exp(-1.1 * strength * rng.random())
            gain, offset = gain * dark, offset * dark
        return cls((gain[:, None] * mix).astype(np.float32), offset.astype(np.float32), float(gamma))

    def __call__(self, image: Image) -> Image:
        image = cv2.transform(image, np.concatenate((self.matrix, self.offset[:, None]), 1))  # type: ignore[assignment]
        image = image.clip(0, 1)
        return image if self.gamma == 1 else _power(image, self.gamma)


def _optics(image: Image, strength: float, rng: np.random.Generator) -> Image:
    """Loss of sharpness or too much of it, coarser pixels, compression."""
    draw = rng.random(3)
    if draw[0] < 0.2:
        image = cv2.GaussianBlur(image, (0, 0), 0.3 + rng.uniform(0, 1.1) * strength)  # type: ignore[assignment]
    elif draw[0] < 0.35:
        soft = cv2.GaussianBlur(image, (0, 0), 1.0)
        image = image + np.float32(rng.uniform(0.2, 1.2) * strength) * (image - soft)
    if draw[1] < 0.1:
        side, part = image.shape[0], rng.uniform(1 - 0.5 * strength, 1)
        small = cv2.resize(image, (max(int(side * part), 8),) * 2, interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, (side, side), interpolation=cv2.INTER_LINEAR)  # type: ignore[assignment]
    if draw[2] < 0.25:
        pixels = np.rint(image.clip(0, 1) * 255).astype(np.uint8)
        done, packed = cv2.imencode(".jpg", pixels, (cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 95))))
        if done:
            image = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.float32) / np.float32(255)
    return image


def _published(dates: list[Image], rng: np.random.Generator) -> list[Image]:
    """One of the six published changes, the same draw for every date."""
    kind = int(rng.integers(6))
    if kind == 0:
        return [image + rng.standard_normal(image.shape, np.float32) * np.float32(0.03) for image in dates]
    if kind == 1:
        hue, saturation = rng.uniform(-18, 18), rng.uniform(0.8, 1.2)
        return [_recoloured(image, hue, saturation) for image in dates]
    if kind == 2:
        contrast, brightness = rng.uniform(0.8, 1.2), rng.uniform(-0.2, 0.2)
        return [((image - 0.5) * np.float32(contrast) + np.float32(0.5 + brightness)).clip(0, 1) for image in dates]
    if kind == 3:
        gamma = rng.uniform(0.8, 1.25)
        return [_power(image, gamma) for image in dates]
    if kind == 4:
        strength, alpha = rng.uniform(0.2, 0.7), rng.uniform(0.2, 0.5)
        relief = RELIEF + np.float32(strength) * DEEPER
        kernel = np.asarray(np.float32(1 - alpha) * UNIT + np.float32(alpha) * relief, np.float32)
    else:
        kernel = _streak(int(rng.integers(3, 8)), rng.uniform(0, math.pi))
    return [np.asarray(cv2.filter2D(image, -1, kernel), np.float32).clip(0, 1) for image in dates]


def _published_jitter(image: Image, rng: np.random.Generator) -> Image:
    """The colour jitter of pre-training."""
    image = _recoloured(image.clip(0, 1), rng.uniform(-18, 18), rng.uniform(0.8, 1.2))
    contrast, brightness = np.float32(rng.uniform(0.8, 1.2)), np.float32(rng.uniform(0.8, 1.2))
    return np.asarray((image - image.mean()) * contrast + image.mean() * brightness, np.float32)


def _recoloured(image: Image, hue: float, saturation: float) -> Image:
    """Hue turned by degrees, saturation multiplied."""
    hsv = cv2.cvtColor(image.clip(0, 1), cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + hue) % 360
    hsv[..., 1] = (hsv[..., 1] * saturation).clip(0, 1)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)  # type: ignore[return-value]


def _power(image: Image, gamma: float) -> Image:
    return cv2.pow(np.ascontiguousarray(image.clip(0, 1)), float(gamma))  # type: ignore[return-value]


def _warp(side: int, rng: np.random.Generator) -> NDArray[np.float64] | None:
    """The two published warps as one matrix: a turn (p 0.3), and a shift with scale and turn (p 0.3)."""
    draws, middle = rng.random(2) < 0.3, ((side - 1) / 2, (side - 1) / 2)
    turn = cv2.getRotationMatrix2D(middle, rng.uniform(-45, 45), 1.0)
    shift = cv2.getRotationMatrix2D(middle, rng.uniform(-45, 45), rng.uniform(0.9, 1.1))
    shift = shift + np.array([[0, 0, 1]]) * rng.uniform(-0.06, 0.06, (2, 1)) * side
    if not draws.any():
        return None
    whole: NDArray[np.float64] = np.eye(3)
    for drawn, matrix in zip(draws, (turn, shift), strict=True):
        if drawn:
            whole = np.vstack((matrix, (0, 0, 1))) @ whole
    return np.asarray(whole[:2], np.float64)


def _warped(image: Image, matrix: NDArray[np.float64], method: int) -> Image:
    side = image.shape[0]
    return cv2.warpAffine(image, matrix, (side, side), flags=method, borderMode=cv2.BORDER_REFLECT_101)  # type: ignore[return-value]


def _streak(length: int, angle: float) -> NDArray[np.float32]:
    """A line of this many pixels through the middle, of sum 1."""
    kernel = np.zeros((length | 1, length | 1), np.float32)
    middle, reach = (length | 1) // 2, length / 2
    across, down = math.cos(angle) * reach, math.sin(angle) * reach
    ends = [(round(middle + s * across), round(middle + s * down)) for s in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0)
    return np.asarray(kernel / kernel.sum(), np.float32)
