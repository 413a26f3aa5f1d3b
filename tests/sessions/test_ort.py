"""The ONNX Runtime session keeps the contract, and says what breaks it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest

from schanger_edge.errors import ModelError, SessionError
from schanger_edge.model.card import METADATA_KEY
from schanger_edge.sessions import check_probability, open_session


@pytest.fixture
def model(standin: ModuleType, tmp_path: Path) -> Path:
    standin.integer_model(tmp_path / "m.onnx", radius=1, tile=32, halo=2)
    return tmp_path / "m.onnx"


def test_runs_any_batch(model: Path) -> None:
    rng = np.random.default_rng(0)
    tiles = rng.integers(0, 255, (2, 5, 3, 32, 32), np.uint8)
    with open_session(model, threads=1) as session:
        assert session.card.name == "standin-integer"
        assert "1 thread)" in session.device
        whole = session.run(*tiles)
        assert whole.shape == (5, 1, 32, 32)
        assert whole.dtype == np.float32
        for n in range(5):
            assert (session.run(tiles[0, n : n + 1], tiles[1, n : n + 1]) == whole[n]).all()
    with pytest.raises(SessionError, match="closed"):
        session.run(*tiles)


def test_engine_errors_become_one_sentence(model: Path) -> None:
    wrong = np.zeros((1, 3, 16, 16), np.uint8)
    with open_session(model) as session:
        with pytest.raises(
            SessionError, match=r"m\.onnx takes tiles \(N, 3, 32, 32\) uint8 .* not \(1, 3, 16, 16\) uint8"
        ):
            session.run(wrong, wrong)
        session.card = dataclasses.replace(session.card, tile=16, halo=2)  # which the graph does not take
        with pytest.raises(SessionError, match=r"failed on m\.onnx") as caught:
            session.run(wrong, wrong)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (
            {"ir_version": 99},
            r"can load \(Unsupported model IR version: 99, max .* version: \d+\): export it again",
        ),
        ({"opset": 99}, r"can load \(.*[Oo]pset 99 is under development.*\): export it again, or update onnxruntime"),
    ],
)
def test_a_model_of_a_newer_version_is_told_by_its_version(model: Path, version: dict[str, int], words: str) -> None:
    newer = onnx.load(str(model))
    newer.ir_version = version.get("ir_version", newer.ir_version)
    newer.opset_import[0].version = version.get("opset", newer.opset_import[0].version)
    onnx.save(newer, str(model))
    with pytest.raises(ModelError, match=words) as caught:
        open_session(model)
    assert "onnxruntime_src" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.5, 1.5])
def test_what_is_no_probability_is_refused(value: float) -> None:
    array = np.full((1, 1, 4, 4), 0.5, np.float32)
    check_probability(array, (1, 1, 4, 4))
    array[0, 0, 2, 2] = value
    with pytest.raises(SessionError, match="which are not probabilities"):
        check_probability(array, (1, 1, 4, 4))
    with pytest.raises(SessionError, match="shape"):
        check_probability(array, (1, 1, 4, 5))


def test_unknown_device(model: Path) -> None:
    with pytest.raises(SessionError, match="toaster"):
        open_session(model, device="toaster")


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        open_session(tmp_path / "none.onnx")
    text = tmp_path / "text.onnx"
    text.write_text("hello")
    with pytest.raises(ModelError, match="is no ONNX model, or is damaged"):
        open_session(text)


def edit(model: Path, change: str) -> None:
    proto = onnx.load(str(model))
    if change == "card":
        del proto.metadata_props[:]
    elif change == "garbled card":
        onnx.helper.set_model_props(proto, {METADATA_KEY: '{"name": 1}'})
    elif change == "name":
        for text in (proto.graph.input[0], proto.graph.node[0]):
            names = [text] if hasattr(text, "type") else None
            if names:
                text.name = "first"
            else:
                text.input[0] = "first"
    elif change == "fixed batch":
        for tensor in (*proto.graph.input, *proto.graph.output):
            tensor.type.tensor_type.shape.dim[0].dim_value = 1
    elif change == "tile":
        for tensor in (*proto.graph.input, *proto.graph.output):
            for axis in (2, 3):
                tensor.type.tensor_type.shape.dim[axis].dim_value = 48
    elif change == "output":
        proto.graph.output[0].name = proto.graph.node[-1].output[0] = "score"
    onnx.save(proto, str(model))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("card", "no model card"),
        ("garbled card", "card cannot be read"),
        ("name", "inputs must be before and after"),
        ("fixed batch", "inputs must be before and after"),
        ("tile", "inputs must be before and after"),
        ("output", "output must be probability"),
    ],
)
def test_broken_contracts(model: Path, change: str, sentence: str) -> None:
    edit(model, change)
    with pytest.raises(ModelError, match=sentence) as caught:
        open_session(model)
    assert "\n" not in str(caught.value)
