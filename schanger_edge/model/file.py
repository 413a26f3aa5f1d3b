"""A model file as it is read before any engine starts: its card, its hash, and whether it keeps the contract.

Only the header is looked at: the metadata, what the graph says of its inputs and outputs, and where its weights lie.
Their values are skipped by their length, so this takes milliseconds, whatever the size of the network.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from schanger_edge.errors import ModelError, check_name
from schanger_edge.model.card import INPUT_NAMES, METADATA_KEY, OUTPUT_NAME, PUBLISHED_TILE, ModelCard
from schanger_edge.model.wire import fields, parts, text

# Numbers of fields in onnx.proto: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
GRAPH, METADATA, FUNCTION = 7, 14, 25  # ModelProto
NODE, INITIALIZER, INPUT, OUTPUT, SPARSE_INITIALIZER = 1, 5, 11, 12, 15  # GraphProto
FUNCTION_NODE = 7  # FunctionProto
ATTRIBUTE = 5  # NodeProto
TENSORS, GRAPHS, SPARSE_TENSORS = (5, 10), (6, 11), (22, 23)  # AttributeProto
SPARSE_PARTS = (1, 2)  # SparseTensorProto: values and indices
EXTERNAL_DATA, DATA_LOCATION, EXTERNAL = 13, 14, 1  # TensorProto
KEY, VALUE = 1, 2  # StringStringEntryProto
NAME, TYPE = 1, 2  # ValueInfoProto
TENSOR_TYPE, ELEMENT, SHAPE, DIMENSION = 1, 1, 2, 1  # TypeProto, its Tensor, TensorShapeProto
DIM_VALUE, DIM_PARAM = 1, 2  # TensorShapeProto.Dimension
INITIALIZER_NAME = 8  # TensorProto
ELEMENTS = (
    *("undefined", "float", "uint8", "int8", "uint16", "int16", "int32", "int64", "string", "bool", "float16"),
    *("double", "uint32", "uint64", "complex64", "complex128", "bfloat16"),
)
"""TensorProto.DataType by number."""


@dataclasses.dataclass(frozen=True)
class ModelFile:
    """A model file that keeps the contract of `card`, read once and passed on.

    Attributes:
        path: the .onnx file.
        card: what it says of itself.
        sha256: hexadecimal hash of the whole file.
        any_tile: its graph leaves height and width open, so that it runs on tiles of any multiple of 16.
    """

    path: Path
    card: ModelCard
    sha256: str
    any_tile: bool = False

    @property
    def smaller_tile(self) -> int | None:
        """See `sessions.Session`."""
        has_core = 2 * self.card.halo < PUBLISHED_TILE < self.card.tile
        return PUBLISHED_TILE if self.any_tile and has_core else None


class Tensor(NamedTuple):
    """An input or output of a graph; a dimension is a number, a name, or None where nothing is said of it."""

    name: str
    type: str
    shape: tuple[int | str | None, ...]


def read_model(model: str | PathLike[str] | ModelFile) -> ModelFile:
    """Read a model file, unless that is done already; no engine is started.

    Raises:
        ModelError: the file is missing, damaged, or breaks the contract.
    """
    if isinstance(model, ModelFile):
        return model
    path = Path(model)
    check_name(path, ModelError)
    content = content_of(path)
    try:
        metadata, inputs, outputs = read_header(memoryview(content))
        _check_whole(path, content)
    except ValueError as error:
        raise ModelError(
            f"{path} is no ONNX model, or is damaged ({error}): give the path of an .onnx file, or export it again."
        ) from error
    if METADATA_KEY not in metadata:
        raise ModelError(f"{path} has no model card: make it with `schanger-edge export`.")
    card = ModelCard.from_json(metadata[METADATA_KEY])
    check_contract(path, card, inputs, [_as_inferred(output, card.tile) for output in outputs])
    any_tile = not any(isinstance(size, int) for tensor in inputs for size in tensor.shape[2:])
    return ModelFile(path, card, hashlib.sha256(content).hexdigest(), any_tile)


def content_of(path: Path) -> bytes:
    """Of a model file; ModelError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"model {path} cannot be read ({error.strerror}): give the path of an .onnx file.") from error


def read_header(model: memoryview) -> tuple[dict[str, str], list[Tensor], list[Tensor]]:
    """Metadata, inputs and outputs of a serialized ModelProto; ValueError where it is none."""
    metadata = {text(entry, KEY): text(entry, VALUE) for entry in parts(model, METADATA)}
    graphs = parts(model, GRAPH)
    if not graphs:
        raise ValueError("no graph")
    found: dict[int, list[memoryview]] = {INITIALIZER: [], INPUT: [], OUTPUT: []}
    for graph in graphs:  # one, unless the file was put together from pieces
        for number, value in fields(graph):
            if number in found and isinstance(value, memoryview):
                found[number].append(value)
    inputs, outputs = ([_tensor(value) for value in found[number]] for number in (INPUT, OUTPUT))
    if len(inputs) > len(INPUT_NAMES):  # before version 4 of ONNX's format, weights were listed among the inputs
        weights = {text(value, INITIALIZER_NAME) for value in found[INITIALIZER]}
        inputs = [tensor for tensor in inputs if tensor.name not in weights]
    return metadata, inputs, outputs


