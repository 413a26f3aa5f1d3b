"""SChanger and its single-date parent: the network, in one file.

Zhou, Hu, Fang, Rui, "SChanger: Change Detection from a Semantic Change and Spatial Consistency Perspective",
IEEE JSTARS 18 (2025), doi 10.1109/JSTARS.2025.3555849. Parameter names are those of the published checkpoints.

Shapes: N pairs, C channels, H x W pixels (multiples of 16). Inside, both dates lie stacked along the batch, date 1
first: (2N, C, H, W). They meet only in `TemporalFusion`. The single-date network takes the same way with (N, C, H, W).
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from schanger_export import fused
from schanger_export.architecture import STAGES, WIDTHS, Size

DROP = 0.2


class DropPath(nn.Module):
    """While training, drop the whole residual branch of a sample with probability `rate`."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        keep = 1 - self.rate
        return x * (x.new_empty(x.shape[0], 1, 1, 1).bernoulli_(keep) / keep)


class ConvBNAct(nn.Module):
    """Convolution without bias, BatchNorm, SiLU; `act=False` leaves out the SiLU."""

    def __init__(self, cin: int, cout: int, kernel: int, groups: int = 1, eps: float = 1e-5, act: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(cin, cout, kernel, padding=(kernel - 1) // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(cout, eps=eps)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        frozen = self.training and not self.bn.training
        x = self._frozen(x) if frozen else self.bn(self.conv(x))
        return F.silu(x) if self.act else x

    def _frozen(self, x: Tensor) -> Tensor:
        # A frozen BatchNorm is a scale and a shift: inside the convolution they cost no pass over the activations,
        # which is what training on a CPU spends most of its time on.
        bn = self.bn
        assert bn.running_var is not None
        assert bn.running_mean is not None
        scale = bn.weight * torch.rsqrt(bn.running_var + bn.eps)
        shift = bn.bias - bn.running_mean * scale
        conv = self.conv
        weight = conv.weight * scale[:, None, None, None]
        return F.conv2d(x, weight, shift, padding=conv.padding, groups=conv.groups)


class SqueezeExcite(nn.Module):
    """A gate per channel from the mean over the whole tile."""

    def __init__(self, channels: int, reduced: int) -> None:
        super().__init__()
        self.conv_reduce = nn.Conv2d(channels, reduced, 1)
        self.conv_expand = nn.Conv2d(reduced, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = _spatial_mean(x)  # (N, C, 1, 1)
        return x * torch.sigmoid(self.conv_expand(F.silu(self.conv_reduce(gate))))


class LFEM(nn.Module):
    """Light feature extraction: an inverted residual that sees one date at a time."""

    def __init__(self, cin: int, cout: int) -> None:
        super().__init__()
        wide = 6 * cin
        self.expand_conv = ConvBNAct(cin, wide, 1, eps=1e-3)
        self.dwconv = ConvBNAct(wide, wide, 3, groups=wide, eps=1e-3)
        self.se = SqueezeExcite(wide, int(cin * 0.25))
        self.project_conv = ConvBNAct(wide, cout, 1, eps=1e-3, act=False)
        self.residual = cin == cout
        self.drop_path = DropPath(DROP)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project_conv(self._middle(x))  # (2N, cout, H, W)
        return x + self.drop_path(y) if self.residual else y

    def _middle(self, x: Tensor) -> Tensor:
        if self.training and self.expand_conv.bn.training:
            wide = self.expand_conv.conv(x)  # (2N, 6 cin, H, W)
            if fused.usable(self, wide):
                return fused.middle(self, wide)
            return self.se(self.dwconv(F.silu(self.expand_conv.bn(wide))))  # type: ignore[no-any-return]
        return self.se(self.dwconv(self.expand_conv(x)))  # type: ignore[no-any-return]


class ChannelLayerNorm(nn.Module):
    """LayerNorm over the channels of each pixel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        x = x - x.mean(1, keepdim=True)
        x = x / torch.sqrt(x.pow(2).mean(1, keepdim=True) + 1e-6)
        return x * self.weight[:, None, None] + self.bias[:, None, None]


class TemporalFusion(nn.Module):
    """TFM: the features of both dates become one map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.diff = nn.Sequential(nn.Conv2d(2 * channels, channels, 1), ChannelLayerNorm(channels), nn.GELU())

    def forward(self, x: Tensor) -> Tensor:
        before, after = x.chunk(2)  # (2N, C, H, W) -> twice (N, C, H, W)
        return self.diff(torch.cat((before, after), 1))  # type: ignore[no-any-return]  # (N, C, H, W)


class SpatialGatingUnit(nn.Module):
    """One attention map for both dates, from where they differ (or from the one date there is); unsquashed."""

    def __init__(self, channels: int, siamese: bool) -> None:
        super().__init__()
        if siamese:
            self.diff: nn.Module = TemporalFusion(channels)
        self.conv0 = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.conv_spatial = nn.Conv2d(channels, channels, 7, padding=9, dilation=3, groups=channels)
        self.conv1 = nn.Conv2d(channels, channels, 1)
        self.siamese = siamese

    def forward(self, x: Tensor) -> Tensor:
        both = self.diff(x) if self.siamese else x  # (N, C, H, W)
        near = _depthwise(self.conv0, both, self.training)
        gate: Tensor = self.conv1(_depthwise(self.conv_spatial, near, self.training))
        return x * (torch.cat((gate, gate)) if self.siamese else gate)  # (2N, C, H, W)


class SpatialAttention(nn.Module):
    """The attention half of SCAM: y -> 1x1, GELU, gate, 1x1, + y."""

    def __init__(self, channels: int, siamese: bool) -> None:
        super().__init__()
        self.proj_1 = nn.Conv2d(channels, channels, 1)
        self.spatial_gating_unit = SpatialGatingUnit(channels, siamese)
        self.proj_2 = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.proj_2(self.spatial_gating_unit(F.gelu(self.proj_1(x))))
        return y + x


class DepthwiseConv(nn.Module):
    """A 3x3 depthwise convolution, in a module of its own because the checkpoints name it so."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        return _depthwise(self.dwconv, x, self.training)


class MLP(nn.Module):
    """1x1 to 4C, depthwise 3x3, GELU, 1x1 back to C."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, 4 * channels, 1)
        self.dwconv = DepthwiseConv(4 * channels)
        self.fc2 = nn.Conv2d(4 * channels, channels, 1)
        self.drop = nn.Dropout(DROP)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(F.gelu(self.dwconv(self.fc1(x))))
        return self.drop(self.fc2(x))  # type: ignore[no-any-return]


class SCAM(nn.Module):
    """Spatial consistency attention: both dates are weighted by one shared map."""

    def __init__(self, channels: int, siamese: bool) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.attn = SpatialAttention(channels, siamese)
        self.norm2 = nn.BatchNorm2d(channels)
        self.mlp = MLP(channels)
        self.layer_scale_1 = nn.Parameter(torch.full((channels,), 1e-2))
        self.layer_scale_2 = nn.Parameter(torch.full((channels,), 1e-2))
        self.drop_path = DropPath(DROP)

    def forward(self, x: Tensor) -> Tensor:  # (2N, C, H, W) -> the same
        x = x + self.drop_path(self.layer_scale_1[:, None, None] * self.attn(self.norm1(x)))
        return x + self.drop_path(self.layer_scale_2[:, None, None] * self.mlp(self.norm2(x)))  # type: ignore[no-any-return]


def _spatial_mean(x: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C, 1, 1)."""
    if not torch.is_grad_enabled():
        return x.mean((2, 3), keepdim=True)
    # The gradient of a mean is a whole tensor, in an order of its own; adding it to a channels_last gradient makes a
    # training step on a CPU 1.08 times as long. The gradient of a sum is one number per channel, seen as a tensor.
    return x.sum((2, 3), keepdim=True) / (x.shape[2] * x.shape[3])


def _depthwise(conv: nn.Conv2d, x: Tensor, training: bool) -> Tensor:
    """A depthwise convolution; while training on a CPU our own, or with dilation d as d x d interleaved ones without.

    There the backward pass of a dilated depthwise convolution makes a step 1.13 times as long; both ways are exact.
    """
    if not training or x.is_cuda:
        return conv(x)  # type: ignore[no-any-return]
    if (own := fused.depthwise(conv, x)) is not None:
        return own
    if conv.dilation[0] == 1:
        return conv(x)  # type: ignore[no-any-return]
    d, (H, W) = conv.dilation[0], x.shape[2:]
    x = F.pixel_unshuffle(F.pad(x, (0, -W % d, 0, -H % d)), d)  # (N, C*d*d, H/d, W/d)
    weight = conv.weight.repeat_interleave(d * d, 0)
    x = F.conv2d(x, weight, padding=conv.kernel_size[0] // 2, groups=x.shape[1])
    return F.pixel_shuffle(x, d)[:, :, :H, :W] + conv.bias[:, None, None]  # type: ignore[index]


def _logit(cin: int, kernel: int) -> nn.Sequential:
    """A convolution to one logit, under the name that the checkpoints give it."""
    return nn.Sequential(OrderedDict(conv=nn.Conv2d(cin, 1, kernel, padding=(kernel - 1) // 2)))


def _head(channels: int, siamese: bool) -> nn.Sequential:
    parts: list[tuple[str, nn.Module]] = [("0", TemporalFusion(channels))] if siamese else []
    return nn.Sequential(OrderedDict([*parts, ("1", _logit(channels, 3))]))


def _upsample(x: Tensor, factor: int) -> Tensor:
    return x if factor == 1 else F.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=True)


class _UNet(nn.Module):
    """Encoder, attention on every skip, decoder with side heads: common to both networks."""

    siamese: bool

    def __init__(self, size: Size) -> None:
        super().__init__()
        if size not in WIDTHS:
            raise ValueError(f"size must be one of {', '.join(WIDTHS)}, not {size!r}")
        self.size, c = size, WIDTHS[size]
        self.conv_1 = ConvBNAct(3, c[0], 3)
        for k in range(1, STAGES + 1):
            self.add_module(f"encoder{k}", nn.Sequential(LFEM(c[k - 1], c[k]), LFEM(c[k], c[k])))
        for k in range(1, STAGES + 1):
            cin, cout = c[STAGES + 1 - k], c[STAGES - k]
            self.add_module(f"Bi{k}", nn.Sequential(SCAM(cin, self.siamese)))
            self.add_module(f"decoder{k}", nn.Sequential(LFEM(cin, cin), LFEM(cin, cout)))
            self.add_module(f"head{k}", _head(cout, self.siamese))
        self.head6 = nn.Sequential(_logit(STAGES, 1))
        self.apply(_initialize)

    def _stage(self, name: str, k: int) -> Callable[[Tensor], Tensor]:
        return self.get_submodule(f"{name}{k}")

    def _logits(self, x: Tensor) -> Tensor:
        """(2N or N, 3, H, W) normalized -> (N, 6, H, W), fused first."""
        side = self._side_logits(x)
        return torch.cat((self.head6(side), side), 1)

    def _side_logits(self, x: Tensor) -> Tensor:
        """(2N or N, 3, H, W) normalized -> (N, 5, H, W), coarsest first."""
        x = self.conv_1(x)  # (2N, c0, H, W)
        skips = []
        for k in range(1, STAGES + 1):
            x = self._stage("encoder", k)(F.max_pool2d(x, 2) if k > 1 else x)  # (2N, ck, H / 2^(k-1), W / 2^(k-1))
            skips.append(x)
        x = self._stage("Bi", 1)(skips.pop())
        sides = []
        for k in range(1, STAGES + 1):
            if k > 1:
                skip = skips.pop()
                x = _upsample(x, 2) + self._stage("Bi", k)(skip)
            x = self._stage("decoder", k)(x)  # (2N, c(5-k), H / 2^(5-k), W / 2^(5-k))
            sides.append(_upsample(self._stage("head", k)(x), 2 ** (STAGES - k)))  # (N, 1, H, W)
        return torch.cat(sides, 1)


def freeze_batchnorm(network: nn.Module) -> None:
    """BatchNorm keeps its running statistics; call it after every `network.train()`."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm):
            module.eval()


class SChanger(_UNet):
    """Two dates in, logits of change out.

    Args:
        size: `small` (607,305 parameters) or `base` (2,369,995).
    """

    siamese = True

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Normalized RGB, twice (N, 3, H, W) -> logits (N, 6, H, W): the fused map, then the five side maps."""
        return self._logits(torch.cat((before, after)))

    def fused_logit(self, before: Tensor, after: Tensor) -> Tensor:
        """The fused map alone, (N, 1, H, W): what a model file computes."""
        return self.head6(self._side_logits(torch.cat((before, after))))  # type: ignore[no-any-return]


class SingleDateNetwork(_UNet):
    """The same network for one date, without temporal fusion: the semantic prior is trained with it."""

    siamese = False

    def forward(self, image: Tensor) -> Tensor:
        """Normalized RGB (N, 3, H, W) -> logits (N, 6, H, W): the fused map, then the five side maps."""
        return self._logits(image)


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, 0, math.sqrt(2 / fan_out))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
