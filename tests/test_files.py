"""write_json: plain JSON from the values a run has."""

from __future__ import annotations

import json
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from schanger_edge.errors import ProductError
from schanger_edge.files import write_json


def test_values_come_back(tmp_path):
    path = tmp_path / "summary.json"
    summary = {
        "count": np.int64(3),
        "share": np.float32(0.5),
        "done": np.bool_(True),
        "scene": Path("a") / "b.tif",
        "list": np.arange(3),
        "more": MappingProxyType({"name": "Zürich", "unknown": None}),
    }
    write_json(path, MappingProxyType(summary))
    text = path.read_text(encoding="utf-8")
    assert json.loads(text) == {
        "count": 3,
        "share": 0.5,
        "done": True,
        "scene": str(Path("a") / "b.tif"),
        "list": [0, 1, 2],
        "more": {"name": "Zürich", "unknown": None},
    }
    assert "Zürich" in text
    assert len(text.splitlines()) > 6


@pytest.mark.parametrize("value", [float("nan"), np.float32("nan"), float("inf")])
def test_numbers_that_json_cannot_say_are_refused(tmp_path, value):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "summary.json", {"a": {"b": [value]}})
    assert not (tmp_path / "summary.json").exists()


def test_other_values_are_refused(tmp_path):
    with pytest.raises(TypeError, match="cannot hold a object"):
        write_json(tmp_path / "summary.json", {"a": object()})


def test_missing_folder(tmp_path):
    with pytest.raises(ProductError, match=r"summary\.json could not be written"):
        write_json(tmp_path / "absent" / "summary.json", {})
