"""Fixtures of the factory's tests: deterministic weights, and checkpoints made of them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from helpers import load_script

DATA = Path(__file__).parent.parent / "data"


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    """tests/data/deterministic_weights.py."""
    return load_script(DATA / "deterministic_weights.py")


@pytest.fixture(scope="session")
def weights(reference: ModuleType) -> Callable[..., dict[str, Any]]:
    """weights(size, siamese=True): a fresh state dict of deterministic weights."""
    torch = pytest.importorskip("torch")

    def make(size: str = "small", siamese: bool = True) -> dict[str, Any]:
        table = reference.table(size)
        if not siamese:
            table = {name: shape for name, shape in table.items() if not is_fusion(name)}
        return {name: torch.from_numpy(array) for name, array in reference.make(table).items()}

    return make


@pytest.fixture(scope="module")
def content(weights: Callable[..., dict[str, Any]]) -> bytes:
    """A checkpoint of the small network, of the published form, as its file's bytes."""
    torch = pytest.importorskip("torch")
    file = io.BytesIO()
    torch.save({"state_dict": weights("small")}, file)
    return file.getvalue()


def is_fusion(name: str) -> bool:
    """The names that the single-date network lacks, by the published rule."""
    return ".spatial_gating_unit.diff." in name or any(name.startswith(f"head{k}.0.") for k in range(1, 6))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Callable[..., Path]:
    """checkpoint(state_dict, name="weights.pth"): the file."""
    torch = pytest.importorskip("torch")

    def make(state: Any, name: str = "weights.pth") -> Path:
        torch.save({"state_dict": state}, tmp_path / name)
        return tmp_path / name

    return make
