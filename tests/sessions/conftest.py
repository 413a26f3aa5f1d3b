"""A small model and its simulated plan."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from simulated_session import TILE, write


@pytest.fixture(scope="module")
def model(standin: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "m.onnx"
    standin.integer_model(path, radius=2, tile=TILE, halo=4)
    return path


@pytest.fixture(scope="module")
def plan(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plan") / "m.plan"
    write(path, model)
    return path
