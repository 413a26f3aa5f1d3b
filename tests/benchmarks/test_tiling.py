"""benchmarks/tiling.py: what its table says follows from the maps, with a session whose answers are known."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from helpers import load_benchmark

from schanger_edge.evaluation.scores import Counts

SIDE = 768


@pytest.fixture(scope="module")
def tiling() -> ModuleType:
    return load_benchmark("tiling")


class Reader:
    """Gives the first band as probability, but for pixels within `blind` of a tile's edge, which are 0."""

    def __init__(self, tile: int, blind: int) -> None:
        self.card, self._blind = SimpleNamespace(tile=tile), blind

    def run(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        seen = before[:, :1].astype(np.float32) / 255
        inner = np.zeros_like(seen)
        middle = (..., slice(self._blind, -self._blind or None), slice(self._blind, -self._blind or None))
        inner[middle] = seen[middle]
        return inner


def measured(tiling: ModuleType, blind: int, grids: int = 1) -> dict:
    label = np.zeros((SIDE, SIDE), np.bool_)
    label[40:-40, 40:-40] = np.random.default_rng(0).random((SIDE - 80, SIDE - 80)) > 0.5
    image = np.repeat(label[None].astype(np.uint8) * 255, 3, 0)
    scene = tiling.Scene("one", image, image, np.ones_like(label), label)
    result = {"images": {}, "rows": [tiling.cost(*one, 2.0) for one in tiling.all_tilings()], "seams": []}
    tiling.measure(result, "set", [scene], grids, {tile: Reader(tile, blind) for tile in tiling.HALOS})
    return result


def test_perfect_maps_score_one_in_every_row(tiling: ModuleType) -> None:
    found = measured(tiling, blind=0, grids=2)
    for row in found["rows"]:
        cpu = row["cpu_seconds_per_megapixel"]
        assert cpu == pytest.approx(2e6 / (row["tile"] - 2 * row["halo"]) ** 2, abs=1e-3)
        own = row["data"]["set"]
        assert own["f1_per_cpu_second"] == pytest.approx(1 / cpu, abs=1e-4)
        assert (own["f1"], own["f1_kept"], own["f1_by_image"]) == (1, 1, [1])
        assert own["against_default"] == [0, 0, 0]
        if (row["tile"], row["halo"]) in tiling.ON_ALL_GRIDS:
            assert (own["by_grid"], own["against_default_all_grids"]) == ([1, 1], [0, 0, 0])
    assert found["images"]["set"]["protocol"] == {"f1": 1, "precision": 1, "recall": 1}


def test_a_halo_that_hides_blind_edges_scores_better(tiling: ModuleType) -> None:
    found = measured(tiling, blind=20)
    f1 = {(row["tile"], row["halo"]): row["data"]["set"] for row in found["rows"]}
    protocol = found["images"]["set"]["protocol"]["f1"]
    assert f1[256, 0]["f1"] == f1[256, 0]["f1_kept"] == protocol < f1[256, 16]["f1"] < 1
    assert f1[256, 24]["f1"] == f1[256, 32]["f1"] == f1[512, 32]["f1"] == 1  # blind pixels weigh below 1 / 2
    change, low, high = f1[256, 0]["against_default"]
    assert low <= change <= high < 0
    seams = {(seam["tile"], seam["halo"]): seam for seam in found["seams"]}
    assert seams[256, 0]["kept_mean"] < 0.01 < seams[256, 32]["kept_mean"]  # 0 beside 0 on both sides of a border


def test_quarters_are_the_whole(tiling: ModuleType) -> None:
    random = np.random.default_rng(1)
    label, probability = random.random((51, 40)) > 0.6, random.random((51, 40), np.float32)
    images = np.zeros((3, 51, 40), np.uint8)
    scene = tiling.Scene("one", images, images, np.ones_like(label), label)
    assert sum(tiling.quarters(probability, scene), Counts()) == Counts.of(probability > 0.5, label)


def test_bounds_of_a_difference_are_those_of_its_images(tiling: ModuleType) -> None:
    """Equal gains in all quarters leave no doubt; a gain in one of many is within bounds that hold 0."""
    base = np.array([[80, 20, 20]] * 16)
    everywhere, once = base + np.array([4, -4, 0]), base.copy()
    once[3] += np.array([15, -15, 0])
    gain = 2 * 84 / (2 * 84 + 16 + 20) - 0.8
    assert tiling.difference(everywhere, base) == pytest.approx([gain] * 3, abs=1e-4)
    change, low, high = tiling.difference(once, base)
    assert low == 0 < change < high
