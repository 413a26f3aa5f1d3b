"""The table of TensorRT-RTX builds: complete, and of the models as they are, whatever their weights."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from helpers import load_benchmark

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxconverter_common")

from schanger_edge.model.bundled import model_path  # noqa: E402


@pytest.fixture
def rtx_builds() -> ModuleType:
    return load_benchmark("rtx_builds")


def test_a_graph_is_known_whatever_its_weights(rtx_builds: ModuleType) -> None:
    def changed(**fields: Any) -> str:
        model = onnx.load(str(model_path(None)))
        weight = next(tensor for tensor in model.graph.initializer if tensor.name == "conv_1.weight")
        values = onnx.numpy_helper.to_array(weight) + 1
        weight.CopyFrom(onnx.numpy_helper.from_array(values.astype(fields.get("dtype", np.float32)), weight.name))
        next(node for node in model.graph.node if node.name == "conv_1").name = fields.get("name", "conv_1")
        return str(rtx_builds.graph_sha256(model))

    known = rtx_builds.graph_sha256(onnx.load(str(model_path(None))))
    assert changed() == known
    assert known not in (changed(dtype=np.float16), changed(name="another"))


def test_the_table_is_complete_and_of_the_models_as_they_are(rtx_builds: ModuleType, tmp_path: Path) -> None:
    rows = json.loads((rtx_builds.RESULTS / "rtx_builds.json").read_text())["builds"]
    found = [(row["capability"], row["model"], row["tile"], row["graph_sha256"], *row["batches"]) for row in rows]
    graphs = [
        (name, tile, rtx_builds.graph_sha256(onnx.load(str(path)))) for name, tile, path in rtx_builds.models(tmp_path)
    ]
    batches = [(sizes.least, sizes.best, sizes.most) for sizes in rtx_builds.BATCHES]
    assert found == [
        (capability, *graph, *sizes)
        for capability, graph, sizes in itertools.product(rtx_builds.CAPABILITIES, graphs, batches)
    ]
    assert all(row["scratch_bytes"] > 0 for row in rows)
