"""No converted model is bundled that loses more than half a point of F1 on any of the data."""

from __future__ import annotations

from types import ModuleType

import pytest
from helpers import load_benchmark

pytest.importorskip("onnx")
pytest.importorskip("onnxconverter_common")


@pytest.fixture
def bundle_converted() -> ModuleType:
    return load_benchmark("bundle_converted")


@pytest.mark.parametrize("f1", [0.846, 0.85, 0.9])
def test_half_a_point_may_be_lost(bundle_converted: ModuleType, f1: float) -> None:
    bundle_converted.check_loss({"a": {"f1": 0.85}, "other": {"f1": 1.0}}, {"a": {"f1": f1}})


@pytest.mark.parametrize("f1", [0.844, float("nan")])
def test_more_is_refused(bundle_converted: ModuleType, f1: float) -> None:
    parent = {"a": {"f1": 0.85}, "b": {"f1": 0.85}}
    with pytest.raises(SystemExit, match=r"points of F1 lost on b, more than 0\.5: nothing was written"):
        bundle_converted.check_loss(parent, {"a": {"f1": 0.85}, "b": {"f1": f1}})


def test_a_parent_without_that_score_is_refused(bundle_converted: ModuleType) -> None:
    with pytest.raises(SystemExit, match=r"no score on b: make it with benchmarks/bundle\.py"):
        bundle_converted.check_loss({"a": {"f1": 0.85}}, {"b": {"f1": 0.85}})
