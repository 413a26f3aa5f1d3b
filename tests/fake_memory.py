"""Memory of a fake CUDA device and page-locked memory of its host, each at addresses of its own."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

GARBAGE = 0xCD
ALIGNMENT = 512
FIRST = 1 << 40


class Code(IntEnum):
    """CUresult, as far as it is given here."""

    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_NO_DEVICE = 100
    CUDA_ERROR_INVALID_DEVICE = 101
    CUDA_ERROR_INVALID_CONTEXT = 201
    CUDA_ERROR_INVALID_HANDLE = 400
    CUDA_ERROR_NOT_READY = 600
    CUDA_ERROR_ILLEGAL_ADDRESS = 700
    CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900
    CUDA_ERROR_STREAM_CAPTURE_INVALIDATED = 901


class RefusedError(Exception):
    """The driver answers a call with this code."""

    def __init__(self, code: Code) -> None:
        super().__init__(code.name)
        self.code = code


class FakeMemory:
    """Blocks by address. The host cannot read the device's addresses; what is freed turns into garbage.

    Args:
        size: bytes, of host and device together.
    """

    def __init__(self, size: int) -> None:
        self._size, self._next = size, FIRST
        self._device: dict[int, NDArray[np.uint8]] = {}  # page-locked memory of the host too
        self._host: dict[int, NDArray[np.uint8]] = {}
        self._mapped: dict[int, int] = {}  # host's address -> device's address
        self._graveyard: list[NDArray[np.uint8]] = []  # kept, so that a late access meets garbage and not a crash

    def alloc(self, size: int) -> int:
        """Device memory; its address."""
        return self._map(self._block(size))

    def free(self, address: int) -> None:
        """Device memory."""
        if address not in self._device or address in self._mapped.values():
            raise RefusedError(Code.CUDA_ERROR_INVALID_VALUE)
        self._bury(self._device.pop(address))

    def alloc_host(self, size: int) -> int:
        """Page-locked memory; its address on the host."""
        block = self._block(size)
        address = int(block.ctypes.data)
        self._host[address], self._mapped[address] = block, self._map(block)
        return address

    def mapped(self, address: int) -> int:
        """Where the device sees page-locked memory."""
        if address not in self._mapped:
            raise RefusedError(Code.CUDA_ERROR_INVALID_VALUE)
        return self._mapped[address]

    def free_host(self, address: int) -> None:
        """Page-locked memory."""
        del self._device[self.mapped(address)], self._mapped[address]
        self._bury(self._host.pop(address))

    def of_device(self, address: int, size: int) -> NDArray[np.uint8] | None:
        """What the device finds there; None where nothing of it lies."""
        return _within(self._device, address, size)

    def of_host(self, address: int, size: int) -> NDArray[np.uint8] | None:
        """Page-locked memory there; None where none lies."""
        return _within(self._host, address, size)

    @property
    def free_bytes(self) -> int:
        """What is left."""
        return self._size - sum(block.nbytes for block in self._device.values())

    def _block(self, size: int) -> NDArray[np.uint8]:
        if size > self.free_bytes:
            raise RefusedError(Code.CUDA_ERROR_OUT_OF_MEMORY)
        return np.full(size, GARBAGE, np.uint8)

    def _map(self, block: NDArray[np.uint8]) -> int:
        address = self._next
        self._next += (block.nbytes // ALIGNMENT + 2) * ALIGNMENT
        self._device[address] = block
        return address

    def _bury(self, block: NDArray[np.uint8]) -> None:
        block[:] = GARBAGE
        self._graveyard.append(block)


def _within(blocks: dict[int, NDArray[np.uint8]], address: int, size: int) -> NDArray[np.uint8] | None:
    for start, block in blocks.items():
        if start <= address and address + size <= start + block.nbytes:
            return block[address - start :][:size]
    return None
