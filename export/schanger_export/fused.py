"""The wide middle of an LFEM as one operation, for training on one thread of a CPU with AVX-512.

BatchNorm, SiLU, depthwise convolution, BatchNorm, SiLU and squeeze-excite gate pass over tensors of six times the
channels, and training on a CPU spends most of its time on such passes. `fused_lfem.cpp` reads and writes each as seldom
as can be and computes the cheap parts again in the backward pass. It is compiled on first use, where there is a
compiler; without one, on a GPU or on several threads the network takes its usual way.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SOURCE = Path(__file__).with_name("fused_lfem.cpp")
VECTOR = 16
_NAMES = {torch.float32: "float", torch.bfloat16: "bf16"}


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled operations; None where this machine cannot have them."""
    compiler = shutil.which("g++") or shutil.which("c++")
    try:
        fits = "avx512bw" in Path("/proc/cpuinfo").read_text()
    except OSError:
        fits = False
    if not fits or not compiler or os.environ.get("SCHANGER_FUSED") == "0":
        return None
    mark = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"schanger-fused-{os.getuid()}"
    built = folder / f"{mark}.so"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid != os.getuid():
            return None
        if not built.exists():
            fresh = folder / f"{mark}.{os.getpid()}"
            flags = ["-O3", "-march=native", "-std=c++17", "-shared", "-fPIC"]
            subprocess.run([compiler, *flags, str(SOURCE), "-o", str(fresh)], check=True, capture_output=True)
            fresh.replace(built)
        return ctypes.CDLL(str(built))
    except (OSError, subprocess.CalledProcessError):
        return None


def usable(module: Any, x: Tensor) -> bool:
    """Whether the middle of this LFEM can be computed here: x is the output of its first convolution."""
    live = module.training and module.expand_conv.bn.training
    return live and x.shape[1] % VECTOR == 0 and _takes(x)


def _takes(x: Tensor) -> bool:
    return (
        torch.is_grad_enabled()
        and x.device.type == "cpu"
        and x.dtype in _NAMES
        and torch.get_num_threads() == 1
        and x.is_contiguous(memory_format=torch.channels_last)
        and library() is not None
    )


def depthwise(conv: nn.Conv2d, x: Tensor) -> Tensor | None:
    """A depthwise convolution with bias of 3, 5 or 7 pixels while training; None where it cannot be had here."""
    if torch.is_autocast_enabled("cpu"):
        x = x.to(torch.get_autocast_dtype("cpu"))
    if not _takes(x):
        return None
    return _Depthwise.apply(x, conv.weight, conv.bias, conv.dilation[0])  # type: ignore[no-any-return, no-untyped-call]


def middle(module: Any, x: Tensor) -> Tensor:
    """From the output of the first convolution (N, C, H, W) to the input of the last one, the same shape."""
    first, second, gate = module.expand_conv.bn, module.dwconv.bn, module.se
    layers = (first, module.dwconv.conv, second, gate.conv_reduce, gate.conv_expand)
    parameters = [parameter for layer in layers for parameter in layer.parameters()]  # weight, then bias
    return _Middle.apply(x, first, second, *parameters)  # type: ignore[no-any-return, no-untyped-call]


