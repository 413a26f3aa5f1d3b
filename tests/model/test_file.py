"""A model file is read without an engine, and says what ONNX Runtime says of it; a damaged one is refused."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import onnxruntime
import pytest

from schanger_edge.errors import ModelError
from schanger_edge.files import sha256_of
from schanger_edge.model.bundled import model_path, names
from schanger_edge.model.card import METADATA_KEY, ModelCard
from schanger_edge.model.file import ModelFile, read_header, read_model, sha256_of_model
from schanger_edge.model.triton import add_to_repository


@pytest.fixture
def model(standin: ModuleType, tmp_path: Path) -> Path:
    standin.integer_model(tmp_path / "m.onnx", radius=1, tile=32, halo=2)
    return tmp_path / "m.onnx"


def by_onnx_runtime(model: Path) -> tuple[dict[str, str], list[tuple[str, str, tuple[object, ...]]]]:
    """Metadata, inputs and outputs."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    tensors = [
        (one.name, one.type.removeprefix("tensor(").removesuffix(")"), tuple(one.shape))
        for one in (*session.get_inputs(), *session.get_outputs())
    ]
    return dict(session.get_modelmeta().custom_metadata_map), tensors


def test_it_says_what_onnx_runtime_says(model: Path) -> None:
    for path in (model, *map(model_path, names())):
        metadata, inputs, outputs = read_header(memoryview(path.read_bytes()))
        assert (metadata, [*inputs, *outputs]) == by_onnx_runtime(path)
        file = read_model(path)
        card = ModelCard.from_json(metadata[METADATA_KEY])
        assert file == ModelFile(path, card, sha256_of(path), any_tile=path != model)
        assert read_model(file) is file


def test_no_engine_is_loaded() -> None:
    code = "import sys; from schanger_edge.model.plan import info; from pathlib import Path; info(Path(sys.argv[1]))\n"
    code += "assert not {'onnxruntime', 'onnx', 'openvino', 'tensorrt'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code, str(model_path(None))], check=True)


def test_other_fields_are_passed_over(model: Path) -> None:
    """Those of a later format, of every wire type."""
    more = bytes([15 << 3 | 0, 7]) + bytes([16 - 1 << 3 | 1]) + b"12345678" + bytes([15 << 3 | 5]) + b"1234"
    more += bytes([14 << 3 | 0, 1])  # metadata of the wrong kind is no metadata
    wanted = read_model(model).card
    model.write_bytes(more + model.read_bytes() + more)
    assert read_model(model).card == wanted


def test_weights_among_the_inputs_are_none(model: Path) -> None:
    """As before version 4 of the format."""
    graph = onnx.load(str(model))
    graph.ir_version = 3
    graph.graph.input.append(onnx.helper.make_tensor_value_info("scale", onnx.TensorProto.FLOAT, []))
    onnx.save(graph, str(model))
    assert read_model(model).card.tile == 32


@pytest.mark.parametrize(
    ("tile", "halo", "any_tile", "smaller"),
    [(512, 32, True, 256), (512, 32, False, None), (256, 32, True, None), (64, 8, True, None), (512, 128, True, None)],
)
def test_a_graph_that_leaves_its_size_open_also_takes_the_published_tile(
    standin: ModuleType, tmp_path: Path, tile: int, halo: int, any_tile: bool, smaller: int | None
) -> None:
    """Where that is smaller than the card's, and the card's halo leaves it a core."""
    standin.integer_model(tmp_path / "m.onnx", radius=1, tile=tile, halo=halo, any_tile=any_tile)
    file = read_model(tmp_path / "m.onnx")
    assert (file.card.tile, file.any_tile, file.smaller_tile) == (tile, any_tile, smaller)


def test_sizes_of_the_output_may_be_left_to_the_engine(model: Path) -> None:
    graph = onnx.load(str(model))
    shape = graph.graph.output[0].type.tensor_type.shape
    for axis in (2, 3):
        shape.dim[axis].dim_param = f"axis {axis}"
    onnx.save(graph, str(model))
    assert read_model(model).card.tile == 32
    del shape.dim[:]
    graph.graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(graph, str(model))
    assert read_model(model).card.tile == 32


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff" * 12, b"\x3a", b"\x3a\x7f", b"\x72\x01\x0a"])
def test_no_model(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"x\.onnx is no ONNX model, or is damaged .*: give the path of an \.onnx"):
        read_model(path)


def refused(path: Path, content: bytes) -> bool:
    """Whether a file with this content is refused, which is one sentence; anything but ModelError fails."""
    path.write_bytes(content)
    said = ""
    try:
        read_model(path)
    except ModelError as error:
        said = str(error)
    assert "\n" not in said
    return bool(said)


def test_truncated_files_are_refused(model: Path, tmp_path: Path) -> None:
    for whole in (model.read_bytes(), model_path(None).read_bytes()):
        for fiftieth in range(50):
            assert refused(tmp_path / "x.onnx", whole[: len(whole) * fiftieth // 50])


def test_flipped_bytes_are_a_model_or_a_sentence(model: Path, tmp_path: Path) -> None:
    whole, rng = model.read_bytes(), random.Random(36)
    header = model_path(None).read_bytes()[-20_000:]  # the card and what is around it
    count = 0
    for content in [whole] * 800 + [whole[:200] + header] * 50:
        damaged = bytearray(content)
        for _ in range(rng.choice((1, 1, 2, 8))):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        count += refused(tmp_path / "x.onnx", bytes(damaged))
    assert count > 200


def test_cards_that_ask_for_too_much(model: Path) -> None:
    """Numbers and nesting beyond what Python's own types take."""
    card = read_model(model).card.to_json()
    graph = onnx.load(str(model))
    texts = [card.replace('"gsd": null', f'"gsd": 1{"0" * 400}'), "[" * 100_000, card.replace("0.5", f"1{'0' * 400}")]
    for text in texts:
        assert text != card
        onnx.helper.set_model_props(graph, {METADATA_KEY: text})
        onnx.save(graph, str(model))
        with pytest.raises(ModelError):
            read_model(model)


def in_a_branch(graph: onnx.ModelProto) -> onnx.TensorProto:
    """A constant in a graph within a node."""
    tensor = onnx.numpy_helper.from_array(np.zeros(300, np.float32), "inner")
    constant = onnx.helper.make_node("Constant", [], ["inner"], value=tensor)
    branch = onnx.helper.make_graph([constant], "branch", [], [])
    graph.graph.node.append(onnx.helper.make_node("If", ["c"], ["y"], then_branch=branch))
    return graph.graph.node[-1].attribute[0].g.node[0].attribute[0].t


@pytest.mark.parametrize("find", [lambda graph: graph.graph.initializer[0], in_a_branch])
def test_weights_in_other_files_are_refused(
    model: Path, tmp_path: Path, find: Callable[[onnx.ModelProto], onnx.TensorProto]
) -> None:
    """They are no part of the model's hash: two models would share one."""
    graph = onnx.load(str(model))
    tensor = find(graph)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="m.data")
    tensor.ClearField("raw_data")
    (tmp_path / "x.onnx").write_bytes(graph.SerializeToString())
    for use in (read_model, sha256_of_model, lambda path: add_to_repository(path, tmp_path / "repository")):
        with pytest.raises(ModelError, match=r"x\.onnx keeps weights in other files \(m\.data\), .*: save it as one"):
            use(tmp_path / "x.onnx")
    assert not (tmp_path / "repository").exists()
