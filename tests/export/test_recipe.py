"""The published recipe, number by number, and over processes."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional as F  # noqa: E402

from schanger_export.network import SChanger, freeze_batchnorm  # noqa: E402
from schanger_export.recipe import (  # noqa: E402
    ema_decay,
    learning_rate,
    loss_function,
    optimizer_groups,
    update_average,
)


def published_loss(logits, label):  # type: ignore[no-untyped-def]
    """The formula as it is written, one map at a time."""
    total = 0.0
    for k in range(6):
        logit = logits[:, k : k + 1]
        p = torch.sigmoid(logit)
        dice = 1 - (2 * (p * label).sum() + 1e-7) / (p.sum() + label.sum() + 1e-7)
        total = total + F.binary_cross_entropy_with_logits(logit, label) + dice
    return total


def test_loss_is_the_published_one() -> None:
    torch.manual_seed(0)
    logits, label = 5 * torch.randn(3, 6, 16, 24), (torch.rand(3, 1, 16, 24) > 0.7).float()
    assert loss_function(logits, label).item() == pytest.approx(published_loss(logits, label).item(), rel=1e-6)
    fused = loss_function(logits, label, side_losses=False)
    assert fused.item() == pytest.approx(
        published_loss(logits[:, :1].expand(-1, 6, -1, -1), label).item() / 6, rel=1e-5
    )


def test_loss_by_hand() -> None:
    label = torch.zeros(1, 1, 2, 2)
    label[..., 0] = 1
    dice = 1 - (2 * 1.0 + 1e-7) / (2.0 + 2.0 + 1e-7)
    assert loss_function(torch.zeros(1, 6, 2, 2), label).item() == pytest.approx(6 * (np.log(2) + dice))
    assert loss_function(100 * (2 * label - 1).expand(1, 6, 2, 2), label).item() == pytest.approx(0, abs=1e-5)
    empty = torch.zeros(1, 1, 2, 2)
    assert loss_function(torch.full((1, 6, 2, 2), -100.0), empty).item() == pytest.approx(0, abs=1e-5)


def test_rate_warms_up_by_step_and_falls_to_a_millionth() -> None:
    rates = [learning_rate(step, 1000, 100, 2.0) for step in range(1001)]
    assert rates[0] == pytest.approx(2e-3)
    assert rates[50] == pytest.approx(2 * (1e-3 + 0.999 / 2))
    assert rates[100] == 2.0
    assert rates[550] == pytest.approx(1.0, rel=1e-3)
    assert rates[1000] == pytest.approx(2e-6)
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert learning_rate(0, 10, 0, 1.0) == 1.0


def test_kernels_decay_and_nothing_else() -> None:
    network = SChanger("small")
    kernels, others = optimizer_groups(network, 2e-4)
    assert kernels["weight_decay"] == 2e-4
    assert others["weight_decay"] == 0
    assert all(p.ndim == 4 for p in kernels["params"])
    assert {p.ndim for p in others["params"]} == {1}
    assert sum(p.numel() for group in (kernels, others) for p in group["params"]) == 607_305


def test_average_takes_buffers_and_copies_integers() -> None:
    network, average = torch.nn.BatchNorm2d(2), torch.nn.BatchNorm2d(2)
    network.running_mean.fill_(1.0)
    network.weight.data.fill_(3.0)
    network.num_batches_tracked.fill_(7)
    update_average(average, network, 0.75)
    assert average.running_mean.tolist() == [0.25, 0.25]
    assert average.weight.tolist() == [1.5, 1.5]
    assert average.num_batches_tracked.item() == 7
    assert ema_decay(1, 0.9998) < 0.2
    assert ema_decay(10**6, 0.9998) == 0.9998


def gradient(network, before, after, label, world=1):  # type: ignore[no-untyped-def]
    loss_function(network(before, after), label, world=world).backward()
    return torch.cat([p.grad.flatten() for p in network.parameters()])


def fixed_network():  # type: ignore[no-untyped-def]
    """Nothing random, nothing that depends on the batch: BatchNorm frozen, dropout 0."""
    torch.manual_seed(1)
    network = SChanger("small").train()
    freeze_batchnorm(network)
    for module in network.modules():
        if hasattr(module, "rate"):
            module.rate = 0.0
        elif isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        elif isinstance(module, torch.nn.Conv2d):
            module.weight.data *= 0.3  # the published start gives logits in the hundreds, where sigmoid has no slope
    return network


def whole_batch():  # type: ignore[no-untyped-def]
    generator = torch.Generator().manual_seed(2)
    before, after = torch.randn(2, 4, 3, 32, 32, generator=generator)
    label = torch.zeros(4, 1, 32, 32)
    label[0, :, :20, 3:9] = 1  # shared unevenly: the Dice of the halves is not the Dice of the whole
    label[3, :, 30:] = 1
    return before, after, label


def half_batch(rank: int, port: int, target: str) -> None:
    """One of two processes: the gradient as data-parallel training gives it."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    network = torch.nn.parallel.DistributedDataParallel(fixed_network())
    part = slice(2 * rank, 2 * rank + 2)
    grad = gradient(network, *(tensor[part] for tensor in whole_batch()), world=2)
    if rank == 0:
        torch.save(grad, target)
    torch.distributed.destroy_process_group()


def test_two_processes_give_the_gradient_of_the_whole_batch(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    target = tmp_path / "gradient.pt"
    torch.multiprocessing.start_processes(half_batch, (port, str(target)), nprocs=2, start_method="fork")
    shared = torch.load(target)
    alone = gradient(fixed_network(), *whole_batch())
    assert torch.isfinite(alone).all()
    assert alone.abs().max() > 1e-2
    assert (shared - alone).abs().max() <= 1e-5 * max(1.0, float(alone.abs().max()))
    halves = [gradient(fixed_network(), *(t[2 * k : 2 * k + 2] for t in whole_batch())) for k in (0, 1)]
    assert (sum(halves) / 2 - alone).abs().max() > 1e-4 * float(alone.abs().max())  # so the check can fail


def test_faster_ways_in_training_are_exact() -> None:
    """Frozen BatchNorm inside the convolution, dilation as interleaved convolutions, the mean as a sum."""
    network = fixed_network()
    generator = torch.Generator().manual_seed(3)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(generator=generator)
            module.running_var.uniform_(0.5, 2.0, generator=generator)
    before, after = torch.randn(2, 2, 3, 48, 80, generator=generator)  # no multiple of the dilation
    trained = network(before, after)
    with torch.no_grad():
        reference = network.eval()(before, after)
    assert (trained - reference).abs().max() <= 1e-4 * reference.abs().max()
