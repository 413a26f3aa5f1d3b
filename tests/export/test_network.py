"""The network equals the authors' implementation, by golden values computed with it."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from schanger_export.network import SChanger, SingleDateNetwork  # noqa: E402

TOLERANCE = 2e-5


@pytest.fixture(scope="module")
def golden(reference: ModuleType) -> dict[str, Any]:
    return {name: torch.from_numpy(array) for name, array in reference.golden().items()}


@pytest.fixture(scope="module")
def network(weights: Callable[..., dict[str, Any]]) -> SChanger:
    network = SChanger("small")
    network.load_state_dict(weights("small"))
    return network.eval()


@pytest.mark.parametrize("shape", ["square", "wide"])
def test_logits_equal_the_golden_file(network: SChanger, golden: dict[str, Any], shape: str) -> None:
    wanted = golden[f"{shape}_logits"]
    with torch.inference_mode():
        logits = network(golden[f"{shape}_t1"], golden[f"{shape}_t2"])
        fused = network.fused_logit(golden[f"{shape}_t1"], golden[f"{shape}_t2"])
    assert logits.shape[1] == 6
    torch.testing.assert_close(logits[:, : wanted.shape[1]], wanted, rtol=0, atol=TOLERANCE)
    torch.testing.assert_close(fused, wanted[:, :1], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("shape", ["square", "wide"])
def test_single_date_probability_equals_the_golden_file(
    weights: Callable[..., dict[str, Any]], golden: dict[str, Any], shape: str
) -> None:
    network = SingleDateNetwork("small")
    network.load_state_dict(weights("small", siamese=False))
    with torch.inference_mode():
        probability = torch.sigmoid(network.eval()(golden[f"{shape}_t1"])[:, :1])
    torch.testing.assert_close(probability, golden[f"{shape}_single_probability"], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("size", "parameters"), [("small", 607_305), ("base", 2_369_995)])
def test_names_shapes_and_parameter_counts(reference: ModuleType, size: Any, parameters: int) -> None:
    network = SChanger(size)
    shapes = {name: list(value.shape) for name, value in network.state_dict().items()}
    assert shapes == reference.table(size)
    assert sum(p.numel() for p in network.parameters()) == parameters


def test_training_mode_gives_six_maps_and_gradients(weights: Callable[..., dict[str, Any]]) -> None:
    torch.manual_seed(0)
    network = SChanger("small")
    network.load_state_dict(weights("small"))
    before, after = torch.randn(2, 2, 3, 32, 32)
    logits = network.train()(before, after)
    assert logits.shape == (2, 6, 32, 32)
    logits.mean().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in network.parameters())


def test_the_order_of_the_dates_matters(network: SChanger, golden: dict[str, Any]) -> None:
    before, after = golden["square_t1"], golden["square_t2"]
    with torch.inference_mode():
        difference = (network(before, after) - network(after, before)).abs().max()
    assert difference > 0.01


def test_pairs_in_a_batch_do_not_meet(network: SChanger, golden: dict[str, Any]) -> None:
    before, after = golden["square_t1"], golden["square_t2"]
    with torch.inference_mode():
        together, alone = network(before, after)[1:], network(before[1:], after[1:])
    torch.testing.assert_close(together, alone, rtol=0, atol=TOLERANCE)
