"""Operations of our own for training on a CPU compute what the plain ones compute, and so do their gradients."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from schanger_export import fused  # noqa: E402
from schanger_export.network import LFEM  # noqa: E402

pytestmark = pytest.mark.skipif(fused.library() is None, reason="needs AVX-512 and a C++ compiler")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def random(*shape: int):  # type: ignore[no-untyped-def]
    generator = torch.Generator().manual_seed(1)
    return torch.randn(*shape, generator=generator).contiguous(memory_format=torch.channels_last)


def assert_same(ours, theirs) -> None:  # type: ignore[no-untyped-def]
    """Up to rounding of what is computed in float32, relative to the largest."""
    assert float((ours.detach() - theirs.detach()).abs().max()) <= 1e-5 * float(theirs.detach().abs().max())


@pytest.mark.parametrize(("cin", "cout"), [(8, 16), (16, 16), (40, 40)])
def test_an_lfem_and_its_gradients(cin: int, cout: int) -> None:
    ours = LFEM(cin, cout).to(memory_format=torch.channels_last).train()
    ours.drop_path.rate = 0.0
    plain = copy.deepcopy(ours).double()  # double is left to torch
    x, y = random(4, cin, 24, 40), random(4, cin, 24, 40).double()
    x.requires_grad_()
    y.requires_grad_()
    assert fused.usable(ours, ours.expand_conv.conv(x))
    out, expected = ours(x), plain(y)
    assert_same(out, expected)
    slope = random(*out.shape)
    (out * slope).sum().backward()
    (expected * slope).sum().backward()
    assert_same(x.grad, y.grad)
    for mine, other in zip(ours.parameters(), plain.parameters(), strict=True):
        assert_same(mine.grad, other.grad)
    for mine, other in zip(ours.buffers(), plain.buffers(), strict=True):
        assert_same(mine, other)


@pytest.mark.parametrize(("kernel", "dilation", "channels"), [(3, 1, 64), (5, 1, 40), (7, 3, 16), (7, 3, 8)])
def test_a_depthwise_convolution_and_its_gradients(kernel: int, dilation: int, channels: int) -> None:
    padding = kernel // 2 * dilation
    ours = nn.Conv2d(channels, channels, kernel, padding=padding, dilation=dilation, groups=channels)
    plain = copy.deepcopy(ours).double()
    x, y = random(2, channels, 17, 33), random(2, channels, 17, 33).double()
    x.requires_grad_()
    y.requires_grad_()
    out, expected = fused.depthwise(ours, x), plain(y)
    assert_same(out, expected)
    out.square().sum().backward()
    expected.square().sum().backward()
    assert_same(x.grad, y.grad)
    for mine, other in zip(ours.parameters(), plain.parameters(), strict=True):
        assert_same(mine.grad, other.grad)


def test_in_bfloat16_gradients_point_the_same_way() -> None:
    module = LFEM(16, 16).to(memory_format=torch.channels_last).train()
    module.drop_path.rate = 0.0
    x, gradients = random(4, 16, 32, 32), []
    for low in (False, True):
        module.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            (module(x).float() * random(4, 16, 32, 32).flip(0)).mean().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in module.parameters()]))
    assert float(torch.cosine_similarity(*gradients, dim=0)) > 0.99


def test_the_plain_way_is_taken_on_several_threads() -> None:
    torch.set_num_threads(2)
    module = LFEM(16, 16).to(memory_format=torch.channels_last).train()
    assert not fused.usable(module, module.expand_conv.conv(random(2, 16, 16, 16)))