def sha256_of_model(path: Path) -> str:
    """Hexadecimal digest of an .onnx file, or of a plan, from which another model will differ.

    Raises:
        ModelError: it keeps weights in other files, of which the digest says nothing.
    """
    content = path.read_bytes()
    with contextlib.suppress(ValueError):  # no ONNX file
        _check_whole(path, content)
    return hashlib.sha256(content).hexdigest()


def _check_whole(path: Path, content: bytes) -> None:
    elsewhere = external_files(memoryview(content))
    if elsewhere:
        raise ModelError(
            f"{path} keeps weights in other files ({', '.join(map(_on_one_line, elsewhere))}), which may change "
            "without it: save it as one file, with onnx.save(onnx.load(PATH), NEW_PATH)."
        )


def external_files(model: memoryview) -> list[str]:
    """Names of the files in which a serialized ModelProto keeps weights, sorted; ValueError where it is none."""
    found = {_location(tensor) for tensor in _tensors(model) if _is_external(tensor)}
    return sorted(found)


def _tensors(model: memoryview) -> Iterator[memoryview]:
    """All tensors of a model, in graphs of any depth."""
    graphs, nodes = parts(model, GRAPH), list[memoryview]()
    for function in parts(model, FUNCTION):
        nodes += parts(function, FUNCTION_NODE)
    while graphs or nodes:
        if graphs:
            for number, value in fields(graphs.pop()):
                if isinstance(value, memoryview) and number in (INITIALIZER, SPARSE_INITIALIZER):
                    yield from [value] if number == INITIALIZER else _of_sparse(value)
                elif isinstance(value, memoryview) and number == NODE:
                    nodes.append(value)
            continue
        for attribute in parts(nodes.pop(), ATTRIBUTE):
            for number, value in fields(attribute):
                if isinstance(value, memoryview) and number in (*TENSORS, *SPARSE_TENSORS):
                    yield from [value] if number in TENSORS else _of_sparse(value)
                elif isinstance(value, memoryview) and number in GRAPHS:
                    graphs.append(value)


def _of_sparse(tensor: memoryview) -> list[memoryview]:
    return [value for number in SPARSE_PARTS for value in parts(tensor, number)]


def _is_external(tensor: memoryview) -> bool:
    return any(
        number == EXTERNAL_DATA or (number == DATA_LOCATION and value == EXTERNAL) for number, value in fields(tensor)
    )


def _location(tensor: memoryview) -> str:
    entries = {text(entry, KEY): text(entry, VALUE) for entry in parts(tensor, EXTERNAL_DATA)}
    return entries.get("location", "unnamed")


def check_contract(model: Path, card: ModelCard, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
    """Raise ModelError unless a graph, of the model file that is named, takes and gives what the card promises."""
    tile = card.tile
    wanted = dict.fromkeys(INPUT_NAMES, ("uint8", (3, tile, tile)))
    dynamic = all(not isinstance(size, int) for tensor in inputs for size in tensor.shape[:1])
    if _without_batch(inputs, tile) != wanted or not dynamic:
        raise ModelError(
            f"{model} breaks the model contract: its inputs must be before and after, "
            f"uint8 (N, 3, {tile}, {tile}); it has {_described(inputs)}. Export it again."
        )
    if _without_batch(outputs, tile) != {OUTPUT_NAME: ("float", (1, tile, tile))}:
        raise ModelError(
            f"{model} breaks the model contract: its output must be probability, "
            f"float32 (N, 1, {tile}, {tile}); it has {_described(outputs)}. Export it again."
        )


def _without_batch(tensors: Sequence[Tensor], tile: int) -> dict[str, tuple[str, tuple[int | str | None, ...]]]:
    """Types and sizes by name; height and width that are left open count as the tile's."""
    found = {}
    for tensor in tensors:
        size = (side if isinstance(side, int) else tile for side in tensor.shape[2:])
        found[tensor.name] = tensor.type, (*tensor.shape[1:2], *size)
    return found


def _described(tensors: Sequence[Tensor]) -> str:
    return ", ".join(f"{_on_one_line(name)} {kind} {shape}" for name, kind, shape in tensors)


def _on_one_line(name: str) -> str:
    return name if name.isprintable() else ascii(name)[1:-1]


def _as_inferred(output: Tensor, tile: int) -> Tensor:
    """An output with the sizes that the file leaves open taken on trust: an engine infers and checks them."""
    wanted = (None, 1, tile, tile)
    shape = output.shape or (None,) * len(wanted)
    if len(shape) != len(wanted):
        return output
    known = (size if isinstance(size, int) else promised for size, promised in zip(shape, wanted, strict=True))
    return output._replace(shape=tuple(known))


def _tensor(value_info: memoryview) -> Tensor:
    kind, shape = 0, list[int | str | None]()
    for form in parts(value_info, TYPE):
        for tensor in parts(form, TENSOR_TYPE):
            for number, value in fields(tensor):
                if number == ELEMENT and isinstance(value, int):
                    kind = value
                elif number == SHAPE and isinstance(value, memoryview):
                    shape += [_size(dimension) for dimension in parts(value, DIMENSION)]
    return Tensor(text(value_info, NAME), ELEMENTS[kind] if kind < len(ELEMENTS) else f"type {kind}", tuple(shape))


def _size(dimension: memoryview) -> int | str | None:
    found: int | str | None = None
    for number, value in fields(dimension):
        if number == DIM_VALUE and isinstance(value, int):
            found = value
        elif number == DIM_PARAM and isinstance(value, memoryview):
            found = str(value, "utf-8")
    return found
