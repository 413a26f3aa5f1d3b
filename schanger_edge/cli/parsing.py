"""Option values that several commands read alike."""

from __future__ import annotations

import re

from schanger_edge.errors import SchangerError


def parse_seconds(text: str, option: str) -> float:
    """Seconds of `10`, `10s`, `500ms`, `2m` or `1h`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)?", text)
    if found is None:
        raise SchangerError(f"{option} must be a duration such as 10s, 500ms or 2m, not {text!r}.")
    return float(found[1]) * {"ms": 0.001, "m": 60.0, "h": 3600.0}.get(found[2], 1.0)


def parse_size(text: str, option: str) -> int:
    """Bytes of `1000000`, `500MB` or `2GB`."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(kB|MB|GB)?", text)
    if found is None:
        raise SchangerError(f"{option} must be a size such as 500MB, not {text!r}.")
    return round(float(found[1]) * {"kB": 1e3, "MB": 1e6, "GB": 1e9}.get(found[2], 1.0))
