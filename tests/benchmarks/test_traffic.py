"""Traffic by placement of INT8: what is counted, and that just the tensors and weights meant are rounded."""

from __future__ import annotations

import json
from types import ModuleType

import numpy as np
import pytest
from helpers import load_benchmark

onnx = pytest.importorskip("onnx")

from schanger_edge.model.bundled import model_path  # noqa: E402
from schanger_export.graph import read_model  # noqa: E402


@pytest.fixture
def traffic() -> ModuleType:
    return load_benchmark("traffic")


def test_what_each_placement_saves(traffic: ModuleType) -> None:
    rows = traffic.table()
    saved = [rows[name]["saved"] for name in ("FP16", "shipped", "convolutions", "wide", "chain", "all")]
    assert saved == sorted(set(saved))
    assert saved[0] == 0
    assert saved[-1] < 0.5
    assert all(row["padded_saved"] <= row["saved"] for row in rows.values())


def test_no_placement_is_worth_shipping(traffic: ModuleType) -> None:
    """The rule of decision 035: a third of the traffic of a real build and more, for at most half a point of F1."""
    placements = json.loads((traffic.RESULTS / "traffic.json").read_text())["placements"]
    reference = placements["FP16"]
    worth = [
        name
        for name, row in placements.items()
        if 1 - row["built"]["bytes"] / reference["built"]["bytes"] >= 0.35
        and all(reference["f1"][data] - f1 <= 0.005 for data, f1 in row["f1"].items())
    ]
    assert list(placements) == list(traffic.table())
    assert worth == []


def test_wide_tensors_are_those_inside_inverted_residuals_and_mlps(traffic: ModuleType) -> None:
    parent = read_model(model_path(None))[0]
    wide = {conv.name for conv in traffic.placements(parent)["wide"]}
    assert wide == {
        node.name
        for node in parent.graph.node
        if node.op_type == "Conv" and node.name.endswith((".dwconv", ".project_conv", ".fc2"))
    }


def test_what_is_stored(traffic: ModuleType) -> None:
    parent = read_model(model_path(None))[0]
    convs = [conv for conv in traffic.placements(parent)["wide"] if conv.name.startswith("encoder1.0")]
    tensors = {traffic.before_gate(parent, conv) for conv in convs}
    assert tensors == {"encoder1.0.expand_conv.silu", "encoder1.0.dwconv.silu"}
    model = traffic.stored(parent, convs, dict.fromkeys(tensors, 6.35))
    onnx.checker.check_model(model, full_check=True)
    before, after = ({node.name: list(node.input) for node in m.graph.node} for m in (parent, model))
    changed = {name: inputs for name, inputs in after.items() if inputs != before.get(name, inputs)}
    assert changed == {
        "encoder1.0.dwconv": [
            "encoder1.0.expand_conv.silu.dequantized",
            "encoder1.0.dwconv.weight.dequantized",
            "encoder1.0.dwconv.bias",
        ],
        "encoder1.0.se.gated": ["encoder1.0.dwconv.silu.dequantized", "encoder1.0.se.gate"],
    }  # neither the mean, which is taken before, nor the weights behind the gate
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    assert weights["encoder1.0.dwconv.silu.scale"] == np.float32(6.35 / 127)
    largest = np.abs(weights["encoder1.0.dwconv.weight"]).max((1, 2, 3))
    np.testing.assert_allclose(weights["encoder1.0.dwconv.weight.scale"], largest / 127, rtol=1e-6)
