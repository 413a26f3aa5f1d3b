"""`schanger-edge export --triton` and the repository it writes, read by Triton's own schema and by ONNX Runtime."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import onnxruntime
import pytest
from typer.testing import CliRunner, Result

from schanger_edge.cli import app
from schanger_edge.errors import ModelError, SchangerError
from schanger_edge.model.bundled import model_path
from schanger_edge.model.card import METADATA_KEY, ModelCard
from schanger_edge.model.file import read_model
from schanger_edge.model.triton import add_to_repository, config
from schanger_export.options import ExportOptions

ORT_TYPES = {2: "tensor(uint8)", 11: "tensor(float)"}  # by Triton's DataType: TYPE_UINT8, TYPE_FP32


@pytest.fixture
def standin_model(standin: ModuleType, tmp_path: Path) -> Callable[..., Path]:
    """standin_model(tile=64, seed=0): a model file named standin-integer in its card."""

    def make(tile: int = 64, seed: int = 0) -> Path:
        path = tmp_path / f"{tile}-{seed}.onnx"
        standin.integer_model(path, radius=1, tile=tile, halo=4, seed=seed)
        return path

    return make


def export(*arguments: Any) -> Result:
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


def files(folder: Path) -> dict[str, bytes]:
    """All files below a folder, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def parsed(path: Path) -> Any:
    """config.pbtxt as Triton reads it; one unknown field or wrong type fails."""
    text_format = pytest.importorskip("google.protobuf.text_format")
    package = importlib.util.find_spec("tritonclient")
    if package is None:
        pytest.skip("tritonclient, which has Triton's schema, is not installed")
    # The file alone: the package around it wants gRPC.
    schema = Path(next(iter(package.submodule_search_locations or ()))) / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", schema)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return text_format.Parse(path.read_text(encoding="utf-8"), module.ModelConfig())


@pytest.mark.parametrize("name", ["schanger-small", "schanger-small-int8"])
def test_triton_reads_the_config_and_it_fits_the_file(name: str, tmp_path: Path) -> None:
    result = export("--model", name, "--triton", tmp_path)
    assert result.exit_code == 0, result.output
    read = parsed(tmp_path / name / "config.pbtxt")
    card = read_model(model_path(name)).card
    sizes = {256: [1, 4, 8], 512: [1, 2]}[card.tile]
    assert (read.name, read.backend, read.max_batch_size) == (name, "onnxruntime", sizes[-1])
    assert list(read.dynamic_batching.preferred_batch_size) == sizes[1:]
    assert read.parameters["cudnn_conv_algo_search"].string_value == "1"  # the heuristic
    assert [warm_up.batch_size for warm_up in read.model_warmup] == sizes
    for warm_up in read.model_warmup:
        sent = {key: (value.data_type, list(value.dims), value.zero_data) for key, value in warm_up.inputs.items()}
        assert sent == {tensor.name: (tensor.data_type, list(tensor.dims), True) for tensor in read.input}
    assert ModelCard.from_json(read.parameters[METADATA_KEY].string_value) == card
    session = onnxruntime.InferenceSession(tmp_path / name / "1" / "model.onnx", providers=["CPUExecutionProvider"])
    for told, there in ((read.input, session.get_inputs()), (read.output, session.get_outputs())):
        assert [tensor.name for tensor in told] == [tensor.name for tensor in there]
        for tensor, actual in zip(told, there, strict=True):
            assert ORT_TYPES[tensor.data_type] == actual.type
            assert list(tensor.dims) == [size if isinstance(size, int) else card.tile for size in actual.shape[1:]]
            assert not isinstance(actual.shape[0], int)  # the batch that Triton fills


def test_the_folder_has_what_triton_looks_for(standin_model: Callable[..., Path], tmp_path: Path) -> None:
    model = standin_model()
    served = add_to_repository(model, tmp_path / "serve" / "models")
    folder = tmp_path / "serve" / "models" / "standin-integer"
    assert (served.folder, served.version, served.kept_config) == (folder, 1, False)
    found = files(tmp_path / "serve")
    assert set(found) == {"models/standin-integer/config.pbtxt", "models/standin-integer/1/model.onnx"}
    assert served.model.read_bytes() == model.read_bytes()
    assert found["models/standin-integer/config.pbtxt"].decode() == config("standin-integer", read_model(model).card)
    mask = os.umask(0)
    os.umask(mask)
    assert folder.stat().st_mode & 0o777 == 0o777 & ~mask  # a server that runs as someone else can read it


def test_the_card_survives_quotes_and_letters(standin_model: Callable[..., Path], tmp_path: Path) -> None:
    card = dataclasses.replace(read_model(standin_model()).card, license='"Größe" \\ only\nhere')
    (tmp_path / "config.pbtxt").write_text(config("m", card), encoding="utf-8")
    read = parsed(tmp_path / "config.pbtxt")
    assert ModelCard.from_json(read.parameters[METADATA_KEY].string_value) == card