class _Middle(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, first: nn.BatchNorm2d, second: nn.BatchNorm2d, *parameters: Tensor) -> Tensor:
        w1, b1, kernel, w2, b2, *gate_parameters = parameters
        n, c, h, w = x.shape
        sums = torch.empty(2, c, dtype=torch.float64)
        _call("moments", x, n * h * w, c, sums)
        norm1 = _Norm(first, w1, b1, sums, n * h * w)
        d = torch.empty_like(x)
        taps = kernel.detach().float().reshape(c, 9).t().contiguous()
        _call("forward", x, d, *norm1.line, taps, n, h, w, c, sums)
        norm2 = _Norm(second, w2, b2, sums, n * h * w)
        pooled = torch.empty(n, c)
        _call("pooled", d, *norm2.line, n, h * w, c, pooled)
        gate = _gate(pooled, *gate_parameters).contiguous()
        y = torch.empty_like(x)
        _call("gated", d, *norm2.line, gate, n, h * w, c, y)
        ctx.save_for_backward(x, d, pooled, gate, taps, *gate_parameters)
        ctx.norms, ctx.kernel_shape = (norm1, norm2), kernel.shape
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, d, pooled, gate, taps, *gate_parameters = ctx.saved_tensors
        norm1, norm2 = ctx.norms
        n, c, h, w = x.shape
        g = g.to(x.dtype).contiguous(memory_format=torch.channels_last)
        g_gate = torch.empty(n, c)
        _call("gate_gradient", d, g, *norm2.line, n, h * w, c, g_gate)
        with torch.enable_grad():
            inputs = [tensor.detach().requires_grad_() for tensor in (pooled, *gate_parameters)]
            g_pooled, *g_parameters = torch.autograd.grad(_gate(*inputs), inputs, g_gate)
        mean = (g_pooled / (h * w)).contiguous()
        sums = torch.empty(2, c, dtype=torch.float64)
        _call("second_sums", d, g, *norm2.line, gate, mean, n, h * w, c, sums)
        g_w2, g_b2, *line2 = norm2.backward(sums)
        gx, kernel = torch.empty_like(x), torch.empty(9, c, dtype=torch.float64)
        tensors = (x, d, g, gx, *norm1.line, taps, *norm2.line, gate, mean, *line2)
        _call("backward", *tensors, n, h, w, c, kernel, sums)
        g_w1, g_b1, *line1 = norm1.backward(sums)
        _call("first_norm", x, gx, *line1, n * h * w, c)
        g_kernel = kernel.t().float().reshape(ctx.kernel_shape)
        return (gx, None, None, g_w1, g_b1, g_kernel, g_w2, g_b2, *g_parameters)


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, dilation: int) -> Tensor:
        n, c, h, w = x.shape
        side = weight.shape[2]
        taps = weight.detach().float().reshape(c, -1).t().contiguous()
        y = torch.empty_like(x)
        _call("depthwise", x, taps, bias.detach().float(), n, h, w, c, side, dilation, y)
        ctx.save_for_backward(x, taps)
        ctx.settings = (side, dilation, weight.shape)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, taps = ctx.saved_tensors
        side, dilation, shape = ctx.settings
        n, c, h, w = x.shape
        g = g.to(x.dtype).contiguous(memory_format=torch.channels_last)
        gx, weight = torch.empty_like(x), torch.empty(side**2, c, dtype=torch.float64)
        bias = torch.empty(c, dtype=torch.float64)
        _call("depthwise_back", x, g, taps, n, h, w, c, side, dilation, gx, weight, bias)
        return gx, weight.t().float().reshape(shape), bias.float(), None


class _Norm:
    """A BatchNorm of one batch as a `line`, scale x + shift; the running statistics are moved on.

    It is made from the module, its weight and bias, the sums (2, C) of the input and of its squares, and how many
    values a channel has.
    """

    def __init__(self, norm: nn.BatchNorm2d, weight: Tensor, bias: Tensor, sums: Tensor, count: int) -> None:
        mean = sums[0] / count
        var = (sums[1] / count - mean**2).clamp_min(0)
        self.mean, self.count = mean, count
        self.weight, self.inverse = weight.detach().double(), torch.rsqrt(var + norm.eps)
        shift = bias.detach().double() - self.weight * self.inverse * mean
        self.line = (self.weight * self.inverse).float(), shift.float()
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert norm.num_batches_tracked is not None
        part = norm.momentum or 0.1
        norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), part)
        norm.running_var.lerp_((var * count / max(count - 1, 1)).to(norm.running_var.dtype), part)
        norm.num_batches_tracked.add_(1)

    def backward(self, sums: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """(2, C) sums of the gradient g of the output and of g x -> gradients of weight and bias, and u, v, t.

        The gradient of the input is u g + v x + t.
        """
        total, product = sums
        along = self.inverse * (product - self.mean * total)  # sum of g times the normalized input
        u = self.weight * self.inverse
        v = -u * self.inverse * along / self.count
        t = -u * total / self.count - v * self.mean
        return along.float(), total.float(), u.float(), v.float(), t.float()


def _gate(pooled: Tensor, reduce: Tensor, reduce_bias: Tensor, expand: Tensor, expand_bias: Tensor) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        hidden = F.silu(F.linear(pooled, reduce[:, :, 0, 0], reduce_bias))
        return torch.sigmoid(F.linear(hidden, expand[:, :, 0, 0], expand_bias))


def _call(name: str, *arguments: Tensor | int) -> None:
    """Call an operation by the type of its first tensor; numbers of pixels are long, others int, as it takes them."""
    chosen = library()
    assert chosen is not None
    first = arguments[0]
    assert isinstance(first, Tensor)
    function = getattr(chosen, f"{name}_{_NAMES[first.dtype]}")
    function.restype = None
    values: list[Any] = [
        ctypes.c_void_p(value.data_ptr()) if isinstance(value, Tensor) else ctypes.c_long(value) for value in arguments
    ]
    function(*values)
