"""What `info` says of model files and plans, without an engine."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import ModuleType

import pytest
from simulated_session import TILE, write

from schanger_edge.errors import ModelError, SessionError
from schanger_edge.model.plan import info, sidecar_of


@pytest.fixture
def model(standin: ModuleType, tmp_path: Path) -> Path:
    standin.integer_model(tmp_path / "m.onnx", radius=1, tile=TILE, halo=4)
    return tmp_path / "m.onnx"


def test_a_model_file(model: Path, tmp_path: Path) -> None:
    said = info(model)
    assert (said["file"], said["sha256"]) == (str(model), hashlib.sha256(model.read_bytes()).hexdigest())
    assert (said["tile"], said["precision"]) == (TILE, "fp32")
    with pytest.raises(ModelError, match=r"none\.onnx cannot be read"):
        info(tmp_path / "none.onnx")


def test_a_plan_for_elsewhere(model: Path, tmp_path: Path) -> None:
    """Neither a GPU nor TensorRT is here, and the plan's bytes are not looked at."""
    plan = tmp_path / "m.plan"
    write(plan, model)
    said, sha256 = info(plan), hashlib.sha256(plan.read_bytes()).hexdigest()
    assert (said["file"], said["sha256"], said["tile"]) == (str(plan), sha256, TILE)
    assert said["plan"]["target"]["version"] == "10.13.3"
    assert said["plan"]["batches"] == {"least": 1, "best": 2, "most": 4}
    assert said["plan"]["model_sha256"] == info(model)["sha256"]
    assert "card" not in said["plan"]
    sidecar_of(plan).unlink()
    with pytest.raises(SessionError, match=r"has no sidecar m\.plan\.json"):
        info(plan)
