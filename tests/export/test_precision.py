"""FP16 and INT8 models: what is converted, what stays, what is refused, and that nothing broken gets its name."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from schanger_edge.cli import app  # noqa: E402
from schanger_edge.datasets import tile_pool  # noqa: E402
from schanger_edge.errors import DatasetError, ModelError, SchangerError  # noqa: E402
from schanger_edge.sessions import open_session  # noqa: E402
from schanger_edge.synthetic import SyntheticScene  # noqa: E402
from schanger_export import calibrate as calibrate_module  # noqa: E402
from schanger_export import convert as convert_module  # noqa: E402
from schanger_export import int8 as int8_module  # noqa: E402
from schanger_export.calibrate import calibrate  # noqa: E402
from schanger_export.convert import convert, report_path  # noqa: E402
from schanger_export.fp16 import LARGEST, to_fp16  # noqa: E402
from schanger_export.graph import convolutions, float_tensors, part_of, read_model  # noqa: E402
from schanger_export.int8 import candidates, quantize  # noqa: E402
from schanger_export.ranges import BINS, Histogram, collect, largest_values  # noqa: E402
from schanger_export.to_onnx import export  # noqa: E402
from schanger_export.weights import resolve  # noqa: E402

TILE = 64


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled weights as a model of small tiles."""
    target = tmp_path_factory.mktemp("model") / "model.onnx"
    export(resolve("schanger-small"), "small", target, tile=TILE, halo=8)
    return target


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six rendered pairs of 256 x 256 pixels with labels, split train."""
    root = tmp_path_factory.mktemp("tree")
    for folder in ("A", "B", "label"):
        (root / "train" / folder).mkdir(parents=True)
    for seed in range(6):
        scene = SyntheticScene(300 + seed, 256, 256, 0.5)
        images = {"A": scene.render("before"), "B": scene.render("after")}
        for folder, image in images.items():
            cv2.imwrite(str(root / "train" / folder / f"{seed}.png"), image[::-1].transpose(1, 2, 0))
        cv2.imwrite(str(root / "train" / "label" / f"{seed}.png"), scene.truth() * 255)
    return root


@pytest.fixture(scope="module")
def int8(model: Path, tree: Path) -> Path:
    """A calibrated model; the limit is wide, because few small tiles make F1 a rough measure."""
    target = model.with_name("model.int8.onnx")
    done = calibrate(model, [str(tree)], target, method="percentile", samples=16, max_f1_loss=5)
    assert done.label_rules == json.loads(done.reports[0].read_text())["label_rules"] == ["value != 0"]
    assert done.warnings == ()
    return target


@pytest.fixture(scope="module")
def converted(model: Path, tree: Path) -> Path:
    """An FP16 model."""
    target = model.with_name("model.fp16.onnx")
    result = convert(model, target, sources=[str(tree)], samples=8)
    assert result.path == target
    assert result.bytes[0] < 0.7 * result.bytes[1]
    return target


def initializers(path: Path) -> dict[str, Any]:
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(str(path)).graph.initializer}


class TestParts:
    @pytest.mark.parametrize(
        ("name", "part"),
        [
            ("conv_1", "stem"),
            ("encoder3.1.expand_conv", "encoder3"),
            ("Bi5.0.attn.proj_1", "attention5"),
            ("decoder1.0.se.conv_reduce", "decoder1"),
            ("head6.0.conv", "heads"),
            ("sides", "other"),
            ("/conv_1/conv/Conv", "stem"),
            ("/encoder3/encoder3.1/expand_conv/conv/Conv", "encoder3"),
            ("/Bi5/Bi5.0/attn/proj_1/Conv", "attention5"),
            ("/decoder1/decoder1.0/se/conv_reduce/Conv", "decoder1"),
            ("/head6/head6.0/conv/Conv", "heads"),
            ("/Concat_1", "other"),
        ],
    )
    def test_of_node_names(self, name: str, part: str) -> None:
        assert part_of(name) == part

    def test_all_convolutions_have_one_and_know_their_work(self, model: Path) -> None:
        found = convolutions(read_model(model)[0])
        assert {conv.part for conv in found} == {"stem", "heads"} | {
            f"{kind}{k}" for kind in ("encoder", "attention", "decoder") for k in range(1, 6)
        }
        stem = next(conv for conv in found if conv.part == "stem")
        assert stem.macs == 2 * 8 * 256 * 256 * 3 * 9  # both dates, 8 channels out, 3 in, 3 x 3

    def test_candidates_leave_out_what_stays(self, model: Path) -> None:
        names = [conv.name for conv in candidates(read_model(model)[0])]
        assert names
        assert not [name for name in names if ".se." in name or name.startswith(("head", "conv_1"))]
        assert not [name for name in names if "conv_spatial" in name or "dwconv" in name or "conv0" in name]
        assert [name for name in names if "expand_conv" in name]


class TestHistogram:
    def test_counts_all_and_grows(self) -> None:
        histogram = Histogram()
        histogram.add(np.full(100, 0.9, np.float32))
        histogram.add(np.full(50, -7.0, np.float32))
        assert histogram.counts.sum() == 150
        assert len(histogram.counts) == BINS
        assert histogram.top == 8
        assert histogram.threshold("minmax") == 7

    def test_percentile_leaves_out_the_rare(self) -> None:
        values = np.concatenate([np.linspace(0, 1, 50_000, dtype=np.float32), [100]]).astype(np.float32)
        histogram = Histogram()
        histogram.add(values)
        assert histogram.threshold("percentile") == pytest.approx(1, abs=100 / BINS * 2)
        assert histogram.threshold("minmax") == 100

    def test_entropy_lies_between(self) -> None:
        rng = np.random.default_rng(1)
        histogram = Histogram()
        histogram.add(rng.normal(0, 1, 200_000).astype(np.float32))
        assert 1 < histogram.threshold("entropy") <= histogram.threshold("minmax")

    def test_zeros_only(self) -> None:
        histogram = Histogram()
        histogram.add(np.zeros(10, np.float32))
        assert histogram.threshold("percentile") == 0

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_values_that_are_not_finite_are_refused(self, value: float) -> None:
        with pytest.raises(ModelError, match="not finite"):
            Histogram().add(np.array([1, value], np.float32))


class TestFp16:
    def test_borders_and_card(self, converted: Path, model: Path) -> None:
        with open_session(converted) as session, open_session(model) as parent:  # the session checks the contract
            assert session.card.precision == "fp16"
            assert session.card.parent_sha256 == parent.model_sha256
            assert session.card.scores == {}
            assert session.card.normalization == parent.card.normalization
            kinds = {node.name: node.op_type for node in onnx.load(str(model)).graph.node}
            assert {kinds[name] for name in session.card.kept_fp32} == {"ReduceMean"}
            assert all(".se." in name for name in session.card.kept_fp32)
            assert parent.card.kept_fp32 == ()

    def test_all_is_fp16_but_the_means_of_squeeze_excite(self, converted: Path) -> None:
        graph = onnx.shape_inference.infer_shapes(onnx.load(str(converted))).graph
        kinds = {info.name: info.type.tensor_type.elem_type for info in graph.value_info}
        by_operator = {
            kind: {kinds[node.output[0]] for node in graph.node if node.op_type == kind}
            for kind in ("Conv", "Pow", "Sqrt", "ReduceMean", "Resize")
        }
        half, single = {onnx.TensorProto.FLOAT16}, {onnx.TensorProto.FLOAT}
        assert by_operator == {"Conv": half, "Pow": half, "Sqrt": half, "ReduceMean": half | single, "Resize": half}

    def test_report_has_the_ranges(self, converted: Path, model: Path) -> None:
        report = json.loads(report_path(converted).read_text())
        assert set(report["largest_values"]) == set(float_tensors(read_model(model)[0]))
        assert report["largest_values"]["probability"] <= 1
        assert report["agreement"]["mean_difference"] < convert_module.MEAN_DIFFERENCE
        assert report["limit"] == LARGEST

    def test_a_tensor_that_passes_the_limit_stays_fp32(self, model: Path) -> None:
        parent = read_model(model)[0]
        name = "Bi5.0.attn.spatial_gating_unit.gated"
        result = to_fp16(parent, {name: LARGEST + 1}, resize=True)
        assert "Bi5.0.attn.spatial_gating_unit.gated" in result.by_range
        assert set(result.by_range) < set(result.kept)
        converted = result.model
        kinds = {
            info.name: info.type.tensor_type.elem_type
            for info in onnx.shape_inference.infer_shapes(converted).graph.value_info
        }
        node = next(node for node in converted.graph.node if node.name == "Bi5.0.attn.spatial_gating_unit.gated")
        assert kinds[node.output[0]] == onnx.TensorProto.FLOAT

    def test_rendered_tiles_where_no_source_is_given(
        self, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tile_pool, "SCENE_SIDE", 256)
        monkeypatch.setattr(convert_module, "HELD", 4)
        result = convert(model, tmp_path / "out.onnx", samples=4)
        assert json.loads(result.report.read_text())["tiles"]["ranges"][0].startswith("rendered scene")


class TestInt8:
    def test_contract_and_card(self, int8: Path, model: Path) -> None:
        with open_session(int8) as session, open_session(model) as parent:
            card = session.card
            assert (card.precision, card.parent_sha256) == ("int8", parent.model_sha256)
        assert card.calibration["method"] == "percentile"
        assert card.calibration["tiles"] == 16
        assert len(card.calibration["tiles_sha256"]) == 64
        assert card.calibration["agreement"]["f1_loss_against"] == "labels"

    def test_scales_are_symmetric_per_channel_and_shared_by_the_dates(self, int8: Path) -> None:
        loaded = onnx.load(str(int8))
        values = initializers(int8)
        nodes = {node.output[0]: node for node in loaded.graph.node}
        quantized = 0
        for node in loaded.graph.node:
            weight = nodes.get(node.input[1]) if node.op_type == "Conv" else None
            if weight is None:
                continue
            quantized += 1
            activation = nodes[node.input[0]]
            assert (weight.op_type, activation.op_type) == ("DequantizeLinear", "DequantizeLinear")
            assert values[activation.input[1]].shape == ()  # one scale for the tensor, in which both dates lie
            assert values[weight.input[1]].shape == (values[nodes[weight.input[0]].input[0]].shape[0],)
            assert (values[weight.input[2]] == 0).all()
            assert (values[activation.input[2]] == 0).all()
        assert quantized == len(chosen(int8))
        assert loaded.opset_import[0].version == 17

    def test_only_inputs_of_chosen_convolutions_are_quantized(self, int8: Path) -> None:
        loaded = onnx.load(str(int8))
        weights = {tensor.name for tensor in loaded.graph.initializer}
        quantized = {n.input[0] for n in loaded.graph.node if n.op_type == "QuantizeLinear"} - weights
        assert quantized == {conv.activation for conv in chosen(int8)}

    def test_report_and_picture(self, int8: Path) -> None:
        report = json.loads(report_path(int8).read_text())
        assert set(report["parts"]) == {
            f"{kind}{k}" for kind in ("encoder", "attention", "decoder") for k in range(1, 6)
        }
        assert report["search"][0]["int8_share_of_macs"] > 0.75
        picture = cv2.imread(str(report_path(int8, ".png")))
        assert picture is not None
        assert picture.std() > 5

    def test_calibration_and_held_aside_tiles_share_nothing(self, int8: Path) -> None:
        names = json.loads(report_path(int8).read_text())["tile_names"]
        assert not set(names["calibration"]) & set(names["held_aside"])
        assert len(set(names["calibration"])) == 16

    @pytest.mark.slow
    def test_with_fp16(self, model: Path, tree: Path, tmp_path: Path) -> None:
        target = tmp_path / "both.onnx"
        calibrate(model, [str(tree)], target, fp16=True, method="minmax", samples=16, max_f1_loss=10)
        loaded = onnx.load(str(target))
        assert loaded.opset_import[0].version == 19
        kinds = Counter(tensor.data_type for tensor in loaded.graph.initializer)
        assert kinds[onnx.TensorProto.FLOAT16] > kinds[onnx.TensorProto.FLOAT]
        with open_session(target) as session:
            assert session.card.precision == "int8+fp16"

    @pytest.mark.slow
    def test_auto_tries_all_and_says_so(self, model: Path, tree: Path, tmp_path: Path) -> None:
        result = calibrate(model, [str(tree)], tmp_path / "auto.onnx", samples=8, max_f1_loss=10)
        assert set(result.tries) == {"percentile", "entropy", "minmax"}
        least = min(found.worst_f1_loss for found in result.tries.values())
        assert result.tries[result.method].worst_f1_loss == least

    def test_search_puts_the_worst_part_back_first(
        self, model: Path, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Planted: thresholds of one part that clip nearly all of its signal."""
        honest = int8_module.quantize

        def spoiled(parent: Any, thresholds: dict[str, float], chosen: list[str], **more: Any) -> Any:
            inputs = {conv.activation: conv.part for conv in candidates(parent)}
            bad = {name: value / 50 if inputs[name] == "decoder5" else value for name, value in thresholds.items()}
            return honest(parent, bad, chosen, **more)

        for module in (calibrate_module, int8_module):
            monkeypatch.setattr(module, "quantize", spoiled)
        result = calibrate(model, [str(tree)], tmp_path / "x.onnx", method="minmax", samples=8, max_f1_loss=3)
        assert result.steps[0].agreement.mean_difference > int8_module.MEAN_DIFFERENCE
        assert result.steps[-1].kept[0] == "decoder5"
        assert result.steps[-1].agreement.mean_difference <= int8_module.MEAN_DIFFERENCE
        with open_session(tmp_path / "x.onnx") as session:
            assert session.card.calibration["kept_high_precision"] == list(result.steps[-1].kept)

    @pytest.mark.slow
    def test_nothing_left_to_gain(self, model: Path, tree: Path, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match="nothing more can be put back"):
            calibrate(model, [str(tree)], tmp_path / "x.onnx", method="minmax", samples=8, max_f1_loss=-100)
        assert list(tmp_path.iterdir()) == []


