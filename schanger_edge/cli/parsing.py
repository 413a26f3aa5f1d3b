"""Option values that several commands read alike."""

from __future__ import annotations

from schanger_edge.errors import SchangerError


def parse_bands(text: str | None) -> tuple[int, ...] | None:
    """`1,2,3`."""
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise SchangerError(f"--bands needs three numbers such as 1,2,3, not {text!r}.") from None


def parse_nodata(text: str) -> float | str | None:
    """`auto`, `none` or a value."""
    if text in ("auto", "none"):
        return "auto" if text == "auto" else None
    try:
        return float(text)
    except ValueError:
        raise SchangerError(f"--nodata needs auto, none or a number, not {text!r}.") from None
