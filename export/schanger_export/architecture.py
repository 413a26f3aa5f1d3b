"""The names and shapes of SChanger's weights, without torch; the network itself is in `network.py`."""

from __future__ import annotations

import functools
from typing import Literal

Size = Literal["small", "base"]
Shapes = dict[str, tuple[int, ...]]

WIDTHS: dict[Size, tuple[int, ...]] = {"small": (8, 16, 32, 40, 48, 48), "base": (24, 32, 48, 64, 104, 120)}
STAGES = 5
LFEM_EPS, BATCHNORM_EPS, LAYERNORM_EPS = 1e-3, 1e-5, 1e-6


@functools.lru_cache(maxsize=4)
def shapes(size: Size, siamese: bool) -> Shapes:
    """Shape by name of every tensor in a state dict, BatchNorm's buffers too, of a size, for two dates or one."""
    c, found = WIDTHS[size], _convbn("conv_1", 3, WIDTHS[size][0], 3)
    for k in range(1, STAGES + 1):
        found |= _lfem(f"encoder{k}.0", c[k - 1], c[k]) | _lfem(f"encoder{k}.1", c[k], c[k])
        cin, cout = c[STAGES + 1 - k], c[STAGES - k]
        found |= _scam(f"Bi{k}.0", cin, siamese)
        found |= _lfem(f"decoder{k}.0", cin, cin) | _lfem(f"decoder{k}.1", cin, cout)
        found |= _fusion(f"head{k}.0", cout) if siamese else {}
        found |= _conv(f"head{k}.1.conv", cout, 1, 3)
    return found | _conv("head6.0.conv", STAGES, 1, 1)


def is_parameter(name: str) -> bool:
    """Whether a tensor is trained; BatchNorm's buffers are not."""
    return name.rsplit(".", 1)[-1] not in ("running_mean", "running_var", "num_batches_tracked")


def _conv(name: str, cin: int, cout: int, kernel: int, bias: bool = True) -> Shapes:
    weight: Shapes = {f"{name}.weight": (cout, cin, kernel, kernel)}
    return weight | {f"{name}.bias": (cout,)} if bias else weight


def _batchnorm(name: str, channels: int) -> Shapes:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (channels,) for part in parts} | {f"{name}.num_batches_tracked": ()}


def _convbn(name: str, cin: int, cout: int, kernel: int) -> Shapes:
    return _conv(f"{name}.conv", cin, cout, kernel, bias=False) | _batchnorm(f"{name}.bn", cout)


def _lfem(name: str, cin: int, cout: int) -> Shapes:
    wide, reduced = 6 * cin, int(cin * 0.25)
    return {
        **_convbn(f"{name}.expand_conv", cin, wide, 1),
        **_convbn(f"{name}.dwconv", 1, wide, 3),
        **_conv(f"{name}.se.conv_reduce", wide, reduced, 1),
        **_conv(f"{name}.se.conv_expand", reduced, wide, 1),
        **_convbn(f"{name}.project_conv", wide, cout, 1),
    }


def _fusion(name: str, channels: int) -> Shapes:
    norm: Shapes = {f"{name}.diff.1.weight": (channels,), f"{name}.diff.1.bias": (channels,)}
    return _conv(f"{name}.diff.0", 2 * channels, channels, 1) | norm


def _scam(name: str, channels: int, siamese: bool) -> Shapes:
    unit = f"{name}.attn.spatial_gating_unit"
    return {
        f"{name}.layer_scale_1": (channels,),
        f"{name}.layer_scale_2": (channels,),
        **_batchnorm(f"{name}.norm1", channels),
        **_conv(f"{name}.attn.proj_1", channels, channels, 1),
        **(_fusion(f"{unit}.diff", channels) if siamese else {}),
        **_conv(f"{unit}.conv0", 1, channels, 5),
        **_conv(f"{unit}.conv_spatial", 1, channels, 7),
        **_conv(f"{unit}.conv1", channels, channels, 1),
        **_conv(f"{name}.attn.proj_2", channels, channels, 1),
        **_batchnorm(f"{name}.norm2", channels),
        **_conv(f"{name}.mlp.fc1", channels, 4 * channels, 1),
        **_conv(f"{name}.mlp.dwconv.dwconv", 1, 4 * channels, 3),
        **_conv(f"{name}.mlp.fc2", 4 * channels, channels, 1),
    }
