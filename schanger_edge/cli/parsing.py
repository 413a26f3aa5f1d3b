"""Option values that several commands read alike."""

from __future__ import annotations

import re
from typing import Literal

from schanger_edge.errors import SchangerError


def parse_bands(text: str | None) -> tuple[int, ...] | None:
    """`1,2,3`."""
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise SchangerError(f"--bands needs three numbers such as 1,2,3, not {text!r}.") from None


def parse_stretch(text: str) -> Literal["percentiles", "none"] | tuple[float, ...]:
    """`percentiles`, `none`, or numbers such as `0,3000`; whether they make sense is judged where they are used."""
    if text in ("percentiles", "none"):
        return "none" if text == "none" else "percentiles"
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise SchangerError(f"--stretch needs percentiles, none or MIN,MAX such as 0,3000, not {text!r}.") from None


def parse_nodata(text: str) -> float | str | None:
    """`auto`, `none` or a value."""
    if text in ("auto", "none"):
        return "auto" if text == "auto" else None
    try:
        return float(text)
    except ValueError:
        raise SchangerError(f"--nodata needs auto, none or a number, not {text!r}.") from None


def parse_seconds(text: str, option: str) -> float:
    """Seconds of `10`, `10s`, `500ms`, `2m` or `1h`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)?", text)
    if found is None:
        raise SchangerError(f"{option} needs a time such as 10s, 500ms or 2m, not {text!r}.")
    return float(found[1]) * {"ms": 0.001, "m": 60.0, "h": 3600.0}.get(found[2], 1.0)


def parse_size(text: str, option: str) -> int:
    """Bytes of `1000000`, `500MB` or `2GB`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(kB|MB|GB)?", text)
    if found is None:
        raise SchangerError(f"{option} needs a size such as 500MB, not {text!r}.")
    return round(float(found[1]) * {"kB": 1e3, "MB": 1e6, "GB": 1e9}.get(found[2], 1.0))
