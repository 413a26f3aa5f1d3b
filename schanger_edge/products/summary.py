"""The account of a run, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from schanger_edge.products import SUMMARY
from schanger_edge.products.product import Product
from schanger_edge.products.staging import writing

PRODUCT = Product(SUMMARY, "Account of the run", "summary", "application/json", "metadata")


def write_summary(path: Path, summary: Mapping[str, Any]) -> None:
    """Write the summary as indented UTF-8 JSON; NumPy values and paths may stand anywhere among the values.

    Raises:
        ProductError: the file could not be written.
        ValueError: a number is NaN or infinite, which JSON cannot say; write None for what is not known.
    """
    text = to_json(summary)
    with writing(path):
        path.write_text(text + "\n", encoding="utf-8")


def to_json(values: Mapping[str, Any]) -> str:
    """Indented JSON of values among which NumPy's and paths may stand.

    Raises:
        ValueError: a number is NaN or infinite, which JSON cannot say; write None for what is not known.
    """
    return json.dumps(dict(values), indent=2, ensure_ascii=False, allow_nan=False, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a summary cannot hold a {type(value).__name__}.")