def chosen(int8: Path) -> list[Any]:
    """The convolutions that should be INT8: all that may be, without the parts that were put back."""
    kept = json.loads(report_path(int8).read_text())["kept_high_precision"]
    parent = read_model(int8.with_name("model.onnx"))[0]
    return [conv for conv in candidates(parent) if conv.part not in kept]


class TestRefused:
    @pytest.mark.parametrize("command", ["convert", "calibrate"])
    def test_bad_models(self, command: str, model: Path, int8: Path, tree: Path, tmp_path: Path) -> None:
        cut, bare, newer = (tmp_path / f"{name}.onnx" for name in ("cut", "bare", "newer"))
        cut.write_bytes(model.read_bytes()[:50_000])
        without = onnx.load(str(model))
        del without.metadata_props[:]
        onnx.save(without, str(bare))
        without.ir_version = 99
        onnx.save(without, str(newer))
        cases = {
            cut: "not a complete ONNX model",
            bare: "no model card",
            newer: "ir_version 99",
            int8: "already int8",
            tmp_path / "no": "exist",
        }
        for path, words in cases.items():
            result = CliRunner().invoke(app, [command, str(path), "-o", str(tmp_path / "x.onnx"), "--data", str(tree)])
            assert isinstance(result.exception, SchangerError), result.output
            assert words in str(result.exception)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["bare.onnx", "cut.onnx", "newer.onnx"]

    def test_target_that_cannot_be_written(self, model: Path, tree: Path, tmp_path: Path) -> None:
        (tmp_path / "missing").write_text("a file")
        with pytest.raises(ModelError, match="cannot be written"):
            calibrate(model, [str(tree)], tmp_path / "missing" / "x.onnx", samples=8)

    @pytest.mark.parametrize("kind", ["noise", "flat", "small"])
    def test_data_that_are_no_images(self, kind: str, model: Path, tmp_path: Path) -> None:
        rng = np.random.default_rng(1)
        side = 32 if kind == "small" else 128
        for folder in ("A", "B", "label"):
            (tmp_path / "root" / "train" / folder).mkdir(parents=True)
            image = rng.integers(0, 256, (side, side, 3), np.uint8) if kind == "noise" else np.full((side, side, 3), 90)
            cv2.imwrite(str(tmp_path / "root" / "train" / folder / "1.png"), image)
        words = {"noise": "noise", "flat": "have a single colour", "small": "no tile of 64 x 64"}[kind]
        with pytest.raises(DatasetError, match=words):
            calibrate(model, [str(tmp_path / "root")], tmp_path / "x.onnx", samples=8)
        assert [path.name for path in tmp_path.iterdir()] == ["root"]

    def test_test_split(self, model: Path, tree: Path, tmp_path: Path) -> None:
        with pytest.raises(SchangerError, match="test split"):
            calibrate(model, [f"{tree},split=test"], tmp_path / "x.onnx", samples=8)


