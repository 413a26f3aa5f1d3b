"""Exported files keep the contract and equal the network; what does not is never written."""

from __future__ import annotations

import collections
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from schanger_edge.errors import CheckpointError, DatasetError, ModelError, SchangerError  # noqa: E402
from schanger_edge.model.bundled import model_path  # noqa: E402
from schanger_edge.model.card import METADATA_KEY, ModelCard  # noqa: E402
from schanger_edge.model.file import read_model  # noqa: E402
from schanger_edge.model.published import dataset  # noqa: E402
from schanger_edge.sessions import open_session  # noqa: E402
from schanger_export import to_onnx  # noqa: E402
from schanger_export.checkpoints import load_network, load_weights, save_checkpoint, weights_sha256  # noqa: E402
from schanger_export.onnx_network import build  # noqa: E402
from schanger_export.parity import image_like_tiles, largest_difference  # noqa: E402
from schanger_export.to_onnx import ExportReport, export, export_model  # noqa: E402
from schanger_export.weights import BUNDLED  # noqa: E402

TILE = 32
OPTIONS: dict[str, Any] = {"tile": TILE, "halo": 8}


@pytest.fixture(scope="module")
def weights_file(weights: Callable[..., dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "small.pth"
    save_checkpoint(path, weights("small"))
    return path


@pytest.fixture(scope="module")
def exported(weights_file: Path, tmp_path_factory: pytest.TempPathFactory) -> ExportReport:
    target = tmp_path_factory.mktemp("model") / "small.onnx"
    scores = {"levir-cd/test": {"f1": 0.92, "tiles": 2048}}
    return export(weights_file, "small", target, dataset="levir-cd", license="research", scores=scores, **OPTIONS)


@pytest.fixture(scope="module")
def graph(exported: ExportReport) -> Any:
    return onnx.load(str(exported.path))


def card(network: str = "small") -> ModelCard:
    return ModelCard("test", network, "none", TILE, 8, 0.5, None, dataset("levir-cd").normalization)


def reference_probability(path: Path, before: Any, after: Any) -> Any:
    """The contract in its own words, apart from the module that is exported."""
    statistics = dataset("levir-cd").normalization
    dates = []
    for tiles, date in ((before, statistics.before), (after, statistics.after)):
        mean, std = (np.array(values).reshape(1, 3, 1, 1) for values in (date.mean, date.std))
        dates.append(torch.from_numpy(((tiles / 255 - mean) / std).astype(np.float32)))
    with torch.inference_mode():
        return torch.sigmoid(load_network(path, "small")(*dates)[:, :1]).numpy()


def test_report(exported: ExportReport, graph: Any) -> None:
    content = exported.path.read_bytes()
    assert exported.sha256 == hashlib.sha256(content).hexdigest()
    assert (exported.bytes, exported.opset, exported.nodes) == (len(content), 17, len(graph.graph.node))
    assert 0 <= exported.largest_difference <= 1e-5
    assert exported.tiles >= 4
    assert list(exported.path.parent.iterdir()) == [exported.path]


def test_names_types_shapes_and_versions(graph: Any) -> None:
    def describe(value: Any) -> tuple[str, int, list[Any]]:
        kind = value.type.tensor_type
        return value.name, kind.elem_type, [d.dim_param or d.dim_value for d in kind.shape.dim]

    uint8, float32 = onnx.TensorProto.UINT8, onnx.TensorProto.FLOAT
    assert [describe(v) for v in graph.graph.input] == [
        ("before", uint8, ["batch", 3, "height", "width"]),
        ("after", uint8, ["batch", 3, "height", "width"]),
    ]
    assert [describe(v) for v in graph.graph.output] == [("probability", float32, ["batch", 1, "height", "width"])]
    assert [(o.domain, o.version) for o in graph.opset_import] == [("", 17)]
    assert graph.ir_version == 8
    onnx.checker.check_model(graph, full_check=True)


def test_graph_is_clean(graph: Any) -> None:
    counts = collections.Counter(node.op_type for node in graph.graph.node)
    clutter = {"Shape", "Gather", "Range", "Slice", "Constant", "ConstantOfShape", "Unsqueeze", "Identity", "Reshape"}
    assert not clutter & counts.keys()
    assert not counts["BatchNormalization"]
    assert counts["Resize"] == 8
    assert counts["Split"] == 10  # one per temporal fusion
    assert len({i.name for i in graph.graph.initializer}) == len(graph.graph.initializer)
    assert not any(i.external_data for i in graph.graph.initializer)


def test_card_travels_in_the_metadata(exported: ExportReport, graph: Any, weights_file: Path) -> None:
    (text,) = [p.value for p in graph.metadata_props if p.key == METADATA_KEY]
    card = ModelCard.from_json(text)
    assert (card.name, card.size, card.dataset) == ("schanger-small-levir-cd", "small", "levir-cd")
    assert (card.tile, card.halo, card.threshold, card.gsd, card.precision) == (TILE, 8, 0.5, 0.5, "fp32")
    assert card.normalization == dataset("levir-cd").normalization
    assert card.weights_sha256 == hashlib.sha256(weights_file.read_bytes()).hexdigest()
    assert card.producer.startswith("schanger-edge ")
    assert (card.license, card.scores["levir-cd/test"]["f1"]) == ("research", 0.92)
    with open_session(exported.path, threads=1) as session:
        assert session.card == card


def test_every_batch_equals_the_network(exported: ExportReport, weights_file: Path) -> None:
    before, after = image_like_tiles(5, TILE, seed=1)
    wanted = reference_probability(weights_file, before, after)
    assert wanted.max() - wanted.min() > 0.1
    with open_session(exported.path, threads=1) as session:
        for batch in (1, 2, 3, 5):
            probability = session.run(before[:batch], after[:batch])
            np.testing.assert_allclose(probability, wanted[:batch], rtol=0, atol=1e-5)


def test_exporting_leaves_the_weights_as_they_were(weights_file: Path, tmp_path: Path) -> None:
    _, state = load_weights(weights_file)
    before = {name: value.copy() for name, value in state.items()}
    export_model(state, tmp_path / "small.onnx", card())
    assert all(np.array_equal(value, before[name]) for name, value in state.items())


def test_base_exports(weights: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    state = {name: value.numpy() for name, value in weights("base").items()}
    report = export_model(state, tmp_path / "base.onnx", card("base"))
    assert report.largest_difference <= 1e-5


def test_a_wrong_model_is_caught_and_leaves_nothing(
    weights_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = to_onnx._model

    def corrupted(*arguments: Any) -> Any:
        model = honest(*arguments)
        (bias,) = [i for i in model.graph.initializer if i.name.endswith("head6.0.conv.bias")]
        bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + 0.01, bias.name))
        return model

    monkeypatch.setattr(to_onnx, "_model", corrupted)
    target = tmp_path / "small.onnx"
    target.write_bytes(b"the model of yesterday")
    with pytest.raises(ModelError, match=r"differs from the network by up to 0\.002.* nothing was written"):
        export(weights_file, "small", target, dataset="levir-cd", **OPTIONS)
    assert target.read_bytes() == b"the model of yesterday"
    assert list(tmp_path.iterdir()) == [target]


def test_an_invalid_graph_is_caught(weights_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = to_onnx._model

    def cut(*arguments: Any) -> Any:
        model = honest(*arguments)
        del model.graph.node[100]
        return model

    monkeypatch.setattr(to_onnx, "_model", cut)
    with pytest.raises(ModelError, match="not valid ONNX"):
        export(weights_file, "small", tmp_path / "small.onnx", dataset="levir-cd", **OPTIONS)
    assert not list(tmp_path.iterdir())


def test_normalization_from_a_file(weights_file: Path, tmp_path: Path) -> None:
    statistics = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    path = tmp_path / "statistics.json"
    path.write_text(json.dumps({"before": statistics, "after": statistics}))
    report = export(weights_file, "small", tmp_path / "m.onnx", normalization=path, gsd=0.3, name="mine", **OPTIONS)
    with open_session(report.path, threads=1) as session:
        assert session.card.normalization.after.std == (0.4, 0.5, 0.6)
        assert (session.card.name, session.card.gsd, session.card.dataset) == ("mine", 0.3, "not stated")


@pytest.fixture(scope="module")
def with_card(weights: Callable[..., dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint as training writes it."""
    path = tmp_path_factory.mktemp("weights") / "best.pth"
    statistics = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    card = {"size": "small", "dataset": "my town", "gsd": 0.3, "tile": 32, "threshold": 0.4, "license": "mine"}
    card["tiling"] = "scored best"
    card |= {"normalization": {"before": statistics, "after": statistics}, "scores": {"validation": {"f1": 0.8}}}
    save_checkpoint(path, weights("small"), card=card)
    return path


def exported_card(*arguments: Any, **options: Any) -> ModelCard:
    with open_session(export(*arguments, **options).path, threads=1) as session:
        return session.card


def test_the_checkpoints_own_card_says_everything(with_card: Path, tmp_path: Path) -> None:
    card = exported_card(with_card, None, tmp_path / "m.onnx", known={"dataset": "cdd", "name": "by name"})
    assert (card.name, card.size, card.dataset, card.gsd) == ("by name", "small", "my town", 0.3)
    assert (card.tile, card.halo, card.threshold, card.license) == (32, 4, 0.4, "mine")
    assert card.tiling == "scored best"
    assert card.normalization.before.mean == (0.1, 0.2, 0.3)
    assert card.scores == {"validation": {"f1": 0.8}}


def test_options_go_before_the_card(with_card: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"threshold": 0.6, "gsd": 1.0, "license": "", "name": "other", **OPTIONS}
    card = exported_card(with_card, "small", tmp_path / "m.onnx", **options)
    assert (card.tile, card.halo, card.threshold, card.gsd) == (TILE, 8, 0.6, 1.0)
    assert not card.tiling  # the reason was that of another tile
    assert (card.name, card.license, card.dataset) == ("other", "", "my town")


def test_another_dataset_takes_back_what_the_card_says_of_its_own(with_card: Path, tmp_path: Path) -> None:
    card = exported_card(with_card, None, tmp_path / "m.onnx", dataset="WHU-CD")
    assert (card.name, card.dataset, card.gsd, card.scores) == ("schanger-small-whu-cd", "whu-cd", 0.2, {})
    assert card.normalization == dataset("whu-cd").normalization
    assert (card.license, card.tile, card.tiling) == ("mine", 32, "")


def test_a_card_without_statistics(weights: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    path = tmp_path / "best.pth"
    save_checkpoint(path, weights("small"), card={"dataset": "my town"})
    with pytest.raises(ModelError, match="not neither"):
        export(path, None, tmp_path / "m.onnx")
    save_checkpoint(path, weights("small"), card={"dataset": "my town", "normalization": {"before": 3}})
    with pytest.raises(ModelError, match="card is invalid: normalization must look like"):
        export(path, None, tmp_path / "m.onnx")
    save_checkpoint(path, weights("small"), card={"dataset": "LEVIR-CD", "tile": 32})
    assert exported_card(path, None, tmp_path / "m.onnx").normalization == dataset("levir-cd").normalization


@pytest.mark.parametrize(
    ("content", "pattern"),
    [
        (None, "cannot be read .No such file"),
        ("{", "is not valid JSON"),
        ('{"before": 3}', "is wrong: normalization must look like"),
        ('{"before": {"mean": [9, 0, 0], "std": [1, 1, 1]}, "after": 1}', "is wrong: .* scaled to 0-1"),
    ],
)
def test_bad_normalization_files(weights_file: Path, tmp_path: Path, content: str | None, pattern: str) -> None:
    path = tmp_path / "statistics.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ModelError, match=rf"statistics\.json {pattern}"):
        export(weights_file, "small", tmp_path / "m.onnx", normalization=path, **OPTIONS)


@pytest.mark.parametrize(
    ("options", "error", "pattern"),
    [
        ({}, ModelError, "not neither"),
        ({"dataset": "cdd", "normalization": Path("x.json")}, ModelError, "not both"),
        ({"dataset": "spacenet"}, DatasetError, "'spacenet' is unknown: use one of levir-cd"),
        ({"dataset": "cdd", "tile": 100}, ModelError, "multiple of 16, not 100"),
        ({"dataset": "cdd", "halo": 32}, ModelError, "halo must lie between"),
        ({"dataset": "cdd", "threshold": 2}, ModelError, "threshold must be at least 0 and less than 1"),
        ({"dataset": "cdd", "size": "base"}, CheckpointError, "pass --size small"),
    ],
)
def test_wrong_options(
    weights_file: Path, tmp_path: Path, options: dict[str, Any], error: type[SchangerError], pattern: str
) -> None:
    arguments = {**OPTIONS, **options}
    with pytest.raises(error, match=pattern):
        export(weights_file, arguments.pop("size", "small"), tmp_path / "m.onnx", **arguments)
    assert not list(tmp_path.iterdir())


def test_target_folder_that_cannot_be_made(weights_file: Path, tmp_path: Path) -> None:
    (tmp_path / "none").write_text("a file")
    with pytest.raises(ModelError, match=r"m\.onnx cannot be written \(.*choose a writable folder"):
        export(weights_file, "small", tmp_path / "none" / "m.onnx", dataset="cdd", **OPTIONS)


def test_largest_difference_finds_one_pixel(exported: ExportReport) -> None:
    before, after = image_like_tiles(2, TILE)
    with open_session(exported.path, threads=1) as session:

        def off_by_a_tenth(first: Any, second: Any) -> Any:
            probability = session.run(first, second).copy()
            probability[0, 0, 5, 7] += 0.1
            return probability

        assert largest_difference(session.run, exported.path, (before, after)) < 1e-6
        assert largest_difference(off_by_a_tenth, exported.path, (before, after)) == pytest.approx(0.1, abs=1e-5)
        assert np.isnan(largest_difference(lambda b, a: session.run(b, a) * np.nan, exported.path, (before, after)))


def test_tiles_look_like_images() -> None:
    before, after = image_like_tiles(4, TILE)
    again, _ = image_like_tiles(4, TILE)
    assert before.shape == after.shape == (4, 3, TILE, TILE)
    assert before.dtype == after.dtype == np.uint8
    assert np.array_equal(before, again)
    assert (before != after).any((1, 2, 3)).all()
    steps = np.abs(np.diff(before.astype(int), axis=3))
    assert np.median(steps) < 12  # smooth nearly everywhere
    assert steps.max() > 60  # with sharp edges


def test_the_bundled_model_is_that_of_the_bundled_weights() -> None:
    """So `schanger-edge export --weights schanger-small` makes it anew."""
    import onnxruntime

    present, weights = model_path("schanger-small"), BUNDLED / "schanger-small.pth"
    card = read_model(present).card
    assert (card.name, card.weights_sha256) == ("schanger-small", weights_sha256(weights))
    anew = build(load_weights(weights)[1], card.normalization).SerializeToString()
    tiles = dict(zip(("before", "after"), image_like_tiles(1, 256, seed=2), strict=True))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    found, wanted = (
        onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"]).run(None, tiles)[0]
        for model in (anew, str(present))
    )
    assert (wanted > card.threshold).any()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)
