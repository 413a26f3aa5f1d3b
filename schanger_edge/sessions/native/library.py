"""The native library: whether it is there, which kernels this processor runs, and networks as it opens them."""

from __future__ import annotations

import ctypes
import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from schanger_edge.errors import SessionError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

INTERFACE = 1
REINSTALL = "install a C++ compiler (Debian, Ubuntu: apt install g++), then schanger-edge again"
_NO_MEMORY = 2


class Kernels(NamedTuple):
    """A kind of kernels: instruction set, and precision of the products."""

    isa: str
    precision: str


def library_path() -> Path | None:
    """The library beside this file; None where it was not built."""
    return next(iter(sorted(Path(__file__).parent.glob("schanger_native.*"))), None)


def build() -> str:
    """Eight hexadecimal digits of the library's own bytes: sources or a compiler that round otherwise change them."""
    path = library_path()
    assert path is not None
    return hashlib.sha256(path.read_bytes()).hexdigest()[:8]


@functools.cache
def load() -> ctypes.CDLL:
    """The library.

    Raises:
        SessionError: it was not built, does not load, or is another version's.
    """
    path = library_path()
    if path is None:
        raise SessionError(f"the native engine was not built when schanger-edge was installed: {REINSTALL}.")
    try:
        library = ctypes.CDLL(str(path))
        found = library.schanger_interface()
    except (OSError, AttributeError) as error:
        raise SessionError(f"the native engine does not load ({error}): {REINSTALL}.") from error
    if found != INTERFACE:
        raise SessionError(f"the native engine is of another version of schanger-edge: {REINSTALL}.")
    pointer, number = ctypes.c_void_p, ctypes.c_int32
    library.schanger_kernels.argtypes = [number, *[ctypes.POINTER(ctypes.c_char_p)] * 2]
    names, weights = (ctypes.c_char_p, ctypes.c_char_p), (pointer, ctypes.c_size_t)
    library.schanger_open.argtypes = [*names, pointer, number, number, *weights, ctypes.POINTER(number)]
    library.schanger_open.restype = pointer
    library.schanger_run.argtypes = [pointer, pointer, pointer, number, pointer]
    library.schanger_memory.argtypes, library.schanger_memory.restype = [pointer], ctypes.c_size_t
    library.schanger_close.argtypes, library.schanger_close.restype = [pointer], None
    return library


def kernels() -> list[Kernels]:
    """All that this processor runs, best first.

    Raises:
        SessionError: see `load`.
    """
    library, found = load(), list[Kernels]()
    isa, precision = ctypes.c_char_p(), ctypes.c_char_p()
    while library.schanger_kernels(len(found), ctypes.byref(isa), ctypes.byref(precision)):
        assert isa.value is not None
        assert precision.value is not None
        found.append(Kernels(isa.value.decode(), precision.value.decode()))
    return found


def open_network(
    kind: Kernels, widths: Sequence[int], tile: int, threads: int, weights: NDArray[np.float32]
) -> ctypes.c_void_p:
    """Weights laid out for one kind of kernels, with the memory and the threads that run them; to be closed.

    Args:
        kind: one of `kernels()`.
        widths: channels of the six stages.
        tile: T, height and width of a tile in pixels, a multiple of 16.
        threads: that work on each pair of tiles.
        weights: all of them, in the library's order.

    Raises:
        SessionError: there is no memory, or no thread.
    """
    names, sizes, status = [name.encode() for name in kind], (ctypes.c_int32 * len(widths))(*widths), ctypes.c_int32()
    given = (sizes, tile, threads, weights.ctypes.data, weights.size)
    made = load().schanger_open(*names, *given, ctypes.byref(status))
    if made is None:
        why = "there is not enough memory" if status.value == _NO_MEMORY else f"error {status.value} of its library"
        raise SessionError(f"the native engine does not start for tiles of {tile} pixels: {why}.")
    return ctypes.c_void_p(made)