def test_conversion_needs_no_torch() -> None:
    code = (
        "import sys, schanger_export.calibrate, schanger_export.convert; "
        "sys.exit(bool({'torch', 'huggingface_hub'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to catch")
def test_terminated_in_the_middle_leaves_nothing(model: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "schanger_edge", "convert", str(model), "-o", str(tmp_path / "x.onnx")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not list(tmp_path.iterdir()):
            time.sleep(0.05)
        assert process.poll() is None  # it has begun to write and is not through
        process.terminate()
        assert process.wait() == 143
    assert list(tmp_path.iterdir()) == []


class TestParityGate:
    @pytest.mark.parametrize("layer", ["Bi4.0.mlp.fc2.weight", "head5.1.conv.weight"])
    def test_one_scaled_weight_is_caught(
        self, layer: str, model: Path, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        honest = convert_module.to_fp16

        def planted(*arguments: Any, **options: Any) -> Any:
            converted = honest(*arguments, **options)
            for tensor in converted.model.graph.initializer:
                if tensor.name == layer:
                    values = onnx.numpy_helper.to_array(tensor).copy()
                    values.reshape(-1)[0] *= 10
                    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
            return converted

        monkeypatch.setattr(convert_module, "to_fp16", planted)
        with pytest.raises(ModelError, match="differs in the converted model"):
            convert(model, tmp_path / "x.onnx", sources=[str(tree)], samples=4)
        assert list(tmp_path.iterdir()) == []

    def test_a_damaged_scale_is_caught_by_its_output(
        self, model: Path, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        honest = calibrate_module.write_card

        def planted(result: Any, card: Any) -> None:
            """The last that is done to the graph before it becomes a file."""
            honest(result, card)
            for tensor in result.graph.initializer:
                if tensor.name.startswith("decoder5") and tensor.name.endswith("_scale"):
                    values = onnx.numpy_helper.to_array(tensor) / 100
                    tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float32), tensor.name))

        monkeypatch.setattr(calibrate_module, "write_card", planted)
        monkeypatch.setattr(int8_module.Search, "each_part", lambda *_: {})  # none needs to be put back
        with pytest.raises(ModelError, match="differs from its parent"):
            calibrate(model, [str(tree)], tmp_path / "x.onnx", method="percentile", samples=8, max_f1_loss=5)
        assert list(tmp_path.iterdir()) == []


def test_ranges_are_those_of_the_tensors(model: Path, tree: Path) -> None:
    """Both ways of looking at a tensor see the same largest value."""
    from schanger_edge.datasets.draw import draw_tiles
    from schanger_edge.datasets.tile_pool import source_items

    parent = read_model(model)[0]
    (tiles,) = draw_tiles([source_items(str(tree))], TILE, (3,), 1, lambda tile: tile.label)  # type: ignore[arg-type,return-value]
    names = ["conv_1.silu", "Bi5.0.add"]
    histograms, largest = collect(parent, names, tiles), largest_values(parent, names, tiles)
    for name in names:
        assert histograms[name].largest == pytest.approx(largest[name], rel=1e-6)
        assert largest[name] > 0


def test_quantize_per_tensor_gives_one_scale(model: Path) -> None:
    parent = read_model(model)[0]
    conv = candidates(parent)[0]
    values = {
        t.name: t for t in quantize(parent, {conv.activation: 3.0}, [conv.name], per_channel=False).graph.initializer
    }
    assert list(values[f"{conv.weight}_scale"].dims) in ([], [1])