def test_the_next_export_is_the_next_version(standin_model: Callable[..., Path], tmp_path: Path) -> None:
    repository = tmp_path / "models"
    first, second = standin_model(seed=1), standin_model(seed=2)
    add_to_repository(first, repository, "town")
    (repository / "town" / "notes").mkdir()  # Triton passes over it, and so do we
    served = add_to_repository(second, repository, "town")
    assert (served.version, served.kept_config) == (2, False)
    found = files(repository)
    assert set(found) == {"town/config.pbtxt", "town/1/model.onnx", "town/2/model.onnx"}
    assert found["town/1/model.onnx"] == first.read_bytes()
    assert found["town/2/model.onnx"] == second.read_bytes()


def test_the_config_tells_of_the_newest_version(tmp_path: Path) -> None:
    for model in ("schanger-small", "schanger-small-int8"):
        add_to_repository(model_path(model), tmp_path, "town")
    card = read_model(model_path("schanger-small-int8")).card
    assert (tmp_path / "town" / "config.pbtxt").read_text() == config("town", card)


def test_an_edited_config_stays(standin_model: Callable[..., Path], tmp_path: Path) -> None:
    add_to_repository(standin_model(), tmp_path, "town")
    path = tmp_path / "town" / "config.pbtxt"
    edited = path.read_text() + "instance_group [ { count: 2 kind: KIND_CPU } ]\n"
    path.write_text(edited)
    result = export("--model", standin_model(seed=1), "--name", "town", "--triton", tmp_path)
    assert result.exit_code == 0
    assert "was edited and is kept" in result.stderr
    assert path.read_text() == edited
    assert (tmp_path / "town" / "2" / "model.onnx").is_file()


def test_another_kind_of_model_is_left_alone(standin_model: Callable[..., Path], tmp_path: Path) -> None:
    repository = tmp_path / "models"
    add_to_repository(standin_model(tile=64), repository, "town")
    (repository / "other" / "1").mkdir(parents=True)
    (repository / "other" / "1" / "model.plan").write_bytes(b"plan")
    before = files(repository)
    with pytest.raises(ModelError, match=r"takes tiles of 64 pixels.* takes 128, so use another --name"):
        add_to_repository(standin_model(tile=128), repository, "town")
    with pytest.raises(ModelError, match=r"other holds another kind of model .*another --name"):
        add_to_repository(standin_model(), repository, "other")
    assert files(repository) == before


def test_nothing_is_left_where_it_fails(
    standin_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "models"
    model = standin_model()
    add_to_repository(model, repository, "old")
    before = files(repository)

    def full(source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("schanger_edge.model.triton.shutil.copyfile", full)
    for name in ("old", "new"):
        with pytest.raises(ModelError, match=f"{name} cannot be written .No space left"):
            add_to_repository(model, repository, name)
    assert files(repository) == before
    assert sorted(path.name for path in repository.iterdir()) == ["old"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--model", "schanger-small"], "with --triton REPO"),
        (["--model", "schanger-small", "--triton", "r", "-o", "m.onnx", "--tile", "64"], "omit --output, --tile"),
        (["--model", "schanger-small", "--checkpoint", "c.pth", "--triton", "r"], "--model FILE"),
        (["--checkpoint", "c.pth"], "-o FILE, --triton REPO, or both"),
        (["--model", "no.onnx", "--triton", "r"], "no.onnx does not exist"),
        (["--model", "schanger-small", "--triton", "r", "--name", "../up"], "'../up' is not a valid model name"),
    ],
)
def test_what_cannot_be_meant(
    arguments: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = export(*arguments)
    assert isinstance(result.exception, SchangerError)
    assert sentence in str(result.exception)
    assert files(tmp_path) == {}


@pytest.mark.parametrize("keeps_file", [True, False])
def test_weights_go_to_the_repository(keeps_file: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And to a file, where one is asked for."""

    def write(checkpoint: Path, size: str, target: Path, options: ExportOptions, **_: Any) -> Any:
        shutil.copyfile(model_path(str(options.name)), target)
        return SimpleNamespace(bytes=1, opset=17, sha256="0", largest_difference=0.0, tiles=4)

    tool = pytest.importorskip("schanger_export.to_onnx", reason="export needs the export extra")
    monkeypatch.setattr(tool, "export", write)
    name, target = "schanger-small-int8", tmp_path / "town.onnx"
    options = ["-o", target] if keeps_file else []
    result = export("--weights", "schanger-small", "--name", name, "--triton", tmp_path / "models", *options)
    assert result.exit_code == 0, result.output
    assert f"{tmp_path}/models/{name}/1/model.onnx: version 1 of {name}" in result.stdout
    assert (tmp_path / "models" / name / "1" / "model.onnx").read_bytes() == model_path(name).read_bytes()
    kept = {"town.onnx"} if keeps_file else set()
    assert set(files(tmp_path)) == {f"models/{name}/config.pbtxt", f"models/{name}/1/model.onnx"} | kept
