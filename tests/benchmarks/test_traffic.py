"""Traffic by placement of INT8: what is counted, and that just the tensors and weights meant are rounded."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from helpers import ROOT, load_benchmark

onnx = pytest.importorskip("onnx")

from schanger_edge.model.bundled import model_path  # noqa: E402
from schanger_export.graph import read_model  # noqa: E402


@pytest.fixture
def traffic(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return load_benchmark("traffic")


def test_what_each_placement_saves(traffic: ModuleType) -> None:
    rows = traffic.table()
    saved = {name: row["saved"] for name, row in rows.items()}
    assert saved["FP16"] == 0
    assert 0 < saved["shipped"] < 0.05
    assert saved["shipped"] < saved["convolutions"] < saved["wide"] < saved["chain"] < saved["all"] < 0.5
    assert all(row["padded_saved"] <= row["saved"] for row in rows.values() if "padded_saved" in row)
    assert rows["convolutions"]["as_built_saved"] == saved["convolutions"]  # no depthwise one is among them
    assert rows["wide"]["as_built_saved"] < 0.35


def test_wide_tensors_are_those_inside_inverted_residuals_and_mlps(traffic: ModuleType) -> None:
    parent = read_model(model_path(None))[0]
    wide = {conv.name for conv in traffic.placements(parent)["wide"]}
    assert wide == {
        node.name
        for node in parent.graph.node
        if node.op_type == "Conv" and node.name.endswith((".dwconv", ".project_conv", ".fc2"))
    }


def test_what_is_rounded(traffic: ModuleType) -> None:
    parent = read_model(model_path(None))[0]
    convs = [conv for conv in traffic.placements(parent)["wide"] if conv.name.startswith("encoder1.0")]
    stored = {traffic.before_gate(parent, conv) for conv in convs}
    assert stored == {"encoder1.0.expand_conv.silu", "encoder1.0.dwconv.silu"}
    model = traffic.rounded(parent, convs, dict.fromkeys(stored, 6.35))
    onnx.checker.check_model(model, full_check=True)
    readers = {node.name: node.input for node in model.graph.node}
    assert readers["encoder1.0.se.gated"][0] == "encoder1.0.dwconv.silu.rounded"
    assert readers["encoder1.0.se.row_mean"][0] == "encoder1.0.dwconv.silu"  # the mean is taken before
    before, after = ({t.name: onnx.numpy_helper.to_array(t) for t in m.graph.initializer} for m in (parent, model))
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {"encoder1.0.dwconv.weight", "encoder1.0.project_conv.weight"}
    for name in changed:
        step = np.abs(before[name]).max((1, 2, 3), keepdims=True) / 127
        np.testing.assert_allclose(after[name], before[name], rtol=0, atol=step.max() * 0.51)
        assert all(len(np.unique(channel)) <= 255 for channel in after[name])
    assert after["encoder1.0.dwconv.silu.scale"] == np.float32(6.35 / 127)
