"""What `torch.save` wrote, as numpy arrays and plain values, without torch and without running any pickled code.

Pickle asks for functions and classes by name. A state dict needs the few of `_Unpickler.find_class`; every other name
is refused before anything of it is called. Reads the zip format and the bare pickles from before torch 1.6.
"""

from __future__ import annotations

import collections
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

MAGIC = 0x1950A86A20F9469CFC6C
"""The first value in a file from before torch 1.6."""

BFLOAT16 = "bfloat16"
KINDS = {
    "Float": "float32",
    "Double": "float64",
    "Half": "float16",
    "BFloat16": BFLOAT16,
    "Long": "int64",
    "Int": "int32",
    "Short": "int16",
    "Char": "int8",
    "Byte": "uint8",
    "Bool": "bool",
    "ComplexFloat": "complex64",
    "ComplexDouble": "complex128",
}
"""Types by torch's storages, such as `torch.FloatStorage`: numpy's names, which under `torch` become words, for an
optimizer's state may hold them."""


class RefusedError(Exception):
    """The file asks for something that is no part of plain weights; the message is its name."""


class DamagedError(Exception):
    """The file is none of torch's, or not whole."""


def read(path: Path) -> Any:
    """The content of a file: dictionaries, lists, numbers, words, and tensors as arrays; bfloat16 becomes float32.

    Raises:
        OSError: it cannot be read.
        RefusedError: it holds other objects.
        DamagedError: it is not whole, or not torch's.
    """
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(0)
        try:
            if start == b"PK\x03\x04":
                return _read_zip(file)
            if start.startswith(b"\x80"):
                return _read_legacy(file, path.stat().st_size)
        except (RefusedError, OSError):
            raise
        except Exception as error:  # broken pickles fail in many ways
            raise DamagedError(str(error)) from error
    raise DamagedError("neither a zip archive nor a pickle")


def _read_zip(file: IO[bytes]) -> Any:
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        pickled = next(name for name in names if name.rpartition("/")[2] == "data.pkl")
        folder = pickled.rpartition("/")[0]
        order = archive.read(f"{folder}/byteorder") if f"{folder}/byteorder" in names else b"little"
        stored: dict[str, NDArray[Any]] = {}

        def storage(key: str, kind: str, count: int) -> NDArray[Any]:
            if key not in stored:
                stored[key] = _values(archive.read(f"{folder}/data/{key}"), kind, ">" if order == b"big" else "<")
            return stored[key]

        with archive.open(pickled) as content:
            return _Unpickler(content, storage).load()


def _read_legacy(file: IO[bytes], size: int) -> Any:
    """Three pickles about the file, that of the content, that of the storages' keys, then their values."""
    if _plain(file) != MAGIC:
        raise DamagedError("no torch file")
    _plain(file), _plain(file)
    begin = file.tell()
    wanted: dict[str, str] = {}

    def note(key: str, kind: str, count: int) -> None:
        wanted[key] = kind

    _Unpickler(file, note).load()
    stored: dict[str, NDArray[Any]] = {}
    for key in _plain(file):
        count = int.from_bytes(file.read(8), "little")
        length = min(count * _item(wanted[key]).itemsize, size)  # a damaged count may be anything
        stored[key] = _values(file.read(length), wanted[key], "<")
        if len(stored[key]) != count:
            raise DamagedError("cut off")
    file.seek(begin)
    return _Unpickler(file, lambda key, kind, count: stored[key]).load()


def _plain(file: IO[bytes]) -> Any:
    """A pickle of numbers and words."""
    return _Unpickler(file, lambda key, kind, count: None).load()


def _item(kind: str) -> np.dtype[Any]:
    return np.dtype("u2" if kind == BFLOAT16 else kind)


def _values(content: bytes, kind: str, order: Literal["<", ">"]) -> NDArray[Any]:
    values = np.frombuffer(content, _item(kind).newbyteorder(order))
    if kind == BFLOAT16:  # the upper half of a float32
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(values.dtype.newbyteorder("="))


class _Call:
    """A function that pickle may call, and cannot change."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)


class _Unpickler(pickle.Unpickler):
    """Args: the pickle, and what gives the values of a storage by its key, type and count, or None for not yet."""

    def __init__(self, file: IO[bytes], storage: Callable[[str, str, int], NDArray[Any] | None]) -> None:
        super().__init__(file, encoding="utf-8")
        self._storage = storage

    def persistent_load(self, pid: Any) -> Any:
        """A storage: ("storage", type, key, device, count, ...)."""
        mark, kind, key, _, count = pid[:5]
        if mark != "storage" or kind not in KINDS.values():
            raise DamagedError("an unknown kind of storage")
        return self._storage(str(key), kind, int(count))

    def find_class(self, module: str, name: str) -> Any:
        """What a pickle may ask for by name."""
        full = f"{module}.{name}"
        if full == "collections.OrderedDict":
            return collections.OrderedDict
        if full in FUNCTIONS:
            return _Call(FUNCTIONS[full])
        if module == "torch" and name.endswith("Storage") and name[:-7] in KINDS:
            return KINDS[name[:-7]]
        if module == "torch" and name in KINDS.values():
            return name
        raise RefusedError(full)


def _tensor(storage: NDArray[Any] | None, offset: int, shape: Any, strides: Any, *_: Any) -> NDArray[Any] | None:
    """torch._utils._rebuild_tensor_v2, as an array of its own with just these strides, on which rounding depends."""
    if storage is None:
        return None
    shape, strides = tuple(map(int, shape)), tuple(map(int, strides))
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    empty = 0 in shape
    if min((offset, *shape, *strides)) < 0 or (not empty and last >= len(storage)):
        raise DamagedError("a tensor reaches beyond its storage")
    if empty:
        return np.zeros(shape, storage.dtype)
    steps = tuple(step * storage.itemsize for step in strides)
    return np.lib.stride_tricks.as_strided(storage[offset : last + 1].copy(), shape, steps)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
    "torch.Size": lambda values: values,
    "torch.device": lambda *words: ":".join(map(str, words)),
    "_codecs.encode": lambda text, _: text.encode("latin1"),  # bytes, in protocol 2
}
"""What is called in place of the functions that pickles of torch name."""
