"""Mutations of bytes, text and JSON, each decided by a seeded generator alone."""

from __future__ import annotations

import copy
import json
import re
from random import Random
from typing import Any

EDGE = 512
"""Bytes at each end of a file where most of its structure lies."""
MOST = 1 << 20
"""Letters that a text may grow to."""
NUMBERS = (0, 1, -1, 2, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64)
WORDS = (
    *("", " ", "nan", "inf", "-1", "1e999", "0x10", "1,5", "null", "none", "\0", "\n", "\x1b[31m", "é", "\u202e", '"'),
    *("../outside", "~", "~nobody/x", "/dev/null", "/dev/zero", "/vsicurl/http://127.0.0.1:9/x.tif", "=1+1", "--help"),
    *("a" * 300, "9" * 400, "EPSG:32631", "EPSG:999999", "0001-01-01", "9999-12-31T23:59:59", "&amp;", "<x/>", "[]"),
)
_TOKEN = re.compile(r"<[^>]*>|-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|\w+|\S")


def mutate_bytes(content: bytes, rng: Random) -> bytes:
    """Some bytes changed, taken out, doubled or cut off; most changes are near the ends."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        at = _place(len(data), rng)
        length = min(rng.choice((1, 2, 4, 8, 64, 1024)), len(data) - at)
        match rng.randrange(8):
            case 0 if data:
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                data[at : at + 1] = rng.randbytes(1)
            case 2 | 3:
                size = rng.choice((1, 2, 4, 8))
                number = rng.choice(NUMBERS) % (1 << 8 * size)
                data[at : at + size] = number.to_bytes(size, rng.choice(("little", "big")))
            case 4:
                del data[at : at + length]
            case 5:
                data[at:at] = data[at : at + length]
            case 6:
                data[at : at + length] = rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length)))
            case _ if rng.random() < 0.3:
                del data[at:]
    return bytes(data)


def _place(size: int, rng: Random) -> int:
    first, last = (0, size) if rng.random() < 0.3 else (0, EDGE) if rng.random() < 0.6 else (size - EDGE, size)
    return max(min(rng.randrange(first, max(last, first + 1)), size - 1), 0)


def mutate_text(text: str, rng: Random) -> bytes:
    """Some words, numbers or elements replaced, taken out, doubled, swapped or repeated; sometimes other bytes."""
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        tokens = list(_TOKEN.finditer(text))
        if not tokens or len(text) > MOST:
            break
        one, other = rng.choice(tokens), rng.choice(tokens)
        longer = (one[0] * 2, one[0][:99] * rng.choice((100, 10_000)))
        new = rng.choice((str(rng.choice(NUMBERS)), rng.choice(WORDS), "", other[0], *longer))
        text = text[: one.start()] + new + text[one.end() :]
    content = text.encode("utf-8", "surrogatepass")
    match rng.randrange(10):
        case 0:
            return b"\xef\xbb\xbf" + content
        case 1:
            return text.encode("utf-16", "surrogatepass")
        case 2:
            return text.encode("latin-1", "replace")
        case 3 | 4:
            return mutate_bytes(content, rng)
        case _:
            return content


def mutate_json(value: Any, rng: Random) -> Any:
    """One to three places of a JSON value with another value, without it, or with it under another name."""
    whole = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 2, 3))):
        places = list(_places(whole))
        if not places:
            break
        parent, key = rng.choice(places)
        if rng.random() < 0.2:
            kept = parent.pop(key)
            if isinstance(parent, dict) and rng.random() < 0.5:
                parent[rng.choice(WORDS)] = kept
        else:
            parent[key] = _awkward(parent[key], rng)
    return whole


def awkward_json(value: Any, rng: Random) -> bytes:
    """A JSON value mutated, as a file: sometimes of mutated text too."""
    text = json.dumps(mutate_json(value, rng))
    return mutate_text(text, rng) if rng.random() < 0.3 else text.encode()


def _places(value: Any) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield value, key
        yield from _places(inner)


def _awkward(value: Any, rng: Random) -> Any:
    nested: Any = []
    for _ in range(rng.choice((1, 2, 400))):
        nested = [nested]
    plain = [
        None,
        True,
        [],
        {},
        nested,
        rng.choice(NUMBERS),
        rng.choice(WORDS),
        rng.choice((0.5, -1e308, float("nan"))),
    ]
    if isinstance(value, int | float):
        plain += [-value, value + 1]
    elif isinstance(value, str | list):
        plain.append(value * 2)
    return rng.choice(plain)
