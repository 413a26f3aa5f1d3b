"""The few rules of protobuf's wire format that reading a model file's header takes; nothing is copied or kept.

https://protobuf.dev/programming-guides/encoding

Bytes that are no message, are cut off, or are no UTF-8 where they should be are a ValueError.
"""

from __future__ import annotations

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_SIZES = {FIXED64: 8, FIXED32: 4}
_LONGEST = 10  # bytes of a varint of 64 bits


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field: a varint as an int, strings, bytes and messages as views, fixed sizes as 0."""
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        start, value = at, 0
        if kind == VARINT:
            value, at = _varint(message, at)
        elif kind == BYTES:
            size, start = _varint(message, at)
            at = start + size
        elif kind in _SIZES:
            at += _SIZES[kind]
        else:
            raise ValueError(f"wire type {kind}")
        if not number or at > end:
            raise ValueError("a field without a number" if not number else "cut off")
        yield number, message[start:at] if kind == BYTES else value


def parts(message: memoryview, number: int) -> list[memoryview]:
    """All strings, bytes or messages of one field, in order; other kinds are passed over, as protobuf does."""
    return [value for found, value in fields(message) if found == number and isinstance(value, memoryview)]


def text(message: memoryview, number: int) -> str:
    """A string field, the last where it is repeated; empty where it is absent."""
    found = parts(message, number)
    return str(found[-1], "utf-8") if found else ""


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for count, byte in enumerate(message[at : at + _LONGEST]):
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, at + count + 1
    raise ValueError("a number without an end")
