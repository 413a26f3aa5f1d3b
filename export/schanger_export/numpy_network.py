"""The network in numpy and double precision: what a model file is held against before it gets its name.

Nothing is folded and every formula is the textbook's, so that a mistake of the graph shows; and it is more exact than
any runtime, so that a difference is the runtime's. One pair of tiles at a time, one date after the other where they do
not meet, and wide maps in groups of channels: memory stays at one wide map.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schanger_edge.model.card import Normalization, Statistics
from schanger_export.architecture import BATCHNORM_EPS, LAYERNORM_EPS, LFEM_EPS, STAGES

Array = NDArray[np.float64]
GROUP = 8
"""Wide channels that are computed together; a few maps of them fit in a processor's cache."""


class Reference:
    """The Siamese network with a whole state dict as its weights, and the colour statistics of both dates."""

    def __init__(self, state: Mapping[str, NDArray[Any]], normalization: Normalization) -> None:
        self._w = {name: np.asarray(values, np.float64) for name, values in state.items()}
        self._normalization = normalization

    def run(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Twice (N, 3, H, W) uint8 -> probability (N, 1, H, W)."""
        pairs = zip(before, after, strict=True)
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is seen in the result
            logits = [self._fused_logit(*pair) for pair in pairs]
            return _sigmoid(np.stack(logits)).astype(np.float32)

    def _fused_logit(self, before: NDArray[np.uint8], after: NDArray[np.uint8]) -> Array:
        statistics = (self._normalization.before, self._normalization.after)
        dates = [_normalized(*date) for date in zip((before, after), statistics, strict=True)]
        dates = [_silu(self._conv_bn("conv_1", x, BATCHNORM_EPS)) for x in dates]
        skips = []
        for k in range(1, STAGES + 1):
            dates = [self._stage(f"encoder{k}", _pool(x) if k > 1 else x) for x in dates]
            skips.append(dates)
        dates = self._scam("Bi1.0", skips.pop())
        sides = []
        for k in range(1, STAGES + 1):
            if k > 1:
                skip = self._scam(f"Bi{k}.0", skips.pop())
                dates = [_upsample(x, 2) + s for x, s in zip(dates, skip, strict=True)]
            dates = [self._stage(f"decoder{k}", x) for x in dates]
            logit = self._conv(f"head{k}.1.conv", self._fusion(f"head{k}.0", dates))
            sides.append(_upsample(logit, 2 ** (STAGES - k)))
        return self._conv("head6.0.conv", np.concatenate(sides))

    def _stage(self, name: str, x: Array) -> Array:
        return self._lfem(f"{name}.1", self._lfem(f"{name}.0", x))

    def _lfem(self, name: str, x: Array) -> Array:
        expand, depthwise = self._w[f"{name}.expand_conv.conv.weight"], self._w[f"{name}.dwconv.conv.weight"]
        wide = np.empty((len(expand), *x.shape[1:]))
        for start in range(0, len(expand), GROUP):
            own = slice(start, start + GROUP)
            y = _silu(self._bn(f"{name}.expand_conv.bn", _convolve(x, expand[own]), LFEM_EPS, own))
            wide[own] = _silu(self._bn(f"{name}.dwconv.bn", _convolve(y, depthwise[own]), LFEM_EPS, own))
        gate = _silu(self._conv(f"{name}.se.conv_reduce", wide.mean((1, 2), keepdims=True)))
        wide *= _sigmoid(self._conv(f"{name}.se.conv_expand", gate))
        y = self._conv_bn(f"{name}.project_conv", wide, LFEM_EPS)
        return x + y if x.shape == y.shape else y

    def _scam(self, name: str, dates: list[Array]) -> list[Array]:
        attn, unit = f"{name}.attn", f"{name}.attn.spatial_gating_unit"
        normal = [self._bn(f"{name}.norm1", x) for x in dates]
        active = [_gelu(self._conv(f"{attn}.proj_1", y)) for y in normal]
        gate = self._conv(f"{unit}.conv0", self._fusion(f"{unit}.diff", active))
        gate = self._conv(f"{unit}.conv1", self._conv(f"{unit}.conv_spatial", gate, dilation=3))
        results = []
        for x, y, a in zip(dates, normal, active, strict=True):
            z = x + self._scale(f"{name}.layer_scale_1") * (self._conv(f"{attn}.proj_2", a * gate) + y)
            results.append(z + self._scale(f"{name}.layer_scale_2") * self._mlp(name, z))
        return results

    def _mlp(self, scam: str, x: Array) -> Array:
        x = self._conv(f"{scam}.mlp.fc1", self._bn(f"{scam}.norm2", x))
        return self._conv(f"{scam}.mlp.fc2", _gelu(self._conv(f"{scam}.mlp.dwconv.dwconv", x)))

    def _fusion(self, name: str, dates: list[Array]) -> Array:
        x = self._conv(f"{name}.diff.0", np.concatenate(dates))
        x = x - x.mean(0)
        x /= np.sqrt(np.square(x).mean(0) + LAYERNORM_EPS)
        return _gelu(x * self._scale(f"{name}.diff.1.weight") + self._scale(f"{name}.diff.1.bias"))

    def _scale(self, name: str) -> Array:
        return self._w[name][:, None, None]

    def _conv(self, name: str, x: Array, dilation: int = 1) -> Array:
        return _convolve(x, self._w[f"{name}.weight"], dilation) + self._scale(f"{name}.bias")

    def _conv_bn(self, name: str, x: Array, eps: float) -> Array:
        return self._bn(f"{name}.bn", _convolve(x, self._w[f"{name}.conv.weight"]), eps)

    def _bn(self, name: str, x: Array, eps: float = BATCHNORM_EPS, own: slice = slice(None)) -> Array:
        mean, variance, weight, bias = (
            self._scale(f"{name}.{part}")[own] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / np.sqrt(variance + eps) * weight + bias


def _normalized(date: NDArray[np.uint8], statistics: Statistics) -> Array:
    mean, std = (np.array(values)[:, None, None] for values in (statistics.mean, statistics.std))
    normalized: Array = (date / 255 - mean) / std
    return normalized


def _convolve(x: Array, weight: Array, dilation: int = 1) -> Array:
    """(C, H, W) -> (outputs, H, W), zeros around the borders; one input per group makes it depthwise."""
    (_, H, W), k = x.shape, weight.shape[2]
    if k == 1:
        return (weight[:, :, 0, 0] @ x.reshape(len(x), -1)).reshape(-1, H, W)
    pad = dilation * (k // 2)
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad)))
    taps = [(i * dilation, j * dilation, weight[:, :, i, j]) for i in range(k) for j in range(k)]
    result = np.zeros((len(weight), H, W))
    for row, col, values in taps:
        shifted = padded[:, row : row + H, col : col + W]
        if weight.shape[1] == 1:
            result += values[:, :, None] * shifted
        else:
            result += (values @ shifted.reshape(len(x), -1)).reshape(result.shape)
    return result


def _pool(x: Array) -> Array:
    C, H, W = x.shape
    pooled: Array = x.reshape(C, H // 2, 2, W // 2, 2).max((2, 4))
    return pooled


def _upsample(x: Array, factor: int) -> Array:
    """Bilinear, corners on corners."""
    for axis in (1, 2):
        length = x.shape[axis]
        place = np.arange(length * factor) * ((length - 1) / (length * factor - 1))
        low = np.minimum(place.astype(int), max(length - 2, 0))
        share = (place - low)[:, None] if axis == 1 else place - low
        x = x.take(low, axis) * (1 - share) + x.take(np.minimum(low + 1, length - 1), axis) * share
    return x


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def _silu(x: Array) -> Array:
    return x * _sigmoid(x)


def _gelu(x: Array) -> Array:
    gelu = np.empty_like(x)
    for channel, result in zip(x, gelu, strict=True):  # as Python's numbers a whole map would take six times its memory
        erf = np.fromiter(map(math.erf, (channel / math.sqrt(2)).flat), np.float64, channel.size)
        result[:] = 0.5 * channel * (1 + erf.reshape(channel.shape))
    return gelu
